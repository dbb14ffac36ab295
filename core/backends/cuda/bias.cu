/* The bias of linear and convolutions, one value per channel: added on the way to y, with ReLU where it is
 * fused, and its gradient, the sum of dy over each channel. */
#include "core/backends/cuda/channel_sums.cuh"

/* Bound by memory: x read and y, mostly the same, written. A thread takes sixteen bytes; its channel is found
 * by two multiplications and then followed from element to element. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    add_bias(T *y, const T *x, const float *bias, bool relu, nt_divisor s, nt_divisor channels, int64_t n,
             bool vector)
{
    constexpr int W = nt_lanes<T>::N;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float v[W];
        const int64_t plane = nt_quotient(i, s);
        int64_t at = i - plane * s.d, c = plane - nt_quotient(plane, channels) * channels.d;
        nt_load(v, x + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++) {
            v[k] += bias[c];
            if (relu && v[k] < 0) v[k] = 0;
            if (++at == s.d) {
                at = 0;
                c = c + 1 < channels.d ? c + 1 : 0;
            }
        }
        nt_store(y + i, v, n - i, vector);
    }
}

/* Bound by memory: one pass over dy. */
template <typename T> struct plain_sum {
    const T *dy;

    __device__ void begin(int64_t)
    {
    }

    template <int W> __device__ void add(int64_t at, float &a, float &) const
    {
        float v[W];
        nt_load(v, dy + at, W, true);
#pragma unroll
        for (int k = 0; k < W; k++)
            a += v[k];
    }
};

/* The same of the first `row` values of each sample only, `pitch` from one sample to the next. */
template <typename T> struct pitched_sum {
    const T *dy;
    nt_divisor row;
    int64_t pitch;

    __device__ void begin(int64_t)
    {
    }

    template <int W> __device__ void add(int64_t at, float &a, float &) const
    {
        const int64_t n = nt_quotient(at, row);
        a += nt_to_float(dy[n * pitch + (at - n * row.d)]);
    }
};

/* A thread per channel. */
static __global__ void __launch_bounds__(NT_BLOCK)
    put_bias_gradient(float *dbias, const double *partial, nt_sums_plan plan, bool accumulate)
{
    const int64_t c = nt_thread();
    if (c < plan.z.c) nt_put_gradient(&dbias[c], nt_channel_total(partial, plan, 0, c), accumulate);
}

extern "C" int nt_cuda_bias_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x,
                                    const float *bias, bool relu, nt_cuda_channels z)
{
    const int64_t n = z.n * z.c * z.s;
    const bool vector = nt_aligned(x) && nt_aligned(y);
    NT_WITH_TYPE(type, NT_LAUNCH(add_bias<T>, nt_blocks(n / nt_lanes<T>::N + 1), NT_BLOCK, 0, stream, (T *)y,
                                 (const T *)x, bias, relu, nt_divide_by(z.s), nt_divide_by(z.c), n, vector));
    return (int)cudaGetLastError();
}

extern "C" size_t nt_cuda_bias_scratch_bytes(nt_cuda_channels z)
{
    return nt_partial_bytes(nt_plan_sums(z));
}

extern "C" int nt_cuda_bias_backward(nt_cuda_stream stream, nt_dtype type, float *dbias, const void *dy,
                                     void *scratch, bool accumulate, nt_cuda_channels z)
{
    const nt_sums_plan plan = nt_plan_sums(z);
    NT_WITH_TYPE(type, const plain_sum<T> f = {(const T *)dy};
                 nt_launch_sums<T>(stream, (double *)scratch, f, nt_aligned(dy), plan));
    NT_LAUNCH(put_bias_gradient, (unsigned)nt_ceil_div(z.c, NT_BLOCK), NT_BLOCK, 0, stream, dbias,
              (const double *)scratch, plan, accumulate);
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_pitched_backward(nt_cuda_stream stream, nt_dtype type, float *dweight, const void *dy,
                                        int64_t pitch, void *scratch, bool accumulate, int64_t n, int64_t row)
{
    const nt_cuda_channels z = {n, row, 1};
    const nt_sums_plan plan = nt_plan_sums(z);
    NT_WITH_TYPE(type, const pitched_sum<T> f = {(const T *)dy, nt_divide_by(row), pitch};
                 nt_launch_sums<T>(stream, (double *)scratch, f, false, plan));
    NT_LAUNCH(put_bias_gradient, (unsigned)nt_ceil_div(row, NT_BLOCK), NT_BLOCK, 0, stream, dweight,
              (const double *)scratch, plan, accumulate);
    return (int)cudaGetLastError();
}
