/* What the layer types of networks beyond plain convolutional ones make of the options in a config: output
 * shapes worked out by hand, and for each type and loss at least three mistakes that a user may make, with
 * what the message has to say. Everything goes through config and model builder, as a user's file does. */
#include "core/layers/losses.h"
#include "core/model.h"
#include "tests/unit/op_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, NULL};

/* Samples that the rows below are about. */
static const nt_sample_spec map = {.x_dtype = NT_F32, .x = MAP(6, 9, 8), .input = {.scale = 1}};
static const nt_sample_spec sequence = {.x_dtype = NT_F32, .x = {2, {5, 6}}, .input = {.scale = 1}};
static const nt_sample_spec tokens = {.x_dtype = NT_I32, .x = VEC(7), .input = {.scale = 1}};
static const nt_sample_spec vector = {.x_dtype = NT_F32, .x = VEC(4), .input = {.scale = 1}};

static nt_status build(const nt_sample_spec *spec, const char *text, nt_config **config, nt_model **model)
{
    *model = NULL;
    nt_status status = nt_config_parse(config, "test.ini", text, strlen(text), NULL, 0, sections);
    if (status != NT_OK) *config = NULL;
    if (status == NT_OK) status = nt_model_create(model, *config, spec);
    return status;
}

static void expect_shape(const nt_sample_spec *spec, const char *options, nt_shape want)
{
    char text[512], a[NT_SHAPE_TEXT_BYTES], b[NT_SHAPE_TEXT_BYTES];
    nt_config *config;
    nt_model *model;
    snprintf(text, sizeof text, "[layer l]\n%s", options);
    if (build(spec, text, &config, &model) != NT_OK) fail_msg("%s: %s", options, nt_error_last()->message);
    nt_shape got = model->layer[model->output].out;
    if (!nt_shape_equal(got, want))
        fail_msg("%s: %s, should be %s", options, nt_shape_text(got, a), nt_shape_text(want, b));
    nt_model_destroy(model);
    nt_config_destroy(config);
}

static void shapes(void **state)
{
    (void)state;
    static const struct {
        const nt_sample_spec *spec;
        const char *options;
        nt_shape out;
    } rows[] = {
        {&sequence, "type = linear\nunits = 3\naxis = last", {2, {5, 3}}},
        {&sequence, "type = linear\nunits = 3", VEC(3)},
        {&vector, "type = linear\nunits = 3\naxis = last", VEC(3)},
        /* (9 - 1) 2 - 2 + 3 = 17 rows, (8 - 1) 2 - 2 + 3 + 1 = 16 columns */
        {&map,
         "type = conv_transpose2d\nfilters = 4\nkernel = 3\nstride = 2\npadding = 1\noutput_padding = 0, 1",
         MAP(4, 17, 16)},
        {&map, "type = conv_transpose2d\nfilters = 6\nkernel = 2, 1\ngroups = 3\ndilation = 4, 1",
         MAP(6, 13, 8)},
        {&map, "type = max_pool\nkernel = 2", MAP(6, 4, 4)},
        {&map, "type = max_pool\nkernel = 2\nceil_mode = yes", MAP(6, 5, 4)},
        /* 8 columns, padding 1: a fifth window would begin at 8, in the padding behind: it is left out */
        {&map, "type = max_pool\nkernel = 2\nstride = 3\npadding = 1\nceil_mode = yes", MAP(6, 4, 3)},
        {&map, "type = avg_pool\nkernel = 3\nstride = 1\npadding = 1", MAP(6, 9, 8)},
        {&map, "type = adaptive_avg_pool\noutput_size = 7, 12", MAP(6, 7, 12)},
        {&map, "type = reshape\nshape = 6, -1", {2, {6, 72}}},
        {&sequence, "type = reshape\nshape = 2, 3, 5", MAP(2, 3, 5)},
        {&map, "type = permute\ndims = 0, 2, 3, 1", MAP(9, 8, 6)},
        {&sequence, "type = permute\ndims = 2, 1", {2, {6, 5}}},
        {&map, "type = slice\nstart = 2\nlength = 3", MAP(3, 9, 8)},
        {&map, "type = slice\ndim = -1\nstart = -3", MAP(6, 9, 3)},
        {&map, "type = stochastic_depth\nrate = 0.2", MAP(6, 9, 8)},
        {&sequence, "type = layer_norm", {2, {5, 6}}},
        {&map, "type = group_norm\nnum_groups = 3", MAP(6, 9, 8)},
        {&map, "type = local_response_norm\nsize = 5", MAP(6, 9, 8)},
        {&map, "type = scale\nfactor = 1, 2, 3, 4, 5, 6\nshift = -1", MAP(6, 9, 8)},
        {&map, "type = prelu\nnum_parameters = 6", MAP(6, 9, 8)},
        {&vector, "type = log_softmax", VEC(4)},
        {&tokens, "type = embedding\nnum_embeddings = 11\nembedding_dim = 3", {2, {7, 3}}},
        {&sequence, "type = position_embedding\nmax_length = 9", {2, {5, 6}}},
        {&sequence, "type = class_token", {2, {6, 6}}},
        {&sequence, "type = multihead_attention\nnum_heads = 3\ncausal = yes", {2, {5, 6}}},
        {&vector, "type = activation\nfunction = hardswish", VEC(4)},
    };
    for (int i = 0; i < NT_N_ELEMS(rows); i++)
        expect_shape(rows[i].spec, rows[i].options, rows[i].out);
}

