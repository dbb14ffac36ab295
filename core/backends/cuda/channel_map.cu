/* Functions of an element and of constants of its channel, (N, C, S): scale (y = factor x + shift) and prelu.
 */
#include "core/backends/cuda/channel_sums.cuh"

/* Bound by memory: 1 read, 1 write. out may be in. shift may be NULL. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    scale(T *out, const T *in, const float *factor, const float *shift, nt_divisor s, nt_divisor channels,
          int64_t n, bool vector)
{
    constexpr int W = nt_lanes<T>::N;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float v[W];
        const int64_t plane = nt_quotient(i, s);
        int64_t at = i - plane * s.d, c = plane - nt_quotient(plane, channels) * channels.d;
        nt_load(v, in + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++) {
            v[k] = factor[c] * v[k] + (shift ? shift[c] : 0.0f);
            if (++at == s.d) {
                at = 0;
                c = c + 1 < channels.d ? c + 1 : 0;
            }
        }
        nt_store(out + i, v, n - i, vector);
    }
}

/* out = in where x > 0, else in times the slope of the channel; channels.d 1: one slope for all. Forward has
 * in = x, backward in = dy. Bound by memory: 2 reads, 1 write. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    prelu(T *out, const T *in, const T *x, const float *slope, nt_divisor s, nt_divisor channels, int64_t n,
          bool vector)
{
    constexpr int W = nt_lanes<T>::N;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float v[W], u[W];
        const int64_t plane = nt_quotient(i, s);
        int64_t at = i - plane * s.d, c = plane - nt_quotient(plane, channels) * channels.d;
        nt_load(v, in + i, n - i, vector);
        nt_load(u, x + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++) {
            if (!(u[k] > 0)) v[k] *= slope[c];
            if (++at == s.d) {
                at = 0;
                c = c + 1 < channels.d ? c + 1 : 0;
            }
        }
        nt_store(out + i, v, n - i, vector);
    }
}

/* Sums of x dy where x is not above 0. 2 reads. */
template <typename T> struct slope_sum {
    const T *dy, *x;

    __device__ void begin(int64_t)
    {
    }

    template <int W> __device__ void add(int64_t at, float &a, float &) const
    {
        float g[W], v[W];
        nt_load(g, dy + at, W, true);
        nt_load(v, x + at, W, true);
#pragma unroll
        for (int k = 0; k < W; k++)
            a += v[k] > 0 ? 0.0f : v[k] * g[k];
    }
};

static __global__ void __launch_bounds__(NT_BLOCK)
    put_slopes(float *dslope, const double *partial, nt_sums_plan plan, bool accumulate)
{
    const int64_t c = nt_thread();
    if (c < plan.z.c) nt_put_gradient(&dslope[c], nt_channel_total(partial, plan, 0, c), accumulate);
}

extern "C" int nt_cuda_scale_channels(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                                      const float *factor, const float *shift, nt_cuda_channels z)
{
    const int64_t n = z.n * z.c * z.s;
    const bool vector = nt_aligned(out) && nt_aligned(in);
    NT_WITH_TYPE(type,
                 NT_LAUNCH(scale<T>, nt_blocks(n / nt_lanes<T>::N + 1), NT_BLOCK, 0, stream, (T *)out,
                           (const T *)in, factor, shift, nt_divide_by(z.s), nt_divide_by(z.c), n, vector));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_prelu_apply(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                                   const void *x, const float *slope, nt_cuda_channels z)
{
    const int64_t n = z.n * z.c * z.s;
    const bool vector = nt_aligned(out) && nt_aligned(in) && nt_aligned(x);
    NT_WITH_TYPE(type, NT_LAUNCH(prelu<T>, nt_blocks(n / nt_lanes<T>::N + 1), NT_BLOCK, 0, stream, (T *)out,
                                 (const T *)in, (const T *)x, slope, nt_divide_by(z.s), nt_divide_by(z.c), n,
                                 vector));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_prelu_slopes(nt_cuda_stream stream, nt_dtype type, float *dslope, const void *dy,
                                    const void *x, void *scratch, bool accumulate, nt_cuda_channels z)
{
    const nt_sums_plan plan = nt_plan_sums(z);
    NT_WITH_TYPE(type, const slope_sum<T> f = {(const T *)dy, (const T *)x};
                 nt_launch_sums<T>(stream, (double *)scratch, f, nt_aligned(dy) && nt_aligned(x), plan));
    NT_LAUNCH(put_slopes, (unsigned)nt_ceil_div(z.c, NT_BLOCK), NT_BLOCK, 0, stream, dslope,
              (const double *)scratch, plan, accumulate);
    return (int)cudaGetLastError();
}
