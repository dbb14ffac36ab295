/* What the emulator's libraries (cuBLAS, NCCL) need of its runtime: to put work on a stream's queue, and to
 * know whose memory an address is. The runtime serves both; the libraries know nothing else of it beyond the
 * public calls of cuda_runtime.h. */
#ifndef NT_EMU_QUEUE_H
#define NT_EMU_QUEUE_H

#include <cuda_runtime.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A piece of work. run is called on the queue's thread, where device memory may be touched, after all work
 * given to the stream before; what it returns other than cudaSuccess becomes the sticky error of the context.
 * In a stream that is being captured the piece becomes a node: run is then called once per launch of the
 * graph (possibly never) and must leave itself fit to be run again. destroy, called exactly once when no run
 * can follow (after the run, or with the last graph that holds the node, or at process exit; on any thread),
 * frees arg; may be NULL. Neither may call the runtime. */
typedef struct emu_work {
    const char *what; /* name for messages: "cublasGemmEx", "ncclAllReduce"; a string constant */
    cudaError_t (*run)(void *arg);
    void (*destroy)(void *arg);
    void *arg;
    bool waits_outside; /* run may wait for another process: the seeded scheduler does not wait for its end */
} emu_work;

/* Gives work to a stream (NULL: the default stream of the current device); returns at once. On an error
 * (stream of another device or destroyed, sticky error, capture invalidated) nothing is enqueued and destroy
 * is not called: arg stays the caller's. */
cudaError_t emu_enqueue(cudaStream_t stream, const emu_work *work);

/* The device that a stream belongs to; -1 if there is no such stream. */
int emu_stream_device(cudaStream_t stream);

typedef enum emu_memory {
    EMU_MEMORY_HOST,    /* not of the emulator: pageable host memory, or nothing at all */
    EMU_MEMORY_PINNED,  /* wholly inside one live pinned host allocation */
    EMU_MEMORY_DEVICE,  /* wholly inside one live device allocation */
    EMU_MEMORY_OUTSIDE, /* begins inside a live allocation of the emulator and ends behind it */
    EMU_MEMORY_FREED    /* an address of the device's memory that no live allocation holds */
} emu_memory;

/* Whose memory [p, p + n_bytes) is. *device (may be NULL) is set for EMU_MEMORY_DEVICE and _OUTSIDE. */
emu_memory emu_memory_at(const void *p, size_t n_bytes, int *device);

#ifdef __cplusplus
}
#endif
#endif
