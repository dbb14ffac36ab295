/* The emulator catches planted bugs.
 *
 * Each program below runs in a child process of its own, once right and once with its bug. What a missing
 * wait does shows under ThreadSanitizer as a race, and otherwise as a wrong result under some seed of a
 * handful; what the device answers with nonsense shows as a report and an abort. The same program without the
 * bug ends with 0, in silence, under every seed. */
#include "core/backends/cuda/launch.cuh"
#include "tests/cuda_emulator/tests/child.h"

enum { WRONG_RESULT = 3, N_SEEDS = 8, N = 4096 };

/* --- The programs: what a child does. They end with 0, or WRONG_RESULT where the numbers are not right ---
 */

static __global__ void add(float *y, const float *x, float a, int n)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i] = x[i] + a;
}

static void run_add(cudaStream_t stream, float *y, const float *x, float a)
{
    NT_LAUNCH(add, N / 256, 256, 0, stream, y, x, a, (int)N);
    MUST(cudaGetLastError());
}

/* What most programs need: two streams, an event, two device and two pinned buffers. */
struct Stage {
    cudaStream_t one, two;
    cudaEvent_t event;
    float *x, *y, *in, *out;
    size_t n_bytes = N * sizeof(float);

    Stage()
    {
        MUST(cudaStreamCreateWithFlags(&one, cudaStreamNonBlocking));
        MUST(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking));
        MUST(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
        MUST(cudaMalloc(&x, n_bytes));
        MUST(cudaMalloc(&y, n_bytes));
        MUST(cudaMallocHost(&in, n_bytes));
        MUST(cudaMallocHost(&out, n_bytes));
        for (int i = 0; i < N; i++) {
            in[i] = (float)i;
            out[i] = -1;
        }
    }

    /* Whether out[i] = i + a. */
    int verdict(float a) const
    {
        int code = 0;
        for (int i = 0; i < N; i++)
            if (out[i] != (float)i + a) code = WRONG_RESULT;
        return code;
    }

    int end(int code)
    {
        MUST(cudaDeviceSynchronize());
        MUST(cudaFree(x));
        MUST(cudaFree(y));
        MUST(cudaFreeHost(in));
        MUST(cudaFreeHost(out));
        MUST(cudaEventDestroy(event));
        MUST(cudaStreamDestroy(one));
        MUST(cudaStreamDestroy(two));
        return code;
    }
};

/* A kernel reads what another stream copies. Bug: it does not wait for the copy's event. */
static int event_wait(bool bug)
{
    Stage s;
    MUST(cudaMemcpyAsync(s.x, s.in, s.n_bytes, cudaMemcpyHostToDevice, s.one));
    MUST(cudaEventRecord(s.event, s.one));
    if (!bug) MUST(cudaStreamWaitEvent(s.two, s.event, 0));
    run_add(s.two, s.y, s.x, 1);
    MUST(cudaMemcpyAsync(s.out, s.y, s.n_bytes, cudaMemcpyDeviceToHost, s.two));
    MUST(cudaStreamSynchronize(s.two));
    return s.end(s.verdict(1));
}

/* The host reads what a copy brings. Bug: it does not wait. */
static int host_wait(bool bug)
{
    Stage s;
    MUST(cudaMemcpyAsync(s.x, s.in, s.n_bytes, cudaMemcpyHostToDevice, s.one));
    MUST(cudaMemcpyAsync(s.out, s.x, s.n_bytes, cudaMemcpyDeviceToHost, s.one));
    if (!bug) MUST(cudaStreamSynchronize(s.one));
    return s.end(s.verdict(0));
}

/* The host uses a pinned buffer again. Bug: before the copy from it is done. */
static int reused_buffer(bool bug)
{
    Stage s;
    MUST(cudaMemcpyAsync(s.x, s.in, s.n_bytes, cudaMemcpyHostToDevice, s.one));
    MUST(cudaEventRecord(s.event, s.one));
    if (!bug) MUST(cudaEventSynchronize(s.event));
    for (int i = 0; i < N; i++)
        s.in[i] = 0;
    MUST(cudaMemcpyAsync(s.out, s.x, s.n_bytes, cudaMemcpyDeviceToHost, s.one));
    MUST(cudaStreamSynchronize(s.one));
    return s.end(s.verdict(0));
}

