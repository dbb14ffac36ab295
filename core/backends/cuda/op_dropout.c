/* dropout and stochastic_depth: masks are functions of (seed, epoch, sample, layer, element), so backward
 * makes them again and nothing is saved. In inference, and at rate 0, the op is a view. */
#include "core/backends/cuda/ops.h"

#include "core/layers/dropout.h"
#include "core/layers/stochastic_depth.h"

typedef int (*mask_fn)(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                       const nt_cuda_pass *pass, const int64_t *sample, uint32_t id, double rate, int64_t n,
                       int64_t inner);

/* Both have a rate and nothing else. */
static double rate_of(const nt_op *op)
{
    if (!op->training) return 0;
    if (op->impl == &nt_cuda_dropout) return ((const nt_dropout_options *)op->options)->rate;
    return ((const nt_stochastic_depth_options *)op->options)->rate;
}

static nt_status mask_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = rate_of(op) > 0 ? NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD : NT_OP_VIEW;
    return NT_OK;
}

static nt_status run(const nt_op *op, void *out, const void *in)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    const mask_fn mask = op->impl == &nt_cuda_dropout ? nt_cuda_dropout_apply : nt_cuda_drop_samples;
    const int64_t n = op->y.shape.dim[0];
    if (rate_of(op) == 0) return nt_cuda_copy_tensor(op, out, in, &op->y);
    NT_CUDA_RUN(op, op->impl->kind,
                mask(cuda->compute, op->y.dtype, out, in, cuda->pass, cuda->sample, op->id, rate_of(op), n,
                     nt_shape_elems(op->y.shape) / n));
    return NT_OK;
}

static nt_status mask_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return run(op, op->y.data, op->x[0].data);
}

static nt_status mask_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    return run(op, op->dx[0].data, op->dy.data);
}

const nt_op_impl nt_cuda_dropout = {
    .kind = "dropout",
    .create = mask_create,
    .forward = mask_forward,
    .backward = mask_backward,
};

const nt_op_impl nt_cuda_stochastic_depth = {
    .kind = "stochastic_depth",
    .create = mask_create,
    .forward = mask_forward,
    .backward = mask_backward,
};
