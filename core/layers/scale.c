/* scale: a fixed affine map of each channel, for input transforms and scaled residuals. What is trained is
 * batchnorm's or a depthwise conv2d's business. */
#include "core/layers/scale.h"

#include "core/layers/common.h"

static nt_status check_count(const nt_layer *layer, const char *key, const nt_floats *values)
{
    char text[NT_SHAPE_TEXT_BYTES];
    int64_t channels = layer->in[0].dim[0];
    NT_CHECK(values->n == 1 || values->n == channels, NT_ERR_CONFIG,
             "scale: %s has %d values, but input %s has %lld channels: give 1 or %lld", key, values->n,
             nt_shape_text(layer->in[0], text), (long long)channels, (long long)channels);
    return NT_OK;
}

static nt_status scale_infer(nt_layer *layer)
{
    const nt_scale_options *o = layer->options;
    NT_TRY(check_count(layer, "factor", &o->factor));
    NT_TRY(check_count(layer, "shift", &o->shift));
    layer->out = layer->in[0];
    return NT_OK;
}

static int64_t scale_flops(const nt_layer *layer)
{
    return nt_count_mul(2, nt_shape_elems(layer->out));
}

static const nt_option scale_options[] = {
    {.key = "factor",
     .type = NT_OPTION_FLOATS,
     .offset = offsetof(nt_scale_options, factor),
     .def = "1",
     .help = "one number, or one for each channel"},
    {.key = "shift",
     .type = NT_OPTION_FLOATS,
     .offset = offsetof(nt_scale_options, shift),
     .def = "0",
     .help = "added after it; one number, or one for each channel"},
};

const nt_layer_ops nt_layer_scale = {
    .section = {.name = "scale",
                .help = "fixed factor and shift of each channel",
                .size = sizeof(nt_scale_options),
                .options = scale_options,
                .n_options = NT_N_ELEMS(scale_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = scale_infer,
    .flops = scale_flops,
};
