/* Learning-rate schedules. Each is a factor on the rate or a way from the rate down to min_lr; nothing is
 * remembered from step to step, so a resumed run continues by asking for its step. */
#include "core/schedule.h"

#include <math.h>

#define PI 3.14159265358979323846

/* Periods of step_every that have passed. */
static double periods(const nt_optim_options *options, int64_t step, int64_t steps_per_epoch)
{
    double period = options->step_every.count;
    if (options->step_every.unit == NT_EPOCHS) period *= (double)steps_per_epoch;
    return (double)step / period;
}

/* A fractional period (0.1 epochs of 30 steps) may come out a rounding error short of a whole number. */
static double whole_periods(const nt_optim_options *options, int64_t step, int64_t steps_per_epoch)
{
    return floor(periods(options, step, steps_per_epoch) * (1 + 1e-12));
}

static int milestones_passed(const nt_optim_options *options, int64_t step, int64_t steps_per_epoch)
{
    int n = 0;
    for (int i = 0; i < options->milestones.n; i++)
        n += step / steps_per_epoch >= options->milestones.value[i];
    return n;
}

/* From lr down to min_lr as `remaining` goes from 1 to 0. */
static double toward_min(const nt_optim_options *options, double lr, double remaining)
{
    return options->min_lr + (lr - options->min_lr) * remaining;
}

double nt_schedule_lr(const nt_optim_options *options, int64_t step, int64_t n_steps, int64_t steps_per_epoch)
{
    double lr = nt_optim_lr(options);
    if (step < options->warmup) return lr * (double)(step + 1) / (double)options->warmup;
    double way = 1; /* t / T */
    if (step < n_steps) way = (double)(step - options->warmup) / (double)(n_steps - options->warmup);
    switch ((nt_schedule)options->schedule) {
    case NT_SCHEDULE_STEP:
        return lr * pow(options->gamma, whole_periods(options, step, steps_per_epoch));
    case NT_SCHEDULE_MULTISTEP:
        return lr * pow(options->gamma, milestones_passed(options, step, steps_per_epoch));
    case NT_SCHEDULE_EXPONENTIAL:
        return lr * pow(options->gamma, periods(options, step, steps_per_epoch));
    case NT_SCHEDULE_POLYNOMIAL:
        return toward_min(options, lr, pow(1 - way, options->power));
    case NT_SCHEDULE_COSINE:
        return toward_min(options, lr, (1 + cos(PI * way)) / 2);
    case NT_SCHEDULE_CONSTANT:
        break;
    }
    return lr;
}
