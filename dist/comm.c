/* Communicators: the list, the checks in front of every slot, and what is the same for all of them.
 *
 * Agreement lives here and not in the implementations: it is three tiny control messages, so `self`, `mpi`
 * and whatever comes later agree on errors by the same code. Every message that a rank cannot know by itself
 * comes from one rank by broadcast, so that all ranks return the same words. */
#include "dist/comm.h"

#include "core/clock.h"
#include "core/fault.h"
#include "core/log.h"
#include "dist/call_check.h"
#include "dist/devices.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define INIT_TIMEOUT_S 300
#define GRACE_S        2.5 /* mpirun asks the others to end, and kills them a second later */

/* One line per communicator. */
static const nt_comm_ops *const comms[] = {&nt_comm_self, &nt_comm_mpi};

/* Set by mpirun (Open MPI, MPICH's Hydra) and by srun with a PMI plugin. */
static const char *const launch_variables[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};

int nt_comm_init_timeout_s(void)
{
    const char *text = getenv("NNTRAIN_INIT_TIMEOUT");
    return text && atoi(text) > 0 ? atoi(text) : INIT_TIMEOUT_S;
}

void nt_comm_let_speak(const nt_comm *comm, int turns)
{
    double until = nt_clock_s() + turns * comm->grace_s;
    while (nt_clock_s() < until) /* a signal ends the sleep, not the wait */
        usleep(100000);
}

bool nt_comm_launched(void)
{
    for (size_t i = 0; i < sizeof launch_variables / sizeof launch_variables[0]; i++)
        if (getenv(launch_variables[i])) return true;
    return false;
}

/* The rank this process will have, for fault points before the communicator exists. */
static int rank_by_environment(void)
{
    for (size_t i = 0; i < sizeof launch_variables / sizeof launch_variables[0]; i++) {
        const char *text = getenv(launch_variables[i]);
        if (text) return atoi(text);
    }
    return 0;
}

/* Tasks that srun or mpirun say they started; 1 if nobody says anything. */
static int launched_tasks(void)
{
    static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
        const char *text = getenv(variables[i]);
        if (text) return atoi(text);
    }
    return 1;
}

static const nt_comm_ops *find_ops(const char *name)
{
    for (size_t i = 0; i < sizeof comms / sizeof comms[0]; i++)
        if (strcmp(comms[i]->name, name) == 0) return comms[i];
    return NULL;
}

/* Several tasks that each believe to be alone would all train the same thing and overwrite each other. */
static nt_status check_not_alone(const nt_comm *comm, int n_tasks)
{
    NT_CHECK(
        n_tasks <= 1 || comm->size > 1, NT_ERR_UNAVAILABLE,
        "%d tasks were started, but this process found itself alone: the launcher and the MPI library do "
        "not know each other; start with the mpirun of %s, or with srun --mpi=pmix",
        n_tasks, nt_comm_version());
    return NT_OK;
}

static nt_status start(nt_comm *comm)
{
    int n_tasks = launched_tasks();
    nt_fault_set_rank(rank_by_environment());
    if (nt_fault_point("comm.init") == NT_FAULT_ERROR)
        NT_FAIL(NT_ERR_UNAVAILABLE, "fault point comm.init: no communicator");
    NT_TRY(comm->ops->create(comm));
    nt_fault_set_rank(comm->rank);
    return check_not_alone(comm, n_tasks);
}

nt_status nt_comm_create(nt_comm **out)
{
    *out = NULL;
    nt_comm *comm = calloc(1, sizeof *comm);
    NT_CHECK_ALLOC(comm, sizeof *comm);
    comm->size = comm->local_size = 1;
    comm->grace_s = GRACE_S;
    if (gethostname(comm->host, sizeof comm->host - 1) != 0) strcpy(comm->host, "unknown host");
    comm->ops = find_ops(nt_comm_launched() ? "mpi" : "self");
    comm->gradient = comm->ops->gradient;
    nt_status status = start(comm);
    if (status != NT_OK) {
        nt_comm_destroy(comm);
        return status;
    }
    *out = comm;
    return NT_OK;
}

