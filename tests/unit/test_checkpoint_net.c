/* Checkpoints of real nets: going on after a load computes the same bits as never having stopped, on each
 * backend; digests do not depend on the backend's layouts; and a net that does not fit stays untouched. */
#include "h5_helpers.h"

#include "core/checkpoint.h"

#include <sys/stat.h>

#define N       6
#define CLASSES 3
#define X_ELEMS (2 * 6 * 6)

#define GRAPH(filters)                                                                                       \
    "[layer conv1]\ntype = conv2d\nfilters = " filters "\nkernel = 3\npadding = same\nbatchnorm = yes\n"     \
    "activation = relu\n"                                                                                    \
    "[layer pool]\ntype = max_pool\nkernel = 2\n[layer flat]\ntype = flatten\n"                              \
    "[layer drop]\ntype = dropout\nrate = 0.25\n[layer fc]\ntype = linear\nunits = 3\n"

static const char adam[] = GRAPH("4") "[optimizer]\ntype = adam\nlr = 0.01\n";
static const char wider[] = GRAPH("5") "[optimizer]\ntype = adam\nlr = 0.01\n";
static const char momentum[] = GRAPH("4") "[optimizer]\ntype = sgd\nlr = 0.1\nmomentum = 0.9\n";
static const char plain_sgd[] = GRAPH("4") "[optimizer]\ntype = sgd\nlr = 0.1\nmomentum = 0\n";

typedef struct machine {
    nt_config *config;
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
} machine;

static void machine_open(machine *m, const char *text, const char *backend, uint64_t seed)
{
    static const nt_section *const sections[] = {&nt_model_section,   &nt_loss_section,
                                                 &nt_optim_section,   &nt_checkpoint_section,
                                                 &nt_average_section, NULL};
    nt_sample_spec spec = {.x_dtype = NT_F32,
                           .x = nt_shape_of(3, (int64_t)2, (int64_t)6, (int64_t)6),
                           .target = NT_TARGET_CLASS,
                           .n_classes = CLASSES,
                           .input = {.scale = 1}};
    nt_backend_options options = {.threads = 1};
    assert_ok(nt_config_parse(&m->config, "test", text, strlen(text), NULL, 0, sections));
    assert_ok(nt_model_create(&m->model, m->config, &spec));
    assert_ok(nt_backend_create(&m->backend, backend, &options));
    assert_ok(nt_tuning_create(&m->tuning, false));
    nt_net_options net_options = {.seed = seed,
                                  .tuning = m->tuning,
                                  .optim = nt_config_section(m->config, &nt_optim_section),
                                  .average = nt_config_section(m->config, &nt_average_section)};
    assert_ok(nt_net_create(&m->net, m->model, m->backend, &net_options));
    assert_ok(nt_net_want(m->net, NT_MODE_TRAIN, N));
    assert_ok(nt_net_build(m->net));
}

static void machine_close(machine *m)
{
    nt_net_destroy(m->net);
    nt_tuning_destroy(m->tuning);
    nt_backend_destroy(m->backend);
    nt_model_destroy(m->model);
    nt_config_destroy(m->config);
}

/* Steps [first, last) of a run whose data depend on the step alone. */
static void train(machine *m, int first, int last)
{
    static float x[N * X_ELEMS];
    static int32_t target[N];
    static int64_t sample[N];
    for (int step = first; step < last; step++) {
        for (int i = 0; i < N * X_ELEMS; i++)
            x[i] = (float)((i * 37 + step * 11) % 101) / 50.0f - 1.0f;
        for (int i = 0; i < N; i++) {
            target[i] = (i + step) % CLASSES;
            sample[i] = step * N + i;
        }
        nt_batch batch = {.n = N, .x = x, .target = target, .sample = sample};
        nt_pass pass = {.scale = 1.0 / N, .share = 1, .seed = 7, .sample = sample};
        assert_ok(nt_net_forward(m->net, NT_MODE_TRAIN, &batch, &pass));
        assert_ok(nt_net_backward(m->net, &pass, NULL, NULL));
        assert_ok(nt_net_update(m->net, &(nt_net_step){0.01, step, N, NULL}));
        const nt_average_options *average = nt_config_section(m->config, &nt_average_section);
        for (int w = NT_WEIGHTS_EMA; w < NT_N_WEIGHTS; w++) {
            double weight = nt_average_weight(average, (nt_weights)w, step + 1, 4);
            if (weight > 0) assert_ok(nt_net_average(m->net, (nt_weights)w, weight));
        }
    }
}

