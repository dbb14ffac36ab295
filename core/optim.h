/* Optimizers: which rule, and what one step of it does to a flat range.
 *
 * The state of an optimizer is up to two arrays as long as the parameters, in the parameters' layout
 * (momentum; first and second moments). nt_optim_prepare turns options, step and role into an nt_update, the
 * one thing backends have to run. */
#ifndef NT_CORE_OPTIM_H
#define NT_CORE_OPTIM_H

#include "core/config.h"
#include "core/layer.h"

typedef enum nt_update_rule {
    NT_UPDATE_SGD,  /* g' = g + wd p; without momentum p -= lr g'; else s1 = momentum s1 + g' ; p -= lr
                       (nesterov ? g' + momentum s1 : s1) */
    NT_UPDATE_ADAM, /* Kingma & Ba 2015, algorithm 1; decoupled: Loshchilov & Hutter 2019 (AdamW) */
    NT_UPDATE_STAT, /* running statistics of a batchnorm (core/layers/batchnorm.h): p = running mean, g = its
                       reduced slot a, s1 = running variance, s2 = its reduced slot b; the batch's mean is p +
                       a, its variance (b - a^2) correction1; p += momentum a ; s1 += momentum ((b - a^2)
                       correction1 - s1) ; correction1 = M / (M - 1), M values */
} nt_update_rule;

/* Arguments of one pass over one range; all scalars final, so that a backend only multiplies. They are double
 * so that a backend in float can round 1 - beta2 itself: in float, 1 - 0.999f is off by 1e-5. */
typedef struct nt_update {
    nt_update_rule rule;
    double lr, momentum, weight_decay; /* weight_decay 0 for ranges without decay */
    bool nesterov, decoupled;
    double beta1, beta2, eps;
    double correction1,
        correction2;     /* 1 - beta^t: m / correction1, v / correction2; eps outside the root, as PyTorch */
    double grad_scale;   /* factor on g first; 1 normally */
    const double *scale; /* one more, backend memory; where it is not finite the range is left alone (also a
                            running statistic, which is not multiplied). NULL: 1 */
} nt_update;

/* [optimizer]. The defaults are PyTorch's where it has any, except that sgd has a rate of 0.01. */
typedef struct nt_optim_options {
    int type;            /* nt_optim_type */
    double lr;           /* NaN (auto): 0.01 for sgd, 0.001 for adam and adamw; see nt_optim_lr */
    double weight_decay; /* NaN (auto): 0.01 for adamw, else 0 */
    double momentum, beta1, beta2, eps, clip_norm;
    bool nesterov, decay_all; /* decay_all: also biases and norm parameters */
    /* schedule: core/schedule.h */
    int schedule;
    int64_t warmup;         /* steps of linear warm-up from 0 */
    double gamma;           /* step, multistep, exponential */
    nt_interval step_every; /* step, exponential: period; steps or epochs */
    nt_ints milestones;     /* multistep: epochs, ascending */
    double power, min_lr;   /* polynomial, cosine: end */
} nt_optim_options;

typedef enum nt_optim_type { NT_OPTIM_SGD, NT_OPTIM_ADAM, NT_OPTIM_ADAMW } nt_optim_type;

extern const nt_section nt_optim_section; /* [optimizer] */

/* "sgd", as in the config. */
const char *nt_optim_name(const nt_optim_options *options);

/* Number of state arrays (0, 1 or 2) and their names in checkpoints ("momentum"; "exp_avg", "exp_avg_sq"). */
int nt_optim_n_states(const nt_optim_options *options);
const char *nt_optim_state_name(const nt_optim_options *options, int index);

/* The rate before any schedule: options->lr, or the type's default. */
double nt_optim_lr(const nt_optim_options *options);

/* The update of step `step` (0-based) at rate `lr` for parameters of a role (not NT_PARAM_STAT). */
nt_update nt_optim_prepare(const nt_optim_options *options, double lr, int64_t step, nt_param_role role);

/* For backends in host memory: folds *u->scale into u->grad_scale. false: the range is to be left alone. */
bool nt_update_fold_scale(nt_update *u);

#endif
