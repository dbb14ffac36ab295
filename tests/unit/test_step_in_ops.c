/* Weights that their op updates itself while it makes their gradient (one rank, one piece, nothing clipped),
 * against the gradient and the update apart, through the stepper: the same bits after some steps, and the
 * same slot is blamed where a gradient is not finite. The way apart is taken where steps are to be skipped:
 * then the verdict has to come before the update. */
#include "core/backends/cpu/fc.h"
#include "dist/step.h"
#include "tests/unit/op_pair.h"

enum { N = 24, F = 70, HIDDEN = 80, CLASSES = 5, STEPS = 6 };

typedef struct job {
    nt_config *config;
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
    nt_comm comm;
    nt_stepper *stepper;
} job;

static void build_net(job *j, nt_precision precision)
{
    const nt_backend_options options = {.threads = 1, .precision = precision};
    pair_ok(nt_backend_create(&j->backend, "cpu", &options));
    pair_ok(nt_tuning_create(&j->tuning, false));
    const nt_net_options net_options = {
        .seed = 3, .tuning = j->tuning, .optim = nt_config_section(j->config, &nt_optim_section)};
    pair_ok(nt_net_create(&j->net, j->model, j->backend, &net_options));
    pair_ok(nt_net_want(j->net, NT_MODE_TRAIN, N));
    pair_ok(nt_net_build(j->net));
}

static void build(job *j, const char *optimizer, nt_nan_policy policy, nt_precision precision)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section,
                                                 NULL};
    const nt_sample_spec spec = {.x_dtype = NT_F32,
                                 .x = nt_shape_of(1, (int64_t)F),
                                 .target = NT_TARGET_CLASS,
                                 .n_classes = CLASSES,
                                 .input = {.scale = 1}};
    char text[1024];
    snprintf(text, sizeof text,
             "[layer f1]\ntype = linear\nunits = %d\nactivation = relu\n"
             "[layer f2]\ntype = linear\nunits = %d\nactivation = relu\n"
             "[layer f3]\ntype = linear\nunits = %d\n[loss]\ntype = cross_entropy\n[optimizer]\n%s",
             HIDDEN, HIDDEN, CLASSES, optimizer);
    pair_ok(nt_config_parse(&j->config, "test", text, strlen(text), NULL, 0, sections));
    pair_ok(nt_model_create(&j->model, j->config, &spec));
    build_net(j, precision);
    j->comm = (nt_comm){
        .ops = &nt_comm_self, .gradient = nt_comm_self.gradient, .size = 1, .local_size = 1, .host = "here"};
    const nt_step_options step_options = {.seed = 3, .nan_policy = policy};
    pair_ok(nt_stepper_create(&j->stepper, j->net, &j->comm, 1, &step_options));
}

static void destroy(job *j)
{
    nt_stepper_destroy(j->stepper);
    nt_net_destroy(j->net);
    nt_tuning_destroy(j->tuning);
    nt_backend_destroy(j->backend);
    nt_model_destroy(j->model);
    nt_config_destroy(j->config);
}

static float x[N][F];

static nt_status step(job *j, int64_t index, nt_step_result *result)
{
    static int32_t label[N];
    static int64_t sample[N];
    const nt_batch batch = {.n = N, .x = x, .target = label, .sample = sample};
    return nt_stepper_run(j->stepper, &batch, 1, N, 0.05, index, result);
}

static void make_samples(int64_t index)
{
    for (int i = 0; i < N; i++)
        for (int k = 0; k < F; k++) {
            uint32_t word = nt_rng_block(1, NT_RNG_TEST, (uint32_t)index, (uint32_t)k, (uint32_t)i, 0).v[0];
            x[i][k] = nt_rng_uniform(word) - 0.5f;
        }
}

static int slot_named(const nt_net *net, const char *name)
{
    for (int i = 0; i < nt_net_n_slots(net); i++)
        if (strcmp(nt_net_get_slot(net, i)->name, name) == 0) return i;
    fail_msg("no slot %s", name);
    return -1;
}

