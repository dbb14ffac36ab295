/* The [augment] section: its table, what ranges cannot say about it, and what follows from it for the samples
 * at hand. All mistakes are found here, so that doing it cannot fail. */
#include "datasets/augment_private.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const padding_words[] = {"zeros", "edge", "reflect", NULL};
static const char *const interpolation_words[] = {"nearest", "bilinear", NULL};

#define AT(field) offsetof(nt_augment_options, field)
static const nt_option options_table[] = {
    {"crop", NT_OPTION_PAIR, AT(crop), "0", 0, 1 << 16,
     .help = "random crop to height, width; an evaluation takes the centre; 0: none"},
    {"padding", NT_OPTION_PAIR, AT(padding), "0", 0, 1 << 16,
     .help = "crop: so many rows, columns are added on each side before"},
    {"padding_mode", NT_OPTION_ENUM, AT(padding_mode), "zeros", .choices = padding_words,
     .help = "crop: what is added; zeros of stored values (black)"},
    {"resized_crop", NT_OPTION_PAIR, AT(resized_crop), "0", 0, 1 << 16,
     .help = "random part, resized to height, width with antialias; 0: none"},
    {"resized_crop_scale", NT_OPTION_FLOATS, AT(resized_crop_scale), "0.08, 1", NT_ABOVE_ZERO, 1,
     .help = "its least and largest area, of that of the image"},
    {"resized_crop_ratio", NT_OPTION_FLOATS, AT(resized_crop_ratio), "0.75, 1.3333333333333333", 1e-3, 1e3,
     .help = "its least and largest width / height"},
    {"eval_resize", NT_OPTION_INT, AT(eval_resize), "0", 0, 1 << 16,
     .help = "resized_crop: an evaluation resizes the shorter side to this, then takes the centre; 0: longer "
             "side of "
             "resized_crop / 0.875"},
    {"hflip", NT_OPTION_FLOAT, AT(hflip), "0", 0, 1, .help = "probability of turning left and right around"},
    {"vflip", NT_OPTION_FLOAT, AT(vflip), "0", 0, 1, .help = "probability of turning top and bottom around"},
    {"rotation", NT_OPTION_FLOAT, AT(rotation), "0", 0, 180, .help = "up to so many degrees either way"},
    {"interpolation", NT_OPTION_ENUM, AT(interpolation), "nearest", .choices = interpolation_words,
     .help = "of rotation and randaugment"},
    {"brightness", NT_OPTION_FLOAT, AT(brightness), "0", 0, 100,
     .help = "uint8: a factor of 1 plus or minus up to this, at least 0"},
    {"contrast", NT_OPTION_FLOAT, AT(contrast), "0", 0, 100, .help = "likewise"},
    {"saturation", NT_OPTION_FLOAT, AT(saturation), "0", 0, 100, .help = "likewise"},
    {"hue", NT_OPTION_FLOAT, AT(hue), "0", 0, 0.5,
     .help = "uint8: a shift of up to this either way, in turns"},
    {"randaugment", NT_OPTION_INT, AT(randaugment), "0", 0, 32,
     .help = "uint8: so many operations of the 14 of RandAugment; 0: none"},
    {"randaugment_magnitude", NT_OPTION_INT, AT(randaugment_magnitude), "9", 0, 30,
     .help = "how strong they are, of 30"},
    {"cutout", NT_OPTION_INT, AT(cutout), "0", 0, 1 << 16,
     .help = "a square of this side around any pixel becomes the mean of the data; 0: none"},
    {"erase", NT_OPTION_FLOAT, AT(erase), "0", 0, 1,
     .help = "probability that a random rectangle becomes the mean of the data"},
    {"erase_scale", NT_OPTION_FLOATS, AT(erase_scale), "0.02, 0.33", NT_ABOVE_ZERO, 1,
     .help = "its least and largest area, of that of the image"},
    {"erase_ratio", NT_OPTION_FLOATS, AT(erase_ratio), "0.3, 3.3", 1e-3, 1e3,
     .help = "its least and largest height / width"},
    {"mixup", NT_OPTION_FLOAT, AT(mixup), "0", 0, 1e3,
     .help = "alpha: batches are mixed with themselves, labels too; 0: no"},
    {"cutmix", NT_OPTION_FLOAT, AT(cutmix), "0", 0, 1e3,
     .help = "alpha: a rectangle comes from another sample, and its part of the label; 0: no"},
    {"mix_probability", NT_OPTION_FLOAT, AT(mix_probability), "1", 0, 1,
     .help = "probability that a batch is mixed, with mixup and cutmix one as likely as the other"},
    {"threads", NT_OPTION_INT, AT(threads), "1", 1, 64, .flags = NT_OPTION_FREE,
     .help = "threads of each rank that share this work; they do not change what comes out"},
};
#undef AT

