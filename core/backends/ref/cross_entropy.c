/* cross_entropy: loss = log(sum exp x) - x[label], by the largest logit, so that nothing overflows. */
#include "core/backends/ref/ref.h"

#include <math.h>

static nt_status cross_entropy_create(nt_op *op)
{
    return NT_REF(create_loss)(op, NT_I32);
}

/* Index of the first largest of k values. */
static int64_t argmax(const real *x, int64_t k)
{
    int64_t best = 0;
    for (int64_t j = 1; j < k; j++)
        if (x[j] > x[best]) best = j;
    return best;
}

/* log(sum exp x) over k values, x[top] a largest. */
static double log_sum_exp(const real *x, int64_t k, int64_t top)
{
    double sum = 0;
    for (int64_t j = 0; j < k; j++)
        sum += exp((double)x[j] - (double)x[top]);
    return (double)x[top] + log(sum);
}

static nt_status cross_entropy_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;        /* (N, K) */
    const int32_t *label = op->x[1].data; /* (N) */
    real *y = op->y.data;                 /* (N, 2) */
    for (int64_t i = 0; i < n; i++, x += k) {
        NT_CHECK(label[i] >= 0 && label[i] < k, NT_ERR_DATA,
                 "layer %s: class label %d is not in 0..%lld, the classes the model has outputs for",
                 op->name, label[i], (long long)(k - 1));
        int64_t top = argmax(x, k);
        y[2 * i] = (real)(log_sum_exp(x, k, top) - (double)x[label[i]]);
        y[2 * i + 1] = top == label[i] ? 1 : 0;
    }
    return NT_OK;
}

static nt_status cross_entropy_backward(nt_op *op, const nt_pass *pass)
{
    if (!op->need_dx[0]) return NT_OK;
    int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;
    const int32_t *label = op->x[1].data;
    real *dx = op->dx[0].data; /* (N, K) = scale (softmax(x) - one_hot(label)) */
    for (int64_t i = 0; i < n; i++, x += k, dx += k) {
        double lse = log_sum_exp(x, k, argmax(x, k));
        for (int64_t j = 0; j < k; j++)
            dx[j] = (real)(pass->scale * (exp((double)x[j] - lse) - (j == label[i] ? 1 : 0)));
    }
    return NT_OK;
}

const nt_op_impl NT_REF(cross_entropy) = {
    .kind = "cross_entropy",
    .create = cross_entropy_create,
    .forward = cross_entropy_forward,
    .backward = cross_entropy_backward,
};
