/* The loops of vec_body.h for any processor, and the choice among the tables. */
#include "core/backends/cpu/vec.h"

#include "core/backends/cpu/isa.h"
#include "core/rng.h"

#include <math.h>
#include <stdbool.h>

#pragma GCC optimize("no-trapping-math") /* floating point exceptions are never looked at */

#define NT_VEC_TABLE nt_vec_base
#define NT_VEC_NAME  "base"
#include "core/backends/cpu/vec_body.h"

const nt_vec_ops *const *nt_vec_tables(void)
{
    static const nt_vec_ops *tables[4];
    int n = 0;
#if defined(__x86_64__)
    if (nt_isa_best() >= NT_ISA_AVX512) tables[n++] = &nt_vec_avx512;
    if (nt_isa_best() >= NT_ISA_AVX2) tables[n++] = &nt_vec_avx2;
#endif
    tables[n] = &nt_vec_base;
    return tables;
}
