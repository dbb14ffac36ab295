/* Host memory that is locked in place, so that the device copies from it by itself, while the host goes on:
 * for batches, which a thread of the host puts there.
 *
 * Blocks that are given back are kept for the next who asks for as much, until the backend ends. Locking
 * pages takes some tenths of a millisecond a megabyte, an evaluation wants the same memory every time, and
 * cudaFreeHost waits for all of the device, which may be waiting for a rank that is gone. A block is handed
 * out again only when nothing reads it any more.
 *
 * Where the host has no more memory that can be locked, ordinary memory does: stage.c copies it by the way.
 */
#include "core/backends/cuda/runtime.h"

#include "core/log.h"

#include <stdlib.h>

typedef struct nt_cuda_block {
    struct nt_cuda_block *next;
    char *data;
    size_t n_bytes;
    bool used, pinned;
} nt_cuda_block;

nt_status nt_cuda_try_malloc_host(nt_backend *backend, void **out, size_t n_bytes)
{
    *out = NULL;
    int code = cudaMallocHost(out, n_bytes);
    if (code != cudaErrorMemoryAllocation)
        return nt_cuda_check(backend, code, "cudaMallocHost (pinned memory)");
    *out = NULL;
    (void)cudaGetLastError();
    return NT_OK;
}

nt_status nt_cuda_malloc_host(nt_backend *backend, void **out, size_t n_bytes)
{
    NT_TRY(nt_cuda_try_malloc_host(backend, out, n_bytes));
    NT_CHECK(*out, NT_ERR_UNAVAILABLE,
             "out of memory: the host has no %.1f MiB that can be locked for copies to CUDA device %d",
             (double)n_bytes / 0x1p20, nt_cuda_state(backend)->device);
    return NT_OK;
}

/* The smallest unused block of at least n_bytes that is not twice as large; NULL if there is none. */
static nt_cuda_block *find_unused(const nt_cuda *cuda, size_t n_bytes)
{
    nt_cuda_block *best = NULL;
    for (nt_cuda_block *b = cuda->blocks; b; b = b->next)
        if (!b->used && b->n_bytes >= n_bytes && b->n_bytes / 2 <= n_bytes &&
            (!best || b->n_bytes < best->n_bytes))
            best = b;
    return best;
}

/* Pinned, or else ordinary. */
static nt_status fill_block(nt_backend *backend, nt_cuda_block *b, size_t n_bytes)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    b->n_bytes = n_bytes;
    NT_TRY(nt_cuda_try_malloc_host(backend, (void **)&b->data, n_bytes));
    b->pinned = b->data != NULL;
    if (b->pinned) return NT_OK;
    NT_TRY(nt_backend_alloc_host(NULL, (void **)&b->data, n_bytes));
    if (!cuda->unpinned_said)
        nt_warn("the host has no %.1f MiB that can be locked for copies to CUDA device %d: batches lie in "
                "ordinary memory, and are copied once more on their way",
                (double)n_bytes / 0x1p20, cuda->device);
    cuda->unpinned_said = true;
    return NT_OK;
}

static nt_status make_block(nt_backend *backend, size_t n_bytes, nt_cuda_block **out)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    nt_cuda_block *b = calloc(1, sizeof *b);
    NT_CHECK_ALLOC(b, sizeof *b);
    nt_status status = fill_block(backend, b, n_bytes);
    if (status != NT_OK) {
        free(b);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    b->next = cuda->blocks;
    *out = cuda->blocks = b;
    return NT_OK;
}

nt_status nt_cuda_alloc_host(nt_backend *backend, void **out, size_t n_bytes)
{
    nt_cuda_block *b = find_unused(nt_cuda_state(backend), n_bytes);
    *out = NULL;
    NT_TRY(b ? nt_cuda_unstage(backend) : make_block(backend, n_bytes, &b));
    b->used = true;
    *out = b->data;
    return NT_OK;
}

void nt_cuda_free_host(nt_backend *backend, void *ptr)
{
    nt_cuda_block *b = nt_cuda_state(backend)->blocks;
    while (b && (b->data != ptr || !b->used))
        b = b->next;
    if (b)
        b->used = false;
    else
        nt_warn("%p is given back as memory for batches, and was not given out (a bug)", ptr);
}

bool nt_cuda_is_pinned(const nt_backend *backend, const void *host, size_t n_bytes)
{
    const uintptr_t at = (uintptr_t)host;
    for (const nt_cuda_block *b = nt_cuda_state(backend)->blocks; b; b = b->next)
        if (b->used && b->pinned && at >= (uintptr_t)b->data &&
            at + n_bytes <= (uintptr_t)b->data + b->n_bytes)
            return true;
    return false;
}

void nt_cuda_free_blocks(nt_backend *backend)
{
    nt_cuda *cuda = nt_cuda_state(backend);
    while (cuda->blocks) {
        nt_cuda_block *first = cuda->blocks;
        cuda->blocks = first->next;
        if (first->pinned)
            (void)cudaFreeHost(first->data);
        else
            nt_backend_free_host(NULL, first->data);
        free(first);
    }
}
