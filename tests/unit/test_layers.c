/* What layers mean: output shapes, parameters, their initialisation, options from a config, and what is said
 * about the ones that cannot be. */
#include "core/init.h"
#include "core/layer.h"
#include "core/model.h"
#include "tests/unit/op_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A layer of the case, inferred; *status says how that went. free_layer frees. */
static nt_layer infer_case(const op_case *c, bool has_batchnorm, nt_status *status)
{
    const nt_layer_ops *ops = nt_layer_find(c->type) ? nt_layer_find(c->type) : nt_loss_find(c->type);
    assert_non_null(ops);
    nt_layer layer = {.ops = ops, .n_inputs = c->n_inputs, .has_batchnorm = has_batchnorm};
    layer.options = calloc(1, ops->section.size + 1);
    layer.in = calloc(4, sizeof *layer.in);
    assert_true(layer.options && layer.in);
    assert_int_equal(nt_section_defaults(&ops->section, layer.options), NT_OK);
    if (c->options) memcpy(layer.options, c->options, ops->section.size);
    memcpy(layer.in, c->in, sizeof c->in);
    *status = nt_layer_infer(&layer);
    return layer;
}

static void free_layer(nt_layer *layer)
{
    free(layer->options);
    free(layer->in);
}

static void expect_shape(const char *name, nt_shape got, nt_shape want)
{
    char a[NT_SHAPE_TEXT_BYTES], b[NT_SHAPE_TEXT_BYTES];
    if (!nt_shape_equal(got, want))
        fail_msg("%s: shape %s, should be %s", name, nt_shape_text(got, a), nt_shape_text(want, b));
}

static void expect_out(op_case c, nt_shape want)
{
    nt_status status;
    nt_layer layer = infer_case(&c, false, &status);
    if (status != NT_OK) fail_msg("%s: %s", c.name, nt_error_last()->message);
    expect_shape(c.name, layer.out, want);
    free_layer(&layer);
}

/* infer() fails with a config error that holds all of the words, "|" between them. */
static void expect_error(op_case c, const char *words)
{
    nt_status status;
    char list[256];
    nt_layer layer = infer_case(&c, false, &status);
    assert_int_equal(status, NT_ERR_CONFIG);
    snprintf(list, sizeof list, "%s", words);
    for (char *word = strtok(list, "|"); word; word = strtok(NULL, "|"))
        if (!strstr(nt_error_last()->message, word))
            fail_msg("%s: '%s' is not in: %s", c.name, word, nt_error_last()->message);
    nt_error_clear();
    free_layer(&layer);
}

/* floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1, worked out. */
static void conv_shapes(void **state)
{
    (void)state;
    nt_shape rgb = MAP(3, 32, 32), odd = MAP(3, 7, 5);
    expect_out((op_case){"lenet", "conv2d", CONV(6, 5, 5, 1, 1, 0, 0, 1, 1, 1, YES), 1, 1, {rgb}},
               (nt_shape)MAP(6, 28, 28));
    expect_out((op_case){"stem", "conv2d", CONV(64, 7, 7, 2, 2, 3, 3, 1, 1, 1, NO), 1, 1, {MAP(3, 224, 224)}},
               (nt_shape)MAP(64, 112, 112));
    expect_out((op_case){"dilated", "conv2d", CONV(2, 3, 3, 1, 1, 0, 0, 2, 2, 1, YES), 1, 1, {odd}},
               (nt_shape)MAP(2, 3, 1));
    expect_out((op_case){"same", "conv2d", CONV(2, 3, 3, 1, 1, SAME, SAME, 1, 1, 1, YES), 1, 1, {odd}},
               (nt_shape)MAP(2, 7, 5));
    expect_out(
        (op_case){"same, stride 2", "conv2d", CONV(2, 3, 3, 2, 2, SAME, SAME, 1, 1, 1, YES), 1, 1, {odd}},
        (nt_shape)MAP(2, 4, 3));
    expect_out(
        (op_case){
            "same, stride 3 kernel 1", "conv2d", CONV(2, 1, 1, 3, 3, SAME, SAME, 1, 1, 1, YES), 1, 1, {odd}},
        (nt_shape)MAP(2, 3, 2));
    expect_out(
        (op_case){"stride drops the rest", "conv2d", CONV(2, 2, 2, 2, 2, 0, 0, 1, 1, 1, YES), 1, 1, {odd}},
        (nt_shape)MAP(2, 3, 2));
    expect_out((op_case){"just fits", "conv2d", CONV(1, 9, 7, 1, 1, 1, 1, 1, 1, 1, YES), 1, 1, {odd}},
               (nt_shape)MAP(1, 1, 1));
}

