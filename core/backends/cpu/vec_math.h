/* Activations, element by element. Part of vec_body.h.
 *
 * The exponential function is our own: the C library's does not vectorise, and oneDNN's turns a NaN into a
 * number, which would hide a diverged run. */
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

/* exp(x) = 2^n (p + 1), n and p in two pieces so that each user rounds where it can afford to: x = n ln 2 + r
 * with |r| <= ln 2 / 2, and p the Taylor series of exp(r) - 1 to r^7. Adding 1.5 * 2^23 rounds to an integer,
 * which is then in the low bits. Below -87 and above 88 it is that of the limit. */
static inline float exp_parts(float x, float *power)
{
    x = x > 88 ? 88 : x;
    x = x < -87 ? -87 : x;
    const float magic = 12582912.0f;
    float shifted = x * 1.44269504f + magic, n = shifted - magic;
    uint32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    __builtin_memcpy(power, &bits, sizeof *power);
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 720 + r * (1.0f / 5040);
    p = 1.0f / 120 + r * p;
    p = 1.0f / 24 + r * p;
    p = 1.0f / 6 + r * p;
    p = 0.5f + r * p;
    return r + r * r * p;
}

/* exp(x) - 1, relative error below 4e-7 also near 0. */
static inline float expm1_of(float x)
{
    float power, p = exp_parts(x, &power);
    return power * p + (power - 1);
}

/* exp(x), relative error below 4e-7 also where it is small: many small ones may make a sum. Below -87: 0. */
static inline float exp_of(float x)
{
    float power, p = exp_parts(x, &power);
    return x < -87 ? 0 : power * p + power;
}

static inline float logistic_of(float x)
{
    return 1 / (2 + expm1_of(-x));
}

/* Distribution function of the standard normal, by Abramowitz & Stegun 7.1.26 for the error function:
 * absolute error below 2e-7. *density: exp(-x^2 / 2). */
static inline float normal_cdf(float x, float *density)
{
    float z = fabsf(x) * 0.70710678f, t = 1 / (1 + 0.3275911f * z);
    float e = exp_of(-z * z);
    float tail =
        ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t *
        e * 0.5f;
    *density = e;
    return x < 0 ? tail : 1 - tail;
}

static void vec_logistic(float *y, const float *x, float beta, int64_t n)
{
    EACH(i, n) y[i] = logistic_of(beta * x[i]);
}

static void vec_logistic_backward(float *dx, const float *dy, const float *y, float beta, int64_t n)
{
    EACH(i, n) dx[i] = dy[i] * (beta * y[i] * (1 - y[i]));
}

/* (exp(2x) - 1) / (exp(2x) + 1); beyond 20 the quotient is 1 */
static void vec_tanh(float *y, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float v = 2 * x[i], e = expm1_of(v > 40 ? 40 : v);
        y[i] = e / (e + 2);
    }
}

static void vec_tanh_backward(float *dx, const float *dy, const float *y, int64_t n)
{
    EACH(i, n) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

static void vec_elu(float *y, const float *x, float alpha, int64_t n)
{
    EACH(i, n)
    {
        float low = alpha * expm1_of(x[i]);
        y[i] = x[i] > 0 ? x[i] : low;
    }
}

static void vec_elu_backward(float *dx, const float *dy, const float *y, float alpha, int64_t n)
{
    EACH(i, n)
    {
        float slope = y[i] + alpha;
        dx[i] = dy[i] * (y[i] > 0 ? 1 : slope);
    }
}

static void vec_gelu(float *y, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float density;
        y[i] = x[i] * normal_cdf(x[i], &density);
    }
}

static void vec_gelu_backward(float *dx, const float *dy, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float density, cdf = normal_cdf(x[i], &density);
        dx[i] = dy[i] * (cdf + x[i] * density * 0.39894228f);
    }
}

static void vec_silu(float *y, const float *x, int64_t n)
{
    EACH(i, n) y[i] = x[i] * logistic_of(x[i]);
}

