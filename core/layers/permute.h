/* permute: dimensions in another order. dims = 2, 3, 1 makes (N, H, W, C) of (N, C, H, W): dimension i of y
 * is dimension dims[i] of x, counted as in PyTorch with 0 for the batch, which stays in front. */
#ifndef NT_CORE_LAYERS_PERMUTE_H
#define NT_CORE_LAYERS_PERMUTE_H

#include "core/layer.h"

typedef struct nt_permute_options {
    nt_ints dims;           /* as given, with or without the 0 in front */
    int order[NT_MAX_DIMS]; /* resolved by infer(): order[0] = 0, order[i] as above */
} nt_permute_options;

#endif
