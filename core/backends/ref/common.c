/* What the operations of ref share. */
#include "core/backends/ref/ref.h"

#include <string.h>

nt_status NT_REF(create_plain)(nt_op *op)
{
    NT_BUG_UNLESS(!op->activation, "layer %s: ref does not fuse, but an activation was given", op->name);
    for (int i = 0; i < op->n_inputs; i++)
        NT_BUG_UNLESS(!op->x[i].layout, "layer %s: input %d has a layout that ref cannot read", op->name, i);
    for (int i = 0; i < op->n_params; i++) {
        NT_BUG_UNLESS(!op->param[i].layout, "layer %s: parameter %d has a layout that ref cannot read",
                      op->name, i);
        op->param[i] = nt_tensor_plain(op->param[i].dtype, op->param[i].shape);
    }
    op->y = nt_tensor_plain(op->y.dtype, op->y.shape);
    op->flags = 0;
    op->saved_bytes = op->scratch_bytes = 0;
    return NT_OK;
}

nt_status NT_REF(create_loss)(nt_op *op, nt_dtype wanted)
{
    NT_CHECK(op->n_inputs == 2 && op->x[1].dtype == wanted, NT_ERR_CONFIG, "layer %s: %s needs %s", op->name,
             op->impl->kind,
             wanted == NT_I32 ? "class labels (int32); for float targets use mse or bce"
                              : "float32 targets; for class labels use cross_entropy");
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_KEEPS_X;
    return NT_OK;
}

void NT_REF(copy)(void *dst, const void *src, size_t n_bytes)
{
    if (dst != src) memcpy(dst, src, n_bytes);
}

void NT_REF(backward_bias)(real *dbias, const real *dy, int64_t n, int64_t k, int64_t positions,
                           const nt_pass *pass)
{
    for (int64_t u = 0; u < k; u++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < positions; j++)
                sum += (double)dy[(i * k + u) * positions + j];
        nt_ref_put(&dbias[u], sum, pass);
    }
}
