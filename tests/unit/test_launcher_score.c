/* Accuracy and perplexity of several answers a sample, on ref and cpu, against a count by hand over the net's
 * outputs; what each loss says of outputs and answers; the class that is predicted. */
#include "launcher/score.h"

#include "launcher/evaluate.h"

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

enum { N = 7, T = 5, V = 4, IGNORED = 2 };

typedef struct scene {
    nt_config *config;
    nt_model *model;
} scene;

static scene make_scene(const char *text, const nt_sample_spec *spec)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, NULL};
    scene s = {0};
    MUST(nt_config_parse(&s.config, "c.ini", text, strlen(text), NULL, 0, sections));
    MUST(nt_model_create(&s.model, s.config, spec));
    return s;
}

static void close_scene(scene *s)
{
    nt_model_destroy(s->model);
    nt_config_destroy(s->config);
}

/* Labels that count, right ones among them, and the mean of their cross-entropies, from logits (N, T, V). */
typedef struct by_hand {
    int64_t answers, right, right_of[N];
    double mean;
} by_hand;

static by_hand count(const float *logits, const int32_t *label, int32_t ignored)
{
    by_hand h = {0};
    double sum = 0;
    for (int i = 0; i < N * T; i++) {
        const float *x = logits + (ptrdiff_t)i * V;
        double exps = 0;
        int best = 0;
        for (int v = 0; v < V; v++) {
            exps += exp((double)x[v]);
            best = x[v] > x[best] ? v : best;
        }
        if (label[i] == ignored) continue;
        h.answers++;
        h.right += best == label[i];
        h.right_of[i / T] += best == label[i];
        sum += log(exps) - (double)x[label[i]];
    }
    h.mean = sum / (double)h.answers;
    return h;
}

/* loss_options: what the [loss] section says beside type and class_dim. */
static void check_language_model(const char *backend_name, const char *loss_options, int32_t ignored,
                                 bool known)
{
    char text[512];
    snprintf(text, sizeof text,
             "[layer e]\ntype = embedding\nnum_embeddings = %d\nembedding_dim = 6\n[layer o]\ntype = "
             "linear\naxis = last\nunits = %d\n[loss]\ntype = cross_entropy\nclass_dim = last\n%s",
             V, V, loss_options);
    const nt_sample_spec spec = {.x_dtype = NT_I32,
                                 .x = nt_shape_of(1, (int64_t)T),
                                 .target = NT_TARGET_CLASS,
                                 .n_classes = V,
                                 .n_labels = T,
                                 .input = {.scale = 1}};
    scene s = make_scene(text, &spec);
    const nt_backend_options options = {.threads = 1};
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
    int32_t x[N * T], label[N * T];
    float logits[N * T * V];
    MUST(nt_backend_create(&backend, backend_name, &options));
    MUST(nt_tuning_create(&tuning, false));
    MUST(nt_net_create(&net, s.model, backend, &(nt_net_options){.seed = 5, .tuning = tuning}));
    MUST(nt_net_want(net, NT_MODE_EVAL, N));
    MUST(nt_net_build(net));
    for (int i = 0; i < N * T; i++) {
        x[i] = i * i % V;
        label[i] = (i * 7 + i / 3) % V;
    }
    const nt_batch batch = {.n = N, .x = x, .target = label};
    nt_loss_sum sum;
    MUST(nt_net_forward(net, NT_MODE_EVAL, &batch, &(nt_pass){.scale = 1, .share = 1}));
    MUST(nt_net_loss(net, &sum));
    MUST(nt_net_output(net, logits));
    const by_hand h = count(logits, label, ignored);
    assert_true(h.right > 0 && h.right < h.answers);
    assert_int_equal(sum.correct, h.right);
    for (int i = 0; i < N; i++)
        assert_int_equal(nt_net_correct(net, i), h.right_of[i]);
    sum.answers = nt_model_count_answers(s.model, label, N);
    assert_int_equal(sum.answers, h.answers);
    assert_int_equal(nt_model_answers(s.model), T);
    assert_true(nt_accuracy(&sum) == (double)h.right / (double)h.answers);
    sum.loss *= N / nt_model_target_weight(s.model, label, N); /* as an evaluation does */
    nt_find_nats(s.model, false, &sum);
    const double perplexity = nt_perplexity(s.model, &sum);
    /* losses are single floats: 2^-24 each, and the logits went through exp in double */
    if (known)
        assert_float_equal(perplexity, exp(h.mean), 1e-5);
    else
        assert_true(isnan(perplexity));
    nt_net_destroy(net);
    nt_tuning_destroy(tuning);
    nt_backend_destroy(backend);
    close_scene(&s);
}

static void language_models(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "ref64", "cpu"};
    for (int b = 0; b < 3; b++) {
        check_language_model(backends[b], "", -1, true);
        check_language_model(backends[b], "ignore_index = 2\n", IGNORED, true);
        check_language_model(backends[b], "ignore_index = 2\nmean_over = weights\n", IGNORED, true);
        check_language_model(backends[b], "label_smoothing = 0.1\n", -1, false);
        check_language_model(backends[b], "class_weights = 1, 2, 1, 1\n", -1, false);
    }
}

