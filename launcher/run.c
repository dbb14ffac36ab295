/* The training run: set-up, the loop, the end.
 *
 * The loop reads like the algorithm: take a batch, take a step, share what happened, and at the edge of the
 * step do what is due. Whatever could differ between ranks (a signal that reached one of them, rank 0's
 * clock) travels in the one small reduction per step that also carries the losses, so all ranks evaluate,
 * save and stop at the same steps.
 *
 * A device's results come one step late (dist/step.h), so two counts go through the run: steps that were
 * given to the backend, and the position, which counts results. At an edge where anything is due the last
 * result is fetched first, and the two are the same. */
#include "launcher/run.h"

#include "core/clock.h"
#include "core/fault.h"
#include "core/layers/batchnorm.h"
#include "core/log.h"
#include "core/phase.h"
#include "core/schedule.h"
#include "dist/shard.h"
#include "dist/step.h"
#include "launcher/console.h"
#include "launcher/evaluate.h"
#include "launcher/folder.h"
#include "launcher/interval.h"
#include "launcher/replicas.h"
#include "launcher/report.h"
#include "launcher/resume.h"
#include "launcher/signals.h"
#include "launcher/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct run {
    nt_session *session;
    nt_optim_options optim; /* the session's, with the rate of its batch */
    nt_folder *folder;      /* rank 0 */
    char checkpoints[PATH_MAX];
    char *tuning_text; /* rank 0's choices, kept in checkpoints */
    nt_resume resume;
    nt_stepper *stepper;
    nt_replicas *replicas;
    nt_reporter report;
    nt_position position;     /* after the last result */
    int64_t given;            /* steps given to the backend; position.step, or one more */
    int64_t batches, n_steps; /* an epoch; in all */
    nt_step_report step;      /* the last one with a result */
    nt_loss_sum valid;        /* of the last evaluation */
    double validated_s, saved_s, step_began_s, began_s; /* step_began_s: or when the last result came */
    int stop;                                           /* agreed: number of a signal; 0: go on */
    bool stopped_early;                                 /* run.stop_after */
    bool validate_due, save_due;
    bool said_not_finite; /* of the validation loss */
} run;

static bool is_root(const run *r)
{
    return r->session->comm->rank == 0;
}

/* --- saving --- */

static nt_status write_checkpoint(run *r)
{
    nt_session *s = r->session;
    nt_checkpoint_meta meta = {.position = r->position,
                               .config_text = s->config_text,
                               .config_hash = nt_config_hash(s->config),
                               .tuning_text = r->tuning_text,
                               .backend = (char *)s->backend->ops->name,
                               .n_ranks = s->comm->size,
                               .optimizer = (char *)nt_optim_name(s->optim),
                               .features = s->features_text};
    if (r->report.metrics) nt_metrics_sync(r->report.metrics);
    NT_TRY(nt_checkpoint_save(s->net, &meta, r->checkpoints));
    NT_TRY(nt_checkpoint_prune(r->checkpoints, (int)s->checkpoint->keep,
                               s->checkpoint->best ? r->position.best_step : -1));
    return NT_OK;
}

/* Nothing is trained after it: if it fails, the work would be lost without a word. */
static bool is_last_save(const run *r)
{
    return r->stop || r->stopped_early || r->position.step >= r->n_steps;
}

/* Rank 0 gets all of the optimizer's state, where it is in shards, until nt_shard_close. */
static nt_status collect_state(run *r)
{
    const nt_buckets *buckets = nt_stepper_buckets(r->stepper);
    NT_TRY(nt_session_agree(r->session, nt_shard_open(buckets)));
    nt_phase_wait("collecting the state");
    NT_TRY(nt_shard_gather(buckets));
    return NT_OK;
}

