/* Copies and fills, as asynchronous as the documentation ("API synchronization behavior") lets them be:
 *
 *   cudaMemcpyAsync   pinned or pageable host memory is read and written when the stream gets there, not at
 * the call ("might be synchronous" for pageable memory: nobody may rely on it, nor on the call to come back
 * while the stream hangs: with NT_EMU_PAGEABLE_WAITS it does not); host to host is synchronous cudaMemcpy on
 * the legacy default stream; from pageable memory it returns once the data are in a staging buffer, and the
 * device gets them later; device to device it returns at once cudaMemset returns at once, unless the memory
 * is pinned host memory */
#include "tests/cuda_emulator/runtime.h"

#include <cstdio>
#include <cstring>

namespace emu {

/* n_rows rows of `width` bytes. */
struct Box {
    char *dst;
    const char *src;
    size_t dst_pitch, src_pitch, width, n_rows;
};

struct CopyWork : Work {
    Box box;
    explicit CopyWork(const Box &b) : Work("copy"), box(b)
    {
    }
    void run() override
    {
        for (size_t i = 0; i < box.n_rows; i++) {
            char *dst = box.dst + i * box.dst_pitch;
            const char *src = box.src + i * box.src_pitch;
            note_read(src, box.width);
            note_write(dst, box.width);
            memcpy(dst, src, box.width);
        }
    }
};

struct FillWork : Work {
    char *dst;
    int value;
    size_t n_bytes;
    FillWork(void *d, int v, size_t n) : Work("memset"), dst(static_cast<char *>(d)), value(v), n_bytes(n)
    {
    }
    void run() override
    {
        note_write(dst, n_bytes);
        memset(dst, value, n_bytes);
    }
};

/* The two halves of a synchronous copy from pageable memory. */
struct Staging {
    std::unique_ptr<char[]> bytes;
};
struct StageInWork : Work {
    Box box;
    std::shared_ptr<Staging> staging;
    StageInWork(const Box &b, std::shared_ptr<Staging> s)
        : Work("copy to staging"), box(b), staging(std::move(s))
    {
    }
    void run() override
    {
        staging->bytes.reset(new char[box.width * box.n_rows]);
        for (size_t i = 0; i < box.n_rows; i++) {
            note_read(box.src + i * box.src_pitch, box.width);
            memcpy(staging->bytes.get() + i * box.width, box.src + i * box.src_pitch, box.width);
        }
    }
};
struct StageOutWork : Work {
    Box box;
    std::shared_ptr<Staging> staging;
    StageOutWork(const Box &b, std::shared_ptr<Staging> s)
        : Work("copy from staging"), box(b), staging(std::move(s))
    {
    }
    void run() override
    {
        if (!staging->bytes) return; /* the device broke in between */
        for (size_t i = 0; i < box.n_rows; i++) {
            note_write(box.dst + i * box.dst_pitch, box.width);
            memcpy(box.dst + i * box.dst_pitch, staging->bytes.get() + i * box.width, box.width);
        }
    }
};

enum class Kind { pageable, pinned, device };

static size_t extent(size_t pitch, size_t width, size_t n_rows)
{
    return pitch * (n_rows - 1) + width;
}

/* What memory it is; complains about a range that leaves its allocation or was freed. */
static bool classify(const char *what, const void *ptr, size_t n_bytes, Kind *kind)
{
    const Place p = place_of(ptr);
    *kind = p.device ? Kind::device : p.pinned ? Kind::pinned : Kind::pageable;
    if (p.freed) {
        nt_emu_complain("%s: %p lies in allocation %llu, which was freed", what, ptr,
                        (unsigned long long)p.number);
        return false;
    }
    if ((p.device || p.pinned) && !holds(p, ptr, n_bytes)) {
        nt_emu_complain("%s: %zu bytes from %p leave allocation %llu of %zu bytes at %p", what, n_bytes, ptr,
                        (unsigned long long)p.number, p.n_bytes, (void *)p.data);
        return false;
    }
    if (p.guard) {
        nt_emu_complain("%s: %p is outside of allocation %llu of %zu bytes at %p", what, ptr,
                        (unsigned long long)p.number, p.n_bytes, (void *)p.data);
        return false;
    }
    return true;
}

static bool direction_fits(enum cudaMemcpyKind kind, Kind dst, Kind src)
{
    const bool to_device = dst == Kind::device, from_device = src == Kind::device;
    switch (kind) {
    case cudaMemcpyHostToHost:
        return !to_device && !from_device;
    case cudaMemcpyHostToDevice:
        return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
        return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
        return to_device && from_device;
    case cudaMemcpyDefault:
        return true;
    }
    return false;
}

static cudaError_t check_copy(const Box &b, enum cudaMemcpyKind kind, Kind *dst, Kind *src)
{
    static const char *const names[] = {"host to host", "host to device", "device to host",
                                        "device to device", "default"};
    if ((unsigned)kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
    if (!b.dst || !b.src || b.width > b.dst_pitch || b.width > b.src_pitch) return cudaErrorInvalidValue;
    if (!classify("copy to", b.dst, extent(b.dst_pitch, b.width, b.n_rows), dst) ||
        !classify("copy from", b.src, extent(b.src_pitch, b.width, b.n_rows), src))
        return cudaErrorInvalidValue;
    if (direction_fits(kind, *dst, *src)) return cudaSuccess;
    nt_emu_complain("copy '%s' from %s memory %p to %s memory %p", names[kind],
                    *src == Kind::device ? "device" : "host", (const void *)b.src,
                    *dst == Kind::device ? "device" : "host", (void *)b.dst);
    return cudaErrorInvalidValue;
}

static cudaError_t submit_and_wait(CUstream_st *stream, WorkRef work)
{
    const cudaError_t error = submit(stream, std::move(work));
    if (error != cudaSuccess) return error;
    wait_for_streams({stream});
    return stream->device->sticky;
}

static cudaError_t copy_async(const Box &b, enum cudaMemcpyKind kind, cudaStream_t handle)
{
    const cudaError_t entered = enter();
    if (entered != cudaSuccess) return entered;
    if (b.width == 0 || b.n_rows == 0) return cudaSuccess;
    Held held(lock);
    CUstream_st *stream;
    cudaError_t error = resolve(handle, &stream);
    Kind dst, src;
    if (error == cudaSuccess) error = check_copy(b, kind, &dst, &src);
    if (error != cudaSuccess) return fail(error);
    auto work = make_hidden<CopyWork>(b);
    const bool on_host = dst != Kind::device && src != Kind::device;
    const bool pageable = dst == Kind::pageable || src == Kind::pageable;
    if ((on_host || (pageable && config().pageable_waits)) && !stream->capture)
        return fail(submit_and_wait(stream, work));
    return fail(submit(stream, work));
}

static cudaError_t copy_sync(const Box &b, enum cudaMemcpyKind kind)
{
    const cudaError_t entered = enter();
    if (entered != cudaSuccess) return entered;
    if (b.width == 0 || b.n_rows == 0) return cudaSuccess;
    Held held(lock);
    CUstream_st *stream = current_device()->null_stream;
    Kind dst, src;
    cudaError_t error = forbid_implicit(stream);
    if (error == cudaSuccess) error = forbid_unsafe();
    if (error == cudaSuccess) error = check_copy(b, kind, &dst, &src);
    if (error != cudaSuccess) return fail(error);
    if (dst == Kind::device && src == Kind::device) return fail(submit(stream, make_hidden<CopyWork>(b)));
    if (dst != Kind::device || src != Kind::pageable)
        return fail(submit_and_wait(stream, make_hidden<CopyWork>(b)));
    auto staging = make_hidden<Staging>();
    auto out = make_hidden<StageOutWork>(b, staging);
    error = submit_and_wait(stream, make_hidden<StageInWork>(b, std::move(staging)));
    return fail(error == cudaSuccess ? submit(stream, std::move(out)) : error);
}

static cudaError_t fill(void *ptr, int value, size_t n_bytes, cudaStream_t handle)
{
    const cudaError_t entered = enter();
    if (entered != cudaSuccess) return entered;
    if (n_bytes == 0) return cudaSuccess;
    Held held(lock);
    CUstream_st *stream;
    cudaError_t error = resolve(handle, &stream);
    Kind kind;
    if (error != cudaSuccess) return error;
    if (!classify("memset of", ptr, n_bytes, &kind)) return fail(cudaErrorInvalidValue);
    if (kind == Kind::pageable) {
        nt_emu_complain("memset of %p, which is no memory of CUDA", ptr);
        return fail(cudaErrorInvalidValue);
    }
    auto work = make_hidden<FillWork>(ptr, value, n_bytes);
    if (kind == Kind::pinned && handle == nullptr) return fail(submit_and_wait(stream, work));
    return fail(submit(stream, work));
}

} // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaMemcpy(void *dst, const void *src, size_t n_bytes, enum cudaMemcpyKind kind)
{
    return copy_sync(Box{(char *)dst, (const char *)src, n_bytes, n_bytes, n_bytes, 1}, kind);
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t n_bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return copy_async(Box{(char *)dst, (const char *)src, n_bytes, n_bytes, n_bytes, 1}, kind, stream);
}

cudaError_t cudaMemcpy2D(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
                         size_t height, enum cudaMemcpyKind kind)
{
    return copy_sync(Box{(char *)dst, (const char *)src, dst_pitch, src_pitch, width, height}, kind);
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind kind, cudaStream_t stream)
{
    return copy_async(Box{(char *)dst, (const char *)src, dst_pitch, src_pitch, width, height}, kind, stream);
}

cudaError_t cudaMemset(void *ptr, int value, size_t n_bytes)
{
    return fill(ptr, value, n_bytes, nullptr);
}

cudaError_t cudaMemsetAsync(void *ptr, int value, size_t n_bytes, cudaStream_t stream)
{
    return fill(ptr, value, n_bytes, stream);
}

} // extern "C"
