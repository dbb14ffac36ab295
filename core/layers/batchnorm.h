/* batchnorm: Ioffe & Szegedy 2015. x (N, C, ...) -> y, per channel over N and space:
 *   training  y = weight (x - mean) / sqrt(var + eps) + bias, mean and biased variance of this part of the
 * batch, or, with pass->sum, of all parts; inference the same with running_mean and running_var.
 *
 * With pass->sum an op sums 2 C + 1 numbers in forward and 2 C in backward, each time once, whether or not
 * anybody wants dx: a rank without samples has to know (nt_net_idle_forward).
 *
 * Parameters in order: weight (C), bias (C) [NT_PARAM_NORM], running_mean (C), running_var (C)
 * [NT_PARAM_STAT].
 *
 * Running statistics are those of the *global* batch on every rank: backward puts the batch's statistics into
 * the gradient slots of the running ones, weighted by pass->share (s, this rank's part of the global batch)
 * and shifted by the present running mean so that nothing cancels: d(running_mean) (+)= s (mean -
 * running_mean)          d(running_var) (+)= s (var + (mean - running_mean)^2) The slots are summed over
 * ranks like any gradient. core/net.c then runs NT_UPDATE_STAT (core/optim.h) on the pair.
 */
#ifndef NT_CORE_LAYERS_BATCHNORM_H
#define NT_CORE_LAYERS_BATCHNORM_H

#include "core/layer.h"

typedef struct nt_batchnorm_options {
    double eps;      /* default 1e-5 */
    double momentum; /* weight of the new batch in the running statistics; default 0.1 */
} nt_batchnorm_options;

enum { NT_BN_WEIGHT, NT_BN_BIAS, NT_BN_MEAN, NT_BN_VAR };

bool nt_layer_is_batchnorm(const nt_layer *layer);

static inline int64_t nt_batchnorm_forward_sums(int64_t channels)
{
    return 2 * channels + 1;
}

static inline int64_t nt_batchnorm_backward_sums(int64_t channels)
{
    return 2 * channels;
}

#endif
