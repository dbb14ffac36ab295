/* scale: x (N, C, ...) -> y = factor x + shift, constants, one for all channels or one for each. */
#ifndef NT_CORE_LAYERS_SCALE_H
#define NT_CORE_LAYERS_SCALE_H

#include "core/layer.h"

typedef struct nt_scale_options {
    nt_floats factor, shift; /* 1 or C values each; owned by the config */
} nt_scale_options;

/* The value for channel c. */
static inline double nt_scale_at(const nt_floats *values, int64_t c)
{
    return values->value[values->n == 1 ? 0 : c];
}

#endif
