/* Auxiliary heads: what is minimised is the weighted sum of all losses, and its gradient is that of the sum;
 * evaluation and prediction see the output alone; cpu agrees with ref; what a user may get wrong. */
#include "core/gradcheck.h"
#include "core/layers/head.h"
#include "core/model.h"
#include "core/net.h"
#include "core/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MUST(expr)                                                                                           \
    do {                                                                                                     \
        if ((expr) != NT_OK) fail_msg("%s", nt_error_last()->message);                                       \
    } while (0)

enum { N = 5, FEATURES = 6, OUTPUTS = 3 };

#define TRUNK  "[layer trunk]\ntype = linear\nunits = 7\nactivation = tanh\n"
#define BRANCH "[layer aux.fc]\ntype = linear\nunits = 3\n"
#define HEAD   "[layer aux]\ntype = head\nloss_weight = 0.4\n"
#define HEAD_2                                                                                               \
    "[layer aux2.fc]\ntype = linear\nunits = 3\ninput = trunk\n[layer aux2]\ntype = head\nloss = l1\n"
#define OUTPUT "[layer fc]\ntype = linear\nunits = 3\ninput = trunk\n"
#define HUBER  "[loss]\ntype = huber\ndelta = 0.3\n"
#define MIDDLE TRUNK BRANCH HEAD OUTPUT
#define TWO    TRUNK BRANCH HEAD HEAD_2 OUTPUT HUBER
#define AT_END TRUNK OUTPUT "[layer aux.fc]\ntype = linear\nunits = 3\ninput = trunk\n" HEAD

/* A net, its data, and what they stand on. */
typedef struct job {
    nt_config *config;
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
    float x[N * FEATURES], value[N * OUTPUTS];
    int32_t label[N];
    int64_t sample[N];
    nt_batch batch;
    nt_pass pass;
} job;

static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section, NULL};

static nt_sample_spec spec_of(nt_target_kind target)
{
    return (nt_sample_spec){.x_dtype = NT_F32,
                            .x = {1, {FEATURES}},
                            .target = target,
                            .n_classes = target == NT_TARGET_CLASS ? OUTPUTS : 0,
                            .n_values = target == NT_TARGET_VALUE ? OUTPUTS : 0,
                            .input = {.scale = 1}};
}

static float number(int64_t i)
{
    return 2 * nt_rng_uniform(nt_rng_block(3, NT_RNG_TEST, 0, (uint32_t)i, 0, 0).v[0]) - 1;
}

static void fill(job *j, nt_target_kind target)
{
    for (int i = 0; i < N * FEATURES; i++)
        j->x[i] = number(i);
    for (int i = 0; i < N * OUTPUTS; i++)
        j->value[i] = number(1000 + i);
    for (int i = 0; i < N; i++)
        j->label[i] = i % OUTPUTS, j->sample[i] = i;
    const void *targets = target == NT_TARGET_CLASS ? (void *)j->label : (void *)j->value;
    j->batch = (nt_batch){.n = N, .x = j->x, .target = targets, .sample = j->sample};
    j->pass = (nt_pass){.scale = 1.0 / N, .share = 1, .seed = 1, .sample = j->sample};
}

/* trains: else a net for evaluation only. */
static void open_job(job *j, const char *text, const char *backend, nt_target_kind target, bool trains)
{
    memset(j, 0, sizeof *j);
    nt_sample_spec spec = spec_of(target);
    MUST(nt_config_parse(&j->config, "heads.ini", text, strlen(text), NULL, 0, sections));
    MUST(nt_model_create(&j->model, j->config, &spec));
    const nt_backend_options options = {.threads = 1};
    MUST(nt_backend_create(&j->backend, backend, &options));
    MUST(nt_tuning_create(&j->tuning, false));
    const nt_optim_options *optim = nt_config_section(j->config, &nt_optim_section);
    const nt_net_options net = {.seed = 5, .tuning = j->tuning, .optim = trains ? optim : NULL};
    MUST(nt_net_create(&j->net, j->model, j->backend, &net));
    if (trains) MUST(nt_net_want(j->net, NT_MODE_TRAIN, N));
    MUST(nt_net_want(j->net, NT_MODE_EVAL, N));
    MUST(nt_net_build(j->net));
    fill(j, target);
}

