/* HDF5 datasets: finds the samples, decides what they are, and reads rows.
 *
 * Everything that can be wrong is looked at when the set is opened: all labels are read, shapes and numbers
 * of rows are compared, attributes checked; after that only the values of samples are left to fail. A set
 * that fits data.memory_mb is read once, into what the model wants (axes in order, resized, uint8 still
 * uint8), and a batch is a gather from memory. A larger one is read row by row as it is asked for: each rank
 * reads what it needs and nothing else. Finding, columns and labels are files of their own beside this one.
 */
#include "core/log.h"
#include "datasets/hdf5_column.h"
#include "datasets/hdf5_find.h"
#include "datasets/hdf5_label.h"
#include "datasets/hdf5_tokens.h"
#include "datasets/transform.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct hdf5 {
    int n_files;
    nt_h5 **file;          /* (n_files), as far as opened */
    nt_hdf5_place *place;  /* (n_files) */
    nt_column *x, *target; /* target: values, or labels of positions; once opened */
    nt_labels labels;      /* one class a sample */
    nt_tokens tokens;      /* length 0: samples are none */
} hdf5;

/* --- files --- */

/* Opens one file and looks for the split; the file is dropped again if the split is not in it. */
static nt_status add_file(hdf5 *h, const nt_data_options *options, nt_split split, bool own_file,
                          const char *path)
{
    bool found;
    nt_h5 **file = &h->file[h->n_files];
    NT_TRY(nt_h5_open(file, path));
    h->n_files++;
    NT_TRY(nt_hdf5_find(*file, options, split, own_file, &h->place[h->n_files - 1], &found));
    if (found) return NT_OK;
    nt_h5_close(*file);
    *file = NULL;
    h->n_files--;
    return NT_OK;
}

static nt_status open_files(hdf5 *h, const nt_data_options *options, nt_split split)
{
    bool valid_only = split == NT_SPLIT_VALID && options->valid_file.n > 0;
    const nt_names *names = valid_only ? &options->valid_file : &options->file;
    bool own_file = valid_only || split != NT_SPLIT_VALID;
    h->file = calloc((size_t)names->n, sizeof(nt_h5 *));
    h->place = calloc((size_t)names->n, sizeof *h->place);
    NT_CHECK_ALLOC(h->file && h->place, (size_t)names->n * sizeof *h->place);
    for (int i = 0; i < names->n; i++)
        NT_TRY(add_file(h, options, split, own_file, names->name[i]));
    return NT_OK;
}

/* The data sets (label: or labels) of all files as one column. */
static nt_status open_column(const hdf5 *h, bool label, nt_column **out)
{
    nt_column_source *source = calloc((size_t)h->n_files, sizeof *source);
    NT_CHECK_ALLOC(source, (size_t)h->n_files * sizeof *source);
    for (int i = 0; i < h->n_files; i++)
        source[i] =
            (nt_column_source){.file = h->file[i], .name = label ? h->place[i].label : h->place[i].data};
    nt_status status = nt_column_open(out, source, h->n_files);
    free(source);
    return status;
}

/* --- attributes --- */

/* The objects on which an attribute may lie, nearest first. */
enum { N_OWNERS = 3 };
static void list_owners(const nt_hdf5_place *place, const char *set, const char *owner[N_OWNERS])
{
    owner[0] = set;
    owner[1] = place->group;
    owner[2] = "/";
}

static nt_status find_int(const hdf5 *h, const char *set, const char *name, int64_t *value, bool *found)
{
    const char *owner[N_OWNERS];
    list_owners(&h->place[0], set, owner);
    *found = false;
    for (int i = 0; i < N_OWNERS && !*found; i++)
        NT_TRY(nt_h5_attr_int(h->file[0], owner[i], name, value, found));
    return NT_OK;
}

/* *n 0: there is none. */
static nt_status find_floats(const hdf5 *h, const char *name, double *value, int *n)
{
    const char *owner[N_OWNERS];
    bool found = false;
    list_owners(&h->place[0], h->place[0].data, owner);
    for (int i = 0; i < N_OWNERS && !found; i++)
        NT_TRY(nt_h5_attr_floats(h->file[0], owner[i], name, value, NT_MAX_CHANNELS, n, &found));
    if (!found) *n = 0;
    return NT_OK;
}

