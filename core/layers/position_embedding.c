/* position_embedding and class_token: what a transformer adds to its tokens. */
#include "core/layers/position_embedding.h"

static nt_status position_infer(nt_layer *layer)
{
    const nt_position_embedding_options *o = layer->options;
    const nt_shape in = layer->in[0];
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(o->max_length == 0 || o->max_length >= in.dim[0], NT_ERR_CONFIG,
             "position_embedding: max_length = %lld, but input %s has %lld positions",
             (long long)o->max_length, nt_shape_text(in, text), (long long)in.dim[0]);
    nt_shape table = in;
    if (o->max_length > 0) table.dim[0] = o->max_length;
    layer->out = in;
    nt_layer_add_param(layer, "weight", table, NT_PARAM_WEIGHT,
                       (nt_init){.type = NT_INIT_NORMAL, .b = o->init_std});
    return NT_OK;
}

static int64_t position_flops(const nt_layer *layer)
{
    return nt_shape_elems(layer->out);
}

static nt_status class_token_infer(nt_layer *layer)
{
    const nt_class_token_options *o = layer->options;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(layer->in[0].n_dims == 2, NT_ERR_CONFIG,
             "class_token needs an input of shape positions x features, got %s",
             nt_shape_text(layer->in[0], text));
    layer->out = nt_shape_of(2, layer->in[0].dim[0] + 1, layer->in[0].dim[1]);
    nt_layer_add_param(layer, "weight", nt_shape_of(1, layer->in[0].dim[1]), NT_PARAM_WEIGHT,
                       (nt_init){.type = NT_INIT_NORMAL, .b = o->init_std});
    return NT_OK;
}

static const nt_option position_options[] = {
    {.key = "max_length",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_position_embedding_options, max_length),
     .def = "0",
     .min = 0,
     .max = 1 << 28,
     .help = "rows of the table; 0: as many as the input has positions"},
    {.key = "init_std",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_position_embedding_options, init_std),
     .def = "0.02",
     .min = 0,
     .max = 1e6,
     .help = "standard deviation of the initial vectors"},
};

static const nt_option class_token_options[] = {
    {.key = "init_std",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_class_token_options, init_std),
     .def = "0",
     .min = 0,
     .max = 1e6,
     .help = "standard deviation of the initial token"},
};

const nt_layer_ops nt_layer_position_embedding = {
    .section = {.name = "position_embedding",
                .help = "adds a trained vector for each position",
                .size = sizeof(nt_position_embedding_options),
                .options = position_options,
                .n_options = NT_N_ELEMS(position_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = position_infer,
    .flops = position_flops,
};

const nt_layer_ops nt_layer_class_token = {
    .section = {.name = "class_token",
                .help = "a trained token in front of the others",
                .size = sizeof(nt_class_token_options),
                .options = class_token_options,
                .n_options = NT_N_ELEMS(class_token_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = class_token_infer,
};
