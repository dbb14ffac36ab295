/* batchnorm, as core/layers/batchnorm.h defines it, with ReLU or ReLU6 on top where it is fused.
 *
 * Group by group of channels: one pass over x for the statistics, one that writes y; in backward one over x
 * and dy for the sums, one that writes dx. A group of a whole batch mostly stays in cache between its passes.
 * The ReLU's mask is computed again from x, so nothing but the statistics is kept. oneDNN's fused version
 * takes three passes forward, keeps a workspace, and its ReLU turns a NaN into 0.
 *
 * Sums are of x - pivot, where the pivot is the channel's first value, in float over one image's rows and in
 * double over images: the variance does not cancel where the mean is large. What the mean loses when it is
 * rounded to float is made up for in the bias. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"
#include "core/layers/batchnorm.h"
#include "core/moments.h"

#include <math.h>
#include <stdlib.h>

typedef struct norm {
    nt_cpu_strips strips;
    double eps, count; /* values per channel */
    bool relu;         /* y = max(y, 0), */
    float top;         /* and no more than this: 6 for ReLU6 */
} norm;

/* Statistics of the batch, kept for backward. */
static nt_moments moments_of(const nt_op *op)
{
    return nt_moments_at(op->saved, op->y.shape.dim[1]);
}

static double *saved_mean(const nt_op *op)
{
    return moments_of(op).mean;
}

static double *saved_var(const nt_op *op)
{
    return moments_of(op).var;
}

static nt_status batchnorm_create(nt_op *op)
{
    const nt_batchnorm_options *o = op->options;
    nt_cpu_strips strips;
    if (!nt_cpu_strips_of(nt_cpu_of(op), &op->x[0], &strips)) {
        NT_BUG_UNLESS(!op->activation, "layer %s: ReLU fused into a layout that is not known", op->name);
        return nt_fallback_create(op, "batchnorm");
    }
    norm *b = calloc(1, sizeof *b);
    NT_CHECK_ALLOC(b, sizeof *b);
    op->state = b;
    b->strips = strips;
    b->eps = o->eps;
    b->count = (double)nt_shape_elems(op->y.shape) / (double)op->y.shape.dim[1];
    b->relu = op->activation != NULL;
    b->top = b->relu && op->activation->function == NT_ACT_RELU6 ? 6 : INFINITY;
    nt_cpu_copy_layout(&op->y, &op->x[0]);
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    if (op->training) op->saved_bytes = nt_moments_bytes(op->y.shape.dim[1]);
    return NT_OK;
}

static void batchnorm_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

/* ---- one group of channels ---- */

/* Which channel lane v of group g is. */
static int64_t channel_of(const nt_cpu_strips *s, int64_t g, int v)
{
    return s->wide ? g : g * s->width + v;
}

/* Adds the sums of one stretch to the channels' sums. */
static void collect(const nt_cpu_strips *s, float part[2][NT_LANES], int lanes, double sum[2][NT_LANES])
{
    for (int v = 0; v < lanes; v++) {
        sum[0][s->wide ? 0 : v] += (double)part[0][v];
        sum[1][s->wide ? 0 : v] += (double)part[1][v];
    }
}

/* The work of a pass over `rows` rows from element `at` on. */
typedef struct job {
    const nt_vec_ops *vec;
    const float *x, *dy; /* dy NULL: forward */
    float *out;          /* y or dx; NULL: only sums */
    const nt_cpu_strips *strips;
    double (*sum)[NT_LANES];
} job;

static void run_stretch(const job *j, nt_vec_norm *h, int64_t at, int64_t rows, int lanes)
{
    if (rows == 0 || lanes == 0) return;
    float part[2][NT_LANES];
    h->lanes = lanes;
    if (j->out && j->dy)
        j->vec->norm_backward(j->out + at, h, j->dy + at, j->x + at, rows);
    else if (j->out)
        j->vec->norm_apply(j->out + at, h, j->x + at, rows);
    else if (j->dy)
        j->vec->norm_backward_sums(part, h, j->dy + at, j->x + at, rows);
    else
        j->vec->norm_sums(part, h, j->x + at, rows);
    if (!j->out) collect(j->strips, part, lanes, j->sum);
}

static void run_group(const job *j, int64_t g, nt_vec_norm *h)
{
    const nt_cpu_strips *s = j->strips;
    const nt_cpu_walk w = nt_cpu_walk_of(s, g);
    for (int64_t i = 0; i < s->images; i++) {
        int64_t at = i * s->image + g * s->group;
        run_stretch(j, h, at, w.full, w.lanes);
        run_stretch(j, h, at + w.full * w.stride, 1, w.rest);
    }
}

static void sum_group(const nt_op *op, int64_t g, nt_vec_norm *h, const float *dy, double sum[2][NT_LANES])
{
    const norm *b = op->state;
    for (int v = 0; v < NT_LANES; v++)
        sum[0][v] = sum[1][v] = 0;
    const job j = {nt_cpu_of(op)->vec, op->x[0].data, dy, NULL, &b->strips, sum};
    run_group(&j, g, h);
}

