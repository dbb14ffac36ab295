/* What of a model is trained, and how fast: lr_factor, decay_factor and frozen of layers, of blocks, and the
 * lists of [model].
 *
 * Steps are compared bit for bit where the same operations are made, else (a rate that was multiplied) with
 * two roundings of float. */
#include "net_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 6, CLASSES = 3, X_ELEMS = 2 * 6 * 6 };

/* Blanks for keys of each layer. */
#define GRAPH(conv1, conv2, fc)                                                                              \
    "[layer conv1]\ntype = conv2d\nfilters = 4\nkernel = 3\nactivation = relu\n" conv1                       \
    "[layer conv2]\ntype = conv2d\nfilters = 5\nkernel = 3\nbatchnorm = yes\nactivation = relu\n" conv2      \
    "[layer flat]\ntype = flatten\n[layer fc]\ntype = linear\nunits = 3\n" fc

static nt_status make_model(job *j, const char *text)
{
    return job_make_model(j, text, nt_shape_of(3, (int64_t)2, (int64_t)6, (int64_t)6), CLASSES);
}

static void open_job(job *j, const char *text, const char *backend)
{
    MUST(make_model(j, text));
    job_build(j, backend, N);
}

/* One step, bucket by bucket or with a verdict first. */
static void take_step(job *j, int64_t step, bool early)
{
    static float x[N * X_ELEMS];
    static int32_t target[N];
    static int64_t sample[N];
    for (int i = 0; i < N * X_ELEMS; i++)
        x[i] = (float)((i * 37 + step * 11) % 101) / 50.0f - 1.0f;
    for (int i = 0; i < N; i++)
        target[i] = (int32_t)((i + step) % CLASSES);
    const nt_batch batch = {.n = N, .x = x, .target = target, .sample = sample};
    const nt_pass pass = {.scale = 1.0 / N, .share = 1, .sample = sample};
    const nt_net_step how = {.lr = 0.5, .step = step, .batch = N};
    MUST(nt_net_begin_step(j->net));
    MUST(nt_net_forward(j->net, NT_MODE_TRAIN, &batch, &pass));
    if (early) nt_net_step_in_ops(j->net, &how);
    MUST(nt_net_backward(j->net, &pass, NULL, NULL));
    nt_net_step_in_ops(j->net, NULL);
    MUST(early ? nt_net_measure_and_update(j->net, &how, 0, nt_net_n_elems(j->net))
               : nt_net_update(j->net, &how));
}

static int slot_of(const job *j, const char *name)
{
    for (int i = 0; i < nt_net_n_slots(j->net); i++)
        if (strcmp(nt_net_get_slot(j->net, i)->name, name) == 0) return i;
    fail_msg("no slot %s", name);
    return -1;
}

typedef struct values {
    int64_t n;
    float value[4096];
} values;

static values read_slot(const job *j, const char *name)
{
    values v = {0};
    const int slot = slot_of(j, name);
    v.n = nt_shape_elems(nt_net_get_slot(j->net, slot)->tensor.shape);
    assert_true(v.n <= 4096);
    MUST(nt_net_read(j->net, slot, NT_ARRAY_PARAM, v.value));
    return v;
}

static bool same(const values *a, const values *b)
{
    return a->n == b->n && memcmp(a->value, b->value, (size_t)a->n * sizeof *a->value) == 0;
}

static const char *const names[] = {"conv1.weight",    "conv1.bias",           "conv2.weight",
                                    "conv2.bn.weight", "conv2.bn.running_var", "fc.weight"};
enum { N_NAMES = 6, STAT = 4 };

/* Frozen layers stay, their statistics move, and the others take the step that they take otherwise: of a
 * first step the gradients are the same. */
