/* Sums over each channel of a batch (N, C, S): two values per channel at once. What is summed is a functor F:
 *   f.begin(c)              reads the constants of channel c
 *   f.add<W>(at, a, b)      adds what the W neighbours from element `at` on give to a and b
 *
 * Two ways through memory, by S. Rows: a block takes one channel and a part of its N S values, which lie in
 * rows of S; sixteen bytes at a time where S fills them. Columns, where rows are so short that most of each
 * 32-byte sector would belong to others: a block takes 32 neighbouring columns of (N, C S) and a part of the
 * N. Either way a part leaves one partial sum per channel or column, in double, and whoever reads them adds
 * them in order (nt_channel_total). How many parts depends on the shape alone, never on the device: enough
 * for 2000 blocks, as long as each has a few thousand values to add.
 *
 * The alternative, atomics on the totals, would save the second launch and lose repeatability. */
#ifndef NT_CORE_BACKENDS_CUDA_CHANNEL_SUMS_CUH
#define NT_CORE_BACKENDS_CUDA_CHANNEL_SUMS_CUH

#include "core/backends/cuda/device.cuh"

constexpr int NT_SHORT_ROW = 8;
constexpr int NT_COLUMN_ROWS = NT_BLOCK / NT_WARP; /* rows that a block of columns adds at a time */

struct nt_sums_plan {
    nt_cuda_channels z;
    bool columns;
    int64_t parts, width; /* partial: (parts, 2, width) */
};

static inline int64_t nt_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline nt_sums_plan nt_plan_sums(nt_cuda_channels z)
{
    constexpr int64_t MAX_PARTS = 64, FILLED = 2048, WORTH_A_BLOCK = 8192, WORTH_A_COLUMN = 256;
    nt_sums_plan plan = {z, z.s < NT_SHORT_ROW, 1, z.c};
    int64_t by_work = nt_ceil_div(z.n * z.s, WORTH_A_BLOCK), by_room = nt_ceil_div(FILLED, z.c);
    if (plan.columns) {
        plan.width = z.c * z.s;
        by_work = nt_ceil_div(z.n, WORTH_A_COLUMN);
        by_room = nt_ceil_div(FILLED, nt_ceil_div(plan.width, NT_WARP));
    }
    plan.parts = by_work < by_room ? by_work : by_room;
    if (plan.parts > MAX_PARTS) plan.parts = MAX_PARTS;
    return plan;
}

static inline size_t nt_partial_bytes(const nt_sums_plan &plan)
{
    return (size_t)(plan.parts * 2 * plan.width) * sizeof(double);
}

/* Block (c, part). `row`: packs of W in S. */
template <int W, typename F>
static __global__ void __launch_bounds__(NT_BLOCK)
    nt_sum_rows(double *partial, F f, nt_cuda_channels z, nt_divisor row, int64_t packs_per_part)
{
    const int64_t c = blockIdx.x, begin = blockIdx.y * packs_per_part, all = z.n * row.d;
    const int64_t end = begin + packs_per_part < all ? begin + packs_per_part : all;
    double a = 0, b = 0;
    f.begin(c);
    for (int64_t i = begin + threadIdx.x; i < end; i += NT_BLOCK) {
        const int64_t n = nt_quotient(i, row);
        float pack_a = 0, pack_b = 0;
        f.template add<W>((n * z.c + c) * z.s + (i - n * row.d) * W, pack_a, pack_b);
        a += (double)pack_a;
        b += (double)pack_b;
    }
    a = nt_block_sum(a);
    b = nt_block_sum(b);
    if (threadIdx.x == 0) {
        partial[(2 * (int64_t)blockIdx.y) * z.c + c] = a;
        partial[(2 * (int64_t)blockIdx.y + 1) * z.c + c] = b;
    }
}

/* Block (32 columns, part); a warp is a row of it. */
template <typename F>
static __global__ void __launch_bounds__(NT_BLOCK)
    nt_sum_columns(double *partial, F f, nt_cuda_channels z, nt_divisor s, int64_t rows_per_part)
{
    __shared__ double part[2][NT_COLUMN_ROWS][NT_WARP];
    const int lane = nt_lane(), y = (int)threadIdx.x / NT_WARP;
    const int64_t width = z.c * z.s, column = (int64_t)blockIdx.x * NT_WARP + lane;
    const int64_t begin = blockIdx.y * rows_per_part;
    const int64_t end = begin + rows_per_part < z.n ? begin + rows_per_part : z.n;
    double a = 0, b = 0;
    if (column < width) {
        f.begin(nt_quotient(column, s));
        for (int64_t n = begin + y; n < end; n += NT_COLUMN_ROWS) {
            float one_a = 0, one_b = 0;
            f.template add<1>(n * width + column, one_a, one_b);
            a += (double)one_a;
            b += (double)one_b;
        }
    }
    part[0][y][lane] = a;
    part[1][y][lane] = b;
    __syncthreads();
    if (y >= 2 || column >= width) return;
    double sum = 0;
    for (int r = 0; r < NT_COLUMN_ROWS; r++)
        sum += part[y][r][lane];
    partial[(2 * (int64_t)blockIdx.y + y) * width + column] = sum;
}

/* `packs`: all tensors that f reads are aligned for packs of T where S fills them. */
template <typename T, typename F>
static inline void nt_launch_sums(nt_cuda_stream stream, double *partial, const F &f, bool packs,
                                  const nt_sums_plan &plan)
{
    const nt_cuda_channels z = plan.z;
    if (plan.columns) {
        const dim3 grid((unsigned)nt_ceil_div(plan.width, NT_WARP), (unsigned)plan.parts);
        NT_LAUNCH(nt_sum_columns<F>, grid, NT_BLOCK, 0, stream, partial, f, z, nt_divide_by(z.s),
                  nt_ceil_div(z.n, plan.parts));
        return;
    }
    constexpr int W = nt_lanes<T>::N;
    const dim3 grid((unsigned)z.c, (unsigned)plan.parts);
    if (packs && z.s % W == 0)
        NT_LAUNCH((nt_sum_rows<W, F>), grid, NT_BLOCK, 0, stream, partial, f, z, nt_divide_by(z.s / W),
                  nt_ceil_div(z.n * (z.s / W), plan.parts));
    else
        NT_LAUNCH((nt_sum_rows<1, F>), grid, NT_BLOCK, 0, stream, partial, f, z, nt_divide_by(z.s),
                  nt_ceil_div(z.n * z.s, plan.parts));
}

/* Value `which` (0: a, 1: b) of channel c, by one thread. */
static inline __device__ double nt_channel_total(const double *partial, const nt_sums_plan &plan, int which,
                                                 int64_t c)
{
    const int64_t each = plan.width / plan.z.c; /* columns per channel */
    double sum = 0;
    for (int64_t part = 0; part < plan.parts; part++)
        for (int64_t j = 0; j < each; j++)
            sum += partial[(2 * part + which) * plan.width + c * each + j];
    return sum;
}

#endif
