/* cross_entropy: loss = log(sum exp(x - top)) + top - x[label] of each sample.
 *
 * Forward keeps the probabilities, so that backward is a subtraction. Logits in a blocked layout (a flattened
 * image) are left to ref. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"

#include <math.h>

static nt_status cross_entropy_create(nt_op *op)
{
    if (op->x[0].layout) return nt_fallback_create(op, "cross_entropy");
    NT_CHECK(op->n_inputs == 2 && op->x[1].dtype == NT_I32, NT_ERR_CONFIG,
             "layer %s: cross_entropy needs class labels (int32); for float targets use mse or bce",
             op->name);
    size_t n_bytes = op->x[0].n_bytes;
    op->flags = 0;
    op->saved_bytes = op->training ? n_bytes : 0;
    op->scratch_bytes = op->training ? 0 : n_bytes;
    return NT_OK;
}

/* Index of the first largest of k values; a NaN in front stays. */
static int64_t argmax(const float *x, int64_t k)
{
    int64_t best = 0;
    for (int64_t j = 1; j < k; j++)
        if (x[j] > x[best]) best = j;
    return best;
}

/* One sample: probabilities p (K) and y (2). */
static void sample_loss(const nt_vec_ops *vec, float *p, float *y, const float *x, int32_t label, int64_t k)
{
    int64_t top = argmax(x, k);
    double sum = 0;
    vec->exp_shifted(p, x, x[top], k);
    for (int64_t j = 0; j < k; j++)
        sum += (double)p[j];
    vec->scale(p, p, (float)(1 / sum), k);
    y[0] = (float)(log(sum) + ((double)x[top] - (double)x[label]));
    y[1] = top == label ? 1 : 0;
}

static nt_status cross_entropy_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const float *x = op->x[0].data;                    /* (N, K) */
    const int32_t *label = op->x[1].data;              /* (N) */
    float *y = op->y.data;                             /* (N, 2) */
    float *p = op->training ? op->saved : op->scratch; /* (N, K) */
    for (int64_t i = 0; i < n; i++) {
        NT_CHECK(label[i] >= 0 && label[i] < k, NT_ERR_DATA,
                 "layer %s: class label %d is not in 0..%lld, the classes the model has outputs for",
                 op->name, label[i], (long long)(k - 1));
        sample_loss(nt_cpu_of(op)->vec, p + i * k, y + 2 * i, x + i * k, label[i], k);
    }
    return NT_OK;
}

static nt_status cross_entropy_backward(nt_op *op, const nt_pass *pass)
{
    if (!op->need_dx[0]) return NT_OK;
    const int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const int32_t *label = op->x[1].data;
    const float *p = op->saved, scale = (float)pass->scale;
    float *dx = op->dx[0].data; /* (N, K) = scale (p - one_hot(label)) */
    nt_cpu_of(op)->vec->scale(dx, p, scale, n * k);
    for (int64_t i = 0; i < n; i++)
        dx[i * k + label[i]] = (float)(pass->scale * ((double)p[i * k + label[i]] - 1));
    return NT_OK;
}

const nt_op_impl nt_cpu_cross_entropy = {
    .kind = "cross_entropy",
    .create = cross_entropy_create,
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
};
