/* local_response_norm: with d_c = k + alpha / size * sum of x^2 around channel c, y_c = x_c d_c^-beta and
 *   dx_i = dy_i d_i^-beta - 2 alpha beta / size * x_i * sum over c near i of dy_c x_c d_c^(-beta - 1).
 * d is computed wherever it is needed; keeping it would be the first thing a fast version does. */
#include "core/layers/local_response_norm.h"

#include "core/backends/ref/ref.h"

#include <math.h>

/* One column of channels: c of them, s elements apart. */
typedef struct column {
    const nt_local_response_norm_options *o;
    int64_t c, s;
} column;

static column column_of(const nt_op *op)
{
    const int64_t n = op->y.shape.dim[0], c = op->y.shape.dim[1];
    return (column){op->options, c, nt_shape_elems(op->y.shape) / (n * c)};
}

static double denominator(const column *v, const real *x, int64_t c)
{
    int64_t first = c - v->o->size / 2, last = c + (v->o->size - 1) / 2;
    double sum = 0;
    for (int64_t j = first < 0 ? 0 : first; j <= last && j < v->c; j++)
        sum += (double)x[j * v->s] * (double)x[j * v->s];
    return v->o->k + v->o->alpha / (double)v->o->size * sum;
}

static nt_status lrn_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_KEEPS_X;
    return NT_OK;
}

static nt_status lrn_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const column v = column_of(op);
    const real *x = op->x[0].data;
    real *y = op->y.data;
    for (int64_t i = 0, n = nt_shape_elems(op->y.shape); i < n; i++) {
        int64_t c = i / v.s % v.c;
        y[i] = (real)((double)x[i] * pow(denominator(&v, x + i - c * v.s, c), -v.o->beta));
    }
    return NT_OK;
}

/* x, dy: beginning of the column. */
static double dx_at(const column *v, const real *x, const real *dy, int64_t i)
{
    int64_t first = i - (v->o->size - 1) / 2, last = i + v->o->size / 2; /* channels that have i near them */
    double sum = 0, beta = v->o->beta;
    for (int64_t c = first < 0 ? 0 : first; c <= last && c < v->c; c++)
        sum += (double)dy[c * v->s] * (double)x[c * v->s] * pow(denominator(v, x, c), -beta - 1);
    return (double)dy[i * v->s] * pow(denominator(v, x, i), -beta) -
           2 * v->o->alpha * beta / (double)v->o->size * (double)x[i * v->s] * sum;
}

static nt_status lrn_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    const column v = column_of(op);
    const real *x = op->x[0].data, *dy = op->dy.data;
    real *dx = op->dx[0].data;
    for (int64_t i = 0, n = nt_shape_elems(op->y.shape); i < n; i++) {
        int64_t c = i / v.s % v.c, start = i - c * v.s;
        dx[i] = (real)dx_at(&v, x + start, dy + start, c);
    }
    return NT_OK;
}

const nt_op_impl NT_REF(local_response_norm) = {
    .kind = "local_response_norm",
    .create = lrn_create,
    .forward = lrn_forward,
    .backward = lrn_backward,
};
