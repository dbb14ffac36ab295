/* Optimizers and schedules against PyTorch: the rate and the weights after each of twenty steps. A case of
 * the file is an [optimizer] section as a user would write it. */
#include "core/average.h"
#include "core/optim.h"
#include "core/schedule.h"
#include "tests/unit/reference.h"

/* Weights and optimizer state of one case. */
typedef struct trained {
    nt_backend *backend;
    int64_t n;
    void *weights, *gradient, *state[NT_MAX_STATES];
    double *norms; /* sums of squares of weights and what they go down by; then a decay */
    void *host;    /* (n) of the real type */
} trained;

static size_t n_bytes(const trained *t)
{
    return (size_t)t->n * nt_dtype_bytes(t->backend->ops->real);
}

static trained start(nt_backend *backend, int64_t n, int n_states)
{
    trained t = {.backend = backend, .n = n};
    REF_MUST(nt_backend_alloc(backend, &t.weights, n_bytes(&t)));
    REF_MUST(nt_backend_alloc(backend, &t.gradient, n_bytes(&t)));
    for (int i = 0; i < n_states; i++)
        REF_MUST(nt_backend_alloc(backend, &t.state[i], n_bytes(&t)));
    REF_MUST(nt_backend_alloc(backend, (void **)&t.norms, 3 * sizeof *t.norms));
    t.host = calloc(1, n_bytes(&t));
    assert_non_null(t.host);
    return t;
}

static void finish(trained *t)
{
    nt_backend_free(t->backend, t->weights, n_bytes(t));
    nt_backend_free(t->backend, t->gradient, n_bytes(t));
    for (int i = 0; i < NT_MAX_STATES; i++)
        nt_backend_free(t->backend, t->state[i], n_bytes(t));
    nt_backend_free(t->backend, t->norms, 3 * sizeof *t->norms);
    free(t->host);
}

static void upload(trained *t, void *to, const double *values)
{
    for (int64_t i = 0; i < t->n; i++) {
        if (t->backend->ops->real == NT_F64)
            ((double *)t->host)[i] = values[i];
        else
            ((float *)t->host)[i] = (float)values[i];
    }
    REF_MUST(nt_backend_upload(t->backend, to, t->host, n_bytes(t)));
    REF_MUST(nt_backend_sync(t->backend));
}

static void download(trained *t, double *values)
{
    REF_MUST(nt_backend_download(t->backend, t->host, t->weights, n_bytes(t)));
    REF_MUST(nt_backend_sync(t->backend));
    for (int64_t i = 0; i < t->n; i++)
        values[i] = t->backend->ops->real == NT_F64 ? ((double *)t->host)[i] : (double)((float *)t->host)[i];
}

static void run_rule(trained *t, const nt_update *u)
{
    REF_MUST(nt_backend_update(t->backend, u, t->weights, t->gradient, t->state[0], t->state[1], t->n));
}

/* The factor on the rate, from the norms of the whole tensor; leaves it where u->ratio reads it. */
static void find_ratio(trained *t, const nt_optim_options *o, nt_update *u)
{
    const nt_ratio ratio = nt_optim_ratio(o);
    const double start[3] = {0, 0, ratio.decays ? u->weight_decay : 0};
    REF_MUST(nt_backend_upload(t->backend, t->norms, start, sizeof start));
    REF_MUST(nt_backend_sum_squares(t->backend, &t->norms[0], t->weights, t->n));
    REF_MUST(nt_backend_sum_squares(t->backend, &t->norms[1], t->gradient, t->n));
    REF_MUST(nt_backend_ratios(t->backend, t->norms, &t->norms[2], NULL, ratio.coefficient, 1));
    u->ratio = t->norms;
}

/* One step, from the parts that core/net.c makes it of. */
static void take_step(trained *t, const nt_optim_options *o, double lr, int64_t step)
{
    nt_update u = nt_optim_prepare(o, lr, step, NT_PARAM_WEIGHT);
    if (o->clip_value > 0) {
        const nt_update limit = {.rule = NT_UPDATE_LIMIT, .limit = o->clip_value};
        REF_MUST(nt_backend_update(t->backend, &limit, t->gradient, t->gradient, NULL, NULL, t->n));
    }
    const bool two_parts = u.rule == NT_UPDATE_LAMB;
    u.s3 = two_parts ? t->gradient : t->state[2];
    if (two_parts) {
        run_rule(t, &u);
        u.rule = NT_UPDATE_STEP;
    }
    if (nt_optim_has_ratio(o, NT_PARAM_WEIGHT)) find_ratio(t, o, &u);
    run_rule(t, &u);
}

/* The options live as long as the config. */
static const nt_optim_options *read_options(nt_h5 *file, const char *name, nt_config **config)
{
    static const nt_section *const sections[] = {&nt_optim_section, &nt_average_section, NULL};
    char path[256];
    snprintf(path, sizeof path, "/%s", name);
    char *text = reference_text(file, path, "config");
    REF_MUST(nt_config_parse(config, name, text, strlen(text), NULL, 0, sections));
    free(text);
    return nt_config_section(*config, &nt_optim_section);
}

