/* One image in memory, and what augmentation can do to it: the functions of torchvision.transforms.v2 for
 * tensors of the same type, with the parameters given. Nothing here is random, allocates or can fail: what
 * could go wrong is found when an augmentation is set up (datasets/augment.h).
 *
 * Geometry takes uint8 and float32. Colours are uint8 only, of 1 or 3 channels, as torchvision has it:
 * results are cut, not rounded, to bytes, except where a comment says otherwise. */
#ifndef NT_DATASETS_IMAGE_H
#define NT_DATASETS_IMAGE_H

#include "core/tensor.h"

typedef struct nt_image {
    nt_dtype dtype; /* NT_U8 or NT_F32 */
    int64_t channels, height, width;
    void *data; /* (C, H, W) */
} nt_image;

/* One row of one channel. */
static inline void *nt_image_row(const nt_image *image, int64_t c, int64_t y)
{
    size_t elem = image->dtype == NT_U8 ? 1 : sizeof(float);
    return (char *)image->data + (size_t)((c * image->height + y) * image->width) * elem;
}

/* --- geometry (image.c); dst and src are different memory of the same channels and type --- */

typedef enum nt_padding { NT_PADDING_ZEROS, NT_PADDING_EDGE, NT_PADDING_REFLECT } nt_padding;

typedef struct nt_crop {
    int64_t top, left; /* of the window in src, which may hang over */
    int padding;       /* nt_padding: what lies beyond; reflect: by less than a side */
    bool hflip, vflip; /* of what was cut out */
} nt_crop;

/* The window of dst's size at (top, left) of src. */
void nt_image_crop(nt_image *dst, const nt_image *src, const nt_crop *crop);

/* Where a pixel of dst comes from, in coordinates from the centre of the image: x' = m[0] x + m[1] y + m[2],
 * y' = m[3] x + m[4] y + m[5]. */
typedef struct nt_affine {
    double m[6];
    bool bilinear; /* else the nearest pixel */
} nt_affine;

nt_affine nt_affine_rotation(double degrees); /* counter-clockwise */

/* dst and src of one size; zeros beyond src. */
void nt_image_affine(nt_image *dst, const nt_image *src, const nt_affine *affine);

/* A rectangle inside the image becomes fill[c]. */
void nt_image_erase(nt_image *image, int64_t top, int64_t left, int64_t height, int64_t width,
                    const float *fill);

/* --- resampling (resample.c): windows of any size to one size, bilinear with antialias, as Pillow and
 * torchvision do it. uint8 is rounded once, at the end; they round after each of the two axes, and differ by
 * one level. --- */

typedef struct nt_resampler nt_resampler;

/* For windows of at most max_height x max_width. Sides up to 2^16. */
NT_MUST nt_status nt_resampler_create(nt_resampler **out, int64_t max_height, int64_t max_width,
                                      int64_t new_height, int64_t new_width);
void nt_resampler_destroy(nt_resampler *resampler);

typedef struct nt_window {
    int64_t top, left, height, width;
} nt_window;

/* The window, which lies inside src, becomes dst, of the new size. Uses memory of the resampler. */
void nt_resampler_run(nt_resampler *resampler, nt_image *dst, const nt_image *src, const nt_window *window);

/* --- colours (colour.c) of uint8 images, in place --- */

void nt_image_brightness(nt_image *image, double factor); /* all factors: 1 leaves the image as it is */
void nt_image_contrast(nt_image *image, double factor);
void nt_image_saturation(nt_image *image, double factor);  /* one channel: as it is */
void nt_image_hue(nt_image *image, double shift);          /* in turns, -0.5 to 0.5; one channel: as it is */
void nt_image_posterize(nt_image *image, int bits);        /* 0 to 8 of a byte are kept */
void nt_image_solarize(nt_image *image, double threshold); /* bytes from it on are inverted */
void nt_image_autocontrast(nt_image *image);
void nt_image_equalize(nt_image *image);

/* 0 blurs, 1 leaves, more sharpens; `copy` is memory for an image of that size. */
void nt_image_sharpness(nt_image *image, double factor, void *copy);

/* --- RandAugment's operations (randaugment.c) --- */

/* Operations by number, in torchvision's order: identity, shear x, shear y, translate x, translate y, rotate,
 * brightness, saturation, contrast, sharpness, posterize, solarize, autocontrast, equalize. */
enum { NT_RANDOM_OPS = 14, NT_RANDOM_LEVELS = 31 };

typedef struct nt_random_op {
    int kind, level; /* of NT_RANDOM_OPS and NT_RANDOM_LEVELS */
    bool minus;      /* the other way, where there is one */
    bool bilinear;   /* geometry; else the nearest pixel */
} nt_random_op;

/* One operation in place on a uint8 image; `copy` is memory for an image of that size. */
void nt_image_random_op(nt_image *image, const nt_random_op *op, void *copy);

#endif