static void squeeze_and_excitation(void **state)
{
    (void)state;
    static const char tail[] = "[layer gates]\ntype = adaptive_avg_pool\noutput_size = 1\ninput = x\n"
                               "activation = hardsigmoid\n"
                               "[layer out]\ntype = multiply\ninput = x, gates\n";
    nt_config *config;
    nt_model *model;
    char text[512];
    snprintf(text, sizeof text, "[layer x]\ntype = conv2d\nfilters = 4\nkernel = 1\n%s", tail);
    if (build(&map, text, &config, &model) != NT_OK) fail_msg("%s", nt_error_last()->message);
    assert_true(nt_shape_equal(model->layer[model->output].out, (nt_shape)MAP(4, 9, 8)));
    nt_model_destroy(model);
    nt_config_destroy(config);
}

/* Parameters and what they start with, as PyTorch's. */
static void parameters_of_attention(void **state)
{
    (void)state;
    nt_config *config;
    nt_model *model;
    if (build(&sequence, "[layer a]\ntype = multihead_attention\nnum_heads = 2\n", &config, &model) != NT_OK)
        fail_msg("%s", nt_error_last()->message);
    const nt_layer *layer = &model->layer[1];
    static const char *const names[] = {"in_proj_weight", "out_proj.weight", "in_proj_bias", "out_proj.bias"};
    assert_int_equal(layer->n_params, 4);
    for (int p = 0; p < 4; p++)
        assert_string_equal(layer->param[p].name, names[p]);
    assert_true(nt_shape_equal(layer->param[0].shape, (nt_shape){2, {18, 6}}));
    assert_int_equal(layer->param[0].init.type, NT_INIT_XAVIER);
    assert_true(layer->param[0].init.fan_in == 6 && layer->param[0].init.fan_out == 18);
    assert_int_equal(layer->param[1].init.type, NT_INIT_UNIFORM);
    assert_true(fabs(layer->param[1].init.b - 1 / sqrt(6)) < 1e-15);
    assert_true(layer->param[2].init.type == NT_INIT_CONSTANT && layer->param[2].init.a == 0);
    assert_true(layer->param[3].init.type == NT_INIT_CONSTANT && layer->param[3].init.a == 0);
    assert_int_equal(nt_layer_flops(layer), 8 * 5 * 6 * 6 + 4 * 6 * 5 * 5);
    nt_model_destroy(model);
    nt_config_destroy(config);
}

/* Fails with a config error at a place of the file, and with all of the words, "|" between them. */
static void expect_error(const nt_sample_spec *spec, const char *text, const char *words)
{
    char list[256];
    nt_config *config;
    nt_model *model;
    nt_status status = build(spec, text, &config, &model);
    if (status != NT_ERR_CONFIG) fail_msg("%s: status %d, not a config error", text, status);
    const char *message = nt_error_last()->message;
    snprintf(list, sizeof list, "test.ini:|%s", words);
    for (char *word = strtok(list, "|"); word; word = strtok(NULL, "|"))
        if (!strstr(message, word)) fail_msg("%s\n'%s' is not in: %s", text, word, message);
    nt_config_destroy(config);
    nt_error_clear();
}

