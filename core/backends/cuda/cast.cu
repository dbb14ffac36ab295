/* Copies: between float32 and bfloat16, of rows from one pitch to another (concat, slices, and tensors that
 * need another place), and of rows into wider ones of zeros. Bound by memory: what is read plus what is
 * written. */
#include "core/backends/cuda/map.cuh"

struct identity {
    __device__ float operator()(float x) const
    {
        return x;
    }
};

template <typename S>
static void launch_cast(nt_cuda_stream stream, nt_dtype dst_type, void *dst, const S *src, int64_t n)
{
    const identity f;
    NT_WITH_TYPE(dst_type, nt_launch_map1(stream, (T *)dst, src, n, f));
}

extern "C" int nt_cuda_cast(nt_cuda_stream stream, nt_dtype dst_type, void *dst, nt_dtype src_type,
                            const void *src, int64_t n)
{
    NT_WITH_TYPE(src_type, launch_cast(stream, dst_type, dst, (const T *)src, n));
    return (int)cudaGetLastError();
}

/* A thread copies one unit U. The units of a row lie side by side, so a warp's accesses are one piece except
 * where a row ends. `width` and pitches count units. */
template <typename U>
static __global__ void __launch_bounds__(NT_BLOCK)
    copy_rows(U *dst, int64_t dst_pitch, const U *src, int64_t src_pitch, nt_divisor width, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const int64_t row = nt_quotient(i, width), column = i - row * width.d;
        dst[row * dst_pitch + column] = src[row * src_pitch + column];
    }
}

template <typename U>
static void launch_rows(nt_cuda_stream stream, void *dst, int64_t dst_pitch, const void *src,
                        int64_t src_pitch, int64_t row_bytes, int64_t rows)
{
    const int64_t unit = sizeof(U), width = row_bytes / unit;
    NT_LAUNCH(copy_rows<U>, nt_blocks(width * rows), NT_BLOCK, 0, stream, (U *)dst, dst_pitch / unit,
              (const U *)src, src_pitch / unit, nt_divide_by(width), width * rows);
}

/* In the widest unit that divides all addresses. */
extern "C" int nt_cuda_copy_rows(nt_cuda_stream stream, void *dst, int64_t dst_pitch, const void *src,
                                 int64_t src_pitch, int64_t row_bytes, int64_t rows)
{
    const uint64_t bits = (uint64_t)(uintptr_t)dst | (uint64_t)(uintptr_t)src | (uint64_t)dst_pitch |
                          (uint64_t)src_pitch | (uint64_t)row_bytes;
    if (dst == src || row_bytes == 0) return (int)cudaSuccess;
    if (bits % 16 == 0)
        launch_rows<uint4>(stream, dst, dst_pitch, src, src_pitch, row_bytes, rows);
    else if (bits % 4 == 0)
        launch_rows<uint32_t>(stream, dst, dst_pitch, src, src_pitch, row_bytes, rows);
    else if (bits % 2 == 0)
        launch_rows<uint16_t>(stream, dst, dst_pitch, src, src_pitch, row_bytes, rows);
    else
        launch_rows<uint8_t>(stream, dst, dst_pitch, src, src_pitch, row_bytes, rows);
    return (int)cudaGetLastError();
}

/* Backward of a slice: a row of dst is `width` units, zeros but for `count` units of src from `begin` on. One
 * write, and the read of src. */
template <typename U>
static __global__ void __launch_bounds__(NT_BLOCK)
    place_rows(U *dst, const U *src, nt_divisor width, int64_t begin, int64_t count, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const int64_t row = nt_quotient(i, width), column = i - row * width.d - begin;
        U unit = {};
        if (column >= 0 && column < count) unit = src[row * count + column];
        dst[i] = unit;
    }
}

template <typename U>
static void launch_place(nt_cuda_stream stream, void *dst, int64_t dst_bytes, const void *src,
                         int64_t src_bytes, int64_t begin, int64_t rows)
{
    const int64_t unit = sizeof(U), width = dst_bytes / unit;
    NT_LAUNCH(place_rows<U>, nt_blocks(width * rows), NT_BLOCK, 0, stream, (U *)dst, (const U *)src,
              nt_divide_by(width), begin / unit, src_bytes / unit, width * rows);
}

extern "C" int nt_cuda_place_rows(nt_cuda_stream stream, void *dst, int64_t dst_bytes, const void *src,
                                  int64_t src_bytes, int64_t begin, int64_t rows)
{
    const uint64_t bits = (uint64_t)(uintptr_t)dst | (uint64_t)(uintptr_t)src | (uint64_t)dst_bytes |
                          (uint64_t)src_bytes | (uint64_t)begin;
    if (bits % 16 == 0)
        launch_place<uint4>(stream, dst, dst_bytes, src, src_bytes, begin, rows);
    else if (bits % 4 == 0)
        launch_place<uint32_t>(stream, dst, dst_bytes, src, src_bytes, begin, rows);
    else
        launch_place<uint16_t>(stream, dst, dst_bytes, src, src_bytes, begin, rows);
    return (int)cudaGetLastError();
}
