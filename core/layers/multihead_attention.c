/* multihead_attention: one layer with PyTorch's four parameters, so that its weights go in and out of a state
 * dict by name. Built from linear layers it would need as many nodes and keep no fewer tensors. */
#include "core/layers/multihead_attention.h"

#include "core/init.h"
#include "core/layers/common.h"

static nt_status check_options(const nt_multihead_attention_options *o, nt_shape in)
{
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(in.n_dims == 2, NT_ERR_CONFIG,
             "multihead_attention needs an input of shape positions x features, got %s",
             nt_shape_text(in, text));
    NT_CHECK(o->num_heads >= 1 && in.dim[1] % o->num_heads == 0, NT_ERR_CONFIG,
             "multihead_attention: num_heads = %lld must divide the %lld features of input %s",
             (long long)o->num_heads, (long long)in.dim[1], nt_shape_text(in, text));
    NT_CHECK(o->dropout >= 0 && o->dropout < 1, NT_ERR_CONFIG,
             "multihead_attention: dropout is %g, must be at least 0 and less than 1", o->dropout);
    return NT_OK;
}

/* As PyTorch: xavier for the joint projection, 1 / sqrt(E) for the last, biases zero. */
static void add_params(nt_layer *layer, const nt_multihead_attention_options *o, int64_t e)
{
    nt_init_options in_init = o->init;
    if (o->init.type == NT_INIT_CHOICE_AUTO) in_init.type = NT_INIT_CHOICE_XAVIER;
    nt_layer_add_param(layer, "in_proj_weight", nt_shape_of(2, 3 * e, e), NT_PARAM_WEIGHT,
                       nt_init_resolve_weight(&in_init, e, 3 * e));
    nt_layer_add_param(layer, "out_proj.weight", nt_shape_of(2, e, e), NT_PARAM_WEIGHT,
                       nt_init_resolve_weight(&o->init, e, e));
    if (!o->bias) return;
    nt_init bias = nt_init_resolve_bias(&in_init, e); /* a constant, because the type is not auto any more */
    nt_layer_add_param(layer, "in_proj_bias", nt_shape_of(1, 3 * e), NT_PARAM_BIAS, bias);
    nt_layer_add_param(layer, "out_proj.bias", nt_shape_of(1, e), NT_PARAM_BIAS, bias);
}

static nt_status attention_infer(nt_layer *layer)
{
    const nt_multihead_attention_options *o = layer->options;
    NT_TRY(check_options(o, layer->in[0]));
    layer->out = layer->in[0];
    add_params(layer, o, layer->in[0].dim[1]);
    return NT_OK;
}

static int64_t attention_flops(const nt_layer *layer)
{
    const int64_t t = layer->in[0].dim[0], e = layer->in[0].dim[1];
    int64_t projections = nt_count_mul(8, nt_count_mul(t, nt_count_mul(e, e)));
    int64_t products = nt_count_mul(4, nt_count_mul(e, nt_count_mul(t, t)));
    return projections < INT64_MAX - products ? projections + products : INT64_MAX;
}

static const nt_option attention_options[] = {
    {.key = "num_heads",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_multihead_attention_options, num_heads),
     .min = 1,
     .max = 1 << 16,
     .flags = NT_OPTION_REQUIRED,
     .help = "number of heads; divides the features"},
    {.key = "causal",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_multihead_attention_options, causal),
     .def = "no",
     .help = "a position looks only at itself and those before it"},
    {.key = "dropout",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_multihead_attention_options, dropout),
     .def = "0",
     .min = 0,
     .max = NT_BELOW_ONE,
     .help = "probability that an attention weight is set to zero in training, less than 1"},
    {.key = "bias",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_multihead_attention_options, bias),
     .def = "yes",
     .help = "add trained constants in both projections"},
    NT_INIT_OPTIONS(nt_multihead_attention_options),
};

const nt_layer_ops nt_layer_multihead_attention = {
    .section = {.name = "multihead_attention",
                .help = "self-attention of the positions of a sample",
                .size = sizeof(nt_multihead_attention_options),
                .options = attention_options,
                .n_options = NT_N_ELEMS(attention_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = attention_infer,
    .flops = attention_flops,
};
