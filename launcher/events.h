/* TensorBoard event files: what metrics.jsonl holds, for those who look at runs there.
 *
 * One file a start of the program, <run folder>/events.out.tfevents.<seconds>.<host>.<pid>. A record goes out
 * with a single write, or is taken back, so that a killed run leaves a readable file. Steps that an earlier
 * start has already written and that are run again are hidden by the START entry which every file begins
 * with. Sources: tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto (field numbers);
 * tensorflow/core/lib/io/record_writer (framing). Rank 0 only. */
#ifndef NT_LAUNCHER_EVENTS_H
#define NT_LAUNCHER_EVENTS_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_events nt_events;

/* Starts a file in `dir` for a run that goes on from `step`. NT_ERR_CREATE, NT_ERR_IO. */
NT_MUST nt_status nt_events_open(nt_events **out, const char *dir, int64_t step);

/* Values of one step; NaN is left out. */
typedef struct nt_event_value {
    const char *tag; /* "train/loss" */
    double value;
} nt_event_value;
NT_MUST nt_status nt_events_scalars(nt_events *events, int64_t step, const nt_event_value *values, int n);

/* The distribution of n values (those that are not finite are left out; n >= 1). */
NT_MUST nt_status nt_events_histogram(nt_events *events, int64_t step, const char *tag, const float *values,
                                      int64_t n);

void nt_events_close(nt_events *events); /* NULL is fine */

/* CRC-32C (Castagnoli), as RFC 3720 appendix B.4 has it. */
uint32_t nt_crc32c(const void *bytes, size_t n);

#endif
