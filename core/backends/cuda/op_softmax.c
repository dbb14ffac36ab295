/* softmax and log_softmax over the first dimension of a sample. */
#include "core/backends/cuda/ops.h"

static nt_status softmax_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_KEEPS_Y | NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

static nt_status run_forward(nt_op *op, bool log)
{
    NT_CUDA_RUN(op, "softmax",
                nt_cuda_softmax_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data, log,
                                        nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

static nt_status run_backward(nt_op *op, bool log)
{
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "softmax backward",
                nt_cuda_softmax_backward(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                                         op->y.data, log, nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

static nt_status softmax_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run_forward(op, false);
}

static nt_status softmax_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run_backward(op, false);
}

static nt_status log_softmax_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run_forward(op, true);
}

static nt_status log_softmax_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run_backward(op, true);
}

const nt_op_impl nt_cuda_softmax = {
    .kind = "softmax",
    .create = softmax_create,
    .forward = softmax_forward,
    .backward = softmax_backward,
};

const nt_op_impl nt_cuda_log_softmax = {
    .kind = "log_softmax",
    .create = softmax_create,
    .forward = log_softmax_forward,
    .backward = log_softmax_backward,
};
