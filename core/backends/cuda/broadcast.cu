/* Rows of float32 into every sample (class_token), and the weighted sum of losses (total_loss): two small
 * jobs that no other kernel does. */
#include "core/backends/cuda/device.cuh"

/* dst[n pitch + j] = row[j]. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    put_rows(T *dst, int64_t pitch, const float *row, nt_divisor width, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const int64_t sample = nt_quotient(i, width), j = i - sample * width.d;
        nt_put(&dst[sample * pitch + j], row[j]);
    }
}

/* y (n, 2): losses (+)= weight times x's; the first x says who is right. */
static __global__ void __launch_bounds__(NT_BLOCK)
    add_loss(float *y, const float *x, float weight, bool first, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        y[2 * i] = (first ? 0.0f : y[2 * i]) + weight * x[2 * i];
        if (first) y[2 * i + 1] = x[2 * i + 1];
    }
}

extern "C" int nt_cuda_put_rows(nt_cuda_stream stream, nt_dtype type, void *dst, int64_t pitch,
                                const float *row, int64_t width, int64_t samples)
{
    NT_WITH_TYPE(type, NT_LAUNCH(put_rows<T>, nt_blocks(width * samples), NT_BLOCK, 0, stream, (T *)dst,
                                 pitch, row, nt_divide_by(width), width * samples));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_add_loss(nt_cuda_stream stream, float *y, const float *x, double weight, bool first,
                                int64_t n)
{
    NT_LAUNCH(add_loss, nt_blocks(n), NT_BLOCK, 0, stream, y, x, (float)weight, first, n);
    return (int)cudaGetLastError();
}
