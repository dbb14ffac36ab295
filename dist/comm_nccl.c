/* nccl: device memory over NCCL. The only file that includes nccl.h.
 *
 * A collective is only enqueued, in the stream `comm` of the cuda backend, behind an event of the compute
 * stream: it starts when the gradients it sums are there, and runs beside the rest of backward. wait() has
 * the compute stream wait for an event behind the last collective. The host waits for nothing, and all of it
 * can be captured in a CUDA graph.
 *
 * Nothing here can hang for ever. The communicator is a non-blocking one: every call returns at once, and the
 * host asks until NCCL has done what it was told, against a deadline while the job starts or ends and against
 * the watchdog in between. While the backend waits for the device it calls poll(), which asks NCCL whether a
 * peer has died: the stream would not tell. A thread that asks was the alternative; it would share the
 * communicator with this one. What is given up is aborted by a thread that may get stuck in place of ours,
 * because aborting, too, can hang on a device that does.
 *
 * NCCL from 2.18. Counts are elements, always; ncclAllReduce knows nothing of bytes.
 *
 * Contract: one thread makes all calls; abort may come from another one. */
#include "dist/comm.h"

#include "core/backends/cuda/cuda.h"
#include "core/clock.h"
#include "core/log.h"

#include <cuda_runtime.h>
#include <errno.h>
#include <nccl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OLDEST_VERSION 21800
#define WIRE_ELEMS     ((int64_t)8 << 20)
#define WIRE_BYTES     ((size_t)WIRE_ELEMS * 2)
#define END_DEADLINE_S 10 /* to finish or to abort */

#if NCCL_VERSION_CODE < OLDEST_VERSION
#error "NCCL 2.18 or later is needed"
#endif

typedef struct nccl_state {
    ncclComm_t comm;      /* NULL before it is begun and after it was given up */
    pthread_mutex_t lock; /* of comm, against abort in another thread */
    bool given_up;        /* by abort: the process is ending */
    bool healthy;         /* begun on all ranks, and nothing has failed since */
    cudaStream_t compute, stream;
    cudaEvent_t ready, done; /* the compute stream's work so far; the last collective */
    void *wire;              /* WIRE_ELEMS of bfloat16, from the first time it is needed */
} nccl_state;

/* --- calls and their errors --- */

/* Where this thread may use the communicator. After an abort, another thread is ending the process and has
 * said why: there is nothing to return to. */
static void lock_comm(nccl_state *s)
{
    pthread_mutex_lock(&s->lock);
    if (!s->given_up) return;
    pthread_mutex_unlock(&s->lock);
    for (;;)
        pause();
}

static void unlock_comm(nccl_state *s)
{
    pthread_mutex_unlock(&s->lock);
}

static nt_status nccl_failed(nt_comm *comm, ncclResult_t code, const char *what)
{
    nccl_state *s = comm->gradient_state;
    const char *interface = getenv("NCCL_SOCKET_IFNAME"), *more = ncclGetLastError(NULL);
    bool network = code == ncclSystemError || code == ncclRemoteError || code == ncclInternalError;
    s->healthy = false;
    NT_FAIL(NT_ERR_UNAVAILABLE, "NCCL: %s: %s%s%s%s%s%s", what, ncclGetErrorString(code),
            more && more[0] ? ": " : "", more ? more : "",
            network ? " (NCCL_DEBUG=INFO says more; NCCL_SOCKET_IFNAME, which chooses the network, is " : "",
            !network ? "" : interface ? interface : "not set", network ? ")" : "");
}

static ncclResult_t ask(nccl_state *s)
{
    ncclResult_t state = ncclSuccess, code;
    lock_comm(s);
    code = ncclCommGetAsyncError(s->comm, &state);
    unlock_comm(s);
    return code != ncclSuccess ? code : state;
}

/* Waits until NCCL has done what `what` asked for, up to the time `until` (0: the watchdog sees to it);
 * *late: it has not. */
static nt_status settle(nt_comm *comm, ncclResult_t code, const char *what, double until, bool *late)
{
    *late = false;
    while (code == ncclInProgress) {
        if (until > 0 && nt_clock_s() > until) {
            *late = true;
            return NT_OK;
        }
        sched_yield();
        code = ask(comm->gradient_state);
    }
    if (code != ncclSuccess) return nccl_failed(comm, code, what);
    return NT_OK;
}

/* Makes calls (an expression of type ncclResult_t) that put work into the stream, and waits until it is
 * there. */
#define NCCL_ENQUEUE(comm_, what, calls)                                                                     \
    do {                                                                                                     \
        bool late_;                                                                                          \
        lock_comm((comm_)->gradient_state);                                                                  \
        ncclResult_t code_ = (calls);                                                                        \
        unlock_comm((comm_)->gradient_state);                                                                \
        NT_TRY(settle((comm_), code_ == ncclSuccess ? ncclInProgress : code_, (what), 0, &late_));           \
    } while (0)

