/* position_embedding: y = x + weight in every sample, which is a bias of (N, T E). class_token: y = weight,
 * then x. */
#include "core/backends/cuda/ops.h"

/* Positions that samples have; the weight may have more. */
static nt_cuda_channels used(const nt_op *op)
{
    const int64_t n = op->y.shape.dim[0];
    return (nt_cuda_channels){n, nt_shape_elems(op->y.shape) / n, 1};
}

static nt_status position_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    if (op->training) op->scratch_bytes = nt_cuda_bias_scratch_bytes(used(op));
    return NT_OK;
}

static nt_status position_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_CUDA_RUN(op, "position_embedding",
                nt_cuda_bias_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data,
                                     op->param[0].data, false, used(op)));
    return NT_OK;
}

static nt_status position_backward(nt_op *op, const nt_pass *pass)
{
    const int64_t all = nt_shape_elems(op->param[0].shape), inner = used(op).c;
    float *dweight = op->dparam[0].data;
    NT_CUDA_RUN(op, "position_embedding backward",
                nt_cuda_bias_backward(nt_cuda_of(op)->compute, op->y.dtype, dweight, op->dy.data, op->scratch,
                                      pass->accumulate, used(op)));
    if (!pass->accumulate)
        NT_TRY(nt_backend_zero(op->backend, dweight + inner, (size_t)(all - inner) * sizeof *dweight));
    if (op->need_dx[0]) NT_TRY(nt_cuda_copy_tensor(op, op->dx[0].data, op->dy.data, &op->y));
    return NT_OK;
}

/* --- class_token --- */

/* Elements of y in a sample, and of the token. */
typedef struct rows {
    int64_t n, y, token, elem;
} rows;

static rows rows_of(const nt_op *op)
{
    const int64_t n = op->y.shape.dim[0];
    return (rows){n, nt_shape_elems(op->y.shape) / n, nt_shape_elems(op->param[0].shape),
                  (int64_t)nt_dtype_bytes(op->y.dtype)};
}

static nt_status class_token_create(nt_op *op)
{
    const rows r = rows_of(op);
    NT_TRY(nt_cuda_create_plain(op));
    if (op->training) op->scratch_bytes = nt_cuda_bias_scratch_bytes((nt_cuda_channels){r.n, r.token, 1});
    return NT_OK;
}

static nt_status class_token_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const rows r = rows_of(op);
    const int64_t rest = (r.y - r.token) * r.elem;
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    NT_CUDA_RUN(op, "class_token",
                nt_cuda_put_rows(stream, op->y.dtype, op->y.data, r.y, op->param[0].data, r.token, r.n));
    NT_CUDA_RUN(op, "class_token",
                nt_cuda_copy_rows(stream, (char *)op->y.data + r.token * r.elem, r.y * r.elem, op->x[0].data,
                                  rest, rest, r.n));
    return NT_OK;
}

static nt_status class_token_backward(nt_op *op, const nt_pass *pass)
{
    const rows r = rows_of(op);
    const int64_t rest = (r.y - r.token) * r.elem;
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    NT_CUDA_RUN(op, "class_token backward",
                nt_cuda_pitched_backward(stream, op->y.dtype, op->dparam[0].data, op->dy.data, r.y,
                                         op->scratch, pass->accumulate, r.n, r.token));
    if (op->need_dx[0])
        NT_CUDA_RUN(op, "class_token backward",
                    nt_cuda_copy_rows(stream, op->dx[0].data, rest,
                                      (const char *)op->dy.data + r.token * r.elem, r.y * r.elem, rest, r.n));
    return NT_OK;
}

const nt_op_impl nt_cuda_position_embedding = {
    .kind = "position_embedding",
    .create = position_create,
    .forward = position_forward,
    .backward = position_backward,
};

const nt_op_impl nt_cuda_class_token = {
    .kind = "class_token",
    .create = class_token_create,
    .forward = class_token_forward,
    .backward = class_token_backward,
};
