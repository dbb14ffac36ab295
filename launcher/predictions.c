/* Two formats behind one table, each with a file of its own in the making; naming, refusing and renaming are
 * common.
 *
 * HDF5: /prediction (N, K) float32, of several positions in the shape of the outputs, (N, positions, K) as
 * class_dim says, /class (N) or (N, positions) int32, attributes class_names, values,
 * checkpoint. CSV: a line for each sample: its number, the class and its name where there are classes, and
 * all outputs, in nine digits, which float32 needs to come back. */
#include "launcher/predictions.h"

#include "core/file.h"
#include "core/h5.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CSV_COLUMNS 100000

typedef struct format {
    const char *suffix; /* NULL: any other */
    nt_status (*open)(nt_predictions *p);
    nt_status (*put)(nt_predictions *p, int64_t n, const float *row, const int32_t *class_);
    nt_status (*finish)(nt_predictions *p); /* durable, and closed in every case */
    void (*close)(nt_predictions *p);
} format;

struct nt_predictions {
    const format *format;
    nt_predictions_form form;
    char path[PATH_MAX], temporary[PATH_MAX];
    bool created;
    int64_t n_written;
    nt_h5 *h5;
    nt_h5_set *values, *classes; /* HDF5; classes NULL without */
    FILE *csv;
};

/* --- HDF5 --- */

static nt_status h5_open(nt_predictions *p)
{
    const nt_predictions_form *f = &p->form;
    const int64_t n = f->n_samples, chunk = n < 1024 ? n : 1024, n_positions = f->layout.n_positions;
    NT_TRY(nt_h5_create(&p->h5, p->temporary));
    p->created = true;
    const nt_shape values = n_positions > 1 ? nt_shape_with_n(f->shape, n) : nt_shape_of(2, n, f->n_outputs);
    NT_TRY(nt_h5_set_create(&p->values, p->h5, "/prediction", NT_F32, values, chunk, 0));
    nt_shape shape = n_positions > 1 ? nt_shape_of(2, n, n_positions) : nt_shape_of(1, n);
    if (f->classes) NT_TRY(nt_h5_set_create(&p->classes, p->h5, "/class", NT_I32, shape, chunk, 0));
    NT_TRY(nt_h5_put_string(p->h5, "/", "checkpoint", f->checkpoint));
    NT_TRY(nt_h5_put_string(p->h5, "/", "values", f->value_name));
    NT_TRY(nt_h5_put_string(p->h5, "/", "nntrain_version", NNTRAIN_VERSION));
    if (f->names) NT_TRY(nt_h5_put_strings(p->h5, "/", "class_names", f->names, (int)f->n_names));
    return NT_OK;
}

static nt_status h5_put(nt_predictions *p, int64_t n, const float *row, const int32_t *class_)
{
    NT_TRY(nt_h5_set_write(p->values, p->n_written, n, row));
    if (p->classes) NT_TRY(nt_h5_set_write(p->classes, p->n_written, n, class_));
    return NT_OK;
}

static void h5_close(nt_predictions *p)
{
    nt_h5_set_close(p->values);
    nt_h5_set_close(p->classes);
    nt_h5_close(p->h5);
    p->values = p->classes = NULL;
    p->h5 = NULL;
}

static nt_status h5_finish(nt_predictions *p)
{
    nt_h5_set_close(p->values);
    nt_h5_set_close(p->classes);
    p->values = p->classes = NULL;
    nt_h5 *h5 = p->h5;
    p->h5 = NULL;
    return nt_h5_finish(h5);
}

/* --- CSV --- */

