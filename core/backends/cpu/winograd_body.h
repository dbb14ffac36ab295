/* The Winograd kernels, once per instruction set; the including file defines vec, vec_*, LANES and W_*.
 *
 * The matrices follow from the points a_p alone (Toom-Cook; Lavin & Gray 2016, section 4.1): A[p][k] = a_p^k,
 * G[p][k] = a_p^k / prod_q (a_p - a_q), row p of B^T holds the coefficients of prod_{q != p} (x - a_q), and
 * the point at infinity takes the highest coefficient. The points come in pairs +-a, and the rows of a pair
 * differ only in the sign of their odd columns: so each pair shares its even and its odd sum, which halves
 * the work. All coefficients are compile-time constants once the loops below are unrolled: zeros vanish. */
#include "core/backends/cpu/winograd_kernels.h"

#include <string.h>

#define W_INLINE static inline __attribute__((always_inline)) W_TARGET
#define W_UNROLL _Pragma("GCC unroll 16")

enum { VPR = 16 / LANES, MAX_TILE = 8 };

/* 0, +-3/4, +-3/2: about half the error of the usual 0, +-1, +-2, and powers of few bits */
static const float power6[6][5] = {{1, 0, 0, 0, 0},
                                   {1, 0.75f, 0.5625f, 0.421875f, 0.31640625f},
                                   {1, -0.75f, 0.5625f, -0.421875f, 0.31640625f},
                                   {1, 1.5f, 2.25f, 3.375f, 5.0625f},
                                   {1, -1.5f, 2.25f, -3.375f, 5.0625f},
                                   {0, 0, 0, 0, 0}};
static const float norm6[6] = {64.f / 81, -128.f / 243, -128.f / 243, 32.f / 243, 32.f / 243, 1};
static const float data6[6][6] = {{1.265625f, 0, -2.8125f, 0, 1, 0},    {0, -1.6875f, -2.25f, 0.75f, 1, 0},
                                  {0, 1.6875f, -2.25f, -0.75f, 1, 0},   {0, -0.84375f, -0.5625f, 1.5f, 1, 0},
                                  {0, 0.84375f, -0.5625f, -1.5f, 1, 0}, {0, 1.265625f, 0, -2.8125f, 0, 1}};

/* 0, +-1, +-2, +-1/2 */
static const float power8[8][6] = {{1, 0, 0, 0, 0, 0},
                                   {1, 1, 1, 1, 1, 1},
                                   {1, -1, 1, -1, 1, -1},
                                   {1, 2, 4, 8, 16, 32},
                                   {1, -2, 4, -8, 16, -32},
                                   {1, 1.f / 2, 1.f / 4, 1.f / 8, 1.f / 16, 1.f / 32},
                                   {1, -1.f / 2, 1.f / 4, -1.f / 8, 1.f / 16, -1.f / 32},
                                   {0, 0, 0, 0, 0, 0}};
static const float norm8[8] = {-1, -2.f / 9, -2.f / 9, 1.f / 90, 1.f / 90, 32.f / 45, 32.f / 45, 1};
static const float data8[8][8] = {
    {-1, 0, 5.25f, 0, -5.25f, 0, 1, 0},        {0, 1, 1, -4.25f, -4.25f, 1, 1, 0},
    {0, -1, 1, 4.25f, -4.25f, -1, 1, 0},       {0, 0.5f, 0.25f, -2.5f, -1.25f, 2, 1, 0},
    {0, -0.5f, 0.25f, 2.5f, -1.25f, -2, 1, 0}, {0, 2, 4, -2.5f, -5, 0.5f, 1, 0},
    {0, -2, 4, 2.5f, -5, -0.5f, 1, 0},         {0, -1, 0, 5.25f, 0, -5.25f, 0, 1}};

/* B^T [t][t], A [t][k] and G [t][k] of `tile` points */
typedef enum matrix { DATA, POWER, FILTER } matrix;

W_INLINE float coef(matrix which, int tile, int k, int p, int j)
{
    if (which == DATA) return tile == 6 ? data6[p][j] : data8[p][j];
    if (p == tile - 1) return j == k - 1 ? 1.f : 0.f;
    const float a = tile == 6 ? power6[p][j] : power8[p][j];
    return which == POWER ? a : a * (tile == 6 ? norm6[p] : norm8[p]);
}

