/* The inside of the cuda backend: what cuda.c, device.c, stage.c, pinned.c, post.c and record.c share.
 * Operations do not include it (they have cuda.h). */
#ifndef NT_CORE_BACKENDS_CUDA_RUNTIME_H
#define NT_CORE_BACKENDS_CUDA_RUNTIME_H

#include "core/backends/cuda/cuda.h"

#include <cuda_runtime.h>

static inline nt_cuda *nt_cuda_state(const nt_backend *backend)
{
    return backend->state;
}

/* --- device.c --- */

/* Whether there is a driver and a device at all; otherwise *why says what is missing. */
bool nt_cuda_present(const char **why);

/* Which device is this rank's: sets cuda->device, backend->device_name and device_id. */
NT_MUST nt_status nt_cuda_choose_device(nt_backend *backend);

/* --- cuda.c: waits, with the backend's poll --- */

NT_MUST nt_status nt_cuda_wait_stream(nt_backend *backend, nt_cuda_stream stream, const char *what);
NT_MUST nt_status nt_cuda_wait_event(nt_backend *backend, nt_cuda_event event, const char *what);
NT_MUST nt_status nt_cuda_make_event(nt_backend *backend, nt_cuda_event *out);
/* Device memory, not zeroed; out of memory says what is free. */
NT_MUST nt_status nt_cuda_malloc(nt_backend *backend, void **out, size_t n_bytes);

/* --- stage.c --- */

NT_MUST nt_status nt_cuda_alloc_input(nt_backend *backend, void **out, size_t n_bytes, int64_t n);
NT_MUST nt_status nt_cuda_stage(nt_backend *backend, nt_tensor *t, const void *host);
NT_MUST nt_status nt_cuda_begin_pass(nt_backend *backend, const nt_pass *pass, int64_t n);
/* Frees what nt_cuda_alloc_input gave; false if it was not that. */
bool nt_cuda_free_input(nt_backend *backend, void *ptr);
void nt_cuda_free_lanes(nt_backend *backend);

NT_MUST nt_status nt_cuda_unstage(nt_backend *backend);

/* --- pinned.c: host memory that the device copies from by itself --- */

/* *out NULL: the host has no more that can be locked. */
NT_MUST nt_status nt_cuda_try_malloc_host(nt_backend *backend, void **out, size_t n_bytes);
/* That is an error. */
NT_MUST nt_status nt_cuda_malloc_host(nt_backend *backend, void **out, size_t n_bytes);
NT_MUST nt_status nt_cuda_alloc_host(nt_backend *backend, void **out, size_t n_bytes);
void nt_cuda_free_host(nt_backend *backend, void *ptr);
/* Whether [host, host + n_bytes) lies in a pinned block of nt_cuda_alloc_host. */
bool nt_cuda_is_pinned(const nt_backend *backend, const void *host, size_t n_bytes);
void nt_cuda_free_blocks(nt_backend *backend);

/* --- post.c --- */

NT_MUST nt_status nt_cuda_open_posts(nt_backend *backend);
void nt_cuda_close_posts(nt_backend *backend);
NT_MUST nt_status nt_cuda_post(nt_backend *backend, const void *src, size_t n_bytes, int slot);
NT_MUST nt_status nt_cuda_collect(nt_backend *backend, int slot, void *host, size_t n_bytes);
/* Waits for all work given so far; NT_ERR_DATA if a class label was bad. */
NT_MUST nt_status nt_cuda_sync(nt_backend *backend);

/* --- record.c --- */

NT_MUST nt_status nt_cuda_record(nt_backend *backend, uint64_t key, nt_status (*fn)(void *arg), void *arg,
                                 bool *ran);
/* Forgets all recordings: addresses that kernels were recorded with are no longer right. */
void nt_cuda_forget_recordings(nt_backend *backend);

/* --- nvtx.c: ranges for Nsight Systems; nothing happens without a profiler --- */

/* Whether every phase and step is to be a range. */
void nt_cuda_trace_phases(bool on);
void nt_cuda_range_begin(const char *name);
void nt_cuda_range_end(void);

#endif
