/* add and concat: the layers that join branches. add sums inputs of equal shape; concat puts them one after
 * the other along the first dimension of a sample (channels or features), where alone they may differ. */
#include "core/layer.h"
#include "core/layers/common.h"
#include "core/onnx.h"

static nt_status add_infer(nt_layer *layer)
{
    char first[NT_SHAPE_TEXT_BYTES], other[NT_SHAPE_TEXT_BYTES];
    for (int i = 1; i < layer->n_inputs; i++)
        NT_CHECK(nt_shape_equal(layer->in[0], layer->in[i]), NT_ERR_CONFIG,
                 "add needs inputs of equal shape, but input 1 is %s and input %d is %s",
                 nt_shape_text(layer->in[0], first), i + 1, nt_shape_text(layer->in[i], other));
    layer->out = layer->in[0];
    return NT_OK;
}

static int64_t add_flops(const nt_layer *layer)
{
    return nt_count_mul(layer->n_inputs - 1, nt_shape_elems(layer->out));
}

static nt_status concat_infer(nt_layer *layer)
{
    char first[NT_SHAPE_TEXT_BYTES], other[NT_SHAPE_TEXT_BYTES];
    layer->out = layer->in[0];
    for (int i = 1; i < layer->n_inputs; i++) {
        nt_shape like = layer->in[i];
        like.dim[0] = layer->in[0].dim[0];
        NT_CHECK(nt_shape_equal(layer->in[0], like), NT_ERR_CONFIG,
                 "concat joins along the first dimension and needs all others equal, but input 1 is %s and "
                 "input %d is %s",
                 nt_shape_text(layer->in[0], first), i + 1, nt_shape_text(layer->in[i], other));
        layer->out.dim[0] += layer->in[i].dim[0];
    }
    return NT_OK;
}

static void join_onnx(const nt_layer *layer, nt_onnx *o, const char *type)
{
    nt_onnx_op(o, type);
    for (int i = 0; i < layer->n_inputs; i++)
        nt_onnx_input(o, nt_onnx_x(o, i));
}

static nt_status add_onnx(const nt_layer *layer, nt_onnx *o)
{
    join_onnx(layer, o, "Sum");
    nt_onnx_end_layer(o);
    return NT_OK;
}

static nt_status concat_onnx(const nt_layer *layer, nt_onnx *o)
{
    join_onnx(layer, o, "Concat");
    nt_onnx_int(o, "axis", 1);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_add = {
    .section = {.name = "add", .help = "sum of two or more inputs of equal shape"},
    .min_inputs = 2,
    .max_inputs = -1,
    .infer = add_infer,
    .flops = add_flops,
    .onnx = add_onnx,
};

const nt_layer_ops nt_layer_concat = {
    .section = {.name = "concat",
                .help = "two or more inputs, one after the other along channels or features"},
    .min_inputs = 2,
    .max_inputs = -1,
    .infer = concat_infer,
    .onnx = concat_onnx,
};