/* Even kernels at stride 1, and stride 2: the odd zero is at the end. */
static void same_padding_is_split_with_the_odd_zero_at_the_end(void **state)
{
    (void)state;
    static const struct {
        int64_t size, kernel, stride, begin, end;
    } rows[] = {{5, 3, 1, 1, 1}, {5, 4, 1, 1, 2}, {5, 2, 1, 0, 1}, {6, 3, 2, 0, 1},
                {7, 3, 2, 1, 1}, {5, 1, 3, 0, 0}, {1, 5, 1, 2, 2}};
    for (int i = 0; i < NT_N_ELEMS(rows); i++) {
        const op_case c = {
            "same",
            "conv2d",
            CONV(1, rows[i].kernel, rows[i].kernel, rows[i].stride, rows[i].stride, SAME, SAME, 1, 1, 1, YES),
            1,
            1,
            {MAP(1, rows[i].size, rows[i].size)}};
        nt_status status;
        nt_layer layer = infer_case(&c, false, &status);
        const nt_conv2d_options *o = layer.options;
        assert_int_equal(status, NT_OK);
        assert_int_equal(o->pad_begin[0], rows[i].begin);
        assert_int_equal(o->pad_end[0], rows[i].end);
        free_layer(&layer);
    }
}

static void other_shapes(void **state)
{
    (void)state;
    nt_shape map = MAP(3, 7, 5);
    expect_out((op_case){"linear", "linear", LINEAR(10, YES), 1, 1, {map}}, (nt_shape)VEC(10));
    expect_out((op_case){"pool", "max_pool", POOL(2, 2, 0, 0, 0, 0), 1, 1, {map}}, (nt_shape)MAP(3, 3, 2));
    expect_out((op_case){"padded", "avg_pool", POOL(3, 3, 2, 2, 1, 1), 1, 1, {map}}, (nt_shape)MAP(3, 4, 3));
    expect_out((op_case){"same", "avg_pool", POOL(2, 2, 0, 0, SAME, SAME), 1, 1, {map}},
               (nt_shape)MAP(3, 4, 3));
    expect_out((op_case){"global", "global_avg_pool", NULL, 1, 1, {map}}, (nt_shape)VEC(3));
    expect_out((op_case){"flatten", "flatten", NULL, 1, 1, {map}}, (nt_shape)VEC(105));
    expect_out((op_case){"dropout", "dropout", DROPOUT(0.5), 1, 1, {map}}, map);
    expect_out((op_case){"batchnorm", "batchnorm", BATCHNORM(1e-5, 0.1), 1, 1, {map}}, map);
    expect_out((op_case){"add", "add", NULL, 1, 3, {map, map, map}}, map);
    expect_out((op_case){"concat", "concat", NULL, 1, 2, {map, MAP(4, 7, 5)}}, (nt_shape)MAP(7, 7, 5));
    expect_out((op_case){"softmax", "softmax", NULL, 1, 1, {map}}, map);
    expect_out((op_case){"relu", "activation", ACT(NT_ACT_RELU, NAN, NAN), 1, 1, {map}}, map);
    expect_out((op_case){"mse", "mse", NULL, 1, 2, {VEC(3), VEC(3)}}, (nt_shape)VEC(2));
    expect_out((op_case){"ce", "cross_entropy", NULL, 1, 2, {VEC(3), CLASS}}, (nt_shape)VEC(2));
}