/* sum + c x; `some` tells whether sum holds anything yet */
W_INLINE vec plus(vec sum, bool some, float c, vec x)
{
    if (c == 1.f) return some ? sum + x : x;
    if (c == -1.f && some) return sum - x;
    return some ? vec_fma(vec_set1(c), x, sum) : vec_set1(c) * x;
}

/* sum of coef(p, j) x[j] over j = first, first + by, ... */
W_INLINE vec combine(matrix which, int tile, int k, int p, const vec *x, int first, int by)
{
    vec sum = vec_set1(0.f);
    bool some = false;
    W_UNROLL for (int j = first; j < k; j += by)
    {
        const float c = coef(which, tile, k, p, j);
        if (c != 0.f) {
            sum = plus(sum, some, c, x[j]);
            some = true;
        }
    }
    return sum;
}

/* out[tile] = matrix [tile][k] times x[k] */
W_INLINE void expand(matrix which, int tile, int k, const vec *x, vec *out)
{
    out[0] = combine(which, tile, k, 0, x, 0, 1);
    W_UNROLL for (int p = 1; p < tile - 1; p += 2)
    {
        const vec even = combine(which, tile, k, p, x, 0, 2), odd = combine(which, tile, k, p, x, 1, 2);
        out[p] = even + odd;
        out[p + 1] = even - odd;
    }
    out[tile - 1] = combine(which, tile, k, tile - 1, x, 0, 1);
}

/* out[k] = transposed matrix [k][tile] times x[tile] */
W_INLINE void contract(matrix which, int tile, int k, const vec *x, vec *out)
{
    vec sum[MAX_TILE], diff[MAX_TILE];
    W_UNROLL for (int p = 1; p < tile - 1; p += 2)
    {
        sum[p] = x[p] + x[p + 1];
        diff[p] = x[p] - x[p + 1];
    }
    W_UNROLL for (int j = 0; j < k; j++)
    {
        vec total = vec_set1(0.f);
        bool some = false;
        W_UNROLL for (int p = 1; p < tile - 1; p += 2)
        {
            total = plus(total, some, coef(which, tile, k, p, j), j % 2 ? diff[p] : sum[p]);
            some = true;
        }
        if (j == 0) total = plus(total, true, coef(which, tile, k, 0, 0), x[0]);
        if (j == k - 1) total = plus(total, true, 1.f, x[tile - 1]);
        out[j] = total;
    }
}

/* to (xi)[LANES] = M f M^T of the k x k values at f, `row` and 16 floats apart (or `col`) */
W_INLINE void expand_2d(matrix which, int tile, int k, const float *f, int64_t row, int64_t col, float *to,
                        int64_t xi)
{
    vec part[MAX_TILE][MAX_TILE];
    for (int j = 0; j < k; j++) {
        vec x[MAX_TILE], out[MAX_TILE];
        W_UNROLL for (int i = 0; i < k; i++) x[i] = vec_load(f + i * row + j * col);
        expand(which, tile, k, x, out);
        W_UNROLL for (int p = 0; p < tile; p++) part[p][j] = out[p];
    }
    for (int p = 0; p < tile; p++) {
        vec out[MAX_TILE];
        expand(which, tile, k, part[p], out);
        W_UNROLL for (int q = 0; q < tile; q++) vec_store(to + (p * tile + q) * xi, out[q]);
    }
}

/* out[k][k] = M^T f M of the tile x tile values at f, xi floats apart */
W_INLINE void contract_2d(matrix which, int tile, int k, const float *f, int64_t xi, vec (*out)[MAX_TILE])
{
    vec part[MAX_TILE][MAX_TILE];
    for (int q = 0; q < tile; q++) {
        vec x[MAX_TILE], sums[MAX_TILE];
        W_UNROLL for (int p = 0; p < tile; p++) x[p] = vec_load(f + (p * tile + q) * xi);
        contract(which, tile, k, x, sums);
        W_UNROLL for (int i = 0; i < k; i++) part[i][q] = sums[i];
    }
    for (int i = 0; i < k; i++)
        contract(which, tile, k, part[i], out[i]);
}

/* Where a tile lies. */
typedef struct place {
    int64_t image, y, x; /* y and x of its corner, may be outside */
} place;

