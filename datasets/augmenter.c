/* Augmentation of one sample: draws and does. Geometry writes into the net's buffer, everything after it
 * works there in place, so a sample goes through the first-level cache once more than without augmentation.
 * Each transform has random blocks of its own: turning one on or off leaves the others' numbers as they are.
 */
#include "datasets/augment_draw.h"
#include "datasets/augment_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct nt_augmenter {
    const nt_augment *augment;
    bool training;
    nt_resampler *resampler;
    void *copy;       /* of one sample that comes out */
    nt_image resized; /* an evaluation's, before its centre is cut out */
};

/* In [low, high). */
static double between(uint32_t word, double low, double high)
{
    return low + (high - low) * ((double)word * 0x1p-32);
}

static int64_t below(uint32_t a, uint32_t b, int64_t bound)
{
    return (int64_t)nt_rng_below(a, b, (uint64_t)bound);
}

/* --- geometry --- */

/* torchvision's RandomResizedCrop: an area and a ratio, ten tries, else the largest part of an allowed ratio.
 */
static nt_window draw_window(const nt_augment *a, const nt_draw *draw)
{
    const int64_t height = a->stored.height, width = a->stored.width;
    const double *scale = a->o.resized_crop_scale.value, *ratio = a->o.resized_crop_ratio.value;
    for (uint32_t k = 0; k < 10; k++) {
        nt_philox size = nt_draw_block(draw, NT_DRAW_CROP, 2 * k),
                  at = nt_draw_block(draw, NT_DRAW_CROP, 2 * k + 1);
        double area = (double)(height * width) * between(size.v[0], scale[0], scale[1]);
        double aspect = exp(between(size.v[1], log(ratio[0]), log(ratio[1])));
        int64_t w = (int64_t)rint(sqrt(area * aspect)), h = (int64_t)rint(sqrt(area / aspect));
        if (w < 1 || h < 1 || w > width || h > height) continue;
        return (nt_window){below(at.v[0], at.v[1], height - h + 1), below(at.v[2], at.v[3], width - w + 1), h,
                           w};
    }
    double own = (double)width / (double)height;
    int64_t w = own > ratio[1] ? (int64_t)rint((double)height * ratio[1]) : width;
    int64_t h = own < ratio[0] ? (int64_t)rint((double)width / ratio[0]) : height;
    if (w < 1) w = 1;
    if (h < 1) h = 1;
    return (nt_window){(height - h) / 2, (width - w) / 2, h, w};
}

nt_window nt_augment_window(const nt_augment *a, int64_t epoch, int64_t sample)
{
    const nt_draw draw = {.seed = a->seed, .epoch = epoch, .sample = sample};
    return draw_window(a, &draw);
}

/* dst is cut out of src at random, turned around. */
static void train_geometry(nt_augmenter *r, const nt_draw *draw, nt_image *dst, const nt_image *src)
{
    const nt_augment *a = r->augment;
    const nt_augment_options *o = &a->o;
    nt_crop crop = {.padding = o->padding_mode};
    if (o->hflip > 0 || o->vflip > 0) {
        nt_philox flip = nt_draw_block(draw, NT_DRAW_FLIP, 0);
        crop.hflip = (double)nt_rng_uniform(flip.v[0]) < o->hflip;
        crop.vflip = (double)nt_rng_uniform(flip.v[1]) < o->vflip;
    }
    if (a->geometry == NT_GEOMETRY_CROP) {
        nt_philox at = nt_draw_block(draw, NT_DRAW_CROP, 0);
        crop.top = below(at.v[0], at.v[1], src->height + 2 * o->padding[0] - dst->height + 1) - o->padding[0];
        crop.left = below(at.v[2], at.v[3], src->width + 2 * o->padding[1] - dst->width + 1) - o->padding[1];
    }
    if (a->geometry != NT_GEOMETRY_RESIZED) {
        nt_image_crop(dst, src, &crop);
        return;
    }
    nt_window window = draw_window(a, draw);
    nt_image upright = *dst;
    if (crop.hflip || crop.vflip) upright.data = r->copy;
    nt_resampler_run(r->resampler, &upright, src, &window);
    if (upright.data != dst->data) nt_image_crop(dst, &upright, &crop);
}

