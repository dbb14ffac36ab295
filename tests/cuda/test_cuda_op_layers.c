/* Layers without matrix products, cuda against ref: sizes around packs of 4 and 8, one channel, primes,
 * windows that leave a rest. */
#include "cuda_cases.h"

#include "core/backends/cuda/cuda.h"
static void with_tolerances(pair_spec spec, double tolerance, double rounding, spec_check check)
{
    spec.tolerance = tolerance;
    spec.rounding = rounding;
    check(spec);
}

static void check_samples(pair_spec spec)
{
    with_tolerances(spec, ROUNDING, BF16_ONCE, check_types);
}

static void input(void **state)
{
    (void)state;
    each_input(check_samples);
}

/* bfloat16 rounds the difference to the mean once, as it does every other sample's. */
static void input_of_large_values(void **state)
{
    (void)state;
    input_of_a_large_mean(check_samples);
}

/* As it is, and in inference: nothing of pooling is done in place. */
static void check_pools(pair_spec spec)
{
    with_tolerances(spec, 3 * ROUNDING, BF16_ONCE, check_types);
    spec.inference = true;
    with_tolerances(spec, 3 * ROUNDING, BF16_ONCE, check_types);
}

static void pooling(void **state)
{
    (void)state;
    each_pool(check_pools);
    each_pool_at_the_limits(check_pools);
}

/* The maximum of a window with a NaN is NaN, with ReLU on top and without; of equal values the first gets the
 * gradient. */
static void fault_nan_passes_through_pooling(void **state)
{
    (void)state;
    const nt_pool2d_options o = {.kernel = {2, 2}, .stride = {2, 2}};
    for (int fused = 0; fused < 2; fused++)
        for (int at = 0; at < 4; at++) {
            float values[8] = {1, 2, 3, 4, 7, 7, 7, 7}, y[2];
            nt_tensor x = f32(4, 1, 2, 2, 2);
            values[at] = NAN;
            x.data = values;
            pair_spec spec = {.backend = "cuda",
                              .kind = "max_pool",
                              .options = &o,
                              .activation = fused ? &fused_relu : NULL,
                              .inference = true,
                              .n_inputs = 1,
                              .x = {x},
                              .y = nt_shape_of(4, (int64_t)1, (int64_t)2, (int64_t)1, (int64_t)1)};
            pair_side s = {0};
            pair_begin(&s, "cuda", &spec, NULL);
            pair_ok(nt_backend_to_plain(s.backend, y, &s.op.y));
            assert_true(isnan(y[0]) && y[1] == 7);
            pair_teardown(&s, &spec);
        }
}

static void once_rounded(pair_spec spec)
{
    with_tolerances(spec, ROUNDING, BF16_ONCE, check_all_ways);
}

static void global_avg_pool(void **state)
{
    (void)state;
    each_global_avg_pool(once_rounded);
}

static void exactly(pair_spec spec)
{
    with_tolerances(spec, 0, 0, check_types);
}

static void views(void **state)
{
    (void)state;
    each_view("flatten", exactly);
    each_view("reshape", exactly);
}

/* dx in bfloat16: dz, x and the constants are exact, the result is rounded once. */
static void check_norm(pair_spec spec)
{
    with_tolerances(spec, SUMS, BF16_ONCE + SUMS, check_all_ways);
}

static void batchnorm(void **state)
{
    (void)state;
    each_batchnorm(check_norm);
}

/* bfloat16 does not have such values. */
static void in_float32(pair_spec spec)
{
    spec.backend = "cuda";
    spec.tolerance = SUMS;
    pair_check(&spec);
}

static void batchnorm_of_large_values(void **state)
{
    (void)state;
    batchnorm_of_a_large_mean(false, in_float32);
}

