/* Winograd convolution: the order of work. winograd.h is the contract, winograd_body.h has the kernels.
 *
 * Nothing is transformed as a whole tensor. Forward and backward-data, which is forward with turned filters
 * from dy to dx, run over blocks of tiles so small that the transformed block, its product and one pair of
 * filter panels stay in the L2 cache. Transformed filters are kept for the whole pass where they are small;
 * else they are made again for every block, then a block of many tiles: with 512 channels reading 38 MB
 * of transformed filters from memory costs more than making them. Backward-weights sums over the blocks in
 * the Winograd domain; where that sum would be large it is transformed back and added for every block
 * instead. The sums of dy come free: point (1, 1) of A dy A^T is the sum of a tile.
 *
 * Threads share the blocks and split each phase by channel blocks and tiles, never a sum: so results do not
 * depend on their number. */
#include "core/backends/cpu/winograd.h"

#include "core/backends/cpu/isa.h"
#include "core/backends/cpu/winograd_kernels.h"

#include <omp.h>

enum {
    RESIDENT_BYTES = 4 << 20,  /* transformed filters (or their gradient) up to this are kept for a pass */
    FORWARD_BLOCK = 400 << 10, /* bytes of a block of transformed tiles that should stay in L2 */
    WEIGHTS_BLOCK = 700 << 10, /* the same; longer sums repay fetching and storing what they add to */
    LARGE_BLOCK = 6 << 20,     /* the same, where every block costs a transform of all filters */
    GROUP = 4,                 /* output blocks at a time in backward-weights */
    ROWS = 14,                 /* a block holds a multiple of these tiles: rows of a register tile */
};

const nt_winograd_kernels *nt_winograd_forced;

static const nt_winograd_kernels *find_kernels(const nt_winograd_shape *s)
{
    const nt_winograd_kernels *table = NULL;
#if defined(__x86_64__)
    const nt_isa isa = nt_isa_best();
    table = isa >= NT_ISA_AVX512 ? nt_winograd_avx512 : isa >= NT_ISA_AVX2 ? nt_winograd_avx2 : NULL;
    if (table && nt_winograd_forced) table = nt_winograd_forced;
#endif
    for (int i = 0; table && i < NT_WINOGRAD_VARIANTS; i++)
        if (table[i].tile == s->tile && table[i].kernel == s->kernel && (table[i].halves || !s->blocks_of_8))
            return &table[i];
    return NULL;
}

static int64_t out_h(const nt_winograd_shape *s)
{
    return s->h + 2 * s->pad_h - s->kernel + 1;
}

static int64_t out_w(const nt_winograd_shape *s)
{
    return s->w + 2 * s->pad_w - s->kernel + 1;
}