/* The same with pageable memory, which may be read as late. */
static int pageable_buffer(bool bug)
{
    Stage s;
    float *in = (float *)malloc(s.n_bytes);
    if (!in) return BROKEN;
    memcpy(in, s.in, s.n_bytes);
    MUST(cudaMemcpyAsync(s.x, in, s.n_bytes, cudaMemcpyHostToDevice, s.one));
    if (!bug) MUST(cudaStreamSynchronize(s.one));
    for (int i = 0; i < N; i++)
        in[i] = 0;
    MUST(cudaMemcpyAsync(s.out, s.x, s.n_bytes, cudaMemcpyDeviceToHost, s.one));
    MUST(cudaStreamSynchronize(s.one));
    const int code = s.end(s.verdict(0));
    free(in);
    return code;
}

/* cudaMemcpy and cudaMemset go through the legacy default stream. Bug: a non-blocking stream takes no notice
 * of it. */
static int legacy_stream(bool bug)
{
    Stage s;
    cudaStream_t blocking;
    MUST(cudaStreamCreate(&blocking));
    cudaStream_t stream = bug ? s.one : blocking;
    MUST(cudaMemset(s.x, 0, s.n_bytes));
    run_add(stream, s.y, s.x, 0);
    MUST(cudaMemcpyAsync(s.out, s.y, s.n_bytes, cudaMemcpyDeviceToHost, stream));
    MUST(cudaStreamSynchronize(stream));
    int code = 0;
    for (int i = 0; i < N; i++)
        if (s.out[i] != 0) code = WRONG_RESULT;
    MUST(cudaStreamDestroy(blocking));
    return s.end(code);
}

/* Two branches of a captured graph. Bug: the second does not wait for what the first wrote. */
static int graph_branch(bool bug)
{
    Stage s;
    cudaEvent_t fork, written;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    MUST(cudaEventCreate(&fork));
    MUST(cudaEventCreate(&written));
    MUST(cudaMemcpy(s.y, s.in, s.n_bytes, cudaMemcpyHostToDevice));
    MUST(cudaDeviceSynchronize());
    MUST(cudaStreamBeginCapture(s.one, cudaStreamCaptureModeThreadLocal));
    MUST(cudaEventRecord(fork, s.one));
    MUST(cudaStreamWaitEvent(s.two, fork, 0));
    run_add(s.one, s.x, s.y, 1);
    MUST(cudaEventRecord(written, s.one));
    if (!bug) MUST(cudaStreamWaitEvent(s.two, written, 0));
    MUST(cudaMemcpyAsync(s.out, s.x, s.n_bytes, cudaMemcpyDeviceToHost, s.two));
    MUST(cudaEventRecord(s.event, s.two));
    MUST(cudaStreamWaitEvent(s.one, s.event, 0));
    MUST(cudaStreamEndCapture(s.one, &graph));
    MUST(cudaGraphInstantiate(&exec, graph, 0));
    MUST(cudaGraphLaunch(exec, s.one));
    MUST(cudaStreamSynchronize(s.one));
    MUST(cudaGraphExecDestroy(exec));
    MUST(cudaGraphDestroy(graph));
    MUST(cudaEventDestroy(fork));
    MUST(cudaEventDestroy(written));
    return s.end(s.verdict(1));
}

/* Turns each block's 256 numbers around. Bug: threads read before others have written. */
static __global__ void reverse(float *y, const float *x, bool bug)
{
    __shared__ float part[256];
    const int t = (int)threadIdx.x, first = (int)blockIdx.x * 256;
    part[t] = x[first + t];
    if (bug)
        __syncwarp();
    else
        __syncthreads();
    y[first + t] = part[255 - t];
}

