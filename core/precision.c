/* Rounding around an op, in the manner of core/fallback.c: the outer op is the one the net knows, the inner
 * one computes, in the backend's layouts and in float32.
 *
 * What a device keeps in bfloat16 is rounded where the inner op leaves it: y, and every dx. The weights that
 * products read (filters and matrices: parameters of two or more dimensions) are rounded into a copy in
 * scratch before each call, as a device casts them; the copy is shared with all other ops' scratch, so
 * nothing is kept. Everything else is as in float32: sums inside an op, gradients of parameters, biases and
 * factors of one dimension, statistics, losses. Rounding happens in whatever layout, padding (zeros)
 * included. */
#include "core/precision.h"

#include "core/bf16.h"
#include "core/log.h"

#include <stdlib.h>
#include <string.h>

typedef struct rounded {
    nt_op inner;                       /* shares x, dx and need_dx with the outer op */
    bool is_weight[NT_MAX_PARAMS];     /* the inner op reads a copy */
    size_t copy_offset[NT_MAX_PARAMS]; /* of it, in the outer scratch */
    size_t copies_bytes;               /* of all copies; the inner scratch lies behind them */
} rounded;

bool nt_precision_rounds(const nt_backend *backend)
{
    return !nt_backend_is_device(backend) && backend->options.precision == NT_PRECISION_BF16;
}

nt_status nt_precision_check(const nt_backend *backend)
{
    const nt_backend_ops *ops = backend->ops;
    if (nt_backend_is_device(backend)) return NT_OK; /* it has precisions of its own */
    NT_CHECK(!nt_precision_rounds(backend) || ops->real == NT_F32, NT_ERR_CONFIG,
             "backend %s computes in %s; precision = bf16 is for those in float32", ops->name,
             nt_dtype_name(ops->real));
    if (backend->options.precision == NT_PRECISION_TF32)
        nt_info("run.precision = tf32: the processor computes in float32, which is more exact");
    return NT_OK;
}

void nt_precision_round(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = nt_bf16_round(x[i]);
}

/* A tensor that a device would have in bfloat16. */
static void round_tensor(const nt_tensor *t)
{
    if (t->data && t->dtype == NT_F32) nt_precision_round(t->data, (int64_t)(t->n_bytes / sizeof(float)));
}

static void rounded_destroy(nt_op *op)
{
    rounded *r = op->state;
    if (!r) return;
    nt_op_destroy(&r->inner);
    free(r);
    op->state = NULL;
}

static void place_copies(rounded *r)
{
    for (int i = 0; i < r->inner.n_params; i++) {
        const nt_tensor *param = &r->inner.param[i];
        r->is_weight[i] = param->shape.n_dims >= 2;
        r->copy_offset[i] = r->copies_bytes;
        if (r->is_weight[i]) r->copies_bytes += (param->n_bytes + 63) & ~(size_t)63;
    }
}

/* Takes what the inner create() decided over to the outer op. */
static void adopt_inner(nt_op *op, rounded *r)
{
    place_copies(r);
    op->y = r->inner.y;
    op->flags = r->inner.flags & ~(unsigned)NT_OP_TAKES_SGD; /* the inner op has a copy of the weights */
    memcpy(op->param, r->inner.param, sizeof op->param);
    op->saved_bytes = r->inner.saved_bytes;
    op->scratch_bytes = r->copies_bytes + r->inner.scratch_bytes;
}

static nt_status rounded_bind(nt_op *op)
{
    rounded *r = op->state;
    nt_op *in = &r->inner;
    in->y = op->y;
    in->dy = op->dy;
    memcpy(in->param, op->param, sizeof in->param);
    memcpy(in->dparam, op->dparam, sizeof in->dparam);
    for (int i = 0; i < op->n_params; i++)
        if (r->is_weight[i]) in->param[i].data = (char *)op->scratch + r->copy_offset[i];
    in->saved = op->saved;
    in->scratch = (char *)op->scratch + r->copies_bytes;
    NT_TRY(nt_op_bind(in));
    return NT_OK;
}

static void round_weights(nt_op *op)
{
    rounded *r = op->state;
    for (int i = 0; i < op->n_params; i++) {
        if (!r->is_weight[i]) continue;
        memcpy(r->inner.param[i].data, op->param[i].data, op->param[i].n_bytes);
        round_tensor(&r->inner.param[i]);
    }
}

static nt_status rounded_forward(nt_op *op, const nt_pass *pass)
{
    rounded *r = op->state;
    round_weights(op);
    NT_TRY(nt_op_forward(&r->inner, pass));
    if (!op->is_loss) round_tensor(&op->y);
    return NT_OK;
}

static nt_status rounded_backward(nt_op *op, const nt_pass *pass)
{
    rounded *r = op->state;
    round_weights(op);
    NT_TRY(nt_op_backward(&r->inner, pass));
    for (int i = 0; i < op->n_inputs; i++)
        if (op->need_dx[i]) round_tensor(&op->dx[i]);
    return NT_OK;
}

static const nt_op_impl rounded_impl = {
    .kind = "rounded",
    .create = NULL, /* see nt_precision_create */
    .destroy = rounded_destroy,
    .bind = rounded_bind,
    .forward = rounded_forward,
    .backward = rounded_backward,
};

nt_status nt_precision_create(nt_op *op, const char *kind, nt_status (*create)(nt_op *op, const char *kind))
{
    rounded *r = calloc(1, sizeof *r);
    NT_CHECK_ALLOC(r, sizeof *r);
    r->inner = *op;
    op->impl = &rounded_impl;
    op->state = r;
    nt_status status = create(&r->inner, kind);
    if (status == NT_OK) {
        adopt_inner(op, r);
        return NT_OK;
    }
    nt_op_destroy(op);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}