static place place_of(const nt_winograd_map *map, int64_t t)
{
    const int64_t ty = t / map->tiles_x;
    return (place){ty / map->tiles_y, ty % map->tiles_y * map->step - map->pad_h,
                   t % map->tiles_x * map->step - map->pad_w};
}

static void place_next(const nt_winograd_map *map, place *at)
{
    at->x += map->step;
    if (at->x + map->pad_w < map->tiles_x * map->step) return;
    at->x = -map->pad_w;
    at->y += map->step;
    if (at->y + map->pad_h < map->tiles_y * map->step) return;
    at->y = -map->pad_h;
    at->image++;
}

static bool place_inside(const nt_winograd_map *map, const place *at, int size)
{
    return at->y >= 0 && at->x >= 0 && at->y + size <= map->h && at->x + size <= map->w;
}

/* Distance of pixels, and of channel l (0 or LANES) of a block from the first. */
W_INLINE int64_t pixel_of(const nt_winograd_map *map)
{
    return VPR == 1 ? 16 : map->pixel;
}

W_INLINE int64_t lane_at(const nt_winograd_map *map, int l)
{
    return VPR == 1 || l == 0 ? 0 : map->half;
}

/* to [size][size][16] = the values at `at`, zero outside of the map */
W_INLINE void copy_edge(const nt_winograd_map *map, const place *at, int size, const float *x, float *to)
{
    for (int i = 0; i < size; i++) {
        const bool row = at->y + i >= 0 && at->y + i < map->h;
        for (int j = 0; j < size; j++, to += 16) {
            const bool in = row && at->x + j >= 0 && at->x + j < map->w;
            const float *from = x + ((at->y + i) * map->w + at->x + j) * pixel_of(map);
            W_UNROLL for (int l = 0; l < 16; l += LANES)
                vec_store(to + l, in ? vec_load(from + lane_at(map, l)) : vec_set1(0.f));
        }
    }
}

W_INLINE void add_tile(float *sum, const float *x, int64_t row, int64_t col, int k)
{
    vec total = vec_load(sum);
    for (int i = 0; i < k; i++)
        W_UNROLL for (int j = 0; j < k; j++) total += vec_load(x + i * row + j * col);
    vec_store(sum, total);
}

/* `sum` (16), unless NULL, += all values */
W_INLINE void expand_tiles(matrix which, int tile, int k, const nt_winograd_map *map, const float *x,
                           int64_t t0, int64_t n, float *to, int64_t xi, float *sum)
{
    float edge[MAX_TILE * MAX_TILE * 16] __attribute__((aligned(64)));
    place at = place_of(map, t0);
    for (int64_t t = 0; t < n; t++, place_next(map, &at)) {
        const float *image = x + at.image * map->image, *from = edge;
        int64_t col = 16, row = k * 16;
        const bool inside = place_inside(map, &at, k);
        if (inside) {
            col = pixel_of(map);
            from = image + (at.y * map->w + at.x) * col;
            row = map->w * col;
        } else {
            copy_edge(map, &at, k, image, edge);
        }
        for (int l = 0; l < 16; l += LANES) {
            const float *lanes = from + (inside ? lane_at(map, l) : l);
            expand_2d(which, tile, k, lanes, row, col, to + t * 16 + l, xi);
            if (sum) add_tile(sum + l, lanes, row, col, k);
        }
    }
}

/* The part of the m x m values that is inside of the map goes to it. */
W_INLINE void store_tile(const nt_winograd_map *map, const place *at, int m, vec (*out)[MAX_TILE], float *y)
{
    const int64_t rows = map->h - at->y, cols = map->w - at->x, pixel = pixel_of(map);
    float *to = y + at->image * map->image + (at->y * map->w + at->x) * pixel;
    for (int i = 0; i < m && i < rows; i++, to += map->w * pixel)
        W_UNROLL for (int j = 0; j < m; j++) if (j < cols) vec_store(to + j * pixel, out[i][j]);
}