static void errors_name_type_and_shapes(void **state)
{
    (void)state;
    nt_shape map = MAP(3, 7, 5), vector = VEC(9);
    expect_error((op_case){"flat input", "conv2d", CONV(1, 3, 3, 1, 1, 0, 0, 1, 1, 1, YES), 1, 1, {vector}},
                 "conv2d|channels x height x width|9");
    expect_error((op_case){"too large", "conv2d", CONV(1, 8, 3, 1, 1, 0, 0, 1, 1, 1, YES), 1, 1, {map}},
                 "conv2d|8x3|3x7x5|height");
    expect_error((op_case){"too large", "conv2d", CONV(1, 1, 3, 1, 1, 0, 0, 1, 3, 1, YES), 1, 1, {map}},
                 "conv2d|1x3|3x7x5|width|7 wide");
    expect_error((op_case){"groups", "conv2d", CONV(4, 1, 1, 1, 1, 0, 0, 1, 1, 2, YES), 1, 1, {map}},
                 "conv2d|groups = 2|3x7x5|filters = 4");
    expect_error((op_case){"groups", "conv2d", CONV(4, 1, 1, 1, 1, 0, 0, 1, 1, 3, YES), 1, 1, {map}},
                 "conv2d|groups = 3|filters = 4");
    expect_error((op_case){"pool", "max_pool", POOL(3, 9, 0, 0, 0, 0), 1, 1, {map}}, "max_pool|3x9|3x7x5");
    expect_error((op_case){"pool", "avg_pool", POOL(2, 2, 0, 0, 2, 0), 1, 1, {map}},
                 "avg_pool|padding 2|kernel 2");
    expect_error((op_case){"global", "global_avg_pool", NULL, 1, 1, {vector}}, "global_avg_pool|9");
    expect_error((op_case){"add", "add", NULL, 1, 3, {map, map, MAP(3, 5, 7)}}, "add|3x7x5|input 3|3x5x7");
    expect_error((op_case){"add", "add", NULL, 1, 2, {map, vector}}, "add|3x7x5|9");
    expect_error((op_case){"concat", "concat", NULL, 1, 2, {map, MAP(3, 7, 6)}}, "concat|3x7x5|3x7x6");
    expect_error((op_case){"concat", "concat", NULL, 1, 2, {map, vector}}, "concat|3x7x5|9");
    expect_error((op_case){"add of one", "add", NULL, 1, 1, {map}}, "add|at least 2|1");
    expect_error((op_case){"two into one", "flatten", NULL, 1, 2, {map, map}}, "flatten|1 input|2");
    expect_error((op_case){"rate", "dropout", DROPOUT(1), 1, 1, {map}}, "dropout|rate");
    expect_error((op_case){"huge", "linear", LINEAR(1 << 28, YES), 1, 1, {MAP(1 << 10, 1 << 10, 1)}},
                 "linear|weight|268435456x1048576");
    expect_error((op_case){"none", "activation", ACT(NT_ACT_NONE, NAN, NAN), 1, 1, {map}}, "activation|none");
    expect_error((op_case){"alpha", "activation", ACT(NT_ACT_ELU, -1, NAN), 1, 1, {map}}, "activation|alpha");
    expect_error((op_case){"units", "linear", LINEAR(0, YES), 1, 1, {map}}, "linear|units");
}

static void losses_say_which_target_they_want(void **state)
{
    (void)state;
    expect_error((op_case){"mse, classes", "mse", NULL, 1, 2, {VEC(3), CLASS}}, "mse|class|cross_entropy");
    expect_error((op_case){"bce, classes", "bce", NULL, 1, 2, {VEC(3), CLASS}}, "bce|class|cross_entropy");
    expect_error((op_case){"ce, values", "cross_entropy", NULL, 1, 2, {VEC(3), VEC(4)}},
                 "cross_entropy|class label|3|4|mse");
    expect_error((op_case){"mse, sizes", "mse", NULL, 1, 2, {VEC(3), VEC(4)}}, "mse|3|4");
    expect_error((op_case){"mse of a map", "mse", NULL, 1, 2, {MAP(3, 1, 1), VEC(3)}}, "mse|3x1x1|flatten");
    expect_error((op_case){"ce of a map", "cross_entropy", NULL, 1, 2, {MAP(3, 2, 2), CLASS}},
                 "cross_entropy|3x2x2");
    expect_error((op_case){"one class", "cross_entropy", NULL, 1, 2, {VEC(1), CLASS}},
                 "cross_entropy|at least 2|bce");
}

