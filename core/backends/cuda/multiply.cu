/* multiply: x times gates, where one gate serves S neighbours: 1 for gates of x's shape, H W for one gate per
 * channel. Also a tensor times a constant. */
#include "core/backends/cuda/map.cuh"

struct times {
    float factor;

    __device__ float operator()(float x) const
    {
        return factor * x;
    }
};

/* out = a gate[i / s]; out may be a, or gate if s is 1. Bound by memory: 1 read (2 if s is 1), 1 write. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    multiply(T *out, const T *a, const T *gate, nt_divisor s, int64_t n, bool vector)
{
    constexpr int W = nt_lanes<T>::N;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float v[W], g[W];
        nt_load(v, a + i, n - i, vector);
        if (s.d == 1) {
            nt_load(g, gate + i, n - i, vector);
        } else {
#pragma unroll
            for (int k = 0; k < W; k++)
                g[k] = i + k < n ? nt_to_float(gate[nt_quotient(i + k, s)]) : 0.0f;
        }
#pragma unroll
        for (int k = 0; k < W; k++)
            v[k] *= g[k];
        nt_store(out + i, v, n - i, vector);
    }
}

/* out (rows) = sums of a b over rows of S, a warp each. Bound by memory: 2 reads. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    dot_rows(T *out, const T *a, const T *b, int64_t rows, int64_t s)
{
    for (int64_t i = nt_thread() / NT_WARP; i < rows; i += nt_threads() / NT_WARP) {
        double sum = 0;
        for (int64_t j = i * s + nt_lane(); j < (i + 1) * s; j += NT_WARP)
            sum += (double)(nt_to_float(a[j]) * nt_to_float(b[j]));
        sum = nt_warp_sum(sum);
        if (nt_lane() == 0) nt_put(&out[i], (float)sum);
    }
}

extern "C" int nt_cuda_times(nt_cuda_stream stream, nt_dtype type, void *out, const void *in, double factor,
                             int64_t n)
{
    const times f = {(float)factor};
    NT_WITH_TYPE(type, nt_launch_map1(stream, (T *)out, (const T *)in, n, f));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_multiply_gates(nt_cuda_stream stream, nt_dtype type, void *out, const void *a,
                                      const void *gate, int64_t n_gates, int64_t s)
{
    const bool vector = nt_aligned(out) && nt_aligned(a) && (s > 1 || nt_aligned(gate));
    NT_WITH_TYPE(type,
                 NT_LAUNCH(multiply<T>, nt_blocks(n_gates * s / nt_lanes<T>::N + 1), NT_BLOCK, 0, stream,
                           (T *)out, (const T *)a, (const T *)gate, nt_divide_by(s), n_gates * s, vector));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_dot_rows(nt_cuda_stream stream, nt_dtype type, void *out, const void *a, const void *b,
                                int64_t rows, int64_t s)
{
    NT_WITH_TYPE(type, NT_LAUNCH(dot_rows<T>, nt_warp_blocks(rows), NT_BLOCK, 0, stream, (T *)out,
                                 (const T *)a, (const T *)b, rows, s));
    return (int)cudaGetLastError();
}
