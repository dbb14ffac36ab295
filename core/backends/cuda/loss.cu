/* Losses that are a mean over the K values of a sample, each value by itself: mse, l1, huber, smooth_l1, bce,
 * hinge of values; core/layers/losses.h has the formulas.
 *
 * Forward: a warp takes a sample and sums in double. Backward: an element is a function of x and target,
 * times the pass's scale, which is read from device memory, so that a recorded step can be replayed. Outputs
 * and targets are the smallest tensors of a step: what bounds these kernels is the launch. */
#include "core/backends/cuda/device.cuh"

/* `a`: delta, beta or margin. Functors are chosen when kernels are compiled; a NaN falls through all of them.
 */
struct mse {
    float a;
    int p;

    __device__ float value(float x, float t) const
    {
        return (x - t) * (x - t);
    }
    __device__ bool right(float, float) const
    {
        return false;
    }
    __device__ float slope(float x, float t) const
    {
        return 2.0f * (x - t);
    }
};

static inline __device__ float sign(float d)
{
    return d > 0 ? 1.0f : d < 0 ? -1.0f : d; /* d: 0 or NaN */
}

struct l1 {
    float a;
    int p;

    __device__ float value(float x, float t) const
    {
        return fabsf(x - t);
    }
    __device__ bool right(float, float) const
    {
        return false;
    }
    __device__ float slope(float x, float t) const
    {
        return sign(x - t);
    }
};

struct huber {
    float a;
    int p;

    __device__ float value(float x, float t) const
    {
        const float d = fabsf(x - t);
        return d <= a ? 0.5f * d * d : a * (d - 0.5f * a);
    }
    __device__ bool right(float, float) const
    {
        return false;
    }
    __device__ float slope(float x, float t) const
    {
        const float d = x - t;
        return d > a ? a : d < -a ? -a : d;
    }
};

struct smooth_l1 {
    float a;
    int p;

    __device__ float value(float x, float t) const
    {
        const float d = fabsf(x - t);
        return d < a ? 0.5f * d * d / a : d - 0.5f * a;
    }
    __device__ bool right(float, float) const
    {
        return false;
    }
    __device__ float slope(float x, float t) const
    {
        return fabsf(x - t) < a ? (x - t) / a : sign(x - t);
    }
};

/* In the form that neither overflows nor cancels. */
struct bce {
    float a;
    int p;

    __device__ float value(float x, float t) const
    {
        return (x < 0 ? 0.0f : x) - x * t + log1pf(expf(-fabsf(x)));
    }
    __device__ bool right(float x, float t) const
    {
        return (x > 0) == (t > 0.5f);
    }
    __device__ float slope(float x, float t) const
    {
        return 1.0f / (1.0f + expf(-x)) - t;
    }
};

/* max(0, margin - t x)^p for targets of -1 and 1. */
struct hinge {
    float a;
    int p;

    __device__ float value(float x, float t) const
    {
        const float lack = a - t * x;
        return lack <= 0 ? 0.0f : p == 2 ? lack * lack : lack;
    }
    __device__ bool right(float x, float t) const
    {
        return (x > 0) == (t > 0);
    }
    __device__ float slope(float x, float t) const
    {
        const float lack = a - t * x;
        return -t * (lack <= 0 ? 0.0f : p == 2 ? 2.0f * lack : lack != lack ? lack : 1.0f);
    }
};

/* y (n, 2): mean over k, and how many of them are right. 2 reads. */
template <typename F, typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    loss_forward(float *y, const T *x, const float *target, F f, int64_t n, int64_t k)
{
    const int lane = nt_lane();
    for (int64_t i = nt_thread() / NT_WARP; i < n; i += nt_threads() / NT_WARP) {
        double sum = 0;
        int right = 0;
        for (int64_t j = i * k + lane; j < (i + 1) * k; j += NT_WARP) {
            sum += (double)f.value(nt_to_float(x[j]), target[j]);
            right += f.right(nt_to_float(x[j]), target[j]);
        }
        sum = nt_warp_sum(sum);
        right = nt_warp_sum(right);
        if (lane == 0) {
            y[2 * i] = (float)(sum / (double)k);
            y[2 * i + 1] = (float)right;
        }
    }
}

/* 2 reads, 1 write. */
template <typename F, typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    loss_backward(T *dx, const T *x, const float *target, const nt_cuda_pass *pass, F f, int64_t n, int64_t k)
{
    const float factor = (float)(pass->scale / (double)k);
    for (int64_t i = nt_thread(); i < n * k; i += nt_threads())
        nt_put(&dx[i], factor * f.slope(nt_to_float(x[i]), target[i]));
}

/* Calls launch<F, T>(args..., f): F the functor of `loss`, T the type of x. */
#define WITH_LOSS(loss, type, launch, ...)                                                                   \
    NT_WITH_TYPE(                                                                                            \
        type, switch (loss->kind) {                                                                          \
            case NT_CUDA_MSE:                                                                                \
                launch(mse, T, __VA_ARGS__);                                                                 \
                break;                                                                                       \
            case NT_CUDA_L1:                                                                                 \
                launch(l1, T, __VA_ARGS__);                                                                  \
                break;                                                                                       \
            case NT_CUDA_HUBER:                                                                              \
                launch(huber, T, __VA_ARGS__);                                                               \
                break;                                                                                       \
            case NT_CUDA_SMOOTH_L1:                                                                          \
                launch(smooth_l1, T, __VA_ARGS__);                                                           \
                break;                                                                                       \
            case NT_CUDA_BCE:                                                                                \
                launch(bce, T, __VA_ARGS__);                                                                 \
                break;                                                                                       \
            case NT_CUDA_HINGE:                                                                              \
                launch(hinge, T, __VA_ARGS__);                                                               \
                break;                                                                                       \
        })

template <typename F, typename T>
static void forward(nt_cuda_stream stream, const nt_cuda_loss *loss, float *y, const void *x,
                    const float *target, int64_t n, int64_t k)
{
    const F f = {(float)loss->param, loss->power};
    NT_LAUNCH((loss_forward<F, T>), nt_warp_blocks(n), NT_BLOCK, 0, stream, y, (const T *)x, target, f, n, k);
}

template <typename F, typename T>
static void backward(nt_cuda_stream stream, const nt_cuda_loss *loss, void *dx, const void *x,
                     const float *target, const nt_cuda_pass *pass, int64_t n, int64_t k)
{
    const F f = {(float)loss->param, loss->power};
    NT_LAUNCH((loss_backward<F, T>), nt_blocks(n * k), NT_BLOCK, 0, stream, (T *)dx, (const T *)x, target,
              pass, f, n, k);
}

#define FORWARD(F, T, ...)  forward<F, T>(__VA_ARGS__)
#define BACKWARD(F, T, ...) backward<F, T>(__VA_ARGS__)

extern "C" int nt_cuda_loss_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_loss *loss, float *y,
                                    const void *x, const float *target, int64_t n, int64_t k)
{
    WITH_LOSS(loss, type, FORWARD, stream, loss, y, x, target, n, k);
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_loss_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_loss *loss, void *dx,
                                     const void *x, const float *target, const nt_cuda_pass *pass, int64_t n,
                                     int64_t k)
{
    WITH_LOSS(loss, type, BACKWARD, stream, loss, dx, x, target, pass, n, k);
    return (int)cudaGetLastError();
}
