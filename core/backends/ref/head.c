/* head: forward hands x on, backward weights dy. total_loss: a weighted sum, without a gradient. */
#include "core/layers/head.h"

#include "core/backends/ref/ref.h"

static nt_status head_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

static nt_status head_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_REF(copy)(op->y.data, op->x[0].data, op->y.n_bytes);
    return NT_OK;
}

static nt_status head_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    const nt_head_options *o = op->options;
    const real *dy = op->dy.data;
    real *dx = op->dx[0].data;
    for (int64_t i = 0, n = nt_shape_elems(op->y.shape); i < n; i++)
        dx[i] = (real)(o->loss_weight * (double)dy[i]);
    return NT_OK;
}

static nt_status total_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_total_loss_options *o = op->options;
    real *y = op->y.data; /* (N, 2) */
    for (int64_t i = 0; i < op->y.shape.dim[0]; i++) {
        double sum = 0;
        for (int k = 0; k < op->n_inputs; k++)
            sum += o->weight[k] * (double)((const real *)op->x[k].data)[2 * i];
        y[2 * i] = (real)sum;
        y[2 * i + 1] = ((const real *)op->x[0].data)[2 * i + 1];
    }
    return NT_OK;
}

const nt_op_impl NT_REF(head) = {
    .kind = "head",
    .create = head_create,
    .forward = head_forward,
    .backward = head_backward,
};

const nt_op_impl NT_REF(total_loss) = {
    .kind = "total_loss",
    .create = NT_REF(create_plain),
    .forward = total_forward,
};
