/* position_embedding and class_token: what a transformer adds to its tokens. */
#include "core/layers/position_embedding.h"

#include "core/onnx.h"

/* The one parameter: "weight", or PyTorch's bare nn.Parameter, which has a batch of 1 in front. */
static void add_vectors(nt_layer *layer, nt_shape shape, bool bare, double std)
{
    nt_layer_add_param(layer, bare ? "" : "weight", bare ? nt_shape_with_n(shape, 1) : shape, NT_PARAM_WEIGHT,
                       (nt_init){.type = NT_INIT_NORMAL, .b = std});
}

static nt_status position_infer(nt_layer *layer)
{
    const nt_position_embedding_options *o = layer->options;
    const nt_shape in = layer->in[0];
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(o->max_length == 0 || o->max_length >= in.dim[0], NT_ERR_CONFIG,
             "position_embedding: max_length = %lld, but input %s has %lld positions",
             (long long)o->max_length, nt_shape_text(in, text), (long long)in.dim[0]);
    nt_shape table = in;
    if (o->max_length > 0) table.dim[0] = o->max_length;
    layer->out = in;
    NT_CHECK(!o->bare || in.n_dims < NT_MAX_DIMS, NT_ERR_CONFIG,
             "position_embedding: bare = yes needs an input of fewer dimensions than %s",
             nt_shape_text(in, text));
    add_vectors(layer, table, o->bare, o->init_std);
    return NT_OK;
}

static int64_t position_flops(const nt_layer *layer)
{
    return nt_shape_elems(layer->out);
}

static nt_status class_token_infer(nt_layer *layer)
{
    const nt_class_token_options *o = layer->options;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(layer->in[0].n_dims == 2, NT_ERR_CONFIG,
             "class_token needs an input of shape positions x features, got %s",
             nt_shape_text(layer->in[0], text));
    layer->out = nt_shape_of(2, layer->in[0].dim[0] + 1, layer->in[0].dim[1]);
    nt_shape token = nt_shape_of(1, layer->in[0].dim[1]);
    add_vectors(layer, o->bare ? nt_shape_with_n(token, 1) : token, o->bare, o->init_std);
    return NT_OK;
}

/* The first T rows of the table. */
static nt_status position_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_position_embedding_options *l = layer->options;
    const char *rows = nt_onnx_param(o, 0);
    if (l->max_length > layer->in[0].dim[0]) {
        const char *begin = nt_onnx_ints(o, &(int64_t){0}, 1),
                   *axis = nt_onnx_ints(o, &(int64_t){l->bare}, 1);
        const char *end = nt_onnx_ints(o, &layer->in[0].dim[0], 1);
        nt_onnx_op(o, "Slice");
        nt_onnx_input(o, rows);
        nt_onnx_input(o, begin);
        nt_onnx_input(o, end);
        nt_onnx_input(o, axis);
        rows = nt_onnx_end(o);
    }
    nt_onnx_op(o, "Add");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_input(o, rows);
    nt_onnx_end_layer(o);
    return NT_OK;
}

/* The token as often as there are samples, in front of the others. */
static nt_status class_token_onnx(const nt_layer *layer, nt_onnx *o)
{
    const char *zero = nt_onnx_ints(o, &(int64_t){0}, 1);
    const char *rest = nt_onnx_ints(o, (int64_t[]){1, layer->out.dim[1]}, 2);
    const char *n = nt_onnx_apply(o, "Gather", nt_onnx_apply(o, "Shape", nt_onnx_x(o, 0), NULL), zero);
    nt_onnx_op(o, "Concat");
    nt_onnx_input(o, n);
    nt_onnx_input(o, rest);
    nt_onnx_int(o, "axis", 0);
    const char *shape = nt_onnx_end(o);
    const char *tokens = nt_onnx_apply(o, "Expand", nt_onnx_param(o, 0), shape);
    nt_onnx_op(o, "Concat");
    nt_onnx_input(o, tokens);
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_int(o, "axis", 1);
    nt_onnx_end_layer(o);
    return NT_OK;
}

static const nt_option position_options[] = {
    {.key = "max_length",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_position_embedding_options, max_length),
     .def = "0",
     .min = 0,
     .max = 1 << 28,
     .help = "rows of the table; 0: as many as the input has positions"},
    {.key = "init_std",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_position_embedding_options, init_std),
     .def = "0.02",
     .min = 0,
     .max = 1e6,
     .help = "standard deviation of the initial vectors"},
    {.key = "bare",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_position_embedding_options, bare),
     .def = "no",
     .help = "weights files call it as the layer, without .weight, and give it a leading 1: a bare parameter "
             "in PyTorch, as in vision transformers"},
};

static const nt_option class_token_options[] = {
    {.key = "init_std",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_class_token_options, init_std),
     .def = "0",
     .min = 0,
     .max = 1e6,
     .help = "standard deviation of the initial token"},
    {.key = "bare",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_class_token_options, bare),
     .def = "no",
     .help = "weights files call it as the layer, without .weight, and give it a leading 1: a bare parameter "
             "in PyTorch, as in vision transformers"},
};

const nt_layer_ops nt_layer_position_embedding = {
    .section = {.name = "position_embedding",
                .help = "adds a trained vector for each position",
                .size = sizeof(nt_position_embedding_options),
                .options = position_options,
                .n_options = NT_N_ELEMS(position_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = position_infer,
    .flops = position_flops,
    .onnx = position_onnx,
};

const nt_layer_ops nt_layer_class_token = {
    .section = {.name = "class_token",
                .help = "a trained token in front of the others",
                .size = sizeof(nt_class_token_options),
                .options = class_token_options,
                .n_options = NT_N_ELEMS(class_token_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = class_token_infer,
    .onnx = class_token_onnx,
};
