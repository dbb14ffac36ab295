/* ref's operations inside another host backend: an op it lacks runs in plain layout, behind reorders. */
#ifndef NT_CORE_FALLBACK_H
#define NT_CORE_FALLBACK_H

#include "core/backend.h"

/* Makes `op` run ref's implementation of `kind`; sets op->impl. */
NT_MUST nt_status nt_fallback_create(nt_op *op, const char *kind);

#endif
