/* add: y = x[0] + x[1] + ...; every dx is dy. */
#include "core/backends/ref/ref.h"

static nt_status add_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD | NT_OP_PASSES_GRADIENT;
    return NT_OK;
}

static nt_status add_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    real *y = op->y.data;
    for (int64_t i = 0, n = nt_shape_elems(op->y.shape); i < n; i++) {
        double sum = 0;
        for (int k = 0; k < op->n_inputs; k++)
            sum += (double)((const real *)op->x[k].data)[i];
        y[i] = (real)sum;
    }
    return NT_OK;
}

static nt_status add_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    for (int k = 0; k < op->n_inputs; k++)
        if (op->need_dx[k]) NT_REF(copy)(op->dx[k].data, op->dy.data, op->y.n_bytes);
    return NT_OK;
}

const nt_op_impl NT_REF(add) = {
    .kind = "add",
    .create = add_create,
    .forward = add_forward,
    .backward = add_backward,
};
