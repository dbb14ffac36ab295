/* group_norm: statistics of groups of channels of one sample, so that the batch's size does not matter. */
#include "core/layers/group_norm.h"

#include "core/init.h"
#include "core/layers/common.h"
#include "core/onnx.h"

#include <stdlib.h>

static nt_status group_norm_infer(nt_layer *layer)
{
    const nt_group_norm_options *o = layer->options;
    const int64_t channels = layer->in[0].dim[0];
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(o->num_groups >= 1 && channels % o->num_groups == 0, NT_ERR_CONFIG,
             "group_norm: num_groups = %lld must divide the %lld channels of input %s",
             (long long)o->num_groups, (long long)channels, nt_shape_text(layer->in[0], text));
    NT_CHECK(o->eps > 0, NT_ERR_CONFIG, "group_norm: eps is %g, must be greater than 0", o->eps);
    layer->out = layer->in[0];
    if (!o->affine) return NT_OK;
    nt_layer_add_param(layer, "weight", nt_shape_of(1, channels), NT_PARAM_NORM, nt_init_constant(1));
    nt_layer_add_param(layer, "bias", nt_shape_of(1, channels), NT_PARAM_NORM, nt_init_constant(0));
    return NT_OK;
}

static int64_t group_norm_flops(const nt_layer *layer)
{
    return nt_count_mul(8, nt_shape_elems(layer->in[0]));
}

static const char *reshaped(nt_onnx *o, const char *x, const int64_t *shape, int n_dims)
{
    return nt_onnx_apply(o, "Reshape", x, nt_onnx_ints(o, shape, n_dims));
}

/* A parameter (C) as (C, 1, ...), against x. */
static const char *by_channel(const nt_layer *layer, nt_onnx *o, int p)
{
    int64_t shape[NT_MAX_DIMS] = {layer->out.dim[0]};
    for (int i = 1; i < layer->out.n_dims; i++)
        shape[i] = 1;
    return reshaped(o, nt_onnx_param(o, p), shape, layer->out.n_dims);
}

/* Opset 17 has no such operator (18's scales by group), but it has that of instance norm: a group is an
 * instance once it is one channel, (N, groups, the rest). */
static const char *normalised(const nt_layer *layer, nt_onnx *o, const float *ones)
{
    const nt_group_norm_options *l = layer->options;
    const nt_shape groups = nt_shape_of(1, l->num_groups);
    const int64_t shape[] = {0, l->num_groups, -1}; /* 0: the batch as it is */
    const char *x = reshaped(o, nt_onnx_x(o, 0), shape, NT_N_ELEMS(shape));
    const char *one = nt_onnx_floats(o, ones, groups),
               *zero = nt_onnx_floats(o, ones + l->num_groups, groups);
    nt_onnx_op(o, "InstanceNormalization");
    nt_onnx_input(o, x);
    nt_onnx_input(o, one);
    nt_onnx_input(o, zero);
    nt_onnx_float(o, "epsilon", l->eps);
    return nt_onnx_end(o);
}

static nt_status group_norm_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_group_norm_options *l = layer->options;
    const size_t n = (size_t)l->num_groups;
    int64_t shape[NT_MAX_DIMS + 1] = {0};
    float *ones = calloc(2 * n, sizeof *ones); /* and zeros behind them */
    NT_CHECK_ALLOC(ones, 2 * n * sizeof *ones);
    for (size_t i = 0; i < n; i++)
        ones[i] = 1;
    const char *x = normalised(layer, o, ones);
    free(ones);
    for (int i = 0; i < layer->out.n_dims; i++)
        shape[1 + i] = layer->out.dim[i];
    x = reshaped(o, x, shape, layer->out.n_dims + 1);
    if (l->affine) {
        x = nt_onnx_apply(o, "Mul", x, by_channel(layer, o, 0));
        x = nt_onnx_apply(o, "Add", x, by_channel(layer, o, 1));
    }
    nt_onnx_op(o, "Identity");
    nt_onnx_input(o, x);
    nt_onnx_end_layer(o);
    return NT_OK;
}

static const nt_option group_norm_options[] = {
    {.key = "num_groups",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_group_norm_options, num_groups),
     .min = 1,
     .max = 1 << 28,
     .flags = NT_OPTION_REQUIRED,
     .help = "groups of channels; as many as channels: instance norm"},
    {.key = "eps",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_group_norm_options, eps),
     .def = "1e-5",
     .min = NT_ABOVE_ZERO,
     .max = 1,
     .help = "added to the variance"},
    {.key = "affine",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_group_norm_options, affine),
     .def = "yes",
     .help = "trained scale and shift of each channel"},
};

const nt_layer_ops nt_layer_group_norm = {
    .section = {.name = "group_norm",
                .help = "normalisation of groups of channels of each sample",
                .size = sizeof(nt_group_norm_options),
                .options = group_norm_options,
                .n_options = NT_N_ELEMS(group_norm_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = group_norm_infer,
    .flops = group_norm_flops,
    .onnx = group_norm_onnx,
};
