/* Emulator of CUDA: the bfloat16 type and its conversions. A test double, written from the public
 * documentation: names and results as on the device, on one thread of the host.
 *
 * A bfloat16 is the upper half of a float32. Conversions from float32 round to the nearest, ties to even,
 * unless the name says otherwise; every NaN becomes 0x7fff, the one NaN that the device gives. Arithmetic is
 * done in float32 and rounded once, which is exact for + - * and correctly rounded for / (24 bits are more
 * than twice 8 plus two). C sees only the raw type, as from the original header; kernels are C++. */
#ifndef NT_EMU_CUDA_BF16_H
#define NT_EMU_CUDA_BF16_H

#include <cuda_runtime.h>

typedef struct __attribute__((aligned(2))) __nv_bfloat16_raw {
    unsigned short x;
} __nv_bfloat16_raw;

typedef struct __attribute__((aligned(4))) __nv_bfloat162_raw {
    unsigned short x;
    unsigned short y;
} __nv_bfloat162_raw;

#ifdef __cplusplus

#include <string.h>

#define NT_EMU_BF16 __host__ __device__ static inline

/* The bits of a float32 and back; memcpy is how C++ spells it, the compiler makes it a move. */
NT_EMU_BF16 unsigned nt_emu_bits(float f)
{
    unsigned bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

NT_EMU_BF16 float nt_emu_float(unsigned bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

NT_EMU_BF16 bool nt_emu_bits_nan(unsigned bits)
{
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

NT_EMU_BF16 unsigned short nt_emu_bf16_rn(float f)
{
    unsigned bits = nt_emu_bits(f);
    if (nt_emu_bits_nan(bits)) return 0x7fff;
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* Truncated: towards zero; away from zero if `away` and something was cut off. */
NT_EMU_BF16 unsigned short nt_emu_bf16_cut(float f, bool away)
{
    unsigned bits = nt_emu_bits(f);
    if (nt_emu_bits_nan(bits)) return 0x7fff;
    return (unsigned short)((bits >> 16) + (away && (bits & 0xffffu) ? 1u : 0u));
}

struct __attribute__((aligned(2))) __nv_bfloat16 {
  protected:
    unsigned short __x;

  public:
    __nv_bfloat16() = default; /* uninitialised, so that __shared__ arrays need no constructor */
    __host__ __device__ __nv_bfloat16(const __nv_bfloat16_raw &raw) : __x(raw.x)
    {
    }
    __host__ __device__ __nv_bfloat16(float f) : __x(nt_emu_bf16_rn(f))
    {
    }
    __host__ __device__ __nv_bfloat16 &operator=(const __nv_bfloat16_raw &raw)
    {
        __x = raw.x;
        return *this;
    }
    __host__ __device__ __nv_bfloat16 &operator=(float f)
    {
        __x = nt_emu_bf16_rn(f);
        return *this;
    }
    __host__ __device__ operator __nv_bfloat16_raw() const
    {
        __nv_bfloat16_raw raw = {__x};
        return raw;
    }
    __host__ __device__ operator float() const
    {
        return nt_emu_float((unsigned)__x << 16);
    }
};

typedef __nv_bfloat16 nv_bfloat16;

NT_EMU_BF16 unsigned short __bfloat16_as_ushort(const __nv_bfloat16 h)
{
    return static_cast<__nv_bfloat16_raw>(h).x;
}

NT_EMU_BF16 short __bfloat16_as_short(const __nv_bfloat16 h)
{
    return (short)__bfloat16_as_ushort(h);
}

NT_EMU_BF16 __nv_bfloat16 __ushort_as_bfloat16(const unsigned short bits)
{
    __nv_bfloat16_raw raw = {bits};
    return __nv_bfloat16(raw);
}

NT_EMU_BF16 __nv_bfloat16 __short_as_bfloat16(const short bits)
{
    return __ushort_as_bfloat16((unsigned short)bits);
}

/* Conversions from float32. */
NT_EMU_BF16 __nv_bfloat16 __float2bfloat16_rn(const float f)
{
    return __ushort_as_bfloat16(nt_emu_bf16_rn(f));
}

NT_EMU_BF16 __nv_bfloat16 __float2bfloat16(const float f)
{
    return __float2bfloat16_rn(f);
}

NT_EMU_BF16 __nv_bfloat16 __float2bfloat16_rz(const float f)
{
    return __ushort_as_bfloat16(nt_emu_bf16_cut(f, false));
}

NT_EMU_BF16 __nv_bfloat16 __float2bfloat16_ru(const float f)
{
    return __ushort_as_bfloat16(nt_emu_bf16_cut(f, !(nt_emu_bits(f) >> 31)));
}

NT_EMU_BF16 __nv_bfloat16 __float2bfloat16_rd(const float f)
{
    return __ushort_as_bfloat16(nt_emu_bf16_cut(f, nt_emu_bits(f) >> 31));
}

/* From float64, rounded once: the way over float32 must not round to a tie that was none, so what it cut off
 * is kept as the last bit (round to odd). */
NT_EMU_BF16 __nv_bfloat16 __double2bfloat16(const double d)
{
    float f = (float)d;
    unsigned bits = nt_emu_bits(f);
    bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    if (finite && (double)f != d) {
        bool too_big = (d > 0) ? (double)f > d : (double)f < d;
        bits = (too_big ? bits - 1u : bits) | 1u;
    }
    return __float2bfloat16_rn(nt_emu_float(bits));
}

NT_EMU_BF16 float __bfloat162float(const __nv_bfloat16 h)
{
    return static_cast<float>(h);
}

/* Arithmetic and comparison of one value. */
NT_EMU_BF16 __nv_bfloat16 __hadd(const __nv_bfloat16 a, const __nv_bfloat16 b)
{
    return __float2bfloat16_rn(__bfloat162float(a) + __bfloat162float(b));
}

NT_EMU_BF16 __nv_bfloat16 __hsub(const __nv_bfloat16 a, const __nv_bfloat16 b)
{
    return __float2bfloat16_rn(__bfloat162float(a) - __bfloat162float(b));
}

NT_EMU_BF16 __nv_bfloat16 __hmul(const __nv_bfloat16 a, const __nv_bfloat16 b)
{
    return __float2bfloat16_rn(__bfloat162float(a) * __bfloat162float(b));
}

NT_EMU_BF16 __nv_bfloat16 __hdiv(const __nv_bfloat16 a, const __nv_bfloat16 b)
{
    return __float2bfloat16_rn(__bfloat162float(a) / __bfloat162float(b));
}

NT_EMU_BF16 __nv_bfloat16 __hneg(const __nv_bfloat16 a)
{
    return __float2bfloat16_rn(-__bfloat162float(a));
}

NT_EMU_BF16 __nv_bfloat16 __habs(const __nv_bfloat16 a)
{
    return __ushort_as_bfloat16((unsigned short)(__bfloat16_as_ushort(a) & 0x7fffu));
}

NT_EMU_BF16 bool __hisnan(const __nv_bfloat16 a)
{
    return (__bfloat16_as_ushort(a) & 0x7fffu) > 0x7f80u;
}

NT_EMU_BF16 int __hisinf(const __nv_bfloat16 a)
{
    if (__bfloat16_as_ushort(a) == 0x7f80u) return 1;
    return __bfloat16_as_ushort(a) == 0xff80u ? -1 : 0;
}

/* The larger; a NaN gives way to a number; +0 is larger than -0. */
NT_EMU_BF16 __nv_bfloat16 __hmax(const __nv_bfloat16 a, const __nv_bfloat16 b)
{
    if (__hisnan(a)) return __hisnan(b) ? __ushort_as_bfloat16(0x7fff) : b;
    if (__hisnan(b)) return a;
    float x = a, y = b;
    return x == y ? (__bfloat16_as_ushort(a) >> 15 ? b : a) : (x > y ? a : b);
}

NT_EMU_BF16 __nv_bfloat16 __hmin(const __nv_bfloat16 a, const __nv_bfloat16 b)
{
    if (__hisnan(a)) return __hisnan(b) ? __ushort_as_bfloat16(0x7fff) : b;
    if (__hisnan(b)) return a;
    float x = a, y = b;
    return x == y ? (__bfloat16_as_ushort(a) >> 15 ? a : b) : (x < y ? a : b);
}

#define NT_EMU_BF16_COMPARE(name, op)                                                                        \
    NT_EMU_BF16 bool name(const __nv_bfloat16 a, const __nv_bfloat16 b)                                      \
    {                                                                                                        \
        return __bfloat162float(a) op __bfloat162float(b);                                                   \
    }
NT_EMU_BF16_COMPARE(__heq, ==)
NT_EMU_BF16_COMPARE(__hlt, <)
NT_EMU_BF16_COMPARE(__hle, <=)
NT_EMU_BF16_COMPARE(__hgt, >)
NT_EMU_BF16_COMPARE(__hge, >=)
#undef NT_EMU_BF16_COMPARE

/* As on the device not equal is an ordered comparison here: false if one is a NaN. */
NT_EMU_BF16 bool __hne(const __nv_bfloat16 a, const __nv_bfloat16 b)
{
    return !__hisnan(a) && !__hisnan(b) && __bfloat162float(a) != __bfloat162float(b);
}

#define NT_EMU_BF16_OPERATOR(op, function)                                                                   \
    NT_EMU_BF16 __nv_bfloat16 operator op(const __nv_bfloat16 &a, const __nv_bfloat16 &b)                    \
    {                                                                                                        \
        return function(a, b);                                                                               \
    }                                                                                                        \
    NT_EMU_BF16 __nv_bfloat16 &operator op##=(__nv_bfloat16 &a, const __nv_bfloat16 &b)                      \
    {                                                                                                        \
        return a = function(a, b);                                                                           \
    }
NT_EMU_BF16_OPERATOR(+, __hadd)
NT_EMU_BF16_OPERATOR(-, __hsub)
NT_EMU_BF16_OPERATOR(*, __hmul)
NT_EMU_BF16_OPERATOR(/, __hdiv)
#undef NT_EMU_BF16_OPERATOR

NT_EMU_BF16 __nv_bfloat16 operator-(const __nv_bfloat16 &a)
{
    return __hneg(a);
}

NT_EMU_BF16 bool operator==(const __nv_bfloat16 &a, const __nv_bfloat16 &b)
{
    return __heq(a, b);
}

NT_EMU_BF16 bool operator!=(const __nv_bfloat16 &a, const __nv_bfloat16 &b)
{
    return !__heq(a, b);
}

NT_EMU_BF16 bool operator<(const __nv_bfloat16 &a, const __nv_bfloat16 &b)
{
    return __hlt(a, b);
}

NT_EMU_BF16 bool operator>(const __nv_bfloat16 &a, const __nv_bfloat16 &b)
{
    return __hgt(a, b);
}

NT_EMU_BF16 bool operator<=(const __nv_bfloat16 &a, const __nv_bfloat16 &b)
{
    return __hle(a, b);
}

NT_EMU_BF16 bool operator>=(const __nv_bfloat16 &a, const __nv_bfloat16 &b)
{
    return __hge(a, b);
}

/* Two values in one aligned word. */
struct __attribute__((aligned(4))) __nv_bfloat162 {
    __nv_bfloat16 x;
    __nv_bfloat16 y;

    __nv_bfloat162() = default;
    __host__ __device__ __nv_bfloat162(const __nv_bfloat16 &a, const __nv_bfloat16 &b) : x(a), y(b)
    {
    }
    __host__ __device__ __nv_bfloat162(const __nv_bfloat162_raw &raw)
        : x(__ushort_as_bfloat16(raw.x)), y(__ushort_as_bfloat16(raw.y))
    {
    }
    __host__ __device__ operator __nv_bfloat162_raw() const
    {
        __nv_bfloat162_raw raw = {__bfloat16_as_ushort(x), __bfloat16_as_ushort(y)};
        return raw;
    }
};

typedef __nv_bfloat162 nv_bfloat162;

NT_EMU_BF16 __nv_bfloat162 __halves2bfloat162(const __nv_bfloat16 a, const __nv_bfloat16 b)
{
    return __nv_bfloat162(a, b);
}

NT_EMU_BF16 __nv_bfloat162 __bfloat162bfloat162(const __nv_bfloat16 a)
{
    return __nv_bfloat162(a, a);
}

NT_EMU_BF16 __nv_bfloat162 __floats2bfloat162_rn(const float a, const float b)
{
    return __nv_bfloat162(__float2bfloat16_rn(a), __float2bfloat16_rn(b));
}

NT_EMU_BF16 __nv_bfloat162 __float2bfloat162_rn(const float a)
{
    return __floats2bfloat162_rn(a, a);
}

NT_EMU_BF16 __nv_bfloat162 __float22bfloat162_rn(const float2 a)
{
    return __floats2bfloat162_rn(a.x, a.y);
}

NT_EMU_BF16 __nv_bfloat16 __low2bfloat16(const __nv_bfloat162 a)
{
    return a.x;
}

NT_EMU_BF16 __nv_bfloat16 __high2bfloat16(const __nv_bfloat162 a)
{
    return a.y;
}

NT_EMU_BF16 float __low2float(const __nv_bfloat162 a)
{
    return __bfloat162float(a.x);
}

NT_EMU_BF16 float __high2float(const __nv_bfloat162 a)
{
    return __bfloat162float(a.y);
}

NT_EMU_BF16 float2 __bfloat1622float2(const __nv_bfloat162 a)
{
    float2 pair;
    pair.x = __bfloat162float(a.x);
    pair.y = __bfloat162float(a.y);
    return pair;
}

NT_EMU_BF16 __nv_bfloat162 __hadd2(const __nv_bfloat162 a, const __nv_bfloat162 b)
{
    return __nv_bfloat162(__hadd(a.x, b.x), __hadd(a.y, b.y));
}

NT_EMU_BF16 __nv_bfloat162 __hsub2(const __nv_bfloat162 a, const __nv_bfloat162 b)
{
    return __nv_bfloat162(__hsub(a.x, b.x), __hsub(a.y, b.y));
}

NT_EMU_BF16 __nv_bfloat162 __hmul2(const __nv_bfloat162 a, const __nv_bfloat162 b)
{
    return __nv_bfloat162(__hmul(a.x, b.x), __hmul(a.y, b.y));
}

#undef NT_EMU_BF16

#endif /* __cplusplus */
#endif
