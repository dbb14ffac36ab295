/* multiply: products of two inputs: x (N, C, ...) with gates of the same shape, or with one gate for each
 * channel, (N, C) or (N, C, 1, 1), as squeeze and excitation has them (Hu et al. 2018). */
#include "core/layer.h"
#include "core/onnx.h"

/* (C) or (C, 1, 1) for x (C, H, W). */
static bool is_per_channel(nt_shape gate, nt_shape x)
{
    if (gate.n_dims != 1 && gate.n_dims != x.n_dims) return false;
    return gate.dim[0] == x.dim[0] && nt_shape_elems(gate) == x.dim[0];
}

static nt_status multiply_infer(nt_layer *layer)
{
    char x[NT_SHAPE_TEXT_BYTES], gate[NT_SHAPE_TEXT_BYTES];
    const nt_shape *in = layer->in;
    bool fits = nt_shape_equal(in[0], in[1]) || is_per_channel(in[1], in[0]);
    NT_CHECK(fits || !is_per_channel(in[0], in[1]), NT_ERR_CONFIG,
             "multiply: input 1 is %s and input 2 is %s: the gates are the second input, swap the two",
             nt_shape_text(in[0], x), nt_shape_text(in[1], gate));
    NT_CHECK(fits, NT_ERR_CONFIG,
             "multiply needs a second input of the shape of the first, or with one value for each channel, "
             "but input 1 is %s and input 2 is %s",
             nt_shape_text(in[0], x), nt_shape_text(in[1], gate));
    layer->out = in[0];
    return NT_OK;
}

static int64_t multiply_flops(const nt_layer *layer)
{
    return nt_shape_elems(layer->out);
}

static nt_status multiply_onnx(const nt_layer *layer, nt_onnx *o)
{
    const char *x = nt_onnx_x(o, 0), *gate = nt_onnx_x(o, 1);
    int64_t axes[NT_MAX_DIMS];
    int n = layer->in[0].n_dims - layer->in[1].n_dims; /* (C) becomes (C, 1, 1) */
    for (int i = 0; i < n; i++)
        axes[i] = 2 + i;
    if (n > 0) gate = nt_onnx_apply(o, "Unsqueeze", gate, nt_onnx_ints(o, axes, n));
    nt_onnx_op(o, "Mul");
    nt_onnx_input(o, x);
    nt_onnx_input(o, gate);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_multiply = {
    .section = {.name = "multiply",
                .help = "product of two inputs; the second may have one value for each channel"},
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = multiply_infer,
    .flops = multiply_flops,
    .onnx = multiply_onnx,
};
