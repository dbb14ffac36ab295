/* stochastic_depth: one option. Which samples are dropped is a formula of the header, kept by every backend.
 */
#include "core/layers/stochastic_depth.h"
#include "core/onnx.h"

static nt_status stochastic_depth_infer(nt_layer *layer)
{
    const nt_stochastic_depth_options *o = layer->options;
    NT_CHECK(o->rate >= 0 && o->rate < 1, NT_ERR_CONFIG,
             "stochastic_depth: rate is %g, must be at least 0 and less than 1", o->rate);
    layer->out = layer->in[0];
    return NT_OK;
}

static const nt_option stochastic_depth_options[] = {
    {.key = "rate",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_stochastic_depth_options, rate),
     .flags = NT_OPTION_REQUIRED,
     .min = 0,
     .max = NT_BELOW_ONE,
     .help = "probability that a sample's values are all set to zero in training, less than 1"},
};

/* Inference only. */
static nt_status stochastic_depth_onnx(const nt_layer *layer, nt_onnx *o)
{
    (void)layer;
    nt_onnx_same(o, "Identity");
    return NT_OK;
}

const nt_layer_ops nt_layer_stochastic_depth = {
    .section = {.name = "stochastic_depth",
                .help = "drops a residual branch for random samples in training",
                .size = sizeof(nt_stochastic_depth_options),
                .options = stochastic_depth_options,
                .n_options = NT_N_ELEMS(stochastic_depth_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = stochastic_depth_infer,
    .onnx = stochastic_depth_onnx,
};
