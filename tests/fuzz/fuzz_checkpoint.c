/* The checkpoint reader, beyond what libhdf5 checks itself: files made by libhdf5 whose attributes have the
 * wrong type, value or length, and whose arrays have odd names, types and shapes. (Bytes of real checkpoints
 * are flipped in tests/unit/test_checkpoint_faults.c.) The first byte chooses between a whole checkpoint with
 * the input's texts, numbers and arrays, and one of odd parts; texts end at NUL.
 *
 * The oracle: what was written whole must be read, with every value that was written, unless its position is
 * one that no run can have; whatever is read, odd files too (their digests are put right, or the reader would
 * look no further), loads into a net of its shapes, and written again reads as the same. */
#include "fuzz.h"

#include "core/backend.h"
#include "core/checkpoint_private.h"
#include "launcher/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ARRAYS 4
#define MOST_ELEMS  256 /* 4 dimensions of up to 4 */

static void demand(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "%s: %s\n", what, nt_error_last()->message);
    abort();
}

/* --- the bytes that are left --- */

typedef struct input {
    const uint8_t *at;
    size_t n;
} input;

static void take_bytes(input *in, void *out, size_t n_bytes)
{
    size_t n = in->n < n_bytes ? in->n : n_bytes;
    memset(out, 0, n_bytes);
    memcpy(out, in->at, n);
    in->at += n;
    in->n -= n;
}

static int take_byte(input *in)
{
    uint8_t byte;
    take_bytes(in, &byte, 1);
    return byte;
}

static int64_t take_int(input *in)
{
    int64_t value;
    take_bytes(in, &value, sizeof value);
    return value;
}

/* malloc'ed, up to the next NUL. */
static char *take_text(input *in)
{
    size_t n = strnlen((const char *)in->at, in->n);
    char *text = strndup((const char *)in->at, n);
    if (!text) abort();
    in->at += n + (n < in->n);
    in->n -= n + (n < in->n);
    return text;
}

/* --- arrays --- */

/* Arrays with their values, item by item. */
typedef struct arrays {
    int n;
    nt_array item[MOST_ARRAYS];
    float value[MOST_ARRAYS][MOST_ELEMS];
} arrays;

/* A name that a layer could have, made of any text. */
static void take_name(input *in, nt_array *item)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
    int n = snprintf(item->name, sizeof item->name, "%s/p",
                     nt_checkpoint_groups[take_byte(in) % NT_N_CHECKPOINT_GROUPS]);
    char *text = take_text(in);
    for (size_t i = 0; text[i] && n + 1 < (int)sizeof item->name; i++)
        item->name[n++] = letters[(unsigned char)text[i] % (sizeof letters - 1)];
    item->name[n] = '\0';
    free(text);
}

static int64_t take_shape(input *in, nt_shape *shape)
{
    shape->n_dims = 1 + take_byte(in) % 4;
    for (int i = 0; i < shape->n_dims; i++)
        shape->dim[i] = 1 + take_byte(in) % 4;
    return nt_shape_elems(*shape);
}

static bool is_there(const arrays *a, const char *name)
{
    for (int i = 0; i < a->n; i++)
        if (strcmp(a->item[i].name, name) == 0) return true;
    return false;
}

static void take_arrays(input *in, arrays *a)
{
    for (int wanted = take_byte(in) % (MOST_ARRAYS + 1); wanted > 0 && in->n > 0; wanted--) {
        nt_array item = {.array = a->n};
        take_name(in, &item);
        int64_t n = take_shape(in, &item.shape);
        take_bytes(in, a->value[a->n], (size_t)n * sizeof(float));
        if (!is_there(a, item.name)) a->item[a->n++] = item;
    }
}

static nt_status get_value(void *arg, const nt_array *array, float *values)
{
    const arrays *a = arg;
    memcpy(values, a->value[array->array], (size_t)nt_shape_elems(array->shape) * sizeof *values);
    return NT_OK;
}

