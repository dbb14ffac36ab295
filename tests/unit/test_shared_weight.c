/* One weight in two layers (`weight = NAME`): its gradient is the sum of both, whatever else the layers have;
 * cpu takes the same steps as ref; it is one slot, in files under both names; what a user may get wrong. */
#include "core/gradcheck.h"
#include "core/model.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "core/weights.h"
#include "net_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 6, T = 5, VOCABULARY = 11, FEATURES = 40 };

/* A language model: the embedding's weight is that of the output layer. */
#define LANGUAGE                                                                                             \
    "[layers]\nwte = embedding num_embeddings=11 embedding_dim=8\nwpe = position_embedding\n"                \
    "fc = linear axis=last units=8 activation=tanh\nadd = add input=wpe,fc\n"                                \
    "lm_head = linear axis=last units=11 bias=no weight=wte\n[loss]\ntype = cross_entropy\nclass_dim = "     \
    "last\n"
/* The same with a bias of its own. */
#define WITH_BIAS                                                                                            \
    "[layers]\nwte = embedding num_embeddings=11 embedding_dim=8\nfc = linear axis=last units=8 "            \
    "activation=tanh\nlm_head = linear axis=last units=11 weight=wte\n[loss]\ntype = "                       \
    "cross_entropy\nclass_dim = last\n"
/* Three layers with one weight and a bias each, wide enough for the panels of cpu, and one with another
 * weight. */
#define CHAIN                                                                                                \
    "[layers]\na = linear units=40 activation=relu\nb = linear units=40 weight=a\nc = linear units=40 "      \
    "weight=b activation=tanh\nd = linear units=3\n[loss]\ntype = mse\n"

typedef struct tied {
    job job;
    int32_t token[N * T], label[N * T];
    float x[N * FEATURES], value[N * 3];
    int64_t sample[N];
    nt_batch batch;
    nt_pass pass;
} tied;

static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section, NULL};

static bool reads_tokens(const char *text)
{
    return strstr(text, "embedding") != NULL;
}

static nt_sample_spec spec_of(const char *text)
{
    if (reads_tokens(text))
        return (nt_sample_spec){.x_dtype = NT_I32,
                                .x = {1, {T}},
                                .target = NT_TARGET_CLASS,
                                .n_labels = T,
                                .n_classes = VOCABULARY,
                                .input = {.scale = 1}};
    return (nt_sample_spec){.x_dtype = NT_F32,
                            .x = {1, {FEATURES}},
                            .target = NT_TARGET_VALUE,
                            .n_values = 3,
                            .input = {.scale = 1}};
}

static uint32_t word(int i)
{
    return nt_rng_block(7, NT_RNG_TEST, 0, (uint32_t)i, 0, 0).v[0];
}

static void fill(tied *j, bool tokens)
{
    for (int i = 0; i < N * T; i++) {
        j->token[i] = (int32_t)(word(i) % VOCABULARY);
        j->label[i] = (int32_t)(word(1000 + i) % VOCABULARY);
    }
    for (int i = 0; i < N * FEATURES; i++)
        j->x[i] = 2 * nt_rng_uniform(word(2000 + i)) - 1;
    for (int i = 0; i < N * 3; i++)
        j->value[i] = 2 * nt_rng_uniform(word(3000 + i)) - 1;
    for (int i = 0; i < N; i++)
        j->sample[i] = i;
    j->batch = (nt_batch){.n = N,
                          .x = tokens ? (void *)j->token : j->x,
                          .target = tokens ? (void *)j->label : j->value,
                          .sample = j->sample};
    j->pass = (nt_pass){.scale = 1.0 / N, .share = 1, .seed = 1, .sample = j->sample};
}

static void open_job(tied *j, const char *text, const char *backend)
{
    char all[2048];
    snprintf(all, sizeof all, "%s[optimizer]\ntype = sgd\nlr = 0.1\nmomentum = 0.9\n", text);
    const nt_sample_spec spec = spec_of(text);
    MUST(job_make_model_of(&j->job, all, &spec));
    job_build(&j->job, backend, N);
    fill(j, reads_tokens(text));
}

static void gradient_is_the_sum(void **state)
{
    (void)state;
    static const char *const texts[] = {LANGUAGE, WITH_BIAS, CHAIN};
    for (int i = 0; i < 3; i++) {
        tied j;
        nt_gradcheck_result result;
        open_job(&j, texts[i], "ref64");
        MUST(nt_gradcheck_net(j.job.net, &j.batch, 1e-5, 30, &result));
        if (!(result.worst < 1e-8)) fail_msg("text %d: %s differs by %g", i, result.where, result.worst);
        job_close(&j.job);
    }
}

