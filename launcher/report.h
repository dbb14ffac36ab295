/* What a training run tells: rows of metrics, lines of the log, the progress bar. Rank 0 only; the other
 * ranks hold a report that says nothing, so that the loop need not ask.
 *
 * Rows carry the loss of exactly one step, or of an epoch so far from sums that checkpoints keep, so a
 * resumed run logs the same numbers as an uninterrupted one. */
#ifndef NT_LAUNCHER_REPORT_H
#define NT_LAUNCHER_REPORT_H

#include "core/net.h"
#include "launcher/metrics.h"

typedef struct nt_reporter {
    nt_metrics *metrics;   /* owned; NULL: says nothing */
    const nt_model *model; /* borrowed: what the sums mean */
    int64_t log_every, batches, n_steps, n_epochs;
    double seconds; /* of training since the last row, and samples in it */
    int64_t samples;
    double epoch_seconds;
    int64_t epoch_samples;
    double rate; /* samples a second, smoothed for the bar */
} nt_reporter;

/* One step that is done, in sums over all ranks. */
typedef struct nt_step_report {
    int64_t step;      /* steps done */
    nt_loss_sum sum;   /* of this step */
    nt_loss_sum epoch; /* of this epoch so far, this step included */
    double lr, grad_norm, seconds;
    bool skipped;
} nt_step_report;

void nt_reporter_step(nt_reporter *report, const nt_step_report *step);

/* After an epoch's last step. */
void nt_reporter_epoch(nt_reporter *report, const nt_step_report *step);

/* Where the time went since the last call (core/phase.h); also called by nt_reporter_epoch. */
void nt_reporter_times(nt_reporter *report, int64_t step);

/* The distributions of all parameters, as "weights/<layer>.<param>"; reads them from the device. */
NT_MUST nt_status nt_reporter_histograms(nt_reporter *report, nt_net *net, int64_t step);

/* After an evaluation of the valid part at `step` with those weights. */
void nt_reporter_valid(nt_reporter *report, int64_t step, nt_weights which, const nt_loss_sum *sum);

/* Progress of an evaluation, for the bar. */
void nt_reporter_evaluating(int64_t done, int64_t total);

#endif
