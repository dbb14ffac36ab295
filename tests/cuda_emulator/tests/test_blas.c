/* The emulated cuBLAS: every kind of product against a plain double loop, what must not be read, argument
 * checks, stream order and capture. All in child processes: complaints of the emulator belong to one. */
#include "tests/cuda_emulator/tests/process.h"

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MUST(call)  CHILD_CHECK((call) == cudaSuccess, "a CUDA call failed")
#define BLAS(call)  CHILD_CHECK((call) == CUBLAS_STATUS_SUCCESS, "a cuBLAS call failed")
#define GUARD       (-77.0f) /* between columns and behind matrices */
#define LIMIT_S     100      /* of a child; sanitizers on a busy machine are slow */
#define MAX_SOURCES 3        /* A, B, C */

/* --- numbers --- */

static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16); /* no NaN comes here */
}

static float of_bf16(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To 11 significant bits, ties away: by arithmetic, not by the bits. */
static double to_tf32(double x)
{
    int e;
    double m = frexp(x, &e);
    return ldexp(round(m * 2048), e - 11);
}

static float random_value(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)((int32_t)*state >> 8) / (1 << 22); /* in [-2, 2), 24 bits */
}

/* --- one case --- */

typedef struct gemm_case {
    int m, n, k, batch;
    bool ta, tb, nan_c, device_factors, sgemm;
    cudaDataType ab, c;
    cublasComputeType_t compute;
    cublasMath_t math;
    float alpha, beta;
    int pad; /* added to each leading dimension */
} gemm_case;

/* A matrix on both sides; elements as float, whatever the type. */
typedef struct matrix {
    int rows, cols, ld, batch;
    int64_t stride, n;
    cudaDataType type;
    float *host;
    void *device;
} matrix;

static size_t type_bytes(cudaDataType type)
{
    return type == CUDA_R_16BF ? 2 : 4;
}

static matrix make_matrix(int rows, int cols, int pad, int batch, cudaDataType type, uint32_t *state)
{
    matrix x = {.rows = rows, .cols = cols, .ld = rows + pad, .batch = batch, .type = type};
    if (x.ld == 0) x.ld = 1;
    x.stride = (int64_t)x.ld * cols + 3 * pad;
    x.n = x.stride * batch;
    x.host = malloc((size_t)(x.n + 1) * sizeof *x.host);
    for (int64_t i = 0; i < x.n; i++) {
        bool inside = i % x.stride / x.ld < cols && i % x.stride % x.ld < rows;
        float v = inside ? random_value(state) : GUARD;
        x.host[i] = type == CUDA_R_16BF ? of_bf16(to_bf16(v)) : v;
    }
    return x;
}

static void upload(matrix *x)
{
    size_t n_bytes = (size_t)x->n * type_bytes(x->type);
    uint16_t *packed = malloc((size_t)(x->n + 1) * sizeof *packed);
    for (int64_t i = 0; i < x->n; i++)
        packed[i] = isnan(x->host[i]) ? 0x7fff : to_bf16(x->host[i]);
    MUST(cudaMalloc(&x->device, n_bytes ? n_bytes : 1));
    MUST(cudaMemcpy(x->device, x->type == CUDA_R_16BF ? (void *)packed : (void *)x->host, n_bytes,
                    cudaMemcpyHostToDevice));
    free(packed);
}

static float *download(const matrix *x)
{
    float *out = malloc((size_t)(x->n + 1) * sizeof *out);
    uint16_t *packed = malloc((size_t)(x->n + 1) * sizeof *packed);
    bool bf16 = x->type == CUDA_R_16BF;
    MUST(cudaMemcpy(bf16 ? (void *)packed : (void *)out, x->device, (size_t)x->n * type_bytes(x->type),
                    cudaMemcpyDeviceToHost));
    for (int64_t i = 0; bf16 && i < x->n; i++)
        out[i] = of_bf16(packed[i]);
    free(packed);
    return out;
}

static double operand(const matrix *x, int batch, bool transposed, int row, int col, bool tf32)
{
    int64_t at = batch * x->stride + (transposed ? col + (int64_t)row * x->ld : row + (int64_t)col * x->ld);
    return tf32 ? to_tf32((double)x->host[at]) : (double)x->host[at];
}

