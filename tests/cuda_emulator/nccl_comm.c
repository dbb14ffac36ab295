/* The emulated NCCL's communicators: birth, state, errors and end.
 *
 * A non-blocking communicator is connected by a thread of its own, which is the only one that waits; the
 * state is ncclInProgress meanwhile. The struct of a communicator is never freed, so that a call with one
 * that was destroyed or aborted is found and not undefined. */
#include "tests/cuda_emulator/include/nt_emu.h"
#include "tests/cuda_emulator/nccl_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NAPS 10 /* of 0.1 s, before a wait for outstanding work is spoken of */

static ncclComm_t comms; /* all that ever were */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char last_error[512];
static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- words --- */

ncclResult_t nccl_fail(ncclResult_t result, const char *format, ...)
{
    va_list args;
    const char *level = getenv("NCCL_DEBUG");
    pthread_mutex_lock(&error_lock);
    va_start(args, format);
    vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    if (level && strcmp(level, "VERSION") != 0) fprintf(stderr, "emulated NCCL WARN %s\n", last_error);
    pthread_mutex_unlock(&error_lock);
    return result;
}

/* A copy, because another thread may be writing. */
const char *ncclGetLastError(ncclComm_t comm)
{
    static _Thread_local char copy[sizeof last_error];
    (void)comm;
    pthread_mutex_lock(&error_lock);
    memcpy(copy, last_error, sizeof copy);
    pthread_mutex_unlock(&error_lock);
    return copy;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    static const char *const words[ncclNumResults] = {
        [ncclSuccess] = "no error",
        [ncclUnhandledCudaError] = "unhandled CUDA error",
        [ncclSystemError] = "unhandled system error",
        [ncclInternalError] = "internal error",
        [ncclInvalidArgument] = "invalid argument",
        [ncclInvalidUsage] = "invalid usage",
        [ncclRemoteError] = "remote process exited or there was a network error",
        [ncclInProgress] = "operation in progress",
    };
    if ((int)result < 0 || result >= ncclNumResults) return "unknown result code";
    return words[result];
}

ncclResult_t ncclGetVersion(int *version)
{
    if (!version) return nccl_fail(ncclInvalidArgument, "ncclGetVersion(NULL)");
    *version = (int)nt_emu_env("NT_EMU_NCCL_VERSION", NCCL_VERSION_CODE);
    return ncclSuccess;
}

/* --- state --- */

void nccl_set_state(ncclComm_t comm, ncclResult_t result)
{
    int now = atomic_load_explicit(&comm->state, memory_order_relaxed);
    while (now == ncclSuccess || now == ncclInProgress)
        if (atomic_compare_exchange_weak_explicit(&comm->state, &now, (int)result, memory_order_relaxed,
                                                  memory_order_relaxed))
            return;
}

static ncclResult_t state_of(ncclComm_t comm)
{
    return (ncclResult_t)atomic_load_explicit(&comm->state, memory_order_relaxed);
}

/* Alive: not destroyed, not aborted, and a communicator at all. */
static ncclResult_t check_alive(ncclComm_t comm, const char *what)
{
    static const char *const ends[] = {"is none", "was finalized", "was destroyed", "was aborted"};
    if (!comm) return nccl_fail(ncclInvalidArgument, "%s: the communicator is NULL", what);
    pthread_mutex_lock(&lock);
    ncclComm_t c = comms;
    while (c && c != comm)
        c = c->next;
    pthread_mutex_unlock(&lock);
    int life = c ? atomic_load(&c->life) : NCCL_LIVE;
    if (c && (life == NCCL_LIVE || life == NCCL_FINALIZED)) return ncclSuccess;
    nt_emu_complain("NCCL: %s with a communicator that %s", what, ends[life]);
    return nccl_fail(ncclInvalidArgument, "%s with a communicator that %s", what, ends[life]);
}

ncclResult_t nccl_check_ready(ncclComm_t comm, const char *what)
{
    ncclResult_t result = check_alive(comm, what);
    if (result != ncclSuccess) return result;
    nccl_join_helper(comm, false);
    result = state_of(comm);
    if (result == ncclInProgress)
        return nccl_fail(
            ncclInvalidArgument,
            "%s: the previous operation is in progress; ncclCommGetAsyncError says when it is not", what);
    if (result == ncclSuccess && atomic_load(&comm->life) == NCCL_FINALIZED) {
        nt_emu_complain("NCCL: %s with a communicator that was finalized", what);
        return nccl_fail(ncclInvalidArgument, "%s with a communicator that was finalized", what);
    }
    return result;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error)
{
    ncclResult_t result = check_alive(comm, "ncclCommGetAsyncError");
    if (result != ncclSuccess) return result;
    if (!error) return nccl_fail(ncclInvalidArgument, "ncclCommGetAsyncError(..., NULL)");
    nccl_join_helper(comm, false);
    *error = state_of(comm);
    return ncclSuccess;
}

