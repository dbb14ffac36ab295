/* conv_transpose2d: upsampling by a trained kernel. Sizes are bounded before they are multiplied, so that
 * nothing can overflow whatever a config says. */
#include "core/layers/conv_transpose2d.h"

#include "core/init.h"
#include "core/layers/common.h"
#include "core/onnx.h"

static nt_status check_options(const nt_conv_transpose2d_options *o, nt_shape in)
{
    const int64_t limit = 1 << 20;
    char text[NT_SHAPE_TEXT_BYTES];
    for (int i = 0; i < 2; i++) {
        NT_CHECK(o->kernel[i] >= 1 && o->kernel[i] <= limit && o->stride[i] >= 1 && o->stride[i] <= limit &&
                     o->dilation[i] >= 1 && o->dilation[i] <= limit && o->padding[i] >= 0 &&
                     o->padding[i] <= limit,
                 NT_ERR_CONFIG,
                 "conv_transpose2d: kernel %lld, stride %lld, dilation %lld or padding %lld is out of range",
                 (long long)o->kernel[i], (long long)o->stride[i], (long long)o->dilation[i],
                 (long long)o->padding[i]);
        NT_CHECK(o->output_padding[i] >= 0 &&
                     (o->output_padding[i] < o->stride[i] || o->output_padding[i] < o->dilation[i]),
                 NT_ERR_CONFIG,
                 "conv_transpose2d: output_padding %lld must be less than stride %lld or dilation %lld: more "
                 "rows than that no input reaches",
                 (long long)o->output_padding[i], (long long)o->stride[i], (long long)o->dilation[i]);
    }
    NT_CHECK(o->filters >= 1 && o->groups >= 1 && in.dim[0] % o->groups == 0 && o->filters % o->groups == 0,
             NT_ERR_CONFIG,
             "conv_transpose2d: groups = %lld must divide both the %lld channels of input %s and filters = "
             "%lld",
             (long long)o->groups, (long long)in.dim[0], nt_shape_text(in, text), (long long)o->filters);
    return NT_OK;
}

static nt_status output_size(const nt_conv_transpose2d_options *o, nt_shape in, int64_t out[2])
{
    char text[NT_SHAPE_TEXT_BYTES];
    for (int i = 0; i < 2; i++) {
        out[i] = (in.dim[1 + i] - 1) * o->stride[i] - 2 * o->padding[i] +
                 o->dilation[i] * (o->kernel[i] - 1) + o->output_padding[i] + 1;
        NT_CHECK(out[i] >= 1, NT_ERR_CONFIG,
                 "conv_transpose2d: padding %lld takes away more than a kernel of %lldx%lld makes of input "
                 "%s: the output's %s would be %lld",
                 (long long)o->padding[i], (long long)o->kernel[0], (long long)o->kernel[1],
                 nt_shape_text(in, text), i == 0 ? "height" : "width", (long long)out[i]);
    }
    return NT_OK;
}

/* As in PyTorch, what counts as fan_in is the second dimension of the weight times the kernel's area. */
static nt_status conv_transpose2d_infer(nt_layer *layer)
{
    nt_conv_transpose2d_options *o = layer->options;
    int64_t out[2];
    NT_TRY(nt_layer_need_image(layer, 0));
    NT_TRY(check_options(o, layer->in[0]));
    NT_TRY(output_size(o, layer->in[0], out));
    int64_t area = o->kernel[0] * o->kernel[1], channels = layer->in[0].dim[0],
            per_group = o->filters / o->groups;
    int64_t fan_in = nt_count_mul(per_group, area), fan_out = nt_count_mul(channels, area);
    o->has_bias = nt_layer_wants_bias(layer, o->bias);
    layer->out = nt_shape_of(3, o->filters, out[0], out[1]);
    nt_layer_add_param(layer, "weight", nt_shape_of(4, channels, per_group, o->kernel[0], o->kernel[1]),
                       NT_PARAM_WEIGHT, nt_init_resolve_weight(&o->init, fan_in, fan_out));
    if (o->has_bias)
        nt_layer_add_param(layer, "bias", nt_shape_of(1, o->filters), NT_PARAM_BIAS,
                           nt_init_resolve_bias(&o->init, fan_in));
    return NT_OK;
}

static int64_t conv_transpose2d_flops(const nt_layer *layer)
{
    int64_t taps = nt_shape_elems(layer->param[0].shape) / layer->in[0].dim[0];
    return nt_count_mul(2, nt_count_mul(taps, nt_shape_elems(layer->in[0])));
}

/* clang-format off */
#define PAIR(name, ...) {#name, NT_OPTION_PAIR, offsetof(nt_conv_transpose2d_options, name), __VA_ARGS__}

static const nt_option conv_transpose2d_options[] = {
    {"filters", NT_OPTION_INT, offsetof(nt_conv_transpose2d_options, filters), .min = 1, .max = 1 << 20,
     .flags = NT_OPTION_REQUIRED, .help = "number of output channels"},
    PAIR(kernel, .min = 1, .max = 1 << 16, .flags = NT_OPTION_REQUIRED,
         .help = "height and width of the kernel (one number: both)"),
    PAIR(stride, "1", .min = 1, .max = 1 << 16, .help = "step of the kernel in the output"),
    PAIR(padding, "0", .min = 0, .max = 1 << 16, .help = "rows and columns cut off each side of the output"),
    PAIR(output_padding, "0", .min = 0, .max = 1 << 16,
         .help = "rows and columns more at the end of the output"),
    PAIR(dilation, "1", .min = 1, .max = 1 << 16, .help = "distance between the kernel's taps"),
    {"groups", NT_OPTION_INT, offsetof(nt_conv_transpose2d_options, groups), "1", .min = 1, .max = 1 << 20,
     .help = "independent groups of channels"},
    {"bias", NT_OPTION_ENUM, offsetof(nt_conv_transpose2d_options, bias), "auto", .choices = nt_bias_choices,
     .help = "add a trained constant per filter; auto: unless a batchnorm follows"},
    NT_INIT_OPTIONS(nt_conv_transpose2d_options),
};
/* clang-format on */

static nt_status conv_transpose2d_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_conv_transpose2d_options *c = layer->options;
    const int64_t pads[] = {c->padding[0], c->padding[1], c->padding[0], c->padding[1]};
    nt_onnx_op(o, "ConvTranspose");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    for (int p = 0; p < layer->n_params; p++)
        nt_onnx_input(o, nt_onnx_param(o, p));
    nt_onnx_int_list(o, "strides", c->stride, 2);
    nt_onnx_int_list(o, "dilations", c->dilation, 2);
    nt_onnx_int_list(o, "output_padding", c->output_padding, 2);
    nt_onnx_int_list(o, "pads", pads, 4);
    nt_onnx_int(o, "group", c->groups);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_conv_transpose2d = {
    .section = {.name = "conv_transpose2d",
                .help = "transposed two-dimensional convolution (upsampling)",
                .size = sizeof(nt_conv_transpose2d_options),
                .options = conv_transpose2d_options,
                .n_options = NT_N_ELEMS(conv_transpose2d_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_batchnorm = true,
    .infer = conv_transpose2d_infer,
    .flops = conv_transpose2d_flops,
    .onnx = conv_transpose2d_onnx,
};
