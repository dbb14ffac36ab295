/* What mobile networks and language models have beyond the shared cases, cpu against ref: ReLU6 in batchnorm,
 * gates per channel, adaptive pooling, whole samples dropped, losses of many positions. Plain and blocked
 * layouts, channels that do not fill a block, in place where the flags allow it, one and three threads. */
#include "core/layers/adaptive_avg_pool.h"
#include "core/layers/batchnorm.h"
#include "core/layers/losses.h"
#include "core/layers/stochastic_depth.h"
#include "tests/unit/cpu_cases.h"

static const nt_activation_options relu6 = {.function = NT_ACT_RELU6};

/* With a few values far out, so that ReLU6 has something to cut off. */
static void batchnorm_that_is_cut_off(void **state)
{
    (void)state;
    for (int blocked = 0; blocked < 2; blocked++) {
        nt_tensor x = f32(4, 4, 20, 16, 8);
        float *values = pair_random(&x, 78, 0);
        for (int64_t i = 0; i < nt_shape_elems(x.shape); i += 97)
            values[i] *= 40;
        x.data = values;
        const nt_batchnorm_options o = {.eps = 1e-5, .momentum = 0.1};
        const nt_shape c = nt_shape_of(1, x.shape.dim[1]);
        check_all_ways((pair_spec){.kind = "batchnorm",
                                   .options = &o,
                                   .activation = &relu6,
                                   .n_inputs = 1,
                                   .n_params = 4,
                                   .x = {x},
                                   .blocked = {blocked},
                                   .param_spread = 1,
                                   .param = {c, c, c, c},
                                   .y = x.shape,
                                   .tolerance = 5 * SUMS});
        free(values);
    }
}

/* Gates of x's shape, (N, C) and (N, C, 1, 1), in all mixtures of layouts. */
static void multiply(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_IMAGES; i++)
        for (int way = 0; way < 3; way++)
            for (int blocked = 0; blocked < 4; blocked++) {
                const struct image_case *t = &images[i];
                const nt_tensor gates[] = {f32(4, t->n, t->c, t->h, t->w), f32(2, t->n, t->c, 0, 0),
                                           f32(4, t->n, t->c, 1, 1)};
                check_all_ways((pair_spec){.kind = "multiply",
                                           .n_inputs = 2,
                                           .x = {gates[0], gates[way]},
                                           .blocked = {blocked & 1, (blocked & 2) && way != 1},
                                           .y = gates[0].shape,
                                           .tolerance = SUMS});
            }
}

/* To one value, to windows that are alike and not, to what it is. */
static void adaptive_avg_pool(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {2, 2}, {4, 4}, {3, 5}, {8, 8}};
    for (size_t i = 0; i < N_IMAGES; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++) {
            const struct image_case *t = &images[i];
            const nt_adaptive_avg_pool_options o = {{sizes[j][0], sizes[j][1]}};
            check_all_ways((pair_spec){.kind = "adaptive_avg_pool",
                                       .options = &o,
                                       .n_inputs = 1,
                                       .x = {f32(4, t->n, t->c, t->h, t->w)},
                                       .blocked = {t->blocked},
                                       .y = nt_shape_of(4, t->n, t->c, sizes[j][0], sizes[j][1]),
                                       .tolerance = SUMS});
        }
}

static void stochastic_depth(void **state)
{
    (void)state;
    static const double rates[] = {0, 0.4};
    for (size_t i = 0; i < N_IMAGES; i++)
        for (int r = 0; r < 2; r++) {
            const struct image_case *t = &images[i];
            const nt_stochastic_depth_options o = {.rate = rates[r]};
            check_all_ways((pair_spec){.kind = "stochastic_depth",
                                       .options = &o,
                                       .n_inputs = 1,
                                       .x = {f32(4, t->n, t->c, t->h, t->w)},
                                       .blocked = {t->blocked},
                                       .y = nt_shape_of(4, t->n, t->c, t->h, t->w),
                                       .tolerance = ROUNDING});
        }
}

/* What tokens and smoothed classes need: one and several positions, weights, smoothing, an ignored label:
 * one of the classes, or PyTorch's -100, which is none. */
static void losses_of_positions(void **state)
{
    (void)state;
    static double weight[300];
    static const double ignored[] = {NAN, 2, -100};
    int32_t label[96];
    for (int c = 0; c < 300; c++)
        weight[c] = 0.5 + c % 4;
    static const int64_t sizes[][3] = {{4, 6, 17}, {5, 1, 300}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int way = 0; way < 24; way++) {
            const int64_t n = sizes[i][0], p = sizes[i][1], k = sizes[i][2];
            const nt_loss_options o = {.class_dim = NT_CLASS_DIM_LAST,
                                       .class_weights = {way & 1 ? k : 0, weight},
                                       .label_smoothing = way & 2 ? 0.15 : 0,
                                       .ignore_index = ignored[way / 8],
                                       .mean_over = way & 4 ? NT_MEAN_OVER_WEIGHTS : NT_MEAN_OVER_SAMPLES};
            for (int64_t j = 0; j < n * p; j++)
                label[j] = way / 8 == 2 && j % 3 == 1 ? -100 : (int32_t)(j * 7 % k);
            nt_tensor target = nt_tensor_plain(NT_I32, nt_shape_of(2, n, p));
            target.data = label;
            pair_check(&(pair_spec){.kind = "cross_entropy_full",
                                    .options = &o,
                                    .n_inputs = 2,
                                    .x = {f32(3, n, p, k, 0), target},
                                    .y = nt_shape_of(2, n, (int64_t)2),
                                    .tolerance = EXPONENTIAL});
        }
}

/* A position is right if the first of its largest values is the label's. */
static void ties_are_won_by_the_first(void **state)
{
    (void)state;
    float x[4][20] = {{0}};
    int32_t label[] = {17, 3, 0, 19};
    x[0][17] = x[0][18] = 1;
    x[1][2] = x[1][3] = 1;
    nt_tensor logits = f32(3, 4, 1, 20, 0),
              target = nt_tensor_plain(NT_I32, nt_shape_of(2, (int64_t)4, (int64_t)1));
    logits.data = x;
    target.data = label;
    const nt_loss_options o = {.class_dim = NT_CLASS_DIM_LAST, .ignore_index = NAN};
    pair_check(&(pair_spec){.kind = "cross_entropy_full",
                            .options = &o,
                            .n_inputs = 2,
                            .x = {logits, target},
                            .y = nt_shape_of(2, (int64_t)4, (int64_t)2),
                            .tolerance = EXPONENTIAL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batchnorm_that_is_cut_off), cmocka_unit_test(multiply),
        cmocka_unit_test(adaptive_avg_pool),         cmocka_unit_test(stochastic_depth),
        cmocka_unit_test(losses_of_positions),       cmocka_unit_test(ties_are_won_by_the_first),
    };
    return cmocka_run_group_tests_name("cpu_mobile", tests, NULL, NULL);
}
