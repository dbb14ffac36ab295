/* Learning-rate schedules: pure functions of the step, in double. */
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
} nt_schedule;

/* The rate at `step` (0-based) of `n_steps` in all, with `steps_per_epoch` >= 1. In warm-up (step < warmup)
 * the rate is lr * (step + 1) / warmup. After it, step, multistep and exponential count from the beginning of
 * the run, so that their drops stay where the epochs end; polynomial and cosine run over t = step - warmup of
 * T = n_steps - warmup and stay at their end beyond it. */
double nt_schedule_lr(const nt_optim_options *options, int64_t step, int64_t n_steps,
                      int64_t steps_per_epoch);

#endif