/* All ranks learn how rank 0's writing went and act alike. */
static nt_status save(run *r)
{
    nt_session *s = r->session;
    nt_phase_enter("checkpoint");
    NT_TRY(collect_state(r));
    nt_phase_enter("checkpoint");
    nt_fault_point("run.checkpoint");
    nt_status status = nt_session_agree(s, is_root(r) ? write_checkpoint(r) : NT_OK);
    nt_shard_close(nt_stepper_buckets(r->stepper));
    r->saved_s = nt_clock_s();
    r->save_due = false;
    if (status == NT_OK)
        nt_info("checkpoint step %lld saved", (long long)r->position.step);
    else if (s->agreed && s->checkpoint->on_error == NT_CHECKPOINT_CONTINUE && !is_last_save(r)) {
        nt_warn("the checkpoint of step %lld could not be saved: %s; training goes on",
                (long long)r->position.step, nt_error_last()->message);
        nt_error_clear();
        s->agreed = false;
        status = NT_OK;
    }
    NT_TRY(status);
    return NT_OK;
}

static nt_status check_replicas(run *r)
{
    nt_phase_wait("replica check");
    nt_status status = nt_replicas_check(r->replicas);
    if (status == NT_ERR_DIVERGED) r->session->agreed = true;
    NT_TRY(status);
    return NT_OK;
}

/* --- evaluating --- */

/* Said once, when it begins; the training loss has its own policy (run.nan_policy). */
static void say_not_finite(run *r, double loss)
{
    if (is_root(r) && !r->said_not_finite)
        nt_warn(
            "step %lld: the validation loss is %s, though the training loss is finite: look for samples with "
            "extreme values in the valid part, and for statistics of batchnorm that have run away; it counts "
            "as "
            "no improvement, so the best checkpoint stays as it is",
            (long long)r->position.step, isnan(loss) ? "NaN" : "infinite");
    r->said_not_finite = true;
}

/* What an evaluation is judged by, of which less is better. */
static double metric_of(const run *r, const nt_loss_sum *sum)
{
    return r->session->run->metric == NT_METRIC_ACCURACY ? 1 - nt_accuracy(sum) : nt_mean_loss(sum);
}

static void say_reduced(const run *r)
{
    const nt_plateau *p = &r->position.plateau;
    if (is_root(r))
        nt_info(
            "step %lld: no better %s than %.6g in more than %lld evaluations: the rate is reduced to %.4g",
            (long long)r->position.step,
            r->session->run->metric == NT_METRIC_ACCURACY ? "validation error" : "validation loss",
            p->progress.best, (long long)r->optim.patience, p->lr);
}

/* Decides by a number that is the same on all ranks: what is kept as best, the rate, the end. */
static void judge(run *r, double metric)
{
    const nt_session *s = r->session;
    nt_position *p = &r->position;
    if (isfinite(metric) && metric < p->best) {
        p->best = metric;
        p->best_step = p->step;
        r->save_due |= s->checkpoint->best;
    }
    nt_progress_take(&p->stop, metric, 0, s->run->stop_delta);
    if (r->optim.schedule == NT_SCHEDULE_PLATEAU && nt_plateau_take(&p->plateau, &r->optim, metric))
        say_reduced(r);
    r->stopped_early = s->run->stop_after > 0 && p->stop.bad >= s->run->stop_after;
}

/* The weights that are judged by: raw before their average has begun. */
static nt_weights judged(const run *r)
{
    nt_weights which = (nt_weights)r->session->average->weights;
    return nt_net_average_begun(r->session->net, which) ? which : NT_WEIGHTS_RAW;
}

static nt_status evaluate_weights(run *r, const nt_evaluator *evaluator, nt_weights which)
{
    nt_loss_sum sum;
    nt_net *net = r->session->net;
    NT_TRY(nt_net_use_weights(net, which));
    NT_TRY(nt_evaluate(evaluator, &sum));
    NT_TRY(nt_net_use_weights(net, NT_WEIGHTS_RAW));
    nt_reporter_valid(&r->report, r->position.step, which, &sum);
    if (which == judged(r)) r->valid = sum;
    return NT_OK;
}

