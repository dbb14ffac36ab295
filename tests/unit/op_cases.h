/* One list of small ops in odd shapes, for every test that holds something for all of them: gradients, float
 * against double, one backend against another, honest flags. A new layer type belongs in here, or, while it
 * is ref's alone, in layer_cases.h.
 *
 * Shapes are primes where they can be, so that swapped dimensions show. */
#ifndef NT_TESTS_UNIT_OP_CASES_H
#define NT_TESTS_UNIT_OP_CASES_H

#include "core/layers/activation.h"
#include "core/layers/batchnorm.h"
#include "core/layers/common.h"
#include "core/layers/conv2d.h"
#include "core/layers/dropout.h"
#include "core/layers/linear.h"
#include "core/layers/pool2d.h"

#include <math.h>

typedef struct op_case {
    const char *name, *type;
    const void *options;
    int64_t n;
    int n_inputs;
    nt_shape in[4];
    bool labels; /* losses: in[1] are as many class labels */
} op_case;

#define MAP(c, h, w)                                                                                         \
    {                                                                                                        \
        3,                                                                                                   \
        {                                                                                                    \
            c, h, w                                                                                          \
        }                                                                                                    \
    } /* (C, H, W) */
#define VEC(f)                                                                                               \
    {                                                                                                        \
        1,                                                                                                   \
        {                                                                                                    \
            f                                                                                                \
        }                                                                                                    \
    } /* (F) */
#define CLASS                                                                                                \
    {                                                                                                        \
        0,                                                                                                   \
        {                                                                                                    \
            0                                                                                                \
        }                                                                                                    \
    } /* target of cross_entropy */

#define LINEAR(u, with_bias)                                                                                 \
    &(const nt_linear_options)                                                                               \
    {                                                                                                        \
        .units = (u), .bias = (with_bias), .init = {.gain = NAN, .bias = NAN }                               \
    }

/* kernel, stride, padding and dilation as (rows, columns) */
#define CONV(f, k0, k1, s0, s1, p0, p1, d0, d1, g, with_bias)                                                \
    &(const nt_conv2d_options)                                                                               \
    {                                                                                                        \
        .filters = (f), .kernel = {k0, k1}, .stride = {s0, s1}, .padding = {p0, p1}, .dilation = {d0, d1},   \
        .groups = (g), .bias = (with_bias), .init = {                                                        \
            .gain = NAN,                                                                                     \
            .bias = NAN                                                                                      \
        }                                                                                                    \
    }
#define POOL(k0, k1, s0, s1, p0, p1)                                                                         \
    &(const nt_pool2d_options)                                                                               \
    {                                                                                                        \
        .kernel = {k0, k1}, .stride = {s0, s1}, .padding = { p0, p1 }                                        \
    }
#define DROPOUT(r)                                                                                           \
    &(const nt_dropout_options)                                                                              \
    {                                                                                                        \
        .rate = (r)                                                                                          \
    }
#define BATCHNORM(e, m)                                                                                      \
    &(const nt_batchnorm_options)                                                                            \
    {                                                                                                        \
        .eps = (e), .momentum = (m)                                                                          \
    }
#define ACT(f, a, b)                                                                                         \
    &(const nt_activation_options)                                                                           \
    {                                                                                                        \
        .function = (f), .alpha = (a), .beta = (b)                                                           \
    }

enum { SAME = -1, YES = NT_BIAS_YES, NO = NT_BIAS_NO };

