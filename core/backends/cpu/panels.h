/* Panels: how the weights (K, F) of a linear layer lie in memory, and the kernels that work on them.
 *
 * A panel holds 32 units (outputs) side by side: panel p is [F'][32], element (j, u) the weight of unit
 * 32 p + u for stored input j. The units that the last panel lacks are zero and stay zero: their gradients
 * are written as zero. Stored inputs are the elements of a row of x as x lies in memory, so that x in
 * oneDNN's blocked formats is used as it is; F' counts its padding too. */
#ifndef NT_CORE_BACKENDS_CPU_PANELS_H
#define NT_CORE_BACKENDS_CPU_PANELS_H

#include "core/backends/cpu/cpu.h"

#define NT_PANEL 32

typedef struct nt_panels {
    int64_t units;  /* K */
    int64_t stored; /* F' */
    int64_t inputs; /* F */
    /* How x's rows are stored: descriptor of (K, ...) in x's format, or NULL for the plain order. Owned by
     * the backend's list. */
    nt_md order;
} nt_panels;

static inline int64_t nt_panels_count(const nt_panels *p)
{
    return (p->units + NT_PANEL - 1) / NT_PANEL;
}

size_t nt_panels_bytes(const nt_panels *p);
bool nt_panels_equal(const nt_panels *a, const nt_panels *b);
NT_MUST nt_status nt_panels_copy(nt_panels **out, const nt_panels *p);
void nt_panels_destroy(nt_panels *p);
/* Between panels and the canonical (K, F). */
NT_MUST nt_status nt_panels_pack(nt_cpu *cpu, const nt_panels *p, float *packed, const float *plain);
NT_MUST nt_status nt_panels_unpack(nt_cpu *cpu, const nt_panels *p, float *plain, const float *packed);

#endif
