/* add: sum of inputs, with ReLU on top where it is fused, over all of the storage.
 *
 * y takes the layout of the inputs; where they differ, that of the first one that has one, and the others are
 * reordered. Every dx is dy (masked by the ReLU), so where the layouts agree nothing is copied. */
#include "core/backends/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

typedef struct adder {
    nt_cpu_prim *reorder_x, *reorder_dx; /* (n_inputs) empty where the layout is that of y */
    size_t pad_bytes;
    float *copy; /* scratch: an input in y's layout; in backward the masked gradient */
} adder;

static void add_destroy(nt_op *op)
{
    adder *a = op->state;
    if (!a) return;
    for (int i = 0; i < op->n_inputs; i++) {
        if (a->reorder_x) nt_cpu_prim_free(&a->reorder_x[i]);
        if (a->reorder_dx) nt_cpu_prim_free(&a->reorder_dx[i]);
    }
    free(a->reorder_x);
    free(a->reorder_dx);
    free(a);
    op->state = NULL;
}

/* The same dimensions, however they are laid out. */
static bool same_dims(nt_md a, nt_md b)
{
    int n = nt_dnnl_md_n_dims(a);
    if (n != nt_dnnl_md_n_dims(b)) return false;
    return memcmp(nt_dnnl_md_dims(a), nt_dnnl_md_dims(b), (size_t)n * sizeof(dnnl_dim_t)) == 0;
}

/* Gives y its layout: plain if two inputs are laid out over different dimensions (flattened images). */
static void choose_layout(nt_op *op)
{
    const nt_tensor *first = &op->x[0];
    for (int i = 0; i < op->n_inputs && !first->layout; i++)
        first = &op->x[i];
    for (int i = 0; i < op->n_inputs; i++)
        if (op->x[i].layout && !same_dims(op->x[i].layout->md, first->layout->md)) return;
    nt_cpu_copy_layout(&op->y, first);
}

static nt_status make_reorders(nt_op *op, adder *a, int i)
{
    nt_cpu *cpu = nt_cpu_of(op);
    const nt_tensor *x = &op->x[i];
    nt_md from, to;
    if (x->layout == op->y.layout) return NT_OK;
    NT_TRY(nt_cpu_md_of(cpu, &from, x->layout ? x : &op->y));
    if (!x->layout) NT_TRY(nt_cpu_md_plain(cpu, &from, from));
    NT_TRY(nt_cpu_md_of(cpu, &to, op->y.layout ? &op->y : x));
    if (!op->y.layout) NT_TRY(nt_cpu_md_plain(cpu, &to, to));
    NT_TRY(nt_cpu_reorder_create(cpu, &a->reorder_x[i], from, to, false));
    NT_TRY(nt_cpu_reorder_create(cpu, &a->reorder_dx[i], to, from, false));
    if (a->reorder_x[i].scratch_bytes > a->pad_bytes) a->pad_bytes = a->reorder_x[i].scratch_bytes;
    if (a->reorder_dx[i].scratch_bytes > a->pad_bytes) a->pad_bytes = a->reorder_dx[i].scratch_bytes;
    op->flags &= ~(unsigned)(NT_OP_PASSES_GRADIENT | (i == 0 ? NT_OP_INPLACE_FORWARD : 0));
    op->flags &= ~(unsigned)NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

static nt_status add_create(nt_op *op)
{
    adder *a = calloc(1, sizeof *a);
    NT_CHECK_ALLOC(a, sizeof *a);
    op->state = a;
    a->reorder_x = calloc((size_t)op->n_inputs, sizeof *a->reorder_x);
    a->reorder_dx = calloc((size_t)op->n_inputs, sizeof *a->reorder_dx);
    NT_CHECK_ALLOC(a->reorder_x && a->reorder_dx, (size_t)op->n_inputs * sizeof *a->reorder_x);
    op->flags = NT_OP_INPLACE_BACKWARD | NT_OP_PASSES_GRADIENT;
    if (op->n_inputs == 2) op->flags |= NT_OP_INPLACE_FORWARD; /* a third one may be the first again */
    if (op->activation) op->flags |= NT_OP_KEEPS_Y;
    choose_layout(op);
    for (int i = 0; i < op->n_inputs; i++)
        NT_TRY(make_reorders(op, a, i));
    op->scratch_bytes = nt_cpu_round(op->y.n_bytes) + a->pad_bytes;
    return NT_OK;
}

static nt_status bind_reorder(nt_op *op, nt_cpu_prim *prim, void *from, void *to)
{
    if (!prim->primitive || !from || !to) return NT_OK;
    NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_FROM, from));
    NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_TO, to));
    void *pad = (char *)op->scratch + nt_cpu_round(op->y.n_bytes);
    if (prim->scratch_bytes) NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_SCRATCHPAD, pad));
    return NT_OK;
}

