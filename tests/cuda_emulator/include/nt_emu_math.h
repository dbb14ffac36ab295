/* Device math of the emulated CUDA runtime that <math.h> lacks: rounding-mode intrinsics, fast approximations
 * (computed exactly here), bit casts, bit counts, min and max. A test double. */
#ifndef NT_EMU_MATH_H
#define NT_EMU_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

template <typename To, typename From> static inline To nt_emu_bits(From from)
{
    static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

static inline int __float_as_int(float x)
{
    return nt_emu_bits<int>(x);
}
static inline unsigned __float_as_uint(float x)
{
    return nt_emu_bits<unsigned>(x);
}
static inline float __int_as_float(int x)
{
    return nt_emu_bits<float>(x);
}
static inline float __uint_as_float(unsigned x)
{
    return nt_emu_bits<float>(x);
}
static inline long long __double_as_longlong(double x)
{
    return nt_emu_bits<long long>(x);
}
static inline double __longlong_as_double(long long x)
{
    return nt_emu_bits<double>(x);
}

static inline float rsqrtf(float x)
{
    return (float)(1.0 / sqrt((double)x));
}
static inline double rsqrt(double x)
{
    return 1.0 / sqrt(x);
}
static inline float __frsqrt_rn(float x)
{
    return rsqrtf(x);
}
/* The C library declares functions of these names too, so they are macros here. */
#define __expf(x)    expf(x)
#define __exp10f(x)  powf(10.0f, x)
#define __logf(x)    logf(x)
#define __log2f(x)   log2f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x)    sinf(x)
#define __cosf(x)    cosf(x)
#define __tanhf(x)   tanhf(x)
static inline float __fdividef(float x, float y)
{
    return x / y;
}
static inline float __fdiv_rn(float x, float y)
{
    return x / y;
}
static inline float __frcp_rn(float x)
{
    return 1.0f / x;
}
static inline float __fadd_rn(float x, float y)
{
    return x + y;
}
static inline float __fsub_rn(float x, float y)
{
    return x - y;
}
static inline float __fmul_rn(float x, float y)
{
    return x * y;
}
static inline float __fmaf_rn(float x, float y, float z)
{
    return fmaf(x, y, z);
}
static inline float __fsqrt_rn(float x)
{
    return sqrtf(x);
}
static inline double __dadd_rn(double x, double y)
{
    return x + y;
}
static inline double __dsub_rn(double x, double y)
{
    return x - y;
}
static inline double __dmul_rn(double x, double y)
{
    return x * y;
}
static inline double __ddiv_rn(double x, double y)
{
    return x / y;
}
static inline double __fma_rn(double x, double y, double z)
{
    return fma(x, y, z);
}
static inline double __dsqrt_rn(double x)
{
    return sqrt(x);
}
static inline float __saturatef(float x)
{
    return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; /* NaN gives 0, as on the device */
}

/* Conversions saturate and turn NaN into 0, as on the device. */
static inline int __float2int_rn(float x)
{
    return x != x                ? 0
           : x >= 2147483648.0f  ? 2147483647
           : x <= -2147483648.0f ? -2147483647 - 1
                                 : (int)rintf(x);
}
static inline int __float2int_rz(float x)
{
    return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x <= -2147483648.0f ? -2147483647 - 1 : (int)x;
}
static inline float __int2float_rn(int x)
{
    return (float)x;
}
static inline float __uint2float_rn(unsigned x)
{
    return (float)x;
}
static inline float __double2float_rn(double x)
{
    return (float)x;
}

static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline int __clzll(long long x)
{
    return x ? __builtin_clzll((unsigned long long)x) : 64;
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
static inline unsigned __umulhi(unsigned x, unsigned y)
{
    return (unsigned)(((unsigned long long)x * y) >> 32);
}
static inline int __mulhi(int x, int y)
{
    return (int)(((long long)x * y) >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long x, unsigned long long y)
{
    return (unsigned long long)(((unsigned __int128)x * y) >> 64);
}

/* min and max of the device are overloads; for floats NaN loses against a number, as in fminf. */
#define NT_EMU_MIN_MAX(T)                                                                                    \
    static inline T min(T x, T y)                                                                            \
    {                                                                                                        \
        return y < x ? y : x;                                                                                \
    }                                                                                                        \
    static inline T max(T x, T y)                                                                            \
    {                                                                                                        \
        return x < y ? y : x;                                                                                \
    }
NT_EMU_MIN_MAX(int)
NT_EMU_MIN_MAX(unsigned)
NT_EMU_MIN_MAX(long)
NT_EMU_MIN_MAX(unsigned long)
NT_EMU_MIN_MAX(long long)
NT_EMU_MIN_MAX(unsigned long long)
#undef NT_EMU_MIN_MAX
static inline float min(float x, float y)
{
    return fminf(x, y);
}
static inline float max(float x, float y)
{
    return fmaxf(x, y);
}
static inline double min(double x, double y)
{
    return fmin(x, y);
}
static inline double max(double x, double y)
{
    return fmax(x, y);
}

#endif
