/* Shapes, element types, and the tensor: a view of memory with a shape and a backend's layout. */
#ifndef NT_CORE_TENSOR_H
#define NT_CORE_TENSOR_H

#include "core/status.h"

#include <stdint.h>

#define NT_MAX_DIMS 6

/* NT_BF16 is for activations inside a backend: no file and no host array has it (core/bf16.h). */
typedef enum nt_dtype { NT_F32, NT_F64, NT_U8, NT_I32, NT_I64, NT_BF16, NT_N_DTYPES } nt_dtype;

size_t nt_dtype_bytes(nt_dtype dtype);
const char *nt_dtype_name(nt_dtype dtype);

/* Dimensions, outermost first. Activations are (N, C, H, W) or (N, F); in a model, without N. */
typedef struct nt_shape {
    int n_dims;
    int64_t dim[NT_MAX_DIMS];
} nt_shape;

/* nt_shape_of(3, c, h, w) */
nt_shape nt_shape_of(int n_dims, ...);

/* `shape` with n in front. */
nt_shape nt_shape_with_n(nt_shape shape, int64_t n);

bool nt_shape_equal(nt_shape a, nt_shape b);

/* Product of all dimensions (1 for no dimensions). The shape must have passed nt_shape_check. */
int64_t nt_shape_elems(nt_shape shape);

/* Every dimension >= 1 and the product at most 2^40: NT_ERR_DATA otherwise, `what` names it. */
NT_MUST nt_status nt_shape_check(nt_shape shape, const char *what);

#define NT_SHAPE_TEXT_BYTES 96
/* "3x32x32" into text; returns text. */
const char *nt_shape_text(nt_shape shape, char text[NT_SHAPE_TEXT_BYTES]);

/* A backend's arrangement of elements in memory; only the backend that made it looks inside. NULL is plain
 * row-major. */
typedef struct nt_layout nt_layout;

typedef struct nt_tensor {
    nt_dtype dtype;
    nt_shape shape;
    const nt_layout *layout; /* owned by the backend; NULL: plain */
    size_t n_bytes;          /* in that layout, padding included */
    void *data;              /* memory of the backend; NULL until bound */
} nt_tensor;

/* A plain, unbound tensor. */
nt_tensor nt_tensor_plain(nt_dtype dtype, nt_shape shape);

#endif
