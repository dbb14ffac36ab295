/* l1, huber and smooth_l1: the mean over K of a function of the difference d = x - target. */
#include "core/layers/losses.h"

#include "core/backends/ref/ref.h"

#include <math.h>

/* The function and its slope at d. */
typedef double (*distance_fn)(const nt_loss_options *o, double d);

static double l1_at(const nt_loss_options *o, double d)
{
    (void)o;
    return fabs(d);
}

static double l1_slope(const nt_loss_options *o, double d)
{
    (void)o;
    return d > 0 ? 1 : d < 0 ? -1 : d; /* d: 0 or NaN */
}

static double huber_at(const nt_loss_options *o, double d)
{
    return fabs(d) <= o->delta ? 0.5 * d * d : o->delta * (fabs(d) - 0.5 * o->delta);
}

static double huber_slope(const nt_loss_options *o, double d)
{
    return d > o->delta ? o->delta : d < -o->delta ? -o->delta : d;
}

static double smooth_l1_at(const nt_loss_options *o, double d)
{
    return fabs(d) < o->beta ? 0.5 * d * d / o->beta : fabs(d) - 0.5 * o->beta;
}

static double smooth_l1_slope(const nt_loss_options *o, double d)
{
    return fabs(d) < o->beta ? d / o->beta : l1_slope(o, d);
}

static nt_status distance_create(nt_op *op)
{
    return NT_REF(create_loss)(op, NT_F32);
}

static nt_status forward_by(nt_op *op, distance_fn at)
{
    int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;       /* (N, K) */
    const float *target = op->x[1].data; /* (N, K) */
    real *y = op->y.data;                /* (N, 2) */
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = i * k; j < (i + 1) * k; j++)
            sum += at(op->options, (double)x[j] - (double)target[j]);
        y[2 * i] = (real)(sum / (double)k);
        y[2 * i + 1] = 0;
    }
    return NT_OK;
}

static nt_status backward_by(nt_op *op, const nt_pass *pass, distance_fn slope)
{
    if (!op->need_dx[0]) return NT_OK;
    int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;
    const float *target = op->x[1].data;
    real *dx = op->dx[0].data;
    for (int64_t j = 0; j < n * k; j++)
        dx[j] = (real)(pass->scale * slope(op->options, (double)x[j] - (double)target[j]) / (double)k);
    return NT_OK;
}

#define DISTANCE(name)                                                                                       \
    static nt_status name##_forward(nt_op *op, const nt_pass *pass)                                          \
    {                                                                                                        \
        (void)pass;                                                                                          \
        return forward_by(op, name##_at);                                                                    \
    }                                                                                                        \
    static nt_status name##_backward(nt_op *op, const nt_pass *pass)                                         \
    {                                                                                                        \
        return backward_by(op, pass, name##_slope);                                                          \
    }                                                                                                        \
    const nt_op_impl NT_REF(name) = {                                                                        \
        .kind = #name,                                                                                       \
        .create = distance_create,                                                                           \
        .forward = name##_forward,                                                                           \
        .backward = name##_backward,                                                                         \
    }

DISTANCE(l1);
DISTANCE(huber);
DISTANCE(smooth_l1);
