/* max_pool, avg_pool and global_avg_pool. Padding narrower than the kernel makes sure that every window
 * covers something. */
#include "core/layers/pool2d.h"

#include "core/layers/common.h"
#include "core/onnx.h"

/* One more window where rows or columns are left over, if it begins in the input or the padding before it. */
static int64_t round_up(const nt_pool2d_options *o, int axis, int64_t size, int64_t out)
{
    int64_t begin = out * o->stride[axis] - o->pad_begin[axis]; /* of the window after the last */
    int64_t covered = begin - o->stride[axis] + o->kernel[axis];
    return covered < size + o->pad_end[axis] && begin < size ? out + 1 : out;
}

static nt_status pool2d_infer(nt_layer *layer)
{
    nt_pool2d_options *o = layer->options;
    const int64_t dilation[2] = {1, 1};
    for (int i = 0; i < 2; i++) {
        if (o->stride[i] == 0) o->stride[i] = o->kernel[i];
        NT_CHECK(o->padding[i] < o->kernel[i], NT_ERR_CONFIG,
                 "%s: padding %lld must be less than kernel %lld, or windows would hold nothing but padding",
                 layer->ops->section.name, (long long)o->padding[i], (long long)o->kernel[i]);
    }
    const nt_window window = {o->kernel, o->stride, o->padding, dilation};
    int64_t out[2];
    NT_TRY(nt_window_resolve(layer, &window, out, o->pad_begin, o->pad_end));
    for (int i = 0; i < 2 && o->ceil_mode; i++)
        out[i] = round_up(o, i, layer->in[0].dim[1 + i], out[i]);
    layer->out = nt_shape_of(3, layer->in[0].dim[0], out[0], out[1]);
    return NT_OK;
}

static nt_status avg_pool_infer(nt_layer *layer)
{
    const nt_pool2d_options *o = layer->options;
    NT_TRY(pool2d_infer(layer));
    bool padded = o->pad_begin[0] || o->pad_begin[1] || o->pad_end[0] || o->pad_end[1];
    if (o->count_include_pad && padded) layer->kind = "avg_pool_padded";
    return NT_OK;
}

static int64_t pool2d_flops(const nt_layer *layer)
{
    const nt_pool2d_options *o = layer->options;
    return nt_count_mul(o->kernel[0] * o->kernel[1], nt_shape_elems(layer->out));
}

static nt_status global_infer(nt_layer *layer)
{
    NT_TRY(nt_layer_need_image(layer, 0));
    layer->out = nt_shape_of(1, layer->in[0].dim[0]);
    return NT_OK;
}

static int64_t global_flops(const nt_layer *layer)
{
    return nt_shape_elems(layer->in[0]);
}

/* clang-format off */
#define WINDOW_OPTIONS                                                                                       \
    {"kernel", NT_OPTION_PAIR, offsetof(nt_pool2d_options, kernel), .min = 1, .max = 1 << 16,                \
     .flags = NT_OPTION_REQUIRED, .help = "height and width of the window (one number: both)"},              \
    {"stride", NT_OPTION_PAIR, offsetof(nt_pool2d_options, stride), "0", .min = 0, .max = 1 << 16,           \
     .help = "step of the window; 0: the kernel, so that windows do not overlap"},                           \
    {"padding", NT_OPTION_PAIR, offsetof(nt_pool2d_options, padding), "0", .min = 0, .max = 1 << 16,         \
     .flags = NT_OPTION_SAME,                                                                                \
     .help = "border on each side, never the largest; same: the output is input / stride, rounded up"},      \
    {"ceil_mode", NT_OPTION_BOOL, offsetof(nt_pool2d_options, ceil_mode), "no",                              \
     .help = "a window also for rows and columns that are left over at the end"}
/* clang-format on */

static const nt_option max_pool_options[] = {WINDOW_OPTIONS};

static const nt_option avg_pool_options[] = {
    WINDOW_OPTIONS,
    {.key = "count_include_pad",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_pool2d_options, count_include_pad),
     .def = "yes",
     .help = "the average counts the padding's zeros"},
};

static void pool_onnx(const nt_layer *layer, nt_onnx *o, const char *type)
{
    const nt_pool2d_options *p = layer->options;
    const int64_t pads[] = {p->pad_begin[0], p->pad_begin[1], p->pad_end[0], p->pad_end[1]};
    const int64_t stride[] = {p->stride[0] ? p->stride[0] : p->kernel[0],
                              p->stride[1] ? p->stride[1] : p->kernel[1]};
    nt_onnx_op(o, type);
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_int_list(o, "kernel_shape", p->kernel, 2);
    nt_onnx_int_list(o, "strides", stride, 2);
    nt_onnx_int_list(o, "pads", pads, 4);
    nt_onnx_int(o, "ceil_mode", p->ceil_mode);
}

static nt_status max_pool_onnx(const nt_layer *layer, nt_onnx *o)
{
    pool_onnx(layer, o, "MaxPool");
    nt_onnx_end_layer(o);
    return NT_OK;
}

static nt_status avg_pool_onnx(const nt_layer *layer, nt_onnx *o)
{
    pool_onnx(layer, o, "AveragePool");
    nt_onnx_int(o, "count_include_pad", ((const nt_pool2d_options *)layer->options)->count_include_pad);
    nt_onnx_end_layer(o);
    return NT_OK;
}

static nt_status global_avg_pool_onnx(const nt_layer *layer, nt_onnx *o)
{
    (void)layer;
    const char *mean = nt_onnx_apply(o, "GlobalAveragePool", nt_onnx_x(o, 0), NULL);
    nt_onnx_op(o, "Flatten");
    nt_onnx_input(o, mean);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_max_pool = {
    .section = {.name = "max_pool",
                .help = "largest value of each window",
                .size = sizeof(nt_pool2d_options),
                .options = max_pool_options,
                .n_options = NT_N_ELEMS(max_pool_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = pool2d_infer,
    .flops = pool2d_flops,
    .onnx = max_pool_onnx,
};

const nt_layer_ops nt_layer_avg_pool = {
    .section = {.name = "avg_pool",
                .help = "average of each window",
                .size = sizeof(nt_pool2d_options),
                .options = avg_pool_options,
                .n_options = NT_N_ELEMS(avg_pool_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = avg_pool_infer,
    .flops = pool2d_flops,
    .onnx = avg_pool_onnx,
};

const nt_layer_ops nt_layer_global_avg_pool = {
    .section = {.name = "global_avg_pool", .help = "average of each channel"},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = global_infer,
    .flops = global_flops,
    .onnx = global_avg_pool_onnx,
};
