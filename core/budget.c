/* See budget.h. The needs are asked for, by bisection, and not reckoned from those of the batch that did not
 * fit: scratch memory grows with the batch up to a bound and then no more. */
#include "core/budget.h"

int64_t nt_budget_fits(const nt_budget *b)
{
    int64_t fits = 0, too_much = b->n;
    while (too_much - fits > 1) {
        int64_t n = fits + (too_much - fits) / 2;
        size_t needs = b->needs(b->arg, n);
        if (needs > 0 && needs <= b->free_bytes)
            fits = n;
        else
            too_much = n;
    }
    return fits;
}

nt_status nt_budget_explain(nt_status status, const nt_budget *b)
{
    nt_error failure;
    nt_error_take(&failure);
    size_t all = b->needs(b->arg, b->n);
    int64_t fits = all > b->free_bytes ? nt_budget_fits(b) : 0;
    const char *how =
        b->training ? "run.accumulate computes a batch in smaller pieces" : "see data.eval_batch";
    (void)nt_error_raise(&failure);
    if (all <= b->free_bytes) return status;
    if (fits == 0)
        return nt_error_prefix(status, "the model needs %.1f MiB in all and does not fit with any batch: ",
                               (double)all / 0x1p20);
    return nt_error_prefix(status,
                           "the model needs %.1f MiB in all for %lld samples a rank; about %lld would fit "
                           "(%s): ",
                           (double)all / 0x1p20, (long long)b->n, (long long)fits, how);
}
