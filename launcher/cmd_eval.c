/* nntrain eval: loss, accuracy with its interval, scores per class, confusion matrix. Every rank its slices.
 */
#include "launcher/command.h"
#include "launcher/evaluate.h"
#include "launcher/resume.h"

#include "core/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USAGE "nntrain eval cfg.ini [checkpoint.h5] [section.key=value ...] [--part valid|train] [--json]"

static void count_classes(void *arg, const nt_batch *batch, const float *outputs, int64_t n_outputs)
{
    nt_confusion *confusion = arg;
    const int32_t *truth = batch->target;
    for (int64_t i = 0; i < batch->n; i++)
        confusion->count[truth[i] * confusion->n_classes + nt_argmax(outputs + i * n_outputs, n_outputs)]++;
}

static void print_text(const nt_session *s, const nt_resume *used, const nt_loss_sum *sum,
                       const nt_confusion *confusion)
{
    const nt_dataset *dataset = s->valid_feed->dataset;
    char text[512];
    nt_range range = nt_wilson(sum->correct, sum->n);
    nt_dataset_describe(dataset, text, sizeof text);
    printf("checkpoint  %s (step %lld)\n", used->path, (long long)used->position.step);
    if (!used->weights) printf("weights     %s\n", nt_weights_names[s->average->weights]);
    printf("data        %s\n", text);
    printf("samples     %lld\n", (long long)sum->n);
    printf("loss        %.6f (standard deviation over samples %.6f)\n", sum->loss / (double)sum->n,
           nt_spread(sum->loss, sum->loss_squared, sum->n));
    printf("total       %.6f (the losses of all samples added up)\n", sum->loss);
    if (s->model->spec.n_labels > 0 && strcmp(nt_loss_of_model(s->model), "cross_entropy") == 0)
        printf("perplexity  %.4f (over %lld positions a sample; a sample is right if all of them are)\n",
               exp(sum->loss / (double)sum->n), (long long)s->model->spec.n_labels);
    if (strcmp(nt_loss_of_model(s->model), "mse") != 0)
        printf("accuracy    %.4f (%lld right; 95 %% interval %.4f to %.4f)\n",
               (double)sum->correct / (double)sum->n, (long long)sum->correct, range.low, range.high);
    nt_class_names names = {.n = dataset->class_names ? dataset->spec.n_classes : 0,
                            .name = dataset->class_names};
    if (confusion) nt_confusion_print(confusion, &names, stdout);
}

static void print_json(const nt_session *s, const nt_resume *used, const nt_loss_sum *sum)
{
    nt_range range = nt_wilson(sum->correct, sum->n);
    printf("{\"step\": %lld, \"samples\": %lld, \"loss\": %.9g, \"loss_std\": %.9g",
           (long long)used->position.step, (long long)sum->n, sum->loss / (double)sum->n,
           nt_spread(sum->loss, sum->loss_squared, sum->n));
    if (strcmp(nt_loss_of_model(s->model), "mse") != 0)
        printf(", \"correct\": %lld, \"accuracy\": %.9g, \"accuracy_low\": %.9g, \"accuracy_high\": %.9g",
               (long long)sum->correct, (double)sum->correct / (double)sum->n, range.low, range.high);
    printf("}\n");
}

static nt_status reduce_confusion(nt_comm *comm, nt_confusion *confusion)
{
    int64_t cells = confusion->n_classes * confusion->n_classes;
    NT_TRY(nt_comm_host_reduce(comm, confusion->count, (int)cells, NT_REDUCE_SUM));
    return NT_OK;
}

static nt_status evaluate_and_print(nt_session *s, const nt_resume *used, nt_confusion *confusion, bool json)
{
    nt_loss_sum sum;
    nt_evaluator evaluator = {.net = s->net,
                              .comm = s->comm,
                              .feed = s->valid_feed,
                              .seed = (uint64_t)s->run->seed,
                              .each = confusion ? count_classes : NULL,
                              .arg = confusion,
                              .agreed = &s->agreed};
    NT_TRY(nt_evaluate(&evaluator, &sum));
    if (confusion) NT_TRY(reduce_confusion(s->comm, confusion));
    if (!nt_session_is_root(s)) return NT_OK;
    if (json)
        print_json(s, used, &sum);
    else
        print_text(s, used, &sum, confusion);
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
    bool wanted =
        strcmp(nt_loss_of_model(s->model), "cross_entropy") == 0 && k <= 1000 && s->model->spec.n_labels == 0;
    nt_confusion confusion = {.n_classes = k};
    NT_TRY(nt_session_agree(s, wanted ? make_confusion(&confusion) : NT_OK));
    nt_status status = evaluate_and_print(s, used, wanted ? &confusion : NULL, json);
    free(confusion.count);
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
    .help = "loss, accuracy with its confidence interval, scores per class, confusion matrix",
    .run = eval_run,
};
