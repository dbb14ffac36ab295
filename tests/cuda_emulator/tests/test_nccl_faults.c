/* The emulated NCCL when something is wrong: ranks that are missing, differ, die, hang or give up; calls that
 * are not allowed; memory that is not the device's. Each rank must get the error that it should, in time, and
 * be able to leave. */
#include "tests/cuda_emulator/tests/nccl_ranks.h"

#define SOON_S 3.0 /* within which a loss is noticed: 0.1 s, and a busy machine */
#define HANGS  (-SIGKILL)

/* The error that comes sooner or later; the time it took is checked. */
static ncclResult_t await_error(rank_env *env)
{
    ncclResult_t state = ncclSuccess;
    double until = now_s() + LIMIT_S;
    while ((state == ncclSuccess || state == ncclInProgress) && now_s() < until) {
        NCCL(ncclCommGetAsyncError(env->comm, &state));
        nap_ms(1);
    }
    return state;
}

static float *device_floats(size_t n)
{
    float *x;
    MUST(cudaMalloc((void **)&x, n * sizeof *x));
    MUST(cudaMemset(x, 0, n * sizeof *x));
    MUST(cudaDeviceSynchronize());
    return x;
}

/* The stream hangs until the communicator is aborted, then it does not. */
static void leave_by_abort(rank_env *env)
{
    nap_ms(50);
    cudaError_t query = cudaStreamQuery(env->stream);
    CHILD_CHECK(query == cudaErrorNotReady, "the stream does not hang: %s", cudaGetErrorName(query));
    double begun = now_s();
    NCCL(ncclCommAbort(env->comm));
    MUST(cudaStreamSynchronize(env->stream));
    CHILD_CHECK(now_s() - begun < SOON_S, "abort took %.1f s", now_s() - begun);
}

/* --- calls that differ between ranks --- */

typedef struct difference {
    const char *name;
    ncclResult_t (*call)(rank_env *env, float *x, bool odd); /* odd: the one that differs */
    const char *first, *other;
} difference;

static ncclResult_t differ_count(rank_env *env, float *x, bool odd)
{
    return ncclAllReduce(x, x, odd ? 400 : 100, ncclFloat32, ncclSum, env->comm, env->stream);
}

static ncclResult_t differ_zero(rank_env *env, float *x, bool odd)
{
    return ncclAllReduce(x, x, odd ? 0 : 100, ncclFloat32, ncclSum, env->comm, env->stream);
}

static ncclResult_t differ_type(rank_env *env, float *x, bool odd)
{
    return ncclAllReduce(x, x, 100, odd ? ncclBfloat16 : ncclFloat32, ncclSum, env->comm, env->stream);
}

static ncclResult_t differ_op(rank_env *env, float *x, bool odd)
{
    return ncclAllReduce(x, x, 100, ncclFloat32, odd ? ncclMax : ncclSum, env->comm, env->stream);
}

static ncclResult_t differ_root(rank_env *env, float *x, bool odd)
{
    return ncclBroadcast(x, x, 100, ncclFloat32, odd, env->comm, env->stream);
}

static ncclResult_t differ_kind(rank_env *env, float *x, bool odd)
{
    return odd ? ncclReduce(x, x, 100, ncclFloat32, ncclSum, 0, env->comm, env->stream)
               : ncclAllReduce(x, x, 100, ncclFloat32, ncclSum, env->comm, env->stream);
}

/* One rank leaves out a call: its second one meets the others' first. */
static ncclResult_t differ_one_less(rank_env *env, float *x, bool odd)
{
    if (!odd) issued(env, ncclAllReduce(x, x, 7, ncclFloat32, ncclSum, env->comm, env->stream));
    return ncclAllReduce(x, x, 8, ncclFloat32, ncclSum, env->comm, env->stream);
}

static const difference differences[] = {
    {"count", differ_count, "ncclAllReduce(count 100, ncclFloat32, ncclSum)", "count 400"},
    {"nothing", differ_zero, "count 100", "count 0"},
    {"type", differ_type, "ncclFloat32", "ncclBfloat16"},
    {"op", differ_op, "ncclSum", "ncclMax"},
    {"root", differ_root, "root 0", "root 1"},
    {"kind", differ_kind, "ncclAllReduce(", "ncclReduce("},
    {"one less", differ_one_less, "count 7", "count 8"},
};

