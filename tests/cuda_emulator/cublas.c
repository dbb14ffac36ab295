/* The emulated cuBLAS: handles and matrix products (gemm.c) in stream order.
 *
 * A test double, written from the public documentation, stricter than the original where that reads or writes
 * what it should not without a word: matrices that are not wholly inside one allocation of the handle's
 * device, host pointers, freed memory, a workspace that is gone, a handle that was destroyed or belongs to
 * another device, results that overlap an operand. What the original refuses too is refused with its status
 * and a line on stderr that says why; what it would not notice is a complaint, after which the process does
 * not end with 0. A product writes to the workspace, as the original may, so that two streams that share one
 * are found. */
#include "tests/cuda_emulator/gemm.h"
#include "tests/cuda_emulator/include/cublas_v2.h"
#include "tests/cuda_emulator/include/nt_emu.h"
#include "tests/cuda_emulator/queue.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKSPACE_ALIGNMENT 256
#define WORKSPACE_TOUCHED   64 /* bytes that a product writes */

struct cublasContext {
    struct cublasContext *next; /* all that ever were: a handle is known as destroyed, not as garbage */
    bool live;
    int device;
    cudaStream_t stream;
    void *workspace; /* NULL: the library's own */
    size_t workspace_bytes;
    cublasMath_t math;
    cublasPointerMode_t pointers;
    cublasAtomicsMode_t atomics;
};

static struct cublasContext *handles;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* --- errors --- */

/* Refused by the original too. */
__attribute__((format(printf, 2, 3))) static cublasStatus_t refuse(cublasStatus_t status, const char *format,
                                                                   ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "emulated cuBLAS: %s: %s\n", cublasGetStatusName(status), text);
    return status;
}

#define COMPLAIN(...) (nt_emu_complain("cuBLAS: " __VA_ARGS__), CUBLAS_STATUS_INVALID_VALUE)

#define TRY(call)                                                                                            \
    do {                                                                                                     \
        cublasStatus_t status_ = (call);                                                                     \
        if (status_ != CUBLAS_STATUS_SUCCESS) return status_;                                                \
    } while (0)

typedef struct status_name {
    cublasStatus_t status;
    const char *name, *words;
} status_name;

static const status_name names[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED", "the library was not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE", "an invalid value was used as an argument"},
    {CUBLAS_STATUS_ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH", "the device's architecture lacks a feature"},
    {CUBLAS_STATUS_MAPPING_ERROR, "CUBLAS_STATUS_MAPPING_ERROR", "access to the device's memory failed"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED", "the function failed to launch"},
    {CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR", "an internal operation failed"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED", "the combination is not supported"},
    {CUBLAS_STATUS_LICENSE_ERROR, "CUBLAS_STATUS_LICENSE_ERROR", "the license could not be checked"},
};

static const status_name *find_status(cublasStatus_t status)
{
    static const status_name unknown = {0, "unknown cuBLAS status", "unknown cuBLAS status"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].status == status) return &names[i];
    return &unknown;
}

const char *cublasGetStatusName(cublasStatus_t status)
{
    return find_status(status)->name;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    return find_status(status)->words;
}

/* --- handles --- */

/* Whether it was made and not destroyed; `what` is the caller. */
static cublasStatus_t check_handle(const struct cublasContext *handle, const char *what)
{
    if (!handle) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "%s without a handle", what);
    pthread_mutex_lock(&lock);
    const struct cublasContext *h = handles;
    while (h && h != handle)
        h = h->next;
    bool live = h && h->live;
    pthread_mutex_unlock(&lock);
    if (live) return CUBLAS_STATUS_SUCCESS;
    nt_emu_complain("cuBLAS: %s with a handle that %s", what, h ? "was destroyed" : "is none");
    return CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    int device;
    if (!handle) return refuse(CUBLAS_STATUS_INVALID_VALUE, "cublasCreate(NULL)");
    if (cudaGetDevice(&device) != cudaSuccess || cudaFree(NULL) != cudaSuccess)
        return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "no device to create a handle on");
    struct cublasContext *h = calloc(1, sizeof *h);
    if (!h) return CUBLAS_STATUS_ALLOC_FAILED;
    h->live = true;
    h->device = device;
    h->atomics = CUBLAS_ATOMICS_NOT_ALLOWED;
    pthread_mutex_lock(&lock);
    h->next = handles;
    handles = h;
    pthread_mutex_unlock(&lock);
    *handle = h;
    return CUBLAS_STATUS_SUCCESS;
}

