/* conv_transpose2d: the map that backward of a conv2d makes of its dy. x (N, C, H, W), weight
 * (C, K / groups, R, S), bias (K) -> y (N, K, P, Q), P = (H - 1) stride - 2 padding + dilation (R - 1) +
 * output_padding + 1: element (row, col) of x adds its multiple of the kernel to y at (row, col) stride -
 * padding. */
#ifndef NT_CORE_LAYERS_CONV_TRANSPOSE2D_H
#define NT_CORE_LAYERS_CONV_TRANSPOSE2D_H

#include "core/layer.h"

typedef struct nt_conv_transpose2d_options {
    int64_t filters, kernel[2], stride[2], padding[2], output_padding[2], dilation[2], groups;
    int bias; /* enum auto, yes, no */
    nt_init_options init;
    bool has_bias; /* resolved by infer() */
} nt_conv_transpose2d_options;

#endif
