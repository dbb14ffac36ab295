/* What each op computes, in worked examples small enough to check by hand: a wrong forward can have a right
 * gradient, so finite differences would not see it.
 *
 * Run on ref64. Tolerance 1e-12 where a value was worked out with exp or log, 0 where arithmetic is exact. */
#include "tests/unit/lone_helpers.h"

#include "core/layers/input.h"

static nt_backend *backend;

/* Runs forward on `x` (inputs one after the other) and `params`, and compares y. */
static void expect_forward(const op_case *c, bool training, const double *const *x,
                           const double *const *params, const double *y, double tolerance)
{
    nt_lone_op *lone = make_lone(backend, c, training, false);
    nt_pass pass = make_pass();
    for (int k = 0; k < c->n_inputs; k++)
        MUST(nt_lone_write(lone, &lone->op.x[k], x[k]));
    for (int p = 0; p < lone->op.n_params; p++)
        MUST(nt_lone_write(lone, &lone->op.param[p], params[p]));
    MUST(nt_lone_forward(lone, &pass));
    expect_tensor(c->name, lone, &lone->op.y, y, tolerance);
    nt_lone_destroy(lone);
}

#define ROW(...)  ((const double[]){__VA_ARGS__})
#define ROWS(...) ((const double *const[]){__VA_ARGS__})

static void linear(void **state)
{
    (void)state;
    const op_case c = {"linear", "linear", LINEAR(2, YES), 2, 1, {VEC(3)}};
    expect_forward(&c, true, ROWS(ROW(1, 2, 3, -1, 0, 5)), ROWS(ROW(1, 10, 100, -1, 2, 0), ROW(0.5, -0.5)),
                   ROW(321.5, 2.5, 499.5, 0.5), 0);
}

/* x is 1..9; the kernel picks x[0][0] and subtracts x[1][1]. */
static void conv2d_by_hand(void **state)
{
    (void)state;
    const op_case valid = {"valid", "conv2d", CONV(1, 2, 2, 1, 1, 0, 0, 1, 1, 1, YES), 1, 1, {MAP(1, 3, 3)}};
    const double *x = ROW(1, 2, 3, 4, 5, 6, 7, 8, 9), *w = ROW(1, 0, 0, -1);
    expect_forward(&valid, true, ROWS(x), ROWS(w, ROW(10)), ROW(6, 6, 6, 6), 0);
    const op_case padded = {"padded", "conv2d", CONV(1, 2, 2, 2, 2, 1, 1, 1, 1, 1, NO), 1, 1, {MAP(1, 3, 3)}};
    expect_forward(&padded, true, ROWS(x), ROWS(w), ROW(-1, -3, -7, 5 - 9), 0);
    const op_case same = {"same", "conv2d", CONV(1, 2, 2, 1, 1, SAME, SAME, 1, 1, 1, NO),
                          1,      1,        {MAP(1, 3, 3)}};
    expect_forward(&same, true, ROWS(x), ROWS(w), ROW(-4, -4, 3, -4, -4, 6, 7, 8, 9), 0);
    const op_case dilated = {"dilated", "conv2d", CONV(1, 2, 2, 1, 1, 0, 0, 2, 2, 1, NO),
                             1,         1,        {MAP(1, 3, 3)}};
    expect_forward(&dilated, true, ROWS(x), ROWS(w), ROW(1 - 9), 0);
    const op_case grouped = {"grouped", "conv2d", CONV(2, 1, 1, 1, 1, 0, 0, 1, 1, 2, NO),
                             1,         1,        {MAP(4, 1, 1)}};
    expect_forward(&grouped, true, ROWS(ROW(1, 2, 3, 4)), ROWS(ROW(1, 10, 1, 10)), ROW(21, 43), 0);
}