W_INLINE void output_tiles(int tile, int m, const nt_winograd_map *map, float *y, int64_t t0, int64_t n,
                           const float *from, int64_t xi, const float *bias, bool relu)
{
    const vec zero = vec_set1(0.f);
    place at = place_of(map, t0);
    for (int64_t t = 0; t < n; t++, place_next(map, &at)) {
        for (int l = 0; l < 16; l += LANES) {
            vec out[MAX_TILE][MAX_TILE];
            contract_2d(POWER, tile, m, from + t * 16 + l, xi, out);
            const vec b = bias ? vec_load(bias + l) : zero;
            for (int i = 0; i < m; i++)
                W_UNROLL for (int j = 0; j < m; j++) out[i][j] =
                    relu ? vec_max(zero, out[i][j] + b) : out[i][j] + b;
            store_tile(map, &at, m, out, y + lane_at(map, l));
        }
    }
}

/* Where a block of filters has element i of [16 channels][16 filters]. */
W_INLINE int64_t filter_at(const nt_winograd_filter_map *map, int i)
{
    if (VPR == 1) return i;
    return i / 128 * map->half_c + i / 16 % 8 * map->channel + i / 8 % 2 * map->half_k + i % 8;
}

W_INLINE int64_t tap_of(const nt_winograd_filter_map *map)
{
    return VPR == 1 ? 256 : map->tap;
}

/* to [taps][16][16]: the taps in reverse order, each block transposed */
W_INLINE void turn_filter(const nt_winograd_filter_map *map, const float *w, int taps, float *to)
{
    for (int k = 0; k < taps; k++)
        for (int i = 0; i < 256; i++)
            to[(taps - 1 - k) * 256 + i % 16 * 16 + i / 16] = w[k * tap_of(map) + filter_at(map, i)];
}

W_INLINE void filter_block(int tile, int r, const nt_winograd_filter_map *map, const float *w, bool turn,
                           float *u, int64_t xi)
{
    float turned[5 * 5 * 256] __attribute__((aligned(64)));
    if (turn) turn_filter(map, w, r * r, turned);
    const int64_t tap = turn ? 256 : tap_of(map);
    for (int i = 0; i < 256; i += LANES)
        expand_2d(FILTER, tile, r, turn ? turned + i : w + filter_at(map, i), r * tap, tap, u + i, xi);
}

W_INLINE void filter_grad_block(int tile, int r, const nt_winograd_filter_map *map, float *dw, const float *u,
                                int64_t xi, bool add)
{
    for (int l = 0; l < 256; l += LANES) {
        vec out[MAX_TILE][MAX_TILE];
        contract_2d(FILTER, tile, r, u + l, xi, out);
        for (int i = 0; i < r; i++)
            for (int j = 0; j < r; j++) {
                float *to = dw + (i * r + j) * tap_of(map) + filter_at(map, l);
                vec_store(to, add ? vec_load(to) + out[i][j] : out[i][j]);
            }
    }
}

/* ---- matrix products. A register tile is `rows` rows by two vectors: two columns of 16, or the halves of
 * one. */
enum { VECS = 2 };

W_INLINE int64_t vec_at(int v, int64_t col)
{
    return v / VPR * col + v % VPR * LANES;
}

/* Asks early for the lines of c, which will be written. */
W_INLINE void fetch(int rows, int vecs, float *c, int64_t c_col)
{
    W_UNROLL for (int r = 0; r < rows; r++) W_UNROLL for (int v = 0; v < vecs; v += VPR)
        __builtin_prefetch(c + r * 16 + vec_at(v, c_col), 1);
}

W_INLINE void gemm_tile(int rows, int vecs, float *c, int64_t c_col, const float *a, int64_t a_seg,
                        int64_t segments, const float *b, int64_t b_col)
{
    vec acc[W_ROWS][VECS];
    fetch(rows, vecs, c, c_col);
    W_UNROLL for (int r = 0; r < rows; r++) W_UNROLL for (int v = 0; v < vecs; v++) acc[r][v] = vec_set1(0.f);
    for (int64_t s = 0; s < segments; s++, a += a_seg)
        for (int i = 0; i < 16; i++, b += 16) {
            vec bv[VECS];
            W_UNROLL for (int v = 0; v < vecs; v++) bv[v] = vec_load(b + vec_at(v, b_col));
            W_UNROLL for (int r = 0; r < rows; r++)
            {
                const vec x = vec_set1(a[r * 16 + i]);
                W_UNROLL for (int v = 0; v < vecs; v++) acc[r][v] = vec_fma(x, bv[v], acc[r][v]);
            }
        }
    W_UNROLL for (int r = 0; r < rows; r++) W_UNROLL for (int v = 0; v < vecs; v++)
        vec_store(c + r * 16 + vec_at(v, c_col), acc[r][v]);
}

