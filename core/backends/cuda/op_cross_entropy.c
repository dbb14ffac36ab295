/* cross_entropy of one class label a sample. A label that is no class is found by the kernel and reported
 * when the host next waits for the device. */
#include "core/backends/cuda/ops.h"

static nt_status cross_entropy_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_loss(op, NT_I32));
    NT_TRY(nt_cuda_watch_labels(op, op->x[0].shape.dim[1]));
    return NT_OK;
}

static nt_status cross_entropy_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda *cuda = nt_cuda_of(op);
    NT_CUDA_RUN(op, "cross_entropy",
                nt_cuda_cross_entropy_forward(cuda->compute, op->x[0].dtype, op->y.data, op->x[0].data,
                                              op->x[1].data, cuda->data_error, op->id, op->x[0].shape.dim[0],
                                              op->x[0].shape.dim[1]));
    return NT_OK;
}

static nt_status cross_entropy_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda *cuda = nt_cuda_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "cross_entropy backward",
                nt_cuda_cross_entropy_backward(cuda->compute, op->x[0].dtype, op->dx[0].data, op->x[0].data,
                                               op->x[1].data, cuda->pass, op->x[0].shape.dim[0],
                                               op->x[0].shape.dim[1]));
    return NT_OK;
}

const nt_op_impl nt_cuda_cross_entropy = {
    .kind = "cross_entropy",
    .create = cross_entropy_create,
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
};
