/* The list of importers and the writer they share. */
#include "datasets/import.h"

#include "core/file.h"
#include "core/h5.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const nt_importer nt_import_mnist, nt_import_csv, nt_import_cifar10, nt_import_cifar100,
    nt_import_images, nt_import_npy, nt_import_text, nt_import_shapes;

static const nt_importer *const importers[] = {&nt_import_mnist, &nt_import_cifar10, &nt_import_cifar100,
                                               &nt_import_csv,   &nt_import_images,  &nt_import_npy,
                                               &nt_import_text,  &nt_import_shapes,  NULL};

const nt_importer *const *nt_importers(void)
{
    return importers;
}

const nt_importer *nt_importer_find(const char *name)
{
    for (const nt_importer *const *i = importers; *i; i++)
        if (strcmp((*i)->name, name) == 0) return *i;
    return NULL;
}

/* FNV-1a, and the finaliser of MurmurHash3 because names that differ in their last letter should not lie
 * together. */
double nt_name_fraction(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        h = (h ^ *c) * 0x100000001b3u;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
    h ^= h >> 33;
    return (double)(h >> 11) * 0x1p-53;
}

/* Chunks of about this size: large enough to read fast, small enough to read a few samples. */
#define CHUNK_BYTES  (64 * 1024)
#define MAX_CHANNELS 64

struct nt_import_writer {
    nt_import_format format;
    const nt_import_args *args;
    char *temporary;
    nt_h5 *file;
    nt_h5_set *data, *label;
    char part[16];
    int64_t n_samples, n_written;
    bool may_lack;
    /* statistics of the train part, per channel, of stored values */
    int n_channels;
    double sum[MAX_CHANNELS], sum_squares[MAX_CHANNELS];
    int64_t n_values;
};

static nt_status make_temporary(nt_import_writer *w)
{
    size_t n_bytes = strlen(w->args->out) + 32;
    w->temporary = malloc(n_bytes);
    NT_CHECK_ALLOC(w->temporary, n_bytes);
    snprintf(w->temporary, n_bytes, "%s.tmp.%ld", w->args->out, (long)getpid());
    NT_TRY(nt_file_check_output(w->args->out, NULL, w->args->force));
    for (int i = 0; i < w->args->n_inputs; i++)
        NT_TRY(nt_file_check_output(w->args->out, w->args->inputs[i], true));
    NT_TRY(nt_h5_create(&w->file, w->temporary));
    return NT_OK;
}

