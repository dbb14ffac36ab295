/* The emulated NCCL when nothing is wrong: values of all collectives, types and operations at 1 to 4 ranks,
 * the order of sums, streams, graphs, groups, non-blocking communicators. */
#include "tests/cuda_emulator/tests/nccl_ranks.h"

#include <math.h>

#define GUARD 8 /* elements behind a buffer that nobody may touch */

/* --- elements of any type, as double --- */

static const ncclDataType_t types[] = {ncclInt8,   ncclUint8,   ncclInt32,   ncclUint32,  ncclInt64,
                                       ncclUint64, ncclFloat32, ncclFloat64, ncclBfloat16};

static size_t width_of(ncclDataType_t type)
{
    static const size_t widths[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
    return widths[type];
}

static double get(const void *buffer, ncclDataType_t type, size_t i)
{
    uint32_t bits;
    float f;
    switch (type) {
    case ncclInt8:
        return ((const int8_t *)buffer)[i];
    case ncclUint8:
        return ((const uint8_t *)buffer)[i];
    case ncclInt32:
        return ((const int32_t *)buffer)[i];
    case ncclUint32:
        return ((const uint32_t *)buffer)[i];
    case ncclInt64:
        return (double)((const int64_t *)buffer)[i];
    case ncclUint64:
        return (double)((const uint64_t *)buffer)[i];
    case ncclFloat32:
        return (double)((const float *)buffer)[i];
    case ncclFloat64:
        return ((const double *)buffer)[i];
    default:
        bits = (uint32_t)((const uint16_t *)buffer)[i] << 16;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
}

static void set(void *buffer, ncclDataType_t type, size_t i, double value)
{
    float f = (float)value;
    uint32_t bits;
    switch (type) {
    case ncclInt8:
    case ncclUint8:
        ((uint8_t *)buffer)[i] = (uint8_t)(int)value;
        break;
    case ncclInt32:
    case ncclUint32:
        ((uint32_t *)buffer)[i] = (uint32_t)(int64_t)value;
        break;
    case ncclInt64:
    case ncclUint64:
        ((int64_t *)buffer)[i] = (int64_t)value;
        break;
    case ncclFloat32:
        ((float *)buffer)[i] = f;
        break;
    case ncclFloat64:
        ((double *)buffer)[i] = value;
        break;
    default:
        memcpy(&bits, &f, sizeof bits);
        ((uint16_t *)buffer)[i] = (uint16_t)(bits >> 16); /* small integers are exact */
    }
}

/* --- the oracle: small integers, so that every order gives the same --- */

static double element(int rank, size_t i)
{
    return (double)((i * 3 + (size_t)rank * 5 + i / 7) % 4 + 1);
}

static double reduced(int size, size_t i, ncclDataType_t type, ncclRedOp_t op)
{
    double sum = 0, product = 1, largest = 0, least = 1e9;
    for (int r = 0; r < size; r++) {
        double x = element(r, i);
        sum += x;
        product *= x;
        largest = fmax(largest, x);
        least = fmin(least, x);
    }
    if (op == ncclProd && type == ncclInt8) return (int8_t)(uint8_t)(int)product; /* at most 256: wraps */
    if (op == ncclProd && type == ncclUint8) return (uint8_t)(int)product;
    bool is_float = type == ncclFloat32 || type == ncclFloat64 || type == ncclBfloat16;
    double mean = is_float ? sum / size : floor(sum / size);
    const double results[] = {sum, product, largest, least, mean};
    return results[op];
}

/* Only the mean of floats is not exact: each addend is rounded after the division, and each sum. */
static double tolerance(ncclDataType_t type, ncclRedOp_t op, int size)
{
    if (op != ncclAvg) return 0;
    if (type == ncclFloat32) return 4 * size * 6e-8;
    if (type == ncclFloat64) return 4 * size * 1.2e-16;
    return type == ncclBfloat16 ? 4 * size / 256.0 : 0;
}

/* --- one call --- */

typedef enum kind { ALL_REDUCE, REDUCE, REDUCE_SCATTER, ALL_GATHER, BROADCAST, N_KINDS } kind;

typedef struct call {
    kind kind;
    size_t count;
    ncclDataType_t type;
    ncclRedOp_t op;
    int root;
    bool in_place;
} call;

typedef struct buffers {
    void *device, *host;
    char *send, *recv; /* in device */
    size_t n_bytes;
} buffers;

static size_t sent(const rank_env *env, const call *c)
{
    return c->kind == REDUCE_SCATTER ? c->count * (size_t)env->size : c->count;
}

static size_t received(const rank_env *env, const call *c)
{
    return c->kind == ALL_GATHER ? c->count * (size_t)env->size : c->count;
}

/* send, guard, receive, guard; in place one of them contains the other. */
static buffers make_buffers(const rank_env *env, const call *c)
{
    size_t width = width_of(c->type), n_send = sent(env, c), n_recv = received(env, c);
    size_t own = (size_t)env->rank * c->count * width, at_send = 0, at_recv = (n_send + GUARD) * width;
    size_t n = n_send + n_recv + 2 * GUARD;
    if (c->in_place) {
        at_recv = c->kind == REDUCE_SCATTER ? own : 0;
        at_send = c->kind == ALL_GATHER ? own : 0;
        n = (n_send > n_recv ? n_send : n_recv) + GUARD;
    }
    buffers b = {.n_bytes = n * width, .host = malloc(n * width)};
    CHILD_CHECK(b.host, "out of memory");
    for (size_t i = 0; i < n; i++)
        set(b.host, c->type, i, 77);
    for (size_t i = 0; i < n_send; i++)
        set((char *)b.host + at_send, c->type, i, element(env->rank, i));
    MUST(cudaMalloc(&b.device, b.n_bytes));
    MUST(cudaMemcpyAsync(b.device, b.host, b.n_bytes, cudaMemcpyHostToDevice, env->stream));
    b.send = (char *)b.device + at_send;
    b.recv = (char *)b.device + at_recv;
    return b;
}

static ncclResult_t perform(const rank_env *env, const call *c, const buffers *b)
{
    switch (c->kind) {
    case ALL_REDUCE:
        return ncclAllReduce(b->send, b->recv, c->count, c->type, c->op, env->comm, env->stream);
    case REDUCE:
        return ncclReduce(b->send, b->recv, c->count, c->type, c->op, c->root, env->comm, env->stream);
    case REDUCE_SCATTER:
        return ncclReduceScatter(b->send, b->recv, c->count, c->type, c->op, env->comm, env->stream);
    case ALL_GATHER:
        return ncclAllGather(b->send, b->recv, c->count, c->type, env->comm, env->stream);
    default:
        return ncclBroadcast(b->send, b->recv, c->count, c->type, c->root, env->comm, env->stream);
    }
}

static double expected(const rank_env *env, const call *c, size_t i)
{
    if (c->kind == ALL_GATHER) return element((int)(i / c->count), i % c->count);
    if (c->kind == BROADCAST) return element(c->root, i);
    return reduced(env->size, c->kind == REDUCE_SCATTER ? i + (size_t)env->rank * c->count : i, c->type,
                   c->op);
}

/* The result is right, and what lies behind it is untouched. */
static void check(const rank_env *env, const call *c, buffers *b)
{
    bool gets = c->kind != REDUCE || env->rank == c->root;
    size_t n = received(env, c), at = (size_t)(b->recv - (char *)b->device);
    size_t behind = b->n_bytes / width_of(c->type) - GUARD;
    MUST(cudaMemcpyAsync(b->host, b->device, b->n_bytes, cudaMemcpyDeviceToHost, env->stream));
    MUST(cudaStreamSynchronize(env->stream));
    for (size_t i = 0; gets && i < n; i++) {
        double got = get((char *)b->host + at, c->type, i), want = expected(env, c, i);
        CHILD_CHECK(fabs(got - want) <= tolerance(c->type, c->op, env->size),
                    "kind %d, type %d, op %d, root %d, count %zu, element %zu is %.17g, not %.17g", c->kind,
                    c->type, c->op, c->root, c->count, i, got, want);
    }
    for (size_t i = 0; i < GUARD; i++)
        CHILD_CHECK(get(b->host, c->type, behind + i) == 77, "kind %d, count %zu: written behind the end",
                    c->kind, c->count);
    MUST(cudaFree(b->device));
    free(b->host);
}

static void try_call(rank_env *env, const call *c)
{
    buffers b = make_buffers(env, c);
    issued(env, perform(env, c, &b));
    check(env, c, &b);
}

/* --- values --- */

/* All kinds, types and operations at an odd size, in place and not. */
static int body_kinds(rank_env *env)
{
    connect_rank(env);
    for (int k = 0, variant = 0; k < N_KINDS; k++)
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
            for (int op = ncclSum; op <= ncclAvg; op++, variant++) {
                call c = {(kind)k, 101, types[t], (ncclRedOp_t)op, variant % env->size, variant % 2};
                if (op == ncclSum || (k != ALL_GATHER && k != BROADCAST)) try_call(env, &c);
            }
    return finish_rank(env);
}

/* Nothing, less than ranks, around the chunk of 2^20 bytes. */
static int body_counts(rank_env *env)
{
    static const size_t counts[] = {0, 1, 2, 3, 5, 262143, 262144, 262145, 600001};
    connect_rank(env);
    for (int k = 0; k < N_KINDS; k++)
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            call c = {(kind)k, counts[i], ncclFloat32, ncclSum, env->size - 1, i % 2};
            try_call(env, &c);
        }
    return finish_rank(env);
}

static void values_at_1_to_4_ranks(void **state)
{
    (void)state;
    for (int n = 1; n <= RANKS_MAX; n++) {
        run_ranks(n, n % 2, body_kinds, NULL);
        run_ranks(n, n % 2 == 0, body_counts, NULL);
    }
}

/* Floats in which the order of additions shows: that of ranks, on all of them. */
static int body_order(rank_env *env)
{
    enum { N = 1000 };
    static float mine[N], got[N];
    void *device;
    float values[RANKS_MAX][N];
    connect_rank(env);
    for (int r = 0; r < env->size; r++)
        for (int i = 0; i < N; i++)
            values[r][i] = sinf((float)(i * 7 + r * 3)) * powf(10, (float)((i + r * 5) % 9 - 4));
    memcpy(mine, values[env->rank], sizeof mine);
    MUST(cudaMalloc(&device, sizeof mine));
    MUST(cudaMemcpyAsync(device, mine, sizeof mine, cudaMemcpyHostToDevice, env->stream));
    issued(env, ncclAllReduce(device, device, N, ncclFloat32, ncclSum, env->comm, env->stream));
    MUST(cudaMemcpyAsync(got, device, sizeof got, cudaMemcpyDeviceToHost, env->stream));
    MUST(cudaStreamSynchronize(env->stream));
    for (int i = 0; i < N; i++) {
        float want = values[0][i];
        for (int r = 1; r < env->size; r++)
            want += values[r][i];
        CHILD_CHECK(memcmp(&want, &got[i], sizeof want) == 0, "element %d is %.9g, not %.9g", i,
                    (double)got[i], (double)want);
    }
    MUST(cudaFree(device));
    return finish_rank(env);
}

static void sums_are_in_the_order_of_ranks(void **state)
{
    (void)state;
    run_ranks(4, false, body_order, NULL);
}

/* --- streams and graphs --- */

/* x = 1; three times x = sum over ranks, each only enqueued: size^3. With two streams in turn, ordered by
 * events. */
static int body_streams(rank_env *env)
{
    enum { N = 3000 };
    static float host[N];
    float *device;
    cudaStream_t streams[2];
    cudaEvent_t event;
    connect_rank(env);
    streams[0] = env->stream;
    MUST(cudaStreamCreateWithFlags(&streams[1], cudaStreamNonBlocking));
    MUST(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    MUST(cudaMalloc((void **)&device, sizeof host));
    for (int i = 0; i < N; i++)
        host[i] = 1;
    MUST(cudaMemcpyAsync(device, host, sizeof host, cudaMemcpyHostToDevice, streams[0]));
    for (int i = 0; i < 3; i++) {
        issued(env, ncclAllReduce(device, device, N, ncclFloat32, ncclSum, env->comm, streams[i % 2]));
        MUST(cudaEventRecord(event, streams[i % 2]));
        MUST(cudaStreamWaitEvent(streams[1 - i % 2], event, 0));
    }
    MUST(cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyDeviceToHost, streams[1]));
    MUST(cudaStreamSynchronize(streams[1]));
    for (int i = 0; i < N; i++)
        CHILD_CHECK(host[i] == powf((float)env->size, 3), "element %d is %g", i, (double)host[i]);
    MUST(cudaEventDestroy(event));
    MUST(cudaStreamDestroy(streams[1]));
    MUST(cudaFree(device));
    return finish_rank(env);
}

/* Two streams that nobody orders: a communicator's collectives still run in the order of the calls. */
static int body_unordered(rank_env *env)
{
    enum { N = 500 };
    static float host[2][N];
    float *device[2];
    cudaStream_t streams[2];
    connect_rank(env);
    for (int s = 0; s < 2; s++) {
        MUST(cudaStreamCreateWithFlags(&streams[s], cudaStreamNonBlocking));
        MUST(cudaMalloc((void **)&device[s], sizeof host[s]));
        MUST(cudaMemset(device[s], 0, sizeof host[s]));
    }
    MUST(cudaDeviceSynchronize());
    for (int i = 0; i < 20; i++) /* counts differ, so that a swap would be a mismatch */
        issued(env, ncclAllReduce(device[i % 2], device[i % 2], (size_t)(N - i), ncclFloat32, ncclMax,
                                  env->comm, streams[i % 2]));
    for (int s = 0; s < 2; s++) {
        MUST(cudaStreamSynchronize(streams[s]));
        MUST(cudaStreamDestroy(streams[s]));
        MUST(cudaFree(device[s]));
    }
    return finish_rank(env);
}

/* Captured once, replayed four times, with an eager call between: size^6. */
static int body_graph(rank_env *env)
{
    enum { N = 300 };
    static double host[N];
    double *device;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    connect_rank(env);
    MUST(cudaMalloc((void **)&device, sizeof host));
    for (int i = 0; i < N; i++)
        host[i] = 1;
    MUST(cudaMemcpyAsync(device, host, sizeof host, cudaMemcpyHostToDevice, env->stream));
    issued(env, ncclAllReduce(device, device, N, ncclFloat64, ncclSum, env->comm, env->stream));
    MUST(cudaStreamBeginCapture(env->stream, cudaStreamCaptureModeThreadLocal));
    issued(env, ncclAllReduce(device, device, N, ncclFloat64, ncclSum, env->comm, env->stream));
    MUST(cudaStreamEndCapture(env->stream, &graph));
    MUST(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 4; i++) {
        MUST(cudaGraphLaunch(exec, env->stream));
        if (i == 1)
            issued(env, ncclAllReduce(device, device, N, ncclFloat64, ncclSum, env->comm, env->stream));
    }
    MUST(cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyDeviceToHost, env->stream));
    MUST(cudaStreamSynchronize(env->stream));
    for (int i = 0; i < N; i++)
        CHILD_CHECK(host[i] == pow(env->size, 6), "element %d is %g", i, host[i]);
    MUST(cudaGraphExecDestroy(exec));
    MUST(cudaGraphDestroy(graph));
    MUST(cudaFree(device));
    return finish_rank(env);
}

