/* A few named arrays and meta data to save as a checkpoint without a net. */
#ifndef NT_TESTS_BUNDLE_H
#define NT_TESTS_BUNDLE_H

#include "h5_helpers.h"

#include "core/checkpoint_private.h"

#define BUNDLE_ARRAYS 5
#define BUNDLE_ELEMS  64 /* room of each */

typedef struct bundle {
    nt_array item[BUNDLE_ARRAYS];
    float value[BUNDLE_ARRAYS][BUNDLE_ELEMS]; /* by item[].slot */
    nt_arrays arrays;
    nt_checkpoint_meta meta;
    int n_sets; /* times that values were handed over */
} bundle;

static inline nt_status bundle_get(void *arg, const nt_array *array, float *values)
{
    const bundle *b = arg;
    memcpy(values, b->value[array->slot], (size_t)nt_shape_elems(array->shape) * sizeof *values);
    return NT_OK;
}

static inline nt_status bundle_set(void *arg, const nt_array *array, const float *values)
{
    bundle *b = arg;
    memcpy(b->value[array->slot], values, (size_t)nt_shape_elems(array->shape) * sizeof *values);
    b->n_sets++;
    return NT_OK;
}

/* Values are a function of seed. Initialises in place: arrays point into *b. */
static inline void bundle_init(bundle *b, int seed)
{
    static const struct {
        const char *name;
        nt_shape shape;
    } what[BUNDLE_ARRAYS] = {{"params/conv1.bias", {1, {2}}},
                             {"params/conv1.weight", {4, {2, 1, 3, 3}}},
                             {"params/fc.weight", {2, {3, 4}}},
                             {"state0/conv1.weight", {4, {2, 1, 3, 3}}},
                             {"state0/fc.weight", {2, {3, 4}}}};
    memset(b, 0, sizeof *b);
    for (int i = 0; i < BUNDLE_ARRAYS; i++) {
        snprintf(b->item[i].name, sizeof b->item[i].name, "%s", what[i].name);
        b->item[i].shape = what[i].shape;
        b->item[i].slot = i;
        for (int64_t j = 0; j < nt_shape_elems(what[i].shape); j++)
            b->value[i][j] = (float)((seed * 7919 + i * 101 + (int)j * 37) % 1009) / 17.0f - 20;
    }
    b->arrays = (nt_arrays){BUNDLE_ARRAYS, b->item, b, bundle_get, bundle_set};
    b->meta =
        (nt_checkpoint_meta){.position = {.step = seed,
                                          .epoch = 2,
                                          .batch = 5,
                                          .best = 0.125 + seed,
                                          .best_step = seed / 2,
                                          .epoch_sum = {1.5, 2.75, 320, 640, .answers = 641, .nats = 3.25}},
                             .config_text = "[run]\nseed = 1\n",
                             .config_hash = 0xfedcba9876543210u,
                             .tuning_text = "conv1: direct\n",
                             .backend = "cpu",
                             .n_ranks = 2,
                             .optimizer = "sgd"};
}

static inline bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static inline bool same_meta(const nt_checkpoint_meta *a, const nt_checkpoint_meta *b)
{
    const nt_position *p = &a->position, *q = &b->position;
    return p->step == q->step && p->epoch == q->epoch && p->batch == q->batch && p->best == q->best &&
           p->best_step == q->best_step && p->epoch_sum.loss == q->epoch_sum.loss &&
           p->epoch_sum.loss_squared == q->epoch_sum.loss_squared && p->epoch_sum.n == q->epoch_sum.n &&
           p->epoch_sum.correct == q->epoch_sum.correct && p->epoch_sum.answers == q->epoch_sum.answers &&
           p->epoch_sum.nats == q->epoch_sum.nats && same_text(a->config_text, b->config_text) &&
           a->config_hash == b->config_hash && same_text(a->tuning_text, b->tuning_text) &&
           same_text(a->backend, b->backend) && a->n_ranks == b->n_ranks && a->threads == b->threads &&
           same_text(a->optimizer, b->optimizer);
}

/* Whether the file at `path` holds exactly what `b` holds. Errors are left in nt_error_last. */
static inline nt_status bundle_compare(bundle *b, const char *path, bool *same)
{
    bundle got;
    nt_checkpoint_file file;
    bundle_init(&got, 0);
    memset(got.value, 0, sizeof got.value);
    nt_status status = nt_checkpoint_file_open(&file, path);
    if (status != NT_OK) return status;
    status = nt_checkpoint_file_load(&file, &got.arrays, true, false);
    *same = status == NT_OK && memcmp(got.value, b->value, sizeof got.value) == 0 &&
            same_meta(&file.meta, &b->meta);
    if (status != NT_OK && got.n_sets > 0) status = NT_ERR_BUG; /* handed over before all was verified */
    nt_checkpoint_file_close(&file);
    return status;
}

static inline void bundle_save(int seed, const char *dir)
{
    bundle b;
    bundle_init(&b, seed);
    assert_ok(nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir));
}

/* The file at `path` is the bundle of that seed. */
static inline void check_bundle(int seed, const char *path)
{
    bundle b;
    bool same = false;
    bundle_init(&b, seed);
    assert_ok(bundle_compare(&b, path, &same));
    assert_true(same);
}

/* What is found in `dir` is the bundle of one of the two seeds. */
static inline int check_found(const char *dir, int seed, int or_seed)
{
    char path[4200];
    bool found = false;
    assert_ok(nt_checkpoint_find(dir, path, sizeof path, &found));
    assert_true(found);
    nt_checkpoint_meta meta;
    assert_ok(nt_checkpoint_read_meta(path, &meta));
    int step = (int)meta.position.step;
    nt_checkpoint_meta_free(&meta);
    assert_true(step == seed || step == or_seed);
    char name[64];
    snprintf(name, sizeof name, "/step_%08d.h5", step);
    assert_non_null(strstr(path, name)); /* and nothing that only leads there */
    check_bundle(step, path);
    return step;
}

/* A fresh folder for checkpoints. */
static inline const char *new_dir(const char *name)
{
    const char *dir = in_dir(name);
    assert_ok(nt_checkpoint_prepare(dir));
    return dir;
}

/* Path of `name` in such a folder; four may be in use at once. */
static inline const char *file_in(const char *dir, const char *name)
{
    static char paths[4][8400];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

#endif
