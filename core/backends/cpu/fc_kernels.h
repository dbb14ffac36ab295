/* The innermost loops of fc.c: fc_avx512.c has them. */
#ifndef NT_CORE_BACKENDS_CPU_FC_KERNELS_H
#define NT_CORE_BACKENDS_CPU_FC_KERNELS_H

#include "core/backends/cpu/fc.h"

enum {
    NT_FC_ROWS = 14, /* most rows of a tile: 14 x 2 sums, 2 operands and 1 factor fill the 32 registers */
    NT_FC_COLS = 32, /* columns of a tile */
};

/* A tile: c[r][0..32) (+)= sum over segments and i < len of a(i, r) * b[i][0..32). */
typedef struct nt_fc_tile {
    const float *a; /* packed: a(i, r) at i * rows + r; from panels: at segment * a_segment + r * 64 + i */
    const float *b; /* row i of segment s at (s * len + i) * its row length */
    float *c;       /* row r at r * 64, in forward at r * c_row */
    int64_t len, n_segments, a_segment;
    bool accumulate; /* start from c */
    /* Memory that will be needed next, a cache line a step: in forward every fourth one, to be read, in
     * weights every one, to be written. data fetches the next tile's a itself. */
    const float *fetch;
    /* forward only: */
    int64_t c_row;
    uint32_t mask;     /* columns that there are */
    bool relu;         /* end with max(c, 0) */
    const float *bias; /* start from it; NULL: from zero */
    /* weights_sgd only: the sums are a gradient, c is its velocity and p its parameter; both are updated. */
    const nt_fc_sgd *sgd;
    float *p;
    double *squares; /* (8) partial sums of squares of the gradient are added */
} nt_fc_tile;

typedef void (*nt_fc_tile_fn)(const nt_fc_tile *t);

/* Tables are indexed by the number of rows, 1 to NT_FC_ROWS. */
typedef struct nt_fc_kernels {
    nt_fc_tile_fn forward[NT_FC_ROWS + 1]; /* a packed, b in rows of 64 (weights), fetched to be read */
    nt_fc_tile_fn weights[NT_FC_ROWS + 1]; /* a packed, b in rows of 64 (dy), fetched to be written */
    nt_fc_tile_fn weights_sgd[NT_FC_ROWS + 1];
    nt_fc_tile_fn data[NT_FC_ROWS + 1]; /* a from panels, b in rows of 32 (dy transposed) */
    /* dst[c * ldd + r] = src[r * lds + c] for r < rows <= 16, c < cols; rows up to 16 are zero. With y, src
     * counts only where y (same places) is > 0. Writes 16 floats for each c, in ascending order of c. */
    void (*transpose)(float *dst, int64_t ldd, const float *src, const float *y, int64_t lds, int64_t rows,
                      int64_t cols);
    /* dst[r * ldd + c] = src[c * lds + r] for r < rows <= 16, c < cols <= 16, and nothing else. */
    void (*turn)(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t rows, int64_t cols);
    /* dst[r * ldd + c] = src[r * lds + c] for c < cols <= 16; writes 16 floats a row, in ascending order. */
    void (*copy)(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t rows, int64_t cols);
    /* Cuts `cols` <= 64 columns of dz out: dst (rows, 64), zero beyond; sum (64) of the columns. */
    void (*strip)(float *dst, float *sum, const float *dy, const float *y, int64_t ld, int64_t rows,
                  int64_t cols);
} nt_fc_kernels;

#if defined(__x86_64__)
extern const nt_fc_kernels nt_fc_avx512;
#endif

#endif
