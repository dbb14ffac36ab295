/* Every other operation of cpu against ref: plain and blocked layouts, channels that do not fill a block,
 * fused ReLU, in place where the flags allow it. The cases are those of every backend (backend_cases.h), and
 * what is the cpu's own matter: products of several blocks, flattened maps in blocked layout. Convolutions
 * have test_cpu_conv2d.c. */
#include "tests/unit/cpu_cases.h"

static void all_ways(pair_spec spec, double tolerance)
{
    spec.tolerance = tolerance;
    check_all_ways(spec);
}

static void to_rounding(pair_spec spec)
{
    all_ways(spec, ROUNDING);
}
static void to_three_roundings(pair_spec spec)
{
    all_ways(spec, 3 * ROUNDING);
}
static void to_sums(pair_spec spec)
{
    all_ways(spec, SUMS);
}
static void to_sums_of_sums(pair_spec spec)
{
    all_ways(spec, 5 * SUMS);
}
static void to_exponential(pair_spec spec)
{
    all_ways(spec, EXPONENTIAL);
}
static void exactly(pair_spec spec)
{
    all_ways(spec, 0);
}

static void check_samples(pair_spec spec)
{
    spec.tolerance = ROUNDING;
    pair_check(&spec);
}

static void input(void **state)
{
    (void)state;
    each_input(check_samples);
    input_of_a_large_mean(check_samples);
}

static void check_products(pair_spec spec)
{
    with_and_without_relu(spec, to_sums);
    spec.tolerance = SUMS;
    spec.no_dx = true;
    pair_check(&spec);
}

/* Beyond the shared ones: two blocks of inputs (400 are one), of samples (64), of outputs (96), none of them
 * whole. */
static void linear(void **state)
{
    (void)state;
    each_linear(check_products);
    check_linear(70, 420, 100, check_products);
    check_linear(7, 100, 65, check_products);
    check_linear(64, 48, 100, check_products);
}

/* A flattened image in its blocked layout goes into linear as it is. */
static void linear_after_flatten(void **state)
{
    (void)state;
    static const int64_t cases[][5] = {
        {2, 32, 7, 7, 20}, {3, 10, 4, 5, 33}, {4, 16, 1, 1, 64}, {3, 48, 3, 5, 100}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int64_t *t = cases[i], f = t[1] * t[2] * t[3];
        const nt_linear_options o = {.units = t[4], .has_bias = true};
        with_and_without_relu((pair_spec){.kind = "linear",
                                          .options = &o,
                                          .n_inputs = 1,
                                          .n_params = 2,
                                          .x = {f32(4, t[0], t[1], t[2], t[3])},
                                          .blocked = {true},
                                          .flattened = true,
                                          .param = {nt_shape_of(2, t[4], f), nt_shape_of(1, t[4])},
                                          .y = nt_shape_of(2, t[0], t[4])},
                              to_sums);
    }
}

static void pooling(void **state)
{
    (void)state;
    each_pool(to_three_roundings);
    each_pool_at_the_limits(to_sums); /* 272 taps */
}

static void global_avg_pool(void **state)
{
    (void)state;
    each_global_avg_pool(to_sums);
}

static void flatten(void **state)
{
    (void)state;
    each_view("flatten", exactly);
}

static void batchnorm(void **state)
{
    (void)state;
    each_batchnorm(to_sums_of_sums);
    check_batchnorm(f32(2, 33, 7, 0, 0), false, to_sums_of_sums);
    check_batchnorm(f32(4, 32, 16, 16, 16), true, to_sums_of_sums);
    batchnorm_of_a_large_mean(true, to_sums_of_sums);
    batchnorm_of_a_large_mean(false, to_sums_of_sums);
}

static void activations(void **state)
{
    (void)state;
    each_activation(to_exponential);
}

static void add(void **state)
{
    (void)state;
    each_add(to_rounding);
}

static void concat(void **state)
{
    (void)state;
    each_concat(exactly);
}

static void dropout(void **state)
{
    (void)state;
    each_dropout(to_rounding);
}

static void check_loss(pair_spec spec)
{
    spec.tolerance = EXPONENTIAL;
    pair_check(&spec);
}

static void losses(void **state)
{
    (void)state;
    each_cross_entropy(check_loss);
    each_loss_of_values(check_loss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input),
        cmocka_unit_test(linear),
        cmocka_unit_test(linear_after_flatten),
        cmocka_unit_test(pooling),
        cmocka_unit_test(global_avg_pool),
        cmocka_unit_test(flatten),
        cmocka_unit_test(batchnorm),
        cmocka_unit_test(activations),
        cmocka_unit_test(add),
        cmocka_unit_test(concat),
        cmocka_unit_test(dropout),
        cmocka_unit_test(losses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
