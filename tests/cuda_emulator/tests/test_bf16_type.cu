/* The emulated bfloat16 type: every value, every rounding, what is no number; in kernels as in host code.
 *
 * The oracle knows nothing of bits that are cut off: it looks among all bfloat16 for the nearest one. */
#include "core/backends/cuda/launch.cuh"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include "tests/cuda_emulator/gemm.h"

#include <cmocka.h>
}
#include <cmath>
#include <cstring>
#include <cuda_bf16.h>
#include <initializer_list>

enum { N_VALUES = 65536, INFINITE = 0x7f80 };

static_assert(sizeof(__nv_bfloat16) == 2 && alignof(__nv_bfloat16) == 2, "one bfloat16");
static_assert(sizeof(__nv_bfloat162) == 4 && alignof(__nv_bfloat162) == 4, "two bfloat16");

/* From sign, exponent and mantissa, by arithmetic. */
static double value_of(unsigned bits)
{
    const int sign = bits >> 15 ? -1 : 1, exponent = bits >> 7 & 255, mantissa = bits & 127;
    if (exponent == 255) return mantissa ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, -133);
    return sign * ldexp(mantissa + 128, exponent - 134);
}

/* Largest finite value behind which infinity begins: half a step further. */
static double edge_of_infinity()
{
    return (value_of(INFINITE - 1) + ldexp(1, 128)) / 2;
}

/* Nearest, ties to even. Positive values are ordered like their bits, so the search is binary. */
static unsigned nearest(double x)
{
    if (std::isnan(x)) return 0x7fff;
    const unsigned sign = std::signbit(x) ? 0x8000 : 0;
    const double size = fabs(x);
    if (size >= edge_of_infinity()) return sign | INFINITE;
    unsigned low = 0, high = INFINITE - 1; /* value_of(low) <= size */
    while (low < high) {
        const unsigned middle = (low + high + 1) / 2;
        if (value_of(middle) <= size)
            low = middle;
        else
            high = middle - 1;
    }
    if (low == INFINITE - 1) return sign | low;
    const double down = size - value_of(low), up = value_of(low + 1) - size;
    if (down < up || (down == up && low % 2 == 0)) return sign | low;
    return sign | (low + 1);
}

static unsigned bits_of(__nv_bfloat16 h)
{
    return __bfloat16_as_ushort(h);
}

