/* softmax and log_softmax over the first dimension of a sample: features, or channels at each position. The
 * cross_entropy loss has its own; these layers are for probabilities inside a network, and log_softmax for
 * the loss kl_divergence. */
#include "core/layer.h"
#include "core/layers/common.h"
#include "core/onnx.h"

#include <string.h>

static nt_status softmax_infer(nt_layer *layer)
{
    layer->out = layer->in[0];
    return NT_OK;
}

static int64_t softmax_flops(const nt_layer *layer)
{
    return nt_count_mul(4, nt_shape_elems(layer->out));
}

static nt_status softmax_onnx(const nt_layer *layer, nt_onnx *o)
{
    nt_onnx_op(o, strcmp(layer->ops->section.name, "softmax") == 0 ? "Softmax" : "LogSoftmax");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_int(o, "axis", 1);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_softmax = {
    .section = {.name = "softmax", .help = "exp(x) / sum of exp(x) over features or channels"},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = softmax_infer,
    .flops = softmax_flops,
    .onnx = softmax_onnx,
};

const nt_layer_ops nt_layer_log_softmax = {
    .section = {.name = "log_softmax", .help = "the logarithm of softmax"},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = softmax_infer,
    .flops = softmax_flops,
    .onnx = softmax_onnx,
};
