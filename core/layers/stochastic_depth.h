/* stochastic_depth (Huang et al. 2016; torchvision's mode "row"): in training y = x / (1 - rate) for a sample
 * that is kept and 0 for one that is dropped; y = x in inference. It stands at the end of a residual branch.
 *
 * Sample row n is kept iff nt_rng_uniform(word) >= rate, word = nt_rng_block(seed, NT_RNG_DROPOUT, op->id, 0,
 * (uint32_t)pass->sample[n], (uint32_t)pass->epoch).v[0]: element 0 of a dropout mask. */
#ifndef NT_CORE_LAYERS_STOCHASTIC_DEPTH_H
#define NT_CORE_LAYERS_STOCHASTIC_DEPTH_H

#include "core/layer.h"

typedef struct nt_stochastic_depth_options {
    double rate; /* in [0, 1) */
} nt_stochastic_depth_options;

#endif