void nt_comm_destroy(nt_comm *comm)
{
    if (!comm) return;
    (void)nt_fault_point("comm.finalize");
    nt_comm_detach(comm);
    comm->ops->destroy(comm);
    free(comm);
}

/* --- the gradient plane, which one thread changes and another one may abort --- */

static pthread_mutex_t plane_lock = PTHREAD_MUTEX_INITIALIZER;

static void choose_plane(nt_comm *comm, const nt_gradient_ops *plane)
{
    pthread_mutex_lock(&plane_lock);
    comm->gradient = plane;
    pthread_mutex_unlock(&plane_lock);
}

void nt_comm_keep(nt_comm *comm, void *state)
{
    pthread_mutex_lock(&plane_lock);
    comm->gradient_state = state;
    pthread_mutex_unlock(&plane_lock);
}

static void abort_plane(nt_comm *comm)
{
    pthread_mutex_lock(&plane_lock);
    if (comm->gradient && comm->gradient->abort) comm->gradient->abort(comm);
    pthread_mutex_unlock(&plane_lock);
}

/* Makes it comm's gradient plane on all ranks, or on none. */
static nt_status start_plane(nt_comm *comm, const nt_gradient_ops *plane)
{
    choose_plane(comm, plane);
    (void)nt_fault_point("comm.attach");
    NT_TRY(nt_comm_agree(comm, plane->create ? plane->create(comm) : NT_OK));
    return NT_OK;
}

/* Why NCCL cannot be had on all ranks (*why); NULL if it can. */
static nt_status find_nccl(nt_comm *comm, const char **why)
{
    *why = nt_comm_nccl.missing();
    double missing = *why != NULL;
    NT_TRY(nt_comm_host_reduce(comm, &missing, 1, NT_REDUCE_MAX));
    if (missing != 0 && !*why) *why = "NCCL cannot be loaded on all hosts";
    return NT_OK;
}

static nt_status attach_device(nt_comm *comm)
{
    const char *why;
    NT_TRY(nt_devices_check(comm));
    NT_TRY(find_nccl(comm, &why));
    if (!why) {
        NT_TRY(start_plane(comm, &nt_comm_nccl));
        return NT_OK;
    }
    if (comm->rank == 0)
        nt_warn("%s: gradients go through host memory and %s, which is slow", why, nt_comm_version());
    NT_TRY(start_plane(comm, &nt_comm_staged));
    return NT_OK;
}

nt_status nt_comm_attach(nt_comm *comm, nt_backend *backend)
{
    nt_comm_detach(comm);
    comm->backend = backend;
    choose_plane(comm, comm->size > 1 ? comm->ops->gradient : nt_comm_self.gradient);
    if (!nt_backend_is_device(backend) || comm->size == 1) return NT_OK;
    nt_status status = attach_device(comm);
    if (status == NT_OK) return NT_OK;
    nt_comm_detach(comm);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

void nt_comm_detach(nt_comm *comm)
{
    if (comm->backend) nt_backend_forget(comm->backend);
    if (comm->gradient && comm->gradient->destroy) comm->gradient->destroy(comm);
    choose_plane(comm, comm->ops->gradient);
    nt_comm_keep(comm, NULL);
    comm->backend = NULL;
}

/* What every collective on the gradient plane asks of its arguments. */
static nt_status check_buffer(const void *buffer, int64_t n, nt_dtype dtype)
{
    NT_BUG_UNLESS(n >= 0 && (buffer || n == 0), "%lld elements at %p", (long long)n, buffer);
    NT_BUG_UNLESS(dtype == NT_F32 || dtype == NT_F64, "cannot reduce elements of type %s",
                  nt_dtype_name(dtype));
    return NT_OK;
}

#define HAS_SLOT(table, slot) NT_BUG_UNLESS((table)->slot, "communicator %s has no %s", (table)->name, #slot)

nt_status nt_comm_all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    NT_TRY(check_buffer(buffer, n, dtype));
    HAS_SLOT(comm->gradient, all_reduce);
    if (nt_fault_point("comm.skip") == NT_FAULT_ERROR) return NT_OK;
    NT_TRY(nt_call_check(comm, "an all-reduce of %lld %s", (long long)n, nt_dtype_name(dtype)));
    NT_TRY(comm->gradient->all_reduce(comm, buffer, n, dtype));
    return NT_OK;
}

