/* Pooling of one plane (height, width) of a strip of channels. Part of vec_body.h. */

/* Calls FN(lanes) with a constant where it is a usual one. */
#define BY_LANES(w, FN)                                                                                      \
    do {                                                                                                     \
        if ((w)->lanes == 16)                                                                                \
            FN(16);                                                                                          \
        else if ((w)->lanes == 8)                                                                            \
            FN(8);                                                                                           \
        else                                                                                                 \
            FN((w)->lanes);                                                                                  \
    } while (0)

/* The part of a window that lies inside the plane: taps [from, to) of either axis, and the element that tap
 * (0, 0) would have. */
typedef struct vec_taps {
    int64_t from[2], to[2], origin;
} vec_taps;

INLINE vec_taps taps_of(const nt_vec_window *w, int64_t p, int64_t q)
{
    const int64_t row = p * w->stride[0] - w->pad[0], col = q * w->stride[1] - w->pad[1];
    return (vec_taps){
        .from = {row < 0 ? -row : 0, col < 0 ? -col : 0},
        .to = {w->size[0] - row < w->kernel[0] ? w->size[0] - row : w->kernel[0],
               w->size[1] - col < w->kernel[1] ? w->size[1] - col : w->kernel[1]},
        .origin = (row * w->size[1] + col) * w->pixel,
    };
}

#define EACH_TAP(w, t, r, s)                                                                                 \
    for (int64_t r = (t).from[0]; r < (t).to[0]; r++)                                                        \
        for (int64_t s = (t).from[1]; s < (t).to[1]; s++)

INLINE int64_t tap_at(const nt_vec_window *w, vec_taps t, int64_t r, int64_t s)
{
    return t.origin + (r * w->size[1] + s) * w->pixel;
}

/* The first largest value wins; a NaN is larger than all. With relu a window without a positive value has
 * tap -1: nothing flows back. */
INLINE void max_start(const nt_vec_window *w, lanes_f first, int32_t tap, lanes_f *best, lanes_i *at)
{
    *best = first;
    *at = (lanes_i){0} + tap;
    if (!w->relu) return;
    lanes_i low = first <= 0;
    *best = lanes_unless(low, first);
    *at = lanes_select_i(low, (lanes_i){0} - 1, *at);
}

INLINE void max_next(lanes_f from, int32_t tap, lanes_f *best, lanes_i *at)
{
    const lanes_i keeps = (from <= *best) | (*best != *best);
    *at = lanes_select_i(keeps, *at, (lanes_i){0} + tap);
    *best = lanes_select(keeps, *best, from);
}

INLINE void max_of_window(const nt_vec_window *w, vec_taps t, float *y, int32_t *tap, const float *x,
                          int lanes)
{
    lanes_f best;
    lanes_i at;
    max_start(w, lanes_load(x + tap_at(w, t, t.from[0], t.from[1]), lanes),
              (int32_t)(t.from[0] * w->kernel[1] + t.from[1]), &best, &at);
    EACH_TAP(w, t, r, s)
    max_next(lanes_load(x + tap_at(w, t, r, s), lanes), (int32_t)(r * w->kernel[1] + s), &best, &at);
    lanes_store(y, best, lanes);
    lanes_store_i(tap, at, lanes);
}

/* The usual case, without a border to look after: 2 x 2 side by side. */
INLINE void max_pool_2x2(const nt_vec_window *w, float *y, int32_t *tap, const float *x, int lanes)
{
    const int64_t row = w->size[1] * w->pixel, col = w->pixel;
    for (int64_t p = 0; p < w->out[0]; p++, x += 2 * row)
        for (int64_t q = 0; q < w->out[1]; q++, y += col, tap += col) {
            const float *from = x + 2 * q * col;
            lanes_f best;
            lanes_i at;
            max_start(w, lanes_load(from, lanes), 0, &best, &at);
            max_next(lanes_load(from + col, lanes), 1, &best, &at);
            max_next(lanes_load(from + row, lanes), 2, &best, &at);
            max_next(lanes_load(from + row + col, lanes), 3, &best, &at);
            lanes_store(y, best, lanes);
            lanes_store_i(tap, at, lanes);
        }
}

INLINE bool is_2x2(const nt_vec_window *w)
{
    return w->covers && w->kernel[0] == 2 && w->kernel[1] == 2;
}

INLINE void max_pool(const nt_vec_window *w, float *y, int32_t *tap, const float *x, int lanes)
{
    if (is_2x2(w)) {
        max_pool_2x2(w, y, tap, x, lanes);
        return;
    }
    for (int64_t p = 0; p < w->out[0]; p++)
        for (int64_t q = 0; q < w->out[1]; q++, y += w->pixel, tap += w->pixel)
            max_of_window(w, taps_of(w, p, q), y, tap, x, lanes);
}

