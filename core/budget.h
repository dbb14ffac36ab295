/* What to say when a net does not fit into the memory of its device: how much it needs, and which batch would
 * fit. The allocation that failed knows only its own size. */
#ifndef NT_CORE_BUDGET_H
#define NT_CORE_BUDGET_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_budget {
    size_t free_bytes;  /* before the net took any */
    size_t fixed_bytes; /* parameters, gradients, optimizer state */
    size_t scratch_bytes;
    size_t batch_bytes; /* activations and staged batches of the largest plan, of n samples */
    int64_t n;
    bool training; /* the largest plan is for training */
} nt_budget;

/* The samples that would fit, at least 0. Scratch is taken to be as large for a small batch as for a large
 * one, unless nothing would fit then. */
int64_t nt_budget_fits(const nt_budget *budget);

/* Where the needs are more than there is, puts them in front of this thread's error, a failed allocation.
 * Returns its status. */
nt_status nt_budget_explain(nt_status status, const nt_budget *budget);

#endif
