/* multihead_attention as ref computes it (core/layers/multihead_attention.h), with every product by oneDNN's
 * sgemm on strided views: q, k and v of a head are columns of the joint projection, so nothing is copied.
 *
 * The big products (projections) use all threads; the many small ones of the heads run side by side, one item
 * per head of a sample. Kept for backward: the joint projection, the probabilities before dropout, and what
 * the heads made. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"
#include "core/layers/multihead_attention.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* N samples of T positions with E features in H heads of D; the sizes of the kept arrays follow. */
typedef struct attention {
    int64_t n, t, e, h, d;
    float scale;        /* 1 / sqrt(D) */
    double rate;        /* of dropout in training, else 0 */
    uint32_t threshold; /* see nt_vec_mask */
    bool causal;
    float *qkv, *p, *context; /* (N, T, 3 E), (N, H, T, T), (N, T, E) */
    float *mask, *ds;         /* (N, H, T, T); mask NULL at rate 0, ds in backward only */
    float *dqkv, *dcontext;   /* backward only */
    double *sums;             /* (3 E), backward only */
    const nt_vec_ops *vec;
    const nt_op *op;
    const nt_pass *pass;
    int failed; /* of a product in one of the threads */
} attention;

static int64_t score_elems(const attention *a)
{
    return a->n * a->h * a->t * a->t;
}

static int64_t row_elems(const attention *a)
{
    return a->n * a->t * a->e;
}

static void attention_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

/* Takes n floats from *memory; with *memory NULL only counts. */
static float *take(char **memory, size_t *n_bytes, int64_t n)
{
    float *out = *memory ? (float *)(*memory + *n_bytes) : NULL;
    *n_bytes += nt_cpu_round((size_t)n * sizeof(float));
    return out;
}

/* Lays the buffers out; returns the bytes of `saved` and of scratch. */
static void lay_out(attention *a, bool training, char *saved, char *scratch, size_t *saved_bytes,
                    size_t *scratch_bytes)
{
    size_t kept = 0, other = 0;
    char **of_kept = training ? &saved : &scratch;
    size_t *n_kept = training ? &kept : &other;
    a->qkv = take(of_kept, n_kept, 3 * row_elems(a));
    a->p = take(of_kept, n_kept, score_elems(a));
    a->context = take(of_kept, n_kept, row_elems(a));
    a->mask = a->rate > 0 ? take(&scratch, &other, score_elems(a)) : NULL;
    if (training) {
        a->ds = take(&scratch, &other, score_elems(a));
        a->dqkv = take(&scratch, &other, 3 * row_elems(a));
        a->dcontext = take(&scratch, &other, row_elems(a));
        a->sums = (double *)take(&scratch, &other, 6 * a->e);
    }
    *saved_bytes = kept;
    *scratch_bytes = other;
}

static nt_status attention_create(nt_op *op)
{
    const nt_multihead_attention_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim;
    if (op->x[0].layout) return nt_fallback_create(op, "multihead_attention");
    attention *a = calloc(1, sizeof *a);
    NT_CHECK_ALLOC(a, sizeof *a);
    op->state = a;
    *a = (attention){.n = x[0], .t = x[1], .e = x[2], .h = o->num_heads, .d = x[2] / o->num_heads};
    a->scale = (float)(1 / sqrt((double)a->d));
    a->rate = op->training ? o->dropout : 0;
    a->threshold = (uint32_t)ceil(a->rate * 0x1p24);
    a->causal = o->causal;
    a->vec = nt_cpu_of(op)->vec;
    a->op = op;
    op->flags = op->training ? NT_OP_KEEPS_X : 0;
    lay_out(a, op->training, NULL, NULL, &op->saved_bytes, &op->scratch_bytes);
    return NT_OK;
}

static nt_status attention_bind(nt_op *op)
{
    size_t saved_bytes, scratch_bytes;
    lay_out(op->state, op->training, op->saved, op->scratch, &saved_bytes, &scratch_bytes);
    return NT_OK;
}

