/* Signals: "stop after this step" as a flag.
 *
 * USR1, USR2, TERM and INT ask for a checkpoint and exit code 75. The handler only counts; the loop reads the
 * flag at the edge of a step, where all ranks agree on it. A second signal leaves at once; a repeat within a
 * quarter of a second counts as the same one, because a signal to a whole process group arrives twice at
 * ranks (once from the kernel, once forwarded by mpirun). */
#ifndef NT_LAUNCHER_SIGNALS_H
#define NT_LAUNCHER_SIGNALS_H

#include "core/status.h"

/* Installs the handlers. `leave` is called in the handler for the second signal: async-signal-safe, and it
 * does not return. NT_ERR_UNAVAILABLE if the system refuses. */
NT_MUST nt_status nt_signals_install(void (*leave)(int signal_number));

/* Number of the first signal that came, or 0. */
int nt_signals_caught(void);

/* "SIGTERM" */
const char *nt_signals_name(int signal_number);

#endif
