/* mpi: host memory over MPI. The only file that includes mpi.h.
 *
 * The trick is what it does not use. MPI_Iallreduce has no background progress in Open MPI and picks a
 * binomial tree, so the blocking call is used, in place and in pieces of 2 MiB: measured between two ranks of
 * one machine (Open MPI 4.1.4), 45 MB take 17 ms in pieces and 33 to 50 ms in one call, because the temporary
 * of a piece stays in the cache; out of place with a scratch is slower than in place at every size (1 MB:
 * 0.35 against 0.26 ms).
 *
 * Reproducible sums: the algorithm MPI picks depends on the count and the number of ranks only, the pieces on
 * the count only, and one rank computes each element (or all do, from the same operands, and a + b = b + a),
 * so two runs, and all ranks, see the same bits. The control plane does not even rely on that: it gathers all
 * values and combines them in the order of ranks.
 *
 * Contract: one thread makes all calls; only nt_comm_abort may come from another one (a watchdog). */
#include "dist/comm.h"

#include "core/bf16.h"
#include "core/fault.h"

#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE_BYTES      ((int64_t)2 << 20) /* of the gradient plane */
#define BROADCAST_BYTES  ((size_t)1 << 30)  /* below INT_MAX */
#define GATHERED_VALUES  8192               /* of the control plane, all ranks together */
#define ABORT_DEADLINE_S 10

typedef struct mpi_state {
    MPI_Comm gradient, control;
    MPI_Op sum_bf16;
    void *piece;      /* PIECE_BYTES: reduce-scatter and all-gather */
    double *gathered; /* (GATHERED_VALUES or size) */
    int *counts, *displs;
} mpi_state;

/* Whether MPI runs in this process and nobody has ended it properly yet; read by the exit handler. */
static struct {
    volatile sig_atomic_t running;
    pid_t pid;
    nt_status failed; /* of the set-up after MPI_Init: the job can only be aborted */
} job;

static nt_status mpi_failed(int code, const char *call, const char *file, int line, const char *func)
{
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
        snprintf(text, sizeof text, "MPI error %d", code);
    return nt_error_set(NT_ERR_UNAVAILABLE, file, line, func, "%s failed: %s", call, text);
}

/* Makes an MPI call; its failure becomes an nt_status. */
#define MPI_TRY(call, args)                                                                                  \
    do {                                                                                                     \
        int code_ = call args;                                                                               \
        if (code_ != MPI_SUCCESS) return mpi_failed(code_, #call, __FILE__, __LINE__, __func__);             \
    } while (0)

/* MPI_Init waits for all ranks: for ever, if one of them has left before it came that far. A thread watches.
 */
typedef struct deadline {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t done_changed;
    struct timespec at;
    int seconds;
    bool done;
} deadline;

static void *deadline_run(void *arg)
{
    deadline *d = arg;
    int rc = 0;
    pthread_mutex_lock(&d->lock);
    while (!d->done && rc == 0)
        rc = pthread_cond_timedwait(&d->done_changed, &d->lock, &d->at);
    bool late = !d->done;
    pthread_mutex_unlock(&d->lock);
    if (!late) return NULL;
    /* The main thread is stuck inside MPI_Init and can return nothing to anybody. */
    dprintf(STDERR_FILENO,
            "error: MPI_Init has not returned after %d s: another rank has ended or cannot be reached "
            "(NNTRAIN_INIT_TIMEOUT sets the seconds)\n",
            d->seconds);
    _exit(NT_ERR_UNAVAILABLE);
}

static nt_status deadline_start(deadline *d)
{
    d->seconds = nt_comm_init_timeout_s();
    d->done = false;
    pthread_condattr_t attr;
    NT_CHECK(pthread_mutex_init(&d->lock, NULL) == 0 && pthread_condattr_init(&attr) == 0 &&
                 pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0 &&
                 pthread_cond_init(&d->done_changed, &attr) == 0 &&
                 clock_gettime(CLOCK_MONOTONIC, &d->at) == 0,
             NT_ERR_UNAVAILABLE, "cannot set up the deadline for MPI_Init");
    d->at.tv_sec += d->seconds;
    NT_CHECK(pthread_create(&d->thread, NULL, deadline_run, d) == 0, NT_ERR_UNAVAILABLE,
             "cannot start the thread that watches MPI_Init");
    return NT_OK;
}

static void deadline_stop(deadline *d)
{
    pthread_mutex_lock(&d->lock);
    d->done = true;
    pthread_cond_signal(&d->done_changed);
    pthread_mutex_unlock(&d->lock);
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->done_changed);
    pthread_mutex_destroy(&d->lock);
}

