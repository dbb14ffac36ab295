/* conv2d: x (N, C, H, W), weight (K, C / groups, R, S), bias (K) -> y (N, K, P, Q), cross-correlation. */
#ifndef NT_CORE_LAYERS_CONV2D_H
#define NT_CORE_LAYERS_CONV2D_H

#include "core/layer.h"

typedef struct nt_conv2d_options {
    int64_t filters, kernel[2], stride[2], padding[2], dilation[2], groups; /* padding as given; -1: same */
    int bias;                                                               /* enum auto, yes, no */
    nt_init_options init;
    /* Resolved by infer(): */
    int64_t pad_begin[2],
        pad_end[2]; /* rows, columns of zeros; `same`: output is ceil(input / stride), extra at the end */
    bool has_bias;
} nt_conv2d_options;

#endif
