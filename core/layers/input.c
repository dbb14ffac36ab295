/* input: made by the model builder, which fills in the options from the dataset; hence no option table. */
#include "core/layers/input.h"
#include "core/onnx.h"

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

/* (x scale - mean) inv_std, the constants as (C, 1, 1) */
static nt_status input_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_input_options *options = layer->options;
    float mean[NT_MAX_CHANNELS], inv_std[NT_MAX_CHANNELS];
    nt_shape shape = layer->out;
    for (int i = 0; i < shape.n_dims; i++)
        shape.dim[i] = i == 0 && options->n_channels > 0 ? options->n_channels : 1;
    for (int c = 0; c < options->n_channels; c++) {
        mean[c] = (float)options->mean[c];
        inv_std[c] = (float)options->inv_std[c];
    }
    if (nt_onnx_reads_tokens(o)) {
        nt_onnx_same(o, "Identity");
        return NT_OK;
    }
    nt_onnx_op(o, "Cast");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_int(o, "to", 1); /* float */
    const char *x = nt_onnx_apply(o, "Mul", nt_onnx_end(o), nt_onnx_number(o, options->scale));
    if (options->n_channels > 0) {
        x = nt_onnx_apply(o, "Sub", x, nt_onnx_floats(o, mean, shape));
        x = nt_onnx_apply(o, "Mul", x, nt_onnx_floats(o, inv_std, shape));
    }
    nt_onnx_op(o, "Identity");
    nt_onnx_input(o, x);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_input = {
    .section = {.name = "input", .help = "the samples, normalised", .size = sizeof(nt_input_options)},
    .min_inputs = 0,
    .max_inputs = 1,
    .infer = input_infer,
    .onnx = input_onnx,
};
