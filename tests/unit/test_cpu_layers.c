/* Every other operation of cpu against ref: plain and blocked layouts, channels that do not fill a block,
 * fused ReLU, in place where the flags allow it. Convolutions have test_cpu_conv2d.c. */
#include "core/layers/batchnorm.h"
#include "core/layers/dropout.h"
#include "core/layers/input.h"
#include "core/layers/linear.h"
#include "core/layers/pool2d.h"
#include "tests/unit/op_pair.h"

/* one or two roundings to float */
#define ROUNDING 3e-7
/* float sums of up to a few thousand terms of order 1 */
#define SUMS 3e-6
/* our exponential: 4e-7, then a few operations */
#define EXPONENTIAL 2e-6

static const nt_activation_options relu = {.function = NT_ACT_RELU};

static nt_tensor f32(int n_dims, int64_t a, int64_t b, int64_t c, int64_t d)
{
    nt_shape shape = {.n_dims = n_dims, .dim = {a, b, c, d}};
    return nt_tensor_plain(NT_F32, shape);
}

/* Runs a case as it is, in place, and in inference. */
static void check_all_ways(pair_spec spec)
{
    pair_check(&spec);
    spec.in_place = true;
    pair_check(&spec);
    spec.inference = true;
    pair_check(&spec);
    spec.in_place = false;
    pair_check(&spec);
}

static void input(void **state)
{
    (void)state;
    static const nt_dtype dtypes[] = {NT_U8, NT_F32};
    static const struct {
        int n_channels;
        nt_shape shape;
    } cases[] = {
        {0, {4, {3, 2, 5, 7}}}, {1, {4, {3, 1, 28, 28}}}, {3, {4, {2, 3, 9, 9}}},
        {5, {4, {2, 5, 1, 3}}}, {0, {2, {4, 37}}},        {37, {2, {4, 37}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int d = 0; d < 2; d++) {
            nt_input_options o = {.scale = 1.0 / 255, .n_channels = cases[i].n_channels};
            for (int c = 0; c < NT_MAX_CHANNELS; c++) {
                o.mean[c] = 0.1 * c;
                o.inv_std[c] = 1 + 0.25 * c;
            }
            pair_check(&(pair_spec){.kind = "input",
                                    .options = &o,
                                    .inference = true,
                                    .n_inputs = 1,
                                    .x = {nt_tensor_plain(dtypes[d], cases[i].shape)},
                                    .y = cases[i].shape,
                                    .tolerance = ROUNDING});
        }
}

static void linear(void **state)
{
    (void)state;
    static const int64_t cases[][3] = {{64, 784, 512}, {5, 37, 10},  {1, 1, 1},
                                       {17, 33, 31},   {7, 100, 65}, {3, 512, 1},
                                       {64, 48, 100},  {16, 16, 16}, {2, 300, 129}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int bias = 0; bias < 2; bias++) {
            const int64_t n = cases[i][0], f = cases[i][1], k = cases[i][2];
            const nt_linear_options o = {.units = k, .has_bias = bias};
            pair_spec spec = {.kind = "linear",
                              .options = &o,
                              .n_inputs = 1,
                              .n_params = 1 + bias,
                              .x = {f32(2, n, f, 0, 0)},
                              .param = {nt_shape_of(2, k, f), nt_shape_of(1, k)},
                              .y = nt_shape_of(2, n, k),
                              .tolerance = SUMS};
            check_all_ways(spec);
            spec.no_dx = true;
            pair_check(&spec);
            spec.no_dx = false;
            spec.activation = &relu;
            check_all_ways(spec);
        }
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
        pair_spec spec = {.kind = "linear",
                          .options = &o,
                          .n_inputs = 1,
                          .n_params = 2,
                          .x = {f32(4, t[0], t[1], t[2], t[3])},
                          .blocked = {true},
                          .flattened = true,
                          .param = {nt_shape_of(2, t[4], f), nt_shape_of(1, t[4])},
                          .y = nt_shape_of(2, t[0], t[4]),
                          .tolerance = SUMS};
        check_all_ways(spec);
        spec.activation = &relu;
        check_all_ways(spec);
    }
}

static const struct image_case {
    int64_t n, c, h, w;
    bool blocked;
} images[] = {
    {2, 16, 8, 8, true},  {3, 10, 7, 5, true}, {2, 33, 4, 4, true}, {2, 3, 9, 9, false},
    {2, 17, 5, 6, false}, {1, 1, 4, 4, false}, {4, 48, 1, 1, true}, {3, 8, 6, 6, true},
};
enum { N_IMAGES = sizeof images / sizeof images[0] };

static void pooling(void **state)
{
    (void)state;
    static const char *const kinds[] = {"max_pool", "avg_pool"};
    static const struct {
        int64_t kernel[2], stride[2], begin[2], end[2];
    } windows[] = {
        {{2, 2}, {2, 2}, {0, 0}, {0, 0}}, {{3, 3}, {2, 2}, {1, 1}, {1, 1}}, {{3, 2}, {1, 1}, {0, 0}, {0, 0}},
        {{2, 2}, {3, 3}, {0, 0}, {0, 0}}, {{3, 3}, {2, 2}, {0, 1}, {1, 0}}, {{1, 1}, {1, 1}, {0, 0}, {0, 0}},
    };
    for (size_t i = 0; i < N_IMAGES; i++)
        for (size_t j = 0; j < sizeof windows / sizeof windows[0]; j++)
            for (int k = 0; k < 2; k++) {
                const struct image_case *t = &images[i];
                nt_pool2d_options o = {0};
                int64_t size[2] = {t->h, t->w}, out[2];
                for (int a = 0; a < 2; a++) {
                    o.kernel[a] = windows[j].kernel[a];
                    o.stride[a] = windows[j].stride[a];
                    o.pad_begin[a] = windows[j].begin[a];
                    o.pad_end[a] = windows[j].end[a];
                    out[a] = (size[a] + o.pad_begin[a] + o.pad_end[a] - o.kernel[a]) / o.stride[a] + 1;
                    if (size[a] + o.pad_begin[a] + o.pad_end[a] < o.kernel[a]) out[a] = 0;
                }
                if (out[0] < 1 || out[1] < 1) continue;
                pair_spec spec = {.kind = kinds[k],
                                  .options = &o,
                                  .n_inputs = 1,
                                  .x = {f32(4, t->n, t->c, t->h, t->w)},
                                  .blocked = {t->blocked},
                                  .y = nt_shape_of(4, t->n, t->c, out[0], out[1]),
                                  .tolerance = ROUNDING * 3};
                check_all_ways(spec);
                if (k == 0) {
                    spec.activation = &relu;
                    check_all_ways(spec);
                }
            }
}

static void global_avg_pool(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_IMAGES; i++) {
        const struct image_case *t = &images[i];
        check_all_ways((pair_spec){.kind = "global_avg_pool",
                                   .n_inputs = 1,
                                   .x = {f32(4, t->n, t->c, t->h, t->w)},
                                   .blocked = {t->blocked},
                                   .y = nt_shape_of(2, t->n, t->c),
                                   .tolerance = SUMS});
    }
}

