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

static inline __device__ float relu6(float x)
{
    return x < 0 ? 0.0f : x > 6 ? 6.0f : x;
}

static inline __device__ float softplus(float x, float beta)
{
    return beta * x > 20 ? x : log1pf(expf(beta * x)) / beta;
}

/* The argument of the tanh in gelu_tanh. */
static inline __device__ float gelu_inner(float x)
{
    return 0.79788456080286536f * (x + 0.044715f * x * x * x);
}

/* y = x tanh(s), s = softplus(x), ds/dx = logistic(x) */
static inline __device__ float mish_slope(float x)
{
    const float t = tanhf(softplus(x, 1.0f));
    return t + x * (1.0f - t * t) * logistic(x);
}

static inline __device__ float gelu_tanh_slope(float x)
{
    const float t = tanhf(gelu_inner(x)), inner = 0.79788456080286536f * (1.0f + 3 * 0.044715f * x * x);
    return 0.5f * (1.0f + t) + (fabsf(t) < 1 ? 0.5f * x * (1.0f - t * t) * inner : 0.0f);
}

/* alpha of leaky_relu and elu, beta of logistic and softplus */
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
        case NT_ACT_RELU6:
            return relu6(x);
        case NT_ACT_HARDSIGMOID:
            return relu6(x + 3.0f) / 6.0f;
        case NT_ACT_HARDSWISH:
            return x * relu6(x + 3.0f) / 6.0f;
        case NT_ACT_SOFTPLUS:
            return softplus(x, beta);
        case NT_ACT_MISH:
            return x * tanhf(softplus(x, 1.0f));
        case NT_ACT_GELU_TANH:
            return 0.5f * x * (1.0f + tanhf(gelu_inner(x)));
        default:
            return x;
        }
    }
};

/* dx from dy and v: x where nt_cuda_slope_needs_x, else y. */
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
        case NT_ACT_RELU6:
            return v > 0 && v < 6 ? 1.0f : 0.0f;
        case NT_ACT_HARDSIGMOID:
            return v > -3 && v < 3 ? 1.0f / 6.0f : 0.0f;
        case NT_ACT_HARDSWISH:
            return v <= -3 ? 0.0f : v < 3 ? v / 3.0f + 0.5f : 1.0f;
        case NT_ACT_SOFTPLUS: /* logistic(beta x), from y */
            return beta * v > 20 ? 1.0f : -expm1f(-beta * v);
        case NT_ACT_MISH:
            return mish_slope(v);
        case NT_ACT_GELU_TANH:
            return gelu_tanh_slope(v);
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
#define CASE(launch, function, ...)                                                                          \
    case function:                                                                                           \
        launch<function>(__VA_ARGS__);                                                                       \
        break
#define WITH_FUNCTION(launch, function, ...)                                                                 \
    switch (function) {                                                                                      \
        CASE(launch, NT_ACT_THRESHOLD, __VA_ARGS__);                                                         \
        CASE(launch, NT_ACT_LOGISTIC, __VA_ARGS__);                                                          \
        CASE(launch, NT_ACT_TANH, __VA_ARGS__);                                                              \
        CASE(launch, NT_ACT_RELU, __VA_ARGS__);                                                              \
        CASE(launch, NT_ACT_LEAKY_RELU, __VA_ARGS__);                                                        \
        CASE(launch, NT_ACT_ELU, __VA_ARGS__);                                                               \
        CASE(launch, NT_ACT_GELU, __VA_ARGS__);                                                              \
        CASE(launch, NT_ACT_SILU, __VA_ARGS__);                                                              \
        CASE(launch, NT_ACT_RELU6, __VA_ARGS__);                                                             \
        CASE(launch, NT_ACT_HARDSIGMOID, __VA_ARGS__);                                                       \
        CASE(launch, NT_ACT_HARDSWISH, __VA_ARGS__);                                                         \
        CASE(launch, NT_ACT_SOFTPLUS, __VA_ARGS__);                                                          \
        CASE(launch, NT_ACT_MISH, __VA_ARGS__);                                                              \
        CASE(launch, NT_ACT_GELU_TANH, __VA_ARGS__);                                                         \
    case NT_ACT_NONE:                                                                                        \
    case NT_N_ACTIVATIONS:                                                                                   \
        launch<NT_ACT_NONE>(__VA_ARGS__);                                                                    \
        break;                                                                                               \
    }

extern "C" bool nt_cuda_slope_needs_x(nt_activation function)
{
    return function == NT_ACT_GELU || function == NT_ACT_SILU || function == NT_ACT_HARDSIGMOID ||
           function == NT_ACT_HARDSWISH || function == NT_ACT_MISH || function == NT_ACT_GELU_TANH;
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