static void check_frozen(const char *backend, const char *optimizer, const char *frozen,
                         const char *free_text, const bool *moves, bool early)
{
    job a, b;
    char text[1024], other[1024];
    snprintf(text, sizeof text, "%s[optimizer]\n%s", frozen, optimizer);
    snprintf(other, sizeof other, "%s[optimizer]\n%s", free_text, optimizer);
    open_job(&a, text, backend);
    open_job(&b, other, backend);
    values before[N_NAMES];
    for (int i = 0; i < N_NAMES; i++)
        before[i] = read_slot(&a, names[i]);
    take_step(&a, 0, early);
    take_step(&b, 0, early);
    for (int i = 0; i < N_NAMES; i++) {
        const values after = read_slot(&a, names[i]), open = read_slot(&b, names[i]);
        assert_false(same(&before[i], &open));
        if (same(&before[i], &after) == moves[i])
            fail_msg("%s %s on %s (%s)", names[i], moves[i] ? "did not move" : "moved", backend, optimizer);
        if (moves[i]) assert_true(same(&after, &open));
    }
    job_close(&a);
    job_close(&b);
}

static void frozen_layers_stay(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu"};
    static const char *const optimizers[] = {"momentum = 0.9\n", "type = adamw\n", "type = lamb\n"};
    static const bool first[] = {false, false, true, true, true, true},
                      head_only[] = {false, false, false, false, true, true},
                      middle[] = {true, true, false, false, true, true},
                      only_first[] = {true, true, false, false, true, false};
    for (int b = 0; b < 2; b++)
        for (int o = 0; o < 3; o++)
            for (int early = 0; early < 2; early++) {
                const char *opt = optimizers[o], *all = GRAPH("", "", "");
                check_frozen(backends[b], opt, GRAPH("frozen = yes\n", "", ""), all, first, early);
                check_frozen(backends[b], opt, GRAPH("frozen = yes\n", "frozen = yes\n", ""), all, head_only,
                             early);
                check_frozen(backends[b], opt, GRAPH("", "frozen = yes\n", ""), all, middle, early);
                check_frozen(backends[b], opt, "[model]\ntrained = fc\n" GRAPH("", "", ""), all, head_only,
                             early);
                check_frozen(backends[b], opt, "[model]\nfrozen = conv2\n" GRAPH("", "", "frozen = yes\n"),
                             all, only_first, early);
                check_frozen(backends[b], opt, "[model]\ntrained = fc\n" GRAPH("", "frozen = no\n", ""), all,
                             first, early);
            }
}

/* Without statistics below, backward stops at what is trained: nobody asks for conv1's gradient. */
static void backward_stops(void **state)
{
    (void)state;
    job j;
    open_job(&j, GRAPH("frozen = yes\n", "", ""), "cpu");
    take_step(&j, 0, false);
    values g = {0};
    MUST(nt_net_read(j.net, slot_of(&j, "conv1.weight"), NT_ARRAY_GRAD, g.value));
    for (int i = 0; i < 4096; i++)
        assert_true(g.value[i] == 0);
    job_close(&j);
}

/* w - lr f g - lr f d wd w, against factors of one. */
static void factors(void **state)
{
    (void)state;
    static const char *const texts[] = {
        GRAPH("", "lr_factor = 0.25\n", "lr_factor = 3\n") "[optimizer]\nlr = 0.5\n",
        GRAPH("decay_factor = 0\n", "",
              "decay_factor = 2\n") "[optimizer]\nlr = 0.5\nweight_decay = 0.125\n"};
    for (int early = 0; early < 2; early++) {
        job plain, fast, decayed;
        open_job(&plain, GRAPH("", "", ""), "cpu");
        open_job(&fast, texts[0], "cpu");
        open_job(&decayed, texts[1], "cpu");
        values w[N_NAMES];
        for (int i = 0; i < N_NAMES; i++)
            w[i] = read_slot(&plain, names[i]);
        take_step(&plain, 0, early);
        take_step(&fast, 0, early);
        take_step(&decayed, 0, early);
        static const double rate[N_NAMES] = {1, 1, 0.25, 0.25, 1, 3};
        static const double decay[N_NAMES] = {0, 0, 0.125, 0, 0, 0.25}; /* biases and norms have none */
        for (int i = 0; i < N_NAMES; i++) {
            const values a = read_slot(&plain, names[i]), f = read_slot(&fast, names[i]),
                         d = read_slot(&decayed, names[i]);
            for (int64_t k = 0; k < a.n && i != STAT; k++) {
                double down = (double)w[i].value[k] - (double)a.value[k];
                double expected = (double)w[i].value[k] - rate[i] * down;
                double shrunk = (double)a.value[k] - 0.5 * decay[i] * (double)w[i].value[k];
                assert_true(fabs((double)f.value[k] - expected) <= 5e-7 &&
                            fabs((double)d.value[k] - shrunk) <= 5e-7);
            }
        }
        job_close(&plain);
        job_close(&fast);
        job_close(&decayed);
    }
}

