/* One checkpoint file: written once, verified before it is believed.
 *
 * Two levels of digests (XXH3-128). Each array has one over its name, shape and values, kept beside it; the
 * root has one over all of those in order of names and over all meta data. So the meta data of a file of
 * gigabytes are verified by reading its attributes alone, and every bit is covered once the arrays are read.
 * HDF5's fletcher32 comes on top and says which chunk is bad. */
#include "core/checkpoint_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES     ((int64_t)1 << 20)
#define MAX_CHUNK_BYTES ((size_t)1 << 30)
#define MAX_ARRAYS      (1 << 20) /* in a group */

static const char version_attr[] = "checkpoint_version", program_attr[] = "nntrain_version";
static const char root_attr[] = "digest", array_attr[] = "xxh3_128";

const char *const nt_checkpoint_groups[NT_N_CHECKPOINT_GROUPS] = {"params", "state0", "state1",
                                                                  "state2", "ema",    "swa"};

/* --- arrays --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const nt_array *)a)->name, ((const nt_array *)b)->name);
}

void nt_arrays_sort(nt_array *item, int n)
{
    if (n > 1) qsort(item, (size_t)n, sizeof *item, by_name);
}

static int64_t largest_of(const nt_array *item, int n)
{
    int64_t largest = 1;
    for (int i = 0; i < n; i++)
        if (nt_shape_elems(item[i].shape) > largest) largest = nt_shape_elems(item[i].shape);
    return largest;
}

int64_t nt_arrays_largest(const nt_arrays *arrays)
{
    return largest_of(arrays->item, arrays->n);
}

/* Index of the first value that is not finite, or -1. */
static int64_t find_unfinite(const float *values, int64_t n)
{
    bool all = true;
    for (int64_t i = 0; i < n; i++)
        all &= isfinite(values[i]) != 0;
    for (int64_t i = 0; !all && i < n; i++)
        if (!isfinite(values[i])) return i;
    return -1;
}

/* --- digests --- */

XXH128_hash_t nt_array_digest(const nt_array *array, const float *values)
{
    XXH3_state_t state;
    int64_t n_dims = array->shape.n_dims;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, array->name, strlen(array->name) + 1);
    XXH3_128bits_update(&state, &n_dims, sizeof n_dims);
    XXH3_128bits_update(&state, array->shape.dim, (size_t)n_dims * sizeof *array->shape.dim);
    XXH3_128bits_update(&state, values, (size_t)nt_shape_elems(array->shape) * sizeof *values);
    return XXH3_128bits_digest(&state);
}

XXH128_hash_t nt_arrays_digest(const nt_array *item, int n)
{
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    for (int i = 0; i < n; i++) {
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, item[i].digest);
        XXH3_128bits_update(&state, &canonical, sizeof canonical);
    }
    return XXH3_128bits_digest(&state);
}

void nt_digest_text(XXH128_hash_t digest, char hex[33])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, digest);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", canonical.digest[i]);
}

/* --- writing --- */

static nt_status write_array(nt_h5 *h5, nt_array *array, const float *values)
{
    char hex[33];
    nt_h5_set *set;
    int64_t row_bytes = nt_shape_elems(array->shape) / array->shape.dim[0] * (int64_t)sizeof *values;
    int64_t chunk_rows = row_bytes < CHUNK_BYTES ? CHUNK_BYTES / row_bytes : 1;
    NT_TRY(nt_h5_set_create(&set, h5, array->name, NT_F32, array->shape, chunk_rows, 0));
    nt_status status = nt_h5_set_write(set, 0, array->shape.dim[0], values);
    nt_h5_set_close(set);
    NT_TRY(status);
    array->digest = nt_array_digest(array, values);
    nt_digest_text(array->digest, hex);
    NT_TRY(nt_h5_put_string(h5, array->name, array_attr, hex));
    return NT_OK;
}

