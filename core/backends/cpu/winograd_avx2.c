/* The kernels of winograd_body.h for AVX2 with FMA: a row of 16 floats is two registers. */
#if defined(__x86_64__)
#include <immintrin.h>

#define W_TARGET  __attribute__((target("avx2,fma")))
#define W_TABLE   nt_winograd_avx2
#define W_ROWS    6 /* rows of an accumulator tile of gemm */
#define W_T_VECS  2 /* the same of gemm_t: four times 4 rows by one column */
#define W_T_FIRST 4
#define W_T_REST  4
typedef float vec __attribute__((vector_size(32)));
enum { LANES = 8 };
#define vec_load(p)      ((vec)_mm256_loadu_ps(p))
#define vec_store(p, x)  _mm256_storeu_ps((p), (x))
#define vec_set1(x)      ((vec)_mm256_set1_ps(x))
#define vec_fma(a, b, c) ((vec)_mm256_fmadd_ps((a), (b), (c)))
#define vec_max(a, b)    ((vec)_mm256_max_ps((a), (b))) /* b where one of them is NaN */

#include "core/backends/cpu/winograd_body.h"
#endif
