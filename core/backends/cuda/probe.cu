/* The smallest kernel: one thread writes one number. The backend runs it first of all, so that a device that
 * this build has no code for, or that does not work, is found before anything else happens. */
#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/launch.cuh"

static __global__ void probe(int *out, int value)
{
    *out = value;
}

extern "C" int nt_cuda_probe(nt_cuda_stream stream, int *out, int value)
{
    NT_LAUNCH(probe, 1, 1, 0, stream, out, value);
    return (int)cudaGetLastError();
}
