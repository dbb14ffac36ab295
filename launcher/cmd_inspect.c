/* nntrain inspect: what is in a dataset or a checkpoint, and whether it is sound.
 *
 * Sound means: every byte was read and every checksum held; for a dataset also that all labels are in range
 * and all values finite. The exit code says the same as the text. Of several ranks only rank 0 looks. */
#include "launcher/command.h"

#include "core/checkpoint.h"
#include "core/h5.h"

#include <stdlib.h>

#define USAGE "nntrain inspect file.h5"

static nt_status is_checkpoint(const char *path, bool *answer)
{
    nt_h5 *file = NULL;
    NT_TRY(nt_h5_open(&file, path));
    *answer = nt_h5_has_group(file, "/params");
    nt_h5_close(file);
    return NT_OK;
}

/* Reads every row; counts the samples of each class (n_classes counters, or NULL). */
static nt_status read_all(nt_dataset *ds, int64_t rows, void *x, void *target, int64_t *index, int64_t *count)
{
    for (int64_t first = 0; first < ds->n_samples; first += rows) {
        int64_t n = ds->n_samples - first < rows ? ds->n_samples - first : rows;
        for (int64_t i = 0; i < n; i++)
            index[i] = first + i;
        NT_TRY(nt_dataset_read(ds, index, n, x, target));
        for (int64_t i = 0; count && i < n; i++)
            count[((const int32_t *)target)[i]]++;
    }
    return NT_OK;
}

static void print_counts(const int64_t *count, int64_t n_classes)
{
    int64_t least = INT64_MAX, most = 0;
    for (int64_t i = 0; i < n_classes; i++) {
        if (count[i] < least) least = count[i];
        if (count[i] > most) most = count[i];
    }
    printf("  %lld classes of %lld to %lld samples\n", (long long)n_classes, (long long)least,
           (long long)most);
}

static nt_status inspect_part(nt_dataset *ds)
{
    const int64_t rows = 256;
    const bool classes = ds->spec.target == NT_TARGET_CLASS && ds->spec.n_labels == 0;
    char text[512];
    nt_dataset_describe(ds, text, sizeof text);
    printf("%s\n", text);
    void *x = malloc((size_t)rows * nt_dataset_x_bytes(ds));
    void *target = malloc((size_t)rows * nt_dataset_target_bytes(ds) + 1);
    int64_t *index = malloc((size_t)rows * sizeof *index);
    int64_t *count = classes ? calloc((size_t)ds->spec.n_classes + 1, sizeof *count) : NULL;
    nt_status status = NT_OK;
    if (!x || !target || !index || (classes && !count))
        status = nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory");
    if (status == NT_OK) status = read_all(ds, rows, x, target, index, count);
    if (status == NT_OK && count) print_counts(count, ds->spec.n_classes);
    free(x);
    free(target);
    free(index);
    free(count);
    NT_TRY(status);
    return NT_OK;
}

static nt_status inspect_split(const nt_data_options *options, nt_split split)
{
    nt_dataset *ds = NULL;
    NT_TRY(nt_dataset_open(&ds, options, split, 1));
    if (!ds) return NT_OK;
    nt_status status = inspect_part(ds);
    nt_dataset_close(ds);
    NT_TRY(status);
    return NT_OK;
}

static nt_status inspect_dataset(const char *path)
{
    nt_data_options options;
    NT_TRY(nt_section_defaults(&nt_data_section, &options));
    options.file = (nt_names){.n = 1, .name = &path};
    options.any_sequence = true;
    NT_TRY(inspect_split(&options, NT_SPLIT_TRAIN));
    NT_TRY(inspect_split(&options, NT_SPLIT_VALID));
    printf("sound: every row was read\n");
    return NT_OK;
}

static nt_status inspect_file(const char *path)
{
    bool checkpoint = false;
    NT_TRY(is_checkpoint(path, &checkpoint));
    if (checkpoint)
        NT_TRY(nt_checkpoint_inspect(path, stdout));
    else
        NT_TRY(inspect_dataset(path));
    return NT_OK;
}

static nt_status inspect_run(nt_session *session, int argc, char **argv)
{
    const nt_syntax syntax = {.usage = USAGE, .min_words = 1, .max_words = 1};
    NT_TRY(nt_session_begin(session, argc, argv, &syntax));
    nt_status status = NT_OK;
    if (nt_session_is_root(session)) status = inspect_file(session->args.word[0]);
    return nt_session_agree(session, status);
}

const nt_command nt_cmd_inspect = {
    .name = "inspect",
    .usage = USAGE,
    .help = "what is in a dataset or checkpoint, and whether it is sound",
    .run = inspect_run,
};
