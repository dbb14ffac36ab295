/* layer_norm of plain rows, as core/layers/layer_norm.h defines it: ref's arithmetic without its divisions
 * for every element.
 *
 * Sums are made in double, in PARTS interleaved parts, which the compiler turns into vectors; their order
 * does not depend on threads, as each row is one item. Gradients of weight and bias are sums over rows, made
 * for a block of columns at a time. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"
#include "core/layers/layer_norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 8, COLUMNS = 64 };

typedef struct moments {
    float mean, inv_std;
} moments;

typedef struct layer_norm {
    int64_t rows, m;
    double eps;
    nt_op *op;
    moments *moments; /* (rows) */
    bool accumulate;
} layer_norm;

static void layer_norm_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

static nt_status layer_norm_create(nt_op *op)
{
    const nt_layer_norm_options *o = op->options;
    if (op->x[0].layout) return nt_fallback_create(op, "layer_norm");
    layer_norm *l = calloc(1, sizeof *l);
    NT_CHECK_ALLOC(l, sizeof *l);
    op->state = l;
    *l = (layer_norm){.m = 1, .eps = o->eps, .op = op};
    for (int i = 0; i < o->normalized_dims; i++)
        l->m *= op->y.shape.dim[op->y.shape.n_dims - 1 - i];
    l->rows = nt_shape_elems(op->y.shape) / l->m;
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    op->saved_bytes = op->training ? (size_t)l->rows * sizeof(moments) : 0;
    op->scratch_bytes = op->training ? 0 : (size_t)l->rows * sizeof(moments);
    return NT_OK;
}

static nt_status layer_norm_bind(nt_op *op)
{
    ((layer_norm *)op->state)->moments = op->training ? op->saved : op->scratch;
    return NT_OK;
}

static double total(const double *part)
{
    double sum = 0;
    for (int k = 0; k < PARTS; k++)
        sum += part[k];
    return sum;
}

/* Mean, then variance around it: one pass would cancel where the mean is large. */
static moments moments_of(const layer_norm *l, const float *x)
{
    double sum[PARTS] = {0}, squares[PARTS] = {0};
    const int64_t whole = l->m / PARTS * PARTS;
    for (int64_t j = 0; j < whole; j += PARTS)
        for (int k = 0; k < PARTS; k++)
            sum[k] += (double)x[j + k];
    for (int64_t j = whole; j < l->m; j++)
        sum[j - whole] += (double)x[j];
    const double mean = total(sum) / (double)l->m;
    for (int64_t j = 0; j < whole; j += PARTS)
        for (int k = 0; k < PARTS; k++)
            squares[k] += ((double)x[j + k] - mean) * ((double)x[j + k] - mean);
    for (int64_t j = whole; j < l->m; j++)
        squares[j - whole] += ((double)x[j] - mean) * ((double)x[j] - mean);
    return (moments){(float)mean, (float)(1 / sqrt(total(squares) / (double)l->m + l->eps))};
}

static void forward_row(void *arg, int64_t r)
{
    const layer_norm *l = arg;
    const nt_op *op = l->op;
    const float *x = (const float *)op->x[0].data + r * l->m;
    float *y = (float *)op->y.data + r * l->m;
    const moments h = l->moments[r] = moments_of(l, x);
    if (op->n_params == 0) {
        for (int64_t j = 0; j < l->m; j++)
            y[j] = (x[j] - h.mean) * h.inv_std;
        return;
    }
    const float *weight = op->param[NT_LN_WEIGHT].data, *bias = op->param[NT_LN_BIAS].data;
    for (int64_t j = 0; j < l->m; j++)
        y[j] = weight[j] * ((x[j] - h.mean) * h.inv_std) + bias[j];
}

static nt_status layer_norm_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    layer_norm *l = op->state;
    nt_cpu_each(nt_cpu_of(op), l->rows, l->rows * l->m, forward_row, l);
    return NT_OK;
}

