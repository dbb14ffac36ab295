/* scale: a fixed affine map of each channel, for input transforms and scaled residuals. What is trained is
 * batchnorm's or a depthwise conv2d's business. */
#include "core/layers/scale.h"

#include "core/layers/common.h"
#include "core/onnx.h"

#include <stdlib.h>

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

/* One number, or one for each channel in the shape (C, 1, 1) that spreads over a map. */
static const char *put_numbers(const nt_layer *layer, nt_onnx *o, const nt_floats *values)
{
    if (values->n == 1) return nt_onnx_number(o, values->value[0]);
    float *numbers = malloc((size_t)values->n * sizeof *numbers);
    if (!numbers) return NULL;
    nt_shape shape = layer->in[0];
    for (int i = 1; i < shape.n_dims; i++)
        shape.dim[i] = 1;
    for (int i = 0; i < values->n; i++)
        numbers[i] = (float)values->value[i];
    const char *name = nt_onnx_floats(o, numbers, shape);
    free(numbers);
    return name;
}

static nt_status scale_onnx(const nt_layer *layer, nt_onnx *o)
{
    const nt_scale_options *l = layer->options;
    const char *factor = put_numbers(layer, o, &l->factor), *shift = put_numbers(layer, o, &l->shift);
    NT_CHECK_ALLOC(factor && shift, (size_t)layer->in[0].dim[0] * sizeof(float));
    const char *scaled = nt_onnx_apply(o, "Mul", nt_onnx_x(o, 0), factor);
    nt_onnx_op(o, "Add");
    nt_onnx_input(o, scaled);
    nt_onnx_input(o, shift);
    nt_onnx_end_layer(o);
    return NT_OK;
}

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
    .onnx = scale_onnx,
};