/* What the table of losses says, for 6 outputs and float targets or a class. */
static void every_loss_says_what_outputs_are(void **state)
{
    (void)state;
    static const struct {
        const char *loss;
        bool classes;
        nt_outputs outputs;
        int answers;
    } cases[] = {
        {"mse", false, NT_OUTPUTS_VALUES, 0},           {"l1", false, NT_OUTPUTS_VALUES, 0},
        {"huber", false, NT_OUTPUTS_VALUES, 0},         {"smooth_l1", false, NT_OUTPUTS_VALUES, 0},
        {"bce", false, NT_OUTPUTS_LOGISTIC, 6},         {"hinge", false, NT_OUTPUTS_SCORES, 6},
        {"hinge", true, NT_OUTPUTS_SCORES, 1},          {"kl_divergence", false, NT_OUTPUTS_SCORES, 1},
        {"cross_entropy", false, NT_OUTPUTS_LOGITS, 1}, {"cross_entropy", true, NT_OUTPUTS_LOGITS, 1},
    };
    int n_losses = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[160];
        snprintf(text, sizeof text, "[layer o]\ntype = linear\nunits = 6\n[loss]\ntype = %s\n",
                 cases[i].loss);
        nt_sample_spec spec = {.x_dtype = NT_F32, .x = nt_shape_of(1, (int64_t)3), .input = {.scale = 1}};
        spec.target = cases[i].classes ? NT_TARGET_CLASS : NT_TARGET_VALUE;
        *(cases[i].classes ? &spec.n_classes : &spec.n_values) = 6;
        scene s = make_scene(text, &spec);
        const float targets[12] = {0};
        const int32_t labels[2] = {0};
        const void *target = cases[i].classes ? (const void *)labels : targets;
        assert_int_equal(nt_model_outputs(s.model), cases[i].outputs);
        assert_int_equal(nt_model_answers(s.model), cases[i].answers);
        assert_int_equal(nt_model_count_answers(s.model, target, 2), 2 * cases[i].answers);
        n_losses += i == 0 || strcmp(cases[i].loss, cases[i - 1].loss) != 0;
        close_scene(&s);
    }
    int n_types = 0;
    while (nt_loss_types()[n_types])
        n_types++;
    assert_int_equal(n_losses, n_types); /* a new loss is a new line here */
}

static void words_leave_out_what_is_not_there(void **state)
{
    (void)state;
    const nt_sample_spec spec = {.x_dtype = NT_F32,
                                 .x = nt_shape_of(1, (int64_t)3),
                                 .target = NT_TARGET_CLASS,
                                 .n_classes = 6,
                                 .input = {.scale = 1}};
    scene s = make_scene("[layer o]\ntype = linear\nunits = 6\n", &spec);
    nt_loss_sum none = {.loss = 3, .n = 2}, some = {.loss = 3, .n = 4, .correct = 3, .answers = 4};
    assert_string_equal(nt_score_words(s.model, &none).text, "");
    assert_string_equal(nt_score_words(s.model, &some).text, ", accuracy 0.7500");
    assert_true(isnan(nt_mean_loss(&(nt_loss_sum){0})) && nt_mean_loss(&some) == 0.75);
    char text[200];
    nt_accuracy_describe(text, sizeof text, s.model, &some, &(nt_clusters){0});
    assert_non_null(
        strstr(text, "0.7500 (3 of 4 right; 95 % interval 0.3006 to 0.9544)")); /* Wilson's, by hand */
    close_scene(&s);
}

/* Logits that differ by less than float can show in probabilities: the class is theirs, the first if they
 * tie. */
static void classes_come_from_logits(void **state)
{
    (void)state;
    float output[] = {1e-10f, 3e-10f, 2e-10f, 3e-10f};
    const nt_output_layout layout = {.n_classes = 4, .n_positions = 1, .class_step = 1, .position_step = 4};
    assert_int_equal(nt_output_class(output, &layout, 0), 1);
    nt_outputs_to_probabilities(output, &layout, NT_OUTPUTS_LOGITS);
    assert_true(output[0] == 0.25f && output[1] == 0.25f && nt_output_class(output, &layout, 0) == 0);
    float logit[] = {0, 800, -800, 1};
    nt_outputs_to_probabilities(logit, &layout, NT_OUTPUTS_LOGISTIC);
    assert_true(logit[0] == 0.5f && logit[1] == 1 && logit[2] == 0);
    float score[] = {0, 8, -8, 1};
    nt_outputs_to_probabilities(score, &layout, NT_OUTPUTS_SCORES);
    assert_true(score[1] == 8 && score[2] == -8);
}

/* Labels that the loss ignores may lie outside of the classes. */
static void ignored_labels_are_in_no_matrix(void **state)
{
    (void)state;
    double cells[4] = {0};
    nt_confusion confusion = {.n_classes = 2, .count = cells};
    const int32_t label[] = {-100, 2, 1, INT32_MAX, 0};
    const float outputs[] = {1, 0, 1, 0, 1, 0, 1, 0, 0, 1};
    nt_count_classes(&confusion, &(nt_batch){.n = 5, .target = label}, outputs, 2);
    assert_true(cells[0] == 0 && cells[1] == 1 && cells[2] == 1 && cells[3] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(language_models),
        cmocka_unit_test(every_loss_says_what_outputs_are),
        cmocka_unit_test(words_leave_out_what_is_not_there),
        cmocka_unit_test(classes_come_from_logits),
        cmocka_unit_test(ignored_labels_are_in_no_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