static int body_differ(rank_env *env)
{
    const difference *d = env->arg;
    connect_rank(env);
    float *x = device_floats(1000);
    issued(env, ncclAllReduce(x, x, 1000, ncclFloat32, ncclSum, env->comm, env->stream));
    ncclResult_t result = d->call(env, x, env->rank == env->size - 1);
    CHILD_CHECK(result == ncclSuccess || result == ncclInProgress, "%s", ncclGetErrorString(result));
    ncclResult_t error = await_error(env);
    CHILD_CHECK(error == ncclInvalidUsage, "async error %s", ncclGetErrorString(error));
    const char *words = ncclGetLastError(env->comm);
    CHILD_CHECK(strstr(words, d->first) && strstr(words, d->other), "last error: %s", words);
    CHILD_CHECK(ncclAllReduce(x, x, 1, ncclFloat32, ncclSum, env->comm, env->stream) == ncclInvalidUsage,
                "a call after the error");
    leave_by_abort(env);
    return 0;
}

static void calls_that_differ_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof differences / sizeof differences[0]; i++) {
        const difference *d = &differences[i];
        ranks r = start_ranks(2 + (int)i % 2, 2 + (int)i % 2, i % 2, body_differ, (void *)(uintptr_t)d);
        wait_ranks(&r);
        expect_ranks(&r, 0);
        for (int rank = 0; rank < r.n; rank++) {
            bool says = strstr(r.ends[rank].said, d->first) && strstr(r.ends[rank].said, d->other);
            if (says != (rank == 0)) fail_msg("%s: rank %d said: %s", d->name, rank, r.ends[rank].said);
        }
    }
}

/* --- ranks that die or go --- */

/* One rank is killed by the test while the others sum. */
static int body_sum_for_ever(rank_env *env)
{
    enum { N = 1 << 20 };
    connect_rank(env);
    float *x = device_floats(N);
    for (int i = 0; i < 100000; i++) {
        ncclResult_t state, result = ncclAllReduce(x, x, N, ncclFloat32, ncclMax, env->comm, env->stream);
        if (result == ncclInProgress) result = settle(env->comm, LIMIT_S);
        if (result == ncclRemoteError) break;
        NCCL(result);
        while (cudaStreamQuery(env->stream) == cudaErrorNotReady) {
            NCCL(ncclCommGetAsyncError(env->comm, &state));
            if (state != ncclSuccess) break;
            nap_ms(1);
        }
        atomic_fetch_add(&env->meeting->signs, 1);
    }
    ncclResult_t error = await_error(env);
    CHILD_CHECK(error == ncclRemoteError, "async error %s", ncclGetErrorString(error));
    NCCL(ncclCommAbort(env->comm));
    MUST(cudaStreamSynchronize(env->stream));
    return 0;
}

static void a_killed_peer_is_noticed(void **state)
{
    static const int signs[] = {1, 5, 13, 22};
    (void)state;
    for (int i = 0; i < 4; i++) { /* at different moments */
        ranks r = start_ranks(3, 3, i % 2, body_sum_for_ever, NULL);
        while (atomic_load(&r.meeting->signs) < signs[i])
            nap_ms(1);
        nap_ms(i * 3);
        kill(r.children[1].pid, SIGKILL);
        double begun = now_s();
        for (int rank = 0; rank < 3; rank++)
            r.ends[rank] = child_wait(&r.children[rank], LIMIT_S);
        double took = now_s() - begun;
        assert_int_equal(r.ends[1].status, -SIGKILL);
        if (r.ends[0].status != 0 || r.ends[2].status != 0)
            fail_msg("ended with %d, %d: %s%s", r.ends[0].status, r.ends[2].status, r.ends[0].said,
                     r.ends[2].said);
        if (took > SOON_S) fail_msg("the others needed %.1f s", took);
    }
}

typedef enum going { GOES_BY_EXIT, GOES_BY_DESTROY, GOES_BY_ABORT } going;

