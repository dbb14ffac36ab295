/* The rows of attention between its matrix products (op_attention.c): scores become probabilities, and back.
 * Scores and their gradients are float32 whatever the type of activations, because a score's error is an
 * error of the exponent. A warp takes a row of T; with `causal` row i has i + 1 entries and zeros behind
 * them.
 *
 * Bound by memory: forward reads T floats a row and writes T values, backward reads both and writes T values.
 */
#include "core/backends/cuda/device.cuh"

static inline __device__ float warp_max(float v)
{
    for (int distance = NT_WARP / 2; distance > 0; distance /= 2)
        v = fmaxf(v, __shfl_xor_sync(NT_ALL_LANES, v, distance));
    return v;
}

template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    forward(T *p, const float *score, bool causal, nt_divisor t, int64_t rows)
{
    for (int64_t r = nt_thread() / NT_WARP; r < rows; r += nt_threads() / NT_WARP) {
        const float *s = score + r * t.d;
        const int64_t seen = causal ? r - nt_quotient(r, t) * t.d + 1 : t.d;
        float top = -INFINITY;
        double sum = 0;
        for (int64_t j = nt_lane(); j < seen; j += NT_WARP)
            top = fmaxf(top, s[j]);
        top = warp_max(top);
        for (int64_t j = nt_lane(); j < seen; j += NT_WARP)
            sum += (double)expf(s[j] - top);
        const float inverse = (float)(1 / nt_warp_sum(sum));
        for (int64_t j = nt_lane(); j < t.d; j += NT_WARP)
            nt_put(&p[r * t.d + j], j < seen ? expf(s[j] - top) * inverse : 0.0f);
    }
}

/* ds = p (dp - sum of dp p); zero behind the row's end. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    backward(T *ds, const float *dp, const T *p, bool causal, nt_divisor t, int64_t rows)
{
    for (int64_t r = nt_thread() / NT_WARP; r < rows; r += nt_threads() / NT_WARP) {
        const int64_t seen = causal ? r - nt_quotient(r, t) * t.d + 1 : t.d;
        double dot = 0;
        for (int64_t j = r * t.d + nt_lane(); j < r * t.d + seen; j += NT_WARP)
            dot += (double)dp[j] * (double)nt_to_float(p[j]);
        const float mean = (float)nt_warp_sum(dot);
        for (int64_t j = nt_lane(); j < t.d; j += NT_WARP) {
            const int64_t e = r * t.d + j;
            nt_put(&ds[e], j < seen ? nt_to_float(p[e]) * (dp[e] - mean) : 0.0f);
        }
    }
}

extern "C" int nt_cuda_attention_rows(nt_cuda_stream stream, nt_dtype type, void *p, const float *score,
                                      bool causal, int64_t t, int64_t rows)
{
    NT_WITH_TYPE(type, NT_LAUNCH(forward<T>, nt_warp_blocks(rows), NT_BLOCK, 0, stream, (T *)p, score, causal,
                                 nt_divide_by(t), rows));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_attention_rows_backward(nt_cuda_stream stream, nt_dtype type, void *ds,
                                               const float *dp, const void *p, bool causal, int64_t t,
                                               int64_t rows)
{
    NT_WITH_TYPE(type, NT_LAUNCH(backward<T>, nt_warp_blocks(rows), NT_BLOCK, 0, stream, (T *)ds, dp,
                                 (const T *)p, causal, nt_divide_by(t), rows));
    return (int)cudaGetLastError();
}
