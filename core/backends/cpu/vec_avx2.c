/* The loops of vec_body.h for AVX2. */
#include "core/backends/cpu/vec.h"

#include "core/rng.h"

#include <math.h>
#include <stdbool.h>

#pragma GCC optimize("no-trapping-math") /* floating point exceptions are never looked at */

#if defined(__x86_64__)
#pragma GCC target("avx2")
#define NT_VEC_TABLE nt_vec_avx2
#define NT_VEC_NAME  "avx2"
#include "core/backends/cpu/vec_body.h"
#endif
