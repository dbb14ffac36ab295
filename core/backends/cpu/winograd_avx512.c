/* The kernels of winograd_body.h for AVX-512: a row of 16 floats is one register, 14 rows by 2 columns of
 * accumulators leave four of the 32 registers for operands. */
#if defined(__x86_64__)
#include <immintrin.h>

#define W_TARGET  __attribute__((target("avx512f,avx512vl,avx512dq,fma")))
#define W_TABLE   nt_winograd_avx512
#define W_ROWS    14 /* rows of an accumulator tile of gemm */
#define W_T_VECS  4  /* the same of gemm_t: 6, 5 and 5 rows by four columns */
#define W_T_FIRST 6
#define W_T_REST  5
typedef float vec __attribute__((vector_size(64)));
enum { LANES = 16 };
#define vec_load(p)      ((vec)_mm512_loadu_ps(p))
#define vec_store(p, x)  _mm512_storeu_ps((p), (x))
#define vec_set1(x)      ((vec)_mm512_set1_ps(x))
#define vec_fma(a, b, c) ((vec)_mm512_fmadd_ps((a), (b), (c)))
#define vec_max(a, b)    ((vec)_mm512_max_ps((a), (b))) /* b where one of them is NaN */

#include "core/backends/cpu/winograd_body.h"
#endif
