/* nntrain eval: loss, perplexity, accuracy with its interval, scores per class, confusion matrix. Every rank
 * its slices. */
#include "launcher/command.h"
#include "launcher/evaluate.h"
#include "launcher/json.h"
#include "launcher/resume.h"

#include "core/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USAGE "nntrain eval cfg.ini [checkpoint.h5] [section.key=value ...] [--part valid|train] [--json]"

/* What an evaluation found. */
typedef struct findings {
    nt_loss_sum sum;
    nt_clusters clusters;
    nt_confusion confusion; /* count NULL: not wanted */
} findings;

static void print_text(const nt_session *s, const nt_resume *used, const findings *f)
{
    const nt_dataset *dataset = s->valid_feed->dataset;
    const nt_loss_sum *sum = &f->sum;
    const double perplexity = nt_perplexity(s->model, sum);
    char text[512];
    nt_dataset_describe(dataset, text, sizeof text);
    printf("checkpoint  %s (step %lld)\n", used->path, (long long)used->position.step);
    if (!used->weights) printf("weights     %s\n", nt_weights_names[s->average->weights]);
    printf("data        %s\n", text);
    printf("samples     %lld\n", (long long)sum->n);
    printf("loss        %.6f (standard deviation over samples %.6f)\n", nt_mean_loss(sum),
           nt_spread(sum->loss, sum->loss_squared, sum->n));
    printf("total       %.6f (the losses of all samples added up)\n", sum->loss);
    if (!isnan(perplexity))
        printf("perplexity  %.4f (over %lld tokens or positions)\n", perplexity, (long long)sum->answers);
    nt_accuracy_describe(text, sizeof text, s->model, sum, &f->clusters);
    if (!isnan(nt_accuracy(sum))) printf("accuracy    %s\n", text);
    nt_class_names names = {.n = dataset->class_names ? dataset->spec.n_classes : 0,
                            .name = dataset->class_names};
    if (f->confusion.count) nt_confusion_print(&f->confusion, &names, stdout);
}

static void print_json(const nt_session *s, const nt_resume *used, const findings *f)
{
    const nt_loss_sum *sum = &f->sum;
    const nt_range range = nt_accuracy_range(s->model, sum, &f->clusters);
    const double perplexity = nt_perplexity(s->model, sum);
    printf("{\"step\": %lld, \"samples\": %lld, \"loss\": %s, \"loss_std\": %s",
           (long long)used->position.step, (long long)sum->n, nt_json_number(nt_mean_loss(sum)).text,
           nt_json_number(nt_spread(sum->loss, sum->loss_squared, sum->n)).text);
    if (!isnan(nt_accuracy(sum)))
        printf(", \"correct\": %lld, \"answers\": %lld, \"accuracy\": %s, \"accuracy_low\": %s, "
               "\"accuracy_high\": %s",
               (long long)sum->correct, (long long)sum->answers, nt_json_number(nt_accuracy(sum)).text,
               nt_json_number(range.low).text, nt_json_number(range.high).text);
    if (!isnan(perplexity)) printf(", \"perplexity\": %s", nt_json_number(perplexity).text);
    printf("}\n");
}

static nt_status reduce_confusion(nt_comm *comm, nt_confusion *confusion)
{
    int64_t cells = confusion->n_classes * confusion->n_classes;
    NT_TRY(nt_comm_host_reduce(comm, confusion->count, (int)cells, NT_REDUCE_SUM));
    return NT_OK;
}

static nt_status evaluate_and_print(nt_session *s, const nt_resume *used, findings *f, bool json)
{
    const bool confusion = f->confusion.count != NULL;
    nt_evaluator evaluator = {.net = s->net,
                              .comm = s->comm,
                              .feed = s->valid_feed,
                              .seed = (uint64_t)s->run->seed,
                              .clusters = nt_model_answers(s->model) > 1 ? &f->clusters : NULL,
                              .each = confusion ? nt_count_classes : NULL,
                              .arg = &f->confusion,
                              .agreed = &s->agreed};
    NT_TRY(nt_evaluate(&evaluator, &f->sum));
    if (confusion) NT_TRY(reduce_confusion(s->comm, &f->confusion));
    if (!nt_session_is_root(s)) return NT_OK;
    if (json)
        print_json(s, used, f);
    else
        print_text(s, used, f);
    return NT_OK;
}

static nt_status make_confusion(nt_confusion *confusion)
{
    size_t n_cells = (size_t)(confusion->n_classes * confusion->n_classes);
    confusion->count = calloc(n_cells, sizeof *confusion->count);
    NT_CHECK_ALLOC(confusion->count, n_cells * sizeof *confusion->count);
    return NT_OK;
}

/* A confusion matrix where there are classes, one a sample, and not so many that nobody could read it. */
static nt_status evaluate(nt_session *s, const nt_resume *used, bool json)
{
    const int64_t k = nt_shape_elems(s->model->layer[s->model->output].out);
    const bool wanted =
        s->model->spec.target == NT_TARGET_CLASS && nt_model_answers(s->model) == 1 && k <= 1000;
    findings f = {.confusion.n_classes = k};
    NT_TRY(nt_session_agree(s, wanted ? make_confusion(&f.confusion) : NT_OK));
    nt_status status = evaluate_and_print(s, used, &f, json);
    free(f.confusion.count);
    NT_TRY(status);
    return NT_OK;
}

static nt_status find_part(const char *part, bool *valid)
{
    NT_CHECK(strcmp(part, "valid") == 0 || strcmp(part, "train") == 0, NT_ERR_USAGE,
             "--part is valid or train, not '%s'", part);
    *valid = *part == 'v';
    return NT_OK;
}

static nt_status eval_with(nt_session *s, nt_resume *used, bool valid, bool json)
{
    const char *checkpoint = s->args.n_words > 1 ? s->args.word[1] : NULL;
    NT_TRY(nt_session_open_for_eval(s, valid, checkpoint));
    if (valid && !s->valid && nt_session_is_root(s))
        nt_warn("the data have no valid part: evaluating the training part");
    NT_TRY(nt_session_open_model(s));
    NT_TRY(nt_session_open_backend(s));
    NT_TRY(nt_resume_find_for_use(s, checkpoint, used));
    NT_TRY(nt_session_build(s, false, used->tuning_text));
    NT_TRY(nt_resume_load(s, used, NULL));
    NT_TRY(evaluate(s, used, json));
    return NT_OK;
}

static nt_status eval_run(nt_session *session, int argc, char **argv)
{
    const char *part = "valid";
    bool json = false, valid = true;
    const nt_flag flags[] = {{"part", NT_FLAG_STRING, &part, "which part of the data"},
                             {"json", NT_FLAG_BOOL, &json, "print one JSON object"}};
    nt_resume used = {0};
    const nt_syntax syntax = {USAGE, 1, 2, true, flags, NT_N_ELEMS(flags)};
    NT_TRY(nt_session_begin(session, argc, argv, &syntax));
    NT_TRY(nt_session_agree(session, find_part(part, &valid)));
    NT_TRY(nt_session_configure(session));
    nt_status status = eval_with(session, &used, valid, json);
    nt_resume_free(&used);
    NT_TRY(status);
    return NT_OK;
}

const nt_command nt_cmd_eval = {
    .name = "eval",
    .usage = USAGE,
    .help = "loss, perplexity, accuracy with its confidence interval, scores per class, confusion matrix",
    .run = eval_run,
};