/* Rank 1 goes; rank 0 waits for it in vain. */
static int body_one_goes(rank_env *env)
{
    going how = *(const going *)env->arg;
    connect_rank(env);
    float *x = device_floats(10);
    if (env->rank == 1) {
        if (how == GOES_BY_DESTROY) return finish_rank(env);
        if (how == GOES_BY_ABORT) NCCL(ncclCommAbort(env->comm));
        while (how == GOES_BY_ABORT && !atomic_load(&env->meeting->signs))
            nap_ms(1); /* the process goes on */
        return 0;
    }
    double begun = now_s();
    issued(env, ncclAllReduce(x, x, 10, ncclFloat32, ncclSum, env->comm, env->stream));
    ncclResult_t error = await_error(env);
    CHILD_CHECK(error == ncclRemoteError, "async error %s", ncclGetErrorString(error));
    CHILD_CHECK(strstr(ncclGetLastError(NULL), "rank 1"), "last error: %s", ncclGetLastError(NULL));
    CHILD_CHECK(now_s() - begun < SOON_S, "after %.1f s", now_s() - begun);
    atomic_fetch_add(&env->meeting->signs, 1);
    leave_by_abort(env);
    return 0;
}

static void a_peer_that_goes_is_noticed(void **state)
{
    (void)state;
    for (going how = GOES_BY_EXIT; how <= GOES_BY_ABORT; how++) {
        ranks r = start_ranks(2, 2, true, body_one_goes, &how);
        wait_ranks(&r);
        expect_ranks(&r, 0);
    }
}

/* --- hangs on demand --- */

static int body_hang(rank_env *env)
{
    connect_rank(env);
    float *x = device_floats(10);
    issued(env, ncclAllReduce(x, x, 10, ncclFloat32, ncclSum, env->comm, env->stream));
    MUST(cudaStreamSynchronize(env->stream));
    issued(env, ncclAllReduce(x, x, 10, ncclFloat32, ncclSum, env->comm, env->stream));
    nap_ms(300);
    ncclResult_t state;
    NCCL(ncclCommGetAsyncError(env->comm, &state));
    CHILD_CHECK(state == ncclSuccess, "a hang is no error: %s", ncclGetErrorString(state));
    atomic_fetch_add(&env->meeting->signs, 1);
    while (atomic_load(&env->meeting->signs) < env->size)
        nap_ms(1);
    leave_by_abort(env);
    return 0;
}

static int body_hang_in_destroy(rank_env *env)
{
    connect_rank(env);
    float *x = device_floats(10);
    issued(env, ncclAllReduce(x, x, 10, ncclFloat32, ncclSum, env->comm, env->stream));
    NCCL(ncclCommDestroy(env->comm));
    return 0;
}

static int body_hang_in_abort(rank_env *env)
{
    connect_rank(env);
    atomic_fetch_add(&env->meeting->signs, 1);
    (void)ncclCommAbort(env->comm);
    return 0;
}

static void hangs_on_demand(void **state)
{
    static const char *settings[] = {"2", "2@1"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        setenv("NT_EMU_NCCL_HANG", settings[i], 1);
        ranks r = start_ranks(2, 2, i, body_hang, NULL);
        wait_ranks(&r);
        expect_ranks(&r, 0);
        for (int rank = i; rank < 2; rank++)
            if (!strstr(r.ends[rank].said, "collective 2 (ncclAllReduce) hangs"))
                fail_msg("%s", r.ends[rank].said);
    }
    setenv("NT_EMU_NCCL_HANG", "1", 1);
    ranks r = start_ranks(1, 1, true, body_hang_in_destroy, NULL);
    child_end end = child_wait(&r.children[0], 1.5);
    if (end.status != HANGS || !strstr(end.said, "ncclCommDestroy waits for 1 outstanding"))
        fail_msg("destroy: ended with %d: %s", end.status, end.said);
    unsetenv("NT_EMU_NCCL_HANG");
    setenv("NT_EMU_NCCL_ABORT_HANG", "1", 1);
    r = start_ranks(1, 1, true, body_hang_in_abort, NULL);
    end = child_wait(&r.children[0], 0.5);
    unsetenv("NT_EMU_NCCL_ABORT_HANG");
    if (end.status != HANGS || !strstr(end.said, "ncclCommAbort hangs"))
        fail_msg("abort: ended with %d: %s", end.status, end.said);
}

