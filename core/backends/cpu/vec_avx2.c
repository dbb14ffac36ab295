/* The loops of vec_body.h for AVX2. */
#include "core/backends/cpu/vec.h"

#include <math.h>

#if defined(__x86_64__)
#pragma GCC target("avx2")
#define NT_VEC_TABLE nt_vec_avx2
#define NT_VEC_NAME  "avx2"
#include "core/backends/cpu/vec_body.h"
#endif
