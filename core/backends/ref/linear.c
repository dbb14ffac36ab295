/* linear: y = x weight^T + bias. */
#include "core/layers/linear.h"

#include "core/backends/ref/ref.h"

static nt_status linear_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = NT_OP_KEEPS_X;
    return NT_OK;
}

static nt_status linear_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    int64_t n = op->y.shape.dim[0], k = op->param[0].shape.dim[0], f = op->param[0].shape.dim[1];
    const real *x = op->x[0].data;                               /* (N, F) */
    const real *weight = op->param[0].data;                      /* (K, F) */
    const real *bias = op->n_params > 1 ? op->param[1].data : 0; /* (K) */
    real *y = op->y.data;                                        /* (N, K) */
    for (int64_t i = 0; i < n; i++)
        for (int64_t u = 0; u < k; u++) {
            double sum = bias ? bias[u] : 0;
            for (int64_t j = 0; j < f; j++)
                sum += (double)x[i * f + j] * weight[u * f + j];
            y[i * k + u] = (real)sum;
        }
    return NT_OK;
}

/* dx (N, F) = dy (N, K) weight (K, F) */
static void backward_x(real *dx, const real *dy, const real *weight, int64_t n, int64_t k, int64_t f)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < f; j++) {
            double sum = 0;
            for (int64_t u = 0; u < k; u++)
                sum += (double)dy[i * k + u] * weight[u * f + j];
            dx[i * f + j] = (real)sum;
        }
}

/* dweight (K, F) = dy^T x */
static void backward_weight(real *dweight, const real *dy, const real *x, int64_t n, int64_t k, int64_t f,
                            const nt_pass *pass)
{
    for (int64_t u = 0; u < k; u++)
        for (int64_t j = 0; j < f; j++) {
            double sum = 0;
            for (int64_t i = 0; i < n; i++)
                sum += (double)dy[i * k + u] * x[i * f + j];
            nt_ref_put(&dweight[u * f + j], sum, pass);
        }
}

static void backward_bias(real *dbias, const real *dy, int64_t n, int64_t k, const nt_pass *pass)
{
    for (int64_t u = 0; u < k; u++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (double)dy[i * k + u];
        nt_ref_put(&dbias[u], sum, pass);
    }
}

static nt_status linear_backward(nt_op *op, const nt_pass *pass)
{
    int64_t n = op->y.shape.dim[0], k = op->param[0].shape.dim[0], f = op->param[0].shape.dim[1];
    if (op->need_dx[0]) backward_x(op->dx[0].data, op->dy.data, op->param[0].data, n, k, f);
    backward_weight(op->dparam[0].data, op->dy.data, op->x[0].data, n, k, f, pass);
    if (op->n_params > 1) backward_bias(op->dparam[1].data, op->dy.data, n, k, pass);
    return NT_OK;
}

const nt_op_impl NT_REF(linear) = {
    .kind = "linear",
    .create = linear_create,
    .forward = linear_forward,
    .backward = linear_backward,
};