static nt_status validate(run *r)
{
    nt_session *s = r->session;
    r->validate_due = false;
    if (!s->valid_feed) return NT_OK;
    nt_evaluator evaluator = {.net = s->net,
                              .comm = s->comm,
                              .feed = s->valid_feed,
                              .seed = (uint64_t)s->run->seed,
                              .progress = is_root(r) ? nt_reporter_evaluating : NULL};
    for (int w = 0; w < NT_N_WEIGHTS; w++)
        if (w == NT_WEIGHTS_RAW || nt_net_average_begun(s->net, (nt_weights)w))
            NT_TRY(evaluate_weights(r, &evaluator, (nt_weights)w));
    double loss = nt_mean_loss(&r->valid);
    if (!isfinite(loss)) say_not_finite(r, loss);
    judge(r, isfinite(loss) ? metric_of(r, &r->valid) : (double)NAN);
    r->validated_s = nt_clock_s();
    return NT_OK;
}

/* --- the loop --- */

static nt_status take_batch(run *r)
{
    nt_fault_set_step(r->given);
    nt_phase_set_step(r->given + 1);
    nt_phase_enter("data");
    nt_fault_point("run.data");
    NT_TRY(nt_feed_next(r->session->train_feed));
    return NT_OK;
}

static double rate_of(const run *r, int64_t step)
{
    nt_optim_options now = r->optim;
    if (r->position.plateau.lr > 0) now.lr = r->position.plateau.lr;
    return nt_schedule_lr(&now, step, r->n_steps, r->batches);
}

/* The reduction of the step: losses, signals, and what rank 0's clock says. */
static nt_status share_result(run *r, const nt_loss_sum *mine)
{
    const nt_session *s = r->session;
    double now = nt_clock_s();
    double values[] = {mine->loss,
                       mine->loss_squared,
                       (double)mine->correct,
                       (double)mine->n,
                       (double)mine->answers,
                       nt_signals_caught() != 0,
                       is_root(r) && nt_interval_due_by_clock(&s->checkpoint->every, now - r->saved_s),
                       is_root(r) && nt_interval_due_by_clock(&s->run->validate, now - r->validated_s)};
    nt_phase_wait("sum of losses");
    NT_TRY(nt_comm_host_reduce(s->comm, values, NT_N_ELEMS(values), NT_REDUCE_SUM));
    r->step.sum = (nt_loss_sum){.loss = values[0],
                                .loss_squared = values[1],
                                .correct = (int64_t)values[2],
                                .n = (int64_t)values[3],
                                .answers = (int64_t)values[4]};
    nt_find_nats(s->model, true, &r->step.sum);
    r->stop |= values[5] > 0;
    r->save_due |= values[6] > 0;
    r->validate_due |= values[7] > 0;
    return NT_OK;
}

static void add_to_epoch(run *r)
{
    nt_loss_sum *epoch = &r->position.epoch_sum;
    if (r->step.skipped) return;
    epoch->loss += r->step.sum.loss;
    epoch->loss_squared += r->step.sum.loss_squared;
    epoch->correct += r->step.sum.correct;
    epoch->n += r->step.sum.n;
    epoch->answers += r->step.sum.answers;
    epoch->nats += r->step.sum.nats;
}

/* Counts the step, and the epoch if it was its last. */
static void advance(run *r)
{
    nt_position *p = &r->position;
    double now = nt_clock_s();
    add_to_epoch(r);
    p->step++;
    p->batch++;
    r->step.step = p->step;
    r->step.epoch = p->epoch_sum;
    r->step.seconds = now - r->step_began_s;
    r->step_began_s = now;
    nt_reporter_step(&r->report, &r->step);
    if (p->batch < r->batches) return;
    nt_reporter_epoch(&r->report, &r->step);
    p->batch = 0;
    p->epoch++;
    p->epoch_sum = (nt_loss_sum){0};
}

