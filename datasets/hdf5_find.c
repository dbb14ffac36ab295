/* Finding samples and labels by the names people give them, without configuration.
 *
 * Three families cover what is around: a group for each split (/train/data, /train/label), a prefix or suffix
 * for each split (x_train, y_train), and one split at the root of its file (Caffe's data and label). They are
 * tried in that order, named objects only: nothing is walked, so a file with a million groups costs nothing.
 * A candidate that is there but cannot be used (an external link, a group in place of a data set) is an error
 * with the reason, never a reason to look elsewhere. */
#include "datasets/hdf5_find.h"

#include "datasets/hdf5_tokens.h"

#include <stdio.h>
#include <string.h>

#define MAX_CHUNK_BYTES ((size_t)1) /* only to be told why a set cannot be opened */

static const char *const data_names[] = {"data", "tokens", "images",   "image", "x",
                                         "X",    "inputs", "features", NULL};
static const char *const label_names[] = {"label", "labels", "target", "targets", "y", "Y", NULL};

/* What a split is called, in groups and in names. */
static const char *const train_words[] = {"train", "training", NULL};
static const char *const valid_words[] = {"valid", "val", "validation", "test", "testing", NULL};
static const char *const predict_words[] = {"predict", "test", "valid", "val", "validation", "train", NULL};

/* Names of one split at the root of a file that holds several. */
static const struct {
    const char *data, *label;
} patterns[] = {
    {"x_%s", "y_%s"},        {"X_%s", "y_%s"},         {"X_%s", "Y_%s"},           {"%s_x", "%s_y"},
    {"%s_data", "%s_label"}, {"%s_data", "%s_labels"}, {"%s_images", "%s_labels"},
};

typedef struct search {
    nt_h5 *file;
    const nt_data_options *options;
    nt_split split;
    nt_hdf5_place *place;
} search;

static nt_status join(char out[NT_HDF5_NAME_BYTES], const char *group, const char *name)
{
    bool slash = name[0] == '/' || (group[0] && group[strlen(group) - 1] == '/');
    int n = snprintf(out, NT_HDF5_NAME_BYTES, "%s%s%s", name[0] == '/' ? "" : group, slash ? "" : "/", name);
    NT_CHECK(n < NT_HDF5_NAME_BYTES, NT_ERR_CONFIG, "an object name of more than %d bytes: '%.60s...'",
             NT_HDF5_NAME_BYTES, name);
    return NT_OK;
}

/* "a, b, c" of a NULL-terminated list. */
static void list_words(char *text, size_t cap, const char *const *words)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; words[i] && used < cap; i++)
        used += (size_t)snprintf(text + used, cap - used, "%s%s", i ? ", " : "", words[i]);
}

/* What a group holds, for messages. */
static void list_contents(nt_h5 *file, const char *group, char *text, size_t cap)
{
    char **names = NULL;
    int n = 0;
    size_t used = 0;
    snprintf(text, cap, "too much to list");
    if (nt_h5_list(file, group, 32, &names, &n) != NT_OK) {
        nt_error_clear();
        return;
    }
    snprintf(text, cap, "nothing");
    for (int i = 0; i < n && used < cap; i++)
        used += (size_t)snprintf(text + used, cap - used, "%s%s", i ? ", " : "", names[i]);
    nt_h5_free_list(names, n);
}

/* Fails with the reason why a link that exists is no data set. */
static nt_status complain(nt_h5 *file, const char *path)
{
    nt_h5_set *set = NULL;
    NT_TRY(nt_h5_set_open(&set, file, path, MAX_CHUNK_BYTES));
    nt_h5_set_close(set);
    NT_FAIL(NT_ERR_DATA, "%s: '%s' is not a data set", nt_h5_path(file), path);
}

/* The first of `names` in `group`, or `wanted` alone where the config names it; *path "" if there is none. */
static nt_status find_set(const search *s, const char *group, const char *wanted, const char *const *names,
                          char path[NT_HDF5_NAME_BYTES])
{
    const char *const only[] = {wanted, NULL};
    for (const char *const *name = wanted ? only : names; *name; name++) {
        NT_TRY(join(path, group, *name));
        if (nt_h5_has_set(s->file, path)) return NT_OK;
        if (wanted || nt_h5_has_link(s->file, path)) return complain(s->file, path);
    }
    path[0] = '\0';
    return NT_OK;
}

/* Fails with what was looked for in `group` and what is there. */
static nt_status nothing_found(const search *s, const char *group, const char *what, const char *key,
                               const char *const *names)
{
    char looked[256], there[512];
    list_words(looked, sizeof looked, names);
    list_contents(s->file, group, there, sizeof there);
    NT_FAIL(NT_ERR_DATA, "%s: group '%s' holds no %s (looked for %s; data.%s can name it); it holds: %s",
            nt_h5_path(s->file), group, what, looked, key, there);
}

/* Tokens are their own targets. */
static bool may_lack_labels(const search *s, const char *data)
{
    return s->split == NT_SPLIT_PREDICT || nt_tokens_wanted(s->options, data);
}