/* A field in quotes where it needs them (RFC 4180). */
static void put_field(FILE *out, const char *text)
{
    if (!text[strcspn(text, ",\"\r\n")]) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* "probability_cat", "output_3" */
static void put_heading(nt_predictions *p, int64_t k)
{
    const nt_predictions_form *f = &p->form;
    char text[512];
    if (f->names && k < f->n_names)
        snprintf(text, sizeof text, "%s_%s", f->value_name, f->names[k]);
    else
        snprintf(text, sizeof text, "%s_%lld", f->value_name, (long long)k);
    fputc(',', p->csv);
    put_field(p->csv, text);
}

static nt_status csv_check(const nt_predictions *p)
{
    NT_CHECK(!ferror(p->csv), NT_ERR_IO, "cannot write to '%s': %s", p->temporary, strerror(errno));
    return NT_OK;
}

static nt_status csv_open(nt_predictions *p)
{
    const nt_predictions_form *f = &p->form;
    NT_CHECK(f->layout.n_positions == 1 && f->n_outputs <= MAX_CSV_COLUMNS, NT_ERR_USAGE,
             "'%s': a line for each sample would have %lld columns, at %lld positions; name the output .h5",
             p->path, (long long)f->n_outputs, (long long)f->layout.n_positions);
    int fd = open(p->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot create '%s': %s", p->temporary, strerror(errno));
    p->created = true;
    p->csv = fdopen(fd, "w");
    if (!p->csv) close(fd);
    NT_CHECK(p->csv, NT_ERR_UNAVAILABLE, "out of memory for '%s'", p->path);
    fputs(f->classes ? "sample,class" : "sample", p->csv);
    if (f->classes && f->names) fputs(",class_name", p->csv);
    for (int64_t k = 0; k < f->n_outputs; k++)
        put_heading(p, k);
    fputc('\n', p->csv);
    return csv_check(p);
}

static nt_status csv_put(nt_predictions *p, int64_t n, const float *row, const int32_t *class_)
{
    const nt_predictions_form *f = &p->form;
    for (int64_t i = 0; i < n; i++) {
        fprintf(p->csv, "%lld", (long long)(p->n_written + i));
        if (f->classes) fprintf(p->csv, ",%d", class_[i]);
        if (f->classes && f->names) {
            fputc(',', p->csv);
            if (class_[i] < f->n_names) put_field(p->csv, f->names[class_[i]]);
        }
        for (int64_t k = 0; k < f->n_outputs; k++)
            fprintf(p->csv, ",%.9g", (double)row[i * f->n_outputs + k]);
        fputc('\n', p->csv);
    }
    return csv_check(p);
}

static void csv_close(nt_predictions *p)
{
    if (p->csv) (void)fclose(p->csv);
    p->csv = NULL;
}

static nt_status csv_finish(nt_predictions *p)
{
    bool ok = fflush(p->csv) == 0 && fsync(fileno(p->csv)) == 0 && !ferror(p->csv);
    int reason = errno;
    ok = fclose(p->csv) == 0 && ok;
    p->csv = NULL;
    NT_CHECK(ok, NT_ERR_IO, "cannot write to '%s': %s", p->temporary, strerror(reason));
    return NT_OK;
}

/* --- common --- */

static const format formats[] = {
    {".csv", csv_open, csv_put, csv_finish, csv_close},
    {".h5", h5_open, h5_put, h5_finish, h5_close},
    {".hdf5", h5_open, h5_put, h5_finish, h5_close},
};

static nt_status find_format(const char *path, const format **out)
{
    const size_t n = strlen(path);
    for (int i = 0; i < NT_N_ELEMS(formats); i++) {
        size_t end = strlen(formats[i].suffix);
        *out = &formats[i];
        if (n > end && strcmp(path + n - end, formats[i].suffix) == 0) return NT_OK;
    }
    NT_FAIL(NT_ERR_USAGE, "'%s': the output must end in .h5, .hdf5 or .csv", path);
}

static nt_status name_files(nt_predictions *p, const char *path, bool force)
{
    NT_TRY(nt_file_check_output(path, p->form.input, force));
    NT_CHECK(snprintf(p->temporary, sizeof p->temporary, "%s.tmp%ld", path, (long)getpid()) < PATH_MAX,
             NT_ERR_CREATE, "the path of the output is too long");
    snprintf(p->path, sizeof p->path, "%s", path);
    return NT_OK;
}

nt_status nt_predictions_open(nt_predictions **out, const char *path, bool force,
                              const nt_predictions_form *form)
{
    *out = NULL;
    nt_predictions *p = calloc(1, sizeof *p);
    NT_CHECK_ALLOC(p, sizeof *p);
    p->form = *form;
    nt_status status = find_format(path, &p->format);
    if (status == NT_OK) status = name_files(p, path, force);
    if (status == NT_OK) status = p->format->open(p);
    if (status != NT_OK) {
        nt_predictions_discard(p);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = p;
    return NT_OK;
}

nt_status nt_predictions_put(nt_predictions *p, int64_t n, const float *row, const int32_t *class_)
{
    NT_BUG_UNLESS(p->n_written + n <= p->form.n_samples, "%lld predictions of %lld",
                  (long long)(p->n_written + n), (long long)p->form.n_samples);
    NT_TRY(p->format->put(p, n, row, class_));
    p->n_written += n;
    return NT_OK;
}

nt_status nt_predictions_finish(nt_predictions *p)
{
    nt_status status = p->format->finish(p);
    if (status == NT_OK && rename(p->temporary, p->path) != 0)
        status = nt_error_set(NT_ERR_IO, __FILE__, __LINE__, __func__, "cannot rename '%s' to '%s': %s",
                              p->temporary, p->path, strerror(errno));
    if (status == NT_OK) {
        printf("predictions of %lld samples in %s\n", (long long)p->n_written, p->path);
        p->created = false;
    }
    nt_predictions_discard(p);
    return status;
}

void nt_predictions_discard(nt_predictions *p)
{
    if (!p) return;
    p->format->close(p);
    if (p->created) (void)unlink(p->temporary);
    free(p);
}
