/* Every layer and loss against PyTorch: outputs and all gradients, on ref64, ref and cpu. A case of the file
 * is a section of a config as a user would write it, so this holds names and defaults of options, too. */
#include "core/layers/batchnorm.h"
#include "core/lone_op.h"
#include "core/model.h"
#include "tests/unit/reference.h"

/* A case on its way. */
typedef struct run {
    nt_h5 *file;
    const char *name;
    nt_backend *backend;
    nt_config *config;
    nt_lone_op *lone;
    nt_pass pass;
    bool spoil;   /* changes an input by thousandths, so that the comparison has to fail */
    double worst; /* largest error, and of what */
    char where[160];
} run;

static int64_t samples[64];

static nt_pass pass_of(nt_h5 *file, int64_t n)
{
    reference_tensor t = reference_read(file, ".", "sample");
    for (int64_t i = 0; i < nt_shape_elems(t.shape); i++)
        samples[i] = (int64_t)t.values[i];
    free(t.values);
    return (nt_pass){.scale = 1 / (double)n,
                     .share = 1,
                     .seed = (uint64_t)reference_int(file, "/", "seed"),
                     .epoch = reference_int(file, "/", "epoch"),
                     .sample = samples};
}

/* The section's type and options, which live as long as the config. */
static void *read_options(run *r, const char **type)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, NULL};
    char path[256];
    snprintf(path, sizeof path, "/%s", r->name);
    char *text = reference_text(r->file, path, "config");
    REF_MUST(nt_config_parse(&r->config, r->name, text, strlen(text), NULL, 0, sections));
    free(text);
    void *options = calloc(1, 4096), *common = calloc(1, nt_layer_section.size);
    assert_true(options && common);
    if (nt_config_n_groups(r->config) == 0) {
        const nt_loss_options *loss = nt_config_section(r->config, &nt_loss_section);
        *type = loss->type;
        memcpy(options, loss, sizeof *loss);
    } else {
        const nt_config_group *group = nt_config_get_group(r->config, 0);
        *type = nt_config_group_value(r->config, group, "type");
        const nt_layer_ops *ops = nt_layer_find(*type);
        assert_non_null(ops);
        assert_true(ops->section.size < 4096);
        REF_MUST(nt_config_parse_group(r->config, group, &nt_layer_section, common, &ops->section, options));
    }
    free(common);
    return options;
}

/* Makes the op with the shapes of the file's inputs. */
static void make_op(run *r)
{
    char name[16], path[256];
    nt_shape in[8];
    int64_t n = 0;
    nt_lone_spec spec = {.in = in, .shares = true, .id = (uint32_t)reference_int(r->file, "/", "layer")};
    snprintf(path, sizeof path, "/%s", r->name);
    spec.training = reference_int(r->file, path, "training");
    for (int k = 0; snprintf(name, sizeof name, "x%d", k), reference_has(r->file, r->name, name); k++) {
        reference_tensor t = reference_read(r->file, r->name, name);
        n = t.shape.dim[0];
        in[k] = (nt_shape){.n_dims = t.shape.n_dims - 1};
        for (int i = 0; i < in[k].n_dims; i++)
            in[k].dim[i] = t.shape.dim[1 + i];
        spec.labels = k == 1 && t.is_integer;
        spec.n_inputs++;
        free(t.values);
    }
    void *options = read_options(r, &spec.type);
    spec.options = options;
    spec.n = n;
    if (nt_lone_create(&r->lone, r->backend, &spec) != NT_OK)
        fail_msg("%s: %s", r->name, nt_error_last()->message);
    free(options);
    r->pass = pass_of(r->file, n);
    double mean_weight;
    int n_values;
    bool found;
    REF_MUST(nt_h5_attr_floats(r->file, path, "mean_weight", &mean_weight, 1, &n_values, &found));
    if (found) r->pass.mean_weight = mean_weight;
}

static void put(run *r, nt_tensor *t, const char *name)
{
    reference_tensor from = reference_read(r->file, r->name, name);
    assert_int_equal(nt_shape_elems(from.shape), nt_shape_elems(t->shape));
    for (int64_t i = 0; r->spoil && strcmp(name, "x0") == 0 && i < nt_shape_elems(from.shape); i++)
        from.values[i] += 1e-3 * (double)(i * i % 11);
    REF_MUST(nt_lone_write(r->lone, t, from.values));
    free(from.values);
}

static void compare(run *r, const nt_tensor *t, const char *name)
{
    reference_tensor want = reference_read(r->file, r->name, name);
    int64_t n = nt_shape_elems(want.shape);
    if (n != nt_shape_elems(t->shape)) fail_msg("%s: %s has another number of elements", r->name, name);
    double *got = calloc((size_t)n, sizeof *got);
    assert_non_null(got);
    REF_MUST(nt_lone_read(r->lone, t, got));
    double error = reference_error(got, want.values, n);
    if (error > r->worst) {
        r->worst = error;
        snprintf(r->where, sizeof r->where, "%s %s on %s", r->name, name, r->backend->ops->name);
    }
    free(got);
    free(want.values);
}

