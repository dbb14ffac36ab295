#include "core/rng.h"

#include <math.h>

void nt_rng_normal(uint32_t a, uint32_t b, double out[2])
{
    double u = ((double)a + 1.0) * 0x1p-32; /* in (0, 1]: the logarithm is finite */
    double v = (double)b * 0x1p-32;
    double radius = sqrt(-2.0 * log(u)), angle = 6.283185307179586476925 * v;
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}