nt_status nt_comm_sum_gradients(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    if (!comm->bf16_wire || dtype != NT_F32 || !comm->gradient->all_reduce_bf16)
        return nt_comm_all_reduce(comm, buffer, n, dtype);
    NT_TRY(check_buffer(buffer, n, dtype));
    if (nt_fault_point("comm.skip") == NT_FAULT_ERROR) return NT_OK;
    NT_TRY(nt_call_check(comm, "an all-reduce of %lld bfloat16", (long long)n));
    NT_TRY(comm->gradient->all_reduce_bf16(comm, buffer, n));
    return NT_OK;
}

nt_status nt_comm_reduce_scatter(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    NT_TRY(check_buffer(buffer, n, dtype));
    HAS_SLOT(comm->gradient, reduce_scatter);
    NT_TRY(nt_call_check(comm, "a reduce-scatter of %lld %s", (long long)n, nt_dtype_name(dtype)));
    NT_TRY(comm->gradient->reduce_scatter(comm, buffer, n, dtype));
    return NT_OK;
}

nt_status nt_comm_all_gather(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    NT_TRY(check_buffer(buffer, n, dtype));
    HAS_SLOT(comm->gradient, all_gather);
    NT_TRY(nt_call_check(comm, "an all-gather of %lld %s", (long long)n, nt_dtype_name(dtype)));
    NT_TRY(comm->gradient->all_gather(comm, buffer, n, dtype));
    return NT_OK;
}

static nt_status check_root(const nt_comm *comm, const void *data, size_t n_bytes, int root)
{
    NT_BUG_UNLESS(data || n_bytes == 0, "%zu bytes at NULL", n_bytes);
    NT_BUG_UNLESS(root >= 0 && root < comm->size, "root %d of %d ranks", root, comm->size);
    return NT_OK;
}

nt_status nt_comm_broadcast(nt_comm *comm, void *buffer, size_t n_bytes, int root)
{
    NT_TRY(check_root(comm, buffer, n_bytes, root));
    HAS_SLOT(comm->gradient, broadcast);
    NT_TRY(nt_call_check(comm, "a broadcast of %zu bytes from rank %d", n_bytes, root));
    NT_TRY(comm->gradient->broadcast(comm, buffer, n_bytes, root));
    return NT_OK;
}

nt_status nt_comm_wait(nt_comm *comm)
{
    HAS_SLOT(comm->gradient, wait);
    NT_TRY(comm->gradient->wait(comm));
    return NT_OK;
}

bool nt_comm_overlaps(const nt_comm *comm)
{
    return comm->gradient->overlaps;
}

static const char *const reduce_names[] = {"sum", "minimum", "maximum"};

nt_status nt_comm_host_reduce(nt_comm *comm, double *values, int n, nt_reduce op)
{
    NT_BUG_UNLESS(n >= 0 && (values || n == 0), "%d values at %p", n, (void *)values);
    HAS_SLOT(comm->ops, host_reduce);
    NT_TRY(nt_call_check(comm, "a host reduction of %d values (%s)", n, reduce_names[op]));
    NT_TRY(comm->ops->host_reduce(comm, values, n, op));
    return NT_OK;
}

nt_status nt_comm_host_broadcast(nt_comm *comm, void *data, size_t n_bytes, int root)
{
    NT_TRY(check_root(comm, data, n_bytes, root));
    HAS_SLOT(comm->ops, host_broadcast);
    NT_TRY(nt_call_check(comm, "a host broadcast of %zu bytes from rank %d", n_bytes, root));
    NT_TRY(comm->ops->host_broadcast(comm, data, n_bytes, root));
    return NT_OK;
}

