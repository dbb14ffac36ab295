/* layer_norm and group_norm: rows of neighbouring elements, each normalised by its own statistics. They
 * differ only in how long a row is and in which element of weight and bias goes with which element of x.
 *
 * Mean and variance are taken in two passes, kept in double, and normalised values are made again in backward
 * from x. */
#include "core/layers/layer_norm.h"

#include "core/backends/ref/ref.h"
#include "core/layers/group_norm.h"

#include <math.h>

/* x (rows, m); element j of row r has weight ((r % groups) m + j) / span. */
typedef struct rows {
    int64_t n, m, groups, span;
    double eps;
} rows;

static rows rows_of(const nt_op *op)
{
    const int64_t n = op->y.shape.dim[0], c = op->y.shape.dim[1], elems = nt_shape_elems(op->y.shape);
    if (op->impl == &NT_REF(group_norm)) {
        const nt_group_norm_options *o = op->options;
        return (rows){n * o->num_groups, elems / (n * o->num_groups), o->num_groups, elems / (n * c), o->eps};
    }
    const nt_layer_norm_options *o = op->options;
    int64_t m = 1;
    for (int i = 0; i < o->normalized_dims; i++)
        m *= op->y.shape.dim[op->y.shape.n_dims - 1 - i];
    return (rows){elems / m, m, 1, 1, o->eps};
}

static int64_t weight_of(const rows *v, int64_t row, int64_t j)
{
    return (row % v->groups * v->m + j) / v->span;
}

/* What a row is normalised with. */
typedef struct moments {
    double mean, inv_std;
} moments;

static moments moments_of(const rows *v, const real *x)
{
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < v->m; j++)
        sum += (double)x[j];
    double mean = sum / (double)v->m;
    for (int64_t j = 0; j < v->m; j++)
        squares += ((double)x[j] - mean) * ((double)x[j] - mean);
    return (moments){mean, 1 / sqrt(squares / (double)v->m + v->eps)};
}

static nt_status norm_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    if (op->training) op->saved_bytes = (size_t)rows_of(op).n * sizeof(moments);
    return NT_OK;
}

static nt_status norm_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const rows v = rows_of(op);
    const real *x = op->x[0].data;
    const real *weight = op->n_params ? op->param[NT_LN_WEIGHT].data : NULL;
    const real *bias = op->n_params ? op->param[NT_LN_BIAS].data : NULL;
    real *y = op->y.data;
    moments *saved = op->saved; /* (rows) */
    for (int64_t r = 0; r < v.n; r++, x += v.m, y += v.m) {
        const moments h = moments_of(&v, x);
        if (op->training) saved[r] = h;
        for (int64_t j = 0; j < v.m; j++) {
            double xhat = ((double)x[j] - h.mean) * h.inv_std;
            int64_t w = weight_of(&v, r, j);
            y[j] = (real)(weight ? (double)weight[w] * xhat + (double)bias[w] : xhat);
        }
    }
    return NT_OK;
}

/* Gradients of element w of weight and bias: sums over everything that it is used for. */
static void backward_params(nt_op *op, const rows *v, int64_t w, const nt_pass *pass)
{
    const real *x = op->x[0].data, *dy = op->dy.data;
    const moments *saved = op->saved;
    double dweight = 0, dbias = 0;
    int64_t first = w * v->span / v->m,
            start = w * v->span % v->m; /* row and element in each `groups` rows */
    for (int64_t r = first; r < v->n; r += v->groups)
        for (int64_t j = start; j < start + v->span; j++) {
            double g = (double)dy[r * v->m + j];
            dweight += g * ((double)x[r * v->m + j] - saved[r].mean) * saved[r].inv_std;
            dbias += g;
        }
    nt_ref_put((real *)op->dparam[NT_LN_WEIGHT].data + w, dweight, pass);
    nt_ref_put((real *)op->dparam[NT_LN_BIAS].data + w, dbias, pass);
}

/* dx = inv_std (g - mean(g) - xhat mean(g xhat)), g = weight dy, over row r; dx may be dy. */
static void backward_row(const nt_op *op, const rows *v, int64_t r)
{
    const real *x = (const real *)op->x[0].data + r * v->m, *dy = (const real *)op->dy.data + r * v->m;
    const real *weight = op->n_params ? op->param[NT_LN_WEIGHT].data : NULL;
    const moments h = ((const moments *)op->saved)[r];
    real *dx = (real *)op->dx[0].data + r * v->m;
    double sum = 0, sum_xhat = 0, m = (double)v->m;
    for (int64_t j = 0; j < v->m; j++) {
        double g = (weight ? (double)weight[weight_of(v, r, j)] : 1) * (double)dy[j];
        sum += g;
        sum_xhat += g * ((double)x[j] - h.mean) * h.inv_std;
    }
    for (int64_t j = 0; j < v->m; j++) {
        double g = (weight ? (double)weight[weight_of(v, r, j)] : 1) * (double)dy[j];
        double xhat = ((double)x[j] - h.mean) * h.inv_std;
        dx[j] = (real)(h.inv_std * (g - sum / m - xhat * sum_xhat / m));
    }
}

static nt_status norm_backward(nt_op *op, const nt_pass *pass)
{
    const rows v = rows_of(op);
    int64_t n_weights = op->n_params ? nt_shape_elems(op->param[NT_LN_WEIGHT].shape) : 0;
    for (int64_t w = 0; w < n_weights; w++) /* before dx, which may lie on dy */
        backward_params(op, &v, w, pass);
    for (int64_t r = 0; op->need_dx[0] && r < v.n; r++)
        backward_row(op, &v, r);
    return NT_OK;
}

const nt_op_impl NT_REF(layer_norm) = {
    .kind = "layer_norm",
    .create = norm_create,
    .forward = norm_forward,
    .backward = norm_backward,
};

const nt_op_impl NT_REF(group_norm) = {
    .kind = "group_norm",
    .create = norm_create,
    .forward = norm_forward,
    .backward = norm_backward,
};
