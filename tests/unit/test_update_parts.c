/* LARS and LAMB through the net, whose step needs norms of whole tensors: the step at once, bucket by bucket,
 * and in ranges that cut tensors, as ranks take it that share the optimizer's state; and all of them against
 * the published formulas in double, on the net's own gradients.
 *
 * Tolerances. Ways differ by the order of sums in double, which reaches a float through a ratio near 1: one
 * rounding of the weight. The oracle is in double, a step in float has ten operations or so: 1e-6. */
#include "net_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 5, F = 37, CLASSES = 3, STEPS = 4 };

#define GRAPH                                                                                                \
    "[layer a]\ntype = linear\nunits = 41\nbatchnorm = yes\nactivation = relu\n"                             \
    "[layer b]\ntype = linear\nunits = 3\n"

static void open_job(job *j, const char *backend, const char *optimizer)
{
    char text[1024];
    snprintf(text, sizeof text, GRAPH "[optimizer]\n%s", optimizer);
    MUST(job_make_model(j, text, nt_shape_of(1, (int64_t)F), CLASSES));
    job_build(j, backend, N);
}

static void make_gradients(job *j, int64_t step)
{
    static float x[N * F];
    static int32_t target[N];
    static int64_t sample[N];
    for (int i = 0; i < N * F; i++)
        x[i] = (float)((i * 37 + step * 11) % 101) / 50.0f - 1.0f;
    for (int i = 0; i < N; i++)
        target[i] = (int32_t)((i + step) % CLASSES);
    const nt_batch batch = {.n = N, .x = x, .target = target, .sample = sample};
    const nt_pass pass = {.scale = 1.0 / N, .share = 1, .sample = sample};
    MUST(nt_net_begin_step(j->net));
    MUST(nt_net_forward(j->net, NT_MODE_TRAIN, &batch, &pass));
    MUST(nt_net_backward(j->net, &pass, NULL, NULL));
}

/* Ways to take a step. */

static void at_once(job *j, const nt_net_step *step)
{
    MUST(nt_net_update(j->net, step));
}

static void by_layers(job *j, const nt_net_step *step)
{
    const int64_t cut = nt_net_get_slot(j->net, 2)->offset; /* behind b */
    MUST(nt_net_measure_and_update(j->net, step, 0, cut));
    MUST(nt_net_measure_and_update(j->net, step, cut, nt_net_n_elems(j->net)));
}

/* Two ranks with half of the elements each would see these sums; statistics are not part of it. */
static void in_ranges(job *j, const nt_net_step *step)
{
    const int64_t n = nt_net_n_elems(j->net), cut = n / 2 + 3;
    const int n_sums = nt_net_n_ratio_sums(j->net);
    double first[8];
    assert_true(n_sums > 0 && n_sums <= 8);
    MUST(nt_net_measure_ratios(j->net, step, 0, cut));
    memcpy(first, nt_net_ratio_sums(j->net), (size_t)n_sums * sizeof *first);
    MUST(nt_net_measure_ratios(j->net, step, cut, n));
    for (int i = 0; i < n_sums; i++)
        nt_net_ratio_sums(j->net)[i] += first[i];
    MUST(nt_net_make_ratios(j->net, step));
    MUST(nt_net_update_range(j->net, step, 0, cut));
    MUST(nt_net_update_range(j->net, step, cut, n));
}

typedef void (*way_fn)(job *j, const nt_net_step *step);

static void expect_same(const job *a, const job *b)
{
    for (int s = 0; s < nt_net_n_slots(a->net); s++) {
        const nt_slot *slot = nt_net_get_slot(a->net, s);
        const float *x = (const float *)nt_net_params(a->net) + slot->offset,
                    *y = (const float *)nt_net_params(b->net) + slot->offset;
        for (int64_t i = 0; slot->role != NT_PARAM_STAT && i < slot->n_elems; i++)
            if (!(fabsf(x[i] - y[i]) <= 0x1p-23f * fmaxf(1, fabsf(x[i]))))
                fail_msg("%s[%lld]: %.9g and %.9g", slot->name, (long long)i, (double)x[i], (double)y[i]);
    }
}

static void compare_ways(const char *backend, const char *optimizer)
{
    static const way_fn ways[] = {by_layers, in_ranges};
    for (size_t w = 0; w < 2; w++) {
        job a, b;
        open_job(&a, backend, optimizer);
        open_job(&b, backend, optimizer);
        for (int64_t i = 0; i < STEPS; i++) {
            const nt_net_step step = {.lr = 0.05, .step = i, .batch = N};
            make_gradients(&a, i);
            at_once(&a, &step);
            /* the same start, so that differences do not add up */
            make_gradients(&b, i);
            ways[w](&b, &step);
            expect_same(&a, &b);
            memcpy(nt_net_params(b.net), nt_net_params(a.net), (size_t)nt_net_n_elems(a.net) * 4);
            for (int k = 0; k < NT_MAX_STATES && nt_net_state(a.net, k); k++)
                memcpy(nt_net_state(b.net, k), nt_net_state(a.net, k), (size_t)nt_net_n_elems(a.net) * 4);
        }
        job_close(&a);
        job_close(&b);
    }
}