static const op_case op_cases[] = {
    {"linear", "linear", LINEAR(3, YES), 5, 1, {VEC(7)}},
    {"linear of a map", "linear", LINEAR(4, YES), 3, 1, {MAP(2, 3, 5)}},
    {"linear 1x1", "linear", LINEAR(1, YES), 1, 1, {VEC(1)}},
    {"linear without bias", "linear", LINEAR(2, NO), 3, 1, {VEC(3)}},

    {"conv 3x3", "conv2d", CONV(5, 3, 3, 1, 1, 1, 1, 1, 1, 1, YES), 2, 1, {MAP(3, 5, 7)}},
    {"conv without bias", "conv2d", CONV(2, 3, 3, 1, 1, 0, 0, 1, 1, 1, NO), 3, 1, {MAP(2, 4, 3)}},
    {"conv 1x1 on 1x1", "conv2d", CONV(3, 1, 1, 1, 1, 0, 0, 1, 1, 1, YES), 1, 1, {MAP(2, 1, 1)}},
    {"conv kernel larger than input",
     "conv2d",
     CONV(2, 5, 5, 1, 1, 2, 2, 1, 1, 1, YES),
     2,
     1,
     {MAP(3, 3, 2)}},
    {"conv window in padding only", "conv2d", CONV(2, 2, 2, 1, 1, 3, 3, 1, 1, 1, YES), 1, 1, {MAP(1, 2, 2)}},
    {"conv stride larger than kernel",
     "conv2d",
     CONV(2, 2, 2, 3, 3, 0, 0, 1, 1, 1, YES),
     2,
     1,
     {MAP(2, 8, 7)}},
    {"conv stride differs by axis", "conv2d", CONV(3, 3, 1, 1, 2, 0, 1, 1, 1, 1, YES), 1, 1, {MAP(2, 5, 6)}},
    {"conv 1x1 stride 2", "conv2d", CONV(3, 1, 1, 2, 2, 0, 0, 1, 1, 1, NO), 2, 1, {MAP(2, 5, 5)}},
    {"conv dilation", "conv2d", CONV(2, 3, 2, 1, 1, 2, 1, 2, 3, 1, YES), 2, 1, {MAP(2, 5, 6)}},
    {"conv dilation and stride", "conv2d", CONV(2, 3, 3, 2, 2, 2, 2, 2, 2, 1, YES), 1, 1, {MAP(2, 7, 7)}},
    {"conv groups", "conv2d", CONV(6, 3, 3, 1, 1, 1, 1, 1, 1, 2, YES), 2, 1, {MAP(4, 4, 5)}},
    {"conv depthwise", "conv2d", CONV(3, 3, 3, 2, 2, 1, 1, 1, 1, 3, YES), 2, 1, {MAP(3, 5, 4)}},
    {"conv depthwise, two filters each",
     "conv2d",
     CONV(6, 3, 1, 1, 1, 1, 0, 1, 1, 3, NO),
     1,
     1,
     {MAP(3, 4, 4)}},
    {"conv same, even kernel", "conv2d", CONV(2, 2, 4, 1, 1, SAME, SAME, 1, 1, 1, YES), 2, 1, {MAP(1, 5, 6)}},
    {"conv same, stride 2", "conv2d", CONV(2, 3, 3, 2, 2, SAME, SAME, 1, 1, 1, YES), 2, 1, {MAP(2, 6, 7)}},
    {"conv whole map", "conv2d", CONV(3, 4, 5, 1, 1, 0, 0, 1, 1, 1, YES), 2, 1, {MAP(2, 4, 5)}},

    {"max_pool 2x2", "max_pool", POOL(2, 2, 0, 0, 0, 0), 2, 1, {MAP(3, 6, 4)}},
    {"max_pool overlapping, padded", "max_pool", POOL(3, 3, 2, 2, 1, 1), 2, 1, {MAP(2, 7, 6)}},
    {"max_pool stride larger than kernel", "max_pool", POOL(2, 1, 3, 2, 0, 0), 1, 1, {MAP(2, 7, 5)}},
    {"max_pool same", "max_pool", POOL(3, 2, 2, 2, SAME, SAME), 1, 1, {MAP(2, 5, 5)}},
    {"max_pool on 1x1", "max_pool", POOL(3, 3, 1, 1, 1, 1), 3, 1, {MAP(2, 1, 1)}},
    {"avg_pool 2x2", "avg_pool", POOL(2, 2, 0, 0, 0, 0), 2, 1, {MAP(3, 6, 4)}},
    {"avg_pool overlapping, padded", "avg_pool", POOL(3, 3, 2, 2, 1, 1), 2, 1, {MAP(2, 7, 6)}},
    {"avg_pool stride larger than kernel", "avg_pool", POOL(1, 2, 2, 3, 0, 0), 1, 1, {MAP(2, 7, 5)}},
    {"avg_pool wide padding", "avg_pool", POOL(4, 3, 1, 1, 3, 2), 1, 1, {MAP(1, 2, 3)}},
    {"avg_pool on 1x1", "avg_pool", POOL(3, 3, 1, 1, 1, 1), 3, 1, {MAP(2, 1, 1)}},
    {"global_avg_pool", "global_avg_pool", NULL, 3, 1, {MAP(5, 3, 7)}},
    {"global_avg_pool on 1x1", "global_avg_pool", NULL, 1, 1, {MAP(2, 1, 1)}},
    {"flatten", "flatten", NULL, 2, 1, {MAP(2, 3, 5)}},

    {"dropout of a map", "dropout", DROPOUT(0.4), 3, 1, {MAP(2, 3, 5)}},
    {"dropout of a vector", "dropout", DROPOUT(0.9), 5, 1, {VEC(13)}},
    {"dropout rate 0", "dropout", DROPOUT(0), 2, 1, {VEC(5)}},

    {"batchnorm of a map", "batchnorm", BATCHNORM(1e-5, 0.1), 3, 1, {MAP(5, 2, 3)}},
    {"batchnorm of a vector", "batchnorm", BATCHNORM(1e-3, 0.1), 7, 1, {VEC(3)}},
    {"batchnorm, one sample", "batchnorm", BATCHNORM(1e-5, 0.1), 1, 1, {MAP(2, 3, 1)}},
    {"batchnorm, one value", "batchnorm", BATCHNORM(1e-5, 0.1), 1, 1, {VEC(3)}},

    {"add 2", "add", NULL, 2, 2, {MAP(2, 3, 5), MAP(2, 3, 5)}},
    {"add 4", "add", NULL, 3, 4, {VEC(7), VEC(7), VEC(7), VEC(7)}},
    {"concat of maps", "concat", NULL, 2, 3, {MAP(2, 3, 5), MAP(1, 3, 5), MAP(4, 3, 5)}},
    {"concat of vectors", "concat", NULL, 3, 2, {VEC(1), VEC(6)}},

    {"logistic", "activation", ACT(NT_ACT_LOGISTIC, NAN, NAN), 2, 1, {MAP(2, 3, 5)}},
    {"logistic, slope 2.5", "activation", ACT(NT_ACT_LOGISTIC, NAN, 2.5), 3, 1, {VEC(7)}},
    {"tanh", "activation", ACT(NT_ACT_TANH, NAN, NAN), 2, 1, {VEC(11)}},
    {"relu", "activation", ACT(NT_ACT_RELU, NAN, NAN), 2, 1, {MAP(2, 3, 5)}},
    {"leaky_relu", "activation", ACT(NT_ACT_LEAKY_RELU, NAN, NAN), 2, 1, {VEC(11)}},
    {"leaky_relu, alpha 0.3", "activation", ACT(NT_ACT_LEAKY_RELU, 0.3, NAN), 2, 1, {VEC(11)}},
    {"elu", "activation", ACT(NT_ACT_ELU, NAN, NAN), 2, 1, {VEC(11)}},
    {"elu, alpha 0.5", "activation", ACT(NT_ACT_ELU, 0.5, NAN), 2, 1, {VEC(11)}},
    {"gelu", "activation", ACT(NT_ACT_GELU, NAN, NAN), 2, 1, {MAP(2, 3, 5)}},
    {"silu", "activation", ACT(NT_ACT_SILU, NAN, NAN), 2, 1, {MAP(2, 3, 5)}},
    {"softmax of features", "softmax", NULL, 3, 1, {VEC(7)}},
    {"softmax of channels", "softmax", NULL, 2, 1, {MAP(5, 2, 3)}},
    {"softmax of one", "softmax", NULL, 2, 1, {VEC(1)}},

    {"mse", "mse", NULL, 5, 2, {VEC(3), VEC(3)}},
    {"mse of one", "mse", NULL, 1, 2, {VEC(1), VEC(1)}},
    {"bce", "bce", NULL, 5, 2, {VEC(3), VEC(3)}},
    {"bce of one", "bce", NULL, 1, 2, {VEC(1), VEC(1)}},
    {"cross_entropy", "cross_entropy", NULL, 5, 2, {VEC(7), CLASS}},
    {"cross_entropy of two, one sample", "cross_entropy", NULL, 1, 2, {VEC(2), CLASS}},
};

#define N_OP_CASES NT_N_ELEMS(op_cases)

#endif
