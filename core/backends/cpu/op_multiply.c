/* multiply: x times gates of its shape, or one gate per channel, in the layout of x.
 *
 * A gate per channel is a batch normalisation with mean 0, factor gate and bias 0, whose sums in backward are
 * the gate's gradient: the loops are those of vec_norm.h. Gates of x's shape in another layout are left to
 * ref. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"

#include <stdlib.h>
#include <string.h>

typedef struct multiplier {
    nt_cpu_strips x, gate; /* of gates per channel */
    bool each;             /* a gate for every element */
} multiplier;

static void multiply_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

static nt_status multiply_create(nt_op *op)
{
    nt_cpu *cpu = nt_cpu_of(op);
    const nt_tensor *x = &op->x[0], *gate = &op->x[1];
    multiplier m = {.each = nt_shape_equal(x->shape, gate->shape) && x->layout == gate->layout};
    if (!m.each && (nt_shape_equal(x->shape, gate->shape) || !nt_cpu_strips_of(cpu, x, &m.x) ||
                    !nt_cpu_strips_of(cpu, gate, &m.gate)))
        return nt_fallback_create(op, "multiply");
    op->state = malloc(sizeof m);
    NT_CHECK_ALLOC(op->state, sizeof m);
    memcpy(op->state, &m, sizeof m);
    nt_cpu_copy_layout(&op->y, x);
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    return NT_OK;
}

/* ---- a gate for every element ---- */

static void forward_range(void *arg, int64_t begin, int64_t end)
{
    const nt_op *op = arg;
    nt_cpu_of(op)->vec->mul((float *)op->y.data + begin, (const float *)op->x[0].data + begin,
                            (const float *)op->x[1].data + begin, end - begin);
}

/* The gate's gradient first: dx of the first input may lie on dy. */
static void backward_range(void *arg, int64_t begin, int64_t end)
{
    const nt_op *op = arg;
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    const float *dy = (const float *)op->dy.data + begin;
    for (int k = 1; k >= 0; k--)
        if (op->need_dx[k])
            vec->mul((float *)op->dx[k].data + begin, (const float *)op->x[1 - k].data + begin, dy,
                     end - begin);
}

/* ---- a gate per channel ---- */

/* Where the gate of a channel is. */
static int64_t gate_at(const nt_cpu_strips *s, int64_t image, int64_t channel)
{
    return image * s->image + channel / s->width * s->group + channel % s->width;
}

/* Gates of the strip of group g, others 0. */
static nt_vec_norm gates_of(const nt_op *op, int64_t image, int64_t g)
{
    const multiplier *m = op->state;
    const float *gate = op->x[1].data;
    nt_vec_norm h = {.stride = nt_cpu_walk_of(&m->x, g).stride};
    const int lanes = m->x.wide ? NT_LANES : nt_cpu_lanes(&m->x, g);
    for (int v = 0; v < lanes; v++)
        h.factor[v] = gate[gate_at(&m->gate, image, m->x.wide ? g : g * m->x.width + v)];
    return h;
}

/* One strip: out = in gate, full rows and the short one. */
static void run_strip(const nt_op *op, nt_vec_norm *h, float *out, const float *in, nt_cpu_walk w)
{
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    h->lanes = w.lanes;
    vec->norm_apply(out, h, in, w.full);
    h->lanes = w.rest;
    if (w.rest > 0) vec->norm_apply(out + w.full * w.stride, h, in + w.full * w.stride, 1);
}

/* Sums of dy x over the rows of a strip, per lane. */
static void sum_strip(const nt_op *op, nt_vec_norm *h, double sum[NT_LANES], const float *dy, const float *x,
                      nt_cpu_walk w)
{
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    float part[2][NT_LANES];
    const int64_t rest_at = w.full * w.stride;
    for (int v = 0; v < NT_LANES; v++)
        sum[v] = 0;
    h->lanes = w.lanes;
    vec->norm_backward_sums(part, h, dy, x, w.full);
    for (int v = 0; v < w.lanes; v++)
        sum[v] = (double)part[1][v];
    h->lanes = w.rest;
    if (w.rest > 0) vec->norm_backward_sums(part, h, dy + rest_at, x + rest_at, 1);
    for (int v = 0; v < w.rest; v++)
        sum[v] += (double)part[1][v];
}

static void put_gates(const nt_op *op, const double sum[NT_LANES], int64_t image, int64_t g)
{
    const multiplier *m = op->state;
    float *dgate = op->dx[1].data;
    double all = 0;
    for (int v = 0; v < NT_LANES; v++)
        all += sum[v];
    if (m->x.wide) dgate[gate_at(&m->gate, image, g)] = (float)all;
    for (int v = 0; !m->x.wide && v < nt_cpu_lanes(&m->x, g); v++)
        dgate[gate_at(&m->gate, image, g * m->x.width + v)] = (float)sum[v];
}

static void forward_strip(void *arg, int64_t i)
{
    const nt_op *op = arg;
    const nt_cpu_strips *s = &((const multiplier *)op->state)->x;
    const int64_t image = i / s->groups, g = i % s->groups, at = image * s->image + g * s->group;
    nt_vec_norm h = gates_of(op, image, g);
    run_strip(op, &h, (float *)op->y.data + at, (const float *)op->x[0].data + at, nt_cpu_walk_of(s, g));
}

static void backward_strip(void *arg, int64_t i)
{
    const nt_op *op = arg;
    const nt_cpu_strips *s = &((const multiplier *)op->state)->x;
    const int64_t image = i / s->groups, g = i % s->groups, at = image * s->image + g * s->group;
    const float *dy = (const float *)op->dy.data + at;
    const nt_cpu_walk w = nt_cpu_walk_of(s, g);
    double sum[NT_LANES];
    nt_vec_norm h = gates_of(op, image, g);
    if (op->need_dx[1]) {
        sum_strip(op, &h, sum, dy, (const float *)op->x[0].data + at, w);
        put_gates(op, sum, image, g);
    }
    if (op->need_dx[0]) run_strip(op, &h, (float *)op->dx[0].data + at, dy, w);
}

static nt_status multiply_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const multiplier *m = op->state;
    const nt_cpu *cpu = nt_cpu_of(op);
    const int64_t n = nt_cpu_stored(&op->y);
    if (m->each)
        nt_cpu_parallel(cpu, n, forward_range, op);
    else
        nt_cpu_each(cpu, m->x.images * m->x.groups, n, forward_strip, op);
    return NT_OK;
}

static nt_status multiply_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const multiplier *m = op->state;
    const nt_cpu *cpu = nt_cpu_of(op);
    const int64_t n = nt_cpu_stored(&op->y);
    if (m->each) {
        nt_cpu_parallel(cpu, n, backward_range, op);
        return NT_OK;
    }
    if (op->need_dx[1]) memset(op->dx[1].data, 0, op->x[1].n_bytes); /* lanes that are no channels */
    nt_cpu_each(cpu, m->x.images * m->x.groups, n, backward_strip, op);
    return NT_OK;
}

const nt_op_impl nt_cpu_multiply = {
    .kind = "multiply",
    .create = multiply_create,
    .destroy = multiply_destroy,
    .forward = multiply_forward,
    .backward = multiply_backward,
};