/* --- samples --- */

/* Whether channels come last, from the config or the attribute `layout` ("NHWC", "NCHW"; shorter and longer
 * ones by where the C is). */
static nt_status find_layout(const hdf5 *h, const nt_data_options *options, bool *channels_last, bool *known)
{
    char text[32];
    const char *owner[N_OWNERS];
    bool found = false;
    *channels_last = options->layout == NT_LAYOUT_NHWC;
    *known = options->layout != NT_LAYOUT_AUTO;
    if (*known) return NT_OK;
    list_owners(&h->place[0], h->place[0].data, owner);
    for (int i = 0; i < N_OWNERS && !found; i++)
        NT_TRY(nt_h5_attr_string(h->file[0], owner[i], "layout", text, sizeof text, &found));
    *known = found;
    if (!found) return NT_OK;
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)toupper((unsigned char)text[i]);
    *channels_last = n > 1 && text[n - 1] == 'C';
    bool first = n == 1 || (n > 1 && text[1] == 'C') || strcmp(text, "NHW") == 0 || strcmp(text, "NF") == 0;
    NT_CHECK(text[0] == 'N' && (*channels_last || first), NT_ERR_DATA,
             "%s: attribute 'layout' of '%s' is '%s'; NCHW and NHWC are known", nt_h5_path(h->file[0]),
             h->place[0].data, text);
    return NT_OK;
}

/* Images without a known layout whose last axis looks like colours and whose first does not. */
static void warn_of_layout(const hdf5 *h, nt_shape stored)
{
    if (stored.n_dims != 3 || stored.dim[2] > 4 || stored.dim[0] <= 4) return;
    nt_warn(
        "%s: '%s' holds samples %lldx%lldx%lld, taken as %lld channels of %lldx%lld; if the channels come "
        "last, set data.layout = nhwc",
        nt_h5_path(h->file[0]), h->place[0].data, (long long)stored.dim[0], (long long)stored.dim[1],
        (long long)stored.dim[2], (long long)stored.dim[0], (long long)stored.dim[1],
        (long long)stored.dim[2]);
}

/* A stored row as the model sees it: one value is a feature, (H, W) an image of one channel, channels first.
 */
static nt_shape sample_shape(nt_shape stored, bool channels_last)
{
    if (stored.n_dims == 0) return nt_shape_of(1, (int64_t)1);
    if (stored.n_dims == 2) return nt_shape_of(3, (int64_t)1, stored.dim[0], stored.dim[1]);
    nt_shape shape = stored;
    if (!channels_last || stored.n_dims < 3) return shape;
    shape.dim[0] = stored.dim[stored.n_dims - 1];
    for (int i = 1; i < stored.n_dims; i++)
        shape.dim[i] = stored.dim[i - 1];
    return shape;
}

static nt_status open_tokens(nt_dataset *ds, const nt_data_options *options, nt_split split)
{
    hdf5 *h = ds->state;
    bool labelled = h->place[0].label[0] != '\0';
    NT_TRY(nt_tokens_plan(&h->tokens, h->x, options, split, labelled));
    ds->spec.x_dtype = NT_I32;
    ds->spec.x = nt_shape_of(1, h->tokens.length);
    ds->n_samples = h->tokens.n_samples;
    return NT_OK;
}

static nt_status open_samples(nt_dataset *ds, const nt_data_options *options, nt_split split)
{
    hdf5 *h = ds->state;
    bool channels_last, known;
    NT_TRY(open_column(h, false, &h->x));
    if (nt_tokens_wanted(options, h->place[0].data)) return open_tokens(ds, options, split);
    ds->n_samples = nt_column_rows(h->x);
    NT_TRY(find_layout(h, options, &channels_last, &known));
    nt_shape stored = nt_column_stored_shape(h->x);
    channels_last = channels_last && stored.n_dims >= 3;
    if (!known) warn_of_layout(h, stored);
    ds->spec.x_dtype = nt_column_is_u8(h->x) ? NT_U8 : NT_F32;
    nt_column_form form = {channels_last, options->resize[0], options->resize[1]};
    NT_TRY(
        nt_column_form_rows(h->x, ds->spec.x_dtype, sample_shape(stored, channels_last), form, &ds->spec.x));
    return NT_OK;
}

