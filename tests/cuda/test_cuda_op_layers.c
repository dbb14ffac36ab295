/* Layers without matrix products, cuda against ref: sizes around packs of 4 and 8, one channel, primes,
 * windows that leave a rest. */
#include "cuda_cases.h"

#include "core/backends/cuda/cuda.h"
#include "core/layers/batchnorm.h"
#include "core/layers/dropout.h"
#include "core/layers/input.h"
#include "core/layers/pool2d.h"

static const nt_activation_options relu = {.function = NT_ACT_RELU};

static void input(void **state)
{
    (void)state;
    static const nt_dtype dtypes[] = {NT_U8, NT_F32};
    static const struct {
        int n_channels;
        nt_shape shape;
    } cases[] = {
        {0, {4, {3, 2, 5, 7}}}, {1, {4, {3, 1, 28, 28}}}, {3, {4, {2, 3, 8, 9}}},
        {5, {4, {2, 5, 1, 3}}}, {0, {2, {4, 37}}},        {37, {2, {4, 37}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int d = 0; d < 2; d++) {
            nt_input_options o = {.scale = 1.0 / 255, .n_channels = cases[i].n_channels};
            for (int c = 0; c < NT_MAX_CHANNELS; c++) {
                o.mean[c] = 0.1 * c;
                o.inv_std[c] = 1 + 0.25 * c;
            }
            check_types((pair_spec){.kind = "input",
                                    .options = &o,
                                    .inference = true,
                                    .n_inputs = 1,
                                    .raw = {true},
                                    .x = {nt_tensor_plain(dtypes[d], cases[i].shape)},
                                    .y = cases[i].shape,
                                    .tolerance = ROUNDING,
                                    .rounding = BF16_ONCE});
        }
}

/* Data with a large mean and a small deviation: in float nothing but noise would be left. */
static void input_of_a_large_mean(void **state)
{
    (void)state;
    const nt_shape shape = nt_shape_of(2, (int64_t)5, (int64_t)13);
    nt_input_options o = {.scale = 1, .n_channels = 1, .mean = {1e6 + 0.3}, .inv_std = {7}};
    float values[65];
    for (int i = 0; i < 65; i++)
        values[i] = 1e6f + (float)(i % 9) * 0.0625f;
    nt_tensor x = nt_tensor_plain(NT_F32, shape);
    x.data = values;
    pair_check(&(pair_spec){.backend = "cuda",
                            .kind = "input",
                            .options = &o,
                            .inference = true,
                            .n_inputs = 1,
                            .raw = {true},
                            .x = {x},
                            .y = shape,
                            .tolerance = ROUNDING});
}

static const struct image_case {
    int64_t n, c, h, w;
} images[] = {
    {2, 16, 8, 8}, {3, 10, 7, 5}, {2, 3, 9, 9},  {1, 1, 1, 1},
    {4, 1, 4, 6},  {5, 33, 1, 1}, {1, 2, 13, 3}, {3, 5, 2, 2},
};
enum { N_IMAGES = sizeof images / sizeof images[0] };

static nt_tensor image(const struct image_case *t)
{
    return f32(4, t->n, t->c, t->h, t->w);
}

static void check_pool(const struct image_case *t, const nt_pool2d_options *o, const int64_t out[2])
{
    static const char *const kinds[] = {"max_pool", "avg_pool", "avg_pool_padded"};
    for (int k = 0; k < 3; k++) {
        nt_pool2d_options own = *o;
        own.count_include_pad = k == 2;
        pair_spec spec = {.kind = kinds[k],
                          .options = &own,
                          .n_inputs = 1,
                          .x = {image(t)},
                          .y = nt_shape_of(4, t->n, t->c, out[0], out[1]),
                          .tolerance = 3 * ROUNDING,
                          .rounding = BF16_ONCE};
        check_types(spec);
        spec.activation = k == 0 ? &relu : NULL;
        if (k == 0) check_types(spec);
        spec.inference = true;
        check_types(spec);
    }
}

static void pooling(void **state)
{
    (void)state;
    static const struct {
        int64_t kernel[2], stride[2], begin[2], end[2];
    } windows[] = {
        {{2, 2}, {2, 2}, {0, 0}, {0, 0}}, {{3, 3}, {2, 2}, {1, 1}, {1, 1}}, {{3, 2}, {1, 1}, {0, 0}, {0, 0}},
        {{2, 2}, {3, 3}, {0, 0}, {0, 0}}, {{3, 3}, {2, 2}, {0, 1}, {1, 0}}, {{1, 1}, {1, 1}, {0, 0}, {0, 0}},
        {{4, 3}, {1, 2}, {3, 2}, {3, 2}},
    };
    for (size_t i = 0; i < N_IMAGES; i++)
        for (size_t j = 0; j < sizeof windows / sizeof windows[0]; j++) {
            const int64_t size[2] = {images[i].h, images[i].w};
            nt_pool2d_options o = {0};
            int64_t out[2];
            bool fits = true;
            for (int a = 0; a < 2; a++) {
                const int64_t padded = size[a] + windows[j].begin[a] + windows[j].end[a];
                o.kernel[a] = windows[j].kernel[a];
                o.stride[a] = windows[j].stride[a];
                o.pad_begin[a] = windows[j].begin[a];
                o.pad_end[a] = windows[j].end[a];
                fits = fits && padded >= o.kernel[a];
                out[a] = (padded - o.kernel[a]) / o.stride[a] + 1;
            }
            if (fits) check_pool(&images[i], &o, out);
        }
}

/* The window reaches beyond the padding, as ceil_mode lets it; and one with more than 255 taps. */
static void pooling_at_the_limits(void **state)
{
    (void)state;
    static const struct image_case t = {2, 3, 6, 7}, large = {1, 2, 17, 18};
    check_pool(
        &t, &(nt_pool2d_options){.kernel = {3, 3}, .stride = {2, 2}, .pad_begin = {1, 1}, .pad_end = {1, 1}},
        (int64_t[]){4, 4});
    check_pool(&large, &(nt_pool2d_options){.kernel = {16, 17}, .stride = {1, 1}}, (int64_t[]){2, 2});
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
                              .activation = fused ? &relu : NULL,
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

static void global_avg_pool(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_IMAGES; i++)
        check_all_ways((pair_spec){.kind = "global_avg_pool",
                                   .n_inputs = 1,
                                   .x = {image(&images[i])},
                                   .y = nt_shape_of(2, images[i].n, images[i].c),
                                   .tolerance = ROUNDING,
                                   .rounding = BF16_ONCE});
}

static void views(void **state)
{
    (void)state;
    static const char *const kinds[] = {"flatten", "reshape"};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < N_IMAGES; i++) {
            const struct image_case *t = &images[i];
            check_types((pair_spec){.kind = kinds[k],
                                    .n_inputs = 1,
                                    .x = {image(t)},
                                    .y = nt_shape_of(2, t->n, t->c * t->h * t->w)});
        }
}

/* dx in bfloat16: dz, x and the constants are exact, the result is rounded once. The variance of a handful of
 * values amplifies roundings, and dx cancels, hence the smallest cases have their own test. */
static void check_batchnorm(nt_tensor x, double tolerance)
{
    const nt_batchnorm_options o = {.eps = 1e-5, .momentum = 0.1};
    const nt_shape c = nt_shape_of(1, x.shape.dim[1]);
    for (int fused = 0; fused < 2; fused++)
        check_all_ways((pair_spec){.kind = "batchnorm",
                                   .options = &o,
                                   .activation = fused ? &relu : NULL,
                                   .n_inputs = 1,
                                   .n_params = 4,
                                   .x = {x},
                                   .param_spread = 1,
                                   .param = {c, c, c, c},
                                   .y = x.shape,
                                   .tolerance = tolerance,
                                   .rounding = BF16_ONCE + tolerance});
}

static void batchnorm(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_IMAGES; i++)
        if (images[i].n * images[i].h * images[i].w >= 12) check_batchnorm(image(&images[i]), SUMS);
    check_batchnorm(f32(2, 64, 20, 0, 0), SUMS);
    check_batchnorm(f32(2, 300, 7, 0, 0), SUMS); /* several parts of columns */
    check_batchnorm(f32(4, 5, 2, 30, 61), SUMS); /* several parts of rows */
}

