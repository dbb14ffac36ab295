/* More small ops in odd shapes: those of layer types, options and losses that some backend takes from ref, as
 * cpu does. Once every backend has a type of its own, its cases belong in op_cases.h.
 * N_CASES and case_at go over both lists. */
#ifndef NT_TESTS_UNIT_LAYER_CASES_H
#define NT_TESTS_UNIT_LAYER_CASES_H

#include "core/layers/adaptive_avg_pool.h"
#include "core/layers/conv_transpose2d.h"
#include "core/layers/embedding.h"
#include "core/layers/group_norm.h"
#include "core/layers/head.h"
#include "core/layers/layer_norm.h"
#include "core/layers/local_response_norm.h"
#include "core/layers/losses.h"
#include "core/layers/multihead_attention.h"
#include "core/layers/permute.h"
#include "core/layers/position_embedding.h"
#include "core/layers/prelu.h"
#include "core/layers/reshape.h"
#include "core/layers/scale.h"
#include "core/layers/slice.h"
#include "core/layers/stochastic_depth.h"
#include "tests/unit/op_cases.h"

/* clang-format off */
#define SEQ(t, e)        {2, {t, e}} /* (T, E) */
#define FLOATS(...)      {NT_N_ELEMS(((double[]){__VA_ARGS__})), (double[]){__VA_ARGS__}}
#define INTS(...)        {NT_N_ELEMS(((int64_t[]){__VA_ARGS__})), (int64_t[]){__VA_ARGS__}}
#define FREE_INIT        {.gain = NAN, .bias = NAN}
#define OPTIONS(type, ...) &(const nt_##type##_options){__VA_ARGS__}
#define CE_OPTIONS(...)  &(const nt_loss_options){.ignore_index = NAN, __VA_ARGS__}
#define LINEAR_LAST(u, with_bias) OPTIONS(linear, .units = (u), .axis = NT_LINEAR_LAST, .bias = (with_bias), .init = FREE_INIT)
#define CONV_T(f, k0, k1, s0, s1, p0, p1, o0, o1, d0, d1, g, with_bias)                                      \
    OPTIONS(conv_transpose2d, .filters = (f), .kernel = {k0, k1}, .stride = {s0, s1}, .padding = {p0, p1},   \
            .output_padding = {o0, o1}, .dilation = {d0, d1}, .groups = (g), .bias = (with_bias), .init = FREE_INIT)
#define POOL_BY(k0, k1, s0, s1, p0, p1, ceil, counted)                                                       \
    OPTIONS(pool2d, .kernel = {k0, k1}, .stride = {s0, s1}, .padding = {p0, p1}, .ceil_mode = (ceil), .count_include_pad = (counted))
#define MHA(h, is_causal, rate, with_bias)                                                                   \
    OPTIONS(multihead_attention, .num_heads = (h), .causal = (is_causal), .bias = (with_bias), .dropout = (rate), .init = FREE_INIT)

