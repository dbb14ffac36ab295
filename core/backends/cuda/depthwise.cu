/* Depthwise convolution: every channel has m filters of its own, x (N, C, H, W), weight (C m, R, S), y (N, C
 * m, P, Q). As matrix products these would have one row each, so they are computed directly.
 *
 * All three are bound by memory: a tap costs one load from L1 and one multiply-add, and a 3x3 filter's nine
 * loads of 4 bytes take an A100's L1 (128 bytes a clock and multiprocessor, 19 TB/s in all) less time than
 * its memory needs for the tensors. Sums in float over the taps, beyond in double. */
#include "core/backends/cuda/window.cuh"

/* --- forward --- */

/* A thread per output. Planes of y are m to a plane of x, so the plane of x is a quotient. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    forward(T *y, const T *x, const float *weight, const float *bias, nt_window_plan w, nt_divisor m,
            nt_divisor filters, int64_t n)
{
    const int taps = w.kernel[0] * w.kernel[1];
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const nt_place o = nt_place_of(i, w.out_plane, w.out_columns);
        const int64_t k = o.plane - nt_quotient(o.plane, filters) * filters.d;
        const T *from = x + nt_quotient(o.plane, m) * w.in_plane.d;
        const float *filter = weight + k * taps;
        float sum = 0;
        for (int r = 0; r < w.kernel[0]; r++) {
            const int row = nt_source(w, 0, o.row, r);
            for (int s = 0; nt_inside(row, w.in[0]) && s < w.kernel[1]; s++) {
                const int at = nt_source(w, 1, o.column, s);
                if (nt_inside(at, w.in[1]))
                    sum += nt_to_float(from[row * w.in[1] + at]) * filter[r * w.kernel[1] + s];
            }
        }
        nt_put(&y[i], bias ? sum + bias[k] : sum);
    }
}

/* --- backward --- */

/* A thread per element of dx gathers over the channel's m filters and their taps. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    backward_x(T *dx, const T *dy, const float *weight, nt_window_plan w, int m, nt_divisor channels,
               int64_t n)
{
    const int taps = w.kernel[0] * w.kernel[1];
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const nt_place e = nt_place_of(i, w.in_plane, w.in_columns);
        const int64_t c = e.plane - nt_quotient(e.plane, channels) * channels.d;
        const T *from = dy + e.plane * m * w.out_plane.d;
        float sum = 0;
        for (int r = 0; r < w.kernel[0]; r++) {
            const int p = nt_target(w, 0, e.row, r);
            for (int s = 0; p >= 0 && s < w.kernel[1]; s++) {
                const int q = nt_target(w, 1, e.column, s);
                for (int j = 0; q >= 0 && j < m; j++)
                    sum += nt_to_float(from[j * w.out_plane.d + p * w.out[1] + q]) *
                           weight[(c * m + j) * taps + r * w.kernel[1] + s];
            }
        }
        nt_put(&dx[i], sum);
    }
}

constexpr int TAPS = 9; /* of a filter that a block sums at once: dy is read once for all of a 3x3 */

/* How the sum over N P Q is cut: parts of at most 512 values a thread, so that its sum in float stays exact
 * to some 1e-6, and no more than 64. */
static int64_t parts_of(const nt_cuda_window *w, int64_t n)
{
    constexpr int64_t WORTH_A_PART = 512 * NT_BLOCK, MAX_PARTS = 64;
    const int64_t parts = (n * w->out[0] * w->out[1] + WORTH_A_PART - 1) / WORTH_A_PART;
    return parts < MAX_PARTS ? parts : MAX_PARTS;
}

/* What output (p, q) of a plane saw of x at tap `tap`; 0 in the padding and behind the last tap. */
template <typename T>
static inline __device__ float seen(const T *x, const nt_window_plan &w, const nt_place &o, int tap, int taps)
{
    const int r = tap / w.kernel[1], s = tap - r * w.kernel[1];
    const int row = nt_source(w, 0, o.row, r), at = nt_source(w, 1, o.column, s);
    if (tap >= taps || !nt_inside(row, w.in[0]) || !nt_inside(at, w.in[1])) return 0;
    return nt_to_float(x[row * w.in[1] + at]);
}