/* One list of the file's normalisation: one value, or one for each channel, finite. */
static nt_status check_list(const hdf5 *h, const char *name, const nt_dataset *ds, const double *value, int n)
{
    const char *path = nt_h5_path(h->file[0]);
    NT_CHECK(
        n <= 1 || n == ds->spec.x.dim[0], NT_ERR_DATA,
        "%s: attribute '%s' holds %d values for %lld channels; set data.mean and data.std to override it",
        path, name, n, (long long)ds->spec.x.dim[0]);
    for (int i = 0; i < n; i++)
        NT_CHECK(isfinite(value[i]), NT_ERR_DATA, "%s: attribute '%s' holds %g", path, name, value[i]);
    return NT_OK;
}

/* scale, mean and std as the file gives them. mean and std are of values times the file's own scale; if the
 * config sets another scale, they follow it. What the config says of mean and std replaces both. */
static nt_status take_normalization(nt_dataset *ds, const nt_data_options *options)
{
    const hdf5 *h = ds->state;
    nt_input_options *in = &ds->spec.input;
    const char *path = nt_h5_path(h->file[0]);
    double mean[NT_MAX_CHANNELS], std[NT_MAX_CHANNELS], scale[NT_MAX_CHANNELS];
    int n_mean, n_std, n_scale;
    NT_TRY(find_floats(h, "scale", scale, &n_scale));
    NT_CHECK(n_scale == 0 || (n_scale == 1 && isfinite(scale[0]) && scale[0] > 0), NT_ERR_DATA,
             "%s: attribute 'scale' must be one number above 0", path);
    double own_scale = n_scale ? scale[0] : nt_default_scale(ds->spec.x_dtype);
    in->scale = options->scale > 0 ? options->scale : own_scale;
    if (options->mean.n > 0 || options->std.n > 0) return NT_OK;
    NT_TRY(find_floats(h, "mean", mean, &n_mean));
    NT_TRY(find_floats(h, "std", std, &n_std));
    NT_TRY(check_list(h, "mean", ds, mean, n_mean));
    NT_TRY(check_list(h, "std", ds, std, n_std));
    for (int c = 0; c < n_std; c++)
        NT_CHECK(std[c] >= 1e-30, NT_ERR_DATA, "%s: attribute 'std' holds %g, must be above 0", path, std[c]);
    nt_input_normalize(in, mean, n_mean, std, n_std, in->scale / own_scale);
    return NT_OK;
}

/* --- targets --- */

/* Number of rows file by file, so that the message can name the one that is wrong. */
static nt_status check_rows(const hdf5 *h, const nt_column *labels)
{
    for (int i = 0; i < h->n_files; i++) {
        long long n_x = (long long)nt_column_source_rows(h->x, i),
                  n = (long long)nt_column_source_rows(labels, i);
        NT_CHECK(n_x == n, NT_ERR_DATA,
                 "%s: '%s' has %lld rows and '%s' has %lld; there must be one for each sample",
                 nt_h5_path(h->file[i]), h->place[i].data, n_x, h->place[i].label, n);
    }
    return NT_OK;
}

/* data.classes, else attribute `classes`, else 0. *said is which. */
static nt_status find_classes(const hdf5 *h, const nt_data_options *options, const char *set,
                              int64_t *classes, const char **said)
{
    bool found = false;
    *classes = options->classes;
    *said = "data.classes";
    if (*classes > 0) return NT_OK;
    *said = "attribute 'classes'";
    NT_TRY(find_int(h, set, "classes", classes, &found));
    NT_CHECK(!found || (*classes >= 1 && *classes <= NT_MAX_CLASSES), NT_ERR_DATA,
             "%s: attribute 'classes' is %lld", nt_h5_path(h->file[0]), (long long)*classes);
    if (!found) *classes = 0;
    return NT_OK;
}

