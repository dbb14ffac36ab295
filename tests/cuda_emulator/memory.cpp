/* Memory of the device and pinned memory of the host.
 *
 * Each allocation has a mapping of its own: an inaccessible page, the data pushed against the end as far as
 * the alignment of 256 allows, an inaccessible page. What is left between data and pages holds a pattern that
 * is checked when memory is freed and at each cudaDeviceSynchronize; AddressSanitizer is told about all of
 * it. Freed memory stays mapped without access for a long while, so its later use is found, and its address
 * is not given out again.
 *
 * The host cannot touch device memory: it carries the protection key of its device, which only the threads
 * that serve the device's streams hold. Without keys (or with NT_EMU_PROTECT=mprotect) the pages are
 * accessible only while the device has work: that finds the same mistake, unless it happens while something
 * runs. */
#include "tests/cuda_emulator/entry.h"
#include "tests/cuda_emulator/runtime.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

namespace emu {

constexpr size_t PAGE = 4096, ALIGN = 256, QUARANTINE_BYTES = (size_t)1 << 36, QUARANTINE_COUNT = 4096;
constexpr int CANARY = 0xCB, POISON = 0xFF; /* every float of 0xFF bytes is NaN, every integer -1 */

struct Allocation {
    char *base, *data; /* mapping with its two guard pages, memory of the caller */
    size_t mapped_bytes, n_bytes;
    Device *device; /* NULL: pinned host memory */
    uint64_t number;
    bool freed, registered;
};

static auto &allocations = *new Map<uintptr_t, Allocation>; /* by end of the mapping, freed ones too */
static auto &quarantine = *new Deque<uintptr_t>;            /* keys of freed ones, oldest first */
static size_t quarantine_bytes;
static uint64_t n_made;
static bool use_keys = true;

static bool wants_mprotect()
{
    const char *text = getenv("NT_EMU_PROTECT");
    if (text && strcmp(text, "mprotect") && strcmp(text, "pkey"))
        nt_emu_die("NT_EMU_PROTECT = '%s': pkey or mprotect", text);
    return text && !strcmp(text, "mprotect");
}

/* One key per device; the last devices share one if there are more devices than keys. */
int assign_key()
{
    static int last = -1;
    use_keys = use_keys && !wants_mprotect();
    if (!use_keys) return -1;
    const int key = pkey_alloc(0, PKEY_DISABLE_ACCESS);
    if (key >= 0) return last = key;
    if (last < 0) use_keys = false;
    return last;
}

const char *protection_name()
{
    return use_keys ? "memory protection key" : "page protection";
}

void open_memory(Device *device)
{
    if (device->pkey >= 0 && pkey_set(device->pkey, 0) != 0) nt_emu_die("pkey_set failed");
}

void close_memory(Device *device)
{
    if (device->pkey >= 0 && pkey_set(device->pkey, PKEY_DISABLE_ACCESS) != 0) nt_emu_die("pkey_set failed");
}

static char *body(const Allocation &a)
{
    return a.base + PAGE;
}

static size_t body_bytes(const Allocation &a)
{
    return a.mapped_bytes - 2 * PAGE;
}

static void protect(const Allocation &a, int access)
{
    if (mprotect(body(a), body_bytes(a), access) != 0) nt_emu_die("mprotect of device memory failed");
}

static void protect_all(Device *device, int access)
{
    if (use_keys) return;
    for (const auto &[end, a] : allocations)
        if (a.device == device && !a.freed) protect(a, access);
}

void memory_busy(Device *device)
{
    protect_all(device, PROT_READ | PROT_WRITE);
}

void memory_idle(Device *device)
{
    protect_all(device, PROT_NONE);
}

static const Allocation *find(const void *ptr)
{
    auto at = allocations.upper_bound((uintptr_t)ptr);
    return at != allocations.end() && (char *)ptr >= at->second.base ? &at->second : nullptr;
}

Place place_of(const void *ptr)
{
    Place p;
    const Allocation *a = find(ptr);
    if (!a) return p;
    const bool inside = (char *)ptr >= a->data && (char *)ptr < a->data + a->n_bytes;
    p.device = a->device && inside && !a->freed;
    p.pinned = !a->device && inside;
    p.freed = a->freed;
    p.guard = !inside;
    p.owner = a->device;
    p.data = a->data;
    p.n_bytes = a->n_bytes;
    p.number = a->number;
    return p;
}

bool holds(const Place &p, const void *ptr, size_t n_bytes)
{
    return (p.device || p.pinned) && n_bytes <= p.n_bytes - (size_t)((char *)ptr - p.data);
}

/* Maps and poisons; the caller gives it its protection. */
static bool map_memory(Allocation *a, size_t n_bytes)
{
    const size_t padded = (n_bytes + ALIGN - 1) / ALIGN * ALIGN, pages = (padded + PAGE - 1) / PAGE * PAGE;
    void *base =
        mmap(nullptr, pages + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return false;
    a->base = static_cast<char *>(base);
    a->mapped_bytes = pages + 2 * PAGE;
    a->data = a->base + PAGE + pages - padded;
    a->n_bytes = n_bytes;
    protect(*a, PROT_READ | PROT_WRITE);
    memset(body(*a), CANARY, (size_t)(a->data - body(*a)));
    memset(a->data, POISON, n_bytes);
    memset(a->data + n_bytes, CANARY, padded - n_bytes);
    forbid(a->base, a->mapped_bytes);
    permit(a->data, n_bytes);
    return true;
}

static void remember(const Allocation &a)
{
    allocations[(uintptr_t)a.base + a.mapped_bytes] = a;
}

/* Reads the pattern around the data without AddressSanitizer, which forbids just that. */
__attribute__((no_sanitize_address)) static const char *damaged(const Allocation &a)
{
    for (const char *p = body(a); p < a.data; p++)
        if (*p != (char)CANARY) return p;
    for (const char *p = a.data + a.n_bytes; p < body(a) + body_bytes(a); p++)
        if (*p != (char)CANARY) return p;
    return nullptr;
}

static void check_canary(const Allocation &a)
{
    if (a.device) {
        open_memory(a.device);
        if (!use_keys) protect(a, PROT_READ | PROT_WRITE);
    }
    const char *bad = damaged(a);
    if (a.device) {
        if (!use_keys && a.device->n_busy == 0) protect(a, PROT_NONE);
        close_memory(a.device);
    }
    if (bad)
        nt_emu_die("out of bounds: something wrote %td byte(s) %s allocation %llu of %zu bytes at %p",
                   bad < a.data ? a.data - bad : bad - (a.data + a.n_bytes) + 1,
                   bad < a.data ? "before the begin of" : "beyond the end of", (unsigned long long)a.number,
                   a.n_bytes, (void *)a.data);
}

void check_canaries(Device *device)
{
    for (const auto &[end, a] : allocations)
        if (a.device == device && !a.freed) check_canary(a);
}

static void forget_oldest()
{
    auto at = allocations.find(quarantine.front());
    quarantine.pop_front();
    quarantine_bytes -= at->second.mapped_bytes;
    permit(at->second.base, at->second.mapped_bytes);
    munmap(at->second.base, at->second.mapped_bytes);
    allocations.erase(at);
}

/* Takes access away and keeps the address for a while. */
static void retire(Allocation *a)
{
    check_canary(*a);
    if (a->device) a->device->used_bytes -= a->mapped_bytes - 2 * PAGE;
    protect(*a, PROT_NONE);
    madvise(body(*a), body_bytes(*a), MADV_DONTNEED);
    forbid(a->data, a->n_bytes);
    a->freed = true;
    quarantine.push_back((uintptr_t)a->base + a->mapped_bytes);
    quarantine_bytes += a->mapped_bytes;
    while (quarantine.size() > QUARANTINE_COUNT || quarantine_bytes > QUARANTINE_BYTES)
        forget_oldest();
}

/* The allocation that begins at `ptr`, or says what is wrong with it. */
static Allocation *owned(void *ptr, bool device, const char *call)
{
    Allocation *a = const_cast<Allocation *>(find(ptr));
    const char *wrong = nullptr;
    if (!a)
        wrong = "is no memory of CUDA";
    else if (a->data != ptr)
        wrong = "is not the begin of an allocation";
    else if (a->freed)
        wrong = "was freed before (double free)";
    else if ((a->device != nullptr) != device)
        wrong = device ? "is pinned host memory" : "is device memory";
    else if (a->registered)
        wrong = "was registered, not allocated";
    if (!wrong) return a;
    nt_emu_complain("%s(%p): the pointer %s", call, ptr, wrong);
    return nullptr;
}

static bool fails_by_order()
{
    static int64_t n;
    return config().fail_alloc && ++n == config().fail_alloc;
}

static const char *kind_name(const Allocation &a)
{
    return a.device ? "device memory" : a.registered ? "registered host memory" : "pinned host memory";
}

int count_leaks(bool say)
{
    int n = 0;
    for (const auto &[end, a] : allocations) {
        if (a.freed) continue;
        n++;
        if (say)
            fprintf(stderr, "cuda emulator: leak: allocation %llu, %zu bytes of %s\n",
                    (unsigned long long)a.number, a.n_bytes, kind_name(a));
    }
    return n;
}

void free_everything(Device *device)
{
    for (auto &[end, a] : allocations)
        if (a.device == device && !a.freed) retire(&a);
}

static cudaError_t allocate_device(void **ptr, size_t n_bytes)
{
    Device *device = current_device();
    Allocation a = {};
    const size_t pages = (n_bytes + PAGE - 1) / PAGE * PAGE;
    if (n_bytes > config().memory_bytes || pages > config().memory_bytes - device->used_bytes ||
        fails_by_order() || !map_memory(&a, n_bytes))
        return cudaErrorMemoryAllocation;
    a.device = device;
    a.number = ++n_made;
    device->used_bytes += a.mapped_bytes - 2 * PAGE;
    if (use_keys && pkey_mprotect(body(a), body_bytes(a), PROT_READ | PROT_WRITE, device->pkey) != 0)
        nt_emu_die("pkey_mprotect failed");
    if (!use_keys && device->n_busy == 0) protect(a, PROT_NONE);
    remember(a);
    *ptr = a.data;
    return cudaSuccess;
}

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaMalloc(void **ptr, size_t n_bytes)
{
    ENTER();
    if (!ptr) return fail(cudaErrorInvalidValue);
    *ptr = nullptr;
    if (n_bytes == 0) return cudaSuccess;
    Held held(lock);
    CHECK(forbid_unsafe());
    catch_faults();
    return fail(allocate_device(ptr, n_bytes));
}

cudaError_t cudaFree(void *ptr)
{
    CHECK(enter_lightly());
    if (!ptr) return cudaSuccess;
    Held held(lock);
    CHECK(forbid_unsafe());
    Allocation *a = owned(ptr, true, "cudaFree");
    if (!a) return fail(cudaErrorInvalidValue);
    Device *device = a->device;
    drain(device); /* as the real one does */
    a = owned(ptr, true, "cudaFree");
    if (!a) return fail(cudaErrorInvalidValue);
    retire(a);
    return fail(device->sticky);
}

/* Looked up each time, so that a test may set it when it likes. */
static bool too_large_to_pin(size_t n_bytes)
{
    return n_bytes > (size_t)nt_emu_env("NT_EMU_PINNED_BLOCK", INT64_MAX);
}

cudaError_t cudaHostAlloc(void **ptr, size_t n_bytes, unsigned flags)
{
    ENTER();
    if (!ptr || (flags & ~7u)) return fail(cudaErrorInvalidValue);
    *ptr = nullptr;
    if (n_bytes == 0) return cudaSuccess;
    Held held(lock);
    CHECK(forbid_unsafe());
    Allocation a = {};
    if (fails_by_order() || too_large_to_pin(n_bytes) || !map_memory(&a, n_bytes))
        return fail(cudaErrorMemoryAllocation);
    a.number = ++n_made;
    remember(a);
    *ptr = a.data;
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **ptr, size_t n_bytes)
{
    return cudaHostAlloc(ptr, n_bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *ptr)
{
    CHECK(enter_lightly());
    if (!ptr) return cudaSuccess;
    Held held(lock);
    CHECK(forbid_unsafe());
    if (!owned(ptr, false, "cudaFreeHost")) return fail(cudaErrorInvalidValue);
    for (int i = 0; i < n_devices(); i++)
        drain(device_at(i));
    Allocation *a = owned(ptr, false, "cudaFreeHost");
    if (!a) return fail(cudaErrorInvalidValue);
    retire(a);
    return cudaSuccess;
}

cudaError_t cudaHostRegister(void *ptr, size_t n_bytes, unsigned flags)
{
    ENTER();
    if (!ptr || n_bytes == 0 || (flags & ~15u)) return fail(cudaErrorInvalidValue);
    Held held(lock);
    CHECK(forbid_unsafe());
    if (find(ptr) || find((char *)ptr + n_bytes - 1)) return fail(cudaErrorHostMemoryAlreadyRegistered);
    Allocation a = {};
    a.base = a.data = static_cast<char *>(ptr);
    a.mapped_bytes = a.n_bytes = n_bytes;
    a.registered = true;
    a.number = ++n_made;
    remember(a);
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *ptr)
{
    CHECK(enter_lightly());
    Held held(lock);
    CHECK(forbid_unsafe());
    const Allocation *a = find(ptr);
    if (!a || !a->registered || a->data != ptr) return fail(cudaErrorHostMemoryNotRegistered);
    for (int i = 0; i < n_devices(); i++)
        drain(device_at(i));
    a = find(ptr);
    if (a) allocations.erase((uintptr_t)a->base + a->mapped_bytes);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    ENTER();
    Held held(lock);
    if (total_bytes) *total_bytes = config().memory_bytes;
    if (free_bytes) *free_bytes = config().memory_bytes - current_device()->used_bytes;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *ptr)
{
    ENTER();
    if (!attributes) return fail(cudaErrorInvalidValue);
    Held held(lock);
    const Place p = place_of(ptr);
    memset(attributes, 0, sizeof *attributes);
    attributes->type = p.device   ? cudaMemoryTypeDevice
                       : p.pinned ? cudaMemoryTypeHost
                                  : cudaMemoryTypeUnregistered;
    attributes->device = p.device ? p.owner->index : p.pinned ? current_device()->index : -2;
    attributes->devicePointer = p.device || p.pinned ? const_cast<void *>(ptr) : nullptr;
    attributes->hostPointer = p.device ? nullptr : const_cast<void *>(ptr);
    return cudaSuccess;
}

emu_memory emu_memory_at(const void *ptr, size_t n_bytes, int *device)
{
    Held held(lock);
    const Place p = place_of(ptr);
    if (p.owner && device) *device = p.owner->index;
    if (p.owner && (p.freed || p.guard)) return EMU_MEMORY_FREED;
    if (!p.device && !p.pinned) return EMU_MEMORY_HOST;
    if (!holds(p, ptr, n_bytes)) return EMU_MEMORY_OUTSIDE;
    return p.device ? EMU_MEMORY_DEVICE : EMU_MEMORY_PINNED;
}

} // extern "C"
