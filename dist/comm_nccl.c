/* nccl: device memory over NCCL. The only file that includes nccl.h.
 *
 * A collective is only enqueued, in the stream `comm` of the cuda backend, behind an event of the compute
 * stream: it starts when the gradients it sums are there, and runs beside the rest of backward. wait() has
 * the compute stream wait for an event behind the last collective. The host waits for nothing, and all of it
 * can be captured in a CUDA graph.
 *
 * Nothing here can hang for ever. The communicator is a non-blocking one: every call returns at once, and the
 * host asks until NCCL has done what it was told, against a deadline: of its own while the job starts or
 * ends, comm->patience_s in between. While the backend waits for the device it calls poll(), which asks NCCL
 * whether a peer has died, and looks at the clock: the stream would not tell. A thread that asks was the
 * alternative; it would share the communicator with this one. What is given up is aborted by a thread that
 * may get stuck in place of ours, because aborting, too, can hang on a device that does.
 *
 * An error is said by who knows its cause. When NCCL fails on one rank, the others see a peer that has gone,
 * or nothing at all, and cannot be asked: they are inside NCCL. So ranks take turns (nt_comm_let_speak): who
 * has an error of its own speaks first, and ends the job before who only suffers from it has its turn.
 *
 * NCCL from 2.18. Counts are elements, always; ncclAllReduce knows nothing of bytes.
 *
 * Contract: one thread makes all calls; abort may come from another one. */
#include "dist/comm.h"

#include "core/backends/cuda/cuda.h"
#include "core/clock.h"
#include "core/fault.h"
#include "core/log.h"
#include "core/phase.h"

#include <cuda_runtime.h>
#include <errno.h>
#include <nccl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OLDEST_VERSION 21800
#define WIRE_ELEMS     ((int64_t)8 << 20)
#define WIRE_BYTES     ((size_t)WIRE_ELEMS * 2)
#define END_DEADLINE_S 10  /* to finish or to abort */
#define OTHERS_GRACE_S 1.5 /* for a rank that hangs to say so before those that wait for it */

#if NCCL_VERSION_CODE < OLDEST_VERSION
#error "NCCL 2.18 or later is needed"
#endif

/* ncclBfloat16, which headers before 2.24 name to C++ only. */
#define WIRE_TYPE ((ncclDataType_t)9)
#if NCCL_VERSION_CODE >= 22400
_Static_assert(ncclBfloat16 == 9, "the number of a type in a library's interface does not change");
#endif

