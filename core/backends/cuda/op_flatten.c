/* flatten and reshape: views. forward and backward copy for callers that gave y memory of its own all the
 * same. */
#include "core/backends/cuda/ops.h"

static nt_status view_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_VIEW;
    return NT_OK;
}

static nt_status copy(const nt_op *op, void *dst, const void *src)
{
    const int64_t n_bytes = (int64_t)op->y.n_bytes;
    NT_CUDA_RUN(op, "view",
                nt_cuda_copy_rows(nt_cuda_of(op)->compute, dst, n_bytes, src, n_bytes, n_bytes, 1));
    return NT_OK;
}

static nt_status view_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_TRY(copy(op, op->y.data, op->x[0].data));
    return NT_OK;
}

static nt_status view_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (op->need_dx[0]) NT_TRY(copy(op, op->dx[0].data, op->dy.data));
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