static void flatten(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_IMAGES; i++) {
        const struct image_case *t = &images[i];
        check_all_ways((pair_spec){.kind = "flatten",
                                   .n_inputs = 1,
                                   .x = {f32(4, t->n, t->c, t->h, t->w)},
                                   .blocked = {t->blocked},
                                   .y = nt_shape_of(2, t->n, t->c * t->h * t->w)});
    }
}

static void check_batchnorm(nt_tensor x, bool blocked)
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
                                   .blocked = {blocked},
                                   .param_spread = 1,
                                   .param = {c, c, c, c},
                                   .y = x.shape,
                                   .tolerance = 5 * SUMS});
}

static void batchnorm(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_IMAGES; i++) {
        const struct image_case *t = &images[i];
        if (t->n * t->h * t->w < 8) continue; /* the variance of a handful of values amplifies rounding */
        check_batchnorm(f32(4, t->n, t->c, t->h, t->w), t->blocked);
    }
    check_batchnorm(f32(2, 64, 20, 0, 0), false);
    check_batchnorm(f32(2, 33, 7, 0, 0), false);
    check_batchnorm(f32(4, 32, 16, 16, 16), true);
}

/* mean 1000, standard deviation 0.5: E[x^2] - E[x]^2 in float would have no correct digit */
static void batchnorm_of_a_large_mean(void **state)
{
    (void)state;
    nt_tensor x = f32(4, 8, 16, 6, 6);
    float *values = pair_random(&x, 77, 0);
    for (int64_t i = 0; i < nt_shape_elems(x.shape); i++)
        values[i] = 1000 + values[i];
    x.data = values;
    check_batchnorm(x, true);
    check_batchnorm(x, false);
    free(values);
}

