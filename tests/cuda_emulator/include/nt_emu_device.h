/* The device language for the host's compiler: keywords, indices, barriers, warp shuffles and votes, atomics
 * on integers, cached loads. Part of the emulated CUDA runtime, a test double.
 *
 * A block's threads are fibres of one host thread, so __shared__ variables are thread-local ones: each block
 * runs alone on its host thread. Barriers and collectives know the line they stand on, for the reports. */
#ifndef NT_EMU_DEVICE_H
#define NT_EMU_DEVICE_H

#include <stdint.h>
#include <string.h>
#include <vector_types.h>

#define __host__
#define __device__
#define __global__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n)    __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __shared__ static __thread

/* Where the running thread stands. */
struct nt_emu_index {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
};
/* The model, because UBSan's null check is an addition and a jump on its flags, and the linker, which sees
 * that the variable is the program's own, makes the addition one that sets none. */
extern __thread nt_emu_index nt_emu_here __attribute__((tls_model("local-exec")));

#define threadIdx ((const uint3 &)nt_emu_here.thread)
#define blockIdx  ((const uint3 &)nt_emu_here.block)
#define blockDim  ((const dim3 &)nt_emu_here.block_dim)
#define gridDim   ((const dim3 &)nt_emu_here.grid_dim)
static constexpr int warpSize = 32;

/* Kinds of meeting points; those in one meeting must be of one kind. */
enum nt_emu_meeting {
    NT_EMU_SYNCWARP,
    NT_EMU_SHUFFLE,
    NT_EMU_BALLOT,
    NT_EMU_ANY,
    NT_EMU_ALL,
    NT_EMU_MATCH,
    NT_EMU_REDUCE_ADD,
    NT_EMU_REDUCE_MIN,
    NT_EMU_REDUCE_MAX
};
enum nt_emu_barrier { NT_EMU_BARRIER, NT_EMU_BARRIER_COUNT, NT_EMU_BARRIER_AND, NT_EMU_BARRIER_OR };

extern "C" {
int nt_emu_barrier_wait(nt_emu_barrier kind, int predicate, const char *file, int line);
/* All lanes of `mask` meet; `from`: the lane whose value to return (shuffles; -1: undefined on the device).
 */
uint64_t nt_emu_warp_meet(nt_emu_meeting kind, unsigned mask, uint64_t value, int from, const char *file,
                          int line);
unsigned nt_emu_lane(void);
unsigned nt_emu_active_mask(void);
void *nt_emu_dynamic_shared(void); /* of the block, 16-byte aligned */
void nt_emu_fence(void);
void nt_emu_trap(void) __attribute__((noreturn));
}

#define __syncthreads()                ((void)nt_emu_barrier_wait(NT_EMU_BARRIER, 0, __FILE__, __LINE__))
#define __syncthreads_count(p)         nt_emu_barrier_wait(NT_EMU_BARRIER_COUNT, (p) != 0, __FILE__, __LINE__)
#define __syncthreads_and(p)           nt_emu_barrier_wait(NT_EMU_BARRIER_AND, (p) != 0, __FILE__, __LINE__)
#define __syncthreads_or(p)            nt_emu_barrier_wait(NT_EMU_BARRIER_OR, (p) != 0, __FILE__, __LINE__)
#define NT_EMU_FULL_WARP               0xffffffffu
#define __syncwarp(...)                nt_emu_syncwarp(__FILE__, __LINE__, ##__VA_ARGS__)
#define __ballot_sync(mask, p)         ((unsigned)NT_EMU_MEET(NT_EMU_BALLOT, mask, (p) != 0))
#define __any_sync(mask, p)            ((int)NT_EMU_MEET(NT_EMU_ANY, mask, (p) != 0))
#define __all_sync(mask, p)            ((int)NT_EMU_MEET(NT_EMU_ALL, mask, (p) != 0))
#define __activemask()                 nt_emu_active_mask()
#define NT_EMU_MEET(kind, mask, value) nt_emu_warp_meet(kind, mask, value, 0, __FILE__, __LINE__)

static inline void nt_emu_syncwarp(const char *file, int line, unsigned mask = NT_EMU_FULL_WARP)
{
    nt_emu_warp_meet(NT_EMU_SYNCWARP, mask, 0, 0, file, line);
}

