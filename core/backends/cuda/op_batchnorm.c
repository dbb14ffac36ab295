/* batchnorm, with ReLU on top where it is fused; the arithmetic is in batchnorm.cu. */
#include "core/backends/cuda/ops.h"

#include "core/layers/batchnorm.h"

static nt_cuda_norm norm_of(const nt_op *op)
{
    const nt_batchnorm_options *o = op->options;
    return (nt_cuda_norm){.shape = nt_cuda_channels_of(&op->y),
                          .eps = o->eps,
                          .relu = op->activation != NULL,
                          .weight = op->param[NT_BN_WEIGHT].data,
                          .bias = op->param[NT_BN_BIAS].data,
                          .running_mean = op->param[NT_BN_MEAN].data,
                          .running_var = op->param[NT_BN_VAR].data,
                          .saved = op->saved,
                          .scratch = op->scratch};
}

static nt_status batchnorm_create(nt_op *op)
{
    const nt_cuda_channels z = nt_cuda_channels_of(&op->y);
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    if (op->training) op->saved_bytes = nt_cuda_norm_saved_bytes(z);
    op->scratch_bytes = nt_cuda_norm_scratch_bytes(z);
    return NT_OK;
}

static nt_status forward_with_others(nt_op *op, const nt_cuda_norm *norm, const nt_pass *pass)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    NT_CUDA_RUN(op, "batchnorm sums",
                nt_cuda_norm_forward_part(cuda->compute, op->y.dtype, norm, op->x[0].data));
    NT_TRY(pass->sum(pass->sum_arg, nt_cuda_norm_sums(norm), nt_batchnorm_forward_sums(norm->shape.c)));
    NT_CUDA_RUN(op, "batchnorm",
                nt_cuda_norm_forward_joined(cuda->compute, op->y.dtype, norm, op->y.data, op->x[0].data));
    return NT_OK;
}

static nt_status batchnorm_forward(nt_op *op, const nt_pass *pass)
{
    const nt_cuda_norm norm = norm_of(op);
    if (op->training && pass->sum) return forward_with_others(op, &norm, pass);
    NT_CUDA_RUN(op, "batchnorm",
                nt_cuda_norm_forward(nt_cuda_of(op)->compute, op->y.dtype, &norm, op->y.data, op->x[0].data,
                                     op->training));
    return NT_OK;
}

static nt_status backward_with_others(nt_op *op, const nt_cuda_norm *norm, float *const *dparam,
                                      const nt_pass *pass)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    NT_CUDA_RUN(op, "batchnorm backward sums",
                nt_cuda_norm_backward_part(cuda->compute, op->y.dtype, norm, op->dy.data, op->x[0].data,
                                           dparam, cuda->pass, pass->accumulate));
    NT_TRY(pass->sum(pass->sum_arg, nt_cuda_norm_sums(norm), nt_batchnorm_backward_sums(norm->shape.c)));
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "batchnorm backward",
                nt_cuda_norm_backward_joined(cuda->compute, op->y.dtype, norm, op->dx[0].data, op->dy.data,
                                             op->x[0].data));
    return NT_OK;
}

static nt_status batchnorm_backward(nt_op *op, const nt_pass *pass)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    const nt_cuda_norm norm = norm_of(op);
    float *dparam[4];
    for (int i = 0; i < 4; i++)
        dparam[i] = op->dparam[i].data;
    if (pass->sum) return backward_with_others(op, &norm, dparam, pass);
    NT_CUDA_RUN(op, "batchnorm backward",
                nt_cuda_norm_backward(cuda->compute, op->y.dtype, &norm,
                                      op->need_dx[0] ? op->dx[0].data : NULL, op->dy.data, op->x[0].data,
                                      dparam, cuda->pass, pass->accumulate));
    return NT_OK;
}

const nt_op_impl nt_cuda_batchnorm = {
    .kind = "batchnorm",
    .create = batchnorm_create,
    .forward = batchnorm_forward,
    .backward = batchnorm_backward,
};
