/* Winograd convolution against plain loops in double.
 *
 * The error is measured relative to the largest absolute value of the exact result, for normally scaled
 * operands (uniform in -1 .. 1). Winograd's transforms amplify rounding: the tolerances are about four times
 * the largest error seen over these shapes (tile 6 2e-6, tile 8 2e-5; printed at the end), far below what a
 * wrong index or sign gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/backends/cpu/isa.h"
#include "core/backends/cpu/winograd.h"
#include "core/backends/cpu/winograd_kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double tolerance6 = 1e-5, tolerance8 = 8e-5;

/* Everything of one shape: plain NCHW and KCRS copies in double beside the blocked floats. */
typedef struct fixture {
    nt_winograd_shape s;
    int64_t oh, ow, n_x, n_y, n_w;
    double *x, *y, *w, *bias, *expected; /* y also serves as dy */
    float *fx, *fy, *fw, *fbias, *out, *scratch;
    int threads;
} fixture;

static void *get(size_t n_bytes)
{
    void *p = NULL;
    assert_int_equal(posix_memalign(&p, 64, n_bytes ? n_bytes : 64), 0);
    memset(p, 0x7f, n_bytes); /* large values: reading what was never written shows */
    return p;
}

static uint32_t random_state = 1;

static double random_value(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (double)(float)((random_state >> 8) / 8388608.0 - 1);
}

static int64_t block = 16; /* channels side by side */

static int64_t at_map(int64_t channels, int64_t h, int64_t w, int64_t n, int64_t c, int64_t i, int64_t j)
{
    return (((n * (channels / block) + c / block) * h + i) * w + j) * block + c % block;
}

static int64_t at_filter(const nt_winograd_shape *s, int64_t k, int64_t c, int64_t i, int64_t j)
{
    const int64_t at = ((k / block) * (s->c / block) + c / block) * s->kernel * s->kernel + i * s->kernel + j;
    return (at * block + c % block) * block + k % block;
}

/* Plain to blocked, or with `back` blocked to plain. */
static void convert_map(double *plain, float *blocked, int64_t n, int64_t c, int64_t h, int64_t w, bool back)
{
    for (int64_t i = 0; i < n * c * h * w; i++) {
        float *b = blocked + at_map(c, h, w, i / (c * h * w), i / (h * w) % c, i / w % h, i % w);
        if (back)
            plain[i] = (double)*b;
        else
            *b = (float)plain[i];
    }
}

static void convert_filter(const nt_winograd_shape *s, double *plain, float *blocked, bool back)
{
    const int64_t r = s->kernel;
    for (int64_t i = 0; i < s->k * s->c * r * r; i++) {
        float *b = blocked + at_filter(s, i / (s->c * r * r), i / (r * r) % s->c, i / r % r, i % r);
        if (back)
            plain[i] = (double)*b;
        else
            *b = (float)plain[i];
    }
}

static double *randoms(int64_t n)
{
    double *p = get((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++)
        p[i] = random_value();
    return p;
}

static float *floats(int64_t n)
{
    return get((size_t)n * sizeof(float));
}

static size_t scratch_bytes(const fixture *f)
{
    size_t most = 0;
    for (nt_winograd_pass pass = NT_WINOGRAD_FORWARD; pass <= NT_WINOGRAD_BACKWARD_WEIGHTS; pass++) {
        const size_t n = nt_winograd_scratch_bytes(&f->s, pass, f->threads);
        if (n > most) most = n;
    }
    return most;
}

static void fixture_init(fixture *f, const nt_winograd_shape *s, int threads)
{
    *f = (fixture){.s = *s, .threads = threads};
    f->oh = s->h + 2 * s->pad_h - s->kernel + 1;
    f->ow = s->w + 2 * s->pad_w - s->kernel + 1;
    f->n_x = s->n * s->c * s->h * s->w;
    f->n_y = s->n * s->k * f->oh * f->ow;
    f->n_w = s->k * s->c * s->kernel * s->kernel;
    const int64_t most = f->n_x + f->n_y + f->n_w;
    f->x = randoms(f->n_x);
    f->y = randoms(f->n_y);
    f->w = randoms(f->n_w);
    f->bias = randoms(s->k);
    f->expected = get((size_t)most * sizeof(double));
    f->fx = floats(f->n_x);
    f->fy = floats(f->n_y);
    f->fw = floats(f->n_w);
    f->fbias = floats(s->k);
    f->out = floats(most);
    f->scratch = get(scratch_bytes(f));
    convert_map(f->x, f->fx, s->n, s->c, s->h, s->w, false);
    convert_map(f->y, f->fy, s->n, s->k, f->oh, f->ow, false);
    convert_filter(s, f->w, f->fw, false);
    for (int64_t i = 0; i < s->k; i++)
        f->fbias[i] = (float)f->bias[i];
}

static void fixture_free(fixture *f)
{
    double *doubles[] = {f->x, f->y, f->w, f->bias, f->expected};
    float *singles[] = {f->fx, f->fy, f->fw, f->fbias, f->out, f->scratch};
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        free(doubles[i]);
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++)
        free(singles[i]);
}