static void pooling(void **state)
{
    (void)state;
    const double *x = ROW(1, -2, 3, -4, 5, -6, 7, 8, 9);
    const op_case max = {"max", "max_pool", POOL(2, 2, 1, 1, 0, 0), 1, 1, {MAP(1, 3, 3)}};
    expect_forward(&max, true, ROWS(x), NULL, ROW(5, 5, 8, 9), 0);
    expect_forward(&max, false, ROWS(x), NULL, ROW(5, 5, 8, 9), 0);
    const op_case negative = {
        "max of negatives, padded", "max_pool", POOL(3, 3, 3, 3, 1, 1), 1, 1, {MAP(1, 2, 2)}};
    expect_forward(&negative, true, ROWS(ROW(-5, -4, -3, -7)), NULL, ROW(-3), 0);
    const op_case mean = {"avg", "avg_pool", POOL(2, 2, 0, 0, 0, 0), 1, 1, {MAP(1, 3, 3)}};
    expect_forward(&mean, true, ROWS(x), NULL, ROW(0), 0);
    const op_case edge = {"padding is not counted", "avg_pool", POOL(2, 2, 2, 2, 1, 1), 1, 1, {MAP(1, 3, 3)}};
    expect_forward(&edge, true, ROWS(x), NULL, ROW(1, 0.5, 1.5, 4), 0);
    const op_case same = {"avg same", "avg_pool", POOL(2, 2, 2, 2, SAME, SAME), 1, 1, {MAP(1, 3, 3)}};
    expect_forward(&same, true, ROWS(x), NULL, ROW(0, -1.5, 7.5, 9), 0);
    const op_case global = {"global", "global_avg_pool", NULL, 1, 1, {MAP(2, 2, 2)}};
    expect_forward(&global, true, ROWS(ROW(1, 2, 3, 6, -1, -1, -1, -5)), NULL, ROW(3, -2), 0);
}

static void joins(void **state)
{
    (void)state;
    const op_case add = {"add", "add", NULL, 1, 3, {VEC(2), VEC(2), VEC(2)}};
    expect_forward(&add, true, ROWS(ROW(1, 2), ROW(10, 20), ROW(100, 200)), NULL, ROW(111, 222), 0);
    const op_case concat = {"concat", "concat", NULL, 2, 2, {MAP(1, 1, 2), MAP(2, 1, 2)}};
    expect_forward(&concat, true, ROWS(ROW(1, 2, 7, 8), ROW(3, 4, 5, 6, 9, 10, 11, 12)), NULL,
                   ROW(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), 0);
    const op_case flat = {"flatten", "flatten", NULL, 1, 1, {MAP(2, 1, 2)}};
    expect_forward(&flat, true, ROWS(ROW(1, 2, 3, 4)), NULL, ROW(1, 2, 3, 4), 0);
}

/* Values at 1 and -2 (and 0) as tables and calculators give them. */
static void activations(void **state)
{
    (void)state;
    static const struct {
        nt_activation function;
        double alpha, beta, y[3];
    } rows[] = {
        {NT_ACT_THRESHOLD, NAN, NAN, {1, 0, 1}},
        {NT_ACT_LOGISTIC, NAN, NAN, {0.73105857863000487, 0.11920292202211755, 0.5}},
        {NT_ACT_LOGISTIC, NAN, 0.5, {0.62245933120185456, 0.26894142136999513, 0.5}},
        {NT_ACT_TANH, NAN, NAN, {0.76159415595576489, -0.96402758007581688, 0}},
        {NT_ACT_RELU, NAN, NAN, {1, 0, 0}},
        {NT_ACT_LEAKY_RELU, NAN, NAN, {1, -0.02, 0}},
        {NT_ACT_LEAKY_RELU, 0.25, NAN, {1, -0.5, 0}},
        {NT_ACT_ELU, NAN, NAN, {1, -0.86466471676338731, 0}},
        {NT_ACT_ELU, 2, NAN, {1, -1.7293294335267746, 0}},
        {NT_ACT_GELU, NAN, NAN, {0.84134474606854293, -0.045500263896358417, 0}},
        {NT_ACT_SILU, NAN, NAN, {0.73105857863000487, -0.23840584404423511, 0}},
    };
    for (int i = 0; i < NT_N_ELEMS(rows); i++) {
        const nt_activation_options o = {rows[i].function, rows[i].alpha, rows[i].beta};
        const op_case c = {nt_activation_words[o.function], "activation", &o, 1, 1, {VEC(3)}};
        expect_forward(&c, true, ROWS(ROW(1, -2, 0)), NULL, rows[i].y, 1e-14);
        expect_forward(&c, false, ROWS(ROW(1, -2, 0)), NULL, rows[i].y, 1e-14);
    }
}