static void parameters(void **state)
{
    (void)state;
    nt_status status;
    const op_case conv = {"conv", "conv2d", CONV(6, 3, 5, 1, 1, 0, 0, 1, 1, 2, NT_BIAS_AUTO),
                          1,      1,        {MAP(4, 7, 7)}};
    nt_layer layer = infer_case(&conv, false, &status);
    assert_int_equal(layer.n_params, 2);
    assert_string_equal(layer.param[0].name, "weight");
    expect_shape("weight", layer.param[0].shape, (nt_shape){4, {6, 2, 3, 5}});
    assert_int_equal(layer.param[0].role, NT_PARAM_WEIGHT);
    assert_int_equal(layer.param[0].init.type, NT_INIT_UNIFORM); /* +-1 / sqrt(2 * 3 * 5) */
    assert_true(fabs(layer.param[0].init.b - 1 / sqrt(30)) < 1e-15);
    assert_true(fabs(layer.param[1].init.a + 1 / sqrt(30)) < 1e-15);
    assert_int_equal(layer.param[1].role, NT_PARAM_BIAS);
    assert_int_equal(nt_layer_infer(&layer), NT_OK); /* again: the same, not more */
    assert_int_equal(layer.n_params, 2);
    free_layer(&layer);
    layer = infer_case(&conv, true, &status); /* a batchnorm follows: no bias */
    assert_int_equal(layer.n_params, 1);
    assert_false(((nt_conv2d_options *)layer.options)->has_bias);
    free_layer(&layer);
    const op_case bn = {"bn", "batchnorm", BATCHNORM(1e-5, 0.1), 1, 1, {MAP(4, 7, 7)}};
    layer = infer_case(&bn, false, &status);
    assert_int_equal(layer.n_params, 4);
    assert_string_equal(layer.param[NT_BN_VAR].name, "running_var");
    assert_int_equal(layer.param[NT_BN_WEIGHT].role, NT_PARAM_NORM);
    assert_int_equal(layer.param[NT_BN_MEAN].role, NT_PARAM_STAT);
    assert_true(layer.param[NT_BN_WEIGHT].init.a == 1 && layer.param[NT_BN_BIAS].init.a == 0);
    assert_true(layer.param[NT_BN_MEAN].init.a == 0 && layer.param[NT_BN_VAR].init.a == 1);
    expect_shape("running_var", layer.param[NT_BN_VAR].shape, (nt_shape)VEC(4));
    free_layer(&layer);
}

static void initialisation_follows_the_fans(void **state)
{
    (void)state;
    nt_status status;
    const nt_conv2d_options o = {.filters = 6,
                                 .kernel = {3, 5},
                                 .stride = {1, 1},
                                 .dilation = {1, 1},
                                 .groups = 2,
                                 .init = {.type = NT_INIT_CHOICE_XAVIER, .gain = NAN, .bias = 0.25}};
    const op_case conv = {"conv", "conv2d", &o, 1, 1, {MAP(4, 7, 7)}};
    nt_layer layer = infer_case(&conv, false, &status);
    assert_int_equal(layer.param[0].init.type, NT_INIT_XAVIER);
    assert_int_equal(layer.param[0].init.fan_in, 2 * 15);
    assert_int_equal(layer.param[0].init.fan_out, 3 * 15);
    assert_true(layer.param[1].init.type == NT_INIT_CONSTANT && layer.param[1].init.a == 0.25);
    free_layer(&layer);
}