/* --- giving up --- */

typedef struct farewell {
    ncclComm_t comm;
    sem_t done;
} farewell;

static void *farewell_run(void *arg)
{
    farewell *f = arg;
    (void)ncclCommAbort(f->comm);
    sem_post(&f->done);
    return NULL;
}

static bool wait_for(sem_t *done, int seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    while (sem_timedwait(done, &until) != 0)
        if (errno != EINTR) return false;
    return true;
}

/* ncclCommAbort in a thread of its own; after the deadline the thread is left alone, with its memory. */
static void abort_comm(ncclComm_t comm)
{
    pthread_t thread;
    farewell *f = calloc(1, sizeof *f);
    if (!f) return;
    f->comm = comm;
    if (sem_init(&f->done, 0, 0) != 0 || pthread_create(&thread, NULL, farewell_run, f) != 0) {
        free(f);
        return;
    }
    if (!wait_for(&f->done, END_DEADLINE_S)) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    sem_destroy(&f->done);
    free(f);
}

/* Takes the communicator away from the other thread; NULL if that one is stuck inside NCCL with it. */
static ncclComm_t take_comm(nccl_state *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += END_DEADLINE_S;
    if (pthread_mutex_timedlock(&s->lock, &until) != 0) return NULL;
    ncclComm_t comm = s->comm;
    s->comm = NULL;
    s->given_up = true;
    unlock_comm(s);
    return comm;
}

static void nccl_abort(nt_comm *comm)
{
    nccl_state *s = comm->gradient_state;
    if (!s) return;
    ncclComm_t taken = take_comm(s);
    if (taken) abort_comm(taken);
}

/* --- life --- */

static nt_status make_events(nt_comm *comm)
{
    nccl_state *s = comm->gradient_state;
    nt_backend *b = comm->backend;
    NT_CUDA_TRY(b, "cudaEventCreate", cudaEventCreateWithFlags(&s->ready, cudaEventDisableTiming));
    NT_CUDA_TRY(b, "cudaEventCreate", cudaEventCreateWithFlags(&s->done, cudaEventDisableTiming));
    return NT_OK;
}

static nt_status prepare(nt_comm *comm, ncclUniqueId *id)
{
    const nt_cuda *cuda = comm->backend->state;
    int version = 0;
    nccl_state *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    comm->gradient_state = s;
    NT_CHECK(pthread_mutex_init(&s->lock, NULL) == 0, NT_ERR_UNAVAILABLE, "cannot make a lock");
    s->compute = cuda->compute;
    s->stream = cuda->comm;
    ncclResult_t code = ncclGetVersion(&version);
    if (code != ncclSuccess) return nccl_failed(comm, code, "ncclGetVersion");
    NT_CHECK(version >= OLDEST_VERSION, NT_ERR_UNAVAILABLE, "NCCL %d.%d is too old: 2.18 or later is needed",
             version / 10000, version / 100 % 100);
    NT_TRY(make_events(comm));
    if (comm->rank == 0 && (code = ncclGetUniqueId(id)) != ncclSuccess)
        return nccl_failed(comm, code, "ncclGetUniqueId");
    return NT_OK;
}

static nt_status too_late(nt_comm *comm, int seconds)
{
    const char *interface = getenv("NCCL_SOCKET_IFNAME");
    comm->unreachable = true;
    if (comm->rank > 0) nt_comm_let_speak(comm);
    NT_FAIL(
        NT_ERR_UNAVAILABLE,
        "NCCL has not connected the %d ranks within %d s (NNTRAIN_INIT_TIMEOUT sets the seconds): a rank has "
        "ended or hangs, or the network does not let them through; NCCL_SOCKET_IFNAME, which chooses the "
        "network, is %s, and NCCL_DEBUG=INFO says what is tried",
        comm->size, seconds, interface ? interface : "not set");
}

static nt_status begin(nt_comm *comm, ncclUniqueId id)
{
    nccl_state *s = comm->gradient_state;
    int seconds = nt_comm_init_timeout_s();
    double until = nt_clock_s() + seconds;
    bool late;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    lock_comm(s);
    ncclResult_t code = ncclCommInitRankConfig(&s->comm, comm->size, id, comm->rank, &config);
    unlock_comm(s);
    NT_TRY(settle(comm, code == ncclSuccess ? ncclInProgress : code, "connecting the ranks", until, &late));
    if (late) return too_late(comm, seconds);
    return NT_OK;
}

