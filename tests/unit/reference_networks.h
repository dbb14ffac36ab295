/* Whole networks of tests/reference/networks.h5, which PyTorch trained for ten steps: the same steps on a
 * backend. Losses of all steps, gradients of the first, all weights and running statistics after the last,
 * outputs in evaluation.
 *
 * PyTorch's numbers are those of double precision. ref64 computes in double, too, and must agree to 1e-9
 * (sums in another order, amplified by ten steps): the formulas are the same. Other backends compute in
 * float32, as PyTorch usually does, and may be ten times as far from double as PyTorch's own float32 was,
 * whose distance the file holds for each number (rounding differs in every run, and Adam's first steps are
 * about as large whatever the gradient: where that is zero but for rounding, its sign is chance). Losses must
 * agree to 1e-4 in any case.
 *
 * Weights and samples are not in the file; scripts/reference/networks.py says what they are. */
#ifndef NT_TESTS_UNIT_REFERENCE_NETWORKS_H
#define NT_TESTS_UNIT_REFERENCE_NETWORKS_H

#include "core/model.h"
#include "core/net.h"
#include "core/rng.h"
#include "core/text.h"
#include "tests/unit/reference.h"

#define DOUBLE_TOLERANCE 1e-9
#define READ_TOLERANCE   1e-7 /* tensors are read as float: 2^-24 */
#define FLOAT_FLOOR      2e-6 /* a few roundings of the largest number */
#define TIMES_PYTORCH    10
#define LOSS_TOLERANCE   1e-4

typedef struct run {
    nt_h5 *file;
    const char *name;
    char path[128];
    nt_config *config;
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
    const nt_optim_options *optim;
    nt_sample_spec spec;
    int64_t batch, steps;
    void *x, *target;
    int64_t *sample;
    double spoil; /* added to every weight of the first layer, so that the comparison has to fail */
    bool compare; /* false: only note whether anything differs */
    bool differs;
} run;

/* --- numbers from names --- */