/* Block (filter, nine taps, part). Reads dy once per nine taps, x as often from L1. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    backward_weight(double *partial, const T *dy, const T *x, nt_window_plan w, nt_divisor m, int64_t n,
                    int64_t filters, int64_t per_part)
{
    const int64_t k = blockIdx.x, begin = blockIdx.z * per_part, all = n * w.out_plane.d;
    const int64_t end = begin + per_part < all ? begin + per_part : all;
    const int taps = w.kernel[0] * w.kernel[1], first = (int)blockIdx.y * TAPS;
    float sum[TAPS] = {0};
    for (int64_t i = begin + threadIdx.x; i < end; i += NT_BLOCK) {
        const nt_place o = nt_place_of(i, w.out_plane, w.out_columns);
        const int64_t plane = o.plane * filters + k;
        const T *from = x + nt_quotient(plane, m) * w.in_plane.d;
        const float g = nt_to_float(dy[plane * w.out_plane.d + o.row * w.out[1] + o.column]);
#pragma unroll
        for (int t = 0; t < TAPS; t++)
            sum[t] += g * seen(from, w, o, first + t, taps);
    }
#pragma unroll
    for (int t = 0; t < TAPS; t++) {
        const double total = nt_block_sum((double)sum[t]);
        if (threadIdx.x == 0 && first + t < taps)
            partial[(blockIdx.z * filters + k) * taps + first + t] = total;
    }
}

/* A thread per weight adds its parts in order. */
static __global__ void __launch_bounds__(NT_BLOCK)
    put_weight(float *dweight, const double *partial, int64_t parts, bool accumulate, int64_t n)
{
    const int64_t i = nt_thread();
    double sum = 0;
    if (i >= n) return;
    for (int64_t part = 0; part < parts; part++)
        sum += partial[part * n + i];
    nt_put_gradient(&dweight[i], sum, accumulate);
}

/* --- launchers --- */

extern "C" int nt_cuda_depthwise_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x,
                                         const float *weight, const float *bias, const nt_cuda_window *w,
                                         int64_t n, int64_t c, int64_t m)
{
    const nt_window_plan v = nt_plan_window(w);
    const int64_t n_elems = n * c * m * v.out_plane.d;
    NT_WITH_TYPE(type, NT_LAUNCH(forward<T>, nt_blocks(n_elems), NT_BLOCK, 0, stream, (T *)y, (const T *)x,
                                 weight, bias, v, nt_divide_by(m), nt_divide_by(c * m), n_elems));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_depthwise_backward_x(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                                            const float *weight, const nt_cuda_window *w, int64_t n,
                                            int64_t c, int64_t m)
{
    const nt_window_plan v = nt_plan_window(w);
    const int64_t n_elems = n * c * v.in_plane.d;
    NT_WITH_TYPE(type, NT_LAUNCH(backward_x<T>, nt_blocks(n_elems), NT_BLOCK, 0, stream, (T *)dx,
                                 (const T *)dy, weight, v, (int)m, nt_divide_by(c), n_elems));
    return (int)cudaGetLastError();
}

extern "C" size_t nt_cuda_depthwise_scratch_bytes(const nt_cuda_window *w, int64_t n, int64_t filters)
{
    return (size_t)(parts_of(w, n) * filters * w->kernel[0] * w->kernel[1]) * sizeof(double);
}

extern "C" int nt_cuda_depthwise_backward_weight(nt_cuda_stream stream, nt_dtype type, float *dweight,
                                                 const void *dy, const void *x, void *scratch,
                                                 bool accumulate, const nt_cuda_window *w, int64_t n,
                                                 int64_t c, int64_t m)
{
    const nt_window_plan v = nt_plan_window(w);
    const int64_t taps = w->kernel[0] * w->kernel[1], parts = parts_of(w, n), weights = c * m * taps;
    const int64_t per_part = (n * v.out_plane.d + parts - 1) / parts;
    const dim3 grid((unsigned)(c * m), (unsigned)((taps + TAPS - 1) / TAPS), (unsigned)parts);
    NT_WITH_TYPE(type, NT_LAUNCH(backward_weight<T>, grid, NT_BLOCK, 0, stream, (double *)scratch,
                                 (const T *)dy, (const T *)x, v, nt_divide_by(m), n, c * m, per_part));
    NT_LAUNCH(put_weight, (unsigned)((weights + NT_BLOCK - 1) / NT_BLOCK), NT_BLOCK, 0, stream, dweight,
              (const double *)scratch, parts, accumulate, weights);
    return (int)cudaGetLastError();
}
