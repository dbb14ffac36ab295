/* conv_transpose2d: direct sums, each result gathered element by element as in conv2d.c. Element (row, col)
 * of x meets y at row stride - padding + tap dilation. */
#include "core/layers/conv_transpose2d.h"

#include "core/backends/ref/ref.h"

/* x (N, C, H, W), weight (C, D, R, S) with D = K / groups, y (N, K, P, Q). */
typedef struct geometry {
    int64_t n, c, h, w, k, d, r, s, p, q;
    int64_t channels_per_group;
    const nt_conv_transpose2d_options *o;
} geometry;

static geometry geometry_of(const nt_op *op)
{
    const int64_t *x = op->x[0].shape.dim, *f = op->param[0].shape.dim, *y = op->y.shape.dim;
    const nt_conv_transpose2d_options *o = op->options;
    return (geometry){.n = x[0],
                      .c = x[1],
                      .h = x[2],
                      .w = x[3],
                      .k = y[1],
                      .d = f[1],
                      .r = f[2],
                      .s = f[3],
                      .p = y[2],
                      .q = y[3],
                      .channels_per_group = x[1] / o->groups,
                      .o = o};
}

/* Row (axis 0) or column (axis 1) of y that `in` of x reaches by kernel tap `tap`, or -1. */
static int64_t target_of(const geometry *g, int axis, int64_t in, int64_t tap)
{
    int64_t out = in * g->o->stride[axis] + tap * g->o->dilation[axis] - g->o->padding[axis];
    return out >= 0 && out < (axis == 0 ? g->p : g->q) ? out : -1;
}

/* The inverse: the position in x that reaches `out` of y by tap `tap`, or -1. */
static int64_t source_of(const geometry *g, int axis, int64_t out, int64_t tap)
{
    int64_t from = out + g->o->padding[axis] - tap * g->o->dilation[axis];
    if (from < 0 || from % g->o->stride[axis] != 0) return -1;
    int64_t in = from / g->o->stride[axis];
    return in < (axis == 0 ? g->h : g->w) ? in : -1;
}

static nt_status conv_transpose2d_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_KEEPS_X;
    return NT_OK;
}

/* x: channels of the group, (.., H, W); weight: (.., D, R, S) of those channels; d: filter within the group.
 */
static double y_at(const geometry *g, const real *x, const real *weight, int64_t d, int64_t p, int64_t q)
{
    double sum = 0;
    for (int64_t c = 0; c < g->channels_per_group; c++)
        for (int64_t r = 0; r < g->r; r++) {
            int64_t row = source_of(g, 0, p, r);
            if (row < 0) continue;
            for (int64_t s = 0; s < g->s; s++) {
                int64_t col = source_of(g, 1, q, s);
                if (col < 0) continue;
                sum += (double)x[(c * g->h + row) * g->w + col] *
                       (double)weight[((c * g->d + d) * g->r + r) * g->s + s];
            }
        }
    return sum;
}

static nt_status conv_transpose2d_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const geometry g = geometry_of(op);
    const real *x = op->x[0].data, *weight = op->param[0].data;
    const real *bias = op->n_params > 1 ? op->param[1].data : NULL; /* (K) */
    real *y = op->y.data;
    for (int64_t n = 0; n < g.n; n++)
        for (int64_t k = 0; k < g.k; k++) {
            int64_t first = k / g.d * g.channels_per_group; /* channel of the group */
            for (int64_t p = 0; p < g.p; p++)
                for (int64_t q = 0; q < g.q; q++) {
                    double sum = y_at(&g, x + (n * g.c + first) * g.h * g.w, weight + first * g.d * g.r * g.s,
                                      k % g.d, p, q);
                    *y++ = (real)(bias ? sum + (double)bias[k] : sum);
                }
        }
    return NT_OK;
}

/* dy: (D, P, Q) of the channel's group; weight: (D, R, S) of the channel. */
static double dx_at(const geometry *g, const real *dy, const real *weight, int64_t row, int64_t col)
{
    double sum = 0;
    for (int64_t d = 0; d < g->d; d++)
        for (int64_t r = 0; r < g->r; r++) {
            int64_t p = target_of(g, 0, row, r);
            if (p < 0) continue;
            for (int64_t s = 0; s < g->s; s++) {
                int64_t q = target_of(g, 1, col, s);
                if (q < 0) continue;
                sum += (double)dy[(d * g->p + p) * g->q + q] * (double)weight[(d * g->r + r) * g->s + s];
            }
        }
    return sum;
}

static void backward_x(const geometry *g, real *dx, const real *dy, const real *weight)
{
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t c = 0; c < g->c; c++) {
            const real *dy_group = dy + (n * g->k + c / g->channels_per_group * g->d) * g->p * g->q;
            for (int64_t row = 0; row < g->h; row++)
                for (int64_t col = 0; col < g->w; col++)
                    *dx++ = (real)dx_at(g, dy_group, weight + c * g->d * g->r * g->s, row, col);
        }
}

/* Over all samples and positions; k: filter that tap (r, s) of channel c feeds. */
static double dweight_at(const geometry *g, const real *dy, const real *x, int64_t c, int64_t k, int64_t r,
                         int64_t s)
{
    double sum = 0;
    for (int64_t n = 0; n < g->n; n++)
        for (int64_t row = 0; row < g->h; row++) {
            int64_t p = target_of(g, 0, row, r);
            if (p < 0) continue;
            for (int64_t col = 0; col < g->w; col++) {
                int64_t q = target_of(g, 1, col, s);
                if (q < 0) continue;
                sum += (double)x[((n * g->c + c) * g->h + row) * g->w + col] *
                       (double)dy[((n * g->k + k) * g->p + p) * g->q + q];
            }
        }
    return sum;
}

static void backward_weight(const geometry *g, real *dweight, const real *dy, const real *x,
                            const nt_pass *pass)
{
    for (int64_t c = 0; c < g->c; c++)
        for (int64_t d = 0; d < g->d; d++)
            for (int64_t r = 0; r < g->r; r++)
                for (int64_t s = 0; s < g->s; s++) {
                    int64_t k = c / g->channels_per_group * g->d + d;
                    nt_ref_put(dweight++, dweight_at(g, dy, x, c, k, r, s), pass);
                }
}

static nt_status conv_transpose2d_backward(nt_op *op, const nt_pass *pass)
{
    const geometry g = geometry_of(op);
    if (op->need_dx[0]) backward_x(&g, op->dx[0].data, op->dy.data, op->param[0].data);
    backward_weight(&g, op->dparam[0].data, op->dy.data, op->x[0].data, pass);
    if (op->n_params > 1) NT_REF(backward_bias)(op->dparam[1].data, op->dy.data, g.n, g.k, g.p * g.q, pass);
    return NT_OK;
}

const nt_op_impl NT_REF(conv_transpose2d) = {
    .kind = "conv_transpose2d",
    .create = conv_transpose2d_create,
    .forward = conv_transpose2d_forward,
    .backward = conv_transpose2d_backward,
};