/* Some library called exit: to the launcher that may look like success while all other ranks wait. */
static void at_exit(void)
{
    if (!job.running || getpid() != job.pid) return;
    if (job.failed != NT_OK) nt_comm_mpi.abort(NULL, job.failed); /* the error has been said */
    dprintf(STDERR_FILENO, "error: this rank left the job without ending it; ending all ranks\n");
    nt_comm_mpi.abort(NULL, NT_ERR_BUG);
}

static nt_status start_mpi(void)
{
    deadline init = {.seconds = 0};
    NT_TRY(deadline_start(&init));
    int provided = MPI_THREAD_SINGLE;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
    deadline_stop(&init);
    NT_CHECK(code == MPI_SUCCESS, NT_ERR_UNAVAILABLE, "MPI_Init_thread failed with code %d", code);
    job.pid = getpid();
    job.running = 1;
    NT_CHECK(provided >= MPI_THREAD_FUNNELED, NT_ERR_UNAVAILABLE,
             "this MPI library allows no threads beside the one that calls it");
    NT_CHECK(atexit(at_exit) == 0, NT_ERR_UNAVAILABLE, "cannot register the exit handler");
    return NT_OK;
}

static nt_status own_comm(MPI_Comm *out)
{
    MPI_TRY(MPI_Comm_dup, (MPI_COMM_WORLD, out));
    MPI_TRY(MPI_Comm_set_errhandler, (*out, MPI_ERRORS_RETURN));
    return NT_OK;
}

/* Who shares this host. */
static nt_status find_locals(nt_comm *comm)
{
    MPI_Comm host = MPI_COMM_NULL;
    MPI_TRY(MPI_Comm_split_type, (MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &host));
    MPI_TRY(MPI_Comm_rank, (host, &comm->local_rank));
    MPI_TRY(MPI_Comm_size, (host, &comm->local_size));
    MPI_TRY(MPI_Comm_free, (&host));
    return NT_OK;
}

static nt_status allocate(mpi_state *s, int size)
{
    size_t n_values = size > GATHERED_VALUES ? (size_t)size : GATHERED_VALUES;
    s->piece = malloc((size_t)PIECE_BYTES);
    s->gathered = malloc(n_values * sizeof *s->gathered);
    s->counts = malloc((size_t)size * sizeof *s->counts);
    s->displs = malloc((size_t)size * sizeof *s->displs);
    NT_CHECK_ALLOC(s->piece && s->gathered && s->counts && s->displs, PIECE_BYTES);
    return NT_OK;
}

/* An MPI_User_function: the sum of two bfloat16, rounded. */
static void add_bf16(void *in, void *inout, int *n, MPI_Datatype *type)
{
    (void)type;
    const nt_bf16 *a = in;
    nt_bf16 *sum = inout;
    for (int i = 0; i < *n; i++)
        sum[i] = nt_bf16_from_float(nt_bf16_to_float(a[i]) + nt_bf16_to_float(sum[i]));
}

