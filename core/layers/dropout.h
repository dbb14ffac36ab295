/* dropout (Srivastava et al. 2014, inverted): y = x * mask / (1 - rate) in training, y = x in inference.
 *
 * Element e of sample row n is kept iff nt_rng_uniform(word) >= rate, word = nt_rng_block(seed,
 * NT_RNG_DROPOUT, op->id, e / 4, (uint32_t)pass->sample[n], (uint32_t)pass->epoch).v[e % 4], with e counted
 * in canonical (C, H, W) order whatever the layout. */
#ifndef NT_CORE_LAYERS_DROPOUT_H
#define NT_CORE_LAYERS_DROPOUT_H

#include "core/layer.h"

typedef struct nt_dropout_options {
    double rate; /* in [0, 1) */
} nt_dropout_options;

#endif
