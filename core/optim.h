/* Optimizers: which rule, and what one step of it does to a flat range.
 *
 * The state of an optimizer is up to three arrays as long as the parameters, in the parameters' layout
 * (momentum; first and second moments). nt_optim_prepare turns options, step and role into an nt_update, the
 * one thing backends have to run: a function of a range and of scalars, so that a range may be cut anywhere.
 *
 * LARS and LAMB also need norms of whole tensors. These are sums of squares in backend memory, which parts of
 * a tensor (other ranks' shards) can add to before nt_backend_ratios makes factors on the rate of them; the
 * update then reads its tensor's factor, so the host waits for nothing (core/net.h, nt_net_measure_ratios).
 */
#ifndef NT_CORE_OPTIM_H
#define NT_CORE_OPTIM_H

#include "core/config.h"
#include "core/layer.h"

typedef enum nt_update_rule {
    NT_UPDATE_SGD,     /* g' = g + wd p; without momentum p -= lr g'; else s1 = momentum s1 + g' ; p -= lr
                          (nesterov ? g' + momentum s1 : s1) */
    NT_UPDATE_ADAM,    /* Kingma & Ba 2015, algorithm 1; decoupled: Loshchilov & Hutter 2019 (AdamW) */
    NT_UPDATE_RMSPROP, /* torch.optim.RMSprop: s1 mean of squares; centered: s2 mean of g; momentum: the last
                          array, see nt_update_buffer. beta2 is the decay of the means */
    NT_UPDATE_ADAGRAD, /* Duchi et al. 2011: s1 += g^2; p -= lr g / (sqrt(s1) + eps) */
    NT_UPDATE_LION,    /* Chen et al. 2023, algorithm 2: s1 momentum; decay is decoupled */
    NT_UPDATE_LARS,    /* You et al. 2017, algorithm 1: s1 = momentum s1 + lr ratio (g + wd p) ; p -= s1 */
    NT_UPDATE_LAMB,    /* You et al. 2019, algorithm 2, up to its norms: s1, s2 moments; s3 = what p goes down
                          by at rate and ratio 1 (may be g); p stays. NT_UPDATE_STEP follows */
    NT_UPDATE_STEP,    /* p -= lr ratio g; g is not multiplied by any scale */
    NT_UPDATE_LIMIT,   /* p = g where |g| <= limit, else limit with the sign of g. Also in place */
    NT_UPDATE_AVERAGE, /* p += lr (g - p); lr 1: p = g */
    NT_UPDATE_STAT,    /* running statistics of a batchnorm (core/layers/batchnorm.h): p = running mean, g =
                          its reduced slot a, s1 = running variance, s2 = its reduced slot b; the batch's mean
                          is p + a, its variance (b - a^2) correction1; p += momentum a ; s1 += momentum
                          ((b - a^2) correction1 - s1) ; correction1 = M / (M - 1), M values */
    NT_N_UPDATE_RULES
} nt_update_rule;

/* Arguments of one pass over one range; all scalars final, so that a backend only multiplies. They are double
 * so that a backend in float can round 1 - beta2 itself: in float, 1 - 0.999f is off by 1e-5. */
typedef struct nt_update {
    nt_update_rule rule;
    double lr, momentum, weight_decay; /* weight_decay 0 for ranges without decay */
    bool nesterov, decoupled, centered;
    double beta1, beta2, eps, limit;
    double correction1,
        correction2;     /* 1 - beta^t: m / correction1, v / correction2; eps outside the root, as PyTorch */
    double grad_scale;   /* factor on g first; 1 normally */
    const double *scale; /* one more, backend memory; where it is not finite the range is left alone (also a
                            running statistic, which is not multiplied). NULL: 1 */
    const double *ratio; /* factor on lr, backend memory. NULL: 1 */
    void *s3;            /* the third array, of the same range as the arguments of nt_backend_update */
} nt_update;

/* The momentum of RMSprop: s2, or s3 where s2 is taken; NULL without momentum. */
static inline void *nt_update_buffer(const nt_update *u, void *s2)
{
    return u->momentum == 0 ? NULL : u->centered ? u->s3 : s2;
}

#define NT_MAX_STATES 3

/* [optimizer]. The defaults are PyTorch's where it has any, except that sgd has a rate of 0.01. */
typedef struct nt_optim_options {
    int type;            /* nt_optim_type */
    double lr;           /* NaN (auto): the type's, see nt_optim_lr */
    double weight_decay; /* NaN (auto): the type's */
    double momentum, beta1, alpha, trust;
    double beta2, eps; /* NaN (auto): the type's */
    double clip_norm, clip_value;
    bool nesterov, centered, decay_all; /* decay_all: also biases and norm parameters */
    /* schedule: core/schedule.h */
    int schedule;
    int64_t warmup;                                 /* steps of linear warm-up from 0 */
    double gamma;                                   /* step, multistep, exponential */
    nt_interval step_every;                         /* step, exponential: period; steps or epochs */
    nt_ints milestones;                             /* multistep: epochs, ascending */
    double power, min_lr;                           /* polynomial, cosine, wsd, sgdr, plateau: end */
    double pct_start, div_factor, final_div_factor; /* one_cycle */
    nt_interval restart_every;                      /* sgdr: the first period; steps or epochs */
    int64_t restart_mult;
    nt_interval decay_for; /* wsd: steps or epochs */
    int64_t patience, cooldown;
    double threshold; /* plateau */
    double lr_per;    /* batch that lr is meant for; 0: any */
} nt_optim_options;

typedef enum nt_optim_type {
    NT_OPTIM_SGD,
    NT_OPTIM_ADAM,
    NT_OPTIM_ADAMW,
    NT_OPTIM_RMSPROP,
    NT_OPTIM_ADAGRAD,
    NT_OPTIM_LION,
    NT_OPTIM_LARS,
    NT_OPTIM_LAMB
} nt_optim_type;

extern const nt_section nt_optim_section; /* [optimizer] */

/* "sgd", as in the config. */
const char *nt_optim_name(const nt_optim_options *options);

/* Number of state arrays (0 to NT_MAX_STATES) and their names in checkpoints ("momentum"; "exp_avg",
 * "exp_avg_sq"). */
int nt_optim_n_states(const nt_optim_options *options);
const char *nt_optim_state_name(const nt_optim_options *options, int index);

/* The rate before any schedule: options->lr, or the type's default. */
double nt_optim_lr(const nt_optim_options *options);

/* The same for a global batch: multiplied by batch / lr_per. */
double nt_optim_lr_of_batch(const nt_optim_options *options, int64_t batch);

/* The update of step `step` (0-based) at rate `lr` for parameters of a role (not NT_PARAM_STAT). */
nt_update nt_optim_prepare(const nt_optim_options *options, double lr, int64_t step, nt_param_role role);

/* How LARS and LAMB scale the rate of a tensor w with decay wd that is to go down by g: lr times
 * coefficient |w| / (scale |g| + wd |w|), or lr itself where w or g is zero. */
typedef struct nt_ratio {
    double coefficient;
    bool scales; /* whether g is still to be multiplied by nt_update.scale */
    bool decays; /* whether wd is part of it */
} nt_ratio;

/* Whether parameters of that role have a ratio. As published: not biases, nor norm parameters. */
bool nt_optim_has_ratio(const nt_optim_options *options, nt_param_role role);
nt_ratio nt_optim_ratio(const nt_optim_options *options);

/* For backends in host memory: folds *u->scale into u->grad_scale and *u->ratio into u->lr. false: the range
 * is to be left alone. */
bool nt_update_fold_scale(nt_update *u);

#endif