/* dx = inv_std (g - mean(g) - xhat mean(g xhat)), g = weight dy; dx may be dy. */
static void backward_row(void *arg, int64_t r)
{
    const layer_norm *l = arg;
    const nt_op *op = l->op;
    const float *x = (const float *)op->x[0].data + r * l->m, *dy = (const float *)op->dy.data + r * l->m;
    const float *weight = op->n_params ? op->param[NT_LN_WEIGHT].data : NULL;
    float *dx = (float *)op->dx[0].data + r * l->m;
    const moments h = l->moments[r];
    double sum[PARTS] = {0}, sum_xhat[PARTS] = {0};
    const int64_t whole = l->m / PARTS * PARTS;
    for (int64_t j = 0; j < l->m; j++)
        dx[j] = weight ? weight[j] * dy[j] : dy[j];
    for (int64_t j = 0; j < whole; j += PARTS)
        for (int k = 0; k < PARTS; k++) {
            sum[k] += (double)dx[j + k];
            sum_xhat[k] += (double)(dx[j + k] * ((x[j + k] - h.mean) * h.inv_std));
        }
    for (int64_t j = whole; j < l->m; j++) {
        sum[j - whole] += (double)dx[j];
        sum_xhat[j - whole] += (double)(dx[j] * ((x[j] - h.mean) * h.inv_std));
    }
    const float mean = (float)(total(sum) / (double)l->m), slope = (float)(total(sum_xhat) / (double)l->m);
    for (int64_t j = 0; j < l->m; j++)
        dx[j] = h.inv_std * (dx[j] - mean - (x[j] - h.mean) * h.inv_std * slope);
}

/* Gradients of weight and bias of one block of columns. */
static void backward_columns(void *arg, int64_t block)
{
    const layer_norm *l = arg;
    const nt_op *op = l->op;
    const int64_t first = block * COLUMNS, n = l->m - first < COLUMNS ? l->m - first : COLUMNS;
    double dweight[COLUMNS] = {0}, dbias[COLUMNS] = {0};
    for (int64_t r = 0; r < l->rows; r++) {
        const float *x = (const float *)op->x[0].data + r * l->m + first;
        const float *dy = (const float *)op->dy.data + r * l->m + first;
        const moments h = l->moments[r];
        for (int64_t j = 0; j < n; j++) {
            dweight[j] += (double)(dy[j] * ((x[j] - h.mean) * h.inv_std));
            dbias[j] += (double)dy[j];
        }
    }
    float *to_weight = (float *)op->dparam[NT_LN_WEIGHT].data + first,
          *to_bias = (float *)op->dparam[NT_LN_BIAS].data + first;
    for (int64_t j = 0; j < n; j++) {
        to_weight[j] = (float)(l->accumulate ? (double)to_weight[j] + dweight[j] : dweight[j]);
        to_bias[j] = (float)(l->accumulate ? (double)to_bias[j] + dbias[j] : dbias[j]);
    }
}

static nt_status layer_norm_backward(nt_op *op, const nt_pass *pass)
{
    layer_norm *l = op->state;
    const nt_cpu *cpu = nt_cpu_of(op);
    const int64_t work = l->rows * l->m, n_blocks = (l->m + COLUMNS - 1) / COLUMNS;
    l->accumulate = pass->accumulate;
    if (op->n_params) nt_cpu_each(cpu, n_blocks, work, backward_columns, l); /* before dx, it may be dy */
    if (op->need_dx[0]) nt_cpu_each(cpu, l->rows, work, backward_row, l);
    return NT_OK;
}

const nt_op_impl nt_cpu_layer_norm = {
    .kind = "layer_norm",
    .create = layer_norm_create,
    .destroy = layer_norm_destroy,
    .bind = layer_norm_bind,
    .forward = layer_norm_forward,
    .backward = layer_norm_backward,
};
