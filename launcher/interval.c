/* "Due" is a comparison of two quotients, not a counter: nothing has to be remembered over a resume. */
#include "launcher/interval.h"

#include <math.h>

bool nt_interval_due(const nt_interval *interval, int64_t step, int64_t batches)
{
    if (interval->unit != NT_STEPS && interval->unit != NT_EPOCHS) return false;
    double period = interval->unit == NT_STEPS ? interval->count : interval->count * (double)batches;
    if (period <= 1) return true;
    /* the small part absorbs rounding of fractions of an epoch: 3 * (1/3 epoch) is one epoch */
    return floor((double)step / period + 1e-9) > floor((double)(step - 1) / period + 1e-9);
}

bool nt_interval_due_by_clock(const nt_interval *interval, double seconds)
{
    return interval->unit == NT_MINUTES && seconds >= 60 * interval->count;
}