typedef void gemm_fn(float *c, int64_t c_col, const float *a, int64_t a_seg, int64_t segments, const float *b,
                     int64_t b_col);
#define GEMM(rows, vecs)                                                                                     \
    static W_TARGET void gemm_##rows##_##vecs(float *c, int64_t c_col, const float *a, int64_t a_seg,        \
                                              int64_t segments, const float *b, int64_t b_col)               \
    {                                                                                                        \
        gemm_tile(rows, vecs, c, c_col, a, a_seg, segments, b, b_col);                                       \
    }
#define GEMM_ROWS(vecs) GEMM(1, vecs) GEMM(2, vecs) GEMM(3, vecs) GEMM(4, vecs) GEMM(5, vecs) GEMM(6, vecs)
#define GEMM_MORE_ROWS(vecs)                                                                                 \
    GEMM(7, vecs)                                                                                            \
    GEMM(8, vecs) GEMM(9, vecs) GEMM(10, vecs) GEMM(11, vecs) GEMM(12, vecs) GEMM(13, vecs) GEMM(14, vecs)
GEMM_ROWS(2)
#if W_ROWS == 14
GEMM_ROWS(1)
GEMM_MORE_ROWS(1)
GEMM_MORE_ROWS(2)
static gemm_fn *const gemms[VECS][W_ROWS] = {
    {gemm_1_1, gemm_2_1, gemm_3_1, gemm_4_1, gemm_5_1, gemm_6_1, gemm_7_1, gemm_8_1, gemm_9_1, gemm_10_1,
     gemm_11_1, gemm_12_1, gemm_13_1, gemm_14_1},
    {gemm_1_2, gemm_2_2, gemm_3_2, gemm_4_2, gemm_5_2, gemm_6_2, gemm_7_2, gemm_8_2, gemm_9_2, gemm_10_2,
     gemm_11_2, gemm_12_2, gemm_13_2, gemm_14_2}};
#else
static gemm_fn *const gemms[VECS][W_ROWS] = {
    [1] = {gemm_1_2, gemm_2_2, gemm_3_2, gemm_4_2, gemm_5_2, gemm_6_2}};
#endif

static void gemm(float *c, int64_t c_col, const float *a, int64_t a_seg, int64_t segments, const float *b,
                 int64_t b_col, int64_t rows, int cols)
{
    const int step = VECS / VPR; /* columns of a register tile */
    for (int j = 0; j < cols; j += step) {
        const int vecs = cols - j < step ? VPR : VECS;
        for (int64_t r = 0, now; r < rows; r += now) {
            const int64_t left = rows - r; /* the last two as even as possible */
            now = left >= 2 * W_ROWS || left == W_ROWS ? W_ROWS : left > W_ROWS ? (left + 1) / 2 : left;
            gemms[vecs - 1][now - 1](c + j * c_col + r * 16, c_col, a + r * 16, a_seg, segments,
                                     b + j * b_col, b_col);
        }
    }
}

W_INLINE void gemm_t_tile(int rows, int vecs, float *c, int64_t c_col, const float *a, const float *b,
                          int64_t b_col, int64_t depth, bool add)
{
    vec acc[W_T_FIRST][W_T_VECS];
    fetch(rows, vecs, c, c_col);
    W_UNROLL for (int r = 0; r < rows; r++) W_UNROLL for (int v = 0; v < vecs; v++) acc[r][v] = vec_set1(0.f);
    for (int64_t i = 0; i < depth; i++) {
        vec bv[W_T_VECS];
        W_UNROLL for (int v = 0; v < vecs; v++) bv[v] = vec_load(b + i * 16 + vec_at(v, b_col));
        W_UNROLL for (int r = 0; r < rows; r++)
        {
            const vec x = vec_set1(a[i * 16 + r]);
            W_UNROLL for (int v = 0; v < vecs; v++) acc[r][v] = vec_fma(x, bv[v], acc[r][v]);
        }
    }
    W_UNROLL for (int r = 0; r < rows; r++) W_UNROLL for (int v = 0; v < vecs; v++)
    {
        float *to = c + r * 16 + vec_at(v, c_col);
        vec_store(to, add ? vec_load(to) + acc[r][v] : acc[r][v]);
    }
}

