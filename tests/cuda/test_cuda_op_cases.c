/* Every case of the shared lists, cuda against ref: each layer type and loss that there is, in odd shapes, in
 * both precisions, aligned and not, in place and not, in training and inference. Then the same with sizes
 * that take the kernels' other ways: rows for a block, several tiles, several launches. A kind that cuda
 * lacks fails here. */
#include "cuda_cases.h"

#include "case_pair.h"
#include "core/backends/cuda/cuda.h"
#include "core/backends/ref/ref.h"

/* clang-format off */
static const op_case large_cases[] = {
    {"layer_norm, a block a row", "layer_norm", OPTIONS(layer_norm, 1, 1e-5, true), 1, 1, {SEQ(2, 2051)}},
    {"layer_norm of many rows", "layer_norm", OPTIONS(layer_norm, 1, 1e-5, true), 9, 1, {SEQ(61, 37)}},
    {"group_norm, a block a group", "group_norm", OPTIONS(group_norm, 2, 1e-5, true), 2, 1, {MAP(10, 24, 20)}},
    {"group_norm, no pack", "group_norm", OPTIONS(group_norm, 3, 1e-5, true), 2, 1, {MAP(6, 7, 11)}},
    {"local_response_norm", "local_response_norm", OPTIONS(local_response_norm, 5, 0.7, 0.75, 1), 2, 1, {MAP(23, 5, 7)}},
    {"prelu of planes", "prelu", OPTIONS(prelu, 5, 0.25), 3, 1, {MAP(5, 16, 24)}},
    {"prelu", "prelu", OPTIONS(prelu, 1, 0.25), 3, 1, {MAP(5, 31, 29)}},
    {"multiply by channel gates", "multiply", NULL, 2, 2, {MAP(7, 13, 11), VEC(7)}},
    {"multiply", "multiply", NULL, 2, 2, {MAP(3, 29, 31), MAP(3, 29, 31)}},
    {"scale of channels", "scale", OPTIONS(scale, FLOATS(0.5, -1, 2), FLOATS(0, 1, 2)), 2, 1, {MAP(3, 19, 23)}},
    {"stochastic_depth", "stochastic_depth", OPTIONS(stochastic_depth, 0.4), 16, 1, {MAP(3, 7, 5)}},
    {"dropout", "dropout", DROPOUT(0.3), 5, 1, {MAP(3, 20, 21)}},
    {"adaptive_avg_pool", "adaptive_avg_pool", OPTIONS(adaptive_avg_pool, {5, 7}), 2, 1, {MAP(3, 33, 29)}},
    {"adaptive_avg_pool to one", "adaptive_avg_pool", OPTIONS(adaptive_avg_pool, {1, 1}), 2, 1, {MAP(3, 33, 29)}},
    {"permute, tiles", "permute", OPTIONS(permute, .dims = INTS(0, 2, 3, 1)), 2, 1, {MAP(37, 7, 11)}},
    {"permute, tiles of outer dimensions", "permute", OPTIONS(permute, .dims = INTS(3, 1, 2)), 2, 1, {MAP(35, 3, 41)}},
    {"permute, runs of 16 bytes", "permute", OPTIONS(permute, .dims = INTS(2, 1, 3)), 2, 1, {MAP(9, 13, 16)}},
    {"slice of 16 bytes", "slice", OPTIONS(slice, .dim = 1, .start = 8, .length = 16), 3, 1, {MAP(40, 5, 8)}},
    {"slice", "slice", OPTIONS(slice, .dim = 1, .start = 3, .length = 14), 3, 1, {MAP(29, 5, 7)}},
    {"embedding, sorted in several launches", "embedding", OPTIONS(embedding, 601, 3, 1), 5, 1, {VEC(900)}},
    {"embedding, columns", "embedding", OPTIONS(embedding, 7, 67, 1), 3, 1, {VEC(60)}},
    {"position_embedding", "position_embedding", OPTIONS(position_embedding, 50, 0.02), 17, 1, {SEQ(41, 16)}},
    {"class_token", "class_token", OPTIONS(class_token, 0), 17, 1, {SEQ(11, 40)}},
    {"attention, causal, dropout", "multihead_attention", MHA(3, true, 0.3, true), 2, 1, {SEQ(41, 24)}},
    {"attention", "multihead_attention", MHA(2, false, 0, true), 1, 1, {SEQ(67, 14)}},
    {"conv_transpose2d", "conv_transpose2d", CONV_T(6, 3, 4, 2, 3, 1, 0, 1, 0, 1, 1, 2, YES), 3, 1, {MAP(8, 9, 11)}},
    {"head", "head", OPTIONS(head, "auto", 0.3), 7, 1, {VEC(37)}},
    {"huber", "huber", OPTIONS(loss, .delta = 0.4), 15, 2, {VEC(70), VEC(70)}},
    {"smooth_l1", "smooth_l1", OPTIONS(loss, .beta = 0.3), 15, 2, {VEC(70), VEC(70)}},
    {"hinge of classes", "hinge", OPTIONS(loss, .p = 2, .margin = 0.7), 15, 2, {VEC(70), CLASS}},
    {"kl_divergence", "kl_divergence", NULL, 15, 2, {VEC(70), VEC(70)}},
    {"cross_entropy of probabilities", "cross_entropy", CE_OPTIONS(.label_smoothing = 0.3), 5, 2, {VEC(70), VEC(70)}},
    {"cross_entropy of tokens", "cross_entropy", CE_OPTIONS(.class_dim = NT_CLASS_DIM_LAST, .label_smoothing = 0.1), 3, 2, {SEQ(37, 70), VEC(37)}, true},
    {"cross_entropy of a map", "cross_entropy", OPTIONS(loss, .ignore_index = 2, .label_smoothing = 0.1), 3, 2, {MAP(70, 5, 9), VEC(45)}, true},
    {"cross_entropy over weights", "cross_entropy",
     CE_OPTIONS(.class_weights = FLOATS(1, 0.5, 2), .mean_over = NT_MEAN_OVER_WEIGHTS), 5, 2, {VEC(3), CLASS}},
};
/* clang-format on */

