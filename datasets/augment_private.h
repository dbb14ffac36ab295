/* What [augment] has come to for one kind of samples; shared by augment.c, which checks it, and augmenter.c,
 * which does it. */
#ifndef NT_DATASETS_AUGMENT_PRIVATE_H
#define NT_DATASETS_AUGMENT_PRIVATE_H

#include "datasets/augment.h"
#include "datasets/image.h"

typedef enum nt_geometry { NT_GEOMETRY_NONE, NT_GEOMETRY_CROP, NT_GEOMETRY_RESIZED } nt_geometry;

struct nt_augment {
    nt_augment_options o; /* lists are the config's */
    uint64_t seed;
    nt_sample_spec spec;             /* of what comes out */
    nt_image stored, out;            /* their sizes; no data */
    int geometry;                    /* nt_geometry */
    int64_t eval_height, eval_width; /* NT_GEOMETRY_RESIZED: before the centre is cut out */
    bool jitters, changes_pixels;    /* colours; anything beyond geometry and flips */
    nt_mix_options mix;
    float fill[NT_MAX_CHANNELS]; /* what erased pixels become: the mean of the data, as stored */
};

/* The part that resized_crop takes of a sample. */
nt_window nt_augment_window(const nt_augment *augment, int64_t epoch, int64_t sample);

#endif