/* --- init --- */

/* A rank is missing: only the caller's deadline ends that. */
static int body_missing(rank_env *env)
{
    ncclResult_t state = begin_rank(env, env->size, env->rank);
    CHILD_CHECK(state == ncclInProgress, "init: %s", ncclGetErrorString(state));
    state = settle(env->comm, 0.3);
    CHILD_CHECK(state == ncclInProgress, "after 0.3 s: %s", ncclGetErrorString(state));
    int size;
    CHILD_CHECK(ncclCommCount(env->comm, &size) == ncclInvalidArgument, "usable too early");
    atomic_fetch_add(&env->meeting->signs, 1);
    while (atomic_load(&env->meeting->signs) < 2)
        nap_ms(1);
    double begun = now_s();
    NCCL(ncclCommAbort(env->comm));
    CHILD_CHECK(now_s() - begun < SOON_S, "abort took %.1f s", now_s() - begun);
    return 0;
}

static int body_blocking_init(rank_env *env)
{
    return begin_rank(env, env->size, env->rank) == ncclSuccess ? 0 : 1;
}

static void a_missing_rank_keeps_init_in_progress(void **state)
{
    (void)state;
    ranks r = start_ranks(2, 3, false, body_missing, NULL);
    wait_ranks(&r);
    expect_ranks(&r, 0);
    r = start_ranks(1, 2, true, body_blocking_init, NULL);
    assert_int_equal(child_wait(&r.children[0], 0.3).status, HANGS);
}

/* Rank 1 of 3 dies while the others are being connected; rank 2 never comes. */
static int body_dies_in_init(rank_env *env)
{
    ncclResult_t state = begin_rank(env, env->size, env->rank);
    CHILD_CHECK(state == ncclInProgress, "init: %s", ncclGetErrorString(state));
    if (env->rank == 1) nap_ms(100);
    if (env->rank == 1) raise(SIGKILL);
    state = settle(env->comm, LIMIT_S);
    CHILD_CHECK(state == ncclRemoteError, "state %s", ncclGetErrorString(state));
    NCCL(ncclCommAbort(env->comm));
    return 0;
}

static void a_death_while_connecting_is_noticed(void **state)
{
    (void)state;
    ranks r = start_ranks(2, 3, false, body_dies_in_init, NULL);
    wait_ranks(&r);
    assert_int_equal(r.ends[1].status, -SIGKILL);
    if (r.ends[0].status != 0) fail_msg("rank 0 ended with %d: %s", r.ends[0].status, r.ends[0].said);
}

typedef struct bad_init {
    const char *name;
    int (*size_of)(int rank), (*rank_of)(int rank);
    const char *devices; /* NT_EMU_DEVICES */
    ncclResult_t results[2];
    const char *words;
} bad_init;

static int two(int rank)
{
    (void)rank;
    return 2;
}

static int two_or_three(int rank)
{
    return 2 + rank;
}

static int itself(int rank)
{
    return rank;
}

static int zero(int rank)
{
    (void)rank;
    return 0;
}

/* The rank whose init fails; the other one may still wait (in progress: it is left by abort). */
static const bad_init bad_inits[] = {
    {"one device",
     two,
     itself,
     "1",
     {ncclInvalidUsage, ncclInvalidUsage},
     "Duplicate GPU detected: rank 0 and rank 1"},
    {"sizes differ", two_or_three, itself, "2", {ncclInProgress, ncclInvalidArgument}, "was told of"},
    {"rank twice", two, zero, "2", {ncclInProgress, ncclInvalidUsage}, "rank 0 is taken"},
};

static int body_bad_init(rank_env *env)
{
    const bad_init *b = env->arg;
    int device;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    MUST(cudaGetDeviceCount(&device));
    MUST(cudaSetDevice(env->rank % device));
    ncclUniqueId id = common_id(env);
    if (env->rank == 1) nap_ms(100); /* the first comes first */
    ncclResult_t state =
        ncclCommInitRankConfig(&env->comm, b->size_of(env->rank), id, b->rank_of(env->rank), &config);
    bool stays = b->results[env->rank] == ncclInProgress;
    if (state == ncclInProgress) state = settle(env->comm, stays ? 0.3 : LIMIT_S);
    CHILD_CHECK(state == b->results[env->rank], "state %s, %s", ncclGetErrorString(state),
                ncclGetLastError(NULL));
    if (state != ncclInProgress)
        CHILD_CHECK(strstr(ncclGetLastError(NULL), b->words), "last error: %s", ncclGetLastError(NULL));
    NCCL(ncclCommAbort(env->comm));
    return 0;
}

