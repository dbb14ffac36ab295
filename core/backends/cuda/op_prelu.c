/* prelu: x (N, C, ...); the slope of channel c is weight[c], or weight[0] if there is only one, which is then
 * that of one large channel. */
#include "core/backends/cuda/ops.h"

static nt_cuda_channels shape_of(const nt_op *op)
{
    if (op->param[0].shape.dim[0] > 1) return nt_cuda_channels_of(&op->y);
    return (nt_cuda_channels){1, 1, nt_shape_elems(op->y.shape)};
}

static nt_status prelu_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD;
    if (op->training) op->scratch_bytes = nt_cuda_bias_scratch_bytes(shape_of(op));
    return NT_OK;
}

static nt_status prelu_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const void *x = op->x[0].data;
    NT_CUDA_RUN(op, "prelu",
                nt_cuda_prelu_apply(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, x, x, op->param[0].data,
                                    shape_of(op)));
    return NT_OK;
}

/* The slopes' gradient first: dx may lie on dy. */
static nt_status prelu_backward(nt_op *op, const nt_pass *pass)
{
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    NT_CUDA_RUN(op, "prelu: slopes",
                nt_cuda_prelu_slopes(stream, op->y.dtype, op->dparam[0].data, op->dy.data, op->x[0].data,
                                     op->scratch, pass->accumulate, shape_of(op)));
    if (op->need_dx[0])
        NT_CUDA_RUN(op, "prelu backward",
                    nt_cuda_prelu_apply(stream, op->y.dtype, op->dx[0].data, op->dy.data, op->x[0].data,
                                        op->param[0].data, shape_of(op)));
    return NT_OK;
}

const nt_op_impl nt_cuda_prelu = {
    .kind = "prelu",
    .create = prelu_create,
    .forward = prelu_forward,
    .backward = prelu_backward,
};