static const op_case layer_cases[] = {
    {"linear of positions", "linear", LINEAR_LAST(4, YES), 2, 1, {SEQ(3, 5)}},
    {"linear of positions without bias", "linear", LINEAR_LAST(2, NO), 1, 1, {SEQ(7, 3)}},
    {"linear of the last axis of one", "linear", LINEAR_LAST(2, YES), 3, 1, {VEC(5)}},

    {"conv_transpose2d", "conv_transpose2d", CONV_T(3, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1, 1, YES), 2, 1, {MAP(2, 3, 4)}},
    {"conv_transpose2d stride 2, padded", "conv_transpose2d", CONV_T(2, 4, 3, 2, 2, 1, 1, 0, 1, 1, 1, 1, YES), 2, 1, {MAP(3, 3, 2)}},
    {"conv_transpose2d groups, asymmetric", "conv_transpose2d", CONV_T(6, 1, 3, 3, 2, 0, 1, 2, 1, 1, 1, 2, NO), 1, 1, {MAP(4, 3, 5)}},
    {"conv_transpose2d dilation", "conv_transpose2d", CONV_T(2, 3, 2, 2, 1, 2, 0, 1, 0, 2, 3, 1, YES), 1, 1, {MAP(2, 3, 3)}},
    {"conv_transpose2d depthwise", "conv_transpose2d", CONV_T(3, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 3, YES), 2, 1, {MAP(3, 2, 3)}},
    {"conv_transpose2d kernel below stride", "conv_transpose2d", CONV_T(1, 1, 1, 3, 3, 0, 0, 0, 0, 1, 1, 1, YES), 1, 1, {MAP(2, 2, 2)}},

    {"max_pool, ceiling", "max_pool", POOL_BY(3, 2, 2, 2, 0, 0, true, false), 2, 1, {MAP(2, 6, 5)}},
    {"max_pool, ceiling, padded", "max_pool", POOL_BY(3, 3, 2, 3, 1, 1, true, false), 1, 1, {MAP(2, 6, 6)}},
    {"avg_pool, ceiling", "avg_pool", POOL_BY(3, 2, 2, 2, 0, 0, true, true), 2, 1, {MAP(2, 6, 5)}},
    {"avg_pool, padding counted", "avg_pool", POOL_BY(3, 3, 1, 1, 1, 1, false, true), 2, 1, {MAP(2, 5, 4)}},
    {"avg_pool, ceiling, padding counted", "avg_pool", POOL_BY(3, 3, 2, 2, 1, 1, true, true), 1, 1, {MAP(2, 6, 4)}},
    {"avg_pool, ceiling, padding not counted", "avg_pool", POOL_BY(3, 3, 2, 2, 1, 1, true, false), 1, 1, {MAP(2, 6, 4)}},
    {"avg_pool same, padding counted", "avg_pool", POOL_BY(2, 3, 2, 2, SAME, SAME, false, true), 1, 1, {MAP(2, 5, 5)}},
    {"adaptive_avg_pool, divides", "adaptive_avg_pool", OPTIONS(adaptive_avg_pool, {2, 3}), 2, 1, {MAP(3, 4, 6)}},
    {"adaptive_avg_pool, does not divide", "adaptive_avg_pool", OPTIONS(adaptive_avg_pool, {3, 2}), 2, 1, {MAP(2, 7, 5)}},
    {"adaptive_avg_pool to more", "adaptive_avg_pool", OPTIONS(adaptive_avg_pool, {5, 4}), 1, 1, {MAP(2, 3, 4)}},
    {"adaptive_avg_pool to one", "adaptive_avg_pool", OPTIONS(adaptive_avg_pool, {1, 1}), 2, 1, {MAP(3, 3, 5)}},

    {"reshape", "reshape", OPTIONS(reshape, INTS(5, -1)), 2, 1, {MAP(2, 3, 5)}},
    {"permute to channels last", "permute", OPTIONS(permute, .dims = INTS(0, 2, 3, 1)), 2, 1, {MAP(2, 3, 5)}},
    {"permute of three", "permute", OPTIONS(permute, .dims = INTS(3, 1, 2)), 3, 1, {MAP(2, 3, 5)}},
    {"permute of two", "permute", OPTIONS(permute, .dims = INTS(2, 1)), 3, 1, {SEQ(3, 4)}},
    {"slice of channels", "slice", OPTIONS(slice, .dim = 1, .start = 1, .length = 2), 2, 1, {MAP(5, 2, 3)}},
    {"slice of columns", "slice", OPTIONS(slice, .dim = -1, .start = -3), 2, 1, {MAP(2, 2, 5)}},
    {"slice of the first token", "slice", OPTIONS(slice, .dim = 1, .length = 1), 2, 1, {SEQ(4, 3)}},

    {"stochastic_depth of maps", "stochastic_depth", OPTIONS(stochastic_depth, 0.4), 7, 1, {MAP(2, 1, 3)}},
    {"stochastic_depth rate 0", "stochastic_depth", OPTIONS(stochastic_depth, 0), 2, 1, {VEC(3)}},

    {"layer_norm of tokens", "layer_norm", OPTIONS(layer_norm, 1, 1e-5, true), 2, 1, {SEQ(3, 7)}},
    {"layer_norm of maps", "layer_norm", OPTIONS(layer_norm, 3, 1e-3, true), 3, 1, {MAP(2, 3, 2)}},
    {"layer_norm of planes, no affine", "layer_norm", OPTIONS(layer_norm, 2, 1e-5, false), 2, 1, {MAP(2, 3, 2)}},
    {"layer_norm of one value", "layer_norm", OPTIONS(layer_norm, 1, 1e-5, true), 2, 1, {VEC(1)}},
    {"group_norm", "group_norm", OPTIONS(group_norm, 3, 1e-5, true), 2, 1, {MAP(6, 2, 3)}},
    {"group_norm, one group", "group_norm", OPTIONS(group_norm, 1, 1e-5, true), 2, 1, {MAP(3, 2, 1)}},
    {"group_norm, instance norm", "group_norm", OPTIONS(group_norm, 3, 1e-3, true), 1, 1, {MAP(3, 3, 3)}},
    {"group_norm of a vector, no affine", "group_norm", OPTIONS(group_norm, 2, 1e-5, false), 3, 1, {VEC(6)}},
    {"local_response_norm", "local_response_norm", OPTIONS(local_response_norm, 5, 0.7, 0.75, 1), 2, 1, {MAP(7, 2, 3)}},
    {"local_response_norm, even size", "local_response_norm", OPTIONS(local_response_norm, 2, 0.9, 0.5, 2), 2, 1, {MAP(3, 1, 2)}},
    {"local_response_norm wider than channels", "local_response_norm", OPTIONS(local_response_norm, 9, 0.9, 1.5, 1), 1, 1, {VEC(3)}},

    {"multiply", "multiply", NULL, 2, 2, {MAP(2, 3, 5), MAP(2, 3, 5)}},
    {"multiply by channel gates", "multiply", NULL, 2, 2, {MAP(3, 2, 5), VEC(3)}},
    {"multiply by channel gates in maps", "multiply", NULL, 3, 2, {MAP(3, 2, 2), MAP(3, 1, 1)}},
    {"scale", "scale", OPTIONS(scale, FLOATS(-2.5), FLOATS(0.25)), 2, 1, {VEC(5)}},
    {"scale of channels", "scale", OPTIONS(scale, FLOATS(0.5, -1, 2), FLOATS(0)), 2, 1, {MAP(3, 2, 2)}},

    {"relu6", "activation", ACT(NT_ACT_RELU6, NAN, NAN), 2, 1, {MAP(2, 3, 5)}},
    {"hardsigmoid", "activation", ACT(NT_ACT_HARDSIGMOID, NAN, NAN), 2, 1, {VEC(11)}},
    {"hardswish", "activation", ACT(NT_ACT_HARDSWISH, NAN, NAN), 2, 1, {MAP(2, 3, 5)}},
    {"softplus", "activation", ACT(NT_ACT_SOFTPLUS, NAN, NAN), 2, 1, {VEC(11)}},
    {"softplus, beta 3", "activation", ACT(NT_ACT_SOFTPLUS, NAN, 3), 2, 1, {VEC(11)}},
    {"mish", "activation", ACT(NT_ACT_MISH, NAN, NAN), 2, 1, {MAP(2, 3, 5)}},
    {"gelu_tanh", "activation", ACT(NT_ACT_GELU_TANH, NAN, NAN), 2, 1, {MAP(2, 3, 5)}},
    {"prelu", "prelu", OPTIONS(prelu, 1, 0.25), 2, 1, {MAP(2, 3, 5)}},
    {"prelu of channels", "prelu", OPTIONS(prelu, 3, 0.25), 3, 1, {MAP(3, 2, 2)}},
    {"prelu of features", "prelu", OPTIONS(prelu, 5, 0.25), 3, 1, {VEC(5)}},
    {"log_softmax of features", "log_softmax", NULL, 3, 1, {VEC(7)}},
    {"log_softmax of channels", "log_softmax", NULL, 2, 1, {MAP(5, 2, 3)}},

    {"embedding", "embedding", OPTIONS(embedding, 5, 3, 1), 2, 1, {VEC(7)}},
    {"position_embedding", "position_embedding", OPTIONS(position_embedding, 0, 0.02), 3, 1, {SEQ(3, 4)}},
    {"position_embedding, longer", "position_embedding", OPTIONS(position_embedding, 5, 0.02), 2, 1, {SEQ(3, 4)}},
    {"class_token", "class_token", OPTIONS(class_token, 0), 3, 1, {SEQ(2, 5)}},
    {"attention", "multihead_attention", MHA(2, false, 0, true), 2, 1, {SEQ(3, 4)}},
    {"attention, causal", "multihead_attention", MHA(3, true, 0, true), 2, 1, {SEQ(5, 6)}},
    {"attention, causal, dropout, no bias", "multihead_attention", MHA(1, true, 0.3, false), 3, 1, {SEQ(4, 2)}},
    {"attention, dropout", "multihead_attention", MHA(2, false, 0.4, true), 2, 1, {SEQ(3, 4)}},
    {"attention of one position", "multihead_attention", MHA(1, false, 0, true), 2, 1, {SEQ(1, 3)}},

    {"head", "head", OPTIONS(head, "auto", 1), 2, 1, {VEC(5)}}, /* with another weight dx is no derivative */

    {"l1", "l1", NULL, 5, 2, {VEC(3), VEC(3)}},
    {"huber", "huber", OPTIONS(loss, .delta = 0.4), 5, 2, {VEC(3), VEC(3)}},
    {"huber of one", "huber", NULL, 1, 2, {VEC(1), VEC(1)}},
    {"smooth_l1", "smooth_l1", OPTIONS(loss, .beta = 0.3), 5, 2, {VEC(3), VEC(3)}},
    {"smooth_l1, beta 0", "smooth_l1", OPTIONS(loss, .beta = 0), 2, 2, {VEC(3), VEC(3)}},
    {"hinge of classes", "hinge", NULL, 5, 2, {VEC(7), CLASS}},
    {"hinge of classes, squared, weighted", "hinge", OPTIONS(loss, .p = 2, .margin = 0.7, .class_weights = FLOATS(1, 0.5, 2)), 5, 2, {VEC(3), CLASS}},
    {"hinge of values", "hinge", OPTIONS(loss, .p = 1, .margin = 0.8), 5, 2, {VEC(3), VEC(3)}},
    {"kl_divergence", "kl_divergence", NULL, 3, 2, {VEC(5), VEC(5)}},
    {"cross_entropy, weighted", "cross_entropy", CE_OPTIONS(.class_weights = FLOATS(1, 0.5, 2)), 5, 2, {VEC(3), CLASS}},
    {"cross_entropy, smoothed", "cross_entropy", CE_OPTIONS(.label_smoothing = 0.1), 5, 2, {VEC(4), CLASS}},
    {"cross_entropy, weighted, smoothed, ignoring", "cross_entropy",
     OPTIONS(loss, .class_weights = FLOATS(1, 0.5, 2), .label_smoothing = 0.2, .ignore_index = 1), 5, 2, {VEC(3), CLASS}},
    {"cross_entropy of probabilities", "cross_entropy", NULL, 3, 2, {VEC(5), VEC(5)}},
    {"cross_entropy of probabilities, weighted, smoothed", "cross_entropy",
     CE_OPTIONS(.class_weights = FLOATS(1, 0.5, 2), .label_smoothing = 0.3), 3, 2, {VEC(3), VEC(3)}},
    {"cross_entropy of positions", "cross_entropy", OPTIONS(loss, .ignore_index = 2), 2, 2, {SEQ(3, 5), VEC(5)}, true},
    {"cross_entropy of tokens", "cross_entropy", CE_OPTIONS(.class_dim = NT_CLASS_DIM_LAST, .label_smoothing = 0.1), 2, 2, {SEQ(4, 3), VEC(4)}, true},
    {"cross_entropy of a map", "cross_entropy", CE_OPTIONS(.class_weights = FLOATS(1, 0.5, 2)), 2, 2, {MAP(3, 2, 3), VEC(6)}, true},
};
/* clang-format on */

#define N_CASES (N_OP_CASES + NT_N_ELEMS(layer_cases))

static inline const op_case *case_at(int i)
{
    return i < N_OP_CASES ? &op_cases[i] : &layer_cases[i - N_OP_CASES];
}

#endif