/* FNV-1a */
static inline uint64_t key_of(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

static inline uint32_t word(uint64_t key, int64_t i)
{
    static struct {
        uint64_t key;
        int64_t i;
        nt_philox words;
    } last = {.i = -1}; /* four numbers come at once */
    if (last.i != i / 4 || last.key != key) {
        last.words = nt_rng_block(key, NT_RNG_TEST, 0, (uint32_t)(i / 4), 0, 0);
        last.key = key;
        last.i = i / 4;
    }
    return last.words.v[i % 4];
}

/* In [-1, 1). */
static inline double uniform(uint64_t key, int64_t i)
{
    return (word(key, i) >> 8) * 0x1p-23 - 1;
}

static inline bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static inline float initial(const nt_slot *slot, double u, int64_t fan)
{
    bool weight = ends_with(slot->name, "weight");
    if (ends_with(slot->name, "running_var")) return (float)(1 + 0.25 * u);
    if (slot->role == NT_PARAM_NORM) return (float)(weight ? 0.3 + 0.05 * u : 1 + 0.1 * u);
    if (slot->tensor.shape.n_dims == 1) return (float)(0.1 * u);
    return (float)(u * sqrt(3.0 / (double)fan));
}

static inline void fill_weights(run *r)
{
    for (int s = 0; s < nt_net_n_slots(r->net); s++) {
        const nt_slot *slot = nt_net_get_slot(r->net, s);
        int64_t n = nt_shape_elems(slot->tensor.shape);
        float *values = malloc((size_t)n * sizeof *values);
        assert_non_null(values);
        uint64_t key = key_of(slot->name);
        for (int64_t i = 0; i < n; i++)
            values[i] = initial(slot, uniform(key, i), n / slot->tensor.shape.dim[0]);
        for (int64_t i = 0; slot->layer == 1 && i < n; i++)
            values[i] += (float)r->spoil;
        REF_MUST(nt_net_write(r->net, s, NT_ARRAY_PARAM, values));
        free(values);
    }
}

/* Samples or targets of a step: x0, t0, ... */
static inline void fill_numbers(const char *name, int64_t step, void *out, int64_t n, int64_t below)
{
    char text[32];
    snprintf(text, sizeof text, "%s%lld", name, (long long)step);
    uint64_t key = key_of(text);
    for (int64_t i = 0; i < n; i++) {
        if (below > 0)
            ((int32_t *)out)[i] = (int32_t)(word(key, i) % (uint64_t)below);
        else
            ((float *)out)[i] = (float)uniform(key, i);
    }
}

static inline nt_batch batch_of(run *r, int64_t step)
{
    const nt_sample_spec *spec = &r->spec;
    const bool tokens = spec->x_dtype == NT_I32, classes = spec->target == NT_TARGET_CLASS;
    int64_t per_target = classes ? (spec->n_labels ? spec->n_labels : 1) : spec->n_values;
    fill_numbers("x", step, r->x, r->batch * nt_shape_elems(spec->x), tokens ? spec->n_classes : 0);
    fill_numbers("t", step, r->target, r->batch * per_target, classes ? spec->n_classes : 0);
    return (nt_batch){.n = r->batch, .x = r->x, .target = r->target, .sample = r->sample};
}

/* --- life --- */

static inline nt_sample_spec spec_of(run *r)
{
    nt_sample_spec spec = {.input = {.scale = 1}};
    int64_t tokens = reference_int(r->file, r->path, "tokens");
    reference_tensor shape = reference_read(r->file, r->name, "shape");
    spec.x.n_dims = (int)shape.shape.dim[0];
    for (int i = 0; i < spec.x.n_dims; i++)
        spec.x.dim[i] = (int64_t)shape.values[i];
    free(shape.values);
    spec.x_dtype = tokens > 0 ? NT_I32 : NT_F32;
    spec.n_values = reference_int(r->file, r->path, "values");
    spec.target = spec.n_values > 0 ? NT_TARGET_VALUE : NT_TARGET_CLASS;
    spec.n_classes = tokens > 0 ? tokens : reference_int(r->file, r->path, "classes");
    spec.n_labels = tokens > 0 ? spec.x.dim[0] : 0;
    return spec;
}

static inline void open_run(run *r, const char *backend)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section,
                                                 NULL};
    snprintf(r->path, sizeof r->path, "/%s", r->name);
    char *text = reference_text(r->file, r->path, "config");
    REF_MUST(nt_config_parse(&r->config, r->name, text, strlen(text), NULL, 0, sections));
    free(text);
    r->spec = spec_of(r);
    r->batch = reference_int(r->file, r->path, "batch");
    r->optim = nt_config_section(r->config, &nt_optim_section);
    REF_MUST(nt_model_create(&r->model, r->config, &r->spec));
    r->backend = reference_backend(backend);
    REF_MUST(nt_tuning_create(&r->tuning, false));
    const nt_net_options options = {.seed = 1, .tuning = r->tuning, .optim = r->optim};
    REF_MUST(nt_net_create(&r->net, r->model, r->backend, &options));
    REF_MUST(nt_net_want(r->net, NT_MODE_TRAIN, r->batch));
    REF_MUST(nt_net_want(r->net, NT_MODE_EVAL, r->batch));
    REF_MUST(nt_net_build(r->net));
    size_t n = (size_t)r->batch * (size_t)nt_shape_elems(r->spec.x);
    r->x = calloc(n, sizeof(float));
    r->target = calloc(n + (size_t)(r->batch * (r->spec.n_values + 1)), sizeof(float));
    r->sample = calloc((size_t)r->batch, sizeof *r->sample);
    assert_true(r->x && r->target && r->sample);
    fill_weights(r);
}

static inline void close_run(run *r)
{
    nt_net_destroy(r->net);
    nt_tuning_destroy(r->tuning);
    nt_backend_destroy(r->backend);
    nt_model_destroy(r->model);
    nt_config_destroy(r->config);
    free(r->x), free(r->target), free(r->sample);
}

/* --- comparing --- */

static inline double tolerance_of(run *r, const char *name)
{
    char path[256];
    double float32, ties;
    int n;
    bool found;
    if (r->backend->ops->real == NT_F64) return strcmp(name, "loss") == 0 ? DOUBLE_TOLERANCE : READ_TOLERANCE;
    reference_path(path, r->name, name);
    REF_MUST(nt_h5_attr_floats(r->file, path, "float32", &float32, 1, &n, &found));
    assert_true(found);
    REF_MUST(nt_h5_attr_floats(r->file, r->path, "ties", &ties, 1, &n, &found));
    assert_true(found);
    double tolerance = fmax(FLOAT_FLOOR, TIMES_PYTORCH * float32);
    if (strcmp(name, "loss") == 0) return ties > 0 ? LOSS_TOLERANCE : fmin(LOSS_TOLERANCE, tolerance);
    return strncmp(name, "gradient", 8) == 0 ? fmax(ties, tolerance) : tolerance;
}

