/* The net: planned memory against no sharing at all (bit for bit), gradients of a branching graph against
 * finite differences, and the order of the flat arenas.
 *
 * The graph has all that makes a memory plan hard: a residual add whose input is read twice, a concat, an
 * in-place activation after a layer that keeps its output, a flatten (view), dropout and batchnorm. */
#include "core/gradcheck.h"
#include "core/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N       5
#define CLASSES 3
#define X_ELEMS (2 * 6 * 6)

static const char graph[] =
    "[layer a]\ntype = conv2d\nfilters = 4\nkernel = 3\npadding = same\nbatchnorm = yes\n"
    "activation = tanh\n"
    "[layer b]\ntype = conv2d\nfilters = 4\nkernel = 3\npadding = same\nactivation = silu\n"
    "[layer c]\ntype = add\ninput = a, b\nactivation = gelu\n"
    "[layer d]\ntype = conv2d\ninput = c\nfilters = 3\nkernel = 1\n"
    "[layer e]\ntype = concat\ninput = c, d, a\nactivation = elu\n"
    "[layer twice]\ntype = add\ninput = e, e\n"
    "[layer pool]\ntype = avg_pool\nkernel = 2\n"
    "[layer flat]\ntype = flatten\n"
    "[layer drop]\ntype = dropout\nrate = 0.25\n"
    "[layer out]\ntype = linear\nunits = 3\n";

typedef struct fixture {
    nt_config *config;
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
} fixture;

static float x_data[N * X_ELEMS];
static int32_t target_data[N];
static int64_t sample_data[N];

static nt_batch make_batch(void)
{
    for (int i = 0; i < N * X_ELEMS; i++)
        x_data[i] = (float)((i * 37) % 101) / 50.0f - 1.0f;
    for (int i = 0; i < N; i++) {
        target_data[i] = i % CLASSES;
        sample_data[i] = 10 + 3 * i;
    }
    return (nt_batch){.n = N, .x = x_data, .target = target_data, .sample = sample_data};
}

static void set_up(fixture *f, const char *backend, bool no_reuse)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section,
                                                 NULL};
    nt_sample_spec spec = {.x_dtype = NT_F32,
                           .x = nt_shape_of(3, (int64_t)2, (int64_t)6, (int64_t)6),
                           .target = NT_TARGET_CLASS,
                           .n_classes = CLASSES,
                           .input = {.scale = 1}};
    nt_backend_options options = {.threads = 1};
    assert_int_equal(nt_config_parse(&f->config, "test", graph, strlen(graph), NULL, 0, sections), NT_OK);
    nt_status status = nt_model_create(&f->model, f->config, &spec);
    if (status != NT_OK) fail_msg("%s", nt_error_last()->message);
    assert_int_equal(nt_backend_create(&f->backend, backend, &options), NT_OK);
    assert_int_equal(nt_tuning_create(&f->tuning, false), NT_OK);
    nt_net_options net_options = {.seed = 7,
                                  .tuning = f->tuning,
                                  .no_reuse = no_reuse,
                                  .optim = nt_config_section(f->config, &nt_optim_section)};
    assert_int_equal(nt_net_create(&f->net, f->model, f->backend, &net_options), NT_OK);
    assert_int_equal(nt_net_want(f->net, NT_MODE_EVAL, N), NT_OK);
    assert_int_equal(nt_net_want(f->net, NT_MODE_TRAIN, N), NT_OK);
    status = nt_net_build(f->net);
    if (status != NT_OK) fail_msg("%s", nt_error_last()->message);
}

static void tear_down(fixture *f)
{
    nt_net_destroy(f->net);
    nt_tuning_destroy(f->tuning);
    nt_backend_destroy(f->backend);
    nt_model_destroy(f->model);
    nt_config_destroy(f->config);
}

