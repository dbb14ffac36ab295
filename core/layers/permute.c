/* permute: PyTorch's dims can be copied as they stand; the batch's 0 may be left out. */
#include "core/layers/permute.h"
#include "core/onnx.h"

static nt_status resolve_order(nt_permute_options *o, nt_shape in)
{
    char text[NT_SHAPE_TEXT_BYTES];
    int given = o->dims.n > 0 && o->dims.value[0] == 0 ? 1 : 0; /* the batch */
    bool seen[NT_MAX_DIMS + 1] = {false};
    NT_CHECK(o->dims.n - given == in.n_dims && in.n_dims < NT_MAX_DIMS, NT_ERR_CONFIG,
             "permute: dims names %d dimensions, but input %s has %d", o->dims.n - given,
             nt_shape_text(in, text), in.n_dims);
    o->order[0] = 0;
    for (int i = 0; i < in.n_dims; i++) {
        int64_t dim = o->dims.value[given + i];
        NT_CHECK(dim >= 1 && dim <= in.n_dims && !seen[dim], NT_ERR_CONFIG,
                 "permute: dims must name each of 1 to %d once for input %s (0 is the batch and stays in "
                 "front), but %lld is %s",
                 in.n_dims, nt_shape_text(in, text), (long long)dim,
                 dim >= 1 && dim <= in.n_dims ? "there twice" : "none of them");
        seen[dim] = true;
        o->order[1 + i] = (int)dim;
    }
    return NT_OK;
}

static nt_status permute_infer(nt_layer *layer)
{
    nt_permute_options *o = layer->options;
    NT_TRY(resolve_order(o, layer->in[0]));
    layer->out.n_dims = layer->in[0].n_dims;
    for (int i = 0; i < layer->out.n_dims; i++)
        layer->out.dim[i] = layer->in[0].dim[o->order[1 + i] - 1];
    return NT_OK;
}

static const nt_option permute_options[] = {
    {.key = "dims",
     .type = NT_OPTION_INTS,
     .offset = offsetof(nt_permute_options, dims),
     .flags = NT_OPTION_REQUIRED,
     .help = "dimensions of the input in their new order, 1 the first of a sample: 2, 1 transposes"},
};

static nt_status permute_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_permute_options *p = layer->options;
    int64_t order[NT_MAX_DIMS];
    for (int i = 0; i <= layer->out.n_dims; i++)
        order[i] = p->order[i];
    nt_onnx_op(o, "Transpose");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_int_list(o, "perm", order, layer->out.n_dims + 1);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_permute = {
    .section = {.name = "permute",
                .help = "dimensions in another order",
                .size = sizeof(nt_permute_options),
                .options = permute_options,
                .n_options = NT_N_ELEMS(permute_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = permute_infer,
    .onnx = permute_onnx,
};