/* A checkpoint with NaN in it is of no use, and would push the good ones out. */
static nt_status write_arrays(nt_h5 *h5, const nt_arrays *arrays, float *values)
{
    for (int i = 0; i < arrays->n; i++) {
        nt_array *array = &arrays->item[i];
        NT_TRY(nt_checkpoint_fault("checkpoint.write"));
        NT_TRY(arrays->get(arrays->arg, array, values));
        int64_t bad = find_unfinite(values, nt_shape_elems(array->shape));
        NT_CHECK(bad < 0, NT_ERR_NAN, "no checkpoint is written: %s holds %g at element %lld", array->name,
                 (double)values[bad], (long long)bad);
        NT_TRY(write_array(h5, array, values));
    }
    return NT_OK;
}

static nt_status write_contents(nt_h5 *h5, const nt_arrays *arrays, const nt_checkpoint_meta *meta)
{
    size_t n_bytes = (size_t)nt_arrays_largest(arrays) * sizeof(float);
    float *values = malloc(n_bytes);
    NT_CHECK_ALLOC(values, n_bytes);
    nt_status status = write_arrays(h5, arrays, values);
    free(values);
    NT_TRY(status);
    char hex[33];
    XXH128_hash_t weights = nt_arrays_digest(arrays->item, arrays->n);
    nt_digest_text(nt_checkpoint_meta_digest(meta, NT_CHECKPOINT_VERSION, NNTRAIN_VERSION, weights), hex);
    NT_TRY(nt_h5_put_int(h5, "/", version_attr, NT_CHECKPOINT_VERSION));
    NT_TRY(nt_h5_put_string(h5, "/", program_attr, NNTRAIN_VERSION));
    NT_TRY(nt_checkpoint_meta_put(meta, h5));
    NT_TRY(nt_h5_put_string(h5, "/", root_attr, hex));
    return NT_OK;
}

nt_status nt_checkpoint_write_file(const char *path, const nt_arrays *arrays, const nt_checkpoint_meta *meta)
{
    nt_h5 *h5;
    NT_TRY(nt_checkpoint_fault("checkpoint.open"));
    NT_TRY(nt_h5_create(&h5, path));
    nt_status status = write_contents(h5, arrays, meta);
    if (status == NT_OK) status = nt_checkpoint_fault("checkpoint.fsync");
    if (status != NT_OK) {
        nt_h5_close(h5);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    NT_TRY(nt_h5_finish(h5));
    return NT_OK;
}

/* --- opening --- */

/* What is bad data elsewhere is a damaged checkpoint here. */
static nt_status as_damage(nt_status status)
{
    if (status != NT_ERR_DATA) return status;
    nt_error error;
    nt_error_take(&error);
    error.status = NT_ERR_CHECKPOINT;
    return nt_error_raise(&error);
}

static nt_status parse_digest(const char *path, const char *what, const char *hex, XXH128_hash_t *digest)
{
    XXH128_canonical_t canonical = {{0}};
    bool good = strlen(hex) == 32;
    for (int i = 0; good && i < 32; i++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, hex[i]);
        good = at != NULL;
        if (good) canonical.digest[i / 2] = (unsigned char)(canonical.digest[i / 2] << 4 | (at - digits));
    }
    NT_CHECK(good, NT_ERR_DATA, "%s: the digest of %s is damaged", path, what);
    *digest = XXH128_hashFromCanonical(&canonical);
    return NT_OK;
}

/* Digest kept as attribute `attr` of `object`. */
static nt_status stored_digest(nt_h5 *h5, const char *object, const char *attr, XXH128_hash_t *digest)
{
    char hex[40];
    bool found;
    NT_TRY(nt_h5_attr_string(h5, object, attr, hex, sizeof hex, &found));
    NT_CHECK(found, NT_ERR_DATA, "%s: '%s' has no digest", nt_h5_path(h5), object);
    NT_TRY(parse_digest(nt_h5_path(h5), object, hex, digest));
    return NT_OK;
}

