/* What the kernels share: element types, vector access, sums over warps and blocks, division by constants,
 * the size of a grid.
 *
 * Kernels are templates over the type of activations and compute in float. Sixteen bytes go through a thread
 * at a time (nt_pack): 4 floats or 8 bfloat16, the widest access the memory system has; one kernel serves
 * unaligned pointers and the rest at the end, element by element. Sums are added in an order that depends on
 * sizes alone, never on who comes first: within sixteen bytes in float, beyond in double. One addition in
 * double per sixteen bytes read is hidden behind the memory even where double is 64 times slower than float.
 *
 * What bounds them: nearly all kernels here do less than ten operations per byte, and an A100 has 12.5 float
 * operations for each byte that its memory gives (19.5 TFLOP/s, 1.56 TB/s), an H100 20 (67, 3.35). So the
 * comments count bytes, as passes over tensors. */
#ifndef NT_CORE_BACKENDS_CUDA_DEVICE_CUH
#define NT_CORE_BACKENDS_CUDA_DEVICE_CUH

#include "core/backends/cuda/kernels.h"
#include "core/backends/cuda/launch.cuh"

#include <cuda_bf16.h>
#include <math.h>

constexpr int NT_WARP = 32;
/* Threads: eight blocks fill a multiprocessor if a thread has at most 32 registers. */
constexpr int NT_BLOCK = 256;
constexpr int NT_WARPS = NT_BLOCK / NT_WARP;
/* Of a grid-stride loop: over ten times what any device holds at once. */
constexpr int NT_MAX_BLOCKS = 1 << 14;

#define NT_ALL_LANES 0xffffffffu

/* Runs statements with T as the type of activations. */
#define NT_WITH_TYPE(type, ...)                                                                              \
    do {                                                                                                     \
        if ((type) == NT_BF16) {                                                                             \
            using T = __nv_bfloat16;                                                                         \
            __VA_ARGS__;                                                                                     \
        } else {                                                                                             \
            using T = float;                                                                                 \
            __VA_ARGS__;                                                                                     \
        }                                                                                                    \
    } while (0)

/* --- elements --- */

static inline __device__ float nt_to_float(float x)
{
    return x;
}

static inline __device__ float nt_to_float(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

static inline __device__ float nt_to_float(uint8_t x)
{
    return (float)x;
}

static inline __device__ void nt_put(float *p, float x)
{
    *p = x;
}

/* To the nearest, ties to even. */
static inline __device__ void nt_put(__nv_bfloat16 *p, float x)
{
    *p = __float2bfloat16(x);
}

/* --- packs --- */

/* W neighbours, loaded and stored by one instruction (two where they are 32 bytes). */
template <typename T, int W> struct alignas(sizeof(T) * W < 16 ? sizeof(T) * W : 16) nt_pack {
    T v[W];
};

/* Elements of sixteen bytes. */
template <typename T> struct nt_lanes {
    static const int N = 16 / (int)sizeof(T);
};

/* v = W elements from p on, of which `left` exist; the others are 0. `vector`: p is aligned for packs. */
template <int W, typename T>
static inline __device__ void nt_load(float (&v)[W], const T *p, int64_t left, bool vector)
{
    if (vector && left >= W) {
        const nt_pack<T, W> pack = *reinterpret_cast<const nt_pack<T, W> *>(p);
#pragma unroll
        for (int k = 0; k < W; k++)
            v[k] = nt_to_float(pack.v[k]);
    } else {
#pragma unroll
        for (int k = 0; k < W; k++)
            v[k] = k < left ? nt_to_float(p[k]) : 0.0f;
    }
}

template <int W, typename T>
static inline __device__ void nt_store(T *p, const float (&v)[W], int64_t left, bool vector)
{
    if (vector && left >= W) {
        nt_pack<T, W> pack;
#pragma unroll
        for (int k = 0; k < W; k++)
            nt_put(&pack.v[k], v[k]);
        *reinterpret_cast<nt_pack<T, W> *>(p) = pack;
    } else {
#pragma unroll
        for (int k = 0; k < W; k++)
            if (k < left) nt_put(&p[k], v[k]);
    }
}

static inline bool nt_aligned(const void *p, size_t n_bytes = 16)
{
    return (uintptr_t)p % n_bytes == 0;
}

/* --- the grid --- */

/* Blocks of NT_BLOCK threads for a grid-stride loop over n. */
static inline unsigned nt_blocks(int64_t n)
{
    int64_t blocks = (n + NT_BLOCK - 1) / NT_BLOCK;
    return (unsigned)(blocks < 1 ? 1 : blocks < NT_MAX_BLOCKS ? blocks : NT_MAX_BLOCKS);
}

/* The same for one warp per item. */
static inline unsigned nt_warp_blocks(int64_t n)
{
    return nt_blocks(n * NT_WARP);
}

static inline __device__ int64_t nt_thread()
{
    return (int64_t)blockIdx.x * NT_BLOCK + threadIdx.x;
}

static inline __device__ int64_t nt_threads()
{
    return (int64_t)gridDim.x * NT_BLOCK;
}

static inline __device__ int nt_lane()
{
    return (int)threadIdx.x % NT_WARP;
}

/* --- division --- */

/* Division of indices by a number that the host knows: a multiplication and a shift for dividends below 2^31
 * (Granlund & Montgomery 1994, with 31-bit dividends, so that the multiplier has 32 bits), a real division
 * above. */
struct nt_divisor {
    int64_t d;
    uint32_t multiplier, shift;
};

static inline nt_divisor nt_divide_by(int64_t d)
{
    nt_divisor by = {d, 0, 0}; /* quotients of dividends below 2^31 are 0 */
    if (d > INT32_MAX) return by;
    uint32_t log2 = 0;
    while (((int64_t)1 << log2) < d)
        log2++;
    by.shift = 31 + log2;
    by.multiplier = (uint32_t)((((uint64_t)1 << by.shift) + (uint64_t)d - 1) / (uint64_t)d);
    return by;
}

static inline __device__ int nt_quotient(int n, nt_divisor by)
{
    return (int)((uint64_t)(uint32_t)n * by.multiplier >> by.shift);
}

static inline __device__ int64_t nt_quotient(int64_t n, nt_divisor by)
{
    return n <= INT32_MAX ? nt_quotient((int)n, by) : n / by.d;
}

/* --- sums --- */

/* Every lane gets the same bits: each addition has the same two operands on both sides. */
template <typename T> static inline __device__ T nt_warp_sum(T v)
{
    for (int distance = NT_WARP / 2; distance > 0; distance /= 2)
        v += __shfl_xor_sync(NT_ALL_LANES, v, distance);
    return v;
}

/* Sum over a block of NT_BLOCK threads, which all call it and all get it. */
static inline __device__ double nt_block_sum(double v)
{
    __shared__ double part[NT_WARPS];
    v = nt_warp_sum(v);
    if (nt_lane() == 0) part[threadIdx.x / NT_WARP] = v;
    __syncthreads();
    double sum = 0;
    for (int w = 0; w < NT_WARPS; w++)
        sum += part[w];
    __syncthreads(); /* part is free for the next sum */
    return sum;
}

/* One element of a parameter's gradient. */
static inline __device__ void nt_put_gradient(float *slot, double value, bool accumulate)
{
    *slot = (float)(accumulate ? (double)*slot + value : value);
}

#endif