/* Far out, functions reach their limits without overflow; a NaN stays one. */
static void activations_at_extremes(void **state)
{
    (void)state;
    for (nt_activation f = NT_ACT_THRESHOLD; f < NT_N_ACTIVATIONS; f++) {
        const op_case c = {nt_activation_words[f], "activation", ACT(f, NAN, NAN), 1, 1, {VEC(3)}};
        nt_lone_op *lone = make_lone(backend, &c, true, false);
        nt_pass pass = make_pass();
        MUST(nt_lone_write(lone, &lone->op.x[0], ROW(1e4, -1e4, NAN)));
        MUST(nt_lone_write(lone, &lone->op.dy, ROW(1, 1, 1)));
        MUST(nt_lone_forward(lone, &pass));
        MUST(nt_lone_backward(lone, &pass));
        double *y = values_of(lone, &lone->op.y), *dx = values_of(lone, &lone->op.dx[0]);
        bool bounded =
            f == NT_ACT_THRESHOLD || f == NT_ACT_LOGISTIC || f == NT_ACT_TANH || f == NT_ACT_HARDSIGMOID;
        expect_close(c.name, y[0], bounded ? 1 : f == NT_ACT_RELU6 ? 6 : 1e4, 0);
        assert_true(isfinite(y[1]) && isfinite(dx[0]) && isfinite(dx[1]));
        if (!isnan(y[2])) fail_msg("%s hides a NaN", c.name);
        free(y);
        free(dx);
        nt_lone_destroy(lone);
    }
}

static void softmax(void **state)
{
    (void)state;
    const op_case vector = {"softmax", "softmax", NULL, 2, 1, {VEC(3)}};
    expect_forward(&vector, true, ROWS(ROW(0, log(2), log(5), 1e4, 1e4, -1e4)), NULL,
                   ROW(0.125, 0.25, 0.625, 0.5, 0.5, 0), 1e-15);
    const op_case map = {"softmax of channels", "softmax", NULL, 1, 1, {MAP(2, 1, 2)}};
    expect_forward(&map, true, ROWS(ROW(0, log(3), log(3), 0)), NULL, ROW(0.25, 0.75, 0.75, 0.25), 1e-15);
}

/* Two channels; channel 0 holds 1, 3, 5, 7: mean 4, variance 5; channel 1 the same number: variance 0. */
static void batchnorm(void **state)
{
    (void)state;
    const op_case c = {"batchnorm", "batchnorm", BATCHNORM(4, 0.1), 2, 1, {MAP(2, 1, 2)}};
    const double *x = ROW(1, 3, 6, 6, 5, 7, 6, 6);
    const double *const params[] = {ROW(3, 2), ROW(10, -1), ROW(1, 4), ROW(12, 5)};
    expect_forward(&c, true, ROWS(x), params, ROW(7, 9, -1, -1, 11, 13, -1, -1), 1e-14);
    const double y1 = 2 * 2 / 3.0 - 1; /* inference: (6 - 4) / sqrt(5 + 4) */
    expect_forward(&c, false, ROWS(x), params, ROW(10, 11.5, y1, y1, 13, 14.5, y1, y1), 1e-14);
}