bool nt_winograd_supported(const nt_winograd_shape *s)
{
    if (s->n < 1 || s->c < 1 || s->k < 1 || s->h < 1 || s->w < 1) return false;
    if (s->c % 16 || s->k % 16) return false;
    if (s->pad_h < 0 || s->pad_h >= s->kernel || s->pad_w < 0 || s->pad_w >= s->kernel) return false;
    return out_h(s) >= 1 && out_w(s) >= 1 && find_kernels(s);
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Distance between the matrices of a transformed tile: an odd number of cache lines, so that the lines of one
 * tile do not fall on each other in the cache. */
static int64_t spread(int64_t n_rows)
{
    return (n_rows | 1) * 16;
}

/* How a pass goes. Blocks of `block` tiles; buffers in scratch, in floats. */
typedef struct plan {
    const nt_winograd_kernels *kernels;
    int64_t points;           /* tile * tile */
    int64_t cb, kb;           /* channel blocks that go in and out (x and dy for backward-weights) */
    nt_winograd_map from, to; /* x and y; dy and dx */
    nt_winograd_filter_map filters;
    int64_t filters_k, filters_c; /* floats from one filter block to the next, along filters and channels */
    int64_t tiles, block;
    bool resident;            /* transformed filters (or their gradient) are kept */
    int64_t v_xi, m_xi, u_xi; /* distances between matrices: input, output, filters */
    int64_t m_each, u_each;   /* floats of each buffer m and u */
    int64_t n_m, n_u;         /* buffers: one, or one per thread */
} plan;

/* The tiles of y or dx lie on the output, those of their input pad earlier. */
static void plan_maps(plan *p, const nt_winograd_shape *s, bool backward)
{
    const int64_t r = s->kernel, m = s->tile - r + 1;
    p->from = (nt_winograd_map){.h = s->h, .w = s->w, .pad_h = s->pad_h, .pad_w = s->pad_w, .step = m};
    p->to = (nt_winograd_map){.h = out_h(s), .w = out_w(s), .step = m};
    p->cb = s->c / 16;
    p->kb = s->k / 16;
    if (backward) {
        p->from = (nt_winograd_map){
            .h = out_h(s), .w = out_w(s), .pad_h = r - 1 - s->pad_h, .pad_w = r - 1 - s->pad_w, .step = m};
        p->to = (nt_winograd_map){.h = s->h, .w = s->w, .step = m};
        p->cb = s->k / 16;
        p->kb = s->c / 16;
    }
    p->from.tiles_y = p->to.tiles_y = ceil_div(p->to.h, m);
    p->from.tiles_x = p->to.tiles_x = ceil_div(p->to.w, m);
    p->from.image = p->cb * p->from.h * p->from.w * 16;
    p->to.image = p->kb * p->to.h * p->to.w * 16;
    p->from.pixel = p->to.pixel = s->blocks_of_8 ? 8 : 16;
    p->from.half = s->blocks_of_8 ? p->from.h * p->from.w * 8 : 8;
    p->to.half = s->blocks_of_8 ? p->to.h * p->to.w * 8 : 8;
    p->tiles = s->n * p->to.tiles_y * p->to.tiles_x;
}

static void plan_filters(plan *p, const nt_winograd_shape *s)
{
    const int64_t taps = s->kernel * s->kernel;
    p->filters_k = s->c * taps * 16;
    p->filters_c = taps * (s->blocks_of_8 ? 128 : 256);
    p->filters = (nt_winograd_filter_map){.tap = 256, .channel = 16, .half_c = 128, .half_k = 8};
    if (s->blocks_of_8)
        p->filters =
            (nt_winograd_filter_map){.tap = 64, .channel = 8, .half_c = taps * 64, .half_k = s->c * taps * 8};
}

/* As many tiles as fit into `n_bytes`, and all blocks alike. */
static int64_t plan_block(const plan *p, int64_t n_bytes, int64_t bytes_per_tile)
{
    const int64_t most = n_bytes / bytes_per_tile / ROWS * ROWS;
    if (p->tiles <= most) return p->tiles;
    const int64_t block = most > ROWS ? most : ROWS, n = ceil_div(p->tiles, block);
    return min_i64(ceil_div(ceil_div(p->tiles, n), ROWS) * ROWS, p->tiles);
}

static plan plan_forward(const nt_winograd_shape *s, bool backward, int threads)
{
    plan p = {.kernels = find_kernels(s), .points = (int64_t)s->tile * s->tile};
    plan_maps(&p, s, backward);
    plan_filters(&p, s);
    const int64_t line = p.points * 16 * (int64_t)sizeof(float);
    p.resident = line * p.cb * p.kb * 16 <= RESIDENT_BYTES;
    p.block = p.resident ? plan_block(&p, FORWARD_BLOCK, line * (p.cb + 2))
                         : plan_block(&p, LARGE_BLOCK, line * p.cb);
    p.v_xi = spread(p.cb * p.block);
    p.m_xi = spread(2 * p.block);
    p.u_xi = spread(p.cb * 16 * (p.resident ? p.kb : 2));
    p.m_each = p.points * p.m_xi;
    p.u_each = p.points * p.u_xi;
    p.n_m = threads;
    p.n_u = p.resident ? 1 : threads;
    return p;
}

static plan plan_weights(const nt_winograd_shape *s, int threads)
{
    plan p = {.kernels = find_kernels(s), .points = (int64_t)s->tile * s->tile};
    plan_maps(&p, s, false);
    plan_filters(&p, s);
    const int64_t line = p.points * 16 * (int64_t)sizeof(float);
    p.resident = line * p.cb * p.kb * 16 <= RESIDENT_BYTES;
    p.block = plan_block(&p, p.resident ? WEIGHTS_BLOCK : LARGE_BLOCK, line * (p.cb + p.kb));
    if (p.tiles <= p.block) p.resident = false; /* one block: the sum is complete at once */
    p.v_xi = spread(p.cb * p.block);
    p.m_xi = spread(p.kb * p.block);
    p.u_xi = spread(p.resident ? p.cb * p.kb * 16 : GROUP * 16);
    p.m_each = p.points * p.m_xi;
    p.u_each = p.points * p.u_xi;
    p.n_m = 1;
    p.n_u = p.resident ? 1 : threads;
    return p;
}

static plan plan_pass(const nt_winograd_shape *s, nt_winograd_pass pass, int threads)
{
    if (pass == NT_WINOGRAD_BACKWARD_WEIGHTS) return plan_weights(s, threads);
    return plan_forward(s, pass == NT_WINOGRAD_BACKWARD_DATA, threads);
}

size_t nt_winograd_scratch_bytes(const nt_winograd_shape *s, nt_winograd_pass pass, int threads)
{
    const plan p = plan_pass(s, pass, threads);
    return (size_t)(p.points * p.v_xi + p.n_m * p.m_each + p.n_u * p.u_each) * sizeof(float);
}

/* A buffer of this thread, or the one of all. */
static float *own(float *buffers, int64_t n, int64_t each)
{
    return n == 1 ? buffers : buffers + omp_get_thread_num() * each;
}

/* The filters of output block k to u: panel [cb * 16][16] of each point. */
static void transform_filters(const plan *p, const float *w, bool turn, int64_t k, float *u)
{
    for (int64_t c = 0; c < p->cb; c++) {
        const float *block =
            turn ? w + c * p->filters_k + k * p->filters_c : w + k * p->filters_k + c * p->filters_c;
        p->kernels->filter(&p->filters, block, turn, u + c * 256, p->u_xi);
    }
}

/* What forward and backward-data pass down. */
typedef struct job {
    float *y;
    const float *x, *w, *bias;
    bool turn, relu;
    float *v, *m, *u;
} job;

/* A pair of output blocks of tiles t0 + part .. + n: product and transform. */
static void multiply(const plan *p, const job *j, int64_t k, int64_t t0, int64_t n, const float *u)
{
    const nt_winograd_kernels *f = p->kernels;
    const int cols = (int)min_i64(2, p->kb - k);
    float *m = own(j->m, p->n_m, p->m_each);
    for (int64_t xi = 0; xi < p->points; xi++)
        f->gemm(m + xi * p->m_xi, p->block * 16, j->v + xi * p->v_xi, p->block * 16, p->cb, u + xi * p->u_xi,
                p->cb * 256, n, cols);
    for (int i = 0; i < cols; i++)
        f->output(&p->to, j->y + (k + i) * p->to.h * p->to.w * 16, t0, n, m + i * p->block * 16, p->m_xi,
                  j->bias ? j->bias + (k + i) * 16 : NULL, j->relu);
}

/* Called by every thread of a team. */
static void forward_team(const plan *p, const job *j)
{
    float *u = own(j->u, p->n_u, p->u_each);
    if (p->resident) {
#pragma omp for schedule(static)
        for (int64_t k = 0; k < p->kb; k++)
            transform_filters(p, j->w, j->turn, k, u + k * p->cb * 256);
    }
    for (int64_t t0 = 0; t0 < p->tiles; t0 += p->block) {
        const int64_t n = min_i64(p->block, p->tiles - t0);
#pragma omp for schedule(static)
        for (int64_t c = 0; c < p->cb; c++)
            p->kernels->data(&p->from, j->x + c * p->from.h * p->from.w * 16, t0, n, j->v + c * p->block * 16,
                             p->v_xi);
#pragma omp for schedule(static)
        for (int64_t k = 0; k < p->kb; k += 2) {
            if (!p->resident)
                for (int64_t i = 0; i < min_i64(2, p->kb - k); i++)
                    transform_filters(p, j->w, j->turn, k + i, u + i * p->cb * 256);
            multiply(p, j, k, t0, n, p->resident ? u + k * p->cb * 256 : u);
        }
    }
}

static void forward_run(const plan *p, job *j, float *scratch, int threads)
{
    j->v = scratch;
    j->m = j->v + p->points * p->v_xi;
    j->u = j->m + p->n_m * p->m_each;
#pragma omp parallel num_threads(threads) if (threads > 1)
    forward_team(p, j);
}

void nt_winograd_forward(const nt_winograd_shape *s, float *y, const float *x, const float *w,
                         const float *bias, bool relu, void *scratch, int threads)
{
    const plan p = plan_forward(s, false, threads);
    job j = {.y = y, .x = x, .w = w, .bias = bias, .relu = relu};
    forward_run(&p, &j, scratch, threads);
}

void nt_winograd_backward_data(const nt_winograd_shape *s, float *dx, const float *dy, const float *w,
                               void *scratch, int threads)
{
    const plan p = plan_forward(s, true, threads);
    job j = {.y = dx, .x = dy, .w = w, .turn = true};
    forward_run(&p, &j, scratch, threads);
}

/* What backward-weights passes down. */
typedef struct weights_job {
    float *dw, *dbias;
    const float *x, *dy;
    bool accumulate;
    float *v, *m, *u;
} weights_job;

/* dy of tiles t0 .. t0 + n, output block k, to m and dbias. */
static void weights_grad(const plan *p, const weights_job *j, int64_t k, int64_t t0, int64_t n)
{
    float sum[16] = {0};
    p->kernels->grad(&p->to, j->dy + k * p->to.h * p->to.w * 16, t0, n, j->m + k * p->block * 16, p->m_xi,
                     j->dbias ? sum : NULL);
    for (int i = 0; j->dbias && i < 16; i++)
        j->dbias[k * 16 + i] = t0 > 0 || j->accumulate ? j->dbias[k * 16 + i] + sum[i] : sum[i];
}

/* x and dy of tiles t0 .. t0 + n to v and m; dbias. */
static void weights_transform(const plan *p, const weights_job *j, int64_t t0, int64_t n)
{
    const nt_winograd_kernels *f = p->kernels;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->cb + p->kb; i++) {
        if (i < p->cb)
            f->data(&p->from, j->x + i * p->from.h * p->from.w * 16, t0, n, j->v + i * p->block * 16,
                    p->v_xi);
        else
            weights_grad(p, j, i - p->cb, t0, n);
    }
}

