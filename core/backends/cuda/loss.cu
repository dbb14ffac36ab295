/* mse and bce: losses that are a mean over the K values of a sample, each value by itself.
 *
 * Forward: a warp takes a sample and sums in double. Backward: an element is a function of x and target,
 * times the pass's scale, which is read from device memory, so that a recorded step can be replayed. Logits
 * and targets are the smallest tensors of a step: what bounds these kernels is the launch. */
#include "core/backends/cuda/device.cuh"

struct mse {
    static __device__ float value(float x, float t)
    {
        return (x - t) * (x - t);
    }
    static __device__ bool right(float, float)
    {
        return false;
    }
    static __device__ float slope(float x, float t)
    {
        return 2.0f * (x - t);
    }
};

/* In the form that neither overflows nor cancels; a NaN falls through. */
struct bce {
    static __device__ float value(float x, float t)
    {
        return (x < 0 ? 0.0f : x) - x * t + log1pf(expf(-fabsf(x)));
    }
    static __device__ bool right(float x, float t)
    {
        return (x > 0) == (t > 0.5f);
    }
    static __device__ float slope(float x, float t)
    {
        return 1.0f / (1.0f + expf(-x)) - t;
    }
};

/* y (n, 2): mean over k, and whether all k are right. 2 reads. */
template <typename F, typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    loss_forward(float *y, const T *x, const float *target, int64_t n, int64_t k)
{
    const int lane = nt_lane();
    for (int64_t i = nt_thread() / NT_WARP; i < n; i += nt_threads() / NT_WARP) {
        double sum = 0;
        int right = 1;
        for (int64_t j = i * k + lane; j < (i + 1) * k; j += NT_WARP) {
            sum += (double)F::value(nt_to_float(x[j]), target[j]);
            right = right && F::right(nt_to_float(x[j]), target[j]);
        }
        sum = nt_warp_sum(sum);
        right = __all_sync(NT_ALL_LANES, right);
        if (lane == 0) {
            y[2 * i] = (float)(sum / (double)k);
            y[2 * i + 1] = right ? 1.0f : 0.0f;
        }
    }
}

/* 2 reads, 1 write. */
template <typename F, typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    loss_backward(T *dx, const T *x, const float *target, const nt_cuda_pass *pass, int64_t n, int64_t k)
{
    const float factor = (float)(pass->scale / (double)k);
    for (int64_t i = nt_thread(); i < n * k; i += nt_threads())
        nt_put(&dx[i], factor * F::slope(nt_to_float(x[i]), target[i]));
}

template <typename F>
static int forward(nt_cuda_stream stream, nt_dtype type, float *y, const void *x, const float *target,
                   int64_t n, int64_t k)
{
    NT_WITH_TYPE(type, NT_LAUNCH((loss_forward<F, T>), nt_warp_blocks(n), NT_BLOCK, 0, stream, y,
                                 (const T *)x, target, n, k));
    return (int)cudaGetLastError();
}

template <typename F>
static int backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *x, const float *target,
                    const nt_cuda_pass *pass, int64_t n, int64_t k)
{
    NT_WITH_TYPE(type, NT_LAUNCH((loss_backward<F, T>), nt_blocks(n * k), NT_BLOCK, 0, stream, (T *)dx,
                                 (const T *)x, target, pass, n, k));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_mse_forward(nt_cuda_stream stream, nt_dtype type, float *y, const void *x,
                                   const float *target, int64_t n, int64_t k)
{
    return forward<mse>(stream, type, y, x, target, n, k);
}

extern "C" int nt_cuda_mse_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *x,
                                    const float *target, const nt_cuda_pass *pass, int64_t n, int64_t k)
{
    return backward<mse>(stream, type, dx, x, target, pass, n, k);
}

extern "C" int nt_cuda_bce_forward(nt_cuda_stream stream, nt_dtype type, float *y, const void *x,
                                   const float *target, int64_t n, int64_t k)
{
    return forward<bce>(stream, type, y, x, target, n, k);
}

extern "C" int nt_cuda_bce_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *x,
                                    const float *target, const nt_cuda_pass *pass, int64_t n, int64_t k)
{
    return backward<bce>(stream, type, dx, x, target, pass, n, k);
}