/* Whether a device that is told so rounds float32 operands. */
static bool case_is_tf32(const gemm_case *t)
{
    if (t->ab != CUDA_R_32F) return false;
    if (t->compute == CUBLAS_COMPUTE_32F_FAST_TF32) return true;
    return t->compute == CUBLAS_COMPUTE_32F && t->math == CUBLAS_TF32_TENSOR_OP_MATH;
}

/* The bound of a float32 sum of k products in any order is k u sum|a b|; with blocks it is far smaller,
 * sqrt(k) is kept. A bf16 result adds half a unit of its 8 bits. */
static void compare(const gemm_case *t, const matrix *a, const matrix *b, const matrix *c, const float *got)
{
    bool tf32 = case_is_tf32(t);
    for (int64_t at = 0; at < c->n; at++) {
        int batch = (int)(at / c->stride), row = (int)(at % c->stride % c->ld);
        int col = (int)(at % c->stride / c->ld);
        if (row >= c->rows || col >= c->cols) {
            CHILD_CHECK(got[at] == of_bf16(to_bf16(GUARD)), "element %lld outside was written",
                        (long long)at);
            continue;
        }
        double sum = 0, size = 0;
        for (int p = 0; p < t->k && t->alpha != 0; p++) {
            double term = operand(a, batch, t->ta, row, p, tf32) * operand(b, batch, t->tb, p, col, tf32);
            sum += term;
            size += fabs(term);
        }
        double want = t->alpha * sum + (t->beta != 0 ? t->beta * (double)c->host[at] : 0);
        double bound = 6e-8 * ((2 + sqrt(t->k)) * fabs(t->alpha) * size + 2 * fabs(t->beta * 2) + fabs(want));
        if (t->c == CUDA_R_16BF) bound += fabs(want) / 256;
        CHILD_CHECK(fabs(got[at] - want) <= bound, "element (%d, %d) of %d is %.9g, not %.9g (bound %.2g)",
                    row, col, batch, (double)got[at], want, bound);
    }
}

static cublasStatus_t call(cublasHandle_t handle, const gemm_case *t, const matrix *a, const matrix *b,
                           const matrix *c, const float *alpha, const float *beta)
{
    cublasOperation_t ta = t->ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb = t->tb ? CUBLAS_OP_T : CUBLAS_OP_N;
    if (t->sgemm && t->batch == 1)
        return cublasSgemm(handle, ta, tb, t->m, t->n, t->k, alpha, a->device, a->ld, b->device, b->ld, beta,
                           c->device, c->ld);
    if (t->sgemm)
        return cublasSgemmStridedBatched(handle, ta, tb, t->m, t->n, t->k, alpha, a->device, a->ld, a->stride,
                                         b->device, b->ld, b->stride, beta, c->device, c->ld, c->stride,
                                         t->batch);
    if (t->batch == 1)
        return cublasGemmEx(handle, ta, tb, t->m, t->n, t->k, alpha, a->device, t->ab, a->ld, b->device,
                            t->ab, b->ld, beta, c->device, t->c, c->ld, t->compute, CUBLAS_GEMM_DEFAULT);
    return cublasGemmStridedBatchedEx(handle, ta, tb, t->m, t->n, t->k, alpha, a->device, t->ab, a->ld,
                                      a->stride, b->device, t->ab, b->ld, b->stride, beta, c->device, t->c,
                                      c->ld, c->stride, t->batch, t->compute, CUBLAS_GEMM_DEFAULT);
}