/* The same, else the number of names, else the largest label + 1. */
static nt_status count_classes(nt_dataset *ds, const nt_data_options *options, const nt_column *labels,
                               int n_names)
{
    const hdf5 *h = ds->state;
    int64_t largest = h->labels.class[h->labels.max_row], classes = 0;
    char where[NT_COLUMN_WHERE_BYTES];
    const char *said;
    NT_TRY(find_classes(h, options, h->place[0].label, &classes, &said));
    if (classes == 0) classes = n_names > largest ? n_names : largest + 1;
    NT_CHECK(largest < classes, NT_ERR_DATA, "%s: class label %lld is out of range: %s says %lld classes",
             nt_column_where(labels, h->labels.max_row, where), (long long)largest, said, (long long)classes);
    ds->spec.n_classes = classes;
    return NT_OK;
}

/* Attribute `class_names`: kept if there is one for each class. */
static nt_status find_class_names(const hdf5 *h, char ***names, int *n)
{
    const char *owner[N_OWNERS];
    bool found = false;
    *names = NULL;
    *n = 0;
    list_owners(&h->place[0], h->place[0].label, owner);
    for (int i = 0; i < N_OWNERS && !found; i++)
        NT_TRY(nt_h5_attr_strings(h->file[0], owner[i], "class_names", names, 1 << 16, n, &found));
    return NT_OK;
}

static nt_status open_classes(nt_dataset *ds, const nt_data_options *options, nt_column *labels)
{
    hdf5 *h = ds->state;
    char **names;
    int n_names;
    ds->spec.target = NT_TARGET_CLASS;
    NT_TRY(nt_labels_read(&h->labels, labels));
    NT_TRY(find_class_names(h, &names, &n_names));
    nt_status status = count_classes(ds, options, labels, n_names);
    if (status == NT_OK && n_names == ds->spec.n_classes) {
        ds->class_names = names;
        return NT_OK;
    }
    nt_h5_free_list(names, n_names);
    return status;
}

static nt_status open_values(nt_dataset *ds, const nt_data_options *options)
{
    hdf5 *h = ds->state;
    if (options->target == NT_DATA_TARGET_AUTO && nt_column_is_integer(h->target))
        nt_warn(
            "%s: '%s' holds several integers a sample, which are taken as target values; if they say 1 for a "
            "class and 0 for all others, set data.target = class; data.target = value says that they are "
            "values",
            nt_h5_path(h->file[0]), h->place[0].label);
    nt_shape shape = nt_column_stored_shape(h->target), out;
    ds->spec.target = NT_TARGET_VALUE;
    NT_TRY(nt_column_form_rows(h->target, NT_F32, shape, (nt_column_form){0}, &out));
    ds->spec.n_values = nt_shape_elems(out);
    return NT_OK;
}

/* Labels of positions are not all looked at beforehand: they are as many as the samples. */
static nt_status open_positions(nt_dataset *ds, const nt_data_options *options)
{
    hdf5 *h = ds->state;
    const char *said;
    nt_shape shape = nt_column_stored_shape(h->target), out;
    char where[NT_COLUMN_WHERE_BYTES];
    NT_CHECK(nt_column_is_integer(h->target), NT_ERR_DATA, "%s: labels of positions are integers, not floats",
             nt_column_where(h->target, 0, where));
    ds->spec.target = NT_TARGET_CLASS;
    NT_TRY(nt_column_form_rows(h->target, NT_I32, shape.n_dims ? shape : nt_shape_of(1, (int64_t)1),
                               (nt_column_form){0}, &out));
    ds->spec.n_labels = nt_shape_elems(out);
    NT_TRY(find_classes(h, options, h->place[0].label, &ds->spec.n_classes, &said));
    return NT_OK;
}

/* The targets of a token are the token after it. */
static nt_status open_next_tokens(nt_dataset *ds, const nt_data_options *options)
{
    hdf5 *h = ds->state;
    const char *said;
    ds->spec.target = NT_TARGET_CLASS;
    ds->spec.n_labels = h->tokens.length;
    NT_TRY(find_classes(h, options, h->place[0].data, &ds->spec.n_classes, &said));
    return NT_OK;
}

