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
    case NT_UPDATE_STAT:
        update_stat(&own, p, g, s1, s2, n);
        return NT_OK;
    }
    NT_BUG_UNLESS(false, "update rule %d is unknown", (int)own.rule);
}
