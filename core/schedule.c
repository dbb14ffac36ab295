/* Learning-rate schedules. Each is a factor on the rate or a way from the rate down to min_lr; nothing is
 * remembered from step to step, so a resumed run continues by asking for its step. */
#include "core/schedule.h"

#include <math.h>

#define PI 3.14159265358979323846

static double in_steps(const nt_interval *interval, int64_t steps_per_epoch)
{
    return interval->unit == NT_EPOCHS ? interval->count * (double)steps_per_epoch : interval->count;
}

/* Periods of step_every that have passed. */
static double periods(const nt_optim_options *options, int64_t step, int64_t steps_per_epoch)
{
    return (double)step / in_steps(&options->step_every, steps_per_epoch);
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

/* From a to b by half a cosine as part goes from 0 to 1. */
static double ease(double a, double b, double part)
{
    return b + (a - b) / 2 * (1 + cos(PI * part));
}

static double one_cycle(const nt_optim_options *o, double lr, double step, double n_steps)
{
    const double start = lr / o->div_factor, end = start / o->final_div_factor;
    const double top = o->pct_start * n_steps - 1, last = n_steps - 1;
    if (step >= last) return last > top ? end : lr;
    return step < top ? ease(start, lr, step / top) : ease(lr, end, (step - top) / (last - top));
}

static double sgdr(const nt_optim_options *o, double lr, double t, double period)
{
    if (o->restart_mult == 1) t = fmod(t, period);
    for (; t >= period; period *= (double)o->restart_mult)
        t -= period;
    return toward_min(o, lr, (1 + cos(PI * t / period)) / 2);
}

static double wsd(const nt_optim_options *o, double lr, double left, double decay)
{
    return left >= decay ? lr : toward_min(o, lr, pow(left > 0 ? left / decay : 0, o->power));
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
    case NT_SCHEDULE_ONE_CYCLE:
        return one_cycle(options, lr, (double)step, (double)n_steps);
    case NT_SCHEDULE_SGDR:
        return sgdr(options, lr, (double)(step - options->warmup),
                    in_steps(&options->restart_every, steps_per_epoch));
    case NT_SCHEDULE_WSD:
        return wsd(options, lr, (double)(n_steps - step), in_steps(&options->decay_for, steps_per_epoch));
    case NT_SCHEDULE_CONSTANT:
    case NT_SCHEDULE_PLATEAU:
        break;
    }
    return lr;
}

bool nt_progress_take(nt_progress *progress, double value, double part, double delta)
{
    if (progress->n++ == 0) progress->best = INFINITY;
    const bool better = value < progress->best * (1 - part) - delta;
    progress->bad = better ? 0 : progress->bad + 1;
    if (better) progress->best = value;
    return better;
}

bool nt_plateau_take(nt_plateau *plateau, const nt_optim_options *options, double value)
{
    const double least_change = 1e-8, lr = plateau->lr > 0 ? plateau->lr : nt_optim_lr(options);
    nt_progress *progress = &plateau->progress;
    nt_progress_take(progress, value, options->threshold, 0);
    if (plateau->cooling > 0) {
        plateau->cooling--;
        progress->bad = 0;
    }
    if (progress->bad <= options->patience) return false;
    progress->bad = 0;
    plateau->cooling = options->cooldown;
    const double reduced = fmax(lr * options->gamma, options->min_lr);
    if (lr - reduced <= least_change) return false;
    plateau->lr = reduced;
    return true;
}