/* A blocking init gives no communicator. */
static int body_duplicate_blocking(rank_env *env)
{
    ncclUniqueId id = common_id(env);
    ncclResult_t result = ncclCommInitRank(&env->comm, env->size, id, env->rank);
    CHILD_CHECK(result == ncclInvalidUsage && !env->comm, "result %s", ncclGetErrorString(result));
    return 0;
}

static void ranks_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    setenv("TEST_DEVICES", "1", 1);
    for (size_t i = 0; i < sizeof bad_inits / sizeof bad_inits[0]; i++) {
        setenv("NT_EMU_DEVICES", bad_inits[i].devices, 1);
        ranks r = start_ranks(2, 2, false, body_bad_init, (void *)(uintptr_t)&bad_inits[i]);
        wait_ranks(&r);
        expect_ranks(&r, 0);
    }
    setenv("NT_EMU_DEVICES", "1", 1);
    ranks r = start_ranks(2, 2, true, body_duplicate_blocking, NULL);
    unsetenv("TEST_DEVICES");
    wait_ranks(&r);
    expect_ranks(&r, 0);
}

/* Ids that name nothing, networks that are not there, ranks out of range, a config of one's own. */
static int body_bad_arguments(rank_env *env)
{
    ncclComm_t comm = NULL;
    ncclUniqueId id = common_id(env), garbage;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER, bare = {.blocking = 0};
    memset(&garbage, 7, sizeof garbage);
    CHILD_CHECK(ncclCommInitRank(&comm, 1, garbage, 0) == ncclInvalidArgument && !comm, "a garbage id");
    CHILD_CHECK(ncclCommInitRank(&comm, 1, id, 1) == ncclInvalidArgument && !comm, "rank 1 of 1");
    CHILD_CHECK(ncclCommInitRank(&comm, 0, id, 0) == ncclInvalidArgument && !comm, "rank 0 of 0");
    CHILD_CHECK(ncclCommInitRankConfig(&comm, 1, id, 0, &bare) == ncclInvalidArgument && !comm,
                "a bare config");
    config.blocking = 2;
    CHILD_CHECK(ncclCommInitRankConfig(&comm, 1, id, 0, &config) == ncclInvalidArgument && !comm,
                "blocking 2");
    setenv("NCCL_SOCKET_IFNAME", "nosuch", 1);
    CHILD_CHECK(ncclGetUniqueId(&id) == ncclInvalidUsage, "no such network");
    CHILD_CHECK(strstr(ncclGetLastError(NULL), "no socket interface found"), "%s", ncclGetLastError(NULL));
    setenv("NCCL_SOCKET_IFNAME", "=lo", 1);
    NCCL(ncclGetUniqueId(&id));
    setenv("NCCL_SOCKET_IFNAME", "^nosuch", 1);
    NCCL(ncclGetUniqueId(&id));
    return 0;
}

/* Rank 1 uses the id of a process that is no more. */
static int body_orphaned_id(rank_env *env)
{
    ncclUniqueId id = common_id(env);
    if (env->rank == 0) return 0;
    nap_ms(300);
    ncclResult_t result = ncclCommInitRank(&env->comm, 1, id, 0);
    CHILD_CHECK(result == ncclRemoteError && !env->comm, "result %s", ncclGetErrorString(result));
    return 0;
}

static void bad_arguments_of_init(void **state)
{
    (void)state;
    run_ranks(1, true, body_bad_arguments, NULL);
    run_ranks(2, true, body_orphaned_id, NULL);
}

/* --- calls that are not allowed --- */

typedef struct spoiling {
    const char *name;
    ncclResult_t (*call)(rank_env *env, float *x); /* x: 1000 floats of device 0 */
    ncclResult_t result;
    int status; /* of the process */
    const char *words;
} spoiling;

