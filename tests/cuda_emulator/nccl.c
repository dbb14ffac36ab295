/* The emulated NCCL: collectives between processes of one machine over shared memory. A test double, written
 * from the public documentation; the parts are listed in nccl_parts.h.
 *
 * A collective is checked here, harder than by the original, which knows nothing of how long a buffer is: the
 * memory must lie inside one live allocation of the communicator's device, so a byte count passed as element
 * count does not pass (unless an arena around the buffer is that long). Then it becomes work of a stream,
 * captured if the stream is; what it does there is in nccl_run.c.
 *
 * On a non-blocking communicator the first collective of each kind, and with NT_EMU_SEED now and then another
 * one, is late, as when the original connects devices at first use: the call returns ncclInProgress, and the
 * work comes into the stream a little later. Who records an event before ncclCommGetAsyncError says
 * ncclSuccess records it too early. */
#include "tests/cuda_emulator/include/nt_emu.h"
#include "tests/cuda_emulator/nccl_parts.h"
#include "tests/cuda_emulator/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LATE_NS 50000000 /* long enough to be seen on a loaded machine */

/* What this thread has gathered between ncclGroupStart and ncclGroupEnd. */
static _Thread_local struct {
    int depth;
    ncclResult_t result; /* first error inside */
    nccl_job *first, *last;
    ncclComm_t inits;
} group;

/* --- checks --- */

static ncclResult_t refuse(const char *what, const char *why)
{
    nt_emu_complain("NCCL: %s: %s", what, why);
    return nccl_fail(ncclInvalidArgument, "%s: %s", what, why);
}

static ncclResult_t check_values(const nccl_job *job, bool has_op, bool has_root)
{
    const nccl_call *c = &job->call;
    const char *what = nccl_kind_names[c->kind];
    if (c->type == ncclFloat16) return nccl_fail(ncclInvalidArgument, "%s: no float16 is emulated", what);
    if (c->type < 0 || nccl_type_bytes((ncclDataType_t)c->type) == 0)
        return nccl_fail(ncclInvalidArgument, "%s: invalid type %d", what, c->type);
    if (has_op && (c->op < 0 || c->op > ncclAvg))
        return nccl_fail(ncclInvalidArgument, "%s: invalid reduction operation %d", what, c->op);
    if (has_root && (c->root < 0 || c->root >= job->comm->size))
        return nccl_fail(ncclInvalidArgument, "%s: invalid root %d of %d ranks", what, c->root,
                         job->comm->size);
    if (c->count > SIZE_MAX / 2 / 8 / NCCL_MAX_RANKS)
        return nccl_fail(ncclInvalidArgument, "%s: %llu elements", what, (unsigned long long)c->count);
    return ncclSuccess;
}

/* Whether n elements at p are the device's; `side` for the message. */
static ncclResult_t check_memory(const nccl_job *job, const char *side, const void *p, size_t n)
{
    static const char *const kinds[] = {[EMU_MEMORY_HOST] = "ordinary host memory",
                                        [EMU_MEMORY_PINNED] = "pinned host memory",
                                        [EMU_MEMORY_DEVICE] = "memory of another device",
                                        [EMU_MEMORY_OUTSIDE] = "not wholly inside one allocation",
                                        [EMU_MEMORY_FREED] = "memory that is freed or was never allocated"};
    char why[300];
    int device = -1;
    size_t width = nccl_type_bytes((ncclDataType_t)job->call.type);
    if (n == 0) return ncclSuccess;
    emu_memory memory = emu_memory_at(p, n * width, &device);
    if ((uintptr_t)p % width) memory = EMU_MEMORY_OUTSIDE;
    if (memory == EMU_MEMORY_PINNED || (memory == EMU_MEMORY_DEVICE && device == job->comm->device))
        return ncclSuccess;
    snprintf(why, sizeof why, "the %s buffer %p of %zu elements of %zu bytes (%zu bytes) is %s%s", side, p, n,
             width, n * width, (uintptr_t)p % width ? "unaligned, or " : "", kinds[memory]);
    return refuse(nccl_kind_names[job->call.kind], why);
}

/* Buffers may be one and the same the way it is documented, and must not overlap otherwise. */
static ncclResult_t check_overlap(const nccl_job *job, size_t n_send, size_t n_recv)
{
    size_t width = nccl_type_bytes((ncclDataType_t)job->call.type);
    size_t own = (size_t)job->comm->rank * job->call.count * width;
    const char *send = job->send, *recv = job->recv;
    bool apart = n_send == 0 || n_recv == 0 || send >= recv + n_recv * width || recv >= send + n_send * width;
    bool in_place = send == recv;
    if (job->call.kind == NCCL_REDUCE_SCATTER) in_place = recv == send + own;
    if (job->call.kind == NCCL_ALL_GATHER) in_place = send == recv + own;
    if (apart || in_place) return ncclSuccess;
    return refuse(nccl_kind_names[job->call.kind], "the buffers overlap, but not as for a call in place");
}

