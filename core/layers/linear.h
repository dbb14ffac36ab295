/* linear: x (N, ...) taken as (N, F), weight (K, F), bias (K) -> y (N, K) = x weight^T + bias. */
#ifndef NT_CORE_LAYERS_LINEAR_H
#define NT_CORE_LAYERS_LINEAR_H

#include "core/layer.h"

typedef struct nt_linear_options {
    int64_t units;
    int bias; /* enum auto, yes, no */
    nt_init_options init;
    bool has_bias; /* resolved by infer() */
} nt_linear_options;

#endif
