/* Optimizers: the section, the scalars of an update, and the rules themselves as the host backends run them
 * against plain double code written after PyTorch's documentation (torch.optim.SGD, Adam, AdamW), in another
 * order of operations.
 *
 * Tolerances: ref64 differs from the oracle by roundings of double only, some ten operations a step, 1e-13
 * on numbers of size 1. ref and cpu work in float: 5 steps of a few 2^-24 on numbers up to 4 in size, 2e-6.
 * The second moment is a sum of squares without cancellation, so its tolerance is relative: it sees a 1 -
 * 0.999 that was taken in float (1e-5). */
#include "core/backend.h"
#include "core/optim.h"
#include "core/rng.h"
#include "core/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 37, STEPS = 5 };

static nt_optim_options options_from(const char *text)
{
    static const nt_section *const sections[] = {&nt_optim_section, NULL};
    nt_config *config = NULL;
    if (nt_config_parse(&config, "c.ini", text, strlen(text), NULL, 0, sections) != NT_OK)
        fail_msg("%s", nt_error_last()->message);
    nt_optim_options options = *(const nt_optim_options *)nt_config_section(config, &nt_optim_section);
    options.milestones = (nt_ints){0}; /* its memory goes with the config */
    nt_config_destroy(config);
    return options;
}

static void refuse(const char *text, const char *message)
{
    static const nt_section *const sections[] = {&nt_optim_section, NULL};
    nt_config *config = NULL;
    char all[512];
    snprintf(all, sizeof all, "[optimizer]\n%s", text);
    assert_int_equal(nt_config_parse(&config, "c.ini", all, strlen(all), NULL, 0, sections), NT_ERR_CONFIG);
    if (strncmp(nt_error_last()->message, message, strlen(message)) != 0)
        fail_msg("'%s', not '%s'", nt_error_last()->message, message);
}

/* Differences that would keep a run from going on from the other's checkpoint. */
static int differences(const char *one, const char *two)
{
    static const nt_section *const sections[] = {&nt_optim_section, NULL};
    nt_config *a = NULL, *b = NULL;
    char text[512];
    assert_int_equal(nt_config_parse(&a, "a.ini", one, strlen(one), NULL, 0, sections), NT_OK);
    assert_int_equal(nt_config_parse(&b, "b.ini", two, strlen(two), NULL, 0, sections), NT_OK);
    int n = nt_config_diff(a, b, text, sizeof text);
    nt_config_destroy(a);
    nt_config_destroy(b);
    return n;
}

/* Also for checkpoints of the version in which these were the defaults of all types. */
static void test_auto_is_the_number_it_stands_for(void **state)
{
    (void)state;
    const char *old = "[optimizer]\ntype = adam\nbeta2 = 0.999\neps = 1e-8\n";
    assert_int_equal(differences(old, "[optimizer]\ntype = adam\n"), 0);
    assert_int_equal(differences("[optimizer]\ntype = adam\n", old), 0);
    assert_int_equal(differences("[optimizer]\nlr = 0.01\nbeta2 = 0.999\neps = 1e-8\n", "[optimizer]\n"), 0);
    assert_int_equal(differences(old, "[optimizer]\ntype = adam\neps = 1e-6\n"), 1);
    assert_int_equal(differences("[optimizer]\ntype = lamb\neps = 1e-8\n", "[optimizer]\ntype = lamb\n"), 1);
    assert_int_equal(
        differences("[optimizer]\ntype = adamw\nweight_decay = 0\n", "[optimizer]\ntype = adamw\n"), 1);
}

