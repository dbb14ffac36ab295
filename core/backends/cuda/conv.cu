/* Between tensors and the matrices of a convolution (op_conv2d.c), whose columns are the positions of all n
 * samples of a piece of the batch: the matrix products then are few and large, and groups are a batch of
 * them.
 *
 *   col  (C R S, pitch)   what each tap sees at each position; im2col makes it, col2im folds its gradient
 * back wide (C, pitch)       a tensor (N, C, S) with samples and channels exchanged
 *
 * Rows are padded to a pitch of whole packs: stores of sixteen bytes then are aligned, and cuBLAS takes its
 * fast kernels. All four kernels move memory and compute nothing worth mentioning: col is R S times the size
 * of x, and writing it and reading it again in the product is what this way of convolving costs. */
#include "core/backends/cuda/window.cuh"

/* --- im2col --- */

/* To the next column of col. */
static inline __device__ void step(const nt_window_plan &w, nt_place &c)
{
    if (++c.column < w.out[1]) return;
    c.column = 0;
    if (++c.row < w.out[0]) return;
    c.row = 0;
    c.plane++;
}

/* What tap (r, s) sees in channel `x` (of sample 0; `sample` elements from one to the next) of W columns of
 * col from c on, c.plane being the sample; zeros in the padding and behind the last sample. */
template <typename T, int W>
static inline __device__ nt_pack<T, W> see(const T *x, const nt_window_plan &w, nt_place c, int r, int s,
                                           int64_t n, int64_t sample)
{
    nt_pack<T, W> pack;
    const bool one_row = c.column + W <= w.out[1];
    int row = nt_source(w, 0, c.row, r), at = nt_source(w, 1, c.column, s);
    bool inside = c.plane < n && nt_inside(row, w.in[0]);
    const T *line = x + c.plane * sample + (int64_t)row * w.in[1];
#pragma unroll
    for (int k = 0; k < W; k++) {
        pack.v[k] = inside && nt_inside(at, w.in[1]) ? line[at] : T(0.0f);
        at += w.stride[1];
        if (one_row) continue;
        step(w, c);
        row = nt_source(w, 0, c.row, r);
        at = nt_source(w, 1, c.column, s);
        inside = c.plane < n && nt_inside(row, w.in[0]);
        line = x + c.plane * sample + (int64_t)row * w.in[1];
    }
    return pack;
}

/* Bound by memory: writes col once; x comes once from memory and R S times from L1, because a thread visits
 * all taps of its columns. blockIdx.y: channel. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    im2col(T *col, const T *x, nt_window_plan w, int64_t n, int64_t channels, int64_t pitch)
{
    constexpr int W = nt_lanes<T>::N;
    const int64_t sample = channels * w.in_plane.d, taps = (int64_t)w.kernel[0] * w.kernel[1];
    for (int64_t j = nt_thread() * W; j < pitch; j += nt_threads() * W) {
        const nt_place c = nt_place_of(j, w.out_plane, w.out_columns);
        for (int64_t channel = blockIdx.y; channel < channels; channel += gridDim.y) {
            const T *plane = x + channel * w.in_plane.d;
            T *to = col + channel * taps * pitch + j;
            for (int r = 0; r < w.kernel[0]; r++)
                for (int s = 0; s < w.kernel[1]; s++, to += pitch)
                    *reinterpret_cast<nt_pack<T, W> *>(to) = see<T, W>(plane, w, c, r, s, n, sample);
        }
    }
}

/* --- col2im --- */

/* Bound by memory: reads col once (float32: the sum over taps is made in float), writes dx. A thread per
 * element of dx gathers, neighbours from neighbouring columns. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    col2im(T *dx, const float *col, nt_window_plan w, nt_divisor channels, int64_t pitch, int64_t n_elems)
{
    for (int64_t i = nt_thread(); i < n_elems; i += nt_threads()) {
        const nt_place e = nt_place_of(i, w.in_plane, w.in_columns);
        const int64_t n = nt_quotient(e.plane, channels);
        const int64_t row = (e.plane - n * channels.d) * w.kernel[0] * w.kernel[1];
        const float *from = col + row * pitch + n * w.out_plane.d;
        float sum = 0;
        for (int r = 0; r < w.kernel[0]; r++) {
            const int p = nt_target(w, 0, e.row, r);
            for (int s = 0; p >= 0 && s < w.kernel[1]; s++) {
                const int q = nt_target(w, 1, e.column, s);
                if (q >= 0) sum += from[((int64_t)r * w.kernel[1] + s) * pitch + p * w.out[1] + q];
            }
        }
        nt_put(&dx[i], sum);
    }
}

/* --- wide --- */

