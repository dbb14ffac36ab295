/* cross_entropy_full: cross_entropy with everything that core/layers/losses.h says: labels or probabilities,
 * class weights, label smoothing, an ignored label, several positions.
 *
 * Labels and probabilities are one case here: what class k asks for is a number q_k, and the loss of a
 * position is -sum over k of q_k l_k with gradient (sum of q) softmax(x)_k - q_k. */
#include "core/layers/losses.h"

#include "core/backends/ref/ref.h"

#include <math.h>

/* Class k at position p of a sample is element k class_step + p position_step. */
typedef struct axes {
    int64_t n, k, p, class_step, position_step;
    const nt_loss_options *o;
} axes;

static axes axes_of(const nt_op *op)
{
    const nt_loss_options *o = op->options;
    const nt_shape *x = &op->x[0].shape;
    bool last = o->class_dim == NT_CLASS_DIM_LAST;
    axes a = {.n = x->dim[0], .k = x->dim[last ? x->n_dims - 1 : 1], .o = o};
    a.p = nt_shape_elems(*x) / (a.n * a.k);
    a.class_step = last ? 1 : a.p;
    a.position_step = last ? a.k : 1;
    return a;
}

static nt_status full_create(nt_op *op)
{
    return NT_REF(create_loss)(op, op->x[1].dtype == NT_I32 ? NT_I32 : NT_F32);
}

/* One position: x and, for probabilities, t, class_step apart; label -1 for probabilities. */
typedef struct position {
    const real *x;
    const float *t;
    int32_t label;
} position;

static position position_at(const nt_op *op, const axes *a, int64_t i, int64_t p)
{
    const int64_t at = i * a->k * a->p + p * a->position_step;
    position v = {.x = (const real *)op->x[0].data + at, .label = -1};
    if (op->x[1].dtype == NT_I32)
        v.label = ((const int32_t *)op->x[1].data)[i * a->p + p];
    else
        v.t = (const float *)op->x[1].data + at;
    return v;
}

static bool counts(const axes *a, const position *v)
{
    return v->t || !nt_label_is_ignored(a->o, v->label);
}

/* What the target asks of class k, weighted and smoothed. */
static double wanted(const axes *a, const position *v, int64_t k)
{
    double t = v->t ? (double)v->t[k * a->class_step] : v->label == k ? 1 : 0, e = a->o->label_smoothing;
    return nt_class_weight(a->o, k) * ((1 - e) * t + e / (double)a->k);
}

static int64_t first_largest(const axes *a, const real *x)
{
    int64_t best = 0;
    for (int64_t k = 1; k < a->k; k++)
        if (x[k * a->class_step] > x[best * a->class_step]) best = k;
    return best;
}

static double log_sum_exp(const axes *a, const real *x)
{
    double top = (double)x[first_largest(a, x) * a->class_step], sum = 0;
    for (int64_t k = 0; k < a->k; k++)
        sum += exp((double)x[k * a->class_step] - top);
    return top + log(sum);
}

static bool is_right(const axes *a, const position *v)
{
    int64_t answer = v->label;
    if (v->t) {
        answer = 0;
        for (int64_t k = 1; k < a->k; k++)
            if (v->t[k * a->class_step] > v->t[answer * a->class_step]) answer = k;
    }
    return first_largest(a, v->x) == answer;
}

/* sample: of the dataset. */
static nt_status check_target(const nt_op *op, const axes *a, const position *v, int64_t sample, int64_t p)
{
    double sum = 0;
    NT_CHECK(
        v->t || (v->label >= 0 && v->label < a->k), NT_ERR_DATA,
        "layer %s: class label %d is not in 0..%lld, the classes the model has outputs for (sample %lld, "
        "position %lld)%s",
        op->name, v->label, (long long)(a->k - 1), (long long)sample, (long long)p,
        v->label < 0 ? "; loss.ignore_index can say that it does not count" : "");
    for (int64_t k = 0; v->t && k < a->k; k++) {
        double t = (double)v->t[k * a->class_step];
        NT_CHECK(t >= 0, NT_ERR_DATA, "layer %s: target %g is not a probability; for values use mse",
                 op->name, t);
        sum += t;
    }
    NT_CHECK(!v->t || fabs(sum - 1) < 1e-3, NT_ERR_DATA,
             "layer %s: the target's probabilities sum to %g, not 1; for independent ones use bce, for "
             "values mse",
             op->name, sum);
    return NT_OK;
}

/* What the loss of a sample is divided by. */
static double divisor(const axes *a, const nt_pass *pass)
{
    bool weighs = a->o->mean_over == NT_MEAN_OVER_WEIGHTS && pass->mean_weight > 0;
    return (double)a->p * (weighs ? pass->mean_weight : 1);
}

static nt_status full_forward(nt_op *op, const nt_pass *pass)
{
    const axes a = axes_of(op);
    real *y = op->y.data; /* (N, 2) */
    for (int64_t i = 0; i < a.n; i++) {
        double loss = 0;
        int64_t right = 0;
        for (int64_t p = 0; p < a.p; p++) {
            const position v = position_at(op, &a, i, p);
            if (!counts(&a, &v)) continue;
            NT_TRY(check_target(op, &a, &v, pass->sample ? pass->sample[i] : i, p));
            double lse = log_sum_exp(&a, v.x);
            for (int64_t k = 0; k < a.k; k++)
                loss += wanted(&a, &v, k) * (lse - (double)v.x[k * a.class_step]);
            right += is_right(&a, &v);
        }
        y[2 * i] = (real)(loss / divisor(&a, pass));
        y[2 * i + 1] = (real)right;
    }
    return NT_OK;
}

static void position_backward(const axes *a, const position *v, double scale, real *dx)
{
    double lse = log_sum_exp(a, v->x), sum = 0;
    for (int64_t k = 0; k < a->k; k++)
        sum += wanted(a, v, k);
    for (int64_t k = 0; k < a->k; k++) {
        double slope = sum * exp((double)v->x[k * a->class_step] - lse) - wanted(a, v, k);
        dx[k * a->class_step] = counts(a, v) ? (real)(scale * slope) : 0;
    }
}

static nt_status full_backward(nt_op *op, const nt_pass *pass)
{
    if (!op->need_dx[0]) return NT_OK;
    const axes a = axes_of(op);
    for (int64_t i = 0; i < a.n; i++)
        for (int64_t p = 0; p < a.p; p++) {
            const position v = position_at(op, &a, i, p);
            real *dx = (real *)op->dx[0].data + (v.x - (const real *)op->x[0].data);
            position_backward(&a, &v, pass->scale / divisor(&a, pass), dx);
        }
    return NT_OK;
}

const nt_op_impl NT_REF(cross_entropy_full) = {
    .kind = "cross_entropy_full",
    .create = full_create,
    .forward = full_forward,
    .backward = full_backward,
};