static nt_status set_up(nt_comm *comm)
{
    NT_CHECK(nt_fault_point("comm.started") != NT_FAULT_ERROR, NT_ERR_UNAVAILABLE,
             "fault point comm.started: no communicators of our own");
    MPI_TRY(MPI_Comm_set_errhandler, (MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_TRY(MPI_Comm_rank, (MPI_COMM_WORLD, &comm->rank));
    MPI_TRY(MPI_Comm_size, (MPI_COMM_WORLD, &comm->size));
    NT_TRY(find_locals(comm));
    mpi_state *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    comm->state = s;
    s->gradient = s->control = MPI_COMM_NULL;
    s->sum_bf16 = MPI_OP_NULL;
    NT_TRY(own_comm(&s->gradient));
    NT_TRY(own_comm(&s->control));
    MPI_TRY(MPI_Op_create, (add_bf16, 1, &s->sum_bf16));
    NT_TRY(allocate(s, comm->size));
    return NT_OK;
}

/* Once MPI runs, the other ranks wait in the same calls, and in MPI_Finalize, for a rank that fails here: for
 * ever. So the error goes to main, which says it, and when the process exits all ranks are aborted. */
static nt_status mpi_create(nt_comm *comm)
{
    NT_TRY(start_mpi());
    job.failed = set_up(comm);
    NT_TRY(job.failed);
    return NT_OK;
}

/* Nothing can be returned from here: the job is over, and a failure is one only the MPI library can see. */
static void mpi_destroy(nt_comm *comm)
{
    mpi_state *s = comm->state;
    if (s) {
        if (s->gradient != MPI_COMM_NULL) (void)MPI_Comm_free(&s->gradient);
        if (s->control != MPI_COMM_NULL) (void)MPI_Comm_free(&s->control);
        if (s->sum_bf16 != MPI_OP_NULL) (void)MPI_Op_free(&s->sum_bf16);
        free(s->piece);
        free(s->gathered);
        free(s->counts);
        free(s->displs);
        free(s);
    }
    comm->state = NULL;
    if (!job.running || job.failed != NT_OK) return;
    (void)MPI_Finalize();
    job.running = 0;
}

static MPI_Datatype mpi_type(nt_dtype dtype)
{
    return dtype == NT_F64 ? MPI_DOUBLE : MPI_FLOAT;
}

/* What the backend was given so far is in the buffer. */
static nt_status work_done(nt_comm *comm)
{
    if (comm->backend) NT_TRY(nt_backend_sync(comm->backend));
    return NT_OK;
}

/* The wire carries what fits into s->piece. */
static nt_status mpi_all_reduce_bf16(nt_comm *comm, float *buffer, int64_t n)
{
    mpi_state *s = comm->state;
    nt_bf16 *piece = s->piece;
    const int64_t most = PIECE_BYTES / (int64_t)sizeof *piece;
    NT_TRY(work_done(comm));
    for (int64_t done = 0; done < n; done += most) {
        float *at = buffer + done;
        int count = (int)(n - done < most ? n - done : most);
        for (int i = 0; i < count; i++)
            piece[i] = nt_bf16_from_float(at[i]);
        MPI_TRY(MPI_Allreduce, (MPI_IN_PLACE, piece, count, MPI_UINT16_T, s->sum_bf16, s->gradient));
        for (int i = 0; i < count; i++)
            at[i] = nt_bf16_to_float(piece[i]);
    }
    return NT_OK;
}

static nt_status mpi_all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    mpi_state *s = comm->state;
    NT_TRY(work_done(comm));
    size_t elem_bytes = nt_dtype_bytes(dtype);
    int64_t piece = PIECE_BYTES / (int64_t)elem_bytes;
    for (int64_t done = 0; done < n; done += piece) {
        int count = (int)(n - done < piece ? n - done : piece);
        void *at = (char *)buffer + (size_t)done * elem_bytes;
        MPI_TRY(MPI_Allreduce, (MPI_IN_PLACE, at, count, mpi_type(dtype), MPI_SUM, s->gradient));
    }
    return NT_OK;
}

/* Elements of one rank's part that are worked on at a time, so that those of all ranks fit in s->piece. */
static int64_t turn_elems(const nt_comm *comm, size_t elem_bytes)
{
    int64_t n = PIECE_BYTES / (int64_t)elem_bytes / comm->size;
    return n > 1 ? n : 1;
}

/* The `turn`-th piece of every rank's part of n elements, laid one behind the other: s->counts and s->displs.
 * The parts lie apart in the buffer, so a piece of each is packed into s->piece: that keeps counts small and
 * the work in the cache. Returns the number of elements; 0 after the last turn. */
static int64_t plan_turn(const nt_comm *comm, int64_t n, int64_t turn, size_t elem_bytes)
{
    mpi_state *s = comm->state;
    int64_t most = turn_elems(comm, elem_bytes), total = 0;
    for (int rank = 0; rank < comm->size; rank++) {
        int64_t begin, end;
        nt_comm_part(n, rank, comm->size, &begin, &end);
        int64_t left = end - begin - turn * most;
        s->counts[rank] = (int)(left < 0 ? 0 : left < most ? left : most);
        s->displs[rank] = (int)total;
        total += s->counts[rank];
    }
    return total;
}

/* Where the `turn`-th piece of rank's part begins in the buffer. */
static char *turn_at(const nt_comm *comm, void *buffer, int64_t n, int rank, int64_t turn, size_t elem_bytes)
{
    int64_t begin, end;
    nt_comm_part(n, rank, comm->size, &begin, &end);
    return (char *)buffer + (size_t)(begin + turn * turn_elems(comm, elem_bytes)) * elem_bytes;
}

static nt_status mpi_reduce_scatter(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    mpi_state *s = comm->state;
    NT_TRY(work_done(comm));
    size_t elem_bytes = nt_dtype_bytes(dtype);
    for (int64_t turn = 0; plan_turn(comm, n, turn, elem_bytes) > 0; turn++) {
        for (int rank = 0; rank < comm->size; rank++)
            memcpy((char *)s->piece + (size_t)s->displs[rank] * elem_bytes,
                   turn_at(comm, buffer, n, rank, turn, elem_bytes), (size_t)s->counts[rank] * elem_bytes);
        MPI_TRY(MPI_Reduce_scatter, (s->piece, turn_at(comm, buffer, n, comm->rank, turn, elem_bytes),
                                     s->counts, mpi_type(dtype), MPI_SUM, s->gradient));
    }
    return NT_OK;
}

static nt_status mpi_all_gather(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    mpi_state *s = comm->state;
    NT_TRY(work_done(comm));
    size_t elem_bytes = nt_dtype_bytes(dtype);
    for (int64_t turn = 0; plan_turn(comm, n, turn, elem_bytes) > 0; turn++) {
        MPI_TRY(MPI_Allgatherv,
                (turn_at(comm, buffer, n, comm->rank, turn, elem_bytes), s->counts[comm->rank],
                 mpi_type(dtype), s->piece, s->counts, s->displs, mpi_type(dtype), s->gradient));
        for (int rank = 0; rank < comm->size; rank++)
            memcpy(turn_at(comm, buffer, n, rank, turn, elem_bytes),
                   (char *)s->piece + (size_t)s->displs[rank] * elem_bytes,
                   (size_t)s->counts[rank] * elem_bytes);
    }
    return NT_OK;
}

static nt_status broadcast_on(MPI_Comm plane, void *data, size_t n_bytes, int root)
{
    for (size_t done = 0; done < n_bytes; done += BROADCAST_BYTES) {
        size_t left = n_bytes - done;
        int count = (int)(left < BROADCAST_BYTES ? left : BROADCAST_BYTES);
        MPI_TRY(MPI_Bcast, ((char *)data + done, count, MPI_BYTE, root, plane));
    }
    return NT_OK;
}

static nt_status mpi_broadcast(nt_comm *comm, void *buffer, size_t n_bytes, int root)
{
    NT_TRY(work_done(comm));
    NT_TRY(broadcast_on(((mpi_state *)comm->state)->gradient, buffer, n_bytes, root));
    return NT_OK;
}

/* All calls are blocking. */
static nt_status mpi_wait(nt_comm *comm)
{
    (void)comm;
    return NT_OK;
}

/* a op b. A NaN wins in every case: a minimum that loses it would hide it. */
static double combine(double a, double b, nt_reduce op)
{
    if (op == NT_REDUCE_SUM) return a + b;
    if (a != a || b != b) return a + b;
    return op == NT_REDUCE_MIN ? (b < a ? b : a) : (b > a ? b : a);
}

static nt_status mpi_host_reduce(nt_comm *comm, double *values, int n, nt_reduce op)
{
    mpi_state *s = comm->state;
    int piece = GATHERED_VALUES / comm->size > 1 ? GATHERED_VALUES / comm->size : 1;
    for (int done = 0; done < n; done += piece) {
        int count = n - done < piece ? n - done : piece;
        MPI_TRY(MPI_Allgather,
                (values + done, count, MPI_DOUBLE, s->gathered, count, MPI_DOUBLE, s->control));
        for (int i = 0; i < count; i++) {
            double total = s->gathered[i];
            for (int rank = 1; rank < comm->size; rank++)
                total = combine(total, s->gathered[(size_t)rank * (size_t)count + (size_t)i], op);
            values[done + i] = total;
        }
    }
    return NT_OK;
}

static nt_status mpi_host_broadcast(nt_comm *comm, void *data, size_t n_bytes, int root)
{
    NT_TRY(broadcast_on(((mpi_state *)comm->state)->control, data, n_bytes, root));
    return NT_OK;
}

static nt_status mpi_barrier(nt_comm *comm)
{
    MPI_TRY(MPI_Barrier, (((mpi_state *)comm->state)->control));
    return NT_OK;
}

/* MPI_Abort with a deadline: if even that hangs, SIGALRM ends this process, and the launcher the others. */
static void mpi_abort(nt_comm *comm, int code)
{
    (void)comm;
    job.running = 0;
    signal(SIGALRM, SIG_DFL);
    alarm(ABORT_DEADLINE_S);
    (void)MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

const char *nt_comm_version(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING + 1];
    int length = 0;
    if (text[0]) return text;
    if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) strcpy(text, "unknown MPI");
    text[strcspn(text, ",\n")] = '\0'; /* "Open MPI v4.1.4, package: ..." */
    char *v = strstr(text, " v");
    if (v && v[2] >= '0' && v[2] <= '9') memmove(v + 1, v + 2, strlen(v + 2) + 1);
    return text;
}

static const nt_gradient_ops mpi_gradient = {
    .name = "mpi",
    .all_reduce = mpi_all_reduce,
    .all_reduce_bf16 = mpi_all_reduce_bf16,
    .reduce_scatter = mpi_reduce_scatter,
    .all_gather = mpi_all_gather,
    .broadcast = mpi_broadcast,
    .wait = mpi_wait,
};

const nt_comm_ops nt_comm_mpi = {
    .name = "mpi",
    .gradient = &mpi_gradient,
    .create = mpi_create,
    .destroy = mpi_destroy,
    .host_reduce = mpi_host_reduce,
    .host_broadcast = mpi_host_broadcast,
    .barrier = mpi_barrier,
    .abort = mpi_abort,
};
