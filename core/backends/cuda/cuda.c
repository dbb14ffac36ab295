/* The cuda backend's table: life, memory, waits, and the list of its operations.
 *
 * Three streams: `compute` runs passes, `copy` brings batches in, `comm` carries collectives; none of them
 * waits for the default stream. Copies from and to ordinary host memory wait for the stream, because nobody
 * says how long that memory lives; a training step makes none.
 *
 * An error of the device is final: CUDA keeps it and answers every later call with it. So it is said where it
 * is first seen, nothing is tried again, and what is destroyed afterwards is destroyed without a look. */
#include "core/backends/cuda/blas.h"
#include "core/backends/cuda/ops.h"
#include "core/backends/cuda/runtime.h"
#include "core/bf16.h"
#include "core/clock.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IMPL_ENTRY(kind) &nt_cuda_##kind,
static const nt_op_impl *const impls[] = {NT_CUDA_OPS(IMPL_ENTRY) NULL};

/* --- errors --- */

/* Errors that a kernel causes while it runs: they are seen by whoever comes next. */
static bool is_from_a_kernel(int code)
{
    static const int codes[] = {
        cudaErrorIllegalAddress,      cudaErrorLaunchFailure,
        cudaErrorLaunchTimeout,       cudaErrorAssert,
        cudaErrorHardwareStackError,  cudaErrorIllegalInstruction,
        cudaErrorMisalignedAddress,   cudaErrorInvalidPc,
        cudaErrorInvalidAddressSpace, cudaErrorECCUncorrectable,
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i] == code) return true;
    return false;
}

static nt_status fail(nt_backend *backend, const char *layer, int code, const char *what)
{
    const nt_cuda *cuda = nt_cuda_state(backend);
    const char *hint = is_from_a_kernel(code) && !cuda->debug_sync
                           ? "; a kernel given earlier caused it, run.debug_sync = yes names it"
                           : "";
    NT_FAIL(NT_ERR_UNAVAILABLE, "%s%s%s%s failed on CUDA device %d (%s): %s (%s)%s", layer ? "layer " : "",
            layer ? layer : "", layer ? ": " : "", what, cuda->device, backend->device_name,
            cudaGetErrorString((cudaError_t)code), cudaGetErrorName((cudaError_t)code), hint);
}

static nt_status check(nt_backend *backend, const char *layer, int code, const char *what)
{
    const nt_cuda *cuda = nt_cuda_state(backend);
    if (code == cudaSuccess && cuda->debug_sync) {
        nt_status status = nt_cuda_wait_stream(backend, cuda->compute, what);
        return status == NT_OK || !layer ? status : nt_error_prefix(status, "layer %s: ", layer);
    }
    if (__builtin_expect(code == cudaSuccess, 1)) return NT_OK;
    return fail(backend, layer, code, what);
}

nt_status nt_cuda_check(nt_backend *backend, int code, const char *what)
{
    return check(backend, NULL, code, what);
}

nt_status nt_cuda_check_op(const nt_op *op, int code, const char *what)
{
    return check(op->backend, op->name, code, what);
}

/* --- waits --- */

/* A pause between two looks: short at first, because most waits are. */
static void pause_between_looks(int looks)
{
    static const struct timespec pause = {.tv_nsec = 20000};
    if (looks < 1000)
        sched_yield();
    else
        (void)nanosleep(&pause, NULL);
}

/* Waits by looking, so that whoever has set backend->poll can end it. */
static nt_status wait_by_looking(nt_backend *backend, int (*look)(void *thing), void *thing, const char *what)
{
    const double began_s = nt_clock_s();
    for (int looks = 0;; looks++) {
        int code = look(thing);
        if (code == cudaSuccess) return NT_OK;
        if (code != cudaErrorNotReady) return fail(backend, NULL, code, what);
        (void)cudaGetLastError(); /* "not ready" is kept like an error */
        NT_TRY(backend->poll(backend->poll_arg, nt_clock_s() - began_s));
        pause_between_looks(looks);
    }
}

static int look_at_stream(void *stream)
{
    return cudaStreamQuery(stream);
}

static int look_at_event(void *event)
{
    return cudaEventQuery(event);
}

nt_status nt_cuda_wait_stream(nt_backend *backend, nt_cuda_stream stream, const char *what)
{
    if (backend->poll) return wait_by_looking(backend, look_at_stream, stream, what);
    int code = cudaStreamSynchronize(stream);
    return code == cudaSuccess ? NT_OK : fail(backend, NULL, code, what);
}

