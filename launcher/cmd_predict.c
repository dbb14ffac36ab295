/* nntrain predict: the net's outputs for every sample of a dataset, as an HDF5 or a CSV file.
 *
 * They are probabilities after cross_entropy and bce (--logits: what comes before), outputs otherwise; beside
 * them the largest one's class, where there are classes. Ranks share the work and rank 0 writes
 * (launcher/predictions.h). The training part, where it is at hand, says how inputs are normalised and how
 * many classes there are. */
#include "launcher/command.h"
#include "launcher/evaluate.h"
#include "launcher/featurise.h"
#include "launcher/predictions.h"
#include "launcher/resume.h"

#include "core/log.h"
#include "core/phase.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define USAGE                                                                                                \
    "nntrain predict cfg.ini in.h5 out.h5|out.csv [section.key=value ...] [--checkpoint file.h5] [--group "  \
    "/test] "                                                                                                \
    "[--logits] [--force]"

typedef struct predictor {
    nt_session *session;
    const char *checkpoint, *group;
    bool force, logits;
    nt_resume used;
    nt_predictions *file; /* rank 0 */
    int64_t k;
    nt_output_layout layout;
    float *slice;    /* (largest slice, k) */
    double *batch;   /* (batch, k): all ranks' outputs */
    float *rows;     /* (batch, k) */
    int32_t *class_; /* (batch, positions) */
    nt_outputs outputs;
} predictor;

/* --- input --- */

static nt_status open_input(predictor *p)
{
    nt_session *s = p->session;
    nt_status status = nt_dataset_open(&s->train, s->data, NT_SPLIT_TRAIN, (uint64_t)s->run->seed);
    if (status == NT_ERR_NO_INPUT) {
        nt_warn("%s; the normalisation of inputs is taken from '%s'", nt_error_last()->message,
                s->args.word[1]);
        nt_error_clear();
    } else {
        NT_TRY(status);
    }
    NT_TRY(nt_dataset_open_for_predict(&s->valid, s->data, s->args.word[1], p->group));
    if (s->train) NT_TRY(nt_dataset_conform(s->valid, &s->train->spec));
    return NT_OK;
}

static nt_status make_augment(predictor *p)
{
    nt_session *s = p->session;
    NT_TRY(nt_augment_create(&s->augment, s->config, s->train ? &s->train->spec : &s->valid->spec,
                             (uint64_t)s->run->seed));
    return NT_OK;
}

static nt_status make_feed(predictor *p)
{
    nt_session *s = p->session;
    nt_feed_options options = {.batch = s->data->eval_batch > 0 ? s->data->eval_batch : s->data->batch,
                               .n_pieces = 1,
                               .depth = (int)s->data->prefetch,
                               .augment = s->augment};
    NT_TRY(nt_feed_create(&s->valid_feed, s->valid, s->comm, &options));
    return NT_OK;
}

static nt_status make_model(predictor *p)
{
    nt_session *s = p->session;
    NT_TRY(nt_model_create(&s->model, s->config, nt_augment_spec(s->augment)));
    p->outputs = nt_model_outputs(s->model);
    p->k = nt_shape_elems(s->model->layer[s->model->output].out);
    p->layout = nt_model_output_layout(s->model);
    return NT_OK;
}

static nt_status allocate(predictor *p)
{
    const size_t n = (size_t)p->session->valid_feed->options.batch, k = (size_t)p->k;
    NT_CHECK(
        n <= INT_MAX / k, NT_ERR_CONFIG, /* one reduction carries a whole batch */
        "a batch of %zu samples with %zu outputs each is too large to predict: data.eval_batch up to %zu", n,
        k, INT_MAX / k);
    p->slice = calloc(n * k, sizeof *p->slice);
    p->batch = calloc(n * k, sizeof *p->batch);
    p->rows = calloc(n * k, sizeof *p->rows);
    p->class_ = calloc(n * (size_t)p->layout.n_positions, sizeof *p->class_);
    NT_CHECK_ALLOC(p->slice && p->batch && p->rows && p->class_, n * k * sizeof *p->batch);
    return NT_OK;
}

/* --- output, on rank 0 --- */

/* Whether the largest output is an answer. */
static bool has_classes(const predictor *p)
{
    return p->outputs != NT_OUTPUTS_VALUES && p->layout.n_classes >= 2;
}

/* The training part's names, else the input's own. */
static void find_names(const predictor *p, nt_predictions_form *form)
{
    const nt_dataset *named = p->session->train ? p->session->train : p->session->valid;
    form->names = (const char *const *)named->class_names;
    form->n_names = form->names ? named->spec.n_classes : 0;
}

static nt_status create_output(predictor *p)
{
    if (!nt_session_is_root(p->session)) return NT_OK;
    nt_predictions_form form = {
        .n_samples = p->session->valid->n_samples,
        .n_outputs = p->k,
        .layout = p->layout,
        .shape = p->session->model->layer[p->session->model->output].out,
        .classes = has_classes(p),
        .value_name = !p->logits && nt_outputs_have_probabilities(p->outputs) ? "probability" : "output",
        .checkpoint = p->used.path,
        .input = p->session->args.word[1]};
    if (form.classes) find_names(p, &form);
    NT_TRY(nt_predictions_open(&p->file, p->session->args.word[2], p->force, &form));
    return NT_OK;
}

