/* prelu: x (N, C, S); the slope of channel c is weight[c], or weight[0] if there is only one. */
#include "core/layers/prelu.h"

#include "core/backends/ref/ref.h"

static nt_status prelu_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

/* Positions of one channel of one sample. */
static int64_t positions(const nt_op *op)
{
    return nt_shape_elems(op->y.shape) / (op->y.shape.dim[0] * op->y.shape.dim[1]);
}

static nt_status prelu_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t c = op->y.shape.dim[1], s = positions(op), n_slopes = op->param[0].shape.dim[0];
    const real *x = op->x[0].data, *weight = op->param[0].data;
    real *y = op->y.data;
    for (int64_t i = 0, n = nt_shape_elems(op->y.shape); i < n; i++) {
        double slope = (double)weight[i / s % c % n_slopes];
        y[i] = x[i] > 0 ? x[i] : (real)(slope * (double)x[i]);
    }
    return NT_OK;
}

/* Sum of x dy below 0 over what slope k is used for. */
static double dweight_at(const nt_op *op, int64_t k)
{
    const int64_t c = op->y.shape.dim[1], s = positions(op), n_slopes = op->param[0].shape.dim[0];
    const real *x = op->x[0].data, *dy = op->dy.data;
    double sum = 0;
    for (int64_t i = 0, n = nt_shape_elems(op->y.shape); i < n; i++)
        if (i / s % c % n_slopes == k && !(x[i] > 0)) sum += (double)x[i] * (double)dy[i];
    return sum;
}

static nt_status prelu_backward(nt_op *op, const nt_pass *pass)
{
    const int64_t c = op->y.shape.dim[1], s = positions(op), n_slopes = op->param[0].shape.dim[0];
    const real *x = op->x[0].data, *weight = op->param[0].data, *dy = op->dy.data;
    real *dx = op->dx[0].data, *dweight = op->dparam[0].data;
    for (int64_t k = 0; k < n_slopes; k++) /* before dx, which may lie on dy */
        nt_ref_put(&dweight[k], dweight_at(op, k), pass);
    if (!op->need_dx[0]) return NT_OK;
    for (int64_t i = 0, n = nt_shape_elems(op->y.shape); i < n; i++) {
        double slope = x[i] > 0 ? 1 : (double)weight[i / s % c % n_slopes];
        dx[i] = (real)(slope * (double)dy[i]);
    }
    return NT_OK;
}

const nt_op_impl NT_REF(prelu) = {
    .kind = "prelu",
    .create = prelu_create,
    .forward = prelu_forward,
    .backward = prelu_backward,
};
