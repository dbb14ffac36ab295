/* The watchdog: a thread that calls `bark` when the ticks of core/phase.h stand still for too long.
 *
 * Time is counted in the watchdog's own waking moments, never read off a clock twice: a process that was
 * stopped and continued, or a laptop that slept, does not find a whole night of idleness. A rank that waits
 * for others gets a few seconds more than one that is stuck by itself, so that the culprit, if it can, speaks
 * first. */
#ifndef NT_LAUNCHER_WATCHDOG_H
#define NT_LAUNCHER_WATCHDOG_H

#include "core/phase.h"
#include "core/status.h"

/* idle_s: seconds without progress. Called once, in the watchdog's thread. */
typedef void (*nt_bark_fn)(double idle_s, const nt_phase *phase);

/* limit_s > 0; 0 starts nothing. At most one watchdog at a time. */
NT_MUST nt_status nt_watchdog_start(double limit_s, nt_bark_fn bark);

/* Joins the thread; fine if there is none. */
void nt_watchdog_stop(void);

#endif
