/* Resizing, channel order, checks and statistics of samples: plain loops over one sample or one batch.
 *
 * Resizing is separable: each axis has a table that says which source pixels a target pixel is made of and
 * with what weights, and area average and linear interpolation differ in that table only. Rows first, into a
 * float plane, then columns. Statistics over uint8 are integers, so they depend on nothing but the data. */
#include "datasets/transform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- resizing --- */

/* One axis: target pixel i is sum over k < n_taps[i] of weight[i * max_taps + k] * source[first[i] + k]. */
typedef struct axis {
    int64_t n_in, n_out, max_taps;
    int64_t *first, *n_taps;
    float *weight;
} axis;

struct nt_resize {
    axis row, column;
    float *half; /* (height, new_width) */
};

/* Target pixel i covers [i, i + 1) * n_in / n_out of the source. */
static void set_area(axis *a, int64_t i)
{
    double ratio = (double)a->n_in / (double)a->n_out;
    double begin = (double)i * ratio, end = (double)(i + 1) * ratio;
    int64_t first = (int64_t)begin, n = 0;
    for (int64_t j = first; j < a->n_in && (double)j < end && n < a->max_taps; j++, n++) {
        double low = begin > (double)j ? begin : (double)j;
        double high = end < (double)(j + 1) ? end : (double)(j + 1);
        a->weight[i * a->max_taps + n] = (float)((high - low) / ratio);
    }
    a->first[i] = first;
    a->n_taps[i] = n;
}

/* Between the centres of the two nearest source pixels; the border pixel goes on for ever. */
static void set_linear(axis *a, int64_t i)
{
    double at = ((double)i + 0.5) * (double)a->n_in / (double)a->n_out - 0.5;
    if (at < 0) at = 0;
    int64_t first = (int64_t)at;
    bool last = first >= a->n_in - 1;
    float part = last ? 0 : (float)(at - (double)first);
    a->first[i] = last ? a->n_in - 1 : first;
    a->n_taps[i] = last ? 1 : 2;
    a->weight[i * a->max_taps] = 1 - part;
    a->weight[i * a->max_taps + 1] = part;
}

static nt_status axis_init(axis *a, int64_t n_in, int64_t n_out)
{
    *a = (axis){.n_in = n_in, .n_out = n_out, .max_taps = n_in / n_out + 2};
    a->first = calloc((size_t)n_out, sizeof *a->first);
    a->n_taps = calloc((size_t)n_out, sizeof *a->n_taps);
    a->weight = calloc((size_t)(n_out * a->max_taps), sizeof *a->weight);
    NT_CHECK_ALLOC(a->first && a->n_taps && a->weight, (size_t)(n_out * a->max_taps) * sizeof *a->weight);
    for (int64_t i = 0; i < n_out; i++)
        if (n_out < n_in)
            set_area(a, i);
        else
            set_linear(a, i);
    return NT_OK;
}

static void axis_free(axis *a)
{
    free(a->first);
    free(a->n_taps);
    free(a->weight);
}

nt_status nt_resize_create(nt_resize **out, int64_t height, int64_t width, int64_t new_height,
                           int64_t new_width)
{
    nt_status status;
    *out = NULL;
    const int64_t limit = 1 << 20;
    NT_CHECK(height <= limit && width <= limit && new_height <= limit && new_width <= limit, NT_ERR_CONFIG,
             "cannot resize %lldx%lld to %lldx%lld: sides go up to %lld", (long long)height, (long long)width,
             (long long)new_height, (long long)new_width, (long long)limit);
    nt_resize *resize = calloc(1, sizeof *resize);
    NT_CHECK_ALLOC(resize, sizeof *resize);
    NT_TRY_GOTO(status, fail, axis_init(&resize->row, width, new_width));
    NT_TRY_GOTO(status, fail, axis_init(&resize->column, height, new_height));
    resize->half = malloc((size_t)(height * new_width) * sizeof *resize->half);
    if (!resize->half) {
        status = nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory for resizing");
        goto fail;
    }
    *out = resize;
    return NT_OK;
fail:
    nt_resize_destroy(resize);
    return status;
}

void nt_resize_destroy(nt_resize *resize)
{
    if (!resize) return;
    axis_free(&resize->row);
    axis_free(&resize->column);
    free(resize->half);
    free(resize);
}

/* One source row to new_width floats. */
static void resize_row(const axis *a, float *dst, const void *src, nt_dtype dtype)
{
    const uint8_t *bytes = src;
    const float *floats = src;
    for (int64_t i = 0; i < a->n_out; i++) {
        const float *weight = a->weight + i * a->max_taps;
        int64_t first = a->first[i];
        float sum = 0;
        for (int64_t k = 0; k < a->n_taps[i]; k++)
            sum += weight[k] * (dtype == NT_U8 ? (float)bytes[first + k] : floats[first + k]);
        dst[i] = sum;
    }
}

/* Target row i out of the half-way plane. */
static void resize_columns(const nt_resize *r, int64_t i, void *dst, nt_dtype dtype)
{
    const axis *a = &r->column;
    int64_t width = r->row.n_out;
    const float *weight = a->weight + i * a->max_taps, *src = r->half + a->first[i] * width;
    for (int64_t j = 0; j < width; j++) {
        float sum = 0;
        for (int64_t k = 0; k < a->n_taps[i]; k++)
            sum += weight[k] * src[k * width + j];
        if (dtype == NT_U8)
            ((uint8_t *)dst)[i * width + j] = (uint8_t)(sum + 0.5f > 255 ? 255 : sum + 0.5f);
        else
            ((float *)dst)[i * width + j] = sum;
    }
}

void nt_resize_run(nt_resize *r, void *dst, const void *src, int64_t n_planes, nt_dtype dtype)
{
    int64_t height = r->column.n_in, width = r->row.n_in, new_width = r->row.n_out;
    size_t elem = nt_dtype_bytes(dtype);
    for (int64_t p = 0; p < n_planes; p++) {
        const char *from = (const char *)src + (size_t)(p * height * width) * elem;
        char *to = (char *)dst + (size_t)(p * r->column.n_out * new_width) * elem;
        for (int64_t y = 0; y < height; y++)
            resize_row(&r->row, r->half + y * new_width, from + (size_t)(y * width) * elem, dtype);
        for (int64_t y = 0; y < r->column.n_out; y++)
            resize_columns(r, y, to, dtype);
    }
}

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