/* The product of n tiles at point xi, input block c, group of output blocks k, to u. */
static void weights_multiply(const plan *p, const weights_job *j, int64_t xi, int64_t c, int64_t k, int64_t n,
                             float *u, int64_t u_col, bool add)
{
    p->kernels->gemm_t(u, u_col, j->v + xi * p->v_xi + c * p->block * 16,
                       j->m + xi * p->m_xi + k * p->block * 16, p->block * 16, n,
                       (int)min_i64(GROUP, p->kb - k), add);
}

static float *weights_block(const plan *p, const weights_job *j, int64_t k, int64_t c)
{
    return j->dw + k * p->filters_k + c * p->filters_c;
}

/* The sum over all blocks is kept in u. Called by every thread of a team. */
static void weights_resident(const plan *p, const weights_job *j)
{
    for (int64_t t0 = 0; t0 < p->tiles; t0 += p->block) {
        const int64_t n = min_i64(p->block, p->tiles - t0);
        weights_transform(p, j, t0, n);
#pragma omp for schedule(static)
        for (int64_t xi = 0; xi < p->points; xi++)
            for (int64_t k = 0; k < p->kb; k += GROUP)
                for (int64_t c = 0; c < p->cb; c++)
                    weights_multiply(p, j, xi, c, k, n, j->u + xi * p->u_xi + (k * p->cb + c) * 256,
                                     p->cb * 256, t0 > 0);
    }
#pragma omp for schedule(static)
    for (int64_t i = 0; i < p->kb * p->cb; i++)
        p->kernels->filter_grad(&p->filters, weights_block(p, j, i / p->cb, i % p->cb), j->u + i * 256,
                                p->u_xi, j->accumulate);
}

