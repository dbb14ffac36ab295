/* The random numbers of augmentation: blocks of NT_RNG_DATA named by what they are for, the sample (or, for
 * mixing, the batch of the epoch) and the epoch. Synthetic data use the sub-ids below FIRST. */
#ifndef NT_DATASETS_AUGMENT_DRAW_H
#define NT_DATASETS_AUGMENT_DRAW_H

#include "core/rng.h"

typedef enum nt_draw_use {
    NT_DRAW_FIRST = 64,
    NT_DRAW_CROP = NT_DRAW_FIRST,
    NT_DRAW_FLIP,
    NT_DRAW_ROTATION,
    NT_DRAW_JITTER,
    NT_DRAW_RANDAUGMENT,
    NT_DRAW_ERASE,
    NT_DRAW_CUTOUT,
    NT_DRAW_MIX,
    NT_DRAW_LAMBDA,
    NT_DRAW_RECTANGLE,
} nt_draw_use;

typedef struct nt_draw {
    uint64_t seed;
    int64_t epoch, sample; /* below 2^32 and 2^56 */
} nt_draw;

/* Block k < 256 of a use. */
static inline nt_philox nt_draw_block(const nt_draw *draw, nt_draw_use use, uint32_t k)
{
    uint64_t sample = (uint64_t)draw->sample;
    return nt_rng_block(draw->seed, NT_RNG_DATA, (uint32_t)use, k | (uint32_t)(sample >> 32) << 8,
                        (uint32_t)sample, (uint32_t)draw->epoch);
}

#endif
