/* mse: loss of a sample = mean over K of (x - target)^2. There is no right or wrong. */
#include "core/backends/ref/ref.h"

static nt_status mse_create(nt_op *op)
{
    return NT_REF(create_loss)(op, NT_F32);
}

static nt_status mse_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;       /* (N, K) */
    const float *target = op->x[1].data; /* (N, K) */
    real *y = op->y.data;                /* (N, 2) */
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = i * k; j < (i + 1) * k; j++)
            sum += ((double)x[j] - (double)target[j]) * ((double)x[j] - (double)target[j]);
        y[2 * i] = (real)(sum / (double)k);
        y[2 * i + 1] = 0;
    }
    return NT_OK;
}

static nt_status mse_backward(nt_op *op, const nt_pass *pass)
{
    if (!op->need_dx[0]) return NT_OK;
    int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;
    const float *target = op->x[1].data;
    real *dx = op->dx[0].data;
    for (int64_t j = 0; j < n * k; j++)
        dx[j] = (real)(pass->scale * 2 * ((double)x[j] - (double)target[j]) / (double)k);
    return NT_OK;
}

const nt_op_impl NT_REF(mse) = {
    .kind = "mse",
    .create = mse_create,
    .forward = mse_forward,
    .backward = mse_backward,
};
