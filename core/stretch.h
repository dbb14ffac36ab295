/* Stretches of flat arrays that one call works on: on a device a launch costs more than most of them. */
#ifndef NT_CORE_STRETCH_H
#define NT_CORE_STRETCH_H

#include <stdint.h>

typedef struct nt_stretch {
    int64_t begin, n; /* elements */
    int64_t other;    /* see the call: which sum the range goes to, which ratio it has ... */
} nt_stretch;

#endif