/* While the host waits for the device: whether what it waits for can still come. */
static nt_status nccl_poll(void *arg)
{
    nt_comm *comm = arg;
    ncclResult_t code = ask(comm->gradient_state);
    if (code == ncclSuccess || code == ncclInProgress) return NT_OK;
    nt_comm_let_speak(comm);
    return nccl_failed(comm, code,
                       "a sum over the ranks cannot be completed, because one of them has ended "
                       "or cannot be reached");
}

/* Captured on all ranks, or treated as captured on none. */
static nt_status nccl_agree(void *arg, bool *captured)
{
    double all = *captured;
    NT_TRY(nt_comm_host_reduce(arg, &all, 1, NT_REDUCE_MIN));
    *captured = all != 0;
    return NT_OK;
}

static nt_status nccl_create(nt_comm *comm)
{
    ncclUniqueId id;
    memset(&id, 0, sizeof id);
    NT_TRY(nt_comm_agree(comm, prepare(comm, &id)));
    NT_TRY(nt_comm_host_broadcast(comm, &id, sizeof id, 0));
    NT_TRY(begin(comm, id));
    nccl_state *s = comm->gradient_state;
    s->healthy = true;
    comm->backend->poll = nccl_poll;
    comm->backend->agree = nccl_agree;
    comm->backend->poll_arg = comm;
    return NT_OK;
}

static nt_status finalize(nt_comm *comm, bool *late)
{
    nccl_state *s = comm->gradient_state;
    lock_comm(s);
    ncclResult_t code = ncclCommFinalize(s->comm);
    unlock_comm(s);
    return settle(comm, code, "ncclCommFinalize", nt_clock_s() + END_DEADLINE_S, late);
}

/* Finishing is a collective; whether it came to an end in time. */
static bool finish(nt_comm *comm)
{
    bool late = false;
    nt_status status = nt_backend_sync(comm->backend);
    if (status == NT_OK) status = finalize(comm, &late);
    if (status != NT_OK) nt_warn("the end of NCCL: %s", nt_error_last()->message);
    nt_error_clear();
    return status == NT_OK && !late;
}

static void nccl_destroy(nt_comm *comm)
{
    nccl_state *s = comm->gradient_state;
    if (!s) return;
    if (s->healthy && finish(comm)) /* with poll in place: waiting has a deadline */
        (void)ncclCommDestroy(s->comm);
    else if (s->comm)
        abort_comm(s->comm);
    comm->backend->poll = NULL;
    comm->backend->agree = NULL;
    nt_backend_free(comm->backend, s->wire, WIRE_BYTES);
    if (s->ready) (void)cudaEventDestroy(s->ready);
    if (s->done) (void)cudaEventDestroy(s->done);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- collectives --- */

static ncclDataType_t nccl_type(nt_dtype dtype)
{
    return dtype == NT_F64 ? ncclFloat64 : ncclFloat32;
}

/* What is put into the communication stream from now on comes after the compute stream's work so far. */
static nt_status follow_compute(nt_comm *comm)
{
    nccl_state *s = comm->gradient_state;
    NT_CUDA_TRY(comm->backend, "cudaEventRecord", cudaEventRecord(s->ready, s->compute));
    NT_CUDA_TRY(comm->backend, "cudaStreamWaitEvent", cudaStreamWaitEvent(s->stream, s->ready, 0));
    return NT_OK;
}

static nt_status nccl_wait(nt_comm *comm)
{
    nccl_state *s = comm->gradient_state;
    NT_CUDA_TRY(comm->backend, "cudaEventRecord", cudaEventRecord(s->done, s->stream));
    NT_CUDA_TRY(comm->backend, "cudaStreamWaitEvent", cudaStreamWaitEvent(s->compute, s->done, 0));
    return NT_OK;
}

/* Half the bytes: float32 is rounded to bfloat16, summed as such, and widened again. All ranks get the same.
 */
static nt_status nccl_all_reduce_bf16(nt_comm *comm, float *buffer, int64_t n)
{
    nccl_state *s = comm->gradient_state;
    if (n == 0) return NT_OK;
    if (!s->wire) NT_TRY(nt_backend_alloc(comm->backend, &s->wire, WIRE_BYTES));
    NT_TRY(follow_compute(comm));
    for (int64_t done = 0; done < n; done += WIRE_ELEMS) {
        int64_t count = n - done < WIRE_ELEMS ? n - done : WIRE_ELEMS;
        NT_CUDA_TRY(comm->backend, "cast for the wire",
                    nt_cuda_cast(s->stream, NT_BF16, s->wire, NT_F32, buffer + done, count));
        NCCL_ENQUEUE(
            comm, "all-reduce",
            ncclAllReduce(s->wire, s->wire, (size_t)count, ncclBfloat16, ncclSum, s->comm, s->stream));
        NT_CUDA_TRY(comm->backend, "cast from the wire",
                    nt_cuda_cast(s->stream, NT_F32, buffer + done, NT_BF16, s->wire, count));
    }
    return NT_OK;
}

static nt_status nccl_all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    nccl_state *s = comm->gradient_state;
    if (n == 0) return NT_OK;
    NT_TRY(follow_compute(comm));
    NCCL_ENQUEUE(comm, "all-reduce",
                 ncclAllReduce(buffer, buffer, (size_t)n, nccl_type(dtype), ncclSum, s->comm, s->stream));
    return NT_OK;
}