static nt_status get_from_file(void *arg, const nt_array *array, float *values)
{
    nt_checkpoint_file *file = arg;
    demand(nt_checkpoint_file_read(file, array->array) == NT_OK, "an array that was read is not any more");
    memcpy(values, file->scratch, (size_t)nt_shape_elems(array->shape) * sizeof *values);
    return NT_OK;
}

static nt_status compare_digest(void *arg, const nt_array *array, const float *values)
{
    (void)arg;
    demand(XXH128_isEqual(nt_array_digest(array, values), array->digest), "loading gives other values");
    return NT_OK;
}

/* --- the oracle --- */

static void must_be_same(const nt_checkpoint_file *a, const nt_checkpoint_file *b)
{
    demand(a->n == b->n, "another number of arrays");
    for (int i = 0; i < a->n; i++)
        demand(strcmp(a->item[i].name, b->item[i].name) == 0 &&
                   nt_shape_equal(a->item[i].shape, b->item[i].shape) &&
                   XXH128_isEqual(a->item[i].digest, b->item[i].digest),
               "another array");
    demand(XXH128_isEqual(nt_checkpoint_meta_digest(&a->meta, 1, "", a->weights),
                          nt_checkpoint_meta_digest(&b->meta, 1, "", b->weights)),
           "other meta data");
}

/* All of a file that was read and verified. */
static void must_be_writable(nt_checkpoint_file *file)
{
    const char *path = fuzz_path("again.h5");
    nt_checkpoint_file again;
    nt_arrays all = {.n = file->n, .arg = file, .get = get_from_file, .set = compare_digest};
    all.item = calloc((size_t)file->n + 1, sizeof *all.item);
    if (!all.item) abort();
    if (file->n > 0) memcpy(all.item, file->item, (size_t)file->n * sizeof *all.item);
    for (int i = 0; i < all.n; i++)
        all.item[i].array = i;
    bool has_state = false;
    for (int i = 0; i < all.n; i++)
        has_state = has_state || strncmp(all.item[i].name, "state", 5) == 0;
    demand(nt_checkpoint_file_load(file, &all, has_state, false) == NT_OK, "it does not load into itself");
    (void)remove(path);
    demand(nt_checkpoint_write_file(path, &all, &file->meta) == NT_OK, "it cannot be written again");
    demand(nt_checkpoint_file_open(&again, path) == NT_OK, "what was written again is not read");
    demand(nt_checkpoint_file_verify(&again) == NT_OK, "what was written again is damaged");
    must_be_same(file, &again);
    nt_checkpoint_file_close(&again);
    free(all.item);
}

static void read_meta_parts(const nt_checkpoint_meta *meta)
{
    nt_config *config = NULL;
    nt_tuning *tuning = NULL;
    if (nt_config_parse(&config, "fuzz", meta->config_text, strlen(meta->config_text), NULL, 0,
                        nt_all_sections) == NT_OK)
        nt_config_destroy(config);
    if (nt_tuning_create(&tuning, false) != NT_OK) abort();
    if (nt_tuning_parse(tuning, meta->tuning_text) != NT_OK) nt_error_clear();
    nt_tuning_destroy(tuning);
    nt_error_clear();
}

/* Whether the file is good. */
static bool read_back(const char *path)
{
    FILE *null = fopen("/dev/null", "w");
    nt_checkpoint_file file;
    if (!null) abort();
    bool sound = nt_checkpoint_inspect(path, null) == NT_OK;
    fclose(null);
    if (nt_checkpoint_file_open(&file, path) != NT_OK) {
        demand(!sound, "inspected, but not read");
        nt_error_clear();
        return false;
    }
    bool good = nt_checkpoint_file_verify(&file) == NT_OK;
    demand(good == sound, "inspection and verification disagree");
    if (good) must_be_writable(&file);
    if (good) read_meta_parts(&file.meta);
    nt_checkpoint_file_close(&file);
    nt_error_clear();
    return good;
}

/* --- whole files --- */