/* Waits for the device, as the original does. The memory stays, see next. */
cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    TRY(check_handle(handle, __func__));
    (void)cudaDeviceSynchronize();
    pthread_mutex_lock(&lock);
    handle->live = false;
    pthread_mutex_unlock(&lock);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int *version)
{
    (void)handle; /* the original does not look at it */
    if (!version) return refuse(CUBLAS_STATUS_INVALID_VALUE, "cublasGetVersion(NULL)");
    *version = CUBLAS_VERSION;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    TRY(check_handle(handle, __func__));
    int device = emu_stream_device(stream);
    if (device < 0) return COMPLAIN("cublasSetStream: %p is no stream", (void *)stream);
    if (device != handle->device)
        return COMPLAIN("cublasSetStream: stream of device %d, handle of device %d", device, handle->device);
    handle->stream = stream;
    handle->workspace = NULL;
    handle->workspace_bytes = 0;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetStream(cublasHandle_t handle, cudaStream_t *stream)
{
    TRY(check_handle(handle, __func__));
    if (!stream) return refuse(CUBLAS_STATUS_INVALID_VALUE, "cublasGetStream(NULL)");
    *stream = handle->stream;
    return CUBLAS_STATUS_SUCCESS;
}

/* Whether [data, data + n_bytes) may be used by `device`: its own memory, or pinned host memory. */
static bool reachable(const void *data, size_t n_bytes, int device)
{
    int owner = -1;
    emu_memory memory = emu_memory_at(data, n_bytes, &owner);
    return memory == EMU_MEMORY_PINNED || (memory == EMU_MEMORY_DEVICE && owner == device);
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *workspace, size_t n_bytes)
{
    TRY(check_handle(handle, __func__));
    if ((uintptr_t)workspace % WORKSPACE_ALIGNMENT)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the workspace %p is not aligned to %d bytes", workspace,
                      WORKSPACE_ALIGNMENT);
    if (n_bytes > 0 && !reachable(workspace, n_bytes, handle->device))
        return COMPLAIN("cublasSetWorkspace: %zu bytes at %p are not inside one allocation of device %d",
                        n_bytes, workspace, handle->device);
    handle->workspace = workspace;
    handle->workspace_bytes = n_bytes;
    return CUBLAS_STATUS_SUCCESS;
}

/* cublasSet<Word> and cublasGet<Word>: the handle's modes differ in type and in the values that there are. */
#define MODE(Word, type, field, is_known)                                                                    \
    cublasStatus_t cublasSet##Word(cublasHandle_t handle, type mode)                                         \
    {                                                                                                        \
        TRY(check_handle(handle, __func__));                                                                 \
        if (!(is_known)) return refuse(CUBLAS_STATUS_INVALID_VALUE, "%s(%d)", __func__, (int)mode);          \
        handle->field = mode;                                                                                \
        return CUBLAS_STATUS_SUCCESS;                                                                        \
    }                                                                                                        \
    cublasStatus_t cublasGet##Word(cublasHandle_t handle, type *mode)                                        \
    {                                                                                                        \
        TRY(check_handle(handle, __func__));                                                                 \
        if (!mode) return refuse(CUBLAS_STATUS_INVALID_VALUE, "%s(NULL)", __func__);                         \
        *mode = handle->field;                                                                               \
        return CUBLAS_STATUS_SUCCESS;                                                                        \
    }

static bool is_math_mode(cublasMath_t mode)
{
    int plain = (int)mode & ~(int)CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    return plain >= CUBLAS_DEFAULT_MATH && plain <= CUBLAS_TF32_TENSOR_OP_MATH;
}

MODE(MathMode, cublasMath_t, math, is_math_mode(mode))
MODE(PointerMode, cublasPointerMode_t, pointers,
     mode == CUBLAS_POINTER_MODE_HOST || mode == CUBLAS_POINTER_MODE_DEVICE)
MODE(AtomicsMode, cublasAtomicsMode_t, atomics,
     mode == CUBLAS_ATOMICS_NOT_ALLOWED || mode == CUBLAS_ATOMICS_ALLOWED)

/* --- products: arguments --- */

/* One argument of a product as the caller gave it: (rows, cols) as stored. */
typedef struct operand {
    char name;
    void *data;
    cudaDataType type;
    cublasOperation_t op;
    int64_t rows, cols, ld;
    long long stride;
} operand;

typedef struct product {
    int64_t m, n, k, batch;
    operand a, b, c;
    const void *alpha, *beta;
    cublasComputeType_t compute;
} product;

