/* Fully connected layers: the order of work. fc.h is the contract, fc_avx512.c has the kernels.
 *
 * What a tile reads again and again is packed first, in the order in which it is read: x for forward and for
 * the weights' gradient, dz transposed for the data gradient. What is large, the weights and their gradient,
 * is walked through once per pass and fetched ahead. Threads share columns (forward), panels (weights) or
 * inputs (data), never a sum, so results do not depend on their number. */
#include "core/backends/cpu/fc.h"

#include "core/backends/cpu/fc_kernels.h"
#include "core/backends/cpu/isa.h"

#include <string.h>

enum {
    SQUARES = 16,    /* floats for the 8 partial sums of a panel in double */
    SLACK = 16,      /* floats behind a packed tile: its last row is stored as 16 */
    FORWARD_K = 400, /* most inputs at a time: 32 columns of weights for them are 50 KB */
    FORWARD_M = 126, /* most samples at a time, a multiple of NT_FC_ROWS */
    WEIGHTS_K = 448, /* most inputs at a time, a multiple of NT_FC_ROWS */
    WEIGHTS_M = 64,  /* most samples at a time: a strip of dz for them is 16 KB */
    DATA_K = 252,    /* inputs at a time, a multiple of NT_FC_ROWS */
    DATA_M = 64,     /* samples at a time: two tiles */
    DATA_PANELS = 8, /* most panels in one tile: 64 KB of dz transposed */
};

static const nt_fc_kernels *kernels(void)
{
#if defined(__x86_64__)
    return &nt_fc_avx512;
#else
    return NULL;
#endif
}

