/* concat: within each sample the inputs lie one after the other, so each is copied from one pitch to another.
 */
#include "core/backends/cuda/ops.h"

/* Bytes of one sample. */
static int64_t sample_bytes(const nt_op *op, const nt_tensor *t)
{
    return (int64_t)t->n_bytes / op->y.shape.dim[0];
}

static nt_status concat_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    char *y = op->y.data;
    for (int i = 0; i < op->n_inputs; i++) {
        const int64_t row = sample_bytes(op, &op->x[i]);
        NT_CUDA_RUN(op, "concat",
                    nt_cuda_copy_rows(nt_cuda_of(op)->compute, y, sample_bytes(op, &op->y), op->x[i].data,
                                      row, row, op->y.shape.dim[0]));
        y += row;
    }
    return NT_OK;
}

static nt_status concat_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const char *dy = op->dy.data;
    for (int i = 0; i < op->n_inputs; i++) {
        const int64_t row = sample_bytes(op, &op->x[i]);
        if (op->need_dx[i])
            NT_CUDA_RUN(op, "concat backward",
                        nt_cuda_copy_rows(nt_cuda_of(op)->compute, op->dx[i].data, row, dy,
                                          sample_bytes(op, &op->y), row, op->y.shape.dim[0]));
        dy += row;
    }
    return NT_OK;
}

const nt_op_impl nt_cuda_concat = {
    .kind = "concat",
    .create = nt_cuda_create_plain,
    .forward = concat_forward,
    .backward = concat_backward,
};
