/* The loops of vec_body.h for AVX-512 (f, bw, dq, vl: Skylake server and later, Zen 4 and later). */
#include "core/backends/cpu/vec.h"

#include "core/rng.h"

#include <math.h>
#include <stdbool.h>

#pragma GCC optimize("no-trapping-math") /* floating point exceptions are never looked at */

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#define NT_VEC_TABLE nt_vec_avx512
#define NT_VEC_NAME  "avx512"
#include "core/backends/cpu/vec_body.h"
#endif
