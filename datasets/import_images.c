/* Pictures in folders, one folder a class, as torchvision's ImageFolder takes them: DIR/class/name.jpg, or
 * DIR/train/class/name.jpg with DIR/test, DIR/val or both beside it.
 *
 * Three passes. The tree is listed: classes and pictures sorted by name, links that lead out of the tree and
 * everything that is no JPEG or PNG file counted and left out. Every header is read: sizes, and whether all
 * are grey. Then blocks of pictures are decoded by all cores and written in their order, so the output does
 * not depend on the number of threads. Which pictures --test-fraction takes is a function of their names
 * alone: adding some does not move the others. */
#include "core/log.h"
#include "datasets/image.h"
#include "datasets/import.h"
#include "datasets/import_tree.h"
#include "datasets/picture.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK       64
#define BLOCK_BYTES ((size_t)256 << 20) /* of fewer, larger pictures */
#define HEAD_BYTES  ((size_t)64 << 10)
#define SAID_MOST   10 /* damaged files that are named; the others are counted */

typedef struct item {
    const nt_tree_file *file;
    nt_error error; /* status NT_OK if it went well */
    bool turned;
} item;

typedef struct images {
    const nt_import_args *args;
    nt_tree tree;
    int channels;
    int64_t height, width;     /* of all samples */
    const nt_tree_file *sized; /* whose size it is; NULL: that of --size */
    bool all_grey;
    int64_t n_bad, n_turned;
    nt_import_writer *writer;
    item item[BLOCK];
    int n_block;     /* pictures decoded at a time: 1 to BLOCK */
    uint8_t *sample; /* (n_block, channels, height, width) */
    int32_t label[BLOCK];
} images;

static bool upright(const images *s)
{
    return !s->args->ignore_exif;
}

/* --- headers --- */

/* One size for all, unless they are resized. */
static nt_status take_size(images *s, const nt_tree_file *file, const nt_picture_info *info)
{
    bool turned = upright(s) && info->orientation >= 5;
    int64_t height = turned ? info->width : info->height, width = turned ? info->height : info->width;
    if (s->args->size[0] > 0) return NT_OK;
    if (!s->sized) {
        s->sized = file;
        s->height = height;
        s->width = width;
    }
    NT_CHECK(height == s->height && width == s->width, NT_ERR_DATA,
             "'%s' has %lldx%lld pixels, but '%s' has %lldx%lld: give --size HEIGHTxWIDTH to resize all",
             file->path, (long long)height, (long long)width, s->sized->path, (long long)s->height,
             (long long)s->width);
    return NT_OK;
}

static nt_status look_at_head(const char *path, size_t most, nt_picture_info *info, bool *whole)
{
    uint8_t *bytes;
    size_t n_bytes;
    NT_TRY(nt_picture_load(path, most, &bytes, &n_bytes));
    *whole = n_bytes < most;
    nt_status status = nt_picture_look(info, path, bytes, n_bytes);
    free(bytes);
    NT_TRY(status);
    return NT_OK;
}

/* The header is at the beginning, unless a camera has put a preview there. */
static nt_status look_at(const char *path, nt_picture_info *info)
{
    bool whole = true;
    nt_status status = look_at_head(path, HEAD_BYTES, info, &whole);
    if (status == NT_OK || whole) return status;
    nt_error_clear();
    NT_TRY(look_at_head(path, SIZE_MAX, info, &whole));
    return NT_OK;
}

/* With --skip-bad a header that cannot be read is counted when its turn to be decoded comes. */
static nt_status look_at_all(images *s)
{
    s->all_grey = true;
    for (int64_t i = 0; i < s->tree.n_files; i++) {
        nt_picture_info info;
        const nt_tree_file *file = &s->tree.file[i];
        nt_status status = look_at(file->path, &info);
        if (status == NT_ERR_DATA && s->args->skip_bad) {
            nt_error_clear();
            continue;
        }
        if (status == NT_ERR_DATA) (void)nt_error_prefix(status, "--skip-bad leaves such files out: ");
        NT_TRY(status);
        NT_TRY(take_size(s, file, &info));
        s->all_grey = s->all_grey && info.channels == 1;
    }
    if (s->args->size[0] > 0) {
        s->height = s->args->size[0];
        s->width = s->args->size[1];
    }
    NT_CHECK(s->height > 0, NT_ERR_DATA, "none of the %lld pictures in '%s' can be read",
             (long long)s->tree.n_files, s->args->inputs[0]);
    s->channels = s->args->channels ? s->args->channels : s->all_grey ? 1 : 3;
    return NT_OK;
}