static int block_barrier(bool bug)
{
    Stage s;
    MUST(cudaMemcpyAsync(s.x, s.in, s.n_bytes, cudaMemcpyHostToDevice, s.one));
    NT_LAUNCH(reverse, N / 256, 256, 0, s.one, s.y, s.x, bug);
    MUST(cudaMemcpyAsync(s.out, s.y, s.n_bytes, cudaMemcpyDeviceToHost, s.one));
    MUST(cudaStreamSynchronize(s.one));
    int code = 0;
    for (int i = 0; i < N; i++)
        if (s.out[i] != (float)(i / 256 * 256 + 255 - i % 256)) code = WRONG_RESULT;
    return s.end(code);
}

static __global__ void fill(float *y, int n)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i] = 1;
}

/* Bug: one element more than there is. */
static int out_of_bounds(bool bug)
{
    float *y;
    MUST(cudaMalloc(&y, 1000 * sizeof *y));
    NT_LAUNCH(fill, 4, 256, 0, 0, y, 1000 + bug);
    MUST(cudaGetLastError());
    MUST(cudaDeviceSynchronize());
    MUST(cudaFree(y));
    return 0;
}

/* The same where the memory ends with its page. */
static int out_of_page(bool bug)
{
    float *y;
    MUST(cudaMalloc(&y, 1024 * sizeof *y));
    NT_LAUNCH(fill, 5, 256, 0, 0, y, 1024 + bug);
    MUST(cudaGetLastError());
    MUST(cudaDeviceSynchronize());
    MUST(cudaFree(y));
    return 0;
}

static __global__ void early_leaver(float *y, int n)
{
    __shared__ float first;
    if ((int)threadIdx.x >= n) return;
    if (threadIdx.x == 0) first = 5;
    __syncthreads();
    y[threadIdx.x] = first;
}

/* Bug: half of the threads leave before the barrier. */
static int divergent_barrier(bool bug)
{
    Stage s;
    NT_LAUNCH(early_leaver, 1, 64, 0, s.one, s.y, bug ? 32 : 64);
    MUST(cudaStreamSynchronize(s.one));
    return s.end(0);
}

