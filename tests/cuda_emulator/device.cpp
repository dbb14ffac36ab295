/* Devices, driver and errors: what the environment says there is, and the error that each thread saw last.
 *
 * NT_EMU_DEVICES devices of NT_EMU_MEMORY_MB each are on "this machine"; CUDA_VISIBLE_DEVICES picks and
 * renumbers them as the real runtime does (a wrong entry ends the list, a repeated one empties it). The UUID
 * belongs to the physical device, so two processes on one device can find out. */
#include "tests/cuda_emulator/runtime.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <unistd.h>

namespace emu {

static Config settings;
static auto &devices = *new Vector<Device *>;
static __thread cudaError_t last_error;
static __thread int chosen;

int64_t clock_ns()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static std::string uuid_text(int physical)
{
    char text[64];
    cudaUUID_t u;
    memset(&u, 0, sizeof u);
    memcpy(u.bytes, "nt-emulator", 11);
    u.bytes[15] = (char)physical;
    int at = snprintf(text, sizeof text, "GPU-");
    for (int i = 0; i < 16; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "%s%02x",
                       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", (unsigned char)u.bytes[i]);
    return text;
}

/* The physical device that one entry of CUDA_VISIBLE_DEVICES names, or -1. */
static int named_device(const std::string &entry, int n_physical)
{
    for (int i = 0; i < n_physical; i++)
        if (entry == std::to_string(i) ||
            (entry.size() > 4 && uuid_text(i).compare(0, entry.size(), entry) == 0))
            return i;
    return -1;
}

static Vector<int> visible_devices(int n_physical)
{
    Vector<int> found;
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    if (!list) {
        for (int i = 0; i < n_physical; i++)
            found.push_back(i);
        return found;
    }
    std::string text = list, entry;
    for (size_t at = 0; at < text.size(); at += entry.size() + 1) {
        entry = text.substr(at, text.find(',', at) - at);
        const size_t first = entry.find_first_not_of(' '), last = entry.find_last_not_of(' ');
        const std::string name = first == std::string::npos ? "" : entry.substr(first, last - first + 1);
        const int device = named_device(name, n_physical);
        if (device < 0) break;
        if (std::find(found.begin(), found.end(), device) != found.end()) return {};
        found.push_back(device);
    }
    return found;
}

static Leaks leak_policy()
{
    const char *text = getenv("NT_EMU_LEAKS");
    if (!text || !strcmp(text, "report")) return Leaks::report;
    if (!strcmp(text, "fail")) return Leaks::fail;
    if (!strcmp(text, "ignore")) return Leaks::ignore;
    nt_emu_die("NT_EMU_LEAKS = '%s': ignore, report or fail", text);
}

static void start()
{
    settings.n_physical = (int)nt_emu_env("NT_EMU_DEVICES", 1);
    settings.devices = visible_devices(settings.n_physical);
    settings.memory_bytes = (size_t)nt_emu_env("NT_EMU_MEMORY_MB", 4096) << 20;
    settings.sm_count = (int)nt_emu_env("NT_EMU_SM_COUNT", 4);
    settings.driver_version = (int)nt_emu_env("NT_EMU_DRIVER_VERSION", CUDART_VERSION);
    if (nt_emu_env("NT_EMU_NO_DRIVER", 0)) settings.driver_version = 0;
    settings.seeded = getenv("NT_EMU_SEED") != nullptr;
    settings.seed = (uint64_t)nt_emu_env("NT_EMU_SEED", 0);
    settings.fail_alloc = nt_emu_env("NT_EMU_FAIL_ALLOC", 0);
    settings.fail_launch = nt_emu_env("NT_EMU_FAIL_LAUNCH", 0);
    settings.hang_launch = nt_emu_env("NT_EMU_HANG_LAUNCH", 0);
    settings.pageable_waits = nt_emu_env("NT_EMU_PAGEABLE_WAITS", 0) != 0;
    settings.leaks = leak_policy();
    for (size_t i = 0; i < settings.devices.size(); i++) {
        Device *device = new Device();
        device->index = (int)i;
        device->physical = settings.devices[i];
        device->pkey = assign_key();
        devices.push_back(device);
        device->null_stream = make_stream(device, 0, 0);
    }
    if (devices.empty() || settings.driver_version == 0) return;
    catch_faults();
    watch_exit();
}

static void start_once()
{
    static bool started;
    if (__atomic_load_n(&started, __ATOMIC_ACQUIRE)) return;
    Held held(lock);
    if (!started) start();
    __atomic_store_n(&started, true, __ATOMIC_RELEASE);
}

const Config &config()
{
    return settings;
}

int n_devices()
{
    return (int)devices.size();
}

Device *device_at(int index)
{
    return devices[(size_t)index];
}

Device *current_device()
{
    return serving ? serving->device : devices[(size_t)chosen];
}

cudaError_t fail(cudaError_t error)
{
    if (error != cudaSuccess) last_error = error;
    return error;
}

/* A driver serves the runtimes of its own major version and of older ones. */
static bool is_without_driver()
{
    start_once();
    return settings.driver_version / 1000 < CUDART_VERSION / 1000;
}

static cudaError_t find_driver()
{
    if (is_without_driver()) return fail(cudaErrorInsufficientDriver);
    if (devices.empty()) return fail(cudaErrorNoDevice);
    if (serving) return fail(cudaErrorNotPermitted); /* a host function must not call CUDA */
    return cudaSuccess;
}

cudaError_t enter_lightly()
{
    return find_driver();
}

cudaError_t enter()
{
    const cudaError_t error = find_driver();
    return error != cudaSuccess ? error : fail(current_device()->sticky);
}

static const struct {
    cudaError_t code;
    const char *name, *text;
} error_table[] = {
#define ERROR(code, text)                                                                                    \
    {                                                                                                        \
        code, #code, text                                                                                    \
    }
    ERROR(cudaSuccess, "no error"),
    ERROR(cudaErrorInvalidValue, "invalid argument"),
    ERROR(cudaErrorMemoryAllocation, "out of memory"),
    ERROR(cudaErrorInitializationError, "initialization error"),
    ERROR(cudaErrorCudartUnloading, "driver shutting down"),
    ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    ERROR(cudaErrorInvalidSymbol, "invalid device symbol"),
    ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    ERROR(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    ERROR(cudaErrorDevicesUnavailable, "all CUDA-capable devices are busy or unavailable"),
    ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    ERROR(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    ERROR(cudaErrorIllegalState, "the operation cannot be performed in the present state"),
    ERROR(cudaErrorNotReady, "device not ready"),
    ERROR(cudaErrorECCUncorrectable, "uncorrectable ECC error"),
    ERROR(cudaErrorInvalidPtx, "PTX that cannot be compiled"),
    ERROR(cudaErrorUnsupportedPtxVersion, "PTX of an unknown version"),
    ERROR(cudaErrorPeerAccessAlreadyEnabled, "peer access is enabled already"),
    ERROR(cudaErrorPeerAccessNotEnabled, "peer access is not enabled"),
    ERROR(cudaErrorContextIsDestroyed, "context was destroyed"),
    ERROR(cudaErrorAssert, "assertion on the device failed"),
    ERROR(cudaErrorHardwareStackError, "stack error on the device"),
    ERROR(cudaErrorIllegalInstruction, "illegal instruction on the device"),
    ERROR(cudaErrorInvalidAddressSpace, "operation in the wrong address space"),
    ERROR(cudaErrorInvalidPc, "invalid program counter"),
    ERROR(cudaErrorSystemNotReady, "system is not ready"),
    ERROR(cudaErrorSystemDriverMismatch, "driver and system do not match"),
    ERROR(cudaErrorCompatNotSupportedOnDevice, "forward compatibility is not supported on this device"),
    ERROR(cudaErrorTimeout, "wait timed out"),
    ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    ERROR(cudaErrorLaunchTimeout, "the launch timed out and was terminated"),
    ERROR(cudaErrorHostMemoryAlreadyRegistered,
          "part or all of the requested memory range is already mapped"),
    ERROR(cudaErrorHostMemoryNotRegistered, "pointer does not correspond to a registered memory region"),
    ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    ERROR(cudaErrorNotPermitted, "operation not permitted"),
    ERROR(cudaErrorNotSupported, "operation not supported"),
    ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    ERROR(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    ERROR(cudaErrorStreamCaptureMerge, "operation would result in a merge of separate capture sequences"),
    ERROR(cudaErrorStreamCaptureUnmatched, "capture was not ended in the same stream as it began"),
    ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    ERROR(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    ERROR(cudaErrorStreamCaptureImplicit,
          "operation would make the legacy stream depend on a capturing blocking stream"),
    ERROR(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    ERROR(cudaErrorStreamCaptureWrongThread,
          "attempt to terminate a thread-local capture sequence from another thread"),
    ERROR(cudaErrorGraphExecUpdateFailure,
          "the graph update was not performed because it included changes which violated constraints"),
    ERROR(cudaErrorUnknown, "unknown error"),
#undef ERROR
};

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaGetLastError(void)
{
    if (is_without_driver()) return cudaErrorInsufficientDriver;
    const cudaError_t error = last_error;
    const bool broken = !devices.empty() && current_device()->sticky != cudaSuccess;
    last_error = cudaSuccess;
    return broken ? current_device()->sticky : error;
}

cudaError_t cudaPeekAtLastError(void)
{
    if (is_without_driver()) return cudaErrorInsufficientDriver;
    const bool broken = !devices.empty() && current_device()->sticky != cudaSuccess;
    return broken ? current_device()->sticky : last_error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    for (const auto &e : error_table)
        if (e.code == error) return e.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    for (const auto &e : error_table)
        if (e.code == error) return e.text;
    return "unrecognized error code";
}

cudaError_t cudaDriverGetVersion(int *version)
{
    start_once();
    if (!version) return fail(cudaErrorInvalidValue);
    *version = settings.driver_version;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    if (!version) return fail(cudaErrorInvalidValue);
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    const cudaError_t error = find_driver();
    if (count && error == cudaErrorNoDevice) *count = 0;
    if (error != cudaSuccess) return error;
    if (!count) return fail(cudaErrorInvalidValue);
    *count = n_devices();
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    const cudaError_t error = enter_lightly();
    if (error != cudaSuccess) return error;
    if (device < 0 || device >= n_devices()) return fail(cudaErrorInvalidDevice);
    chosen = device;
    return fail(current_device()->sticky);
}

cudaError_t cudaGetDevice(int *device)
{
    const cudaError_t error = enter_lightly();
    if (error != cudaSuccess) return error;
    if (!device) return fail(cudaErrorInvalidValue);
    *device = chosen;
    return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned flags)
{
    const cudaError_t error = enter();
    if (error != cudaSuccess) return error;
    return flags & ~7u ? fail(cudaErrorInvalidValue) : cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device)
{
    const cudaError_t error = enter_lightly();
    if (error != cudaSuccess) return error;
    if (!prop) return fail(cudaErrorInvalidValue);
    if (device < 0 || device >= n_devices()) return fail(cudaErrorInvalidDevice);
    memset(prop, 0, sizeof *prop);
    const int physical = device_at(device)->physical;
    const bool mixed = nt_emu_env("NT_EMU_MIXED", 0) != 0;
    snprintf(prop->name, sizeof prop->name, "emulated device%s (a test double)",
             mixed && physical % 2 ? " of another kind" : "");
    memcpy(prop->uuid.bytes, "nt-emulator", 11);
    prop->uuid.bytes[15] = (char)physical;
    prop->totalGlobalMem = settings.memory_bytes;
    prop->sharedMemPerBlock = 48 << 10;
    prop->sharedMemPerBlockOptin = 227 << 10;
    prop->reservedSharedMemPerBlock = 1 << 10;
    prop->sharedMemPerMultiprocessor = 228 << 10;
    prop->regsPerBlock = prop->regsPerMultiprocessor = 65536;
    prop->warpSize = 32;
    prop->maxThreadsPerBlock = 1024;
    prop->maxThreadsDim[0] = prop->maxThreadsDim[1] = 1024;
    prop->maxThreadsDim[2] = 64;
    prop->maxGridSize[0] = 2147483647;
    prop->maxGridSize[1] = prop->maxGridSize[2] = 65535;
    prop->totalConstMem = 65536;
    prop->major = 9;
    prop->multiProcessorCount = settings.sm_count;
    prop->canMapHostMemory = prop->concurrentKernels = prop->unifiedAddressing = 1;
    prop->streamPrioritiesSupported = 1;
    prop->pciBusID = physical + 1;
    prop->asyncEngineCount = 2;
    prop->memoryBusWidth = 64;
    prop->l2CacheSize = 1 << 20;
    prop->maxThreadsPerMultiProcessor = 2048;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    struct cudaDeviceProp p;
    const cudaError_t error = cudaGetDeviceProperties(&p, device);
    if (error != cudaSuccess) return error;
    if (!value) return fail(cudaErrorInvalidValue);
    const struct {
        cudaDeviceAttr attribute;
        long long value;
    } table[] = {
        {cudaDevAttrMaxThreadsPerBlock, p.maxThreadsPerBlock},
        {cudaDevAttrMaxBlockDimX, p.maxThreadsDim[0]},
        {cudaDevAttrMaxBlockDimY, p.maxThreadsDim[1]},
        {cudaDevAttrMaxBlockDimZ, p.maxThreadsDim[2]},
        {cudaDevAttrMaxGridDimX, p.maxGridSize[0]},
        {cudaDevAttrMaxGridDimY, p.maxGridSize[1]},
        {cudaDevAttrMaxGridDimZ, p.maxGridSize[2]},
        {cudaDevAttrMaxSharedMemoryPerBlock, (long long)p.sharedMemPerBlock},
        {cudaDevAttrTotalConstantMemory, (long long)p.totalConstMem},
        {cudaDevAttrWarpSize, p.warpSize},
        {cudaDevAttrMaxRegistersPerBlock, p.regsPerBlock},
        {cudaDevAttrMultiProcessorCount, p.multiProcessorCount},
        {cudaDevAttrIntegrated, p.integrated},
        {cudaDevAttrConcurrentKernels, p.concurrentKernels},
        {cudaDevAttrEccEnabled, p.ECCEnabled},
        {cudaDevAttrPciBusId, p.pciBusID},
        {cudaDevAttrPciDeviceId, p.pciDeviceID},
        {cudaDevAttrPciDomainId, p.pciDomainID},
        {cudaDevAttrGlobalMemoryBusWidth, p.memoryBusWidth},
        {cudaDevAttrL2CacheSize, p.l2CacheSize},
        {cudaDevAttrMaxThreadsPerMultiProcessor, p.maxThreadsPerMultiProcessor},
        {cudaDevAttrAsyncEngineCount, p.asyncEngineCount},
        {cudaDevAttrUnifiedAddressing, p.unifiedAddressing},
        {cudaDevAttrComputeCapabilityMajor, p.major},
        {cudaDevAttrComputeCapabilityMinor, p.minor},
        {cudaDevAttrStreamPrioritiesSupported, p.streamPrioritiesSupported},
        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, (long long)p.sharedMemPerMultiprocessor},
        {cudaDevAttrMaxRegistersPerMultiprocessor, p.regsPerMultiprocessor},
        {cudaDevAttrMaxSharedMemoryPerBlockOptin, (long long)p.sharedMemPerBlockOptin},
        {cudaDevAttrReservedSharedMemoryPerBlock, (long long)p.reservedSharedMemPerBlock},
    };
    for (const auto &row : table)
        if (row.attribute == attribute) {
            *value = (int)row.value;
            return cudaSuccess;
        }
    return fail(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int n_bytes, int device)
{
    struct cudaDeviceProp p;
    const cudaError_t error = cudaGetDeviceProperties(&p, device);
    if (error != cudaSuccess) return error;
    if (!id || n_bytes < 13) return fail(cudaErrorInvalidValue);
    snprintf(id, (size_t)n_bytes, "%04x:%02x:%02x.0", p.pciDomainID, p.pciBusID, p.pciDeviceID);
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    const cudaError_t error = enter_lightly();
    if (error != cudaSuccess) return error;
    if (!can) return fail(cudaErrorInvalidValue);
    if (device < 0 || device >= n_devices() || peer < 0 || peer >= n_devices())
        return fail(cudaErrorInvalidDevice);
    *can = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void)
{
    const cudaError_t error = enter_lightly();
    if (error != cudaSuccess) return error;
    Held held(lock);
    Device *device = current_device();
    drain(device);
    for (CUstream_st *s : Vector<CUstream_st *>(device->streams))
        if (s != device->null_stream && !s->closing && !s->internal) close_stream(s);
    free_everything(device);
    device->sticky = cudaSuccess;
    last_error = cudaSuccess;
    return cudaSuccess;
}

int nt_emu_physical_device(int device)
{
    start_once();
    return device < 0 || device >= n_devices() ? -1 : device_at(device)->physical;
}

int64_t nt_emu_env(const char *name, int64_t otherwise)
{
    const char *text = getenv(name);
    if (!text) return otherwise;
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 0) nt_emu_die("%s = '%s' is no number", name, text);
    return value;
}

} // extern "C"
