/* shapes: made-up pictures for regression. Each shows one ellipse on a noisy ground, drawn with antialiasing,
 * and its targets are what it was drawn from: place, size, form, angle and brightness.
 *
 * Pictures are pure functions of (seed, part, number): the same words make the same file, and more samples
 * are the same ones and others. Each target has mean 0 and variance 1 over all that could be drawn (of a
 * uniform number in [low, high]: (high - low)^2 / 12), so whoever foretells the mean has a squared error
 * of 1. The angle, which is the same after half a turn, goes as cosine and sine of its double. */
#include "core/config.h"
#include "core/rng.h"
#include "core/text.h"
#include "datasets/import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_TARGETS = 7, MAX_SIDE = 1024, SUBPIXELS = 4, DRAWS = 16, NOISE = 20 };

/* What the words of the command line say. */
typedef struct plan {
    int64_t train, test, size, channels, seed;
} plan;

/* An ellipse in units of the picture's side. */
typedef struct ellipse {
    double x, y, radius, ratio, angle, brightness; /* radius: the long half axis; ratio: short to long */
} ellipse;

static const struct {
    const char *name;
    size_t offset;
    int64_t min, max;
} words[] = {{"train", offsetof(plan, train), 1, 100000000},
             {"test", offsetof(plan, test), 0, 100000000},
             {"size", offsetof(plan, size), 8, MAX_SIDE},
             {"channels", offsetof(plan, channels), 1, 4},
             {"seed", offsetof(plan, seed), 0, INT64_MAX}};

