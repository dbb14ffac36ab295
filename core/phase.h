/* Where this process stands: which step, which phase of it.
 *
 * Two readers: the message of a failing rank ("rank 1 on host, step 12, backward: ...") and the watchdog,
 * which ends a job whose ticks stand still. Writers are whoever starts a phase, in any room, in the main
 * thread; a tick costs two relaxed stores. Names are string constants. A hook serves profilers. */
#ifndef NT_CORE_PHASE_H
#define NT_CORE_PHASE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct nt_phase {
    const char *name; /* "start", "data", "forward", ... */
    bool waits;       /* it waits for other ranks: standing still here is probably their fault */
    int64_t step;     /* counted from 1, as in logs and names of checkpoints; -1 before the first */
    uint64_t ticks;   /* grows with every phase and step entered */
} nt_phase;

void nt_phase_set_step(int64_t step);

/* This process begins to work on `name` by itself. */
void nt_phase_enter(const char *name);

/* This process begins to wait for other ranks in `name`. */
void nt_phase_wait(const char *name);

/* Progress within the same phase (a batch of an evaluation, a file of an import). */
void nt_phase_tick(void);

/* Seconds that the main thread spent in a phase. */
typedef struct nt_phase_time {
    const char *name;
    double seconds;
} nt_phase_time;

#define NT_MAX_PHASES 32
#define NT_PHASE_REST "all other phases"

/* The phases entered since the last call, in the order of their first entry, with the time spent in each; how
 * many. Main thread only. Where there are NT_MAX_PHASES or more, the last one holds the rest, as
 * NT_PHASE_REST. */
int nt_phase_take_times(nt_phase_time times[NT_MAX_PHASES]);

/* From any thread; the fields are read one by one. */
nt_phase nt_phase_get(void);

/* Called by the main thread at every phase entered and every step begun, for whoever draws time lines; NULL:
 * nobody. */
void nt_phase_set_hook(void (*hook)(const nt_phase *phase));

#endif