nt_status nt_cuda_wait_event(nt_backend *backend, nt_cuda_event event, const char *what)
{
    if (backend->poll) return wait_by_looking(backend, look_at_event, event, what);
    int code = cudaEventSynchronize(event);
    return code == cudaSuccess ? NT_OK : fail(backend, NULL, code, what);
}

nt_status nt_cuda_make_event(nt_backend *backend, nt_cuda_event *out)
{
    cudaEvent_t event = NULL;
    NT_CUDA_TRY(backend, "cudaEventCreate", cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    *out = event;
    return NT_OK;
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
    nt_cuda *cuda = nt_cuda_state(backend);
    int answer = 0;
    NT_CUDA_TRY(backend, "the first kernel", nt_cuda_probe(cuda->compute, cuda->data_error, ANSWER));
    NT_TRY(nt_backend_download(backend, &answer, cuda->data_error, sizeof answer));
    NT_CHECK(answer == ANSWER, NT_ERR_UNAVAILABLE,
             "CUDA device %d (%s) does not work: it wrote %d in place of %d", cuda->device,
             backend->device_name, answer, ANSWER);
    NT_TRY(nt_backend_zero(backend, cuda->data_error, sizeof(int)));
    return NT_OK;
}

static nt_status start(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    int lowest = 0, highest = 0; /* the highest is the smaller number */
    NT_TRY(nt_cuda_choose_device(backend));
    NT_CUDA_TRY(backend, "cudaDeviceGetStreamPriorityRange",
                cudaDeviceGetStreamPriorityRange(&lowest, &highest));
    NT_TRY(make_stream(backend, &cuda->compute, lowest));
    NT_TRY(make_stream(backend, &cuda->copy, lowest));
    NT_TRY(make_stream(backend, &cuda->comm, highest));
    NT_TRY(nt_backend_alloc(backend, (void **)&cuda->data_error, 2 * sizeof(int)));
    NT_TRY(nt_backend_alloc(backend, (void **)&cuda->partial, NT_CUDA_PARTIAL_SUMS * sizeof *cuda->partial));
    NT_TRY(probe(backend));
    NT_TRY(nt_cuda_open_posts(backend));
    nt_cuda_trace_phases(true);
    return NT_OK;
}

static void cuda_destroy(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    nt_cuda_stream streams[] = {cuda->copy, cuda->comm, cuda->compute};
    nt_cuda_trace_phases(false);
    nt_cuda_forget_recordings(backend);
    nt_cuda_free_lanes(backend);
    nt_cuda_free_blocks(backend);
    nt_cuda_close_posts(backend);
    nt_cuda_blas_close(backend);
    if (cuda->partial) (void)cudaFree(cuda->partial);
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
    cuda->precision = options->precision;
    cuda->debug_sync = options->debug_sync;
    cuda->piece_bytes = (size_t)64 << 20;
    if (cuda->precision == NT_PRECISION_BF16) backend->activation = NT_BF16;
    nt_status status = start(backend);
    if (status == NT_OK) return NT_OK;
    cuda_destroy(backend);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

/* --- memory --- */

nt_status nt_cuda_malloc(nt_backend *backend, void **out, size_t n_bytes)
{
    size_t free_bytes = 0, total = 0;
    *out = NULL;
    int code = cudaMalloc(out, n_bytes);
    if (code != cudaErrorMemoryAllocation) return check(backend, NULL, code, "cudaMalloc");
    *out = NULL;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&free_bytes, &total);
    NT_FAIL(NT_ERR_UNAVAILABLE,
            "out of memory on CUDA device %d (%s): %.1f MiB were asked for, %.1f of %.1f MiB are free",
            nt_cuda_state(backend)->device, backend->device_name, (double)n_bytes / 0x1p20,
            (double)free_bytes / 0x1p20, (double)total / 0x1p20);
}

static nt_status cuda_memory(nt_backend *backend, size_t *free_bytes, size_t *total_bytes)
{
    NT_CUDA_TRY(backend, "cudaMemGetInfo", cudaMemGetInfo(free_bytes, total_bytes));
    return NT_OK;
}

static nt_status cuda_zero(nt_backend *backend, void *dst, size_t n_bytes)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    NT_CUDA_TRY(backend, "cudaMemset", cudaMemsetAsync(dst, 0, n_bytes, cuda->compute));
    return NT_OK;
}

