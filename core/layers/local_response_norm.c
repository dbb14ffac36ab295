/* local_response_norm: no parameters, four constants with PyTorch's names and defaults. */
#include "core/layers/local_response_norm.h"

#include "core/layers/common.h"
#include "core/onnx.h"

static nt_status lrn_infer(nt_layer *layer)
{
    const nt_local_response_norm_options *o = layer->options;
    NT_CHECK(o->size >= 1, NT_ERR_CONFIG, "local_response_norm: size is %lld, must be at least 1",
             (long long)o->size);
    NT_CHECK(o->k > 0 && o->alpha >= 0, NT_ERR_CONFIG,
             "local_response_norm: k = %g must be greater than 0 and alpha = %g not negative", o->k,
             o->alpha);
    layer->out = layer->in[0];
    return NT_OK;
}

static int64_t lrn_flops(const nt_layer *layer)
{
    const nt_local_response_norm_options *o = layer->options;
    return nt_count_mul(2 + o->size, nt_shape_elems(layer->out));
}

static const nt_option lrn_options[] = {
    {.key = "size",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_local_response_norm_options, size),
     .min = 1,
     .max = 1 << 16,
     .flags = NT_OPTION_REQUIRED,
     .help = "number of neighbouring channels"},
    {.key = "alpha",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_local_response_norm_options, alpha),
     .def = "1e-4",
     .min = 0,
     .max = 1e6,
     .help = "factor on the neighbours' mean square"},
    {.key = "beta",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_local_response_norm_options, beta),
     .def = "0.75",
     .min = 0,
     .max = 100,
     .help = "exponent"},
    {.key = "k",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_local_response_norm_options, k),
     .def = "1",
     .min = NT_ABOVE_ZERO,
     .max = 1e6,
     .help = "added to the mean square"},
};

static nt_status local_response_norm_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_local_response_norm_options *l = layer->options;
    NT_CHECK(l->size % 2 == 1, NT_ERR_CONFIG,
             "local_response_norm over an even number of channels has no form in ONNX");
    nt_onnx_op(o, "LRN");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_float(o, "alpha", l->alpha);
    nt_onnx_float(o, "beta", l->beta);
    nt_onnx_float(o, "bias", l->k);
    nt_onnx_int(o, "size", l->size);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_local_response_norm = {
    .section = {.name = "local_response_norm",
                .help = "divides by a power of the neighbouring channels' mean square",
                .size = sizeof(nt_local_response_norm_options),
                .options = lrn_options,
                .n_options = NT_N_ELEMS(lrn_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = lrn_infer,
    .flops = lrn_flops,
    .onnx = local_response_norm_onnx,
};
