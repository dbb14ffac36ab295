/* dropout: the mask is a function of (seed, epoch, sample, layer, element), so backward makes it again and
 * nothing is saved. In inference, and at rate 0, the op is a view. */
#include "core/backends/cuda/ops.h"

#include "core/layers/dropout.h"

static double rate_of(const nt_op *op)
{
    return ((const nt_dropout_options *)op->options)->rate;
}

static bool masks(const nt_op *op)
{
    return op->training && rate_of(op) > 0;
}

static nt_status dropout_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = masks(op) ? NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD : NT_OP_VIEW;
    return NT_OK;
}

static nt_status run(const nt_op *op, void *out, const void *in)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    const int64_t n = op->y.shape.dim[0], n_bytes = (int64_t)op->y.n_bytes;
    if (masks(op))
        NT_CUDA_RUN(op, "dropout",
                    nt_cuda_dropout_apply(cuda->compute, op->y.dtype, out, in, cuda->pass, cuda->sample,
                                          op->id, rate_of(op), n, nt_shape_elems(op->y.shape) / n));
    else
        NT_CUDA_RUN(op, "view", nt_cuda_copy_rows(cuda->compute, out, n_bytes, in, n_bytes, n_bytes, 1));
    return NT_OK;
}

static nt_status dropout_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_TRY(run(op, op->y.data, op->x[0].data));
    return NT_OK;
}

static nt_status dropout_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (op->need_dx[0]) NT_TRY(run(op, op->dx[0].data, op->dy.data));
    return NT_OK;
}

const nt_op_impl nt_cuda_dropout = {
    .kind = "dropout",
    .create = dropout_create,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
