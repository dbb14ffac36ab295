/* flatten and reshape: views. forward and backward copy for callers that gave y memory of its own all the
 * same. */
#include "core/backends/ref/ref.h"

static nt_status view_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_VIEW;
    return NT_OK;
}

static nt_status view_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_REF(copy)(op->y.data, op->x[0].data, op->y.n_bytes);
    return NT_OK;
}

static nt_status view_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (op->need_dx[0]) NT_REF(copy)(op->dx[0].data, op->dy.data, op->y.n_bytes);
    return NT_OK;
}

const nt_op_impl NT_REF(flatten) = {
    .kind = "flatten",
    .create = view_create,
    .forward = view_forward,
    .backward = view_backward,
};

const nt_op_impl NT_REF(reshape) = {
    .kind = "reshape",
    .create = view_create,
    .forward = view_forward,
    .backward = view_backward,
};
