/* permute: element (i0, i1, ...) of y is the element of x whose index along dimension order[d] is i_d;
 * backward is the inverse order. */
#include "core/backends/cuda/ops.h"

#include "core/layers/permute.h"

/* Elements from one index to the next, of each dimension of a row-major tensor. */
static void strides_of(const nt_shape *shape, int64_t stride[NT_MAX_DIMS])
{
    int64_t step = 1;
    for (int i = shape->n_dims - 1; i >= 0; i--) {
        stride[i] = step;
        step *= shape->dim[i];
    }
}

static nt_status permute_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_permute_options *o = op->options;
    int64_t of_x[NT_MAX_DIMS], stride[NT_MAX_DIMS];
    strides_of(&op->x[0].shape, of_x);
    for (int i = 0; i < op->y.shape.n_dims; i++)
        stride[i] = of_x[o->order[i]];
    NT_CUDA_RUN(op, "permute",
                nt_cuda_permute_dims(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data,
                                     op->y.shape.n_dims, op->y.shape.dim, stride));
    return NT_OK;
}

static nt_status permute_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_permute_options *o = op->options;
    int64_t of_y[NT_MAX_DIMS], stride[NT_MAX_DIMS];
    if (!op->need_dx[0]) return NT_OK;
    strides_of(&op->y.shape, of_y);
    for (int i = 0; i < op->y.shape.n_dims; i++)
        stride[o->order[i]] = of_y[i];
    NT_CUDA_RUN(op, "permute backward",
                nt_cuda_permute_dims(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                                     op->x[0].shape.n_dims, op->x[0].shape.dim, stride));
    return NT_OK;
}

const nt_op_impl nt_cuda_permute = {
    .kind = "permute",
    .create = nt_cuda_create_plain,
    .forward = permute_forward,
    .backward = permute_backward,
};
