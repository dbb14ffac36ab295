/* scale: y = factor[c] x + shift[c]. */
#include "core/layers/scale.h"

#include "core/backends/ref/ref.h"

static nt_status scale_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

static nt_status scale_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_scale_options *o = op->options;
    const int64_t n = nt_shape_elems(op->y.shape), c = op->y.shape.dim[1], s = n / (op->y.shape.dim[0] * c);
    const real *x = op->x[0].data;
    real *y = op->y.data;
    for (int64_t i = 0; i < n; i++)
        y[i] = (real)(nt_scale_at(&o->factor, i / s % c) * (double)x[i] + nt_scale_at(&o->shift, i / s % c));
    return NT_OK;
}

static nt_status scale_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    const nt_scale_options *o = op->options;
    const int64_t n = nt_shape_elems(op->y.shape), c = op->y.shape.dim[1], s = n / (op->y.shape.dim[0] * c);
    const real *dy = op->dy.data;
    real *dx = op->dx[0].data;
    for (int64_t i = 0; i < n; i++)
        dx[i] = (real)(nt_scale_at(&o->factor, i / s % c) * (double)dy[i]);
    return NT_OK;
}

const nt_op_impl NT_REF(scale) = {
    .kind = "scale",
    .create = scale_create,
    .forward = scale_forward,
    .backward = scale_backward,
};
