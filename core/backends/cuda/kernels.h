/* The launchers of the kernels, by file. No vendor header: this is what the C side of the backend sees.
 *
 * Every launcher puts its kernels into `stream`, returns at once, and returns cudaGetLastError() as int; see
 * nt_cuda_check. Pointers are device memory unless said otherwise. */
#ifndef NT_CORE_BACKENDS_CUDA_KERNELS_H
#define NT_CORE_BACKENDS_CUDA_KERNELS_H

#include "core/tensor.h"

typedef void *nt_cuda_stream; /* cudaStream_t without the vendor's header */

/* nt_pass in device memory, at an address that never changes, so that a recorded step can be replayed with
 * other numbers. The sample numbers are in nt_cuda.sample. */
typedef struct nt_cuda_pass {
    double scale, share;
    uint64_t seed;
    int64_t epoch;
    int64_t n; /* samples of this pass */
} nt_cuda_pass;

#ifdef __cplusplus
extern "C" {
#endif

/* probe.cu: *out = value. */
int nt_cuda_probe(nt_cuda_stream stream, int *out, int value);

#ifdef __cplusplus
}
#endif

#endif