static void run_case(cublasHandle_t handle, const gemm_case *t)
{
    uint32_t state = 12345;
    float factors[2] = {t->alpha, t->beta}, *device_factors = NULL;
    matrix a = make_matrix(t->ta ? t->k : t->m, t->ta ? t->m : t->k, t->pad, t->batch, t->ab, &state);
    matrix b = make_matrix(t->tb ? t->n : t->k, t->tb ? t->k : t->n, t->pad, t->batch, t->ab, &state);
    matrix c = make_matrix(t->m, t->n, t->pad, t->batch, t->c, &state);
    for (int64_t i = 0; i < c.n && t->nan_c; i++)
        if (i % c.stride / c.ld < c.cols && i % c.stride % c.ld < c.rows) c.host[i] = NAN;
    upload(&a);
    upload(&b);
    upload(&c);
    if (t->device_factors) {
        MUST(cudaMalloc((void **)&device_factors, sizeof factors));
        MUST(cudaMemcpy(device_factors, factors, sizeof factors, cudaMemcpyHostToDevice));
        BLAS(cublasSetPointerMode(handle, CUBLAS_POINTER_MODE_DEVICE));
    }
    BLAS(cublasSetMathMode(handle, t->math));
    const float *given = device_factors ? device_factors : factors;
    BLAS(call(handle, t, &a, &b, &c, given, given + 1));
    factors[0] = factors[1] = 1e30f; /* the host's factors are read at the call, not later */
    BLAS(cublasSetPointerMode(handle, CUBLAS_POINTER_MODE_HOST));
    MUST(cudaDeviceSynchronize());
    float *got = download(&c);
    compare(t, &a, &b, &c, got);
    void *devices[] = {a.device, b.device, c.device, device_factors};
    for (int i = 0; i < 4; i++)
        MUST(cudaFree(devices[i]));
    free(a.host);
    free(b.host);
    free(c.host);
    free(got);
}

/* Odd and round sizes around the blocks of the loops (16, 6, 192, 384, 256). */
static const int shapes[][3] = {{1, 1, 1},    {5, 3, 7},   {16, 6, 256}, {17, 7, 257}, {33, 100, 31},
                                {10, 64, 84}, {200, 9, 3}, {3, 400, 20}, {6, 1, 600},  {193, 13, 1}};

static int body_all_cases(void *arg)
{
    static const struct {
        cudaDataType ab, c;
        cublasComputeType_t compute;
        cublasMath_t math;
        bool sgemm;
    } kinds[] = {
        {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUBLAS_DEFAULT_MATH, false},
        {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_PEDANTIC, CUBLAS_TF32_TENSOR_OP_MATH, false},
        {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_DEFAULT_MATH, false},
        {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUBLAS_TF32_TENSOR_OP_MATH, true},
        {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUBLAS_DEFAULT_MATH, true},
        {CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUBLAS_DEFAULT_MATH, false},
        {CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUBLAS_DEFAULT_MATH, false},
    };
    static const float factors[][2] = {{1, 0}, {1, 1}, {-0.5f, 2}};
    cublasHandle_t handle;
    int variant = 0;
    (void)arg;
    BLAS(cublasCreate(&handle));
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++)
            for (int ops = 0; ops < 4; ops++, variant++) {
                gemm_case t = {.m = shapes[s][0],
                               .n = shapes[s][1],
                               .k = shapes[s][2],
                               .batch = variant % 5 == 4 ? 3 : 1,
                               .ta = ops & 1,
                               .tb = ops >> 1,
                               .ab = kinds[kind].ab,
                               .c = kinds[kind].c,
                               .compute = kinds[kind].compute,
                               .math = kinds[kind].math,
                               .sgemm = kinds[kind].sgemm,
                               .alpha = factors[variant % 3][0],
                               .beta = factors[variant % 3][1],
                               .nan_c = factors[variant % 3][1] == 0,
                               .device_factors = variant % 7 == 6,
                               .pad = variant % 4};
                run_case(handle, &t);
            }
    BLAS(cublasDestroy(handle));
    return 0;
}

/* Empty sums, nothing to write, and a factor of 0 over operands that are NaN. */
static int body_degenerate(void *arg)
{
    static const gemm_case cases[] = {
        {.m = 4, .n = 3, .k = 0, .batch = 1, .alpha = 1, .beta = 0.5f},
        {.m = 4, .n = 3, .k = 0, .batch = 1, .alpha = 1, .beta = 0, .nan_c = true},
        {.m = 0, .n = 3, .k = 2, .batch = 1, .alpha = 1, .beta = 0.5f},
        {.m = 4, .n = 0, .k = 2, .batch = 2, .alpha = 1, .beta = 0.5f},
        {.m = 4, .n = 3, .k = 2, .batch = 1, .alpha = 0, .beta = 2},
        {.m = 4, .n = 3, .k = 2, .batch = 1, .alpha = 0, .beta = 0, .nan_c = true, .device_factors = true},
    };
    cublasHandle_t handle;
    (void)arg;
    BLAS(cublasCreate(&handle));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gemm_case t = cases[i];
        t.ab = t.c = CUDA_R_32F;
        t.compute = CUBLAS_COMPUTE_32F;
        run_case(handle, &t);
    }
    BLAS(cublasDestroy(handle));
    return 0;
}