/* What PyTorch's constructors have as defaults, and 0.01 for the rate of SGD. */
static void test_defaults(void **state)
{
    (void)state;
    nt_optim_options o = options_from("[optimizer]\n");
    assert_int_equal(o.type, NT_OPTIM_SGD);
    assert_true(nt_optim_lr(&o) == 0.01);
    assert_true(o.momentum == 0 && !o.nesterov && o.clip_norm == 0 && !o.decay_all);
    nt_update u = nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT);
    assert_true(u.beta1 == 0.9 && u.beta2 == 0.999 && u.eps == 1e-8);
    assert_true(nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT).weight_decay == 0);
    o.type = NT_OPTIM_ADAM;
    assert_true(nt_optim_lr(&o) == 0.001);
    assert_true(nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT).weight_decay == 0);
    o.type = NT_OPTIM_ADAMW;
    assert_true(nt_optim_lr(&o) == 0.001);
    assert_true(nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT).weight_decay == 0.01);
    o.lr = 0.5;
    assert_true(nt_optim_lr(&o) == 0.5);
    o = options_from("[optimizer]\ntype = rmsprop\n");
    u = nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT);
    assert_true(nt_optim_lr(&o) == 0.01 && u.beta2 == 0.99 && u.eps == 1e-8 && u.weight_decay == 0);
    o.type = NT_OPTIM_ADAGRAD;
    assert_true(nt_optim_lr(&o) == 0.01 && nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT).eps == 1e-10);
    o.type = NT_OPTIM_LION;
    assert_true(nt_optim_lr(&o) == 1e-4 && nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT).beta2 == 0.99);
    o.type = NT_OPTIM_LAMB;
    u = nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT);
    assert_true(nt_optim_lr(&o) == 0.001 && u.eps == 1e-6 && u.weight_decay == 0.01 && u.beta2 == 0.999);
}

static void fault_74_rates_that_do_not_train(void **state)
{
    (void)state;
    refuse("lr = 0\n", "c.ini:2:6: optimizer.lr = 0: must be greater than 0");
    refuse("lr = -1\n", "c.ini:2:6: optimizer.lr = -1: must be greater than 0");
    refuse("lr = 1e999\n", "c.ini:2:6: optimizer.lr = 1e999: must be a finite decimal number");
    refuse("momentum = 1\n", "c.ini:2:12: optimizer.momentum = 1: must be at least 0 and less than 1");
    refuse("beta2 = 1\n", "c.ini:2:9: optimizer.beta2 = 1: must be at least 0 and less than 1");
    refuse("eps = 0\n", "c.ini:2:7: optimizer.eps = 0: must be greater than 0");
    refuse("warmup = -1\n", "c.ini:2:10: optimizer.warmup = -1: must be at least 0");
    refuse("type = admw\n",
           "c.ini:2:8: optimizer.type = admw: must be one of sgd, adam, adamw, rmsprop, adagrad, lion, lars, "
           "lamb; did you mean 'adamw'?");
    refuse("clip_value = -1\n", "c.ini:2:14: optimizer.clip_value = -1: must be at least 0");
    refuse("type = lars\ntrust = 0\n", "c.ini:3:9: optimizer.trust = 0: must be greater than 0");
}

static void test_keys_without_meaning(void **state)
{
    (void)state;
    refuse("type = adam\nmomentum = 0.9\n",
           "c.ini:3:12: optimizer.momentum is for sgd, rmsprop and lars; adam has beta1");
    refuse("type = adagrad\nmomentum = 0.9\n",
           "c.ini:3:12: optimizer.momentum is for sgd, rmsprop and lars; adagrad has none");
    refuse("centered = yes\n", "c.ini:2:12: optimizer.centered is for rmsprop, not for sgd");
    refuse("clip_value = 1\nclip_norm = 1\n",
           "c.ini:2:14: optimizer.clip_value and optimizer.clip_norm exclude each other");
    refuse("type = adam\nnesterov = yes\n", "c.ini:3:12: optimizer.nesterov is for sgd");
    refuse("nesterov = yes\n", "c.ini:2:12: optimizer.nesterov needs a momentum");
    refuse("schedule = step\n", "c.ini:1:2: schedule = step needs step_every in steps or epochs");
    refuse("schedule = exponential\nstep_every = 5 minutes\n",
           "c.ini:3:14: schedule = exponential needs step_every");
    refuse("schedule = sgdr\n", "c.ini:1:2: schedule = sgdr needs restart_every in steps or epochs");
    refuse("schedule = wsd\ndecay_for = 3 minutes\n",
           "c.ini:3:13: schedule = wsd needs decay_for in steps or epochs");
    refuse("schedule = plateau\ngamma = 2\n", "c.ini:3:9: schedule = plateau needs a gamma below 1");
    refuse("schedule = one_cycle\nwarmup = 5\n", "c.ini:3:10: schedule = one_cycle has its own warm-up");
    refuse("schedule = one_cycle\npct_start = 1.5\n", "c.ini:3:13: optimizer.pct_start = 1.5: must be");
    refuse("schedule = multistep\n", "c.ini:1:2: schedule = multistep needs milestones");
    refuse("milestones = 3, 3\n", "c.ini:2:14: optimizer.milestones must ascend, but 3 follows 3");
    refuse("lr = 0.1\nmin_lr = 0.2\n", "c.ini:3:10: optimizer.min_lr = 0.2 is above the rate");
}

