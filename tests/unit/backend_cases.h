/* Operations that cpu and cuda both have code of their own for: one list of cases for each, run against ref
 * by both.
 *
 * each_<operation> goes over its list and hands a pair_spec with everything but tolerances to `check`, which
 * adds those of its backend and the ways in which it runs a case. Shapes are small, and meet what divides
 * work on either side: packs of 4, 8 and 16, blocks of 16 and 32 channels, primes, one of everything. What is
 * only one backend's matter (a layout, a product of many blocks) stands in that backend's own test. */
#ifndef NT_TESTS_UNIT_BACKEND_CASES_H
#define NT_TESTS_UNIT_BACKEND_CASES_H

#include "core/layers/activation.h"
#include "core/layers/batchnorm.h"
#include "core/layers/dropout.h"
#include "core/layers/input.h"
#include "core/layers/linear.h"
#include "core/layers/pool2d.h"
#include "tests/unit/op_pair.h"

typedef void (*spec_check)(pair_spec spec);

static const nt_activation_options fused_relu = {.function = NT_ACT_RELU};

static inline nt_tensor f32(int n_dims, int64_t a, int64_t b, int64_t c, int64_t d)
{
    nt_shape shape = {.n_dims = n_dims, .dim = {a, b, c, d}};
    return nt_tensor_plain(NT_F32, shape);
}

/* Runs a case without and with a ReLU that is part of the operation. */
static inline void with_and_without_relu(pair_spec spec, spec_check check)
{
    check(spec);
    spec.activation = &fused_relu;
    check(spec);
}

/* --- samples --- */

