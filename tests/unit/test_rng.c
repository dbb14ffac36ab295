/* Philox against Random123 (the authors' own code and their published known answers), and the helpers that
 * make numbers of its words against their definitions. */
#include "core/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <Random123/philox.h>
#include <cmocka.h>

/* The three vectors for philox4x32 with 10 rounds of Random123's file of known answers. */
static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        nt_philox counter;
        uint64_t key;
        nt_philox answer;
    } cases[] = {
        {{{0, 0, 0, 0}}, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}},
        {{{~0u, ~0u, ~0u, ~0u}}, UINT64_MAX, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}}},
        {{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}},
         0x299f31d0a4093822,
         {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nt_philox got = nt_philox4x32(cases[i].counter, cases[i].key);
        assert_memory_equal(got.v, cases[i].answer.v, sizeof got.v);
    }
}

static void test_against_random123(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u; /* xorshift64 makes the inputs, so that Philox does not test itself */
    for (int i = 0; i < 100000; i++) {
        uint64_t word[3];
        for (int j = 0; j < 3; j++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            word[j] = x;
        }
        philox4x32_ctr_t counter = {
            {(uint32_t)word[0], (uint32_t)(word[0] >> 32), (uint32_t)word[1], (uint32_t)(word[1] >> 32)}};
        philox4x32_key_t key = {{(uint32_t)word[2], (uint32_t)(word[2] >> 32)}};
        philox4x32_ctr_t expected = philox4x32(counter, key);
        nt_philox got =
            nt_philox4x32((nt_philox){{counter.v[0], counter.v[1], counter.v[2], counter.v[3]}}, word[2]);
        assert_memory_equal(got.v, expected.v, sizeof got.v);
    }
}

/* The counter is what the header says, and no two streams, sub-ids or coordinates share a block. */
static void test_block_coordinates(void **state)
{
    (void)state;
    nt_philox expected = nt_philox4x32((nt_philox){{7, 8, 9, 3u << 24 | 0x123456}}, 42);
    nt_philox got = nt_rng_block(42, NT_RNG_DROPOUT, 0x123456, 7, 8, 9);
    assert_memory_equal(got.v, expected.v, sizeof got.v);
    got = nt_rng_block(42, NT_RNG_DROPOUT, 0xff123456, 7, 8, 9); /* a sub-id cannot reach the stream */
    assert_memory_equal(got.v, expected.v, sizeof got.v);
}

static void test_uniform(void **state)
{
    (void)state;
    assert_true(nt_rng_uniform(0) == 0.0f);
    assert_true(nt_rng_uniform(0xff) == 0.0f);
    assert_true(nt_rng_uniform(0x100) == 0x1p-24f);
    assert_true(nt_rng_uniform(1u << 31) == 0.5f);
    assert_true(nt_rng_uniform(UINT32_MAX) < 1.0f);
    assert_true(nt_rng_uniform(UINT32_MAX) == 1.0f - 0x1p-24f);
}

/* Mean and variance of 2^20 uniforms; bounds are 5 standard errors (0.2887 / 1024, 0.0745 / 1024). */
static void test_uniform_moments(void **state)
{
    (void)state;
    double sum = 0, squares = 0;
    const int n = 1 << 20;
    for (int i = 0; i < n / 4; i++) {
        nt_philox words = nt_rng_block(5, NT_RNG_TEST, 0, (uint32_t)i, 0, 0);
        for (int j = 0; j < 4; j++) {
            double u = nt_rng_uniform(words.v[j]);
            sum += u;
            squares += u * u;
        }
    }
    double mean = sum / n, variance = squares / n - mean * mean;
    assert_true(fabs(mean - 0.5) < 5 * 0.2887 / 1024);
    assert_true(fabs(variance - 1.0 / 12) < 5 * 0.0745 / 1024);
}

/* 2^20 normals: moments 1 to 4 within 5 standard errors (1, sqrt 2, sqrt 15, sqrt 96 over sqrt n), the
 * distribution within the Kolmogorov-Smirnov bound at 1e-6 over 41 points, and the pair uncorrelated. */
static void test_normal_distribution(void **state)
{
    (void)state;
    const int n = 1 << 20;
    double moment[5] = {0}, product = 0;
    int below[41] = {0};
    for (int i = 0; i < n / 2; i++) {
        nt_philox words = nt_rng_block(6, NT_RNG_TEST, 0, (uint32_t)i, 0, 0);
        double z[2];
        nt_rng_normal(words.v[0], words.v[1], z);
        product += z[0] * z[1];
        for (int j = 0; j < 2; j++) {
            for (int k = 1; k <= 4; k++)
                moment[k] += pow(z[j], k);
            for (int k = 0; k <= 40; k++)
                below[k] += z[j] <= (k - 20) * 0.2;
        }
    }
    const double expected[5] = {0, 0, 1, 0, 3}, error[5] = {0, 1, 1.4143, 3.873, 9.798}, root = sqrt(n);
    for (int k = 1; k <= 4; k++)
        assert_true(fabs(moment[k] / n - expected[k]) < 5 * error[k] / root);
    assert_true(fabs(product / (n / 2)) < 5 / sqrt(n / 2));
    for (int k = 0; k <= 40; k++) {
        double cdf = 0.5 * erfc(-(k - 20) * 0.2 / sqrt(2.0));
        assert_true(fabs((double)below[k] / n - cdf) < 2.7 / root);
    }
}

/* The extreme words: finite, at most sqrt(2 ln 2^32) = 6.66 long. */
static void test_normal_extremes(void **state)
{
    (void)state;
    static const uint32_t edge[] = {0, 1, 1u << 30, 1u << 31, 3u << 30, UINT32_MAX - 1, UINT32_MAX};
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 7; j++) {
            double z[2];
            nt_rng_normal(edge[i], edge[j], z);
            assert_true(isfinite(z[0]) && isfinite(z[1]));
            assert_true(hypot(z[0], z[1]) < 6.67);
        }
}

static void test_below(void **state)
{
    (void)state;
    assert_int_equal(nt_rng_below(0, 0, 10), 0);
    assert_int_equal(nt_rng_below(UINT32_MAX, UINT32_MAX, 10), 9);
    assert_int_equal(nt_rng_below(UINT32_MAX, UINT32_MAX, 1), 0);
    assert_true(nt_rng_below(UINT32_MAX, UINT32_MAX, UINT64_MAX) == UINT64_MAX - 1);
    int count[7] = {0};
    const int n = 70000;
    for (int i = 0; i < n; i++) {
        nt_philox words = nt_rng_block(7, NT_RNG_TEST, 0, (uint32_t)i, 0, 0);
        uint64_t value = nt_rng_below(words.v[0], words.v[1], 7);
        assert_true(value < 7);
        count[value]++;
    }
    for (int k = 0; k < 7; k++) /* 5 standard deviations of a binomial, sqrt(n 6 / 49) = 92.6 */
        assert_true(abs(count[k] - n / 7) < 463);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),     cmocka_unit_test(test_against_random123),
        cmocka_unit_test(test_block_coordinates), cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_uniform_moments),   cmocka_unit_test(test_normal_distribution),
        cmocka_unit_test(test_normal_extremes),   cmocka_unit_test(test_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