/* Where a window of `part` pixels lies in the middle of `whole`. */
static int64_t centred(int64_t whole, int64_t part)
{
    return (int64_t)rint((double)(whole - part) / 2);
}

static void eval_geometry(nt_augmenter *r, nt_image *dst, const nt_image *src)
{
    if (r->resampler) {
        const nt_window all = {0, 0, src->height, src->width};
        nt_resampler_run(r->resampler, &r->resized, src, &all);
        src = &r->resized;
    }
    const nt_crop crop = {.top = centred(src->height, dst->height),
                          .left = centred(src->width, dst->width),
                          .padding = r->augment->o.padding_mode};
    nt_image_crop(dst, src, &crop);
}

/* --- pixels --- */

static void rotate(nt_augmenter *r, const nt_draw *draw, nt_image *image)
{
    const nt_augment_options *o = &r->augment->o;
    nt_philox block = nt_draw_block(draw, NT_DRAW_ROTATION, 0);
    nt_affine map = nt_affine_rotation(between(block.v[0], -o->rotation, o->rotation));
    nt_image copy = *image;
    map.bilinear = o->interpolation == 1;
    copy.data = r->copy;
    memcpy(copy.data, image->data,
           (size_t)(image->channels * image->height * image->width) * nt_dtype_bytes(image->dtype));
    nt_image_affine(image, &copy, &map);
}

/* A factor around 1, at least 0. */
static double factor_of(uint32_t word, double spread)
{
    return between(word, spread < 1 ? 1 - spread : 0, 1 + spread);
}

/* The four in one of their 24 orders. */
static void jitter(const nt_augment *a, const nt_draw *draw, nt_image *image)
{
    const nt_augment_options *o = &a->o;
    nt_philox v = nt_draw_block(draw, NT_DRAW_JITTER, 0), order = nt_draw_block(draw, NT_DRAW_JITTER, 1);
    int left[4] = {0, 1, 2, 3};
    for (int n = 4; n > 0; n--) {
        int k = (int)below(order.v[n - 1], 0, n), which = left[k];
        left[k] = left[n - 1];
        if (which == 0 && o->brightness > 0) nt_image_brightness(image, factor_of(v.v[0], o->brightness));
        if (which == 1 && o->contrast > 0) nt_image_contrast(image, factor_of(v.v[1], o->contrast));
        if (which == 2 && o->saturation > 0) nt_image_saturation(image, factor_of(v.v[2], o->saturation));
        if (which == 3 && o->hue > 0) nt_image_hue(image, between(v.v[3], -o->hue, o->hue));
    }
}

static void randaugment(nt_augmenter *r, const nt_draw *draw, nt_image *image)
{
    const nt_augment_options *o = &r->augment->o;
    for (int64_t i = 0; i < o->randaugment; i++) {
        nt_philox v = nt_draw_block(draw, NT_DRAW_RANDAUGMENT, (uint32_t)i);
        const nt_random_op op = {.kind = (int)below(v.v[0], v.v[1], NT_RANDOM_OPS),
                                 .level = (int)o->randaugment_magnitude,
                                 .minus = v.v[2] >> 31,
                                 .bilinear = o->interpolation == 1};
        nt_image_random_op(image, &op, r->copy);
    }
}

/* A square around any pixel, cut off at the borders (DeVries & Taylor 2017). */
static void cutout(const nt_augment *a, const nt_draw *draw, nt_image *image)
{
    const int64_t side = a->o.cutout;
    nt_philox v = nt_draw_block(draw, NT_DRAW_CUTOUT, 0);
    int64_t top = below(v.v[0], v.v[1], image->height) - side / 2,
            left = below(v.v[2], v.v[3], image->width) - side / 2;
    int64_t bottom = top + side < image->height ? top + side : image->height;
    int64_t right = left + side < image->width ? left + side : image->width;
    if (top < 0) top = 0;
    if (left < 0) left = 0;
    nt_image_erase(image, top, left, bottom - top, right - left, a->fill);
}