static void take_meta(input *in, nt_checkpoint_meta *meta)
{
    nt_position *p = &meta->position;
    int64_t *const numbers[] = {&p->step,      &p->epoch,           &p->batch,
                                &p->best_step, &p->plateau.cooling, &p->stop.n};
    double *const reals[] = {&p->best, &p->epoch_sum.loss, &p->plateau.lr};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = take_int(in);
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        take_bytes(in, reals[i], sizeof *reals[i]);
    meta->n_ranks = take_byte(in);
    meta->threads = take_byte(in);
    meta->config_text = take_text(in);
    meta->tuning_text = take_text(in);
    meta->backend = take_text(in);
    meta->optimizer = take_text(in);
    meta->features = take_text(in);
}

/* A checkpoint with the input's texts, numbers and arrays, all digests right. */
static void try_whole(const char *path, input *in)
{
    static arrays a;
    a = (arrays){0};
    nt_checkpoint_meta meta = {0};
    take_meta(in, &meta);
    take_arrays(in, &a);
    nt_arrays_sort(a.item, a.n);
    nt_arrays all = {.n = a.n, .item = a.item, .arg = &a, .get = get_value};
    const nt_position *p = &meta.position;
    bool possible =
        p->step >= 0 && p->epoch >= 0 && p->batch >= 0 && p->best_step >= -1 && p->best_step <= p->step;
    nt_status status = nt_checkpoint_write_file(path, &all, &meta);
    demand(status == NT_OK || status == NT_ERR_NAN, "a checkpoint cannot be written");
    bool good = read_back(path);
    demand(good == (status == NT_OK && possible), "whole, but not read; or the other way round");
    nt_checkpoint_file file;
    if (good && nt_checkpoint_file_open(&file, path) == NT_OK) {
        for (int i = 0; i < a.n; i++)
            demand(nt_checkpoint_file_read(&file, i) == NT_OK &&
                       memcmp(file.scratch, a.value[a.item[i].array],
                              (size_t)nt_shape_elems(a.item[i].shape) * sizeof(float)) == 0,
                   "other values than were written");
        nt_checkpoint_file_close(&file);
    }
    nt_error_clear();
    nt_checkpoint_meta_free(&meta);
}

/* --- files of odd parts --- */

static const char *const attribute[] = {"checkpoint_version",
                                        "nntrain_version",
                                        "step",
                                        "epoch",
                                        "batch",
                                        "best_loss",
                                        "best_step",
                                        "epoch_loss",
                                        "epoch_correct",
                                        "epoch_samples",
                                        "config",
                                        "config_hash",
                                        "tuning",
                                        "epoch_loss_squared",
                                        "backend",
                                        "n_ranks",
                                        "threads",
                                        "optimizer",
                                        "features",
                                        "plateau_n",
                                        "plateau_best",
                                        "stop_bad"};

/* Attributes of any type under the names that the reader looks for, as far as the input goes; with kind 0,
 * and after the input's end, what is right there. */
static nt_status write_attributes(nt_h5 *h5, input *in)
{
    const double numbers[3] = {1, 2, 3};
    for (size_t i = 0; i < sizeof attribute / sizeof *attribute; i++) {
        int kind = take_byte(in) % 6;
        bool text_there = i == 1 || i == 10 || i == 12 || i == 14 || i == 17 || i == 18;
        if (kind == 0) kind = text_there ? 2 : i == 5 || i == 7 || i == 13 || i == 20 ? 3 : 6;
        char *text = kind == 2 ? take_text(in) : NULL;
        nt_status status = NT_OK;
        if (kind == 1) status = nt_h5_put_int(h5, "/", attribute[i], take_int(in));
        if (kind == 2) status = nt_h5_put_string(h5, "/", attribute[i], text);
        if (kind == 3 || kind == 4)
            status = nt_h5_put_floats(h5, "/", attribute[i], numbers, kind == 3 ? 1 : 3);
        if (kind == 6) status = nt_h5_put_int(h5, "/", attribute[i], i == 0);
        free(text);
        if (status != NT_OK) return status;
    }
    return NT_OK;
}