static const struct {
    const nt_sample_spec *spec;
    const char *options, *words;
} layer_mistakes[] = {
    {&map, "type = linear\nunits = 3\naxis = last", "linear|positions x features|6x9x8|conv2d"},
    {&map, "type = linear\nunits = 3\naxis = first", "axis|first|last"},
    {&sequence, "type = linear\nunit = 3\naxis = last", "unit|units"},
    {&vector, "type = conv_transpose2d\nfilters = 2\nkernel = 2", "channels x height x width|4"},
    {&map, "type = conv_transpose2d\nfilters = 2\nkernel = 2\ngroups = 4", "groups = 4|6x9x8|filters = 2"},
    {&map, "type = conv_transpose2d\nfilters = 3\nkernel = 2\ngroups = 2", "groups = 2|6x9x8|filters = 3"},
    {&map, "type = conv_transpose2d\nfilters = 2\nkernel = 2\npadding = 5", "padding 5|2x2|6x9x8|height|0"},
    {&map, "type = conv_transpose2d\nfilters = 2\nkernel = 2\nstride = 2\noutput_padding = 2",
     "output_padding 2|stride 2"},
    {&map, "type = conv_transpose2d\nfilters = 2\nkernel = 2\npadding = same", "padding|same"},
    {&vector, "type = adaptive_avg_pool\noutput_size = 1", "adaptive_avg_pool|channels x height x width|4"},
    {&map, "type = adaptive_avg_pool", "output_size"},
    {&map, "type = adaptive_avg_pool\noutput_size = 0", "output_size|at least 1"},
    {&map, "type = max_pool\nkernel = 2\nceil_mode = 3", "ceil_mode|3"},
    {&map, "type = max_pool\nkernel = 2\ncount_include_pad = yes", "count_include_pad"},
    {&map, "type = avg_pool\nkernel = 2\npadding = 2\nceil_mode = yes", "padding 2|kernel 2"},
    {&map, "type = reshape\nshape = 5, 7", "6x9x8|432|5x7"},
    {&map, "type = reshape\nshape = 5, -1", "6x9x8|432|-1"},
    {&map, "type = reshape\nshape = -1, -1", "only one"},
    {&map, "type = reshape\nshape = 6, 0, 8", "dimension 2|0"},
    {&map, "type = reshape\nshape = 1099511627776, 1099511627776, 1099511627776", "too many"},
    {&map, "type = permute\ndims = 2, 1", "2 dimensions|6x9x8|3"},
    {&map, "type = permute\ndims = 1, 2, 2", "2 is there twice"},
    {&map, "type = permute\ndims = 1, 2, 0", "0 is|none of them|batch"},
    {&map, "type = slice\ndim = 4", "dim = 4|6x9x8|1 to 3"},
    {&map, "type = slice\ndim = 0\nlength = 1", "dim = 0|batch"},
    {&map, "type = slice\nstart = 6", "start = 6|6x9x8|6 elements"},
    {&map, "type = slice\nstart = 2\nlength = 5", "length = 5|from 2 on|6x9x8"},
    {&map, "type = stochastic_depth", "rate"},
    {&map, "type = stochastic_depth\nrate = 1", "rate|less than 1"},
    {&map, "type = stochastic_depth\np = 0.1", "'p'|rate"},
    {&sequence, "type = layer_norm\nnormalized_dims = 3", "normalized_dims = 3|5x6|2 dimensions"},
    {&sequence, "type = layer_norm\neps = 0", "eps"},
    {&sequence, "type = layer_norm\nnormalized_shape = 6", "normalized_shape"},
    {&map, "type = group_norm\nnum_groups = 4", "num_groups = 4|6 channels|6x9x8"},
    {&map, "type = group_norm", "num_groups"},
    {&map, "type = group_norm\nnum_groups = 2\naffine = perhaps", "affine|perhaps"},
    {&map, "type = local_response_norm", "size"},
    {&map, "type = local_response_norm\nsize = 0", "size"},
    {&map, "type = local_response_norm\nsize = 3\nk = 0", "k"},
    {&map, "type = multiply\ninput = input", "multiply|2 inputs|1"},
    {&map, "type = scale\nfactor = 1, 2", "factor has 2 values|6x9x8|6 channels"},
    {&map, "type = scale\nshift = 1, 2, 3, 4, 5, 6, 7", "shift has 7 values"},
    {&map, "type = scale\nfactor = two", "factor|two"},
    {&map, "type = prelu\nnum_parameters = 3", "num_parameters = 3|6x9x8|6"},
    {&map, "type = prelu\nnum_parameters = 0", "num_parameters"},
    {&map, "type = prelu\nslope = 0", "slope"},
    {&map, "type = activation\nfunction = hard_swish", "hardswish"},
    {&map, "type = activation\nfunction = softplus\nbeta = 0", "beta"},
    {&map, "type = activation\nfunction = mish\nbeta = x", "beta"},
    {&vector, "type = log_softmax\ndim = 1", "dim"},
    {&vector, "type = logsoftmax", "log_softmax"},
    {&vector, "type = log_softmax\ninput = input, input", "log_softmax|1 input"},
    {&vector, "type = embedding\nnum_embeddings = 5\nembedding_dim = 2", "integer tokens|float32"},
    {&tokens, "type = embedding\nnum_embeddings = 5", "embedding_dim"},
    {&tokens, "type = embedding\nnum_embeddings = 0\nembedding_dim = 2", "num_embeddings"},
    {&tokens, "type = linear\nunits = 3", "linear|integer tokens|embedding"},
    {&sequence, "type = position_embedding\nmax_length = 4", "max_length = 4|5x6|5 positions"},
    {&sequence, "type = position_embedding\nlength = 4", "length|max_length"},
    {&sequence, "type = position_embedding\ninit_std = -1", "init_std"},
    {&map, "type = class_token", "class_token|positions x features|6x9x8"},
    {&sequence, "type = class_token\nunits = 3", "units"},
    {&sequence, "type = class_token\ninit_std = -1", "init_std"},
    {&map, "type = multihead_attention\nnum_heads = 2", "positions x features|6x9x8"},
    {&sequence, "type = multihead_attention\nnum_heads = 4", "num_heads = 4|6 features|5x6"},
    {&sequence, "type = multihead_attention\nnum_heads = 2\ndropout = 1", "dropout|less than 1"},
    {&sequence, "type = multihead_attention\nheads = 2", "heads|num_heads"},
};

