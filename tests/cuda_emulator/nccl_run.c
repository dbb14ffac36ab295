/* The emulated NCCL's collectives, as they run: on the thread that serves a stream, one of a communicator at
 * a time.
 *
 * Ranks first show each other what they were called with; the same everywhere, or it is said on stderr and
 * the communicator fails (the original would hang, or add apples to pears). Then data pass through the shared
 * memory by chunks: all put in, all meet, each reduces a part of the ranks' chunks in the order of ranks, all
 * meet, all take out. So sums are the same on all ranks, and at all times.
 *
 * Work that cannot go on (a peer has died, a mismatch, a hang on demand) stalls until the communicator is
 * aborted, like a kernel that spins on the device: who waits for its stream waits for ever, unless he asks
 * for the asynchronous error. */
#include "tests/cuda_emulator/include/nt_emu.h"
#include "tests/cuda_emulator/nccl_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const nccl_kind_names[NCCL_N_KINDS] = {"ncclAllReduce", "ncclReduce", "ncclReduceScatter",
                                                   "ncclAllGather", "ncclBroadcast"};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Collective work runs from here to the end; other work of the communicator waits. */
static bool take_turn(const nccl_job *job)
{
    ncclComm_t comm = job->comm;
    uint32_t turn, free_now;
    while (!job->captured && (turn = atomic_load(&comm->turn)) != (uint32_t)job->ticket) {
        if (atomic_load_explicit(&comm->aborted, memory_order_relaxed)) return false;
        (void)nccl_sleep(&comm->turn, turn, false);
    }
    while (free_now = 0, !atomic_compare_exchange_strong(&comm->busy, &free_now, 1)) {
        if (atomic_load_explicit(&comm->aborted, memory_order_relaxed)) return false;
        (void)nccl_sleep(&comm->busy, 1, false);
    }
    return true;
}

static void end_turn(const nccl_job *job)
{
    ncclComm_t comm = job->comm;
    if (!job->captured) {
        atomic_fetch_add(&comm->turn, 1);
        nccl_wake(&comm->turn, false);
    }
    atomic_store(&comm->busy, 0);
    nccl_wake(&comm->busy, false);
}

static void stall(ncclComm_t comm)
{
    while (!atomic_load_explicit(&comm->aborted, memory_order_relaxed))
        (void)nccl_sleep(&comm->aborted, 0, false);
}

/* NT_EMU_NCCL_HANG=K[@RANK]: whether this collective, the K-th of the process (from 1), is the one. */
static bool hangs_on_demand(const nccl_job *job)
{
    static _Atomic int64_t n_begun;
    const char *text = getenv("NT_EMU_NCCL_HANG");
    int64_t number = atomic_fetch_add_explicit(&n_begun, 1, memory_order_relaxed) + 1;
    long long wanted = 0;
    int rank = job->comm->rank;
    if (!text || !text[0]) return false;
    if (sscanf(text, "%lld@%d", &wanted, &rank) < 1)
        nt_emu_die("NT_EMU_NCCL_HANG=%s is not a number, or number@rank", text);
    if (wanted != number || rank != job->comm->rank) return false;
    fprintf(stderr, "emulated NCCL: collective %lld (%s) hangs on rank %d, as NT_EMU_NCCL_HANG wants it\n",
            wanted, nccl_kind_names[job->call.kind], rank);
    return true;
}

/* --- the same call everywhere --- */

void nccl_describe(const nccl_call *call, char *text, size_t n_bytes)
{
    static const char *const types[] = {"ncclInt8",    "ncclUint8",   "ncclInt32",   "ncclUint32",
                                        "ncclInt64",   "ncclUint64",  "ncclFloat16", "ncclFloat32",
                                        "ncclFloat64", "ncclBfloat16"};
    static const char *const ops[] = {"ncclSum", "ncclProd", "ncclMax", "ncclMin", "ncclAvg"};
    int n = snprintf(text, n_bytes, "%s(count %llu, %s", nccl_kind_names[call->kind],
                     (unsigned long long)call->count, types[call->type]);
    if (call->op >= 0 && n < (int)n_bytes)
        n += snprintf(text + n, n_bytes - (size_t)n, ", %s", ops[call->op]);
    if (call->root >= 0 && n < (int)n_bytes)
        n += snprintf(text + n, n_bytes - (size_t)n, ", root %d", call->root);
    if (n < (int)n_bytes) snprintf(text + n, n_bytes - (size_t)n, ")");
}

