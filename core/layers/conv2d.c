/* conv2d: two-dimensional cross-correlation with groups. groups = channels makes it depthwise. */
#include "core/layers/conv2d.h"

#include "core/init.h"
#include "core/layers/common.h"
#include "core/onnx.h"

static nt_status check_groups(const nt_conv2d_options *o, nt_shape in)
{
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(o->filters >= 1 && o->groups >= 1, NT_ERR_CONFIG,
             "conv2d: filters %lld and groups %lld must be at least 1", (long long)o->filters,
             (long long)o->groups);
    NT_CHECK(in.dim[0] % o->groups == 0 && o->filters % o->groups == 0, NT_ERR_CONFIG,
             "conv2d: groups = %lld must divide both the %lld channels of input %s and filters = %lld",
             (long long)o->groups, (long long)in.dim[0], nt_shape_text(in, text), (long long)o->filters);
    return NT_OK;
}

static nt_status conv2d_infer(nt_layer *layer)
{
    nt_conv2d_options *o = layer->options;
    const nt_window window = {o->kernel, o->stride, o->padding, o->dilation};
    int64_t out[2];
    NT_TRY(nt_window_resolve(layer, &window, out, o->pad_begin, o->pad_end));
    NT_TRY(check_groups(o, layer->in[0]));
    int64_t area = o->kernel[0] * o->kernel[1], channels = layer->in[0].dim[0] / o->groups;
    int64_t fan_in = nt_count_mul(channels, area), fan_out = nt_count_mul(o->filters / o->groups, area);
    o->has_bias = nt_layer_wants_bias(layer, o->bias);
    layer->out = nt_shape_of(3, o->filters, out[0], out[1]);
    nt_layer_add_param(layer, "weight", nt_shape_of(4, o->filters, channels, o->kernel[0], o->kernel[1]),
                       NT_PARAM_WEIGHT, nt_init_resolve_weight(&o->init, fan_in, fan_out));
    if (o->has_bias)
        nt_layer_add_param(layer, "bias", nt_shape_of(1, o->filters), NT_PARAM_BIAS,
                           nt_init_resolve_bias(&o->init, fan_in));
    return NT_OK;
}

static int64_t conv2d_flops(const nt_layer *layer)
{
    int64_t taps = nt_shape_elems(layer->param[0].shape) / layer->out.dim[0];
    return nt_count_mul(2, nt_count_mul(taps, nt_shape_elems(layer->out)));
}

static const nt_option conv2d_options[] = {
    {.key = "filters",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_conv2d_options, filters),
     .min = 1,
     .max = 1 << 20,
     .flags = NT_OPTION_REQUIRED,
     .help = "number of output channels"},
    {.key = "kernel",
     .type = NT_OPTION_PAIR,
     .offset = offsetof(nt_conv2d_options, kernel),
     .min = 1,
     .max = 1 << 16,
     .flags = NT_OPTION_REQUIRED,
     .help = "height and width of the kernel (one number: both)"},
    {.key = "stride",
     .type = NT_OPTION_PAIR,
     .offset = offsetof(nt_conv2d_options, stride),
     .def = "1",
     .min = 1,
     .max = 1 << 16,
     .help = "step of the kernel"},
    {.key = "padding",
     .type = NT_OPTION_PAIR,
     .offset = offsetof(nt_conv2d_options, padding),
     .def = "0",
     .min = 0,
     .max = 1 << 16,
     .flags = NT_OPTION_SAME,
     .help = "zeros on each side; same: the output is input / stride, rounded up"},
    {.key = "dilation",
     .type = NT_OPTION_PAIR,
     .offset = offsetof(nt_conv2d_options, dilation),
     .def = "1",
     .min = 1,
     .max = 1 << 16,
     .help = "distance between the kernel's taps"},
    {.key = "groups",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_conv2d_options, groups),
     .def = "1",
     .min = 1,
     .max = 1 << 20,
     .help = "independent groups of channels; as many as channels: depthwise"},
    {.key = "bias",
     .type = NT_OPTION_ENUM,
     .offset = offsetof(nt_conv2d_options, bias),
     .def = "auto",
     .choices = nt_bias_choices,
     .help = "add a trained constant per filter; auto: unless a batchnorm follows"},
    NT_INIT_OPTIONS(nt_conv2d_options),
};

static nt_status conv2d_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_conv2d_options *c = layer->options;
    const int64_t pads[] = {c->pad_begin[0], c->pad_begin[1], c->pad_end[0], c->pad_end[1]};
    nt_onnx_op(o, "Conv");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    for (int p = 0; p < layer->n_params; p++)
        nt_onnx_input(o, nt_onnx_param(o, p));
    nt_onnx_int_list(o, "strides", c->stride, 2);
    nt_onnx_int_list(o, "dilations", c->dilation, 2);
    nt_onnx_int_list(o, "pads", pads, 4);
    nt_onnx_int(o, "group", c->groups);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_conv2d = {
    .section = {.name = "conv2d",
                .help = "two-dimensional convolution",
                .size = sizeof(nt_conv2d_options),
                .options = conv2d_options,
                .n_options = NT_N_ELEMS(conv2d_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_batchnorm = true,
    .infer = conv2d_infer,
    .flops = conv2d_flops,
    .onnx = conv2d_onnx,
};