/* Mean 1000, standard deviation 0.5: E[x^2] - E[x]^2 in float would have no correct digit. */
static void batchnorm_of_a_large_mean(void **state)
{
    (void)state;
    nt_tensor x = f32(4, 8, 5, 6, 6);
    float *values = pair_random(&x, 77, 0);
    for (int64_t i = 0; i < nt_shape_elems(x.shape); i++)
        values[i] = 1000 + values[i];
    x.data = values;
    const nt_batchnorm_options o = {.eps = 1e-5, .momentum = 0.1};
    const nt_shape c = nt_shape_of(1, x.shape.dim[1]);
    pair_check(&(pair_spec){.backend = "cuda",
                            .kind = "batchnorm",
                            .options = &o,
                            .n_inputs = 1,
                            .n_params = 4,
                            .x = {x},
                            .param_spread = 1,
                            .param = {c, c, c, c},
                            .y = x.shape,
                            .tolerance = SUMS});
    free(values);
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
static void activations(void **state)
{
    (void)state;
    for (int function = NT_ACT_THRESHOLD; function < NT_N_ACTIVATIONS; function++)
        for (size_t i = 0; i < N_IMAGES; i++) {
            nt_tensor x = image(&images[i]);
            float *values = pair_random(&x, 55, 0);
            for (int64_t e = 0; e < nt_shape_elems(x.shape); e++)
                values[e] *= e % 7 == 0 ? 100 : e % 3 == 0 ? 1e-3f : 4;
            x.data = values;
            const nt_activation_options o = {.function = (nt_activation)function, .alpha = 0.3, .beta = 1.7};
            check_all_ways((pair_spec){.kind = "activation",
                                       .options = &o,
                                       .n_inputs = 1,
                                       .x = {x},
                                       .y = x.shape,
                                       .tolerance = FUNCTIONS,
                                       .rounding = 4 * BF16_ONCE});
            free(values);
        }
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

/* Nothing but one rounding; two inputs, three, and more than one launch takes. */
static void add(void **state)
{
    (void)state;
    static const int counts[] = {2, 3, 4};
    for (int c = 0; c < 3; c++)
        for (int fused = 0; fused < 2; fused++)
            for (size_t i = 0; i < N_IMAGES; i += 2) {
                const nt_tensor x = image(&images[i]);
                check_all_ways((pair_spec){.kind = "add",
                                           .activation = fused ? &relu : NULL,
                                           .n_inputs = counts[c],
                                           .x = {x, x, x, x},
                                           .y = x.shape,
                                           .tolerance = ROUNDING,
                                           .rounding = BF16_ONCE});
            }
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

static void concat(void **state)
{
    (void)state;
    static const int64_t channels[][3] = {{16, 32, 8}, {3, 5, 2}, {1, 1, 1}};
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        const int64_t *c = channels[i];
        check_types((pair_spec){.kind = "concat",
                                .n_inputs = 3,
                                .x = {f32(4, 2, c[0], 3, 4), f32(4, 2, c[1], 3, 4), f32(4, 2, c[2], 3, 4)},
                                .y = nt_shape_of(4, (int64_t)2, c[0] + c[1] + c[2], (int64_t)3, (int64_t)4)});
        check_types((pair_spec){.kind = "concat",
                                .n_inputs = 2,
                                .x = {f32(2, 5, c[0], 0, 0), f32(2, 5, c[1], 0, 0)},
                                .y = nt_shape_of(2, (int64_t)5, c[0] + c[1])});
    }
}

static void dropout(void **state)
{
    (void)state;
    static const double rates[] = {0, 0.5, 0.1};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        const nt_dropout_options o = {.rate = rates[r]};
        for (size_t i = 0; i < N_IMAGES; i++)
            check_all_ways((pair_spec){.kind = "dropout",
                                       .options = &o,
                                       .n_inputs = 1,
                                       .x = {image(&images[i])},
                                       .y = image(&images[i]).shape,
                                       .tolerance = ROUNDING,
                                       .rounding = BF16_ONCE});
        check_all_ways((pair_spec){.kind = "dropout",
                                   .options = &o,
                                   .n_inputs = 1,
                                   .x = {f32(2, 5, 203, 0, 0)},
                                   .y = nt_shape_of(2, (int64_t)5, (int64_t)203),
                                   .tolerance = ROUNDING,
                                   .rounding = BF16_ONCE});
    }
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
        cmocka_unit_test(input_of_a_large_mean),
        cmocka_unit_test(pooling),
        cmocka_unit_test(pooling_at_the_limits),
        cmocka_unit_test(fault_nan_passes_through_pooling),
        cmocka_unit_test(global_avg_pool),
        cmocka_unit_test(views),
        cmocka_unit_test(batchnorm),
        cmocka_unit_test(batchnorm_of_a_large_mean),
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