/* Takes in what the stepper has to tell: of the step just given, of the one before, or nothing. */
static nt_status take_result(run *r, nt_status status, const nt_step_result *result)
{
    if (status == NT_ERR_NAN)
        r->session->agreed = true; /* decided from reduced numbers: the same on all ranks */
    NT_TRY(status);
    if (result->step < 0) return NT_OK;
    NT_BUG_UNLESS(result->step == r->position.step, "the result of step %lld came after %lld steps",
                  (long long)result->step, (long long)r->position.step);
    r->step.lr = rate_of(r, result->step);
    r->step.grad_norm = result->grad_norm;
    r->step.skipped = result->skipped;
    NT_TRY(share_result(r, &result->sum));
    advance(r);
    return NT_OK;
}

/* Adds the weights to their averages where that is due. A step that is skipped has left them as they were. */
static nt_status average(run *r)
{
    const nt_session *s = r->session;
    for (int w = NT_WEIGHTS_EMA; w < NT_N_WEIGHTS; w++) {
        double weight = nt_average_weight(s->average, (nt_weights)w, r->given, r->batches);
        if (weight > 0) NT_TRY(nt_net_average(s->net, (nt_weights)w, weight));
    }
    return NT_OK;
}

static nt_status take_step(run *r)
{
    const nt_feed *feed = r->session->train_feed;
    nt_step_result result;
    nt_phase_enter("step");
    nt_fault_point("run.step");
    nt_status status = nt_stepper_run(r->stepper, feed->piece, feed->n_pieces, feed->slice.global_n,
                                      rate_of(r, r->given), r->given, &result);
    r->given++;
    if (status == NT_OK) status = average(r);
    NT_TRY(take_result(r, status, &result));
    return NT_OK;
}

/* Brings the position up to the last step given. */
static nt_status finish_step(run *r)
{
    nt_step_result result;
    nt_status status = nt_stepper_finish(r->stepper, &result);
    NT_TRY(take_result(r, status, &result));
    return NT_OK;
}

/* --- the edge between two steps --- */

static bool validates(const run *r)
{
    return r->validate_due || r->given == r->n_steps ||
           nt_interval_due(&r->session->run->validate, r->given, r->batches);
}

static bool saves(const run *r)
{
    return r->save_due || r->stop || r->stopped_early || r->given == r->n_steps ||
           nt_interval_due(&r->session->checkpoint->every, r->given, r->batches);
}

static bool checks(const run *r)
{
    const int64_t every = r->session->run->check_replicas;
    return every > 0 && (saves(r) || r->given % every == 0);
}

static bool draws(const run *r)
{
    return nt_interval_due(&r->session->run->histograms, r->given, r->batches);
}

static nt_status do_what_is_due(run *r)
{
    if (!validates(r) && !saves(r) && !checks(r) && !draws(r)) return NT_OK;
    NT_TRY(finish_step(r));
    if (validates(r)) NT_TRY(validate(r));
    if (checks(r)) NT_TRY(check_replicas(r));
    if (draws(r)) NT_TRY(nt_reporter_histograms(&r->report, r->session->net, r->position.step));
    if (saves(r)) NT_TRY(save(r));
    r->step_began_s = nt_clock_s();
    return NT_OK;
}

static nt_status train(run *r)
{
    while (r->given < r->n_steps && !r->stop && !r->stopped_early) {
        NT_TRY(take_batch(r));
        NT_TRY(take_step(r));
        NT_TRY(do_what_is_due(r));
    }
    nt_reporter_times(&r->report, r->position.step);
    return NT_OK;
}

/* --- before the loop --- */

