/* multihead_attention: one layer with PyTorch's four parameters, so that its weights go in and out of a state
 * dict by name. Built from linear layers it would need as many nodes and keep no fewer tensors. */
#include "core/layers/multihead_attention.h"

#include "core/init.h"
#include "core/layers/common.h"
#include "core/onnx.h"

#include <math.h>
#include <stdlib.h>

static nt_status check_options(const nt_multihead_attention_options *o, nt_shape in)
{
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(in.n_dims == 2, NT_ERR_CONFIG,
             "multihead_attention needs an input of shape positions x features, got %s",
             nt_shape_text(in, text));
    NT_CHECK(o->num_heads >= 1 && in.dim[1] % o->num_heads == 0, NT_ERR_CONFIG,
             "multihead_attention: num_heads = %lld must divide the %lld features of input %s",
             (long long)o->num_heads, (long long)in.dim[1], nt_shape_text(in, text));
    NT_CHECK(o->dropout >= 0 && o->dropout < 1, NT_ERR_CONFIG,
             "multihead_attention: dropout is %g, must be at least 0 and less than 1", o->dropout);
    return NT_OK;
}

/* As PyTorch: xavier for the joint projection, 1 / sqrt(E) for the last, biases zero. */
static void add_params(nt_layer *layer, const nt_multihead_attention_options *o, int64_t e)
{
    nt_init_options in_init = o->init;
    if (o->init.type == NT_INIT_CHOICE_AUTO) in_init.type = NT_INIT_CHOICE_XAVIER;
    nt_layer_add_param(layer, "in_proj_weight", nt_shape_of(2, 3 * e, e), NT_PARAM_WEIGHT,
                       nt_init_resolve_weight(&in_init, e, 3 * e));
    nt_layer_add_param(layer, "out_proj.weight", nt_shape_of(2, e, e), NT_PARAM_WEIGHT,
                       nt_init_resolve_weight(&o->init, e, e));
    if (!o->bias) return;
    nt_init bias = nt_init_resolve_bias(&in_init, e); /* a constant, because the type is not auto any more */
    nt_layer_add_param(layer, "in_proj_bias", nt_shape_of(1, 3 * e), NT_PARAM_BIAS, bias);
    nt_layer_add_param(layer, "out_proj.bias", nt_shape_of(1, e), NT_PARAM_BIAS, bias);
}

static nt_status attention_infer(nt_layer *layer)
{
    const nt_multihead_attention_options *o = layer->options;
    NT_TRY(check_options(o, layer->in[0]));
    layer->out = layer->in[0];
    add_params(layer, o, layer->in[0].dim[1]);
    return NT_OK;
}

static int64_t attention_flops(const nt_layer *layer)
{
    const int64_t t = layer->in[0].dim[0], e = layer->in[0].dim[1];
    int64_t projections = nt_count_mul(8, nt_count_mul(t, nt_count_mul(e, e)));
    int64_t products = nt_count_mul(4, nt_count_mul(e, nt_count_mul(t, t)));
    return projections < INT64_MAX - products ? projections + products : INT64_MAX;
}

static const nt_option attention_options[] = {
    {.key = "num_heads",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_multihead_attention_options, num_heads),
     .min = 1,
     .max = 1 << 16,
     .flags = NT_OPTION_REQUIRED,
     .help = "number of heads; divides the features"},
    {.key = "causal",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_multihead_attention_options, causal),
     .def = "no",
     .help = "a position looks only at itself and those before it"},
    {.key = "dropout",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_multihead_attention_options, dropout),
     .def = "0",
     .min = 0,
     .max = NT_BELOW_ONE,
     .help = "probability that an attention weight is set to zero in training, less than 1"},
    {.key = "bias",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_multihead_attention_options, bias),
     .def = "yes",
     .help = "add trained constants in both projections"},
    NT_INIT_OPTIONS(nt_multihead_attention_options),
};

static const char *put_product(nt_onnx *o, const char *x, int weight, int bias, bool has_bias)
{
    const char *y =
        nt_onnx_apply(o, "MatMul", x, nt_onnx_apply(o, "Transpose", nt_onnx_param(o, weight), NULL));
    return has_bias ? nt_onnx_apply(o, "Add", y, nt_onnx_param(o, bias)) : y;
}

