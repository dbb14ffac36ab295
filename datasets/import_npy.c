/* Arrays of NumPy: x.npy and y.npy, and for a test part x_test.npy and y_test.npy after them.
 *
 * x is (N, ...): bytes and bools are stored as uint8, everything else as float32. y (N) of integers holds
 * classes; y of floats, or with several columns, holds targets. Images with channels last become channels
 * first; which they are is only guessed where there is no doubt. An array does not say what it means, so what
 * it was taken for is printed, with the option that says otherwise. */
#include "core/log.h"
#include "datasets/npy.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define MAX_CLASSES 65536

typedef struct part {
    nt_npy x, y;
} part;

typedef struct job {
    const nt_import_args *args;
    part part[2];
    int n_parts;
    nt_import_format format;
    bool channels_last;
    double *value, *target; /* of one sample */
    uint8_t *u8;
    float *f32, *target_f32;
} job;

/* --- what they are --- */

static const char *path_of(const nt_npy *npy)
{
    return nt_zfile_path(npy->file);
}

static bool is_bytes(const nt_npy *x)
{
    return x->kind == 'b' || (x->kind == 'u' && x->elem_bytes == 1);
}

static int64_t n_columns(const nt_npy *y)
{
    return nt_shape_elems(y->shape) / y->shape.dim[0];
}

static bool has_classes(const job *j, const nt_npy *y)
{
    return j->args->n_targets == 0 && y->kind != 'f' && n_columns(y) == 1;
}

/* One word on how samples lie in the array, at most. */
static nt_status check_words(const job *j, const nt_npy *x)
{
    const nt_import_args *args = j->args;
    NT_CHECK(args->channels_last + args->channels_first + (args->shape.n_dims > 0) <= 1, NT_ERR_USAGE,
             "--nhwc, --nchw and --shape exclude each other");
    NT_CHECK(!(args->channels_last || args->channels_first) || x->shape.n_dims == 4, NT_ERR_USAGE,
             "--%s is for images of four dimensions (N, %s), but '%s' has %d dimensions",
             args->channels_last ? "nhwc" : "nchw", args->channels_last ? "H, W, C" : "C, H, W", path_of(x),
             x->shape.n_dims);
    return NT_OK;
}

/* Channels last or first, where there are three dimensions. */
static nt_status find_layout(job *j, const nt_npy *x)
{
    const int64_t *d = x->shape.dim;
    NT_TRY(check_words(j, x));
    j->channels_last = j->args->channels_last;
    bool said = j->args->channels_last || j->args->channels_first || j->args->shape.n_dims > 0;
    bool clear = d[1] <= 4 && d[3] > 4;
    NT_CHECK(
        said || x->shape.n_dims != 4 || clear, NT_ERR_USAGE,
        "'%s' is (%lld, %lld, %lld, %lld): give --nhwc if the channels come last, --nchw if they come first",
        path_of(x), (long long)d[0], (long long)d[1], (long long)d[2], (long long)d[3]);
    return NT_OK;
}

static nt_status check_shape(const job *j, const nt_npy *x)
{
    char text[NT_SHAPE_TEXT_BYTES];
    const nt_shape said = j->args->shape;
    const int64_t n = nt_shape_elems(x->shape) / x->shape.dim[0];
    if (said.n_dims == 0) return NT_OK;
    NT_CHECK(nt_shape_elems(said) == n, NT_ERR_USAGE,
             "--shape %s has %lld values, but a row of '%s' has %lld", nt_shape_text(said, text),
             (long long)nt_shape_elems(said), path_of(x), (long long)n);
    return NT_OK;
}

static nt_shape sample_shape(const job *j, const nt_npy *x)
{
    const int64_t *d = x->shape.dim;
    if (j->args->shape.n_dims > 0) return j->args->shape;
    if (x->shape.n_dims == 1) return nt_shape_of(1, (int64_t)1);
    if (x->shape.n_dims == 3) return nt_shape_of(3, (int64_t)1, d[1], d[2]);
    if (j->channels_last) return nt_shape_of(3, d[3], d[1], d[2]);
    nt_shape shape = {.n_dims = x->shape.n_dims - 1};
    for (int i = 0; i < shape.n_dims; i++)
        shape.dim[i] = d[i + 1];
    return shape;
}

static nt_status open_part(part *p, const char *x, const char *y)
{
    NT_TRY(nt_npy_open(&p->x, x));
    NT_TRY(nt_npy_open(&p->y, y));
    NT_CHECK(p->x.shape.dim[0] == p->y.shape.dim[0], NT_ERR_DATA, "'%s' has %lld rows and '%s' has %lld", x,
             (long long)p->x.shape.dim[0], y, (long long)p->y.shape.dim[0]);
    NT_CHECK(p->x.shape.n_dims <= 5, NT_ERR_DATA, "'%s' has %d dimensions, at most 5 are possible", x,
             p->x.shape.n_dims);
    return NT_OK;
}