/* The run folder and its log: rank 0 writes, alone. */
static nt_status open_folder(run *r)
{
    nt_session *s = r->session;
    char path[PATH_MAX];
    if (!is_root(r)) return NT_OK;
    NT_TRY(nt_folder_open(&r->folder, s->output, s->comm->host));
    NT_TRY(nt_folder_path(r->folder, "train.log", path, sizeof path));
    NT_TRY(nt_log_open_file(path));
    NT_TRY(nt_folder_path(r->folder, "checkpoints", r->checkpoints, sizeof r->checkpoints));
    NT_TRY(nt_checkpoint_prepare(r->checkpoints));
    return NT_OK;
}

nt_status nt_run_check_options(const nt_session *s)
{
    if (s->run->epochs == 0 && s->run->steps == 0)
        return nt_config_fail(s->config, "run", "epochs",
                              "there is nothing to do: epochs and steps are both 0");
    if (s->run->histograms.unit != NT_NEVER && !s->run->tensorboard)
        return nt_config_fail(s->config, "run", "histograms",
                              "histograms go to TensorBoard's event files: say run.tensorboard = yes, too");
    if (s->run->histograms.unit == NT_MINUTES)
        return nt_config_fail(s->config, "run", "histograms",
                              "histograms come every so many steps or epochs");
    if (s->data->batch < s->comm->size)
        return nt_config_fail(s->config, "data", "batch",
                              "the global batch of %lld has less than one sample for each of %d ranks",
                              (long long)s->data->batch, s->comm->size);
    return NT_OK;
}

static bool has_batchnorm(const nt_model *model)
{
    for (int i = 0; i < model->n_layers; i++)
        if (nt_layer_is_batchnorm(&model->layer[i])) return true;
    return false;
}

/* Of the options that need the data and the model. */
static nt_status check_judging(run *r)
{
    const nt_session *s = r->session;
    const bool validates = s->valid_feed && s->run->validate.unit != NT_NEVER;
    if (s->run->stop_after > 0 && !validates)
        return nt_config_fail(s->config, "run", "stop_after",
                              "run.stop_after needs evaluations: a valid part (data.valid) and run.validate");
    if (s->optim->schedule == NT_SCHEDULE_PLATEAU && !validates)
        return nt_config_fail(
            s->config, "optimizer", "schedule",
            "schedule = plateau needs evaluations: a valid part (data.valid) and run.validate");
    if (s->average->weights != NT_WEIGHTS_RAW &&
        !nt_average_kept(s->average, (nt_weights)s->average->weights))
        return nt_config_fail(s->config, "average", "weights",
                              "average.weights = %s, but no such average is kept: give average.%s",
                              nt_weights_names[s->average->weights],
                              s->average->weights == NT_WEIGHTS_EMA ? "ema" : "swa_start");
    if (s->run->metric == NT_METRIC_ACCURACY && nt_model_answers(s->model) == 0)
        return nt_config_fail(
            s->config, "run", "metric", "run.metric = accuracy needs classes, but the loss is %s",
            s->model->has_loss ? s->model->layer[s->model->loss].ops->section.name : "none");
    if (r->optim.min_lr > nt_optim_lr(&r->optim))
        return nt_config_fail(s->config, "optimizer", "min_lr",
                              "optimizer.min_lr = %g is above the rate for this batch, %g (lr_per)",
                              r->optim.min_lr, nt_optim_lr(&r->optim));
    return NT_OK;
}

/* The rate for the batch. */
static void set_rate(run *r)
{
    const nt_session *s = r->session;
    r->optim = *s->optim;
    r->optim.lr = nt_optim_lr_of_batch(s->optim, s->data->batch);
    if (is_root(r) && s->optim->lr_per > 0)
        nt_info("learning rate %.6g: %.6g for a batch of %.6g, times %lld / %.6g", r->optim.lr,
                nt_optim_lr(s->optim), s->optim->lr_per, (long long)s->data->batch, s->optim->lr_per);
}

