/* Sums of a step that the host never sees on its way: squares of the gradient, losses, and the verdict on
 * them. All in double and in an order that depends on sizes alone. */
#include "core/backends/cuda/ranges.cuh"

/* --- squares --- */

/* A block adds the squares of its `block` elements. Bound by memory: 1 read. Squares in double, because those
 * of large but finite floats are not finite in float: two operations in double per element, a fifth of what
 * an A100 can do in the time. */
static __global__ void __launch_bounds__(NT_BLOCK)
    block_squares(double *partial, nt_table t, const float *x, int64_t block, bool aligned)
{
    constexpr int W = nt_lanes<float>::N;
    const nt_task s = nt_own_task(t, block);
    const bool vector = aligned && s.begin % W == 0;
    double sum = 0;
    for (int64_t i = s.begin + (int64_t)threadIdx.x * W; i < s.end; i += NT_BLOCK * W) {
        float v[W];
        nt_load(v, x + i, s.end - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++)
            sum += (double)v[k] * (double)v[k];
    }
    sum = nt_block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/* totals[other] += partial sums of a range, one after the other, so that cuts of the range between blocks do
 * not show. A block per range: its threads fetch, the first adds; 8 cycles each, 20 us for 45 million
 * parameters. */
static __global__ void __launch_bounds__(NT_BLOCK)
    add_in_order(double *totals, const double *partial, nt_table t)
{
    __shared__ double some[NT_BLOCK];
    double *total = &totals[t.range[blockIdx.x].other];
    double sum = *total;
    for (int begin = t.first[blockIdx.x], end = t.first[blockIdx.x + 1]; begin < end; begin += NT_BLOCK) {
        const int i = begin + (int)threadIdx.x, count = min(end - begin, NT_BLOCK);
        if (i < end) some[threadIdx.x] = partial[i];
        __syncthreads();
        if (threadIdx.x == 0)
            for (int k = 0; k < count; k++)
                sum += some[k];
        __syncthreads();
    }
    if (threadIdx.x == 0) *total = sum;
}

extern "C" int nt_cuda_sum_squares(nt_cuda_stream stream, double *totals, double *partial, const float *x,
                                   const nt_stretch *ranges, int n, int64_t block)
{
    const bool aligned = nt_aligned(x);
    nt_launch_ranges(ranges, n, block, NT_CUDA_PARTIAL_SUMS, [=](const nt_table &t, unsigned blocks) {
        NT_LAUNCH(block_squares, blocks, NT_BLOCK, 0, stream, partial, t, x, block, aligned);
        NT_LAUNCH(add_in_order, (unsigned)t.n, NT_BLOCK, 0, stream, totals, (const double *)partial, t);
    });
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
        correct += (double)y[2 * i + 1];
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