/* Every block adds to dw itself. Called by every thread of a team. */
static void weights_direct(const plan *p, const weights_job *j)
{
    float *u = own(j->u, p->n_u, p->u_each);
    for (int64_t t0 = 0; t0 < p->tiles; t0 += p->block) {
        const int64_t n = min_i64(p->block, p->tiles - t0);
        const bool add = t0 > 0 || j->accumulate;
        weights_transform(p, j, t0, n);
#pragma omp for collapse(2) schedule(static)
        for (int64_t k = 0; k < p->kb; k += GROUP)
            for (int64_t c = 0; c < p->cb; c++) {
                for (int64_t xi = 0; xi < p->points; xi++)
                    weights_multiply(p, j, xi, c, k, n, u + xi * p->u_xi, 256, false);
                for (int64_t i = 0; i < min_i64(GROUP, p->kb - k); i++)
                    p->kernels->filter_grad(&p->filters, weights_block(p, j, k + i, c), u + i * 256, p->u_xi,
                                            add);
            }
    }
}

void nt_winograd_backward_weights(const nt_winograd_shape *s, float *dw, float *dbias, const float *x,
                                  const float *dy, bool accumulate, void *scratch, int threads)
{
    const plan p = plan_weights(s, threads);
    weights_job j = {.dw = dw, .dbias = dbias, .x = x, .dy = dy, .accumulate = accumulate, .v = scratch};
    j.m = j.v + p.points * p.v_xi;
    j.u = j.m + p.n_m * p.m_each;
#pragma omp parallel num_threads(threads) if (threads > 1)
    {
        if (p.resident)
            weights_resident(&p, &j);
        else
            weights_direct(&p, &j);
    }
}