/* Samples and labels in a group that must have them. */
static nt_status take_group(const search *s, const char *group)
{
    nt_hdf5_place *place = s->place;
    int n = snprintf(place->group, sizeof place->group, "%s", group);
    NT_CHECK(n < (int)sizeof place->group, NT_ERR_CONFIG, "a group name of more than %d bytes: '%.60s...'",
             NT_HDF5_NAME_BYTES, group);
    NT_TRY(find_set(s, group, s->options->data, data_names, place->data));
    if (!place->data[0]) return nothing_found(s, group, "samples", "data", data_names);
    NT_TRY(find_set(s, group, s->options->label, label_names, place->label));
    if (!place->label[0] && !may_lack_labels(s, place->data))
        return nothing_found(s, group, "labels", "label", label_names);
    return NT_OK;
}

/* A group that the config names. */
static nt_status take_named_group(const search *s, const char *group, const char *key)
{
    if (nt_h5_has_group(s->file, group)) return take_group(s, group);
    NT_CHECK(
        !nt_h5_has_set(s->file, group), NT_ERR_DATA,
        "%s: '%s' is a data set; data.%s names the group that holds samples and labels (and data.data and "
        "data.label can name these)",
        nt_h5_path(s->file), group, key);
    if (nt_h5_has_link(s->file, group)) return complain(s->file, group);
    char there[512];
    list_contents(s->file, "/", there, sizeof there);
    NT_FAIL(NT_ERR_DATA, "%s: there is no group '%s' (data.%s); the file holds: %s", nt_h5_path(s->file),
            group, key, there);
}

/* /train and the like. */
static nt_status try_groups(const search *s, const char *const *words, bool *found)
{
    for (int i = 0; words[i]; i++) {
        char group[64];
        snprintf(group, sizeof group, "/%s", words[i]);
        bool odd = !nt_h5_has_set(s->file, group) && nt_h5_has_link(s->file, group);
        if (!odd) continue;
        *found = true;
        return nt_h5_has_group(s->file, group) ? take_group(s, group) : complain(s->file, group);
    }
    return NT_OK;
}

/* x_train with y_train and the like. */
static nt_status try_patterns(const search *s, const char *const *words, bool *found)
{
    nt_hdf5_place *place = s->place;
    for (int i = 0; words[i]; i++)
        for (int k = 0; k < NT_N_ELEMS(patterns); k++) {
            char data[64], label[64];
            snprintf(data, sizeof data, patterns[k].data, words[i]);
            snprintf(label, sizeof label, patterns[k].label, words[i]);
            if (!nt_h5_has_set(s->file, data)) continue;
            bool labelled = nt_h5_has_set(s->file, label);
            if (!labelled && !may_lack_labels(s, data)) continue;
            *found = true;
            snprintf(place->group, sizeof place->group, "/");
            snprintf(place->data, sizeof place->data, "/%s", data);
            snprintf(place->label, sizeof place->label, "%s%s", labelled ? "/" : "", labelled ? label : "");
            return NT_OK;
        }
    return NT_OK;
}

/* data and label at the root, if there is something that looks like samples. */
static nt_status try_root(const search *s, bool *found)
{
    char path[NT_HDF5_NAME_BYTES];
    if (s->options->data) {
        NT_TRY(join(path, "/", s->options->data));
        *found = nt_h5_has_link(s->file, path);
    } else {
        NT_TRY(find_set(s, "/", NULL, data_names, path));
        *found = path[0] != '\0';
    }
    return *found ? take_group(s, "/") : NT_OK;
}

/* All families in the order that suits the split: for prediction the file itself comes first. */
static nt_status find_by_name(const search *s, bool own_file, bool *found)
{
    const char *const *words = s->split == NT_SPLIT_TRAIN   ? train_words
                               : s->split == NT_SPLIT_VALID ? valid_words
                                                            : predict_words;
    if (s->split == NT_SPLIT_PREDICT) NT_TRY(try_root(s, found));
    if (!*found) NT_TRY(try_groups(s, words, found));
    if (!*found && !s->options->data) NT_TRY(try_patterns(s, words, found));
    if (!*found && own_file) NT_TRY(try_root(s, found));
    return NT_OK;
}

nt_status nt_hdf5_find(nt_h5 *file, const nt_data_options *options, nt_split split, bool own_file,
                       nt_hdf5_place *place, bool *found)
{
    search s = {.file = file, .options = options, .split = split, .place = place};
    const char *group = split == NT_SPLIT_VALID ? options->valid : options->train;
    memset(place, 0, sizeof *place);
    *found = group != NULL;
    if (group) return take_named_group(&s, group, split == NT_SPLIT_VALID ? "valid" : "train");
    NT_TRY(find_by_name(&s, own_file, found));
    if (*found || !own_file) return NT_OK;
    char there[512];
    const char *word = split == NT_SPLIT_VALID ? "test" : "train";
    list_contents(file, "/", there, sizeof there);
    NT_FAIL(
        NT_ERR_DATA,
        "%s: no samples found: no /%s/data with /%s/label, no x_%s with y_%s, no data with label (the keys "
        "train, valid, data and label of [data] can name them); the file holds: %s",
        nt_h5_path(file), word, word, word, word, there);
}