static void close_job(job *j)
{
    nt_net_destroy(j->net);
    nt_tuning_destroy(j->tuning);
    nt_backend_destroy(j->backend);
    nt_model_destroy(j->model);
    nt_config_destroy(j->config);
}

static nt_loss_sum loss_of(job *j, nt_mode mode)
{
    nt_loss_sum sum;
    MUST(nt_net_forward(j->net, mode, &j->batch, &j->pass));
    MUST(nt_net_loss(j->net, &sum));
    return sum;
}

/* Analytic gradients of all parameters against differences of the reported loss: both know the weights. */
static void gradient_is_that_of_the_weighted_sum(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        nt_target_kind target;
    } rows[] = {{MIDDLE, NT_TARGET_CLASS},
                {MIDDLE, NT_TARGET_VALUE},
                {AT_END, NT_TARGET_CLASS},
                {TWO, NT_TARGET_VALUE}};
    for (int i = 0; i < 4; i++) {
        job j;
        nt_gradcheck_result result;
        open_job(&j, rows[i].text, "ref64", rows[i].target, true);
        MUST(nt_gradcheck_net(j.net, &j.batch, 1e-5, 30, &result));
        if (!(result.worst < 1e-8)) fail_msg("row %d: %s differs by %g", i, result.where, result.worst);
        close_job(&j);
    }
}

/* Losses of the three outputs from the parameters, by hand: trunk, then each branch; mean over the batch. */
static double loss_by_hand(job *j, const char *branch, bool huber)
{
    float trunk_w[7 * FEATURES], trunk_b[7], w[OUTPUTS * 7], b[OUTPUTS];
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", branch);
    snprintf(bias, sizeof bias, "%s.bias", branch);
    const struct {
        const char *name;
        float *to;
    } wanted[] = {{"trunk.weight", trunk_w}, {"trunk.bias", trunk_b}, {weight, w}, {bias, b}};
    for (int s = 0; s < nt_net_n_slots(j->net); s++)
        for (int k = 0; k < 4; k++)
            if (strcmp(nt_net_get_slot(j->net, s)->name, wanted[k].name) == 0)
                MUST(nt_net_read(j->net, s, NT_ARRAY_PARAM, wanted[k].to));
    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int o = 0; o < OUTPUTS; o++) {
            double y = (double)b[o];
            for (int u = 0; u < 7; u++) {
                double h = (double)trunk_b[u];
                for (int f = 0; f < FEATURES; f++)
                    h += (double)trunk_w[u * FEATURES + f] * (double)j->x[i * FEATURES + f];
                y += (double)w[o * 7 + u] * tanh(h);
            }
            double d = fabs(y - (double)j->value[i * OUTPUTS + o]);
            sum += !huber ? d : d <= 0.3 ? d * d / 2 : 0.3 * (d - 0.15);
        }
    return sum / (N * OUTPUTS);
}

static void training_reports_the_sum_and_evaluation_the_output(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref64", "ref", "cpu"};
    for (int k = 0; k < 3; k++) {
        job j;
        open_job(&j, TWO, backends[k], NT_TARGET_VALUE, true);
        double output = loss_by_hand(&j, "fc", true), aux = loss_by_hand(&j, "aux.fc", true);
        double other = loss_by_hand(&j, "aux2.fc", false), tolerance = k == 0 ? 1e-12 : 1e-6; /* float */
        nt_loss_sum train = loss_of(&j, NT_MODE_TRAIN), eval = loss_of(&j, NT_MODE_EVAL);
        assert_true(fabs(train.loss / N - (output + 0.4 * aux + other)) < tolerance);
        assert_true(fabs(eval.loss / N - output) < tolerance);
        close_job(&j);
    }
}

