/* The loops over samples, each against the plainest way to write it. */
#include "core/rng.h"
#include "datasets/dataset.h"
#include "datasets/image.h"
#include "datasets/transform.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Row sizes on both sides of a piece, of the longest row that is prefetched, and of a page. */
static void gather_copies_rows_of_any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 3, 255, 256, 257, 511, 512, 3072, 4096, 16383, 16384, 16385, 70000};
    static const int64_t index[] = {4, 0, 0, 3, 1, 4};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        size_t row = sizes[k];
        uint8_t *src = NULL, *dst = malloc(6 * row + 1);
        assert_int_equal(nt_rows_allocate((void **)&src, 5 * row), NT_OK);
        assert_non_null(dst);
        for (size_t i = 0; i < 5 * row; i++)
            src[i] = (uint8_t)(i * 2654435761u >> 13);
        dst[6 * row] = 77; /* nothing is written past the end */
        nt_rows_gather(dst, src, index, 6, row);
        for (int i = 0; i < 6; i++)
            assert_memory_equal(dst + (size_t)i * row, src + (size_t)index[i] * row, row);
        assert_int_equal(dst[6 * row], 77);
        free(src);
        free(dst);
    }
}

static void hwc_becomes_chw(void **state)
{
    (void)state;
    uint8_t bytes[5 * 3], bytes_out[5 * 3];
    float reals[5 * 3], reals_out[5 * 3];
    for (int i = 0; i < 15; i++)
        reals[i] = bytes[i] = (uint8_t)(i * 17);
    nt_hwc_to_chw(bytes_out, bytes, 5, 3, 1);
    nt_hwc_to_chw(reals_out, reals, 5, 3, 4);
    for (int pixel = 0; pixel < 5; pixel++)
        for (int c = 0; c < 3; c++) {
            assert_int_equal(bytes_out[c * 5 + pixel], bytes[pixel * 3 + c]);
            assert_true(reals_out[c * 5 + pixel] == reals[pixel * 3 + c]);
        }
}

/* One odd value at every place of arrays around the width of vectors. */
static void odd_values_are_found_anywhere(void **state)
{
    (void)state;
    const float odd[] = {NAN, -NAN, INFINITY, -INFINITY};
    const float fine[] = {0, -0.0f, FLT_MIN, -FLT_MIN, FLT_MAX, -FLT_MAX, 1};
    const float tiny[] = {FLT_TRUE_MIN, -FLT_TRUE_MIN, FLT_MIN / 2};
    float x[40];
    for (int n = 1; n <= 40; n++)
        for (int at = 0; at < n; at++) {
            int64_t count = 0;
            for (int i = 0; i < n; i++)
                x[i] = fine[i % 7];
            assert_int_equal(nt_values_check(x, n, &count), -1);
            x[at] = odd[at % 4];
            assert_int_equal(nt_values_check(x, n, &count), at);
            assert_int_equal(count, 0);
            x[at] = tiny[at % 3];
            assert_int_equal(nt_values_check(x, n, &count), -1);
            assert_int_equal(count, 1);
            assert_true(x[at] == 0);
            for (int i = 0; i < n; i++)
                if (i != at) assert_true(x[i] == fine[i % 7]);
        }
}

/* The same bits however the samples are cut into batches, and the mean and spread of the numbers. */
static void statistics_do_not_depend_on_batches(void **state)
{
    (void)state;
    enum { N = 97, C = 3, INNER = 11 };
    static float reals[N * C * INNER];
    static uint8_t bytes[N * C * INNER];
    for (int i = 0; i < N * C * INNER; i++) {
        nt_philox r = nt_rng_block(1, NT_RNG_TEST, 0, (uint32_t)i, 0, 0);
        reals[i] = nt_rng_uniform(r.v[0]) + (float)(i / INNER % C) * 100;
        bytes[i] = (uint8_t)(r.v[1] >> 24);
    }
    for (int kind = 0; kind < 2; kind++) {
        nt_sample_spec spec = {.x_dtype = kind ? NT_U8 : NT_F32, .x = {.n_dims = 2, .dim = {C, INNER}}};
        static nt_stats whole, parts;
        const char *x = kind ? (const char *)bytes : (const char *)reals;
        size_t row = C * INNER * nt_dtype_bytes(spec.x_dtype);
        nt_stats_init(&whole, &spec);
        nt_stats_init(&parts, &spec);
        nt_stats_add(&whole, x, N);
        for (int at = 0; at < N; at += 10)
            nt_stats_add(&parts, x + (size_t)at * row, at + 10 < N ? 10 : N - at);
        double mean[2][C], std[2][C];
        nt_stats_result(&whole, 0.5, mean[0], std[0]);
        nt_stats_result(&parts, 0.5, mean[1], std[1]);
        assert_memory_equal(mean[0], mean[1], sizeof mean[0]);
        assert_memory_equal(std[0], std[1], sizeof std[0]);
        for (int c = 0; c < C; c++) {
            long double sum = 0, square = 0;
            for (int n = 0; n < N; n++)
                for (int i = 0; i < INNER; i++) {
                    int at = (n * C + c) * INNER + i;
                    sum += kind ? bytes[at] : reals[at];
                }
            long double m = sum / (N * INNER);
            for (int n = 0; n < N; n++)
                for (int i = 0; i < INNER; i++) {
                    int at = (n * C + c) * INNER + i;
                    long double d = (kind ? bytes[at] : reals[at]) - m;
                    square += d * d;
                }
            /* A thousand double additions of numbers up to 300 */
            assert_float_equal(mean[0][c], (double)m / 2, 1e-11);
            assert_float_equal(std[0][c], (double)sqrtl(square / (N * INNER)) / 2, 1e-11);
        }
    }
}

static void lists_become_mean_and_inverse(void **state)
{
    (void)state;
    nt_input_options in = {0};
    const double mean[] = {1, 2, 3}, std[] = {4};
    nt_input_normalize(&in, mean, 3, std, 1, 2);
    assert_int_equal(in.n_channels, 3);
    assert_true(in.mean[2] == 6 && in.inv_std[0] == 0.125 && in.inv_std[2] == 0.125);
    nt_input_normalize(&in, NULL, 0, std, 1, 1);
    assert_int_equal(in.n_channels, 1);
    assert_true(in.mean[0] == 0 && in.inv_std[0] == 0.25);
    nt_input_normalize(&in, NULL, 0, NULL, 0, 1);
    assert_int_equal(in.n_channels, 0);
}

static void sides_beyond_reason_are_refused(void **state)
{
    (void)state;
    nt_resampler *resampler = NULL;
    assert_int_equal(nt_resampler_create(&resampler, 2, 2, (int64_t)1 << 40, 2), NT_ERR_CONFIG);
    assert_null(resampler);
    nt_resampler_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_copies_rows_of_any_size),
        cmocka_unit_test(hwc_becomes_chw),
        cmocka_unit_test(odd_values_are_found_anywhere),
        cmocka_unit_test(statistics_do_not_depend_on_batches),
        cmocka_unit_test(lists_become_mean_and_inverse),
        cmocka_unit_test(sides_beyond_reason_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
