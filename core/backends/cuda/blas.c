/* cuBLAS behind a row-major product: a row-major matrix is the transpose of a column-major one, so c = a b is
 * computed as c^T = b^T a^T.
 *
 * The workspace is ours and fixed, because the library's own would be allocated while a step is recorded, and
 * because results repeat bit for bit only with one. 32 MiB is what NVIDIA advises for the largest devices. */
#include "core/backends/cuda/blas.h"

#include <cublas_v2.h>
#include <limits.h>
#include <stdlib.h>

#define WORKSPACE_BYTES ((size_t)32 << 20)

struct nt_cuda_blas {
    cublasHandle_t handle;
    void *workspace;
};

static nt_status check(cublasStatus_t code, const char *what)
{
    if (__builtin_expect(code == CUBLAS_STATUS_SUCCESS, 1)) return NT_OK;
    NT_FAIL(NT_ERR_UNAVAILABLE, "%s failed: %s (cuBLAS status %d)", what, cublasGetStatusString(code),
            (int)code);
}

static nt_status open_handle(nt_backend *backend, struct nt_cuda_blas *blas)
{
    const nt_cuda *cuda = backend->state;
    NT_TRY(check(cublasCreate(&blas->handle), "cublasCreate"));
    NT_TRY(nt_backend_alloc(backend, &blas->workspace, WORKSPACE_BYTES));
    NT_TRY(check(cublasSetStream(blas->handle, cuda->compute), "cublasSetStream"));
    NT_TRY(check(cublasSetWorkspace(blas->handle, blas->workspace, WORKSPACE_BYTES), "cublasSetWorkspace"));
    NT_TRY(check(cublasSetAtomicsMode(blas->handle, CUBLAS_ATOMICS_NOT_ALLOWED), "cublasSetAtomicsMode"));
    /* parts of a long sum are added in float32 also where the result is bfloat16 */
    cublasMath_t exact =
        (cublasMath_t)(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    NT_TRY(check(cublasSetMathMode(blas->handle, exact), "cublasSetMathMode"));
    return NT_OK;
}

static nt_status open_once(nt_backend *backend)
{
    nt_cuda *cuda = backend->state;
    if (cuda->blas) return NT_OK;
    cuda->blas = calloc(1, sizeof *cuda->blas);
    NT_CHECK_ALLOC(cuda->blas, sizeof *cuda->blas);
    nt_status status = open_handle(backend, cuda->blas);
    if (status == NT_OK) return NT_OK;
    nt_cuda_blas_close(backend);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

nt_status nt_cuda_blas_open(const nt_op *op, const int64_t *dim, int n)
{
    for (int i = 0; i < n; i++)
        NT_CHECK(dim[i] <= INT_MAX, NT_ERR_CONFIG,
                 "layer %s: %s multiplies a matrix of %lld rows or columns, and cuBLAS counts them up to %d; "
                 "use a smaller batch or layer",
                 op->name, op->impl->kind, (long long)dim[i], INT_MAX);
    NT_TRY(open_once(op->backend));
    return NT_OK;
}

void nt_cuda_blas_close(nt_backend *backend)
{
    nt_cuda *cuda = backend->state;
    if (!cuda->blas) return;
    if (cuda->blas->handle) (void)cublasDestroy(cuda->blas->handle);
    nt_backend_free(backend, cuda->blas->workspace, WORKSPACE_BYTES);
    free(cuda->blas);
    cuda->blas = NULL;
}

static cudaDataType type_of(nt_dtype dtype)
{
    return dtype == NT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static cublasStatus_t multiply(const nt_cuda *cuda, const nt_cuda_gemm_args *g)
{
    const cublasOperation_t op_a = g->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t op_b = g->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const bool tf32 = cuda->precision == NT_PRECISION_TF32 && g->in == NT_F32;
    const cublasComputeType_t compute = tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const int m = (int)g->m, n = (int)g->n, k = (int)g->k;
    if (g->batch == 1)
        return cublasGemmEx(cuda->blas->handle, op_b, op_a, n, m, k, &g->alpha, g->b, type_of(g->in),
                            (int)g->ldb, g->a, type_of(g->in), (int)g->lda, &g->beta, g->c, type_of(g->out),
                            (int)g->ldc, compute, CUBLAS_GEMM_DEFAULT);
    return cublasGemmStridedBatchedEx(cuda->blas->handle, op_b, op_a, n, m, k, &g->alpha, g->b,
                                      type_of(g->in), (int)g->ldb, g->stride_b, g->a, type_of(g->in),
                                      (int)g->lda, g->stride_a, &g->beta, g->c, type_of(g->out), (int)g->ldc,
                                      g->stride_c, (int)g->batch, compute, CUBLAS_GEMM_DEFAULT);
}

/* A batch becomes one dimension of a grid in many of the library's kernels, and these end at 65535. */
static cublasStatus_t multiply_in_parts(const nt_cuda *cuda, const nt_cuda_gemm_args *g)
{
    const int64_t most = 65535, in = (int64_t)nt_dtype_bytes(g->in), out = (int64_t)nt_dtype_bytes(g->out);
    for (int64_t first = 0; first < g->batch; first += most) {
        nt_cuda_gemm_args part = *g;
        part.a = (const char *)g->a + first * g->stride_a * in;
        part.b = (const char *)g->b + first * g->stride_b * in;
        part.c = (char *)g->c + first * g->stride_c * out;
        part.batch = g->batch - first < most ? g->batch - first : most;
        const cublasStatus_t code = multiply(cuda, &part);
        if (code != CUBLAS_STATUS_SUCCESS) return code;
    }
    return CUBLAS_STATUS_SUCCESS;
}

nt_status nt_cuda_gemm(const nt_op *op, const nt_cuda_gemm_args *g)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    NT_BUG_UNLESS(g->m <= INT_MAX && g->n <= INT_MAX && g->k <= INT_MAX && g->lda <= INT_MAX &&
                      g->ldb <= INT_MAX && g->ldc <= INT_MAX,
                  "layer %s: a product of %lld x %lld x %lld that nt_cuda_blas_open was not asked for",
                  op->name, (long long)g->m, (long long)g->n, (long long)g->k);
    nt_status status = check(multiply_in_parts(cuda, g), "a matrix product");
    if (status != NT_OK) return nt_error_prefix(status, "layer %s: ", op->name);
    NT_CUDA_RUN(op, "matrix product", 0); /* with debug_sync waits */
    return NT_OK;
}
