/* Greedy by size. With a few hundred values the quadratic search takes microseconds to milliseconds, at
 * set-up only. */
#include "core/memplan.h"

#include <stdlib.h>

size_t nt_memplan_round_up(size_t n_bytes)
{
    return (n_bytes + 63) & ~(size_t)63;
}

/* Largest first; equal sizes by first moment, then by index, so that the plan is the same on every rank. */
static int by_size(const void *a, const void *b)
{
    const nt_memplan_value *x = *(nt_memplan_value *const *)a, *y = *(nt_memplan_value *const *)b;
    if (x->n_bytes != y->n_bytes) return x->n_bytes < y->n_bytes ? 1 : -1;
    if (x->first != y->first) return x->first > y->first ? 1 : -1;
    return x < y ? -1 : x > y;
}

static bool overlap_in_time(const nt_memplan_value *a, const nt_memplan_value *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset at which v fits between the placed values (sorted by offset) that live when it does. */
static size_t lowest_fit(const nt_memplan_value *v, nt_memplan_value *const *placed, int n_placed)
{
    size_t offset = 0;
    for (int i = 0; i < n_placed; i++) {
        const nt_memplan_value *p = placed[i];
        if (!overlap_in_time(v, p)) continue;
        if (p->offset >= offset + nt_memplan_round_up(v->n_bytes)) break;
        size_t end = p->offset + nt_memplan_round_up(p->n_bytes);
        if (end > offset) offset = end;
    }
    return offset;
}

static void insert_by_offset(nt_memplan_value **placed, int n_placed, nt_memplan_value *v)
{
    int i = n_placed;
    for (; i > 0 && placed[i - 1]->offset > v->offset; i--)
        placed[i] = placed[i - 1];
    placed[i] = v;
}

nt_status nt_memplan_solve(nt_memplan_value *values, int n_values, size_t *total)
{
    *total = 0;
    if (n_values == 0) return NT_OK;
    nt_memplan_value **order = malloc(2 * (size_t)n_values * sizeof(nt_memplan_value *));
    NT_CHECK_ALLOC(order, 2 * (size_t)n_values * sizeof(nt_memplan_value *));
    nt_memplan_value **placed = order + n_values;
    for (int i = 0; i < n_values; i++)
        order[i] = &values[i];
    qsort(order, (size_t)n_values, sizeof(nt_memplan_value *), by_size);
    for (int i = 0; i < n_values; i++) {
        nt_memplan_value *v = order[i];
        v->offset = v->n_bytes ? lowest_fit(v, placed, i) : 0;
        insert_by_offset(placed, i, v);
        if (v->offset + nt_memplan_round_up(v->n_bytes) > *total)
            *total = v->offset + nt_memplan_round_up(v->n_bytes);
    }
    free(order);
    return NT_OK;
}
