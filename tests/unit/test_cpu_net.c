/* Whole nets on cpu against ref: blocked layouts from layer to layer, fused and deferred activations, memory
 * shared by liveness. A few steps of training must give the same losses and parameters up to rounding, and
 * on cpu the same bits whether memory is reused or not, and every time. */
#include "core/net.h"
#include "tests/unit/op_pair.h"

/* Four steps of float arithmetic in another order, amplified by batch statistics of 24 samples. */
#define TOLERANCE 2e-3
enum { N = 24, STEPS = 4 };

static const char tail[] = "[loss]\ntype = cross_entropy\n[optimizer]\ntype = sgd\nlr = 0.05\n"
                           "momentum = 0.9\nweight_decay = 0.001\n";

/* Odd channels, ReLU in front of pooling, a residual block, flatten of a padded layout. */
static const char residual[] =
    "[layer c1]\ntype = conv2d\nfilters = 20\nkernel = 5\npadding = same\nactivation = relu\n"
    "[layer p1]\ntype = max_pool\nkernel = 2\n"
    "[layer a]\ntype = conv2d\nfilters = 20\nkernel = 3\npadding = same\nbatchnorm = yes\nactivation = relu\n"
    "[layer b]\ntype = conv2d\nfilters = 20\nkernel = 3\npadding = same\nbatchnorm = yes\n"
    "[layer sum]\ntype = add\ninput = b, p1\nactivation = relu\n"
    "[layer drop]\ntype = dropout\nrate = 0.25\n"
    "[layer flat]\ntype = flatten\n"
    "[layer f1]\ntype = linear\nunits = 40\nactivation = relu\n"
    "[layer f2]\ntype = linear\nunits = 5\n";

/* Whole blocks, branches that are concatenated, strides, average and global pooling. */
static const char branches[] =
    "[layer c1]\ntype = conv2d\nfilters = 32\nkernel = 3\npadding = same\nactivation = leaky_relu\n"
    "[layer l]\ntype = conv2d\nfilters = 32\nkernel = 3\nstride = 2\npadding = 1\nactivation = relu\n"
    "[layer r]\ntype = avg_pool\ninput = c1\nkernel = 2\n"
    "[layer cat]\ntype = concat\ninput = l, r\n"
    "[layer c2]\ntype = conv2d\nfilters = 48\nkernel = 1\nactivation = tanh\n"
    "[layer p]\ntype = max_pool\nkernel = 3\nstride = 2\npadding = 1\nactivation = relu\n"
    "[layer gap]\ntype = global_avg_pool\n"
    "[layer f]\ntype = linear\nunits = 5\n";

/* Flattened blocks go into the panels of a linear layer. */
static const char lenet[] =
    "[layer c1]\ntype = conv2d\nfilters = 16\nkernel = 3\npadding = same\nactivation = relu\n"
    "[layer p1]\ntype = max_pool\nkernel = 2\n"
    "[layer c2]\ntype = conv2d\nfilters = 32\nkernel = 3\npadding = same\nactivation = relu\n"
    "[layer p2]\ntype = max_pool\nkernel = 2\n"
    "[layer flat]\ntype = flatten\n"
    "[layer f1]\ntype = linear\nunits = 70\nbatchnorm = yes\nactivation = relu\n"
    "[layer f2]\ntype = linear\nunits = 5\n";

/* Groups of 8 channels come in blocks of 8; what follows works in blocks of 16 all the same. */
static const char grouped[] =
    "[layer c1]\ntype = conv2d\nfilters = 32\nkernel = 1\nstride = 2\nactivation = relu6\n"
    "[layer g]\ntype = conv2d\nfilters = 32\nkernel = 3\npadding = same\ngroups = 4\nbatchnorm = yes\n"
    "activation = relu6\n"
    "[layer c2]\ntype = conv2d\nfilters = 32\nkernel = 1\nbatchnorm = yes\n"
    "[layer sum]\ntype = add\ninput = c2, g\n"
    "[layer d]\ntype = conv2d\nfilters = 32\nkernel = 5\npadding = same\ngroups = 32\nbias = no\n"
    "[layer squeeze]\ntype = adaptive_avg_pool\noutput_size = 1\n"
    "[layer gate]\ntype = conv2d\nfilters = 32\nkernel = 1\nactivation = logistic\n"
    "[layer gated]\ntype = multiply\ninput = d, gate\n"
    "[layer depth]\ntype = stochastic_depth\nrate = 0.2\n"
    "[layer gap]\ntype = global_avg_pool\n"
    "[layer f]\ntype = linear\nunits = 5\n";

