/* The update rules of core/optim.h over a flat range. Scalars arrive final; a rule is one expression per
 * element, evaluated in double and stored as real. */
#include "core/backends/ref/ref.h"

#include <math.h>

/* velocity is NULL without momentum. */
static void update_sgd(const nt_update *u, real *p, const real *g, real *velocity, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double step = (double)u->grad_scale * g[i] + (double)u->weight_decay * p[i];
        if (velocity) {
            double v = (double)u->momentum * velocity[i] + step;
            velocity[i] = (real)v;
            step = u->nesterov ? step + u->momentum * v : v;
        }
        p[i] = (real)(p[i] - u->lr * step);
    }
}

/* Kingma & Ba 2015, algorithm 1; decoupled decay: Loshchilov & Hutter 2019, algorithm 2. */
static void update_adam(const nt_update *u, real *p, const real *g, real *m, real *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double w = p[i], grad = (double)u->grad_scale * g[i];
        if (u->decoupled)
            w -= (double)u->lr * u->weight_decay * w;
        else
            grad += u->weight_decay * w;
        double first = u->beta1 * (double)m[i] + (1 - (double)u->beta1) * grad;
        double second = u->beta2 * (double)v[i] + (1 - (double)u->beta2) * grad * grad;
        m[i] = (real)first;
        v[i] = (real)second;
        p[i] = (real)(w - u->lr * (first / u->correction1) / (sqrt(second / u->correction2) + u->eps));
    }
}

/* torch.optim.RMSprop. mean: of the gradient, NULL unless centered; buffer: NULL without momentum. A variance
 * that rounding has left below zero is zero. */
static void update_rmsprop(const nt_update *u, real *p, const real *g, real *square, real *mean, real *buffer,
                           int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double grad = u->grad_scale * g[i] + u->weight_decay * p[i];
        double variance = u->beta2 * square[i] + (1 - u->beta2) * grad * grad;
        square[i] = (real)variance;
        if (mean) {
            double m = u->beta2 * mean[i] + (1 - u->beta2) * grad;
            mean[i] = (real)m;
            variance = variance > m * m ? variance - m * m : 0;
        }
        double step = grad / (sqrt(variance) + u->eps);
        if (buffer) {
            step += u->momentum * buffer[i];
            buffer[i] = (real)step;
        }
        p[i] = (real)(p[i] - u->lr * step);
    }
}

/* Duchi et al. 2011, with the diagonal, as torch.optim.Adagrad. */
static void update_adagrad(const nt_update *u, real *p, const real *g, real *sum, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double grad = u->grad_scale * g[i] + u->weight_decay * p[i], s = sum[i] + grad * grad;
        sum[i] = (real)s;
        p[i] = (real)(p[i] - u->lr * grad / (sqrt(s) + u->eps));
    }
}

/* Chen et al. 2023, algorithm 2. */
static void update_lion(const nt_update *u, real *p, const real *g, real *m, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double grad = u->grad_scale * g[i], c = u->beta1 * m[i] + (1 - u->beta1) * grad;
        double sign = c > 0 ? 1 : c < 0 ? -1 : c;
        m[i] = (real)(u->beta2 * m[i] + (1 - u->beta2) * grad);
        p[i] = (real)(p[i] - u->lr * (sign + u->weight_decay * p[i]));
    }
}

/* You, Gitman & Ginsburg 2017, algorithm 1; the ratio is part of lr by now. */
static void update_lars(const nt_update *u, real *p, const real *g, real *velocity, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double v = u->momentum * velocity[i] + u->lr * (u->grad_scale * g[i] + u->weight_decay * p[i]);
        velocity[i] = (real)v;
        p[i] = (real)(p[i] - v);
    }
}

/* You et al. 2019 (LAMB), algorithm 2, up to the norms. */
static void update_lamb(const nt_update *u, const real *p, const real *g, real *m, real *v, real *direction,
                        int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double grad = u->grad_scale * g[i];
        double first = u->beta1 * m[i] + (1 - u->beta1) * grad;
        double second = u->beta2 * v[i] + (1 - u->beta2) * grad * grad;
        m[i] = (real)first;
        v[i] = (real)second;
        direction[i] = (real)((first / u->correction1) / (sqrt(second / u->correction2) + u->eps) +
                              u->weight_decay * p[i]);
    }
}

static void update_step(const nt_update *u, real *p, const real *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = (real)(p[i] - u->lr * g[i]);
}

static void update_limit(const nt_update *u, real *p, const real *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = g[i] > u->limit ? (real)u->limit : g[i] < -u->limit ? (real)-u->limit : g[i];
}

static void update_average(const nt_update *u, real *p, const real *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = u->lr == 1 ? g[i] : (real)(p[i] + u->lr * ((double)g[i] - p[i]));
}

/* p, var: running statistics; a, b: the batch's, shifted by p as core/layers/batchnorm.h says. */
static void update_stat(const nt_update *u, real *p, const real *a, real *var, const real *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double shift = a[i], batch_var = (b[i] - shift * shift) * u->correction1;
        p[i] = (real)(p[i] + u->momentum * shift);
        var[i] = (real)(var[i] + u->momentum * (batch_var - var[i]));
    }
}

nt_status NT_REF(update)(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1, void *s2,
                         int64_t n)
{
    (void)backend;
    nt_update own = *u;
    if (!nt_update_fold_scale(&own)) return NT_OK;
    switch (own.rule) {
    case NT_UPDATE_SGD:
        update_sgd(&own, p, g, s1, n);
        return NT_OK;
    case NT_UPDATE_ADAM:
        update_adam(&own, p, g, s1, s2, n);
        return NT_OK;
    case NT_UPDATE_RMSPROP:
        update_rmsprop(&own, p, g, s1, own.centered ? s2 : NULL, nt_update_buffer(&own, s2), n);
        return NT_OK;
    case NT_UPDATE_ADAGRAD:
        update_adagrad(&own, p, g, s1, n);
        return NT_OK;
    case NT_UPDATE_LION:
        update_lion(&own, p, g, s1, n);
        return NT_OK;
    case NT_UPDATE_LARS:
        update_lars(&own, p, g, s1, n);
        return NT_OK;
    case NT_UPDATE_LAMB:
        update_lamb(&own, p, g, s1, s2, own.s3, n);
        return NT_OK;
    case NT_UPDATE_STEP:
        update_step(&own, p, g, n);
        return NT_OK;
    case NT_UPDATE_LIMIT:
        update_limit(&own, p, g, n);
        return NT_OK;
    case NT_UPDATE_AVERAGE:
        update_average(&own, p, g, n);
        return NT_OK;
    case NT_N_UPDATE_RULES:
        break;
    case NT_UPDATE_STAT:
        update_stat(&own, p, g, s1, s2, n);
        return NT_OK;
    }
    NT_BUG_UNLESS(false, "update rule %d is unknown", (int)own.rule);
}