/* The slots of the running statistics: share 0.5, running mean 1 and 4. */
static void batchnorm_statistics(void **state)
{
    (void)state;
    const op_case c = {"batchnorm", "batchnorm", BATCHNORM(4, 0.1), 2, 1, {MAP(2, 1, 2)}};
    nt_lone_op *lone = make_lone(backend, &c, true, false);
    nt_pass pass = make_pass();
    const double *const params[] = {ROW(3, 2), ROW(10, -1), ROW(1, 4), ROW(12, 5)};
    for (int p = 0; p < 4; p++)
        MUST(nt_lone_write(lone, &lone->op.param[p], params[p]));
    MUST(nt_lone_write(lone, &lone->op.x[0], ROW(1, 3, 6, 6, 5, 7, 6, 6)));
    MUST(nt_lone_forward(lone, &pass));
    MUST(nt_lone_backward(lone, &pass));
    expect_tensor("mean", lone, &lone->op.dparam[NT_BN_MEAN], ROW(0.5 * 3, 0.5 * 2), 0);
    expect_tensor("var", lone, &lone->op.dparam[NT_BN_VAR], ROW(0.5 * (5 + 9), 0.5 * (0 + 4)), 0);
    expect_tensor("running mean is untouched", lone, &lone->op.param[NT_BN_MEAN], params[2], 0);
    nt_lone_destroy(lone);
}

/* Every element is 0 or x / (1 - rate), as often as the rate says, and as the formula of the header says. */
static void dropout(void **state)
{
    (void)state;
    enum { N = 3, F = 1001 };
    const op_case c = {"dropout", "dropout", DROPOUT(0.25), N, 1, {VEC(F)}};
    nt_lone_op *lone = make_lone(backend, &c, true, false);
    nt_pass pass = make_pass();
    fill_lone(lone);
    MUST(nt_lone_forward(lone, &pass));
    MUST(nt_lone_backward(lone, &pass));
    double *x = values_of(lone, &lone->op.x[0]), *y = values_of(lone, &lone->op.y);
    double *dy = values_of(lone, &lone->op.dy), *dx = values_of(lone, &lone->op.dx[0]);
    int n_kept = 0;
    for (int n = 0; n < N; n++)
        for (int e = 0; e < F; e++) {
            nt_philox words = nt_philox4x32(
                (nt_philox){{(uint32_t)(e / 4), (uint32_t)pass.sample[n], 4, NT_RNG_DROPOUT << 24 | 3}}, 99);
            bool keeps = nt_rng_uniform(words.v[e % 4]) >= 0.25;
            expect_close("y", y[n * F + e], keeps ? x[n * F + e] / 0.75 : 0, 1e-15);
            expect_close("dx", dx[n * F + e], keeps ? dy[n * F + e] / 0.75 : 0, 1e-15);
            n_kept += keeps;
        }
    /* binomial, p = 0.75: standard deviation of the share is 0.0079; five of them */
    expect_close("share kept", n_kept / (double)(N * F), 0.75, 0.04);
    free(x), free(y), free(dx), free(dy);
    nt_lone_destroy(lone);
}

static void dropout_in_inference_does_nothing(void **state)
{
    (void)state;
    const op_case c = {"dropout", "dropout", DROPOUT(0.9), 1, 1, {VEC(4)}};
    expect_forward(&c, false, ROWS(ROW(1, 2, 3, 4)), NULL, ROW(1, 2, 3, 4), 0);
}

static void losses(void **state)
{
    (void)state;
    const op_case mse = {"mse", "mse", NULL, 2, 2, {VEC(2), VEC(2)}};
    expect_forward(&mse, true, ROWS(ROW(1, 2, 0, 0), ROW(0, 4, 0, 0)), NULL, ROW(2.5, 0, 0, 0), 0);
    const op_case bce = {"bce", "bce", NULL, 4, 2, {VEC(2), VEC(2)}};
    expect_forward(&bce, true,
                   ROWS(ROW(0, 0, log(3), -log(3), log(3), log(3), 1e4, -1e4), ROW(0, 0, 1, 0, 1, 0, 1, 1)),
                   NULL, ROW(log(2), 2, log(4.0 / 3), 2, 0.5 * (log(4.0 / 3) + log(4)), 1, 5e3, 1), 1e-14);
    const op_case ce = {"cross_entropy", "cross_entropy", NULL, 5, 2, {VEC(3), CLASS}};
    expect_forward(&ce, true,
                   ROWS(ROW(0, 0, 0, 0, log(2), log(5), 0, log(2), log(5), 1e4, -1e4, 0, 1e4, -1e4, 0),
                        ROW(0, 2, 0, 1, 0)),
                   NULL, ROW(log(3), 1, log(1.6), 1, log(8), 0, 2e4, 0, 0, 1), 1e-14);
}

