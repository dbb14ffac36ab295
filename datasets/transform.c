/* Channel order, checks and statistics of samples: plain loops over one sample or one batch. Statistics over
 * uint8 are integers, so they depend on nothing but the data. */
#include "datasets/transform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- layout --- */

void nt_hwc_to_chw(void *dst, const void *src, int64_t n_pixels, int64_t n_channels, size_t elem_bytes)
{
    for (int64_t c = 0; c < n_channels; c++)
        for (int64_t i = 0; i < n_pixels; i++)
            if (elem_bytes == 1)
                ((uint8_t *)dst)[c * n_pixels + i] = ((const uint8_t *)src)[i * n_channels + c];
            else
                ((float *)dst)[c * n_pixels + i] = ((const float *)src)[i * n_channels + c];
}

/* --- values --- */

int64_t nt_values_check(float *x, int64_t n, int64_t *n_denormal)
{
    uint32_t worst = 0, odd = 0;
    for (int64_t i = 0; i < n; i++) { /* the usual case, without branches: nothing to complain about */
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffffu;
        worst = bits > worst ? bits : worst;
        odd |= (uint32_t)(bits - 1 < 0x007fffffu);
    }
    for (int64_t i = 0; worst >= 0x7f800000u && i < n; i++)
        if (!isfinite(x[i])) return i;
    for (int64_t i = 0; odd && i < n; i++)
        if (fpclassify(x[i]) == FP_SUBNORMAL) {
            x[i] = 0;
            ++*n_denormal;
        }
    return -1;
}

/* --- statistics --- */

void nt_stats_init(nt_stats *stats, const nt_sample_spec *spec)
{
    memset(stats, 0, sizeof *stats);
    stats->dtype = spec->x_dtype;
    stats->n_channels = spec->x.dim[0] <= NT_MAX_CHANNELS ? spec->x.dim[0] : 1;
    stats->n_inner = nt_shape_elems(spec->x) / stats->n_channels;
}

static void add_u8(nt_stats *stats, int64_t c, const uint8_t *x)
{
    uint64_t sum = 0, square = 0;
    for (int64_t i = 0; i < stats->n_inner; i++) {
        sum += x[i];
        square += (uint32_t)x[i] * x[i];
    }
    stats->sum_u8[c] += sum; /* 2^40 values at most: below 2^56 */
    stats->square_u8[c] += square;
}

static void add_f32(nt_stats *stats, int64_t c, const float *x)
{
    if (stats->n == 0) stats->origin[c] = x[0];
    double origin = stats->origin[c], sum = 0, square = 0;
    for (int64_t i = 0; i < stats->n_inner; i++) {
        double d = x[i] - origin;
        sum += d;
        square += d * d;
    }
    stats->sum[c] += sum;
    stats->square[c] += square;
}

void nt_stats_add(nt_stats *stats, const void *x, int64_t n)
{
    for (int64_t s = 0; s < n; s++, stats->n++)
        for (int64_t c = 0; c < stats->n_channels; c++) {
            int64_t at = (s * stats->n_channels + c) * stats->n_inner;
            if (stats->dtype == NT_U8)
                add_u8(stats, c, (const uint8_t *)x + at);
            else
                add_f32(stats, c, (const float *)x + at);
        }
}

void nt_input_normalize(nt_input_options *in, const double *mean, int n_mean, const double *std, int n_std,
                        double factor)
{
    in->n_channels = n_mean > n_std ? n_mean : n_std;
    for (int c = 0; c < in->n_channels; c++) {
        in->mean[c] = n_mean ? mean[n_mean == 1 ? 0 : c] * factor : 0;
        in->inv_std[c] = n_std ? 1 / (std[n_std == 1 ? 0 : c] * factor) : 1;
    }
}

void nt_stats_result(const nt_stats *stats, double scale, double *mean, double *std)
{
    double n = (double)(stats->n * stats->n_inner);
    for (int64_t c = 0; c < stats->n_channels; c++) {
        double m = stats->sum[c] / n, variance = stats->square[c] / n - m * m;
        if (stats->dtype == NT_U8) { /* n S2 - S1^2 in integers: nothing cancels */
            unsigned __int128 count = (unsigned __int128)(stats->n * stats->n_inner), s = stats->sum_u8[c];
            m = (double)stats->sum_u8[c] / n;
            variance = (double)(count * stats->square_u8[c] - s * s) / (n * n);
        }
        mean[c] = (stats->origin[c] + m) * scale;
        std[c] = sqrt(variance > 0 ? variance : 0) * scale;
    }
}
