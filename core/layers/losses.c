/* The losses: x (N, K) and a target -> y (N, 2), the loss of each sample and whether it is right (1 or 0).
 *
 * mse: mean of squared differences over K; never right. bce: binary cross-entropy of each of K logits with a
 * target in [0, 1], mean over K; right if every sign is. cross_entropy: K logits and one class; right if the
 * (first) largest logit is the class's. What the targets are is seen in their shape: () is a class, (K) are
 * values. Both mistakes are named here, before any data are read. */
#include "core/layer.h"
#include "core/layers/common.h"

static nt_status need_vector(const nt_layer *layer)
{
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(layer->in[0].n_dims == 1, NT_ERR_CONFIG,
             "%s needs outputs in one dimension, got %s; end the model with a linear, flatten or "
             "global_avg_pool layer",
             layer->ops->section.name, nt_shape_text(layer->in[0], text));
    return NT_OK;
}

/* mse and bce */
static nt_status values_infer(nt_layer *layer)
{
    const char *type = layer->ops->section.name;
    char out[NT_SHAPE_TEXT_BYTES], target[NT_SHAPE_TEXT_BYTES];
    NT_TRY(need_vector(layer));
    NT_CHECK(layer->in[1].n_dims != 0, NT_ERR_CONFIG,
             "%s needs targets of %s float values a sample, but the data have one class label each; for "
             "classes use cross_entropy",
             type, nt_shape_text(layer->in[0], out));
    NT_CHECK(nt_shape_equal(layer->in[0], layer->in[1]), NT_ERR_CONFIG,
             "%s needs an output for each target value, but the output is %s and the target %s", type,
             nt_shape_text(layer->in[0], out), nt_shape_text(layer->in[1], target));
    layer->out = nt_shape_of(1, (int64_t)2);
    return NT_OK;
}

static nt_status cross_entropy_infer(nt_layer *layer)
{
    char text[NT_SHAPE_TEXT_BYTES];
    NT_TRY(need_vector(layer));
    NT_CHECK(layer->in[1].n_dims == 0, NT_ERR_CONFIG,
             "cross_entropy needs one integer class label a sample, but the targets are values of shape %s; "
             "for values use mse, for probabilities bce",
             nt_shape_text(layer->in[1], text));
    NT_CHECK(layer->in[0].dim[0] >= 2, NT_ERR_CONFIG,
             "cross_entropy needs one output for each class, at least 2, got %s; for one logit use bce",
             nt_shape_text(layer->in[0], text));
    layer->out = nt_shape_of(1, (int64_t)2);
    return NT_OK;
}

static int64_t loss_flops(const nt_layer *layer)
{
    return nt_count_mul(4, nt_shape_elems(layer->in[0]));
}

const nt_layer_ops nt_loss_mse = {
    .section = {.name = "mse", .help = "mean squared error of float targets"},
    .min_inputs = 2,
    .max_inputs = 2,
    .is_loss = true,
    .infer = values_infer,
    .flops = loss_flops,
};

const nt_layer_ops nt_loss_bce = {
    .section = {.name = "bce", .help = "binary cross-entropy of logits with float targets in 0..1"},
    .min_inputs = 2,
    .max_inputs = 2,
    .is_loss = true,
    .infer = values_infer,
    .flops = loss_flops,
};

const nt_layer_ops nt_loss_cross_entropy = {
    .section = {.name = "cross_entropy", .help = "softmax cross-entropy of logits with class labels"},
    .min_inputs = 2,
    .max_inputs = 2,
    .is_loss = true,
    .infer = cross_entropy_infer,
    .flops = loss_flops,
};
