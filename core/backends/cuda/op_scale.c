/* scale: y = factor[c] x + shift[c], constants of the options in device memory of the op. */
#include "core/backends/cuda/ops.h"

#include "core/layers/scale.h"

#include <stdlib.h>

typedef struct constants {
    nt_cuda_constants factor, shift;
} constants;

static nt_status scale_create(nt_op *op)
{
    const nt_scale_options *o = op->options;
    NT_TRY(nt_cuda_create_plain(op));
    constants *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    op->state = s;
    NT_TRY(nt_cuda_constants_create(op, &s->factor, &o->factor, op->y.shape.dim[1]));
    NT_TRY(nt_cuda_constants_create(op, &s->shift, &o->shift, op->y.shape.dim[1]));
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

static void scale_destroy(nt_op *op)
{
    constants *s = op->state;
    if (s) {
        nt_cuda_constants_free(op, &s->factor);
        nt_cuda_constants_free(op, &s->shift);
    }
    nt_cuda_free_state(op);
}

static nt_status scale_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const constants *s = op->state;
    NT_CUDA_RUN(op, "scale",
                nt_cuda_scale_channels(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data,
                                       s->factor.data, s->shift.data, nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

static nt_status scale_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const constants *s = op->state;
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "scale backward",
                nt_cuda_scale_channels(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                                       s->factor.data, NULL, nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

const nt_op_impl nt_cuda_scale = {
    .kind = "scale",
    .create = scale_create,
    .destroy = scale_destroy,
    .forward = scale_forward,
    .backward = scale_backward,
};
