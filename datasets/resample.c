/* Bilinear resampling with antialias: the triangle of two source pixels to a side grows with the factor of
 * shrinking, so that every source pixel counts (Pillow's BILINEAR, torchvision's antialias = True).
 *
 * Separable: each axis has a table of weights, made anew for each window, because a random crop is of another
 * size every time. Rows first, into floats, then columns. All memory is had at create, for the largest
 * window. */
#include "datasets/image.h"

#include <math.h>
#include <stdlib.h>

#define MAX_SIDE ((int64_t)1 << 16)

/* Target i is the sum over k < n_taps[i] of weight[i * max_taps + k] * source[first[i] + k]. */
typedef struct axis {
    int64_t n_in, n_out, max_taps; /* n_in: what the table is for; 0: nothing yet */
    int64_t *first, *n_taps;
    float *weight;
} axis;

struct nt_resampler {
    int64_t max_height;
    axis row, column;
    float *half; /* (max_height, new_width) */
};

static nt_status axis_init(axis *a, int64_t max_in, int64_t n_out)
{
    int64_t support = max_in > n_out ? (max_in + n_out - 1) / n_out : 1;
    *a = (axis){.n_out = n_out, .max_taps = 2 * support + 2};
    a->first = calloc((size_t)n_out, sizeof *a->first);
    a->n_taps = calloc((size_t)n_out, sizeof *a->n_taps);
    a->weight = calloc((size_t)(n_out * a->max_taps), sizeof *a->weight);
    NT_CHECK_ALLOC(a->first && a->n_taps && a->weight, (size_t)(n_out * a->max_taps) * sizeof *a->weight);
    return NT_OK;
}

static void axis_free(axis *a)
{
    free(a->first);
    free(a->n_taps);
    free(a->weight);
}

static double triangle(double x)
{
    double height = 1 - fabs(x);
    return height > 0 ? height : 0;
}

/* Weights of one target pixel: a triangle around its centre, which adds up to 1. */
static void set_pixel(axis *a, int64_t i, int64_t n_in)
{
    double scale = (double)n_in / (double)a->n_out, support = scale > 1 ? scale : 1;
    double centre = scale * ((double)i + 0.5), sum = 0;
    int64_t first = (int64_t)(centre - support + 0.5), last = (int64_t)(centre + support + 0.5);
    if (centre - support + 0.5 < 0) first = 0;
    if (last > n_in) last = n_in;
    float *weight = a->weight + i * a->max_taps;
    for (int64_t k = first; k < last; k++)
        sum += triangle(((double)k - centre + 0.5) / support);
    for (int64_t k = first; k < last; k++)
        weight[k - first] = (float)(triangle(((double)k - centre + 0.5) / support) / sum);
    a->first[i] = first;
    a->n_taps[i] = last - first;
}

static void set_axis(axis *a, int64_t n_in)
{
    if (a->n_in == n_in) return;
    a->n_in = n_in;
    for (int64_t i = 0; i < a->n_out; i++)
        set_pixel(a, i, n_in);
}

nt_status nt_resampler_create(nt_resampler **out, int64_t max_height, int64_t max_width, int64_t new_height,
                              int64_t new_width)
{
    nt_status status;
    *out = NULL;
    NT_CHECK(
        max_height <= MAX_SIDE && max_width <= MAX_SIDE && new_height <= MAX_SIDE && new_width <= MAX_SIDE,
        NT_ERR_CONFIG, "cannot resize %lldx%lld to %lldx%lld: sides go up to %lld", (long long)max_height,
        (long long)max_width, (long long)new_height, (long long)new_width, (long long)MAX_SIDE);
    nt_resampler *r = calloc(1, sizeof *r);
    NT_CHECK_ALLOC(r, sizeof *r);
    r->max_height = max_height;
    NT_TRY_GOTO(status, fail, axis_init(&r->row, max_width, new_width));
    NT_TRY_GOTO(status, fail, axis_init(&r->column, max_height, new_height));
    size_t n_bytes = (size_t)(max_height * new_width) * sizeof *r->half;
    r->half = malloc(n_bytes);
    if (!r->half) {
        status = nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory for resizing");
        goto fail;
    }
    *out = r;
    return NT_OK;
fail:
    nt_resampler_destroy(r);
    return status;
}

void nt_resampler_destroy(nt_resampler *r)
{
    if (!r) return;
    axis_free(&r->row);
    axis_free(&r->column);
    free(r->half);
    free(r);
}

/* One source row, from the window's left edge on, to new_width floats. */
static void resample_row(const axis *a, float *dst, const nt_image *src, const void *row, int64_t left)
{
    const uint8_t *bytes = (const uint8_t *)row + left;
    const float *floats = (const float *)row + left;
    for (int64_t i = 0; i < a->n_out; i++) {
        const float *weight = a->weight + i * a->max_taps;
        const int64_t first = a->first[i], n = a->n_taps[i];
        float sum = 0;
        if (src->dtype == NT_U8)
            for (int64_t k = 0; k < n; k++)
                sum += weight[k] * (float)bytes[first + k];
        else
            for (int64_t k = 0; k < n; k++)
                sum += weight[k] * floats[first + k];
        dst[i] = sum;
    }
}

/* Target row y out of the half-way plane. */
static void resample_columns(nt_resampler *r, int64_t y, nt_image *dst, int64_t c)
{
    const axis *a = &r->column;
    const int64_t width = dst->width, n = a->n_taps[y];
    const float *weight = a->weight + y * a->max_taps, *src = r->half + a->first[y] * width;
    void *row = nt_image_row(dst, c, y);
    for (int64_t x = 0; x < width; x++) {
        float sum = 0;
        for (int64_t k = 0; k < n; k++)
            sum += weight[k] * src[k * width + x];
        if (dst->dtype == NT_U8)
            ((uint8_t *)row)[x] = (uint8_t)(sum + 0.5f > 255 ? 255 : sum + 0.5f);
        else
            ((float *)row)[x] = sum;
    }
}

void nt_resampler_run(nt_resampler *r, nt_image *dst, const nt_image *src, const nt_window *window)
{
    set_axis(&r->row, window->width);
    set_axis(&r->column, window->height);
    for (int64_t c = 0; c < dst->channels; c++) {
        for (int64_t y = 0; y < window->height; y++)
            resample_row(&r->row, r->half + y * dst->width, src, nt_image_row(src, c, window->top + y),
                         window->left);
        for (int64_t y = 0; y < dst->height; y++)
            resample_columns(r, y, dst, c);
    }
}