static nt_status check_version(nt_checkpoint_file *file)
{
    bool found;
    const char *path = nt_h5_path(file->h5);
    NT_TRY(nt_h5_attr_int(file->h5, "/", version_attr, &file->version, &found));
    NT_CHECK(found, NT_ERR_DATA, "%s: is no checkpoint of nntrain (no attribute '%s')", path, version_attr);
    NT_CHECK(
        file->version <= NT_CHECKPOINT_VERSION, NT_ERR_CHECKPOINT,
        "%s: has checkpoint format %lld, but this nntrain (%s) reads formats up to %d: a newer one is needed",
        path, (long long)file->version, NNTRAIN_VERSION, NT_CHECKPOINT_VERSION);
    NT_CHECK(file->version >= 1, NT_ERR_DATA, "%s: has checkpoint format %lld", path,
             (long long)file->version);
    NT_TRY(nt_h5_attr_text(file->h5, "/", program_attr, 64, &file->program, &found));
    NT_CHECK(found, NT_ERR_DATA, "%s: has no attribute '%s'", path, program_attr);
    return NT_OK;
}

/* Name, shape and stored digest of one array. */
static nt_status describe_array(nt_checkpoint_file *file, const char *group, const char *child,
                                nt_array *item)
{
    nt_h5_set *set;
    int n = snprintf(item->name, sizeof item->name, "%s/%s", group, child);
    NT_CHECK(n < (int)sizeof item->name, NT_ERR_DATA, "%s: '%s' is too long a name", nt_h5_path(file->h5),
             child);
    NT_TRY(nt_h5_set_open(&set, file->h5, item->name, MAX_CHUNK_BYTES));
    const nt_h5_info *info = nt_h5_set_info(set);
    bool is_float32 = info->type_class == NT_H5_FLOAT && info->type_bytes == 4;
    item->shape = info->shape;
    nt_h5_set_close(set);
    NT_CHECK(is_float32, NT_ERR_DATA, "%s: '%s' is not of type float32", nt_h5_path(file->h5), item->name);
    NT_TRY(stored_digest(file->h5, item->name, array_attr, &item->digest));
    return NT_OK;
}

static nt_status describe_group(nt_checkpoint_file *file, const char *group)
{
    char **child;
    int n;
    if (!nt_h5_has_group(file->h5, group)) return NT_OK;
    NT_TRY(nt_h5_list(file->h5, group, MAX_ARRAYS, &child, &n));
    nt_status status = NT_OK;
    nt_array *grown = realloc(file->item, (size_t)(file->n + n + 1) * sizeof *grown);
    if (grown) file->item = grown;
    for (int i = 0; grown && status == NT_OK && i < n; i++) {
        memset(&file->item[file->n], 0, sizeof *file->item);
        status = describe_array(file, group, child[i], &file->item[file->n]);
        if (status == NT_OK) file->n++;
    }
    nt_h5_free_list(child, n);
    NT_CHECK_ALLOC(grown, (size_t)n * sizeof *grown);
    NT_TRY(status);
    return NT_OK;
}

/* Counters that no run can have come to. */
static nt_status check_position(const nt_checkpoint_file *file)
{
    const nt_position *p = &file->meta.position;
    NT_CHECK(p->step >= 0 && p->epoch >= 0 && p->batch >= 0 && p->best_step >= -1 && p->best_step <= p->step,
             NT_ERR_DATA, "%s: impossible position: step %lld, epoch %lld, batch %lld, best step %lld",
             nt_h5_path(file->h5), (long long)p->step, (long long)p->epoch, (long long)p->batch,
             (long long)p->best_step);
    return NT_OK;
}

