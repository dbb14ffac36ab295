/* Kernels on the emulated device: indices, barriers, warps, shared memory, atomics, launches that are
 * refused. */
#include "core/backends/cuda/launch.cuh"
#include "tests/cuda_emulator/tests/child.h"

#include <vector>

/* Device memory of n ints (0xFF at first), and what is in it. */
struct Ints {
    int *x;
    size_t n;
    explicit Ints(size_t count) : n(count)
    {
        OK(cudaMalloc(&x, n * sizeof(int)));
    }
    ~Ints()
    {
        cudaFree(x);
    }
    std::vector<int> read() const
    {
        std::vector<int> host(n);
        OK(cudaMemcpy(host.data(), x, n * sizeof(int), cudaMemcpyDeviceToHost));
        return host;
    }
};

static __global__ void place(int *out)
{
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    out[block * threads + thread] = (int)(thread * 1000 + block);
}

static void three_dimensions(void **)
{
    const dim3 grid(3, 2, 4), block(5, 7, 2);
    Ints out(24 * 70);
    NT_LAUNCH(place, grid, block, 0, 0, out.x);
    OK(cudaGetLastError());
    const std::vector<int> got = out.read();
    for (int i = 0; i < 24 * 70; i++)
        assert_int_equal(got[(size_t)i], i % 70 * 1000 + i / 70);
}

/* --- Warps, against the definitions of the programming guide --- */

static __global__ void shuffles(int *out, int width)
{
    const int t = (int)threadIdx.x;
    int *mine = out + t * 5;
    mine[0] = __shfl_sync(0xffffffffu, t * 3, t + 5, width);
    mine[1] = __shfl_up_sync(0xffffffffu, t * 3, 2, width);
    mine[2] = __shfl_down_sync(0xffffffffu, t * 3, 3, width);
    mine[3] = __shfl_xor_sync(0xffffffffu, t * 3, 5, width);
    mine[4] = (int)__shfl_sync(0xffffffffu, (double)t, 1, width);
}

static void all_shuffles(void **)
{
    for (int width : {32, 16, 8}) {
        Ints out(64 * 5);
        NT_LAUNCH(shuffles, 1, 64, 0, 0, out.x, width);
        const std::vector<int> got = out.read();
        for (int t = 0; t < 64; t++) {
            const int first = t / width * width, lane = t % width;
            const int *mine = &got[(size_t)t * 5];
            assert_int_equal(mine[0], 3 * (first + (lane + 5) % width));
            assert_int_equal(mine[1], 3 * (lane >= 2 ? t - 2 : t));
            assert_int_equal(mine[2], 3 * (lane + 3 < width ? t + 3 : t));
            const int other = t ^ 5; /* stays within its segment for widths of 8 and more */
            assert_int_equal(mine[3], 3 * other);
            assert_int_equal(mine[4], first + 1);
        }
    }
}

static __global__ void votes(int *out)
{
    const int t = (int)threadIdx.x;
    const bool odd = t % 2;
    out[t * 4] = (int)__ballot_sync(0xffffffffu, odd);
    out[t * 4 + 1] = __any_sync(0xffffffffu, t == 3);
    out[t * 4 + 2] = __all_sync(0xffffffffu, t >= 32);
    __syncwarp();
    if (odd) /* one half of the lanes for itself */
        out[t * 4 + 3] = __shfl_sync(0xaaaaaaaau, t, 7);
    else
        out[t * 4 + 3] = __shfl_sync(0x55555555u, t, 8);
}

static void votes_and_halves(void **)
{
    Ints out(64 * 4);
    NT_LAUNCH(votes, 1, 64, 0, 0, out.x);
    const std::vector<int> got = out.read();
    for (int t = 0; t < 64; t++) {
        const int *mine = &got[(size_t)t * 4];
        assert_int_equal((unsigned)mine[0], 0xaaaaaaaau);
        assert_int_equal(mine[1], t < 32);
        assert_int_equal(mine[2], t >= 32);
        assert_int_equal(mine[3], t / 32 * 32 + (t % 2 ? 7 : 8));
    }
}

/* 40 threads: a warp of 8 lanes among them. */
static __global__ void short_warp(int *out)
{
    int v = 1;
    for (int d = 4; d > 0; d /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, d);
    out[threadIdx.x] = v + __popc(__ballot_sync(0xffffffffu, 1)) * 100;
}

static void part_of_a_warp(void **)
{
    Ints out(40);
    NT_LAUNCH(short_warp, 1, 40, 0, 0, out.x);
    const std::vector<int> got = out.read();
    for (int t = 0; t < 40; t++)
        assert_int_equal(got[(size_t)t], 8 + (t < 32 ? 3200 : 800));
}

/* --- Blocks --- */

