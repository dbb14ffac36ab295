/* embedding: rows of a table. A token that the vocabulary lacks is found by the kernel and reported when the
 * host next waits for the device. */
#include "core/backends/cuda/ops.h"

/* weight (V, E), tokens (N, T) */
static int64_t n_tokens(const nt_op *op)
{
    return nt_shape_elems(op->x[0].shape);
}

static nt_status embedding_create(nt_op *op)
{
    NT_BUG_UNLESS(op->x[0].dtype == NT_I32, "layer %s: tokens of type %s, not int32", op->name,
                  nt_dtype_name(op->x[0].dtype));
    NT_CHECK(n_tokens(op) <= INT32_MAX, NT_ERR_CONFIG, "layer %s: %lld tokens are too many for one batch",
             op->name, (long long)n_tokens(op));
    NT_TRY(nt_cuda_create_plain(op));
    NT_TRY(nt_cuda_watch_labels(op, op->param[0].shape.dim[0]));
    op->flags = NT_OP_KEEPS_X;
    if (op->training)
        op->scratch_bytes = nt_cuda_embedding_scratch_bytes(op->param[0].shape.dim[0], n_tokens(op));
    return NT_OK;
}

static nt_status embedding_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda *cuda = nt_cuda_of(op);
    const int64_t *weight = op->param[0].shape.dim;
    NT_CUDA_RUN(op, "embedding",
                nt_cuda_embedding_forward(cuda->compute, op->y.dtype, op->y.data, op->param[0].data,
                                          op->x[0].data, cuda->data_error, op->id, weight[0], weight[1],
                                          n_tokens(op)));
    return NT_OK;
}

static nt_status embedding_backward(nt_op *op, const nt_pass *pass)
{
    const int64_t *weight = op->param[0].shape.dim;
    NT_CUDA_RUN(op, "embedding backward",
                nt_cuda_embedding_backward(nt_cuda_of(op)->compute, op->y.dtype, op->dparam[0].data,
                                           op->dy.data, op->x[0].data, op->scratch, pass->accumulate,
                                           weight[0], weight[1], n_tokens(op)));
    return NT_OK;
}

const nt_op_impl nt_cuda_embedding = {
    .kind = "embedding",
    .create = embedding_create,
    .forward = embedding_forward,
    .backward = embedding_backward,
};
