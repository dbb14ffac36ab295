/* dropout: y = x mask, the mask made again in backward from (seed, epoch, sample, layer, element), as
 * core/layers/dropout.h defines it.
 *
 * The mask of a sample is made in canonical order, many blocks of the generator at a time; where x has a
 * blocked layout, a table says which canonical element each stored one is. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"
#include "core/layers/dropout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct dropout {
    uint32_t threshold; /* an element is kept if the upper 24 bits of its word are at least this */
    float scale;
    int64_t n, stored, elems; /* samples; elements of one, with and without padding */
    int32_t *canonical;       /* (stored) or NULL: plain */
} dropout;

/* Making a mask takes as long as so many simple loops. */
enum { COST = 8 };

/* Bytes of scratch for one thread. */
static int64_t scratch_each(const dropout *d)
{
    return (int64_t)(2 * nt_cpu_round((size_t)d->stored * sizeof(float)));
}

static void dropout_destroy(nt_op *op)
{
    dropout *d = op->state;
    if (!d) return;
    free(d->canonical);
    free(d);
    op->state = NULL;
}

/* Numbers the elements of one sample and reorders the numbers. They are floats on the way, exact up to
 * 2^24. Padding gets number 0, which is harmless: its x is zero. */
static nt_status number_elements(nt_op *op, dropout *d)
{
    nt_cpu *cpu = nt_cpu_of(op);
    nt_md own, plain;
    size_t n_bytes = op->x[0].n_bytes;
    NT_TRY(nt_cpu_md_of(cpu, &own, &op->x[0]));
    NT_TRY(nt_cpu_md_plain(cpu, &plain, own));
    float *numbers = malloc(n_bytes), *stored = malloc(n_bytes);
    d->canonical = malloc((size_t)d->stored * sizeof *d->canonical);
    nt_status status = numbers && stored && d->canonical ? NT_OK : NT_ERR_UNAVAILABLE;
    if (status == NT_OK) {
        for (int64_t i = 0; i < d->n * d->elems; i++)
            numbers[i] = (float)(i % d->elems);
        status = nt_cpu_reorder_now(cpu, plain, numbers, own, stored);
    }
    for (int64_t i = 0; status == NT_OK && i < d->stored; i++)
        d->canonical[i] = (int32_t)stored[i];
    free(numbers);
    free(stored);
    NT_CHECK(status == NT_OK, status, "layer %s: no memory for the order of its elements", op->name);
    return NT_OK;
}

static nt_status dropout_create(nt_op *op)
{
    const nt_dropout_options *o = op->options;
    nt_cpu_copy_layout(&op->y, &op->x[0]);
    if (!op->training || o->rate == 0) {
        op->flags = NT_OP_VIEW;
        return NT_OK;
    }
    int64_t n = op->y.shape.dim[0], elems = nt_shape_elems(op->y.shape) / n;
    if (op->x[0].layout && elems >= 1 << 24) {
        op->y = nt_tensor_plain(op->y.dtype, op->y.shape);
        return nt_fallback_create(op, "dropout");
    }
    dropout *d = calloc(1, sizeof *d);
    NT_CHECK_ALLOC(d, sizeof *d);
    op->state = d;
    *d = (dropout){.threshold = (uint32_t)ceil(o->rate * 0x1p24),
                   .scale = (float)(1 / (1 - o->rate)),
                   .n = n,
                   .stored = nt_cpu_stored(&op->y) / n,
                   .elems = elems};
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    op->scratch_bytes = (size_t)(scratch_each(d) * nt_cpu_of(op)->threads);
    if (op->x[0].layout) NT_TRY(number_elements(op, d));
    return NT_OK;
}

/* One sample: out = in mask, with two arrays of scratch. */
static void mask_sample(const nt_op *op, const nt_pass *pass, int64_t i, float *out, const float *in,
                        float *scratch)
{
    const dropout *d = op->state;
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    float *mask = scratch, *ordered = scratch + d->stored;
    const nt_vec_mask m = {pass->seed,   op->id,  (uint32_t)pass->sample[i], (uint32_t)pass->epoch,
                           d->threshold, d->scale};
    vec->dropout_mask(mask, &m, d->elems);
    for (int64_t e = 0; d->canonical && e < d->stored; e++)
        ordered[e] = mask[d->canonical[e]];
    vec->mul(out + i * d->stored, in + i * d->stored, d->canonical ? ordered : mask, d->stored);
}

/* A share of the samples, with its own scratch. */
typedef struct mask_job {
    const nt_op *op;
    const nt_pass *pass;
    float *out;
    const float *in;
    int64_t n_shares;
} mask_job;

static void mask_share(void *arg, int64_t t)
{
    const mask_job *j = arg;
    const dropout *d = j->op->state;
    float *scratch = (float *)((char *)j->op->scratch + t * scratch_each(d));
    for (int64_t i = d->n * t / j->n_shares; i < d->n * (t + 1) / j->n_shares; i++)
        mask_sample(j->op, j->pass, i, j->out, j->in, scratch);
}

static void run(const nt_op *op, const nt_pass *pass, void *out, const void *in)
{
    const dropout *d = op->state;
    if (!d) { /* a view, unless the plan did not share */
        if (out != in) memcpy(out, in, op->y.n_bytes);
        return;
    }
    const nt_cpu *cpu = nt_cpu_of(op);
    const int64_t work = d->n * d->stored * COST;
    mask_job j = {op, pass, out, in, nt_cpu_threads(cpu, work)};
    nt_cpu_each(cpu, j.n_shares, work, mask_share, &j);
}

static nt_status dropout_forward(nt_op *op, const nt_pass *pass)
{
    run(op, pass, op->y.data, op->x[0].data);
    return NT_OK;
}

static nt_status dropout_backward(nt_op *op, const nt_pass *pass)
{
    if (op->need_dx[0]) run(op, pass, op->dx[0].data, op->dy.data);
    return NT_OK;
}

const nt_op_impl nt_cpu_dropout = {
    .kind = "dropout",
    .create = dropout_create,
    .destroy = dropout_destroy,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
