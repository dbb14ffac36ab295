/* Matrix products for the emulated cuBLAS, fast enough that tests of whole networks are bearable.
 *
 * The usual scheme: blocks of op(A) and op(B) are packed into panels of MR rows and NR columns, whatever
 * their type and transposition, and one small kernel multiplies a panel by a panel in registers. Only packing
 * and unpacking touch the caller's memory, so only they matter to a sanitizer: the kernel, which reads
 * private memory alone and takes nearly all the time, is exempt from its bookkeeping. Calling the CPU's BLAS
 * was the alternative: one more dependency, no bfloat16, and an order of summation of its own. */
#include "tests/cuda_emulator/gemm.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { MR = 16, NR = 6, MC = 12 * MR, NC = 64 * NR, KC = 256 };

/* What one thread needs for one block. */
typedef struct workspace {
    float a[MC * KC]; /* panels of (KC, MR) */
    float b[KC * NC]; /* panels of (KC, NR) */
    float c[MC * NC]; /* tiles of (NR, MR), by panel of b, then of a */
} workspace;

static pthread_key_t key; /* each thread keeps its workspace until it ends */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_key;

static void make_key(void)
{
    have_key = pthread_key_create(&key, free) == 0;
}

static workspace *own_workspace(void)
{
    if (pthread_once(&once, make_key) != 0 || !have_key) return NULL;
    workspace *w = pthread_getspecific(key);
    if (w) return w;
    w = malloc(sizeof *w);
    if (w && pthread_setspecific(key, w) != 0) {
        free(w);
        return NULL;
    }
    return w;
}

/* --- types --- */

uint16_t emu_bf16_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float emu_bf16_value(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float f;
    memcpy(&f, &wide, sizeof f);
    return f;
}

/* To 10 bits of mantissa, to the nearest, ties away from zero; infinities and NaNs stay what they are. */
static float tf32(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7f800000u) == 0x7f800000u) return f;
    bits = (bits + 0x1000u) & 0xffffe000u;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* --- packing --- */

/* Packs x (width, kc), whose element (i, p) is src[i * si + p * sp], into one panel (kc, lanes), zeros
 * behind. Inlined where lanes is a constant. */
#define DEFINE_PACK(name, type, value)                                                                       \
    static inline __attribute__((always_inline)) void name(float *restrict dst, const type *src, int64_t si, \
                                                           int64_t sp, int lanes, int width, int64_t kc)     \
    {                                                                                                        \
        for (int64_t p = 0; p < kc; p++)                                                                     \
            for (int i = 0; i < lanes; i++)                                                                  \
                dst[p * lanes + i] = i < width ? value(src[i * si + p * sp]) : 0;                            \
    }
#define AS_IT_IS(x) (x)
DEFINE_PACK(pack_f32, float, AS_IT_IS)
DEFINE_PACK(pack_tf32, float, tf32)
DEFINE_PACK(pack_bf16, uint16_t, emu_bf16_value)

/* Packs (width, kc) of x from element (first, from) on into panels of `lanes`. */
static inline __attribute__((always_inline)) void pack(float *dst, const emu_matrix *x, int64_t si,
                                                       int64_t sp, int lanes, int64_t first, int64_t width,
                                                       int64_t from, int64_t kc)
{
    for (int64_t i = 0; i < width; i += lanes, dst += lanes * kc) {
        int64_t at = (first + i) * si + from * sp;
        int here = (int)(width - i < lanes ? width - i : lanes);
        if (x->type == EMU_BF16)
            pack_bf16(dst, (const uint16_t *)x->data + at, si, sp, lanes, here, kc);
        else if (x->type == EMU_TF32)
            pack_tf32(dst, (const float *)x->data + at, si, sp, lanes, here, kc);
        else if (here == lanes && si == 1)
            pack_f32(dst, (const float *)x->data + at, 1, sp, lanes, lanes, kc);
        else
            pack_f32(dst, (const float *)x->data + at, si, sp, lanes, here, kc);
    }
}

/* --- the kernel --- */

#if defined(__clang__)
#define UNWATCHED __attribute__((no_sanitize("address", "thread", "undefined")))
#else
#define UNWATCHED __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif

/* c (NR, MR) += a (kc, MR) times b (kc, NR). */
typedef void tile_fn(float *c, const float *a, const float *b, int64_t kc);

