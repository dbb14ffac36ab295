/* Checkpoints of a net: its slots as named arrays, one at a time, over core/checkpoint_file.c (one file) and
 * core/checkpoint_dir.c (the folder). Names and order do not depend on the backend or its layouts, so the
 * digest of a net is the same on every backend that holds the same numbers. */
#include "core/checkpoint_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static nt_status net_get(void *arg, const nt_array *array, float *values)
{
    return nt_net_read(arg, array->slot, array->array, values);
}

static nt_status net_set(void *arg, const nt_array *array, const float *values)
{
    return nt_net_write(arg, array->slot, array->array, values);
}

/* The slots as a group of the file, from or for an array of the net. Running statistics have no optimizer
 * state. */
static void add_group(nt_arrays *arrays, const nt_net *net, const char *group, int array)
{
    for (int s = 0; s < nt_net_n_slots(net); s++) {
        const nt_slot *slot = nt_net_get_slot(net, s);
        if (array >= 0 && slot->role == NT_PARAM_STAT) continue;
        nt_array *item = &arrays->item[arrays->n++];
        snprintf(item->name, sizeof item->name, "%s/%s", group, slot->name);
        item->shape = slot->tensor.shape;
        item->slot = s;
        item->array = array;
    }
}

static const int average_arrays[NT_N_WEIGHTS] = {NT_ARRAY_PARAM, NT_ARRAY_EMA, NT_ARRAY_SWA};

static const char *average_group(int which)
{
    return nt_checkpoint_groups[which == NT_WEIGHTS_RAW ? 0 : NT_MAX_STATES + which];
}

static nt_status allocate_arrays(nt_arrays *arrays, nt_net *net)
{
    size_t n_bytes = (NT_N_CHECKPOINT_GROUPS * (size_t)nt_net_n_slots(net) + 1) * sizeof *arrays->item;
    *arrays = (nt_arrays){.item = calloc(1, n_bytes), .arg = net, .get = net_get, .set = net_set};
    NT_CHECK_ALLOC(arrays->item, n_bytes);
    return NT_OK;
}

/* Free arrays->item. */
static nt_status arrays_of_net(nt_arrays *arrays, nt_net *net)
{
    NT_TRY(allocate_arrays(arrays, net));
    add_group(arrays, net, nt_checkpoint_groups[0], NT_ARRAY_PARAM);
    for (int i = 0; i < NT_MAX_STATES; i++)
        if (nt_net_state(net, i)) add_group(arrays, net, nt_checkpoint_groups[i + 1], i);
    for (int w = NT_WEIGHTS_EMA; w < NT_N_WEIGHTS; w++)
        if (nt_net_average_begun(net, (nt_weights)w))
            add_group(arrays, net, average_group(w), average_arrays[w]);
    nt_arrays_sort(arrays->item, arrays->n);
    return NT_OK;
}

static nt_status digest_arrays(const nt_arrays *arrays, char hex[33])
{
    size_t n_bytes = (size_t)nt_arrays_largest(arrays) * sizeof(float);
    float *values = malloc(n_bytes);
    NT_CHECK_ALLOC(values, n_bytes);
    nt_status status = NT_OK;
    for (int i = 0; i < arrays->n && status == NT_OK; i++) {
        status = arrays->get(arrays->arg, &arrays->item[i], values);
        if (status == NT_OK) arrays->item[i].digest = nt_array_digest(&arrays->item[i], values);
    }
    free(values);
    NT_TRY(status);
    nt_digest_text(nt_arrays_digest(arrays->item, arrays->n), hex);
    return NT_OK;
}

nt_status nt_checkpoint_digest(nt_net *net, char hex[33])
{
    nt_arrays arrays;
    NT_TRY(arrays_of_net(&arrays, net));
    nt_status status = digest_arrays(&arrays, hex);
    free(arrays.item);
    NT_TRY(status);
    return NT_OK;
}