/* --- checks that need no data --- */

/* Keys that say how, and the key without which they say nothing. */
static const char *const needs[][2] = {{"padding", "crop"},
                                       {"padding_mode", "padding"},
                                       {"resized_crop_scale", "resized_crop"},
                                       {"resized_crop_ratio", "resized_crop"},
                                       {"eval_resize", "resized_crop"},
                                       {"randaugment_magnitude", "randaugment"},
                                       {"erase_scale", "erase"},
                                       {"erase_ratio", "erase"}};

static nt_status check_pair(const nt_config *config, const char *key, const nt_floats *pair)
{
    if (pair->n == 2 && pair->value[0] <= pair->value[1]) return NT_OK;
    return nt_config_fail(config, "augment", key, "augment.%s takes two numbers, the least and the largest",
                          key);
}

static nt_status check_lists(const nt_config *config, const nt_augment_options *o)
{
    NT_TRY(check_pair(config, "resized_crop_scale", &o->resized_crop_scale));
    NT_TRY(check_pair(config, "resized_crop_ratio", &o->resized_crop_ratio));
    NT_TRY(check_pair(config, "erase_scale", &o->erase_scale));
    NT_TRY(check_pair(config, "erase_ratio", &o->erase_ratio));
    return NT_OK;
}

static nt_status check_size(const nt_config *config, const char *key, const int64_t size[2])
{
    if (!size[0] == !size[1]) return NT_OK;
    return nt_config_fail(config, "augment", key,
                          "augment.%s = %lld, %lld: both must be above 0, or 0 for none", key,
                          (long long)size[0], (long long)size[1]);
}

static nt_status check(const nt_config *config, const void *values)
{
    const nt_augment_options *o = values;
    NT_TRY(check_lists(config, o));
    for (int i = 0; i < NT_N_ELEMS(needs); i++)
        if (nt_config_changed(config, "augment", needs[i][0]) &&
            !nt_config_changed(config, "augment", needs[i][1]))
            return nt_config_fail(config, "augment", needs[i][0],
                                  "augment.%s does nothing without augment.%s", needs[i][0], needs[i][1]);
    if (o->mix_probability < 1 && o->mixup == 0 && o->cutmix == 0)
        return nt_config_fail(config, "augment", "mix_probability",
                              "augment.mix_probability does nothing without augment.mixup or augment.cutmix");
    if (o->crop[0] && o->resized_crop[0])
        return nt_config_fail(config, "augment", "resized_crop",
                              "augment.crop and augment.resized_crop both set the size: take one of them");
    NT_TRY(check_size(config, "crop", o->crop));
    NT_TRY(check_size(config, "resized_crop", o->resized_crop));
    return NT_OK;
}

const nt_section nt_augment_section = {
    .name = "augment",
    .help = "random changes of the training images, in the order of these keys",
    .size = sizeof(nt_augment_options),
    .options = options_table,
    .n_options = NT_N_ELEMS(options_table),
    .check = check};

/* --- checks against the samples --- */

/* The first key that is on and needs images; NULL: none. */
static const char *first_of_images(const nt_augment_options *o)
{
    const struct {
        bool on;
        const char *key;
    } list[] = {{o->crop[0] > 0, "crop"},      {o->resized_crop[0] > 0, "resized_crop"},
                {o->hflip > 0, "hflip"},       {o->vflip > 0, "vflip"},
                {o->rotation > 0, "rotation"}, {o->brightness > 0, "brightness"},
                {o->contrast > 0, "contrast"}, {o->saturation > 0, "saturation"},
                {o->hue > 0, "hue"},           {o->randaugment > 0, "randaugment"},
                {o->cutout > 0, "cutout"},     {o->erase > 0, "erase"},
                {o->cutmix > 0, "cutmix"}};
    for (int i = 0; i < NT_N_ELEMS(list); i++)
        if (list[i].on) return list[i].key;
    return NULL;
}

static const char *first_of_colours(const nt_augment_options *o)
{
    return o->brightness > 0    ? "brightness"
           : o->contrast > 0    ? "contrast"
           : o->saturation > 0  ? "saturation"
           : o->hue > 0         ? "hue"
           : o->randaugment > 0 ? "randaugment"
                                : NULL;
}

