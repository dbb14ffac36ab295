/* What the emulated runtime promises when nothing is wrong: memory, streams, events, kernels, errors. */
#include "core/backends/cuda/launch.cuh"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h>
}
#include <cstdlib>
#include <cstring>

#define OK(call) assert_int_equal((call), cudaSuccess)

static __global__ void scale(float *y, const float *x, float a, int n)
{
    const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) y[i] = a * x[i];
}

static void kernel_between_copies(void **)
{
    enum { N = 1000 };
    float host[N], back[N], *x, *y;
    for (int i = 0; i < N; i++)
        host[i] = (float)i;
    OK(cudaMalloc(&x, sizeof host));
    OK(cudaMalloc(&y, sizeof host));
    OK(cudaMemcpy(x, host, sizeof host, cudaMemcpyHostToDevice));
    NT_LAUNCH(scale, (N + 127) / 128, 128, 0, 0, y, x, 2.0f, (int)N);
    OK(cudaGetLastError());
    OK(cudaMemcpy(back, y, sizeof back, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++)
        assert_true(back[i] == 2 * host[i]);
    OK(cudaFree(x));
    OK(cudaFree(y));
}

/* Sum of one block by shuffles and shared memory: the usual reduction. */
static __global__ void sum_blocks(float *sums, const float *x)
{
    __shared__ float part[32];
    float v = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (int d = 16; d > 0; d /= 2)
        v += __shfl_xor_sync(0xffffffffu, v, d);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x < 32) {
        v = threadIdx.x < blockDim.x / 32 ? part[threadIdx.x] : 0;
        for (int d = 16; d > 0; d /= 2)
            v += __shfl_down_sync(0xffffffffu, v, d);
        if (threadIdx.x == 0) sums[blockIdx.x] = v;
    }
}

static void reduction(void **)
{
    enum { BLOCKS = 50, THREADS = 256, N = BLOCKS * THREADS };
    static float host[N];
    float sums[BLOCKS], *x, *y;
    for (int i = 0; i < N; i++)
        host[i] = (float)(i % 17);
    OK(cudaMalloc(&x, sizeof host));
    OK(cudaMalloc(&y, sizeof sums));
    OK(cudaMemcpy(x, host, sizeof host, cudaMemcpyHostToDevice));
    NT_LAUNCH(sum_blocks, BLOCKS, THREADS, 0, 0, y, x);
    OK(cudaGetLastError());
    OK(cudaMemcpy(sums, y, sizeof sums, cudaMemcpyDeviceToHost));
    for (int b = 0; b < BLOCKS; b++) {
        float expected = 0;
        for (int i = 0; i < THREADS; i++)
            expected += host[b * THREADS + i];
        assert_true(sums[b] == expected);
    }
    OK(cudaFree(x));
    OK(cudaFree(y));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_between_copies),
        cmocka_unit_test(reduction),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
