/* What winograd.c asks of an instruction set: five transforms and two small matrix products.
 *
 * Channels come 16 at a time, here called a channel block. In memory they lie side by side, or, for vectors
 * of 8, as two halves.
 *
 * A transformed tile is spread over tile * tile matrices, one per Winograd point pair xi; `xi` arguments are
 * the distances between those matrices in floats. All rows are 16 floats long, one channel block. */
#ifndef NT_CORE_BACKENDS_CPU_WINOGRAD_KERNELS_H
#define NT_CORE_BACKENDS_CPU_WINOGRAD_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One channel block of all images, and how the tiles lie on it. Tile t of image i, row ty, column tx
 * (t = (i * tiles_y + ty) * tiles_x + tx) has its corner at (ty * step - pad_h, tx * step - pad_w). */
typedef struct nt_winograd_map {
    int64_t h, w, pad_h, pad_w, step;
    int64_t tiles_y, tiles_x;
    int64_t image; /* floats from one image to the next */
    int64_t pixel; /* from one pixel to the next: 16 or 8 */
    int64_t half;  /* from the first 8 channels to the others */
} nt_winograd_map;

/* How a block of filters, [r][r][16 channels][16 filters], lies in memory: floats from one tap, channel,
 * half of the channels, half of the filters to the next. */
typedef struct nt_winograd_filter_map {
    int64_t tap, channel, half_c, half_k;
} nt_winograd_filter_map;

typedef struct nt_winograd_kernels {
    int tile, kernel;
    bool halves; /* takes halves apart from each other; else pixel is 16, half 8 and a filter block dense */
    /* v (xi)[n][16] = B^T x B of tiles t0 .. t0 + n */
    void (*data)(const nt_winograd_map *map, const float *x, int64_t t0, int64_t n, float *v, int64_t xi);
    /* d (xi)[n][16] = A dy A^T of the m x m tiles t0 .. t0 + n; sum (16), unless NULL, += their values */
    void (*grad)(const nt_winograd_map *map, const float *dy, int64_t t0, int64_t n, float *d, int64_t xi,
                 float *sum);
    /* y tiles t0 .. t0 + n = A^T m A + bias (16, or NULL) */
    void (*output)(const nt_winograd_map *map, float *y, int64_t t0, int64_t n, const float *m, int64_t xi,
                   const float *bias, bool relu);
    /* u (xi)[16][16] = G w G^T of one block w; `turn`: of the rotated and transposed block */
    void (*filter)(const nt_winograd_filter_map *map, const float *w, bool turn, float *u, int64_t xi);
    /* one block dw = (+=) G^T u G of one block u (xi)[16][16] */
    void (*filter_grad)(const nt_winograd_filter_map *map, float *dw, const float *u, int64_t xi, bool add);
    /* c[j][rows][16] = sum over s < segments, i < 16 of a[s][row][i] b[j][s * 16 + i][16], for j < cols */
    void (*gemm)(float *c, int64_t c_col, const float *a, int64_t a_seg, int64_t segments, const float *b,
                 int64_t b_col, int64_t rows, int cols);
    /* c[j][16][16] = (+=) sum over i < depth of a[i][row] b[j][i][16], for j < cols */
    void (*gemm_t)(float *c, int64_t c_col, const float *a, const float *b, int64_t b_col, int64_t depth,
                   int cols, bool add);
} nt_winograd_kernels;

enum { NT_WINOGRAD_VARIANTS = 4 }; /* tiles 6 and 8, kernels 3 and 5 */

/* NULL, or the table to use instead of the machine's best one: for tests. Not to be changed during a pass. */
extern const nt_winograd_kernels *nt_winograd_forced;

#if defined(__x86_64__)
extern const nt_winograd_kernels nt_winograd_avx512[NT_WINOGRAD_VARIANTS];
extern const nt_winograd_kernels nt_winograd_avx2[NT_WINOGRAD_VARIANTS];
#endif

#endif
