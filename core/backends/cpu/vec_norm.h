/* Batch normalisation of one strip of channels: rows of `lanes` values side by side. Part of vec_body.h. */

/* Calls FN(lanes, relu) with constants where they are the usual ones. */
#define BY_STRIP(h, FN)                                                                                      \
    do {                                                                                                     \
        if ((h)->lanes == 16 && (h)->relu)                                                                   \
            FN(16, true);                                                                                    \
        else if ((h)->lanes == 16)                                                                           \
            FN(16, false);                                                                                   \
        else if ((h)->lanes == 8 && (h)->relu)                                                               \
            FN(8, true);                                                                                     \
        else if ((h)->lanes == 8)                                                                            \
            FN(8, false);                                                                                    \
        else                                                                                                 \
            FN((h)->lanes, (h)->relu);                                                                       \
    } while (0)

/* Independent chains of sums, to hide the latency of additions. */
enum { CHAINS = 4 };

INLINE void store_sums(float sum[2][NT_LANES], const lanes_f s[CHAINS], const lanes_f q[CHAINS])
{
    lanes_store(sum[0], (s[0] + s[1]) + (s[2] + s[3]), NT_LANES);
    lanes_store(sum[1], (q[0] + q[1]) + (q[2] + q[3]), NT_LANES);
}

/* Sums of d and d^2 where d = x - mean; mean is any value near the mean. */
INLINE void norm_sums(float sum[2][NT_LANES], const nt_vec_norm *h, const float *x, int64_t rows, int lanes)
{
    const lanes_f mean = lanes_load(h->mean, NT_LANES);
    lanes_f s[CHAINS] = {{0}}, q[CHAINS] = {{0}};
    const int64_t step = h->stride;
    int64_t r = 0;
    for (; r + CHAINS <= rows; r += CHAINS, x += CHAINS * step)
        for (int k = 0; k < CHAINS; k++) {
            lanes_f d = lanes_load(x + k * step, lanes) - mean;
            s[k] += d;
            q[k] += d * d;
        }
    for (; r < rows; r++, x += step) {
        lanes_f d = lanes_load(x, lanes) - mean;
        s[0] += d;
        q[0] += d * d;
    }
    store_sums(sum, s, q);
}

static void vec_norm_sums(float sum[2][NT_LANES], const nt_vec_norm *h, const float *x, int64_t rows)
{
#define FN(lanes, relu) norm_sums(sum, h, x, rows, lanes)
    BY_STRIP(h, FN);
#undef FN
}

INLINE void norm_apply(float *y, const nt_vec_norm *h, const float *x, int64_t rows, int lanes, bool relu)
{
    const lanes_f mean = lanes_load(h->mean, NT_LANES), factor = lanes_load(h->factor, NT_LANES),
                  bias = lanes_load(h->bias, NT_LANES);
    const int64_t step = h->stride;
    for (int64_t r = 0; r < rows; r++, x += step, y += step) {
        lanes_f t = (lanes_load(x, lanes) - mean) * factor + bias;
        if (relu) t = lanes_unless(t < 0, t);
        if (relu) t = lanes_select(t > h->top, lanes_of(h->top), t);
        lanes_store(y, t, lanes);
    }
}

static void vec_norm_apply(float *y, const nt_vec_norm *h, const float *x, int64_t rows)
{
#define FN(lanes, relu) norm_apply(y, h, x, rows, lanes, relu)
    BY_STRIP(h, FN);
#undef FN
}

/* dz where the output t was between 0 and top, or is a NaN. */
INLINE lanes_f lanes_inside(lanes_f t, float top, lanes_f dz)
{
    return lanes_unless((t <= 0) | (t >= top), dz);
}

/* Sums of dz and dz (x - mean). dz is dy where the output was positive, found by the same expression as in
 * forward, hence with the same bits. */
INLINE void norm_backward_sums(float sum[2][NT_LANES], const nt_vec_norm *h, const float *dy, const float *x,
                               int64_t rows, int lanes, bool relu)
{
    const lanes_f mean = lanes_load(h->mean, NT_LANES), factor = lanes_load(h->factor, NT_LANES),
                  bias = lanes_load(h->bias, NT_LANES);
    lanes_f s[CHAINS] = {{0}}, q[CHAINS] = {{0}};
    const int64_t step = h->stride;
    for (int64_t r = 0; r < rows; r += CHAINS)
        for (int k = 0; k < CHAINS && r + k < rows; k++, x += step, dy += step) {
            lanes_f d = lanes_load(x, lanes) - mean, dz = lanes_load(dy, lanes);
            if (relu) dz = lanes_inside(d * factor + bias, h->top, dz);
            s[k] += dz;
            q[k] += dz * d;
        }
    store_sums(sum, s, q);
}

static void vec_norm_backward_sums(float sum[2][NT_LANES], const nt_vec_norm *h, const float *dy,
                                   const float *x, int64_t rows)
{
#define FN(lanes, relu) norm_backward_sums(sum, h, dy, x, rows, lanes, relu)
    BY_STRIP(h, FN);
#undef FN
}

INLINE void norm_backward(float *dx, const nt_vec_norm *h, const float *dy, const float *x, int64_t rows,
                          int lanes, bool relu)
{
    const lanes_f mean = lanes_load(h->mean, NT_LANES), factor = lanes_load(h->factor, NT_LANES),
                  bias = lanes_load(h->bias, NT_LANES), slope = lanes_load(h->slope, NT_LANES),
                  offset = lanes_load(h->offset, NT_LANES);
    const int64_t step = h->stride;
    for (int64_t r = 0; r < rows; r++, x += step, dy += step, dx += step) {
        lanes_f d = lanes_load(x, lanes) - mean, dz = lanes_load(dy, lanes);
        if (relu) dz = lanes_inside(d * factor + bias, h->top, dz);
        lanes_store(dx, factor * dz - d * slope - offset, lanes);
    }
}

static void vec_norm_backward(float *dx, const nt_vec_norm *h, const float *dy, const float *x, int64_t rows)
{
#define FN(lanes, relu) norm_backward(dx, h, dy, x, rows, lanes, relu)
    BY_STRIP(h, FN);
#undef FN
}
