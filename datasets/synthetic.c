/* Made-up data that can be learned: for benchmarks, smoke tests and trying out an architecture without a
 * file.
 *
 * Every class has a random pattern; a sample is its pattern under three times as much noise (images) or twice
 * as much (features). Values are pure functions of (seed, sample, element), so ranks agree without talking.
 * A set that fits data.memory_mb is made once, so that a benchmark does not measure this generator. Targets
 * of `target = value` are one linear function of the sample. The template for a new dataset format. */
#include "core/log.h"
#include "datasets/dataset.h"

#include "core/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Sub-streams of NT_RNG_DATA. A split adds its number to the last two. */
enum { PATTERN = 0, NOISE = 1, CLASS = 4 };

typedef struct synthetic {
    uint64_t seed;
    uint32_t split;
    int64_t n_classes, n_elems;
    void *memory; /* (n_samples, ...) or NULL: made when read */
    void *row;    /* one sample, for a target that is asked for without its sample */
} synthetic;

/* Random block number `block` of a sample (or, for PATTERN, of a class). */
static nt_philox words(const synthetic *s, uint32_t what, int64_t of, int64_t block)
{
    return nt_rng_block(s->seed, NT_RNG_DATA, what, (uint32_t)block, (uint32_t)of,
                        (uint32_t)((uint64_t)of >> 32));
}

static int64_t class_of(const synthetic *s, int64_t sample)
{
    nt_philox block = words(s, CLASS + s->split, sample, 0);
    return (int64_t)nt_rng_below(block.v[0], block.v[1], (uint64_t)s->n_classes);
}

/* (pattern + 3 noise) / 4, sixteen bytes a block. */
static void fill_u8(const synthetic *s, int64_t sample, int64_t class, uint8_t *x)
{
    for (int64_t e = 0; e < s->n_elems; e += 16) {
        nt_philox a = words(s, PATTERN, class, e / 16), b = words(s, NOISE + s->split, sample, e / 16);
        int64_t n = s->n_elems - e < 16 ? s->n_elems - e : 16;
        for (int64_t i = 0; i < n; i++) {
            uint32_t pattern = a.v[i / 4] >> (i % 4 * 8) & 255, noise = b.v[i / 4] >> (i % 4 * 8) & 255;
            x[e + i] = (uint8_t)((pattern + 3 * noise) / 4);
        }
    }
}

/* pattern / 2 + noise, each in [-1, 1), four floats a block. */
static void fill_f32(const synthetic *s, int64_t sample, int64_t class, float *x)
{
    for (int64_t e = 0; e < s->n_elems; e += 4) {
        nt_philox a = words(s, PATTERN, class, e / 4), b = words(s, NOISE + s->split, sample, e / 4);
        int64_t n = s->n_elems - e < 4 ? s->n_elems - e : 4;
        for (int64_t i = 0; i < n; i++)
            x[e + i] = nt_rng_uniform(a.v[i]) - 0.5f + 2 * nt_rng_uniform(b.v[i]) - 1;
    }
}

static void fill(const nt_dataset *ds, int64_t sample, void *x)
{
    const synthetic *s = ds->state;
    int64_t class = class_of(s, sample);
    if (ds->spec.x_dtype == NT_U8)
        fill_u8(s, sample, class, x);
    else
        fill_f32(s, sample, class, x);
}

/* sum w x / sqrt(n), w the pattern of class 0 in [-1, 1). */
static float value_of(const nt_dataset *ds, const void *x)
{
    const synthetic *s = ds->state;
    double sum = 0;
    for (int64_t e = 0; e < s->n_elems; e++) {
        double w = 2 * nt_rng_uniform(words(s, PATTERN, 0, e / 4).v[e % 4]) - 1;
        sum += w * (ds->spec.x_dtype == NT_U8 ? ((const uint8_t *)x)[e] / 255.0 : ((const float *)x)[e]);
    }
    return (float)(sum / sqrt((double)s->n_elems));
}

/* Memory for one sample, and all samples made now if they fit. */
static nt_status make_samples(nt_dataset *ds, int64_t memory_mb)
{
    synthetic *s = ds->state;
    size_t row = nt_dataset_x_bytes(ds);
    s->row = malloc(row);
    NT_CHECK_ALLOC(s->row, row);
    if ((double)row * (double)ds->n_samples > (double)memory_mb * 0x1p20) return NT_OK;
    NT_TRY(nt_rows_allocate(&s->memory, row * (size_t)ds->n_samples));
    for (int64_t i = 0; i < ds->n_samples; i++)
        fill(ds, i, (char *)s->memory + (size_t)i * row);
    return NT_OK;
}