static void vec_silu_backward(float *dx, const float *dy, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float s = logistic_of(x[i]);
        dx[i] = dy[i] * (s * (1 + x[i] * (1 - s)));
    }
}

static inline float relu6_of(float x)
{
    float low = x < 0 ? 0 : x;
    return low > 6 ? 6 : low;
}

static void vec_relu6(float *y, const float *x, int64_t n)
{
    EACH(i, n) y[i] = relu6_of(x[i]);
}

static void vec_relu6_backward(float *dx, const float *dy, const float *y, int64_t n)
{
    EACH(i, n)
    {
        float below = y[i] < 6 ? dy[i] : 0;
        dx[i] = y[i] > 0 ? below : 0;
    }
}

static void vec_hardsigmoid(float *y, const float *x, int64_t n)
{
    EACH(i, n) y[i] = relu6_of(x[i] + 3) * (1 / 6.0f);
}

static void vec_hardsigmoid_backward(float *dx, const float *dy, const float *y, int64_t n)
{
    EACH(i, n)
    {
        float slope = dy[i] * (1 / 6.0f), below = y[i] < 1 ? slope : 0;
        dx[i] = y[i] > 0 ? below : 0;
    }
}

static void vec_hardswish(float *y, const float *x, int64_t n)
{
    EACH(i, n) y[i] = x[i] * relu6_of(x[i] + 3) * (1 / 6.0f);
}

static void vec_hardswish_backward(float *dx, const float *dy, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float middle = x[i] * (1 / 3.0f) + 0.5f, high = x[i] < 3 ? middle : 1;
        dx[i] = dy[i] * (x[i] <= -3 ? 0 : high);
    }
}

/* With e = exp(x) and w = e (e + 2): tanh(log(1 + e)) = w / (w + 2). Beyond 20 it is 1. */
static inline float mish_product(float x, float *e)
{
    *e = exp_of(x > 20 ? 20 : x);
    return *e * (*e + 2);
}

static void vec_mish(float *y, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float e, w = mish_product(x[i], &e);
        y[i] = x[i] * (w / (w + 2));
    }
}

/* t + x (1 - t^2) s, t the tanh and s the logistic function; 1 - t^2 in a form that does not cancel */
static void vec_mish_backward(float *dx, const float *dy, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float e, w = mish_product(x[i], &e), t = w / (w + 2);
        dx[i] = dy[i] * (t + x[i] * (2 / (w + 2) * (1 + t)) * (e / (1 + e)));
    }
}

/* q = exp(-2 |u|) for the argument u of gelu_tanh's tanh: tanh|u| = (1 - q) / (1 + q), and 1 - tanh^2 = 4 q /
 * (1 + q)^2 stays exact where it is small. */
static inline float gelu_tanh_q(float x, float *u)
{
    *u = 0.79788456f * (x + 0.044715f * x * x * x);
    float a = 2 * fabsf(*u);
    return 1 / exp_of(a > 80 ? 80 : a);
}

/* 1 + tanh(u) */
static inline float gelu_tanh_rise(float u, float q)
{
    return u < 0 ? 2 * q / (1 + q) : 2 / (1 + q);
}

static void vec_gelu_tanh(float *y, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float u, q = gelu_tanh_q(x[i], &u);
        y[i] = 0.5f * x[i] * gelu_tanh_rise(u, q);
    }
}

static void vec_gelu_tanh_backward(float *dx, const float *dy, const float *x, int64_t n)
{
    EACH(i, n)
    {
        float u, q = gelu_tanh_q(x[i], &u), inner = 0.79788456f * (1 + 0.134145f * x[i] * x[i]);
        dx[i] = dy[i] * (0.5f * gelu_tanh_rise(u, q) + 2 * x[i] * inner * q / ((1 + q) * (1 + q)));
    }
}

static void vec_exp_shifted(float *y, const float *x, float shift, int64_t n)
{
    EACH(i, n) y[i] = exp_of(x[i] - shift);
}
