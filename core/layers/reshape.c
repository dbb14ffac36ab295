/* reshape: a view. */
#include "core/layers/reshape.h"
#include "core/onnx.h"

#include <string.h>

/* layer->out as the config says it, with 0 for -1, which *rest tells the place of (-1: there is none). */
static nt_status read_shape(nt_layer *layer, int *rest)
{
    const nt_ints *shape = &((const nt_reshape_options *)layer->options)->shape;
    NT_CHECK(shape->n >= 1 && shape->n <= NT_MAX_DIMS - 1, NT_ERR_CONFIG,
             "reshape: shape has %d dimensions, must have 1 to %d", shape->n, NT_MAX_DIMS - 1);
    layer->out = (nt_shape){.n_dims = shape->n};
    *rest = -1;
    for (int i = 0; i < shape->n; i++) {
        bool is_rest = shape->value[i] == -1;
        NT_CHECK(is_rest || (shape->value[i] >= 1 && shape->value[i] <= (int64_t)1 << 40), NT_ERR_CONFIG,
                 "reshape: dimension %d of shape is %lld; write sizes, and -1 for one that is left over",
                 i + 1, (long long)shape->value[i]);
        NT_CHECK(!is_rest || *rest < 0, NT_ERR_CONFIG, "reshape: only one dimension of shape can be -1");
        if (is_rest) *rest = i;
        layer->out.dim[i] = is_rest ? 1 : shape->value[i];
    }
    return NT_OK;
}

static nt_status reshape_infer(nt_layer *layer)
{
    int rest = -1;
    char in[NT_SHAPE_TEXT_BYTES], out[NT_SHAPE_TEXT_BYTES];
    NT_TRY(read_shape(layer, &rest));
    int64_t elems = nt_shape_elems(layer->in[0]), known = 1;
    for (int i = 0; i < layer->out.n_dims; i++)
        NT_CHECK(!__builtin_mul_overflow(known, layer->out.dim[i], &known), NT_ERR_CONFIG,
                 "reshape: shape %s has too many elements", nt_shape_text(layer->out, out));
    if (rest >= 0 && elems % known == 0) layer->out.dim[rest] = elems / known;
    NT_CHECK(rest >= 0 ? elems % known == 0 : elems == known, NT_ERR_CONFIG,
             "reshape: input %s has %lld elements, which do not fit into shape %s%s",
             nt_shape_text(layer->in[0], in), (long long)elems, nt_shape_text(layer->out, out),
             rest >= 0 ? " whatever stands for its -1" : "");
    return NT_OK;
}

static const nt_option reshape_options[] = {
    {.key = "shape",
     .type = NT_OPTION_INTS,
     .offset = offsetof(nt_reshape_options, shape),
     .flags = NT_OPTION_REQUIRED,
     .help = "dimensions of a sample, without the batch; one may be -1: what is left over"},
};

static nt_status reshape_onnx(const nt_layer *layer, nt_onnx *o)
{
    int64_t shape[NT_MAX_DIMS] = {0}; /* 0: the batch as it is */
    memcpy(shape + 1, layer->out.dim, (size_t)layer->out.n_dims * sizeof *shape);
    const char *wanted = nt_onnx_ints(o, shape, layer->out.n_dims + 1);
    nt_onnx_op(o, "Reshape");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_input(o, wanted);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_reshape = {
    .section = {.name = "reshape",
                .help = "the same elements under another shape",
                .size = sizeof(nt_reshape_options),
                .options = reshape_options,
                .n_options = NT_N_ELEMS(reshape_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = reshape_infer,
    .onnx = reshape_onnx,
};
