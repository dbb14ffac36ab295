/* cross_entropy_full of class labels whose classes lie side by side: tokens, smoothed or weighted classes.
 *
 * With w the weights and e the smoothing, the loss of a position with label l is (1 - e) w_l (lse - x_l) +
 * e / K sum over k of w_k (lse - x_k), and its gradient q softmax(x)_k - (1 - e) [k = l] w_l - e / K w_k with
 * q = (1 - e) w_l + e / K sum of w. Forward keeps the probabilities. Probabilities as targets, and classes
 * that are the first of several dimensions, are left to ref. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"
#include "core/layers/losses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct loss {
    const nt_loss_options *o;
    int64_t n, p, k; /* samples, positions, classes */
    double smooth;   /* e / K */
    double weights;  /* sum of the classes' weights */
    float *prob;     /* (N, P, K) */
    const nt_pass *pass;
    const nt_op *op;
} loss;

static void loss_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

static bool is_side_by_side(const nt_op *op, int64_t k)
{
    const nt_shape *x = &op->x[0].shape;
    return nt_shape_elems(*x) == x->dim[0] * k ||
           ((const nt_loss_options *)op->options)->class_dim == NT_CLASS_DIM_LAST;
}

static nt_status loss_create(nt_op *op)
{
    const nt_loss_options *o = op->options;
    const nt_shape *x = &op->x[0].shape;
    const int64_t k = x->dim[o->class_dim == NT_CLASS_DIM_LAST ? x->n_dims - 1 : 1];
    if (op->x[0].layout || op->x[1].dtype != NT_I32 || !is_side_by_side(op, k))
        return nt_fallback_create(op, "cross_entropy_full");
    loss *l = calloc(1, sizeof *l);
    NT_CHECK_ALLOC(l, sizeof *l);
    op->state = l;
    *l = (loss){.o = o, .n = x->dim[0], .k = k, .smooth = o->label_smoothing / (double)k, .op = op};
    l->p = nt_shape_elems(*x) / (l->n * k);
    for (int64_t c = 0; c < k; c++)
        l->weights += nt_class_weight(o, c);
    op->flags = 0;
    op->saved_bytes = op->training ? op->x[0].n_bytes : 0;
    op->scratch_bytes = op->training ? 0 : op->x[0].n_bytes;
    return NT_OK;
}

static nt_status loss_bind(nt_op *op)
{
    loss *l = op->state;
    l->prob = op->training ? op->saved : op->scratch;
    return NT_OK;
}

/* In order, so that the first bad label is the one that is named. */
static nt_status check_labels(const loss *l)
{
    const int32_t *label = l->op->x[1].data;
    for (int64_t i = 0; i < l->n * l->p; i++)
        NT_CHECK(nt_label_is_ignored(l->o, label[i]) || (label[i] >= 0 && label[i] < l->k), NT_ERR_DATA,
                 "layer %s: class label %d is not in 0..%lld, the classes the model has outputs for (sample "
                 "%lld, position %lld)%s",
                 l->op->name, label[i], (long long)(l->k - 1),
                 (long long)(l->pass->sample ? l->pass->sample[i / l->p] : i / l->p), (long long)(i % l->p),
                 label[i] < 0 ? "; loss.ignore_index can say that it does not count" : "");
    return NT_OK;
}

/* What the loss of a sample is divided by. */
static double divisor(const loss *l)
{
    bool weighs = l->o->mean_over == NT_MEAN_OVER_WEIGHTS && l->pass->mean_weight > 0;
    return (double)l->p * (weighs ? l->pass->mean_weight : 1);
}

/* Whether the label is the first largest of x. */
static bool is_right(const float *x, int32_t label, float top)
{
    if (x[label] != top) return false;
    for (int64_t c = 0; c < label; c++)
        if (x[c] == top) return false;
    return true;
}

