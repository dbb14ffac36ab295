/* activation: a function of each element and its slope; core/layers/activation.h has the formulas.
 *
 * One kernel per function, so that no thread carries the registers of all. Forward reads one tensor and
 * writes one, backward reads two and writes one; the dearest function (gelu: erfc and exp, some 60 operations
 * an element) comes near the arithmetic of an A100 in bfloat16 and stays under it in float32. As in ref no
 * function hides a NaN: comparisons are written so that a NaN falls through to an expression that keeps it.
 */
#include "core/backends/cuda/map.cuh"

static inline __device__ float logistic(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

/* Distribution function of the standard normal; erfc keeps the digits of its lower tail. */
static inline __device__ float normal_cdf(float x)
{
    return 0.5f * erfcf(-x * 0.70710678118654752f);
}

/* alpha of leaky_relu and elu, beta of logistic */
template <nt_activation FUNCTION> struct forward {
    float alpha, beta;

    __device__ float operator()(float x) const
    {
        switch (FUNCTION) {
        case NT_ACT_THRESHOLD:
            return x >= 0 ? 1.0f : x < 0 ? 0.0f : x;
        case NT_ACT_LOGISTIC:
            return logistic(beta * x);
        case NT_ACT_TANH:
            return tanhf(x);
        case NT_ACT_RELU:
            return x < 0 ? 0.0f : x;
        case NT_ACT_LEAKY_RELU:
            return x > 0 ? x : alpha * x;
        case NT_ACT_ELU:
            return x > 0 ? x : alpha * expm1f(x);
        case NT_ACT_GELU:
            return x * normal_cdf(x);
        case NT_ACT_SILU:
            return x * logistic(x);
        default:
            return x;
        }
    }
};

/* dx from dy and v: x for gelu and silu, else y. */
template <nt_activation FUNCTION> struct backward {
    float alpha, beta;

    __device__ float slope(float v) const
    {
        switch (FUNCTION) {
        case NT_ACT_LOGISTIC:
            return beta * v * (1.0f - v);
        case NT_ACT_TANH:
            return 1.0f - v * v;
        case NT_ACT_RELU:
            return v > 0 ? 1.0f : 0.0f;
        case NT_ACT_LEAKY_RELU:
            return v > 0 ? 1.0f : alpha;
        case NT_ACT_ELU:
            return v > 0 ? 1.0f : v + alpha;
        case NT_ACT_GELU:
            return normal_cdf(v) + v * expf(-0.5f * v * v) * 0.39894228040143268f;
        case NT_ACT_SILU:
            return logistic(v) * (1.0f + v * (1.0f - logistic(v)));
        default:
            return 1.0f; /* threshold: straight through */
        }
    }

    __device__ float operator()(float dy, float v) const
    {
        return dy * slope(v);
    }
};

template <nt_activation FUNCTION>
static void launch_forward(nt_cuda_stream stream, nt_dtype type, const nt_activation_options *o, void *y,
                           const void *x, int64_t n)
{
    const forward<FUNCTION> f = {(float)o->alpha, (float)o->beta};
    NT_WITH_TYPE(type, nt_launch_map1(stream, (T *)y, (const T *)x, n, f));
}

template <nt_activation FUNCTION>
static void launch_backward(nt_cuda_stream stream, nt_dtype type, const nt_activation_options *o, void *dx,
                            const void *dy, const void *at, int64_t n)
{
    const backward<FUNCTION> f = {(float)o->alpha, (float)o->beta};
    NT_WITH_TYPE(type, nt_launch_map2(stream, (T *)dx, (const T *)dy, (const T *)at, n, f));
}

/* Calls launch<FUNCTION>(...) for the function of the options. */
#define WITH_FUNCTION(launch, function, ...)                                                                 \
    switch (function) {                                                                                      \
    case NT_ACT_THRESHOLD:                                                                                   \
        launch<NT_ACT_THRESHOLD>(__VA_ARGS__);                                                               \
        break;                                                                                               \
    case NT_ACT_LOGISTIC:                                                                                    \
        launch<NT_ACT_LOGISTIC>(__VA_ARGS__);                                                                \
        break;                                                                                               \
    case NT_ACT_TANH:                                                                                        \
        launch<NT_ACT_TANH>(__VA_ARGS__);                                                                    \
        break;                                                                                               \
    case NT_ACT_RELU:                                                                                        \
        launch<NT_ACT_RELU>(__VA_ARGS__);                                                                    \
        break;                                                                                               \
    case NT_ACT_LEAKY_RELU:                                                                                  \
        launch<NT_ACT_LEAKY_RELU>(__VA_ARGS__);                                                              \
        break;                                                                                               \
    case NT_ACT_ELU:                                                                                         \
        launch<NT_ACT_ELU>(__VA_ARGS__);                                                                     \
        break;                                                                                               \
    case NT_ACT_GELU:                                                                                        \
        launch<NT_ACT_GELU>(__VA_ARGS__);                                                                    \
        break;                                                                                               \
    case NT_ACT_SILU:                                                                                        \
        launch<NT_ACT_SILU>(__VA_ARGS__);                                                                    \
        break;                                                                                               \
    case NT_ACT_NONE:                                                                                        \
    case NT_N_ACTIVATIONS:                                                                                   \
        launch<NT_ACT_NONE>(__VA_ARGS__);                                                                    \
        break;                                                                                               \
    }

extern "C" int nt_cuda_activation_forward(nt_cuda_stream stream, nt_dtype type,
                                          const nt_activation_options *o, void *y, const void *x, int64_t n)
{
    WITH_FUNCTION(launch_forward, o->function, stream, type, o, y, x, n);
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_activation_backward(nt_cuda_stream stream, nt_dtype type,
                                           const nt_activation_options *o, void *dx, const void *dy,
                                           const void *at, int64_t n)
{
    WITH_FUNCTION(launch_backward, o->function, stream, type, o, dx, dy, at, n);
    return (int)cudaGetLastError();
}
