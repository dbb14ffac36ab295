/* layer_norm and group_norm: rows of neighbouring elements, each normalised by its own statistics
 * (row_norm.cu). */
#include "core/backends/cuda/ops.h"

#include "core/layers/group_norm.h"
#include "core/layers/layer_norm.h"

static nt_cuda_rows rows_of(const nt_op *op)
{
    const int64_t n = op->y.shape.dim[0], c = op->y.shape.dim[1], elems = nt_shape_elems(op->y.shape);
    nt_cuda_rows v = {.m = 1, .groups = 1, .span = 1, .saved = op->training ? op->saved : NULL};
    if (op->impl == &nt_cuda_group_norm) {
        const nt_group_norm_options *o = op->options;
        v.groups = o->num_groups;
        v.m = elems / (n * o->num_groups);
        v.span = elems / (n * c);
        v.eps = o->eps;
    } else {
        const nt_layer_norm_options *o = op->options;
        for (int i = 0; i < o->normalized_dims; i++)
            v.m *= op->y.shape.dim[op->y.shape.n_dims - 1 - i];
        v.eps = o->eps;
    }
    v.n = elems / v.m;
    v.weight = op->n_params ? op->param[NT_LN_WEIGHT].data : NULL;
    v.bias = op->n_params ? op->param[NT_LN_BIAS].data : NULL;
    return v;
}

static nt_status norm_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    if (!op->training) return NT_OK;
    const nt_cuda_rows v = rows_of(op);
    op->saved_bytes = nt_cuda_rows_saved_bytes(&v);
    if (op->n_params) op->scratch_bytes = nt_cuda_rows_scratch_bytes(&v);
    return NT_OK;
}

static nt_status norm_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_rows v = rows_of(op);
    NT_CUDA_RUN(op, op->impl->kind,
                nt_cuda_rows_forward(nt_cuda_of(op)->compute, op->y.dtype, &v, op->y.data, op->x[0].data));
    return NT_OK;
}

/* The weights' gradients first: dx may lie on dy. */
static nt_status norm_backward(nt_op *op, const nt_pass *pass)
{
    const nt_cuda_rows v = rows_of(op);
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    if (op->n_params)
        NT_CUDA_RUN(op, "norm: weights",
                    nt_cuda_rows_weights(stream, op->y.dtype, &v, op->dparam[NT_LN_WEIGHT].data,
                                         op->dparam[NT_LN_BIAS].data, op->dy.data, op->x[0].data, op->scratch,
                                         pass->accumulate));
    if (op->need_dx[0])
        NT_CUDA_RUN(
            op, "norm backward",
            nt_cuda_rows_backward(stream, op->y.dtype, &v, op->dx[0].data, op->dy.data, op->x[0].data));
    return NT_OK;
}

const nt_op_impl nt_cuda_layer_norm = {
    .kind = "layer_norm",
    .create = norm_create,
    .forward = norm_forward,
    .backward = norm_backward,
};

const nt_op_impl nt_cuda_group_norm = {
    .kind = "group_norm",
    .create = norm_create,
    .forward = norm_forward,
    .backward = norm_backward,
};