/* y (rows, k) = x (rows, f) weight (k, f)^T + bias (k) */
static nt_status project(const nt_op *op, float *y, const float *x, int weight, int bias, int64_t rows)
{
    const int64_t k = op->param[weight].shape.dim[0], f = op->param[weight].shape.dim[1];
    NT_DNNL(dnnl_sgemm('N', 'T', rows, k, f, 1, x, f, op->param[weight].data, f, 0, y, k));
    const float *b = op->n_params > 2 ? op->param[bias].data : NULL;
    for (int64_t i = 0; b && i < rows; i++)
        nt_cpu_of(op)->vec->add(y + i * k, y + i * k, b, k);
    return NT_OK;
}

/* Rows of the scores s (T, T) become probabilities. */
static void softmax_rows(const attention *a, float *s)
{
    for (int64_t i = 0; i < a->t; i++, s += a->t) {
        const int64_t seen = a->causal ? i + 1 : a->t;
        a->vec->softmax(s, s, seen);
        memset(s + seen, 0, (size_t)(a->t - seen) * sizeof *s);
    }
}

/* The mask of all heads of one sample. */
static void make_mask(void *arg, int64_t n)
{
    attention *a = arg;
    const nt_vec_mask m = {a->pass->seed,
                           a->op->id,
                           (uint32_t)a->pass->sample[n],
                           (uint32_t)a->pass->epoch,
                           a->threshold,
                           (float)(1 / (1 - a->rate))};
    a->vec->dropout_mask(a->mask + n * a->h * a->t * a->t, &m, a->h * a->t * a->t);
}

/* Item i is head i % H of sample i / H: its third `which` of a joint array, and its part of an (N, T, E). */
static float *third_of(const attention *a, float *qkv, int64_t i, int which)
{
    return qkv + i / a->h * a->t * 3 * a->e + which * a->e + i % a->h * a->d;
}

static float *part_of(const attention *a, float *context, int64_t i)
{
    return context + i / a->h * a->t * a->e + i % a->h * a->d;
}

static void check(attention *a, dnnl_status_t status)
{
    if (status != dnnl_success) __atomic_store_n(&a->failed, (int)status, __ATOMIC_RELAXED);
}

static void head_forward(void *arg, int64_t i)
{
    attention *a = arg;
    const int64_t t = a->t, d = a->d, e = a->e;
    float *p = a->p + i * t * t, *seen = p;
    const float *q = third_of(a, a->qkv, i, 0), *k = third_of(a, a->qkv, i, 1);
    check(a, dnnl_sgemm('N', 'T', t, t, d, a->scale, q, 3 * e, k, 3 * e, 0, p, t));
    softmax_rows(a, p);
    if (a->mask) {
        seen = a->mask + i * t * t;
        a->vec->mul(seen, p, seen, t * t);
    }
    check(a, dnnl_sgemm('N', 'N', t, d, t, 1, seen, t, third_of(a, a->qkv, i, 2), 3 * e, 0,
                        part_of(a, a->context, i), e));
}

static nt_status each_head(const nt_op *op, const nt_pass *pass, nt_cpu_item_fn fn)
{
    attention *a = op->state;
    const nt_cpu *cpu = nt_cpu_of(op);
    a->pass = pass;
    a->failed = (int)dnnl_success;
    if (a->mask) nt_cpu_each(cpu, a->n, score_elems(a), make_mask, a);
    nt_cpu_each(cpu, a->n * a->h, 4 * score_elems(a) * a->d / NT_CPU_FLOPS, fn, a);
    NT_DNNL((dnnl_status_t)a->failed);
    return NT_OK;
}

static nt_status attention_forward(nt_op *op, const nt_pass *pass)
{
    attention *a = op->state;
    const int64_t rows = a->n * a->t;
    NT_TRY(project(op, a->qkv, op->x[0].data, NT_MHA_IN_WEIGHT, NT_MHA_IN_BIAS, rows));
    NT_TRY(each_head(op, pass, head_forward));
    NT_TRY(project(op, op->y.data, a->context, NT_MHA_OUT_WEIGHT, NT_MHA_OUT_BIAS, rows));
    return NT_OK;
}

