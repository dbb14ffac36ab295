/* What the operations of the cuda backend share. */
#include "core/backends/cuda/ops.h"

nt_status nt_cuda_create_plain(nt_op *op)
{
    NT_BUG_UNLESS(!op->activation ||
                      nt_cuda_fuses(op->backend, op->impl->kind, op->options, op->activation, op->training),
                  "layer %s: cuda does not fuse this activation into %s", op->name, op->impl->kind);
    for (int i = 0; i < op->n_inputs; i++)
        NT_BUG_UNLESS(!op->x[i].layout, "layer %s: input %d has a layout that cuda cannot read", op->name, i);
    for (int i = 0; i < op->n_params; i++) {
        NT_BUG_UNLESS(!op->param[i].layout, "layer %s: parameter %d has a layout that cuda cannot read",
                      op->name, i);
        op->param[i] = nt_tensor_plain(op->param[i].dtype, op->param[i].shape);
    }
    op->y = nt_tensor_plain(op->y.dtype, op->y.shape);
    op->flags = 0;
    op->saved_bytes = op->scratch_bytes = 0;
    return NT_OK;
}

nt_status nt_cuda_create_loss(nt_op *op, nt_dtype wanted)
{
    NT_CHECK(op->n_inputs == 2 && op->x[1].dtype == wanted, NT_ERR_CONFIG, "layer %s: %s needs %s", op->name,
             op->impl->kind,
             wanted == NT_I32 ? "class labels (int32); for float targets use mse or bce"
                              : "float32 targets; for class labels use cross_entropy");
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_KEEPS_X;
    return NT_OK;
}

nt_status nt_cuda_check_planes(const nt_op *op, const nt_cuda_window *w)
{
    NT_CHECK(w->in[0] * w->in[1] <= INT32_MAX && w->out[0] * w->out[1] <= INT32_MAX &&
                 w->in[0] + w->pad[0] <= INT32_MAX && w->in[1] + w->pad[1] <= INT32_MAX &&
                 w->kernel[0] * w->kernel[1] <= INT32_MAX,
             NT_ERR_CONFIG, "layer %s: planes of %lld x %lld are too large for the cuda backend", op->name,
             (long long)w->in[0], (long long)w->in[1]);
    return NT_OK;
}

nt_cuda_channels nt_cuda_channels_of(const nt_tensor *t)
{
    const int64_t n = t->shape.dim[0], c = t->shape.n_dims > 1 ? t->shape.dim[1] : 1;
    return (nt_cuda_channels){n, c, nt_shape_elems(t->shape) / (n * c)};
}