/* On ties the first largest counts: label 1 of equal logits is wrong. */
static void cross_entropy_ties(void **state)
{
    (void)state;
    const op_case ce = {"ties", "cross_entropy", NULL, 2, 2, {VEC(3), CLASS}};
    expect_forward(&ce, true, ROWS(ROW(7, 7, 7, 1, 7, 7), ROW(1, 1)), NULL,
                   ROW(log(3), 0, log(2 + exp(-6)), 1), 1e-14);
}

static void loss_gradients_are_finite_and_scaled(void **state)
{
    (void)state;
    nt_pass pass = make_pass(); /* scale 0.25 */
    const op_case ce = {"cross_entropy", "cross_entropy", NULL, 2, 2, {VEC(2), CLASS}};
    nt_lone_op *lone = make_lone(backend, &ce, true, false);
    MUST(nt_lone_write(lone, &lone->op.x[0], ROW(1e4, -1e4, log(3), 0)));
    MUST(nt_lone_write(lone, &lone->op.x[1], ROW(1, 0)));
    MUST(nt_lone_forward(lone, &pass));
    MUST(nt_lone_backward(lone, &pass));
    expect_tensor("dx", lone, &lone->op.dx[0], ROW(0.25, -0.25, -0.0625, 0.0625), 1e-15);
    nt_lone_destroy(lone);
    const op_case bce = {"bce", "bce", NULL, 1, 2, {VEC(3), VEC(3)}};
    lone = make_lone(backend, &bce, true, false);
    MUST(nt_lone_write(lone, &lone->op.x[0], ROW(1e4, -1e4, 0)));
    MUST(nt_lone_write(lone, &lone->op.x[1], ROW(0, 0, 1)));
    MUST(nt_lone_backward(lone, &pass));
    expect_tensor("dx", lone, &lone->op.dx[0], ROW(0.25 / 3, 0, -0.125 / 3), 1e-15);
    nt_lone_destroy(lone);
}

static void labels_out_of_range_are_an_error(void **state)
{
    (void)state;
    const op_case ce = {"cross_entropy", "cross_entropy", NULL, 1, 2, {VEC(3), CLASS}};
    nt_lone_op *lone = make_lone(backend, &ce, true, false);
    nt_pass pass = make_pass();
    const double bad[] = {3, -1, 2147483647.0, -2147483648.0};
    for (int i = 0; i < NT_N_ELEMS(bad); i++) {
        MUST(nt_lone_write(lone, &lone->op.x[1], &bad[i]));
        assert_int_equal(nt_lone_forward(lone, &pass), NT_ERR_DATA);
        assert_non_null(strstr(nt_error_last()->message, "0..2"));
    }
    nt_error_clear();
    nt_lone_destroy(lone);
}

/* threshold: forward is a step, backward hands dy on unchanged. */
static void threshold_is_straight_through(void **state)
{
    (void)state;
    const op_case c = {"threshold", "activation", ACT(NT_ACT_THRESHOLD, NAN, NAN), 1, 1, {VEC(4)}};
    nt_lone_op *lone = make_lone(backend, &c, true, false);
    nt_pass pass = make_pass();
    const double *dy = ROW(1.5, -2, 0.25, 7);
    MUST(nt_lone_write(lone, &lone->op.x[0], ROW(-3, 0, 1e-300, -1e-300)));
    MUST(nt_lone_write(lone, &lone->op.dy, dy));
    MUST(nt_lone_forward(lone, &pass));
    MUST(nt_lone_backward(lone, &pass));
    expect_tensor("y", lone, &lone->op.y, ROW(0, 1, 1, 0), 0);
    expect_tensor("dx", lone, &lone->op.dx[0], dy, 0);
    nt_lone_destroy(lone);
}