/* torchvision's RandomErasing: an area and a ratio, ten tries, else nothing. */
static void erase(const nt_augment *a, const nt_draw *draw, nt_image *image)
{
    const double *scale = a->o.erase_scale.value, *ratio = a->o.erase_ratio.value;
    if ((double)nt_rng_uniform(nt_draw_block(draw, NT_DRAW_ERASE, 0).v[0]) >= a->o.erase) return;
    for (uint32_t k = 0; k < 10; k++) {
        nt_philox size = nt_draw_block(draw, NT_DRAW_ERASE, 2 * k + 1),
                  at = nt_draw_block(draw, NT_DRAW_ERASE, 2 * k + 2);
        double area = (double)(image->height * image->width) * between(size.v[0], scale[0], scale[1]);
        double aspect = exp(between(size.v[1], log(ratio[0]), log(ratio[1])));
        int64_t h = (int64_t)rint(sqrt(area * aspect)), w = (int64_t)rint(sqrt(area / aspect));
        if (h >= image->height || w >= image->width) continue;
        nt_image_erase(image, below(at.v[0], at.v[1], image->height - h + 1),
                       below(at.v[2], at.v[3], image->width - w + 1), h, w, a->fill);
        return;
    }
}

static void change_pixels(nt_augmenter *r, const nt_draw *draw, nt_image *image)
{
    const nt_augment *a = r->augment;
    if (a->o.rotation > 0) rotate(r, draw, image);
    if (a->jitters) jitter(a, draw, image);
    if (a->o.randaugment > 0) randaugment(r, draw, image);
    if (a->o.cutout > 0) cutout(a, draw, image);
    if (a->o.erase > 0) erase(a, draw, image);
}

/* --- the thread's memory --- */

static nt_status allocate(nt_augmenter *r)
{
    const nt_augment *a = r->augment;
    const size_t elem = nt_dtype_bytes(a->out.dtype), channels = (size_t)a->out.channels;
    size_t n_bytes = channels * (size_t)(a->out.height * a->out.width) * elem;
    r->copy = malloc(n_bytes);
    NT_CHECK_ALLOC(r->copy, n_bytes);
    if (a->geometry != NT_GEOMETRY_RESIZED) return NT_OK;
    r->resized = a->out;
    if (!r->training) {
        r->resized.height = a->eval_height;
        r->resized.width = a->eval_width;
        n_bytes = channels * (size_t)(a->eval_height * a->eval_width) * elem;
        r->resized.data = malloc(n_bytes);
        NT_CHECK_ALLOC(r->resized.data, n_bytes);
    }
    NT_TRY(nt_resampler_create(&r->resampler, a->stored.height, a->stored.width, r->resized.height,
                               r->resized.width));
    return NT_OK;
}

nt_status nt_augmenter_create(nt_augmenter **out, const nt_augment *augment, bool training)
{
    *out = NULL;
    nt_augmenter *r = calloc(1, sizeof *r);
    NT_CHECK_ALLOC(r, sizeof *r);
    r->augment = augment;
    r->training = training;
    nt_status status = allocate(r);
    if (status != NT_OK) {
        nt_augmenter_destroy(r);
        return status;
    }
    *out = r;
    return NT_OK;
}

void nt_augmenter_destroy(nt_augmenter *r)
{
    if (!r) return;
    nt_resampler_destroy(r->resampler);
    free(r->resized.data);
    free(r->copy);
    free(r);
}

void nt_augmenter_run(nt_augmenter *r, int64_t epoch, int64_t sample, void *dst, const void *src)
{
    const nt_augment *a = r->augment;
    nt_image to = a->out, from = a->stored;
    to.data = dst;
    from.data = (void *)(uintptr_t)src; /* only read */
    if (!r->training) {
        eval_geometry(r, &to, &from);
        return;
    }
    const nt_draw draw = {.seed = a->seed, .epoch = epoch, .sample = sample};
    train_geometry(r, &draw, &to, &from);
    if (a->changes_pixels) change_pixels(r, &draw, &to);
}