typedef void gemm_t_fn(float *c, int64_t c_col, const float *a, const float *b, int64_t b_col, int64_t depth,
                       bool add);
#define GEMM_T(vecs)                                                                                         \
    static W_TARGET void gemm_t_##vecs(float *c, int64_t c_col, const float *a, const float *b,              \
                                       int64_t b_col, int64_t depth, bool add)                               \
    {                                                                                                        \
        gemm_t_tile(W_T_FIRST, vecs, c, c_col, a, b, b_col, depth, add);                                     \
        for (int r = W_T_FIRST; r < 16; r += W_T_REST)                                                       \
            gemm_t_tile(W_T_REST, vecs, c + r * 16, c_col, a + r, b, b_col, depth, add);                     \
    }
GEMM_T(2)
#if W_T_VECS == 4
GEMM_T(1)
GEMM_T(3)
GEMM_T(4)
static gemm_t_fn *const gemm_ts[W_T_VECS] = {gemm_t_1, gemm_t_2, gemm_t_3, gemm_t_4};
#else
static gemm_t_fn *const gemm_ts[W_T_VECS] = {[1] = gemm_t_2};
#endif

static void gemm_t(float *c, int64_t c_col, const float *a, const float *b, int64_t b_col, int64_t depth,
                   int cols, bool add)
{
    const int step = W_T_VECS / VPR;
    for (int j = 0; j < cols; j += step) {
        const int vecs = (cols - j < step ? cols - j : step) * VPR;
        gemm_ts[vecs - 1](c + j * c_col, c_col, a, b + j * b_col, b_col, depth, add);
    }
}

/* ---- the table: the functions above with their constants */
#define VARIANT(tile, r)                                                                                     \
    static W_TARGET void data_##tile##_##r(const nt_winograd_map *map, const float *x, int64_t t0,           \
                                           int64_t n, float *v, int64_t xi)                                  \
    {                                                                                                        \
        expand_tiles(DATA, tile, tile, map, x, t0, n, v, xi, NULL);                                          \
    }                                                                                                        \
    static W_TARGET void grad_##tile##_##r(const nt_winograd_map *map, const float *dy, int64_t t0,          \
                                           int64_t n, float *d, int64_t xi, float *sum)                      \
    {                                                                                                        \
        expand_tiles(POWER, tile, tile - r + 1, map, dy, t0, n, d, xi, sum);                                 \
    }                                                                                                        \
    static W_TARGET void output_##tile##_##r(const nt_winograd_map *map, float *y, int64_t t0, int64_t n,    \
                                             const float *m, int64_t xi, const float *bias, bool relu)       \
    {                                                                                                        \
        output_tiles(tile, tile - r + 1, map, y, t0, n, m, xi, bias, relu);                                  \
    }                                                                                                        \
    static W_TARGET void filter_##tile##_##r(const nt_winograd_filter_map *map, const float *w, bool turn,   \
                                             float *u, int64_t xi)                                           \
    {                                                                                                        \
        filter_block(tile, r, map, w, turn, u, xi);                                                          \
    }                                                                                                        \
    static W_TARGET void filter_grad_##tile##_##r(const nt_winograd_filter_map *map, float *dw,              \
                                                  const float *u, int64_t xi, bool add)                      \
    {                                                                                                        \
        filter_grad_block(tile, r, map, dw, u, xi, add);                                                     \
    }
VARIANT(6, 3)
VARIANT(6, 5)
VARIANT(8, 3)
VARIANT(8, 5)

#define ENTRY(tile, r)                                                                                       \
    {                                                                                                        \
        tile, r, VPR == 2, data_##tile##_##r, grad_##tile##_##r, output_##tile##_##r, filter_##tile##_##r,   \
            filter_grad_##tile##_##r, gemm, gemm_t                                                           \
    }
const nt_winograd_kernels W_TABLE[NT_WINOGRAD_VARIANTS] = {ENTRY(6, 3), ENTRY(6, 5), ENTRY(8, 3),
                                                           ENTRY(8, 5)};