static void expect_quiet(int (*body)(void *))
{
    child_end end = child_run(body, NULL, LIMIT_S);
    if (end.status != 0) fail_msg("ended with %d: %s", end.status, end.said);
}

static void every_product_against_a_plain_loop(void **state)
{
    (void)state;
    expect_quiet(body_all_cases);
}

static void nothing_to_sum_or_to_write(void **state)
{
    (void)state;
    expect_quiet(body_degenerate);
}

/* --- arguments --- */

enum { SIDE = 8 };

/* A correct product of SIDE x SIDE matrices, one argument of which is then spoilt. */
typedef struct arguments {
    cublasHandle_t handle;
    cublasOperation_t ta, tb;
    int m, n, k, lda, ldb, ldc, batch;
    float alpha, beta;
    const void *alpha_at;
    void *a, *b, *c;
    cudaDataType at, bt, ct;
    long long sa, sb, sc;
    cublasComputeType_t compute;
} arguments;

static void *device_matrix(int n_elems)
{
    void *x;
    MUST(cudaMalloc(&x, (size_t)n_elems * sizeof(float)));
    MUST(cudaMemset(x, 0, (size_t)n_elems * sizeof(float)));
    return x;
}

static arguments good_arguments(cublasHandle_t handle)
{
    arguments x = {.handle = handle, .m = SIDE, .n = SIDE, .k = SIDE, .lda = SIDE, .ldb = SIDE, .ldc = SIDE};
    x.batch = 1;
    x.alpha = 1;
    x.a = device_matrix(SIDE * SIDE);
    x.b = device_matrix(SIDE * SIDE);
    x.c = device_matrix(SIDE * SIDE);
    x.compute = CUBLAS_COMPUTE_32F;
    return x;
}

static cublasStatus_t product(const arguments *x)
{
    return cublasGemmStridedBatchedEx(x->handle, x->ta, x->tb, x->m, x->n, x->k,
                                      x->alpha_at ? x->alpha_at : &x->alpha, x->a, x->at, x->lda, x->sa, x->b,
                                      x->bt, x->ldb, x->sb, &x->beta, x->c, x->ct, x->ldc, x->sc, x->batch,
                                      x->compute, CUBLAS_GEMM_DEFAULT);
}

typedef struct spoiling {
    const char *name;
    void (*spoil)(arguments *x);
    cublasStatus_t status;
    bool complaint; /* the original would not notice */
    const char *words;
} spoiling;

/* clang-format off */
static void spoil_nothing(arguments *x) { (void)x; }
static void spoil_m(arguments *x) { x->m = -1; }
static void spoil_k(arguments *x) { x->k = -1; }
static void spoil_batch(arguments *x) { x->batch = -1; }
static void spoil_op(arguments *x) { x->tb = (cublasOperation_t)7; }
static void spoil_lda(arguments *x) { x->lda = SIDE - 1; }
static void spoil_lda_transposed(arguments *x) { x->ta = CUBLAS_OP_T; x->m = 4; x->lda = 4; x->ldc = 4; }
static void spoil_ldc(arguments *x) { x->ldc = SIDE - 1; }
static void spoil_type_mix(arguments *x) { x->at = CUDA_R_16BF; }
static void spoil_type_c(arguments *x) { x->ct = CUDA_R_16BF; }
static void spoil_type_half(arguments *x) { x->at = x->bt = CUDA_R_16F; }
static void spoil_compute(arguments *x) { x->compute = CUBLAS_COMPUTE_16F; }
static void spoil_null_c(arguments *x) { x->c = NULL; }
static void spoil_handle_null(arguments *x) { x->handle = NULL; }
static void spoil_handle(arguments *x) { BLAS(cublasDestroy(x->handle)); }
static void spoil_host_a(arguments *x) { static float host[SIDE * SIDE]; x->a = host; }
static void spoil_short_b(arguments *x) { x->b = (float *)x->b + 1; }
static void spoil_freed_c(arguments *x) { MUST(cudaFree(x->c)); }
static void spoil_unaligned(arguments *x) { x->m = 4; x->a = (char *)x->a + 2; }
static void spoil_overlap(arguments *x) { x->c = x->a; }
static void spoil_device_alpha(arguments *x) { x->alpha_at = x->a; }
static void spoil_host_alpha(arguments *x) { BLAS(cublasSetPointerMode(x->handle, CUBLAS_POINTER_MODE_DEVICE)); }
static void spoil_current_device(arguments *x) { (void)x; MUST(cudaSetDevice(1)); }
/* clang-format on */