/* The loss of position i, whose probabilities it makes; counts it if it is right. */
static double position_loss(const loss *l, const float *x, int32_t label, int64_t i, int64_t *right)
{
    const nt_vec_ops *vec = nt_cpu_of(l->op)->vec;
    const float top = vec->largest(x, l->k);
    float *p = l->prob + i * l->k;
    vec->exp_shifted(p, x, top, l->k);
    const double sum = vec->sum(p, l->k), lse = (double)top + log(sum);
    vec->scale(p, p, (float)(1 / sum), l->k);
    double smoothed = 0;
    for (int64_t c = 0; l->smooth > 0 && c < l->k; c++)
        smoothed += nt_class_weight(l->o, c) * (lse - (double)x[c]);
    *right += is_right(x, label, top);
    return (1 - l->o->label_smoothing) * nt_class_weight(l->o, label) * (lse - (double)x[label]) +
           l->smooth * smoothed;
}

static void sample_loss(void *arg, int64_t n)
{
    const loss *l = arg;
    const int32_t *label = (const int32_t *)l->op->x[1].data + n * l->p;
    const float *x = (const float *)l->op->x[0].data + n * l->p * l->k;
    float *y = (float *)l->op->y.data + 2 * n;
    double sum = 0;
    int64_t right = 0;
    for (int64_t p = 0; p < l->p; p++, x += l->k) {
        if (nt_label_is_ignored(l->o, label[p])) continue;
        sum += position_loss(l, x, label[p], n * l->p + p, &right);
    }
    y[0] = (float)(sum / divisor(l));
    y[1] = (float)right;
}

static nt_status loss_forward(nt_op *op, const nt_pass *pass)
{
    loss *l = op->state;
    l->pass = pass;
    NT_TRY(check_labels(l));
    nt_cpu_each(nt_cpu_of(op), l->n, 4 * nt_shape_elems(op->x[0].shape), sample_loss, l);
    return NT_OK;
}

/* Position i; scale: of the gradient. */
static void position_backward(const loss *l, double scale, int32_t label, int64_t i)
{
    const float *p = l->prob + i * l->k;
    float *dx = (float *)l->op->dx[0].data + i * l->k;
    const double own = (1 - l->o->label_smoothing) * nt_class_weight(l->o, label);
    const double factor = scale * (own + l->smooth * l->weights), spread = scale * l->smooth;
    const bool weighs = l->o->class_weights.n > 0;
    nt_cpu_of(l->op)->vec->affine(dx, p, (float)factor, weighs ? 0 : (float)-spread, l->k);
    for (int64_t c = 0; weighs && l->smooth > 0 && c < l->k; c++)
        dx[c] -= (float)(spread * nt_class_weight(l->o, c));
    dx[label] = (float)(factor * (double)p[label] - spread * nt_class_weight(l->o, label) - scale * own);
}

static void sample_backward(void *arg, int64_t n)
{
    const loss *l = arg;
    const int32_t *label = (const int32_t *)l->op->x[1].data;
    for (int64_t i = n * l->p; i < (n + 1) * l->p; i++) {
        if (nt_label_is_ignored(l->o, label[i]))
            memset((float *)l->op->dx[0].data + i * l->k, 0, (size_t)l->k * sizeof(float));
        else
            position_backward(l, l->pass->scale / divisor(l), label[i], i);
    }
}

static nt_status loss_backward(nt_op *op, const nt_pass *pass)
{
    loss *l = op->state;
    l->pass = pass;
    if (op->need_dx[0]) nt_cpu_each(nt_cpu_of(op), l->n, nt_shape_elems(op->x[0].shape), sample_backward, l);
    return NT_OK;
}

const nt_op_impl nt_cpu_cross_entropy_full = {
    .kind = "cross_entropy_full",
    .create = loss_create,
    .destroy = loss_destroy,
    .bind = loss_bind,
    .forward = loss_forward,
    .backward = loss_backward,
};
