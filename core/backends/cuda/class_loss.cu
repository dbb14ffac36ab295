/* hinge of class labels and kl_divergence: a warp takes a sample. The smallest tensors of a step, as with the
 * other losses: what bounds these kernels is the launch. */
#include "core/backends/cuda/largest.cuh"

/* By value. */
struct margins {
    float margin;
    int power;
    const float *weight; /* (k), or NULL: all 1 */
    int *data_error;
    uint32_t id;
};

static inline __device__ float lack_power(const margins &o, float lack)
{
    return lack <= 0 ? 0.0f : o.power == 2 ? lack * lack : lack;
}

static inline __device__ float lack_slope(const margins &o, float lack)
{
    return lack <= 0 ? 0.0f : o.power == 2 ? 2.0f * lack : lack != lack ? lack : 1.0f;
}

/* loss = w[t] / k sum over j != t of max(0, margin - x_t + x_j)^p; right if t is the first largest. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    hinge_forward(float *y, const T *x, const int32_t *label, margins o, int64_t n, int64_t k)
{
    for (int64_t i = nt_thread() / NT_WARP; i < n; i += nt_threads() / NT_WARP) {
        const int32_t t = label[i];
        const T *row = x + i * k;
        const bool sound = t >= 0 && t < k;
        const float own = nt_to_float(row[sound ? t : 0]);
        double sum = 0;
        int right = 1;
        for (int64_t j = nt_lane(); j < k; j += NT_WARP) {
            const float other = nt_to_float(row[j]);
            if (j == t) continue;
            sum += (double)lack_power(o, o.margin - own + other);
            right = right && (j < t ? other < own : other <= own);
        }
        sum = nt_warp_sum(sum);
        right = __all_sync(NT_ALL_LANES, right);
        if (nt_lane() != 0) continue;
        if (!sound) nt_report_bad(o.data_error, o.id, NT_CUDA_BAD_LABEL, t);
        const double weight = sound && o.weight ? (double)o.weight[t] : 1;
        y[2 * i] = sound ? (float)(weight * sum / (double)k) : NAN;
        y[2 * i + 1] = sound && right ? 1.0f : 0.0f;
    }
}

template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    hinge_backward(T *dx, const T *x, const int32_t *label, const nt_cuda_pass *pass, margins o, int64_t n,
                   int64_t k)
{
    for (int64_t i = nt_thread() / NT_WARP; i < n; i += nt_threads() / NT_WARP) {
        const int32_t t = label[i];
        const T *row = x + i * k;
        const bool sound = t >= 0 && t < k;
        const float own = nt_to_float(row[sound ? t : 0]), weight = sound && o.weight ? o.weight[t] : 1.0f;
        const float factor = sound ? (float)(pass->scale / (double)k) * weight : NAN;
        double sum = 0;
        for (int64_t j = nt_lane(); j < k; j += NT_WARP) {
            if (j == t) continue;
            const float slope = lack_slope(o, o.margin - own + nt_to_float(row[j]));
            nt_put(&dx[i * k + j], factor * slope);
            sum += (double)slope;
        }
        sum = nt_warp_sum(sum);
        if (sound && nt_lane() == 0) nt_put(&dx[i * k + t], -factor * (float)sum);
    }
}

/* loss = sum over k of t (log t - x); right if both have their first largest at the same place. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    kl_forward(float *y, const T *x, const float *target, int64_t n, int64_t k)
{
    for (int64_t i = nt_thread() / NT_WARP; i < n; i += nt_threads() / NT_WARP) {
        const nt_largest top_x = nt_find_largest<NT_WARP>(x + i * k, k, 1);
        const nt_largest top_t = nt_find_largest<NT_WARP>(target + i * k, k, 1);
        double sum = 0;
        for (int64_t j = i * k + nt_lane(); j < (i + 1) * k; j += NT_WARP) {
            const float t = target[j], v = nt_to_float(x[j]);
            sum += (double)(t == 0 ? 0 * v : t * (logf(t) - v)); /* 0 times a NaN stays one */
        }
        sum = nt_warp_sum(sum);
        if (nt_lane() != 0) continue;
        y[2 * i] = (float)sum;
        y[2 * i + 1] = top_x.index == top_t.index ? 1.0f : 0.0f;
    }
}

template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    kl_backward(T *dx, const float *target, const nt_cuda_pass *pass, int64_t n)
{
    const float scale = (float)pass->scale;
    for (int64_t i = nt_thread(); i < n; i += nt_threads())
        nt_put(&dx[i], -scale * target[i]);
}

static margins margins_of(const nt_cuda_margins *o)
{
    return {(float)o->margin, o->power, o->weight, o->data_error, o->id};
}

extern "C" int nt_cuda_hinge_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_margins *o, float *y,
                                     const void *x, const int32_t *label, int64_t n, int64_t k)
{
    NT_WITH_TYPE(type, NT_LAUNCH(hinge_forward<T>, nt_warp_blocks(n), NT_BLOCK, 0, stream, y, (const T *)x,
                                 label, margins_of(o), n, k));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_hinge_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_margins *o,
                                      void *dx, const void *x, const int32_t *label, const nt_cuda_pass *pass,
                                      int64_t n, int64_t k)
{
    NT_WITH_TYPE(type, NT_LAUNCH(hinge_backward<T>, nt_warp_blocks(n), NT_BLOCK, 0, stream, (T *)dx,
                                 (const T *)x, label, pass, margins_of(o), n, k));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_kl_forward(nt_cuda_stream stream, nt_dtype type, float *y, const void *x,
                                  const float *target, int64_t n, int64_t k)
{
    NT_WITH_TYPE(type, NT_LAUNCH(kl_forward<T>, nt_warp_blocks(n), NT_BLOCK, 0, stream, y, (const T *)x,
                                 target, n, k));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_kl_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const float *target,
                                   const nt_cuda_pass *pass, int64_t n, int64_t k)
{
    NT_WITH_TYPE(
        type, NT_LAUNCH(kl_backward<T>, nt_blocks(n * k), NT_BLOCK, 0, stream, (T *)dx, target, pass, n * k));
    return (int)cudaGetLastError();
}
