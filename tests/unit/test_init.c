/* Initial values: a pure function of seed, parameter and element, and of the distribution that was asked for.
 *
 * Statistical bounds are five standard errors of the estimate at 2^18 samples, and for the distribution the
 * Kolmogorov-Smirnov distance 2.7 / sqrt(n), passed by chance once in a million; the seed is fixed, so a test
 * that passes passes always. */
#include "core/init.h"
#include "core/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1 << 18 };

static float *values; /* (N) */

static int set_up(void **state)
{
    (void)state;
    values = malloc(N * sizeof *values);
    return values ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(values);
    return 0;
}

static void fill(nt_init init)
{
    assert_int_equal(nt_init_fill(values, N, &init, 42, 3), NT_OK);
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

static double truncated_cdf(double x)
{
    double low = normal_cdf(-2), whole = normal_cdf(2) - low;
    return x <= -2 ? 0 : x >= 2 ? 1 : (normal_cdf(x) - low) / whole;
}

static double uniform_cdf(double x) /* in [-1, 1) */
{
    return x <= -1 ? 0 : x >= 1 ? 1 : (x + 1) / 2;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The values, less `center` and over `scale`, are distributed as cdf says, with that standard deviation. */
static void expect_distribution(double (*cdf)(double), double center, double scale, double std)
{
    double sum = 0, squares = 0, distance = 0;
    for (int i = 0; i < N; i++) {
        double z = (values[i] - center) / scale;
        sum += z;
        squares += z * z;
    }
    assert_true(fabs(sum / N) < 5 * std / sqrt(N));
    assert_true(fabs(squares / N - std * std) <
                5 * 1.4143 * std * std / sqrt(N)); /* of a normal; others less */
    qsort(values, N, sizeof *values, compare_floats);
    for (int i = 0; i < N; i++)
        distance = fmax(distance, fabs(cdf((values[i] - center) / scale) - (i + 0.5) / N));
    assert_true(distance < 2.7 / sqrt(N));
}

static void test_constant(void **state)
{
    (void)state;
    fill(nt_init_constant(0.25));
    for (int i = 0; i < N; i++)
        assert_true(values[i] == 0.25f);
}

static void test_uniform(void **state)
{
    (void)state;
    fill((nt_init){.type = NT_INIT_UNIFORM, .a = -3, .b = 5});
    for (int i = 0; i < N; i++)
        assert_true(values[i] >= -3 && values[i] < 5);
    expect_distribution(uniform_cdf, 1, 4, 1 / sqrt(3));
}

static void test_normal(void **state)
{
    (void)state;
    fill((nt_init){.type = NT_INIT_NORMAL, .a = 2, .b = 0.5});
    expect_distribution(normal_cdf, 2, 0.5, 1);
}

/* The variance of a normal cut at +-2 is 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.7737. */
static void test_truncated_normal(void **state)
{
    (void)state;
    fill((nt_init){.type = NT_INIT_TRUNC_NORMAL, .a = -1, .b = 0.02});
    double most = 0;
    for (int i = 0; i < N; i++)
        most = fmax(most, fabs(values[i] + 1.0));
    assert_true(most <= 0.04 * (1 + 1e-5)); /* values near 1 are rounded by 6e-8, 2e-6 of the bound */
    assert_true(most > 0.0399);
    expect_distribution(truncated_cdf, -1, 0.02, sqrt(0.7737413));
}

static void test_kaiming(void **state)
{
    (void)state;
    fill((nt_init){NT_INIT_KAIMING, sqrt(2.0), 0, 50, 7});
    expect_distribution(normal_cdf, 0, 0.2, 1); /* sqrt(2 / 50) */
}

static void test_xavier(void **state)
{
    (void)state;
    fill((nt_init){NT_INIT_XAVIER, 1, 0, 50, 100});
    for (int i = 0; i < N; i++)
        assert_true(fabsf(values[i]) <= 0.2f); /* sqrt(6 / 150) */
    expect_distribution(uniform_cdf, 0, 0.2, 1 / sqrt(3));
}

/* Any part is the beginning of the whole: no element knows how many there are. */
static void test_elements_do_not_know_each_other(void **state)
{
    (void)state;
    for (int type = NT_INIT_CONSTANT; type <= NT_INIT_XAVIER; type++) {
        nt_init init = {type, 0.5, 0.75, 3, 4};
        fill(init);
        for (int64_t n = 0; n < 20; n++) {
            float part[21];
            memset(part, 0, sizeof part);
            assert_int_equal(nt_init_fill(part, n, &init, 42, 3), NT_OK);
            assert_memory_equal(part, values, (size_t)n * sizeof *part);
            assert_true(part[n] == 0); /* and none is written past the end */
        }
    }
}

/* Where the numbers come from is part of the contract: old seeds must give old weights. */
static void test_element_addresses(void **state)
{
    (void)state;
    fill((nt_init){.type = NT_INIT_UNIFORM, .a = 0, .b = 1});
    for (uint32_t e = 0; e < 1000; e++)
        assert_true(values[e] == nt_rng_uniform(nt_rng_block(42, NT_RNG_INIT, 0, e / 4, 0, 3).v[e % 4]));
    fill((nt_init){.type = NT_INIT_NORMAL, .a = 0, .b = 1});
    for (uint32_t e = 0; e < 1000; e++) {
        nt_philox words = nt_rng_block(42, NT_RNG_INIT, 0, e / 4, 0, 3);
        double z[2];
        nt_rng_normal(words.v[e % 4 / 2 * 2], words.v[e % 4 / 2 * 2 + 1], z);
        assert_true(values[e] == (float)z[e % 2]);
    }
}

/* Another seed or parameter gives unrelated values: correlations within 5 / sqrt(n). */
static void test_seeds_and_parameters_are_unrelated(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        uint32_t id;
    } others[] = {{43, 3}, {42, 4}, {42, 1u << 31 | 3}, {42 + (UINT64_C(1) << 32), 3}};
    nt_init init = {.type = NT_INIT_NORMAL, .a = 0, .b = 1};
    float *other = malloc(N * sizeof *other);
    assert_non_null(other);
    fill(init);
    for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
        double product = 0;
        int n_equal = 0;
        assert_int_equal(nt_init_fill(other, N, &init, others[k].seed, others[k].id), NT_OK);
        for (int i = 0; i < N; i++) {
            product += (double)values[i] * other[i];
            n_equal += values[i] == other[i];
        }
        assert_true(fabs(product / N) < 5 / sqrt(N));
        assert_true(n_equal < N / 1000);
    }
    free(other);
}

