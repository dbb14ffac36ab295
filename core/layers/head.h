/* head: an auxiliary output, x (N, ...) -> y = x. [loss] (or the loss that `loss` names) is taken of it too,
 * in training only, and added to that of the model's output loss_weight times; dx = loss_weight dy.
 *
 * total_loss: made by the model builder where there are heads, the last node: x[k] (N, 2) of the losses -> y
 * (N, 2), the weighted sum of the losses, and how many answers x[0], the loss of the output, calls right.
 * No gradient goes through it: losses scale theirs themselves, heads weight it. */
#ifndef NT_CORE_LAYERS_HEAD_H
#define NT_CORE_LAYERS_HEAD_H

#include "core/layer.h"

#define NT_MAX_HEADS 15

typedef struct nt_head_options {
    const char *loss; /* a loss, or "auto": that of [loss] */
    double loss_weight;
} nt_head_options;

typedef struct nt_total_loss_options {
    double weight[1 + NT_MAX_HEADS]; /* of each input */
} nt_total_loss_options;

#endif
