/* conv2d: direct sums. Each of the three products visits its result element by element and gathers what
 * contributes, so that every sum is in double and in a fixed order; scattering would be shorter and round at
 * each step. */
#include "core/layers/conv2d.h"

#include "core/backends/ref/ref.h"

/* x (N, C, H, W), weight (K, D, R, S) with D = C / groups, y (N, K, P, Q). */
typedef struct geometry {
    int64_t n, c, h, w, k, d, r, s, p, q;
    int64_t filters_per_group;
    const nt_conv2d_options *o;
} geometry;

static geometry geometry_of(const nt_op *op)
{
    const int64_t *x = op->x[0].shape.dim, *f = op->param[0].shape.dim, *y = op->y.shape.dim;
    const nt_conv2d_options *o = op->options;
    return (geometry){.n = x[0],
                      .c = x[1],
                      .h = x[2],
                      .w = x[3],
                      .k = f[0],
                      .d = f[1],
                      .r = f[2],
                      .s = f[3],
                      .p = y[2],
                      .q = y[3],
                      .filters_per_group = f[0] / o->groups,
                      .o = o};
}

/* Row (axis 0) or column (axis 1) of x that output position `out` sees at kernel tap `tap`; may lie outside.
 */
static int64_t source_of(const geometry *g, int axis, int64_t out, int64_t tap)
{
    return out * g->o->stride[axis] + tap * g->o->dilation[axis] - g->o->pad_begin[axis];
}

/* The inverse: the output position in [0, size) that sees `in` at tap `tap`, or -1. */
static int64_t target_of(const geometry *g, int axis, int64_t in, int64_t tap, int64_t size)
{
    int64_t from = in + g->o->pad_begin[axis] - tap * g->o->dilation[axis];
    if (from < 0 || from % g->o->stride[axis] != 0) return -1;
    int64_t out = from / g->o->stride[axis];
    return out < size ? out : -1;
}

static nt_status conv2d_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_KEEPS_X;
    return NT_OK;
}

/* x: (D, H, W) of one group; weight: (D, R, S) of one filter. */
static double y_at(const geometry *g, const real *x, const real *weight, int64_t p, int64_t q)
{
    double sum = 0;
    for (int64_t d = 0; d < g->d; d++)
        for (int64_t r = 0; r < g->r; r++) {
            int64_t row = source_of(g, 0, p, r);
            if (row < 0 || row >= g->h) continue;
            for (int64_t s = 0; s < g->s; s++) {
                int64_t col = source_of(g, 1, q, s);
                if (col < 0 || col >= g->w) continue;
                sum += (double)x[(d * g->h + row) * g->w + col] * weight[(d * g->r + r) * g->s + s];
            }
        }
    return sum;
}

static nt_status conv2d_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const geometry g = geometry_of(op);
    const real *x = op->x[0].data, *weight = op->param[0].data;
    const real *bias = op->n_params > 1 ? op->param[1].data : 0; /* (K) */
    real *y = op->y.data;
    for (int64_t n = 0; n < g.n; n++)
        for (int64_t k = 0; k < g.k; k++) {
            int64_t first_channel = k / g.filters_per_group * g.d;
            const real *group = x + (n * g.c + first_channel) * g.h * g.w;
            for (int64_t p = 0; p < g.p; p++)
                for (int64_t q = 0; q < g.q; q++) {
                    double sum = y_at(&g, group, weight + k * g.d * g.r * g.s, p, q);
                    *y++ = (real)(bias ? sum + bias[k] : sum);
                }
        }
    return NT_OK;
}

/* dy: (filters of the group, P, Q); weight: (filters of the group, D, R, S); d: channel within the group. */
static double dx_at(const geometry *g, const real *dy, const real *weight, int64_t d, int64_t row,
                    int64_t col)
{
    double sum = 0;
    for (int64_t k = 0; k < g->filters_per_group; k++)
        for (int64_t r = 0; r < g->r; r++) {
            int64_t p = target_of(g, 0, row, r, g->p);
            if (p < 0) continue;
            for (int64_t s = 0; s < g->s; s++) {
                int64_t q = target_of(g, 1, col, s, g->q);
                if (q < 0) continue;
                sum += (double)dy[(k * g->p + p) * g->q + q] * weight[((k * g->d + d) * g->r + r) * g->s + s];
            }
        }
    return sum;
}

static void backward_x(const geometry *g, real *dx, const real *dy, const real *weight)
{
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t c = 0; c < g->c; c++) {
            int64_t first_filter = c / g->d * g->filters_per_group;
            const real *dy_group = dy + (n * g->k + first_filter) * g->p * g->q;
            const real *filters = weight + first_filter * g->d * g->r * g->s;
            for (int64_t row = 0; row < g->h; row++)
                for (int64_t col = 0; col < g->w; col++)
                    *dx++ = (real)dx_at(g, dy_group, filters, c % g->d, row, col);
        }
}

/* Over all samples and positions; c: channel of x that tap (r, s) of filter k sees. */
static double dweight_at(const geometry *g, const real *dy, const real *x, int64_t k, int64_t c, int64_t r,
                         int64_t s)
{
    double sum = 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t p = 0; p < g->p; p++) {
            int64_t row = source_of(g, 0, p, r);
            if (row < 0 || row >= g->h) continue;
            for (int64_t q = 0; q < g->q; q++) {
                int64_t col = source_of(g, 1, q, s);
                if (col < 0 || col >= g->w) continue;
                sum += (double)dy[((n * g->k + k) * g->p + p) * g->q + q] *
                       x[((n * g->c + c) * g->h + row) * g->w + col];
            }
        }
    return sum;
}

static void backward_weight(const geometry *g, real *dweight, const real *dy, const real *x,
                            const nt_pass *pass)
{
    for (int64_t k = 0; k < g->k; k++)
        for (int64_t d = 0; d < g->d; d++)
            for (int64_t r = 0; r < g->r; r++)
                for (int64_t s = 0; s < g->s; s++) {
                    int64_t c = k / g->filters_per_group * g->d + d;
                    nt_ref_put(dweight++, dweight_at(g, dy, x, k, c, r, s), pass);
                }
}

static nt_status conv2d_backward(nt_op *op, const nt_pass *pass)
{
    const geometry g = geometry_of(op);
    if (op->need_dx[0]) backward_x(&g, op->dx[0].data, op->dy.data, op->param[0].data);
    backward_weight(&g, op->dparam[0].data, op->dy.data, op->x[0].data, pass);
    if (op->n_params > 1) NT_REF(backward_bias)(op->dparam[1].data, op->dy.data, g.n, g.k, g.p * g.q, pass);
    return NT_OK;
}

const nt_op_impl NT_REF(conv2d) = {
    .kind = "conv2d",
    .create = conv2d_create,
    .forward = conv2d_forward,
    .backward = conv2d_backward,
};