/* Calls visit(f, y index, x index, w index) for every product of the convolution. */
typedef void visitor(fixture *f, int64_t y, int64_t x, int64_t w);

static inline __attribute__((always_inline)) void convolve_image(fixture *f, int64_t n, int64_t k, int64_t c,
                                                                 visitor *visit)
{
    const nt_winograd_shape *s = &f->s;
    for (int64_t i = 0; i < f->oh; i++)
        for (int64_t j = 0; j < f->ow; j++)
            for (int64_t p = 0; p < s->kernel; p++)
                for (int64_t q = 0; q < s->kernel; q++) {
                    const int64_t row = i + p - s->pad_h, col = j + q - s->pad_w;
                    if (row < 0 || row >= s->h || col < 0 || col >= s->w) continue;
                    visit(f, ((n * s->k + k) * f->oh + i) * f->ow + j,
                          ((n * s->c + c) * s->h + row) * s->w + col,
                          ((k * s->c + c) * s->kernel + p) * s->kernel + q);
                }
}

static inline __attribute__((always_inline)) void convolve(fixture *f, visitor *visit)
{
    for (int64_t n = 0; n < f->s.n; n++)
        for (int64_t k = 0; k < f->s.k; k++)
            for (int64_t c = 0; c < f->s.c; c++)
                convolve_image(f, n, k, c, visit);
}

static void visit_forward(fixture *f, int64_t y, int64_t x, int64_t w)
{
    f->expected[y] += f->x[x] * f->w[w];
}

static void visit_data(fixture *f, int64_t y, int64_t x, int64_t w)
{
    f->expected[x] += f->y[y] * f->w[w];
}

static void visit_weights(fixture *f, int64_t y, int64_t x, int64_t w)
{
    f->expected[w] += f->y[y] * f->x[x];
}

static double largest_error[2]; /* of tiles 6 and 8, printed: what the tolerances were made from */

static void compare(const fixture *f, const double *got, int64_t n, const char *what)
{
    const nt_winograd_shape *s = &f->s;
    double largest = 0, error = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(f->expected[i]));
        error = isnan(got[i]) ? INFINITY : fmax(error, fabs(got[i] - f->expected[i]));
    }
    error /= largest;
    double *worst = &largest_error[s->tile == 8];
    if (error > *worst) *worst = error;
    if (error <= (s->tile == 6 ? tolerance6 : tolerance8)) return;
    fail_msg("%s: tile %d kernel %d pad %d %d, n %d c %d k %d, %d x %d: error %.3g of the largest value %.3g",
             what, s->tile, (int)s->kernel, (int)s->pad_h, (int)s->pad_w, (int)s->n, (int)s->c, (int)s->k,
             (int)s->h, (int)s->w, error, largest);
}

static void zero_expected(fixture *f)
{
    for (int64_t i = 0; i < f->n_x + f->n_y + f->n_w; i++)
        f->expected[i] = 0;
}

static void check_forward(fixture *f, bool bias, bool relu)
{
    const nt_winograd_shape *s = &f->s;
    const int64_t plane = f->oh * f->ow;
    zero_expected(f);
    convolve(f, visit_forward);
    for (int64_t i = 0; i < f->n_y; i++) {
        if (bias) f->expected[i] += f->bias[i / plane % s->k];
        if (relu && f->expected[i] < 0) f->expected[i] = 0;
    }
    nt_winograd_forward(s, f->out, f->fx, f->fw, bias ? f->fbias : NULL, relu, f->scratch, f->threads);
    double *got = get((size_t)f->n_y * sizeof *got);
    convert_map(got, f->out, s->n, s->k, f->oh, f->ow, true);
    compare(f, got, f->n_y, "forward");
    free(got);
}