/* Gradients of all slots, one after the other. */
static float *gradients(tied *j, int64_t *n)
{
    *n = 0;
    for (int s = 0; s < nt_net_n_slots(j->job.net); s++)
        *n += nt_shape_elems(nt_net_get_slot(j->job.net, s)->tensor.shape);
    float *all = malloc((size_t)*n * sizeof *all), *next = all;
    assert_non_null(all);
    for (int s = 0; s < nt_net_n_slots(j->job.net); s++) {
        MUST(nt_net_read(j->job.net, s, NT_ARRAY_GRAD, next));
        next += nt_shape_elems(nt_net_get_slot(j->job.net, s)->tensor.shape);
    }
    return all;
}

/* Assigned gradients do not depend on what was there; a second pass that accumulates doubles them. */
static void assigns_and_accumulates(void **state)
{
    (void)state;
    static const char *const texts[] = {LANGUAGE, WITH_BIAS, CHAIN}, *const backends[] = {"ref", "cpu"};
    for (int i = 0; i < 6; i++) {
        tied j;
        int64_t n;
        open_job(&j, texts[i / 2], backends[i % 2]);
        MUST(nt_net_forward(j.job.net, NT_MODE_TRAIN, &j.batch, &j.pass));
        MUST(nt_net_backward(j.job.net, &j.pass, NULL, NULL));
        float *once = gradients(&j, &n);
        MUST(nt_net_forward(j.job.net, NT_MODE_TRAIN, &j.batch, &j.pass));
        MUST(nt_net_backward(j.job.net, &j.pass, NULL, NULL));
        float *again = gradients(&j, &n);
        assert_memory_equal(once, again, (size_t)n * sizeof *once);
        nt_pass adding = j.pass;
        adding.accumulate = true;
        MUST(nt_net_forward(j.job.net, NT_MODE_TRAIN, &j.batch, &adding));
        MUST(nt_net_backward(j.job.net, &adding, NULL, NULL));
        float *twice = gradients(&j, &n);
        for (int64_t k = 0; k < n; k++) /* a rounding of each sum */
            if (!(fabsf(twice[k] - 2 * once[k]) <= 1e-5f * (1 + fabsf(once[k]))))
                fail_msg("text %d on %s: element %d is %g, not twice %g", i / 2, backends[i % 2], (int)k,
                         (double)twice[k], (double)once[k]);
        free(once), free(again), free(twice);
        job_close(&j.job);
    }
}

static double loss_after(const char *text, const char *backend, int steps)
{
    tied j;
    nt_loss_sum sum;
    open_job(&j, text, backend);
    for (int step = 0; step < steps; step++) {
        const nt_net_step take = {.lr = 0.1, .step = step, .batch = N};
        nt_net_step_in_ops(j.job.net, &take);
        MUST(nt_net_begin_step(j.job.net));
        MUST(nt_net_forward(j.job.net, NT_MODE_TRAIN, &j.batch, &j.pass));
        MUST(nt_net_backward(j.job.net, &j.pass, NULL, NULL));
        MUST(nt_net_measure_and_update(j.job.net, &take, 0, nt_net_n_elems(j.job.net)));
    }
    MUST(nt_net_forward(j.job.net, NT_MODE_EVAL, &j.batch, &j.pass));
    MUST(nt_net_loss(j.job.net, &sum));
    job_close(&j.job);
    return sum.loss / N;
}

/* Eight steps of momentum; float sums in another order, 1e-4 of the loss. */
static void cpu_trains_as_ref(void **state)
{
    (void)state;
    static const char *const texts[] = {LANGUAGE, WITH_BIAS, CHAIN};
    for (int i = 0; i < 3; i++) {
        double start = loss_after(texts[i], "ref64", 0), want = loss_after(texts[i], "ref64", 8);
        double got = loss_after(texts[i], "cpu", 8), ref = loss_after(texts[i], "ref", 8);
        assert_true(want < 0.9 * start);
        if (!(fabs(got - want) < 1e-4 * want) || !(fabs(ref - want) < 1e-4 * want))
            fail_msg("text %d: loss %g on cpu, %g on ref, %g on ref64", i, got, ref, want);
    }
}

static void is_counted_once(void **state)
{
    (void)state;
    tied j;
    open_job(&j, WITH_BIAS, "ref");
    assert_int_equal(nt_model_n_params(j.job.model), 11 * 8 + 8 * 8 + 8 + 11);
    assert_int_equal(nt_net_n_slots(j.job.net), 4);
    job_close(&j.job);
}

