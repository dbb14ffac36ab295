/* Ways in which every operation of cuda is compared with ref: float32 and bfloat16, aligned and not, in
 * place, in inference, and a second time for the same bits. */
#ifndef NT_TESTS_CUDA_CASES_H
#define NT_TESTS_CUDA_CASES_H

#include "backend_cases.h"

/* One or two roundings to float, and constants rounded to float. */
#define ROUNDING 3e-7
/* Float functions of the device's library (two or three units in the last place), then a few operations. */
#define FUNCTIONS 2e-6
/* Float sums of up to a few thousand terms of order 1. */
#define SUMS 1e-5

/* bfloat16 has 8 bits, so its values between 1 and 2 are 2^-7 apart: a result rounded once is off by 2^-8 of
 * itself at most, so by 2^-8 of the largest. */
#define BF16_ONCE 0x1p-8
/* Rounded, then a bias added and rounded again; or computed from a factor that was rounded once. The sum of
 * two such errors, and a tenth for values that lie between. */
#define BF16_TWICE (2.2 * BF16_ONCE)

/* Float32 and bfloat16, aligned and off by one element. `spec.rounding` is for bfloat16. */
static inline void check_types(pair_spec spec)
{
    spec.backend = "cuda";
    spec.twice = true;
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (size_t shift = 0; shift < 2; shift++) {
            spec.precision = bf16 ? NT_PRECISION_BF16 : NT_PRECISION_FP32;
            spec.shift = shift;
            pair_check(&spec);
        }
}

/* The same as it is, in place, and in inference. */
static inline void check_all_ways(pair_spec spec)
{
    check_types(spec);
    spec.in_place = true;
    check_types(spec);
    spec.inference = true;
    check_types(spec);
}

#endif