static void vec_max_pool(const nt_vec_window *w, float *y, int32_t *tap, const float *x)
{
#define FN(lanes) max_pool(w, y, tap, x, lanes)
    BY_LANES(w, FN);
#undef FN
}

INLINE void max_pool_backward_2x2(const nt_vec_window *w, float *dx, const float *dy, const int32_t *tap,
                                  int lanes)
{
    const int64_t row = w->size[1] * w->pixel, col = w->pixel;
    for (int64_t p = 0; p < w->out[0]; p++, dx += 2 * row)
        for (int64_t q = 0; q < w->out[1]; q++, dy += col, tap += col) {
            float *to = dx + 2 * q * col;
            const lanes_f own = lanes_load(dy, lanes);
            const lanes_i at = lanes_load_i(tap, lanes);
            lanes_store(to, lanes_unless(at != 0, own), lanes);
            lanes_store(to + col, lanes_unless(at != 1, own), lanes);
            lanes_store(to + row, lanes_unless(at != 2, own), lanes);
            lanes_store(to + row + col, lanes_unless(at != 3, own), lanes);
        }
}

INLINE void max_pool_backward(const nt_vec_window *w, float *dx, const float *dy, const int32_t *tap,
                              int lanes, bool covers)
{
    if (is_2x2(w)) {
        max_pool_backward_2x2(w, dx, dy, tap, lanes);
        return;
    }
    for (int64_t p = 0; p < w->out[0]; p++)
        for (int64_t q = 0; q < w->out[1]; q++, dy += w->pixel, tap += w->pixel) {
            const vec_taps t = taps_of(w, p, q);
            const lanes_f own = lanes_load(dy, lanes);
            const lanes_i at = lanes_load_i(tap, lanes);
            EACH_TAP(w, t, r, s)
            {
                float *to = dx + tap_at(w, t, r, s);
                const lanes_i here = (lanes_i){0} + (int32_t)(r * w->kernel[1] + s);
                lanes_f d = lanes_unless(at != here, own);
                lanes_store(to, covers ? d : lanes_load(to, lanes) + d, lanes);
            }
        }
}

static void vec_max_pool_backward(const nt_vec_window *w, float *dx, const float *dy, const int32_t *tap)
{
#define FN(lanes)                                                                                            \
    w->covers ? max_pool_backward(w, dx, dy, tap, lanes, true)                                               \
              : max_pool_backward(w, dx, dy, tap, lanes, false)
    BY_LANES(w, FN);
#undef FN
}

/* Taps of one axis that the sum is divided by. */
INLINE int64_t counted(const nt_vec_window *w, vec_taps t, int axis, int64_t out)
{
    if (!w->counts) return t.to[axis] - t.from[axis];
    const int64_t first = out * w->stride[axis] - w->pad[axis], end = w->size[axis] + w->pad_end[axis];
    return end - first < w->kernel[axis] ? end - first : w->kernel[axis];
}

INLINE float one_over_count(const nt_vec_window *w, vec_taps t, int64_t p, int64_t q)
{
    return 1 / (float)(counted(w, t, 0, p) * counted(w, t, 1, q));
}

INLINE void avg_pool(const nt_vec_window *w, float *y, const float *x, int lanes)
{
    for (int64_t p = 0; p < w->out[0]; p++)
        for (int64_t q = 0; q < w->out[1]; q++, y += w->pixel) {
            const vec_taps t = taps_of(w, p, q);
            lanes_f sum = {0};
            EACH_TAP(w, t, r, s) sum += lanes_load(x + tap_at(w, t, r, s), lanes);
            lanes_store(y, sum * one_over_count(w, t, p, q), lanes);
        }
}

static void vec_avg_pool(const nt_vec_window *w, float *y, const float *x)
{
#define FN(lanes) avg_pool(w, y, x, lanes)
    BY_LANES(w, FN);
#undef FN
}

INLINE void avg_pool_backward(const nt_vec_window *w, float *dx, const float *dy, int lanes)
{
    for (int64_t p = 0; p < w->out[0]; p++)
        for (int64_t q = 0; q < w->out[1]; q++, dy += w->pixel) {
            const vec_taps t = taps_of(w, p, q);
            const lanes_f share = lanes_load(dy, lanes) * one_over_count(w, t, p, q);
            EACH_TAP(w, t, r, s)
            {
                float *to = dx + tap_at(w, t, r, s);
                lanes_store(to, w->covers ? share : lanes_load(to, lanes) + share, lanes);
            }
        }
}

static void vec_avg_pool_backward(const nt_vec_window *w, float *dx, const float *dy)
{
#define FN(lanes) avg_pool_backward(w, dx, dy, lanes)
    BY_LANES(w, FN);
#undef FN
}
