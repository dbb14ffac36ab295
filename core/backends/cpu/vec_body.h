/* The loops of vec.h. Included by vec_<isa>.c after it has set the instruction set and defined NT_VEC_TABLE
 * and NT_VEC_NAME.
 *
 * `ivdep` promises that iterations are independent: y may be exactly x, but must not overlap it otherwise.
 * Without it the compiler guards every loop with a test for overlap, and in-place calls would run its scalar
 * version. Comparisons are written so that a NaN falls through to what keeps it. */
#include <math.h>

#define EACH(i, n) _Pragma("GCC ivdep") for (int64_t i = 0; i < (n); i++)

static void vec_add(float *y, const float *a, const float *b, int64_t n)
{
    EACH(i, n) y[i] = a[i] + b[i];
}

static void vec_add_relu(float *y, const float *a, const float *b, int64_t n)
{
    EACH(i, n)
    {
        float s = a[i] + b[i];
        y[i] = s < 0 ? 0 : s;
    }
}

static void vec_mul(float *y, const float *a, const float *b, int64_t n)
{
    EACH(i, n) y[i] = a[i] * b[i];
}

static void vec_scale(float *y, const float *x, float factor, int64_t n)
{
    EACH(i, n) y[i] = factor * x[i];
}

static void vec_affine(float *y, const float *x, float scale, float shift, int64_t n)
{
    EACH(i, n) y[i] = x[i] * scale + shift;
}

static void vec_affine_u8(float *y, const uint8_t *x, float scale, float shift, int64_t n)
{
    EACH(i, n) y[i] = (float)x[i] * scale + shift;
}

static void vec_relu(float *y, const float *x, int64_t n)
{
    EACH(i, n) y[i] = x[i] < 0 ? 0 : x[i];
}

static void vec_relu_backward(float *dx, const float *dy, const float *y, int64_t n)
{
    EACH(i, n) dx[i] = y[i] <= 0 ? 0 : dy[i];
}

static void vec_leaky(float *y, const float *x, float slope, int64_t n)
{
    EACH(i, n) y[i] = x[i] > 0 ? x[i] : slope * x[i];
}

static void vec_leaky_backward(float *dx, const float *dy, const float *x, float slope, int64_t n)
{
    EACH(i, n) dx[i] = dy[i] * (x[i] > 0 ? 1 : slope);
}

static void vec_threshold(float *y, const float *x, int64_t n)
{
    EACH(i, n) y[i] = x[i] >= 0 ? 1.0f : x[i] < 0 ? 0.0f : x[i];
}

static void vec_logistic_backward(float *dx, const float *dy, const float *y, float beta, int64_t n)
{
    EACH(i, n) dx[i] = dy[i] * (beta * y[i] * (1.0f - y[i]));
}

/* Sixteen partial sums, added up pairwise at the end: the same result at every vector width. */
static double vec_sum_squares(const float *x, int64_t n)
{
    double part[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        EACH(j, 16) part[j] += (double)x[i + j] * (double)x[i + j];
    for (int64_t j = 0; i + j < n; j++)
        part[j] += (double)x[i + j] * (double)x[i + j];
    for (int half = 8; half > 0; half /= 2)
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
    const float b1 = u->beta1, b2 = u->beta2, c1 = 1 - b1, c2 = 1 - b2, eps = u->eps;
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

const nt_vec_ops NT_VEC_TABLE = {
    .name = NT_VEC_NAME,
    .add = vec_add,
    .add_relu = vec_add_relu,
    .mul = vec_mul,
    .scale = vec_scale,
    .affine = vec_affine,
    .affine_u8 = vec_affine_u8,
    .relu = vec_relu,
    .relu_backward = vec_relu_backward,
    .leaky = vec_leaky,
    .leaky_backward = vec_leaky_backward,
    .threshold = vec_threshold,
    .logistic_backward = vec_logistic_backward,
    .sum_squares = vec_sum_squares,
    .sgd = vec_sgd,
    .adam = vec_adam,
    .stat = vec_stat,
};