typedef struct run {
    nt_config *config;
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
    double loss[STEPS + 1]; /* of training, then of evaluation */
} run;

static void build(run *r, const char *layers, const char *backend, int threads, bool no_reuse)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section,
                                                 NULL};
    const nt_sample_spec spec = {.x_dtype = NT_U8,
                                 .x = nt_shape_of(3, (int64_t)3, (int64_t)12, (int64_t)10),
                                 .target = NT_TARGET_CLASS,
                                 .n_classes = 5,
                                 .input = {.scale = 1.0 / 128, .n_channels = 1, .mean = {1}, .inv_std = {1}}};
    const nt_backend_options options = {.threads = threads};
    char text[4096];
    snprintf(text, sizeof text, "%s%s", layers, tail);
    pair_ok(nt_config_parse(&r->config, "test", text, strlen(text), NULL, 0, sections));
    pair_ok(nt_model_create(&r->model, r->config, &spec));
    pair_ok(nt_backend_create(&r->backend, backend, &options));
    if (strcmp(backend, "cpu") == 0) ((nt_cpu *)r->backend->state)->worth_threads = 0; /* small nets too */
    pair_ok(nt_tuning_create(&r->tuning, false));
    const nt_net_options net_options = {.seed = 3,
                                        .tuning = r->tuning,
                                        .no_reuse = no_reuse,
                                        .optim = nt_config_section(r->config, &nt_optim_section)};
    pair_ok(nt_net_create(&r->net, r->model, r->backend, &net_options));
    pair_ok(nt_net_want(r->net, NT_MODE_TRAIN, N));
    pair_ok(nt_net_want(r->net, NT_MODE_EVAL, N));
    pair_ok(nt_net_build(r->net));
}

static void train(run *r)
{
    static uint8_t x[N * 3 * 12 * 10];
    static int32_t label[N];
    static int64_t sample[N];
    nt_loss_sum sum;
    for (int step = 0; step <= STEPS; step++) {
        for (size_t i = 0; i < sizeof x; i++)
            x[i] = (uint8_t)nt_rng_block(1, NT_RNG_TEST, 40 + (uint32_t)step, (uint32_t)i, 0, 0).v[0];
        for (int i = 0; i < N; i++) {
            label[i] = (i + step) % 5;
            sample[i] = step * N + i;
        }
        const nt_batch batch = {.n = N, .x = x, .target = label, .sample = sample};
        const nt_pass pass = {.scale = 1.0 / N, .share = 1, .seed = 3, .sample = sample};
        const nt_net_step update = {.lr = 0.05, .step = step, .batch = N};
        const bool last = step == STEPS;
        pair_ok(nt_net_forward(r->net, last ? NT_MODE_EVAL : NT_MODE_TRAIN, &batch, &pass));
        if (!last) pair_ok(nt_net_backward(r->net, &pass, NULL, NULL));
        pair_ok(nt_net_loss(r->net, &sum));
        r->loss[step] = sum.loss / N;
        if (!last) pair_ok(nt_net_update(r->net, &update));
    }
}

static void destroy(run *r)
{
    nt_net_destroy(r->net);
    nt_tuning_destroy(r->tuning);
    nt_backend_destroy(r->backend);
    nt_model_destroy(r->model);
    nt_config_destroy(r->config);
}

/* Largest difference of a slot's canonical values, relative to its largest value. */
static double slot_difference(run *a, run *b, int slot)
{
    const nt_slot *s = nt_net_get_slot(a->net, slot);
    int64_t n = nt_shape_elems(s->tensor.shape);
    float *va = malloc((size_t)n * sizeof *va), *vb = malloc((size_t)n * sizeof *vb);
    double largest = 1e-6, difference = 0;
    assert_true(va && vb);
    pair_ok(nt_net_read(a->net, slot, NT_ARRAY_PARAM, va));
    for (int k = 0; k < nt_net_n_slots(b->net); k++)
        if (strcmp(nt_net_get_slot(b->net, k)->name, s->name) == 0)
            pair_ok(nt_net_read(b->net, k, NT_ARRAY_PARAM, vb));
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)va[i]));
        difference = fmax(difference, fabs((double)va[i] - (double)vb[i]));
    }
    free(va);
    free(vb);
    return difference / largest;
}

