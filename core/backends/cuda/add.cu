/* add: the sum of up to eight tensors, with ReLU on top where it is fused; also the sum of gradients that
 * meet. One launch for all terms: each is read once, the result written once, and bfloat16 is rounded once.
 */
#include "core/backends/cuda/device.cuh"

struct terms {
    const void *x[NT_CUDA_MAX_TERMS];
    int n;
};

/* Bound by memory: n_terms + 1 passes. The loop is unrolled so that the loads of all terms are under way
 * together; a term that is not there costs a comparison of the whole warp. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK) add(T *y, terms t, bool relu, int64_t n, bool vector)
{
    constexpr int W = nt_lanes<T>::N;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float sum[W], v[W];
        nt_load(sum, (const T *)t.x[0] + i, n - i, vector);
#pragma unroll
        for (int j = 1; j < NT_CUDA_MAX_TERMS; j++) {
            if (j >= t.n) continue;
            nt_load(v, (const T *)t.x[j] + i, n - i, vector);
#pragma unroll
            for (int k = 0; k < W; k++)
                sum[k] += v[k];
        }
#pragma unroll
        for (int k = 0; k < W; k++)
            sum[k] = relu && sum[k] < 0 ? 0.0f : sum[k];
        nt_store(y + i, sum, n - i, vector);
    }
}

extern "C" int nt_cuda_add_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *const *x,
                                   int n_terms, bool relu, int64_t n)
{
    terms t = {{NULL}, n_terms};
    bool vector = nt_aligned(y);
    if (n_terms < 1 || n_terms > NT_CUDA_MAX_TERMS) return (int)cudaErrorInvalidValue;
    for (int i = 0; i < n_terms; i++) {
        t.x[i] = x[i];
        vector = vector && nt_aligned(x[i]);
    }
    NT_WITH_TYPE(type, NT_LAUNCH(add<T>, nt_blocks(n / nt_lanes<T>::N + 1), NT_BLOCK, 0, stream, (T *)y, t,
                                 relu, n, vector));
    return (int)cudaGetLastError();
}