/* Whether a label stands for each position, as data.target says or one for each of several tokens does. */
static bool means_positions(const nt_dataset *ds, const nt_column *labels, int target)
{
    const hdf5 *h = ds->state;
    nt_shape shape = nt_column_stored_shape(labels);
    if (target != NT_DATA_TARGET_AUTO) return target == NT_DATA_TARGET_POSITIONS;
    return h->tokens.length > 0 && nt_column_is_integer(labels) && shape.n_dims == 1 &&
           shape.dim[0] == h->tokens.length;
}

/* Integers, one a sample, are classes; everything else is values; data.target decides otherwise. */
static bool means_classes(const nt_column *labels, int target)
{
    if (target != NT_DATA_TARGET_AUTO) return target == NT_DATA_TARGET_CLASS;
    return nt_column_is_integer(labels) && nt_shape_elems(nt_column_stored_shape(labels)) == 1;
}

static nt_status open_targets(nt_dataset *ds, const nt_data_options *options)
{
    hdf5 *h = ds->state;
    if (h->tokens.shifted) return open_next_tokens(ds, options);
    if (!h->place[0].label[0]) return NT_OK; /* prediction only */
    nt_column *labels;
    NT_TRY(open_column(h, true, &labels));
    nt_status status = check_rows(h, labels);
    if (status == NT_OK && means_positions(ds, labels, options->target)) {
        h->target = labels;
        return open_positions(ds, options);
    }
    if (status == NT_OK && !means_classes(labels, options->target)) {
        h->target = labels;
        return open_values(ds, options);
    }
    if (status == NT_OK) status = open_classes(ds, options, labels);
    nt_column_close(labels);
    return status;
}

/* --- memory --- */

/* A column that does not fit. Shuffled rows out of chunks cost a chunk each; what is in memory is spared
 * that, which pays where it is a good part of the whole. */
static nt_status load_part(nt_dataset *ds, nt_column *column, double n_bytes, double budget)
{
    const hdf5 *h = ds->state;
    bool worth_it = budget >= n_bytes / 4;
    if (worth_it)
        NT_TRY(nt_column_load(column, (int64_t)(budget / (double)nt_column_row_bytes(column)), false));
    nt_warn(
        "%s: '%s' is stored in chunks, of which each shuffled batch decodes many, and only %.0f %% of it are "
        "kept in memory: set data.memory_mb = %.0f, or rewrite it with h5repack -f NONE -l CONTI",
        nt_h5_path(h->file[0]), h->place[0].data, worth_it ? 100 * budget / n_bytes : 0,
        ceil(n_bytes / 0x1p20));
    return NT_OK;
}

/* Loads what fits into the budget, samples first. */
static nt_status load(nt_dataset *ds, const nt_data_options *options, nt_split split)
{
    hdf5 *h = ds->state;
    double left =
        split == NT_SPLIT_PREDICT ? 0 : (double)options->memory_mb * 0x1p20; /* which reads it once */
    nt_column *const columns[] = {h->x, h->target};
    for (int i = 0; i < 2; i++) {
        if (!columns[i]) continue;
        int64_t n =
            i == 0 && h->tokens.length > 0 ? nt_tokens_rows(&h->tokens, ds->n_samples) : ds->n_samples;
        double n_bytes = (double)nt_column_row_bytes(columns[i]) * (double)n;
        if (n_bytes <= left) {
            NT_TRY(nt_column_load(columns[i], n, true));
            left -= n_bytes;
        } else if (split == NT_SPLIT_TRAIN && options->shuffle && nt_column_is_chunked(columns[i])) {
            NT_TRY(load_part(ds, columns[i], n_bytes, left));
            left = 0;
        }
    }
    return NT_OK;
}

static nt_status hdf5_open(nt_dataset *ds, const nt_data_options *options, nt_split split, uint64_t seed)
{
    (void)seed;
    hdf5 *h = calloc(1, sizeof *h);
    NT_CHECK_ALLOC(h, sizeof *h);
    ds->state = h;
    NT_TRY(open_files(h, options, split));
    if (h->n_files == 0) return NT_OK; /* no such part: n_samples stays 0 */
    NT_TRY(open_samples(ds, options, split));
    NT_TRY(open_targets(ds, options));
    if (h->tokens.length == 0) NT_TRY(take_normalization(ds, options));
    int64_t limit = split == NT_SPLIT_TRAIN   ? options->limit
                    : split == NT_SPLIT_VALID ? options->valid_limit
                                              : 0;
    if (limit > 0 && limit < ds->n_samples) ds->n_samples = limit;
    ds->max_class_row = h->labels.max_row;
    NT_TRY(load(ds, options, split));
    return NT_OK;
}

