/* group_norm: statistics of groups of channels of one sample, so that the batch's size does not matter. */
#include "core/layers/group_norm.h"

#include "core/init.h"
#include "core/layers/common.h"

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
};