/* Evaluation and prediction compute the same bits as the model that never had a head, with its weights; and
 * whether a sample is right is the output's affair. */
static void evaluation_is_that_of_the_output_alone(void **state)
{
    (void)state;
    job with, alone;
    float a[N * OUTPUTS], b[N * OUTPUTS], values[64];
    open_job(&with, MIDDLE, "ref", NT_TARGET_CLASS, false);
    open_job(&alone, TRUNK OUTPUT, "ref", NT_TARGET_CLASS, false);
    assert_int_equal(nt_net_n_slots(with.net), 6); /* all parameters are there, for the checkpoint */
    for (int s = 0; s < nt_net_n_slots(alone.net); s++)
        for (int k = 0; k < nt_net_n_slots(with.net); k++)
            if (strcmp(nt_net_get_slot(with.net, k)->name, nt_net_get_slot(alone.net, s)->name) == 0) {
                MUST(nt_net_read(with.net, k, NT_ARRAY_PARAM, values));
                MUST(nt_net_write(alone.net, s, NT_ARRAY_PARAM, values));
            }
    nt_loss_sum x = loss_of(&with, NT_MODE_EVAL), y = loss_of(&alone, NT_MODE_EVAL);
    assert_true(x.loss == y.loss && x.correct == y.correct && x.n == N);
    with.batch.target = alone.batch.target = NULL;
    MUST(nt_net_forward(with.net, NT_MODE_EVAL, &with.batch, &with.pass));
    MUST(nt_net_forward(alone.net, NT_MODE_EVAL, &alone.batch, &alone.pass));
    MUST(nt_net_output(with.net, a));
    MUST(nt_net_output(alone.net, b));
    assert_memory_equal(a, b, sizeof a);
    close_job(&with);
    close_job(&alone);
}

static void nodes(void **state)
{
    (void)state;
    job j;
    open_job(&j, MIDDLE, "ref", NT_TARGET_CLASS, true);
    const nt_model *m = j.model;
    assert_string_equal(m->layer[m->output].name, "fc");
    assert_string_equal(m->layer[m->loss].name, "loss");
    assert_string_equal(m->layer[m->n_layers - 1].name, "total");
    assert_true(nt_model_find(m, "aux.loss") == m->loss + 1);
    static const char *const only[] = {"aux.fc", "aux", "aux.loss", "total"};
    for (int i = 0; i < 4; i++)
        assert_true(m->layer[nt_model_find(m, only[i])].training_only);
    assert_false(m->layer[nt_model_find(m, "trunk")].training_only);
    assert_false(m->layer[m->loss].training_only);
    close_job(&j);
}

/* Ten steps: the weight 0 of a head leaves its branch alone, any other does not. */
static void a_head_trains_its_branch(void **state)
{
    (void)state;
    static const char *const texts[] = {MIDDLE "[optimizer]\nlr = 0.1\n",
                                        TRUNK BRANCH "[layer aux]\ntype = head\nloss_weight = 0\n" OUTPUT
                                                     "[optimizer]\nlr = 0.1\n"};
    for (int k = 0; k < 2; k++) {
        job j;
        float before[OUTPUTS * 7], after[OUTPUTS * 7];
        int slot = -1;
        open_job(&j, texts[k], "cpu", NT_TARGET_CLASS, true);
        for (int s = 0; s < nt_net_n_slots(j.net); s++)
            if (strcmp(nt_net_get_slot(j.net, s)->name, "aux.fc.weight") == 0) slot = s;
        MUST(nt_net_read(j.net, slot, NT_ARRAY_PARAM, before));
        double first = loss_of(&j, NT_MODE_TRAIN).loss;
        for (int64_t step = 0; step < 10; step++) {
            (void)loss_of(&j, NT_MODE_TRAIN);
            MUST(nt_net_backward(j.net, &j.pass, NULL, NULL));
            const nt_net_step s = {.lr = 0.1, .step = step, .batch = N};
            MUST(nt_net_update(j.net, &s));
        }
        MUST(nt_net_read(j.net, slot, NT_ARRAY_PARAM, after));
        assert_true((memcmp(before, after, sizeof before) == 0) == (k == 1));
        assert_true(loss_of(&j, NT_MODE_TRAIN).loss < first);
        close_job(&j);
    }
}

