/* softmax over the first dimension of a sample: x (N, C, S) -> y, sum over C is 1 at each of S positions;
 * log_softmax its logarithm, x - log(sum exp x). */
#include "core/backends/ref/ref.h"

#include <math.h>

static nt_status softmax_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_KEEPS_Y | NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    return NT_OK;
}

/* c values, s apart; y may be x. */
static void softmax_column(real *y, const real *x, int64_t c, int64_t s)
{
    double top = (double)x[0], sum = 0;
    for (int64_t j = 1; j < c; j++)
        if ((double)x[j * s] > top) top = (double)x[j * s];
    for (int64_t j = 0; j < c; j++)
        sum += exp((double)x[j * s] - top);
    for (int64_t j = 0; j < c; j++)
        y[j * s] = (real)(exp((double)x[j * s] - top) / sum);
}

/* dx = y (dy - sum(dy y)); dx may be dy. */
static void backward_column(real *dx, const real *dy, const real *y, int64_t c, int64_t s)
{
    double dot = 0;
    for (int64_t j = 0; j < c; j++)
        dot += (double)dy[j * s] * (double)y[j * s];
    for (int64_t j = 0; j < c; j++)
        dx[j * s] = (real)((double)y[j * s] * ((double)dy[j * s] - dot));
}

static void log_softmax_column(real *y, const real *x, int64_t c, int64_t s)
{
    double top = (double)x[0], sum = 0;
    for (int64_t j = 1; j < c; j++)
        if ((double)x[j * s] > top) top = (double)x[j * s];
    for (int64_t j = 0; j < c; j++)
        sum += exp((double)x[j * s] - top);
    for (int64_t j = 0; j < c; j++)
        y[j * s] = (real)((double)x[j * s] - top - log(sum));
}

/* dx = dy - exp(y) sum(dy); dx may be dy. */
static void log_backward_column(real *dx, const real *dy, const real *y, int64_t c, int64_t s)
{
    double sum = 0;
    for (int64_t j = 0; j < c; j++)
        sum += (double)dy[j * s];
    for (int64_t j = 0; j < c; j++)
        dx[j * s] = (real)((double)dy[j * s] - exp((double)y[j * s]) * sum);
}

typedef void (*forward_fn)(real *y, const real *x, int64_t c, int64_t s);
typedef void (*backward_fn)(real *dx, const real *dy, const real *y, int64_t c, int64_t s);

static void forward_by(const nt_op *op, forward_fn column)
{
    int64_t n = op->y.shape.dim[0], c = op->y.shape.dim[1], s = nt_shape_elems(op->y.shape) / (n * c);
    const real *x = op->x[0].data;
    real *y = op->y.data;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < s; j++)
            column(y + i * c * s + j, x + i * c * s + j, c, s);
}

static void backward_by(const nt_op *op, backward_fn column)
{
    int64_t n = op->y.shape.dim[0], c = op->y.shape.dim[1], s = nt_shape_elems(op->y.shape) / (n * c);
    const real *dy = op->dy.data, *y = op->y.data;
    real *dx = op->dx[0].data;
    for (int64_t i = 0; op->need_dx[0] && i < n; i++)
        for (int64_t j = 0; j < s; j++)
            column(dx + i * c * s + j, dy + i * c * s + j, y + i * c * s + j, c, s);
}

static nt_status softmax_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    forward_by(op, softmax_column);
    return NT_OK;
}

static nt_status softmax_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    backward_by(op, backward_column);
    return NT_OK;
}

static nt_status log_softmax_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    forward_by(op, log_softmax_column);
    return NT_OK;
}

static nt_status log_softmax_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    backward_by(op, log_backward_column);
    return NT_OK;
}

const nt_op_impl NT_REF(softmax) = {
    .kind = "softmax",
    .create = softmax_create,
    .forward = softmax_forward,
    .backward = softmax_backward,
};

const nt_op_impl NT_REF(log_softmax) = {
    .kind = "log_softmax",
    .create = softmax_create,
    .forward = log_softmax_forward,
    .backward = log_softmax_backward,
};