static void max_pool_passes_a_nan_on(void **state)
{
    (void)state;
    const op_case c = {"max_pool", "max_pool", POOL(1, 3, 0, 0, 0, 0), 1, 1, {MAP(1, 1, 6)}};
    nt_lone_op *lone = make_lone(backend, &c, true, false);
    nt_pass pass = make_pass();
    MUST(nt_lone_write(lone, &lone->op.x[0], ROW(1, NAN, 2, NAN, 3, 4)));
    MUST(nt_lone_forward(lone, &pass));
    double *y = values_of(lone, &lone->op.y);
    assert_true(isnan(y[0]) && isnan(y[1]));
    free(y);
    nt_lone_destroy(lone);
}

static void run_input(const nt_input_options *o, nt_dtype stored, nt_shape in, const double *x,
                      const double *y)
{
    nt_lone_op *lone;
    nt_pass pass = make_pass();
    const nt_lone_spec spec = {
        .type = "input", .options = o, .in = &in, .n_inputs = 1, .n = 2, .stored = stored};
    MUST(nt_lone_create(&lone, backend, &spec));
    MUST(nt_lone_write(lone, &lone->op.x[0], x));
    MUST(nt_lone_forward(lone, &pass));
    expect_tensor("input", lone, &lone->op.y, y, 1e-15);
    nt_lone_destroy(lone);
}

static void input(void **state)
{
    (void)state;
    const nt_shape map = MAP(2, 1, 2), vector = VEC(2);
    const nt_input_options per_channel = {
        .scale = 1 / 255.0, .n_channels = 2, .mean = {0, 0.2}, .inv_std = {1, 2}};
    run_input(&per_channel, NT_U8, map, ROW(0, 255, 51, 255, 51, 102, 0, 51),
              ROW(0, 1, 0, 1.6, 0.2, 0.4, -0.4, 0));
    const nt_input_options one = {.scale = 2, .n_channels = 1, .mean = {1}, .inv_std = {0.5}};
    run_input(&one, NT_F32, vector, ROW(0, 1, -0.5, 8), ROW(-0.5, 0.5, -1, 7.5));
    const nt_input_options none = {.scale = 0.5};
    run_input(&none, NT_U8, vector, ROW(0, 255, 1, 2), ROW(0, 127.5, 0.5, 1));
}

static int open_backend(void **state)
{
    (void)state;
    backend = make_backend("ref64");
    return 0;
}

static int close_backend(void **state)
{
    (void)state;
    nt_backend_destroy(backend);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),
        cmocka_unit_test(conv2d_by_hand),
        cmocka_unit_test(pooling),
        cmocka_unit_test(joins),
        cmocka_unit_test(activations),
        cmocka_unit_test(activations_at_extremes),
        cmocka_unit_test(softmax),
        cmocka_unit_test(batchnorm),
        cmocka_unit_test(batchnorm_statistics),
        cmocka_unit_test(dropout),
        cmocka_unit_test(dropout_in_inference_does_nothing),
        cmocka_unit_test(losses),
        cmocka_unit_test(cross_entropy_ties),
        cmocka_unit_test(loss_gradients_are_finite_and_scaled),
        cmocka_unit_test(labels_out_of_range_are_an_error),
        cmocka_unit_test(threshold_is_straight_through),
        cmocka_unit_test(max_pool_passes_a_nan_on),
        cmocka_unit_test(input),
    };
    return cmocka_run_group_tests_name("ref_forward", tests, open_backend, close_backend);
}
