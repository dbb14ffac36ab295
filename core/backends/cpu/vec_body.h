/* The loops of vec.h. Included by vec_<isa>.c after it has set the instruction set and defined NT_VEC_TABLE
 * and NT_VEC_NAME.
 *
 * `ivdep` promises that iterations are independent: y may be exactly x, but must not overlap it otherwise.
 * Without it the compiler guards every loop with a test for overlap, and in-place calls would run its scalar
 * version. Comparisons are written so that a NaN falls through to what keeps it. */
#include <math.h>

#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))

#define EACH(i, n) _Pragma("GCC ivdep") for (int64_t i = 0; i < (n); i++)

static void vec_add(float *y, const float *a, const float *b, int64_t n)
{
    EACH(i, n) y[i] = a[i] + b[i];
}

static void vec_add_relu(float *y, const float *a, const float *b, int64_t n)
{
    EACH(i, n)
    {
        float s = a[i] + b[i];
        y[i] = s < 0 ? 0 : s;
    }
}

static void vec_mul(float *y, const float *a, const float *b, int64_t n)
{
    EACH(i, n) y[i] = a[i] * b[i];
}

static void vec_scale(float *y, const float *x, float factor, int64_t n)
{
    EACH(i, n) y[i] = factor * x[i];
}

static void vec_affine(float *y, const float *x, float scale, float shift, int64_t n)
{
    EACH(i, n) y[i] = x[i] * scale + shift;
}

static void vec_affine_u8(float *y, const uint8_t *x, float scale, float shift, int64_t n)
{
    EACH(i, n) y[i] = (float)x[i] * scale + shift;
}

/* Channels side by side, as the compiler's vectors: one AVX-512 register, two of AVX2, four of the base set.
 * A strip at the end of the channels has fewer lanes; the others are then zero and not stored. */
typedef float lanes_f __attribute__((vector_size(4 * NT_LANES)));
typedef int32_t lanes_i __attribute__((vector_size(4 * NT_LANES)));

INLINE lanes_f lanes_load(const float *p, int lanes)
{
    lanes_f v = {0};
    __builtin_memcpy(&v, p, (size_t)lanes * sizeof *p);
    return v;
}

INLINE lanes_i lanes_load_i(const int32_t *p, int lanes)
{
    lanes_i v = {0};
    __builtin_memcpy(&v, p, (size_t)lanes * sizeof *p);
    return v;
}

INLINE void lanes_store(float *p, lanes_f v, int lanes)
{
    __builtin_memcpy(p, &v, (size_t)lanes * sizeof *p);
}

INLINE void lanes_store_i(int32_t *p, lanes_i v, int lanes)
{
    __builtin_memcpy(p, &v, (size_t)lanes * sizeof *p);
}

INLINE lanes_i lanes_select_i(lanes_i mask, lanes_i a, lanes_i b)
{
    return (mask & a) | (~mask & b);
}

INLINE lanes_f lanes_select(lanes_i mask, lanes_f a, lanes_f b)
{
    return (lanes_f)lanes_select_i(mask, (lanes_i)a, (lanes_i)b);
}

INLINE lanes_f lanes_of(float value)
{
    return (lanes_f){0} + value;
}

/* 0 where mask is set, else v. */
INLINE lanes_f lanes_unless(lanes_i mask, lanes_f v)
{
    return (lanes_f)(~mask & (lanes_i)v);
}

#include "core/backends/cpu/vec_depthwise.h"
#include "core/backends/cpu/vec_math.h"
#include "core/backends/cpu/vec_norm.h"
#include "core/backends/cpu/vec_pool.h"
#include "core/backends/cpu/vec_random.h"
#include "core/backends/cpu/vec_rows.h"
#include "core/backends/cpu/vec_update.h"

const nt_vec_ops NT_VEC_TABLE = {
    .name = NT_VEC_NAME,
    .add = vec_add,
    .add_relu = vec_add_relu,
    .mul = vec_mul,
    .scale = vec_scale,
    .affine = vec_affine,
    .affine_u8 = vec_affine_u8,
    .relu = vec_relu,
    .relu_backward = vec_relu_backward,
    .leaky = vec_leaky,
    .leaky_backward = vec_leaky_backward,
    .threshold = vec_threshold,
    .logistic = vec_logistic,
    .logistic_backward = vec_logistic_backward,
    .tanh = vec_tanh,
    .tanh_backward = vec_tanh_backward,
    .elu = vec_elu,
    .elu_backward = vec_elu_backward,
    .gelu = vec_gelu,
    .gelu_backward = vec_gelu_backward,
    .silu = vec_silu,
    .silu_backward = vec_silu_backward,
    .relu6 = vec_relu6,
    .relu6_backward = vec_relu6_backward,
    .hardsigmoid = vec_hardsigmoid,
    .hardsigmoid_backward = vec_hardsigmoid_backward,
    .hardswish = vec_hardswish,
    .hardswish_backward = vec_hardswish_backward,
    .mish = vec_mish,
    .mish_backward = vec_mish_backward,
    .gelu_tanh = vec_gelu_tanh,
    .gelu_tanh_backward = vec_gelu_tanh_backward,
    .exp_shifted = vec_exp_shifted,
    .accumulate = vec_accumulate,
    .largest = vec_largest,
    .sum = vec_sum,
    .softmax = vec_softmax,
    .softmax_backward = vec_softmax_backward,
    .row_moments = vec_row_moments,
    .row_norm = vec_row_norm,
    .row_norm_backward = vec_row_norm_backward,
    .row_norm_columns = vec_row_norm_columns,
    .dropout_mask = vec_dropout_mask,
    .sum_squares = vec_sum_squares,
    .norm_sums = vec_norm_sums,
    .norm_apply = vec_norm_apply,
    .norm_backward_sums = vec_norm_backward_sums,
    .norm_backward = vec_norm_backward,
    .max_pool = vec_max_pool,
    .max_pool_backward = vec_max_pool_backward,
    .avg_pool = vec_avg_pool,
    .avg_pool_backward = vec_avg_pool_backward,
    .depthwise_weights = vec_depthwise_weights,
    .sgd = vec_sgd,
    .adam = vec_adam,
    .rmsprop = vec_rmsprop,
    .adagrad = vec_adagrad,
    .lion = vec_lion,
    .lars = vec_lars,
    .lamb = vec_lamb,
    .step = vec_step,
    .limit = vec_limit,
    .average = vec_average,
    .stat = vec_stat,
};
