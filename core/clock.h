/* Seconds for measuring durations: monotonic, from an arbitrary beginning. */
#ifndef NT_CORE_CLOCK_H
#define NT_CORE_CLOCK_H

#include <time.h>

static inline double nt_clock_s(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail: the clock exists and the pointer is good */
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