static const nt_layer *layer_of(const job *j, const char *name)
{
    const int i = nt_model_find(j->model, name);
    if (i < 0) fail_msg("no layer %s", name);
    return &j->model->layer[i];
}

/* A use of a block speaks for all its layers, also through a block within; a layer's own word goes first. */
static void blocks_hand_on(void **state)
{
    (void)state;
    job j;
    MUST(make_model(&j, "[block inner]\nc = conv2d filters=4 kernel=3 padding=same batchnorm=yes\n"
                        "[block outer]\na = inner\nb = inner lr_factor=0.5\n"
                        "d = conv2d filters=4 kernel=1 frozen=no decay_factor=3\n"
                        "[layers]\nx = outer frozen=yes lr_factor=0.1\ny = outer\nflat = flatten\n"
                        "fc = linear units=3 lr_factor=10\n"));
    assert_true(layer_of(&j, "x.a.c")->frozen && layer_of(&j, "x.a.c.bn")->frozen);
    assert_true(layer_of(&j, "x.a.c")->lr_factor == 0.1 && layer_of(&j, "x.b.c.bn")->lr_factor == 0.5);
    assert_true(layer_of(&j, "x.b.c")->frozen && !layer_of(&j, "x.d")->frozen);
    assert_true(layer_of(&j, "x.d")->lr_factor == 0.1 && layer_of(&j, "x.d")->decay_factor == 3);
    assert_true(!layer_of(&j, "y.a.c")->frozen && layer_of(&j, "y.a.c")->lr_factor == 1);
    assert_true(layer_of(&j, "fc")->lr_factor == 10 && layer_of(&j, "fc")->decay_factor == 1);
    job_close(&j);
    MUST(make_model(&j, "[block inner]\nc = conv2d filters=4 kernel=1\n[model]\nfrozen = x, y.c\n[layers]\n"
                        "x = inner\nxy = inner\ny = inner\nflat = flatten\nfc = linear units=3\n"));
    assert_true(layer_of(&j, "x.c")->frozen && !layer_of(&j, "xy.c")->frozen && layer_of(&j, "y.c")->frozen);
    job_close(&j);
}

static void refuse(const char *text, const char *message)
{
    job j;
    assert_int_equal(make_model(&j, text), NT_ERR_CONFIG);
    if (strncmp(nt_error_last()->message, message, strlen(message)) != 0)
        fail_msg("'%s', not '%s'", nt_error_last()->message, message);
    nt_error_clear();
    job_close(&j);
}

static void mistakes(void **state)
{
    (void)state;
    refuse("[layer fc]\ntype = linear\nunits = 3\nlr_factor = -1\n",
           "c.ini:4:13: layer.fc.lr_factor = -1: must be");
    refuse("[layer fc]\ntype = linear\nunits = 3\nfrosen = yes\n",
           "c.ini:4:1: unknown key 'frosen' in layer.fc; did you mean 'frozen'?");
    refuse("[layer fc]\ntype = linear\nunits = 3\nfrozen = yes\n",
           "c.ini:4:10: every layer with parameters is frozen: there is nothing to train");
    refuse("[model]\nfrozen = fcc\n[layer fc]\ntype = linear\nunits = 3\n",
           "c.ini:2:10: model.frozen: there is no layer 'fcc', and none whose name begins with 'fcc.'; did "
           "you mean "
           "'fc'?");
    refuse("[model]\ntrained = head\n[layer fc]\ntype = linear\nunits = 3\n",
           "c.ini:2:11: model.trained: there is no layer 'head'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_layers_stay), cmocka_unit_test(backward_stops), cmocka_unit_test(factors),
        cmocka_unit_test(blocks_hand_on),     cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