static void flops(void **state)
{
    (void)state;
    nt_status status;
    const op_case conv = {"conv", "conv2d", CONV(6, 3, 3, 1, 1, 1, 1, 1, 1, 2, YES), 1, 1, {MAP(4, 8, 8)}};
    nt_layer layer = infer_case(&conv, false, &status);
    assert_int_equal(nt_layer_flops(&layer), 2 * 2 * 9 * 6 * 64);
    free_layer(&layer);
    const op_case fc = {"linear", "linear", LINEAR(10, YES), 1, 1, {VEC(84)}};
    layer = infer_case(&fc, false, &status);
    assert_int_equal(nt_layer_flops(&layer), 2 * 84 * 10);
    free_layer(&layer);
    const op_case flat = {"flatten", "flatten", NULL, 1, 1, {VEC(84)}};
    layer = infer_case(&flat, false, &status);
    assert_int_equal(nt_layer_flops(&layer), 0);
    free_layer(&layer);
    assert_true(nt_count_mul((int64_t)1 << 40, (int64_t)1 << 40) == INT64_MAX);
}

static bool listed(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0) return true;
    return false;
}

static void lists(void **state)
{
    (void)state;
    int n = 0;
    for (const char *const *type = nt_layer_types(); *type; type++, n++) {
        const nt_layer_ops *ops = nt_layer_find(*type);
        assert_non_null(ops);
        assert_string_equal(ops->section.name, *type);
        assert_true(ops->section.help && ops->infer && !ops->is_loss);
        assert_true(ops->section.n_options == 0 || ops->section.size > 0);
    }
    assert_int_equal(n, 30);
    for (const char *const *type = nt_loss_types(); *type; type++) {
        assert_true(nt_loss_find(*type)->is_loss && !nt_layer_find(*type));
        assert_string_equal(nt_loss_find(*type)->section.name, *type);
    }
    assert_non_null(nt_layer_find("input"));
    assert_false(listed(nt_layer_types(), "input"));
    assert_null(nt_layer_find("conv3d"));
    assert_null(nt_loss_find("linear"));
    assert_true(nt_layer_find("linear")->takes_batchnorm && nt_layer_find("conv2d")->takes_batchnorm);
    assert_false(nt_layer_find("max_pool")->takes_batchnorm);
}

static void activation_defaults(void **state)
{
    (void)state;
    nt_activation_options leaky = {NT_ACT_LEAKY_RELU, NAN, NAN}, elu = {NT_ACT_ELU, NAN, NAN};
    nt_activation_options given = {NT_ACT_ELU, 0, 3};
    nt_activation_resolve(&leaky);
    nt_activation_resolve(&elu);
    nt_activation_resolve(&given);
    assert_true(leaky.alpha == 0.01 && leaky.beta == 1);
    assert_true(elu.alpha == 1);
    assert_true(given.alpha == 0 && given.beta == 3);
    for (int f = 0; f < NT_N_ACTIVATIONS; f++)
        assert_non_null(nt_activation_words[f]);
    assert_null(nt_activation_words[NT_N_ACTIVATIONS]);
    assert_string_equal(nt_activation_words[NT_ACT_SILU], "silu");
}

/* --- from a config --- */

static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, NULL};

static nt_status build(const char *text, nt_config **config, nt_model **model)
{
    const nt_sample_spec spec = {
        .x_dtype = NT_F32, .x = MAP(3, 9, 9), .target = NT_TARGET_NONE, .input = {.scale = 1}};
    *model = NULL;
    nt_status status = nt_config_parse(config, "test.ini", text, strlen(text), NULL, 0, sections);
    if (status != NT_OK) *config = NULL;
    if (status == NT_OK) status = nt_model_create(model, *config, &spec);
    return status;
}

