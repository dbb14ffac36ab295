/* metrics.jsonl and metrics.csv of a run folder: one line per row, the same fields in both. times.csv: where
 * the seconds went.
 *
 * A line reaches each file by a single write to an O_APPEND file, or not at all (a short write is taken
 * back), so a reader never sees half a row. After a resume nothing is there twice: opening cuts off every row
 * past the step that the run goes on from. Numbers are printed so that equal values give equal text (%.9g). A
 * full disk costs rows and one warning, never the run. Rank 0 only. */
#ifndef NT_LAUNCHER_METRICS_H
#define NT_LAUNCHER_METRICS_H

#include "core/phase.h"
#include "core/status.h"

#include <stdint.h>

typedef struct nt_metrics nt_metrics;

/* NaN in a double means "not in this row": left out of the JSON object, empty in the CSV; infinities become
 * null. */
typedef struct nt_metrics_row {
    int64_t step, epoch; /* steps done; epoch counted from 1 */
    const char *split;   /* "train": this one step; "epoch": training so far in this epoch; "valid" */
    double loss, accuracy, lr, grad_norm, samples_per_s, perplexity;
} nt_metrics_row;

/* Opens or creates both files in `dir`; rows of steps > `step` and a torn last line are cut off. tensorboard:
 * the same rows go to an event file (launcher/events.h), too. NT_ERR_CREATE or NT_ERR_IO. */
NT_MUST nt_status nt_metrics_open(nt_metrics **out, const char *dir, int64_t step, bool tensorboard);

void nt_metrics_write(nt_metrics *metrics, const nt_metrics_row *row);

/* The distribution of n values to the event file, if there is one. */
void nt_metrics_write_histogram(nt_metrics *metrics, int64_t step, const char *tag, const float *values,
                                int64_t n);

/* What rank 0 did since the last such call: rows `step,phase,seconds` of times.csv. */
void nt_metrics_write_times(nt_metrics *metrics, int64_t step, const nt_phase_time *times, int n);

/* Makes all rows so far durable: called before a checkpoint says that their steps are done. */
void nt_metrics_sync(nt_metrics *metrics);

void nt_metrics_close(nt_metrics *metrics); /* NULL is fine */

#endif
