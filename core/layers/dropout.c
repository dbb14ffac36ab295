/* dropout: one option. Which elements are dropped is a formula of core/layers/dropout.h, kept by every
 * backend. */
#include "core/layers/dropout.h"
#include "core/onnx.h"

static nt_status dropout_infer(nt_layer *layer)
{
    const nt_dropout_options *o = layer->options;
    NT_CHECK(o->rate >= 0 && o->rate < 1, NT_ERR_CONFIG,
             "dropout: rate is %g, must be at least 0 and less than 1", o->rate);
    layer->out = layer->in[0];
    return NT_OK;
}

static const nt_option dropout_options[] = {
    {.key = "rate",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_dropout_options, rate),
     .def = "0.5",
     .min = 0,
     .max = 1,
     .help = "probability that an element is set to zero in training, less than 1"},
};

/* Inference only. */
static nt_status dropout_onnx(const nt_layer *layer, nt_onnx *o)
{
    (void)layer;
    nt_onnx_same(o, "Identity");
    return NT_OK;
}

const nt_layer_ops nt_layer_dropout = {
    .section = {.name = "dropout",
                .help = "random zeros in training, scaled so that the mean stays",
                .size = sizeof(nt_dropout_options),
                .options = dropout_options,
                .n_options = NT_N_ELEMS(dropout_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = dropout_infer,
    .onnx = dropout_onnx,
};
