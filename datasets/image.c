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

/* Rows of small images are too short for a call of memcpy each. The last chunk overlaps the one before. */
static inline void copy_u8(uint8_t *dst, const uint8_t *src, int64_t n)
{
    if (n < 16 || n > 256) {
        memcpy(dst, src, (size_t)n);
        return;
    }
    for (int64_t i = 0; i < n - 16; i += 16)
        memcpy(dst + i, src + i, 16);
    memcpy(dst + n - 16, src + n - 16, 16);
}

static inline void swap_eight(uint8_t *dst, const uint8_t *src)
{
    uint64_t eight;
    memcpy(&eight, src, sizeof eight);
    eight = __builtin_bswap64(eight);
    memcpy(dst, &eight, sizeof eight);
}

static inline void reverse_u8(uint8_t *dst, const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n - 8; i += 8)
        swap_eight(dst + i, src + n - 8 - i);
    if (n >= 8) swap_eight(dst + n - 8, src);
    for (int64_t i = 0; n < 8 && i < n; i++)
        dst[i] = src[n - 1 - i];
}

static void reverse_f32(float *dst, const float *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = src[n - 1 - i];
}

/* Which columns of each row lie inside src: n from `from` on go to dst's from `to` on. */
typedef struct columns {
    int64_t to, from, n;
} columns;

static columns columns_inside(const nt_crop *crop, int64_t width, int64_t src_width)
{
    int64_t first = crop->left < 0 ? -crop->left : 0, last = src_width - crop->left; /* of the window */
    if (first > width) first = width;
    if (last > width) last = width;
    if (last < first) last = first;
    return (columns){crop->hflip ? width - last : first, crop->left + first, last - first};
}

static inline void crop_row(const nt_crop *crop, const columns *in, void *dst, const void *src,
                            nt_dtype dtype)
{
    if (dtype == NT_U8 && crop->hflip)
        reverse_u8((uint8_t *)dst + in->to, (const uint8_t *)src + in->from, in->n);
    else if (dtype == NT_U8)
        copy_u8((uint8_t *)dst + in->to, (const uint8_t *)src + in->from, in->n);
    else if (crop->hflip)
        reverse_f32((float *)dst + in->to, (const float *)src + in->from, in->n);
    else
        memcpy((float *)dst + in->to, (const float *)src + in->from, (size_t)in->n * sizeof(float));
}

/* The columns of a row that hang over, but for zeros. */
static void fill_columns(const nt_crop *crop, const columns *in, char *dst, const char *src,
                         const nt_image *to, int64_t src_width)
{
    size_t elem = nt_dtype_bytes(to->dtype);
    for (int64_t x = 0; x < to->width; x++) {
        if (x == in->to) x += in->n;
        if (x >= to->width) break;
        int64_t at = source_of(crop->left + (crop->hflip ? to->width - 1 - x : x), src_width, crop->padding);
        memcpy(dst + (size_t)x * elem, src + (size_t)at * elem, elem);
    }
}

void nt_image_crop(nt_image *dst, const nt_image *src, const nt_crop *crop)
{
    const columns in = columns_inside(crop, dst->width, src->width);
    const bool zeros = crop->padding == NT_PADDING_ZEROS;
    bool hangs_over = in.n < dst->width || crop->top < 0 || crop->top + dst->height > src->height;
    if (hangs_over && zeros)
        memset(dst->data, 0, (size_t)(dst->channels * dst->height * dst->width) * nt_dtype_bytes(dst->dtype));
    for (int64_t c = 0; c < dst->channels; c++)
        for (int64_t y = 0; y < dst->height; y++) {
            int64_t wanted = crop->top + (crop->vflip ? dst->height - 1 - y : y);
            int64_t at = source_of(wanted, src->height, crop->padding);
            if (at < 0) continue;
            void *to = nt_image_row(dst, c, y), *from = nt_image_row(src, c, at);
            crop_row(crop, &in, to, from, dst->dtype);
            if (hangs_over && !zeros) fill_columns(crop, &in, to, from, dst, src->width);
        }
}