bool nt_fc_supported(void)
{
    return nt_isa_best() >= NT_ISA_AVX512;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t round_up(int64_t a, int64_t unit)
{
    return ceil_div(a, unit) * unit;
}

/* Size of block `i` of `n` things cut into blocks of at most `most`, as even as possible; *at: where. */
static int64_t even_block(int64_t n, int64_t most, int64_t i, int64_t *at)
{
    const int64_t blocks = ceil_div(n, most), small = n / blocks, larger = n % blocks;
    *at = i * small + least(i, larger);
    return small + (i < larger);
}

static int64_t panels(const nt_fc_shape *s)
{
    return ceil_div(s->n, NT_FC_PANEL);
}

/* Distance of panels in the weights. */
static int64_t panel_size(const nt_fc_shape *s)
{
    return round_up(s->k, 16) * NT_FC_PANEL;
}

static uint32_t column_mask(int64_t columns)
{
    return columns >= 32 ? 0xffffffffu : columns <= 0 ? 0 : (1u << columns) - 1;
}

size_t nt_fc_scratch_bytes(const nt_fc_shape *s)
{
    const int64_t n = panels(s) * NT_FC_PANEL;
    int64_t forward = least(s->m, FORWARD_M) * least(s->k, FORWARD_K);
    int64_t weights = least(s->m, WEIGHTS_M) * (n + least(s->k, WEIGHTS_K)) + n + panels(s) * SQUARES;
    int64_t data = DATA_M * (n + round_up(s->k, DATA_K));
    int64_t most = forward > weights ? forward : weights;
    return (size_t)((most > data ? most : data) + SLACK) * sizeof(float);
}

/* ---- forward: tiles of samples x outputs ---- */

/* Samples [m0, m0 + mb), inputs [k0, k0 + kb). */
typedef struct block {
    int64_t m0, mb, k0, kb;
} block;

/* Row tiles one after the other, each as [input][its rows]. */
static void pack_samples(const nt_fc_shape *s, float *packed, const float *x, const block *b)
{
    for (int64_t t = 0, at; t < ceil_div(b->mb, NT_FC_ROWS); t++) {
        const int64_t rows = even_block(b->mb, NT_FC_ROWS, t, &at);
        kernels()->transpose(packed + at * b->kb, rows, x + (b->m0 + at) * s->k + b->k0, NULL, s->k, rows,
                             b->kb);
    }
}

/* All samples of the block for 32 outputs from column j on. */
static void forward_columns(const nt_fc_shape *s, float *y, const float *packed, const float *w,
                            const float *bias, bool relu, const block *b, int64_t j)
{
    const int64_t next = j + NT_FC_COLS < s->n ? j + NT_FC_COLS : j;
    const float *weights = w + j / NT_FC_PANEL * panel_size(s) + b->k0 * NT_FC_PANEL + j % NT_FC_PANEL;
    const float *coming = w + next / NT_FC_PANEL * panel_size(s) + b->k0 * NT_FC_PANEL + next % NT_FC_PANEL;
    for (int64_t t = 0, at; t < ceil_div(b->mb, NT_FC_ROWS); t++) {
        const int64_t rows = even_block(b->mb, NT_FC_ROWS, t, &at);
        const nt_fc_tile tile = {.a = packed + at * b->kb,
                                 .b = weights,
                                 .c = y + (b->m0 + at) * s->n + j,
                                 .len = b->kb,
                                 .n_segments = 1,
                                 .c_row = s->n,
                                 .mask = column_mask(s->n - j),
                                 .accumulate = b->k0 > 0,
                                 .relu = relu && b->k0 + b->kb == s->k,
                                 .bias = bias ? bias + j : NULL,
                                 /* the first two tiles fetch the two lines of each row of the next columns */
                                 .fetch = coming + (t == 1 ? 16 : 0)};
        kernels()->forward[rows](&tile);
    }
}

void nt_fc_forward(const nt_fc_shape *s, float *y, const float *x, const float *w, const float *bias,
                   bool relu, void *scratch, int threads)
{
    const int64_t k_blocks = ceil_div(s->k, FORWARD_K), columns = ceil_div(s->n, NT_FC_COLS);
    block b;
    for (b.m0 = 0; b.m0 < s->m; b.m0 += b.mb) {
        b.mb = least(s->m - b.m0, FORWARD_M);
        for (int64_t i = 0; i < k_blocks; i++) {
            b.kb = even_block(s->k, FORWARD_K, i, &b.k0);
            pack_samples(s, scratch, x, &b);
#pragma omp parallel for num_threads(threads) if (threads > 1)
            for (int64_t c = 0; c < columns; c++)
                forward_columns(s, y, scratch, w, bias, relu, &b, c * NT_FC_COLS);
        }
    }
}

/* ---- weights' gradient: tiles of inputs x outputs, sums over samples ---- */

/* Input tiles one after the other, each as [sample][its inputs]. */
static void pack_inputs(const nt_fc_shape *s, float *packed, const float *x, const block *b)
{
    for (int64_t t = 0; t < b->kb; t += NT_FC_ROWS) {
        const int64_t rows = least(b->kb - t, NT_FC_ROWS);
        kernels()->copy(packed + t * b->mb, rows, x + b->m0 * s->k + b->k0 + t, s->k, b->mb, rows);
    }
}

/* Strips of dz (mb, 64) one after the other; sums of their columns are added to dbias. */
static void pack_outputs(const nt_fc_shape *s, float *strips, float *sums, float *dbias, const float *dy,
                         const float *y, const block *b, bool accumulate)
{
    for (int64_t p = 0; p < panels(s); p++) {
        const int64_t j = p * NT_FC_PANEL, at = b->m0 * s->n + j;
        kernels()->strip(strips + j * b->mb, sums + j, dy + at, y ? y + at : NULL, s->n, b->mb,
                         least(s->n - j, NT_FC_PANEL));
    }
    for (int64_t j = 0; dbias && j < s->n; j++)
        dbias[j] = accumulate ? dbias[j] + sums[j] : sums[j];
}

/* The tile of inputs [t, t + rows) and 32 of a panel's outputs. */
static nt_fc_tile weights_tile(const float *packed, const float *strip, float *c, const block *b, int64_t t,
                               int64_t rows, int64_t half)
{
    return (nt_fc_tile){.a = packed + t * b->mb,
                        .b = strip + half,
                        .c = c + t * NT_FC_PANEL + half,
                        .len = b->mb,
                        .n_segments = 1,
                        /* each half fetches half of the next tile's lines, and some more */
                        .fetch = c + (t + rows) * NT_FC_PANEL + half * rows};
}

/* Inputs of the block for one panel. */
static void weights_panel(const nt_fc_shape *s, float *dw, const float *packed, const float *strips,
                          const block *b, int64_t p, bool accumulate)
{
    float *to = dw + p * panel_size(s) + b->k0 * NT_FC_PANEL;
    for (int64_t t = 0; t < b->kb; t += NT_FC_ROWS)
        for (int64_t half = 0; half < NT_FC_PANEL; half += NT_FC_COLS) {
            const int64_t rows = least(b->kb - t, NT_FC_ROWS);
            nt_fc_tile tile = weights_tile(packed, strips + p * NT_FC_PANEL * b->mb, to, b, t, rows, half);
            tile.accumulate = accumulate;
            kernels()->weights[rows](&tile);
        }
}

/* The same with a step of SGD in place of dw. */
static void sgd_panel(const nt_fc_shape *s, const nt_fc_sgd *sgd, double *squares, const float *packed,
                      const float *strips, const block *b, int64_t p)
{
    const int64_t at = p * panel_size(s) + b->k0 * NT_FC_PANEL;
    for (int64_t t = 0; t < b->kb; t += NT_FC_ROWS)
        for (int64_t half = 0; half < NT_FC_PANEL; half += NT_FC_COLS) {
            const int64_t rows = least(b->kb - t, NT_FC_ROWS);
            nt_fc_tile tile =
                weights_tile(packed, strips + p * NT_FC_PANEL * b->mb, sgd->velocity + at, b, t, rows, half);
            tile.sgd = sgd;
            tile.p = sgd->p + at + t * NT_FC_PANEL + half;
            tile.squares = squares;
            kernels()->weights_sgd[rows](&tile);
        }
}

/* Inputs that are there only to fill a block of 16 have no gradient. */
static void clear_padding(const nt_fc_shape *s, float *dw)
{
    const int64_t used = s->k * NT_FC_PANEL;
    for (int64_t p = 0; p < panels(s) && used < panel_size(s); p++)
        memset(dw + p * panel_size(s) + used, 0, (size_t)(panel_size(s) - used) * sizeof *dw);
}

void nt_fc_backward_weights(const nt_fc_shape *s, float *dw, float *dbias, const float *x, const float *dy,
                            const float *y, bool accumulate, void *scratch, int threads)
{
    float *sums = scratch, *strips = sums + panels(s) * NT_FC_PANEL;
    block b;
    clear_padding(s, dw);
    for (b.m0 = 0; b.m0 < s->m; b.m0 += b.mb, accumulate = true) {
        b.mb = least(s->m - b.m0, WEIGHTS_M);
        float *packed = strips + panels(s) * NT_FC_PANEL * b.mb;
        pack_outputs(s, strips, sums, dbias, dy, y, &b, accumulate);
        for (b.k0 = 0; b.k0 < s->k; b.k0 += b.kb) {
            b.kb = least(s->k - b.k0, WEIGHTS_K);
            pack_inputs(s, packed, x, &b);
#pragma omp parallel for num_threads(threads) if (threads > 1)
            for (int64_t p = 0; p < panels(s); p++)
                weights_panel(s, dw, packed, strips, &b, p, accumulate);
        }
    }
}

bool nt_fc_can_sgd(const nt_fc_shape *s)
{
    return s->m <= WEIGHTS_M;
}

void nt_fc_backward_weights_sgd(const nt_fc_shape *s, const nt_fc_sgd *sgd, double *squares, float *dbias,
                                const float *x, const float *dy, const float *y, void *scratch, int threads)
{
    const int64_t count = panels(s);
    double *partial = scratch; /* (panels, 8) */
    float *sums = (float *)scratch + count * SQUARES, *strips = sums + count * NT_FC_PANEL;
    float *packed = strips + count * NT_FC_PANEL * s->m;
    block b = {.mb = s->m};
    memset(partial, 0, (size_t)(count * 8) * sizeof *partial);
    pack_outputs(s, strips, sums, dbias, dy, y, &b, false);
    for (; b.k0 < s->k; b.k0 += b.kb) {
        b.kb = least(s->k - b.k0, WEIGHTS_K);
        pack_inputs(s, packed, x, &b);
#pragma omp parallel for num_threads(threads) if (threads > 1)
        for (int64_t p = 0; p < count; p++)
            sgd_panel(s, sgd, partial + 8 * p, packed, strips, &b, p);
    }
    for (int64_t i = 0; i < count * 8; i++)
        *squares += partial[i];
}

/* ---- data gradient: tiles of inputs x samples, sums over outputs; dx comes out transposed ---- */

/* dz transposed: for each 32 samples [output][32]. Samples and outputs that are missing are zero. */
static void pack_gradient(const nt_fc_shape *s, float *dzt, const float *dy, const float *y, const block *b)
{
    const int64_t n = panels(s) * NT_FC_PANEL;
    memset(dzt, 0, (size_t)(n * DATA_M) * sizeof *dzt);
    for (int64_t r = 0; r < b->mb; r += 16) {
        const int64_t at = (b->m0 + r) * s->n;
        kernels()->transpose(dzt + r / NT_FC_COLS * n * NT_FC_COLS + r % NT_FC_COLS, NT_FC_COLS, dy + at,
                             y ? y + at : NULL, s->n, least(b->mb - r, 16), s->n);
    }
}

/* Inputs [k0, k0 + kb) of all samples of the block: dxt is [input][DATA_M], then turned into dx. */
static void data_inputs(const nt_fc_shape *s, float *dx, float *dxt, const float *dzt, const float *w,
                        const block *b)
{
    const int64_t all = panels(s);
    for (int64_t p = 0; p < all; p += DATA_PANELS)
        for (int64_t t = 0; t < b->kb; t += NT_FC_ROWS)
            for (int64_t m = 0; m < b->mb; m += NT_FC_COLS) {
                const nt_fc_tile tile = {.a = w + p * panel_size(s) + (b->k0 + t) * NT_FC_PANEL,
                                         .b = dzt + m * all * NT_FC_PANEL + p * NT_FC_PANEL * NT_FC_COLS,
                                         .c = dxt + t * DATA_M + m,
                                         .len = NT_FC_PANEL,
                                         .n_segments = least(all - p, DATA_PANELS),
                                         .a_segment = panel_size(s),
                                         .accumulate = p > 0};
                kernels()->data[least(b->kb - t, NT_FC_ROWS)](&tile);
            }
    for (int64_t j = 0; j < b->kb; j += 16)
        for (int64_t m = 0; m < b->mb; m += 16)
            kernels()->turn(dx + (b->m0 + m) * s->k + b->k0 + j, s->k, dxt + j * DATA_M + m, DATA_M,
                            least(b->mb - m, 16), least(b->kb - j, 16));
}

void nt_fc_backward_data(const nt_fc_shape *s, float *dx, const float *dy, const float *y, const float *w,
                         void *scratch, int threads)
{
    float *dzt = scratch, *dxt = dzt + panels(s) * NT_FC_PANEL * DATA_M;
    const int64_t k_blocks = ceil_div(s->k, DATA_K);
    for (int64_t m0 = 0; m0 < s->m; m0 += DATA_M) {
        const block all = {.m0 = m0, .mb = least(s->m - m0, DATA_M)};
        pack_gradient(s, dzt, dy, y, &all);
#pragma omp parallel for num_threads(threads) if (threads > 1)
        for (int64_t i = 0; i < k_blocks; i++) {
            block b = all;
            b.k0 = i * DATA_K;
            b.kb = least(s->k - b.k0, DATA_K);
            data_inputs(s, dx, dxt + b.k0 * DATA_M, dzt, w, &b);
        }
    }
}
