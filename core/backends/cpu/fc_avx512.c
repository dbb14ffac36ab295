/* Tiles of fully connected layers in AVX-512. Every tile is 28 sums at most, two registers of b and one
 * factor that is broadcast, so that a step is 28 multiply-adds on 16 loads. */
#include "core/backends/cpu/fc_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,fma,prfchw")

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum { FORWARD, WEIGHTS, WEIGHTS_SGD, DATA };

INLINE __m512 load(const float *p, __mmask16 m, int kind)
{
    return kind == FORWARD ? _mm512_maskz_loadu_ps(m, p) : _mm512_loadu_ps(p);
}

INLINE void store(float *p, __m512 v, __mmask16 m, int kind)
{
    if (kind == FORWARD)
        _mm512_mask_storeu_ps(p, m, v);
    else
        _mm512_storeu_ps(p, v);
}

/* One step for 16 weights: the same operations in the same order as the flat loop (vec_update.h). */
INLINE void sgd_step(const nt_fc_sgd *u, float *p, float *velocity, __m512 g)
{
    const __m512 w = _mm512_loadu_ps(p), mu = _mm512_set1_ps(u->momentum);
    __m512 step = _mm512_mul_ps(_mm512_set1_ps(u->grad_scale), g);
    step = _mm512_add_ps(step, _mm512_mul_ps(_mm512_set1_ps(u->weight_decay), w));
    const __m512 v = _mm512_add_ps(_mm512_mul_ps(mu, _mm512_loadu_ps(velocity)), step);
    const __m512 along = u->nesterov ? _mm512_add_ps(step, _mm512_mul_ps(mu, v)) : v;
    _mm512_storeu_ps(velocity, v);
    _mm512_storeu_ps(p, _mm512_sub_ps(w, _mm512_mul_ps(_mm512_set1_ps(u->lr), along)));
}

/* The end of a tile whose sums are a gradient that nobody else wants. */
INLINE void use_up(const nt_fc_tile *t, __m512 sum[NT_FC_ROWS][2], int rows)
{
    const nt_fc_sgd u = *t->sgd; /* a copy: the stores below cannot change it */
    float *p = t->p, *velocity = t->c;
    __m512d squares = _mm512_loadu_pd(t->squares);
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < 2; v++)
    {
        const int at = r * NT_FC_PANEL + 16 * v;
        const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(sum[r][v])),
                      high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(sum[r][v], 1));
        squares = _mm512_fmadd_pd(low, low, _mm512_fmadd_pd(high, high, squares));
        sgd_step(&u, p + at, velocity + at, sum[r][v]);
    }
    _mm512_storeu_pd(t->squares, squares);
}

INLINE void tile(const nt_fc_tile *t, const int rows, const int kind)
{
    const __mmask16 m0 = (__mmask16)t->mask, m1 = (__mmask16)(t->mask >> 16);
    const int64_t c_row = kind == FORWARD ? t->c_row : NT_FC_PANEL, len = t->len;
    const int64_t b_row = kind == DATA ? NT_FC_COLS : NT_FC_PANEL;
    const float *b = t->b, *fetch = t->fetch, *fetch_p = kind == WEIGHTS_SGD ? t->p + (fetch - t->c) : NULL;
    __m512 sum[NT_FC_ROWS][2];
    if (kind != WEIGHTS_SGD && t->accumulate) {
        UNROLL for (int r = 0; r < rows; r++)
        {
            sum[r][0] = load(t->c + r * c_row, m0, kind);
            sum[r][1] = load(t->c + r * c_row + 16, m1, kind);
        }
    } else {
        const bool bias = kind == FORWARD && t->bias;
        const __m512 start0 = bias ? load(t->bias, m0, kind) : _mm512_setzero_ps();
        const __m512 start1 = bias ? load(t->bias + 16, m1, kind) : _mm512_setzero_ps();
        UNROLL for (int r = 0; r < rows; r++)
        {
            sum[r][0] = start0;
            sum[r][1] = start1;
        }
    }
    for (int64_t s = 0; s < t->n_segments; s++) {
        const float *a = t->a + s * t->a_segment, *next = a + rows * NT_FC_PANEL, *twin = a;
        __asm__("" : "+r"(twin)); /* the compiler no longer knows that it is a */
        const int64_t step = kind == DATA ? 1 : rows;
        _Pragma("GCC unroll 4") for (int64_t i = 0; i < len; i++, a += step, twin += step, b += b_row)
        {
            if (kind == FORWARD) _mm_prefetch((const char *)(fetch + i * NT_FC_PANEL), _MM_HINT_T0);
            if (kind == DATA) _mm_prefetch((const char *)(next + i * 16), _MM_HINT_T0);
            if (kind == WEIGHTS || kind == WEIGHTS_SGD) __builtin_prefetch(fetch + i * 16, 1);
            if (kind == WEIGHTS_SGD) __builtin_prefetch(fetch_p + i * 16, 1);
            const __m512 b0 = _mm512_loadu_ps(b), b1 = _mm512_loadu_ps(b + 16);
            UNROLL for (int r = 0; r < rows; r++)
            {
                const int at = kind == DATA ? r * NT_FC_PANEL : r;
                const __m512 f0 = _mm512_set1_ps(a[at]), f1 = r % 3 == 1 ? _mm512_set1_ps(twin[at]) : f0;
                sum[r][0] = _mm512_fmadd_ps(f0, b0, sum[r][0]);
                sum[r][1] = _mm512_fmadd_ps(f1, b1, sum[r][1]);
            }
        }
    }
    if (kind == FORWARD && t->relu) {
        const __m512 zero = _mm512_setzero_ps(); /* first, for the second operand is what a NaN becomes */
        UNROLL for (int r = 0; r < rows; r++)
        {
            sum[r][0] = _mm512_max_ps(zero, sum[r][0]);
            sum[r][1] = _mm512_max_ps(zero, sum[r][1]);
        }
    }
    if (kind == WEIGHTS_SGD) {
        use_up(t, sum, rows);
        return;
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        store(t->c + r * c_row, sum[r][0], m0, kind);
        store(t->c + r * c_row + 16, sum[r][1], m1, kind);
    }
}

