/* Fitting in one pass: mean and variance by Welford's recurrence (Welford 1962), which does not cancel, and
 * the different integers of a column in a sorted list that is cut off before it could be an identifier. */
#include "datasets/features.h"

#include "core/phase.h"
#include "core/text.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COLUMNS 65536
#define MAX_CLASSES 4096
#define MAX_OUT     ((int64_t)1 << 24)

typedef struct column {
    bool one_hot;
    double shift, factor; /* of a number */
    int n, cap;           /* classes */
    double *class_;       /* (n) integers, ascending; owned */
    /* while fitting */
    double mean, m2, min, max;
} column;

struct nt_features {
    int64_t n_in, n_out;
    column *column; /* (n_in) */
};

bool nt_features_wanted(const nt_data_options *o)
{
    return o->features != NT_FEATURES_NONE || o->one_hot.n > 0;
}

nt_status nt_features_check(const nt_data_options *o, const nt_sample_spec *spec)
{
    char text[NT_SHAPE_TEXT_BYTES];
    const char *key = o->features != NT_FEATURES_NONE ? "features" : "one_hot";
    const char *other = o->scale > 0    ? "scale"
                        : o->mean.n > 0 ? "mean"
                        : o->std.n > 0  ? "std"
                        : o->normalize  ? "normalize"
                                        : NULL;
    NT_CHECK(spec->x.n_dims == 1 && spec->x_dtype != NT_I32, NT_ERR_CONFIG,
             "data.%s is for samples that are rows of numbers, but these are %s of %s", key,
             nt_shape_text(spec->x, text), nt_dtype_name(spec->x_dtype));
    NT_CHECK(!other, NT_ERR_CONFIG, "data.%s and data.%s exclude each other: both say how values are scaled",
             key, other);
    NT_CHECK(spec->x.dim[0] <= MAX_COLUMNS, NT_ERR_CONFIG, "data.%s: %lld columns, at most %d are possible",
             key, (long long)spec->x.dim[0], MAX_COLUMNS);
    for (int i = 0; i < o->one_hot.n; i++)
        NT_CHECK(o->one_hot.value[i] < spec->x.dim[0], NT_ERR_CONFIG,
                 "data.one_hot names column %lld, but there are only 0 to %lld",
                 (long long)o->one_hot.value[i], (long long)spec->x.dim[0] - 1);
    return NT_OK;
}

/* --- life --- */

static nt_status create(nt_features **out, int64_t n_in)
{
    nt_features *f = calloc(1, sizeof *f);
    column *c = calloc((size_t)n_in, sizeof *c);
    if (!f || !c) {
        free(f), free(c);
        NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory for %lld columns", (long long)n_in);
    }
    *f = (nt_features){.n_in = n_in, .column = c};
    *out = f;
    return NT_OK;
}

void nt_features_destroy(nt_features *f)
{
    if (!f) return;
    for (int64_t i = 0; i < f->n_in; i++)
        free(f->column[i].class_);
    free(f->column);
    free(f);
}

int64_t nt_features_n_in(const nt_features *f)
{
    return f->n_in;
}

int64_t nt_features_n_out(const nt_features *f)
{
    return f->n_out;
}

static nt_status count_out(nt_features *f)
{
    f->n_out = 0;
    for (int64_t i = 0; i < f->n_in; i++)
        f->n_out += f->column[i].one_hot ? f->column[i].n : 1;
    NT_CHECK(f->n_out >= 1 && f->n_out <= MAX_OUT, NT_ERR_DATA,
             "%lld columns of features, at most %lld are possible", (long long)f->n_out, (long long)MAX_OUT);
    return NT_OK;
}

/* --- fitting --- */

