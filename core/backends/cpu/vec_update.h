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

/* The rules below: as in core/backends/ref/update.c, which names their sources. */
static void vec_rmsprop(const nt_update *u, float *p, const float *g, float *square, float *mean,
                        float *buffer, int64_t n)
{
    const float lr = u->lr, mu = u->momentum, decay = u->weight_decay, factor = u->grad_scale, eps = u->eps;
    const float kept = u->beta2, fresh = 1 - u->beta2;
    EACH(i, n)
    {
        float grad = factor * g[i] + decay * p[i], v = kept * square[i] + fresh * (grad * grad);
        square[i] = v;
        if (mean) {
            float m = kept * mean[i] + fresh * grad, left = v - m * m;
            mean[i] = m;
            v = left < 0 ? 0 : left;
        }
        float step = grad / (sqrtf(v) + eps);
        if (buffer) {
            step += mu * buffer[i];
            buffer[i] = step;
        }
        p[i] -= lr * step;
    }
}

static void vec_adagrad(const nt_update *u, float *p, const float *g, float *sum, int64_t n)
{
    const float lr = u->lr, decay = u->weight_decay, factor = u->grad_scale, eps = u->eps;
    EACH(i, n)
    {
        float grad = factor * g[i] + decay * p[i], s = sum[i] + grad * grad;
        sum[i] = s;
        p[i] -= lr * (grad / (sqrtf(s) + eps));
    }
}

static void vec_lion(const nt_update *u, float *p, const float *g, float *m, int64_t n)
{
    const float b1 = u->beta1, b2 = u->beta2, c1 = 1 - u->beta1, c2 = 1 - u->beta2;
    const float lr = u->lr, shrink = 1 - u->lr * u->weight_decay, factor = u->grad_scale;
    EACH(i, n)
    {
        float grad = factor * g[i], c = b1 * m[i] + c1 * grad;
        m[i] = b2 * m[i] + c2 * grad;
        p[i] = shrink * p[i] - lr * (c > 0 ? 1 : c < 0 ? -1 : c);
    }
}

static void vec_lars(const nt_update *u, float *p, const float *g, float *velocity, int64_t n)
{
    const float lr = u->lr, mu = u->momentum, decay = u->weight_decay, factor = u->grad_scale;
    EACH(i, n)
    {
        float v = mu * velocity[i] + lr * (factor * g[i] + decay * p[i]);
        velocity[i] = v;
        p[i] -= v;
    }
}

static void vec_lamb(const nt_update *u, const float *p, const float *g, float *m, float *v, float *direction,
                     int64_t n)
{
    const float b1 = u->beta1, b2 = u->beta2, c1 = 1 - u->beta1, c2 = 1 - u->beta2, eps = u->eps;
    const float unbias = 1 / u->correction1, root = 1 / u->correction2, factor = u->grad_scale;
    const float decay = u->weight_decay;
    EACH(i, n)
    {
        float grad = factor * g[i];
        float first = b1 * m[i] + c1 * grad, second = b2 * v[i] + c2 * (grad * grad);
        m[i] = first;
        v[i] = second;
        direction[i] = unbias * first / (sqrtf(second * root) + eps) + decay * p[i];
    }
}

static void vec_step(const nt_update *u, float *p, const float *g, int64_t n)
{
    const float lr = u->lr;
    EACH(i, n) p[i] -= lr * g[i];
}

static void vec_limit(const nt_update *u, float *p, const float *g, int64_t n)
{
    const float limit = u->limit;
    EACH(i, n) p[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i];
}

static void vec_average(const nt_update *u, float *p, const float *g, int64_t n)
{
    const float weight = u->lr;
    if (weight == 1)
        EACH(i, n) p[i] = g[i];
    else
        EACH(i, n) p[i] += weight * (g[i] - p[i]);
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
