/* Rows: softmax, layer_norm, sums of rows. Part of vec_body.h.
 *
 * Sums are in double, in NT_LANES interleaved parts, so the result does not depend on the width of vectors;
 * what does not fill a vector is added to the first parts. */
typedef double lanes_d __attribute__((vector_size(8 * NT_LANES)));

INLINE lanes_d lanes_double(lanes_f v)
{
    return __builtin_convertvector(v, lanes_d);
}

INLINE double lanes_total(lanes_d v)
{
    double sum = 0;
    for (int k = 0; k < NT_LANES; k++)
        sum += v[k];
    return sum;
}

static void vec_accumulate(double *sum, const float *x, int64_t n)
{
    EACH(i, n) sum[i] += (double)x[i];
}

static float vec_largest(const float *x, int64_t n)
{
    lanes_f tops = lanes_of(x[0]);
    int64_t i = 0;
    for (; i + NT_LANES <= n; i += NT_LANES) {
        lanes_f v = lanes_load(x + i, NT_LANES);
        tops = lanes_select(v > tops, v, tops);
    }
    float top = x[0];
    for (int k = 0; k < NT_LANES; k++)
        top = tops[k] > top ? tops[k] : top;
    for (; i < n; i++)
        top = x[i] > top ? x[i] : top;
    return top;
}

static double vec_sum(const float *x, int64_t n)
{
    lanes_d sum = {0};
    int64_t i = 0;
    for (; i + NT_LANES <= n; i += NT_LANES)
        sum += lanes_double(lanes_load(x + i, NT_LANES));
    double rest = 0;
    for (; i < n; i++)
        rest += (double)x[i];
    return lanes_total(sum) + rest;
}

static void vec_softmax(float *y, const float *x, int64_t n)
{
    const float top = vec_largest(x, n);
    EACH(i, n) y[i] = exp_of(x[i] - top);
    const float factor = (float)(1 / vec_sum(y, n));
    EACH(i, n) y[i] = factor * y[i];
}

static void vec_softmax_backward(float *dx, const float *y, int64_t n)
{
    lanes_d sum = {0};
    int64_t j = 0;
    for (; j + NT_LANES <= n; j += NT_LANES)
        sum += lanes_double(lanes_load(dx + j, NT_LANES)) * lanes_double(lanes_load(y + j, NT_LANES));
    double rest = 0;
    for (; j < n; j++)
        rest += (double)dx[j] * (double)y[j];
    const float dot = (float)(lanes_total(sum) + rest);
    EACH(i, n) dx[i] = y[i] * (dx[i] - dot);
}

/* Mean, then variance around it: one pass would cancel where the mean is large. */
static void vec_row_moments(nt_vec_moments *h, const float *x, double eps, int64_t n)
{
    const double mean = vec_sum(x, n) / (double)n;
    lanes_d squares = {0};
    int64_t i = 0;
    for (; i + NT_LANES <= n; i += NT_LANES) {
        lanes_d d = lanes_double(lanes_load(x + i, NT_LANES)) - mean;
        squares += d * d;
    }
    double rest = 0;
    for (; i < n; i++)
        rest += ((double)x[i] - mean) * ((double)x[i] - mean);
    h->mean = (float)mean;
    h->inv_std = (float)(1 / sqrt((lanes_total(squares) + rest) / (double)n + eps));
}

static void vec_row_norm(float *y, const nt_vec_moments *h, const float *x, const float *weight,
                         const float *bias, int64_t n)
{
    const float mean = h->mean, inv_std = h->inv_std;
    if (weight)
        EACH(i, n) y[i] = weight[i] * ((x[i] - mean) * inv_std) + bias[i];
    else
        EACH(i, n) y[i] = (x[i] - mean) * inv_std;
}

/* dx = inv_std (g - mean(g) - xhat mean(g xhat)), g = weight dy. */
static void vec_row_norm_backward(float *dx, const nt_vec_moments *h, const float *dy, const float *x,
                                  const float *weight, int64_t n)
{
    const float mean = h->mean, inv_std = h->inv_std;
    lanes_d sum = {0}, sum_xhat = {0};
    double rest = 0, rest_xhat = 0;
    int64_t j = 0;
    if (weight)
        EACH(i, n) dx[i] = weight[i] * dy[i];
    else if (dx != dy)
        EACH(i, n) dx[i] = dy[i];
    for (; j + NT_LANES <= n; j += NT_LANES) {
        lanes_f g = lanes_load(dx + j, NT_LANES);
        sum += lanes_double(g);
        sum_xhat += lanes_double(g * ((lanes_load(x + j, NT_LANES) - mean) * inv_std));
    }
    for (; j < n; j++) {
        rest += (double)dx[j];
        rest_xhat += (double)(dx[j] * ((x[j] - mean) * inv_std));
    }
    const float offset = (float)((lanes_total(sum) + rest) / (double)n),
                slope = (float)((lanes_total(sum_xhat) + rest_xhat) / (double)n);
    EACH(i, n) dx[i] = inv_std * (dx[i] - offset - (x[i] - mean) * inv_std * slope);
}

static void vec_row_norm_columns(double *dweight, double *dbias, const nt_vec_moments *h, const float *dy,
                                 const float *x, int64_t n)
{
    const float mean = h->mean, inv_std = h->inv_std;
    EACH(i, n)
    {
        dweight[i] += (double)(dy[i] * ((x[i] - mean) * inv_std));
        dbias[i] += (double)dy[i];
    }
}