static void test_states(void **state)
{
    (void)state;
    nt_optim_options o = options_from("[optimizer]\n");
    assert_int_equal(nt_optim_n_states(&o), 0);
    assert_null(nt_optim_state_name(&o, 0));
    o.momentum = 0.9;
    assert_int_equal(nt_optim_n_states(&o), 1);
    assert_string_equal(nt_optim_state_name(&o, 0), "momentum");
    assert_null(nt_optim_state_name(&o, 1));
    o = options_from("[optimizer]\ntype = adamw\n");
    assert_int_equal(nt_optim_n_states(&o), 2);
    assert_string_equal(nt_optim_state_name(&o, 0), "exp_avg");
    assert_string_equal(nt_optim_state_name(&o, 1), "exp_avg_sq");
    assert_null(nt_optim_state_name(&o, 2));
    assert_null(nt_optim_state_name(&o, -1));
    o = options_from("[optimizer]\ntype = rmsprop\nmomentum = 0.5\n");
    assert_int_equal(nt_optim_n_states(&o), 2);
    assert_string_equal(nt_optim_state_name(&o, 1), "momentum");
    o.centered = true;
    assert_int_equal(nt_optim_n_states(&o), 3);
    assert_string_equal(nt_optim_state_name(&o, 1), "grad_avg");
    assert_string_equal(nt_optim_state_name(&o, 2), "momentum");
    o = options_from("[optimizer]\ntype = lion\n");
    assert_int_equal(nt_optim_n_states(&o), 1);
}

/* As published: weights only. */
static void test_ratios_by_role(void **state)
{
    (void)state;
    nt_optim_options o = options_from("[optimizer]\ntype = lars\n");
    assert_true(nt_optim_has_ratio(&o, NT_PARAM_WEIGHT));
    assert_false(nt_optim_has_ratio(&o, NT_PARAM_BIAS) || nt_optim_has_ratio(&o, NT_PARAM_NORM));
    o.type = NT_OPTIM_LAMB;
    assert_true(nt_optim_has_ratio(&o, NT_PARAM_WEIGHT));
    assert_false(nt_optim_has_ratio(&o, NT_PARAM_BIAS) || nt_optim_has_ratio(&o, NT_PARAM_NORM));
    o.type = NT_OPTIM_ADAM;
    assert_false(nt_optim_has_ratio(&o, NT_PARAM_WEIGHT));
}

static void test_decay_by_role(void **state)
{
    (void)state;
    nt_optim_options o = options_from("[optimizer]\nweight_decay = 0.5\n");
    static const nt_param_role others[] = {NT_PARAM_BIAS, NT_PARAM_NORM};
    assert_true(nt_optim_prepare(&o, 1, 0, NT_PARAM_WEIGHT).weight_decay == 0.5);
    for (int i = 0; i < 2; i++) {
        o.decay_all = false;
        assert_true(nt_optim_prepare(&o, 1, 0, others[i]).weight_decay == 0);
        o.decay_all = true;
        assert_true(nt_optim_prepare(&o, 1, 0, others[i]).weight_decay == 0.5);
    }
}