#define TILES(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define DEFINE(rows)                                                                                         \
    static void forward##rows(const nt_fc_tile *t)                                                           \
    {                                                                                                        \
        tile(t, rows, FORWARD);                                                                              \
    }                                                                                                        \
    static void weights##rows(const nt_fc_tile *t)                                                           \
    {                                                                                                        \
        tile(t, rows, WEIGHTS);                                                                              \
    }                                                                                                        \
    static void weights_sgd##rows(const nt_fc_tile *t)                                                       \
    {                                                                                                        \
        tile(t, rows, WEIGHTS_SGD);                                                                          \
    }                                                                                                        \
    static void data##rows(const nt_fc_tile *t)                                                              \
    {                                                                                                        \
        tile(t, rows, DATA);                                                                                 \
    }
TILES(DEFINE)

INLINE __mmask16 first(int64_t n)
{
    return n >= 16 ? 0xffff : n <= 0 ? 0 : (__mmask16)((1u << n) - 1);
}

/* v where y > 0 or y is NaN, else 0. */
INLINE __m512 masked_load(__mmask16 m, const float *v, const float *y)
{
    if (y) m = _mm512_mask_cmp_ps_mask(m, _mm512_maskz_loadu_ps(m, y), _mm512_setzero_ps(), _CMP_NLE_UQ);
    return _mm512_maskz_loadu_ps(m, v);
}

/* 16 x 16 in registers: pairs, quadruples, then blocks of four lanes. */
INLINE void transpose16(__m512 x[16])
{
    __m512 t[16];
    UNROLL for (int i = 0; i < 8; i++)
    {
        t[2 * i] = _mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        __m512d a = _mm512_castps_pd(t[4 * i]), b = _mm512_castps_pd(t[4 * i + 1]),
                c = _mm512_castps_pd(t[4 * i + 2]), d = _mm512_castps_pd(t[4 * i + 3]);
        x[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        x[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        x[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        x[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        t[i] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xdd);
    }
    UNROLL for (int i = 0; i < 8; i++)
    {
        x[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        x[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

static void transpose(float *dst, int64_t ldd, const float *src, const float *y, int64_t lds, int64_t rows,
                      int64_t cols)
{
    for (int64_t c = 0; c < cols; c += 16, dst += 16 * ldd) {
        const __mmask16 m = first(cols - c);
        __m512 x[16];
        UNROLL for (int r = 0; r < 16; r++)
        {
            const bool inside = r < rows;
            x[r] = masked_load(inside ? m : 0, src + (inside ? r : 0) * lds + c,
                               y ? y + (inside ? r : 0) * lds + c : 0);
        }
        transpose16(x);
        if (cols - c >= 16)
            UNROLL for (int i = 0; i < 16; i++) _mm512_storeu_ps(dst + i * ldd, x[i]);
        else
            UNROLL for (int i = 0; i < 16; i++) if (i < cols - c) _mm512_storeu_ps(dst + i * ldd, x[i]);
    }
}

static void turn(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t rows, int64_t cols)
{
    __m512 x[16];
    UNROLL for (int c = 0; c < 16; c++) x[c] =
        _mm512_maskz_loadu_ps(c < cols ? first(rows) : 0, src + (c < cols ? c : 0) * lds);
    transpose16(x);
    UNROLL for (int r = 0; r < 16; r++) if (r < rows) _mm512_mask_storeu_ps(dst + r * ldd, first(cols), x[r]);
}

static void copy(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t rows, int64_t cols)
{
    const __mmask16 m = first(cols);
    for (int64_t r = 0; r < rows; r++)
        _mm512_storeu_ps(dst + r * ldd, _mm512_maskz_loadu_ps(m, src + r * lds));
}

static void strip(float *dst, float *sum, const float *dy, const float *y, int64_t ld, int64_t rows,
                  int64_t cols)
{
    for (int64_t c = 0; c < NT_FC_PANEL; c += 16) {
        const __mmask16 m = first(cols - c);
        __m512 total = _mm512_setzero_ps();
        for (int64_t r = 0; r < rows; r++) {
            __m512 v = masked_load(m, dy + r * ld + c, y ? y + r * ld + c : 0);
            _mm512_storeu_ps(dst + r * NT_FC_PANEL + c, v);
            total = _mm512_add_ps(total, v);
        }
        _mm512_storeu_ps(sum + c, total);
    }
}

#define FORWARD_ENTRY(rows)     [rows] = forward##rows,
#define WEIGHTS_ENTRY(rows)     [rows] = weights##rows,
#define WEIGHTS_SGD_ENTRY(rows) [rows] = weights_sgd##rows,
#define DATA_ENTRY(rows)        [rows] = data##rows,
const nt_fc_kernels nt_fc_avx512 = {
    .forward = {TILES(FORWARD_ENTRY)},
    .weights = {TILES(WEIGHTS_ENTRY)},
    .weights_sgd = {TILES(WEIGHTS_SGD_ENTRY)},
    .data = {TILES(DATA_ENTRY)},
    .transpose = transpose,
    .turn = turn,
    .copy = copy,
    .strip = strip,
};

#endif
