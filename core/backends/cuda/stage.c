/* Batches on their way to the device, without the host waiting for the device or the device for the host.
 *
 * A lane leads to one address in device memory. A batch is copied by the `copy` stream into one of two device
 * buffers, beside whatever `compute` is doing, and from there by `compute` itself to the lane's address. The
 * last copy costs memory bandwidth only, and buys that kernels always find a batch at the same address, so
 * that a recorded step can be replayed.
 *
 * Batches lie in pinned memory (pinned.c), where the thread that read them put them: the device fetches them
 * by itself, and whoever wants to write there again waits for it with nt_cuda_unstage, which by then is over:
 * the host is at most two batches ahead. Any other memory is copied first into one of two pinned buffers of
 * the lane, which it gets when that happens the first time, and is free again when the call returns. Where
 * the host can lock no memory for them, the driver copies, and the host waits for it.
 *
 * What kernels read of a pass (nt_cuda_pass, sample numbers) goes the same way, from the lane's own buffers.
 */
#include "core/backends/cuda/runtime.h"

#include <stdlib.h>
#include <string.h>

enum { TURNS = 2, PASS_BYTES = 64 }; /* sample numbers begin PASS_BYTES behind the nt_cuda_pass */

typedef struct nt_cuda_lane {
    struct nt_cuda_lane *next;
    void *target; /* where kernels read */
    size_t n_bytes;
    struct turn {
        void *pinned, *device; /* pinned: NULL until it is needed */
        nt_cuda_event arrived; /* in device: the host's memory is free */
        nt_cuda_event taken;   /* in target: device is free */
    } turn[TURNS];
    int at;
    bool unpinned; /* there is no memory for a turn's pinned */
} nt_cuda_lane;

static void close_lane(nt_cuda_lane *lane)
{
    if (!lane) return;
    for (int i = 0; i < TURNS; i++) {
        struct turn *t = &lane->turn[i];
        if (t->pinned) (void)cudaFreeHost(t->pinned);
        if (t->device) (void)cudaFree(t->device);
        if (t->arrived) (void)cudaEventDestroy(t->arrived);
        if (t->taken) (void)cudaEventDestroy(t->taken);
    }
    if (lane->target) (void)cudaFree(lane->target);
    free(lane);
}

static nt_status fill_lane(nt_backend *backend, nt_cuda_lane *lane, size_t n_bytes)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    lane->n_bytes = n_bytes;
    NT_TRY(nt_cuda_malloc(backend, &lane->target, n_bytes));
    NT_CUDA_TRY(backend, "cudaMemset", cudaMemsetAsync(lane->target, 0, n_bytes, cuda->compute));
    for (int i = 0; i < TURNS; i++) {
        struct turn *t = &lane->turn[i];
        NT_TRY(nt_cuda_malloc(backend, &t->device, n_bytes));
        NT_TRY(nt_cuda_make_event(backend, &t->arrived));
        NT_TRY(nt_cuda_make_event(backend, &t->taken));
    }
    return NT_OK;
}

static nt_status open_lane(nt_backend *backend, nt_cuda_lane **out, size_t n_bytes)
{
    *out = NULL;
    nt_cuda_lane *lane = calloc(1, sizeof *lane);
    NT_CHECK_ALLOC(lane, sizeof *lane);
    nt_status status = fill_lane(backend, lane, n_bytes);
    if (status != NT_OK) {
        close_lane(lane);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = lane;
    return NT_OK;
}

static struct turn *next_turn(nt_cuda_lane *lane)
{
    struct turn *t = &lane->turn[lane->at];
    lane->at = (lane->at + 1) % TURNS;
    return t;
}

/* The next turn, with a pinned buffer that is free to be written; without one if the host has none. */
static nt_status take_turn(nt_backend *backend, nt_cuda_lane *lane, struct turn **out)
{
    struct turn *t = *out = next_turn(lane);
    if (!t->pinned && !lane->unpinned) {
        NT_TRY(nt_cuda_try_malloc_host(backend, &t->pinned, lane->n_bytes));
        lane->unpinned = !t->pinned;
    }
    NT_TRY(nt_cuda_wait_event(backend, t->arrived, "copy to the device"));
    return NT_OK;
}

/* n_bytes of host memory on their way to the lane's address. */
static nt_status send(nt_backend *backend, nt_cuda_lane *lane, struct turn *t, const void *host,
                      size_t n_bytes)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    NT_CUDA_TRY(backend, "cudaStreamWaitEvent", cudaStreamWaitEvent(cuda->copy, t->taken, 0));
    NT_CUDA_TRY(backend, "copy to the device",
                cudaMemcpyAsync(t->device, host, n_bytes, cudaMemcpyHostToDevice, cuda->copy));
    NT_CUDA_TRY(backend, "cudaEventRecord", cudaEventRecord(t->arrived, cuda->copy));
    NT_CUDA_TRY(backend, "cudaStreamWaitEvent", cudaStreamWaitEvent(cuda->compute, t->arrived, 0));
    NT_CUDA_TRY(backend, "copy of the batch",
                cudaMemcpyAsync(lane->target, t->device, n_bytes, cudaMemcpyDeviceToDevice, cuda->compute));
    NT_CUDA_TRY(backend, "cudaEventRecord", cudaEventRecord(t->taken, cuda->compute));
    return NT_OK;
}

