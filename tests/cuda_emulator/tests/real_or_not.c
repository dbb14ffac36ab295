/* Compiled against the emulator's headers and against the toolkit's: what both print must be the same. Values
 * of constants, sizes and alignments of types; and, where there is no driver, the answers to calls.
 *
 * `calls` as argument: makes the calls too. */
#include <cuda_runtime.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#define VALUE(name) printf("%s %lld\n", #name, (long long)(name))
#define TYPE(type)  printf("%s: %zu bytes, aligned to %zu\n", #type, sizeof(type), alignof(type))
#define CALL(expr)  printf("%s: %s\n", #expr, cudaGetErrorName(expr))

static void print_errors(void)
{
    static const cudaError_t known[] = {
        cudaSuccess,
        cudaErrorInvalidValue,
        cudaErrorMemoryAllocation,
        cudaErrorInitializationError,
        cudaErrorCudartUnloading,
        cudaErrorInvalidConfiguration,
        cudaErrorInvalidSymbol,
        cudaErrorInvalidDevicePointer,
        cudaErrorInvalidMemcpyDirection,
        cudaErrorInsufficientDriver,
        cudaErrorDevicesUnavailable,
        cudaErrorInvalidDeviceFunction,
        cudaErrorNoDevice,
        cudaErrorInvalidDevice,
        cudaErrorNoKernelImageForDevice,
        cudaErrorECCUncorrectable,
        cudaErrorInvalidPtx,
        cudaErrorUnsupportedPtxVersion,
        cudaErrorInvalidResourceHandle,
        cudaErrorIllegalState,
        cudaErrorNotReady,
        cudaErrorIllegalAddress,
        cudaErrorLaunchOutOfResources,
        cudaErrorLaunchTimeout,
        cudaErrorPeerAccessAlreadyEnabled,
        cudaErrorPeerAccessNotEnabled,
        cudaErrorContextIsDestroyed,
        cudaErrorAssert,
        cudaErrorHostMemoryAlreadyRegistered,
        cudaErrorHostMemoryNotRegistered,
        cudaErrorHardwareStackError,
        cudaErrorIllegalInstruction,
        cudaErrorMisalignedAddress,
        cudaErrorInvalidAddressSpace,
        cudaErrorInvalidPc,
        cudaErrorLaunchFailure,
        cudaErrorNotPermitted,
        cudaErrorNotSupported,
        cudaErrorSystemNotReady,
        cudaErrorSystemDriverMismatch,
        cudaErrorCompatNotSupportedOnDevice,
        cudaErrorStreamCaptureUnsupported,
        cudaErrorStreamCaptureInvalidated,
        cudaErrorStreamCaptureMerge,
        cudaErrorStreamCaptureUnmatched,
        cudaErrorStreamCaptureUnjoined,
        cudaErrorStreamCaptureIsolation,
        cudaErrorStreamCaptureImplicit,
        cudaErrorCapturedEvent,
        cudaErrorStreamCaptureWrongThread,
        cudaErrorTimeout,
        cudaErrorGraphExecUpdateFailure,
        cudaErrorUnknown,
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        printf("error %d: %s\n", known[i], cudaGetErrorName(known[i]));
    printf("error 12345: %s\n", cudaGetErrorName((cudaError_t)12345));
}

static void print_values(void)
{
    VALUE(CUDART_VERSION / 1000);
    VALUE(cudaStreamNonBlocking);
    VALUE((size_t)cudaStreamLegacy);
    VALUE(cudaEventBlockingSync);
    VALUE(cudaEventDisableTiming);
    VALUE(cudaGraphInstantiateFlagUseNodePriority);
    VALUE(cudaEventInterprocess);
    VALUE(cudaHostAllocPortable);
    VALUE(cudaHostAllocMapped);
    VALUE(cudaHostAllocWriteCombined);
    VALUE(cudaHostRegisterPortable);
    VALUE(cudaHostRegisterMapped);
    VALUE(cudaHostRegisterReadOnly);
    VALUE(cudaDeviceScheduleSpin);
    VALUE(cudaDeviceScheduleYield);
    VALUE(cudaDeviceScheduleBlockingSync);
    VALUE(cudaMemcpyHostToHost);
    VALUE(cudaMemcpyHostToDevice);
    VALUE(cudaMemcpyDeviceToHost);
    VALUE(cudaMemcpyDeviceToDevice);
    VALUE(cudaMemcpyDefault);
    VALUE(cudaMemoryTypeUnregistered);
    VALUE(cudaMemoryTypeHost);
    VALUE(cudaMemoryTypeDevice);
    VALUE(cudaMemoryTypeManaged);
    VALUE(cudaStreamCaptureModeGlobal);
    VALUE(cudaStreamCaptureModeThreadLocal);
    VALUE(cudaStreamCaptureModeRelaxed);
    VALUE(cudaStreamCaptureStatusNone);
    VALUE(cudaStreamCaptureStatusActive);
    VALUE(cudaStreamCaptureStatusInvalidated);
    VALUE(cudaGraphExecUpdateSuccess);
    VALUE(cudaGraphExecUpdateErrorTopologyChanged);
    VALUE(cudaGraphExecUpdateErrorNodeTypeChanged);
    VALUE(cudaGraphExecUpdateErrorNotSupported);
    VALUE(cudaFuncAttributeMaxDynamicSharedMemorySize);
    VALUE(cudaFuncAttributePreferredSharedMemoryCarveout);
}

static void print_attributes(void)
{
    VALUE(cudaDevAttrMaxThreadsPerBlock);
    VALUE(cudaDevAttrMaxBlockDimX);
    VALUE(cudaDevAttrMaxBlockDimY);
    VALUE(cudaDevAttrMaxBlockDimZ);
    VALUE(cudaDevAttrMaxGridDimX);
    VALUE(cudaDevAttrMaxGridDimY);
    VALUE(cudaDevAttrMaxGridDimZ);
    VALUE(cudaDevAttrMaxSharedMemoryPerBlock);
    VALUE(cudaDevAttrTotalConstantMemory);
    VALUE(cudaDevAttrWarpSize);
    VALUE(cudaDevAttrMaxRegistersPerBlock);
    VALUE(cudaDevAttrMultiProcessorCount);
    VALUE(cudaDevAttrIntegrated);
    VALUE(cudaDevAttrConcurrentKernels);
    VALUE(cudaDevAttrEccEnabled);
    VALUE(cudaDevAttrPciBusId);
    VALUE(cudaDevAttrPciDeviceId);
    VALUE(cudaDevAttrGlobalMemoryBusWidth);
    VALUE(cudaDevAttrL2CacheSize);
    VALUE(cudaDevAttrMaxThreadsPerMultiProcessor);
    VALUE(cudaDevAttrAsyncEngineCount);
    VALUE(cudaDevAttrUnifiedAddressing);
    VALUE(cudaDevAttrPciDomainId);
    VALUE(cudaDevAttrComputeCapabilityMajor);
    VALUE(cudaDevAttrComputeCapabilityMinor);
    VALUE(cudaDevAttrStreamPrioritiesSupported);
    VALUE(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    VALUE(cudaDevAttrMaxRegistersPerMultiprocessor);
    VALUE(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    VALUE(cudaDevAttrReservedSharedMemoryPerBlock);
}

static void print_types(void)
{
    TYPE(dim3);
    TYPE(char4);
    TYPE(uchar2);
    TYPE(uchar3);
    TYPE(uchar4);
    TYPE(short2);
    TYPE(ushort4);
    TYPE(int2);
    TYPE(int3);
    TYPE(int4);
    TYPE(uint4);
    TYPE(longlong2);
    TYPE(ulonglong2);
    TYPE(float1);
    TYPE(float2);
    TYPE(float3);
    TYPE(float4);
    TYPE(double1);
    TYPE(double2);
    TYPE(double3);
    TYPE(cudaUUID_t);
    TYPE(struct cudaPointerAttributes);
    TYPE(cudaGraphExecUpdateResultInfo);
}

static void print_calls(void)
{
    CALL(cudaGetLastError());
    int value = -1;
    void *ptr = NULL;
    float ms;
    cudaStream_t stream;
    struct cudaDeviceProp prop;
    size_t n_bytes;
    CALL(cudaGetDeviceCount(&value));
    VALUE(value);
    CALL(cudaPeekAtLastError());
    CALL(cudaGetLastError());
    CALL(cudaGetLastError());
    CALL(cudaDriverGetVersion(&value));
    VALUE(value);
    CALL(cudaRuntimeGetVersion(&value));
    VALUE(value / 1000);
    CALL(cudaSetDevice(0));
    CALL(cudaGetDevice(&value));
    CALL(cudaGetDeviceProperties(&prop, 0));
    CALL(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 0));
    CALL(cudaDeviceSynchronize());
    CALL(cudaMalloc(&ptr, 10));
    CALL(cudaMallocHost(&ptr, 10));
    CALL(cudaFree(NULL));
    CALL(cudaMemGetInfo(&n_bytes, &n_bytes));
    CALL(cudaMemcpy(&ms, &ms, sizeof ms, cudaMemcpyHostToHost));
    CALL(cudaStreamCreate(&stream));
    CALL(cudaStreamSynchronize(NULL));
    CALL(cudaStreamQuery(NULL));
    CALL(cudaGetLastError());
}

int main(int argc, char **argv)
{
    print_errors();
    print_values();
    print_attributes();
    print_types();
    if (argc == 2 && !strcmp(argv[1], "calls")) print_calls();
    return 0;
}
