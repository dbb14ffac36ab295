/* What a run wrote down about itself, read back for the report: the rows of metrics.csv and times.csv.
 *
 * Both files are ours (launcher/metrics.h), yet they may be torn, edited or of another version: a line that
 * is not a row ends nothing and is counted. */
#ifndef NT_LAUNCHER_HISTORY_H
#define NT_LAUNCHER_HISTORY_H

#include "core/phase.h"
#include "core/status.h"

#include <stdint.h>

enum {
    NT_HISTORY_LOSS,
    NT_HISTORY_ACCURACY,
    NT_HISTORY_LR,
    NT_HISTORY_GRAD_NORM,
    NT_HISTORY_SAMPLES_PER_S,
    NT_HISTORY_PERPLEXITY, /* rows of older versions end before it */
    NT_HISTORY_VALUES
};

typedef struct nt_history_row {
    int64_t step, epoch;
    char split[24];                  /* "train", "epoch", "valid", ... */
    double value[NT_HISTORY_VALUES]; /* NaN: not in this row */
} nt_history_row;

/* Where a file names more phases than this, the last place holds the rest as NT_HISTORY_REST. */
#define NT_HISTORY_TIMES 64
#define NT_HISTORY_REST  NT_PHASE_REST

typedef struct nt_history_time {
    char phase[48];
    double seconds; /* in all */
} nt_history_time;

typedef struct nt_history {
    int64_t n_rows, n_bad_lines;
    nt_history_row *row;
    int n_times; /* by time spent, most first */
    nt_history_time time[NT_HISTORY_TIMES];
} nt_history;

/* Reads both files of a run folder; times.csv may be missing. NT_ERR_NO_INPUT if metrics.csv is. */
NT_MUST nt_status nt_history_load(nt_history *history, const char *dir);
void nt_history_free(nt_history *history);

/* The points (step, value) of one split, NaNs left out, as malloc'ed arrays that one free(*x) gives back. *n
 * is 0 and *x NULL if there are none. */
NT_MUST nt_status nt_history_curve(const nt_history *history, const char *split, int value, double **x,
                                   double **y, int64_t *n);

#endif
