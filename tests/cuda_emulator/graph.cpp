/* Stream capture: refused so far, as on a stream that cannot be captured. */
#include "tests/cuda_emulator/runtime.h"
namespace emu {
cudaError_t capture_node(CUstream_st *, WorkRef)
{
    return fail(cudaErrorNotSupported);
}
cudaError_t capture_record(CUevent_st *, CUstream_st *)
{
    return fail(cudaErrorNotSupported);
}
cudaError_t capture_wait(CUstream_st *, CUevent_st *)
{
    return fail(cudaErrorNotSupported);
}
cudaError_t forbid_in_capture(CUstream_st *)
{
    return cudaSuccess;
}
cudaError_t forbid_unsafe()
{
    return cudaSuccess;
}
cudaError_t forbid_implicit(CUstream_st *)
{
    return cudaSuccess;
}
int count_graph_leaks(bool)
{
    return 0;
}
} // namespace emu

extern "C" cudaError_t cudaStreamIsCapturing(cudaStream_t, enum cudaStreamCaptureStatus *status)
{
    *status = cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamBeginCapture(cudaStream_t, enum cudaStreamCaptureMode)
{
    return emu::fail(cudaErrorNotSupported);
}

extern "C" cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *)
{
    return emu::fail(cudaErrorNotSupported);
}

extern "C" cudaError_t cudaGraphInstantiate(cudaGraphExec_t *, cudaGraph_t, unsigned long long)
{
    return emu::fail(cudaErrorNotSupported);
}

extern "C" cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t)
{
    return emu::fail(cudaErrorNotSupported);
}

extern "C" cudaError_t cudaGraphExecDestroy(cudaGraphExec_t)
{
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphDestroy(cudaGraph_t)
{
    return cudaSuccess;
}
