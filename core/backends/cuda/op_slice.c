/* slice: x (outer, size, inner) -> y (outer, count, inner); the gradient of what was left out is zero. */
#include "core/backends/cuda/ops.h"

#include "core/layers/slice.h"

/* In bytes: a run of x, of y, and where in x's run that of y begins. */
typedef struct runs {
    int64_t n, x, y, begin;
} runs;

static runs runs_of(const nt_op *op)
{
    const nt_slice_options *o = op->options;
    int64_t inner = (int64_t)nt_dtype_bytes(op->y.dtype);
    runs v = {.n = 1};
    for (int i = 0; i < op->y.shape.n_dims; i++) {
        if (i < o->axis) v.n *= op->y.shape.dim[i];
        if (i > o->axis) inner *= op->y.shape.dim[i];
    }
    v.x = inner * op->x[0].shape.dim[o->axis];
    v.y = inner * o->count;
    v.begin = inner * o->begin;
    return v;
}

static nt_status slice_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const runs v = runs_of(op);
    NT_CUDA_RUN(op, "slice",
                nt_cuda_copy_rows(nt_cuda_of(op)->compute, op->y.data, v.y,
                                  (const char *)op->x[0].data + v.begin, v.x, v.y, v.n));
    return NT_OK;
}

static nt_status slice_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const runs v = runs_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(
        op, "slice backward",
        nt_cuda_place_rows(nt_cuda_of(op)->compute, op->dx[0].data, v.x, op->dy.data, v.y, v.begin, v.n));
    return NT_OK;
}

const nt_op_impl nt_cuda_slice = {
    .kind = "slice",
    .create = nt_cuda_create_plain,
    .forward = slice_forward,
    .backward = slice_backward,
};
