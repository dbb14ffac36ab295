/* prelu (He et al. 2015): x (N, C, ...), weight (1) or (C) -> y = x > 0 ? x : weight x. */
#ifndef NT_CORE_LAYERS_PRELU_H
#define NT_CORE_LAYERS_PRELU_H

#include "core/layer.h"

typedef struct nt_prelu_options {
    int64_t num_parameters; /* 1, or C: a slope for each channel */
    double init;            /* initial slope */
} nt_prelu_options;

#endif