static void against_ref(void **state)
{
    static const char *const nets[] = {residual, branches, lenet, grouped};
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        run ref, cpu;
        build(&ref, nets[i], "ref", 1, false);
        build(&cpu, nets[i], "cpu", 1, false);
        train(&ref);
        train(&cpu);
        for (int step = 0; step <= STEPS; step++)
            if (!(fabs(ref.loss[step] - cpu.loss[step]) <= TOLERANCE * ref.loss[step]))
                fail_msg("net %zu, step %d: loss %.9g, ref has %.9g", i, step, cpu.loss[step],
                         ref.loss[step]);
        for (int s = 0; s < nt_net_n_slots(ref.net); s++) {
            double difference = slot_difference(&ref, &cpu, s);
            if (!(difference <= TOLERANCE))
                fail_msg("net %zu: %s differs by %.3g", i, nt_net_get_slot(ref.net, s)->name, difference);
        }
        destroy(&ref);
        destroy(&cpu);
    }
}

static void bits_do_not_depend_on_memory(void **state)
{
    static const char *const nets[] = {residual, branches, lenet, grouped};
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++)
        for (int threads = 1; threads <= 2; threads++) {
            run first, again, apart;
            build(&first, nets[i], "cpu", threads, false);
            build(&again, nets[i], "cpu", threads, false);
            build(&apart, nets[i], "cpu", threads, true);
            train(&first);
            train(&again);
            train(&apart);
            assert_memory_equal(first.loss, again.loss, sizeof first.loss);
            assert_memory_equal(first.loss, apart.loss, sizeof first.loss);
            for (int s = 0; s < nt_net_n_slots(first.net); s++) {
                assert_true(slot_difference(&first, &again, s) == 0);
                assert_true(slot_difference(&first, &apart, s) == 0);
            }
            destroy(&first);
            destroy(&again);
            destroy(&apart);
        }
}

/* A NaN in a parameter reaches the loss through every fused ReLU. */
static void fault_nan_reaches_the_loss(void **state)
{
    static const char *const nets[] = {residual, branches, lenet, grouped};
    (void)state;
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        run r;
        build(&r, nets[i], "cpu", 1, false);
        for (int s = 0; s < nt_net_n_slots(r.net); s++) {
            const nt_slot *slot = nt_net_get_slot(r.net, s);
            if (slot->role == NT_PARAM_STAT) continue;
            int64_t n = nt_shape_elems(slot->tensor.shape);
            float *values = malloc((size_t)n * sizeof *values);
            assert_non_null(values);
            pair_ok(nt_net_read(r.net, s, NT_ARRAY_PARAM, values));
            const float kept = values[n / 2];
            values[n / 2] = NAN;
            pair_ok(nt_net_write(r.net, s, NT_ARRAY_PARAM, values));
            static uint8_t x[N * 3 * 12 * 10];
            static const int32_t label[N];
            static const int64_t sample[N];
            const nt_batch batch = {.n = N, .x = x, .target = label, .sample = sample};
            const nt_pass pass = {.scale = 1.0 / N, .share = 1, .seed = 3, .sample = sample};
            nt_loss_sum sum;
            pair_ok(nt_net_forward(r.net, NT_MODE_EVAL, &batch, &pass));
            pair_ok(nt_net_loss(r.net, &sum));
            if (!isnan(sum.loss)) fail_msg("net %zu: NaN in %s is lost, loss %g", i, slot->name, sum.loss);
            values[n / 2] = kept;
            pair_ok(nt_net_write(r.net, s, NT_ARRAY_PARAM, values));
            free(values);
        }
        destroy(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_ref),
        cmocka_unit_test(bits_do_not_depend_on_memory),
        cmocka_unit_test(fault_nan_reaches_the_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
