/* activation: our own vector loops over all of the storage, whatever its layout.
 *
 * Blocked layouts have padding that must stay zero; functions with f(0) != 0 therefore work on a plain copy
 * where there is padding. Functions without a vector loop are left to ref. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"

#include <stdlib.h>

typedef struct activation {
    nt_cpu_prim to_plain, from_plain; /* of padded x for functions with f(0) != 0; else empty */
    const float *x;                   /* what forward reads */
    float *dx;                        /* what backward writes */
} activation;

static bool keeps_zero(nt_activation function)
{
    return function != NT_ACT_LOGISTIC && function != NT_ACT_THRESHOLD && function != NT_ACT_HARDSIGMOID;
}

static bool has_loop(nt_activation function)
{
    return function != NT_ACT_SOFTPLUS;
}

/* Backward looks at x where y does not tell the slope. */
static bool needs_x(nt_activation function)
{
    return function == NT_ACT_GELU || function == NT_ACT_SILU || function == NT_ACT_HARDSWISH ||
           function == NT_ACT_MISH || function == NT_ACT_GELU_TANH;
}

static void activation_destroy(nt_op *op)
{
    activation *a = op->state;
    if (!a) return;
    nt_cpu_prim_free(&a->to_plain);
    nt_cpu_prim_free(&a->from_plain);
    free(a);
    op->state = NULL;
}

static unsigned flags_of(nt_activation function)
{
    if (needs_x(function)) return NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD;
    if (function == NT_ACT_THRESHOLD)
        return NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD | NT_OP_PASSES_GRADIENT;
    return NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD | NT_OP_KEEPS_Y;
}

static nt_status make_copies(nt_op *op, activation *a)
{
    nt_cpu *cpu = nt_cpu_of(op);
    nt_md blocked, plain;
    NT_TRY(nt_cpu_md_of(cpu, &blocked, &op->x[0]));
    NT_TRY(nt_cpu_md_plain(cpu, &plain, blocked));
    NT_TRY(nt_cpu_reorder_create(cpu, &a->to_plain, blocked, plain, false));
    NT_TRY(nt_cpu_reorder_create(cpu, &a->from_plain, plain, blocked, false));
    op->flags &= ~(unsigned)(NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD | NT_OP_PASSES_GRADIENT);
    size_t pad = a->to_plain.scratch_bytes > a->from_plain.scratch_bytes ? a->to_plain.scratch_bytes
                                                                         : a->from_plain.scratch_bytes;
    op->scratch_bytes = nt_cpu_round(op->y.n_bytes) + pad;
    return NT_OK;
}

static nt_status activation_create(nt_op *op)
{
    const nt_activation_options *o = op->options;
    if (!has_loop(o->function)) return nt_fallback_create(op, "activation");
    activation *a = calloc(1, sizeof *a);
    NT_CHECK_ALLOC(a, sizeof *a);
    op->state = a;
    op->flags = flags_of(o->function);
    if (!keeps_zero(o->function) && nt_cpu_stored(&op->x[0]) != nt_shape_elems(op->x[0].shape))
        return make_copies(op, a);
    nt_cpu_copy_layout(&op->y, &op->x[0]);
    return NT_OK;
}

static nt_status bind_copy(nt_op *op, nt_cpu_prim *prim, const nt_tensor *x, bool to_plain)
{
    void *copy = op->scratch, *pad = (char *)op->scratch + nt_cpu_round(op->y.n_bytes);
    if (!prim->primitive || !x->data) return NT_OK;
    NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_FROM, to_plain ? x->data : copy));
    NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_TO, to_plain ? copy : x->data));
    if (prim->scratch_bytes) NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_SCRATCHPAD, pad));
    return NT_OK;
}

static nt_status activation_bind(nt_op *op)
{
    activation *a = op->state;
    NT_TRY(bind_copy(op, &a->to_plain, &op->x[0], true));
    NT_TRY(bind_copy(op, &a->from_plain, &op->dx[0], false));
    a->x = a->to_plain.primitive ? op->scratch : op->x[0].data;
    a->dx = a->from_plain.primitive ? op->scratch : op->dx[0].data;
    return NT_OK;
}

