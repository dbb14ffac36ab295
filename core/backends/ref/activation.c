/* activation: a function of each element.
 *
 * Most slopes can be told from y, which lets y overwrite x; gelu and silu need x. No function hides a NaN:
 * the comparisons are written so that NaN falls through to an expression that keeps it. */
#include "core/layers/activation.h"

#include "core/backends/ref/ref.h"

#include <math.h>

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

/* Distribution function of the standard normal. */
static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2);
}

static double activate(const nt_activation_options *o, double x)
{
    switch (o->function) {
    case NT_ACT_THRESHOLD:
        return x >= 0 ? 1 : x < 0 ? 0 : x;
    case NT_ACT_LOGISTIC:
        return logistic(o->beta * x);
    case NT_ACT_TANH:
        return tanh(x);
    case NT_ACT_RELU:
        return x < 0 ? 0 : x;
    case NT_ACT_LEAKY_RELU:
        return x > 0 ? x : o->alpha * x;
    case NT_ACT_ELU:
        return x > 0 ? x : o->alpha * expm1(x);
    case NT_ACT_GELU:
        return x * normal_cdf(x);
    case NT_ACT_SILU:
        return x * logistic(x);
    case NT_ACT_NONE:
    case NT_N_ACTIVATIONS:
        break;
    }
    return x;
}

static bool slope_needs_x(nt_activation function)
{
    return function == NT_ACT_GELU || function == NT_ACT_SILU;
}

/* dy/dx at `v`, which is x where slope_needs_x, else y. */
static double slope_at(const nt_activation_options *o, double v)
{
    switch (o->function) {
    case NT_ACT_LOGISTIC:
        return o->beta * v * (1 - v);
    case NT_ACT_TANH:
        return 1 - v * v;
    case NT_ACT_RELU:
        return v > 0 ? 1 : 0;
    case NT_ACT_LEAKY_RELU:
        return v > 0 ? 1 : o->alpha;
    case NT_ACT_ELU:
        return v > 0 ? 1 : v + o->alpha;
    case NT_ACT_GELU:
        return normal_cdf(v) + v * exp(-0.5 * v * v) * M_SQRT1_2 * M_2_SQRTPI * 0.5;
    case NT_ACT_SILU:
        return logistic(v) * (1 + v * (1 - logistic(v)));
    case NT_ACT_THRESHOLD: /* straight through */
    case NT_ACT_NONE:
    case NT_N_ACTIVATIONS:
        break;
    }
    return 1;
}

static nt_status activation_create(nt_op *op)
{
    const nt_activation_options *o = op->options;
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_INPLACE_BACKWARD;
    if (slope_needs_x(o->function))
        op->flags |= NT_OP_KEEPS_X;
    else if (o->function == NT_ACT_THRESHOLD)
        op->flags |= NT_OP_INPLACE_FORWARD | NT_OP_PASSES_GRADIENT;
    else
        op->flags |= NT_OP_INPLACE_FORWARD | NT_OP_KEEPS_Y;
    return NT_OK;
}

static nt_status activation_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const real *x = op->x[0].data;
    real *y = op->y.data;
    for (int64_t i = 0, n = nt_shape_elems(op->y.shape); i < n; i++)
        y[i] = (real)activate(op->options, (double)x[i]);
    return NT_OK;
}

static nt_status activation_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    const nt_activation_options *o = op->options;
    int64_t n = nt_shape_elems(op->y.shape);
    const real *dy = op->dy.data, *at = slope_needs_x(o->function) ? op->x[0].data : op->y.data;
    real *dx = op->dx[0].data;
    if (o->function == NT_ACT_THRESHOLD) {
        NT_REF(copy)(dx, dy, (size_t)n * sizeof *dx);
        return NT_OK;
    }
    for (int64_t i = 0; i < n; i++)
        dx[i] = (real)((double)dy[i] * slope_at(o, (double)at[i]));
    return NT_OK;
}

const nt_op_impl NT_REF(activation) = {
    .kind = "activation",
    .create = activation_create,
    .forward = activation_forward,
    .backward = activation_backward,
};