static __global__ void alone(int *out, int value)
{
    out[0] = __shfl_sync(1u, value, 0);
    out[1] = (int)__ballot_sync(1u, true);
}

/* A block of one thread, as the first that a stream ever runs: also in the eyes of ThreadSanitizer it comes
 * before the copy that follows in the stream. */
static void one_thread_first(void **)
{
    int got[2] = {0, 0};
    cudaStream_t stream;
    Ints out(2);
    OK(cudaDeviceSynchronize());
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    NT_LAUNCH(alone, 1, 1, 0, stream, out.x, 1234);
    OK(cudaMemcpyAsync(got, out.x, sizeof got, cudaMemcpyDeviceToHost, stream));
    OK(cudaStreamSynchronize(stream));
    assert_int_equal(got[0], 1234);
    assert_int_equal(got[1], 1);
    OK(cudaStreamDestroy(stream));
}

static __global__ void counts(int *out)
{
    const int t = (int)threadIdx.x;
    out[t * 3] = __syncthreads_count(t < 10);
    out[t * 3 + 1] = __syncthreads_and(t >= 0);
    out[t * 3 + 2] = __syncthreads_or(t > 1000);
}

static void counting_barriers(void **)
{
    Ints out(100 * 3);
    NT_LAUNCH(counts, 1, 100, 0, 0, out.x);
    const std::vector<int> got = out.read();
    for (size_t t = 0; t < 100; t++) {
        assert_int_equal(got[t * 3], 10);
        assert_int_equal(got[t * 3 + 1], 1);
        assert_int_equal(got[t * 3 + 2], 0);
    }
}

