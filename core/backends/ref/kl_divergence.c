/* kl_divergence: loss of a sample = sum over K of t (log t - x), 0 where t is 0. */
#include "core/backends/ref/ref.h"

#include <math.h>

static nt_status kl_create(nt_op *op)
{
    return NT_REF(create_loss)(op, NT_F32);
}

static nt_status kl_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;       /* (N, K) logarithms of probabilities */
    const float *target = op->x[1].data; /* (N, K) probabilities */
    real *y = op->y.data;                /* (N, 2) */
    for (int64_t i = 0; i < n; i++, x += k, target += k) {
        double sum = 0;
        int64_t top_x = 0, top_t = 0;
        for (int64_t j = 0; j < k; j++) {
            double t = (double)target[j];
            sum += t == 0 ? 0 * (double)x[j] : t * (log(t) - (double)x[j]); /* 0 times a NaN stays one */
            if (x[j] > x[top_x]) top_x = j;
            if (target[j] > target[top_t]) top_t = j;
        }
        y[2 * i] = (real)sum;
        y[2 * i + 1] = top_x == top_t ? 1 : 0;
    }
    return NT_OK;
}

static nt_status kl_backward(nt_op *op, const nt_pass *pass)
{
    if (!op->need_dx[0]) return NT_OK;
    const float *target = op->x[1].data;
    real *dx = op->dx[0].data;
    for (int64_t j = 0, n = nt_shape_elems(op->x[0].shape); j < n; j++)
        dx[j] = (real)(-pass->scale * (double)target[j]);
    return NT_OK;
}

const nt_op_impl NT_REF(kl_divergence) = {
    .kind = "kl_divergence",
    .create = kl_create,
    .forward = kl_forward,
    .backward = kl_backward,
};
