/* softmax and log_softmax over the first dimension of a sample, x (N, C, S): C values that lie S apart make
 * one column.
 *
 * Where S is 1 a warp takes a column, else a thread does, and its neighbours take the columns beside it:
 * either way a warp reads neighbours. Three passes over x forward and two over (dy, y) backward, of which all
 * but the first mostly come from the caches; sums in double. */
#include "core/backends/cuda/device.cuh"

static inline __device__ float warp_max(float v)
{
    for (int distance = NT_WARP / 2; distance > 0; distance /= 2)
        v = fmaxf(v, __shfl_xor_sync(NT_ALL_LANES, v, distance));
    return v;
}

/* Where column i begins. */
static inline __device__ int64_t column_at(int64_t i, int64_t c, nt_divisor s)
{
    const int64_t row = nt_quotient(i, s);
    return row * c * s.d + (i - row * s.d);
}

/* Bound by memory where C fits a cache: 1 read, 1 write; two exponentials an element. A NaN makes the sum
 * one, whatever the maximum was. */
template <typename T, int LANES>
static __global__ void __launch_bounds__(NT_BLOCK)
    softmax_forward(T *y, const T *x, bool log, int64_t c, nt_divisor s, int64_t columns)
{
    const int lane = (int)threadIdx.x % LANES;
    for (int64_t i = nt_thread() / LANES; i < columns; i += nt_threads() / LANES) {
        const int64_t at = column_at(i, c, s);
        float top = -INFINITY;
        for (int64_t j = lane; j < c; j += LANES)
            top = fmaxf(top, nt_to_float(x[at + j * s.d]));
        if (LANES > 1) top = warp_max(top);
        double sum = 0;
        for (int64_t j = lane; j < c; j += LANES)
            sum += (double)expf(nt_to_float(x[at + j * s.d]) - top);
        if (LANES > 1) sum = nt_warp_sum(sum);
        const float inverse = (float)(1 / sum), log_sum = logf((float)sum);
        for (int64_t j = lane; j < c; j += LANES) {
            const float v = nt_to_float(x[at + j * s.d]) - top;
            nt_put(&y[at + j * s.d], log ? v - log_sum : expf(v) * inverse);
        }
    }
}

/* dx = y (dy - sum(dy y)), or dy - exp(y) sum(dy) of the logarithm. 2 reads, 1 write. */
template <typename T, int LANES>
static __global__ void __launch_bounds__(NT_BLOCK)
    softmax_backward(T *dx, const T *dy, const T *y, bool log, int64_t c, nt_divisor s, int64_t columns)
{
    const int lane = (int)threadIdx.x % LANES;
    for (int64_t i = nt_thread() / LANES; i < columns; i += nt_threads() / LANES) {
        const int64_t at = column_at(i, c, s);
        double dot = 0;
        for (int64_t j = lane; j < c; j += LANES)
            dot += (double)nt_to_float(dy[at + j * s.d]) * (log ? 1 : (double)nt_to_float(y[at + j * s.d]));
        if (LANES > 1) dot = nt_warp_sum(dot);
        for (int64_t j = lane; j < c; j += LANES) {
            const int64_t e = at + j * s.d;
            const float g = nt_to_float(dy[e]), v = nt_to_float(y[e]);
            nt_put(&dx[e], log ? g - expf(v) * (float)dot : v * (g - (float)dot));
        }
    }
}

extern "C" int nt_cuda_softmax_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x, bool log,
                                       nt_cuda_channels z)
{
    const int64_t columns = z.n * z.s;
    const nt_divisor s = nt_divide_by(z.s);
    NT_WITH_TYPE(type,
                 if (z.s == 1) NT_LAUNCH((softmax_forward<T, NT_WARP>), nt_warp_blocks(columns), NT_BLOCK, 0,
                                         stream, (T *)y, (const T *)x, log, z.c, s, columns);
                 else NT_LAUNCH((softmax_forward<T, 1>), nt_blocks(columns), NT_BLOCK, 0, stream, (T *)y,
                                (const T *)x, log, z.c, s, columns));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_softmax_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                                        const void *y, bool log, nt_cuda_channels z)
{
    const int64_t columns = z.n * z.s;
    const nt_divisor s = nt_divide_by(z.s);
    NT_WITH_TYPE(type,
                 if (z.s == 1) NT_LAUNCH((softmax_backward<T, NT_WARP>), nt_warp_blocks(columns), NT_BLOCK, 0,
                                         stream, (T *)dx, (const T *)dy, (const T *)y, log, z.c, s, columns);
                 else NT_LAUNCH((softmax_backward<T, 1>), nt_blocks(columns), NT_BLOCK, 0, stream, (T *)dx,
                                (const T *)dy, (const T *)y, log, z.c, s, columns));
    return (int)cudaGetLastError();
}