/* Hillis and Steele's scan, with the whole of dynamic shared memory. */
static __global__ void scan(int *out)
{
    NT_DYNAMIC_SHARED(int, sums);
    const int t = (int)threadIdx.x, n = (int)blockDim.x;
    sums[t] = t;
    for (int d = 1; d < n; d *= 2) {
        __syncthreads();
        const int v = t >= d ? sums[t - d] : 0;
        __syncthreads();
        sums[t] += v;
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = sums[t];
}

static void dynamic_shared_memory(void **)
{
    for (int n : {1, 33, 256, 1024}) {
        Ints out((size_t)n * 3);
        NT_LAUNCH(scan, 3, n, (size_t)n * sizeof(int), 0, out.x);
        OK(cudaGetLastError());
        const std::vector<int> got = out.read();
        for (int i = 0; i < 3 * n; i++)
            assert_int_equal(got[(size_t)i], i % n * (i % n + 1) / 2);
    }
}

/* Each block finds shared memory poisoned, static and dynamic, whatever the block before left there. */
template <typename T> static __global__ void leave_behind(int *seen)
{
    __shared__ T fixed[64];
    NT_DYNAMIC_SHARED(int, dynamic);
    const T nothing = (T)~0ull;
    seen[blockIdx.x * 64 + threadIdx.x] = fixed[threadIdx.x] == nothing && dynamic[threadIdx.x] == -1;
    fixed[threadIdx.x] = 1;
    dynamic[threadIdx.x] = 1;
}

static void poison_between_blocks(void **)
{
    for (int i = 0; i < 3; i++) {
        Ints seen(5 * 64);
        if (i % 2)
            NT_LAUNCH(leave_behind<int>, 5, 64, 64 * sizeof(int), 0, seen.x);
        else
            NT_LAUNCH(leave_behind<long long>, 5, 64, 64 * sizeof(int), 0, seen.x);
        for (int ok : seen.read())
            assert_int_equal(ok, 1);
    }
}

static __global__ void count_up(int *count, int *largest)
{
    atomicAdd(count, 2);
    atomicMax(largest, (int)(blockIdx.x * blockDim.x + threadIdx.x));
}

static void atomics(void **)
{
    Ints out(2);
    OK(cudaMemset(out.x, 0, 8));
    NT_LAUNCH(count_up, 20, 64, 0, 0, out.x, out.x + 1);
    const std::vector<int> got = out.read();
    assert_int_equal(got[0], 2 * 20 * 64);
    assert_int_equal(got[1], 20 * 64 - 1);
}

/* The last block to finish adds up what all have written. */
static __global__ void last_block(int *total, int *part, int *n_done)
{
    __shared__ int is_last;
    if (threadIdx.x == 0) {
        part[blockIdx.x] = (int)blockIdx.x;
        __threadfence();
        is_last = atomicAdd(n_done, 1) == (int)gridDim.x - 1;
    }
    __syncthreads();
    if (is_last && threadIdx.x == 0) {
        int sum = 0;
        for (int i = 0; i < (int)gridDim.x; i++)
            sum += part[i];
        *total = sum;
    }
}

static void last_block_adds(void **)
{
    Ints out(102);
    OK(cudaMemset(out.x, 0, 8));
    NT_LAUNCH(last_block, 100, 32, 0, 0, out.x, out.x + 2, out.x + 1);
    assert_int_equal(out.read()[0], 4950);
}

static __global__ void shared_64k(int *out)
{
    NT_DYNAMIC_SHARED(int, all);
    all[threadIdx.x * 1000] = 1;
    out[0] = all[0];
}

static __global__ void nothing(int)
{
}

static void refused(cudaError_t error, dim3 grid, dim3 block)
{
    NT_LAUNCH(nothing, grid, block, 0, 0, 1);
    assert_int_equal(cudaPeekAtLastError(), error);
    assert_int_equal(cudaGetLastError(), error);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
}

static void limits(void **)
{
    Ints out(1);
    refused(cudaErrorInvalidConfiguration, 1, 1025);
    refused(cudaErrorInvalidConfiguration, 1, dim3(1, 1, 65));
    refused(cudaErrorInvalidConfiguration, 1, dim3(32, 33, 1));
    refused(cudaErrorInvalidConfiguration, 1, 0);
    refused(cudaErrorInvalidConfiguration, 0, 1);
    refused(cudaErrorInvalidConfiguration, dim3(1, 65536, 1), 1);
    refused(cudaSuccess, dim3(70000, 1, 1), 1);
    NT_LAUNCH(shared_64k, 1, 8, 64 << 10, 0, out.x);
    FAILS(cudaErrorInvalidValue, cudaGetLastError());
    FAILS(cudaErrorInvalidValue,
          cudaFuncSetAttribute(shared_64k, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 << 10));
    (void)cudaGetLastError();
    OK(cudaFuncSetAttribute(shared_64k, cudaFuncAttributeMaxDynamicSharedMemorySize, 64 << 10));
    NT_LAUNCH(shared_64k, 1, 8, 64 << 10, 0, out.x);
    OK(cudaGetLastError());
    assert_int_equal(out.read()[0], 1);
}

/* --- Children --- */

static __global__ void too_much(int *out)
{
    __shared__ int large[10000], more[3000];
    large[threadIdx.x] = more[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = large[31 - threadIdx.x] + more[31 - threadIdx.x];
}

static __global__ void beyond_dynamic(int *out)
{
    NT_DYNAMIC_SHARED(int, some);
    some[threadIdx.x] = (int)threadIdx.x;
    out[threadIdx.x] = some[threadIdx.x];
}

static __global__ void deep(int *out, int n)
{
    volatile char frame[10000];
    frame[n] = (char)n;
    if (n > 0) deep(out, n - 1);
    out[n] = frame[n];
}

static int run(const char *name, const char *)
{
    int *x;
    MUST(cudaMalloc(&x, 4096));
    if (!strcmp(name, "too_much")) NT_LAUNCH(too_much, 1, 32, 0, 0, x);
    if (!strcmp(name, "beyond_dynamic")) NT_LAUNCH(beyond_dynamic, 1, 257, 1024, 0, x);
    if (!strcmp(name, "deep")) NT_LAUNCH(deep, 1, 1, 0, 0, x, 100);
    MUST(cudaGetLastError());
    MUST(cudaDeviceSynchronize());
    MUST(cudaFree(x));
    return 0;
}

static void too_much_static_memory(void **)
{
    const Outcome o = run_child("too_much", "", {});
    assert_true(o.says("kernel too_much uses 52000 bytes of static and 0 of dynamic shared memory"));
}

static void beyond_dynamic_memory(void **)
{
    const Outcome o = run_child("beyond_dynamic", "", {});
    assert_int_not_equal(o.code(), 0);
    assert_true(o.says(UNDER_ASAN ? "use-after-poison"
                                  : "in kernel beyond_dynamic, block (0,0,0), thread (256,0,0)"));
}

static void stack_overflow(void **)
{
    const Outcome o = run_child("deep", "", {});
    assert_int_not_equal(o.code(), 0);
    assert_true(
        o.says("stack overflow: a thread has 128 KB here; in kernel deep, block (0,0,0), thread (0,0,0)"));
}

int main(int argc, char **argv)
{
    if (argc == 3) return run(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_dimensions),       cmocka_unit_test(all_shuffles),
        cmocka_unit_test(votes_and_halves),       cmocka_unit_test(part_of_a_warp),
        cmocka_unit_test(counting_barriers),      cmocka_unit_test(dynamic_shared_memory),
        cmocka_unit_test(poison_between_blocks),  cmocka_unit_test(atomics),
        cmocka_unit_test(last_block_adds),        cmocka_unit_test(limits),
        cmocka_unit_test(too_much_static_memory), cmocka_unit_test(beyond_dynamic_memory),
        cmocka_unit_test(stack_overflow),         cmocka_unit_test(one_thread_first),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
