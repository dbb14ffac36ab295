/* For tests of the emulated NCCL: ranks as forked processes with a device each, that get one unique id
 * through memory shared with the test. */
#ifndef NT_EMU_TESTS_NCCL_RANKS_H
#define NT_EMU_TESTS_NCCL_RANKS_H

#include "tests/cuda_emulator/tests/process.h"

#include <cuda_runtime.h>
#include <nccl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#define RANKS_MAX 4
#define LIMIT_S   120 /* of a rank; sanitizers on a busy machine are slow */
#define MUST(call)                                                                                           \
    do {                                                                                                     \
        cudaError_t must_ = (call);                                                                          \
        CHILD_CHECK(must_ == cudaSuccess, "%s", cudaGetErrorName(must_));                                    \
    } while (0)
#define NCCL(call)                                                                                           \
    do {                                                                                                     \
        ncclResult_t nccl_ = (call);                                                                         \
        CHILD_CHECK(nccl_ == ncclSuccess, "%s: %s", ncclGetErrorString(nccl_), ncclGetLastError(NULL));      \
    } while (0)

/* What the test and its ranks share. */
typedef struct meeting {
    ncclUniqueId id;
    atomic_int id_is_there;
    atomic_int signs; /* for whatever a test wants to say */
} meeting;

typedef struct rank_env {
    int rank, size;
    bool blocking;
    meeting *meeting;
    void *arg;
    ncclComm_t comm; /* of connect_rank */
    cudaStream_t stream;
} rank_env;

typedef int (*rank_body)(rank_env *env);

typedef struct ranks {
    int n;
    child children[RANKS_MAX];
    child_end ends[RANKS_MAX];
    meeting *meeting;
} ranks;

typedef struct rank_start {
    rank_env env;
    rank_body body;
} rank_start;

static inline double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void nap_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

static inline ncclUniqueId common_id(rank_env *env)
{
    if (env->rank == 0) {
        NCCL(ncclGetUniqueId(&env->meeting->id));
        atomic_store(&env->meeting->id_is_there, 1);
    }
    while (!atomic_load(&env->meeting->id_is_there))
        nap_ms(1);
    return env->meeting->id;
}

/* Until the communicator is not in progress any more, or the time is over. */
static inline ncclResult_t settle(ncclComm_t comm, double seconds)
{
    ncclResult_t state = ncclInProgress;
    double until = now_s() + seconds;
    while (state == ncclInProgress && now_s() < until) {
        NCCL(ncclCommGetAsyncError(comm, &state));
        if (state == ncclInProgress) nap_ms(1);
    }
    return state;
}

static inline ncclResult_t begin_rank(rank_env *env, int size, int rank)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = env->blocking;
    MUST(cudaSetDevice(rank));
    MUST(cudaStreamCreateWithFlags(&env->stream, cudaStreamNonBlocking));
    return ncclCommInitRankConfig(&env->comm, size, common_id(env), rank, &config);
}

static inline void connect_rank(rank_env *env)
{
    ncclResult_t result = begin_rank(env, env->size, env->rank);
    if (!env->blocking && result == ncclInProgress) result = settle(env->comm, LIMIT_S);
    NCCL(result);
}

/* A collective is in the stream. */
static inline void issued(rank_env *env, ncclResult_t result)
{
    CHILD_CHECK(result == ncclSuccess || (!env->blocking && result == ncclInProgress), "%s: %s",
                ncclGetErrorString(result), ncclGetLastError(NULL));
    if (result == ncclInProgress) NCCL(settle(env->comm, LIMIT_S));
}

static inline int finish_rank(rank_env *env)
{
    ncclResult_t result = ncclCommFinalize(env->comm);
    if (result == ncclInProgress) result = settle(env->comm, LIMIT_S);
    NCCL(result);
    NCCL(ncclCommDestroy(env->comm));
    MUST(cudaStreamDestroy(env->stream));
    return 0;
}

static inline int start_rank(void *arg)
{
    rank_start *start = arg;
    return start->body(&start->env);
}

/* Starts n ranks of a job of `size`. */
static inline ranks start_ranks(int n, int size, bool blocking, rank_body body, void *arg)
{
    char text[16];
    ranks r = {.n = n};
    r.meeting = mmap(NULL, sizeof *r.meeting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(r.meeting, MAP_FAILED);
    snprintf(text, sizeof text, "%d", size);
    if (!getenv("TEST_DEVICES")) setenv("NT_EMU_DEVICES", text, 1);
    setenv("NT_EMU_LEAKS", "ignore", 1); /* others are tested here */
    for (int i = 0; i < n; i++) {
        rank_start start = {{.rank = i, .size = size, .blocking = blocking, .meeting = r.meeting, .arg = arg},
                            body};
        r.children[i] = child_start(start_rank, &start);
    }
    return r;
}

static inline void wait_ranks(ranks *r)
{
    for (int i = 0; i < r->n; i++)
        r->ends[i] = child_wait(&r->children[i], LIMIT_S);
    munmap(r->meeting, sizeof *r->meeting);
}

/* All ranks end with `status`. */
static inline void expect_ranks(ranks *r, int status)
{
    for (int i = 0; i < r->n; i++)
        if (r->ends[i].status != status)
            fail_msg("rank %d of %d ended with %d: %s", i, r->n, r->ends[i].status, r->ends[i].said);
}

static inline void run_ranks(int n, bool blocking, rank_body body, void *arg)
{
    ranks r = start_ranks(n, n, blocking, body, arg);
    wait_ranks(&r);
    expect_ranks(&r, 0);
}

#endif
