/* What the operations of the cuda backend share. */
#include "core/backends/cuda/ops.h"

#include <stdlib.h>

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

void nt_cuda_free_state(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

nt_status nt_cuda_fetch_param(const nt_op *op, int index, nt_dtype type, void *room, const void **out)
{
    *out = op->param[index].data;
    if (type == NT_F32) return NT_OK;
    NT_CUDA_RUN(op, "cast of weights",
                nt_cuda_cast(nt_cuda_of(op)->compute, type, room, NT_F32, op->param[index].data,
                             nt_shape_elems(op->param[index].shape)));
    *out = room;
    return NT_OK;
}

nt_status nt_cuda_constants_create(const nt_op *op, nt_cuda_constants *out, const nt_floats *values,
                                   int64_t n)
{
    *out = (nt_cuda_constants){0};
    if (values->n == 0) return NT_OK;
    NT_BUG_UNLESS(values->n == 1 || values->n == n, "layer %s: %d values for %lld", op->name, values->n,
                  (long long)n);
    out->n_bytes = (size_t)n * sizeof(float);
    float *host = malloc(out->n_bytes);
    NT_CHECK_ALLOC(host, out->n_bytes);
    for (int64_t i = 0; i < n; i++)
        host[i] = (float)values->value[values->n == 1 ? 0 : i];
    nt_status status = nt_backend_alloc(op->backend, (void **)&out->data, out->n_bytes);
    if (status == NT_OK) status = nt_backend_upload(op->backend, out->data, host, out->n_bytes);
    free(host);
    NT_TRY(status);
    return NT_OK;
}

void nt_cuda_constants_free(const nt_op *op, nt_cuda_constants *constants)
{
    nt_backend_free(op->backend, constants->data, constants->n_bytes);
    constants->data = NULL;
}

nt_status nt_cuda_copy_tensor(const nt_op *op, void *out, const void *in, const nt_tensor *t)
{
    const int64_t n_bytes = (int64_t)t->n_bytes;
    NT_CUDA_RUN(op, "copy",
                nt_cuda_copy_rows(nt_cuda_of(op)->compute, out, n_bytes, in, n_bytes, n_bytes, 1));
    return NT_OK;
}

nt_cuda_channels nt_cuda_channels_of(const nt_tensor *t)
{
    const int64_t n = t->shape.dim[0], c = t->shape.n_dims > 1 ? t->shape.dim[1] : 1;
    return (nt_cuda_channels){n, c, nt_shape_elems(t->shape) / (n * c)};
}