static nt_status check_kind(const nt_config *config, const nt_augment_options *o,
                            const nt_sample_spec *stored)
{
    char text[NT_SHAPE_TEXT_BYTES];
    const char *key = first_of_images(o), *colour = first_of_colours(o),
               *type = nt_dtype_name(stored->x_dtype);
    bool number = stored->x_dtype == NT_U8 || stored->x_dtype == NT_F32;
    nt_shape_text(stored->x, text);
    if ((o->cutout > 0 || o->erase > 0) && stored->x.dim[0] > NT_MAX_CHANNELS)
        return nt_config_fail(config, "augment", o->cutout > 0 ? "cutout" : "erase",
                              "augment.%s takes images of at most %d channels, but the samples are %s",
                              o->cutout > 0 ? "cutout" : "erase", NT_MAX_CHANNELS, text);
    if (key && (stored->x.n_dims != 3 || !number))
        return nt_config_fail(config, "augment", key,
                              "augment.%s needs images (C, H, W), but the samples are %s %s", key, text,
                              type);
    if (colour && (stored->x_dtype != NT_U8 || (stored->x.dim[0] != 1 && stored->x.dim[0] != 3)))
        return nt_config_fail(config, "augment", colour,
                              "augment.%s needs uint8 images of 1 or 3 channels, but the samples are %s %s",
                              colour, text, type);
    if (o->mixup == 0 && o->cutmix == 0) return NT_OK;
    key = o->mixup > 0 ? "mixup" : "cutmix";
    if (!number || stored->n_labels > 0)
        return nt_config_fail(
            config, "augment", key,
            "augment.%s needs numbers with one label or with values, but the samples are %s %s with "
            "%lld labels",
            key, text, type, (long long)stored->n_labels);
    return NT_OK;
}

static nt_status check_sizes(const nt_config *config, const nt_augment_options *o, const nt_image *in)
{
    if (o->crop[0] > in->height + 2 * o->padding[0] || o->crop[1] > in->width + 2 * o->padding[1])
        return nt_config_fail(
            config, "augment", "crop",
            "augment.crop = %lld, %lld is larger than the images, %lldx%lld with augment.padding = "
            "%lld, %lld on each side",
            (long long)o->crop[0], (long long)o->crop[1], (long long)in->height, (long long)in->width,
            (long long)o->padding[0], (long long)o->padding[1]);
    if (o->padding_mode == NT_PADDING_REFLECT && (o->padding[0] >= in->height || o->padding[1] >= in->width))
        return nt_config_fail(
            config, "augment", "padding",
            "augment.padding = %lld, %lld: images of %lldx%lld can be reflected by less than a side",
            (long long)o->padding[0], (long long)o->padding[1], (long long)in->height, (long long)in->width);
    return NT_OK;
}

/* Sizes of what comes out. */
static nt_status check_sizes_out(const nt_config *config, const nt_augment *a)
{
    const nt_augment_options *o = &a->o;
    if (o->cutout > a->out.height || o->cutout > a->out.width)
        return nt_config_fail(config, "augment", "cutout",
                              "augment.cutout = %lld is larger than the images, %lldx%lld",
                              (long long)o->cutout, (long long)a->out.height, (long long)a->out.width);
    if (o->eval_resize > 0 && (o->eval_resize < o->resized_crop[0] || o->eval_resize < o->resized_crop[1]))
        return nt_config_fail(config, "augment", "eval_resize",
                              "augment.eval_resize = %lld is less than augment.resized_crop = %lld, %lld",
                              (long long)o->eval_resize, (long long)o->resized_crop[0],
                              (long long)o->resized_crop[1]);
    return NT_OK;
}

/* --- what follows --- */

static void set_geometry(nt_augment *a)
{
    const nt_augment_options *o = &a->o;
    a->out = a->stored;
    if (o->crop[0]) {
        a->geometry = NT_GEOMETRY_CROP;
        a->out.height = o->crop[0];
        a->out.width = o->crop[1];
    }
    if (!o->resized_crop[0]) return;
    a->geometry = NT_GEOMETRY_RESIZED;
    a->out.height = o->resized_crop[0];
    a->out.width = o->resized_crop[1];
    int64_t longer = a->out.height > a->out.width ? a->out.height : a->out.width;
    int64_t side = o->eval_resize > 0 ? o->eval_resize : (int64_t)rint((double)longer / 0.875);
    int64_t height = a->stored.height, width = a->stored.width;
    a->eval_height = height <= width ? side : side * height / width;
    a->eval_width = width <= height ? side : side * width / height;
}

/* The mean of the data is 0 to the net; as stored it is mean / scale, to the nearest byte where bytes are
 * stored. */
static void set_fill(nt_augment *a)
{
    const nt_input_options *in = &a->spec.input;
    for (int64_t c = 0; c < a->out.channels && c < NT_MAX_CHANNELS && in->n_channels > 0 && in->scale > 0;
         c++) {
        double mean = in->mean[in->n_channels == 1 ? 0 : c] / in->scale;
        if (a->out.dtype == NT_U8) mean = fmin(fmax(rint(mean), 0), 255);
        a->fill[c] = (float)mean;
    }
}

