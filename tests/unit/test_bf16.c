/* bfloat16: every one of its values goes to float32 and back; rounding goes to the nearest of the two
 * neighbours, found in double and without the integer trick, for every pair of neighbours at the ends, around
 * the middle, and at the tie. */
#include "core/bf16.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define N_BITS 65536

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* By the definition: sign, exponent, seven bits of mantissa. */
static double value_of(nt_bf16 x)
{
    int exponent = x >> 7 & 0xff, mantissa = x & 0x7f;
    double size = exponent == 0      ? ldexp(mantissa, -133)
                  : exponent == 0xff ? (mantissa ? (double)NAN : (double)INFINITY)
                                     : ldexp(128 + mantissa, exponent - 134);
    return x & 0x8000 ? -size : size;
}

static void every_value_comes_back(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_BITS; i++) {
        nt_bf16 x = (nt_bf16)i, back = nt_bf16_from_float(nt_bf16_to_float(x));
        double want = value_of(x), got = (double)nt_bf16_to_float(x);
        assert_true(isnan(want) ? isnan(got) : got == want && !signbit(got) == !signbit(want));
        assert_int_equal(back, isnan(want) ? (x | 0x40) : x); /* a NaN becomes a quiet one */
    }
}

/* The one of two neighbours that is nearer in size, the even one of two that are as near. Beyond the largest
 * value lies 2^128 in the place of infinity (IEEE 754-2008, 4.3.1). */
static nt_bf16 nearest(nt_bf16 low, float x)
{
    nt_bf16 high = (nt_bf16)(low + 1);
    double below = fabs(value_of(low)), above = fabs(value_of(high)), size = fabs((double)x);
    if (isinf(above)) above = 0x1p128;
    if (size - below != above - size) return size - below < above - size ? low : high;
    return low & 1 ? high : low;
}

static void rounds_to_the_nearest(void **state)
{
    (void)state;
    static const uint32_t lower[] = {0, 1, 2, 0x3fff, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0x8002, 0xc000, 0xffff};
    for (uint32_t i = 0; i < N_BITS; i++) {
        if ((i & 0x7f80) == 0x7f80) continue; /* infinite or no number */
        for (size_t k = 0; k < sizeof lower / sizeof lower[0]; k++) {
            float x = from_bits(i << 16 | lower[k]);
            assert_int_equal(nt_bf16_from_float(x), nearest((nt_bf16)i, x));
            assert_true(bits_of(nt_bf16_round(x)) == (uint32_t)nearest((nt_bf16)i, x) << 16);
        }
    }
}

static void ends_of_the_range(void **state)
{
    (void)state;
    assert_true(nt_bf16_round(from_bits(0x7f7f7fff)) == from_bits(0x7f7f0000)); /* below the last tie */
    assert_true(isinf(nt_bf16_round(from_bits(0x7f7f8000)))); /* the tie: infinity is even */
    assert_true(nt_bf16_round(INFINITY) == INFINITY && nt_bf16_round(-INFINITY) == -INFINITY);
    assert_true(isnan(nt_bf16_round(NAN)));
    assert_true(isnan(nt_bf16_round(from_bits(0x7f800001)))); /* its payload is in the lower half */
    assert_true(isnan(nt_bf16_round(from_bits(0xffffffff))));
    assert_true(nt_bf16_round(1 + 0x1p-8f) == 1 && nt_bf16_round(1 + 3 * 0x1p-8f) == 1 + 0x1p-6f); /* ties */
    assert_true(signbit(nt_bf16_round(-0.0f)) && nt_bf16_round(from_bits(1)) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_comes_back),
        cmocka_unit_test(rounds_to_the_nearest),
        cmocka_unit_test(ends_of_the_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
