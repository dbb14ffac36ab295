/* slice: elements start ... start + length - 1 of one dimension, PyTorch's narrow(dim, start, length). dim
 * counts as in PyTorch, 0 the batch (which cannot be cut), 1 the first dimension of a sample; negative from
 * the end. Several slices of one input are a split. */
#ifndef NT_CORE_LAYERS_SLICE_H
#define NT_CORE_LAYERS_SLICE_H

#include "core/layer.h"

typedef struct nt_slice_options {
    int64_t dim, start, length; /* as given; negative start: from the end, length 0: up to the end */
    int64_t axis, begin, count; /* resolved by infer(): dimension of (N, ...), first element, elements */
} nt_slice_options;

#endif
