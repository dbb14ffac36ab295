/* Geometry of one image: windows, flips, affine maps, rectangles.
 *
 * A crop with a flip is one pass over rows: what lies inside the source is one memcpy, or one reversal eight
 * bytes at a time, and only what hangs over goes pixel by pixel. That is the augmentation that every training
 * step of a small net pays for. An affine map is looked up backwards, once a pixel for all channels. */
#include "datasets/image.h"

#include <math.h>
#include <string.h>

/* --- windows --- */

/* Where a coordinate beyond [0, n) is taken from; -1: nowhere, it is zero. */
static int64_t source_of(int64_t i, int64_t n, int padding)
{
    if (i >= 0 && i < n) return i;
    if (padding == NT_PADDING_ZEROS) return -1;
    if (padding == NT_PADDING_EDGE) return i < 0 ? 0 : n - 1;
    return i < 0 ? -i : 2 * (n - 1) - i;
}

static void reverse_u8(uint8_t *dst, const uint8_t *src, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t eight;
        memcpy(&eight, src + n - 8 - i, sizeof eight);
        eight = __builtin_bswap64(eight);
        memcpy(dst + i, &eight, sizeof eight);
    }
    for (; i < n; i++)
        dst[i] = src[n - 1 - i];
}

static void reverse_f32(float *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = src[n - 1 - i];
}

/* Columns [begin, end) of a row that hangs over. */
static void fill_columns(const nt_crop *crop, char *dst, const char *src, const nt_image *to, int64_t width,
                         int64_t begin, int64_t end)
{
    size_t elem = nt_dtype_bytes(to->dtype);
    for (int64_t x = begin; x < end; x++) {
        int64_t at = source_of(crop->left + (crop->hflip ? to->width - 1 - x : x), width, crop->padding);
        if (at < 0)
            memset(dst + (size_t)x * elem, 0, elem);
        else
            memcpy(dst + (size_t)x * elem, src + (size_t)at * elem, elem);
    }
}

static void crop_row(const nt_crop *crop, char *dst, const char *src, const nt_image *to, int64_t width)
{
    size_t elem = nt_dtype_bytes(to->dtype);
    int64_t first = crop->left < 0 ? -crop->left : 0,
            last = width - crop->left; /* of the window, inside src */
    if (first > to->width) first = to->width;
    if (last > to->width) last = to->width;
    if (last < first) last = first;
    const char *from = src + (crop->left + first) * (int64_t)elem;
    int64_t begin = crop->hflip ? to->width - last : first, n = last - first;
    if (!crop->hflip)
        memcpy(dst + (size_t)begin * elem, from, (size_t)n * elem);
    else if (to->dtype == NT_U8)
        reverse_u8((uint8_t *)dst + begin, (const uint8_t *)from, n);
    else
        reverse_f32((float *)(void *)dst + begin, (const float *)(const void *)from, n);
    fill_columns(crop, dst, src, to, width, 0, begin);
    fill_columns(crop, dst, src, to, width, begin + n, to->width);
}

void nt_image_crop(nt_image *dst, const nt_image *src, const nt_crop *crop)
{
    size_t row_bytes = (size_t)dst->width * nt_dtype_bytes(dst->dtype);
    for (int64_t c = 0; c < dst->channels; c++)
        for (int64_t y = 0; y < dst->height; y++) {
            int64_t wanted = crop->top + (crop->vflip ? dst->height - 1 - y : y);
            int64_t at = source_of(wanted, src->height, crop->padding);
            if (at < 0)
                memset(nt_image_row(dst, c, y), 0, row_bytes);
            else
                crop_row(crop, nt_image_row(dst, c, y), nt_image_row(src, c, at), dst, src->width);
        }
}

/* --- affine maps --- */

nt_affine nt_affine_rotation(double degrees)
{
    double angle = degrees * (3.14159265358979323846 / 180), c = cos(angle), s = sin(angle);
    return (nt_affine){.m = {c, -s, 0, s, c, 0}};
}

static double value_at(const nt_image *image, int64_t c, int64_t y, int64_t x)
{
    if (y < 0 || x < 0 || y >= image->height || x >= image->width) return 0;
    const void *row = nt_image_row(image, c, y);
    return image->dtype == NT_U8 ? ((const uint8_t *)row)[x] : (double)((const float *)row)[x];
}

/* Half a level goes to the even one. */
static void put(const nt_image *image, int64_t c, int64_t y, int64_t x, double value)
{
    void *row = nt_image_row(image, c, y);
    if (image->dtype == NT_U8)
        ((uint8_t *)row)[x] = (uint8_t)rint(value);
    else
        ((float *)row)[x] = (float)value;
}

static void put_nearest(nt_image *dst, const nt_image *src, int64_t y, int64_t x, double from_y,
                        double from_x)
{
    bool inside = from_y > -1 && from_x > -1 && from_y < (double)src->height && from_x < (double)src->width;
    int64_t sy = inside ? (int64_t)rint(from_y) : -1, sx = inside ? (int64_t)rint(from_x) : -1;
    for (int64_t c = 0; c < dst->channels; c++)
        put(dst, c, y, x, value_at(src, c, sy, sx));
}

static void put_bilinear(nt_image *dst, const nt_image *src, int64_t y, int64_t x, double from_y,
                         double from_x)
{
    bool inside = from_y > -1 && from_x > -1 && from_y < (double)src->height && from_x < (double)src->width;
    int64_t sy = inside ? (int64_t)floor(from_y) : -2, sx = inside ? (int64_t)floor(from_x) : -2;
    double py = from_y - (double)sy, px = from_x - (double)sx;
    for (int64_t c = 0; c < dst->channels; c++) {
        double above = (1 - px) * value_at(src, c, sy, sx) + px * value_at(src, c, sy, sx + 1);
        double below = (1 - px) * value_at(src, c, sy + 1, sx) + px * value_at(src, c, sy + 1, sx + 1);
        put(dst, c, y, x, inside ? (1 - py) * above + py * below : 0);
    }
}

void nt_image_affine(nt_image *dst, const nt_image *src, const nt_affine *affine)
{
    const double *m = affine->m, cy = 0.5 * (double)(dst->height - 1), cx = 0.5 * (double)(dst->width - 1);
    for (int64_t y = 0; y < dst->height; y++)
        for (int64_t x = 0; x < dst->width; x++) {
            double dx = (double)x - cx, dy = (double)y - cy;
            double from_x = m[0] * dx + m[1] * dy + m[2] + cx, from_y = m[3] * dx + m[4] * dy + m[5] + cy;
            if (affine->bilinear)
                put_bilinear(dst, src, y, x, from_y, from_x);
            else
                put_nearest(dst, src, y, x, from_y, from_x);
        }
}

/* --- rectangles --- */

void nt_image_erase(nt_image *image, int64_t top, int64_t left, int64_t height, int64_t width,
                    const float *fill)
{
    for (int64_t c = 0; c < image->channels; c++)
        for (int64_t y = top; y < top + height; y++) {
            void *row = nt_image_row(image, c, y);
            if (image->dtype == NT_U8) memset((uint8_t *)row + left, (uint8_t)fill[c], (size_t)width);
            for (int64_t x = left; image->dtype == NT_F32 && x < left + width; x++)
                ((float *)row)[x] = fill[c];
        }
}
