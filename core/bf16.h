/* bfloat16: the upper half of a float32. Eight bits of mantissa with the hidden one, the exponents of
 * float32.
 *
 * Rounding is to the nearest value, ties to the even one, as the devices do it. It is done in integers:
 * adding half of the lower part carries into the upper one exactly where rounding up is due, and past the
 * largest finite value into infinity. A NaN stays one (its payload might lie in the lower half alone: it is
 * made quiet). */
#ifndef NT_CORE_BF16_H
#define NT_CORE_BF16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t nt_bf16;

static inline float nt_bf16_to_float(nt_bf16 x)
{
    const uint32_t bits = (uint32_t)x << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static inline nt_bf16 nt_bf16_from_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) return (nt_bf16)(bits >> 16 | 0x40);
    return (nt_bf16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* The nearest value that bfloat16 has. */
static inline float nt_bf16_round(float x)
{
    return nt_bf16_to_float(nt_bf16_from_float(x));
}

#endif
