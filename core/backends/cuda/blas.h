/* Matrix products by cuBLAS, in row-major terms. blas.c is the only file that knows its header. */
#ifndef NT_CORE_BACKENDS_CUDA_BLAS_H
#define NT_CORE_BACKENDS_CUDA_BLAS_H

#include "core/backends/cuda/cuda.h"

/* c (m, n) = alpha op(a) (m, k) op(b) (k, n) + beta c; with beta 0 c is not read. `batch` such products, the
 * matrices of which lie stride elements apart (0: the same one for all). */
typedef struct nt_cuda_gemm_args {
    bool trans_a, trans_b; /* a is stored as (k, m); b as (n, k) */
    int64_t m, n, k;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc; /* elements from row to row, as stored */
    int64_t stride_a, stride_b, stride_c;
    nt_dtype in, out; /* of a and b, of c: NT_F32 or NT_BF16 */
    float alpha, beta;
    int64_t batch;
} nt_cuda_gemm_args;

/* For create() of an op that multiplies matrices with n sizes `dim` of rows and columns: cuBLAS is ready
 * afterwards. NT_ERR_CONFIG if it cannot count that far. */
NT_MUST nt_status nt_cuda_blas_open(const nt_op *op, const int64_t *dim, int n);
void nt_cuda_blas_close(nt_backend *backend);

/* Into the compute stream; sums in float32 (NT_PRECISION_TF32 rounds float32 factors to 10 bits). */
NT_MUST nt_status nt_cuda_gemm(const nt_op *op, const nt_cuda_gemm_args *args);

#endif