static void test_scalars(void **state)
{
    (void)state;
    nt_optim_options o = options_from("[optimizer]\nmomentum = 0.9\nnesterov = yes\n");
    nt_update u = nt_optim_prepare(&o, 0.25, 3, NT_PARAM_WEIGHT);
    assert_int_equal(u.rule, NT_UPDATE_SGD);
    assert_true(u.lr == 0.25 && u.momentum == 0.9 && u.nesterov && u.grad_scale == 1);
    o = options_from("[optimizer]\ntype = adam\n");
    double kept1 = 1, kept2 = 1; /* beta^t by multiplication */
    for (int64_t step = 0; step < 2000; step++) {
        kept1 *= 0.9;
        kept2 *= 0.999;
        u = nt_optim_prepare(&o, 0.25, step, NT_PARAM_WEIGHT);
        assert_int_equal(u.rule, NT_UPDATE_ADAM);
        assert_false(u.decoupled);
        assert_true(u.beta1 == 0.9 && u.beta2 == 0.999 && u.eps == 1e-8);
        assert_true(fabs(u.correction1 - (1 - kept1)) < 1e-13 && fabs(u.correction2 - (1 - kept2)) < 1e-13);
    }
    o.type = NT_OPTIM_ADAMW;
    assert_true(nt_optim_prepare(&o, 0.25, 0, NT_PARAM_WEIGHT).decoupled);
    assert_true(nt_optim_prepare(&o, 1, INT64_C(1) << 60, NT_PARAM_WEIGHT).correction2 == 1);
}

/* ---- the rules ---- */

/* One parameter element with its own memory, as torch.optim would treat it. */
typedef struct element {
    double p, buffer, exp_avg, exp_avg_sq;
} element;

static void oracle_sgd(const nt_optim_options *o, element *e, double g, double lr, double decay, bool first)
{
    g += decay * e->p;
    if (o->momentum != 0) {
        e->buffer = first ? g : o->momentum * e->buffer + g;
        g = o->nesterov ? g + o->momentum * e->buffer : e->buffer;
    }
    e->p -= lr * g;
}

static void oracle_adam(const nt_optim_options *o, element *e, double g, double lr, double decay, int step)
{
    if (o->type == NT_OPTIM_ADAMW)
        e->p *= 1 - lr * decay;
    else
        g += decay * e->p;
    e->exp_avg += (g - e->exp_avg) * (1 - o->beta1);
    double beta2 = isnan(o->beta2) ? 0.999 : o->beta2, eps = isnan(o->eps) ? 1e-8 : o->eps;
    e->exp_avg_sq = e->exp_avg_sq * beta2 + g * g * (1 - beta2);
    double step_size = lr / (1 - pow(o->beta1, step)), root = sqrt(1 - pow(beta2, step));
    e->p -= step_size * e->exp_avg / (sqrt(e->exp_avg_sq) / root + eps);
}

static double random_value(int step, int i)
{
    double z[2];
    nt_philox words = nt_rng_block(12, NT_RNG_TEST, 0, (uint32_t)i, (uint32_t)step, 0);
    nt_rng_normal(words.v[0], words.v[1], z);
    return (float)z[0]; /* the same number for float and double backends */
}

/* Arrays of a backend's real type on its memory. */
static void put(nt_backend *b, void *dst, const double *values)
{
    float as_float[N];
    bool is_double = b->ops->real == NT_F64;
    for (int i = 0; i < N; i++)
        as_float[i] = (float)values[i];
    const void *src = is_double ? (const void *)values : as_float;
    assert_int_equal(nt_backend_upload(b, dst, src, N * nt_dtype_bytes(b->ops->real)), NT_OK);
}

static void get(nt_backend *b, double *values, const void *src)
{
    float as_float[N];
    bool is_double = b->ops->real == NT_F64;
    void *dst = is_double ? (void *)values : as_float;
    assert_int_equal(nt_backend_download(b, dst, src, N * nt_dtype_bytes(b->ops->real)), NT_OK);
    for (int i = 0; i < N && !is_double; i++)
        values[i] = as_float[i];
}

static void expect_near(const char *what, int step, double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("%s after step %d: %.17g, not %.17g", what, step, got, expected);
}

