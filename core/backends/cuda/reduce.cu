/* Sums of a step that the host never sees on its way: squares of the gradient, losses, and the verdict on
 * them. All in double and in an order that depends on sizes alone. */
#include "core/backends/cuda/device.cuh"

/* --- squares --- */

/* Block b adds the squares of its `block` elements. Bound by memory: 1 read. Squares in double, because those
 * of large but finite floats are not finite in float: two operations in double per element, a fifth of what
 * an A100 can do in the time. */
static __global__ void __launch_bounds__(NT_BLOCK)
    block_squares(double *partial, const float *x, int64_t n, int64_t block, bool vector)
{
    constexpr int W = nt_lanes<float>::N;
    const int64_t begin = blockIdx.x * block, end = begin + block < n ? begin + block : n;
    double sum = 0;
    for (int64_t i = begin + (int64_t)threadIdx.x * W; i < end; i += NT_BLOCK * W) {
        float v[W];
        nt_load(v, x + i, end - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++)
            sum += (double)v[k] * (double)v[k];
    }
    sum = nt_block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/* *total += partial sums, one after the other, so that cuts of the range between blocks do not show. One
 * block: its threads fetch, the first adds; 8 cycles each, 20 us for 45 million parameters. */
static __global__ void __launch_bounds__(NT_BLOCK) add_in_order(double *total, const double *partial, int n)
{
    __shared__ double some[NT_BLOCK];
    double sum = *total;
    for (int begin = 0; begin < n; begin += NT_BLOCK) {
        const int i = begin + (int)threadIdx.x, count = min(n - begin, NT_BLOCK);
        if (i < n) some[threadIdx.x] = partial[i];
        __syncthreads();
        if (threadIdx.x == 0)
            for (int k = 0; k < count; k++)
                sum += some[k];
        __syncthreads();
    }
    if (threadIdx.x == 0) *total = sum;
}

extern "C" int nt_cuda_sum_squares(nt_cuda_stream stream, double *total, double *partial, const float *x,
                                   int64_t n, int64_t block)
{
    const int64_t at_once = block * NT_CUDA_PARTIAL_SUMS;
    for (int64_t begin = 0; begin < n; begin += at_once) {
        const int64_t count = n - begin < at_once ? n - begin : at_once;
        const int64_t blocks = (count + block - 1) / block;
        NT_LAUNCH(block_squares, (unsigned)blocks, NT_BLOCK, 0, stream, partial, x + begin, count, block,
                  nt_aligned(x + begin));
        NT_LAUNCH(add_in_order, 1, NT_BLOCK, 0, stream, total, (const double *)partial, (int)blocks);
    }
    return (int)cudaGetLastError();
}

/* --- the report --- */

enum { LOSS, LOSS_SQUARED, CORRECT, SUM_SQUARES, SCALE }; /* nt_report of core/backend.h */

/* One block; y (n, 2) is the smallest tensor of a step. */
static __global__ void __launch_bounds__(NT_BLOCK) add_losses(double *report, const float *y, int64_t n)
{
    double loss = 0, squared = 0, correct = 0;
    for (int64_t i = threadIdx.x; i < n; i += NT_BLOCK) {
        const double one = (double)y[2 * i];
        loss += one;
        squared += one * one;
        correct += y[2 * i + 1] > 0.5f ? 1 : 0;
    }
    loss = nt_block_sum(loss);
    squared = nt_block_sum(squared);
    correct = nt_block_sum(correct);
    if (threadIdx.x != 0) return;
    report[LOSS] += loss;
    report[LOSS_SQUARED] += squared;
    report[CORRECT] += correct;
}

static inline __device__ bool is_finite(double x)
{
    return x - x == 0;
}

/* One block; `squares` are one number per stretch of parameters. */
static __global__ void __launch_bounds__(NT_BLOCK)
    judge(double *report, double *squares, int n, int n_others, double clip)
{
    double sum = 0, bad = 0;
    for (int i = (int)threadIdx.x; i < n + n_others; i += NT_BLOCK) {
        sum += i < n ? squares[i] : 0;
        bad += i >= n && !is_finite(squares[i]) ? 1 : 0;
        squares[i] = 0;
    }
    sum = nt_block_sum(sum);
    bad = nt_block_sum(bad);
    if (threadIdx.x != 0) return;
    const double norm = sqrt(sum);
    if (bad > 0) sum = NAN;
    report[SUM_SQUARES] = sum;
    report[SCALE] = !is_finite(sum) ? (double)NAN : clip > 0 && norm > clip ? clip / norm : 1;
}

/* A thread a tensor: see nt_backend_ops.ratios. */
static __global__ void __launch_bounds__(NT_BLOCK)
    ratios(double *pairs, const double *decay, const double *scale, double coefficient, int n)
{
    for (int i = (int)nt_thread(); i < n; i += (int)nt_threads()) {
        const double w = sqrt(pairs[2 * i]), g = sqrt(pairs[2 * i + 1]) * (scale ? *scale : 1);
        pairs[2 * i] = w == 0 || g == 0 ? 1 : coefficient * w / (g + decay[i] * w);
    }
}

extern "C" int nt_cuda_ratios(nt_cuda_stream stream, double *pairs, const double *decay, const double *scale,
                              double coefficient, int n)
{
    NT_LAUNCH(ratios, nt_blocks(n), NT_BLOCK, 0, stream, pairs, decay, scale, coefficient, n);
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_add_losses(nt_cuda_stream stream, double *report, const float *y, int64_t n)
{
    NT_LAUNCH(add_losses, 1, NT_BLOCK, 0, stream, report, y, n);
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_judge(nt_cuda_stream stream, double *report, double *squares, int n, int n_others,
                             double clip)
{
    NT_LAUNCH(judge, 1, NT_BLOCK, 0, stream, report, squares, n, n_others, clip);
    return (int)cudaGetLastError();
}