static bool same_call(const nccl_call *a, const nccl_call *b)
{
    return a->number == b->number && a->count == b->count && a->kind == b->kind && a->type == b->type &&
           a->op == b->op && a->root == b->root;
}

/* Said once, by the lowest rank. */
static void mismatch(ncclComm_t comm, const nccl_call *first, int rank, const nccl_call *other)
{
    char a[160], b[160];
    nccl_describe(first, a, sizeof a);
    nccl_describe(other, b, sizeof b);
    ncclResult_t result =
        nccl_fail(ncclInvalidUsage, "collective %llu of the communicator: rank 0 calls %s, rank %d calls %s",
                  (unsigned long long)first->number + 1, a, rank, b);
    if (comm->rank == 0)
        fprintf(stderr, "emulated NCCL: %s (the original would hang)\n", ncclGetLastError(NULL));
    nccl_set_state(comm, result);
}

static bool agree(nccl_job *job)
{
    ncclComm_t comm = job->comm;
    nccl_peer *peers = comm->segment->peers;
    job->call.number = comm->n_collectives++;
    int slot = (int)(job->call.number & 1);
    peers[comm->rank].calls[slot] = job->call;
    if (!nccl_meet(comm)) return false;
    for (int r = 1; r < comm->size; r++)
        if (!same_call(&peers[0].calls[slot], &peers[r].calls[slot])) {
            mismatch(comm, &peers[0].calls[slot], r, &peers[r].calls[slot]);
            return false;
        }
    return true;
}

/* --- collectives --- */

/* out (n) = the ranks' elements from byte `offset` of their areas on, reduced. */
static void reduce_areas(const nccl_job *job, void *out, size_t offset, size_t n)
{
    const nccl_call *c = &job->call;
    ncclComm_t comm = job->comm;
    nccl_reduce_first(out, nccl_area(comm, 0) + offset, n, c->type, c->op, comm->size);
    for (int r = 1; r < comm->size; r++)
        nccl_reduce_next(out, nccl_area(comm, r) + offset, n, c->type, c->op, comm->size);
    nccl_reduce_last(out, n, c->type, c->op, comm->size);
}

/* The others' results are on their way while this rank's are reduced: each reduces one part for all. */
static bool run_all_reduce(nccl_job *job)
{
    ncclComm_t comm = job->comm;
    size_t width = nccl_type_bytes((ncclDataType_t)job->call.type), chunk = NCCL_CHUNK_BYTES / width;
    char *results = nccl_area(comm, comm->size);
    for (size_t at = 0; at < job->call.count; at += chunk) {
        size_t n = least(job->call.count - at, chunk), size = (size_t)comm->size, rank = (size_t)comm->rank;
        size_t begin = n * rank / size, end = n * (rank + 1) / size;
        memcpy(nccl_area(comm, comm->rank), (const char *)job->send + at * width, n * width);
        if (!nccl_meet(comm)) return false;
        if (end > begin) reduce_areas(job, results + begin * width, begin * width, end - begin);
        if (!nccl_meet(comm)) return false;
        memcpy((char *)job->recv + at * width, results, n * width);
    }
    return true;
}

static bool run_reduce(nccl_job *job)
{
    ncclComm_t comm = job->comm;
    size_t width = nccl_type_bytes((ncclDataType_t)job->call.type), chunk = NCCL_CHUNK_BYTES / width;
    for (size_t at = 0; at < job->call.count; at += chunk) {
        size_t n = least(job->call.count - at, chunk);
        memcpy(nccl_area(comm, comm->rank), (const char *)job->send + at * width, n * width);
        if (!nccl_meet(comm)) return false;
        if (comm->rank == job->call.root) reduce_areas(job, (char *)job->recv + at * width, 0, n);
        if (!nccl_meet(comm)) return false;
    }
    return true;
}