/* A float32 array with the right digest, or one that is off in type or digest. */
static nt_status write_array(nt_h5 *h5, nt_array *item, int kind, const float *values)
{
    char hex[33];
    nt_h5_set *set;
    const nt_dtype dtype = kind == 1 ? NT_I32 : kind == 2 ? NT_F64 : NT_F32;
    static double wide[MOST_ELEMS];
    NT_TRY(nt_h5_set_create(&set, h5, item->name, dtype, item->shape, 1 + kind % 2, 0));
    nt_status status =
        nt_h5_set_write(set, 0, item->shape.dim[0], dtype == NT_F64 ? (const void *)wide : values);
    nt_h5_set_close(set);
    NT_TRY(status);
    item->digest = nt_array_digest(item, values);
    if (kind == 3) item->digest.low64 ^= 1;
    nt_digest_text(item->digest, hex);
    if (kind != 4) NT_TRY(nt_h5_put_string(h5, item->name, "xxh3_128", hex));
    return NT_OK;
}

/* *n of them, with names of any bytes. */
static nt_status write_arrays(nt_h5 *h5, input *in, nt_array *item, int *n)
{
    float values[MOST_ELEMS];
    for (*n = 0; *n < MOST_ARRAYS && in->n > 2;) {
        nt_array *at = &item[*n];
        *at = (nt_array){0};
        int kind = take_byte(in) % 16;
        char *text = take_text(in);
        snprintf(at->name, sizeof at->name, "%s/%s", *n % 2 ? "state0" : "params", text);
        free(text);
        take_bytes(in, values, (size_t)take_shape(in, &at->shape) * sizeof *values);
        NT_TRY(write_array(h5, at, kind, values));
        ++*n;
    }
    return NT_OK;
}

/* The digest over the file as the reader will see it; "" if its meta data cannot be read. */
static void find_digest(const char *path, nt_array *item, int n, char hex[33])
{
    nt_h5 *h5;
    nt_checkpoint_meta meta;
    int64_t version = 0;
    char *program = NULL;
    bool found = false;
    hex[0] = '\0';
    if (nt_h5_open(&h5, path) != NT_OK) return;
    nt_arrays_sort(item, n);
    if (nt_h5_attr_int(h5, "/", attribute[0], &version, &found) == NT_OK && found &&
        nt_h5_attr_text(h5, "/", attribute[1], 64, &program, &found) == NT_OK && found &&
        nt_checkpoint_meta_get(&meta, h5) == NT_OK) {
        XXH128_hash_t weights = nt_arrays_digest(item, n);
        nt_digest_text(nt_checkpoint_meta_digest(&meta, version, program, weights), hex);
        nt_checkpoint_meta_free(&meta);
    }
    free(program);
    nt_h5_close(h5);
}

/* hex: the digest to put in; NULL: none. */
static nt_status write_odd(const char *path, input in, const char *hex, nt_array *item, int *n)
{
    nt_h5 *h5 = NULL;
    *n = 0;
    (void)remove(path);
    if (nt_h5_create(&h5, path) != NT_OK) abort();
    nt_status status = write_attributes(h5, &in);
    if (status == NT_OK) status = write_arrays(h5, &in, item, n);
    if (status == NT_OK && hex) status = nt_h5_put_string(h5, "/", "digest", hex);
    nt_error_clear();
    if (nt_h5_finish(h5) != NT_OK) nt_error_clear();
    return status;
}

static void try_odd(const char *path, input *in)
{
    char hex[33];
    int n;
    nt_array item[MOST_ARRAYS];
    if (write_odd(path, *in, NULL, item, &n) == NT_OK) {
        find_digest(path, item, n, hex);
        nt_error_clear();
        if (*hex) (void)write_odd(path, *in, hex, item, &n);
    }
    (void)read_back(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    if (n_bytes < 2) return 0;
    const char *path = fuzz_path("step_00000001.h5");
    input in = {bytes + 1, n_bytes - 1};
    (void)remove(path);
    (bytes[0] & 1 ? try_whole : try_odd)(path, &in);
    return 0;
}