static nt_status add_bind(nt_op *op)
{
    adder *a = op->state;
    a->copy = op->scratch;
    for (int i = 0; i < op->n_inputs; i++) {
        NT_TRY(bind_reorder(op, &a->reorder_x[i], op->x[i].data, a->copy));
        NT_TRY(bind_reorder(op, &a->reorder_dx[i], op->activation ? a->copy : op->dy.data, op->dx[i].data));
    }
    return NT_OK;
}

typedef struct range {
    const nt_op *op;
    const float *a, *b;
    float *out;
    bool relu;
} range;

static void add_range(void *arg, int64_t begin, int64_t end)
{
    const range *r = arg;
    const nt_vec_ops *vec = nt_cpu_of(r->op)->vec;
    if (r->relu)
        vec->add_relu(r->out + begin, r->a + begin, r->b + begin, end - begin);
    else
        vec->add(r->out + begin, r->a + begin, r->b + begin, end - begin);
}

/* Input i in y's layout. */
static nt_status fetch(nt_op *op, int i, const float **out)
{
    adder *a = op->state;
    *out = op->x[i].data;
    if (!a->reorder_x[i].primitive) return NT_OK;
    NT_TRY(nt_cpu_prim_run(nt_cpu_of(op), &a->reorder_x[i]));
    *out = a->copy;
    return NT_OK;
}

static nt_status add_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    nt_cpu *cpu = nt_cpu_of(op);
    const float *first;
    NT_TRY(fetch(op, 0, &first));
    if (first != op->x[0].data) { /* the copy's memory is needed again for the next one */
        memcpy(op->y.data, first, op->y.n_bytes);
        first = op->y.data;
    }
    for (int i = 1; i < op->n_inputs; i++) {
        range r = {.op = op, .a = first, .out = op->y.data, .relu = op->activation && i == op->n_inputs - 1};
        NT_TRY(fetch(op, i, &r.b));
        nt_cpu_parallel(cpu, nt_cpu_stored(&op->y), add_range, &r);
        first = op->y.data;
    }
    return NT_OK;
}

/* Writes dx[i] from dz, which has y's layout. */
static nt_status pass_on(nt_op *op, int i, const float *dz)
{
    adder *a = op->state;
    if (a->reorder_dx[i].primitive)
        NT_TRY(nt_cpu_prim_run(nt_cpu_of(op), &a->reorder_dx[i]));
    else if (op->dx[i].data != dz)
        memcpy(op->dx[i].data, dz, op->y.n_bytes);
    return NT_OK;
}

static nt_status add_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    adder *a = op->state;
    nt_cpu *cpu = nt_cpu_of(op);
    const float *dz = op->dy.data;
    int first = 0;
    while (first < op->n_inputs && !op->need_dx[first])
        first++;
    if (first == op->n_inputs) return NT_OK;
    if (op->activation) {
        /* into the first dx, from which the others are copied, unless its layout is another */
        bool any_reorder = !(op->flags & NT_OP_PASSES_GRADIENT);
        float *masked = any_reorder ? a->copy : op->dx[first].data;
        nt_cpu_relu_backward(cpu, masked, dz, op->y.data, nt_cpu_stored(&op->y));
        dz = masked;
    }
    for (int i = first; i < op->n_inputs; i++)
        if (op->need_dx[i]) NT_TRY(pass_on(op, i, dz));
    return NT_OK;
}

const nt_op_impl nt_cpu_add = {
    .kind = "add",
    .create = add_create,
    .destroy = add_destroy,
    .bind = add_bind,
    .forward = add_forward,
    .backward = add_backward,
};