static nt_status check_agreement(const job *j, const part *a, const part *b)
{
    nt_shape one = a->x.shape, two = b->x.shape;
    one.dim[0] = two.dim[0] = 1;
    NT_CHECK(nt_shape_equal(one, two) && is_bytes(&a->x) == is_bytes(&b->x), NT_ERR_DATA,
             "'%s' and '%s' differ in more than the number of rows", path_of(&a->x), path_of(&b->x));
    NT_CHECK(
        has_classes(j, &a->y) == has_classes(j, &b->y) && n_columns(&a->y) == n_columns(&b->y), NT_ERR_DATA,
        "'%s' and '%s' differ in more than the number of rows: classes are integers, (N), all others are "
        "target values",
        path_of(&a->y), path_of(&b->y));
    return NT_OK;
}

/* --- rows --- */

static nt_status check_label(const nt_npy *y, int64_t row, double label)
{
    NT_CHECK(label >= 0 && label < MAX_CLASSES, NT_ERR_DATA,
             "'%s': row %lld is %.0f; integers are classes, 0 to %d (--targets 1 takes them as values)",
             path_of(y), (long long)row, label, MAX_CLASSES - 1);
    return NT_OK;
}

static nt_status narrow(const nt_npy *npy, int64_t row, const double *value, int64_t n, float *dst)
{
    for (int64_t i = 0; i < n; i++) {
        NT_CHECK(isfinite(value[i]) && fabs(value[i]) <= FLT_MAX, NT_ERR_DATA,
                 "'%s': value %lld of row %lld is %g, which is no finite float32", path_of(npy), (long long)i,
                 (long long)row, value[i]);
        dst[i] = (float)value[i];
    }
    return NT_OK;
}

/* The values of a sample, channels first. */
static void to_channels_first(const job *j, double *value, double *spare)
{
    const int64_t channels = j->format.shape.dim[0], n = nt_shape_elems(j->format.shape),
                  pixels = n / channels;
    for (int64_t i = 0; i < n; i++)
        spare[i] = value[i];
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < pixels; i++)
            value[c * pixels + i] = spare[i * channels + c];
}

static nt_status put_row(job *j, nt_import_writer *writer, part *p, int64_t row)
{
    const int64_t n = nt_shape_elems(j->format.shape), n_targets = j->format.n_targets;
    NT_TRY(nt_npy_read(&p->x, j->value, n));
    if (j->channels_last) to_channels_first(j, j->value, j->value + n);
    const void *x = j->u8, *target = j->target_f32;
    if (j->format.dtype == NT_F32) {
        NT_TRY(narrow(&p->x, row, j->value, n, j->f32));
        x = j->f32;
    } else {
        for (int64_t i = 0; i < n; i++)
            j->u8[i] = (uint8_t)j->value[i];
    }
    int32_t label;
    NT_TRY(nt_npy_read(&p->y, j->target, n_targets > 0 ? n_targets : 1));
    if (n_targets > 0) {
        NT_TRY(narrow(&p->y, row, j->target, n_targets, j->target_f32));
    } else {
        NT_TRY(check_label(&p->y, row, j->target[0]));
        label = (int32_t)j->target[0];
        target = &label;
    }
    return nt_import_put(writer, 1, x, target);
}

static nt_status put_parts(job *j, nt_import_writer *writer)
{
    static const char *const names[] = {"train", "test"};
    for (int k = 0; k < j->n_parts; k++) {
        part *p = &j->part[k];
        NT_TRY(nt_import_begin(writer, names[k], p->x.shape.dim[0]));
        for (int64_t row = 0; row < p->x.shape.dim[0]; row++)
            NT_TRY(put_row(j, writer, p, row));
        NT_TRY(nt_npy_expect_end(&p->x));
        NT_TRY(nt_npy_expect_end(&p->y));
    }
    return NT_OK;
}

/* --- the whole --- */

/* Labels are few: they are read once beforehand, to count the classes. */
static nt_status count_classes(const char *path, int64_t *n_classes)
{
    nt_npy y;
    double label;
    nt_status status = nt_npy_open(&y, path);
    for (int64_t row = 0; status == NT_OK && row < y.shape.dim[0]; row++) {
        status = nt_npy_read(&y, &label, 1);
        if (status == NT_OK) status = check_label(&y, row, label);
        if (status == NT_OK && label >= (double)*n_classes) *n_classes = (int64_t)label + 1;
    }
    nt_npy_close(&y);
    return status;
}