/* The lane of nt_pass, for up to n samples. A larger one has another address: what was recorded is void. */
static nt_status reserve_pass(nt_backend *backend, int64_t n)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    nt_cuda_lane *lane = NULL;
    if (n <= cuda->largest_n) return NT_OK;
    NT_TRY(nt_cuda_sync(backend));
    NT_TRY(open_lane(backend, &lane, PASS_BYTES + (size_t)n * sizeof *cuda->sample));
    nt_cuda_forget_recordings(backend);
    close_lane(cuda->pass_lane);
    cuda->pass_lane = lane;
    cuda->largest_n = n;
    cuda->pass = lane->target;
    cuda->sample = (const int64_t *)((const char *)lane->target + PASS_BYTES);
    return NT_OK;
}

nt_status nt_cuda_alloc_input(nt_backend *backend, void **out, size_t n_bytes, int64_t n)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    nt_cuda_lane *lane;
    NT_TRY(reserve_pass(backend, n));
    NT_TRY(open_lane(backend, &lane, n_bytes));
    lane->next = cuda->lanes;
    cuda->lanes = lane;
    *out = lane->target;
    return NT_OK;
}

bool nt_cuda_free_input(nt_backend *backend, void *ptr)
{
    for (nt_cuda_lane **at = &nt_cuda_state(backend)->lanes; *at; at = &(*at)->next)
        if ((*at)->target == ptr) {
            nt_cuda_lane *lane = *at;
            *at = lane->next;
            close_lane(lane);
            return true;
        }
    return false;
}

void nt_cuda_free_lanes(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    while (cuda->lanes)
        (void)nt_cuda_free_input(backend, cuda->lanes->target);
    close_lane(cuda->pass_lane);
    cuda->pass_lane = NULL;
}

/* From memory that is not pinned. The driver may keep the host within the copy until the stream gets there,
 * where nobody asks backend->poll: so nothing may be before it. */
static nt_status send_slowly(nt_backend *backend, nt_cuda_lane *lane, struct turn *t, const void *host,
                             size_t n_bytes)
{
    NT_TRY(nt_cuda_wait_event(backend, t->taken, "copy of the batch"));
    NT_TRY(nt_cuda_wait_stream(backend, nt_cuda_state(backend)->copy, "copy to the device"));
    NT_TRY(send(backend, lane, t, host, n_bytes));
    NT_TRY(nt_cuda_wait_event(backend, t->arrived, "copy to the device"));
    return NT_OK;
}

static nt_status stage(nt_backend *backend, nt_cuda_lane *lane, const void *host, size_t n_bytes)
{
    struct turn *t;
    if (nt_cuda_is_pinned(backend, host, n_bytes)) return send(backend, lane, next_turn(lane), host, n_bytes);
    NT_TRY(take_turn(backend, lane, &t));
    if (!t->pinned) return send_slowly(backend, lane, t, host, n_bytes);
    memcpy(t->pinned, host, n_bytes);
    NT_TRY(send(backend, lane, t, t->pinned, n_bytes));
    return NT_OK;
}

nt_status nt_cuda_unstage(nt_backend *backend)
{
    for (nt_cuda_lane *lane = nt_cuda_state(backend)->lanes; lane; lane = lane->next)
        for (int i = 0; i < TURNS; i++)
            NT_TRY(nt_cuda_wait_event(backend, lane->turn[i].arrived, "copy to the device"));
    return NT_OK;
}

nt_status nt_cuda_stage(nt_backend *backend, nt_tensor *t, const void *host)
{
    nt_cuda_lane *lane = nt_cuda_state(backend)->lanes;
    while (lane && lane->target != t->data)
        lane = lane->next;
    NT_BUG_UNLESS(lane && t->n_bytes <= lane->n_bytes, "%zu bytes are staged to %p, which %s", t->n_bytes,
                  t->data, lane ? "is too small" : "no nt_backend_alloc_input gave");
    nt_cuda_range_begin("h2d");
    nt_status status = stage(backend, lane, host, t->n_bytes);
    nt_cuda_range_end();
    return status;
}

nt_status nt_cuda_begin_pass(nt_backend *backend, const nt_pass *pass, int64_t n)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    struct turn *t;
    NT_TRY(reserve_pass(backend, n));
    NT_TRY(take_turn(backend, cuda->pass_lane, &t));
    if (!t->pinned) NT_TRY(nt_cuda_malloc_host(backend, &t->pinned, cuda->pass_lane->n_bytes));
    nt_cuda_pass *scalars = t->pinned;
    int64_t *sample = (int64_t *)((char *)t->pinned + PASS_BYTES);
    *scalars = (nt_cuda_pass){.scale = pass->scale,
                              .share = pass->share,
                              .mean_weight = pass->mean_weight,
                              .seed = pass->seed,
                              .epoch = pass->epoch,
                              .n = n};
    if (pass->sample)
        memcpy(sample, pass->sample, (size_t)n * sizeof *sample);
    else
        memset(sample, 0, (size_t)n * sizeof *sample);
    NT_TRY(send(backend, cuda->pass_lane, t, t->pinned, PASS_BYTES + (size_t)n * sizeof *sample));
    return NT_OK;
}