static void check_data(fixture *f)
{
    const nt_winograd_shape *s = &f->s;
    zero_expected(f);
    convolve(f, visit_data);
    nt_winograd_backward_data(s, f->out, f->fy, f->fw, f->scratch, f->threads);
    double *got = get((size_t)f->n_x * sizeof *got);
    convert_map(got, f->out, s->n, s->c, s->h, s->w, true);
    compare(f, got, f->n_x, "backward data");
    free(got);
}

static void check_bias(const fixture *f, const float *dbias, bool accumulate)
{
    const int64_t plane = f->oh * f->ow;
    for (int64_t k = 0; k < f->s.k; k++) {
        double sum = accumulate ? 1 : 0;
        for (int64_t n = 0; n < f->s.n; n++)
            for (int64_t i = 0; i < plane; i++)
                sum += f->y[(n * f->s.k + k) * plane + i];
        /* a float sum of n * plane values of at most 1 */
        assert_true(fabs(sum - (double)dbias[k]) <= 1e-6 * (double)(f->s.n * plane));
    }
}

static void check_weights(fixture *f, bool accumulate)
{
    const nt_winograd_shape *s = &f->s;
    zero_expected(f);
    convolve(f, visit_weights);
    float *dbias = floats(s->k);
    for (int64_t i = 0; accumulate && i < s->k; i++)
        dbias[i] = 1;
    for (int64_t i = 0; accumulate && i < f->n_w; i++) {
        f->expected[i] += f->w[i];
        f->out[at_filter(s, i / (s->c * s->kernel * s->kernel), i / (s->kernel * s->kernel) % s->c,
                         i / s->kernel % s->kernel, i % s->kernel)] = (float)f->w[i];
    }
    nt_winograd_backward_weights(s, f->out, dbias, f->fx, f->fy, accumulate, f->scratch, f->threads);
    double *got = get((size_t)f->n_w * sizeof *got);
    convert_filter(s, got, f->out, true);
    compare(f, got, f->n_w, "backward weights");
    check_bias(f, dbias, accumulate);
    free(got);
    free(dbias);
}

static void check_shape(const nt_winograd_shape *s, int threads)
{
    if (!nt_winograd_supported(s)) skip(); /* not an x86-64 with AVX2: the caller's other algorithms do it */
    fixture f;
    block = s->blocks_of_8 ? 8 : 16;
    fixture_init(&f, s, threads);
    const bool odd = s->pad_h % 2; /* every shape one way, every kernel both ways */
    check_forward(&f, odd, !odd);
    check_data(&f);
    check_weights(&f, odd);
    fixture_free(&f);
    block = 16;
}

/* Odd and even maps, smaller and larger than a tile, odd numbers of channel blocks, every padding. */
static void check_kernel(int kernel, int tile)
{
    for (int pad = 0; pad < kernel; pad++) {
        check_shape(&(nt_winograd_shape){1, 16, 13, 9, 16, kernel, pad, kernel - 1 - pad, tile}, 1);
        check_shape(&(nt_winograd_shape){7, 16, 5, 6, 48, kernel, pad, pad, tile}, 1);
    }
    check_shape(&(nt_winograd_shape){7, 32, 14, 14, 16, kernel, kernel / 2, kernel / 2, tile}, 1);
    check_shape(&(nt_winograd_shape){2, 48, 8, 11, 32, kernel, kernel / 2, kernel / 2, tile}, 2);
    check_shape(&(nt_winograd_shape){1, 16, 1, 3, 16, kernel, kernel / 2, kernel / 2, tile}, 3);
}

static void kernel_3_tile_6(void **state)
{
    (void)state;
    check_kernel(3, 6);
}

static void kernel_5_tile_6(void **state)
{
    (void)state;
    check_kernel(5, 6);
}

static void kernel_3_tile_8(void **state)
{
    (void)state;
    check_kernel(3, 8);
}

static void kernel_5_tile_8(void **state)
{
    (void)state;
    check_kernel(5, 8);
}

