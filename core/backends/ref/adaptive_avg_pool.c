/* adaptive_avg_pool: forward gathers each window; backward gathers, for each element of x, the windows that
 * cover it, so that every sum is in double and in a fixed order. */
#include "core/layers/adaptive_avg_pool.h"

#include "core/backends/ref/ref.h"

/* Window `out` of n_out over n_in: [begin, end). */
static int64_t begin_of(int64_t out, int64_t n_in, int64_t n_out)
{
    return out * n_in / n_out;
}

static int64_t end_of(int64_t out, int64_t n_in, int64_t n_out)
{
    return ((out + 1) * n_in + n_out - 1) / n_out;
}

/* Mean of window (p, q) of the plane x (H, W). */
static double mean_at(const real *x, const int64_t *in, const int64_t *out, int64_t p, int64_t q)
{
    int64_t top = begin_of(p, in[2], out[2]), bottom = end_of(p, in[2], out[2]);
    int64_t left = begin_of(q, in[3], out[3]), right = end_of(q, in[3], out[3]);
    double sum = 0;
    for (int64_t row = top; row < bottom; row++)
        for (int64_t col = left; col < right; col++)
            sum += (double)x[row * in[3] + col];
    return sum / (double)((bottom - top) * (right - left));
}

static nt_status adaptive_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t *in = op->x[0].shape.dim, *out = op->y.shape.dim;
    const real *x = op->x[0].data; /* (N, C, H, W) */
    real *y = op->y.data;          /* (N, C, P, Q) */
    for (int64_t i = 0; i < in[0] * in[1]; i++, x += in[2] * in[3])
        for (int64_t p = 0; p < out[2]; p++)
            for (int64_t q = 0; q < out[3]; q++)
                *y++ = (real)mean_at(x, in, out, p, q);
    return NT_OK;
}

/* What flows from the plane dy (P, Q) to element (row, col). */
static double dx_at(const real *dy, const int64_t *in, const int64_t *out, int64_t row, int64_t col)
{
    double sum = 0;
    for (int64_t p = 0; p < out[2]; p++) {
        int64_t top = begin_of(p, in[2], out[2]), bottom = end_of(p, in[2], out[2]);
        if (row < top || row >= bottom) continue;
        for (int64_t q = 0; q < out[3]; q++) {
            int64_t left = begin_of(q, in[3], out[3]), right = end_of(q, in[3], out[3]);
            if (col >= left && col < right)
                sum += (double)dy[p * out[3] + q] / (double)((bottom - top) * (right - left));
        }
    }
    return sum;
}

static nt_status adaptive_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    const int64_t *in = op->x[0].shape.dim, *out = op->y.shape.dim;
    const real *dy = op->dy.data;
    real *dx = op->dx[0].data;
    for (int64_t i = 0; i < in[0] * in[1]; i++, dy += out[2] * out[3])
        for (int64_t row = 0; row < in[2]; row++)
            for (int64_t col = 0; col < in[3]; col++)
                *dx++ = (real)dx_at(dy, in, out, row, col);
    return NT_OK;
}

const nt_op_impl NT_REF(adaptive_avg_pool) = {
    .kind = "adaptive_avg_pool",
    .create = NT_REF(create_plain),
    .forward = adaptive_forward,
    .backward = adaptive_backward,
};