static nt_status fail_unknown(const char *word)
{
    const char *names[NT_N_ELEMS(words) + 1] = {NULL};
    char name[32];
    for (int i = 0; i < NT_N_ELEMS(words); i++)
        names[i] = words[i].name;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    const char *near = nt_text_nearest(name, names);
    NT_FAIL(NT_ERR_USAGE, "shapes takes train=N, test=N, size=N, channels=N and seed=N, not '%.60s'%s%s%s",
            word, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* "size=75" */
static nt_status take_word(plan *p, const char *word)
{
    const char *equals = strchr(word, '=');
    for (int i = 0; equals && i < NT_N_ELEMS(words); i++) {
        size_t n = strlen(words[i].name);
        int64_t value;
        if (n != (size_t)(equals - word) || strncmp(word, words[i].name, n) != 0) continue;
        NT_CHECK(nt_text_to_int(equals + 1, &value) && value >= words[i].min && value <= words[i].max,
                 NT_ERR_USAGE, "shapes: '%.60s': %s is a whole number from %lld to %lld", word, words[i].name,
                 (long long)words[i].min, (long long)words[i].max);
        *(int64_t *)((char *)p + words[i].offset) = value;
        return NT_OK;
    }
    return fail_unknown(word);
}

/* --- drawing --- */

/* A number in [low, high), and the target that it stands for. */
static double draw(nt_philox block, int i, double low, double high, float *target)
{
    double u = nt_rng_uniform(block.v[i]);
    if (target) *target = (float)((u - 0.5) * sqrt(12));
    return low + (high - low) * u;
}

static ellipse draw_ellipse(const plan *p, uint32_t part, int64_t sample, float *target)
{
    const uint32_t low = (uint32_t)sample, high = (uint32_t)((uint64_t)sample >> 32);
    nt_philox a = nt_rng_block((uint64_t)p->seed, NT_RNG_DATA, DRAWS + part, 0, low, high);
    nt_philox b = nt_rng_block((uint64_t)p->seed, NT_RNG_DATA, DRAWS + part, 1, low, high);
    ellipse e;
    e.x = draw(a, 0, 0.25, 0.75, &target[0]);
    e.y = draw(a, 1, 0.25, 0.75, &target[1]);
    e.radius = draw(a, 2, 0.12, 0.24, &target[2]);
    e.ratio = draw(a, 3, 0.4, 0.8, &target[3]);
    e.angle = draw(b, 0, 0, acos(-1), NULL);
    e.brightness = draw(b, 1, 0.3, 1, &target[6]);
    target[4] = (float)(sqrt(2) * cos(2 * e.angle));
    target[5] = (float)(sqrt(2) * sin(2 * e.angle));
    return e;
}

/* The part of pixel (row, column) that the ellipse covers. */
static double coverage(const ellipse *e, int64_t size, int64_t row, int64_t column)
{
    const double c = cos(e->angle), s = sin(e->angle);
    int inside = 0;
    for (int i = 0; i < SUBPIXELS * SUBPIXELS; i++) {
        double dx = ((double)column + (i % SUBPIXELS + 0.5) / SUBPIXELS) / (double)size - e->x;
        double dy = ((double)row + (i / SUBPIXELS + 0.5) / SUBPIXELS) / (double)size - e->y;
        double along = (c * dx + s * dy) / e->radius, across = (c * dy - s * dx) / (e->radius * e->ratio);
        inside += along * along + across * across <= 1;
    }
    return (double)inside / (SUBPIXELS * SUBPIXELS);
}

/* Whether the pixel may be covered at all: most are not. */
static bool is_near(const ellipse *e, int64_t size, int64_t row, int64_t column)
{
    double dx = ((double)column + 0.5) / (double)size - e->x, dy = ((double)row + 0.5) / (double)size - e->y;
    double reach = e->radius + 1 / (double)size;
    return dx * dx + dy * dy <= reach * reach;
}

/* (channels, size, size): the ground is 0.15, noise of +-0.04 lies over all. */
static void draw_picture(const plan *p, uint32_t part, int64_t sample, uint8_t *x, float *target)
{
    const ellipse e = draw_ellipse(p, part, sample, target);
    const int64_t pixels = p->size * p->size;
    for (int64_t i = 0; i < pixels; i++) {
        bool near = is_near(&e, p->size, i / p->size, i % p->size);
        double covered = near ? coverage(&e, p->size, i / p->size, i % p->size) : 0;
        double value = 0.15 + covered * (e.brightness - 0.15);
        nt_philox noise = nt_rng_block((uint64_t)p->seed, NT_RNG_DATA, NOISE + part, (uint32_t)i,
                                       (uint32_t)sample, (uint32_t)((uint64_t)sample >> 32));
        for (int64_t c = 0; c < p->channels; c++) {
            double noisy = value + 0.08 * (nt_rng_uniform(noise.v[c]) - 0.5f);
            x[c * pixels + i] = (uint8_t)(255 * fmin(fmax(noisy, 0), 1) + 0.5);
        }
    }
}

/* --- the file --- */

static nt_status put_part(nt_import_writer *writer, const plan *p, uint32_t part, uint8_t *x)
{
    const int64_t n = part == 0 ? p->train : p->test;
    float target[N_TARGETS];
    if (n == 0) return NT_OK;
    NT_TRY(nt_import_begin(writer, part == 0 ? "train" : "test", n));
    for (int64_t i = 0; i < n; i++) {
        draw_picture(p, part, i, x, target);
        NT_TRY(nt_import_put(writer, 1, x, target));
    }
    return NT_OK;
}

static nt_status put_all(const nt_import_args *args, const plan *p, uint8_t *x)
{
    const nt_import_format format = {
        .dtype = NT_U8, .shape = nt_shape_of(3, p->channels, p->size, p->size), .n_targets = N_TARGETS};
    nt_import_args named = *args;
    if (!named.source) named.source = "nntrain import shapes";
    nt_import_writer *writer;
    NT_TRY(nt_import_open(&writer, &named, &format));
    nt_status status = put_part(writer, p, 0, x);
    if (status == NT_OK) status = put_part(writer, p, 1, x);
    if (status == NT_OK) return nt_import_finish(writer);
    nt_import_discard(writer);
    return status;
}

static nt_status shapes_run(const nt_import_args *args)
{
    plan p = {.train = 2000, .test = 500, .size = 75, .channels = 3, .seed = 1};
    for (int i = 0; i < args->n_inputs; i++)
        NT_TRY(take_word(&p, args->inputs[i]));
    size_t n_bytes = (size_t)(p.channels * p.size * p.size);
    uint8_t *x = malloc(n_bytes);
    NT_CHECK_ALLOC(x, n_bytes);
    nt_status status = put_all(args, &p, x);
    free(x);
    NT_TRY(status);
    return NT_OK;
}

const nt_importer nt_import_shapes = {
    .name = "shapes",
    .usage = "[train=2000] [test=500] [size=75] [channels=3] [seed=1]",
    .help = "made-up pictures of ellipses; 7 float targets: centre x, y, long radius, short to long, cosine "
            "and sine of "
            "twice the angle, brightness",
    .run = shapes_run,
};