static nt_status write_rows(predictor *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float *row = p->rows + i * p->k;
        for (int64_t j = 0; j < p->k; j++)
            row[j] = (float)p->batch[i * p->k + j];
        for (int64_t at = 0; at < p->layout.n_positions; at++)
            p->class_[i * p->layout.n_positions + at] = (int32_t)nt_output_class(row, &p->layout, at);
        if (!p->logits) nt_outputs_to_probabilities(row, &p->layout, p->outputs);
    }
    NT_TRY(nt_predictions_put(p->file, n, p->rows, p->class_));
    return NT_OK;
}

static nt_status finish_output(predictor *p)
{
    nt_predictions *file = p->file;
    p->file = NULL;
    return file ? nt_predictions_finish(file) : NT_OK;
}

static void close_predictor(predictor *p)
{
    nt_predictions_discard(p->file);
    nt_resume_free(&p->used);
    free(p->slice);
    free(p->batch);
    free(p->rows);
    free(p->class_);
}

/* --- work --- */

/* This rank's outputs, zeros for the others': their sum is the whole batch in order. */
static nt_status predict_batch(predictor *p)
{
    nt_session *s = p->session;
    const nt_feed *feed = s->valid_feed;
    int64_t begin, end, n = feed->slice.global_n;
    nt_comm_part(n, s->comm->rank, s->comm->size, &begin, &end);
    memset(p->batch, 0, (size_t)(n * p->k) * sizeof *p->batch);
    if (feed->n_pieces > 0) {
        nt_batch piece = feed->piece[0];
        nt_pass pass = {.scale = 1, .share = 1, .sample = piece.sample};
        piece.target = NULL;
        NT_TRY(nt_net_forward(s->net, NT_MODE_EVAL, &piece, &pass));
        NT_TRY(nt_net_output(s->net, p->slice));
        for (int64_t i = 0; i < piece.n * p->k; i++)
            p->batch[begin * p->k + i] = p->slice[i];
    }
    NT_TRY(nt_comm_host_reduce(s->comm, p->batch, (int)(n * p->k), NT_REDUCE_SUM));
    if (nt_session_is_root(s)) NT_TRY(write_rows(p, n));
    nt_phase_tick();
    return NT_OK;
}

static nt_status predict_all(predictor *p)
{
    nt_feed *feed = p->session->valid_feed;
    nt_phase_enter("predict");
    NT_TRY(nt_feed_start(feed, 0, 0));
    for (int64_t i = 0; i < nt_feed_batches(feed); i++) {
        NT_TRY(nt_feed_next(feed));
        NT_TRY(predict_batch(p));
    }
    nt_feed_stop(feed);
    return NT_OK;
}

static nt_status predict(predictor *p)
{
    nt_session *s = p->session;
    NT_TRY(nt_session_configure(s));
    NT_TRY(nt_session_agree(s, open_input(p)));
    NT_TRY(nt_session_featurise(s, p->checkpoint, true));
    NT_TRY(nt_session_agree(s, make_augment(p)));
    NT_TRY(nt_session_agree(s, make_feed(p)));
    NT_TRY(nt_session_agree(s, make_model(p)));
    NT_TRY(nt_session_open_backend(s));
    NT_TRY(nt_resume_find_for_use(s, p->checkpoint, &p->used));
    NT_TRY(nt_session_build(s, false, p->used.tuning_text));
    NT_TRY(nt_resume_load(s, &p->used, NULL));
    NT_TRY(nt_session_agree(s, allocate(p)));
    NT_TRY(nt_session_agree(s, create_output(p)));
    NT_TRY(predict_all(p));
    NT_TRY(nt_session_agree(s, finish_output(p)));
    return NT_OK;
}

static nt_status predict_run(nt_session *session, int argc, char **argv)
{
    predictor p = {.session = session};
    const nt_flag flags[] = {
        {"checkpoint", NT_FLAG_STRING, &p.checkpoint, "default: the newest of the run folder"},
        {"group", NT_FLAG_STRING, &p.group, "group of the input; default: found by name"},
        {"logits", NT_FLAG_BOOL, &p.logits, "outputs as they are, not as probabilities"},
        {"force", NT_FLAG_BOOL, &p.force, "replace the output"}};
    const nt_syntax syntax = {USAGE, 3, 3, true, flags, NT_N_ELEMS(flags)};
    NT_TRY(nt_session_begin(session, argc, argv, &syntax));
    nt_status status = predict(&p);
    close_predictor(&p);
    NT_TRY(status);
    return NT_OK;
}

const nt_command nt_cmd_predict = {
    .name = "predict",
    .usage = USAGE,
    .help = "predictions for a dataset, as HDF5 or CSV",
    .run = predict_run,
};
