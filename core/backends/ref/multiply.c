/* multiply: y = x gate, where one gate serves `s` neighbouring elements of x: 1 for gates of x's shape, H W
 * for one gate per channel. */
#include "core/backends/ref/ref.h"

static nt_status multiply_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    return NT_OK;
}

static nt_status multiply_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t n_gates = nt_shape_elems(op->x[1].shape), s = nt_shape_elems(op->y.shape) / n_gates;
    const real *x = op->x[0].data, *gate = op->x[1].data;
    real *y = op->y.data;
    for (int64_t i = 0; i < n_gates * s; i++)
        y[i] = (real)((double)x[i] * (double)gate[i / s]);
    return NT_OK;
}

/* Gate by gate, its own gradient first: dx of the first input may lie on dy. */
static nt_status multiply_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t n_gates = nt_shape_elems(op->x[1].shape), s = nt_shape_elems(op->y.shape) / n_gates;
    const real *x = op->x[0].data, *gate = op->x[1].data, *dy = op->dy.data;
    real *dx = op->dx[0].data, *dgate = op->dx[1].data;
    for (int64_t k = 0; k < n_gates; k++) {
        double sum = 0;
        for (int64_t i = k * s; i < (k + 1) * s; i++)
            sum += (double)x[i] * (double)dy[i];
        for (int64_t i = k * s; op->need_dx[0] && i < (k + 1) * s; i++)
            dx[i] = (real)((double)gate[k] * (double)dy[i]);
        if (op->need_dx[1]) dgate[k] = (real)sum;
    }
    return NT_OK;
}

const nt_op_impl NT_REF(multiply) = {
    .kind = "multiply",
    .create = multiply_create,
    .forward = multiply_forward,
    .backward = multiply_backward,
};