/* --- affine maps --- */

nt_affine nt_affine_rotation(double degrees)
{
    double angle = degrees * (3.14159265358979323846 / 180), c = cos(angle), s = sin(angle);
    return (nt_affine){.m = {c, -s, 0, s, c, 0}};
}

/* To the nearest whole number, of two to the even one: the addition rounds it off. |x| < 2^51. */
static inline double nearest(double x)
{
    const double magic = 0x1.8p52;
    return (x + magic) - magic;
}

/* What a pixel is made of: the same four places of every channel, with weights that are 0 beyond the image.
 */
typedef struct taps {
    int64_t at[4]; /* in a plane */
    double weight[4];
} taps;

static inline bool is_inside(int64_t i, int64_t n)
{
    return i >= 0 && i < n;
}

static inline taps find_taps(const nt_image *src, double y, double x, bool bilinear)
{
    taps t = {{0}, {0}};
    if (!(y > -1 && x > -1 && y < (double)src->height && x < (double)src->width)) return t;
    int64_t y0 = bilinear ? (int64_t)(y + 1) - 1 : (int64_t)nearest(y); /* down, of numbers above -1 */
    int64_t x0 = bilinear ? (int64_t)(x + 1) - 1 : (int64_t)nearest(x);
    double py = bilinear ? y - (double)y0 : 0, px = bilinear ? x - (double)x0 : 0;
    for (int k = 0; k < (bilinear ? 4 : 1); k++) {
        int64_t ky = y0 + k / 2, kx = x0 + k % 2;
        if (!is_inside(ky, src->height) || !is_inside(kx, src->width)) continue;
        t.at[k] = ky * src->width + kx;
        t.weight[k] = (k / 2 ? py : 1 - py) * (k % 2 ? px : 1 - px);
    }
    return t;
}

static inline double weigh_u8(const taps *t, const uint8_t *plane)
{
    return t->weight[0] * plane[t->at[0]] + t->weight[1] * plane[t->at[1]] + t->weight[2] * plane[t->at[2]] +
           t->weight[3] * plane[t->at[3]];
}

static inline double weigh_f32(const taps *t, const float *plane)
{
    return t->weight[0] * (double)plane[t->at[0]] + t->weight[1] * (double)plane[t->at[1]] +
           t->weight[2] * (double)plane[t->at[2]] + t->weight[3] * (double)plane[t->at[3]];
}

/* Pixel `at` of every channel. */
static inline void put_pixel(nt_image *dst, const nt_image *src, int64_t at, const taps *t, bool bilinear)
{
    const int64_t n_dst = dst->height * dst->width, n_src = src->height * src->width;
    for (int64_t c = 0; c < dst->channels; c++)
        if (dst->dtype == NT_F32)
            ((float *)dst->data)[c * n_dst + at] = (float)weigh_f32(t, (const float *)src->data + c * n_src);
        else if (bilinear)
            ((uint8_t *)dst->data)[c * n_dst + at] =
                (uint8_t)nearest(weigh_u8(t, (const uint8_t *)src->data + c * n_src));
        else
            ((uint8_t *)dst->data)[c * n_dst + at] =
                t->weight[0] > 0 ? ((const uint8_t *)src->data)[c * n_src + t->at[0]] : 0;
}

void nt_image_affine(nt_image *dst, const nt_image *src, const nt_affine *affine)
{
    const double *m = affine->m, cy = 0.5 * (double)(dst->height - 1), cx = 0.5 * (double)(dst->width - 1);
    for (int64_t y = 0; y < dst->height; y++)
        for (int64_t x = 0; x < dst->width; x++) {
            double dx = (double)x - cx, dy = (double)y - cy;
            double from_x = m[0] * dx + m[1] * dy + m[2] + cx, from_y = m[3] * dx + m[4] * dy + m[5] + cy;
            taps t = find_taps(src, from_y, from_x, affine->bilinear);
            put_pixel(dst, src, y * dst->width + x, &t, affine->bilinear);
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
