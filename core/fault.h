/* Fault points: places where a test may make this process die, hang or err, by the environment.
 *
 *   NNTRAIN_FAULT="point=checkpoint.rename,kind=kill[,rank=0][,step=12][,hit=3]"
 *
 * kind: kill (SIGKILL), segv, abort, exit0 (exit(0) at once), stop (SIGSTOP), hang (endless loop), or error
 * and nan, which the caller acts on; said on stderr when it happens. hit: the k-th time the point is met
 * (default 1). Without the variable a point costs one load. They are in release builds on purpose: the binary
 * that is tested is the one that ships. Names of points: <file>.<step>. */
#ifndef NT_CORE_FAULT_H
#define NT_CORE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

typedef enum nt_fault_kind { NT_FAULT_NONE, NT_FAULT_ERROR, NT_FAULT_NAN } nt_fault_kind;

/* Where this process stands, for matching. */
void nt_fault_set_rank(int rank);
void nt_fault_set_step(int64_t step);

/* Whether a fault was asked for, on whatever rank, acted out already or not. */
bool nt_fault_wanted(void);

/* Meets a point: does not return for the deadly kinds; says what the caller should act out otherwise. */
nt_fault_kind nt_fault_point(const char *name);

#endif