/* What is queued. */
typedef struct job {
    emu_matrix a, b, c;
    int64_t m, n, k, batch;
    int64_t a_stride, b_stride, c_stride;    /* bytes */
    const float *device_alpha, *device_beta; /* NULL: the values below */
    float alpha, beta;
    void *workspace;
    size_t touched;
} job;

static size_t element_bytes(cudaDataType type)
{
    return type == CUDA_R_16BF ? sizeof(uint16_t) : sizeof(float);
}

/* Elements from the first to behind the last. */
static int64_t extent(const operand *x, int64_t batch)
{
    if (x->rows == 0 || x->cols == 0 || batch == 0) return 0;
    return (batch - 1) * x->stride + (x->cols - 1) * x->ld + x->rows;
}

static cublasStatus_t check_shape(const operand *x)
{
    if (x->op != CUBLAS_OP_N && x->op != CUBLAS_OP_T && x->op != CUBLAS_OP_C)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "operation %d on %c", (int)x->op, x->name);
    if (x->ld < (x->rows > 1 ? x->rows : 1))
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the leading dimension of %c is %lld, it has %lld rows",
                      x->name, (long long)x->ld, (long long)x->rows);
    if (x->stride < 0)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "the stride of %c is %lld", x->name, x->stride);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check_types(const product *p)
{
    switch (p->compute) {
    case CUBLAS_COMPUTE_32F:
    case CUBLAS_COMPUTE_32F_PEDANTIC:
        if (p->a.type == p->b.type && p->a.type == CUDA_R_16BF &&
            (p->c.type == CUDA_R_16BF || p->c.type == CUDA_R_32F))
            return CUBLAS_STATUS_SUCCESS;
        break;
    case CUBLAS_COMPUTE_32F_FAST_TF32:
        break;
    default:
        return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "compute type %d", (int)p->compute);
    }
    if (p->a.type == CUDA_R_32F && p->b.type == CUDA_R_32F && p->c.type == CUDA_R_32F)
        return CUBLAS_STATUS_SUCCESS;
    return refuse(CUBLAS_STATUS_NOT_SUPPORTED, "A, B and C of types %d, %d, %d with compute type %d",
                  (int)p->a.type, (int)p->b.type, (int)p->c.type, (int)p->compute);
}

static cublasStatus_t check_memory(const operand *x, int64_t batch, int device)
{
    int64_t n_elems = extent(x, batch);
    size_t n_bytes = (size_t)n_elems * element_bytes(x->type);
    if (n_elems == 0) return CUBLAS_STATUS_SUCCESS;
    if (!x->data) return refuse(CUBLAS_STATUS_INVALID_VALUE, "%c is NULL", x->name);
    if ((uintptr_t)x->data % element_bytes(x->type))
        return COMPLAIN("%c at %p is not aligned to its elements", x->name, x->data);
    if (reachable(x->data, n_bytes, device)) return CUBLAS_STATUS_SUCCESS;
    return COMPLAIN(
        "%c at %p: its %lld elements (%lld x %lld, leading dimension %lld, batch %lld) are not inside "
        "one live allocation of device %d",
        x->name, x->data, (long long)n_elems, (long long)x->rows, (long long)x->cols, (long long)x->ld,
        (long long)batch, device);
}

/* Whether the elements are one piece without gaps; only then is an overlap of ranges one of elements. */
static bool dense(const operand *x, int64_t batch)
{
    return x->ld == x->rows && (batch == 1 || x->stride <= x->rows * x->cols);
}

static cublasStatus_t check_overlap(const operand *c, const operand *x, int64_t batch)
{
    const char *c_end = (const char *)c->data + (size_t)extent(c, batch) * element_bytes(c->type);
    const char *x_end = (const char *)x->data + (size_t)extent(x, batch) * element_bytes(x->type);
    if (!dense(c, batch) || !dense(x, batch)) return CUBLAS_STATUS_SUCCESS;
    if ((const char *)c->data >= x_end || (const char *)x->data >= c_end) return CUBLAS_STATUS_SUCCESS;
    return COMPLAIN("C at %p overlaps %c at %p", c->data, x->name, x->data);
}

/* One product of a batch must not write what another one writes. */
static cublasStatus_t check_batch(const operand *c, int64_t batch)
{
    bool side_by_side = c->stride >= (c->cols - 1) * c->ld + c->rows;
    bool interleaved = c->stride >= c->rows && (batch - 1) * c->stride + c->rows <= c->ld;
    if (batch <= 1 || c->rows == 0 || c->cols == 0 || side_by_side || interleaved)
        return CUBLAS_STATUS_SUCCESS;
    return COMPLAIN("the results of the batch overlap: C is %lld x %lld, leading dimension %lld, stride %lld",
                    (long long)c->rows, (long long)c->cols, (long long)c->ld, c->stride);
}