static nt_status cuda_alloc(nt_backend *backend, void **out, size_t n_bytes)
{
    NT_TRY(nt_cuda_malloc(backend, out, n_bytes));
    nt_status status = cuda_zero(backend, *out, n_bytes);
    if (status == NT_OK) return NT_OK;
    (void)cudaFree(*out);
    *out = NULL;
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

static void cuda_free(nt_backend *backend, void *ptr, size_t n_bytes)
{
    (void)n_bytes;
    if (!nt_cuda_free_input(backend, ptr)) (void)cudaFree(ptr);
}

/* Copies from and to ordinary memory: the runtime may wait for the stream within the call, where nobody looks
 * whether what it waits for can still come. So the wait is made before. */
static nt_status cuda_upload(nt_backend *backend, void *dst, const void *host, size_t n_bytes)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    if (n_bytes == 0) return NT_OK;
    NT_TRY(nt_cuda_wait_stream(backend, cuda->compute, "copy to the device"));
    NT_CUDA_TRY(backend, "copy to the device",
                cudaMemcpyAsync(dst, host, n_bytes, cudaMemcpyHostToDevice, cuda->compute));
    NT_TRY(nt_cuda_wait_stream(backend, cuda->compute, "copy to the device"));
    return NT_OK;
}

static nt_status cuda_download(nt_backend *backend, void *host, const void *src, size_t n_bytes)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    if (n_bytes == 0) return NT_OK;
    NT_TRY(nt_cuda_wait_stream(backend, cuda->compute, "copy from the device"));
    NT_CUDA_TRY(backend, "copy from the device",
                cudaMemcpyAsync(host, src, n_bytes, cudaMemcpyDeviceToHost, cuda->compute));
    NT_TRY(nt_cuda_wait_stream(backend, cuda->compute, "copy from the device"));
    return NT_OK;
}

/* Only bfloat16 comes here: all layouts are plain. */
static nt_status cuda_to_plain(nt_backend *backend, void *host, const nt_tensor *t)
{
    int64_t n = nt_shape_elems(t->shape);
    uint16_t *bits = malloc(t->n_bytes);
    NT_CHECK_ALLOC(bits, t->n_bytes);
    nt_status status = cuda_download(backend, bits, t->data, t->n_bytes);
    for (int64_t i = 0; status == NT_OK && i < n; i++)
        ((float *)host)[i] = nt_bf16_to_float(bits[i]);
    free(bits);
    return status;
}

static nt_status cuda_from_plain(nt_backend *backend, nt_tensor *t, const void *host)
{
    int64_t n = nt_shape_elems(t->shape);
    uint16_t *bits = malloc(t->n_bytes);
    NT_CHECK_ALLOC(bits, t->n_bytes);
    for (int64_t i = 0; i < n; i++)
        bits[i] = nt_bf16_from_float(((const float *)host)[i]);
    nt_status status = cuda_upload(backend, t->data, bits, t->n_bytes);
    free(bits);
    return status;
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
    .present = nt_cuda_present,
    .alloc = cuda_alloc,
    .alloc_input = nt_cuda_alloc_input,
    .free = cuda_free,
    .memory = cuda_memory,
    .upload = cuda_upload,
    .download = cuda_download,
    .zero = cuda_zero,
    .stage = nt_cuda_stage,
    .alloc_host = nt_cuda_alloc_host,
    .free_host = nt_cuda_free_host,
    .unstage = nt_cuda_unstage,
    .begin_pass = nt_cuda_begin_pass,
    .to_plain = cuda_to_plain,
    .from_plain = cuda_from_plain,
    .find_op = cuda_find_op,
    .fuses = nt_cuda_fuses,
    .sum = nt_cuda_flat_sum,
    .sum_squares = nt_cuda_flat_sum_squares,
    .sum_squares_of = nt_cuda_flat_sum_squares_of,
    .add_losses = nt_cuda_flat_add_losses,
    .judge = nt_cuda_flat_judge,
    .ratios = nt_cuda_flat_ratios,
    .update = nt_cuda_flat_update,
    .update_of = nt_cuda_flat_update_of,
    .post = nt_cuda_post,
    .collect = nt_cuda_collect,
    .record = nt_cuda_record,
    .forget = nt_cuda_forget_recordings,
    .sync = nt_cuda_sync,
};