static nt_status read_description(nt_checkpoint_file *file)
{
    NT_TRY(check_version(file));
    NT_TRY(nt_checkpoint_meta_get(&file->meta, file->h5));
    for (int i = 0; i < NT_N_ELEMS(nt_checkpoint_groups); i++)
        NT_TRY(describe_group(file, nt_checkpoint_groups[i]));
    nt_arrays_sort(file->item, file->n);
    file->weights = nt_arrays_digest(file->item, file->n);
    XXH128_hash_t digest, stored;
    digest = nt_checkpoint_meta_digest(&file->meta, file->version, file->program, file->weights);
    NT_TRY(stored_digest(file->h5, "/", root_attr, &stored));
    NT_CHECK(XXH128_isEqual(digest, stored), NT_ERR_DATA,
             "%s: is damaged: the digest of its meta data is wrong", nt_h5_path(file->h5));
    NT_TRY(check_position(file));
    size_t n_bytes = (size_t)largest_of(file->item, file->n) * sizeof *file->scratch;
    file->scratch = malloc(n_bytes);
    NT_CHECK_ALLOC(file->scratch, n_bytes);
    return NT_OK;
}

nt_status nt_checkpoint_file_open(nt_checkpoint_file *file, const char *path)
{
    *file = (nt_checkpoint_file){0};
    nt_status status = nt_h5_open(&file->h5, path);
    if (status == NT_OK) status = read_description(file);
    if (status == NT_OK) return NT_OK;
    nt_checkpoint_file_close(file);
    return nt_error_trail(as_damage(status), __FILE__, __LINE__, __func__);
}

void nt_checkpoint_file_close(nt_checkpoint_file *file)
{
    nt_h5_close(file->h5);
    nt_checkpoint_meta_free(&file->meta);
    free(file->program);
    free(file->item);
    free(file->scratch);
    *file = (nt_checkpoint_file){0};
}

/* --- reading --- */

static nt_status read_array(nt_checkpoint_file *file, const nt_array *item)
{
    nt_h5_set *set;
    const char *path = nt_h5_path(file->h5);
    NT_TRY(nt_h5_set_open(&set, file->h5, item->name, MAX_CHUNK_BYTES));
    bool same = nt_shape_equal(nt_h5_set_info(set)->shape, item->shape);
    nt_status status = same ? nt_h5_set_read(set, 0, item->shape.dim[0], NT_F32, file->scratch) : NT_OK;
    nt_h5_set_close(set);
    NT_TRY(status);
    NT_CHECK(same && XXH128_isEqual(nt_array_digest(item, file->scratch), item->digest), NT_ERR_DATA,
             "%s: is damaged: the digest of '%s' is wrong", path, item->name);
    int64_t bad = find_unfinite(file->scratch, nt_shape_elems(item->shape));
    NT_CHECK(bad < 0, NT_ERR_DATA, "%s: '%s' holds %g at element %lld: no run can go on from there", path,
             item->name, (double)file->scratch[bad], (long long)bad);
    return NT_OK;
}

nt_status nt_checkpoint_file_read(nt_checkpoint_file *file, int index)
{
    NT_TRY(as_damage(read_array(file, &file->item[index])));
    return NT_OK;
}

nt_status nt_checkpoint_file_verify(nt_checkpoint_file *file)
{
    for (int i = 0; i < file->n; i++)
        NT_TRY(nt_checkpoint_file_read(file, i));
    return NT_OK;
}

/* --- loading --- */

static bool is_state(const nt_array *item)
{
    return strncmp(item->name, "state", 5) == 0;
}

static int count_states(const nt_array *item, int n)
{
    int n_states = 0;
    for (int i = 0; i < n; i++)
        n_states += is_state(&item[i]);
    return n_states;
}

/* "params/conv1.weight" as "layer conv1: weight" into text. */
static const char *say_array(char text[2 * NT_CHECKPOINT_NAME_BYTES], const nt_array *item)
{
    const char *slash = strchr(item->name, '/'), *name = slash ? slash + 1 : item->name;
    const char *dot = strrchr(name, '.');
    int layer_bytes = dot ? (int)(dot - name) : (int)strlen(name);
    snprintf(text, 2 * NT_CHECKPOINT_NAME_BYTES, "layer %.*s: %s%s", layer_bytes, name, dot ? dot + 1 : "it",
             is_state(item) ? " (optimizer state)" : "");
    return text;
}

