/* concat: within each sample the inputs lie one after the other. */
#include "core/backends/ref/ref.h"

static nt_status concat_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    int64_t n = op->y.shape.dim[0];
    char *y = op->y.data; /* (N, C_0 + C_1 + ..., ...) */
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < op->n_inputs; k++) {
            size_t n_bytes = op->x[k].n_bytes / (size_t)n; /* of one sample */
            NT_REF(copy)(y, (const char *)op->x[k].data + (size_t)i * n_bytes, n_bytes);
            y += n_bytes;
        }
    return NT_OK;
}

static nt_status concat_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    int64_t n = op->y.shape.dim[0];
    const char *dy = op->dy.data;
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < op->n_inputs; k++) {
            size_t n_bytes = op->x[k].n_bytes / (size_t)n;
            if (op->need_dx[k]) NT_REF(copy)((char *)op->dx[k].data + (size_t)i * n_bytes, dy, n_bytes);
            dy += n_bytes;
        }
    return NT_OK;
}

const nt_op_impl NT_REF(concat) = {
    .kind = "concat",
    .create = NT_REF(create_plain),
    .forward = concat_forward,
    .backward = concat_backward,
};
