/* max_pool and avg_pool: x (N, C, H, W) -> y (N, C, P, Q). avg_pool does not count padding (exclude). */
#ifndef NT_CORE_LAYERS_POOL2D_H
#define NT_CORE_LAYERS_POOL2D_H

#include "core/layer.h"

typedef struct nt_pool2d_options {
    int64_t kernel[2], stride[2], padding[2]; /* stride 0 (default): the kernel; padding -1: same */
    int64_t pad_begin[2], pad_end[2];         /* resolved by infer() */
} nt_pool2d_options;

/* global_avg_pool: x (N, C, H, W) -> y (N, C). No options. */

#endif
