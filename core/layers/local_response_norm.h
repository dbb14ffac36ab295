/* local_response_norm (Krizhevsky et al. 2012, in PyTorch's form): x (N, C, ...) ->
 *   y = x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta
 * Channel c's neighbours are c - size / 2 ... c + (size - 1) / 2; those that are not there count as zeros. */
#ifndef NT_CORE_LAYERS_LOCAL_RESPONSE_NORM_H
#define NT_CORE_LAYERS_LOCAL_RESPONSE_NORM_H

#include "core/layer.h"

typedef struct nt_local_response_norm_options {
    int64_t size;
    double alpha, beta, k;
} nt_local_response_norm_options;

#endif