static void write_group(const nt_op *op, int64_t g, nt_vec_norm *h, float *out, const float *dy)
{
    const norm *b = op->state;
    const job j = {nt_cpu_of(op)->vec, op->x[0].data, dy, out, &b->strips, NULL};
    run_group(&j, g, h);
}

/* All zero to begin with: lanes in memory that are no channels then come out as zero. */
static nt_vec_norm begin_group(const norm *b, int64_t g)
{
    return (nt_vec_norm){.stride = nt_cpu_walk_of(&b->strips, g).stride, .relu = b->relu, .top = b->top};
}

/* Statistics of group g into mean and var (C). */
static void batch_statistics(const nt_op *op, int64_t g, double *mean, double *var)
{
    const norm *b = op->state;
    const nt_cpu_strips *s = &b->strips;
    nt_vec_norm h = begin_group(b, g);
    double sum[2][NT_LANES];
    const float *first = (const float *)op->x[0].data + g * s->group;
    for (int v = 0; v < NT_LANES; v++)
        h.mean[v] = s->wide ? first[0] : v < nt_cpu_lanes(s, g) ? first[v] : 0;
    sum_group(op, g, &h, NULL, sum);
    for (int v = 0; v < nt_cpu_lanes(s, g); v++) {
        int64_t c = channel_of(s, g, v);
        double shift = sum[0][v] / b->count, squares = sum[1][v] / b->count - shift * shift;
        mean[c] = (double)h.mean[v] + shift;
        var[c] = squares < 0 ? 0 : squares;
    }
}

/* Sets mean, factor and bias of group g. */
static void set_channels(const nt_op *op, int64_t g, nt_vec_norm *h)
{
    const norm *b = op->state;
    const float *weight = op->param[NT_BN_WEIGHT].data, *bias = op->param[NT_BN_BIAS].data;
    const float *running_mean = op->param[NT_BN_MEAN].data, *running_var = op->param[NT_BN_VAR].data;
    for (int v = 0; v < (b->strips.wide ? NT_LANES : nt_cpu_lanes(&b->strips, g)); v++) {
        int64_t c = channel_of(&b->strips, g, v);
        double mean = op->training ? saved_mean(op)[c] : (double)running_mean[c];
        double var = op->training ? saved_var(op)[c] : (double)running_var[c];
        h->mean[v] = (float)mean;
        h->factor[v] = (float)((double)weight[c] / sqrt(var + b->eps));
        h->bias[v] = (float)((double)bias[c] - (mean - (double)h->mean[v]) * (double)h->factor[v]);
    }
}

static void statistics_of_group(void *arg, int64_t g)
{
    const nt_op *op = arg;
    batch_statistics(op, g, saved_mean(op), saved_var(op));
}

static void apply_group(void *arg, int64_t g)
{
    const nt_op *op = arg;
    nt_vec_norm h = begin_group(op->state, g);
    set_channels(op, g, &h);
    write_group(op, g, &h, op->y.data, NULL);
}

static void forward_group(void *arg, int64_t g)
{
    statistics_of_group(arg, g);
    apply_group(arg, g);
}

static void each_group(const nt_op *op, void (*run)(void *arg, int64_t g), void *arg)
{
    const norm *b = op->state;
    nt_cpu_each(nt_cpu_of(op), b->strips.groups, nt_cpu_stored(&op->y), run, arg);
}

/* Statistics that others have a part in: all groups, then the others, then all groups again. */
static nt_status forward_with_others(nt_op *op, const nt_pass *pass)
{
    const norm *b = op->state;
    const nt_moments m = moments_of(op);
    const float *running_mean = op->param[NT_BN_MEAN].data;
    each_group(op, statistics_of_group, op);
    for (int64_t c = 0; c < m.channels; c++)
        m.sums[c] = (double)running_mean[c];
    NT_TRY(nt_moments_join(&m, b->count, pass));
    each_group(op, apply_group, op);
    return NT_OK;
}

static nt_status batchnorm_forward(nt_op *op, const nt_pass *pass)
{
    if (op->training && pass->sum) return forward_with_others(op, pass);
    each_group(op, op->training ? forward_group : apply_group, op);
    return NT_OK;
}

static void put(float *slot, double value, const nt_pass *pass)
{
    *slot = (float)(pass->accumulate ? (double)*slot + value : value);
}

/* The mean of lane v minus its float. */
static double mean_error(const nt_op *op, int64_t g, const nt_vec_norm *h, int v)
{
    const norm *b = op->state;
    return saved_mean(op)[channel_of(&b->strips, g, v)] - (double)h->mean[v];
}

