/* max_pool and avg_pool: x (N, C, H, W) -> y (N, C, P, Q).
 *
 * P = floor((H + padding - kernel) / stride) + 1, or with ceil_mode the ceiling, less one if the last window
 * would begin behind the last row and its padding. avg_pool divides by the taps that lie in x, or with
 * count_include_pad by those that lie in x and its padding (never beyond it, where ceil_mode lets windows
 * reach); the latter is an operation of its own, `avg_pool_padded`. */
#ifndef NT_CORE_LAYERS_POOL2D_H
#define NT_CORE_LAYERS_POOL2D_H

#include "core/layer.h"

typedef struct nt_pool2d_options {
    int64_t kernel[2], stride[2], padding[2]; /* stride 0 (default): the kernel; padding -1: same */
    int64_t pad_begin[2], pad_end[2];         /* resolved by infer() */
    bool ceil_mode;
    bool count_include_pad; /* avg_pool only; in a config the default is yes, as PyTorch's */
} nt_pool2d_options;

/* global_avg_pool: x (N, C, H, W) -> y (N, C). No options. */

#endif
