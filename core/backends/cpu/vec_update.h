/* Flat ranges: norms and the update rules of core/optim.h. Part of vec_body.h. */
/* Sixty-four partial sums, added up pairwise at the end: the same result at every vector width, and enough of
 * them that an addition never waits for the one before it. */
static double vec_sum_squares(const float *x, int64_t n)
{
    enum { PARTS = 64 };
    double part[PARTS] = {0};
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        EACH(j, PARTS) part[j] += (double)x[i + j] * (double)x[i + j];
    for (int64_t j = 0; i + j < n; j++)
        part[j] += (double)x[i + j] * (double)x[i + j];
    for (int half = PARTS / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            part[j] += part[j + half];
    return part[0];
}

static void vec_sgd(const nt_update *u, float *p, const float *g, float *velocity, int64_t n)
{
    const float lr = u->lr, mu = u->momentum, decay = u->weight_decay, factor = u->grad_scale;
    if (!velocity)
        EACH(i, n) p[i] -= lr * (factor * g[i] + decay * p[i]);
    else if (u->nesterov)
        EACH(i, n)
        {
            float step = factor * g[i] + decay * p[i], v = mu * velocity[i] + step;
            velocity[i] = v;
            p[i] -= lr * (step + mu * v);
        }
    else
        EACH(i, n)
        {
            float v = mu * velocity[i] + (factor * g[i] + decay * p[i]);
            velocity[i] = v;
            p[i] -= lr * v;
        }
}

/* Kingma & Ba 2015, algorithm 1; decoupled decay: Loshchilov & Hutter 2019, algorithm 2. */
static void vec_adam(const nt_update *u, float *p, const float *g, float *m, float *v, int64_t n)
{
    const float b1 = u->beta1, b2 = u->beta2, c1 = 1 - u->beta1, c2 = 1 - u->beta2, eps = u->eps;
    const float rate = u->lr / u->correction1, root = 1 / u->correction2, factor = u->grad_scale;
    const float coupled = u->decoupled ? 0 : u->weight_decay;
    const float shrink = u->decoupled ? 1 - u->lr * u->weight_decay : 1;
    EACH(i, n)
    {
        float grad = factor * g[i] + coupled * p[i];
        float first = b1 * m[i] + c1 * grad, second = b2 * v[i] + c2 * (grad * grad);
        m[i] = first;
        v[i] = second;
        p[i] = shrink * p[i] - rate * first / (sqrtf(second * root) + eps);
    }
}

static void vec_stat(const nt_update *u, float *mean, const float *a, float *var, const float *b, int64_t n)
{
    const float momentum = u->momentum, unbias = u->correction1;
    EACH(i, n)
    {
        float batch_var = (b[i] - a[i] * a[i]) * unbias;
        mean[i] += momentum * a[i];
        var[i] += momentum * (batch_var - var[i]);
    }
}
