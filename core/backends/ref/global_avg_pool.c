/* global_avg_pool: x (N, C, H, W) -> y (N, C), the mean of each channel. */
#include "core/backends/ref/ref.h"

static nt_status global_avg_pool_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    int64_t n = nt_shape_elems(op->y.shape), inner = nt_shape_elems(op->x[0].shape) / n;
    const real *x = op->x[0].data;
    real *y = op->y.data;
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < inner; j++)
            sum += (double)x[i * inner + j];
        y[i] = (real)(sum / (double)inner);
    }
    return NT_OK;
}

static nt_status global_avg_pool_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    int64_t n = nt_shape_elems(op->y.shape), inner = nt_shape_elems(op->x[0].shape) / n;
    const real *dy = op->dy.data;
    real *dx = op->dx[0].data;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < inner; j++)
            dx[i * inner + j] = (real)((double)dy[i] / (double)inner);
    return NT_OK;
}

const nt_op_impl NT_REF(global_avg_pool) = {
    .kind = "global_avg_pool",
    .create = NT_REF(create_plain),
    .forward = global_avg_pool_forward,
    .backward = global_avg_pool_backward,
};
