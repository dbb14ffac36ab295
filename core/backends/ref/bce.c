/* bce: loss of a sample = mean over K of -t log(s) - (1 - t) log(1 - s), s = 1 / (1 + exp(-x)), in the form
 * max(x, 0) - x t + log(1 + exp(-|x|)) that neither overflows nor cancels. A logit is right if it is above 0
 * exactly where its target is above one half. */
#include "core/backends/ref/ref.h"

#include <math.h>

static nt_status bce_create(nt_op *op)
{
    return NT_REF(create_loss)(op, NT_F32);
}

static double bce_of(double x, double t)
{
    return (x < 0 ? 0 : x) - x * t + log1p(exp(-fabs(x)));
}

static nt_status bce_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;       /* (N, K) */
    const float *target = op->x[1].data; /* (N, K) */
    real *y = op->y.data;                /* (N, 2) */
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        int64_t right = 0;
        for (int64_t j = i * k; j < (i + 1) * k; j++) {
            sum += bce_of((double)x[j], (double)target[j]);
            right += (x[j] > 0) == (target[j] > 0.5f);
        }
        y[2 * i] = (real)(sum / (double)k);
        y[2 * i + 1] = (real)right;
    }
    return NT_OK;
}

static nt_status bce_backward(nt_op *op, const nt_pass *pass)
{
    if (!op->need_dx[0]) return NT_OK;
    int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;
    const float *target = op->x[1].data;
    real *dx = op->dx[0].data;
    for (int64_t j = 0; j < n * k; j++)
        dx[j] = (real)(pass->scale * (1 / (1 + exp(-(double)x[j])) - (double)target[j]) / (double)k);
    return NT_OK;
}

const nt_op_impl NT_REF(bce) = {
    .kind = "bce",
    .create = bce_create,
    .forward = bce_forward,
    .backward = bce_backward,
};
