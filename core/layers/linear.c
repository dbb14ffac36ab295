/* linear: a matrix product. An input of several dimensions is taken as one long vector, so a flatten before
 * it is allowed and not needed; with axis = last it is taken as many vectors, as PyTorch does. The operation
 * then sees these as a larger batch, so backends have nothing to know about it. */
#include "core/layers/linear.h"

#include "core/init.h"
#include "core/layers/common.h"
#include "core/onnx.h"

static nt_status linear_infer(nt_layer *layer)
{
    nt_linear_options *o = layer->options;
    const nt_shape in = layer->in[0];
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(o->axis == NT_LINEAR_ALL || in.n_dims <= 2, NT_ERR_CONFIG,
             "linear: axis = last needs an input of shape positions x features, got %s; for maps take a "
             "conv2d with kernel = 1",
             nt_shape_text(in, text));
    layer->folds = o->axis == NT_LINEAR_LAST && in.n_dims > 1;
    int64_t features = layer->folds ? in.dim[in.n_dims - 1] : nt_shape_elems(in);
    NT_CHECK(o->units >= 1, NT_ERR_CONFIG, "linear: units is %lld, must be at least 1", (long long)o->units);
    o->has_bias = nt_layer_wants_bias(layer, o->bias);
    layer->weight_of = o->weight;
    layer->out = layer->folds ? in : nt_shape_of(1, o->units);
    layer->out.dim[layer->out.n_dims - 1] = o->units;
    nt_layer_add_param(layer, "weight", nt_shape_of(2, o->units, features), NT_PARAM_WEIGHT,
                       nt_init_resolve_weight(&o->init, features, o->units));
    if (o->has_bias)
        nt_layer_add_param(layer, "bias", nt_shape_of(1, o->units), NT_PARAM_BIAS,
                           nt_init_resolve_bias(&o->init, features));
    return NT_OK;
}

static int64_t linear_flops(const nt_layer *layer)
{
    return nt_count_mul(2, nt_count_mul(layer->param[0].shape.dim[1], nt_shape_elems(layer->out)));
}

static const char *const axis_choices[] = {"all", "last", NULL};

static const nt_option linear_options[] = {
    {.key = "units",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_linear_options, units),
     .min = 1,
     .max = 1 << 28,
     .flags = NT_OPTION_REQUIRED,
     .help = "number of outputs"},
    {.key = "axis",
     .type = NT_OPTION_ENUM,
     .offset = offsetof(nt_linear_options, axis),
     .def = "all",
     .choices = axis_choices,
     .help = "all: a sample is one vector; last: the same layer at each position of the last dimension"},
    {.key = "bias",
     .type = NT_OPTION_ENUM,
     .offset = offsetof(nt_linear_options, bias),
     .def = "auto",
     .choices = nt_bias_choices,
     .help = "add a trained constant; auto: unless a batchnorm follows"},
    {.key = "weight",
     .type = NT_OPTION_STRING,
     .offset = offsetof(nt_linear_options, weight),
     .help = "a layer before this one whose weight this one has, too, as a language model has that of its "
             "embedding; default: a weight of its own"},
    NT_INIT_OPTIONS(nt_linear_options),
};

/* Gemm for vectors; for positions MatMul with the transposed weight. */
static nt_status linear_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_linear_options *l = layer->options;
    const char *x = nt_onnx_x(o, 0);
    if (l->axis == NT_LINEAR_LAST && layer->in[0].n_dims > 1) {
        x = nt_onnx_apply(o, "MatMul", x, nt_onnx_apply(o, "Transpose", nt_onnx_param(o, 0), NULL));
        nt_onnx_op(o, l->has_bias ? "Add" : "Identity");
        nt_onnx_input(o, x);
    } else {
        if (layer->in[0].n_dims > 1) x = nt_onnx_apply(o, "Flatten", x, NULL);
        nt_onnx_op(o, "Gemm");
        nt_onnx_input(o, x);
        nt_onnx_input(o, nt_onnx_param(o, 0));
        nt_onnx_int(o, "transB", 1);
    }
    if (l->has_bias) nt_onnx_input(o, nt_onnx_param(o, 1));
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_linear = {
    .section = {.name = "linear",
                .help = "fully connected layer",
                .size = sizeof(nt_linear_options),
                .options = linear_options,
                .n_options = NT_N_ELEMS(linear_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .takes_batchnorm = true,
    .infer = linear_infer,
    .flops = linear_flops,
    .onnx = linear_onnx,
};
