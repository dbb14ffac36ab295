/* Learning-rate schedules: pure functions of the step, in double; but for `plateau`, which is one of the
 * metrics so far, and whose state checkpoints keep. */
#ifndef NT_CORE_SCHEDULE_H
#define NT_CORE_SCHEDULE_H

#include "core/optim.h"

typedef enum nt_schedule {
    NT_SCHEDULE_CONSTANT,
    NT_SCHEDULE_STEP,        /* lr * gamma^floor(step / period) */
    NT_SCHEDULE_MULTISTEP,   /* lr * gamma^(milestones passed) */
    NT_SCHEDULE_EXPONENTIAL, /* lr * gamma^(step / period), a little at every step */
    NT_SCHEDULE_POLYNOMIAL,  /* min + (lr - min) (1 - t / T)^power */
    NT_SCHEDULE_COSINE,      /* min + (lr - min) (1 + cos(pi t / T)) / 2, Loshchilov & Hutter 2017 */
    NT_SCHEDULE_ONE_CYCLE, /* Smith & Topin 2018, as torch's OneCycleLR: lr / div_factor, by a cosine to lr in
                              pct_start of the run, by another to lr / div_factor / final_div_factor */
    NT_SCHEDULE_SGDR,    /* Loshchilov & Hutter 2017: cosine from lr to min in restart_every, and again, each
                            period restart_mult times as long as the one before */
    NT_SCHEDULE_WSD,     /* warm-up, stable, decay (Hu et al. 2024): lr, and in the last decay_for steps min +
                            (lr - min) (remaining part of them)^power */
    NT_SCHEDULE_PLATEAU, /* lr, reduced where a metric stops getting better: see nt_plateau_take */
} nt_schedule;

/* The rate at `step` (0-based) of `n_steps` in all, with `steps_per_epoch` >= 1. In warm-up (step < warmup)
 * the rate is lr * (step + 1) / warmup. After it, step, multistep and exponential count from the beginning of
 * the run, so that their drops stay where the epochs end, and so does one_cycle; sgdr counts from the end of
 * the warm-up; polynomial and cosine run over t = step - warmup of T = n_steps - warmup and stay at their end
 * beyond it. */
double nt_schedule_lr(const nt_optim_options *options, int64_t step, int64_t n_steps,
                      int64_t steps_per_epoch);

/* How a metric, of which less is better, went over n evaluations. All zero: not yet. */
typedef struct nt_progress {
    int64_t n;
    double best;
    int64_t bad; /* evaluations in a row that were no better */
} nt_progress;

/* Whether the value is better than the best, times (1 - part), less `delta`: takes it in. NaN is not. */
bool nt_progress_take(nt_progress *progress, double value, double part, double delta);

/* State of schedule = plateau. All zero: of a fresh run. */
typedef struct nt_plateau {
    nt_progress progress;
    int64_t cooling; /* evaluations that do not count yet */
    double lr;       /* 0: that of the options */
} nt_plateau;

/* Takes in an evaluation, as torch's ReduceLROnPlateau with a relative threshold: after more than `patience`
 * in a row without a better one the rate is multiplied by gamma, down to min_lr. Whether it was. The rate
 * from then on is nt_schedule_lr of options whose lr is plateau->lr. */
bool nt_plateau_take(nt_plateau *plateau, const nt_optim_options *options, double value);

#endif