/* Integers that labels or tokens stay below. */
static int64_t n_classes_of(const nt_layer *layer)
{
    if (layer->ops->takes_tokens) return layer->param[0].shape.dim[0];
    const nt_loss_options *o = layer->options;
    return layer->in[0].dim[o->class_dim == NT_CLASS_DIM_LAST ? layer->in[0].n_dims - 1 : 0];
}

static void *make_labels(int64_t n, int64_t n_classes)
{
    int32_t *labels = malloc((size_t)n * sizeof *labels);
    assert_non_null(labels);
    for (int64_t i = 0; i < n; i++)
        labels[i] = (int32_t)(i * 7 % n_classes);
    return labels;
}

/* Positive, with a sum of 1 in each row. */
static void *make_probabilities(int64_t n, int64_t k)
{
    float *values = malloc((size_t)(n * k) * sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < k; j++)
            sum += 1 + (double)((i * k + j) * 5 % 7);
        for (int64_t j = 0; j < k; j++)
            values[i * k + j] = (float)((1 + (double)((i * k + j) * 5 % 7)) / sum);
    }
    return values;
}

/* Input k: what it is and, unless random values will do, its values. */
static void describe_input(pair_spec *spec, const nt_layer *layer, const op_case *c, int k)
{
    const nt_shape shape = nt_layer_op_shape(layer, c->in[k], c->n);
    const bool target = layer->ops->is_loss && k == 1;
    const bool integers = layer->ops->takes_tokens || (target && nt_loss_has_labels(layer));
    spec->x[k] = nt_tensor_plain(integers ? NT_I32 : NT_F32, shape);
    spec->raw[k] = target;
    if (integers) spec->x[k].data = make_labels(nt_shape_elems(shape), n_classes_of(layer));
    if (target && !integers) spec->x[k].data = make_probabilities(c->n, nt_shape_elems(shape) / c->n);
}

