/* cross_entropy_full: labels or probabilities, class weights, label smoothing, an ignored label, several
 * positions. The weights of classes lie in device memory of the op. */
#include "core/backends/cuda/ops.h"

#include "core/layers/losses.h"

#include <stdlib.h>

static nt_cuda_positions positions_of(const nt_op *op)
{
    const nt_loss_options *o = op->options;
    const nt_shape *x = &op->x[0].shape;
    const bool last = o->class_dim == NT_CLASS_DIM_LAST, labels = op->x[1].dtype == NT_I32;
    const nt_cuda_constants *weights = op->state;
    nt_cuda_positions v = {.n = x->dim[0],
                           .k = x->dim[last ? x->n_dims - 1 : 1],
                           .classes_last = last,
                           .over_weights = o->mean_over == NT_MEAN_OVER_WEIGHTS,
                           .label = labels ? op->x[1].data : NULL,
                           .target = labels ? NULL : op->x[1].data,
                           .weight = weights ? weights->data : NULL,
                           .ignored = o->ignore_index,
                           .smoothing = o->label_smoothing,
                           .data_error = nt_cuda_of(op)->data_error,
                           .id = op->id};
    v.p = nt_shape_elems(*x) / (v.n * v.k);
    return v;
}

static nt_status full_create(nt_op *op)
{
    const nt_loss_options *o = op->options;
    NT_TRY(nt_cuda_create_loss(op, op->x[1].dtype == NT_I32 ? NT_I32 : NT_F32));
    const nt_cuda_positions v = positions_of(op);
    nt_cuda_constants *weights = calloc(1, sizeof *weights);
    NT_CHECK_ALLOC(weights, sizeof *weights);
    op->state = weights;
    NT_TRY(nt_cuda_constants_create(op, weights, &o->class_weights, v.k));
    NT_TRY(nt_cuda_watch_labels(op, v.k));
    op->scratch_bytes = nt_cuda_positions_scratch_bytes(&v);
    return NT_OK;
}

static void full_destroy(nt_op *op)
{
    if (op->state) nt_cuda_constants_free(op, op->state);
    nt_cuda_free_state(op);
}

static nt_status full_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda *cuda = nt_cuda_of(op);
    const nt_cuda_positions v = positions_of(op);
    NT_CUDA_RUN(op, "cross_entropy",
                nt_cuda_positions_forward(cuda->compute, op->x[0].dtype, &v, op->y.data, op->x[0].data,
                                          op->scratch, cuda->pass));
    return NT_OK;
}

static nt_status full_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda *cuda = nt_cuda_of(op);
    const nt_cuda_positions v = positions_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "cross_entropy backward",
                nt_cuda_positions_backward(cuda->compute, op->x[0].dtype, &v, op->dx[0].data, op->x[0].data,
                                           cuda->pass));
    return NT_OK;
}

const nt_op_impl nt_cuda_cross_entropy_full = {
    .kind = "cross_entropy_full",
    .create = full_create,
    .destroy = full_destroy,
    .forward = full_forward,
    .backward = full_backward,
};
