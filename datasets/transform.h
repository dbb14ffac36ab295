/* What is done to samples between the file and the batch: layout, checks of values, statistics. What is done
 * to images is in datasets/image.h. */
#ifndef NT_DATASETS_TRANSFORM_H
#define NT_DATASETS_TRANSFORM_H

#include "core/model.h"

/* --- layout --- */

/* (H * W, C) to (C, H * W); elem_bytes 1 or 4. */
void nt_hwc_to_chw(void *dst, const void *src, int64_t n_pixels, int64_t n_channels, size_t elem_bytes);

/* --- values --- */

/* Index of the first NaN or infinity among n floats, or -1; subnormal numbers, which slow arithmetic down a
 * hundredfold and mean nothing, become zeros and are counted into *n_denormal. */
int64_t nt_values_check(float *x, int64_t n, int64_t *n_denormal);

/* --- statistics --- */

/* Sums per channel. uint8: exact integers. float32: around the first value of the channel, in the order
 * given; the same data in the same order give the same bits. */
typedef struct nt_stats {
    nt_dtype dtype;
    int64_t n_channels, n_inner; /* of a sample; n_channels at most NT_MAX_CHANNELS */
    int64_t n;                   /* samples so far */
    uint64_t sum_u8[NT_MAX_CHANNELS], square_u8[NT_MAX_CHANNELS];
    double origin[NT_MAX_CHANNELS], sum[NT_MAX_CHANNELS], square[NT_MAX_CHANNELS];
} nt_stats;

/* For samples of spec->x; more channels than NT_MAX_CHANNELS share one statistic. */
void nt_stats_init(nt_stats *stats, const nt_sample_spec *spec);
void nt_stats_add(nt_stats *stats, const void *x, int64_t n);

/* Lists of 0, 1 or all channels' values, each times `factor`, as the mean and inv_std of an input. */
void nt_input_normalize(nt_input_options *in, const double *mean, int n_mean, const double *std, int n_std,
                        double factor);

/* Mean and standard deviation (of the population) of the stored values times `scale`; (n_channels). */
void nt_stats_result(const nt_stats *stats, double scale, double *mean, double *std);

#endif
