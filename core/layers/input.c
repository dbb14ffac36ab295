/* input: made by the model builder, which fills in the options from the dataset; hence no option table. */
#include "core/layers/input.h"

/* The shape is that of the dataset's samples: in[0], or `out` set by whoever made the node. */
static nt_status input_infer(nt_layer *layer)
{
    const nt_input_options *o = layer->options;
    if (layer->n_inputs == 1) layer->out = layer->in[0];
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(layer->out.n_dims >= 1, NT_ERR_CONFIG, "input: samples have no dimensions");
    NT_CHECK(o->n_channels == 0 || o->n_channels == 1 || o->n_channels == layer->out.dim[0], NT_ERR_CONFIG,
             "input: mean and std have %d values, samples of shape %s have %lld channels", o->n_channels,
             nt_shape_text(layer->out, text), (long long)layer->out.dim[0]);
    NT_CHECK(o->n_channels <= NT_MAX_CHANNELS, NT_ERR_CONFIG,
             "input: mean and std for %d channels, at most %d", o->n_channels, NT_MAX_CHANNELS);
    return NT_OK;
}

const nt_layer_ops nt_layer_input = {
    .section = {.name = "input", .help = "the samples, normalised", .size = sizeof(nt_input_options)},
    .min_inputs = 0,
    .max_inputs = 1,
    .infer = input_infer,
};
