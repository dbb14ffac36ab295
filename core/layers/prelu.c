/* prelu: leaky_relu with a trained slope, one for all channels or one for each. The slope is counted among
 * norm parameters: weight decay would pull it towards plain ReLU, which is not what decay is for. */
#include "core/layers/prelu.h"

#include "core/onnx.h"

#include "core/init.h"

static nt_status prelu_infer(nt_layer *layer)
{
    const nt_prelu_options *o = layer->options;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(o->num_parameters == 1 || o->num_parameters == layer->in[0].dim[0], NT_ERR_CONFIG,
             "prelu: num_parameters = %lld, but input %s has %lld channels: give 1 or %lld",
             (long long)o->num_parameters, nt_shape_text(layer->in[0], text), (long long)layer->in[0].dim[0],
             (long long)layer->in[0].dim[0]);
    layer->out = layer->in[0];
    nt_layer_add_param(layer, "weight", nt_shape_of(1, o->num_parameters), NT_PARAM_NORM,
                       nt_init_constant(o->init));
    return NT_OK;
}

static int64_t prelu_flops(const nt_layer *layer)
{
    return nt_shape_elems(layer->out);
}

static const nt_option prelu_options[] = {
    {.key = "num_parameters",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_prelu_options, num_parameters),
     .def = "1",
     .min = 1,
     .max = 1 << 28,
     .help = "1: one slope for all; as many as channels: one for each"},
    {.key = "init",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_prelu_options, init),
     .def = "0.25",
     .help = "initial slope below 0"},
};

/* The slopes in a shape that spreads over the channels. */
static nt_status prelu_onnx(const nt_layer *layer, nt_onnx *o)
{
    int64_t dims[NT_MAX_DIMS] = {layer->param[0].shape.dim[0]};
    for (int i = 1; i < layer->in[0].n_dims; i++)
        dims[i] = 1;
    const char *slopes =
        nt_onnx_apply(o, "Reshape", nt_onnx_param(o, 0), nt_onnx_ints(o, dims, layer->in[0].n_dims));
    nt_onnx_op(o, "PRelu");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_input(o, slopes);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_prelu = {
    .section = {.name = "prelu",
                .help = "x above 0, a trained multiple of x below",
                .size = sizeof(nt_prelu_options),
                .options = prelu_options,
                .n_options = NT_N_ELEMS(prelu_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = prelu_infer,
    .flops = prelu_flops,
    .onnx = prelu_onnx,
};
