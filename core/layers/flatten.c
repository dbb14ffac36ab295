/* flatten: (C, H, W) -> (C H W), the same memory. */
#include "core/layer.h"
#include "core/onnx.h"

static nt_status flatten_infer(nt_layer *layer)
{
    layer->out = nt_shape_of(1, nt_shape_elems(layer->in[0]));
    return NT_OK;
}

static nt_status flatten_onnx(const nt_layer *layer, nt_onnx *o)
{
    (void)layer;
    nt_onnx_same(o, "Flatten"); /* axis 1 */
    return NT_OK;
}

const nt_layer_ops nt_layer_flatten = {
    .section = {.name = "flatten", .help = "all dimensions of a sample as one"},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = flatten_infer,
    .onnx = flatten_onnx,
};