/* A key that is for files means nothing here. */
static void say_unused(const nt_data_options *o)
{
    const char *key = o->resize[0] || o->resize[1]  ? "resize"
                      : o->sequence > 0             ? "sequence"
                      : o->layout != NT_LAYOUT_AUTO ? "layout"
                      : o->train                    ? "train"
                      : o->data                     ? "data"
                      : o->label                    ? "label"
                                                    : NULL;
    if (key)
        nt_warn(
            "data.%s is for files and has no effect on synthetic data (synthetic_shape, synthetic_samples)",
            key);
}

static nt_status synthetic_open(nt_dataset *ds, const nt_data_options *options, nt_split split, uint64_t seed)
{
    const nt_ints *shape = &options->synthetic_shape;
    NT_CHECK(options->file.n == 1, NT_ERR_CONFIG, "data.file: `synthetic` stands alone");
    if (split == NT_SPLIT_TRAIN) say_unused(options);
    NT_CHECK(shape->n >= 1 && shape->n <= 4, NT_ERR_CONFIG,
             "data.synthetic_shape has %d numbers, must have 1 to 4: C, H, W for images, F for features",
             shape->n);
    synthetic *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    ds->state = s;
    nt_sample_spec *spec = &ds->spec;
    spec->x.n_dims = shape->n;
    for (int i = 0; i < shape->n; i++)
        spec->x.dim[i] = shape->value[i];
    NT_TRY(nt_shape_check(spec->x, "data.synthetic_shape"));
    spec->x_dtype = shape->n > 1 ? NT_U8 : NT_F32;
    spec->target = options->target == NT_DATA_TARGET_VALUE ? NT_TARGET_VALUE : NT_TARGET_CLASS;
    spec->n_values = spec->target == NT_TARGET_VALUE;
    s->n_classes = options->classes > 0 ? options->classes : 10;
    spec->n_classes = spec->target == NT_TARGET_CLASS ? s->n_classes : 0;
    s->n_elems = nt_shape_elems(spec->x);
    s->seed = seed;
    s->split = split == NT_SPLIT_TRAIN ? 0 : 1;
    int64_t limit = split == NT_SPLIT_TRAIN ? options->limit : options->valid_limit;
    ds->n_samples =
        split == NT_SPLIT_TRAIN ? options->synthetic_samples : (options->synthetic_samples + 7) / 8;
    if (limit > 0 && limit < ds->n_samples) ds->n_samples = limit;
    NT_TRY(make_samples(ds, options->memory_mb));
    return NT_OK;
}

static void synthetic_close(nt_dataset *ds)
{
    synthetic *s = ds->state;
    if (!s) return;
    free(s->memory);
    free(s->row);
    free(s);
}

static nt_status synthetic_read(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target)
{
    const synthetic *s = ds->state;
    size_t row = nt_dataset_x_bytes(ds);
    if (x && s->memory) nt_rows_gather(x, s->memory, index, n, row);
    for (int64_t i = 0; x && !s->memory && i < n; i++)
        fill(ds, index[i], (char *)x + (size_t)i * row);
    if (!target) return NT_OK;
    if (ds->spec.target == NT_TARGET_CLASS) {
        for (int64_t i = 0; i < n; i++)
            ((int32_t *)target)[i] = (int32_t)class_of(s, index[i]);
        return NT_OK;
    }
    for (int64_t i = 0; i < n; i++) {
        const void *of = x ? (const char *)x + (size_t)i * row : s->row;
        if (!x) fill(ds, index[i], s->row);
        ((float *)target)[i] = value_of(ds, of);
    }
    return NT_OK;
}

static void synthetic_describe(const nt_dataset *ds, char *text, size_t cap)
{
    const synthetic *s = ds->state;
    snprintf(text, cap, "synthetic %s data", s->split == 0 ? "training" : "validation");
}

const nt_dataset_ops nt_dataset_synthetic = {
    .name = "synthetic",
    .open = synthetic_open,
    .close = synthetic_close,
    .read = synthetic_read,
    .describe = synthetic_describe,
};