static float float_of(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void every_value_there_and_back(void **)
{
    for (unsigned bits = 0; bits < N_VALUES; bits++) {
        const __nv_bfloat16 h = __ushort_as_bfloat16((unsigned short)bits);
        const float f = __bfloat162float(h);
        const double want = value_of(bits);
        assert_true(std::isnan(want) ? std::isnan(f)
                                     : (double)f == want && std::signbit(f) == std::signbit(want));
        assert_int_equal(bits_of(__float2bfloat16(f)), std::isnan(want) ? 0x7fff : bits);
        assert_int_equal(__hisnan(h), std::isnan(want));
        assert_int_equal(__hisinf(h), std::isinf(want) ? (want > 0 ? 1 : -1) : 0);
    }
}

/* Floats around each bfloat16: exact, just off, the tie to the next and around it; and random ones. */
static void rounds_to_the_nearest(void **)
{
    static const uint32_t tails[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
    uint32_t state = 1;
    for (unsigned bits = 0; bits < N_VALUES; bits++)
        for (uint32_t tail : tails) {
            state = state * 1664525u + 1013904223u;
            for (uint32_t low : {tail, state >> 16}) {
                const float f = float_of(bits << 16 | low);
                const unsigned want = nearest((double)f);
                if (bits_of(__float2bfloat16_rn(f)) != want)
                    fail_msg("%a became %x, not %x", (double)f, bits_of(__float2bfloat16_rn(f)), want);
                assert_int_equal(emu_bf16_of(f), want);
            }
        }
}

static void other_directions(void **)
{
    for (unsigned bits = 0; bits < INFINITE; bits += 7)
        for (int minus = 0; minus < 2; minus++) {
            const float f = float_of((bits | (unsigned)minus << 15) << 16 | 0x4001);
            const double down = value_of(bits_of(__float2bfloat16_rd(f))),
                         up = value_of(bits_of(__float2bfloat16_ru(f)));
            const double inward = value_of(bits_of(__float2bfloat16_rz(f)));
            assert_true(down < (double)f && (double)f < up && inward == (minus ? up : down));
        }
    assert_int_equal(bits_of(__float2bfloat16_rz(NAN)), 0x7fff);
    assert_int_equal(bits_of(__float2bfloat16_ru(1.0f)), 0x3f80);
}

/* A double just above a tie that float32 would round onto it. */
static void doubles_are_rounded_once(void **)
{
    for (unsigned bits = 0x80; bits < INFINITE - 1; bits += 101)
        for (int sign = -1; sign <= 1; sign += 2) {
            const double tie = sign * (value_of(bits) + value_of(bits + 1)) / 2;
            for (double x : {tie, nextafter(tie, 0.0), nextafter(tie, 2 * tie), tie * (1 + 1e-9)}) {
                const unsigned want = nearest(x);
                if (bits_of(__double2bfloat16(x)) != want)
                    fail_msg("%a: %x, not %x", x, bits_of(__double2bfloat16(x)), want);
            }
        }
    assert_int_equal(bits_of(__double2bfloat16(1e300)), INFINITE);
    assert_int_equal(bits_of(__double2bfloat16(NAN)), 0x7fff);
}

/* Results of + - * / as if computed exactly and rounded once. */
static void arithmetic(void **)
{
    for (unsigned i = 0; i < N_VALUES; i += 97)
        for (unsigned j = 3; j < N_VALUES; j += 211) {
            const __nv_bfloat16 a = __ushort_as_bfloat16((unsigned short)i),
                                b = __ushort_as_bfloat16((unsigned short)j);
            const double x = value_of(i), y = value_of(j);
            if (std::isnan(x) || std::isnan(y)) {
                assert_true(__hisnan(a + b) && __hisnan(a * b) && !(a < b) && !__hne(a, b));
                continue;
            }
            /* the sum of far exponents needs more than a double's bits; float32 tells the same there */
            if (fabs(x) < 1e15 * fabs(y) && fabs(y) < 1e15 * fabs(x)) {
                assert_int_equal(bits_of(a + b), nearest(x + y));
                assert_int_equal(bits_of(a - b), nearest(x - y));
            }
            assert_int_equal(bits_of(a * b), nearest(x * y));
            assert_true((a < b) == (x < y) && (a == b) == (x == y) && (a >= b) == (x >= y));
            assert_true(value_of(bits_of(__hmax(a, b))) == fmax(x, y) &&
                        value_of(bits_of(__hmin(a, b))) == fmin(x, y));
        }
}

static void pairs(void **)
{
    const __nv_bfloat162 p = __floats2bfloat162_rn(1.5f, -2.0f);
    const float2 f = __bfloat1622float2(p);
    assert_true(f.x == 1.5f && f.y == -2.0f);
    assert_true(__low2float(p) == 1.5f && __high2float(p) == -2.0f);
    assert_true(__bfloat162float(__hadd2(p, p).y) == -4.0f && __bfloat162float(__hmul2(p, p).x) == 2.25f);
    uint32_t word;
    memcpy(&word, &p, sizeof word);
    assert_int_equal(word, 0xc0003fc0u); /* x in the low half */
}

/* Pairs in shared memory, summed in float32: as the project's kernels use the type. */
static __global__ void double_all(__nv_bfloat16 *y, const __nv_bfloat16 *x)
{
    __shared__ __nv_bfloat162 tile[32];
    const __nv_bfloat162 *in = reinterpret_cast<const __nv_bfloat162 *>(x);
    tile[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    const float2 v = __bfloat1622float2(tile[31 - threadIdx.x]);
    reinterpret_cast<__nv_bfloat162 *>(y)[31 - threadIdx.x] = __floats2bfloat162_rn(2 * v.x, 2 * v.y);
}

static void in_kernels(void **)
{
    __nv_bfloat16 host[64], *x, *y;
    for (int i = 0; i < 64; i++)
        host[i] = __float2bfloat16((float)i - 20);
    assert_int_equal(cudaMalloc(&x, sizeof host), cudaSuccess);
    assert_int_equal(cudaMalloc(&y, sizeof host), cudaSuccess);
    assert_int_equal(cudaMemcpy(x, host, sizeof host, cudaMemcpyHostToDevice), cudaSuccess);
    NT_LAUNCH(double_all, 1, 32, 0, 0, y, x);
    assert_int_equal(cudaMemcpy(host, y, sizeof host, cudaMemcpyDeviceToHost), cudaSuccess);
    for (int i = 0; i < 64; i++)
        assert_true(__bfloat162float(host[i]) == 2.0f * (float)(i - 20));
    assert_int_equal(cudaFree(x), cudaSuccess);
    assert_int_equal(cudaFree(y), cudaSuccess);
}

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_there_and_back),
        cmocka_unit_test(rounds_to_the_nearest),
        cmocka_unit_test(other_directions),
        cmocka_unit_test(doubles_are_rounded_once),
        cmocka_unit_test(arithmetic),
        cmocka_unit_test(pairs),
        cmocka_unit_test(in_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