/* dweight (k, f) = dy (rows, k)^T x (rows, f), dbias = sum of dy over rows */
static nt_status backward_projection(const nt_op *op, int weight, int bias, const float *dy, const float *x,
                                     int64_t rows, bool accumulate)
{
    const attention *a = op->state;
    const int64_t k = op->param[weight].shape.dim[0], f = op->param[weight].shape.dim[1];
    NT_DNNL(dnnl_sgemm('T', 'N', k, f, rows, 1, dy, k, x, f, accumulate ? 1 : 0, op->dparam[weight].data, f));
    if (op->n_params <= 2) return NT_OK;
    float *dbias = op->dparam[bias].data;
    memset(a->sums, 0, (size_t)k * sizeof *a->sums);
    for (int64_t i = 0; i < rows; i++)
        a->vec->accumulate(a->sums, dy + i * k, k);
    for (int64_t u = 0; u < k; u++)
        dbias[u] = (float)(accumulate ? (double)dbias[u] + a->sums[u] : a->sums[u]);
    return NT_OK;
}

static void softmax_rows_backward(const attention *a, float *ds, const float *p)
{
    for (int64_t i = 0; i < a->t; i++, ds += a->t, p += a->t)
        a->vec->softmax_backward(ds, p, a->t);
}

static void head_backward(void *arg, int64_t i)
{
    attention *a = arg;
    const int64_t t = a->t, d = a->d, e = a->e;
    float *p = a->p + i * t * t, *ds = a->ds + i * t * t, *mask = a->mask ? a->mask + i * t * t : NULL;
    const float *dc = part_of(a, a->dcontext, i), *seen = p;
    if (mask) {
        a->vec->mul(ds, p, mask, t * t);
        seen = ds;
    }
    check(a, dnnl_sgemm('T', 'N', t, d, t, 1, seen, t, dc, e, 0, third_of(a, a->dqkv, i, 2), 3 * e));
    check(a, dnnl_sgemm('N', 'T', t, t, d, 1, dc, e, third_of(a, a->qkv, i, 2), 3 * e, 0, ds, t));
    if (mask) a->vec->mul(ds, ds, mask, t * t);
    softmax_rows_backward(a, ds, p);
    check(a, dnnl_sgemm('N', 'N', t, d, t, a->scale, ds, t, third_of(a, a->qkv, i, 1), 3 * e, 0,
                        third_of(a, a->dqkv, i, 0), 3 * e));
    check(a, dnnl_sgemm('T', 'N', t, d, t, a->scale, ds, t, third_of(a, a->qkv, i, 0), 3 * e, 0,
                        third_of(a, a->dqkv, i, 1), 3 * e));
}

static nt_status attention_backward(nt_op *op, const nt_pass *pass)
{
    attention *a = op->state;
    const int64_t rows = a->n * a->t, e = a->e;
    const bool adds = pass->accumulate;
    NT_TRY(backward_projection(op, NT_MHA_OUT_WEIGHT, NT_MHA_OUT_BIAS, op->dy.data, a->context, rows, adds));
    NT_DNNL(dnnl_sgemm('N', 'N', rows, e, e, 1, op->dy.data, e, op->param[NT_MHA_OUT_WEIGHT].data, e, 0,
                       a->dcontext, e));
    NT_TRY(each_head(op, pass, head_backward));
    NT_TRY(backward_projection(op, NT_MHA_IN_WEIGHT, NT_MHA_IN_BIAS, a->dqkv, op->x[0].data, rows, adds));
    if (op->need_dx[0])
        NT_DNNL(dnnl_sgemm('N', 'N', rows, e, 3 * e, 1, a->dqkv, 3 * e, op->param[NT_MHA_IN_WEIGHT].data, e,
                           0, op->dx[0].data, e));
    return NT_OK;
}

const nt_op_impl nt_cpu_multihead_attention = {
    .kind = "multihead_attention",
    .create = attention_create,
    .destroy = attention_destroy,
    .bind = attention_bind,
    .forward = attention_forward,
    .backward = attention_backward,
};