static void spoil_batch_overlap(arguments *x)
{
    x->batch = 2;
    x->n = x->k = 4;
    x->sc = 1;
}

static void spoil_other_device(arguments *x)
{
    MUST(cudaSetDevice(1));
    x->a = device_matrix(SIDE * SIDE);
    MUST(cudaSetDevice(0));
}

static void spoil_workspace(arguments *x)
{
    void *workspace = device_matrix(1024);
    BLAS(cublasSetWorkspace(x->handle, workspace, 4096));
    MUST(cudaFree(workspace));
}

/* The planted bug: a byte count where elements are meant. */
static void spoil_bytes_as_elements(arguments *x)
{
    x->k = SIDE * (int)sizeof(float);
    x->ldb = x->k;
}

static const spoiling spoilings[] = {
    {"nothing", spoil_nothing, CUBLAS_STATUS_SUCCESS, false, ""},
    {"m", spoil_m, CUBLAS_STATUS_INVALID_VALUE, false, "m -1"},
    {"k", spoil_k, CUBLAS_STATUS_INVALID_VALUE, false, "k -1"},
    {"batch", spoil_batch, CUBLAS_STATUS_INVALID_VALUE, false, "batch -1"},
    {"op", spoil_op, CUBLAS_STATUS_INVALID_VALUE, false, "operation 7 on B"},
    {"lda", spoil_lda, CUBLAS_STATUS_INVALID_VALUE, false, "leading dimension of A is 7"},
    {"lda transposed", spoil_lda_transposed, CUBLAS_STATUS_INVALID_VALUE, false, "A is 4, it has 8 rows"},
    {"ldc", spoil_ldc, CUBLAS_STATUS_INVALID_VALUE, false, "leading dimension of C is 7"},
    {"types mixed", spoil_type_mix, CUBLAS_STATUS_NOT_SUPPORTED, false, "types 14, 0, 0"},
    {"type of C", spoil_type_c, CUBLAS_STATUS_NOT_SUPPORTED, false, "types 0, 0, 14"},
    {"half", spoil_type_half, CUBLAS_STATUS_NOT_SUPPORTED, false, "types 2, 2, 0"},
    {"compute type", spoil_compute, CUBLAS_STATUS_NOT_SUPPORTED, false, "compute type 64"},
    {"C is NULL", spoil_null_c, CUBLAS_STATUS_INVALID_VALUE, false, "C is NULL"},
    {"no handle", spoil_handle_null, CUBLAS_STATUS_NOT_INITIALIZED, false, "without a handle"},
    {"destroyed handle", spoil_handle, CUBLAS_STATUS_NOT_INITIALIZED, true, "destroyed"},
    {"host memory", spoil_host_a, CUBLAS_STATUS_INVALID_VALUE, true, "A at"},
    {"too short", spoil_short_b, CUBLAS_STATUS_INVALID_VALUE, true, "B at"},
    {"freed", spoil_freed_c, CUBLAS_STATUS_INVALID_VALUE, true, "C at"},
    {"unaligned", spoil_unaligned, CUBLAS_STATUS_INVALID_VALUE, true, "not aligned"},
    {"C is A", spoil_overlap, CUBLAS_STATUS_INVALID_VALUE, true, "overlaps A"},
    {"batch overlaps", spoil_batch_overlap, CUBLAS_STATUS_INVALID_VALUE, true, "batch overlap"},
    {"alpha on the device", spoil_device_alpha, CUBLAS_STATUS_INVALID_VALUE, true, "pointer mode"},
    {"alpha on the host", spoil_host_alpha, CUBLAS_STATUS_INVALID_VALUE, true, "pointer mode"},
    {"current device", spoil_current_device, CUBLAS_STATUS_INVALID_VALUE, true, "current device is 1"},
    {"other device's memory", spoil_other_device, CUBLAS_STATUS_INVALID_VALUE, true, "A at"},
    {"workspace is gone", spoil_workspace, CUBLAS_STATUS_INVALID_VALUE, true, "workspace"},
    {"bytes as elements", spoil_bytes_as_elements, CUBLAS_STATUS_INVALID_VALUE, true, "A at"},
};

