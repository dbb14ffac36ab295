/* max_pool: the largest element of each window, the first one on ties; a NaN in the window wins. Training
 * saves where it was, as an index into the (H, W) plane, which is all that backward needs. */
#include "core/layers/pool2d.h"

#include "core/backends/ref/ref.h"

#include <math.h>
#include <string.h>

static int64_t n_planes(const nt_op *op)
{
    return op->y.shape.dim[0] * op->y.shape.dim[1];
}

static nt_status max_pool_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    if (!op->training) return NT_OK;
    op->saved_bytes = (size_t)nt_shape_elems(op->y.shape) * sizeof(int64_t);
    op->scratch_bytes = (size_t)(op->x[0].shape.dim[2] * op->x[0].shape.dim[3]) * sizeof(double);
    return NT_OK;
}

/* Index in the plane x (H, W) of the largest element of the window at (p, q). */
static int64_t find_largest(const nt_pool2d_options *o, const real *x, int64_t h, int64_t w, int64_t p,
                            int64_t q)
{
    int64_t top = p * o->stride[0] - o->pad_begin[0], left = q * o->stride[1] - o->pad_begin[1], best = -1;
    for (int64_t row = top; row < top + o->kernel[0]; row++) {
        if (row < 0 || row >= h) continue;
        for (int64_t col = left; col < left + o->kernel[1]; col++) {
            if (col < 0 || col >= w) continue;
            int64_t i = row * w + col;
            if (best < 0 || x[i] > x[best] || (isnan(x[i]) && !isnan(x[best]))) best = i;
        }
    }
    return best;
}

static nt_status max_pool_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_pool2d_options *o = op->options;
    int64_t h = op->x[0].shape.dim[2], w = op->x[0].shape.dim[3];
    int64_t height = op->y.shape.dim[2], width = op->y.shape.dim[3];
    const real *x = op->x[0].data; /* (N, C, H, W) */
    real *y = op->y.data;          /* (N, C, P, Q) */
    int64_t *where = op->saved;    /* (N, C, P, Q); NULL in inference */
    for (int64_t i = 0; i < n_planes(op); i++, x += h * w)
        for (int64_t p = 0; p < height; p++)
            for (int64_t q = 0; q < width; q++) {
                int64_t best = find_largest(o, x, h, w, p, q);
                *y++ = x[best];
                if (where) *where++ = best;
            }
    return NT_OK;
}

static nt_status max_pool_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    int64_t n_in = op->x[0].shape.dim[2] * op->x[0].shape.dim[3];
    int64_t n_out = op->y.shape.dim[2] * op->y.shape.dim[3];
    const real *dy = op->dy.data;
    const int64_t *where = op->saved;
    real *dx = op->dx[0].data;
    double *sum = op->scratch; /* (H, W) of one plane: windows may overlap */
    for (int64_t i = 0; i < n_planes(op); i++, dx += n_in, dy += n_out, where += n_out) {
        memset(sum, 0, (size_t)n_in * sizeof *sum);
        for (int64_t j = 0; j < n_out; j++)
            sum[where[j]] += (double)dy[j];
        for (int64_t j = 0; j < n_in; j++)
            dx[j] = (real)sum[j];
    }
    return NT_OK;
}

const nt_op_impl NT_REF(max_pool) = {
    .kind = "max_pool",
    .create = max_pool_create,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
};
