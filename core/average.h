/* Averages of the weights: which, and when what is added to them. [average]
 *
 * EMA, as torch.optim.swa_utils with get_ema_multi_avg_fn: average = decay average + (1 - decay) w, begun
 * with a copy of w. SWA (Izmailov et al. 2018): the mean of the weights at steps that are swa_every apart.
 * Both average the running statistics of batchnorm too (use_buffers = True there): they are not taken anew
 * over the data. What is due is a function of the step, so nothing but the averages themselves has to be
 * kept. */
#ifndef NT_CORE_AVERAGE_H
#define NT_CORE_AVERAGE_H

#include "core/config.h"

typedef enum nt_weights { NT_WEIGHTS_RAW, NT_WEIGHTS_EMA, NT_WEIGHTS_SWA, NT_N_WEIGHTS } nt_weights;
extern const char *const nt_weights_names[]; /* "raw", "ema", "swa"; NULL-terminated */

typedef struct nt_average_options {
    double ema; /* decay; 0: none */
    int64_t ema_every;
    nt_interval swa_start, swa_every; /* steps or epochs; start NT_NEVER: none */
    int weights;                      /* nt_weights: what is evaluated, predicted with, exported, judged by */
} nt_average_options;
extern const nt_section nt_average_section; /* [average] */

/* Whether there is such an average; not of NT_WEIGHTS_RAW. */
bool nt_average_kept(const nt_average_options *options, nt_weights which);

/* Weight of the parameters in their average after `step` steps: 1 where it begins, 0 where nothing is due. */
double nt_average_weight(const nt_average_options *options, nt_weights which, int64_t step,
                         int64_t steps_per_epoch);

#endif