/* One value a channel: y is the bias and dx nothing, exactly. */
static void batchnorm_of_one_value(void **state)
{
    (void)state;
    const nt_batchnorm_options o = {.eps = 1e-5, .momentum = 0.1};
    const nt_shape c = nt_shape_of(1, (int64_t)5), x = nt_shape_of(2, (int64_t)1, (int64_t)5);
    check_types((pair_spec){.kind = "batchnorm",
                            .options = &o,
                            .n_inputs = 1,
                            .n_params = 4,
                            .x = {nt_tensor_plain(NT_F32, x)},
                            .param_spread = 1,
                            .param = {c, c, c, c},
                            .y = x,
                            .tolerance = ROUNDING,
                            .rounding = BF16_ONCE});
}

/* In bfloat16, slopes told from y see its rounding: of y itself (elu, softplus), of 1 - y^2 or y (1 - y),
 * whose derivatives by y are 2 and 1 at most; beta multiplies it. */
static void check_function(pair_spec spec)
{
    with_tolerances(spec, FUNCTIONS, 4 * BF16_ONCE, check_all_ways);
}

static void activations(void **state)
{
    (void)state;
    each_activation(check_function);
}

/* No function may hide a NaN: a diverged run has to show. */
static void fault_nan_passes_through_activations(void **state)
{
    (void)state;
    enum { COUNT = 21 };
    for (int function = NT_ACT_THRESHOLD; function < NT_N_ACTIVATIONS; function++)
        for (int at = 0; at < COUNT; at += 5) {
            float values[COUNT] = {0}, y[COUNT];
            nt_tensor x = f32(2, 1, COUNT, 0, 0);
            const nt_activation_options o = {.function = (nt_activation)function, .alpha = 0.3, .beta = 1.7};
            values[at] = NAN;
            x.data = values;
            pair_spec spec = {.kind = "activation",
                              .options = &o,
                              .inference = true,
                              .n_inputs = 1,
                              .x = {x},
                              .y = x.shape};
            pair_side s = {0};
            pair_begin(&s, "cuda", &spec, NULL);
            pair_ok(nt_backend_to_plain(s.backend, y, &s.op.y));
            for (int i = 0; i < COUNT; i++)
                assert_true((i == at) == (bool)isnan(y[i]));
            pair_teardown(&s, &spec);
        }
}

/* Nothing but one rounding. Blocked or not is all the same here: once. */
static void check_sum(pair_spec spec)
{
    if (!spec.blocked[0] && !spec.blocked[1] && !spec.blocked[2]) once_rounded(spec);
}

static void add(void **state)
{
    (void)state;
    each_add(check_sum);
}

/* Eleven terms, more than one launch takes: y is rounded on the way once more. */
static void add_many(void **state)
{
    (void)state;
    enum { TERMS = 11, COUNT = 37 };
    for (int bf16 = 0; bf16 < 2; bf16++) {
        nt_backend *b = pair_backend("cuda", bf16 ? NT_PRECISION_BF16 : NT_PRECISION_FP32, 1);
        nt_tensor x[TERMS], dx[TERMS] = {{0}};
        bool need[TERMS] = {false};
        float got[COUNT], want[COUNT] = {0};
        nt_op op = {.backend = b, .name = "sum", .n_inputs = TERMS, .x = x, .dx = dx, .need_dx = need};
        for (int t = 0; t < TERMS; t++) {
            float values[COUNT];
            x[t] = nt_tensor_plain(b->activation, nt_shape_of(1, (int64_t)COUNT));
            for (int i = 0; i < COUNT; i++) {
                values[i] = (float)((i * 7 + t * 3) % 5); /* small integers: exact in bfloat16 */
                want[i] += values[i];
            }
            x[t].data = pair_memory(b, x[t].n_bytes);
            pair_ok(nt_backend_from_plain(b, &x[t], values));
        }
        op.y = nt_tensor_plain(b->activation, nt_shape_of(1, (int64_t)COUNT));
        pair_ok(nt_op_create(&op, "add"));
        op.y.data = pair_memory(b, op.y.n_bytes);
        pair_ok(nt_op_forward(&op, &(nt_pass){0}));
        pair_ok(nt_backend_to_plain(b, got, &op.y));
        for (int i = 0; i < COUNT; i++)
            assert_true(got[i] == want[i]);
        for (int t = 0; t < TERMS; t++)
            nt_backend_free(b, x[t].data, x[t].n_bytes);
        nt_backend_free(b, op.y.data, op.y.n_bytes);
        nt_op_destroy(&op);
    }
}

