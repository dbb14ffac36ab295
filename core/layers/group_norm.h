/* group_norm (Wu & He 2018): x (N, C, ...), the channels in num_groups groups of neighbours; each group of
 * each sample is normalised by its own mean and biased variance:
 *   y = weight[c] (x - mean) / sqrt(var + eps) + bias[c].
 * num_groups = C is instance norm. Parameters, unless affine is off: weight (C), bias (C) [NT_PARAM_NORM]. */
#ifndef NT_CORE_LAYERS_GROUP_NORM_H
#define NT_CORE_LAYERS_GROUP_NORM_H

#include "core/layer.h"

typedef struct nt_group_norm_options {
    int64_t num_groups;
    double eps;
    bool affine;
} nt_group_norm_options;

#endif
