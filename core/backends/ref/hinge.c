/* hinge: of class labels, what the other outputs reach into the margin below the right one; of values -1 and
 * 1, what each output lacks of the margin on its side. */
#include "core/layers/losses.h"

#include "core/backends/ref/ref.h"

#include <math.h>

static nt_status hinge_create(nt_op *op)
{
    return NT_REF(create_loss)(op, op->x[1].dtype == NT_I32 ? NT_I32 : NT_F32);
}

/* max(0, v)^p, and its slope. */
static double power(const nt_loss_options *o, double v)
{
    return v <= 0 ? 0 : o->p == 2 ? v * v : v;
}

static double power_slope(const nt_loss_options *o, double v)
{
    return v <= 0 ? 0 : o->p == 2 ? 2 * v : isnan(v) ? v : 1;
}

static void labels_forward(const nt_loss_options *o, const real *x, int32_t t, int64_t k, real *y)
{
    double sum = 0;
    bool right = true;
    for (int64_t j = 0; j < k; j++) {
        if (j == t) continue;
        sum += power(o, o->margin - (double)x[t] + (double)x[j]);
        right = right && (j < t ? x[j] < x[t] : x[j] <= x[t]); /* the first largest is the answer */
    }
    y[0] = (real)(nt_class_weight(o, t) * sum / (double)k);
    y[1] = right ? 1 : 0;
}

static void values_forward(const nt_loss_options *o, const real *x, const float *t, int64_t k, real *y)
{
    double sum = 0;
    int64_t right = 0;
    for (int64_t j = 0; j < k; j++) {
        sum += power(o, o->margin - (double)t[j] * (double)x[j]);
        right += (x[j] > 0) == (t[j] > 0);
    }
    y[0] = (real)(sum / (double)k);
    y[1] = (real)right;
}

static nt_status hinge_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;        /* (N, K) */
    const int32_t *label = op->x[1].data; /* (N), or values (N, K) */
    const float *value = op->x[1].data;
    real *y = op->y.data; /* (N, 2) */
    for (int64_t i = 0; i < n; i++) {
        if (op->x[1].dtype == NT_F32) {
            values_forward(op->options, x + i * k, value + i * k, k, y + 2 * i);
            continue;
        }
        NT_CHECK(label[i] >= 0 && label[i] < k, NT_ERR_DATA,
                 "layer %s: class label %d is not in 0..%lld, the classes the model has outputs for",
                 op->name, label[i], (long long)(k - 1));
        labels_forward(op->options, x + i * k, label[i], k, y + 2 * i);
    }
    return NT_OK;
}

static void labels_backward(const nt_loss_options *o, const real *x, int32_t t, int64_t k, double scale,
                            real *dx)
{
    double sum = 0, factor = scale * nt_class_weight(o, t) / (double)k;
    for (int64_t j = 0; j < k; j++) {
        if (j == t) continue;
        double slope = power_slope(o, o->margin - (double)x[t] + (double)x[j]);
        dx[j] = (real)(factor * slope);
        sum += slope;
    }
    dx[t] = (real)(-factor * sum);
}

static nt_status hinge_backward(nt_op *op, const nt_pass *pass)
{
    if (!op->need_dx[0]) return NT_OK;
    const nt_loss_options *o = op->options;
    const int64_t n = op->x[0].shape.dim[0], k = op->x[0].shape.dim[1];
    const real *x = op->x[0].data;
    const int32_t *label = op->x[1].data;
    const float *value = op->x[1].data;
    real *dx = op->dx[0].data;
    for (int64_t i = 0; op->x[1].dtype == NT_I32 && i < n; i++)
        labels_backward(o, x + i * k, label[i], k, pass->scale, dx + i * k);
    for (int64_t j = 0; op->x[1].dtype == NT_F32 && j < n * k; j++) {
        double t = (double)value[j];
        dx[j] = (real)(-pass->scale * t * power_slope(o, o->margin - t * (double)x[j]) / (double)k);
    }
    return NT_OK;
}

const nt_op_impl NT_REF(hinge) = {
    .kind = "hinge",
    .create = hinge_create,
    .forward = hinge_forward,
    .backward = hinge_backward,
};