static const char *param_name(const run *r, const char *prefix, int p, char text[64])
{
    snprintf(text, 64, "%s_%s", prefix, r->lone->layer.param[p].name);
    return text;
}

/* Running statistics, which batchnorm leaves to an update of its own. */
static void compare_statistics(run *r)
{
    nt_op *op = &r->lone->op;
    char name[64];
    const nt_batchnorm_options *o = op->options;
    int64_t channels = op->y.shape.dim[1];
    double m = (double)(nt_shape_elems(op->y.shape) / channels);
    const nt_update u = {
        .rule = NT_UPDATE_STAT, .momentum = o->momentum, .grad_scale = 1, .correction1 = m / (m - 1)};
    REF_MUST(nt_backend_update(r->backend, &u, op->param[NT_BN_MEAN].data, op->dparam[NT_BN_MEAN].data,
                               op->param[NT_BN_VAR].data, op->dparam[NT_BN_VAR].data, channels));
    compare(r, &op->param[NT_BN_MEAN], param_name(r, "after", NT_BN_MEAN, name));
    compare(r, &op->param[NT_BN_VAR], param_name(r, "after", NT_BN_VAR, name));
}

static void compare_gradients(run *r)
{
    nt_op *op = &r->lone->op;
    char name[64];
    for (int k = 0; k < op->n_inputs; k++) {
        snprintf(name, sizeof name, "dx%d", k);
        if (op->need_dx[k]) compare(r, &op->dx[k], name);
    }
    for (int p = 0; p < op->n_params; p++)
        if (r->lone->layer.param[p].role != NT_PARAM_STAT)
            compare(r, &op->dparam[p], param_name(r, "dparam", p, name));
    if (strcmp(r->lone->layer.kind, "batchnorm") == 0) compare_statistics(r);
}

static void run_case(run *r)
{
    char name[64];
    make_op(r);
    nt_op *op = &r->lone->op;
    for (int k = 0; k < op->n_inputs; k++) {
        snprintf(name, sizeof name, "x%d", k);
        put(r, &op->x[k], name);
    }
    for (int p = 0; p < op->n_params; p++)
        put(r, &op->param[p], param_name(r, "param", p, name));
    REF_MUST(nt_lone_forward(r->lone, &r->pass));
    compare(r, &op->y, "y");
    if (op->training) {
        if (reference_has(r->file, r->name, "dy")) put(r, &op->dy, "dy");
        REF_MUST(nt_lone_backward(r->lone, &r->pass));
        compare_gradients(r);
    }
    nt_lone_destroy(r->lone);
    nt_config_destroy(r->config);
}

static void check_case(nt_h5 *file, const char *name, void *backend)
{
    run r = {.file = file, .name = name, .backend = backend};
    run_case(&r);
    if (!(r.worst <= reference_tolerance(backend))) fail_msg("%s: off by %g", r.where, r.worst);
}

static void check_part(const char *part)
{
    for (int b = 0; b < 3; b++) {
        nt_backend *backend = reference_backend(reference_backends[b]);
        nt_h5 *file = reference_open(part);
        reference_each(file, check_case, backend);
        nt_h5_close(file);
        nt_backend_destroy(backend);
    }
}

static void layers(void **state)
{
    (void)state;
    check_part("layers");
}

static void losses(void **state)
{
    (void)state;
    check_part("losses");
}

/* --- whether this test can fail, and whether it sees everything --- */

static void expect_difference(nt_h5 *file, const char *name, void *backend)
{
    if (strncmp(name, "embedding", 9) == 0) return; /* its x are integers */
    run r = {.file = file, .name = name, .backend = backend, .spoil = true};
    run_case(&r);
    if (!(r.worst > 1e-5)) fail_msg("%s: a changed input goes unnoticed", name);
}

static void a_changed_input_is_found(void **state)
{
    (void)state;
    nt_backend *backend = reference_backend("ref64");
    nt_h5 *file = reference_open("losses");
    reference_each(file, expect_difference, backend);
    nt_h5_close(file);
    nt_backend_destroy(backend);
}

typedef struct search {
    const char *type;
    bool found;
} search;

static void look_for_type(nt_h5 *file, const char *name, void *arg)
{
    search *s = arg;
    char path[256];
    snprintf(path, sizeof path, "/%s", name);
    char *text = reference_text(file, path, "config");
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (strncmp(line, "type = ", 7) == 0 && strcmp(line + 7, s->type) == 0) s->found = true;
    free(text);
}

static void expect_types(const char *part, const char *const *types)
{
    nt_h5 *file = reference_open(part);
    for (; *types; types++) {
        search s = {.type = *types};
        reference_each(file, look_for_type, &s);
        if (!s.found) fail_msg("tests/reference/%s.h5 has no case of type %s", part, *types);
    }
    nt_h5_close(file);
}

static void every_type_has_a_case(void **state)
{
    (void)state;
    expect_types("layers", nt_layer_types());
    expect_types("losses", nt_loss_types());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers),
        cmocka_unit_test(losses),
        cmocka_unit_test(a_changed_input_is_found),
        cmocka_unit_test(every_type_has_a_case),
    };
    return cmocka_run_group_tests_name("reference_layers", tests, NULL, NULL);
}
