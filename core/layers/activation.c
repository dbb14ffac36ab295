/* activation: one layer type, the function is an option. The names of the functions are shared with the key
 * `activation` of other layers. */
#include "core/layers/activation.h"

#include "core/layer.h"
#include "core/onnx.h"

#include <math.h>

const char *const nt_activation_words[] = {
    [NT_ACT_NONE] = "none",
    [NT_ACT_THRESHOLD] = "threshold",
    [NT_ACT_LOGISTIC] = "logistic",
    [NT_ACT_TANH] = "tanh",
    [NT_ACT_RELU] = "relu",
    [NT_ACT_LEAKY_RELU] = "leaky_relu",
    [NT_ACT_ELU] = "elu",
    [NT_ACT_GELU] = "gelu",
    [NT_ACT_SILU] = "silu",
    [NT_ACT_RELU6] = "relu6",
    [NT_ACT_HARDSIGMOID] = "hardsigmoid",
    [NT_ACT_HARDSWISH] = "hardswish",
    [NT_ACT_SOFTPLUS] = "softplus",
    [NT_ACT_MISH] = "mish",
    [NT_ACT_GELU_TANH] = "gelu_tanh",
    [NT_N_ACTIVATIONS] = NULL,
};

void nt_activation_resolve(nt_activation_options *options)
{
    if (isnan(options->alpha)) options->alpha = options->function == NT_ACT_LEAKY_RELU ? 0.01 : 1.0;
    if (isnan(options->beta)) options->beta = 1.0;
}

static nt_status activation_infer(nt_layer *layer)
{
    nt_activation_options *o = layer->options;
    nt_activation_resolve(o);
    NT_CHECK(o->function > NT_ACT_NONE && o->function < NT_N_ACTIVATIONS, NT_ERR_CONFIG,
             "activation: function is none; name one or remove the layer");
    NT_CHECK(o->alpha >= 0, NT_ERR_CONFIG, "activation: alpha is %g, must not be negative", o->alpha);
    NT_CHECK(o->beta > 0, NT_ERR_CONFIG, "activation: beta is %g, must be greater than 0", o->beta);
    layer->out = layer->in[0];
    return NT_OK;
}

static int64_t activation_flops(const nt_layer *layer)
{
    return nt_shape_elems(layer->out);
}

static const nt_option activation_options[] = {
    {.key = "function",
     .type = NT_OPTION_ENUM,
     .offset = offsetof(nt_activation_options, function),
     .choices = nt_activation_words,
     .flags = NT_OPTION_REQUIRED,
     .help = "which function"},
    {.key = "alpha",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_activation_options, alpha),
     .def = "auto",
     .min = 0,
     .max = 1e6,
     .flags = NT_OPTION_AUTO,
     .help = "slope of leaky_relu below 0 (auto: 0.01), lower bound of elu (auto: 1)"},
    {.key = "beta",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_activation_options, beta),
     .def = "auto",
     .min = NT_ABOVE_ZERO,
     .max = 1e6,
     .flags = NT_OPTION_AUTO,
     .help = "slope of logistic, sharpness of softplus (auto: 1)"},
};

/* Functions that are one operator with at most an alpha and a beta. */
static bool one_operator(const nt_activation_options *a, nt_onnx *o)
{
    static const char *const types[NT_N_ACTIVATIONS] = {
        [NT_ACT_NONE] = "Identity",        [NT_ACT_TANH] = "Tanh", [NT_ACT_RELU] = "Relu",
        [NT_ACT_LEAKY_RELU] = "LeakyRelu", [NT_ACT_ELU] = "Elu",   [NT_ACT_HARDSIGMOID] = "HardSigmoid",
        [NT_ACT_HARDSWISH] = "HardSwish"};
    if (!types[a->function]) return false;
    nt_onnx_op(o, types[a->function]);
    nt_onnx_input(o, nt_onnx_x(o, 0));
    if (a->function == NT_ACT_LEAKY_RELU || a->function == NT_ACT_ELU) nt_onnx_float(o, "alpha", a->alpha);
    if (a->function == NT_ACT_HARDSIGMOID) nt_onnx_float(o, "alpha", 1.0 / 6);
    return true;
}

/* x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2; or its approximation by tanh: what is multiplied by x. */
static const char *gelu_factor(const char *x, nt_onnx *o, bool by_tanh)
{
    const char *inner = nt_onnx_apply(o, "Mul", x, nt_onnx_number(o, 0.70710678118654752));
    if (by_tanh) {
        const char *cube = nt_onnx_apply(o, "Mul", nt_onnx_apply(o, "Mul", x, x), x);
        inner = nt_onnx_apply(o, "Add", x, nt_onnx_apply(o, "Mul", cube, nt_onnx_number(o, 0.044715)));
        inner = nt_onnx_apply(o, "Mul", inner, nt_onnx_number(o, 0.79788456080286536)); /* sqrt(2 / pi) */
    }
    const char *curve = nt_onnx_apply(o, by_tanh ? "Tanh" : "Erf", inner, NULL);
    curve = nt_onnx_apply(o, "Add", curve, nt_onnx_number(o, 1));
    return nt_onnx_apply(o, "Mul", curve, nt_onnx_number(o, 0.5));
}

/* The last operator of a function that takes several, still open. */
static void several_operators(const nt_activation_options *a, nt_onnx *o)
{
    const char *x = nt_onnx_x(o, 0), *y = x;
    const char *last = "Mul", *other = x;
    if (a->function == NT_ACT_GELU || a->function == NT_ACT_GELU_TANH)
        y = gelu_factor(x, o, a->function == NT_ACT_GELU_TANH);
    if (a->function == NT_ACT_SILU) y = nt_onnx_apply(o, "Sigmoid", x, NULL);
    if (a->function == NT_ACT_MISH) y = nt_onnx_apply(o, "Tanh", nt_onnx_apply(o, "Softplus", x, NULL), NULL);
    if (a->function == NT_ACT_LOGISTIC) {
        y = nt_onnx_apply(o, "Mul", x, nt_onnx_number(o, a->beta));
        last = "Sigmoid", other = NULL;
    }
    if (a->function == NT_ACT_SOFTPLUS) {
        y = nt_onnx_apply(o, "Softplus", nt_onnx_apply(o, "Mul", x, nt_onnx_number(o, a->beta)), NULL);
        other = nt_onnx_number(o, 1 / a->beta);
    }
    if (a->function == NT_ACT_RELU6) {
        y = nt_onnx_apply(o, "Relu", x, NULL);
        last = "Min", other = nt_onnx_number(o, 6);
    }
    if (a->function == NT_ACT_THRESHOLD) {
        y = nt_onnx_apply(o, "GreaterOrEqual", x, nt_onnx_number(o, 0));
        last = "Cast", other = NULL;
    }
    nt_onnx_op(o, last);
    nt_onnx_input(o, y);
    if (other) nt_onnx_input(o, other);
    if (a->function == NT_ACT_THRESHOLD) nt_onnx_int(o, "to", 1); /* float */
}

static nt_status activation_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_activation_options *a = layer->options;
    if (!one_operator(a, o)) several_operators(a, o);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_activation = {
    .section = {.name = "activation",
                .help = "a function of each element",
                .size = sizeof(nt_activation_options),
                .options = activation_options,
                .n_options = NT_N_ELEMS(activation_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = activation_infer,
    .flops = activation_flops,
    .onnx = activation_onnx,
};