/* Gradients of the parameters of group g, and what the running statistics will need. */
static void put_gradients(const nt_op *op, int64_t g, double sum[2][NT_LANES], const nt_pass *pass)
{
    const norm *b = op->state;
    float *dweight = op->dparam[NT_BN_WEIGHT].data, *dbias = op->dparam[NT_BN_BIAS].data;
    float *dmean = op->dparam[NT_BN_MEAN].data, *dvar = op->dparam[NT_BN_VAR].data;
    const float *running_mean = op->param[NT_BN_MEAN].data;
    for (int v = 0; v < nt_cpu_lanes(&b->strips, g); v++) {
        int64_t c = channel_of(&b->strips, g, v);
        double var = saved_var(op)[c], shift = saved_mean(op)[c] - (double)running_mean[c];
        put(&dweight[c], sum[1][v] / sqrt(var + b->eps), pass);
        put(&dbias[c], sum[0][v], pass);
        put(&dmean[c], pass->share * shift, pass);
        put(&dvar[c], pass->share * (var + shift * shift), pass);
    }
}

/* dx = factor (dz - mean(dz) - xhat mean(dz xhat)), means over `count` values, sorted by what is per channel.
 */
static void set_slopes(const nt_op *op, int64_t g, nt_vec_norm *h, double sum[2][NT_LANES], double count)
{
    const norm *b = op->state;
    for (int v = 0; v < (b->strips.wide ? NT_LANES : nt_cpu_lanes(&b->strips, g)); v++) {
        int64_t c = channel_of(&b->strips, g, v);
        int at = b->strips.wide ? 0 : v;
        double factor = (double)h->factor[v], inv_var = 1 / (saved_var(op)[c] + b->eps);
        double slope = factor * inv_var * sum[1][at] / count;
        h->slope[v] = (float)slope;
        h->offset[v] = (float)(factor * sum[0][at] / count - slope * mean_error(op, g, h, v));
    }
}

typedef struct backward_job {
    const nt_op *op;
    const nt_pass *pass;
} backward_job;

/* Sums of dz and of dz (x - mean) of this part, and what is made of them; *h is left for the second pass. */
static void sum_gradients(const backward_job *j, int64_t g, nt_vec_norm *h, double sum[2][NT_LANES])
{
    const nt_op *op = j->op;
    const norm *b = op->state;
    *h = begin_group(b, g);
    set_channels(op, g, h);
    sum_group(op, g, h, op->dy.data, sum);
    for (int v = 0; v < nt_cpu_lanes(&b->strips, g); v++)
        sum[1][v] -= mean_error(op, g, h, v) * sum[0][v];
    put_gradients(op, g, sum, j->pass);
}

static void backward_group(void *arg, int64_t g)
{
    const backward_job *j = arg;
    double sum[2][NT_LANES];
    nt_vec_norm h;
    sum_gradients(j, g, &h, sum);
    set_slopes(j->op, g, &h, sum, ((const norm *)j->op->state)->count);
    if (j->op->need_dx[0]) write_group(j->op, g, &h, j->op->dx[0].data, j->op->dy.data);
}

static void keep_sums_of_group(void *arg, int64_t g)
{
    const backward_job *j = arg;
    const norm *b = j->op->state;
    const nt_moments m = moments_of(j->op);
    double sum[2][NT_LANES];
    nt_vec_norm h;
    sum_gradients(j, g, &h, sum);
    for (int v = 0; v < nt_cpu_lanes(&b->strips, g); v++) {
        int64_t c = channel_of(&b->strips, g, v);
        m.sums[c] = sum[0][v];
        m.sums[m.channels + c] = sum[1][v];
    }
}

static void write_dx_of_group(void *arg, int64_t g)
{
    const backward_job *j = arg;
    const nt_op *op = j->op;
    const norm *b = op->state;
    const nt_moments m = moments_of(op);
    double sum[2][NT_LANES] = {{0}};
    for (int v = 0; v < nt_cpu_lanes(&b->strips, g); v++) {
        int64_t c = channel_of(&b->strips, g, v);
        sum[0][v] = m.sums[c];
        sum[1][v] = m.sums[m.channels + c];
    }
    nt_vec_norm h = begin_group(b, g);
    set_channels(op, g, &h);
    set_slopes(op, g, &h, sum, *m.count);
    write_group(op, g, &h, op->dx[0].data, op->dy.data);
}

static nt_status batchnorm_backward(nt_op *op, const nt_pass *pass)
{
    const nt_moments m = moments_of(op);
    backward_job j = {op, pass};
    if (!pass->sum) {
        each_group(op, backward_group, &j);
        return NT_OK;
    }
    each_group(op, keep_sums_of_group, &j);
    NT_TRY(nt_moments_join_gradients(&m, pass));
    if (op->need_dx[0]) each_group(op, write_dx_of_group, &j);
    return NT_OK;
}

const nt_op_impl nt_cpu_batchnorm = {
    .kind = "batchnorm",
    .create = batchnorm_create,
    .destroy = batchnorm_destroy,
    .forward = batchnorm_forward,
    .backward = batchnorm_backward,
};