static void forward_range(void *arg, int64_t begin, int64_t end)
{
    const nt_op *op = arg;
    const nt_activation_options *o = op->options;
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    const float *x = ((const activation *)op->state)->x + begin, alpha = (float)o->alpha;
    float *y = (float *)op->y.data + begin;
    int64_t n = end - begin;
    switch (o->function) {
    case NT_ACT_THRESHOLD:
        vec->threshold(y, x, n);
        break;
    case NT_ACT_LOGISTIC:
        vec->logistic(y, x, (float)o->beta, n);
        break;
    case NT_ACT_TANH:
        vec->tanh(y, x, n);
        break;
    case NT_ACT_RELU:
        vec->relu(y, x, n);
        break;
    case NT_ACT_LEAKY_RELU:
        vec->leaky(y, x, alpha, n);
        break;
    case NT_ACT_ELU:
        vec->elu(y, x, alpha, n);
        break;
    case NT_ACT_GELU:
        vec->gelu(y, x, n);
        break;
    case NT_ACT_SILU:
        vec->silu(y, x, n);
        break;
    case NT_ACT_NONE:
    case NT_N_ACTIVATIONS:
        vec->scale(y, x, 1, n);
        break;
    case NT_ACT_RELU6:
        vec->relu6(y, x, n);
        break;
    case NT_ACT_HARDSIGMOID:
        vec->hardsigmoid(y, x, n);
        break;
    case NT_ACT_HARDSWISH:
        vec->hardswish(y, x, n);
        break;
    case NT_ACT_MISH:
        vec->mish(y, x, n);
        break;
    case NT_ACT_GELU_TANH:
        vec->gelu_tanh(y, x, n);
        break;
    case NT_ACT_SOFTPLUS: /* see has_loop */
        break;
    }
}

static nt_status activation_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    activation *a = op->state;
    nt_cpu *cpu = nt_cpu_of(op);
    if (a->to_plain.primitive) NT_TRY(nt_cpu_prim_run(cpu, &a->to_plain));
    nt_cpu_parallel(cpu, nt_cpu_stored(&op->y), forward_range, op);
    return NT_OK;
}

static void backward_range(void *arg, int64_t begin, int64_t end)
{
    const nt_op *op = arg;
    const nt_activation_options *o = op->options;
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    const float *x = (const float *)op->x[0].data + begin, *y = (const float *)op->y.data + begin;
    const float *dy = (const float *)op->dy.data + begin, alpha = (float)o->alpha;
    float *dx = ((const activation *)op->state)->dx + begin;
    int64_t n = end - begin;
    switch (o->function) {
    case NT_ACT_LOGISTIC:
        vec->logistic_backward(dx, dy, y, (float)o->beta, n);
        break;
    case NT_ACT_TANH:
        vec->tanh_backward(dx, dy, y, n);
        break;
    case NT_ACT_RELU:
        vec->relu_backward(dx, dy, y, n);
        break;
    case NT_ACT_LEAKY_RELU:
        vec->leaky_backward(dx, dy, y, alpha, n);
        break;
    case NT_ACT_ELU:
        vec->elu_backward(dx, dy, y, alpha, n);
        break;
    case NT_ACT_GELU:
        vec->gelu_backward(dx, dy, x, n);
        break;
    case NT_ACT_SILU:
        vec->silu_backward(dx, dy, x, n);
        break;
    case NT_ACT_THRESHOLD: /* straight through */
    case NT_ACT_NONE:
    case NT_N_ACTIVATIONS:
        if (dx != dy) vec->scale(dx, dy, 1, n);
        break;
    case NT_ACT_RELU6:
        vec->relu6_backward(dx, dy, y, n);
        break;
    case NT_ACT_HARDSIGMOID:
        vec->hardsigmoid_backward(dx, dy, y, n);
        break;
    case NT_ACT_HARDSWISH:
        vec->hardswish_backward(dx, dy, x, n);
        break;
    case NT_ACT_MISH:
        vec->mish_backward(dx, dy, x, n);
        break;
    case NT_ACT_GELU_TANH:
        vec->gelu_tanh_backward(dx, dy, x, n);
        break;
    case NT_ACT_SOFTPLUS: /* see has_loop */
        break;
    }
}

static nt_status activation_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    activation *a = op->state;
    nt_cpu *cpu = nt_cpu_of(op);
    if (!op->need_dx[0]) return NT_OK;
    nt_cpu_parallel(cpu, nt_cpu_stored(&op->y), backward_range, op);
    if (a->from_plain.primitive) NT_TRY(nt_cpu_prim_run(cpu, &a->from_plain));
    return NT_OK;
}

const nt_op_impl nt_cpu_activation = {
    .kind = "activation",
    .create = activation_create,
    .destroy = activation_destroy,
    .bind = activation_bind,
    .forward = activation_forward,
    .backward = activation_backward,
};