static bool is_kind(const nt_layer *layer, const char *kind)
{
    return strcmp(layer->kind, kind) == 0;
}

/* Positive, as variances have to be; of attention around 0, because with weights of one sign scores grow with
 * the number of features, and an error of a score is one of the exponent. */
static int spread_of(const nt_layer *layer)
{
    return is_kind(layer, "multihead_attention") ? 0 : 1;
}

/* In bfloat16 most results are rounded once from exact inputs, some from a factor that was rounded. Attention
 * rounds the projection, the probabilities, the heads' output and each of their gradients: some six
 * roundings, each of values that the next product adds up, and its parameters see them, too. */
static void set_tolerances(pair_spec *spec, const nt_layer *layer)
{
    const bool attention = is_kind(layer, "multihead_attention");
    spec->tolerance = 1e-5;
    spec->rounding = attention ? 12 * BF16_ONCE : 4 * BF16_ONCE;
    spec->param_rounding = attention ? 12 * BF16_ONCE : 0;
    if (is_kind(layer, "softmax") || is_kind(layer, "log_softmax")) spec->floor = 1;
    if (is_kind(layer, "batchnorm") || strstr(layer->kind, "_norm")) spec->floor = 0.1; /* dx may cancel */
    if (attention) spec->floor = 0.1; /* of one position: nothing but the value's way has a gradient */
}

static void check_case(const op_case *c, void (*check)(pair_spec))
{
    nt_layer layer = case_infer(c);
    pair_spec spec = {.kind = layer.kind,
                      .options = layer.options,
                      .n_inputs = c->n_inputs,
                      .n_params = layer.n_params,
                      .param_spread = spread_of(&layer),
                      .is_loss = layer.ops->is_loss,
                      .y = nt_layer_op_shape(&layer, layer.out, c->n)};
    for (int k = 0; k < c->n_inputs; k++)
        describe_input(&spec, &layer, c, k);
    for (int p = 0; p < layer.n_params; p++)
        spec.param[p] = layer.param[p].shape;
    set_tolerances(&spec, &layer);
    check(spec);
    for (int k = 0; k < c->n_inputs; k++)
        free(spec.x[k].data);
    free(layer.options);
    free(layer.in);
}

static void every_case(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++)
        check_case(case_at(i), check_all_ways);
}

static void other_ways_of_the_kernels(void **state)
{
    (void)state;
    for (size_t i = 0; i < NT_N_ELEMS(large_cases); i++)
        check_case(&large_cases[i], check_types);
}

/* The weighted sum of several losses is made by the model builder, so no layer case has it. */
static void sum_of_losses(void **state)
{
    (void)state;
    const nt_total_loss_options weights = {{1, 0.3, 2.5}};
    check_types((pair_spec){.kind = "total_loss",
                            .options = &weights,
                            .n_inputs = 3,
                            .x = {f32(2, 300, 2, 0, 0), f32(2, 300, 2, 0, 0), f32(2, 300, 2, 0, 0)},
                            .raw = {true, true, true},
                            .y = nt_shape_of(2, (int64_t)300, (int64_t)2),
                            .is_loss = true,
                            .inference = true,
                            .tolerance = ROUNDING});
}

#define KIND_OF_REF(kind)  #kind,
#define KIND_OF_CUDA(kind) #kind,

/* A kind without a case above would be seen by nobody. */
static void every_kind_of_ref(void **state)
{
    (void)state;
    static const char *const ref[] = {NT_REF_OPS(KIND_OF_REF)}, *const cuda[] = {NT_CUDA_OPS(KIND_OF_CUDA)};
    assert_int_equal(NT_N_ELEMS(ref), NT_N_ELEMS(cuda));
    for (size_t i = 0; i < NT_N_ELEMS(ref); i++)
        assert_string_equal(ref[i], cuda[i]);
}

/* --- what is wrong with the data is found on the device and said in ref's words --- */

