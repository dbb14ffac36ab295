/* Rates are of training alone: time spent on validation and checkpoints is not in them. */
#include "launcher/report.h"

#include "core/log.h"
#include "launcher/console.h"
#include "launcher/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Of the losses of single samples. */
static double spread(const nt_loss_sum *sum)
{
    return nt_spread(sum->loss, sum->loss_squared, sum->n);
}

/* Epoch, from 1, that the `step`-th step belongs to. */
static int64_t epoch_of(const nt_reporter *report, int64_t step)
{
    return step > 0 ? (step - 1) / report->batches + 1 : 1;
}

static double rate_of(int64_t samples, double seconds)
{
    return seconds > 0 ? (double)samples / seconds : NAN;
}

static void show_bar(nt_reporter *report, const nt_step_report *step)
{
    char what[64];
    int64_t epoch = epoch_of(report, step->step);
    double rate = rate_of(step->sum.n, step->seconds);
    report->rate = report->rate > 0 ? 0.95 * report->rate + 0.05 * rate : rate;
    snprintf(what, sizeof what, "epoch %lld/%lld", (long long)epoch, (long long)report->n_epochs);
    double left = (double)(report->n_steps - step->step) * (double)step->sum.n / report->rate;
    nt_console_show(&(nt_console_view){.what = what,
                                       .done = step->step - (epoch - 1) * report->batches,
                                       .total = report->batches,
                                       .loss = nt_mean_loss(&step->epoch),
                                       .accuracy = nt_accuracy(&step->epoch),
                                       .samples_per_s = report->rate,
                                       .left_s = left});
}

static void say_step(nt_reporter *report, const nt_step_report *step, double rate)
{
    if (!nt_console_is_terminal())
        nt_info("step %lld/%lld, epoch %lld: loss %.6f%s, lr %.4g, %.0f samples/s", (long long)step->step,
                (long long)report->n_steps, (long long)epoch_of(report, step->step), nt_mean_loss(&step->sum),
                nt_score_words(report->model, &step->sum).text, step->lr, rate);
}

void nt_reporter_step(nt_reporter *report, const nt_step_report *step)
{
    if (!report->metrics) return;
    report->seconds += step->seconds;
    report->samples += step->sum.n;
    report->epoch_seconds += step->seconds;
    report->epoch_samples += step->sum.n;
    show_bar(report, step);
    if (step->step % report->log_every != 0 && step->step != report->n_steps) return;
    double rate = rate_of(report->samples, report->seconds);
    say_step(report, step, rate);
    nt_metrics_write(report->metrics,
                     &(nt_metrics_row){.step = step->step,
                                       .epoch = epoch_of(report, step->step),
                                       .split = "train",
                                       .loss = nt_mean_loss(&step->sum),
                                       .accuracy = nt_accuracy(&step->sum),
                                       .perplexity = nt_perplexity(report->model, &step->sum),
                                       .lr = step->lr,
                                       .grad_norm = step->grad_norm,
                                       .samples_per_s = rate});
    report->seconds = 0;
    report->samples = 0;
}

void nt_reporter_epoch(nt_reporter *report, const nt_step_report *step)
{
    if (!report->metrics) return;
    int64_t epoch = epoch_of(report, step->step);
    double rate = rate_of(report->epoch_samples, report->epoch_seconds);
    nt_info("epoch %lld/%lld: training loss %.6f (standard deviation %.6f)%s, %.0f samples/s",
            (long long)epoch, (long long)report->n_epochs, nt_mean_loss(&step->epoch), spread(&step->epoch),
            nt_score_words(report->model, &step->epoch).text, rate);
    nt_metrics_write(report->metrics,
                     &(nt_metrics_row){.step = step->step,
                                       .epoch = epoch,
                                       .split = "epoch",
                                       .loss = nt_mean_loss(&step->epoch),
                                       .accuracy = nt_accuracy(&step->epoch),
                                       .perplexity = nt_perplexity(report->model, &step->epoch),
                                       .lr = step->lr,
                                       .grad_norm = NAN,
                                       .samples_per_s = rate});
    report->epoch_seconds = 0;
    report->epoch_samples = 0;
    nt_reporter_times(report, step->step);
}

void nt_reporter_times(nt_reporter *report, int64_t step)
{
    nt_phase_time times[NT_MAX_PHASES];
    if (!report->metrics) return;
    nt_metrics_write_times(report->metrics, step, times, nt_phase_take_times(times));
}

nt_status nt_reporter_histograms(nt_reporter *report, nt_net *net, int64_t step)
{
    char tag[NT_NAME_BYTES + 16];
    int64_t largest = 1;
    if (!report->metrics) return NT_OK;
    for (int i = 0; i < nt_net_n_slots(net); i++) {
        int64_t n = nt_shape_elems(nt_net_get_slot(net, i)->tensor.shape);
        if (n > largest) largest = n;
    }
    float *values = malloc((size_t)largest * sizeof *values);
    NT_CHECK_ALLOC(values, (size_t)largest * sizeof *values);
    nt_status status = NT_OK;
    for (int i = 0; i < nt_net_n_slots(net) && status == NT_OK; i++) {
        const nt_slot *slot = nt_net_get_slot(net, i);
        snprintf(tag, sizeof tag, "weights/%s", slot->name);
        status = nt_net_read(net, i, NT_ARRAY_PARAM, values);
        if (status == NT_OK)
            nt_metrics_write_histogram(report->metrics, step, tag, values,
                                       nt_shape_elems(slot->tensor.shape));
    }
    free(values);
    NT_TRY(status);
    return NT_OK;
}

void nt_reporter_valid(nt_reporter *report, int64_t step, nt_weights which, const nt_loss_sum *sum)
{
    static const char *const splits[NT_N_WEIGHTS] = {"valid", "valid_ema", "valid_swa"};
    static const char *const words[NT_N_WEIGHTS] = {"", " with the ema weights", " with the swa weights"};
    if (!report->metrics) return;
    nt_info("step %lld: valid loss %.6f (standard deviation %.6f)%s on %lld samples%s", (long long)step,
            nt_mean_loss(sum), spread(sum), nt_score_words(report->model, sum).text, (long long)sum->n,
            words[which]);
    nt_metrics_write(report->metrics, &(nt_metrics_row){.step = step,
                                                        .epoch = epoch_of(report, step),
                                                        .split = splits[which],
                                                        .loss = nt_mean_loss(sum),
                                                        .accuracy = nt_accuracy(sum),
                                                        .perplexity = nt_perplexity(report->model, sum),
                                                        .lr = NAN,
                                                        .grad_norm = NAN,
                                                        .samples_per_s = NAN});
}

void nt_reporter_evaluating(int64_t done, int64_t total)
{
    nt_console_show(&(nt_console_view){.what = "evaluating",
                                       .done = done,
                                       .total = total,
                                       .loss = NAN,
                                       .accuracy = NAN,
                                       .samples_per_s = NAN,
                                       .left_s = NAN});
}