nt_status nt_import_open(nt_import_writer **out, const nt_import_args *args, const nt_import_format *format)
{
    nt_import_writer *w = calloc(1, sizeof *w);
    NT_CHECK_ALLOC(w, sizeof *w);
    w->args = args;
    w->format = *format;
    int64_t channels = format->shape.n_dims == 3 ? format->shape.dim[0] : 1;
    w->n_channels = channels <= MAX_CHANNELS ? (int)channels : 0;
    nt_status status = make_temporary(w);
    if (status != NT_OK) {
        nt_import_discard(w);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = w;
    return NT_OK;
}

/* What was announced and did not come. */
static nt_status shorten(nt_import_writer *w)
{
    if (!w->may_lack || w->n_written == w->n_samples) return NT_OK;
    NT_CHECK(w->n_written > 0, NT_ERR_DATA, "/%s: none of its %lld samples is good", w->part,
             (long long)w->n_samples);
    NT_TRY(nt_h5_set_shorten(w->data, w->n_written));
    if (w->label) NT_TRY(nt_h5_set_shorten(w->label, w->n_written));
    w->n_samples = w->n_written;
    return NT_OK;
}

void nt_import_may_lack(nt_import_writer *w)
{
    w->may_lack = true;
}

static nt_status end_part(nt_import_writer *w)
{
    NT_TRY(shorten(w));
    NT_CHECK(w->n_written == w->n_samples, NT_ERR_DATA, "/%s: %lld samples came of the %lld announced",
             w->part, (long long)w->n_written, (long long)w->n_samples);
    nt_h5_set_close(w->data);
    nt_h5_set_close(w->label);
    w->data = w->label = NULL;
    return NT_OK;
}

static int64_t rows_per_chunk(size_t row_bytes, int64_t n_samples)
{
    int64_t rows = (int64_t)(CHUNK_BYTES / row_bytes);
    if (rows < 1) rows = 1;
    return rows < n_samples ? rows : n_samples;
}

nt_status nt_import_begin(nt_import_writer *w, const char *part, int64_t n_samples)
{
    char name[64];
    NT_TRY(end_part(w));
    NT_CHECK(n_samples >= 1, NT_ERR_DATA, "there are no samples for /%s", part);
    snprintf(w->part, sizeof w->part, "%s", part);
    w->n_samples = n_samples;
    w->n_written = 0;
    w->may_lack = false;
    size_t x_bytes = (size_t)nt_shape_elems(w->format.shape) * nt_dtype_bytes(w->format.dtype);
    snprintf(name, sizeof name, "/%s", part);
    NT_TRY(nt_h5_make_group(w->file, name));
    snprintf(name, sizeof name, "/%s/%s", part, w->format.tokens ? "tokens" : "data");
    NT_TRY(nt_h5_set_create(&w->data, w->file, name, w->format.dtype,
                            nt_shape_with_n(w->format.shape, n_samples), rows_per_chunk(x_bytes, n_samples),
                            w->args->deflate));
    if (w->format.tokens) return NT_OK;
    snprintf(name, sizeof name, "/%s/label", part);
    bool classes = w->format.n_classes > 0;
    nt_shape label = classes ? nt_shape_of(1, n_samples) : nt_shape_of(2, n_samples, w->format.n_targets);
    NT_TRY(nt_h5_set_create(
        &w->label, w->file, name, classes ? NT_I32 : NT_F32, label,
        rows_per_chunk(sizeof(float) * (size_t)(classes ? 1 : w->format.n_targets), n_samples),
        w->args->deflate));
    return NT_OK;
}

static double value_at(const nt_import_writer *w, const void *x, int64_t i)
{
    return w->format.dtype == NT_U8 ? ((const uint8_t *)x)[i] : (double)((const float *)x)[i];
}

/* Sums per channel; uint8 sums are exact integers in a double. */
static void add_statistics(nt_import_writer *w, int64_t n, const void *x)
{
    if (w->n_channels == 0 || strcmp(w->part, "train") != 0) return;
    int64_t per_channel = nt_shape_elems(w->format.shape) / w->n_channels, i = 0;
    for (int64_t row = 0; row < n; row++)
        for (int c = 0; c < w->n_channels; c++)
            for (int64_t k = 0; k < per_channel; k++, i++) {
                double v = value_at(w, x, i);
                w->sum[c] += v;
                w->sum_squares[c] += v * v;
            }
    w->n_values += n * per_channel;
}

nt_status nt_import_put(nt_import_writer *w, int64_t n, const void *x, const void *target)
{
    NT_CHECK(w->data && w->n_written + n <= w->n_samples, NT_ERR_DATA,
             "/%s: more samples than the %lld announced", w->part, (long long)w->n_samples);
    NT_TRY(nt_h5_set_write(w->data, w->n_written, n, x));
    if (w->label) NT_TRY(nt_h5_set_write(w->label, w->n_written, n, target));
    if (!w->format.tokens) add_statistics(w, n, x);
    w->n_written += n;
    return NT_OK;
}

/* mean and std per channel of scaled values, as the input layer subtracts and divides. */
static nt_status put_statistics(nt_import_writer *w, double scale)
{
    double mean[MAX_CHANNELS], std[MAX_CHANNELS];
    if (w->n_channels == 0 || w->n_values == 0) return NT_OK;
    for (int c = 0; c < w->n_channels; c++) {
        double m = w->sum[c] / (double)w->n_values;
        double var = w->sum_squares[c] / (double)w->n_values - m * m;
        mean[c] = scale * m;
        std[c] = var > 0 ? scale * sqrt(var) : 1;
    }
    NT_TRY(nt_h5_put_floats(w->file, "/", "mean", mean, w->n_channels));
    NT_TRY(nt_h5_put_floats(w->file, "/", "std", std, w->n_channels));
    return NT_OK;
}

static nt_status put_attributes(nt_import_writer *w)
{
    double scale = w->args->scale > 0 ? w->args->scale : w->format.dtype == NT_U8 ? 1.0 / 255 : 1.0;
    if (!w->format.tokens) NT_TRY(nt_h5_put_string(w->file, "/", "layout", "NCHW"));
    NT_TRY(nt_h5_put_string(w->file, "/", "nntrain_version", NNTRAIN_VERSION));
    NT_TRY(nt_h5_put_string(w->file, "/", "source", w->args->source ? w->args->source : w->args->inputs[0]));
    if (!w->format.tokens) NT_TRY(nt_h5_put_floats(w->file, "/", "scale", &scale, 1));
    if (w->format.n_classes > 0) NT_TRY(nt_h5_put_int(w->file, "/", "classes", w->format.n_classes));
    if (w->format.class_names)
        NT_TRY(
            nt_h5_put_strings(w->file, "/", "class_names", w->format.class_names, (int)w->format.n_classes));
    NT_TRY(put_statistics(w, scale));
    return NT_OK;
}

static nt_status finish(nt_import_writer *w)
{
    NT_TRY(end_part(w));
    NT_TRY(put_attributes(w));
    nt_h5 *file = w->file;
    w->file = NULL;
    NT_TRY(nt_h5_finish(file));
    NT_CHECK(rename(w->temporary, w->args->out) == 0, NT_ERR_CREATE, "cannot rename '%s' to '%s': %s",
             w->temporary, w->args->out, strerror(errno));
    return NT_OK;
}

nt_status nt_import_finish(nt_import_writer *w)
{
    nt_status status = finish(w);
    if (status != NT_OK) {
        nt_import_discard(w);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    free(w->temporary);
    free(w);
    return NT_OK;
}

void nt_import_discard(nt_import_writer *w)
{
    if (!w) return;
    nt_h5_set_close(w->data);
    nt_h5_set_close(w->label);
    nt_h5_close(w->file);
    if (w->temporary) unlink(w->temporary);
    free(w->temporary);
    free(w);
}