/* --- pixels --- */

static void to_planes(uint8_t *dst, const nt_picture *p)
{
    for (int64_t c = 0; c < p->channels; c++)
        for (int64_t i = 0, n = p->height * p->width; i < n; i++)
            dst[c * n + i] = p->pixel[i * p->channels + c];
}

/* The whole picture, or the largest part of the new shape around its middle. */
static nt_window window_of(const images *s, const nt_picture *p)
{
    nt_window w = {.height = p->height, .width = p->width};
    if (!s->args->crop) return w;
    if (p->width * s->height > p->height * s->width)
        w.width = p->height * s->width / s->height;
    else
        w.height = p->width * s->height / s->width;
    if (w.width < 1) w.width = 1;
    if (w.height < 1) w.height = 1;
    w.left = (p->width - w.width) / 2;
    w.top = (p->height - w.height) / 2;
    return w;
}

static nt_status resample(const images *s, const nt_picture *p, uint8_t *planes, uint8_t *dst)
{
    nt_window window = window_of(s, p);
    nt_image from = {NT_U8, p->channels, p->height, p->width, planes};
    nt_image to = {NT_U8, s->channels, s->height, s->width, dst};
    nt_resampler *resampler;
    NT_TRY(nt_resampler_create(&resampler, window.height, window.width, s->height, s->width));
    nt_resampler_run(resampler, &to, &from, &window);
    nt_resampler_destroy(resampler);
    return NT_OK;
}

/* A decoded picture as a sample. */
static nt_status place(const images *s, const nt_picture *p, const char *path, uint8_t *dst)
{
    if (p->height == s->height && p->width == s->width) {
        to_planes(dst, p);
        return NT_OK;
    }
    NT_CHECK(s->args->size[0] > 0, NT_ERR_DATA, "'%s' became another picture while it was imported", path);
    size_t n_bytes = (size_t)(p->height * p->width * p->channels);
    uint8_t *planes = malloc(n_bytes);
    NT_CHECK_ALLOC(planes, n_bytes);
    to_planes(planes, p);
    nt_status status = resample(s, p, planes, dst);
    free(planes);
    return status;
}

static nt_status decode_bytes(const images *s, item *it, const uint8_t *bytes, size_t n_bytes, uint8_t *dst)
{
    nt_picture_info info;
    nt_picture picture;
    const char *path = it->file->path;
    NT_TRY(nt_picture_look(&info, path, bytes, n_bytes));
    NT_TRY(nt_picture_decode(&picture, &info, path, bytes, n_bytes, s->channels, upright(s)));
    it->turned = upright(s) && info.orientation != 1;
    nt_status status = place(s, &picture, path, dst);
    free(picture.pixel);
    return status;
}

static void decode_item(const images *s, item *it, uint8_t *dst)
{
    uint8_t *bytes;
    size_t n_bytes;
    it->error.status = NT_OK;
    it->turned = false;
    nt_status status = nt_picture_load(it->file->path, SIZE_MAX, &bytes, &n_bytes);
    if (status == NT_OK) {
        status = decode_bytes(s, it, bytes, n_bytes, dst);
        free(bytes);
    }
    if (status != NT_OK) nt_error_take(&it->error);
}

/* --- parts --- */

/* Damaged pictures stop the import, or are counted. */
static nt_status take_bad(images *s, const item *it)
{
    nt_status status = it->error.status;
    if (status == NT_ERR_DATA && s->args->skip_bad) {
        if (s->n_bad++ < SAID_MOST) nt_warn("left out: %s", it->error.message);
        return NT_OK;
    }
    (void)nt_error_raise(&it->error);
    if (status == NT_ERR_DATA) (void)nt_error_prefix(status, "--skip-bad leaves such files out: ");
    return status;
}

/* Decodes n items and writes the good ones. */
static nt_status put_block(images *s, int n)
{
    const size_t n_bytes = (size_t)(s->channels * s->height * s->width);
    int n_good = 0;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < n; i++)
        decode_item(s, &s->item[i], s->sample + (size_t)i * n_bytes);
    for (int i = 0; i < n; i++) {
        if (s->item[i].error.status != NT_OK) {
            NT_TRY(take_bad(s, &s->item[i]));
            continue;
        }
        s->n_turned += s->item[i].turned;
        s->label[n_good] = s->item[i].file->class_;
        if (n_good < i)
            memcpy(s->sample + (size_t)n_good * n_bytes, s->sample + (size_t)i * n_bytes, n_bytes);
        n_good++;
    }
    return n_good > 0 ? nt_import_put(s->writer, n_good, s->sample, s->label) : NT_OK;
}