static const char *digest_of(machine *m, char hex[33])
{
    assert_ok(nt_checkpoint_digest(m->net, hex));
    assert_int_equal(strlen(hex), 32);
    return hex;
}

static void save(machine *m, int64_t step, const char *dir)
{
    nt_checkpoint_meta meta = {
        .position = {.step = step, .best_step = -1}, .config_text = "text", .n_ranks = 1};
    assert_ok(nt_checkpoint_prepare(dir));
    assert_ok(nt_checkpoint_save(m->net, &meta, dir));
}

/* Loads from the only checkpoint in dir. */
static nt_status load(machine *m, const char *dir, bool with_state)
{
    char path[4200];
    bool found = false;
    nt_checkpoint_meta meta;
    assert_ok(nt_checkpoint_find(dir, path, sizeof path, &found));
    assert_true(found);
    nt_status status = nt_checkpoint_load(m->net, path, with_state, false, &meta);
    nt_checkpoint_meta_free(&meta);
    return status;
}

static void check_exact_resume(const char *backend, const char *text, const char *dir)
{
    machine straight, resumed;
    char a[33], b[33], c[33];
    machine_open(&straight, text, backend, 1);
    machine_open(&resumed, text, backend, 2); /* other initial values: all must come from the file */
    train(&straight, 0, 4);
    save(&straight, 4, dir);
    digest_of(&straight, c);
    train(&straight, 4, 8);
    assert_ok(load(&resumed, dir, true));
    assert_string_equal(digest_of(&resumed, b), c);
    train(&resumed, 4, 8);
    assert_string_equal(digest_of(&resumed, b), digest_of(&straight, a));
    assert_string_not_equal(a, c);
    machine_close(&straight);
    machine_close(&resumed);
}

static const char averaged[] = GRAPH("4") "[optimizer]\ntype = rmsprop\ncentered = yes\nmomentum = 0.9\n"
                                          "[average]\nema = 0.9\nswa_start = 3 steps\nswa_every = 2 steps\n";
static const char begins_later[] = GRAPH("4") "[optimizer]\ntype = lamb\n"
                                              "[average]\nema = 0.9\nema_every = 2\nswa_start = 6 steps\n";

static void read_all(machine *m, int array, float *out)
{
    for (int s = 0; s < nt_net_n_slots(m->net); s++) {
        assert_ok(nt_net_read(m->net, s, array, out));
        out += nt_shape_elems(nt_net_get_slot(m->net, s)->tensor.shape);
    }
}

/* An average in the place of the parameters and back; and as the parameters of a net that is only evaluated.
 */
static void averages_stand_in(void **state)
{
    (void)state;
    enum { MOST = 4096 };
    static float raw[MOST], ema[MOST], swa[MOST], got[MOST];
    const char *dir = in_dir("averages");
    char path[4200];
    bool found;
    machine m, other;
    machine_open(&m, averaged, "cpu", 1);
    train(&m, 0, 6);
    read_all(&m, NT_ARRAY_PARAM, raw);
    read_all(&m, NT_ARRAY_EMA, ema);
    read_all(&m, NT_ARRAY_SWA, swa);
    assert_memory_not_equal(raw, ema, sizeof raw);
    assert_memory_not_equal(swa, ema, sizeof raw);
    static const nt_weights order[] = {NT_WEIGHTS_EMA, NT_WEIGHTS_SWA, NT_WEIGHTS_RAW};
    const float *const expected[] = {ema, swa, raw};
    for (int i = 0; i < 3; i++) {
        assert_ok(nt_net_use_weights(m.net, order[i]));
        read_all(&m, NT_ARRAY_PARAM, got);
        assert_memory_equal(got, expected[i], sizeof raw);
    }
    save(&m, 6, dir);
    machine_close(&m);
    assert_ok(nt_checkpoint_find(dir, path, sizeof path, &found));
    machine_open(&other, plain_sgd, "ref", 2);
    for (int i = 0; i < 3; i++) {
        nt_checkpoint_meta meta;
        assert_ok(nt_checkpoint_load_weights(other.net, path, order[i], false, &meta));
        nt_checkpoint_meta_free(&meta);
        read_all(&other, NT_ARRAY_PARAM, got);
        assert_memory_equal(got, expected[i], sizeof raw);
    }
    machine_close(&other);
}