UNWATCHED static void tile_plain(float *c, const float *a, const float *b, int64_t kc)
{
    float sum[NR][MR] = {{0}};
    for (int64_t p = 0; p < kc; p++)
        for (int j = 0; j < NR; j++)
            for (int i = 0; i < MR; i++)
                sum[j][i] += a[p * MR + i] * b[p * NR + j];
    for (int j = 0; j < NR; j++)
        for (int i = 0; i < MR; i++)
            c[j * MR + i] += sum[j][i];
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) UNWATCHED static void tile_avx2(float *c, const float *a, const float *b,
                                                                    int64_t kc)
{
    __m256 low[NR], high[NR];
    for (int j = 0; j < NR; j++)
        low[j] = high[j] = _mm256_setzero_ps();
    for (int64_t p = 0; p < kc; p++) {
        __m256 a0 = _mm256_loadu_ps(a + p * MR), a1 = _mm256_loadu_ps(a + p * MR + 8);
#pragma GCC unroll 6
        for (int j = 0; j < NR; j++) {
            __m256 bj = _mm256_broadcast_ss(b + p * NR + j);
            low[j] = _mm256_fmadd_ps(a0, bj, low[j]);
            high[j] = _mm256_fmadd_ps(a1, bj, high[j]);
        }
    }
    for (int j = 0; j < NR; j++) {
        _mm256_storeu_ps(c + j * MR, _mm256_add_ps(_mm256_loadu_ps(c + j * MR), low[j]));
        _mm256_storeu_ps(c + j * MR + 8, _mm256_add_ps(_mm256_loadu_ps(c + j * MR + 8), high[j]));
    }
}
#endif

static tile_fn *choose_tile(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return tile_avx2;
#endif
    return tile_plain;
}

/* --- blocks --- */

static int64_t panels(int64_t n, int64_t lanes)
{
    return (n + lanes - 1) / lanes;
}

/* w->c += the packed panels' product; (mc, nc, kc) is the block's size. */
static void multiply_block(workspace *w, tile_fn *tile, int64_t mc, int64_t nc, int64_t kc)
{
    int64_t rows = panels(mc, MR);
    for (int64_t j = 0; j < panels(nc, NR); j++)
        for (int64_t i = 0; i < rows; i++)
            tile(w->c + (j * rows + i) * MR * NR, w->a + i * MR * kc, w->b + j * NR * kc, kc);
}

/* One tile's rows of one column of C. */
static void put_f32(float *c, const float *sum, int64_t n, float alpha, float beta)
{
    if (beta == 0)
        for (int64_t i = 0; i < n; i++)
            c[i] = alpha * sum[i];
    else
        for (int64_t i = 0; i < n; i++)
            c[i] = alpha * sum[i] + beta * c[i];
}

static void put_bf16(uint16_t *c, const float *sum, int64_t n, float alpha, float beta)
{
    for (int64_t i = 0; i < n; i++)
        c[i] = emu_bf16_of(alpha * sum[i] + (beta != 0 ? beta * emu_bf16_value(c[i]) : 0));
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* C from (i0, j0) on = alpha w->c + beta C. */
static void unpack_block(const workspace *w, const emu_matrix *c, int64_t i0, int64_t mc, int64_t j0,
                         int64_t nc, float alpha, float beta)
{
    int64_t rows = panels(mc, MR);
    for (int64_t j = 0; j < nc; j++)
        for (int64_t i = 0; i < mc; i += MR) {
            const float *sum = w->c + (j / NR * rows + i / MR) * MR * NR + j % NR * MR;
            int64_t at = i0 + i + (j0 + j) * c->ld, n = least(mc - i, MR);
            if (c->type == EMU_BF16)
                put_bf16((uint16_t *)c->data + at, sum, n, alpha, beta);
            else
                put_f32((float *)c->data + at, sum, n, alpha, beta);
        }
}

bool emu_gemm(emu_matrix c, emu_matrix a, emu_matrix b, int64_t m, int64_t n, int64_t k, float alpha,
              float beta)
{
    tile_fn *tile = choose_tile();
    workspace *w = own_workspace();
    if (!w) return false;
    if (alpha == 0) k = 0;
    int64_t a_row = a.transposed ? a.ld : 1, a_k = a.transposed ? 1 : a.ld;
    int64_t b_col = b.transposed ? 1 : b.ld, b_k = b.transposed ? b.ld : 1;
    for (int64_t j = 0; j < n; j += NC)
        for (int64_t i = 0; i < m; i += MC) {
            int64_t mc = least(m - i, MC), nc = least(n - j, NC);
            memset(w->c, 0, (size_t)(panels(mc, MR) * panels(nc, NR)) * MR * NR * sizeof *w->c);
            for (int64_t p = 0; p < k; p += KC) {
                int64_t kc = least(k - p, KC);
                pack(w->a, &a, a_row, a_k, MR, i, mc, p, kc);
                pack(w->b, &b, b_col, b_k, NR, j, nc, p, kc);
                multiply_block(w, tile, mc, nc, kc);
            }
            unpack_block(w, &c, i, mc, j, nc, alpha, beta);
        }
    return true;
}