static void hdf5_close(nt_dataset *ds)
{
    hdf5 *h = ds->state;
    if (!h) return;
    nt_column_close(h->x);
    nt_column_close(h->target);
    nt_labels_free(&h->labels);
    nt_tokens_free(&h->tokens);
    for (int i = 0; i < h->n_files; i++)
        nt_h5_close(h->file[i]);
    free(h->file);
    free(h->place);
    free(h);
}

/* --- reading --- */

static nt_status read_classes(const nt_dataset *ds, const int64_t *index, int64_t n, int32_t *class)
{
    const hdf5 *h = ds->state;
    for (int64_t i = 0; i < n; i++) {
        class[i] = h->labels.class[index[i]];
        if (class[i] < ds -> spec.n_classes) continue;
        int64_t row;
        int f = nt_column_source_of(h->x, index[i], &row);
        NT_FAIL(NT_ERR_DATA, "%s: '%s' row %lld: class label %d is out of range: there are %lld classes",
                nt_h5_path(h->file[f]), h->place[f].label, (long long)row, class[i],
                (long long)ds -> spec.n_classes);
    }
    return NT_OK;
}

/* Labels (n, n_labels). A negative one may be the loss's ignore_index: it knows. */
static nt_status read_positions(const nt_dataset *ds, const int64_t *index, int64_t n, int32_t *label)
{
    const hdf5 *h = ds->state;
    char where[NT_COLUMN_WHERE_BYTES];
    NT_TRY(nt_column_read(h->target, index, n, label));
    for (int64_t i = 0; ds->spec.n_classes > 0 && i < n * ds->spec.n_labels; i++)
        NT_CHECK(label[i] < ds->spec.n_classes, NT_ERR_DATA,
                 "%s: class label %d at position %lld is out of range: there are %lld classes",
                 nt_column_where(h->target, index[i / ds->spec.n_labels], where), label[i],
                 (long long)(i % ds->spec.n_labels), (long long)ds->spec.n_classes);
    return NT_OK;
}

/* n_tokens: of a vocabulary that is known. */
static nt_status read_samples(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target)
{
    hdf5 *h = ds->state;
    if (h->tokens.length == 0) return x ? nt_column_read(h->x, index, n, x) : NT_OK;
    int64_t n_tokens = h->tokens.shifted ? ds->spec.n_classes : 0;
    if (!x && !h->tokens.shifted) return NT_OK;
    return nt_tokens_read(&h->tokens, h->x, n_tokens, index, n, x, target);
}

static nt_status hdf5_read(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target)
{
    hdf5 *h = ds->state;
    NT_TRY(read_samples(ds, index, n, x, target));
    if (!target || h->tokens.shifted) return NT_OK;
    if (ds->spec.target == NT_TARGET_CLASS && ds->spec.n_labels > 0)
        NT_TRY(read_positions(ds, index, n, target));
    else if (ds->spec.target == NT_TARGET_CLASS)
        NT_TRY(read_classes(ds, index, n, target));
    if (ds->spec.target == NT_TARGET_VALUE) NT_TRY(nt_column_read(h->target, index, n, target));
    return NT_OK;
}

static void hdf5_describe(const nt_dataset *ds, char *text, size_t cap)
{
    const hdf5 *h = ds->state;
    const nt_hdf5_place *place = &h->place[0];
    const char *object = strcmp(place->group, "/") == 0 ? place->data : place->group;
    int n = snprintf(text, cap, "%s:%s", nt_h5_path(h->file[0]), object);
    if (h->n_files > 1 && n > 0 && (size_t)n < cap)
        snprintf(text + n, cap - (size_t)n, " and %d more file%s", h->n_files - 1, h->n_files > 2 ? "s" : "");
}

const nt_dataset_ops nt_dataset_hdf5 = {
    .name = "hdf5",
    .open = hdf5_open,
    .close = hdf5_close,
    .read = hdf5_read,
    .describe = hdf5_describe,
};