/* clang-format off */
#define SUM(send, recv, n, type) ncclAllReduce(send, recv, n, type, ncclSum, env->comm, env->stream)
static ncclResult_t call_fine(rank_env *env, float *x) { return SUM(x, x + 500, 500, ncclFloat32); }
static ncclResult_t call_null(rank_env *env, float *x) { env->comm = NULL; return SUM(x, x, 500, ncclFloat32); }
static ncclResult_t call_half(rank_env *env, float *x) { return SUM(x, x, 500, ncclFloat16); }
static ncclResult_t call_type(rank_env *env, float *x) { return SUM(x, x, 500, (ncclDataType_t)99); }
static ncclResult_t call_bytes(rank_env *env, float *x) { return SUM(x, x, 1000 * sizeof *x, ncclFloat32); }
static ncclResult_t call_end(rank_env *env, float *x) { return SUM(x + 1, x + 1, 1000, ncclFloat32); }
static ncclResult_t call_huge(rank_env *env, float *x) { return SUM(x, x, (size_t)-4, ncclFloat32); }
static ncclResult_t call_overlap(rank_env *env, float *x) { return SUM(x, x + 1, 500, ncclFloat32); }
static ncclResult_t call_freed(rank_env *env, float *x) { MUST(cudaFree(x)); return SUM(x, x, 500, ncclFloat32); }
static ncclResult_t call_unaligned(rank_env *env, float *x) { return SUM((char *)x + 2, (char *)x + 2, 5, ncclFloat32); }
/* clang-format on */

static ncclResult_t call_op(rank_env *env, float *x)
{
    return ncclAllReduce(x, x, 10, ncclFloat32, (ncclRedOp_t)5, env->comm, env->stream);
}

static ncclResult_t call_root(rank_env *env, float *x)
{
    return ncclBroadcast(x, x, 10, ncclFloat32, 1, env->comm, env->stream);
}

static ncclResult_t call_host(rank_env *env, float *x)
{
    static float host[10];
    return SUM(host, x, 10, ncclFloat32);
}

static ncclResult_t call_other_device(rank_env *env, float *x)
{
    MUST(cudaSetDevice(1));
    float *y = device_floats(10);
    MUST(cudaSetDevice(0));
    return SUM(x, y, 10, ncclFloat32);
}

static ncclResult_t call_other_stream(rank_env *env, float *x)
{
    MUST(cudaSetDevice(1));
    MUST(cudaStreamCreate(&env->stream));
    return SUM(x, x, 10, ncclFloat32);
}

static ncclResult_t call_after_abort(rank_env *env, float *x)
{
    NCCL(ncclCommAbort(env->comm));
    return SUM(x, x, 10, ncclFloat32);
}

static ncclResult_t call_after_destroy(rank_env *env, float *x)
{
    NCCL(ncclCommDestroy(env->comm));
    return SUM(x, x, 10, ncclFloat32);
}

static ncclResult_t call_after_finalize(rank_env *env, float *x)
{
    NCCL(ncclCommFinalize(env->comm));
    return SUM(x, x, 10, ncclFloat32);
}

static ncclResult_t call_destroy_twice(rank_env *env, float *x)
{
    (void)x;
    NCCL(ncclCommDestroy(env->comm));
    return ncclCommDestroy(env->comm);
}

static ncclResult_t call_in_lost_graph(rank_env *env, float *x)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    MUST(cudaStreamBeginCapture(env->stream, cudaStreamCaptureModeThreadLocal));
    NCCL(SUM(x, x, 10, ncclFloat32));
    MUST(cudaStreamEndCapture(env->stream, &graph));
    MUST(cudaGraphInstantiate(&exec, graph, 0));
    NCCL(ncclCommDestroy(env->comm));
    MUST(cudaGraphLaunch(exec, env->stream));
    CHILD_CHECK(cudaStreamSynchronize(env->stream) == cudaErrorLaunchFailure, "the graph ran");
    return ncclSuccess;
}