static ncclResult_t check_buffers(const nccl_job *job)
{
    const nccl_call *c = &job->call;
    size_t n_send = c->count, n_recv = c->count, size = (size_t)job->comm->size;
    bool is_root = c->root == job->comm->rank;
    if (c->kind == NCCL_REDUCE_SCATTER) n_send *= size;
    if (c->kind == NCCL_ALL_GATHER) n_recv *= size;
    if (c->kind == NCCL_BROADCAST && !is_root) n_send = 0;
    if (c->kind == NCCL_REDUCE && !is_root) n_recv = 0;
    ncclResult_t result = check_memory(job, "send", job->send, n_send);
    if (result == ncclSuccess) result = check_memory(job, "receive", job->recv, n_recv);
    return result == ncclSuccess ? check_overlap(job, n_send, n_recv) : result;
}

static ncclResult_t check_stream(const nccl_job *job)
{
    int device = job->stream ? emu_stream_device(job->stream) : job->comm->device;
    if (device == job->comm->device) return ncclSuccess;
    if (device < 0) return refuse(nccl_kind_names[job->call.kind], "no such stream");
    return refuse(nccl_kind_names[job->call.kind], "the stream is of another device than the communicator");
}

static ncclResult_t check_job(const nccl_job *job, bool has_op, bool has_root)
{
    ncclResult_t result = nccl_check_ready(job->comm, nccl_kind_names[job->call.kind]);
    if (result == ncclSuccess) result = check_values(job, has_op, has_root);
    if (result == ncclSuccess) result = check_stream(job);
    return result == ncclSuccess ? check_buffers(job) : result;
}

/* --- into the streams --- */

/* With comm->issuing taken: tickets are given in the order of the stream. */
static cudaError_t issue_locked(nccl_job *job)
{
    ncclComm_t comm = job->comm;
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    emu_work work = {.what = nccl_kind_names[job->call.kind],
                     .run = nccl_run,
                     .destroy = nccl_run_over,
                     .arg = job,
                     .waits_outside = true};
    cudaError_t error = cudaStreamIsCapturing(job->stream, &status);
    if (error != cudaSuccess) return error;
    job->captured = status != cudaStreamCaptureStatusNone;
    job->ticket = comm->next_ticket;
    if (!job->captured) {
        comm->next_ticket++;
        atomic_fetch_add_explicit(&comm->n_queued, 1, memory_order_relaxed);
    }
    bool captured = job->captured;
    error = emu_enqueue(job->stream, &work);
    if (error == cudaSuccess || captured) return error;
    comm->next_ticket--;
    atomic_fetch_sub_explicit(&comm->n_queued, 1, memory_order_relaxed);
    return error;
}

/* Takes the job over. The current device is the communicator's meanwhile. */
static ncclResult_t issue(nccl_job *job)
{
    ncclComm_t comm = job->comm;
    int current = comm->device;
    (void)cudaGetDevice(&current);
    if (current != comm->device) (void)cudaSetDevice(comm->device);
    pthread_mutex_lock(&comm->issuing);
    cudaError_t error = issue_locked(job);
    pthread_mutex_unlock(&comm->issuing);
    if (current != comm->device) (void)cudaSetDevice(current);
    if (error == cudaSuccess) return ncclSuccess;
    free(job);
    return nccl_fail(ncclUnhandledCudaError, "Cuda failure '%s'", cudaGetErrorString(error));
}

/* All of a list; after an error the rest is dropped. */
static ncclResult_t issue_all(nccl_job *jobs)
{
    ncclResult_t result = ncclSuccess;
    while (jobs) {
        nccl_job *job = jobs;
        jobs = job->next;
        if (result == ncclSuccess)
            result = issue(job);
        else
            free(job);
    }
    return result;
}

/* --- late work --- */

typedef struct late_work {
    nccl_job *jobs;
    int n_comms;
    ncclComm_t comms[]; /* in progress until it is done */
} late_work;

static void *issue_late(void *arg)
{
    late_work *late = arg;
    const struct timespec nap = {.tv_nsec = LATE_NS};
    nanosleep(&nap, NULL);
    ncclResult_t result = issue_all(late->jobs);
    for (int i = 0; i < late->n_comms; i++)
        nccl_set_state(late->comms[i], result);
    free(late);
    return NULL;
}

static bool wants_to_be_late(const nccl_job *job)
{
    uint32_t kind = 1u << job->call.kind;
    if (job->comm->blocking) return false;
    bool first = !(job->comm->connected & kind);
    job->comm->connected |= kind;
    return first || nt_emu_random() % 8 == 1;
}

static bool contains(const late_work *late, const ncclComm_t comm)
{
    for (int i = 0; i < late->n_comms; i++)
        if (late->comms[i] == comm) return true;
    return false;
}

static ncclResult_t start_late(nccl_job *jobs, int n_jobs)
{
    late_work *late = calloc(1, sizeof *late + (size_t)n_jobs * sizeof(ncclComm_t));
    if (!late) return nccl_fail(ncclSystemError, "out of memory");
    late->jobs = jobs;
    for (const nccl_job *j = jobs; j; j = j->next)
        if (!j->comm->blocking && !contains(late, j->comm)) late->comms[late->n_comms++] = j->comm;
    for (int i = 1; i < late->n_comms; i++)
        atomic_store_explicit(&late->comms[i]->state, ncclInProgress, memory_order_relaxed);
    return nccl_start_helper(late->comms[0], issue_late, late);
}