static nt_status put_part(images *s, int part)
{
    int64_t n_files = 0;
    int n = 0;
    for (int64_t i = 0; i < s->tree.n_files; i++)
        n_files += s->tree.file[i].part == part;
    if (n_files == 0) return NT_OK;
    NT_TRY(nt_import_begin(s->writer, nt_tree_part_names[part], n_files));
    if (s->args->skip_bad) nt_import_may_lack(s->writer);
    for (int64_t i = 0; i < s->tree.n_files; i++) {
        if (s->tree.file[i].part != part) continue;
        s->item[n++].file = &s->tree.file[i];
        if (n < s->n_block) continue;
        NT_TRY(put_block(s, n));
        n = 0;
    }
    if (n > 0) NT_TRY(put_block(s, n));
    return NT_OK;
}

static nt_status put_all(images *s)
{
    const size_t n_bytes = (size_t)(s->channels * s->height * s->width), n = BLOCK_BYTES / n_bytes;
    s->n_block = n < 1 ? 1 : n < BLOCK ? (int)n : BLOCK;
    s->sample = malloc(n_bytes * (size_t)s->n_block);
    NT_CHECK_ALLOC(s->sample, n_bytes * (size_t)s->n_block);
    for (int part = 0; part < NT_TREE_PARTS; part++)
        NT_TRY(put_part(s, part));
    return NT_OK;
}

static nt_status convert(images *s)
{
    NT_TRY(nt_tree_list(&s->tree, s->args));
    NT_TRY(look_at_all(s));
    nt_import_format format = {.dtype = NT_U8,
                               .shape = nt_shape_of(3, (int64_t)s->channels, s->height, s->width),
                               .n_classes = s->tree.n_classes,
                               .class_names = (const char *const *)s->tree.class_name};
    NT_TRY(nt_import_open(&s->writer, s->args, &format));
    nt_status status = put_all(s);
    if (status == NT_OK) return nt_import_finish(s->writer);
    nt_import_discard(s->writer);
    return status;
}

static void report(const images *s)
{
    nt_info("%lld pictures of %d classes, %d channel%s, %lldx%lld pixels",
            (long long)(s->tree.n_files - s->n_bad), s->tree.n_classes, s->channels,
            s->channels == 1 ? "" : "s", (long long)s->height, (long long)s->width);
    if (s->n_turned > 0)
        nt_info(
            "%lld pictures were turned upright as their EXIF orientation says (--ignore-exif leaves them)",
            (long long)s->n_turned);
    if (s->n_bad > 0) nt_warn("%lld damaged pictures were left out", (long long)s->n_bad);
}

static nt_status check_args(const nt_import_args *args)
{
    NT_CHECK(args->n_inputs == 1, NT_ERR_USAGE,
             "images takes one folder, which holds a folder for each class");
    NT_CHECK(args->size[0] <= 1 << 14 && args->size[1] <= 1 << 14, NT_ERR_USAGE,
             "--size %lldx%lld is too large: sides go up to %d", (long long)args->size[0],
             (long long)args->size[1], 1 << 14);
    NT_CHECK(!args->crop || args->size[0] > 0, NT_ERR_USAGE, "--crop goes with --size HEIGHTxWIDTH");
    NT_CHECK(args->channels == 0 || args->channels == 1 || args->channels == 3, NT_ERR_USAGE,
             "--channels is 1 (grey) or 3 (colours), not %lld", (long long)args->channels);
    return NT_OK;
}

static nt_status run_images(const nt_import_args *args)
{
    NT_TRY(check_args(args));
    images *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    s->args = args;
    nt_status status = convert(s);
    if (status == NT_OK) report(s);
    nt_tree_free(&s->tree);
    free(s->sample);
    free(s);
    return status;
}

const nt_importer nt_import_images = {
    .name = "images",
    .usage = "[--size HxW [--crop]] [--channels 1|3] [--test-fraction F] [--skip-bad] [--ignore-exif] "
             "[--follow-links] FOLDER",
    .help = "JPEG and PNG files, one folder a class; or folders train and test (val) that hold such folders",
    .run = run_images,
};
