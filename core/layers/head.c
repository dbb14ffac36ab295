/* head and total_loss: several outputs with weighted losses. The weight sits in the head and not in the loss,
 * so that every backend's losses are what they were. */
#include "core/layers/head.h"

#include "core/layers/common.h"

static nt_status head_infer(nt_layer *layer)
{
    const nt_head_options *o = layer->options;
    NT_CHECK(o->loss_weight >= 0, NT_ERR_CONFIG, "head: loss_weight is %g, must not be negative",
             o->loss_weight);
    layer->out = layer->in[0];
    return NT_OK;
}

static nt_status total_infer(nt_layer *layer)
{
    NT_BUG_UNLESS(layer->n_inputs <= 1 + NT_MAX_HEADS, "%d losses, room is for %d", layer->n_inputs,
                  1 + NT_MAX_HEADS);
    layer->out = layer->in[0];
    return NT_OK;
}

static const nt_option head_options[] = {
    {.key = "loss_weight",
     .type = NT_OPTION_FLOAT,
     .offset = offsetof(nt_head_options, loss_weight),
     .def = "1",
     .min = 0,
     .max = 1e6,
     .help = "factor on the loss of this output, which is added to that of the model's last layer"},
    {.key = "loss",
     .type = NT_OPTION_STRING,
     .offset = offsetof(nt_head_options, loss),
     .def = "auto",
     .help = "another loss than that of [loss], whose options it shares"},
};

const nt_layer_ops nt_layer_head = {
    .section = {.name = "head",
                .help = "an auxiliary output with a loss of its own, in training only",
                .size = sizeof(nt_head_options),
                .options = head_options,
                .n_options = NT_N_ELEMS(head_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = head_infer,
};

const nt_layer_ops nt_layer_total_loss = {
    .section = {.name = "total_loss",
                .help = "weighted sum of the losses",
                .size = sizeof(nt_total_loss_options)},
    .min_inputs = 2,
    .max_inputs = -1,
    .is_loss = true,
    .infer = total_infer,
};