static void plan_steps(run *r)
{
    const nt_session *s = r->session;
    r->batches = nt_feed_batches(s->train_feed);
    r->n_steps = s->run->steps > 0 ? s->run->steps : s->run->epochs * r->batches;
    if (is_root(r) && s->data->batch > s->train->n_samples)
        nt_warn("data.batch = %lld is more than the %lld training samples: every step takes all of them",
                (long long)s->data->batch, (long long)s->train->n_samples);
    if (is_root(r) && s->run->sync_batchnorm && !has_batchnorm(s->model))
        nt_warn("run.sync_batchnorm = yes, but the model has no batchnorm: it changes nothing");
}

static nt_status open_stepper(run *r)
{
    nt_session *s = r->session;
    nt_step_options options = {.seed = (uint64_t)s->run->seed,
                               .nan_policy = (nt_nan_policy)s->run->nan_policy,
                               .clip_norm = s->optim->clip_norm,
                               .sync_batchnorm = s->run->sync_batchnorm};
    NT_TRY(nt_stepper_create(&r->stepper, s->net, s->comm, s->run->bucket_mb, &options));
    int n_states = nt_net_n_shards(s->net) > 1 ? 0 : nt_optim_n_states(s->optim); /* shards are no replicas */
    NT_TRY(nt_replicas_create(&r->replicas, s->net, s->comm, n_states));
    return NT_OK;
}

/* What rank 0 writes before the first step: the configuration, and metrics without rows past the position. */
static nt_status open_records(run *r)
{
    nt_session *s = r->session;
    if (!is_root(r)) return NT_OK;
    NT_TRY(nt_tuning_text(s->tuning, &r->tuning_text));
    NT_TRY(nt_folder_write(r->folder, "config.ini", s->config_text));
    NT_TRY(nt_resume_keep_tuning(s, r->folder, r->tuning_text));
    NT_TRY(nt_metrics_open(&r->report.metrics, s->output, r->position.step, s->run->tensorboard));
    r->report.model = s->model;
    r->report.log_every = s->run->log_every;
    r->report.batches = r->batches;
    r->report.n_steps = r->n_steps;
    r->report.n_epochs = (r->n_steps + r->batches - 1) / r->batches;
    return NT_OK;
}

/* A checkpoint in mid-epoch of a version that counted samples, not answers: each gave one. */
static void know_answers(run *r)
{
    nt_loss_sum *epoch = &r->position.epoch_sum;
    if (epoch->answers == 0 && nt_model_answers(r->session->model) == 1) epoch->answers = epoch->n;
    if (epoch->answers == 0) epoch->correct = 0;
}

static nt_status set_up(run *r)
{
    nt_session *s = r->session;
    NT_TRY(nt_session_agree(s, nt_run_check_options(s)));
    NT_TRY(nt_session_agree(s, open_folder(r)));
    NT_TRY(nt_session_open_data(s, s->run->validate.unit != NT_NEVER));
    NT_TRY(nt_session_open_model(s));
    set_rate(r);
    NT_TRY(nt_session_agree(s, check_judging(r)));
    NT_TRY(nt_session_open_backend(s));
    plan_steps(r);
    NT_TRY(nt_resume_find(s, &r->resume));
    if (r->resume.position.step == 0) NT_TRY(nt_session_hint_at_data(s));
    NT_TRY(nt_session_build(s, true, r->resume.tuning_text));
    NT_TRY(nt_session_agree(s, open_stepper(r)));
    r->position = r->resume.position;
    know_answers(r);
    NT_TRY(nt_resume_load(s, &r->resume, nt_stepper_buckets(r->stepper)));
    NT_TRY(nt_session_agree(s, open_records(r)));
    return NT_OK;
}

/* --- the end --- */

