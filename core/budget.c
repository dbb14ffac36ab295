/* See budget.h. The batch that fits is an estimate: activations grow with the batch, parameters do not, and
 * what the device itself loses between allocations nobody knows. */
#include "core/budget.h"

static int64_t samples_in(double room, double bytes, int64_t n)
{
    return room > 0 && bytes > 0 ? (int64_t)(room / bytes * (double)n) : 0;
}

int64_t nt_budget_fits(const nt_budget *b)
{
    double room = (double)b->free_bytes - (double)b->fixed_bytes;
    double batch = (double)b->batch_bytes, scratch = (double)b->scratch_bytes;
    int64_t fits = samples_in(room - scratch, batch, b->n);
    if (fits < 1) fits = samples_in(room, batch + scratch, b->n);
    return fits < b->n ? fits : b->n - 1;
}

nt_status nt_budget_explain(nt_status status, const nt_budget *b)
{
    size_t all = b->fixed_bytes + b->scratch_bytes + b->batch_bytes;
    if (all <= b->free_bytes) return status;
    int64_t fits = nt_budget_fits(b);
    const char *how =
        b->training ? "run.accumulate computes a batch in smaller pieces" : "see data.eval_batch";
    if (fits < 1)
        return nt_error_prefix(status, "the model needs %.1f MiB in all and does not fit with any batch: ",
                               (double)all / 0x1p20);
    return nt_error_prefix(status,
                           "the model needs %.1f MiB in all for %lld samples a rank; about %lld would fit "
                           "(%s): ",
                           (double)all / 0x1p20, (long long)b->n, (long long)fits, how);
}
