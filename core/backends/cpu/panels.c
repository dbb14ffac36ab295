/* Packing of panels at the edges (initial values, checkpoints); speed does not matter here. */
#include "core/backends/cpu/panels.h"

#include <stdlib.h>
#include <string.h>

size_t nt_panels_bytes(const nt_panels *p)
{
    return (size_t)(nt_panels_count(p) * p->stored) * NT_PANEL * sizeof(float);
}

bool nt_panels_equal(const nt_panels *a, const nt_panels *b)
{
    return a->units == b->units && a->stored == b->stored && a->inputs == b->inputs && a->order == b->order;
}

nt_status nt_panels_copy(nt_panels **out, const nt_panels *p)
{
    *out = malloc(sizeof **out);
    NT_CHECK_ALLOC(*out, sizeof **out);
    **out = *p;
    return NT_OK;
}

void nt_panels_destroy(nt_panels *p)
{
    free(p);
}

/* Rows (K, F) in canonical order to rows (K, F') as x stores them, or back. */
static nt_status permute(nt_cpu *cpu, const nt_panels *p, float *rows, float *plain, bool to_rows)
{
    nt_md plain_md;
    NT_TRY(nt_cpu_md_plain(cpu, &plain_md, p->order));
    if (to_rows) return nt_cpu_reorder_now(cpu, plain_md, plain, p->order, rows);
    return nt_cpu_reorder_now(cpu, p->order, rows, plain_md, plain);
}

static size_t place(const nt_panels *p, int64_t unit, int64_t j)
{
    return (size_t)(((unit / NT_PANEL) * p->stored + j) * NT_PANEL + unit % NT_PANEL);
}

nt_status nt_panels_pack(nt_cpu *cpu, const nt_panels *p, float *packed, const float *plain)
{
    size_t n_bytes = (size_t)(p->units * p->stored) * sizeof(float);
    float *rows = calloc(1, n_bytes);
    NT_CHECK_ALLOC(rows, n_bytes);
    nt_status status = NT_OK;
    if (p->order)
        status = permute(cpu, p, rows, (float *)(uintptr_t)plain, true);
    else
        memcpy(rows, plain, n_bytes);
    memset(packed, 0, nt_panels_bytes(p));
    for (int64_t u = 0; u < p->units; u++)
        for (int64_t j = 0; j < p->stored; j++)
            packed[place(p, u, j)] = rows[u * p->stored + j];
    free(rows);
    return status;
}

nt_status nt_panels_unpack(nt_cpu *cpu, const nt_panels *p, float *plain, const float *packed)
{
    size_t n_bytes = (size_t)(p->units * p->stored) * sizeof(float);
    float *rows = p->order ? malloc(n_bytes) : plain;
    NT_CHECK_ALLOC(rows, n_bytes);
    for (int64_t u = 0; u < p->units; u++)
        for (int64_t j = 0; j < p->stored; j++)
            rows[u * p->stored + j] = packed[place(p, u, j)];
    if (!p->order) return NT_OK;
    nt_status status = permute(cpu, p, rows, plain, false);
    free(rows);
    return status;
}