static void no_average_to_load(void **state)
{
    (void)state;
    const char *dir = in_dir("no_averages");
    char path[4200];
    bool found;
    machine m;
    nt_checkpoint_meta meta;
    machine_open(&m, begins_later, "ref", 1);
    train(&m, 0, 3);
    save(&m, 3, dir);
    assert_ok(nt_checkpoint_find(dir, path, sizeof path, &found));
    assert_ok(nt_checkpoint_load_weights(m.net, path, NT_WEIGHTS_EMA, false, &meta));
    nt_checkpoint_meta_free(&meta);
    assert_fails(nt_checkpoint_load_weights(m.net, path, NT_WEIGHTS_SWA, false, &meta), NT_ERR_CONFIG,
                 "holds no swa weights", "had not begun at step 3", "average.weights=raw");
    machine_close(&m);
}

static void resume_is_exact_ref(void **state)
{
    (void)state;
    check_exact_resume("ref", averaged, in_dir("ref_averaged"));
    check_exact_resume("cpu", averaged, in_dir("cpu_averaged"));
    check_exact_resume("cpu", begins_later, in_dir("cpu_later"));
    check_exact_resume("ref", adam, in_dir("ref_adam"));
    check_exact_resume("ref", momentum, in_dir("ref_momentum"));
    check_exact_resume("ref", plain_sgd, in_dir("ref_plain"));
}

static void resume_is_exact_cpu(void **state)
{
    (void)state;
    check_exact_resume("cpu", adam, in_dir("cpu_adam"));
    check_exact_resume("cpu", momentum, in_dir("cpu_momentum"));
}

/* The same numbers give the same digest, whatever layout a backend keeps them in. */
static void digest_is_independent_of_the_backend(void **state)
{
    (void)state;
    machine ref, cpu, other;
    char a[33], b[33], c[33];
    machine_open(&ref, adam, "ref", 1);
    machine_open(&cpu, adam, "cpu", 1);
    machine_open(&other, adam, "ref", 2);
    assert_string_equal(digest_of(&ref, a), digest_of(&cpu, b));
    assert_string_not_equal(a, digest_of(&other, c));
    train(&ref, 0, 3);
    save(&ref, 3, in_dir("ref"));
    assert_ok(load(&cpu, in_dir("ref"), true));
    assert_string_equal(digest_of(&ref, a), digest_of(&cpu, b));
    train(&cpu, 3, 4);
    save(&cpu, 4, in_dir("cpu"));
    assert_ok(load(&other, in_dir("cpu"), true));
    assert_string_equal(digest_of(&cpu, a), digest_of(&other, c));
    machine_close(&ref), machine_close(&cpu), machine_close(&other);
}

/* Every bit of every array counts. */
static void digest_sees_every_slot(void **state)
{
    (void)state;
    machine m;
    char before[33], after[33];
    machine_open(&m, adam, "ref", 1);
    train(&m, 0, 1);
    digest_of(&m, before);
    for (int s = 0; s < nt_net_n_slots(m.net); s++) {
        const nt_slot *slot = nt_net_get_slot(m.net, s);
        int last = slot->role == NT_PARAM_STAT ? NT_ARRAY_PARAM : 1; /* statistics have no optimizer state */
        for (int array = NT_ARRAY_PARAM; array <= last; array++) {
            float values[512];
            int64_t n = nt_shape_elems(slot->tensor.shape);
            uint32_t bits;
            assert_true(n <= 512);
            assert_ok(nt_net_read(m.net, s, array, values));
            memcpy(&bits, &values[n - 1], 4);
            bits ^= 1;
            memcpy(&values[n - 1], &bits, 4);
            assert_ok(nt_net_write(m.net, s, array, values));
            assert_string_not_equal(digest_of(&m, after), before);
            bits ^= 1;
            memcpy(&values[n - 1], &bits, 4);
            assert_ok(nt_net_write(m.net, s, array, values));
            assert_string_equal(digest_of(&m, after), before);
        }
    }
    machine_close(&m);
}