static const char file_name[] = "shared_weight.safetensors";

static float *read_tensor(nt_safetensors *file, const char *name)
{
    const nt_safetensor *t = nt_safetensors_find(file, name);
    if (!t) fail_msg("no tensor %s", name);
    float *values = malloc((size_t)t->n_elems * sizeof *values);
    assert_non_null(values);
    MUST(nt_safetensors_read(file, t, values));
    return values;
}

/* A file with both names, one of which may differ; with one name only. */
typedef struct source {
    float value[3][VOCABULARY * 8];
} source;

static nt_status get(void *arg, int index, float *values)
{
    memcpy(values, ((source *)arg)->value[index], sizeof((source *)arg)->value[index]);
    return NT_OK;
}

static void files_hold_both_names(void **state)
{
    (void)state;
    tied j;
    nt_safetensors *file;
    open_job(
        &j,
        "[layers]\nwte = embedding num_embeddings=11 embedding_dim=8\nlm_head = linear axis=last units=11 "
        "bias=no weight=wte\n[loss]\ntype = cross_entropy\nclass_dim = last\n",
        "cpu");
    MUST(nt_weights_save(j.job.net, file_name));
    MUST(nt_safetensors_open(&file, file_name));
    assert_int_equal(nt_safetensors_count(file), 2);
    float *a = read_tensor(file, "wte.weight"), *b = read_tensor(file, "lm_head.weight");
    assert_memory_equal(a, b, VOCABULARY * 8 * sizeof *a);
    free(a), free(b);
    nt_safetensors_close(file);
    MUST(nt_weights_load(j.job.net, file_name, false));

    source s = {0};
    const nt_safetensors_item items[] = {{"wte.weight", nt_shape_of(2, (int64_t)VOCABULARY, (int64_t)8)},
                                         {"lm_head.weight", nt_shape_of(2, (int64_t)VOCABULARY, (int64_t)8)}};
    s.value[0][5] = s.value[1][5] = 3;
    float got[VOCABULARY * 8];
    for (int i = 0; i < 2; i++) { /* either name alone */
        MUST(nt_safetensors_write(file_name, &items[i], 1, "test", get, &s));
        MUST(nt_weights_load(j.job.net, file_name, false));
        MUST(nt_net_read(j.job.net, 0, NT_ARRAY_PARAM, got));
        assert_true(got[5] == 3);
        s.value[0][5] = 3;
    }
    s.value[1][5] = 4;
    MUST(nt_safetensors_write(file_name, items, 2, "test", get, &s));
    assert_int_equal(nt_weights_load(j.job.net, file_name, false), NT_ERR_CONFIG);
    assert_non_null(strstr(nt_error_last()->message, "'wte.weight' and 'lm_head.weight' of the file differ"));
    nt_error_clear();
    assert_int_equal(unlink(file_name), 0);
    job_close(&j.job);
}

static void mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"[layers]\na = linear units=4\nb = linear units=4 weight=aa\n", "layer b: weight = aa|no layer"},
        {"[layers]\na = linear units=4\nb = linear units=4 weight=b\n", "layer b: weight = b|no layer"},
        {"[layers]\na = linear units=4\nt = activation function=tanh\nb = linear units=4 weight=t\n",
         "layer b: weight = t|has that name and a weight"},
        {"[layers]\na = linear units=4\nb = linear units=4 weight=a\n",
         "layer b: weight = a|that weight is 4x40|must be 4x4"},
    };
    for (int i = 0; i < 4; i++) {
        nt_config *config;
        nt_model *model;
        nt_sample_spec spec = spec_of("");
        char list[128];
        MUST(nt_config_parse(&config, "shared.ini", rows[i].text, strlen(rows[i].text), NULL, 0, sections));
        assert_int_equal(nt_model_create(&model, config, &spec), NT_ERR_CONFIG);
        snprintf(list, sizeof list, "%s", rows[i].words);
        for (char *w = strtok(list, "|"); w; w = strtok(NULL, "|"))
            if (!strstr(nt_error_last()->message, w))
                fail_msg("'%s' is not in: %s", w, nt_error_last()->message);
        nt_error_clear();
        nt_config_destroy(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradient_is_the_sum),   cmocka_unit_test(assigns_and_accumulates),
        cmocka_unit_test(cpu_trains_as_ref),     cmocka_unit_test(is_counted_once),
        cmocka_unit_test(files_hold_both_names), cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests_name("shared_weight", tests, NULL, NULL);
}
