/* position_embedding: y = x + weight in every sample. class_token: y = weight, then x. */
#include "core/layers/position_embedding.h"

#include "core/backends/ref/ref.h"

static nt_status position_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

static nt_status position_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t n = op->y.shape.dim[0], inner = nt_shape_elems(op->y.shape) / n;
    const real *x = op->x[0].data, *weight = op->param[0].data;
    real *y = op->y.data;
    for (int64_t i = 0; i < n; i++, x += inner, y += inner)
        for (int64_t j = 0; j < inner; j++)
            y[j] = (real)((double)x[j] + (double)weight[j]);
    return NT_OK;
}

static nt_status position_backward(nt_op *op, const nt_pass *pass)
{
    const int64_t n = op->y.shape.dim[0], inner = nt_shape_elems(op->y.shape) / n;
    const real *dy = op->dy.data;
    real *dweight = op->dparam[0].data;
    for (int64_t j = 0; j < nt_shape_elems(op->param[0].shape); j++) {
        double sum = 0; /* 0 for positions that no sample has */
        for (int64_t i = 0; j < inner && i < n; i++)
            sum += (double)dy[i * inner + j];
        nt_ref_put(&dweight[j], sum, pass);
    }
    if (op->need_dx[0]) NT_REF(copy)(op->dx[0].data, dy, op->y.n_bytes);
    return NT_OK;
}

static nt_status class_token_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t n = op->y.shape.dim[0];
    const size_t row = op->param[0].n_bytes, rest = op->x[0].n_bytes / (size_t)n;
    char *y = op->y.data;
    for (int64_t i = 0; i < n; i++) {
        NT_REF(copy)(y, op->param[0].data, row);
        NT_REF(copy)(y + row, (const char *)op->x[0].data + (size_t)i * rest, rest);
        y += row + rest;
    }
    return NT_OK;
}

static nt_status class_token_backward(nt_op *op, const nt_pass *pass)
{
    const int64_t n = op->y.shape.dim[0], e = nt_shape_elems(op->param[0].shape),
                  inner = nt_shape_elems(op->y.shape) / n;
    const real *dy = op->dy.data;
    real *dx = op->dx[0].data, *dweight = op->dparam[0].data;
    for (int64_t j = 0; j < e; j++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)dy[i * inner + j];
        nt_ref_put(&dweight[j], sum, pass);
    }
    for (int64_t i = 0; op->need_dx[0] && i < n; i++)
        NT_REF(copy)(dx + i * (inner - e), dy + i * inner + e, (size_t)(inner - e) * sizeof *dx);
    return NT_OK;
}

const nt_op_impl NT_REF(position_embedding) = {
    .kind = "position_embedding",
    .create = position_create,
    .forward = position_forward,
    .backward = position_backward,
};

const nt_op_impl NT_REF(class_token) = {
    .kind = "class_token",
    .create = NT_REF(create_plain),
    .forward = class_token_forward,
    .backward = class_token_backward,
};