/* Bound by memory: 1 read, 1 write. A row is one channel of one sample, W: packs where S fills them. */
template <typename T, int W>
static __global__ void __launch_bounds__(NT_BLOCK)
    to_wide(T *wide, const T *x, nt_divisor row, nt_divisor channels, int64_t pitch, int64_t packs)
{
    const int64_t s = row.d * W;
    for (int64_t i = nt_thread(); i < packs; i += nt_threads()) {
        const int64_t plane = nt_quotient(i, row), n = nt_quotient(plane, channels);
        const int64_t to = (plane - n * channels.d) * pitch + n * s + (i - plane * row.d) * W;
        *reinterpret_cast<nt_pack<T, W> *>(wide + to) = *reinterpret_cast<const nt_pack<T, W> *>(x + i * W);
    }
}

/* The way back, with the bias on the way. */
template <typename T, int W>
static __global__ void __launch_bounds__(NT_BLOCK)
    from_wide(T *x, const T *wide, const float *bias, nt_divisor row, nt_divisor channels, int64_t pitch,
              int64_t packs)
{
    const int64_t s = row.d * W;
    for (int64_t i = nt_thread(); i < packs; i += nt_threads()) {
        const int64_t plane = nt_quotient(i, row), n = nt_quotient(plane, channels);
        const int64_t c = plane - n * channels.d;
        const float add = bias ? bias[c] : 0.0f;
        float v[W];
        nt_load(v, wide + c * pitch + n * s + (i - plane * row.d) * W, W, true);
#pragma unroll
        for (int k = 0; k < W; k++)
            v[k] += add;
        nt_store(x + i * W, v, W, true);
    }
}

/* --- launchers --- */

extern "C" int nt_cuda_im2col(nt_cuda_stream stream, nt_dtype type, void *col, const void *x,
                              const nt_cuda_window *w, int64_t n, int64_t c, int64_t pitch)
{
    const unsigned y = (unsigned)(c < 65535 ? c : 65535);
    NT_WITH_TYPE(type, const dim3 grid(nt_blocks(pitch / nt_lanes<T>::N), y);
                 NT_LAUNCH(im2col<T>, grid, NT_BLOCK, 0, stream, (T *)col, (const T *)x, nt_plan_window(w), n,
                           c, pitch));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_col2im(nt_cuda_stream stream, nt_dtype type, void *dx, const float *col,
                              const nt_cuda_window *w, int64_t n, int64_t c, int64_t pitch)
{
    const nt_window_plan v = nt_plan_window(w);
    const int64_t n_elems = n * c * v.in_plane.d;
    NT_WITH_TYPE(type, NT_LAUNCH(col2im<T>, nt_blocks(n_elems), NT_BLOCK, 0, stream, (T *)dx, col, v,
                                 nt_divide_by(c), pitch, n_elems));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_to_wide(nt_cuda_stream stream, nt_dtype type, void *wide, const void *x,
                               nt_cuda_channels z, int64_t pitch)
{
    const int64_t n = z.n * z.c * z.s;
    const nt_divisor channels = nt_divide_by(z.c);
    NT_WITH_TYPE(type, constexpr int W = nt_lanes<T>::N;
                 if (z.s % W == 0 && nt_aligned(x) && nt_aligned(wide))
                     NT_LAUNCH((to_wide<T, W>), nt_blocks(n / W), NT_BLOCK, 0, stream, (T *)wide,
                               (const T *)x, nt_divide_by(z.s / W), channels, pitch, n / W);
                 else NT_LAUNCH((to_wide<T, 1>), nt_blocks(n), NT_BLOCK, 0, stream, (T *)wide, (const T *)x,
                                nt_divide_by(z.s), channels, pitch, n));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_from_wide(nt_cuda_stream stream, nt_dtype type, void *x, const void *wide,
                                 const float *bias, nt_cuda_channels z, int64_t pitch)
{
    const int64_t n = z.n * z.c * z.s;
    const nt_divisor channels = nt_divide_by(z.c);
    NT_WITH_TYPE(type, constexpr int W = nt_lanes<T>::N;
                 if (z.s % W == 0 && nt_aligned(x) && nt_aligned(wide))
                     NT_LAUNCH((from_wide<T, W>), nt_blocks(n / W), NT_BLOCK, 0, stream, (T *)x,
                               (const T *)wide, bias, nt_divide_by(z.s / W), channels, pitch, n / W);
                 else NT_LAUNCH((from_wide<T, 1>), nt_blocks(n), NT_BLOCK, 0, stream, (T *)x, (const T *)wide,
                                bias, nt_divide_by(z.s), channels, pitch, n));
    return (int)cudaGetLastError();
}
