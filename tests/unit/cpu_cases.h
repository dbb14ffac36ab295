/* Ways in which every operation of cpu is compared with ref, and to what tolerances. */
#ifndef NT_TESTS_CPU_CASES_H
#define NT_TESTS_CPU_CASES_H

#include "tests/unit/backend_cases.h"

/* one or two roundings to float */
#define ROUNDING 3e-7
/* float sums of up to a few thousand terms of order 1 */
#define SUMS 3e-6
/* our exponential: 4e-7, then a few operations */
#define EXPONENTIAL 2e-6

/* Runs a case as it is, in place, and in inference. */
static inline void check_all_ways(pair_spec spec)
{
    pair_check(&spec);
    spec.in_place = true;
    pair_check(&spec);
    spec.inference = true;
    pair_check(&spec);
    spec.in_place = false;
    pair_check(&spec);
}

#endif
