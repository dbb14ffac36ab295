/* activation: a function of each element. Most slopes can be told from y, which lets y overwrite x; the
 * others need x. */
#include "core/backends/cuda/ops.h"

static nt_activation function_of(const nt_op *op)
{
    return ((const nt_activation_options *)op->options)->function;
}

static nt_status activation_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_INPLACE_BACKWARD;
    if (nt_cuda_slope_needs_x(function_of(op)))
        op->flags |= NT_OP_KEEPS_X;
    else if (function_of(op) == NT_ACT_THRESHOLD)
        op->flags |= NT_OP_INPLACE_FORWARD | NT_OP_PASSES_GRADIENT;
    else
        op->flags |= NT_OP_INPLACE_FORWARD | NT_OP_KEEPS_Y;
    return NT_OK;
}

static nt_status activation_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_CUDA_RUN(op, "activation",
                nt_cuda_activation_forward(nt_cuda_of(op)->compute, op->y.dtype, op->options, op->y.data,
                                           op->x[0].data, nt_shape_elems(op->y.shape)));
    return NT_OK;
}

static nt_status activation_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    if (function_of(op) == NT_ACT_THRESHOLD)
        return nt_cuda_copy_tensor(op, op->dx[0].data, op->dy.data, &op->y);
    const void *at = nt_cuda_slope_needs_x(function_of(op)) ? op->x[0].data : op->y.data;
    NT_CUDA_RUN(op, "activation backward",
                nt_cuda_activation_backward(stream, op->y.dtype, op->options, op->dx[0].data, op->dy.data, at,
                                            nt_shape_elems(op->y.shape)));
    return NT_OK;
}

const nt_op_impl nt_cuda_activation = {
    .kind = "activation",
    .create = activation_create,
    .forward = activation_forward,
    .backward = activation_backward,
};
