/* Colours of one uint8 image, with the arithmetic of torchvision's kernels in single precision.
 *
 * Whatever maps a byte to a byte by itself is a table of 256: brightness, contrast (once the mean is known),
 * posterize, solarize, autocontrast, equalize. Saturation, hue and sharpness look at more than one byte. */
#include "datasets/image.h"

#include <math.h>
#include <string.h>

static int64_t n_pixels(const nt_image *image)
{
    return image->height * image->width;
}

/* Cut to a byte. */
static uint8_t to_byte(float x)
{
    return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
}

/* x times `ratio` and other times the rest. */
static float blend(float x, float other, double ratio)
{
    return x * (float)ratio + other * (float)(1 - ratio);
}

/* What a grey pixel has of the three channels (ITU-R 601-2), cut to a whole level. */
static float grey_of(const uint8_t *rgb, int64_t step)
{
    return (float)(int)(0.2989f * (float)rgb[0] + 0.587f * (float)rgb[step] + 0.114f * (float)rgb[2 * step]);
}

static void map_bytes(uint8_t *x, int64_t n, const uint8_t table[256])
{
    for (int64_t i = 0; i < n; i++)
        x[i] = table[x[i]];
}

static void map_image(nt_image *image, const uint8_t table[256])
{
    map_bytes(image->data, image->channels * n_pixels(image), table);
}

void nt_image_brightness(nt_image *image, double factor)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = to_byte((float)i * (float)factor);
    map_image(image, table);
}

void nt_image_contrast(nt_image *image, double factor)
{
    const int64_t n = n_pixels(image);
    const uint8_t *x = image->data;
    uint8_t table[256];
    double sum = 0; /* of whole numbers: exact */
    for (int64_t i = 0; i < n; i++)
        sum += image->channels == 3 ? (double)grey_of(x + i, n) : x[i];
    float mean = (float)(sum / (double)n);
    for (int i = 0; i < 256; i++)
        table[i] = to_byte(blend((float)i, mean, factor));
    map_image(image, table);
}

void nt_image_saturation(nt_image *image, double factor)
{
    const int64_t n = n_pixels(image);
    if (image->channels != 3) return;
    uint8_t *restrict red = image->data, *restrict green = red + n, *restrict blue = green + n;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t rgb[3] = {red[i], green[i], blue[i]};
        float grey = grey_of(rgb, 1);
        red[i] = to_byte(blend((float)rgb[0], grey, factor));
        green[i] = to_byte(blend((float)rgb[1], grey, factor));
        blue[i] = to_byte(blend((float)rgb[2], grey, factor));
    }
}

/* --- hue --- */

/* Down to a whole number; unlike floorf, without a call on processors of any age. |x| is small. */
static float whole_of(float x)
{
    float whole = (float)(int)x;
    return whole > x ? whole - 1 : whole;
}

/* Hue in turns, saturation and value of a colour in [0, 1] (Smith 1978). */
static void rgb_to_hsv(const float rgb[3], float hsv[3])
{
    float most = fmaxf(rgb[0], fmaxf(rgb[1], rgb[2])), least = fminf(rgb[0], fminf(rgb[1], rgb[2]));
    float range = most - least, sixths = 0;
    if (range > 0 && most == rgb[0])
        sixths = (rgb[1] - rgb[2]) / range;
    else if (range > 0 && most == rgb[1])
        sixths = 2 + (rgb[2] - rgb[0]) / range;
    else if (range > 0)
        sixths = 4 + (rgb[0] - rgb[1]) / range;
    float turns = sixths / 6;
    hsv[0] = turns - whole_of(turns);
    hsv[1] = range > 0 ? range / most : 0;
    hsv[2] = most;
}