/* Takes the jobs over. */
static ncclResult_t submit(nccl_job *jobs)
{
    int n_jobs = 0;
    bool late = false;
    for (nccl_job *j = jobs; j; j = j->next, n_jobs++)
        late = wants_to_be_late(j) || late;
    return late ? start_late(jobs, n_jobs) : issue_all(jobs);
}

/* --- groups --- */

bool nccl_group_takes_init(ncclComm_t comm)
{
    if (group.depth == 0) return false;
    comm->next_in_group = group.inits;
    group.inits = comm;
    return true;
}

ncclResult_t ncclGroupStart(void)
{
    group.depth++;
    return ncclSuccess;
}

/* The worst of the communicators that were begun inside. */
static ncclResult_t end_inits(ncclComm_t comm)
{
    ncclResult_t result = ncclSuccess;
    for (; comm; comm = comm->next_in_group) {
        ncclResult_t one = nccl_finish_init(comm);
        if (one != ncclSuccess && (result == ncclSuccess || result == ncclInProgress)) result = one;
    }
    return result;
}

static void drop(nccl_job *jobs)
{
    while (jobs) {
        nccl_job *next = jobs->next;
        free(jobs);
        jobs = next;
    }
}

ncclResult_t ncclGroupEnd(void)
{
    if (group.depth == 0) return nccl_fail(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
    if (--group.depth > 0) return ncclSuccess;
    nccl_job *jobs = group.first;
    ncclComm_t inits = group.inits;
    ncclResult_t result = group.result;
    group.first = group.last = NULL;
    group.inits = NULL;
    group.result = ncclSuccess;
    ncclResult_t begun = end_inits(inits);
    if (result == ncclSuccess) result = begun;
    if (result != ncclSuccess) {
        drop(jobs);
        return result;
    }
    return jobs ? submit(jobs) : ncclSuccess;
}

/* --- collectives --- */

static ncclResult_t add_to_group(nccl_job *job)
{
    if (group.last)
        group.last->next = job;
    else
        group.first = job;
    group.last = job;
    return ncclSuccess;
}

static ncclResult_t take(const nccl_job *given, bool has_op, bool has_root)
{
    ncclResult_t result = check_job(given, has_op, has_root);
    nccl_job *job = result == ncclSuccess ? malloc(sizeof *job) : NULL;
    if (result == ncclSuccess && !job) result = nccl_fail(ncclSystemError, "out of memory");
    if (result != ncclSuccess) {
        if (group.depth > 0 && group.result == ncclSuccess) group.result = result;
        return result;
    }
    *job = *given;
    return group.depth > 0 ? add_to_group(job) : submit(job);
}

ncclResult_t ncclAllReduce(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    nccl_job job = {.comm = comm, .send = sendbuff, .recv = recvbuff, .stream = stream};
    job.call = (nccl_call){
        .kind = NCCL_ALL_REDUCE, .count = count, .type = (int32_t)datatype, .op = (int32_t)op, .root = -1};
    return take(&job, true, false);
}

ncclResult_t ncclReduce(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream)
{
    nccl_job job = {.comm = comm, .send = sendbuff, .recv = recvbuff, .stream = stream};
    job.call = (nccl_call){
        .kind = NCCL_REDUCE, .count = count, .type = (int32_t)datatype, .op = (int32_t)op, .root = root};
    return take(&job, true, true);
}

ncclResult_t ncclReduceScatter(const void *sendbuff, void *recvbuff, size_t recvcount,
                               ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    nccl_job job = {.comm = comm, .send = sendbuff, .recv = recvbuff, .stream = stream};
    job.call = (nccl_call){.kind = NCCL_REDUCE_SCATTER,
                           .count = recvcount,
                           .type = (int32_t)datatype,
                           .op = (int32_t)op,
                           .root = -1};
    return take(&job, true, false);
}

ncclResult_t ncclAllGather(const void *sendbuff, void *recvbuff, size_t sendcount, ncclDataType_t datatype,
                           ncclComm_t comm, cudaStream_t stream)
{
    nccl_job job = {.comm = comm, .send = sendbuff, .recv = recvbuff, .stream = stream};
    job.call = (nccl_call){
        .kind = NCCL_ALL_GATHER, .count = sendcount, .type = (int32_t)datatype, .op = -1, .root = -1};
    return take(&job, false, false);
}

ncclResult_t ncclBroadcast(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                           int root, ncclComm_t comm, cudaStream_t stream)
{
    nccl_job job = {.comm = comm, .send = sendbuff, .recv = recvbuff, .stream = stream};
    job.call = (nccl_call){
        .kind = NCCL_BROADCAST, .count = count, .type = (int32_t)datatype, .op = -1, .root = root};
    return take(&job, false, true);
}
