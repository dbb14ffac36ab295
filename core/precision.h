/* precision = bf16 on a host backend, by rounding: the numerics of a device that computes in bfloat16, on any
 * machine. Nothing gets faster by it. */
#ifndef NT_CORE_PRECISION_H
#define NT_CORE_PRECISION_H

#include "core/backend.h"

/* Whether this backend's ops are to be rounded from outside. */
bool nt_precision_rounds(const nt_backend *backend);

/* What a host backend has to say about the precision asked for: NT_ERR_CONFIG if it cannot be had. */
NT_MUST nt_status nt_precision_check(const nt_backend *backend);

/* Rounds n floats to the nearest values that bfloat16 has. */
void nt_precision_round(float *x, int64_t n);

/* As nt_op_create, with rounding around the op that `create` makes. */
NT_MUST nt_status nt_precision_create(nt_op *op, const char *kind,
                                      nt_status (*create)(nt_op *op, const char *kind));

#endif
