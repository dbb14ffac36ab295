/* batchnorm: four parameters per channel, two trained and two running statistics. The order in which infer()
 * adds them is the one backends index by (NT_BN_WEIGHT ...). */
#include "core/layers/batchnorm.h"

#include "core/init.h"
#include "core/layers/common.h"
#include "core/onnx.h"

static nt_status batchnorm_infer(nt_layer *layer)
{
    const nt_batchnorm_options *o = layer->options;
    NT_CHECK(o->eps > 0, NT_ERR_CONFIG, "batchnorm: eps is %g, must be greater than 0", o->eps);
    NT_CHECK(o->momentum >= 0 && o->momentum <= 1, NT_ERR_CONFIG,
             "batchnorm: momentum is %g, must be between 0 and 1", o->momentum);
    const nt_shape channels = nt_shape_of(1, layer->in[0].dim[0]);
    layer->out = layer->in[0];
    /* in the order of NT_BN_WEIGHT ... NT_BN_VAR */
    nt_layer_add_param(layer, "weight", channels, NT_PARAM_NORM, nt_init_constant(1));
    nt_layer_add_param(layer, "bias", channels, NT_PARAM_NORM, nt_init_constant(0));
    nt_layer_add_param(layer, "running_mean", channels, NT_PARAM_STAT, nt_init_constant(0));
    nt_layer_add_param(layer, "running_var", channels, NT_PARAM_STAT, nt_init_constant(1));
    return NT_OK;
}

static int64_t batchnorm_flops(const nt_layer *layer)
{
    return nt_count_mul(2, nt_shape_elems(layer->in[0]));
}

static nt_status batchnorm_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_batchnorm_options *b = layer->options;
    nt_onnx_op(o, "BatchNormalization");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    for (int p = 0; p < layer->n_params; p++) /* in ONNX's order too: scale, shift, mean, variance */
        nt_onnx_input(o, nt_onnx_param(o, p));
    nt_onnx_float(o, "epsilon", b->eps);
    nt_onnx_end_layer(o);
    return NT_OK;
}

static const nt_option batchnorm_options[] = {
    {.key = "eps",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_batchnorm_options, eps),
     .def = "1e-5",
     .min = NT_ABOVE_ZERO,
     .max = 1,
     .help = "added to the variance"},
    {.key = "momentum",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_batchnorm_options, momentum),
     .def = "0.1",
     .min = 0,
     .max = 1,
     .help = "weight of the new batch in the running statistics"},
};

const nt_layer_ops nt_layer_batchnorm = {
    .section = {.name = "batchnorm",
                .help = "normalisation of each channel over the batch",
                .size = sizeof(nt_batchnorm_options),
                .options = batchnorm_options,
                .n_options = NT_N_ELEMS(batchnorm_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = batchnorm_infer,
    .flops = batchnorm_flops,
    .onnx = batchnorm_onnx,
};

bool nt_layer_is_batchnorm(const nt_layer *layer)
{
    return layer->ops == &nt_layer_batchnorm;
}