static void hsv_to_rgb(const float hsv[3], float rgb[3])
{
    float sixths = hsv[0] * 6, whole = whole_of(sixths), part = sixths - whole, s = hsv[1], v = hsv[2];
    float p = v * (1 - s), q = v * (1 - s * part), t = v * (1 - s * (1 - part));
    const float colour[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
    memcpy(rgb, colour[(int)whole % 6], 3 * sizeof *rgb);
}

void nt_image_hue(nt_image *image, double shift)
{
    const int64_t n = n_pixels(image);
    uint8_t *x = image->data;
    if (image->channels != 3) return;
    for (int64_t i = 0; i < n; i++) {
        float rgb[3], hsv[3];
        for (int64_t c = 0; c < 3; c++)
            rgb[c] = (float)x[c * n + i] / 255;
        rgb_to_hsv(rgb, hsv);
        hsv[0] += (float)shift;
        hsv[0] -= whole_of(hsv[0]);
        hsv_to_rgb(hsv, rgb);
        for (int64_t c = 0; c < 3; c++)
            x[c * n + i] = to_byte(rgb[c] * 255.999f); /* as torchvision turns [0, 1] into bytes */
    }
}

/* --- levels --- */

void nt_image_posterize(nt_image *image, int bits)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i & (0xff00 >> bits));
    map_image(image, table);
}

void nt_image_solarize(nt_image *image, double threshold)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)(i >= threshold ? 255 - i : i);
    map_image(image, table);
}

/* The smallest byte becomes 0, the largest 255. */
static void stretch(uint8_t *x, int64_t n)
{
    int least = 255, most = 0;
    uint8_t table[256] = {0};
    for (int64_t i = 0; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    if (least >= most) return;
    float inverse_scale = (float)(most - least) * (float)(1.0 / 255);
    for (int i = least; i <= most; i++)
        table[i] = to_byte((float)(i - least) / inverse_scale);
    map_bytes(x, n, table);
}

/* Every level gets about as many pixels, as Pillow does it: the table is the running sum of the histogram in
 * steps of a 255th of all pixels but those of the largest level. */
static void flatten(uint8_t *x, int64_t n)
{
    int64_t count[256] = {0}, below = 0;
    int most = 255;
    uint8_t table[256];
    for (int64_t i = 0; i < n; i++)
        count[x[i]]++;
    while (most > 0 && count[most] == 0)
        most--;
    int64_t step = (n - count[most]) / 255;
    if (step == 0) return;
    for (int i = 0; i < 256; i++) {
        int64_t level = (below + step / 2) / step;
        table[i] = (uint8_t)(level > 255 ? 255 : level);
        below += count[i];
    }
    map_bytes(x, n, table);
}

void nt_image_autocontrast(nt_image *image)
{
    for (int64_t c = 0; c < image->channels; c++)
        stretch(nt_image_row(image, c, 0), n_pixels(image));
}

void nt_image_equalize(nt_image *image)
{
    for (int64_t c = 0; c < image->channels; c++)
        flatten(nt_image_row(image, c, 0), n_pixels(image));
}

/* --- sharpness --- */

/* The mean of nine pixels, the middle one five times; to a whole level. */
static float blurred(const uint8_t *x, int64_t width)
{
    int sum = 4 * x[0];
    for (int64_t y = -1; y <= 1; y++)
        for (int64_t k = -1; k <= 1; k++)
            sum += x[y * width + k];
    return rintf((float)sum / 13);
}

void nt_image_sharpness(nt_image *image, double factor, void *copy)
{
    const int64_t width = image->width, height = image->height;
    if (height <= 2 || width <= 2) return;
    memcpy(copy, image->data, (size_t)(image->channels * n_pixels(image)));
    for (int64_t c = 0; c < image->channels; c++)
        for (int64_t y = 1; y < height - 1; y++) {
            const uint8_t *from = (const uint8_t *)copy + (c * height + y) * width;
            uint8_t *row = nt_image_row(image, c, y);
            for (int64_t k = 1; k < width - 1; k++)
                row[k] = to_byte((float)from[k] +
                                 (float)(1 - factor) * (blurred(from + k, width) - (float)from[k]));
        }
}