static void mistakes_in_layers(void **state)
{
    (void)state;
    for (int i = 0; i < NT_N_ELEMS(layer_mistakes); i++) {
        char text[512];
        snprintf(text, sizeof text, "[layer l]\n%s\n", layer_mistakes[i].options);
        expect_error(layer_mistakes[i].spec, text, layer_mistakes[i].words);
    }
}

static void mistakes_with_several_inputs(void **state)
{
    (void)state;
    static const char two[] = "[layer a]\ntype = conv2d\nfilters = 3\nkernel = 1\ninput = input\n"
                              "[layer b]\ntype = global_avg_pool\ninput = input\n"
                              "[layer c]\ntype = global_avg_pool\ninput = a\n"
                              "[layer l]\ntype = multiply\n";
    char text[512];
    snprintf(text, sizeof text, "%sinput = a, b\n", two);
    expect_error(&map, text, "multiply|3x9x8|input 2 is 6");
    snprintf(text, sizeof text, "%sinput = c, a\n", two);
    expect_error(&map, text, "multiply|swap|input 1 is 3|input 2 is 3x9x8");
    expect_error(&tokens,
                 "[layer a]\ntype = embedding\nnum_embeddings = 3\nembedding_dim = 2\n"
                 "[layer b]\ntype = embedding\nnum_embeddings = 3\nembedding_dim = 2\n",
                 "embedding|`input`");
}

/* --- losses --- */

static nt_sample_spec with_classes(int64_t n_classes, int64_t n_labels)
{
    nt_sample_spec spec = n_labels > 0 ? sequence : vector;
    spec.target = NT_TARGET_CLASS;
    spec.n_classes = n_classes;
    spec.n_labels = n_labels;
    return spec;
}

static nt_sample_spec with_values(int64_t n_values)
{
    nt_sample_spec spec = vector;
    spec.target = NT_TARGET_VALUE;
    spec.n_values = n_values;
    return spec;
}

