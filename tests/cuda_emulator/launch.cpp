/* Launches: what the runtime refuses, and the faults on demand. */
#include "tests/cuda_emulator/engine.h"

#include <algorithm>
#include <unistd.h>

namespace emu {

/* Counted over all kernels that run, replays of graphs too. True: this one acts out a fault. */
bool acts_out_fault()
{
    static int64_t n_run;
    const int64_t n = __atomic_add_fetch(&n_run, 1, __ATOMIC_RELAXED);
    if (n == config().fail_launch) {
        serving->device->sticky = cudaErrorIllegalAddress;
        return true;
    }
    if (n == config().hang_launch) {
        lock.take();
        let_others_run();
        lock.give();
        for (;;)
            pause();
    }
    return false;
}

static auto &dynamic_limits =
    *new Map<const void *, size_t>; /* by kernel, where cudaFuncSetAttribute set it */

size_t dynamic_limit(const void *entry)
{
    auto set = dynamic_limits.find(entry);
    return set == dynamic_limits.end() ? STATIC_SHARED : std::max(STATIC_SHARED, set->second);
}

static cudaError_t check_shape(dim3 grid, dim3 block)
{
    if (block.x == 0 || block.y == 0 || block.z == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 ||
        (uint64_t)block.x * block.y * block.z > MAX_THREADS)
        return cudaErrorInvalidConfiguration;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
        return cudaErrorInvalidConfiguration;
    return cudaSuccess;
}

/* Pointers among the arguments must be the device's to read. */
static void check_pointers(const nt_emu_kernel &kernel, const Device *device)
{
    for (int i = 0; i < kernel.n_args; i++) {
        const void *ptr = kernel.pointers[i];
        if (!ptr) continue;
        const Place p = place_of(ptr);
        if (p.freed)
            nt_emu_die("use after free: argument %d of kernel %s is %p in allocation %llu, which was freed",
                       i + 1, kernel.name, ptr, (unsigned long long)p.number);
        if (!p.owner && !p.pinned && !p.guard)
            nt_emu_die("argument %d of kernel %s is %p, which is ordinary host memory", i + 1, kernel.name,
                       ptr);
        if (p.owner && p.owner != device)
            nt_emu_die("argument %d of kernel %s is %p, memory of device %d, but the stream is of device %d",
                       i + 1, kernel.name, ptr, p.owner->index, device->index);
    }
}

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t nt_emu_launch_kernel(const nt_emu_kernel *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                                 cudaStream_t handle)
{
    auto work = make_hidden<KernelWork>(*kernel, grid, block, shared_bytes);
    cudaError_t error = enter();
    if (error != cudaSuccess) return error;
    Held held(lock);
    CUstream_st *stream = nullptr;
    error = resolve(handle, &stream);
    if (error != cudaSuccess) return error;
    if (!kernel->entry) return fail(cudaErrorInvalidDeviceFunction);
    error = check_shape(grid, block);
    if (error != cudaSuccess) return fail(error);
    if (shared_bytes > dynamic_limit(kernel->entry)) return fail(cudaErrorInvalidValue);
    if (stream->device != current_device()) return fail(cudaErrorInvalidResourceHandle);
    check_pointers(*kernel, stream->device);
    return fail(submit(stream, std::move(work)));
}

cudaError_t cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attribute, int value)
{
    const cudaError_t error = enter();
    if (error != cudaSuccess) return error;
    if (!func) return fail(cudaErrorInvalidDeviceFunction);
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || (size_t)value > OPTIN_SHARED)
        return fail(cudaErrorInvalidValue);
    Held held(lock);
    dynamic_limits[func] = (size_t)value;
    return cudaSuccess;
}

} // extern "C"