static void fault_26_39_nets_that_do_not_fit_stay_untouched(void **state)
{
    (void)state;
    machine m, wide, stateless;
    char before[33], after[33];
    machine_open(&m, momentum, "ref", 1);
    machine_open(&wide, wider, "ref", 2);
    machine_open(&stateless, plain_sgd, "ref", 3);
    save(&m, 1, in_dir("fit"));
    digest_of(&wide, before);
    assert_fails(load(&wide, in_dir("fit"), false), NT_ERR_CONFIG, "layer conv1", "5 in this model",
                 "4 in the checkpoint");
    assert_string_equal(digest_of(&wide, after), before);
    digest_of(&stateless, before);
    assert_fails(load(&stateless, in_dir("fit"), true), NT_ERR_CONFIG, "optimizer state",
                 "not in this model");
    assert_string_equal(digest_of(&stateless, after), before);
    assert_ok(load(&stateless, in_dir("fit"), false));
    save(&stateless, 1, in_dir("stateless"));
    digest_of(&m, before);
    assert_fails(load(&m, in_dir("stateless"), true), NT_ERR_CONFIG, "no optimizer state");
    assert_ok(load(&m, in_dir("stateless"), false));
    assert_string_equal(digest_of(&m, after), before); /* its own weights have come back to it */
    machine_close(&m), machine_close(&wide), machine_close(&stateless);
}

static void damage_leaves_the_net_untouched(void **state)
{
    (void)state;
    machine m;
    char before[33], after[33], path[4200];
    nt_checkpoint_meta meta;
    machine_open(&m, adam, "ref", 1);
    save(&m, 1, in_dir("damage"));
    train(&m, 0, 1);
    digest_of(&m, before);
    snprintf(path, sizeof path, "%s/step_00000001.h5", in_dir("damage"));
    size_t n_bytes;
    unsigned char *bytes = read_whole(path, &n_bytes);
    float weights[512];
    int last = 0; /* the slot whose name comes last is verified last */
    for (int s = 1; s < nt_net_n_slots(m.net); s++)
        if (strcmp(nt_net_get_slot(m.net, s)->name, nt_net_get_slot(m.net, last)->name) > 0) last = s;
    machine same;
    machine_open(&same, adam, "ref", 1); /* what was saved */
    assert_ok(nt_net_read(same.net, last, NT_ARRAY_PARAM, weights));
    size_t n = (size_t)nt_shape_elems(nt_net_get_slot(same.net, last)->tensor.shape) * sizeof(float);
    unsigned char *at = memmem(bytes, n_bytes, weights, n);
    assert_non_null(at);
    at[n - 1] ^= 1;
    write_whole(path, bytes, n_bytes);
    free(bytes);
    assert_fails(nt_checkpoint_load(m.net, path, true, false, &meta), NT_ERR_CHECKPOINT, "step_00000001.h5",
                 "damaged");
    assert_string_equal(digest_of(&m, after), before);
    machine_close(&m), machine_close(&same);
}

static void options_have_their_defaults(void **state)
{
    (void)state;
    nt_checkpoint_options o;
    assert_ok(nt_section_defaults(&nt_checkpoint_section, &o));
    assert_true(o.every.unit == NT_EPOCHS && o.every.count == 1 && o.keep == 3 && o.best && o.on_error == 0);
    assert_string_equal(o.resume, "auto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(averages_stand_in),
        cmocka_unit_test(no_average_to_load),
        cmocka_unit_test(resume_is_exact_ref),
        cmocka_unit_test(resume_is_exact_cpu),
        cmocka_unit_test(digest_is_independent_of_the_backend),
        cmocka_unit_test(digest_sees_every_slot),
        cmocka_unit_test(fault_26_39_nets_that_do_not_fit_stay_untouched),
        cmocka_unit_test(damage_leaves_the_net_untouched),
        cmocka_unit_test(options_have_their_defaults),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
