/* layer_norm: PyTorch wants the normalised shape spelled out; here the number of its dimensions is enough,
 * because shapes are known: 1 for tokens (T, E), 3 for a whole map (C, H, W). */
#include "core/layers/layer_norm.h"

#include "core/init.h"
#include "core/layers/common.h"
#include "core/onnx.h"

#include <stdlib.h>

static nt_status layer_norm_infer(nt_layer *layer)
{
    const nt_layer_norm_options *o = layer->options;
    const nt_shape in = layer->in[0];
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(o->normalized_dims >= 1 && o->normalized_dims <= in.n_dims, NT_ERR_CONFIG,
             "layer_norm: normalized_dims = %lld, but input %s has %d dimensions",
             (long long)o->normalized_dims, nt_shape_text(in, text), in.n_dims);
    NT_CHECK(o->eps > 0, NT_ERR_CONFIG, "layer_norm: eps is %g, must be greater than 0", o->eps);
    layer->out = in;
    if (!o->elementwise_affine) return NT_OK;
    nt_shape run = {.n_dims = (int)o->normalized_dims};
    for (int i = 0; i < run.n_dims; i++)
        run.dim[i] = in.dim[in.n_dims - run.n_dims + i];
    nt_layer_add_param(layer, "weight", run, NT_PARAM_NORM, nt_init_constant(1));
    nt_layer_add_param(layer, "bias", run, NT_PARAM_NORM, nt_init_constant(0));
    return NT_OK;
}

static int64_t layer_norm_flops(const nt_layer *layer)
{
    return nt_count_mul(8, nt_shape_elems(layer->in[0]));
}

static const nt_option layer_norm_options[] = {
    {.key = "normalized_dims",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_layer_norm_options, normalized_dims),
     .def = "1",
     .min = 1,
     .max = NT_MAX_DIMS,
     .help = "how many of the last dimensions are normalised together"},
    {.key = "eps",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_layer_norm_options, eps),
     .def = "1e-5",
     .min = NT_ABOVE_ZERO,
     .max = 1,
     .help = "added to the variance"},
    {.key = "elementwise_affine",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_layer_norm_options, elementwise_affine),
     .def = "yes",
     .help = "trained scale and shift of each element"},
};

/* Ones, as many as are normalised together: the operator must have a scale, and onnxruntime took one that is
 * broadcast, as the standard allows, only from the end of 2025 on. NULL if there is no memory. */
static const char *unit_scale(const nt_layer *layer, nt_onnx *o)
{
    const int n_dims = (int)((const nt_layer_norm_options *)layer->options)->normalized_dims;
    nt_shape run = {.n_dims = n_dims};
    for (int i = 0; i < n_dims; i++)
        run.dim[i] = layer->out.dim[layer->out.n_dims - n_dims + i];
    const size_t n = (size_t)nt_shape_elems(run);
    float *ones = calloc(n, sizeof *ones);
    if (!ones) return NULL;
    for (size_t i = 0; i < n; i++)
        ones[i] = 1;
    const char *name = nt_onnx_floats(o, ones, run);
    free(ones);
    return name;
}

static nt_status layer_norm_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_layer_norm_options *l = layer->options;
    const char *scale = l->elementwise_affine ? nt_onnx_param(o, NT_LN_WEIGHT) : unit_scale(layer, o);
    NT_CHECK_ALLOC(scale, (size_t)nt_shape_elems(layer->out) * sizeof(float));
    nt_onnx_op(o, "LayerNormalization");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_input(o, scale);
    if (l->elementwise_affine) nt_onnx_input(o, nt_onnx_param(o, NT_LN_BIAS));
    nt_onnx_int(o, "axis", -l->normalized_dims);
    nt_onnx_float(o, "epsilon", l->eps);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_layer_norm = {
    .section = {.name = "layer_norm",
                .help = "normalisation of each sample or token by itself",
                .size = sizeof(nt_layer_norm_options),
                .options = layer_norm_options,
                .n_options = NT_N_ELEMS(layer_norm_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = layer_norm_infer,
    .flops = layer_norm_flops,
    .onnx = layer_norm_onnx,
};