static double train_steps(fixture *f, int n_steps)
{
    nt_batch batch = make_batch();
    nt_pass pass = {.scale = 1.0 / N, .share = 1, .seed = 7, .sample = sample_data};
    nt_loss_sum sum = {0};
    for (int step = 0; step < n_steps; step++) {
        assert_int_equal(nt_net_forward(f->net, NT_MODE_TRAIN, &batch, &pass), NT_OK);
        assert_int_equal(nt_net_backward(f->net, &pass, NULL, NULL), NT_OK);
        assert_int_equal(nt_net_loss(f->net, &sum), NT_OK);
        assert_int_equal(nt_net_update(f->net, &(nt_net_step){0.1, step, N, NULL}), NT_OK);
    }
    return sum.loss;
}

static void check_no_reuse(const char *backend)
{
    fixture shared, apart;
    set_up(&shared, backend, false);
    set_up(&apart, backend, true);
    assert_true(nt_net_get_memory(shared.net).activations < nt_net_get_memory(apart.net).activations);
    double a = train_steps(&shared, 5), b = train_steps(&apart, 5);
    assert_true(a == b);
    size_t n_bytes = (size_t)nt_net_n_elems(shared.net) * nt_dtype_bytes(shared.backend->ops->real);
    assert_memory_equal(nt_net_params(shared.net), nt_net_params(apart.net), n_bytes);
    tear_down(&shared);
    tear_down(&apart);
}

static void test_planned_memory_computes_the_same_bits_ref(void **state)
{
    (void)state;
    check_no_reuse("ref");
}

static void test_planned_memory_computes_the_same_bits_cpu(void **state)
{
    (void)state;
    check_no_reuse("cpu");
}

/* 1e-6: double arithmetic with epsilon 1e-5 leaves about 1e-9 of truncation and rounding; a wrong sum of
 * branches is of order 1. */
static void test_gradients_of_a_branching_graph(void **state)
{
    (void)state;
    fixture f;
    nt_gradcheck_result result;
    set_up(&f, "ref64", false);
    nt_batch batch = make_batch();
    nt_status status = nt_gradcheck_net(f.net, &batch, 1e-5, 20, &result);
    if (status != NT_OK) fail_msg("%s", nt_error_last()->message);
    if (!(result.worst < 1e-6)) fail_msg("%s: %g", result.where, result.worst);
    tear_down(&f);
}

/* Training makes the loss fall: forward, backward and update fit together. */
static void test_training_learns(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, "ref", false);
    double first = train_steps(&f, 1), last = train_steps(&f, 60);
    assert_true(last < 0.5 * first);
    tear_down(&f);
}

typedef struct ready_log {
    int64_t end;
    int calls;
} ready_log;

static nt_status on_ready(void *arg, int64_t begin, int64_t end)
{
    ready_log *log = arg;
    assert_true(begin == log->end && end > begin);
    log->end = end;
    log->calls++;
    return NT_OK;
}

/* Gradients become ready in ascending ranges without holes, and cover the arena. */
static void test_ready_ranges_cover_the_arena(void **state)
{
    (void)state;
    fixture f;
    ready_log log = {0};
    set_up(&f, "ref", false);
    nt_batch batch = make_batch();
    nt_pass pass = {.scale = 1.0 / N, .share = 1, .seed = 7, .sample = sample_data};
    assert_int_equal(nt_net_forward(f.net, NT_MODE_TRAIN, &batch, &pass), NT_OK);
    assert_int_equal(nt_net_backward(f.net, &pass, on_ready, &log), NT_OK);
    assert_int_equal(log.end, nt_net_n_elems(f.net));
    assert_int_equal(log.calls, 6); /* out, d, b, a.bn, a; statistics */
    assert_string_equal(nt_net_get_slot(f.net, 0)->name, "out.weight");
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planned_memory_computes_the_same_bits_ref),
        cmocka_unit_test(test_planned_memory_computes_the_same_bits_cpu),
        cmocka_unit_test(test_gradients_of_a_branching_graph),
        cmocka_unit_test(test_training_learns),
        cmocka_unit_test(test_ready_ranges_cover_the_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
