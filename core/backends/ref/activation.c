/* activation: a function of each element.
 *
 * Most slopes can be told from y, which lets y overwrite x; the others need x. No function hides a NaN:
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

static double relu6(double x)
{
    return x < 0 ? 0 : x > 6 ? 6 : x;
}

static double softplus(double x, double beta)
{
    return beta * x > 20 ? x : log1p(exp(beta * x)) / beta;
}

/* The argument of the tanh in gelu_tanh. */
static double gelu_inner(double x)
{
    return M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x);
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
    case NT_ACT_RELU6:
        return relu6(x);
    case NT_ACT_HARDSIGMOID:
        return relu6(x + 3) / 6;
    case NT_ACT_HARDSWISH:
        return x * relu6(x + 3) / 6;
    case NT_ACT_SOFTPLUS:
        return softplus(x, o->beta);
    case NT_ACT_MISH:
        return x * tanh(softplus(x, 1));
    case NT_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(gelu_inner(x)));
    case NT_ACT_NONE:
    case NT_N_ACTIVATIONS:
        break;
    }
    return x;
}

static bool slope_needs_x(nt_activation function)
{
    return function == NT_ACT_GELU || function == NT_ACT_SILU || function == NT_ACT_HARDSIGMOID ||
           function == NT_ACT_HARDSWISH || function == NT_ACT_MISH || function == NT_ACT_GELU_TANH;
}

/* y = x tanh(s), s = softplus(x), ds/dx = logistic(x) */
static double mish_slope(double x)
{
    double t = tanh(softplus(x, 1));
    return t + x * (1 - t * t) * logistic(x);
}

static double gelu_tanh_slope(double x)
{
    double t = tanh(gelu_inner(x)), inner = M_2_SQRTPI * M_SQRT1_2 * (1 + 3 * 0.044715 * x * x);
    return 0.5 * (1 + t) + (fabs(t) < 1 ? 0.5 * x * (1 - t * t) * inner : 0);
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
    case NT_ACT_RELU6:
        return v > 0 && v < 6 ? 1 : 0;
    case NT_ACT_HARDSIGMOID:
        return v > -3 && v < 3 ? 1.0 / 6 : 0;
    case NT_ACT_HARDSWISH:
        return v <= -3 ? 0 : v < 3 ? v / 3 + 0.5 : 1;
    case NT_ACT_SOFTPLUS: /* logistic(beta x), from y */
        return o->beta * v > 20 ? 1 : -expm1(-o->beta * v);
    case NT_ACT_MISH:
        return mish_slope(v);
    case NT_ACT_GELU_TANH:
        return gelu_tanh_slope(v);
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