/* STEPS steps of the options on a backend, with a changing rate and a factor on the gradients. */
static void run_rule(const char *name, const nt_optim_options *o, double decay, double grad_scale,
                     double tolerance)
{
    nt_backend_options backend_options = {.threads = 1};
    nt_backend *b;
    void *p, *g, *s1, *s2;
    double values[N];
    element e[N] = {0};
    size_t n_bytes = N * sizeof(double);
    assert_int_equal(nt_backend_create(&b, name, &backend_options), NT_OK);
    assert_int_equal(nt_backend_alloc(b, &p, n_bytes), NT_OK);
    assert_int_equal(nt_backend_alloc(b, &g, n_bytes), NT_OK);
    assert_int_equal(nt_backend_alloc(b, &s1, n_bytes), NT_OK);
    assert_int_equal(nt_backend_alloc(b, &s2, n_bytes), NT_OK);
    for (int i = 0; i < N; i++)
        values[i] = e[i].p = random_value(100, i);
    put(b, p, values);
    for (int step = 0; step < STEPS; step++) {
        double lr = 0.1 / (step + 1);
        for (int i = 0; i < N; i++) {
            values[i] = random_value(step, i);
            if (o->type == NT_OPTIM_SGD)
                oracle_sgd(o, &e[i], grad_scale * values[i], lr, decay, step == 0);
            else
                oracle_adam(o, &e[i], grad_scale * values[i], lr, decay, step + 1);
        }
        put(b, g, values);
        nt_update u = nt_optim_prepare(o, lr, step, NT_PARAM_WEIGHT);
        int n_states = nt_optim_n_states(o);
        u.grad_scale = grad_scale;
        assert_int_equal(
            nt_backend_update(b, &u, p, g, n_states > 0 ? s1 : NULL, n_states > 1 ? s2 : NULL, N), NT_OK);
        assert_int_equal(nt_backend_sync(b), NT_OK);
        get(b, values, p);
        for (int i = 0; i < N; i++)
            expect_near(name, step, values[i], e[i].p, tolerance);
        get(b, values, s1);
        for (int i = 0; i < N; i++)
            expect_near("state 1", step, values[i], o->type == NT_OPTIM_SGD ? e[i].buffer : e[i].exp_avg,
                        tolerance);
        get(b, values, s2);
        for (int i = 0; i < N; i++)
            expect_near("state 2", step, values[i], e[i].exp_avg_sq, tolerance * e[i].exp_avg_sq);
    }
    nt_backend_free(b, p, n_bytes);
    nt_backend_free(b, g, n_bytes);
    nt_backend_free(b, s1, n_bytes);
    nt_backend_free(b, s2, n_bytes);
    nt_backend_destroy(b);
}

static void run_all(const char *text, double decay)
{
    nt_optim_options o = options_from(text);
    run_rule("ref64", &o, decay, 1, 1e-13);
    run_rule("ref64", &o, decay, 0.25, 1e-13);
    run_rule("ref", &o, decay, 1, 2e-6);
    run_rule("cpu", &o, decay, 1, 2e-6);
}

static void test_sgd(void **state)
{
    (void)state;
    run_all("[optimizer]\n", 0);
    run_all("[optimizer]\nweight_decay = 0.1\n", 0.1);
    run_all("[optimizer]\nmomentum = 0.9\n", 0);
    run_all("[optimizer]\nmomentum = 0.9\nweight_decay = 0.1\n", 0.1);
    run_all("[optimizer]\nmomentum = 0.9\nnesterov = yes\nweight_decay = 0.1\n", 0.1);
}

static void test_adam(void **state)
{
    (void)state;
    run_all("[optimizer]\ntype = adam\n", 0);
    run_all("[optimizer]\ntype = adam\nweight_decay = 0.1\n", 0.1);
    run_all("[optimizer]\ntype = adam\nbeta1 = 0\nbeta2 = 0.5\neps = 0.1\n", 0);
}

static void test_adamw(void **state)
{
    (void)state;
    run_all("[optimizer]\ntype = adamw\n", 0.01);
    run_all("[optimizer]\ntype = adamw\nweight_decay = 0.3\nbeta1 = 0.5\n", 0.3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_auto_is_the_number_it_stands_for),
        cmocka_unit_test(fault_74_rates_that_do_not_train),
        cmocka_unit_test(test_keys_without_meaning),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_ratios_by_role),
        cmocka_unit_test(test_decay_by_role),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_sgd),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_adamw),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