template <typename T>
static inline T nt_emu_shuffle(const char *file, int line, unsigned mask, T value, int from)
{
    static_assert(sizeof(T) <= 8, "shuffles take values of up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = nt_emu_warp_meet(NT_EMU_SHUFFLE, mask, bits, from, file, line);
    memcpy((void *)&value, &bits, sizeof(T));
    return value;
}

/* Which lane each kind of shuffle reads (CUDA C++ Programming Guide, "Warp Shuffle Functions"): within
 * segments of `width` lanes; out of the segment means the own lane. */
static inline int nt_emu_from_lane(int lane, int width = 32)
{
    const int self = (int)nt_emu_lane();
    return (self & ~(width - 1)) | (lane & (width - 1));
}
static inline int nt_emu_from_up(unsigned delta, int width = 32)
{
    const int self = (int)nt_emu_lane();
    return (self & (width - 1)) < (int)delta ? self : self - (int)delta;
}
static inline int nt_emu_from_down(unsigned delta, int width = 32)
{
    const int self = (int)nt_emu_lane();
    return (self & (width - 1)) + (int)delta >= width ? self : self + (int)delta;
}
static inline int nt_emu_from_xor(int lane_mask, int width = 32)
{
    const int self = (int)nt_emu_lane(), from = self ^ lane_mask;
    return from / width > self / width ? self : from;
}

#define NT_EMU_SHUFFLE_BY(mask, value, from) nt_emu_shuffle(__FILE__, __LINE__, mask, value, from)
#define __shfl_sync(mask, value, ...)        NT_EMU_SHUFFLE_BY(mask, value, nt_emu_from_lane(__VA_ARGS__))
#define __shfl_up_sync(mask, value, ...)     NT_EMU_SHUFFLE_BY(mask, value, nt_emu_from_up(__VA_ARGS__))
#define __shfl_down_sync(mask, value, ...)   NT_EMU_SHUFFLE_BY(mask, value, nt_emu_from_down(__VA_ARGS__))
#define __shfl_xor_sync(mask, value, ...)    NT_EMU_SHUFFLE_BY(mask, value, nt_emu_from_xor(__VA_ARGS__))

#define __threadfence()        nt_emu_fence()
#define __threadfence_block()  nt_emu_fence()
#define __threadfence_system() nt_emu_fence()
#define __trap()               nt_emu_trap()
#define __brkpt()              nt_emu_trap()

template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}
template <typename T> static inline T __ldcg(const T *p)
{
    return *p;
}
template <typename T> static inline T __ldcs(const T *p)
{
    return *p;
}
template <typename T> static inline void __stcs(T *p, T value)
{
    *p = value;
}
template <typename T> static inline void __stcg(T *p, T value)
{
    *p = value;
}

/* Atomics on integers. Those on floats are left out on purpose: their result depends on the order. */
template <typename T, typename U> static inline T atomicAdd(T *p, U value)
{
    static_assert((T)0.5 == (T)0, "atomics on floats make results depend on the order of threads");
    return __atomic_fetch_add(p, (T)value, __ATOMIC_SEQ_CST);
}
template <typename T, typename U> static inline T atomicSub(T *p, U value)
{
    return __atomic_fetch_sub(p, (T)value, __ATOMIC_SEQ_CST);
}
template <typename T, typename U> static inline T atomicAnd(T *p, U value)
{
    return __atomic_fetch_and(p, (T)value, __ATOMIC_SEQ_CST);
}
template <typename T, typename U> static inline T atomicOr(T *p, U value)
{
    return __atomic_fetch_or(p, (T)value, __ATOMIC_SEQ_CST);
}
template <typename T, typename U> static inline T atomicExch(T *p, U value)
{
    return __atomic_exchange_n(p, (T)value, __ATOMIC_SEQ_CST);
}
template <typename T, typename U, typename V> static inline T atomicCAS(T *p, U expected, V value)
{
    T old = (T)expected;
    __atomic_compare_exchange_n(p, &old, (T)value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return old;
}
template <typename T, typename U> static inline T atomicMin(T *p, U value)
{
    T old = __atomic_load_n(p, __ATOMIC_SEQ_CST);
    while ((T)value < old &&
           !__atomic_compare_exchange_n(p, &old, (T)value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    return old;
}
template <typename T, typename U> static inline T atomicMax(T *p, U value)
{
    T old = __atomic_load_n(p, __ATOMIC_SEQ_CST);
    while (old < (T)value &&
           !__atomic_compare_exchange_n(p, &old, (T)value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    return old;
}

#define NT_EMU_MAKE(name, scalar)                                                                            \
    static inline name##1 make_##name##1(scalar x)                                                           \
    {                                                                                                        \
        return name##1 {x};                                                                                  \
    }                                                                                                        \
    static inline name##2 make_##name##2(scalar x, scalar y)                                                 \
    {                                                                                                        \
        return name##2 {x, y};                                                                               \
    }                                                                                                        \
    static inline name##3 make_##name##3(scalar x, scalar y, scalar z)                                       \
    {                                                                                                        \
        return name##3 {x, y, z};                                                                            \
    }                                                                                                        \
    static inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w)                             \
    {                                                                                                        \
        return name##4 {x, y, z, w};                                                                         \
    }
NT_EMU_MAKE(char, signed char)
NT_EMU_MAKE(uchar, unsigned char)
NT_EMU_MAKE(short, short)
NT_EMU_MAKE(ushort, unsigned short)
NT_EMU_MAKE(int, int)
NT_EMU_MAKE(uint, unsigned int)
NT_EMU_MAKE(longlong, long long)
NT_EMU_MAKE(ulonglong, unsigned long long)
NT_EMU_MAKE(float, float)
NT_EMU_MAKE(double, double)
#undef NT_EMU_MAKE

#endif
