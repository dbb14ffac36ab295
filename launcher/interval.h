/* Intervals of the config ("1 epoch", "500 steps", "10 minutes") against the step count. */
#ifndef NT_LAUNCHER_INTERVAL_H
#define NT_LAUNCHER_INTERVAL_H

#include "core/config.h"

/* Whether an interval in steps or epochs ends with the `step`-th step (counted from 1) of `batches` an epoch.
 * A pure function, so a resumed run does everything at the same steps. Minutes and never: false. */
bool nt_interval_due(const nt_interval *interval, int64_t step, int64_t batches);

/* Whether an interval in minutes is over after that many seconds. */
bool nt_interval_due_by_clock(const nt_interval *interval, double seconds);

#endif