/* `words` and `rest` are in both messages; between them ref may say more. */
static void check_message(const char *name, const char *words, const char *rest)
{
    const char *at = strstr(nt_error_last()->message, words);
    if (!at || !strstr(at, rest)) fail_msg("%s: %s", name, nt_error_last()->message);
}

static void check_words(pair_spec spec, const char *words, const char *rest)
{
    pair_side ref = {0}, s = {0};
    spec.n_inputs = spec.n_params ? 1 : 2;
    spec.is_loss = spec.n_params == 0;
    const nt_pass pass = pair_pass();
    pair_setup(&ref, "ref", &spec, NULL);
    pair_bind(&ref, &spec);
    assert_int_equal(nt_op_forward(&ref.op, &pass), NT_ERR_DATA);
    check_message("ref", words, rest);
    pair_teardown(&ref, &spec);
    pair_begin(&s, "cuda", &spec, NULL);
    assert_int_equal(nt_backend_sync(s.backend), NT_ERR_DATA);
    check_message("cuda", words, rest);
    nt_error_clear();
    pair_ok(nt_backend_sync(s.backend)); /* it is said once */
    pair_teardown(&s, &spec);
}

static void fault_token_outside_the_vocabulary(void **state)
{
    (void)state;
    int32_t token[] = {0, 4, 2, 5, 1, 0};
    nt_tensor x = nt_tensor_plain(NT_I32, nt_shape_of(2, (int64_t)2, (int64_t)3));
    const nt_embedding_options o = {.num_embeddings = 5, .embedding_dim = 4};
    x.data = token;
    pair_spec spec = {.kind = "embedding",
                      .options = &o,
                      .n_params = 1,
                      .x = {x},
                      .param = {nt_shape_of(2, (int64_t)5, (int64_t)4)},
                      .y = nt_shape_of(3, (int64_t)2, (int64_t)3, (int64_t)4)};
    check_words(spec, "layer pair: token 5 ", "is not in 0..4");
    token[3] = -1;
    check_words(spec, "layer pair: token -1 ", "is not in 0..4");
}

static void fault_targets_that_are_no_probabilities(void **state)
{
    (void)state;
    float target[] = {0.25f, 0.5f, 0.25f, 0.5f, 0.75f, 0.25f};
    const nt_loss_options o = {.ignore_index = NAN};
    nt_tensor t = f32(2, 2, 3, 0, 0);
    t.data = target;
    pair_spec spec = {.kind = "cross_entropy_full",
                      .options = &o,
                      .x = {f32(2, 2, 3, 0, 0), t},
                      .y = nt_shape_of(2, (int64_t)2, (int64_t)2)};
    check_words(spec, "layer pair: the target's probabilities sum to 1.5", "not 1");
    target[4] = -0.5f;
    check_words(spec, "layer pair: target -0.5 ", "is not a probability");
}

static void fault_label_that_is_no_class(void **state)
{
    (void)state;
    static const char *const kinds[] = {"hinge", "cross_entropy_full"};
    int32_t label[] = {2, 3};
    const nt_loss_options o = {.ignore_index = NAN, .margin = 1, .p = 1};
    nt_tensor t = nt_tensor_plain(NT_I32, nt_shape_of(1, (int64_t)2));
    t.data = label;
    for (int i = 0; i < 2; i++)
        check_words((pair_spec){.kind = kinds[i],
                                .options = &o,
                                .x = {f32(2, 2, 3, 0, 0), t},
                                .y = nt_shape_of(2, (int64_t)2, (int64_t)2)},
                    "layer pair: class label 3 ", "is not in 0..2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case),
        cmocka_unit_test(other_ways_of_the_kernels),
        cmocka_unit_test(sum_of_losses),
        cmocka_unit_test(every_kind_of_ref),
        cmocka_unit_test(fault_token_outside_the_vocabulary),
        cmocka_unit_test(fault_targets_that_are_no_probabilities),
        cmocka_unit_test(fault_label_that_is_no_class),
    };
    return cmocka_run_group_tests(tests, NULL, pair_close);
}
