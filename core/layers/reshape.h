/* reshape: the same elements in the same row-major order under another shape, the batch left as it is. */
#ifndef NT_CORE_LAYERS_RESHAPE_H
#define NT_CORE_LAYERS_RESHAPE_H

#include "core/layer.h"

typedef struct nt_reshape_options {
    nt_ints shape; /* of a sample; one may be -1: what is left over */
} nt_reshape_options;

#endif