static void expect_error(const char *text, const char *words)
{
    char list[256];
    nt_config *config;
    nt_model *model = NULL;
    nt_sample_spec spec = spec_of(NT_TARGET_CLASS);
    MUST(nt_config_parse(&config, "heads.ini", text, strlen(text), NULL, 0, sections));
    nt_status status = nt_model_create(&model, config, &spec);
    if (status != NT_ERR_CONFIG) fail_msg("%s: status %d, not a config error", text, status);
    snprintf(list, sizeof list, "%s", words);
    for (char *word = strtok(list, "|"); word; word = strtok(NULL, "|"))
        if (!strstr(nt_error_last()->message, word))
            fail_msg("'%s' is not in: %s", word, nt_error_last()->message);
    nt_error_clear();
    nt_config_destroy(config);
}

static void mistakes(void **state)
{
    (void)state;
    expect_error(TRUNK BRANCH "[layer aux]\ntype = head\nloss_weight = -1\n" OUTPUT,
                 "heads.ini:|loss_weight");
    expect_error(TRUNK BRANCH "[layer aux]\ntype = head\nloss = cross_entrpy\n" OUTPUT,
                 "heads.ini:|cross_entrpy|'cross_entropy'");
    expect_error(TRUNK BRANCH "[layer aux]\ntype = head\nloss = mse\n" OUTPUT, "aux.loss|mse|class labels");
    expect_error(TRUNK BRANCH HEAD "[layer fc]\ntype = linear\nunits = 3\ninput = aux\n",
                 "fc|'aux' is a head");
    expect_error("[layer two]\ntype = linear\nunits = 2\n" HEAD TRUNK OUTPUT, "aux has 2 outputs|3 classes");
    expect_error(TRUNK BRANCH OUTPUT, "aux.fc|not used");
    expect_error("[layer aux]\ntype = head\n", "no output");
    expect_error(TRUNK BRANCH "[layer aux]\ntype = head\nweight = 2\n" OUTPUT, "weight|loss_weight");
}

/* The output is the last layer that nobody reads and that is no head, wherever heads and their branches
 * stand. */
static void the_output_is_found(void **state)
{
    (void)state;
    static const char *const texts[] = {
        MIDDLE, TWO, AT_END,
        TRUNK OUTPUT "[layer aux.fc]\ntype = linear\nunits = 3\ninput = trunk\n" HEAD HEAD_2};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const nt_sample_spec spec = spec_of(NT_TARGET_VALUE);
        nt_config *config;
        nt_model *model;
        char text[1024];
        snprintf(text, sizeof text, "%s%s", texts[i], strstr(texts[i], HUBER) ? "" : HUBER);
        MUST(nt_config_parse(&config, "heads.ini", text, strlen(text), NULL, 0, sections));
        MUST(nt_model_create(&model, config, &spec));
        assert_string_equal(model->layer[model->output].name, "fc");
        nt_model_destroy(model);
        nt_config_destroy(config);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_output_is_found),
        cmocka_unit_test(nodes),
        cmocka_unit_test(gradient_is_that_of_the_weighted_sum),
        cmocka_unit_test(training_reports_the_sum_and_evaluation_the_output),
        cmocka_unit_test(evaluation_is_that_of_the_output_alone),
        cmocka_unit_test(a_head_trains_its_branch),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests_name("heads", tests, NULL, NULL);
}