static void check_concat(pair_spec spec)
{
    if (!spec.blocked[0] && !spec.blocked[1] && !spec.blocked[2]) exactly(spec);
}

static void concat(void **state)
{
    (void)state;
    each_concat(check_concat);
}

static void dropout(void **state)
{
    (void)state;
    each_dropout(once_rounded);
}

/* The mask itself, element by element, at rates that no float has and in rows that no pack fills. */
static void dropout_masks_are_those_of_the_cpu(void **state)
{
    (void)state;
    enum { N = 17, F = 1003 };
    static const double rates[] = {0.3, 1.0 / 3, 0.5, 0.999999, 1e-7};
    float *ones = malloc(N * F * sizeof *ones), *y[2];
    nt_tensor x = f32(2, N, F, 0, 0);
    assert_non_null(ones);
    for (int i = 0; i < N * F; i++)
        ones[i] = 1;
    x.data = ones;
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            const nt_dropout_options o = {.rate = rates[r]};
            static const char *const names[] = {"ref", "cuda"};
            for (int side = 0; side < 2; side++) {
                pair_spec spec = {.kind = "dropout",
                                  .options = &o,
                                  .n_inputs = 1,
                                  .precision = bf16 ? NT_PRECISION_BF16 : NT_PRECISION_FP32,
                                  .x = {x},
                                  .y = x.shape};
                pair_side s = {0};
                pair_begin(&s, names[side], &spec, NULL);
                y[side] = pair_plain(&s, &s.op.y);
                pair_teardown(&s, &spec);
            }
            for (int i = 0; i < N * F; i++)
                assert_true((y[0][i] == 0) == (y[1][i] == 0));
            free(y[0]);
            free(y[1]);
        }
    free(ones);
}

/* Logits up to +-1, then up to +-1e4. In bfloat16 backward multiplies two rounded values, y and dy - sum(dy
 * y), the latter within 2: three roundings. */
static void softmax(void **state)
{
    (void)state;
    static const char *const kinds[] = {"softmax", "log_softmax"};
    static const struct image_case shapes[] = {{5, 7, 1, 1}, {3, 1, 1, 1}, {2, 100, 1, 1}, {1, 33, 1, 1},
                                               {2, 5, 3, 4}, {3, 4, 1, 7}, {9, 32, 1, 1}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int k = 0; k < 2; k++)
            for (int large = 0; large < 2; large++) {
                nt_tensor x = image(&shapes[i]);
                float *values = pair_random(&x, 91, 0);
                for (int64_t e = 0; large && e < nt_shape_elems(x.shape); e++)
                    values[e] *= 1e4f;
                x.data = values;
                check_all_ways((pair_spec){.kind = kinds[k],
                                           .n_inputs = 1,
                                           .x = {x},
                                           .y = x.shape,
                                           .tolerance = FUNCTIONS,
                                           .floor = 1, /* dx = y (dy - dot): both are of order 1 */
                                           .rounding = k == 0 ? 4 * BF16_ONCE : 8 * BF16_ONCE});
                free(values);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input),
        cmocka_unit_test(input_of_large_values),
        cmocka_unit_test(pooling),
        cmocka_unit_test(fault_nan_passes_through_pooling),
        cmocka_unit_test(global_avg_pool),
        cmocka_unit_test(views),
        cmocka_unit_test(batchnorm),
        cmocka_unit_test(batchnorm_of_large_values),
        cmocka_unit_test(batchnorm_of_one_value),
        cmocka_unit_test(activations),
        cmocka_unit_test(fault_nan_passes_through_activations),
        cmocka_unit_test(add),
        cmocka_unit_test(add_many),
        cmocka_unit_test(concat),
        cmocka_unit_test(dropout),
        cmocka_unit_test(dropout_masks_are_those_of_the_cpu),
        cmocka_unit_test(softmax),
    };
    return cmocka_run_group_tests(tests, NULL, pair_close);
}
