/* adaptive_avg_pool: x (N, C, H, W) -> y (N, C, P, Q) of a given size whatever H and W are. Output row p is
 * the mean of rows [floor(p H / P), ceil((p + 1) H / P)), columns alike; neighbouring windows may share a
 * row. */
#ifndef NT_CORE_LAYERS_ADAPTIVE_AVG_POOL_H
#define NT_CORE_LAYERS_ADAPTIVE_AVG_POOL_H

#include "core/layer.h"

typedef struct nt_adaptive_avg_pool_options {
    int64_t output_size[2];
} nt_adaptive_avg_pool_options;

#endif
