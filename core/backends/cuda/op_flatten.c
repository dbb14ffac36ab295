/* flatten and reshape: views. forward and backward copy for callers that gave y memory of its own all the
 * same. */
#include "core/backends/cuda/ops.h"

static nt_status view_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_VIEW;
    return NT_OK;
}

static nt_status view_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_TRY(nt_cuda_copy_tensor(op, op->y.data, op->x[0].data, &op->y));
    return NT_OK;
}

static nt_status view_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (op->need_dx[0]) NT_TRY(nt_cuda_copy_tensor(op, op->dx[0].data, op->dy.data, &op->y));
    return NT_OK;
}

const nt_op_impl nt_cuda_flatten = {
    .kind = "flatten",
    .create = view_create,
    .forward = view_forward,
    .backward = view_backward,
};

const nt_op_impl nt_cuda_reshape = {
    .kind = "reshape",
    .create = view_create,
    .forward = view_forward,
    .backward = view_backward,
};
