/* avg_pool: the mean of what each window covers of the input. avg_pool_padded: the same sum, divided by what
 * the window covers of the input and its padding. */
#include "core/layers/pool2d.h"

#include "core/backends/ref/ref.h"

#include <string.h>

/* What the window at (p, q) covers of a plane: rows [row, row_end), columns [col, col_end); count: what the
 * sum is divided by. */
typedef struct window {
    int64_t row, row_end, col, col_end;
    double count;
} window;

static void clip(int64_t out, int64_t stride, int64_t pad, int64_t kernel, int64_t size, int64_t *begin,
                 int64_t *end)
{
    int64_t first = out * stride - pad;
    *begin = first < 0 ? 0 : first;
    *end = first + kernel > size ? size : first + kernel;
}

/* Rows or columns of the window that lie in the input or its padding. */
static int64_t padded_length(const nt_pool2d_options *o, int axis, int64_t out, int64_t size)
{
    int64_t first = out * o->stride[axis] - o->pad_begin[axis], last = size + o->pad_end[axis];
    return first + o->kernel[axis] > last ? last - first : o->kernel[axis];
}

static window window_at(const nt_op *op, int64_t p, int64_t q)
{
    const nt_pool2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim;
    window v;
    clip(p, o->stride[0], o->pad_begin[0], o->kernel[0], x[2], &v.row, &v.row_end);
    clip(q, o->stride[1], o->pad_begin[1], o->kernel[1], x[3], &v.col, &v.col_end);
    int64_t height = o->count_include_pad ? padded_length(o, 0, p, x[2]) : v.row_end - v.row;
    int64_t width = o->count_include_pad ? padded_length(o, 1, q, x[3]) : v.col_end - v.col;
    v.count = (double)(height * width);
    return v;
}

static nt_status avg_pool_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    if (op->training)
        op->scratch_bytes = (size_t)(op->x[0].shape.dim[2] * op->x[0].shape.dim[3]) * sizeof(double);
    return NT_OK;
}

static nt_status avg_pool_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t *in = op->x[0].shape.dim, *out = op->y.shape.dim;
    const real *x = op->x[0].data; /* (N, C, H, W) */
    real *y = op->y.data;          /* (N, C, P, Q) */
    for (int64_t i = 0; i < in[0] * in[1]; i++, x += in[2] * in[3])
        for (int64_t p = 0; p < out[2]; p++)
            for (int64_t q = 0; q < out[3]; q++) {
                window v = window_at(op, p, q);
                double sum = 0;
                for (int64_t row = v.row; row < v.row_end; row++)
                    for (int64_t col = v.col; col < v.col_end; col++)
                        sum += (double)x[row * in[3] + col];
                *y++ = (real)(sum / v.count);
            }
    return NT_OK;
}

static nt_status avg_pool_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    const int64_t *in = op->x[0].shape.dim, *out = op->y.shape.dim;
    int64_t n_in = in[2] * in[3];
    const real *dy = op->dy.data;
    real *dx = op->dx[0].data;
    double *sum = op->scratch; /* (H, W) of one plane: windows may overlap */
    for (int64_t i = 0; i < in[0] * in[1]; i++, dx += n_in) {
        memset(sum, 0, (size_t)n_in * sizeof *sum);
        for (int64_t p = 0; p < out[2]; p++)
            for (int64_t q = 0; q < out[3]; q++, dy++) {
                window v = window_at(op, p, q);
                for (int64_t row = v.row; row < v.row_end; row++)
                    for (int64_t col = v.col; col < v.col_end; col++)
                        sum[row * in[3] + col] += (double)*dy / v.count;
            }
        for (int64_t j = 0; j < n_in; j++)
            dx[j] = (real)sum[j];
    }
    return NT_OK;
}

const nt_op_impl NT_REF(avg_pool) = {
    .kind = "avg_pool",
    .create = avg_pool_create,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
};

const nt_op_impl NT_REF(avg_pool_padded) = {
    .kind = "avg_pool_padded",
    .create = avg_pool_create,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
};
