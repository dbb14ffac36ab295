/* cuBLAS, loaded when the first handle is made and not when the program starts.
 *
 * Its libraries are half a gigabyte: linked in the ordinary way they cost every start 0.12 s and 200 MB of
 * memory, also of runs on the CPU, and a machine without them could not start the program at all. So the
 * product links this file in their place: functions of the same names, declared by cuBLAS's own header, that
 * pass their arguments on to the library's. blas.c knows nothing of it, and the emulator brings functions of
 * its own.
 *
 * To use another function of cuBLAS: one more FORWARD. Without the library every function returns
 * CUBLAS_STATUS_NOT_INITIALIZED, after one warning. */
#include "core/log.h"

#include <cublas_v2.h>
#include <dlfcn.h>
#include <pthread.h>

#define TEXT(x)  TEXT_(x)
#define TEXT_(x) #x

static void *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* By its name first (LD_LIBRARY_PATH, ld.so.conf), then where it was when this was built. */
static void load(void)
{
    library = dlopen("libcublas.so." TEXT(CUBLAS_VER_MAJOR), RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen(NNTRAIN_CUBLAS_FILE, RTLD_NOW | RTLD_LOCAL);
    if (!library) nt_warn("cuBLAS cannot be loaded: %s", dlerror());
}

static void *find(const char *name)
{
    (void)pthread_once(&once, load);
    return library ? dlsym(library, name) : NULL;
}

/* FORWARD(name, (parameters), (arguments)): the parameters must be those of the header, or it does not
 * compile. */
#define FORWARD(name, parameters, arguments)                                                                 \
    cublasStatus_t CUBLASWINAPI name parameters                                                              \
    {                                                                                                        \
        static __typeof__(&name) function;                                                                   \
        if (!function) *(void **)&function = find(TEXT(name));                                               \
        return function ? function arguments : CUBLAS_STATUS_NOT_INITIALIZED;                                \
    }

/* clang-format off */
FORWARD(cublasCreate, (cublasHandle_t *handle), (handle))
FORWARD(cublasDestroy, (cublasHandle_t handle), (handle))
FORWARD(cublasSetStream, (cublasHandle_t handle, cudaStream_t stream), (handle, stream))
FORWARD(cublasSetWorkspace, (cublasHandle_t handle, void *workspace, size_t n_bytes), (handle, workspace, n_bytes))
FORWARD(cublasSetMathMode, (cublasHandle_t handle, cublasMath_t mode), (handle, mode))
FORWARD(cublasSetAtomicsMode, (cublasHandle_t handle, cublasAtomicsMode_t mode), (handle, mode))
FORWARD(cublasGemmEx,
        (cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void *alpha,
         const void *a, cudaDataType a_type, int lda, const void *b, cudaDataType b_type, int ldb,
         const void *beta, void *c, cudaDataType c_type, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t algo),
        (handle, ta, tb, m, n, k, alpha, a, a_type, lda, b, b_type, ldb, beta, c, c_type, ldc, compute, algo))
FORWARD(cublasGemmStridedBatchedEx,
        (cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void *alpha,
         const void *a, cudaDataType a_type, int lda, long long stride_a, const void *b, cudaDataType b_type, int ldb,
         long long stride_b, const void *beta, void *c, cudaDataType c_type, int ldc, long long stride_c, int batch,
         cublasComputeType_t compute, cublasGemmAlgo_t algo),
        (handle, ta, tb, m, n, k, alpha, a, a_type, lda, stride_a, b, b_type, ldb, stride_b, beta, c, c_type, ldc,
         stride_c, batch, compute, algo))
/* clang-format on */

const char *CUBLASWINAPI cublasGetStatusString(cublasStatus_t status)
{
    static const char *(*function)(cublasStatus_t);
    if (!function) *(void **)&function = find("cublasGetStatusString");
    return function ? function(status) : "cuBLAS cannot be loaded";
}