static int body_spoiling(void *arg)
{
    const spoiling *s = arg;
    cublasHandle_t handle;
    setenv("NT_EMU_DEVICES", "2", 1);
    setenv("NT_EMU_LEAKS", "ignore", 1);
    BLAS(cublasCreate(&handle));
    arguments x = good_arguments(handle);
    s->spoil(&x);
    cublasStatus_t status = product(&x);
    CHILD_CHECK(status == s->status, "status %s", cublasGetStatusName(status));
    MUST(cudaSetDevice(0));
    MUST(cudaDeviceSynchronize());
    return 0;
}

static void arguments_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spoilings / sizeof spoilings[0]; i++) {
        const spoiling *s = &spoilings[i];
        child_end end = child_run(body_spoiling, (void *)(uintptr_t)s, LIMIT_S);
        if (end.status != (s->complaint ? CHILD_COMPLAINED : 0) || !strstr(end.said, s->words))
            fail_msg("%s: ended with %d, said: %s", s->name, end.status, end.said);
    }
}

/* --- streams --- */

/* The product is not done when the call returns, but in the order of its stream; replays repeat it. */
static int body_stream_order(void *arg)
{
    enum { N = 64 };
    static float host[N * N], back[N * N];
    const float alpha = 1, beta = 1;
    void *a, *c, *workspace;
    cudaStream_t stream, seen;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cublasHandle_t handle;
    (void)arg;
    for (int i = 0; i < N * N; i++)
        host[i] = i % (N + 1) == 0; /* the identity */
    MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    BLAS(cublasCreate(&handle));
    BLAS(cublasSetStream(handle, stream));
    BLAS(cublasGetStream(handle, &seen));
    CHILD_CHECK(seen == stream, "the stream is not kept");
    MUST(cudaMalloc(&workspace, 4096));
    BLAS(cublasSetWorkspace(handle, workspace, 4096));
    a = device_matrix(N * N);
    c = device_matrix(N * N);
    MUST(cudaDeviceSynchronize());
    MUST(cudaMemcpyAsync(a, host, sizeof host, cudaMemcpyHostToDevice, stream));
    BLAS(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, N, N, N, &alpha, a, N, a, N, &beta, c, N));
    MUST(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    BLAS(cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, N, N, N, &alpha, a, N, a, N, &beta, c, N));
    MUST(cudaStreamEndCapture(stream, &graph));
    MUST(cudaGraphInstantiate(&exec, graph, 0));
    for (int i = 0; i < 3; i++)
        MUST(cudaGraphLaunch(exec, stream));
    MUST(cudaMemcpyAsync(back, c, sizeof back, cudaMemcpyDeviceToHost, stream));
    MUST(cudaStreamSynchronize(stream));
    for (int i = 0; i < N * N; i++)
        CHILD_CHECK(back[i] == 4 * host[i], "element %d is %g", i, (double)back[i]);
    MUST(cudaGraphExecDestroy(exec));
    MUST(cudaGraphDestroy(graph));
    BLAS(cublasDestroy(handle));
    MUST(cudaStreamDestroy(stream));
    MUST(cudaFree(a));
    MUST(cudaFree(c));
    MUST(cudaFree(workspace));
    return 0;
}

static void in_the_order_of_the_stream(void **state)
{
    static const char *seeds[] = {"", "1", "2", "3"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        if (seeds[i][0]) setenv("NT_EMU_SEED", seeds[i], 1);
        expect_quiet(body_stream_order);
    }
    unsetenv("NT_EMU_SEED");
}

static int body_no_driver(void *arg)
{
    cublasHandle_t handle = NULL;
    (void)arg;
    setenv("NT_EMU_NO_DRIVER", "1", 1);
    CHILD_CHECK(cublasCreate(&handle) == CUBLAS_STATUS_NOT_INITIALIZED && !handle, "made without a device");
    return 0;
}

static void no_handle_without_a_driver(void **state)
{
    (void)state;
    expect_quiet(body_no_driver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_product_against_a_plain_loop),
        cmocka_unit_test(nothing_to_sum_or_to_write),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(in_the_order_of_the_stream),
        cmocka_unit_test(no_handle_without_a_driver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