static nt_status say_done(run *r)
{
    char digest[33], took[32], result[160] = "";
    NT_TRY(collect_state(r));
    if (!is_root(r)) return NT_OK;
    NT_TRY(nt_checkpoint_digest(r->session->net, digest));
    nt_console_duration(took, sizeof took, nt_clock_s() - r->began_s);
    const double accuracy = nt_accuracy(&r->valid), perplexity = nt_perplexity(r->session->model, &r->valid);
    int n = 0;
    if (r->valid.n > 0) n = snprintf(result, sizeof result, ", valid loss %.6f", nt_mean_loss(&r->valid));
    if (!isnan(accuracy))
        n += snprintf(result + n, sizeof result - (size_t)n, ", valid accuracy %.4f", accuracy);
    if (!isnan(perplexity))
        snprintf(result + n, sizeof result - (size_t)n, ", valid perplexity %.5g", perplexity);
    nt_info("done: step %lld in %s%s; digest %s; run folder %s", (long long)r->position.step, took, result,
            digest, r->session->output);
    return NT_OK;
}

static nt_status stopped(run *r)
{
    int signal_number = nt_signals_caught();
    bool automatic = strcmp(r->session->checkpoint->resume, "auto") == 0;
    r->session->agreed = true;
    NT_FAIL(NT_STOPPED, "stopped after step %lld by %s; the checkpoint is saved: %s",
            (long long)r->position.step,
            signal_number ? nt_signals_name(signal_number) : "a signal to another rank",
            automatic ? "the same command goes on from there" : "checkpoint.resume=auto goes on from there");
}

static void say_early(const run *r)
{
    const nt_position *p = &r->position;
    nt_info(
        "stopped early after step %lld: the validation %s was not better than %.6g in %lld evaluations in a "
        "row (run.stop_after); the best checkpoint is that of step %lld",
        (long long)p->step, r->session->run->metric == NT_METRIC_ACCURACY ? "error" : "loss", p->stop.best,
        (long long)p->stop.bad, (long long)p->best_step);
}

/* Runs, or says that there is nothing left to run. */
static nt_status run_steps(run *r)
{
    nt_session *s = r->session;
    r->began_s = r->saved_s = r->validated_s = r->step_began_s = nt_clock_s();
    r->given = r->position.step;
    if (r->resume.found)
        nt_info("going on from checkpoint '%s' after step %lld", r->resume.path, (long long)r->position.step);
    if (r->position.step >= r->n_steps) {
        nt_info("all %lld steps are done already; to train on, raise run.epochs or run.steps",
                (long long)r->n_steps);
        return say_done(r);
    }
    if (s->run->stop_after > 0 && r->position.stop.bad >= s->run->stop_after) {
        say_early(r);
        nt_info("to train on, raise run.stop_after");
        return say_done(r);
    }
    NT_TRY(nt_session_agree(s, nt_feed_start(s->train_feed, r->position.epoch, r->position.batch)));
    if (s->run->check_replicas > 0) NT_TRY(check_replicas(r));
    NT_TRY(train(r));
    if (r->stopped_early)
        say_early(r);
    else if (r->stop && r->position.step < r->n_steps)
        return stopped(r);
    NT_TRY(say_done(r));
    return NT_OK;
}

static void close_run(run *r)
{
    nt_feed_stop(r->session->train_feed);
    if (r->stepper) nt_shard_close(nt_stepper_buckets(r->stepper));
    nt_stepper_destroy(r->stepper);
    nt_replicas_destroy(r->replicas);
    nt_metrics_close(r->report.metrics);
    nt_resume_free(&r->resume);
    free(r->tuning_text);
    nt_console_stop();
    nt_log_close_file();
    nt_folder_close(r->folder);
}

static void log_line(const char *text)
{
    nt_info("%s", text);
}

nt_status nt_run_train(nt_session *session)
{
    run r = {.session = session};
    nt_console_start(nt_comm_launched());
    nt_status status = set_up(&r);
    if (status == NT_OK) nt_summary(session, nt_stepper_buckets(r.stepper), log_line);
    if (status == NT_OK) status = run_steps(&r);
    close_run(&r);
    NT_TRY(status);
    return NT_OK;
}