static void test_bad_requests(void **state)
{
    (void)state;
    const nt_init bad[] = {
        {.type = NT_INIT_KAIMING, .a = 1, .fan_in = 0, .fan_out = 1},
        {.type = NT_INIT_XAVIER, .a = 1, .fan_in = 1, .fan_out = 0},
        {.type = NT_INIT_NORMAL, .b = -1},
        {.type = NT_INIT_NORMAL, .b = NAN},
        {.type = NT_INIT_UNIFORM, .a = 1, .b = 0},
        {.type = NT_INIT_CONSTANT, .a = INFINITY},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(nt_init_fill(values, 1, &bad[i], 0, 0), NT_ERR_BUG);
    assert_int_equal(nt_init_fill(values, -1, &(nt_init){0}, 0, 0), NT_ERR_BUG);
}

/* ---- what the options mean ---- */

typedef struct layer_options {
    int64_t before;
    nt_init_options init;
} layer_options;

static const nt_option table[] = {NT_INIT_OPTIONS(layer_options)};
static const nt_section section = {
    .name = "demo", .size = sizeof(layer_options), .options = table, .n_options = NT_N_ELEMS(table)};

/* The options after up to two overrides. */
static nt_init_options with(const char *first, const char *second)
{
    static const nt_section *const sections[] = {&section, NULL};
    const char *overrides[] = {first, second};
    int n = second ? 2 : first ? 1 : 0;
    nt_config *config = NULL;
    if (nt_config_load(&config, NULL, overrides, n, sections) != NT_OK)
        fail_msg("%s", nt_error_last()->message);
    nt_init_options options = ((const layer_options *)nt_config_section(config, &section))->init;
    nt_config_destroy(config);
    return options;
}

static void expect_init(nt_init got, nt_init_type type, double a, double b)
{
    assert_int_equal(got.type, type);
    assert_true(fabs(got.a - a) < 1e-15 && fabs(got.b - b) < 1e-15);
}

/* torch.nn.Linear and Conv2d: kaiming_uniform_ with a = sqrt 5, which comes to +-1/sqrt(fan_in), the bias
 * too. */
static void test_auto(void **state)
{
    (void)state;
    nt_init_options options = with(NULL, NULL);
    expect_init(nt_init_resolve_weight(&options, 16, 9), NT_INIT_UNIFORM, -0.25, 0.25);
    expect_init(nt_init_resolve_bias(&options, 16), NT_INIT_UNIFORM, -0.25, 0.25);
    options = with("demo.bias_init=0", NULL);
    expect_init(nt_init_resolve_bias(&options, 16), NT_INIT_CONSTANT, 0, 0);
}

static void test_choices(void **state)
{
    (void)state;
    nt_init_options options = with("demo.init=kaiming", NULL);
    nt_init init = nt_init_resolve_weight(&options, 16, 9);
    expect_init(init, NT_INIT_KAIMING, sqrt(2.0), 0);
    assert_true(init.fan_in == 16 && init.fan_out == 9);
    expect_init(nt_init_resolve_bias(&options, 16), NT_INIT_CONSTANT, 0, 0);
    options = with("demo.init=kaiming", "demo.init_gain=1");
    expect_init(nt_init_resolve_weight(&options, 16, 9), NT_INIT_KAIMING, 1, 0);
    options = with("demo.init=xavier", NULL);
    expect_init(nt_init_resolve_weight(&options, 16, 9), NT_INIT_XAVIER, 1, 0);
    options = with("demo.init=normal", "demo.init_std=0.5");
    expect_init(nt_init_resolve_weight(&options, 16, 9), NT_INIT_NORMAL, 0, 0.5);
    options = with("demo.init=truncated_normal", NULL);
    expect_init(nt_init_resolve_weight(&options, 16, 9), NT_INIT_TRUNC_NORMAL, 0, 0.01);
    options = with("demo.init=zeros", "demo.bias_init=-2");
    expect_init(nt_init_resolve_weight(&options, 16, 9), NT_INIT_CONSTANT, 0, 0);
    expect_init(nt_init_resolve_bias(&options, 16), NT_INIT_CONSTANT, -2, 0);
    options = with("demo.init=ones", NULL);
    expect_init(nt_init_resolve_weight(&options, 16, 9), NT_INIT_CONSTANT, 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_truncated_normal),
        cmocka_unit_test(test_kaiming),
        cmocka_unit_test(test_xavier),
        cmocka_unit_test(test_elements_do_not_know_each_other),
        cmocka_unit_test(test_element_addresses),
        cmocka_unit_test(test_seeds_and_parameters_are_unrelated),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_choices),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
