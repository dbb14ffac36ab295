/* The cuda backend's table: the device, its memory, the streams, and the list of its operations.
 *
 * Three streams: `compute` runs passes, `copy` brings batches in, `comm` carries collectives; each is made so
 * that it does not wait for the default stream. Copies from and to ordinary host memory wait for the stream,
 * because nobody says how long that memory lives; a training step makes none. */
#include "core/backends/cuda/cuda.h"

#include <cuda_runtime.h>

#include <stdlib.h>
#include <string.h>

#define IMPL_ENTRY(kind) &nt_cuda_##kind,
static const nt_op_impl *const impls[] = {NT_CUDA_OPS(IMPL_ENTRY) NULL};

/* --- errors --- */

static nt_status check(nt_backend *backend, const char *layer, int code, const char *what)
{
    const nt_cuda *cuda = backend->state;
    if (code == cudaSuccess && cuda->debug_sync) code = cudaStreamSynchronize(cuda->compute);
    if (__builtin_expect(code == cudaSuccess, 1)) return NT_OK;
    NT_FAIL(NT_ERR_UNAVAILABLE, "%s%s%sCUDA device %d: %s: %s (%s)", layer ? "layer " : "",
            layer ? layer : "", layer ? ": " : "", cuda->device, what, cudaGetErrorString((cudaError_t)code),
            cudaGetErrorName((cudaError_t)code));
}

nt_status nt_cuda_check(nt_backend *backend, int code, const char *what)
{
    return check(backend, NULL, code, what);
}

nt_status nt_cuda_check_op(const nt_op *op, int code, const char *what)
{
    return check(op->backend, op->name, code, what);
}

/* --- life --- */

static nt_status make_stream(nt_backend *backend, nt_cuda_stream *out, int priority)
{
    cudaStream_t stream = NULL;
    NT_CUDA_TRY(backend, "cudaStreamCreate",
                cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority));
    *out = stream;
    return NT_OK;
}

/* Whether this build's code runs on this device at all. */
static nt_status probe(nt_backend *backend)
{
    enum { ANSWER = 42 };
    nt_cuda *cuda = backend->state;
    int answer = 0;
    NT_CUDA_TRY(backend, "first kernel", nt_cuda_probe(cuda->compute, cuda->data_error, ANSWER));
    NT_CUDA_TRY(
        backend, "first copy",
        cudaMemcpyAsync(&answer, cuda->data_error, sizeof answer, cudaMemcpyDeviceToHost, cuda->compute));
    NT_CUDA_TRY(backend, "first kernel", cudaStreamSynchronize(cuda->compute));
    NT_CHECK(answer == ANSWER, NT_ERR_UNAVAILABLE, "CUDA device %d does not work: it wrote %d in place of %d",
             cuda->device, answer, ANSWER);
    NT_CUDA_TRY(backend, "cudaMemset", cudaMemsetAsync(cuda->data_error, 0, 2 * sizeof(int), cuda->compute));
    return NT_OK;
}

static nt_status start(nt_backend *backend)
{
    nt_cuda *cuda = backend->state;
    int least = 0, greatest = 0; /* greatest is the lower number */
    NT_CUDA_TRY(backend, "cudaSetDevice", cudaSetDevice(cuda->device));
    NT_CUDA_TRY(backend, "cudaDeviceGetAttribute",
                cudaDeviceGetAttribute(&cuda->sm_count, cudaDevAttrMultiProcessorCount, cuda->device));
    NT_CUDA_TRY(backend, "cudaDeviceGetStreamPriorityRange",
                cudaDeviceGetStreamPriorityRange(&least, &greatest));
    NT_TRY(make_stream(backend, &cuda->compute, least));
    NT_TRY(make_stream(backend, &cuda->copy, least));
    NT_TRY(make_stream(backend, &cuda->comm, greatest));
    NT_CUDA_TRY(backend, "cudaMalloc", cudaMalloc((void **)&cuda->data_error, 2 * sizeof(int)));
    NT_TRY(probe(backend));
    return NT_OK;
}

/* Nothing is checked here: after an error of the device every call fails. */
static void cuda_destroy(nt_backend *backend)
{
    nt_cuda *cuda = backend->state;
    nt_cuda_stream streams[] = {cuda->copy, cuda->comm, cuda->compute};
    if (cuda->data_error) (void)cudaFree(cuda->data_error);
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
        if (streams[i]) (void)cudaStreamDestroy(streams[i]);
    free(cuda);
}

static nt_status cuda_create(nt_backend *backend, const nt_backend_options *options)
{
    nt_cuda *cuda = calloc(1, sizeof *cuda);
    NT_CHECK_ALLOC(cuda, sizeof *cuda);
    backend->state = cuda;
    cuda->device = options->device;
    nt_status status = start(backend);
    if (status == NT_OK) return NT_OK;
    cuda_destroy(backend);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

/* --- memory --- */

static nt_status cuda_alloc(nt_backend *backend, void **out, size_t n_bytes)
{
    nt_cuda *cuda = backend->state;
    NT_CUDA_TRY(backend, "cudaMalloc", cudaMalloc(out, n_bytes));
    NT_CUDA_TRY(backend, "cudaMemset", cudaMemsetAsync(*out, 0, n_bytes, cuda->compute));
    return NT_OK;
}

static void cuda_free(nt_backend *backend, void *ptr, size_t n_bytes)
{
    (void)backend, (void)n_bytes;
    (void)cudaFree(ptr);
}

static nt_status copy(nt_backend *backend, void *dst, const void *src, size_t n_bytes,
                      enum cudaMemcpyKind kind)
{
    nt_cuda *cuda = backend->state;
    if (n_bytes == 0) return NT_OK;
    NT_CUDA_TRY(backend, "cudaMemcpy", cudaMemcpyAsync(dst, src, n_bytes, kind, cuda->compute));
    NT_CUDA_TRY(backend, "cudaMemcpy", cudaStreamSynchronize(cuda->compute));
    return NT_OK;
}

static nt_status cuda_upload(nt_backend *backend, void *dst, const void *host, size_t n_bytes)
{
    NT_TRY(copy(backend, dst, host, n_bytes, cudaMemcpyHostToDevice));
    return NT_OK;
}

static nt_status cuda_download(nt_backend *backend, void *host, const void *src, size_t n_bytes)
{
    NT_TRY(copy(backend, host, src, n_bytes, cudaMemcpyDeviceToHost));
    return NT_OK;
}

static nt_status cuda_zero(nt_backend *backend, void *dst, size_t n_bytes)
{
    nt_cuda *cuda = backend->state;
    NT_CUDA_TRY(backend, "cudaMemset", cudaMemsetAsync(dst, 0, n_bytes, cuda->compute));
    return NT_OK;
}

static nt_status cuda_sync(nt_backend *backend)
{
    nt_cuda *cuda = backend->state;
    NT_CUDA_TRY(backend, "waiting for the device", cudaStreamSynchronize(cuda->compute));
    return NT_OK;
}

static const nt_op_impl *cuda_find_op(const nt_backend *backend, const char *kind)
{
    (void)backend;
    for (int i = 0; impls[i]; i++)
        if (strcmp(impls[i]->kind, kind) == 0) return impls[i];
    return NULL;
}

const nt_backend_ops nt_backend_cuda = {
    .name = "cuda",
    .real = NT_F32,
    .host_memory = false,
    .create = cuda_create,
    .destroy = cuda_destroy,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .zero = cuda_zero,
    .find_op = cuda_find_op,
    .sync = cuda_sync,
};