/* --- helpers --- */

ncclResult_t nccl_start_helper(ncclComm_t comm, void *(*body)(void *), void *arg)
{
    nccl_join_helper(comm, true);
    atomic_store_explicit(&comm->state, ncclInProgress, memory_order_relaxed);
    int code = pthread_create(&comm->helper, NULL, body, arg);
    comm->has_helper = code == 0;
    if (code == 0) return ncclInProgress;
    ncclResult_t result = nccl_fail(ncclSystemError, "cannot start a thread: %s", strerror(code));
    nccl_set_state(comm, result);
    return result;
}

void nccl_join_helper(ncclComm_t comm, bool wait)
{
    if (!comm->has_helper || (!wait && state_of(comm) == ncclInProgress)) return;
    pthread_join(comm->helper, NULL);
    comm->has_helper = false;
}

/* --- birth --- */

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    if (!id) return nccl_fail(ncclInvalidArgument, "ncclGetUniqueId(NULL)");
    ncclResult_t result = nccl_check_network();
    return result == ncclSuccess ? nccl_segment_make(id) : result;
}

static ncclResult_t find_device(ncclComm_t comm)
{
    struct cudaDeviceProp prop;
    cudaError_t error = cudaGetDevice(&comm->device);
    if (error == cudaSuccess) error = cudaGetDeviceProperties(&prop, comm->device);
    if (error == cudaSuccess) error = cudaDeviceGetPCIBusId(comm->bus, sizeof comm->bus, comm->device);
    if (error != cudaSuccess)
        return nccl_fail(ncclUnhandledCudaError, "Cuda failure '%s'", cudaGetErrorString(error));
    memcpy(comm->uuid, prop.uuid.bytes, sizeof comm->uuid);
    return ncclSuccess;
}

static ncclResult_t check_config(const ncclConfig_t *config, bool *blocking)
{
    *blocking = true;
    if (!config) return ncclSuccess;
    if (config->magic != NT_EMU_NCCL_CONFIG_MAGIC || config->size < offsetof(ncclConfig_t, cgaClusterSize))
        return nccl_fail(ncclInvalidArgument, "the config was not begun with NCCL_CONFIG_INITIALIZER");
    if (config->blocking != NCCL_CONFIG_UNDEF_INT && config->blocking != 0 && config->blocking != 1)
        return nccl_fail(ncclInvalidArgument, "config.blocking is %d", config->blocking);
    *blocking = config->blocking != 0;
    return ncclSuccess;
}

static ncclResult_t make_comm(ncclComm_t *comm, int n_ranks, const ncclUniqueId *id, int rank, bool blocking)
{
    ncclComm_t c = calloc(1, sizeof *c);
    if (!c) return nccl_fail(ncclSystemError, "out of memory");
    c->rank = rank;
    c->size = n_ranks;
    c->blocking = blocking;
    c->id = *id;
    atomic_store(&c->state, ncclInProgress);
    ncclResult_t result = find_device(c);
    if (result == ncclSuccess && pthread_mutex_init(&c->issuing, NULL) != 0)
        result = nccl_fail(ncclSystemError, "cannot make a lock");
    if (result != ncclSuccess) {
        free(c);
        return result;
    }
    pthread_mutex_lock(&lock);
    c->next = comms;
    comms = c;
    pthread_mutex_unlock(&lock);
    *comm = c;
    return ncclSuccess;
}

static void *connect_ranks(void *arg)
{
    ncclComm_t comm = arg;
    ncclResult_t result = nccl_segment_join(comm);
    if (result != ncclSuccess) nccl_segment_leave(comm, NCCL_ABORTED);
    nccl_set_state(comm, result);
    return NULL;
}