static void the_same_bits(void **state)
{
    static const struct {
        const char *optimizer;
        nt_precision precision;
        bool in_ops, has_state;
    } cases[] = {
        {"type = sgd\nmomentum = 0.9\nweight_decay = 0.001\n", NT_PRECISION_FP32, true, true},
        {"type = sgd\nmomentum = 0.9\nnesterov = yes\n", NT_PRECISION_FP32, true, true},
        {"type = sgd\nmomentum = 0.9\n", NT_PRECISION_BF16, false, true}, /* ops see rounded copies */
        {"type = sgd\nmomentum = 0\n", NT_PRECISION_FP32, false, false},
        {"type = adam\n", NT_PRECISION_FP32, false, true},
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        job in_ops, apart;
        double squares;
        build(&in_ops, cases[k].optimizer, NT_NAN_ABORT, cases[k].precision);
        build(&apart, cases[k].optimizer, NT_NAN_SKIP, cases[k].precision);
        for (int64_t i = 0; i < STEPS; i++) {
            nt_step_result a, b;
            make_samples(i);
            pair_ok(step(&in_ops, i, &a));
            pair_ok(step(&apart, i, &b));
            assert_true(a.sum.loss == b.sum.loss);
            assert_true(fabs(a.grad_norm - b.grad_norm) <= 1e-12 * b.grad_norm); /* sums in double */
        }
        const bool can = nt_fc_supported() && cases[k].in_ops;
        assert_int_equal(nt_net_used_up(in_ops.net, slot_named(in_ops.net, "f2.weight"), &squares), can);
        assert_false(nt_net_used_up(apart.net, slot_named(apart.net, "f2.weight"), &squares));
        const size_t n_bytes = (size_t)nt_net_n_elems(apart.net) * sizeof(float);
        assert_memory_equal(nt_net_params(in_ops.net), nt_net_params(apart.net), n_bytes);
        if (cases[k].has_state)
            assert_memory_equal(nt_net_state(in_ops.net, 0), nt_net_state(apart.net, 0), n_bytes);
        destroy(&in_ops);
        destroy(&apart);
    }
}

/* Multiplies the weights from feature k on by a factor, in each row of n. */
static void scale_weights(job *j, const char *name, int n, int k, int n_columns, float factor)
{
    static float w[HIDDEN * HIDDEN];
    const int slot = slot_named(j->net, name);
    pair_ok(nt_net_read(j->net, slot, NT_ARRAY_PARAM, w));
    for (int64_t i = 0; i < nt_shape_elems(nt_net_get_slot(j->net, slot)->tensor.shape); i++)
        if (i % n >= k && i % n < k + n_columns) w[i] *= factor;
    pair_ok(nt_net_write(j->net, slot, NT_ARRAY_PARAM, w));
}

/* Feature 7 is as large as a float can be, and its weights are zero: the loss is finite, and so are the
 * gradients of all other layers, but that of f1 is not: 24 equal samples, pulled to the wrong class. */
static void fault_93_blames_the_slot(void **state)
{
    static const nt_nan_policy policies[] = {NT_NAN_ABORT, NT_NAN_SKIP};
    (void)state;
    for (int k = 0; k < 2; k++) {
        job j;
        nt_step_result result;
        build(&j, "type = sgd\nmomentum = 0.9\n", policies[k], NT_PRECISION_FP32);
        const float bias[CLASSES] = {-1e6f}; /* of the samples' class */
        scale_weights(&j, "f1.weight", F, 7, 1, 0);
        scale_weights(&j, "f3.weight", HIDDEN, 0, HIDDEN, 1e3f);
        pair_ok(nt_net_write(j.net, slot_named(j.net, "f3.bias"), NT_ARRAY_PARAM, bias));
        for (int i = 0; i < N; i++)
            for (int f = 0; f < F; f++)
                x[i][f] = f == 7 ? 3e38f : 3;
        nt_status status = step(&j, 0, &result);
        if (policies[k] == NT_NAN_ABORT) {
            assert_int_equal(status, NT_ERR_NAN);
            assert_non_null(strstr(nt_error_last()->message, "the gradient of f1.weight is not finite"));
        } else {
            pair_ok(status);
            assert_true(result.skipped);
        }
        nt_error_clear();
        destroy(&j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_bits),
        cmocka_unit_test(fault_93_blames_the_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