/* One collective per rank's part, where the parts are not of one length. */
typedef ncclResult_t part_fn(nccl_state *s, char *at, size_t n, ncclDataType_t type, int root);

static ncclResult_t reduce_part(nccl_state *s, char *at, size_t n, ncclDataType_t type, int root)
{
    return ncclReduce(at, at, n, type, ncclSum, root, s->comm, s->stream);
}

static ncclResult_t broadcast_part(nccl_state *s, char *at, size_t n, ncclDataType_t type, int root)
{
    return ncclBroadcast(at, at, n, type, root, s->comm, s->stream);
}

/* In one group, so that NCCL runs them as one. */
static ncclResult_t each_part(nt_comm *comm, part_fn *part, void *buffer, int64_t n, nt_dtype dtype)
{
    ncclResult_t code = ncclGroupStart(), first = code;
    for (int root = 0; root < comm->size && code == ncclSuccess; root++) {
        int64_t begin, end;
        nt_comm_part(n, root, comm->size, &begin, &end);
        char *at = (char *)buffer + (size_t)begin * nt_dtype_bytes(dtype);
        if (end > begin) code = part(comm->gradient_state, at, (size_t)(end - begin), nccl_type(dtype), root);
    }
    if (first != ncclSuccess) return first;
    ncclResult_t end = ncclGroupEnd();
    return code != ncclSuccess ? code : end;
}

static char *own_part(const nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    return (char *)buffer + (size_t)(n / comm->size * comm->rank) * nt_dtype_bytes(dtype);
}

static nt_status nccl_reduce_scatter(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    nccl_state *s = comm->gradient_state;
    size_t part = (size_t)(n / comm->size);
    if (n == 0) return NT_OK;
    NT_TRY(follow_compute(comm));
    if (n % comm->size == 0)
        NCCL_ENQUEUE(comm, "reduce-scatter",
                     ncclReduceScatter(buffer, own_part(comm, buffer, n, dtype), part, nccl_type(dtype),
                                       ncclSum, s->comm, s->stream));
    else
        NCCL_ENQUEUE(comm, "reduce-scatter", each_part(comm, reduce_part, buffer, n, dtype));
    return NT_OK;
}

static nt_status nccl_all_gather(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    nccl_state *s = comm->gradient_state;
    size_t part = (size_t)(n / comm->size);
    if (n == 0) return NT_OK;
    NT_TRY(follow_compute(comm));
    if (n % comm->size == 0)
        NCCL_ENQUEUE(comm, "all-gather",
                     ncclAllGather(own_part(comm, buffer, n, dtype), buffer, part, nccl_type(dtype), s->comm,
                                   s->stream));
    else
        NCCL_ENQUEUE(comm, "all-gather", each_part(comm, broadcast_part, buffer, n, dtype));
    return NT_OK;
}

/* The elements of this one are bytes. */
static nt_status nccl_broadcast(nt_comm *comm, void *buffer, size_t n_bytes, int root)
{
    nccl_state *s = comm->gradient_state;
    if (n_bytes == 0) return NT_OK;
    NT_TRY(follow_compute(comm));
    NCCL_ENQUEUE(comm, "broadcast",
                 ncclBroadcast(buffer, buffer, n_bytes, ncclUint8, root, s->comm, s->stream));
    return NT_OK;
}

/* The library may be absent where this was built with it (lazy/nccl.c). */
static const char *nccl_missing(void)
{
    int version;
    return ncclGetVersion(&version) == ncclSuccess ? NULL : "NCCL cannot be loaded on this host";
}

const nt_gradient_ops nt_comm_nccl = {
    .name = "nccl",
    .missing = nccl_missing,
    .overlaps = true,
    .create = nccl_create,
    .destroy = nccl_destroy,
    .all_reduce = nccl_all_reduce,
    .all_reduce_bf16 = nccl_all_reduce_bf16,
    .reduce_scatter = nccl_reduce_scatter,
    .all_gather = nccl_all_gather,
    .broadcast = nccl_broadcast,
    .wait = nccl_wait,
    .abort = nccl_abort,
};