typedef struct nccl_state {
    ncclComm_t comm;      /* NULL before it is begun and after it was given up */
    pthread_mutex_t lock; /* of comm, against abort in another thread */
    bool given_up;        /* by abort: the process is ending */
    bool healthy;         /* begun on all ranks, and nothing has failed since */
    cudaStream_t compute, stream;
    cudaEvent_t ready, done; /* the compute stream's work so far; the last collective */
    bool ready_tells;        /* it was recorded in the stream itself and not in a graph */
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

/* Whether the cause may lie with another rank: a connection that has ended may be all that is seen of it. */
static bool suffers(ncclResult_t code)
{
    return code == ncclRemoteError || code == ncclSystemError;
}

static nt_status nccl_failed(nt_comm *comm, ncclResult_t code, const char *what)
{
    nccl_state *s = comm->gradient_state;
    const char *interface = getenv("NCCL_SOCKET_IFNAME"), *more = ncclGetLastError(NULL);
    bool network = code != ncclUnhandledCudaError;
    s->healthy = false;
    if (suffers(code)) nt_comm_let_speak(comm, 2 + (comm->rank > 0));
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

/* Waits until NCCL has done what `what` asked for, up to the time `until` (0: without end); *late: it has
 * not.
 */
static nt_status settle(nt_comm *comm, ncclResult_t code, const char *what, double until, bool *late)
{
    static const struct timespec pause = {.tv_nsec = 20000};
    *late = false;
    for (int looks = 0; code == ncclInProgress; looks++) {
        if (until > 0 && nt_clock_s() > until) {
            *late = true;
            return NT_OK;
        }
        if (looks < 1000)
            sched_yield();
        else
            (void)nanosleep(&pause, NULL);
        code = ask(comm->gradient_state);
    }
    if (code != ncclSuccess) return nccl_failed(comm, code, what);
    return NT_OK;
}

/* No end is in sight after comm->patience_s. Ticks, so that the watchdog leaves the time to say so. */
static nt_status no_end(nt_comm *comm, const char *what, double waited_s)
{
    nccl_state *s = comm->gradient_state;
    s->healthy = false;
    nt_phase_tick();
    NT_FAIL(NT_ERR_WATCHDOG, "no progress for %.0f s: %s (run.watchdog)", waited_s, what);
}

static nt_status settle_in_stream(nt_comm *comm, ncclResult_t code, const char *what)
{
    bool late;
    double until = comm->patience_s > 0 ? nt_clock_s() + comm->patience_s + OTHERS_GRACE_S : 0;
    NT_TRY(settle(comm, code == ncclSuccess ? ncclInProgress : code, what, until, &late));
    if (late)
        return no_end(comm, "NCCL cannot begin a collective, because another rank does not answer",
                      comm->patience_s);
    return NT_OK;
}

/* Makes calls (an expression of type ncclResult_t) that put work into the stream, and waits until it is
 * there. */
#define NCCL_ENQUEUE(comm_, what, calls)                                                                     \
    do {                                                                                                     \
        lock_comm((comm_)->gradient_state);                                                                  \
        ncclResult_t code_ = (calls);                                                                        \
        unlock_comm((comm_)->gradient_state);                                                                \
        NT_TRY(settle_in_stream((comm_), code_, (what)));                                                    \
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

static farewell *begin_farewell(ncclComm_t comm, pthread_t *thread)
{
    farewell *f = calloc(1, sizeof *f);
    if (!f) return NULL;
    f->comm = comm;
    if (sem_init(&f->done, 0, 0) == 0) {
        if (pthread_create(thread, NULL, farewell_run, f) == 0) return f;
        sem_destroy(&f->done);
    }
    free(f);
    return NULL;
}

/* ncclCommAbort in a thread of its own; after the deadline the thread is left alone, with its memory. Where
 * there is none to be had, in this one: if it gets stuck, SIGALRM ends the process, and the launcher the
 * others. */
static void abort_comm(ncclComm_t comm)
{
    pthread_t thread;
    farewell *f = begin_farewell(comm, &thread);
    if (!f) {
        signal(SIGALRM, SIG_DFL);
        alarm(END_DEADLINE_S);
        (void)ncclCommAbort(comm);
        alarm(0);
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

static nt_status make_state(nt_comm *comm)
{
    const nt_cuda *cuda = comm->backend->state;
    nccl_state *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        NT_FAIL(NT_ERR_UNAVAILABLE, "cannot make a lock");
    }
    s->compute = cuda->compute;
    s->stream = cuda->comm;
    nt_comm_keep(comm, s); /* whole: from here on another thread may abort it */
    return NT_OK;
}

/* What would make sums differ from call to call, unless the user wants it: reductions in the switch (NVLS),
 * which add in the order in which values arrive, and buffers registered by a captured collective, which make
 * NCCL cut it otherwise than one that is not: the first step of a run, and of a resumed one, is none. */
static void want_the_same_sums(void)
{
    (void)setenv("NCCL_NVLS_ENABLE", "0", 0);
    (void)setenv("NCCL_GRAPH_REGISTER", "0", 0);
}

static nt_status prepare(nt_comm *comm, ncclUniqueId *id)
{
    want_the_same_sums();
    NT_TRY(make_state(comm));
    NT_TRY(make_events(comm));
    ncclResult_t code = comm->rank == 0 ? ncclGetUniqueId(id) : ncclSuccess;
    if (code != ncclSuccess) return nccl_failed(comm, code, "ncclGetUniqueId");
    return NT_OK;
}

static nt_status too_late(nt_comm *comm, int seconds)
{
    const char *interface = getenv("NCCL_SOCKET_IFNAME");
    nt_comm_let_speak(comm, comm->rank < 2 ? comm->rank : 2); /* rank 0 may be the one that is missing */
    NT_FAIL(
        NT_ERR_UNAVAILABLE,
        "NCCL has not connected the %d ranks within %d s (NNTRAIN_INIT_TIMEOUT sets the seconds): a rank has "
        "ended or hangs, or the network does not let them through; NCCL_SOCKET_IFNAME, which chooses the "
        "network, is %s, and NCCL_DEBUG=INFO says what is tried",
        comm->size, seconds, interface ? interface : "not set");
}

/* Ranks that fail here leave the others waiting for them in here: nothing can be agreed on. */
static nt_status begin(nt_comm *comm, ncclUniqueId id)
{
    nccl_state *s = comm->gradient_state;
    int seconds = nt_comm_init_timeout_s();
    double until = nt_clock_s() + seconds;
    bool late;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    (void)nt_fault_point("nccl.init");
    lock_comm(s);
    ncclResult_t code = ncclCommInitRankConfig(&s->comm, comm->size, id, comm->rank, &config);
    unlock_comm(s);
    comm->unreachable = true;
    if (code == ncclSuccess) code = ncclInProgress;
    nt_status status = settle(comm, code, "connecting the ranks", until, &late);
    if (status != NT_OK) nt_comm_let_speak(comm, comm->rank > 0); /* all of them may have the same to say */
    NT_TRY(status);
    if (late) return too_late(comm, seconds);
    comm->unreachable = false;
    return NT_OK;
}

/* Whether what the last collective sums is not there yet. Of one within a graph nobody knows. */
static bool is_late_itself(const nccl_state *s)
{
    if (!s->ready_tells || cudaEventQuery(s->ready) != cudaErrorNotReady) return false;
    (void)cudaGetLastError(); /* "not ready" is kept like an error */
    return true;
}

static nt_status check_patience(nt_comm *comm, double waited_s)
{
    if (comm->patience_s <= 0 || waited_s < comm->patience_s) return NT_OK;
    if (is_late_itself(comm->gradient_state))
        return no_end(comm, "a kernel on the device of this rank does not end", waited_s);
    if (waited_s < comm->patience_s + OTHERS_GRACE_S) return NT_OK;
    nt_phase_tick();
    nt_comm_let_speak(comm, comm->rank > 0);
    return no_end(comm, "a sum over the ranks does not end; a kernel of this rank or another one may hang",
                  waited_s);
}

/* While the host waits for the device: whether what it waits for can still come. */
static nt_status nccl_poll(void *arg, double waited_s)
{
    nt_comm *comm = arg;
    ncclResult_t code = ask(comm->gradient_state);
    if (code == ncclSuccess || code == ncclInProgress) return check_patience(comm, waited_s);
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
    bool finished = s->healthy && finish(comm); /* with poll in place: waiting has a deadline */
    lock_comm(s);
    ncclComm_t last = s->comm;
    s->comm = NULL;
    unlock_comm(s);
    nt_comm_keep(comm, NULL); /* nobody aborts it any more */
    if (finished)
        (void)ncclCommDestroy(last);
    else if (last)
        abort_comm(last);
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
    enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    NT_CUDA_TRY(comm->backend, "cudaStreamIsCapturing", cudaStreamIsCapturing(s->compute, &capture));
    NT_CUDA_TRY(comm->backend, "cudaEventRecord", cudaEventRecord(s->ready, s->compute));
    NT_CUDA_TRY(comm->backend, "cudaStreamWaitEvent", cudaStreamWaitEvent(s->stream, s->ready, 0));
    s->ready_tells = capture == cudaStreamCaptureStatusNone;
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
        NCCL_ENQUEUE(comm, "all-reduce",
                     ncclAllReduce(s->wire, s->wire, (size_t)count, WIRE_TYPE, ncclSum, s->comm, s->stream));
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

/* The library may be absent where this was built with it (lazy/nccl.c), or be an old one. */
static const char *nccl_missing(void)
{
    static char text[96];
    int version;
    if (ncclGetVersion(&version) != ncclSuccess) return "NCCL cannot be loaded on this host";
    if (version >= OLDEST_VERSION) return NULL;
    snprintf(text, sizeof text, "NCCL %d.%d is too old (2.18 or later is needed)", version / 10000,
             version / 100 % 100);
    return text;
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
