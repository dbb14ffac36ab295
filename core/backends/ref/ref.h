/* The operations of the ref backend and what they share. To add one: a file with an nt_op_impl table, a line
 * here, a line in the list of ref.c, a test. */
#ifndef NT_CORE_BACKENDS_REF_REF_H
#define NT_CORE_BACKENDS_REF_REF_H

#include "core/backend.h"
#include "core/backends/ref/real.h"

/* One step of an optimizer over a range: update.c. */
NT_MUST nt_status NT_REF(update)(nt_backend *backend, const nt_update *u, void *p, const void *g, void *s1,
                                 void *s2, int64_t n);

/* nt_op_impl.create of an op without choices: plain tensors, nothing kept. */
NT_MUST nt_status NT_REF(create_plain)(nt_op *op);

#endif
