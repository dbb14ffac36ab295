/* head: forward hands x on, backward weights dy. total_loss: a weighted sum, without a gradient. */
#include "core/backends/cuda/ops.h"

#include "core/layers/head.h"

static nt_status head_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

static nt_status head_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return nt_cuda_copy_tensor(op, op->y.data, op->x[0].data, &op->y);
}

static nt_status head_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_head_options *o = op->options;
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "head backward",
                nt_cuda_times(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                              o->loss_weight, nt_shape_elems(op->y.shape)));
    return NT_OK;
}

static nt_status total_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_total_loss_options *o = op->options;
    for (int i = 0; i < op->n_inputs; i++)
        NT_CUDA_RUN(op, "sum of losses",
                    nt_cuda_add_loss(nt_cuda_of(op)->compute, op->y.data, op->x[i].data, o->weight[i], i == 0,
                                     op->y.shape.dim[0]));
    return NT_OK;
}

const nt_op_impl nt_cuda_head = {
    .kind = "head",
    .create = head_create,
    .forward = head_forward,
    .backward = head_backward,
};

const nt_op_impl nt_cuda_total_loss = {
    .kind = "total_loss",
    .create = nt_cuda_create_plain,
    .forward = total_forward,
};
