/* linear: x (N, ...) taken as (N, F), weight (K, F), bias (K) -> y (N, K) = x weight^T + bias. With
 * axis = last the same product for every position: x (N, ..., F) -> y (N, ..., K). */
#ifndef NT_CORE_LAYERS_LINEAR_H
#define NT_CORE_LAYERS_LINEAR_H

#include "core/layer.h"

typedef enum nt_linear_axis { NT_LINEAR_ALL, NT_LINEAR_LAST } nt_linear_axis;

typedef struct nt_linear_options {
    int64_t units;
    int axis; /* nt_linear_axis */
    int bias; /* enum auto, yes, no */
    nt_init_options init;
    const char *weight; /* name of the layer whose weight it shares; NULL: one of its own */
    bool has_bias;      /* resolved by infer() */
} nt_linear_options;

#endif
