/* add: y = x[0] + x[1] + ..., with ReLU on top where it is fused; every dx is dy, or dy behind the ReLU. */
#include "core/backends/cuda/ops.h"

static nt_status add_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    op->flags = NT_OP_INPLACE_BACKWARD | NT_OP_PASSES_GRADIENT;
    /* In several launches a later input may be the first again, which y would have overwritten. */
    if (op->n_inputs <= NT_CUDA_MAX_TERMS) op->flags |= NT_OP_INPLACE_FORWARD;
    if (op->activation) op->flags |= NT_OP_KEEPS_Y;
    return NT_OK;
}

static nt_status add_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const void *terms[NT_CUDA_MAX_TERMS];
    for (int next = 0; next < op->n_inputs;) {
        int n = 0;
        if (next > 0) terms[n++] = op->y.data;
        while (n < NT_CUDA_MAX_TERMS && next < op->n_inputs)
            terms[n++] = op->x[next++].data;
        NT_CUDA_RUN(op, "add",
                    nt_cuda_add_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, terms, n,
                                        op->activation && next == op->n_inputs, nt_shape_elems(op->y.shape)));
    }
    return NT_OK;
}

/* The first dx takes dy through the ReLU, the others are copies of it; where they share its memory, nothing
 * is copied. */
static nt_status add_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const void *dz = op->dy.data;
    bool masked = op->activation == NULL;
    for (int i = 0; i < op->n_inputs; i++) {
        if (!op->need_dx[i]) continue;
        void *dx = op->dx[i].data;
        if (masked)
            NT_TRY(nt_cuda_copy_tensor(op, dx, dz, &op->y));
        else
            NT_CUDA_RUN(op, "ReLU backward",
                        nt_cuda_activation_backward(nt_cuda_of(op)->compute, op->y.dtype, op->activation, dx,
                                                    dz, op->y.data, nt_shape_elems(op->y.shape)));
        if (!masked) dz = dx;
        masked = true;
    }
    return NT_OK;
}

const nt_op_impl nt_cuda_add = {
    .kind = "add",
    .create = add_create,
    .forward = add_forward,
    .backward = add_backward,
};