/* Compares one array of the net with what stands at the same place of the file; either may be absent. */
static nt_status compare(const nt_checkpoint_file *file, const nt_array *ours, const nt_array *theirs)
{
    char text[2 * NT_CHECKPOINT_NAME_BYTES], a[NT_SHAPE_TEXT_BYTES], b[NT_SHAPE_TEXT_BYTES];
    const char *path = nt_h5_path(file->h5);
    NT_CHECK(theirs, NT_ERR_CONFIG, "%s does not fit: %s is %s in this model, and not in the checkpoint",
             path, say_array(text, ours), nt_shape_text(ours->shape, a));
    NT_CHECK(ours, NT_ERR_CONFIG, "%s does not fit: %s is %s in the checkpoint, and not in this model", path,
             say_array(text, theirs), nt_shape_text(theirs->shape, b));
    NT_CHECK(nt_shape_equal(ours->shape, theirs->shape), NT_ERR_CONFIG,
             "%s does not fit: %s is %s in this model, but %s in the checkpoint", path, say_array(text, ours),
             nt_shape_text(ours->shape, a), nt_shape_text(theirs->shape, b));
    return NT_OK;
}

static bool is_of(const nt_array *item, const char *group)
{
    size_t n = strlen(group);
    return strncmp(item->name, group, n) == 0 && item->name[n] == '/';
}

/* group NULL: all. */
static const nt_array *next_wanted(const nt_array *item, int n, int *at, const char *group)
{
    while (*at < n && group && !is_of(&item[*at], group))
        (*at)++;
    return *at < n ? &item[*at] : NULL;
}

/* Both lists are in order of names: walk them side by side. */
static nt_status check_fit(const nt_checkpoint_file *file, const nt_arrays *arrays, const char *group)
{
    int n_ours = count_states(arrays->item, arrays->n), n_theirs = count_states(file->item, file->n);
    NT_CHECK(
        group || n_theirs > 0 || n_ours == 0, NT_ERR_CONFIG,
        "%s does not fit: it holds no optimizer state, which resuming needs; its weights alone can be loaded",
        nt_h5_path(file->h5));
    for (int i = 0, j = 0;; i++, j++) {
        const nt_array *ours = next_wanted(arrays->item, arrays->n, &i, group);
        const nt_array *theirs = next_wanted(file->item, file->n, &j, group);
        if (!ours && !theirs) return NT_OK;
        int order = ours && theirs ? by_name(ours, theirs) : 0;
        NT_TRY(compare(file, order > 0 ? NULL : ours, order < 0 ? NULL : theirs));
    }
}

static nt_status load(nt_checkpoint_file *file, const nt_arrays *arrays, const char *group, bool verified)
{
    NT_TRY(check_fit(file, arrays, group));
    if (!verified) NT_TRY(nt_checkpoint_file_verify(file));
    for (int i = 0, j = 0;; i++, j++) {
        const nt_array *ours = next_wanted(arrays->item, arrays->n, &i, group);
        if (!ours || !next_wanted(file->item, file->n, &j, group)) return NT_OK;
        NT_TRY(nt_checkpoint_file_read(file, j));
        NT_TRY(arrays->set(arrays->arg, ours, file->scratch));
    }
}

nt_status nt_checkpoint_file_load(nt_checkpoint_file *file, const nt_arrays *arrays, bool with_state,
                                  bool verified)
{
    return load(file, arrays, with_state ? NULL : nt_checkpoint_groups[0], verified);
}

nt_status nt_checkpoint_file_load_group(nt_checkpoint_file *file, const nt_arrays *arrays, const char *group,
                                        bool verified)
{
    return load(file, arrays, group, verified);
}

bool nt_checkpoint_file_has(const nt_checkpoint_file *file, const char *group)
{
    for (int i = 0; i < file->n; i++)
        if (is_of(&file->item[i], group)) return true;
    return false;
}
