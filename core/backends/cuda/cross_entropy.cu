/* cross_entropy: loss = log(sum exp(x - top)) + (top - x[label]), top the largest logit, so that nothing
 * overflows; the two large numbers meet in a difference of their own, in double.
 *
 * A warp takes a sample; backward computes the sum again rather than keeping N K probabilities. A label that
 * is no class cannot be said from here: it goes to data_error, the first one to get there, and the sample's
 * loss and gradient become NaN, so that nothing is learned from it until the host has read the error. */
#include "core/backends/cuda/largest.cuh"

/* y (n, 2). x is read once from memory and once more from a cache. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    cross_entropy_forward(float *y, const T *x, const int32_t *label, int *data_error, uint32_t id, int64_t n,
                          int64_t k)
{
    for (int64_t i = nt_thread() / NT_WARP; i < n; i += nt_threads() / NT_WARP) {
        const T *row = x + i * k;
        const int32_t wanted = label[i];
        const nt_largest top = nt_find_largest<NT_WARP>(row, k, 1);
        const double sum = nt_exp_sum<NT_WARP>(row, k, 1, top.value);
        if (nt_lane() != 0) continue;
        if (wanted >= 0 && wanted < k) {
            y[2 * i] = (float)(log(sum) + ((double)top.value - (double)nt_to_float(row[wanted])));
            y[2 * i + 1] = top.index == wanted ? 1.0f : 0.0f;
        } else {
            y[2 * i] = NAN;
            y[2 * i + 1] = 0;
            nt_report_bad(data_error, id, NT_CUDA_BAD_LABEL, wanted);
        }
    }
}

/* dx = scale (softmax(x) - one_hot(label)). x is read once and twice more from a cache; one write. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    cross_entropy_backward(T *dx, const T *x, const int32_t *label, const nt_cuda_pass *pass, int64_t n,
                           int64_t k)
{
    const float scale = (float)pass->scale;
    for (int64_t i = nt_thread() / NT_WARP; i < n; i += nt_threads() / NT_WARP) {
        const T *row = x + i * k;
        const int32_t wanted = label[i];
        const float factor = wanted >= 0 && wanted < k ? scale : NAN;
        const float top = nt_find_largest<NT_WARP>(row, k, 1).value;
        const float inverse = (float)(1 / nt_exp_sum<NT_WARP>(row, k, 1, top));
        for (int64_t j = nt_lane(); j < k; j += NT_WARP) {
            const float p = expf(nt_to_float(row[j]) - top) * inverse;
            nt_put(&dx[i * k + j], factor * (p - (j == wanted ? 1.0f : 0.0f)));
        }
    }
}

extern "C" int nt_cuda_cross_entropy_forward(nt_cuda_stream stream, nt_dtype type, float *y, const void *x,
                                             const int32_t *label, int *data_error, uint32_t id, int64_t n,
                                             int64_t k)
{
    NT_WITH_TYPE(type, NT_LAUNCH(cross_entropy_forward<T>, nt_warp_blocks(n), NT_BLOCK, 0, stream, y,
                                 (const T *)x, label, data_error, id, n, k));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_cross_entropy_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *x,
                                              const int32_t *label, const nt_cuda_pass *pass, int64_t n,
                                              int64_t k)
{
    NT_WITH_TYPE(type, NT_LAUNCH(cross_entropy_backward<T>, nt_warp_blocks(n), NT_BLOCK, 0, stream, (T *)dx,
                                 (const T *)x, label, pass, n, k));
    return (int)cudaGetLastError();
}
