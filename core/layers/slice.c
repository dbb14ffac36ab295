/* slice: part of one dimension. One output for each node keeps the graph simple; a split is as many slices.
 */
#include "core/layers/slice.h"
#include "core/onnx.h"

static nt_status resolve_dim(nt_slice_options *o, nt_shape in)
{
    char text[NT_SHAPE_TEXT_BYTES];
    o->axis = o->dim < 0 ? o->dim + in.n_dims + 1 : o->dim;
    NT_CHECK(o->axis >= 1 && o->axis <= in.n_dims, NT_ERR_CONFIG,
             "slice: dim = %lld, but input %s has dimensions 1 to %d (0 is the batch) or -%d to -1",
             (long long)o->dim, nt_shape_text(in, text), in.n_dims, in.n_dims);
    return NT_OK;
}

static nt_status slice_infer(nt_layer *layer)
{
    nt_slice_options *o = layer->options;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_TRY(resolve_dim(o, layer->in[0]));
    int64_t size = layer->in[0].dim[o->axis - 1];
    o->begin = o->start < 0 ? o->start + size : o->start;
    NT_CHECK(o->begin >= 0 && o->begin < size, NT_ERR_CONFIG,
             "slice: start = %lld, but dimension %lld of input %s has %lld elements", (long long)o->start,
             (long long)o->axis, nt_shape_text(layer->in[0], text), (long long)size);
    o->count = o->length == 0 ? size - o->begin : o->length;
    NT_CHECK(o->count >= 1 && o->count <= size - o->begin, NT_ERR_CONFIG,
             "slice: length = %lld from %lld on is more than the %lld elements of dimension %lld of input %s",
             (long long)o->length, (long long)o->begin, (long long)size, (long long)o->axis,
             nt_shape_text(layer->in[0], text));
    layer->out = layer->in[0];
    layer->out.dim[o->axis - 1] = o->count;
    return NT_OK;
}

static const nt_option slice_options[] = {
    {.key = "dim",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_slice_options, dim),
     .def = "1",
     .min = -NT_MAX_DIMS,
     .max = NT_MAX_DIMS,
     .help = "which dimension, counted as in PyTorch: 0 is the batch, 1 channels or features; -1 the last"},
    {.key = "start",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_slice_options, start),
     .def = "0",
     .help = "first element; negative: from the end"},
    {.key = "length",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_slice_options, length),
     .def = "0",
     .min = 0,
     .help = "number of elements; 0: all that follow"},
};

static nt_status slice_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_slice_options *s = layer->options;
    const char *begin = nt_onnx_ints(o, &s->begin, 1), *axis = nt_onnx_ints(o, &s->axis, 1);
    const char *end = nt_onnx_ints(o, &(int64_t){s->begin + s->count}, 1);
    nt_onnx_op(o, "Slice");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_input(o, begin);
    nt_onnx_input(o, end);
    nt_onnx_input(o, axis);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_slice = {
    .section = {.name = "slice",
                .help = "part of one dimension",
                .size = sizeof(nt_slice_options),
                .options = slice_options,
                .n_options = NT_N_ELEMS(slice_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = slice_infer,
    .onnx = slice_onnx,
};