nt_status nt_checkpoint_save(nt_net *net, const nt_checkpoint_meta *meta, const char *dir)
{
    nt_arrays arrays;
    NT_TRY(arrays_of_net(&arrays, net));
    nt_checkpoint_meta full = *meta;
    full.threads = nt_net_backend(net)->options.threads;
    nt_status status = nt_checkpoint_save_arrays(&arrays, &full, dir);
    free(arrays.item);
    NT_TRY(status);
    return NT_OK;
}

nt_status nt_checkpoint_read_meta(const char *path, nt_checkpoint_meta *meta)
{
    nt_checkpoint_file file;
    NT_TRY(nt_checkpoint_file_open(&file, path));
    *meta = file.meta;
    file.meta = (nt_checkpoint_meta){0};
    nt_checkpoint_file_close(&file);
    return NT_OK;
}

/* Averages are begun if they are in the file. */
static nt_status load_all(nt_checkpoint_file *file, nt_net *net, bool with_state, bool verified)
{
    nt_arrays arrays;
    for (int w = NT_WEIGHTS_EMA; with_state && w < NT_N_WEIGHTS; w++)
        if (nt_net_average_of(net, (nt_weights)w) && nt_checkpoint_file_has(file, average_group(w)))
            nt_net_begin_average(net, (nt_weights)w);
    NT_TRY(arrays_of_net(&arrays, net));
    nt_status status = nt_checkpoint_file_load(file, &arrays, with_state, verified);
    free(arrays.item);
    return status;
}

static nt_status load_average(nt_checkpoint_file *file, nt_net *net, nt_weights which, bool verified)
{
    nt_arrays arrays;
    const char *group = average_group(which);
    NT_CHECK(
        nt_checkpoint_file_has(file, group), NT_ERR_CONFIG,
        "%s holds no %s weights: that average was not kept (see [average]), or had not begun at step %lld; "
        "average.weights=raw takes those that were trained",
        nt_h5_path(file->h5), group, (long long)file->meta.position.step);
    NT_TRY(allocate_arrays(&arrays, net));
    add_group(&arrays, net, group, NT_ARRAY_PARAM);
    nt_arrays_sort(arrays.item, arrays.n);
    nt_status status = nt_checkpoint_file_load_group(file, &arrays, group, verified);
    free(arrays.item);
    return status;
}

/* raw with_state false: parameters alone. */
static nt_status load(nt_net *net, const char *path, nt_weights which, bool with_state, bool verified,
                      nt_checkpoint_meta *meta)
{
    nt_checkpoint_file file;
    *meta = (nt_checkpoint_meta){0};
    NT_TRY(nt_checkpoint_file_open(&file, path));
    nt_status status = which == NT_WEIGHTS_RAW ? load_all(&file, net, with_state, verified)
                                               : load_average(&file, net, which, verified);
    if (status == NT_OK) {
        *meta = file.meta;
        file.meta = (nt_checkpoint_meta){0};
    }
    nt_checkpoint_file_close(&file);
    NT_TRY(status);
    return NT_OK;
}

nt_status nt_checkpoint_load(nt_net *net, const char *path, bool with_state, bool verified,
                             nt_checkpoint_meta *meta)
{
    return load(net, path, NT_WEIGHTS_RAW, with_state, verified, meta);
}

nt_status nt_checkpoint_load_weights(nt_net *net, const char *path, nt_weights which, bool verified,
                                     nt_checkpoint_meta *meta)
{
    return load(net, path, which, false, verified, meta);
}

/* --- inspect --- */

static void print_meta(const nt_checkpoint_file *file, FILE *out)
{
    const nt_checkpoint_meta *m = &file->meta;
    char hex[33];
    nt_digest_text(file->weights, hex);
    fprintf(out, "checkpoint     format %lld, written by nntrain %s\n", (long long)file->version,
            file->program);
    fprintf(out, "position       step %lld, epoch %lld, batch %lld\n", (long long)m->position.step,
            (long long)m->position.epoch, (long long)m->position.batch);
    if (m->position.best_step >= 0)
        fprintf(out, "best           validation metric %.6g at step %lld\n", m->position.best,
                (long long)m->position.best_step);
    fprintf(out, "run            backend %s, %d rank%s, optimizer %s, config %016llx\n", m->backend,
            m->n_ranks, m->n_ranks == 1 ? "" : "s", m->optimizer, (unsigned long long)m->config_hash);
    if (m->threads > 0) fprintf(out, "threads        %d for each rank\n", m->threads);
    fprintf(out, "digest         %s\n", hex);
}

