/* layer_norm of plain rows, as core/layers/layer_norm.h defines it: ref's arithmetic without its divisions
 * for every element.
 *
 * Sums are made in double; their order does not depend on threads, as each row is one item. Gradients of
 * weight and bias are sums over rows, made for a block of columns at a time. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"
#include "core/layers/layer_norm.h"

#include <stdlib.h>

enum { COLUMNS = 64 };

typedef struct layer_norm {
    int64_t rows, m;
    double eps;
    nt_op *op;
    nt_vec_moments *moments; /* (rows) */
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
    op->saved_bytes = op->training ? (size_t)l->rows * sizeof(nt_vec_moments) : 0;
    op->scratch_bytes = op->training ? 0 : (size_t)l->rows * sizeof(nt_vec_moments);
    return NT_OK;
}

static nt_status layer_norm_bind(nt_op *op)
{
    ((layer_norm *)op->state)->moments = op->training ? op->saved : op->scratch;
    return NT_OK;
}

static void forward_row(void *arg, int64_t r)
{
    const layer_norm *l = arg;
    const nt_op *op = l->op;
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    const float *x = (const float *)op->x[0].data + r * l->m;
    const bool affine = op->n_params > 0;
    vec->row_moments(&l->moments[r], x, l->eps, l->m);
    vec->row_norm((float *)op->y.data + r * l->m, &l->moments[r], x,
                  affine ? op->param[NT_LN_WEIGHT].data : NULL, affine ? op->param[NT_LN_BIAS].data : NULL,
                  l->m);
}

static nt_status layer_norm_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    layer_norm *l = op->state;
    nt_cpu_each(nt_cpu_of(op), l->rows, l->rows * l->m, forward_row, l);
    return NT_OK;
}

/* dx may be dy. */
static void backward_row(void *arg, int64_t r)
{
    const layer_norm *l = arg;
    const nt_op *op = l->op;
    const int64_t at = r * l->m;
    nt_cpu_of(op)->vec->row_norm_backward((float *)op->dx[0].data + at, &l->moments[r],
                                          (const float *)op->dy.data + at, (const float *)op->x[0].data + at,
                                          op->n_params ? op->param[NT_LN_WEIGHT].data : NULL, l->m);
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
        nt_cpu_of(op)->vec->row_norm_columns(dweight, dbias, &l->moments[r], dy, x, n);
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