static void in_the_order_of_streams_and_replayed(void **state)
{
    static const char *seeds[] = {NULL, "1", "2"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        if (seeds[i]) setenv("NT_EMU_SEED", seeds[i], 1);
        run_ranks(3, i % 2, body_streams, NULL);
        run_ranks(3, i % 2, body_unordered, NULL);
        run_ranks(2, i % 2 == 0, body_graph, NULL);
    }
    unsetenv("NT_EMU_SEED");
}

/* --- non-blocking communicators, groups, ends --- */

/* The first collective comes late: its call says so, and until the state says otherwise others are refused
 * and an event recorded behind it is not behind it. */
static int body_late(rank_env *env)
{
    enum { N = 100 };
    float *device;
    cudaEvent_t event;
    connect_rank(env);
    MUST(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    MUST(cudaMalloc((void **)&device, N * sizeof *device));
    MUST(cudaMemset(device, 0, N * sizeof *device));
    MUST(cudaDeviceSynchronize());
    ncclResult_t first = ncclAllReduce(device, device, N, ncclFloat32, ncclSum, env->comm, env->stream);
    CHILD_CHECK(first == ncclInProgress, "the first call: %s", ncclGetErrorString(first));
    MUST(cudaEventRecord(event, env->stream));
    MUST(cudaEventSynchronize(event)); /* of an empty stream */
    ncclResult_t second = ncclAllReduce(device, device, N, ncclFloat32, ncclSum, env->comm, env->stream);
    CHILD_CHECK(second == ncclInvalidArgument, "a second call at once: %s", ncclGetErrorString(second));
    NCCL(settle(env->comm, LIMIT_S));
    NCCL(ncclAllReduce(device, device, N, ncclFloat32, ncclSum, env->comm, env->stream));
    MUST(cudaStreamSynchronize(env->stream));
    MUST(cudaEventDestroy(event));
    MUST(cudaFree(device));
    return finish_rank(env);
}

static void non_blocking_calls_come_late(void **state)
{
    (void)state;
    run_ranks(2, false, body_late, NULL);
}

/* Several calls in nested groups; an error inside drops them all. */
static int body_group(rank_env *env)
{
    call calls[] = {{ALL_REDUCE, 50, ncclFloat32, ncclSum, 0, true},
                    {BROADCAST, 40, ncclInt32, ncclSum, 1, false},
                    {REDUCE_SCATTER, 30, ncclFloat64, ncclMax, 0, false},
                    {ALL_GATHER, 20, ncclBfloat16, ncclSum, 0, true}};
    buffers b[4];
    connect_rank(env);
    for (int i = 0; i < 4; i++)
        b[i] = make_buffers(env, &calls[i]);
    NCCL(ncclGroupStart());
    for (int i = 0; i < 4; i++) {
        if (i == 2) NCCL(ncclGroupStart());
        NCCL(perform(env, &calls[i], &b[i]));
    }
    NCCL(ncclGroupEnd());
    issued(env, ncclGroupEnd());
    for (int i = 0; i < 4; i++)
        check(env, &calls[i], &b[i]);
    NCCL(ncclGroupStart());
    NCCL(ncclAllReduce(NULL, NULL, 0, ncclFloat32, ncclSum, env->comm, env->stream));
    CHILD_CHECK(ncclAllReduce(NULL, NULL, 0, ncclFloat32, (ncclRedOp_t)17, env->comm, env->stream) ==
                    ncclInvalidArgument,
                "operation 17");
    CHILD_CHECK(ncclGroupEnd() == ncclInvalidArgument, "the error is lost");
    CHILD_CHECK(ncclGroupEnd() == ncclInvalidUsage, "an end too many");
    return finish_rank(env);
}

/* Two ranks in one process and thread, as groups allow. */
static int body_two_in_one(rank_env *env)
{
    ncclUniqueId id;
    ncclComm_t comms[2];
    cudaStream_t streams[2];
    float *device[2], host = 3;
    (void)env;
    NCCL(ncclGetUniqueId(&id));
    NCCL(ncclGroupStart());
    for (int i = 0; i < 2; i++) {
        MUST(cudaSetDevice(i));
        MUST(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
        MUST(cudaMalloc((void **)&device[i], sizeof host));
        MUST(cudaMemcpyAsync(device[i], &host, sizeof host, cudaMemcpyHostToDevice, streams[i]));
        NCCL(ncclCommInitRank(&comms[i], 2, id, i));
    }
    NCCL(ncclGroupEnd());
    NCCL(ncclGroupStart());
    for (int i = 0; i < 2; i++)
        NCCL(ncclAllReduce(device[i], device[i], 1, ncclFloat32, ncclSum, comms[i], streams[i]));
    NCCL(ncclGroupEnd());
    for (int i = 0; i < 2; i++) {
        MUST(cudaSetDevice(i));
        MUST(cudaStreamSynchronize(streams[i]));
        MUST(cudaMemcpy(&host, device[i], sizeof host, cudaMemcpyDeviceToHost));
        CHILD_CHECK(host == 6, "sum %g", (double)host);
        NCCL(ncclCommDestroy(comms[i]));
    }
    return 0;
}

static void groups(void **state)
{
    (void)state;
    run_ranks(2, true, body_group, NULL);
    run_ranks(3, false, body_group, NULL);
    ranks r = start_ranks(1, 2, true, body_two_in_one, NULL);
    wait_ranks(&r);
    expect_ranks(&r, 0);
}

/* Destroyed with work outstanding: the work is done first. Twice in one process, with new ids. */
static int body_destroy(rank_env *env)
{
    enum { N = 200000 };
    static float host[N];
    float *device;
    int size, rank, device_number;
    connect_rank(env);
    NCCL(ncclCommCount(env->comm, &size));
    NCCL(ncclCommUserRank(env->comm, &rank));
    NCCL(ncclCommCuDevice(env->comm, &device_number));
    CHILD_CHECK(size == env->size && rank == env->rank && device_number == env->rank, "%d, %d, %d", size,
                rank, device_number);
    for (int i = 0; i < N; i++)
        host[i] = 1;
    MUST(cudaMalloc((void **)&device, sizeof host));
    MUST(cudaMemcpyAsync(device, host, sizeof host, cudaMemcpyHostToDevice, env->stream));
    for (int i = 0; i < 5; i++)
        issued(env, ncclAllReduce(device, device, N, ncclFloat32, ncclSum, env->comm, env->stream));
    NCCL(ncclCommDestroy(env->comm));
    MUST(cudaMemcpyAsync(host, device, sizeof host, cudaMemcpyDeviceToHost, env->stream));
    MUST(cudaStreamSynchronize(env->stream));
    for (int i = 0; i < N; i++)
        CHILD_CHECK(host[i] == powf((float)env->size, 5), "element %d is %g", i, (double)host[i]);
    return 0;
}

static void destroy_finishes_outstanding_work(void **state)
{
    (void)state;
    run_ranks(2, true, body_destroy, NULL);
    run_ranks(2, false, body_destroy, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_at_1_to_4_ranks),
        cmocka_unit_test(sums_are_in_the_order_of_ranks),
        cmocka_unit_test(in_the_order_of_streams_and_replayed),
        cmocka_unit_test(non_blocking_calls_come_late),
        cmocka_unit_test(groups),
        cmocka_unit_test(destroy_finishes_outstanding_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
