/* Where values live in one arena: each value has a size and a first and last moment of use; values whose
 * moments overlap must not overlap in memory. Greedy by size (largest first, lowest free offset), which is
 * within a few percent of optimal for networks (Pisarchyk & Lee 2020, "Efficient memory management for deep
 * neural net inference"). */
#ifndef NT_CORE_MEMPLAN_H
#define NT_CORE_MEMPLAN_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_memplan_value {
    size_t n_bytes;  /* 0: gets offset 0 */
    int first, last; /* moments, inclusive */
    size_t offset;   /* result, multiple of 64 */
} nt_memplan_value;

/* What a value of n_bytes takes in the arena: a multiple of 64. */
size_t nt_memplan_round_up(size_t n_bytes);

/* Sets all offsets; *total is the arena's size. */
NT_MUST nt_status nt_memplan_solve(nt_memplan_value *values, int n_values, size_t *total);

#endif