nt_status nt_comm_barrier(nt_comm *comm)
{
    HAS_SLOT(comm->ops, barrier);
    NT_TRY(nt_call_check(comm, "a barrier"));
    NT_TRY(comm->ops->barrier(comm));
    return NT_OK;
}

void nt_comm_abort(nt_comm *comm, int code)
{
    abort_plane(comm);
    comm->ops->abort(comm, code);
}

void nt_comm_part(int64_t n, int rank, int size, int64_t *begin, int64_t *end)
{
    int64_t base = n / size, longer = n % size;
    *begin = rank * base + (rank < longer ? rank : longer);
    *end = *begin + base + (rank < longer);
}

/* What the lowest failing rank tells the others. */
typedef struct report {
    nt_error error;
    char host[sizeof((nt_comm *)NULL)->host];
} report;

/* Finds the lowest failing rank (*first; the size if none), gets its report, and whether all ranks failed
 * with the same words. */
static nt_status exchange(nt_comm *comm, const nt_error *mine, int *first, report *out, bool *alike)
{
    double lowest = mine->status != NT_OK ? comm->rank : comm->size;
    NT_TRY(nt_comm_host_reduce(comm, &lowest, 1, NT_REDUCE_MIN));
    *first = (int)lowest;
    if (*first == comm->size) return NT_OK;
    if (*first == comm->rank) {
        out->error = *mine;
        memcpy(out->host, comm->host, sizeof out->host);
    }
    NT_TRY(nt_comm_host_broadcast(comm, out, sizeof *out, *first));
    double same = mine->status == out->error.status && strcmp(mine->message, out->error.message) == 0;
    NT_TRY(nt_comm_host_reduce(comm, &same, 1, NT_REDUCE_MIN));
    *alike = same != 0;
    return NT_OK;
}

/* This rank's outcome as an error at rest; a failure without words gets some. */
static void take_outcome(nt_status mine, nt_error *out)
{
    if (mine != NT_OK && nt_error_last()->status != mine)
        (void)nt_error_set(mine, __FILE__, __LINE__, __func__,
                           "a stage failed with status %d and said no more", (int)mine);
    nt_error_take(out);
    if (mine == NT_OK) *out = (nt_error){.status = NT_OK};
}

nt_status nt_comm_agree(nt_comm *comm, nt_status mine)
{
    if (comm->unreachable) return mine;
    nt_error error;
    take_outcome(mine, &error);
    report theirs = {.error.status = NT_OK};
    int first = comm->size;
    bool alike = false;
    nt_status status = exchange(comm, &error, &first, &theirs, &alike);
    if (status != NT_OK) /* the others cannot be reached: the first cause is worth more than that */
        return mine != NT_OK ? nt_error_raise(&error) : status;
    if (first == comm->size) return NT_OK;
    status = nt_error_raise(&theirs.error);
    return alike ? status : nt_error_prefix(status, "rank %d on %s: ", first, theirs.host);
}

nt_status nt_comm_same(nt_comm *comm, const void *data, size_t n_bytes, const char *what)
{
    NT_BUG_UNLESS(data || n_bytes == 0, "%zu bytes at NULL", n_bytes);
    struct {
        uint64_t hash, n_bytes;
    } mine = {XXH3_64bits(data ? data : "", n_bytes), n_bytes}, root = mine;
    NT_TRY(nt_comm_host_broadcast(comm, &root, sizeof root, 0));
    double differs = memcmp(&mine, &root, sizeof mine) ? comm->rank : comm->size;
    NT_TRY(nt_comm_host_reduce(comm, &differs, 1, NT_REDUCE_MIN));
    int first = (int)differs;
    if (first == comm->size) return NT_OK;
    char host[sizeof comm->host];
    memcpy(host, comm->host, sizeof host);
    NT_TRY(nt_comm_host_broadcast(comm, host, sizeof host, first));
    NT_FAIL(NT_ERR_CONFIG, "%s differs between ranks: rank %d on %s does not have what rank 0 has", what,
            first, host);
}