/* Each line of options, and the struct it has to become. */
static void options_from_a_config(void **state)
{
    (void)state;
    nt_config *config;
    nt_model *model;
    nt_status status =
        build("[layer c]\ntype = conv2d\nfilters = 4\nkernel = 3, 5\nstride = 2\npadding = same\n"
              "dilation = 1, 2\ninit = kaiming\nbias_init = 0.5\n"
              "[layer p]\ntype = max_pool\nkernel = 2\npadding = 0, 1\n"
              "[layer a]\ntype = activation\nfunction = leaky_relu\nalpha = 0.2\n"
              "[layer d]\ntype = dropout\n"
              "[layer f]\ntype = linear\nunits = 7\nbias = no\n",
              &config, &model);
    if (status != NT_OK) fail_msg("%s", nt_error_last()->message);
    const nt_conv2d_options *c = model->layer[1].options;
    assert_true(c->filters == 4 && c->kernel[0] == 3 && c->kernel[1] == 5 && c->groups == 1 && c->has_bias);
    assert_true(c->stride[0] == 2 && c->stride[1] == 2 && c->dilation[0] == 1 && c->dilation[1] == 2);
    assert_true(c->pad_begin[0] == 1 && c->pad_end[0] == 1 && c->pad_begin[1] == 4 && c->pad_end[1] == 4);
    assert_int_equal(model->layer[1].param[0].init.type, NT_INIT_KAIMING);
    assert_true(model->layer[1].param[1].init.a == 0.5);
    expect_shape("c", model->layer[1].out, (nt_shape)MAP(4, 5, 5));
    const nt_pool2d_options *p = model->layer[2].options;
    assert_true(p->stride[0] == 2 && p->stride[1] == 2 && p->padding[0] == 0 && p->padding[1] == 1);
    expect_shape("p", model->layer[2].out, (nt_shape)MAP(4, 2, 3));
    const nt_activation_options *a = model->layer[3].options;
    assert_true(a->function == NT_ACT_LEAKY_RELU && a->alpha == 0.2 && a->beta == 1);
    assert_true(((const nt_dropout_options *)model->layer[4].options)->rate == 0.5);
    assert_int_equal(model->layer[5].n_params, 1);
    expect_shape("f", model->layer[5].param[0].shape, (nt_shape){2, {7, 24}});
    nt_model_destroy(model);
    nt_config_destroy(config);
}

static void bad_options_in_a_config(void **state)
{
    (void)state;
    static const struct {
        const char *layer, *says;
    } rows[] = {
        {"type = linear\nunits = 0\n", "units"},
        {"type = linear\nbias = yes\n", "units"},
        {"type = linear\nunits = 3\nbias = maybe\n", "maybe"},
        {"type = conv2d\nfilters = 2\n", "kernel"},
        {"type = conv2d\nfilters = 2\nkernel = 3\nstride = 0\n", "stride"},
        {"type = conv2d\nfilters = 2\nkernel = 3\npadding = -1\n", "padding"},
        {"type = conv2d\nfilters = 2\nkernel = same\n", "kernel"},
        {"type = conv2d\nfilters = 2\nkernel = 3, 3, 3\n", "kernel"},
        {"type = conv2d\nfilters = 2\nkernel = 10\n", "3x9x9"},
        {"type = dropout\nrate = 1\n", "rate"},
        {"type = dropout\nrate = nan\n", "rate"},
        {"type = activation\n", "function"},
        {"type = activation\nfunction = rulu\n", "relu"},
        {"type = flatten\nunits = 3\n", "units"},
        {"type = batchnorm\neps = 0\n", "eps"},
        {"type = input\n", "input"},
    };
    for (int i = 0; i < NT_N_ELEMS(rows); i++) {
        char text[256];
        nt_config *config;
        nt_model *model;
        snprintf(text, sizeof text, "[layer l]\n%s", rows[i].layer);
        assert_int_equal(build(text, &config, &model), NT_ERR_CONFIG);
        const char *message = nt_error_last()->message;
        if (!strstr(message, rows[i].says) || !strstr(message, "test.ini:"))
            fail_msg("'%s' or the position is not in: %s", rows[i].says, message);
        nt_config_destroy(config);
    }
    nt_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conv_shapes),
        cmocka_unit_test(same_padding_is_split_with_the_odd_zero_at_the_end),
        cmocka_unit_test(other_shapes),
        cmocka_unit_test(errors_name_type_and_shapes),
        cmocka_unit_test(losses_say_which_target_they_want),
        cmocka_unit_test(parameters),
        cmocka_unit_test(initialisation_follows_the_fans),
        cmocka_unit_test(flops),
        cmocka_unit_test(lists),
        cmocka_unit_test(activation_defaults),
        cmocka_unit_test(options_from_a_config),
        cmocka_unit_test(bad_options_in_a_config),
    };
    return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