static void activations(void **state)
{
    (void)state;
    for (int function = NT_ACT_THRESHOLD; function < NT_N_ACTIVATIONS; function++)
        for (size_t i = 0; i < N_IMAGES; i++) {
            const struct image_case *t = &images[i];
            nt_tensor x = f32(4, t->n, t->c, t->h, t->w);
            float *values = pair_random(&x, 55, 0);
            for (int64_t e = 0; e < nt_shape_elems(x.shape); e++)
                values[e] *= e % 7 == 0 ? 100 : e % 3 == 0 ? 1e-3f : 4;
            x.data = values;
            const nt_activation_options o = {.function = (nt_activation)function, .alpha = 0.3, .beta = 1.7};
            check_all_ways((pair_spec){.kind = "activation",
                                       .options = &o,
                                       .n_inputs = 1,
                                       .x = {x},
                                       .blocked = {t->blocked},
                                       .y = x.shape,
                                       .tolerance = EXPONENTIAL});
            free(values);
        }
}

static void add(void **state)
{
    (void)state;
    for (int blocked = 0; blocked < 8; blocked++)
        for (int n = 2; n <= 3; n++)
            for (int fused = 0; fused < 2; fused++)
                check_all_ways(
                    (pair_spec){.kind = "add",
                                .activation = fused ? &relu : NULL,
                                .n_inputs = n,
                                .x = {f32(4, 2, 10, 5, 5), f32(4, 2, 10, 5, 5), f32(4, 2, 10, 5, 5)},
                                .blocked = {blocked & 1, blocked & 2, blocked & 4},
                                .y = nt_shape_of(4, 2, 10, 5, 5),
                                .tolerance = ROUNDING});
}

static void concat(void **state)
{
    (void)state;
    static const int64_t channels[][3] = {{16, 32, 7}, {3, 5, 2}, {8, 16, 16}};
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++)
        for (int blocked = 0; blocked < 8; blocked++) {
            const int64_t *c = channels[i];
            check_all_ways(
                (pair_spec){.kind = "concat",
                            .n_inputs = 3,
                            .x = {f32(4, 2, c[0], 3, 4), f32(4, 2, c[1], 3, 4), f32(4, 2, c[2], 3, 4)},
                            .blocked = {blocked & 1, blocked & 2, blocked & 4},
                            .y = nt_shape_of(4, 2, c[0] + c[1] + c[2], 3, 4)});
        }
}

static void dropout(void **state)
{
    (void)state;
    static const double rates[] = {0, 0.5, 0.1};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        const nt_dropout_options o = {.rate = rates[r]};
        for (size_t i = 0; i < N_IMAGES; i++) {
            const struct image_case *t = &images[i];
            check_all_ways((pair_spec){.kind = "dropout",
                                       .options = &o,
                                       .n_inputs = 1,
                                       .x = {f32(4, t->n, t->c, t->h, t->w)},
                                       .blocked = {t->blocked},
                                       .y = nt_shape_of(4, t->n, t->c, t->h, t->w),
                                       .tolerance = ROUNDING});
        }
        check_all_ways((pair_spec){.kind = "dropout",
                                   .options = &o,
                                   .n_inputs = 1,
                                   .x = {f32(2, 5, 203, 0, 0)},
                                   .y = nt_shape_of(2, 5, 203),
                                   .tolerance = ROUNDING});
    }
}

static void losses(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{64, 10}, {5, 2}, {3, 37}, {2, 1000}};
    int32_t label[64];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const int64_t n = sizes[i][0], k = sizes[i][1];
        for (int64_t j = 0; j < n; j++)
            label[j] = (int32_t)(j * 7 % k);
        nt_tensor x = f32(2, n, k, 0, 0), target = nt_tensor_plain(NT_I32, nt_shape_of(1, n));
        target.data = label;
        float *values = pair_random(&x, 91, 0);
        x.data = values;
        for (int large = 0; large < 2; large++) { /* logits up to +-1, then up to +-1e4 */
            pair_check(&(pair_spec){.kind = "cross_entropy",
                                    .n_inputs = 2,
                                    .x = {x, target},
                                    .y = nt_shape_of(2, n, (int64_t)2),
                                    .tolerance = EXPONENTIAL});
            for (int64_t e = 0; e < n * k; e++)
                values[e] *= 1e4f;
        }
        free(values);
    }
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
        cmocka_unit_test(batchnorm_of_a_large_mean),
        cmocka_unit_test(activations),
        cmocka_unit_test(add),
        cmocka_unit_test(concat),
        cmocka_unit_test(dropout),
        cmocka_unit_test(losses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