static void mistakes_in_losses(void **state)
{
    (void)state;
    nt_sample_spec classes = with_classes(3, 0), values = with_values(3), positions = with_classes(3, 4);
    const struct {
        const nt_sample_spec *spec;
        const char *options, *words;
    } rows[] = {
        {&classes, "type = l1", "l1|class labels|cross_entropy"},
        {&values, "type = l1\ndelta = 2", "l1|delta"},
        {&values, "type = l2", "l2|l1"},
        {&values, "type = huber\ndelta = 0", "delta"},
        {&values, "type = huber\nbeta = 2", "huber|beta"},
        {&classes, "type = huber", "huber|class labels"},
        {&values, "type = smooth_l1\nbeta = -1", "beta"},
        {&values, "type = smooth_l1\ndelta = 2", "smooth_l1|delta"},
        {&classes, "type = smooth_l1", "smooth_l1|class labels"},
        {&classes, "type = hinge\np = 3", "p"},
        {&classes, "type = hinge\nclass_weights = 1, 2", "class_weights|2 values|3 classes"},
        {&values, "type = hinge\nclass_weights = 1, 2, 3", "class_weights|class labels"},
        {&values, "type = hinge\nlabel_smoothing = 0.1", "hinge|label_smoothing"},
        {&classes, "type = kl_divergence", "kl_divergence|class labels"},
        {&values, "type = kl_divergence\nreduction = mean", "reduction"},
        {&values, "type = kl_divergance", "kl_divergence"},
        {&classes, "type = cross_entropy\nclass_weights = 1, 2", "class_weights|2 values|3 classes"},
        {&classes, "type = cross_entropy\nclass_weights = 1, -2, 1", "class_weights 2|-2"},
        {&classes, "type = cross_entropy\nlabel_smoothing = 1.5", "label_smoothing"},
        {&values, "type = cross_entropy\nignore_index = 0", "ignore_index|class labels"},
        {&values, "type = cross_entropy\nmean_over = weights", "mean_over|class labels"},
        {&classes, "type = cross_entropy\nmean_over = batch", "mean_over|batch"},
        {&classes, "type = hinge\nmean_over = weights", "hinge|mean_over"},
        {&classes, "type = cross_entropy\nsmoothing = 0.1", "smoothing|label_smoothing"},
        {&positions, "type = cross_entropy", "3 classes|1 position|4 labels"},
    };
    for (int i = 0; i < NT_N_ELEMS(rows); i++) {
        char text[512];
        snprintf(text, sizeof text, "[layer l]\ntype = linear\nunits = 3\n[loss]\n%s\n", rows[i].options);
        expect_error(rows[i].spec, text, rows[i].words);
    }
    nt_sample_spec four = with_values(4);
    expect_error(&four, "[layer l]\ntype = linear\nunits = 3\n[loss]\ntype = huber\n", "huber|3|4");
    expect_error(&four, "[layer l]\ntype = linear\nunits = 3\n[loss]\ntype = kl_divergence\n",
                 "kl_divergence|3|4");
}

/* One label for each of five positions; the loss takes the classes from the last dimension, or the first. */
static void cross_entropy_of_positions(void **state)
{
    (void)state;
    nt_sample_spec positions = with_classes(6, 5);
    nt_config *config;
    nt_model *model;
    static const char last[] = "[layer l]\ntype = layer_norm\n[loss]\nclass_dim = last\n";
    if (build(&positions, last, &config, &model) != NT_OK) fail_msg("%s", nt_error_last()->message);
    assert_string_equal(model->layer[model->n_layers - 1].kind, "cross_entropy_full");
    nt_model_destroy(model);
    nt_config_destroy(config);
    static const char first[] = "[layer l]\ntype = permute\ndims = 2, 1\n";
    if (build(&positions, first, &config, &model) != NT_OK) fail_msg("%s", nt_error_last()->message);
    nt_model_destroy(model);
    nt_config_destroy(config);
    expect_error(&positions, "[layer l]\ntype = layer_norm\n[loss]\nignore_index = 0\n", "5x6|class_dim");
}

/* The plain case keeps its own operation, and an option of [loss] reaches the layer. */
static void options_of_the_loss(void **state)
{
    (void)state;
    nt_sample_spec classes = with_classes(3, 0);
    nt_config *config;
    nt_model *model;
    if (build(&classes, "[layer l]\ntype = linear\nunits = 3\n", &config, &model) != NT_OK)
        fail_msg("%s", nt_error_last()->message);
    assert_string_equal(model->layer[2].kind, "cross_entropy");
    nt_model_destroy(model);
    nt_config_destroy(config);
    static const char smoothed[] = "[layer l]\ntype = linear\nunits = 3\n[loss]\nlabel_smoothing = 0.1\n"
                                   "class_weights = 1, 2, 3\n";
    if (build(&classes, smoothed, &config, &model) != NT_OK) fail_msg("%s", nt_error_last()->message);
    const nt_loss_options *o = model->layer[2].options;
    assert_string_equal(model->layer[2].kind, "cross_entropy_full");
    assert_true(o->label_smoothing == 0.1 && o->class_weights.n == 3 && o->class_weights.value[2] == 3);
    assert_true(isnan(o->ignore_index));
    nt_model_destroy(model);
    nt_config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes),
        cmocka_unit_test(squeeze_and_excitation),
        cmocka_unit_test(parameters_of_attention),
        cmocka_unit_test(mistakes_in_layers),
        cmocka_unit_test(mistakes_with_several_inputs),
        cmocka_unit_test(mistakes_in_losses),
        cmocka_unit_test(cross_entropy_of_positions),
        cmocka_unit_test(options_of_the_loss),
    };
    return cmocka_run_group_tests_name("layer_options", tests, NULL, NULL);
}
