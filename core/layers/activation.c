/* activation: one layer type, the function is an option. The names of the functions are shared with the key
 * `activation` of other layers. */
#include "core/layers/activation.h"

#include "core/layer.h"

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
};
