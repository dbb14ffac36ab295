/* Losses that are a mean over the K values of a sample (loss.cu), hinge of class labels and kl_divergence
 * (class_loss.cu). */
#include "core/backends/cuda/ops.h"

#include "core/layers/losses.h"

#include <stdlib.h>

/* x is (N, K). */
static int64_t values_of(const nt_op *op)
{
    return nt_shape_elems(op->x[0].shape) / op->x[0].shape.dim[0];
}

/* --- mean over values --- */

static const nt_op_impl *const kinds[] = {
    [NT_CUDA_MSE] = &nt_cuda_mse,     [NT_CUDA_L1] = &nt_cuda_l1,
    [NT_CUDA_HUBER] = &nt_cuda_huber, [NT_CUDA_SMOOTH_L1] = &nt_cuda_smooth_l1,
    [NT_CUDA_BCE] = &nt_cuda_bce,     [NT_CUDA_HINGE] = &nt_cuda_hinge,
};

static nt_cuda_loss loss_of(const nt_op *op)
{
    const nt_loss_options *o = op->options;
    nt_cuda_loss loss = {.kind = NT_CUDA_MSE, .power = o ? (int)o->p : 1};
    while (kinds[loss.kind] != op->impl)
        loss.kind++;
    if (loss.kind == NT_CUDA_HUBER) loss.param = o->delta;
    if (loss.kind == NT_CUDA_SMOOTH_L1) loss.param = o->beta;
    if (loss.kind == NT_CUDA_HINGE) loss.param = o->margin;
    return loss;
}

static nt_status values_create(nt_op *op)
{
    return nt_cuda_create_loss(op, NT_F32);
}

static nt_status values_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_loss loss = loss_of(op);
    NT_CUDA_RUN(op, op->impl->kind,
                nt_cuda_loss_forward(nt_cuda_of(op)->compute, op->x[0].dtype, &loss, op->y.data,
                                     op->x[0].data, op->x[1].data, op->x[0].shape.dim[0], values_of(op)));
    return NT_OK;
}

static nt_status values_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda *cuda = nt_cuda_of(op);
    const nt_cuda_loss loss = loss_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, op->impl->kind,
                nt_cuda_loss_backward(cuda->compute, op->x[0].dtype, &loss, op->dx[0].data, op->x[0].data,
                                      op->x[1].data, cuda->pass, op->x[0].shape.dim[0], values_of(op)));
    return NT_OK;
}

#define LOSS_OF_VALUES(name)                                                                                 \
    const nt_op_impl nt_cuda_##name = {                                                                      \
        .kind = #name,                                                                                       \
        .create = values_create,                                                                             \
        .forward = values_forward,                                                                           \
        .backward = values_backward,                                                                         \
    }

LOSS_OF_VALUES(mse);
LOSS_OF_VALUES(l1);
LOSS_OF_VALUES(huber);
LOSS_OF_VALUES(smooth_l1);
LOSS_OF_VALUES(bce);

/* --- hinge: of values, or of labels with weights of classes in device memory --- */

static nt_status hinge_create(nt_op *op)
{
    const nt_loss_options *o = op->options;
    NT_TRY(nt_cuda_create_loss(op, op->x[1].dtype == NT_I32 ? NT_I32 : NT_F32));
    if (op->x[1].dtype == NT_F32) return NT_OK;
    nt_cuda_constants *weights = calloc(1, sizeof *weights);
    NT_CHECK_ALLOC(weights, sizeof *weights);
    op->state = weights;
    NT_TRY(nt_cuda_constants_create(op, weights, &o->class_weights, values_of(op)));
    NT_TRY(nt_cuda_watch_labels(op, values_of(op)));
    return NT_OK;
}

static void hinge_destroy(nt_op *op)
{
    if (op->state) nt_cuda_constants_free(op, op->state);
    nt_cuda_free_state(op);
}

static nt_cuda_margins margins_of(const nt_op *op)
{
    const nt_loss_options *o = op->options;
    return (nt_cuda_margins){.margin = o->margin,
                             .power = (int)o->p,
                             .weight = ((const nt_cuda_constants *)op->state)->data,
                             .data_error = nt_cuda_of(op)->data_error,
                             .id = op->id};
}

static nt_status hinge_forward(nt_op *op, const nt_pass *pass)
{
    if (op->x[1].dtype == NT_F32) return values_forward(op, pass);
    const nt_cuda_margins margins = margins_of(op);
    NT_CUDA_RUN(op, "hinge",
                nt_cuda_hinge_forward(nt_cuda_of(op)->compute, op->x[0].dtype, &margins, op->y.data,
                                      op->x[0].data, op->x[1].data, op->x[0].shape.dim[0], values_of(op)));
    return NT_OK;
}

static nt_status hinge_backward(nt_op *op, const nt_pass *pass)
{
    if (op->x[1].dtype == NT_F32) return values_backward(op, pass);
    const nt_cuda *cuda = nt_cuda_of(op);
    const nt_cuda_margins margins = margins_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "hinge backward",
                nt_cuda_hinge_backward(cuda->compute, op->x[0].dtype, &margins, op->dx[0].data, op->x[0].data,
                                       op->x[1].data, cuda->pass, op->x[0].shape.dim[0], values_of(op)));
    return NT_OK;
}

const nt_op_impl nt_cuda_hinge = {
    .kind = "hinge",
    .create = hinge_create,
    .destroy = hinge_destroy,
    .forward = hinge_forward,
    .backward = hinge_backward,
};

/* --- kl_divergence --- */

static nt_status kl_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_CUDA_RUN(op, "kl_divergence",
                nt_cuda_kl_forward(nt_cuda_of(op)->compute, op->x[0].dtype, op->y.data, op->x[0].data,
                                   op->x[1].data, op->x[0].shape.dim[0], values_of(op)));
    return NT_OK;
}

static nt_status kl_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda *cuda = nt_cuda_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "kl_divergence backward",
                nt_cuda_kl_backward(cuda->compute, op->x[0].dtype, op->dx[0].data, op->x[1].data, cuda->pass,
                                    op->x[0].shape.dim[0], values_of(op)));
    return NT_OK;
}

const nt_op_impl nt_cuda_kl_divergence = {
    .kind = "kl_divergence",
    .create = values_create,
    .forward = kl_forward,
    .backward = kl_backward,
};