static nt_status plan(job *j)
{
    const nt_import_args *args = j->args;
    for (int k = 0; k < j->n_parts; k++)
        NT_TRY(open_part(&j->part[k], args->inputs[2 * k], args->inputs[2 * k + 1]));
    if (j->n_parts > 1) NT_TRY(check_agreement(j, &j->part[0], &j->part[1]));
    const part *p = &j->part[0];
    NT_TRY(find_layout(j, &p->x));
    NT_TRY(check_shape(j, &p->x));
    NT_CHECK(args->n_targets == 0 || args->n_targets == n_columns(&p->y), NT_ERR_USAGE,
             "--targets %lld: '%s' has %lld columns", (long long)args->n_targets, path_of(&p->y),
             (long long)n_columns(&p->y));
    j->format.dtype = is_bytes(&p->x) ? NT_U8 : NT_F32;
    j->format.shape = sample_shape(j, &p->x);
    if (!has_classes(j, &p->y)) j->format.n_targets = n_columns(&p->y);
    for (int k = 0; k < j->n_parts && j->format.n_targets == 0; k++)
        NT_TRY(count_classes(args->inputs[2 * k + 1], &j->format.n_classes));
    return NT_OK;
}

/* --- what they were taken for --- */

static const char *x_words(const job *j, const nt_npy *x)
{
    if (j->args->shape.n_dims > 0) return "as --shape says";
    if (j->args->channels_last) return "channels came last";
    if (x->shape.n_dims == 4) return "channels first (--nhwc: they come last)";
    if (x->shape.n_dims == 3) return "images of one channel (--shape says otherwise)";
    return x->shape.n_dims == 5 ? "as they lie (--shape says otherwise)" : "rows of numbers";
}

static void say(const job *j)
{
    const nt_npy *x = &j->part[0].x, *y = &j->part[0].y;
    const nt_import_format *f = &j->format;
    char stored[NT_SHAPE_TEXT_BYTES], sample[NT_SHAPE_TEXT_BYTES];
    nt_info("'%s' (%s, %s%d): %lld samples of %s %s, %s", path_of(x), nt_shape_text(x->shape, stored),
            x->kind == 'b'   ? "bool"
            : x->kind == 'f' ? "float"
            : x->kind == 'u' ? "uint"
                             : "int",
            8 * x->elem_bytes, (long long)x->shape.dim[0], nt_shape_text(f->shape, sample),
            nt_dtype_name(f->dtype), x_words(j, x));
    if (f->n_targets > 0)
        nt_info("'%s': %lld target value%s a sample", path_of(y), (long long)f->n_targets,
                f->n_targets == 1 ? "" : "s");
    else
        nt_info("'%s': classes 0 to %lld (--targets 1: values)", path_of(y), (long long)f->n_classes - 1);
}

static nt_status allocate(job *j)
{
    const int64_t n = nt_shape_elems(j->format.shape), m = j->format.n_targets + 1, limit = (int64_t)1 << 28;
    NT_CHECK(n <= limit && m <= limit, NT_ERR_DATA, "'%s' declares samples of %lld values",
             path_of(&j->part[0].x), (long long)n);
    j->value = malloc((size_t)n * 2 * sizeof *j->value);
    j->target = malloc((size_t)m * sizeof *j->target);
    j->u8 = malloc((size_t)n);
    j->f32 = malloc((size_t)n * sizeof *j->f32);
    j->target_f32 = malloc((size_t)m * sizeof *j->target_f32);
    NT_CHECK_ALLOC(j->value && j->target && j->u8 && j->f32 && j->target_f32, n * 21);
    return NT_OK;
}

static nt_status convert(job *j)
{
    nt_import_writer *writer;
    NT_TRY(plan(j));
    NT_TRY(allocate(j));
    NT_TRY(nt_import_open(&writer, j->args, &j->format));
    nt_status status = put_parts(j, writer);
    if (status == NT_OK) {
        NT_TRY(nt_import_finish(writer));
        say(j);
        return NT_OK;
    }
    nt_import_discard(writer);
    return status;
}

static nt_status run_npy(const nt_import_args *args)
{
    NT_CHECK(args->n_inputs == 2 || args->n_inputs == 4, NT_ERR_USAGE,
             "npy takes x.npy y.npy, or x.npy y.npy x_test.npy y_test.npy");
    job j = {.args = args, .n_parts = args->n_inputs / 2};
    nt_status status = convert(&j);
    for (int k = 0; k < 2; k++) {
        nt_npy_close(&j.part[k].x);
        nt_npy_close(&j.part[k].y);
    }
    free(j.value), free(j.target), free(j.u8), free(j.f32), free(j.target_f32);
    return status;
}

const nt_importer nt_import_npy = {
    .name = "npy",
    .usage = "[--nhwc|--nchw|--shape CxHxW] [--targets N] X.npy Y.npy [X_TEST.npy Y_TEST.npy]",
    .help =
        "arrays of NumPy; y (N) of integers holds classes, floats are targets; says what it took them for",
    .run = run_npy,
};