static const char lars[] = "type = lars\nmomentum = 0.9\nweight_decay = 0.01\ntrust = 0.1\n";
static const char lamb[] = "type = lamb\nweight_decay = 0.1\n";

static void all_ways_are_one(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu"};
    for (int b = 0; b < 2; b++) {
        compare_ways(backends[b], lars);
        compare_ways(backends[b], lamb);
        compare_ways(backends[b], "type = lamb\nclip_value = 0.01\n");
    }
}

/* First step of a slot, where moments and velocity were zero: LARS and LAMB as in their papers. */
static void oracle(bool is_lamb, bool is_weight, double *p, const double *g, double lr, int64_t n)
{
    double norm_p = 0, norm_g = 0, down[64 * 64];
    const double decay = !is_weight ? 0 : is_lamb ? 0.1 : 0.01;
    for (int64_t i = 0; i < n; i++) {
        down[i] = is_lamb ? g[i] / (sqrt(g[i] * g[i]) + 1e-6) + decay * p[i] : g[i];
        norm_p += p[i] * p[i];
        norm_g += down[i] * down[i];
    }
    double ratio =
        is_lamb ? sqrt(norm_p) / sqrt(norm_g) : 0.1 * sqrt(norm_p) / (sqrt(norm_g) + decay * sqrt(norm_p));
    for (int64_t i = 0; i < n; i++)
        p[i] -= lr * (is_weight ? ratio : 1) * (is_lamb ? down[i] : g[i] + decay * p[i]);
}

static void check_first_step(const char *backend, bool is_lamb)
{
    job j;
    static double p[8][64 * 64], g[64 * 64];
    open_job(&j, backend, is_lamb ? lamb : lars);
    make_gradients(&j, 0);
    for (int s = 0; s < nt_net_n_slots(j.net); s++) {
        const nt_slot *slot = nt_net_get_slot(j.net, s);
        for (int64_t i = 0; i < slot->n_elems; i++) {
            p[s][i] = (double)((const float *)nt_net_params(j.net))[slot->offset + i];
            g[i] = (double)((const float *)nt_net_grads(j.net))[slot->offset + i];
        }
        oracle(is_lamb, slot->role == NT_PARAM_WEIGHT, p[s], g, 0.05, slot->n_elems);
    }
    at_once(&j, &(nt_net_step){.lr = 0.05, .step = 0, .batch = N});
    for (int s = 0; s < nt_net_n_slots(j.net); s++) {
        const nt_slot *slot = nt_net_get_slot(j.net, s);
        const float *got = (const float *)nt_net_params(j.net) + slot->offset;
        for (int64_t i = 0; slot->role != NT_PARAM_STAT && i < slot->n_elems; i++)
            if (!(fabs((double)got[i] - p[s][i]) <= 1e-6))
                fail_msg("%s[%lld]: %.9g, not %.9g", slot->name, (long long)i, (double)got[i], p[s][i]);
    }
    job_close(&j);
}

static void as_published(void **state)
{
    (void)state;
    check_first_step("ref", false);
    check_first_step("ref", true);
    check_first_step("cpu", false);
    check_first_step("cpu", true);
}

/* A step whose verdict is not finite: neither moments nor weights move, in either part. */
static void fault_93_nothing_moves_without_a_verdict(void **state)
{
    (void)state;
    static const char *const optimizers[] = {lars, lamb};
    const double nan = (double)NAN;
    for (int k = 0; k < 2; k++) {
        job j;
        open_job(&j, "cpu", optimizers[k]);
        const size_t n_bytes = (size_t)nt_net_n_elems(j.net) * 4;
        void *before = malloc(n_bytes);
        assert_non_null(before);
        memcpy(before, nt_net_params(j.net), n_bytes);
        make_gradients(&j, 0);
        at_once(&j, &(nt_net_step){.lr = 0.05, .step = 0, .batch = N, .scale = &nan});
        assert_memory_equal(before, nt_net_params(j.net), n_bytes);
        memset(before, 0, n_bytes);
        assert_memory_equal(before, nt_net_state(j.net, 0), n_bytes);
        free(before);
        job_close(&j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ways_are_one),
        cmocka_unit_test(as_published),
        cmocka_unit_test(fault_93_nothing_moves_without_a_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