static const char *put_transpose(nt_onnx *o, const char *x, const int64_t order[4])
{
    nt_onnx_op(o, "Transpose");
    nt_onnx_input(o, x);
    nt_onnx_int_list(o, "perm", order, 4);
    return nt_onnx_end(o);
}

/* Queries (0), keys (1) or values (2) of all heads: (N, H, T, D) from (N, T, 3 E). */
static const char *put_part(nt_onnx *o, const char *projected, int part, const int64_t split[4])
{
    const int64_t e = split[2] * split[3];
    const char *begin = nt_onnx_ints(o, &(int64_t){part * e}, 1), *axis = nt_onnx_ints(o, &(int64_t){2}, 1);
    const char *end = nt_onnx_ints(o, &(int64_t){(part + 1) * e}, 1);
    nt_onnx_op(o, "Slice");
    nt_onnx_input(o, projected);
    nt_onnx_input(o, begin);
    nt_onnx_input(o, end);
    nt_onnx_input(o, axis);
    const char *cut = nt_onnx_end(o);
    return put_transpose(o, nt_onnx_apply(o, "Reshape", cut, nt_onnx_ints(o, split, 4)),
                         (int64_t[]){0, 2, 1, 3});
}

/* (T, T): 0 where a position looks, -1e30 where it must not. NULL: out of memory. */
static const char *put_mask(nt_onnx *o, int64_t t)
{
    float *mask = calloc((size_t)(t * t), sizeof *mask);
    if (!mask) return NULL;
    for (int64_t i = 0; i < t; i++)
        for (int64_t j = i + 1; j < t; j++)
            mask[i * t + j] = -1e30f;
    const char *name = nt_onnx_floats(o, mask, nt_shape_of(2, t, t));
    free(mask);
    return name;
}

/* ONNX has no such operator in opset 17, so it is the formula of Vaswani et al. 2017, section 3.2. */
static nt_status attention_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_multihead_attention_options *l = layer->options;
    const int64_t t = layer->in[0].dim[0], e = layer->in[0].dim[1], d = e / l->num_heads;
    const int64_t split[4] = {0, t, l->num_heads, d}, joined[3] = {0, t, e};
    const char *projected = put_product(o, nt_onnx_x(o, 0), NT_MHA_IN_WEIGHT, NT_MHA_IN_BIAS, l->bias);
    const char *q = put_part(o, projected, 0, split), *k = put_part(o, projected, 1, split),
               *v = put_part(o, projected, 2, split);
    const char *scores = nt_onnx_apply(o, "MatMul", q, put_transpose(o, k, (int64_t[]){0, 1, 3, 2}));
    scores = nt_onnx_apply(o, "Mul", scores, nt_onnx_number(o, 1 / sqrt((double)d)));
    const char *mask = l->causal ? put_mask(o, t) : "";
    NT_CHECK_ALLOC(mask, (size_t)(t * t) * sizeof(float));
    if (l->causal) scores = nt_onnx_apply(o, "Add", scores, mask);
    nt_onnx_op(o, "Softmax");
    nt_onnx_input(o, scores);
    nt_onnx_int(o, "axis", -1);
    const char *heads = nt_onnx_apply(o, "MatMul", nt_onnx_end(o), v);
    heads = put_transpose(o, heads, (int64_t[]){0, 2, 1, 3});
    heads = nt_onnx_apply(o, "Reshape", heads, nt_onnx_ints(o, joined, 3));
    const char *y = put_product(o, heads, NT_MHA_OUT_WEIGHT, NT_MHA_OUT_BIAS, l->bias);
    nt_onnx_op(o, "Identity");
    nt_onnx_input(o, y);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_multihead_attention = {
    .section = {.name = "multihead_attention",
                .help = "self-attention of the positions of a sample",
                .size = sizeof(nt_multihead_attention_options),
                .options = attention_options,
                .n_options = NT_N_ELEMS(attention_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = attention_infer,
    .flops = attention_flops,
    .onnx = attention_onnx,
};
