/* local_response_norm: the denominators are kept for backward, in float32. */
#include "core/backends/cuda/ops.h"

#include "core/layers/local_response_norm.h"

static nt_cuda_response response_of(const nt_op *op)
{
    const nt_local_response_norm_options *o = op->options;
    return (nt_cuda_response){o->size, o->alpha, o->beta, o->k};
}

static nt_status response_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    if (!op->training) return NT_OK;
    op->flags = NT_OP_KEEPS_X;
    op->saved_bytes = (size_t)nt_shape_elems(op->y.shape) * sizeof(float);
    return NT_OK;
}

static nt_status response_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_response o = response_of(op);
    NT_CUDA_RUN(op, "local_response_norm",
                nt_cuda_response_forward(nt_cuda_of(op)->compute, op->y.dtype, &o, op->y.data,
                                         op->training ? op->saved : NULL, op->x[0].data,
                                         nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

static nt_status response_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_response o = response_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "local_response_norm backward",
                nt_cuda_response_backward(nt_cuda_of(op)->compute, op->y.dtype, &o, op->dx[0].data,
                                          op->dy.data, op->x[0].data, op->saved,
                                          nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

const nt_op_impl nt_cuda_local_response_norm = {
    .kind = "local_response_norm",
    .create = response_create,
    .forward = response_forward,
    .backward = response_backward,
};