/* With a host factor of 0 the operands need not be there. */
static bool factor_is_zero(const struct cublasContext *h, const void *factor)
{
    return h->pointers == CUBLAS_POINTER_MODE_HOST && *(const float *)factor == 0;
}

static cublasStatus_t check_factors(const struct cublasContext *h, const product *p)
{
    if (!p->alpha || !p->beta) return refuse(CUBLAS_STATUS_INVALID_VALUE, "alpha or beta is NULL");
    bool device_alpha = emu_memory_at(p->alpha, sizeof(float), NULL) == EMU_MEMORY_DEVICE;
    bool device_beta = emu_memory_at(p->beta, sizeof(float), NULL) == EMU_MEMORY_DEVICE;
    if (h->pointers == CUBLAS_POINTER_MODE_HOST) {
        if (device_alpha || device_beta)
            return COMPLAIN("alpha or beta is a device's address, but the pointer mode is the host's");
        return CUBLAS_STATUS_SUCCESS;
    }
    if (reachable(p->alpha, sizeof(float), h->device) && reachable(p->beta, sizeof(float), h->device))
        return CUBLAS_STATUS_SUCCESS;
    return COMPLAIN("alpha or beta is not the device's, but the pointer mode is");
}

static cublasStatus_t check_place(const struct cublasContext *h)
{
    int current = -1;
    (void)cudaGetDevice(&current);
    if (current != h->device)
        return COMPLAIN("the current device is %d, the handle's is %d", current, h->device);
    if (h->workspace_bytes > 0 && !reachable(h->workspace, h->workspace_bytes, h->device))
        return COMPLAIN("the workspace at %p is no live memory any more", h->workspace);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check_product(const struct cublasContext *h, const product *p)
{
    if (p->m < 0 || p->n < 0 || p->k < 0 || p->batch < 0)
        return refuse(CUBLAS_STATUS_INVALID_VALUE, "m %lld, n %lld, k %lld, batch %lld", (long long)p->m,
                      (long long)p->n, (long long)p->k, (long long)p->batch);
    TRY(check_shape(&p->a));
    TRY(check_shape(&p->b));
    TRY(check_shape(&p->c));
    TRY(check_types(p));
    TRY(check_factors(h, p));
    TRY(check_place(h));
    if (!factor_is_zero(h, p->alpha)) {
        TRY(check_memory(&p->a, p->batch, h->device));
        TRY(check_memory(&p->b, p->batch, h->device));
    }
    TRY(check_memory(&p->c, p->batch, h->device));
    TRY(check_batch(&p->c, p->batch));
    TRY(check_overlap(&p->c, &p->a, p->batch));
    return check_overlap(&p->c, &p->b, p->batch);
}

/* --- products: work --- */

static cudaError_t run_job(void *arg)
{
    job *j = arg;
    float alpha = j->device_alpha ? *j->device_alpha : j->alpha;
    float beta = j->device_beta ? *j->device_beta : j->beta;
    if (j->touched > 0) memset(j->workspace, 0xff, j->touched);
    for (int64_t i = 0; i < j->batch; i++) {
        emu_matrix a = j->a, b = j->b, c = j->c;
        a.data = (char *)a.data + i * j->a_stride;
        b.data = (char *)b.data + i * j->b_stride;
        c.data = (char *)c.data + i * j->c_stride;
        if (!emu_gemm(c, a, b, j->m, j->n, j->k, alpha, beta)) return cudaErrorMemoryAllocation;
    }
    return cudaSuccess;
}

static emu_matrix as_matrix(const operand *x, bool tf32)
{
    emu_element type = x->type == CUDA_R_16BF ? EMU_BF16 : tf32 ? EMU_TF32 : EMU_F32;
    return (emu_matrix){.data = x->data, .type = type, .transposed = x->op != CUBLAS_OP_N, .ld = x->ld};
}

/* float32 operands are rounded if the compute type says so, or the math mode and the compute type lets it. */
static bool rounds_to_tf32(const struct cublasContext *h, cublasComputeType_t compute)
{
    int mode = (int)h->math & ~(int)CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
    if (compute == CUBLAS_COMPUTE_32F_FAST_TF32) return mode != CUBLAS_PEDANTIC_MATH;
    return compute == CUBLAS_COMPUTE_32F && mode == CUBLAS_TF32_TENSOR_OP_MATH;
}

/* Of a copy of `j`. */
static bool give(cudaStream_t stream, const job *j, const char *what)
{
    job *copy = malloc(sizeof *copy);
    if (!copy) return false;
    *copy = *j;
    emu_work work = {.what = what, .run = run_job, .destroy = free, .arg = copy};
    if (emu_enqueue(stream, &work) == cudaSuccess) return true;
    free(copy);
    return false;
}

static cublasStatus_t enqueue(const struct cublasContext *h, const product *p, const char *what)
{
    bool tf32 = rounds_to_tf32(h, p->compute), host = h->pointers == CUBLAS_POINTER_MODE_HOST;
    job j = {.a = as_matrix(&p->a, tf32),
             .b = as_matrix(&p->b, tf32),
             .c = as_matrix(&p->c, false),
             .m = p->m,
             .n = p->n,
             .k = p->k,
             .batch = p->batch,
             .a_stride = p->a.stride * (int64_t)element_bytes(p->a.type),
             .b_stride = p->b.stride * (int64_t)element_bytes(p->b.type),
             .c_stride = p->c.stride * (int64_t)element_bytes(p->c.type),
             .device_alpha = host ? NULL : p->alpha,
             .device_beta = host ? NULL : p->beta,
             .alpha = host ? *(const float *)p->alpha : 0,
             .beta = host ? *(const float *)p->beta : 0,
             .workspace = h->workspace,
             .touched = h->workspace_bytes < WORKSPACE_TOUCHED ? h->workspace_bytes : WORKSPACE_TOUCHED};
    if (!give(h->stream, &j, what))
        return refuse(CUBLAS_STATUS_EXECUTION_FAILED, "%s could not be put into the stream", what);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t multiply(cublasHandle_t handle, const product *p, const char *what)
{
    TRY(check_handle(handle, what));
    TRY(check_product(handle, p));
    if (p->m == 0 || p->n == 0 || p->batch == 0) return CUBLAS_STATUS_SUCCESS;
    return enqueue(handle, p, what);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                          cublasOperation_t transb, int m, int n, int k, const void *alpha,
                                          const void *A, cudaDataType Atype, int lda, long long strideA,
                                          const void *B, cudaDataType Btype, int ldb, long long strideB,
                                          const void *beta, void *C, cudaDataType Ctype, int ldc,
                                          long long strideC, int batchCount, cublasComputeType_t computeType,
                                          cublasGemmAlgo_t algo)
{
    bool ta = transa != CUBLAS_OP_N, tb = transb != CUBLAS_OP_N;
    (void)algo; /* a hint that no device heeds any more */
    product p = {.m = m,
                 .n = n,
                 .k = k,
                 .batch = batchCount,
                 .a = {'A', (void *)(uintptr_t)A, Atype, transa, ta ? k : m, ta ? m : k, lda, strideA},
                 .b = {'B', (void *)(uintptr_t)B, Btype, transb, tb ? n : k, tb ? k : n, ldb, strideB},
                 .c = {'C', C, Ctype, CUBLAS_OP_N, m, n, ldc, strideC},
                 .alpha = alpha,
                 .beta = beta,
                 .compute = computeType};
    return multiply(handle, &p, "cublasGemm");
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                            int n, int k, const void *alpha, const void *A, cudaDataType Atype, int lda,
                            const void *B, cudaDataType Btype, int ldb, const void *beta, void *C,
                            cudaDataType Ctype, int ldc, cublasComputeType_t computeType,
                            cublasGemmAlgo_t algo)
{
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, A, Atype, lda, 0, B, Btype, ldb,
                                      0, beta, C, Ctype, ldc, 0, 1, computeType, algo);
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa,
                                         cublasOperation_t transb, int m, int n, int k, const float *alpha,
                                         const float *A, int lda, long long strideA, const float *B, int ldb,
                                         long long strideB, const float *beta, float *C, int ldc,
                                         long long strideC, int batchCount)
{
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, A, CUDA_R_32F, lda, strideA, B,
                                      CUDA_R_32F, ldb, strideB, beta, C, CUDA_R_32F, ldc, strideC, batchCount,
                                      CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m,
                           int n, int k, const float *alpha, const float *A, int lda, const float *B, int ldb,
                           const float *beta, float *C, int ldc)
{
    return cublasSgemmStridedBatched(handle, transa, transb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C,
                                     ldc, 0, 1);
}
