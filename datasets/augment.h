/* Augmentation: what is done to a sample between the dataset and the net, in this order:
 *
 *   crop (with padding) or resized_crop; hflip, vflip; rotation; brightness, contrast, saturation and hue in
 * an order drawn for each sample; randaugment; cutout; erase; then mixup or cutmix of the batch
 * (datasets/mix.h), and normalisation, on the device.
 *
 * Every number that is drawn is a pure function of (seed, epoch, sample index), so augmentation depends
 * neither on ranks nor on threads nor on where a run was resumed. Samples keep their type: uint8 stays uint8
 * until it is normalised. Transforms and the ways their parameters are drawn are those of
 * torchvision.transforms.v2. An evaluation sees the deterministic part only: the centre of the crop, or a
 * resize and the centre of that. */
#ifndef NT_DATASETS_AUGMENT_H
#define NT_DATASETS_AUGMENT_H

#include "core/config.h"
#include "core/model.h"
#include "datasets/mix.h"

typedef struct nt_augment_options {                   /* [augment] */
    int64_t crop[2];                                  /* 0: no */
    int64_t padding[2];                               /* rows, columns on each side */
    int padding_mode;                                 /* nt_padding */
    int64_t resized_crop[2];                          /* 0: no */
    nt_floats resized_crop_scale, resized_crop_ratio; /* least and most */
    int64_t eval_resize;                              /* 0: the longer side of resized_crop / 0.875 */
    double hflip, vflip;                              /* probabilities */
    double rotation;                                  /* degrees either way */
    int interpolation;                                /* 0 nearest, 1 bilinear */
    double brightness, contrast, saturation, hue;
    int64_t randaugment, randaugment_magnitude;
    int64_t cutout; /* side in pixels; 0: no */
    double erase;   /* probability */
    nt_floats erase_scale, erase_ratio;
    double mixup, cutmix, mix_probability;
    int64_t threads;
} nt_augment_options;
extern const nt_section nt_augment_section;

typedef struct nt_augment nt_augment; /* read-only once made: any number of threads */

/* Checks [augment] of the config against the samples of a dataset. NT_ERR_CONFIG with file:line. */
NT_MUST nt_status nt_augment_create(nt_augment **out, const nt_config *config, const nt_sample_spec *stored,
                                    uint64_t seed);
void nt_augment_destroy(nt_augment *augment);

/* What the net gets: x of the new size, and probabilities for labels where they are mixed. */
const nt_sample_spec *nt_augment_spec(const nt_augment *augment);

/* Whether samples are changed at all, in training or in an evaluation; whether training mixes them. */
bool nt_augment_changes(const nt_augment *augment, bool training);
const nt_mix_options *nt_augment_mixing(const nt_augment *augment); /* NULL: it does not */
uint64_t nt_augment_seed(const nt_augment *augment);
int nt_augment_threads(const nt_augment *augment);

/* "crop 32x32 of 40x40, hflip 0.5; ..."; empty where nothing is done. */
void nt_augment_describe(const nt_augment *augment, char *text, size_t cap);

/* The memory of one thread. `augment` is borrowed. */
typedef struct nt_augmenter nt_augmenter;
NT_MUST nt_status nt_augmenter_create(nt_augmenter **out, const nt_augment *augment, bool training);
void nt_augmenter_destroy(nt_augmenter *augmenter);

/* One sample as stored becomes one for the net. */
void nt_augmenter_run(nt_augmenter *augmenter, int64_t epoch, int64_t sample, void *dst, const void *src);

#endif
