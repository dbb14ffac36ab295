/* layer_norm (Ba et al. 2016): each run of the last `normalized_dims` dimensions of a sample, M elements of
 * x (N, ..., M), is normalised by its own mean and biased variance:
 *   y = weight (x - mean) / sqrt(var + eps) + bias, weight and bias of the shape of the run.
 * Parameters, unless elementwise_affine is off: weight, bias [NT_PARAM_NORM]. */
#ifndef NT_CORE_LAYERS_LAYER_NORM_H
#define NT_CORE_LAYERS_LAYER_NORM_H

#include "core/layer.h"

typedef struct nt_layer_norm_options {
    int64_t normalized_dims;
    double eps;
    bool elementwise_affine;
} nt_layer_norm_options;

enum { NT_LN_WEIGHT, NT_LN_BIAS };

#endif
