/* multiply: y = x gate, where one gate serves S neighbouring elements of x: 1 for gates of x's shape, H W for
 * one gate per channel. */
#include "core/backends/cuda/ops.h"

static nt_status multiply_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    return NT_OK;
}

static nt_status multiply(const nt_op *op, void *out, const void *x)
{
    const int64_t n = nt_shape_elems(op->x[1].shape);
    NT_CUDA_RUN(op, "multiply",
                nt_cuda_multiply_gates(nt_cuda_of(op)->compute, op->y.dtype, out, x, op->x[1].data, n,
                                       nt_shape_elems(op->y.shape) / n));
    return NT_OK;
}

static nt_status multiply_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    return multiply(op, op->y.data, op->x[0].data);
}

/* The gates' gradient first: dx of the first input may lie on dy. */
static nt_status multiply_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t n = nt_shape_elems(op->x[1].shape), s = nt_shape_elems(op->y.shape) / n;
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    if (op->need_dx[1] && s == 1)
        NT_CUDA_RUN(
            op, "gates backward",
            nt_cuda_multiply_gates(stream, op->y.dtype, op->dx[1].data, op->x[0].data, op->dy.data, n, 1));
    if (op->need_dx[1] && s > 1)
        NT_CUDA_RUN(op, "gates backward",
                    nt_cuda_dot_rows(stream, op->y.dtype, op->dx[1].data, op->x[0].data, op->dy.data, n, s));
    if (op->need_dx[0]) NT_TRY(multiply(op, op->dx[0].data, op->dy.data));
    return NT_OK;
}

const nt_op_impl nt_cuda_multiply = {
    .kind = "multiply",
    .create = multiply_create,
    .forward = multiply_forward,
    .backward = multiply_backward,
};