/* An area holds a piece for each rank. */
static bool run_reduce_scatter(nccl_job *job)
{
    ncclComm_t comm = job->comm;
    size_t width = nccl_type_bytes((ncclDataType_t)job->call.type);
    size_t chunk = NCCL_CHUNK_BYTES / width / (size_t)comm->size;
    for (size_t at = 0; at < job->call.count; at += chunk) {
        size_t n = least(job->call.count - at, chunk);
        for (size_t r = 0; r < (size_t)comm->size; r++)
            memcpy(nccl_area(comm, comm->rank) + r * n * width,
                   (const char *)job->send + (r * job->call.count + at) * width, n * width);
        if (!nccl_meet(comm)) return false;
        reduce_areas(job, (char *)job->recv + at * width, (size_t)comm->rank * n * width, n);
        if (!nccl_meet(comm)) return false;
    }
    return true;
}

static bool run_all_gather(nccl_job *job)
{
    ncclComm_t comm = job->comm;
    size_t width = nccl_type_bytes((ncclDataType_t)job->call.type), chunk = NCCL_CHUNK_BYTES / width;
    for (size_t at = 0; at < job->call.count; at += chunk) {
        size_t n = least(job->call.count - at, chunk);
        memcpy(nccl_area(comm, comm->rank), (const char *)job->send + at * width, n * width);
        if (!nccl_meet(comm)) return false;
        for (size_t r = 0; r < (size_t)comm->size; r++)
            memcpy((char *)job->recv + (r * job->call.count + at) * width, nccl_area(comm, (int)r),
                   n * width);
        if (!nccl_meet(comm)) return false;
    }
    return true;
}

static bool run_broadcast(nccl_job *job)
{
    ncclComm_t comm = job->comm;
    size_t width = nccl_type_bytes((ncclDataType_t)job->call.type), chunk = NCCL_CHUNK_BYTES / width;
    bool is_root = comm->rank == job->call.root;
    for (size_t at = 0; at < job->call.count; at += chunk) {
        size_t n = least(job->call.count - at, chunk);
        if (is_root) memcpy(nccl_area(comm, job->call.root), (const char *)job->send + at * width, n * width);
        if (!nccl_meet(comm)) return false;
        if (!is_root || job->recv != job->send)
            memcpy((char *)job->recv + at * width, nccl_area(comm, job->call.root), n * width);
        if (!nccl_meet(comm)) return false;
    }
    return true;
}

static bool run_job(nccl_job *job)
{
    static bool (*const bodies[NCCL_N_KINDS])(nccl_job *) = {run_all_reduce, run_reduce, run_reduce_scatter,
                                                             run_all_gather, run_broadcast};
    if (hangs_on_demand(job)) return false;
    return agree(job) && bodies[job->call.kind](job);
}

static void run_in_turn(nccl_job *job)
{
    if (!take_turn(job)) return;
    if (!run_job(job)) stall(job->comm);
    end_turn(job);
}

cudaError_t nccl_run(void *arg)
{
    nccl_job *job = arg;
    ncclComm_t comm = job->comm;
    job->ran = true;
    atomic_fetch_add(&comm->n_running, 1);
    int life = atomic_load_explicit(&comm->life, memory_order_relaxed);
    bool gone = life == NCCL_DESTROYED;
    if (!gone && life != NCCL_GIVEN_UP && !atomic_load_explicit(&comm->aborted, memory_order_relaxed))
        run_in_turn(job);
    atomic_fetch_sub(&comm->n_running, 1);
    nccl_wake(&comm->n_running, false);
    if (!gone) return cudaSuccess;
    nt_emu_complain("NCCL: a graph runs %s on a communicator that was destroyed",
                    nccl_kind_names[job->call.kind]);
    return cudaErrorLaunchFailure;
}

void nccl_run_over(void *arg)
{
    nccl_job *job = arg;
    ncclComm_t comm = job->comm;
    if (!job->captured) {
        atomic_fetch_sub_explicit(&comm->n_queued, 1, memory_order_release);
        nccl_wake(&comm->n_queued, false);
        if (!job->ran)
            nccl_set_state(comm, nccl_fail(ncclUnhandledCudaError, "the device failed before %s could run",
                                           nccl_kind_names[job->call.kind]));
    }
    free(job);
}
