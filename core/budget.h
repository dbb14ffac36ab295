/* What to say when a net does not fit into the memory of its device: how much it needs, and which batch would
 * fit. The allocation that failed knows only its own size. */
#ifndef NT_CORE_BUDGET_H
#define NT_CORE_BUDGET_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_budget {
    size_t free_bytes; /* before the net took any */
    int64_t n;         /* samples of the largest plan */
    bool training;     /* it is for training */
    /* What the net needs if its largest plan has n samples; 0 if that cannot be found out. */
    size_t (*needs)(void *arg, int64_t n);
    void *arg;
} nt_budget;

/* The largest number of samples below n that fits; 0: none does, or nobody knows. */
int64_t nt_budget_fits(const nt_budget *budget);

/* Where the needs are more than there is, puts them in front of this thread's error, a failed allocation.
 * Returns its status. */
nt_status nt_budget_explain(nt_status status, const nt_budget *budget);

#endif