static inline void judge(run *r, const char *name, double error)
{
    double tolerance = tolerance_of(r, name);
    if (getenv("NNTRAIN_SHOW_ERRORS"))
        print_message("%-13s %-6s %-60s %.1e of %.1e\n", r->name, r->backend->ops->name, name, error,
                      tolerance);
    r->differs = r->differs || !(error <= tolerance);
    if (r->compare && !(error <= tolerance))
        fail_msg("%s on %s: %s is off by %g, more than %g", r->name, r->backend->ops->name, name, error,
                 tolerance);
}

/* A tensor's name and slot. */
typedef struct named {
    const char *name;
    int slot;
} named;

static inline int by_name(const void *a, const void *b)
{
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

/* Slots in the order of their names; without running statistics for gradients. */
static inline named *sorted_slots(run *r, bool gradients, int *n)
{
    named *list = calloc((size_t)nt_net_n_slots(r->net), sizeof *list);
    assert_non_null(list);
    *n = 0;
    for (int s = 0; s < nt_net_n_slots(r->net); s++) {
        const nt_slot *slot = nt_net_get_slot(r->net, s);
        if (!gradients || slot->role != NT_PARAM_STAT) list[(*n)++] = (named){slot->name, s};
    }
    qsort(list, (size_t)*n, sizeof *list, by_name);
    return list;
}

static inline float *read_slot(run *r, int slot, int array, int64_t *n)
{
    *n = nt_shape_elems(nt_net_get_slot(r->net, slot)->tensor.shape);
    float *values = malloc((size_t)*n * sizeof *values);
    assert_non_null(values);
    REF_MUST(nt_net_read(r->net, slot, array, values));
    return values;
}

/* Norm and product with the tensor's random numbers. */
static inline void summarise(run *r, const named *it, int array, double out[2])
{
    char text[NT_NAME_BYTES + 8];
    int64_t n;
    float *values = read_slot(r, it->slot, array, &n);
    double squares = 0, product = 0;
    snprintf(text, sizeof text, "dot %s", it->name);
    uint64_t key = key_of(text);
    for (int64_t i = 0; i < n; i++) {
        squares += (double)values[i] * values[i];
        product += values[i] * uniform(key, i);
    }
    out[0] = sqrt(squares), out[1] = product;
    free(values);
}

/* The table "gradient" or "after"; each row against its norm, or a thousandth of the largest. */
static inline void compare_all(run *r, const char *name, int array)
{
    int n;
    named *list = sorted_slots(r, array == NT_ARRAY_GRAD, &n);
    reference_tensor want = reference_read(r->file, r->name, name);
    assert_int_equal(want.shape.dim[0], n);
    double largest = 0, worst = 0;
    const char *where = "";
    for (int i = 0; i < n; i++)
        largest = fmax(largest, want.values[2 * i]);
    for (int i = 0; i < n; i++) {
        double got[2];
        summarise(r, &list[i], array, got);
        double scale = fmax(want.values[2 * i], 1e-3 * largest);
        for (int k = 0; k < 2; k++) {
            double error = fabs(got[k] - want.values[2 * i + k]) / scale;
            if (error <= worst) continue;
            worst = error; /* a NaN is kept */
            where = list[i].name;
        }
    }
    free(list);
    free(want.values);
    if (getenv("NNTRAIN_SHOW_ERRORS")) print_message("worst: %s\n", where);
    judge(r, name, worst);
}

/* Whole tensors: "gradient_NAME" or "after_NAME". */
static inline void compare_tensors(run *r, const char *prefix, int array)
{
    char name[NT_NAME_BYTES + 16];
    int n_found = 0;
    for (int s = 0; s < nt_net_n_slots(r->net); s++) {
        int64_t n;
        snprintf(name, sizeof name, "%s_%s", prefix, nt_net_get_slot(r->net, s)->name);
        if (!reference_has(r->file, r->name, name)) continue;
        reference_tensor want = reference_read(r->file, r->name, name);
        float *got = read_slot(r, s, array, &n);
        assert_int_equal(nt_shape_elems(want.shape), n);
        double *wide = malloc((size_t)n * sizeof *wide);
        assert_non_null(wide);
        for (int64_t i = 0; i < n; i++)
            wide[i] = got[i];
        double error = reference_error(wide, want.values, n);
        judge(r, name, error);
        free(wide), free(got), free(want.values);
        n_found++;
    }
    assert_true(n_found >= 2);
}

static inline void compare_outputs(run *r)
{
    nt_batch batch = batch_of(r, reference_int(r->file, r->path, "steps"));
    nt_pass pass = {.scale = 1, .share = 1, .seed = 1, .sample = r->sample};
    int64_t n = r->batch * nt_shape_elems(r->model->layer[r->model->output].out);
    float *got = malloc((size_t)n * sizeof *got);
    double *wide = malloc((size_t)n * sizeof *wide);
    assert_true(got && wide);
    batch.target = NULL;
    REF_MUST(nt_net_forward(r->net, NT_MODE_EVAL, &batch, &pass));
    REF_MUST(nt_net_output(r->net, got));
    for (int64_t i = 0; i < n; i++)
        wide[i] = got[i];
    reference_tensor want = reference_read(r->file, r->name, "output");
    assert_int_equal(nt_shape_elems(want.shape), n);
    double error = reference_error(wide, want.values, n);
    judge(r, "output", error);
    free(got), free(wide), free(want.values);
}

/* --- training --- */

static inline double take_step(run *r, int64_t step)
{
    nt_batch batch = batch_of(r, step);
    nt_loss_sum sum;
    nt_pass pass = {.scale = 1.0 / (double)r->batch, .share = 1, .seed = 1, .sample = r->sample};
    const nt_net_step take = {.lr = r->optim->lr, .step = step, .batch = r->batch};
    REF_MUST(nt_net_begin_step(r->net));
    REF_MUST(nt_net_forward(r->net, NT_MODE_TRAIN, &batch, &pass));
    REF_MUST(nt_net_loss(r->net, &sum));
    REF_MUST(nt_net_backward(r->net, &pass, NULL, NULL));
    if (step == 0) {
        compare_all(r, "gradient", NT_ARRAY_GRAD);
        compare_tensors(r, "gradient", NT_ARRAY_GRAD);
    }
    REF_MUST(nt_net_measure_and_update(r->net, &take, 0, nt_net_n_elems(r->net)));
    return sum.loss / (double)r->batch;
}

/* Up to `steps` steps; what is compared after the last only if these are all. */
static inline void train(run *r, int64_t steps)
{
    reference_tensor want = reference_read(r->file, r->name, "loss");
    double worst = 0;
    for (int64_t step = 0; step < steps; step++) {
        double loss = take_step(r, step), error = fabs(loss - want.values[step]) / want.values[step];
        worst = error <= worst ? worst : error;
    }
    judge(r, "loss", worst);
    if (steps == want.shape.dim[0]) {
        compare_all(r, "after", NT_ARRAY_PARAM);
        compare_tensors(r, "after", NT_ARRAY_PARAM);
        compare_outputs(r);
    }
    free(want.values);
}

/* The whole comparison, or that of the first steps. */
static inline void check_run(nt_h5 *file, const char *name, const char *backend, int64_t steps)
{
    run r = {.file = file, .name = name, .compare = true};
    open_run(&r, backend);
    train(&r, steps);
    close_run(&r);
}

/* Whether the comparison finds a thousandth on each weight of the first layer. */
static inline void check_spoiled(nt_h5 *file, const char *name, const char *backend, int64_t steps)
{
    run r = {.file = file, .name = name, .spoil = 1e-3};
    open_run(&r, backend);
    train(&r, steps);
    if (!r.differs) fail_msg("%s: a thousandth on the weights of the first layer goes unnoticed", name);
    close_run(&r);
}

/* As many steps as NNTRAIN_SLOW_TESTS asks for, if that is more than `least`; the file's at most. */
static inline int64_t steps_of(nt_h5 *file, const char *name, int64_t least)
{
    char path[128];
    const char *more = getenv("NNTRAIN_SLOW_TESTS");
    int64_t wanted;
    snprintf(path, sizeof path, "/%s", name);
    int64_t all = reference_int(file, path, "steps");
    if (!more || !nt_text_to_int(more, &wanted) || wanted < least) wanted = least;
    return wanted < all ? wanted : all;
}

static inline void each_network(void (*fn)(nt_h5 *file, const char *name, void *arg))
{
    nt_h5 *file = reference_open("networks");
    reference_each(file, fn, NULL);
    nt_h5_close(file);
}

#endif