static inline void each_input(spec_check check)
{
    static const nt_dtype dtypes[] = {NT_U8, NT_F32};
    static const struct {
        int n_channels;
        nt_shape shape;
    } cases[] = {
        {0, {4, {3, 2, 5, 7}}}, {1, {4, {3, 1, 28, 28}}}, {3, {4, {2, 3, 9, 9}}}, {3, {4, {2, 3, 8, 9}}},
        {5, {4, {2, 5, 1, 3}}}, {0, {2, {4, 37}}},        {37, {2, {4, 37}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int d = 0; d < 2; d++) {
            nt_input_options o = {.scale = 1.0 / 255, .n_channels = cases[i].n_channels};
            for (int c = 0; c < NT_MAX_CHANNELS; c++) {
                o.mean[c] = 0.1 * c;
                o.inv_std[c] = 1 + 0.25 * c;
            }
            check((pair_spec){.kind = "input",
                              .options = &o,
                              .inference = true,
                              .n_inputs = 1,
                              .raw = {true},
                              .x = {nt_tensor_plain(dtypes[d], cases[i].shape)},
                              .y = cases[i].shape});
        }
}

/* Data with a large mean and a small deviation: in float nothing but noise would be left. */
static inline void input_of_a_large_mean(spec_check check)
{
    const nt_shape shape = nt_shape_of(2, (int64_t)5, (int64_t)13);
    nt_input_options o = {.scale = 1, .n_channels = 1, .mean = {1e6 + 0.3}, .inv_std = {7}};
    float values[65];
    for (int i = 0; i < 65; i++)
        values[i] = 1e6f + (float)(i % 9) * 0.0625f;
    nt_tensor x = nt_tensor_plain(NT_F32, shape);
    x.data = values;
    check((pair_spec){.kind = "input",
                      .options = &o,
                      .inference = true,
                      .n_inputs = 1,
                      .raw = {true},
                      .x = {x},
                      .y = shape});
}

/* --- products --- */

/* n samples of f features to k units, with and without bias. */
static inline void check_linear(int64_t n, int64_t f, int64_t k, spec_check check)
{
    for (int bias = 0; bias < 2; bias++) {
        const nt_linear_options o = {.units = k, .has_bias = bias};
        check((pair_spec){.kind = "linear",
                          .options = &o,
                          .n_inputs = 1,
                          .n_params = 1 + bias,
                          .x = {f32(2, n, f, 0, 0)},
                          .param = {nt_shape_of(2, k, f), nt_shape_of(1, k)},
                          .y = nt_shape_of(2, n, k)});
    }
}

static inline void each_linear(spec_check check)
{
    static const int64_t cases[][3] = {{64, 84, 52}, {5, 37, 10},  {1, 1, 1},     {17, 33, 31},
                                       {3, 512, 1},  {16, 16, 16}, {2, 300, 129}, {300, 3, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_linear(cases[i][0], cases[i][1], cases[i][2], check);
}

typedef struct conv_case {
    int64_t n, c, h, w, k, r, s;
    int64_t stride[2], begin[2], end[2], dilation[2], groups;
    bool bias, blocked;
} conv_case;

static const conv_case convs[] = {
    {2, 16, 8, 8, 16, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, true, true},
    {3, 3, 9, 11, 5, 3, 3, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 1, false, false},
    {2, 1, 7, 5, 1, 5, 5, {1, 1}, {2, 2}, {2, 2}, {1, 1}, 1, true, false},
    {1, 2, 4, 5, 3, 4, 5, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true, true},  /* the whole map */
    {2, 3, 3, 2, 2, 5, 5, {1, 1}, {2, 2}, {2, 2}, {1, 1}, 1, true, false}, /* kernel larger than x */
    {1, 1, 2, 2, 2, 2, 2, {1, 1}, {3, 3}, {3, 3}, {1, 1}, 1, true, false}, /* windows in the padding only */
    {2, 2, 8, 7, 2, 2, 2, {3, 3}, {0, 0}, {0, 0}, {1, 1}, 1, true, true},  /* stride larger than kernel */
    {1, 2, 5, 6, 3, 3, 1, {1, 2}, {0, 1}, {0, 1}, {1, 1}, 1, true, false}, /* stride differs by axis */
    {2, 2, 7, 7, 3, 3, 3, {2, 2}, {2, 2}, {2, 2}, {2, 2}, 1, true, true},  /* dilation and stride */
    {2, 2, 5, 6, 2, 3, 2, {1, 1}, {2, 1}, {2, 1}, {2, 3}, 1, true, false}, /* dilation differs by axis */
    {2, 1, 5, 6, 2, 2, 4, {1, 1}, {0, 1}, {1, 2}, {1, 1}, 1, true, false}, /* asymmetric padding */
    {17, 2, 6, 3, 9, 4, 2, {3, 1}, {1, 1}, {1, 1}, {1, 1}, 1, true, false},
    {2, 4, 4, 5, 6, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 2, true, true}, /* groups */
    {3, 12, 5, 5, 18, 3, 2, {2, 1}, {1, 0}, {0, 1}, {1, 2}, 3, false, true},
    {2, 6, 4, 4, 4, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 2, true, false},  /* 1x1 with groups */
    {2, 2, 5, 5, 3, 1, 1, {2, 2}, {0, 0}, {0, 0}, {1, 1}, 1, false, false}, /* 1x1, stride 2 */
    {3, 7, 4, 4, 5, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true, true},   /* pointwise */
    {2, 5, 8, 3, 9, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, false, false},
    {2, 5, 3, 3, 4, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true, false}, /* 1x1 with rows that are no packs
                                                                            */
    {1, 2, 1, 1, 3, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true, true},  /* 1x1 on 1x1 */
    {2, 3, 5, 4, 3, 3, 3, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 3, true, false}, /* depthwise */
    {3, 3, 4, 4, 6, 3, 1, {1, 1}, {1, 0}, {1, 0}, {1, 1}, 3, false, true}, /* two filters each */
    {2, 4, 9, 8, 4, 5, 5, {1, 2}, {2, 4}, {2, 3}, {1, 2}, 4, true, true},  /* 25 taps: three blocks of them */
    {1, 1, 3, 3, 2, 2, 2, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true, false}, /* one channel: depthwise, too */
};
enum { N_CONVS = sizeof convs / sizeof convs[0] };

static inline int64_t conv_out(int64_t in, const conv_case *t, int axis)
{
    int64_t kernel = ((axis ? t->s : t->r) - 1) * t->dilation[axis] + 1;
    return (in + t->begin[axis] + t->end[axis] - kernel) / t->stride[axis] + 1;
}

static inline void check_conv(const conv_case *t, spec_check check)
{
    nt_conv2d_options o = {.filters = t->k, .kernel = {t->r, t->s}, .groups = t->groups, .has_bias = t->bias};
    for (int a = 0; a < 2; a++) {
        o.stride[a] = t->stride[a];
        o.dilation[a] = t->dilation[a];
        o.pad_begin[a] = t->begin[a];
        o.pad_end[a] = t->end[a];
    }
    check((pair_spec){.kind = "conv2d",
                      .options = &o,
                      .n_inputs = 1,
                      .n_params = 1 + t->bias,
                      .x = {f32(4, t->n, t->c, t->h, t->w)},
                      .blocked = {t->blocked},
                      .param = {nt_shape_of(4, t->k, t->c / t->groups, t->r, t->s), nt_shape_of(1, t->k)},
                      .y = nt_shape_of(4, t->n, t->k, conv_out(t->h, t, 0), conv_out(t->w, t, 1))});
}

/* --- maps --- */

/* `blocked` is how the map arrives on cpu. */
static const struct image_case {
    int64_t n, c, h, w;
    bool blocked;
} images[] = {
    {2, 16, 8, 8, true},  {3, 10, 7, 5, true},  {2, 33, 4, 4, true}, {2, 3, 9, 9, false},
    {2, 17, 5, 6, false}, {4, 1, 4, 6, false},  {5, 48, 1, 1, true}, {5, 33, 1, 1, false},
    {1, 1, 1, 1, false},  {1, 2, 13, 3, false}, {3, 5, 2, 2, true},
};
enum { N_IMAGES = sizeof images / sizeof images[0] };

static inline nt_tensor image(const struct image_case *t)
{
    return f32(4, t->n, t->c, t->h, t->w);
}

/* An operation of one map and no parameters, whose y is of that shape. */
static inline pair_spec map_spec(const char *kind, const void *options, const struct image_case *t,
                                 nt_shape y)
{
    return (pair_spec){
        .kind = kind, .options = options, .n_inputs = 1, .x = {image(t)}, .blocked = {t->blocked}, .y = y};
}

/* All kinds of pooling; the maximum with a ReLU in it, too. */
static inline void check_pool(const struct image_case *t, const nt_pool2d_options *o, const int64_t out[2],
                              spec_check check)
{
    static const char *const kinds[] = {"max_pool", "avg_pool", "avg_pool_padded"};
    for (int k = 0; k < 3; k++) {
        nt_pool2d_options own = *o;
        own.count_include_pad = k == 2;
        const pair_spec spec = map_spec(kinds[k], &own, t, nt_shape_of(4, t->n, t->c, out[0], out[1]));
        if (k == 0)
            with_and_without_relu(spec, check);
        else
            check(spec);
    }
}

static inline void each_pool(spec_check check)
{
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
            if (fits) check_pool(&images[i], &o, out, check);
        }
}

/* The window reaches beyond the padding, as ceil_mode lets it; and one with more than 255 taps. */
static inline void each_pool_at_the_limits(spec_check check)
{
    static const struct image_case t = {2, 3, 6, 7, false}, large = {1, 2, 17, 18, false};
    check_pool(
        &t, &(nt_pool2d_options){.kernel = {3, 3}, .stride = {2, 2}, .pad_begin = {1, 1}, .pad_end = {1, 1}},
        (int64_t[]){4, 4}, check);
    check_pool(&large, &(nt_pool2d_options){.kernel = {16, 17}, .stride = {1, 1}}, (int64_t[]){2, 2}, check);
}

static inline void each_global_avg_pool(spec_check check)
{
    for (size_t i = 0; i < N_IMAGES; i++)
        check(map_spec("global_avg_pool", NULL, &images[i], nt_shape_of(2, images[i].n, images[i].c)));
}

/* flatten or reshape to (N, C H W) */
static inline void each_view(const char *kind, spec_check check)
{
    for (size_t i = 0; i < N_IMAGES; i++) {
        const struct image_case *t = &images[i];
        check(map_spec(kind, NULL, t, nt_shape_of(2, t->n, t->c * t->h * t->w)));
    }
}

static inline void check_batchnorm(nt_tensor x, bool blocked, spec_check check)
{
    const nt_batchnorm_options o = {.eps = 1e-5, .momentum = 0.1};
    const nt_shape c = nt_shape_of(1, x.shape.dim[1]);
    with_and_without_relu((pair_spec){.kind = "batchnorm",
                                      .options = &o,
                                      .n_inputs = 1,
                                      .n_params = 4,
                                      .x = {x},
                                      .blocked = {blocked},
                                      .param_spread = 1,
                                      .param = {c, c, c, c},
                                      .y = x.shape},
                          check);
}

/* The variance of a handful of values amplifies roundings: those have a test of their own. */
static inline void each_batchnorm(spec_check check)
{
    for (size_t i = 0; i < N_IMAGES; i++)
        if (images[i].n * images[i].h * images[i].w >= 12)
            check_batchnorm(image(&images[i]), images[i].blocked, check);
    check_batchnorm(f32(2, 64, 20, 0, 0), false, check);
    check_batchnorm(f32(2, 300, 7, 0, 0), false, check); /* several parts of columns */
    check_batchnorm(f32(4, 5, 2, 30, 61), false, check); /* several parts of rows */
}

/* Mean 1000, standard deviation 0.5: E[x^2] - E[x]^2 in float would have no correct digit. */
static inline void batchnorm_of_a_large_mean(bool blocked, spec_check check)
{
    nt_tensor x = f32(4, 8, 5, 6, 6);
    float *values = pair_random(&x, 77, 0);
    for (int64_t i = 0; i < nt_shape_elems(x.shape); i++)
        values[i] = 1000 + values[i];
    x.data = values;
    check_batchnorm(x, blocked, check);
    free(values);
}

/* Every function, of values around 0, small and large. */
static inline void each_activation(spec_check check)
{
    for (int function = NT_ACT_THRESHOLD; function < NT_N_ACTIVATIONS; function++)
        for (size_t i = 0; i < N_IMAGES; i++) {
            const nt_activation_options o = {.function = (nt_activation)function, .alpha = 0.3, .beta = 1.7};
            pair_spec spec = map_spec("activation", &o, &images[i], image(&images[i]).shape);
            float *values = pair_random(&spec.x[0], 55, 0);
            for (int64_t e = 0; e < nt_shape_elems(spec.y); e++)
                values[e] *= e % 7 == 0 ? 100 : e % 3 == 0 ? 1e-3f : 4;
            spec.x[0].data = values;
            check(spec);
            free(values);
        }
}

/* Two terms, three and four, each blocked or not. */
static inline void each_add(spec_check check)
{
    for (int blocked = 0; blocked < 8; blocked++)
        for (int n = 2; n <= 4; n++) {
            const nt_tensor x = f32(4, 2, 10, 5, 5);
            with_and_without_relu((pair_spec){.kind = "add",
                                              .n_inputs = n,
                                              .x = {x, x, x, x},
                                              .blocked = {blocked & 1, blocked & 2, blocked & 4},
                                              .y = x.shape},
                                  check);
        }
}

static inline void each_concat(spec_check check)
{
    static const int64_t channels[][3] = {{16, 32, 7}, {16, 32, 8}, {3, 5, 2}, {8, 16, 16}, {1, 1, 1}};
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++) {
        const int64_t *c = channels[i];
        for (int blocked = 0; blocked < 8; blocked++)
            check((pair_spec){.kind = "concat",
                              .n_inputs = 3,
                              .x = {f32(4, 2, c[0], 3, 4), f32(4, 2, c[1], 3, 4), f32(4, 2, c[2], 3, 4)},
                              .blocked = {blocked & 1, blocked & 2, blocked & 4},
                              .y = nt_shape_of(4, (int64_t)2, c[0] + c[1] + c[2], (int64_t)3, (int64_t)4)});
        check((pair_spec){.kind = "concat",
                          .n_inputs = 2,
                          .x = {f32(2, 5, c[0], 0, 0), f32(2, 5, c[1], 0, 0)},
                          .y = nt_shape_of(2, (int64_t)5, c[0] + c[1])});
    }
}

static inline void each_dropout(spec_check check)
{
    static const double rates[] = {0, 0.5, 0.1};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        const nt_dropout_options o = {.rate = rates[r]};
        for (size_t i = 0; i < N_IMAGES; i++)
            check(map_spec("dropout", &o, &images[i], image(&images[i]).shape));
        check((pair_spec){.kind = "dropout",
                          .options = &o,
                          .n_inputs = 1,
                          .x = {f32(2, 5, 203, 0, 0)},
                          .y = nt_shape_of(2, (int64_t)5, (int64_t)203)});
    }
}

/* --- losses --- */

static const int64_t loss_sizes[][2] = {{64, 10}, {5, 2}, {3, 37}, {2, 1000}, {1, 2}, {9, 33}};
enum { N_LOSS_SIZES = sizeof loss_sizes / sizeof loss_sizes[0] };

/* Logits up to +-1, then up to +-1e4. */
static inline void each_cross_entropy(spec_check check)
{
    int32_t label[64];
    for (size_t i = 0; i < N_LOSS_SIZES; i++) {
        const int64_t n = loss_sizes[i][0], k = loss_sizes[i][1];
        for (int64_t j = 0; j < n; j++)
            label[j] = (int32_t)(j * 7 % k);
        nt_tensor x = f32(2, n, k, 0, 0), target = nt_tensor_plain(NT_I32, nt_shape_of(1, n));
        target.data = label;
        float *values = pair_random(&x, 91, 0);
        x.data = values;
        for (int large = 0; large < 2; large++) {
            check((pair_spec){.kind = "cross_entropy",
                              .n_inputs = 2,
                              .x = {x, target},
                              .y = nt_shape_of(2, n, (int64_t)2),
                              .is_loss = true});
            for (int64_t e = 0; e < n * k; e++)
                values[e] *= 1e4f;
        }
        free(values);
    }
}

/* Targets in 0..1, as bce wants them; in bfloat16 they stay float32. */
static inline void each_loss_of_values(spec_check check)
{
    static const char *const kinds[] = {"mse", "bce"};
    for (size_t i = 0; i < N_LOSS_SIZES; i++)
        for (int kind = 0; kind < 2; kind++)
            for (int large = 0; large < 2; large++) {
                nt_tensor x = f32(2, loss_sizes[i][0], loss_sizes[i][1], 0, 0), target = x;
                float *values = pair_random(&x, 92, 0), *wanted = pair_random(&x, 93, 1);
                for (int64_t e = 0; e < nt_shape_elems(x.shape); e++) {
                    wanted[e] = nt_bf16_round(e % 5 == 0 ? 1 : e % 5 == 1 ? 0 : wanted[e] - 0.5f);
                    values[e] *= large ? 1e4f : 3;
                }
                x.data = values;
                target.data = wanted;
                check((pair_spec){.kind = kinds[kind],
                                  .n_inputs = 2,
                                  .x = {x, target},
                                  .raw = {false, true},
                                  .y = nt_shape_of(2, loss_sizes[i][0], (int64_t)2),
                                  .is_loss = true});
                free(values);
                free(wanted);
            }
}

#endif