static void print_array(const nt_array *item, const float *values, FILE *out)
{
    char shape[NT_SHAPE_TEXT_BYTES];
    int64_t n = nt_shape_elems(item->shape);
    double low = (double)values[0], high = low, sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = (double)values[i];
        low = v < low ? v : low;
        high = v > high ? v : high;
        sum += v, squares += v * v;
    }
    double mean = sum / (double)n, variance = squares / (double)n - mean * mean;
    fprintf(out, "%-40s %-16s min %-12.5g max %-12.5g mean %-12.5g std %-12.5g\n", item->name,
            nt_shape_text(item->shape, shape), low, high, mean, sqrt(variance > 0 ? variance : 0));
}

static nt_status print_file(nt_checkpoint_file *file, FILE *out)
{
    int64_t n_elems = 0;
    print_meta(file, out);
    for (int i = 0; i < file->n; i++) {
        NT_TRY(nt_checkpoint_file_read(file, i));
        print_array(&file->item[i], file->scratch, out);
        if (strncmp(file->item[i].name, "params/", 7) == 0) n_elems += nt_shape_elems(file->item[i].shape);
    }
    fprintf(out, "sound: %d arrays, %lld parameters and statistics, every digest is right\n", file->n,
            (long long)n_elems);
    return NT_OK;
}

nt_status nt_checkpoint_inspect(const char *path, FILE *out)
{
    nt_checkpoint_file file;
    NT_TRY(nt_checkpoint_file_open(&file, path));
    nt_status status = print_file(&file, out);
    nt_checkpoint_file_close(&file);
    NT_TRY(status);
    return NT_OK;
}

/* --- [checkpoint] --- */

static const char *const on_error_words[] = {"stop", "continue", NULL};

static const nt_option options[] = {
    {.key = "every",
     .type = NT_OPTION_INTERVAL,
     .offset = offsetof(nt_checkpoint_options, every),
     .def = "1 epoch",
     .flags = NT_OPTION_FREE,
     .help = "how often to save: N steps, epochs or minutes, or never"},
    {.key = "keep",
     .type = NT_OPTION_INT,
     .offset = offsetof(nt_checkpoint_options, keep),
     .def = "3",
     .min = 1,
     .max = 1e6,
     .flags = NT_OPTION_FREE,
     .help = "newest checkpoints to keep"},
    {.key = "best",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_checkpoint_options, best),
     .def = "yes",
     .flags = NT_OPTION_FREE,
     .help = "also keep the one with the best validation metric (run.metric)"},
    {.key = "resume",
     .type = NT_OPTION_STRING,
     .offset = offsetof(nt_checkpoint_options, resume),
     .def = "auto",
     .flags = NT_OPTION_FREE,
     .help = "auto: go on from the newest good checkpoint if there is one; no: begin anew, refused where "
             "there are checkpoints; or a file"},
    {.key = "force",
     .type = NT_OPTION_BOOL,
     .offset = offsetof(nt_checkpoint_options, force),
     .def = "no",
     .flags = NT_OPTION_FREE,
     .help =
         "go on from a checkpoint although options that change what is computed have changed; what has is "
         "listed"},
    {.key = "on_error",
     .type = NT_OPTION_ENUM,
     .offset = offsetof(nt_checkpoint_options, on_error),
     .def = "stop",
     .choices = on_error_words,
     .flags = NT_OPTION_FREE,
     .help = "when a checkpoint cannot be written: stop the run, or warn and continue"},
};

const nt_section nt_checkpoint_section = {.name = "checkpoint",
                                          .help = "saving and resuming",
                                          .size = sizeof(nt_checkpoint_options),
                                          .options = options,
                                          .n_options = NT_N_ELEMS(options)};