/* Index of the first class that is not below `value`. */
static int lower_bound(const column *c, double value)
{
    int low = 0, high = c->n;
    while (low < high) {
        int mid = low + (high - low) / 2;
        if (c->class_[mid] < value)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static nt_status add_class(column *c, double value)
{
    int at = lower_bound(c, value);
    if (at < c->n && c->class_[at] == value) return NT_OK;
    NT_CHECK(value == floor(value) && fabs(value) <= 0x1p53, NT_ERR_DATA,
             "%.9g is no integer, so it is no class (data.one_hot)", value);
    NT_CHECK(c->n < MAX_CLASSES, NT_ERR_DATA,
             "has more than %d different values: too many classes for data.one_hot", MAX_CLASSES);
    if (c->n == c->cap) {
        int cap = c->cap ? 2 * c->cap : 16;
        double *grown = realloc(c->class_, (size_t)cap * sizeof *grown);
        NT_CHECK_ALLOC(grown, (size_t)cap * sizeof *grown);
        c->class_ = grown;
        c->cap = cap;
    }
    memmove(c->class_ + at + 1, c->class_ + at, (size_t)(c->n - at) * sizeof *c->class_);
    c->class_[at] = value;
    c->n++;
    return NT_OK;
}

/* n: values before this one. */
static void add_number(column *c, double value, int64_t n)
{
    double d = value - c->mean;
    c->mean += d / (double)(n + 1);
    c->m2 += d * (value - c->mean);
    c->min = n == 0 || value < c->min ? value : c->min;
    c->max = n == 0 || value > c->max ? value : c->max;
}

static double stored_value(nt_dtype dtype, const void *stored, int64_t i)
{
    return dtype == NT_U8 ? (double)((const uint8_t *)stored)[i] : (double)((const float *)stored)[i];
}

static nt_status add_rows(nt_features *f, const nt_dataset *ds, int64_t first, int64_t n, const void *stored)
{
    for (int64_t i = 0; i < n * f->n_in; i++) {
        column *c = &f->column[i % f->n_in];
        double value = stored_value(ds->spec.x_dtype, stored, i);
        nt_status status = NT_OK;
        if (c->one_hot)
            status = add_class(c, value);
        else
            add_number(c, value, first + i / f->n_in);
        if (status == NT_OK) continue;
        char text[512];
        ds->ops->describe(ds, text, sizeof text);
        return nt_error_prefix(status, "%s: sample %lld, column %lld: ", text,
                               (long long)(first + i / f->n_in), (long long)(i % f->n_in));
    }
    return NT_OK;
}

static nt_status add_all(nt_features *f, nt_dataset *ds, int64_t *index, int64_t n_block, void *stored)
{
    for (int64_t first = 0; first < ds->n_samples; first += n_block) {
        int64_t n = ds->n_samples - first < n_block ? ds->n_samples - first : n_block;
        for (int64_t i = 0; i < n; i++)
            index[i] = first + i;
        NT_TRY(ds->ops->read(ds, index, n, stored, NULL));
        NT_TRY(add_rows(f, ds, first, n, stored));
        nt_phase_tick();
    }
    return NT_OK;
}

/* shift and factor out of the sums over n values. */
static void settle(column *c, int features, int64_t n)
{
    double range = features == NT_FEATURES_MINMAX ? c->max - c->min : sqrt(c->m2 / (double)n);
    if (c->max == c->min) range = 0;
    c->shift = features == NT_FEATURES_NONE ? 0 : features == NT_FEATURES_MINMAX ? c->min : c->mean;
    if (c->max == c->min && features != NT_FEATURES_NONE) c->shift = c->min;
    c->factor = features != NT_FEATURES_NONE && range > 0 ? 1 / range : 1;
}

static nt_status fit(nt_features *f, nt_dataset *ds, const nt_data_options *options)
{
    enum { BLOCK = 256 };
    int64_t index[BLOCK];
    for (int i = 0; i < options->one_hot.n; i++)
        f->column[options->one_hot.value[i]].one_hot = true;
    void *stored = malloc(BLOCK * (size_t)f->n_in * nt_dtype_bytes(ds->spec.x_dtype));
    NT_CHECK_ALLOC(stored, BLOCK * (size_t)f->n_in * nt_dtype_bytes(ds->spec.x_dtype));
    nt_status status = add_all(f, ds, index, BLOCK, stored);
    free(stored);
    NT_TRY(status);
    for (int64_t i = 0; i < f->n_in; i++)
        if (!f->column[i].one_hot) settle(&f->column[i], options->features, ds->n_samples);
    return count_out(f);
}

nt_status nt_features_fit(nt_features **out, nt_dataset *ds, const nt_data_options *options)
{
    NT_BUG_UNLESS(!ds->features && ds->spec.x.n_dims == 1, "fitting features to a set that has some");
    NT_TRY(create(out, ds->spec.x.dim[0]));
    nt_status status = fit(*out, ds, options);
    if (status == NT_OK) return NT_OK;
    nt_features_destroy(*out);
    *out = NULL;
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

/* --- as text --- */

static void print_column(FILE *out, const column *c)
{
    char text[NT_FLOAT_TEXT_BYTES];
    if (c->one_hot) {
        fprintf(out, "classes");
        for (int i = 0; i < c->n; i++)
            fprintf(out, " %s", nt_text_from_float(c->class_[i], text));
    } else {
        fprintf(out, "number %s", nt_text_from_float(c->shift, text));
        fprintf(out, " %s", nt_text_from_float(c->factor, text));
    }
    fprintf(out, "\n");
}

nt_status nt_features_text(const nt_features *f, char **text)
{
    size_t n_bytes;
    *text = NULL;
    FILE *out = open_memstream(text, &n_bytes);
    NT_CHECK(out, NT_ERR_UNAVAILABLE, "out of memory for the features' text");
    fprintf(out, "features %lld\n", (long long)f->n_in);
    for (int64_t i = 0; i < f->n_in; i++)
        print_column(out, &f->column[i]);
    bool ok = !ferror(out);
    ok = fclose(out) == 0 && ok;
    if (ok) return NT_OK;
    free(*text);
    *text = NULL;
    NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory for the features' text");
}

/* One line, without its end. */
static nt_status parse_column(column *c, char *line)
{
    char *rest = NULL, *word = strtok_r(line, " ", &rest);
    double value[2];
    int n = 0;
    NT_CHECK(word && (strcmp(word, "number") == 0 || strcmp(word, "classes") == 0), NT_ERR_DATA,
             "the features in the checkpoint are damaged");
    c->one_hot = *word == 'c';
    for (word = strtok_r(NULL, " ", &rest); word; word = strtok_r(NULL, " ", &rest), n++) {
        double v;
        NT_CHECK(nt_text_to_float(word, &v) && (c->one_hot || n < 2), NT_ERR_DATA,
                 "the features in the checkpoint are damaged at '%.20s'", word);
        if (c->one_hot)
            NT_TRY(add_class(c, v));
        else
            value[n] = v;
    }
    NT_CHECK(c->one_hot ? n >= 1 && c->n == n : n == 2, NT_ERR_DATA,
             "the features in the checkpoint are damaged");
    if (!c->one_hot) c->shift = value[0], c->factor = value[1];
    return NT_OK;
}

static nt_status parse_columns(nt_features *f, char *line)
{
    for (int64_t i = 0; i < f->n_in; i++) {
        char *end = line ? strchr(line, '\n') : NULL;
        NT_CHECK(end, NT_ERR_DATA, "the features in the checkpoint end too soon");
        *end = '\0';
        NT_TRY(parse_column(&f->column[i], line));
        line = end + 1;
    }
    NT_CHECK(!*line, NT_ERR_DATA, "the features in the checkpoint go on where they should end");
    return count_out(f);
}

nt_status nt_features_parse(nt_features **out, const char *text)
{
    long long n_in = 0;
    int head = 0;
    *out = NULL;
    NT_CHECK(sscanf(text, "features %lld\n%n", &n_in, &head) == 1 && head > 0 && n_in >= 1 &&
                 n_in <= MAX_COLUMNS,
             NT_ERR_DATA, "the features in the checkpoint are damaged");
    char *copy = strdup(text + head);
    NT_CHECK_ALLOC(copy, strlen(text));
    nt_status status = create(out, n_in);
    if (status == NT_OK) status = parse_columns(*out, copy);
    free(copy);
    if (status == NT_OK) return NT_OK;
    nt_features_destroy(*out);
    *out = NULL;
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

/* --- applying --- */

static float *apply_column(const column *c, double value, float *x, int64_t *n_unknown)
{
    if (!c->one_hot) {
        *x = (float)((value - c->shift) * c->factor);
        return x + 1;
    }
    int at = lower_bound(c, value);
    bool known = at < c->n && c->class_[at] == value;
    memset(x, 0, (size_t)c->n * sizeof *x);
    if (known) x[at] = 1;
    *n_unknown += !known;
    return x + c->n;
}

nt_status nt_features_apply(const nt_features *f, nt_dtype dtype, const void *stored, int64_t n, float *x,
                            int64_t *n_unknown)
{
    for (int64_t i = 0; i < n * f->n_in; i++) {
        float *before = x;
        x = apply_column(&f->column[i % f->n_in], stored_value(dtype, stored, i), x, n_unknown);
        NT_CHECK(isfinite(*before), NT_ERR_DATA,
                 "column %lld: %g is so far from what there was to train on that it is no float32 any more",
                 (long long)(i % f->n_in), stored_value(dtype, stored, i));
    }
    return NT_OK;
}