/* The AVX2 kernels on a machine that would take the AVX-512 ones, in both formats. */
static void avx2_kernels(void **state)
{
    (void)state;
#if defined(__x86_64__)
    nt_winograd_forced = nt_winograd_avx2;
    for (int i = 0; i < NT_WINOGRAD_VARIANTS; i++) {
        const int kernel = i % 2 ? 5 : 3, tile = i / 2 ? 8 : 6;
        for (int halves = 0; halves < 2; halves++) {
            check_shape(&(nt_winograd_shape){2, 48, 9, 11, 16, kernel, 1, 2, tile, halves}, 1);
            check_shape(&(nt_winograd_shape){1, 16, 7, 8, 48, kernel, 0, 1, tile, halves}, 2);
            check_shape(&(nt_winograd_shape){2, 32, 13, 14, 32, kernel, 1, 1, tile, halves}, 3);
        }
        check_shape(&(nt_winograd_shape){1, 176, 4, 4, 208, kernel, 1, 1, tile, true}, 1);
    }
    nt_winograd_forced = NULL;
#else
    skip();
#endif
}

/* Transformed filters too large to keep (winograd.c, RESIDENT_BYTES), one block of tiles and several. */
static void large_filters(void **state)
{
    (void)state;
    check_shape(&(nt_winograd_shape){1, 176, 4, 4, 208, 3, 1, 1, 6}, 1);
    check_shape(&(nt_winograd_shape){1, 208, 4, 4, 176, 3, 1, 1, 8}, 2);
    check_shape(&(nt_winograd_shape){240, 192, 1, 2, 160, 3, 1, 1, 6}, 1);
}

/* Threads split the work, never a sum. */
static void threads_change_no_bit(void **state)
{
    (void)state;
    const nt_winograd_shape s = {5, 48, 12, 10, 80, 5, 2, 2, 6};
    if (!nt_winograd_supported(&s)) skip();
    fixture f;
    float *first = NULL;
    for (int threads = 1; threads <= 4; threads++) {
        random_state = 7;
        fixture_init(&f, &s, threads);
        float *all = floats(f.n_y + f.n_x + f.n_w);
        nt_winograd_forward(&s, all, f.fx, f.fw, f.fbias, true, f.scratch, threads);
        nt_winograd_backward_data(&s, all + f.n_y, f.fy, f.fw, f.scratch, threads);
        nt_winograd_backward_weights(&s, all + f.n_y + f.n_x, NULL, f.fx, f.fy, false, f.scratch, threads);
        if (first) assert_memory_equal(all, first, (size_t)(f.n_y + f.n_x + f.n_w) * sizeof *all);
        if (threads == 1)
            first = all;
        else
            free(all);
        fixture_free(&f);
    }
    free(first);
}

/* ReLU must not turn a NaN into 0: a diverged run would look healthy. */
static void nan_stays(void **state)
{
    (void)state;
    const nt_winograd_shape s = {1, 16, 6, 6, 16, 3, 1, 1, 6};
    if (!nt_winograd_supported(&s)) skip();
    fixture f;
    fixture_init(&f, &s, 1);
    f.fx[at_map(16, 6, 6, 0, 3, 2, 2)] = NAN;
    nt_winograd_forward(&s, f.out, f.fx, f.fw, f.fbias, true, f.scratch, 1);
    for (int64_t k = 0; k < 16; k++)
        assert_true(isnan(f.out[at_map(16, 6, 6, 0, k, 2, 2)]));
    fixture_free(&f);
}

static void what_is_unsupported(void **state)
{
    (void)state;
    const nt_winograd_shape bad[] = {{1, 8, 8, 8, 16, 3, 1, 1, 6},  {1, 16, 8, 8, 20, 3, 1, 1, 6},
                                     {1, 16, 8, 8, 16, 4, 1, 1, 6}, {1, 16, 8, 8, 16, 3, 3, 1, 6},
                                     {1, 16, 8, 8, 16, 3, 1, 1, 7}, {1, 16, 2, 2, 16, 5, 0, 0, 6},
                                     {1, 16, 8, 8, 16, 3, 1, -1, 6}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(nt_winograd_supported(&bad[i]));
    const nt_winograd_shape halves = {1, 16, 8, 8, 16, 3, 1, 1, 6, true};
    assert_int_equal(nt_winograd_supported(&halves), nt_isa_best() == NT_ISA_AVX2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_3_tile_6),       cmocka_unit_test(kernel_5_tile_6),
        cmocka_unit_test(kernel_3_tile_8),       cmocka_unit_test(kernel_5_tile_8),
        cmocka_unit_test(avx2_kernels),          cmocka_unit_test(large_filters),
        cmocka_unit_test(threads_change_no_bit), cmocka_unit_test(nan_stays),
        cmocka_unit_test(what_is_unsupported),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("largest error: tile 6 %.2g, tile 8 %.2g\n", largest_error[0], largest_error[1]);
    return failed;
}