static const spoiling spoilings[] = {
    {"nothing", call_fine, ncclSuccess, 0, ""},
    {"no communicator", call_null, ncclInvalidArgument, 0, ""},
    {"float16", call_half, ncclInvalidArgument, 0, ""},
    {"type 99", call_type, ncclInvalidArgument, 0, ""},
    {"operation 5", call_op, ncclInvalidArgument, 0, ""},
    {"root 1 of 1", call_root, ncclInvalidArgument, 0, ""},
    {"too many", call_huge, ncclInvalidArgument, 0, ""},
    {"bytes as elements", call_bytes, ncclInvalidArgument, CHILD_COMPLAINED, "4000 elements of 4 bytes"},
    {"one beyond the end", call_end, ncclInvalidArgument, CHILD_COMPLAINED, "not wholly inside"},
    {"host memory", call_host, ncclInvalidArgument, CHILD_COMPLAINED, "ordinary host memory"},
    {"other device's memory", call_other_device, ncclInvalidArgument, CHILD_COMPLAINED, "another device"},
    {"freed memory", call_freed, ncclInvalidArgument, CHILD_COMPLAINED, "freed"},
    {"unaligned", call_unaligned, ncclInvalidArgument, CHILD_COMPLAINED, "unaligned"},
    {"overlap", call_overlap, ncclInvalidArgument, CHILD_COMPLAINED, "overlap"},
    {"other device's stream", call_other_stream, ncclInvalidArgument, CHILD_COMPLAINED, "another device"},
    {"after abort", call_after_abort, ncclInvalidArgument, CHILD_COMPLAINED, "was aborted"},
    {"after destroy", call_after_destroy, ncclInvalidArgument, CHILD_COMPLAINED, "was destroyed"},
    {"after finalize", call_after_finalize, ncclInvalidArgument, CHILD_COMPLAINED, "was finalized"},
    {"destroy twice", call_destroy_twice, ncclInvalidArgument, CHILD_COMPLAINED, "was destroyed"},
    {"graph after destroy", call_in_lost_graph, ncclSuccess, CHILD_COMPLAINED, "was destroyed"},
};

static int body_spoiling(rank_env *env)
{
    const spoiling *s = env->arg;
    setenv("NT_EMU_DEVICES", "2", 1);
    connect_rank(env);
    ncclResult_t result = s->call(env, device_floats(1000));
    CHILD_CHECK(result == s->result, "result %s", ncclGetErrorString(result));
    return 0;
}

static void calls_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spoilings / sizeof spoilings[0]; i++) {
        const spoiling *s = &spoilings[i];
        ranks r = start_ranks(1, 1, true, body_spoiling, (void *)(uintptr_t)s);
        wait_ranks(&r);
        if (r.ends[0].status != s->status || !strstr(r.ends[0].said, s->words))
            fail_msg("%s: ended with %d, said: %s", s->name, r.ends[0].status, r.ends[0].said);
    }
}

/* --- versions --- */

static int body_version(rank_env *env)
{
    int version;
    setenv("NT_EMU_NCCL_VERSION", env->rank == 1 && env->arg ? "21903" : "21803", 1);
    NCCL(ncclGetVersion(&version));
    CHILD_CHECK(env->arg || version == 21803, "version %d", version);
    ncclResult_t state = begin_rank(env, env->size, env->rank),
                 want = env->arg ? ncclInvalidUsage : ncclSuccess;
    if (state == ncclInProgress) state = settle(env->comm, LIMIT_S);
    CHILD_CHECK(state == want, "state %s", ncclGetErrorString(state));
    return 0;
}

static void versions_are_said_and_must_agree(void **state)
{
    int mixed = 1;
    (void)state;
    run_ranks(2, false, body_version, NULL);
    run_ranks(2, false, body_version, &mixed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_that_differ_are_named),
        cmocka_unit_test(a_killed_peer_is_noticed),
        cmocka_unit_test(a_peer_that_goes_is_noticed),
        cmocka_unit_test(hangs_on_demand),
        cmocka_unit_test(a_missing_rank_keeps_init_in_progress),
        cmocka_unit_test(a_death_while_connecting_is_noticed),
        cmocka_unit_test(ranks_that_do_not_fit_are_refused),
        cmocka_unit_test(bad_arguments_of_init),
        cmocka_unit_test(calls_are_checked),
        cmocka_unit_test(versions_are_said_and_must_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
