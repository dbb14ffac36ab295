/* input: the first node of every graph. x is the batch as stored (uint8 or float32, plain), y (N, ...) is
 * real: y = (x * scale - mean[c]) * inv_std[c], c the channel (first dimension of a sample); n_channels 0:
 * only scale. Its uint8 stays uint8 until here. Made by the model builder, never written in a config. */
#ifndef NT_CORE_LAYERS_INPUT_H
#define NT_CORE_LAYERS_INPUT_H

#include "core/layer.h"

#define NT_MAX_CHANNELS 64

typedef struct nt_input_options {
    double scale;
    int n_channels; /* 0, 1 (one value for all), or the channels of a sample */
    double mean[NT_MAX_CHANNELS], inv_std[NT_MAX_CHANNELS];
} nt_input_options;

#endif