static void check_steps(nt_h5 *file, const char *name, nt_backend *backend, const nt_optim_options *o,
                        const double *rates, const double *gradients, const double *weights,
                        const double *metrics, int64_t n_steps, trained *t)
{
    nt_optim_options now = *o;
    nt_plateau plateau = {.lr = 0};
    const int64_t steps_per_epoch = reference_int(file, "/", "steps_per_epoch");
    double *got = calloc((size_t)t->n, sizeof *got);
    assert_non_null(got);
    for (int64_t step = 0; step < n_steps; step++) {
        double lr = nt_schedule_lr(&now, step, n_steps, steps_per_epoch);
        if (!(fabs(lr - rates[step]) <= 1e-13 * rates[0])) /* a few roundings of double */
            fail_msg("%s: the rate of step %d is %.17g, should be %.17g", name, (int)step, lr, rates[step]);
        upload(t, t->gradient, gradients + step * t->n);
        take_step(t, o, lr, step);
        download(t, got);
        double error = reference_error(got, weights + step * t->n, t->n);
        if (!(error <= reference_tolerance(backend)))
            fail_msg("%s: step %d on %s is off by %g", name, (int)step, backend->ops->name, error);
        if (metrics && nt_plateau_take(&plateau, o, metrics[step])) now.lr = plateau.lr;
    }
    free(got);
}

static void check_case(nt_h5 *file, const char *name, void *backend)
{
    nt_config *config;
    const nt_optim_options *o = read_options(file, name, &config);
    reference_tensor begin = reference_read(file, name, "start"), rates = reference_read(file, name, "rates"),
                     gradients = reference_read(file, name, "gradients"),
                     weights = reference_read(file, name, "weights");
    reference_tensor metrics = {.values = NULL};
    if (o->schedule == NT_SCHEDULE_PLATEAU) metrics = reference_read(file, name, "metrics");
    trained t = start(backend, begin.shape.dim[0], nt_optim_n_states(o));
    assert_int_equal(rates.shape.dim[0], 20);
    upload(&t, t.weights, begin.values);
    check_steps(file, name, backend, o, rates.values, gradients.values, weights.values, metrics.values,
                rates.shape.dim[0], &t);
    finish(&t);
    free(begin.values), free(rates.values), free(gradients.values), free(weights.values),
        free(metrics.values);
    nt_config_destroy(config);
}

/* The averages that torch.optim.swa_utils makes of the weights of the file, at each step from where they
 * begin.
 */
static void check_average(nt_h5 *file, const char *name, void *arg)
{
    nt_backend *backend = arg;
    nt_config *config;
    read_options(file, name, &config);
    const nt_average_options *o = nt_config_section(config, &nt_average_section);
    const nt_weights which = o->ema > 0 ? NT_WEIGHTS_EMA : NT_WEIGHTS_SWA;
    if (!nt_average_kept(o, which)) {
        nt_config_destroy(config);
        return;
    }
    reference_tensor weights = reference_read(file, name, "weights"),
                     averages = reference_read(file, name, "averages");
    trained t = start(backend, weights.shape.dim[1], 0); /* weights: the average; gradient: what is added */
    const int64_t n_steps = weights.shape.dim[0], first = n_steps - averages.shape.dim[0];
    double got[64];
    assert_true(t.n <= 64 && first < n_steps);
    for (int64_t step = 0; step < n_steps; step++) {
        const double weight =
            nt_average_weight(o, which, step + 1, reference_int(file, "/", "steps_per_epoch"));
        assert_true((weight == 1) == (step == first));
        upload(&t, t.gradient, weights.values + step * t.n);
        const nt_update u = {.rule = NT_UPDATE_AVERAGE, .lr = weight};
        if (weight > 0) run_rule(&t, &u);
        if (step < first) continue;
        download(&t, got);
        double error = reference_error(got, averages.values + (step - first) * t.n, t.n);
        if (!(error <= reference_tolerance(backend)))
            fail_msg("%s: step %d on %s is off by %g", name, (int)step, backend->ops->name, error);
    }
    finish(&t);
    free(weights.values), free(averages.values);
    nt_config_destroy(config);
}

static void averages(void **state)
{
    (void)state;
    for (int b = 0; b < 3; b++) {
        nt_backend *backend = reference_backend(reference_backends[b]);
        nt_h5 *file = reference_open("optimizers");
        reference_each(file, check_average, backend);
        nt_h5_close(file);
        nt_backend_destroy(backend);
    }
}

static void twenty_steps(void **state)
{
    (void)state;
    for (int b = 0; b < 3; b++) {
        nt_backend *backend = reference_backend(reference_backends[b]);
        nt_h5 *file = reference_open("optimizers");
        reference_each(file, check_case, backend);
        nt_h5_close(file);
        nt_backend_destroy(backend);
    }
}

/* Which choices of an option the file has cases of. */
typedef struct seen {
    const char *key;
    bool choice[64];
} seen;

static void look(nt_h5 *file, const char *name, void *arg)
{
    seen *s = arg;
    nt_config *config;
    const nt_optim_options *o = read_options(file, name, &config);
    s->choice[strcmp(s->key, "type") == 0 ? o->type : o->schedule] = true;
    nt_config_destroy(config);
}

static void every_optimizer_and_schedule_has_a_case(void **state)
{
    (void)state;
    nt_h5 *file = reference_open("optimizers");
    seen both[] = {{.key = "type"}, {.key = "schedule"}};
    for (int i = 0; i < 2; i++) {
        reference_each(file, look, &both[i]);
        for (int k = 0; k < nt_optim_section.n_options; k++) {
            const nt_option *option = &nt_optim_section.options[k];
            for (int c = 0; strcmp(option->key, both[i].key) == 0 && option->choices[c]; c++)
                if (!both[i].choice[c])
                    fail_msg("tests/reference/optimizers.h5 has no case of %s = %s", option->key,
                             option->choices[c]);
        }
    }
    nt_h5_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twenty_steps),
        cmocka_unit_test(averages),
        cmocka_unit_test(every_optimizer_and_schedule_has_a_case),
    };
    return cmocka_run_group_tests_name("reference_optimizers", tests, NULL, NULL);
}
