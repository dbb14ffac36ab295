/* batchnorm, as core/layers/batchnorm.h defines it, in two passes over each channel: mean, then variance. The
 * one-pass form E[x^2] - E[x]^2 would cancel where the mean is large. */
#include "core/layers/batchnorm.h"

#include "core/backends/ref/ref.h"
#include "core/moments.h"

#include <math.h>

/* x (N, C, S): S positions. */
typedef struct sizes {
    int64_t n, c, s;
} sizes;

static sizes sizes_of(const nt_op *op)
{
    int64_t n = op->y.shape.dim[0], c = op->y.shape.dim[1];
    return (sizes){n, c, nt_shape_elems(op->y.shape) / (n * c)};
}

/* What one channel is normalised with. */
typedef struct channel {
    double mean, var, inv_std, weight, bias;
} channel;

static channel channel_of(const nt_op *op, int64_t c, double mean, double var)
{
    const nt_batchnorm_options *o = op->options;
    const real *weight = op->param[NT_BN_WEIGHT].data, *bias = op->param[NT_BN_BIAS].data;
    return (channel){mean, var, 1 / sqrt(var + o->eps), (double)weight[c], (double)bias[c]};
}

static nt_moments moments_of(const nt_op *op)
{
    return nt_moments_at(op->saved, op->y.shape.dim[1]);
}

static nt_status batchnorm_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = op->training ? NT_OP_KEEPS_X | NT_OP_INPLACE_BACKWARD : NT_OP_INPLACE_FORWARD;
    if (op->training) op->saved_bytes = nt_moments_bytes(op->y.shape.dim[1]);
    return NT_OK;
}

/* Mean and biased variance of channel c of this part of the batch. */
static void part_statistics(sizes z, const real *x, int64_t c, double *mean, double *var)
{
    double sum = 0, squares = 0;
    for (int64_t n = 0; n < z.n; n++)
        for (int64_t s = 0; s < z.s; s++)
            sum += (double)x[(n * z.c + c) * z.s + s];
    *mean = sum / (double)(z.n * z.s);
    for (int64_t n = 0; n < z.n; n++)
        for (int64_t s = 0; s < z.s; s++) {
            double d = (double)x[(n * z.c + c) * z.s + s] - *mean;
            squares += d * d;
        }
    *var = squares / (double)(z.n * z.s);
}

static nt_status batch_statistics(nt_op *op, sizes z, const nt_pass *pass)
{
    const nt_moments m = moments_of(op);
    const real *running_mean = op->param[NT_BN_MEAN].data;
    for (int64_t c = 0; c < z.c; c++) {
        part_statistics(z, op->x[0].data, c, &m.mean[c], &m.var[c]);
        m.sums[c] = (double)running_mean[c];
    }
    NT_TRY(nt_moments_join(&m, (double)(z.n * z.s), pass));
    return NT_OK;
}

static channel forward_channel(const nt_op *op, int64_t c)
{
    const real *running_mean = op->param[NT_BN_MEAN].data, *running_var = op->param[NT_BN_VAR].data;
    if (!op->training) return channel_of(op, c, (double)running_mean[c], (double)running_var[c]);
    const nt_moments m = moments_of(op);
    return channel_of(op, c, m.mean[c], m.var[c]);
}

static nt_status batchnorm_forward(nt_op *op, const nt_pass *pass)
{
    const sizes z = sizes_of(op);
    const real *x = op->x[0].data;
    real *y = op->y.data;
    if (op->training) NT_TRY(batch_statistics(op, z, pass));
    for (int64_t c = 0; c < z.c; c++) {
        const channel h = forward_channel(op, c);
        for (int64_t n = 0; n < z.n; n++)
            for (int64_t s = 0; s < z.s; s++) {
                int64_t i = (n * z.c + c) * z.s + s;
                y[i] = (real)(h.weight * ((double)x[i] - h.mean) * h.inv_std + h.bias);
            }
    }
    return NT_OK;
}

/* Sums of dy and of dy times the normalised x. */
static void gradient_sums(const nt_op *op, sizes z, int64_t c, const channel *h, double *sum_dy,
                          double *sum_dy_xhat)
{
    const real *x = op->x[0].data, *dy = op->dy.data;
    *sum_dy = *sum_dy_xhat = 0;
    for (int64_t n = 0; n < z.n; n++)
        for (int64_t s = 0; s < z.s; s++) {
            int64_t i = (n * z.c + c) * z.s + s;
            *sum_dy += (double)dy[i];
            *sum_dy_xhat += (double)dy[i] * ((double)x[i] - h->mean) * h->inv_std;
        }
}

/* dx = weight inv_std (dy - mean(dy) - xhat mean(dy xhat)), means over all m values; dx may be dy. */
static void backward_x(nt_op *op, sizes z, int64_t c, double m, double sum_dy, double sum_dy_xhat)
{
    const channel h = forward_channel(op, c);
    const real *x = op->x[0].data, *dy = op->dy.data;
    real *dx = op->dx[0].data;
    for (int64_t n = 0; n < z.n; n++)
        for (int64_t s = 0; s < z.s; s++) {
            int64_t i = (n * z.c + c) * z.s + s;
            double xhat = ((double)x[i] - h.mean) * h.inv_std;
            dx[i] = (real)(h.weight * h.inv_std * ((double)dy[i] - sum_dy / m - xhat * sum_dy_xhat / m));
        }
}

/* The batch's statistics into the gradient slots of the running ones. */
static void put_statistics(nt_op *op, int64_t c, const channel *h, const nt_pass *pass)
{
    real *dmean = op->dparam[NT_BN_MEAN].data, *dvar = op->dparam[NT_BN_VAR].data;
    const real *running_mean = op->param[NT_BN_MEAN].data;
    double shift = h->mean - (double)running_mean[c];
    nt_ref_put(&dmean[c], pass->share * shift, pass);
    nt_ref_put(&dvar[c], pass->share * (h->var + shift * shift), pass);
}

static nt_status batchnorm_backward(nt_op *op, const nt_pass *pass)
{
    const sizes z = sizes_of(op);
    const nt_moments m = moments_of(op);
    real *dweight = op->dparam[NT_BN_WEIGHT].data, *dbias = op->dparam[NT_BN_BIAS].data;
    for (int64_t c = 0; c < z.c; c++) {
        const channel h = forward_channel(op, c);
        double *sum_dy = &m.sums[c], *sum_dy_xhat = &m.sums[z.c + c];
        gradient_sums(op, z, c, &h, sum_dy, sum_dy_xhat);
        nt_ref_put(&dweight[c], *sum_dy_xhat, pass);
        nt_ref_put(&dbias[c], *sum_dy, pass);
        put_statistics(op, c, &h, pass);
    }
    NT_TRY(nt_moments_join_gradients(&m, pass));
    for (int64_t c = 0; c < z.c && op->need_dx[0]; c++)
        backward_x(op, z, c, *m.count, m.sums[c], m.sums[z.c + c]);
    return NT_OK;
}

const nt_op_impl NT_REF(batchnorm) = {
    .kind = "batchnorm",
    .create = batchnorm_create,
    .forward = batchnorm_forward,
    .backward = batchnorm_backward,
};