static __global__ void two_barriers(float *y, bool bug)
{
    if (bug && threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1;
}

/* Bug: one barrier in each branch. */
static int barrier_in_branches(bool bug)
{
    Stage s;
    NT_LAUNCH(two_barriers, 1, 64, 0, s.one, s.y, bug);
    MUST(cudaStreamSynchronize(s.one));
    return s.end(0);
}

static __global__ void half_warp(float *y, bool bug)
{
    float v = (float)threadIdx.x;
    if (!bug || threadIdx.x < 16) v += __shfl_xor_sync(0xffffffffu, v, 1);
    y[threadIdx.x] = v;
}

/* Bug: half of the lanes do not come to the shuffle. */
static int divergent_shuffle(bool bug)
{
    Stage s;
    NT_LAUNCH(half_warp, 1, 32, 0, s.one, s.y, bug);
    MUST(cudaStreamSynchronize(s.one));
    return s.end(0);
}

static __global__ void pair_sum(float *y)
{
    const float v = (float)threadIdx.x;
    y[threadIdx.x] = v + __shfl_xor_sync(0xffffffffu, v, 16);
}

/* Bug: the block's last warp has 16 lanes only, and they read those that there are not. */
static int absent_lane(bool bug)
{
    Stage s;
    NT_LAUNCH(pair_sum, 1, bug ? 48 : 64, 0, s.one, s.y);
    MUST(cudaStreamSynchronize(s.one));
    return s.end(0);
}

/* Bug: the host reads device memory. */
static int host_touch(bool bug)
{
    Stage s;
    MUST(cudaMemsetAsync(s.x, 0, s.n_bytes, s.one));
    MUST(cudaStreamSynchronize(s.one));
    const volatile float *x = bug ? s.x : s.in;
    const float seen = x[7];
    (void)seen;
    return s.end(0);
}

struct Hull {
    float *y;
};
static __global__ void fill_hull(Hull hull)
{
    hull.y[threadIdx.x] = 1;
}

/* Bug: a kernel finds a freed pointer in a structure. */
static int use_after_free(bool bug)
{
    Stage s;
    float *y;
    MUST(cudaMalloc(&y, 256 * sizeof *y));
    if (bug) MUST(cudaFree(y));
    NT_LAUNCH(fill_hull, 1, 256, 0, s.one, Hull{y});
    MUST(cudaStreamSynchronize(s.one));
    if (!bug) MUST(cudaFree(y));
    return s.end(0);
}

/* Bug: a kernel is given a freed pointer. */
static int freed_argument(bool bug)
{
    Stage s;
    float *y;
    MUST(cudaMalloc(&y, 256 * sizeof *y));
    if (bug) MUST(cudaFree(y));
    NT_LAUNCH(fill, 1, 256, 0, s.one, y, 256);
    MUST(cudaStreamSynchronize(s.one));
    if (!bug) MUST(cudaFree(y));
    return s.end(0);
}

/* Bug: a kernel is given memory of the host. */
static int host_argument(bool bug)
{
    Stage s;
    float *y = (float *)malloc(s.n_bytes);
    NT_LAUNCH(fill, 1, 256, 0, s.one, bug ? y : s.y, 256);
    MUST(cudaStreamSynchronize(s.one));
    free(y);
    return s.end(0);
}

/* Bug: freed twice; the error is ignored. */
static int double_free(bool bug)
{
    float *y;
    MUST(cudaMalloc(&y, 256));
    MUST(cudaFree(y));
    if (bug && cudaFree(y) != cudaErrorInvalidValue) return BROKEN;
    return 0;
}

/* Bug: the wrong direction; the error is ignored. */
static int wrong_direction(bool bug)
{
    Stage s;
    const enum cudaMemcpyKind kind = bug ? cudaMemcpyDeviceToHost : cudaMemcpyHostToDevice;
    const cudaError_t error = cudaMemcpyAsync(s.x, s.in, s.n_bytes, kind, s.one);
    if (error != (bug ? cudaErrorInvalidValue : cudaSuccess)) return BROKEN;
    return s.end(0);
}

/* Bug: more bytes than there are; the error is ignored. */
static int copy_too_long(bool bug)
{
    Stage s;
    const cudaError_t error = cudaMemsetAsync(s.x, 0, s.n_bytes + bug, s.one);
    if (error != (bug ? cudaErrorInvalidValue : cudaSuccess)) return BROKEN;
    return s.end(0);
}

/* Bug: memory and a stream are never given back. */
static int leak(bool bug)
{
    float *y;
    cudaStream_t stream;
    MUST(cudaMalloc(&y, 300));
    MUST(cudaStreamCreate(&stream));
    if (bug) return 0;
    MUST(cudaFree(y));
    MUST(cudaStreamDestroy(stream));
    return 0;
}

/* --- The tests: what becomes of a child --- */

enum Way {
    A_RACE,     /* a race under ThreadSanitizer, else a wrong result under some seed */
    A_REPORT,   /* words on stderr, and an abort */
    A_COMPLAINT /* words on stderr, and an exit code */
};

struct Program {
    const char *name;
    int (*run)(bool bug);
    Way way;
    const char *says, *asan_says; /* asan_says: what AddressSanitizer finds first; NULL: the same */
    int exit_code;                /* of a complaint */
};

static const Program programs[] = {
    {"event_wait", event_wait, A_RACE, nullptr, nullptr, 0},
    {"host_wait", host_wait, A_RACE, nullptr, nullptr, 0},
    {"reused_buffer", reused_buffer, A_RACE, nullptr, nullptr, 0},
    {"pageable_buffer", pageable_buffer, A_RACE, nullptr, nullptr, 0},
    {"legacy_stream", legacy_stream, A_RACE, nullptr, nullptr, 0},
    {"graph_branch", graph_branch, A_RACE, nullptr, nullptr, 0},
    {"block_barrier", block_barrier, A_RACE, nullptr, nullptr, 0},
    {"out_of_bounds", out_of_bounds, A_REPORT, "1 byte(s) beyond the end of allocation 1 of 4000 bytes",
     "use-after-poison", 0},
    {"out_of_page", out_of_page, A_REPORT, "0 bytes beyond the end of allocation 1 of 4096 bytes",
     "use-after-poison", 0},
    {"divergent_barrier", divergent_barrier, A_REPORT,
     "divergence in kernel early_leaver, block (0,0,0) of 64 threads: 32 wait at the barrier", nullptr, 0},
    {"barrier_in_branches", barrier_in_branches, A_REPORT, "threads of one block wait at different barriers",
     nullptr, 0},
    {"divergent_shuffle", divergent_shuffle, A_REPORT, "warp 0: lanes 0x0000ffff wait", nullptr, 0},
    {"absent_lane", absent_lane, A_REPORT, "in which that lane takes no part", nullptr, 0},
    {"host_touch", host_touch, A_REPORT, "the host touched device memory: byte 28 of allocation", nullptr, 0},
    {"use_after_free", use_after_free, A_REPORT, "use after free: the device touched byte 0 of allocation",
     "use-after-poison", 0},
    {"freed_argument", freed_argument, A_REPORT, "use after free: argument 1 of kernel fill", nullptr, 0},
    {"host_argument", host_argument, A_REPORT, "which is ordinary host memory", nullptr, 0},
    {"double_free", double_free, A_COMPLAINT, "was freed before (double free)", nullptr, 24},
    {"wrong_direction", wrong_direction, A_COMPLAINT, "copy 'device to host' from host memory", nullptr, 24},
    {"copy_too_long", copy_too_long, A_COMPLAINT, "memset of: 16385 bytes", nullptr, 24},
    {"leak", leak, A_COMPLAINT, "leak: allocation 1, 300 bytes of device memory", nullptr, 23},
};

/* seed < 0: without the seeded scheduler. */
static Outcome run(const Program &p, bool bug, int seed)
{
    const char *arg = bug ? "bug" : "right";
    if (seed < 0) return run_child(p.name, arg, {{"NT_EMU_LEAKS", "fail"}});
    return run_child(p.name, arg, {{"NT_EMU_LEAKS", "fail"}, {"NT_EMU_SEED", std::to_string(seed).c_str()}});
}

static void expect_success(const Program &p)
{
    for (int seed = -1; seed < N_SEEDS; seed++) {
        const Outcome o = run(p, false, seed);
        if (o.code() != 0 || !o.words.empty())
            fail_msg("%s without its bug, seed %d: status %d, says: %s", p.name, seed, o.status,
                     o.words.c_str());
    }
}

static void expect_race(const Program &p)
{
    if (UNDER_TSAN) {
        const Outcome o = run(p, true, -1);
        if (!o.says("ThreadSanitizer: data race") || o.code() == 0)
            fail_msg("%s: no race was found; status %d, says: %s", p.name, o.status, o.words.c_str());
        return;
    }
    int n_wrong = 0;
    for (int seed = 0; seed < N_SEEDS; seed++) {
        const Outcome o = run(p, true, seed);
        n_wrong += o.code() == WRONG_RESULT;
    }
    print_message("%s: wrong under %d of %d seeds\n", p.name, n_wrong, (int)N_SEEDS);
    if (n_wrong == 0) fail_msg("%s: right under every seed", p.name);
}

static void expect_words(const Program &p)
{
    const Outcome o = run(p, true, -1);
    const char *words = UNDER_ASAN && p.asan_says ? p.asan_says : p.says;
    if (!o.says(words)) fail_msg("%s: '%s' is not in: %s", p.name, words, o.words.c_str());
    if (p.way == A_COMPLAINT)
        assert_int_equal(o.code(), p.exit_code);
    else
        assert_true(o.code() != 0);
}

static void check_program(void **state)
{
    const Program &p = *static_cast<const Program *>(*state);
    expect_success(p);
    if (p.way == A_RACE)
        expect_race(p);
    else
        expect_words(p);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        for (const Program &p : programs)
            if (!strcmp(p.name, argv[1])) return p.run(!strcmp(argv[2], "bug"));
    enum { COUNT = sizeof programs / sizeof *programs };
    struct CMUnitTest tests[COUNT];
    for (int i = 0; i < COUNT; i++)
        tests[i] = {programs[i].name, check_program, nullptr, nullptr, (void *)&programs[i]};
    return _cmocka_run_group_tests("planted bugs", tests, COUNT, nullptr, nullptr);
}