ncclResult_t nccl_finish_init(ncclComm_t comm)
{
    nccl_join_helper(comm, comm->blocking);
    return state_of(comm);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    bool blocking;
    if (!comm) return nccl_fail(ncclInvalidArgument, "ncclCommInitRankConfig without a place for the result");
    *comm = NULL;
    if (nranks < 1 || rank < 0 || rank >= nranks || nranks > NCCL_MAX_RANKS)
        return nccl_fail(ncclInvalidArgument, "rank %d of %d (the emulator has %d at most)", rank, nranks,
                         NCCL_MAX_RANKS);
    ncclResult_t result = check_config(config, &blocking);
    if (result == ncclSuccess) result = nccl_check_network();
    if (result == ncclSuccess) result = make_comm(comm, nranks, &id, rank, blocking);
    if (result != ncclSuccess) return result;
    result = nccl_start_helper(*comm, connect_ranks, *comm);
    if (nccl_group_takes_init(*comm)) return ncclSuccess;
    if (blocking) result = nccl_finish_init(*comm);
    if (result != ncclSuccess && result != ncclInProgress) {
        (void)ncclCommAbort(*comm);
        *comm = NULL;
    }
    return result;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank)
{
    return ncclCommInitRankConfig(comm, nranks, id, rank, NULL);
}

/* --- questions --- */

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count)
{
    ncclResult_t result = nccl_check_ready(comm, "ncclCommCount");
    if (result == ncclSuccess) *count = comm->size;
    return result;
}

ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank)
{
    ncclResult_t result = nccl_check_ready(comm, "ncclCommUserRank");
    if (result == ncclSuccess) *rank = comm->rank;
    return result;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device)
{
    ncclResult_t result = nccl_check_ready(comm, "ncclCommCuDevice");
    if (result == ncclSuccess) *device = comm->device;
    return result;
}

/* --- end --- */

/* Until all work given to streams is done, or the communicator is aborted. */
static void wait_for_work(ncclComm_t comm, const char *what)
{
    uint32_t left;
    int naps = 0;
    while ((left = atomic_load_explicit(&comm->n_queued, memory_order_acquire)) > 0 &&
           !atomic_load(&comm->aborted)) {
        if (nccl_sleep(&comm->n_queued, left, false)) continue;
        if (++naps == PATIENCE_NAPS)
            fprintf(stderr, "emulated NCCL: %s waits for %u outstanding collective(s), like the original\n",
                    what, left);
    }
}

static void *finish(void *arg)
{
    ncclComm_t comm = arg;
    wait_for_work(comm, "ncclCommFinalize");
    nccl_segment_leave(comm, NCCL_LEFT);
    nccl_set_state(comm, ncclSuccess);
    return NULL;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm)
{
    ncclResult_t result = nccl_check_ready(comm, "ncclCommFinalize");
    if (result != ncclSuccess) return result;
    atomic_store(&comm->life, NCCL_FINALIZED);
    if (!comm->blocking) return nccl_start_helper(comm, finish, comm);
    finish(comm);
    return state_of(comm);
}

/* Waits for outstanding work, if need be for ever; then nothing is left but the struct. */
ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    ncclResult_t result = check_alive(comm, "ncclCommDestroy");
    if (result != ncclSuccess) return result;
    nccl_join_helper(comm, true);
    wait_for_work(comm, "ncclCommDestroy");
    nccl_segment_leave(comm, NCCL_LEFT);
    atomic_store(&comm->life, NCCL_DESTROYED);
    nccl_segment_unmap(comm);
    return ncclSuccess;
}

/* NT_EMU_NCCL_ABORT_HANG=1: never comes back, as the original may not on a device that hangs. */
static void hang_on_demand(void)
{
    if (!nt_emu_env("NT_EMU_NCCL_ABORT_HANG", 0)) return;
    fprintf(stderr, "emulated NCCL: ncclCommAbort hangs, as NT_EMU_NCCL_ABORT_HANG wants it\n");
    for (;;)
        pause();
}

/* The memory stays mapped: work that was not reached yet may still look at it. */
ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    uint32_t n;
    ncclResult_t result = check_alive(comm, "ncclCommAbort");
    if (result != ncclSuccess) return result;
    hang_on_demand();
    atomic_store(&comm->aborted, 1);
    nccl_wake(&comm->aborted, false);
    nccl_wake(&comm->busy, false);
    nccl_wake(&comm->turn, false);
    nccl_wake_waiting(comm);
    nccl_join_helper(comm, true);
    while ((n = atomic_load(&comm->n_running)) > 0)
        (void)nccl_sleep(&comm->n_running, n, false);
    nccl_segment_leave(comm, NCCL_ABORTED);
    atomic_store(&comm->life, NCCL_GIVEN_UP);
    return ncclSuccess;
}
