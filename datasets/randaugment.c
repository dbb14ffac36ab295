/* The operations of RandAugment (Cubuk et al. 2019) on one image, with torchvision's ranges of magnitude:
 * level m of 31 goes from no change to the strongest there is. */
#include "datasets/image.h"

#include <math.h>
#include <string.h>

enum {
    IDENTITY,
    SHEAR_X,
    SHEAR_Y,
    TRANSLATE_X,
    TRANSLATE_Y,
    ROTATE,
    BRIGHTNESS,
    SATURATION,
    CONTRAST,
    SHARPNESS,
    POSTERIZE,
    SOLARIZE,
    AUTOCONTRAST,
    EQUALIZE
};

/* The map of a geometric operation. Shears hold the upper left corner. */
static nt_affine map_of(const nt_image *image, const nt_random_op *op)
{
    double part = (op->minus ? -1.0 : 1.0) * op->level / (NT_RANDOM_LEVELS - 1);
    double height = (double)image->height, width = (double)image->width;
    nt_affine map = {.m = {1, 0, 0, 0, 1, 0}};
    if (op->kind == SHEAR_X) {
        map.m[1] = 0.3 * part;
        map.m[2] = 0.3 * part * height / 2;
    } else if (op->kind == SHEAR_Y) {
        map.m[3] = 0.3 * part;
        map.m[5] = 0.3 * part * width / 2;
    } else if (op->kind == TRANSLATE_X) {
        map.m[2] = -trunc(150.0 / 331 * width * part);
    } else if (op->kind == TRANSLATE_Y) {
        map.m[5] = -trunc(150.0 / 331 * height * part);
    } else {
        map = nt_affine_rotation(30 * part);
    }
    map.bilinear = op->bilinear;
    return map;
}

static void move(nt_image *image, const nt_random_op *op, void *copy)
{
    nt_image src = *image;
    nt_affine map = map_of(image, op);
    src.data = copy;
    memcpy(copy, image->data, (size_t)(image->channels * image->height * image->width));
    nt_image_affine(image, &src, &map);
}

void nt_image_random_op(nt_image *image, const nt_random_op *op, void *copy)
{
    double part = (double)op->level / (NT_RANDOM_LEVELS - 1), factor = 1 + (op->minus ? -0.9 : 0.9) * part;
    if (op->kind == IDENTITY) return;
    if (op->kind <= ROTATE) move(image, op, copy);
    if (op->kind == BRIGHTNESS) nt_image_brightness(image, factor);
    if (op->kind == SATURATION) nt_image_saturation(image, factor);
    if (op->kind == CONTRAST) nt_image_contrast(image, factor);
    if (op->kind == SHARPNESS) nt_image_sharpness(image, factor, copy);
    if (op->kind == POSTERIZE) nt_image_posterize(image, 8 - (int)rint(4 * part));
    if (op->kind == SOLARIZE) nt_image_solarize(image, 255 * (1 - part));
    if (op->kind == AUTOCONTRAST) nt_image_autocontrast(image);
    if (op->kind == EQUALIZE) nt_image_equalize(image);
}
