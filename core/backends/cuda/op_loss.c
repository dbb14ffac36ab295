/* Losses that are a mean over the K values of a sample; the formulas are in loss.cu. */
#include "core/backends/cuda/ops.h"

typedef int (*forward_fn)(nt_cuda_stream stream, nt_dtype type, float *y, const void *x, const float *target,
                          int64_t n, int64_t k);
typedef int (*backward_fn)(nt_cuda_stream stream, nt_dtype type, void *dx, const void *x, const float *target,
                           const nt_cuda_pass *pass, int64_t n, int64_t k);

static nt_status loss_create(nt_op *op)
{
    return nt_cuda_create_loss(op, NT_F32);
}

static nt_status run_forward(nt_op *op, forward_fn forward)
{
    const int64_t n = op->x[0].shape.dim[0], k = nt_shape_elems(op->x[0].shape) / n;
    NT_CUDA_RUN(
        op, op->impl->kind,
        forward(nt_cuda_of(op)->compute, op->x[0].dtype, op->y.data, op->x[0].data, op->x[1].data, n, k));
    return NT_OK;
}

static nt_status run_backward(nt_op *op, backward_fn backward)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    const int64_t n = op->x[0].shape.dim[0], k = nt_shape_elems(op->x[0].shape) / n;
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, op->impl->kind,
                backward(cuda->compute, op->x[0].dtype, op->dx[0].data, op->x[0].data, op->x[1].data,
                         cuda->pass, n, k));
    return NT_OK;
}

static nt_status mse_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run_forward(op, nt_cuda_mse_forward);
}

static nt_status mse_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run_backward(op, nt_cuda_mse_backward);
}

static nt_status bce_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run_forward(op, nt_cuda_bce_forward);
}

static nt_status bce_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run_backward(op, nt_cuda_bce_backward);
}

const nt_op_impl nt_cuda_mse = {
    .kind = "mse",
    .create = loss_create,
    .forward = mse_forward,
    .backward = mse_backward,
};

const nt_op_impl nt_cuda_bce = {
    .kind = "bce",
    .create = loss_create,
    .forward = bce_forward,
    .backward = bce_backward,
};