static void settle(nt_augment *a)
{
    const nt_augment_options *o = &a->o;
    if (a->spec.x.n_dims == 3) {
        a->stored = (nt_image){a->spec.x_dtype, a->spec.x.dim[0], a->spec.x.dim[1], a->spec.x.dim[2], NULL};
        set_geometry(a);
        a->spec.x.dim[1] = a->out.height;
        a->spec.x.dim[2] = a->out.width;
        set_fill(a);
    } else { /* only mixup is left, which takes a sample for one row */
        a->out = a->stored = (nt_image){a->spec.x_dtype, 1, 1, nt_shape_elems(a->spec.x), NULL};
    }
    a->jitters = o->brightness > 0 || o->contrast > 0 || o->saturation > 0 || o->hue > 0;
    a->changes_pixels = a->jitters || o->rotation > 0 || o->randaugment > 0 || o->cutout > 0 || o->erase > 0;
    a->mix = (nt_mix_options){o->mixup, o->cutmix, o->mix_probability};
    a->spec.soft_targets = a->spec.target == NT_TARGET_CLASS && nt_augment_mixing(a);
}

nt_status nt_augment_create(nt_augment **out, const nt_config *config, const nt_sample_spec *stored,
                            uint64_t seed)
{
    const nt_augment_options *o = nt_config_section(config, &nt_augment_section);
    *out = NULL;
    NT_TRY(check_kind(config, o, stored));
    nt_augment *a = calloc(1, sizeof *a);
    NT_CHECK_ALLOC(a, sizeof *a);
    a->o = *o;
    a->seed = seed;
    a->spec = *stored;
    settle(a);
    nt_status status = check_sizes(config, o, &a->stored);
    if (status == NT_OK) status = check_sizes_out(config, a);
    if (status != NT_OK) {
        nt_augment_destroy(a);
        return status;
    }
    *out = a;
    return NT_OK;
}

void nt_augment_destroy(nt_augment *a)
{
    free(a);
}

/* --- looking in --- */

const nt_sample_spec *nt_augment_spec(const nt_augment *a)
{
    return &a->spec;
}

bool nt_augment_changes(const nt_augment *a, bool training)
{
    if (a->geometry != NT_GEOMETRY_NONE) return true;
    return training && (a->changes_pixels || a->o.hflip > 0 || a->o.vflip > 0);
}

const nt_mix_options *nt_augment_mixing(const nt_augment *a)
{
    bool mixes = (a->mix.mixup > 0 || a->mix.cutmix > 0) && a->mix.probability > 0;
    return mixes && a->spec.target != NT_TARGET_NONE ? &a->mix : NULL;
}

uint64_t nt_augment_seed(const nt_augment *a)
{
    return a->seed;
}

int nt_augment_threads(const nt_augment *a)
{
    return (int)a->o.threads;
}

/* Appends ", words". */
static void NT_PRINTF(3) say(char *text, size_t cap, const char *format, ...)
{
    size_t used = strlen(text);
    if (used > 0 && used + 3 < cap) used += (size_t)snprintf(text + used, cap - used, ", ");
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, cap - used, format, args);
    va_end(args);
}

static void say_colours(const nt_augment_options *o, char *text, size_t cap)
{
    if (o->brightness > 0) say(text, cap, "brightness %g", o->brightness);
    if (o->contrast > 0) say(text, cap, "contrast %g", o->contrast);
    if (o->saturation > 0) say(text, cap, "saturation %g", o->saturation);
    if (o->hue > 0) say(text, cap, "hue %g", o->hue);
    if (o->randaugment > 0)
        say(text, cap, "randaugment %lld of magnitude %lld", (long long)o->randaugment,
            (long long)o->randaugment_magnitude);
}

void nt_augment_describe(const nt_augment *a, char *text, size_t cap)
{
    const nt_augment_options *o = &a->o;
    text[0] = '\0';
    if (a->geometry != NT_GEOMETRY_NONE)
        say(text, cap, "%s %lldx%lld of %lldx%lld", a->geometry == NT_GEOMETRY_CROP ? "crop" : "resized_crop",
            (long long)a->out.height, (long long)a->out.width,
            (long long)(a->stored.height + 2 * o->padding[0]),
            (long long)(a->stored.width + 2 * o->padding[1]));
    if (o->hflip > 0) say(text, cap, "hflip %g", o->hflip);
    if (o->vflip > 0) say(text, cap, "vflip %g", o->vflip);
    if (o->rotation > 0)
        say(text, cap, "rotation %g (%s)", o->rotation, interpolation_words[o->interpolation]);
    say_colours(o, text, cap);
    if (o->cutout > 0) say(text, cap, "cutout %lld", (long long)o->cutout);
    if (o->erase > 0) say(text, cap, "erase %g", o->erase);
    if (o->mixup > 0) say(text, cap, "mixup %g", o->mixup);
    if (o->cutmix > 0) say(text, cap, "cutmix %g", o->cutmix);
}
