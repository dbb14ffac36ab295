/* An op of ref inside another host backend.
 *
 * The outer op sees tensors in its backend's layouts, the inner one plain tensors. Inputs with a layout are
 * reordered into the outer scratch before the inner op runs, gradients of such inputs after it; outputs and
 * parameters are simply declared plain. Reordering again in backward, rather than keeping plain copies, costs
 * time on what is a slow path anyway and saves memory. */
#include "core/fallback.h"

#include <stdlib.h>
#include <string.h>

typedef struct fallback {
    nt_backend *ref;
    nt_op inner;
    bool *blocked;    /* (n_inputs) input has a layout */
    size_t *x_offset; /* (n_inputs) of its plain copy in the outer scratch; that of dx lies copies_bytes after
                         it */
    size_t copies_bytes; /* of all plain copies of x */
    bool copies;         /* the inner op is a view, but of an input that must be reordered */
} fallback;

static size_t round_up(size_t n_bytes)
{
    return (n_bytes + 63) & ~(size_t)63;
}

static size_t plain_bytes(const nt_tensor *t)
{
    return (size_t)nt_shape_elems(t->shape) * nt_dtype_bytes(t->dtype);
}

static void fallback_destroy(nt_op *op)
{
    fallback *f = op->state;
    if (!f) return;
    nt_op_destroy(&f->inner);
    free(f->inner.x);
    free(f->inner.dx);
    free(f->blocked);
    free(f->x_offset);
    nt_backend_destroy(f->ref);
    free(f);
    op->state = NULL;
}

/* The inner op: the outer one with plain tensors. */
static nt_status make_inner(nt_op *op, fallback *f)
{
    size_t n = (size_t)op->n_inputs;
    f->inner = *op;
    f->inner.impl = NULL;
    f->inner.state = NULL;
    f->inner.backend = f->ref;
    f->inner.x = calloc(n, sizeof *f->inner.x);
    f->inner.dx = calloc(n, sizeof *f->inner.dx);
    f->blocked = calloc(n, sizeof *f->blocked);
    f->x_offset = calloc(n, sizeof *f->x_offset);
    NT_CHECK_ALLOC(f->inner.x && f->inner.dx && f->blocked && f->x_offset, n * sizeof *f->inner.x);
    for (size_t i = 0; i < n; i++) {
        f->blocked[i] = op->x[i].layout != NULL;
        f->inner.x[i] = nt_tensor_plain(op->x[i].dtype, op->x[i].shape);
    }
    for (int i = 0; i < op->n_params; i++)
        NT_BUG_UNLESS(!op->param_fixed || !op->param[i].layout,
                      "layer %s: parameter %d has a layout that ref "
                      "cannot read",
                      op->name, i);
    return NT_OK;
}

/* Takes what the inner create() decided over to the outer op. */
static void adopt_inner(nt_op *op, fallback *f)
{
    bool any_blocked = false;
    size_t scratch = 0;
    for (int i = 0; i < op->n_inputs; i++) {
        f->x_offset[i] = scratch;
        if (f->blocked[i]) scratch += round_up(plain_bytes(&op->x[i]));
        any_blocked = any_blocked || f->blocked[i];
    }
    f->copies_bytes = scratch;
    op->flags = f->inner.flags;
    f->copies = any_blocked && (op->flags & NT_OP_VIEW);
    if (any_blocked)
        op->flags &=
            ~(unsigned)(NT_OP_VIEW | NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD | NT_OP_PASSES_GRADIENT);
    op->y = nt_tensor_plain(op->y.dtype, op->y.shape);
    for (int i = 0; i < op->n_params; i++)
        op->param[i] = nt_tensor_plain(op->param[i].dtype, op->param[i].shape);
    op->saved_bytes = f->inner.saved_bytes;
    op->scratch_bytes = 2 * scratch + f->inner.scratch_bytes;
}

static void *scratch_at(const nt_op *op, size_t offset)
{
    return (char *)op->scratch + offset;
}

static nt_status fallback_bind(nt_op *op)
{
    fallback *f = op->state;
    nt_op *in = &f->inner;
    for (int i = 0; i < op->n_inputs; i++) {
        in->x[i].data = f->blocked[i] ? scratch_at(op, f->x_offset[i]) : op->x[i].data;
        in->dx[i] = in->x[i];
        in->dx[i].data = !op->dx[i].data ? NULL
                         : f->blocked[i] ? scratch_at(op, f->copies_bytes + f->x_offset[i])
                                         : op->dx[i].data;
    }
    in->y = op->y;
    in->dy = op->dy;
    memcpy(in->param, op->param, sizeof in->param);
    memcpy(in->dparam, op->dparam, sizeof in->dparam);
    in->saved = op->saved;
    in->scratch = scratch_at(op, 2 * f->copies_bytes);
    NT_TRY(nt_op_bind(in));
    return NT_OK;
}

static nt_status fetch_inputs(nt_op *op)
{
    fallback *f = op->state;
    for (int i = 0; i < op->n_inputs; i++) {
        if (f->blocked[i])
            NT_TRY(nt_backend_to_plain(op->backend, f->inner.x[i].data, &op->x[i]));
        else
            f->inner.x[i].data = op->x[i].data; /* staged inputs move */
    }
    return NT_OK;
}

static nt_status fallback_forward(nt_op *op, const nt_pass *pass)
{
    fallback *f = op->state;
    if (f->copies) {
        NT_TRY(nt_backend_to_plain(op->backend, op->y.data, &op->x[0]));
        return NT_OK;
    }
    NT_TRY(fetch_inputs(op));
    NT_TRY(nt_op_forward(&f->inner, pass));
    return NT_OK;
}

static nt_status fallback_backward(nt_op *op, const nt_pass *pass)
{
    fallback *f = op->state;
    if (f->copies) {
        if (op->dx[0].data) NT_TRY(nt_backend_from_plain(op->backend, &op->dx[0], op->dy.data));
        return NT_OK;
    }
    if (op->flags & NT_OP_KEEPS_X) NT_TRY(fetch_inputs(op));
    NT_TRY(nt_op_backward(&f->inner, pass));
    for (int i = 0; i < op->n_inputs; i++)
        if (f->blocked[i] && op->dx[i].data)
            NT_TRY(nt_backend_from_plain(op->backend, &op->dx[i], f->inner.dx[i].data));
    return NT_OK;
}

static const nt_op_impl fallback_impl = {
    .kind = "fallback",
    .create = NULL, /* see nt_fallback_create */
    .destroy = fallback_destroy,
    .bind = fallback_bind,
    .forward = fallback_forward,
    .backward = fallback_backward,
};

static nt_status create_inner(nt_op *op, fallback *f, const char *kind)
{
    nt_backend_options options = op->backend->options;
    options.precision = NT_PRECISION_FP32; /* rounding is done around the outer op */
    NT_TRY(nt_backend_create(&f->ref, "ref", &options));
    NT_TRY(make_inner(op, f));
    NT_TRY(nt_op_create(&f->inner, kind));
    adopt_inner(op, f);
    return NT_OK;
}

nt_status nt_fallback_create(nt_op *op, const char *kind)
{
    NT_BUG_UNLESS(op->backend->ops->real == NT_F32 && op->backend->ops != &nt_backend_ref,
                  "backend '%s' has no operation '%s'", op->backend->ops->name, kind);
    fallback *f = calloc(1, sizeof *f);
    NT_CHECK_ALLOC(f, sizeof *f);
    op->impl = &fallback_impl;
    op->state = f;
    nt_status status = create_inner(op, f, kind);
    if (status == NT_OK) return NT_OK;
    nt_op_destroy(op);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}
