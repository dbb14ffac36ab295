/* Charts: data are mapped to a plane of 600 by 220 units with margins for the labels; ticks are at 1, 2 or 5
 * times a power of ten (at powers of ten on a logarithmic axis). PNG is libpng's simplified interface; base64
 * (RFC 4648) is written here, 15 lines being less than a dependency. */
#include "launcher/page.h"

#include "core/text.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH      600.0
#define HEIGHT     220.0
#define LEFT       62.0
#define RIGHT      10.0
#define TOP        22.0
#define BOTTOM     34.0
#define MAX_CURVES 4
#define MAX_POINTS 500
#define MAX_SIDE   4096

static const char style[] =
    "body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1000px;padding:0 1em;color:#222;"
    "background:#fff}"
    "h1{font-size:1.6em;margin:0}h2{font-size:1.2em;margin:1.8em 0 .5em;border-bottom:1px solid #ddd}"
    "h3{font-size:1em;margin:.2em 0;font-weight:600}"
    "table{border-collapse:collapse}td,th{padding:.15em .6em;text-align:right;font-variant-numeric:"
    "tabular-nums}th{font-weight:600}td.t,th.t{text-align:left}"
    "table.matrix td{border:1px solid #eee;min-width:1.6em;padding:.1em .3em}"
    ".charts,.pictures{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0}.charts figure{width:480px}"
    "svg{width:100%;height:auto}svg text{font-size:11px;fill:#555}"
    "figcaption{font-size:12px;max-width:150px}.pictures img{image-rendering:pixelated;display:block}"
    ".bar{background:#1f77b4;height:.8em;display:inline-block}.note{color:#777}"
    "pre{background:#f6f6f6;padding:.8em;overflow-x:auto}";
static const char *const colour[MAX_CURVES] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd"};

void nt_page_begin(FILE *out, const char *title)
{
    fprintf(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    nt_page_text(out, title);
    fprintf(out, "</title><style>%s</style></head><body>\n", style);
}

void nt_page_end(FILE *out)
{
    fprintf(out, "</body></html>\n");
}

static void put_char(FILE *out, const char *at, size_t n)
{
    const unsigned char c = (unsigned char)*at;
    if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
        fprintf(out, "&#%d;", c);
    else if (n == 0 || (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
        fprintf(out, "\\x%02x", c);
    else
        fwrite(at, 1, n, out);
}

void nt_page_text(FILE *out, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        size_t n = nt_text_utf8_char(text, left);
        put_char(out, text, n);
        text += n ? n : 1;
        left -= n ? n : 1;
    }
}

/* --- charts --- */

/* One axis: data from low to high lie on the plane from `from` to `to`. */
typedef struct axis {
    double low, high, from, to;
    bool log;
} axis;

static double place(const axis *a, double value)
{
    double low = a->low, high = a->high;
    if (a->log) {
        value = log10(value);
        low = log10(low);
        high = log10(high);
    }
    return a->from + (value - low) / (high - low) * (a->to - a->from);
}

static void widen(axis *a, const double *value, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        a->low = fmin(a->low, value[i]);
        a->high = fmax(a->high, value[i]);
    }
}

/* A range that is not empty, with a little air, and the kind of scale. */
static void settle(axis *a, bool may_be_log)
{
    a->log = may_be_log && a->low > 0 && a->high / a->low > 100;
    if (a->log) return;
    double span = a->high - a->low;
    if (!(span > 0)) span = fmax(fabs(a->high), 1e-12);
    double air = may_be_log || a->high == a->low ? 0.04 * span : 0;
    a->low -= air;
    a->high += air;
}

/* Distance of ticks so that there are 3 to 8 of them. */
static double tick_step(const axis *a)
{
    double rough = (a->high - a->low) / 5, power = pow(10, floor(log10(rough)));
    double rest = rough / power;
    return power * (rest < 1.5 ? 1 : rest < 3.5 ? 2 : rest < 7.5 ? 5 : 10);
}

static void draw_tick(FILE *out, const axis *x, const axis *y, const axis *of, double value)
{
    double at = place(of, value);
    if (fabs(value) < 1e-9 * (of->high - of->low) && !of->log) value = 0;
    if (of == x)
        fprintf(out,
                "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#eee\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.6g</text>",
                at, at, y->from, y->to, at, y->from + 14, value);
    else
        fprintf(out,
                "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#eee\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>",
                x->from, x->to, at, at, x->from - 4, at + 4, value);
}

static void draw_ticks(FILE *out, const axis *x, const axis *y, const axis *of)
{
    if (of->log) {
        const int first = (int)ceil(log10(of->low) - 1e-9), last = (int)floor(log10(of->high) + 1e-9);
        for (int power = first; power <= last; power += 1 + (last - first) / 6)
            draw_tick(out, x, y, of, pow(10, power));
        return;
    }
    double step = tick_step(of), first = ceil(of->low / step);
    for (int i = 0; i < 20 && (first + i) * step <= of->high + 1e-9 * step; i++)
        draw_tick(out, x, y, of, (first + i) * step);
}

/* Means of stretches of neighbouring points. */
static void draw_line(FILE *out, const axis *x, const axis *y, const nt_curve *curve, const char *stroke)
{
    const int64_t n = curve->n < MAX_POINTS ? curve->n : MAX_POINTS;
    fprintf(out, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", stroke);
    for (int64_t i = 0; i < n; i++) {
        int64_t begin = curve->n * i / n, end = curve->n * (i + 1) / n;
        double sum_x = 0, sum_y = 0;
        for (int64_t k = begin; k < end; k++) {
            sum_x += curve->x[k];
            sum_y += curve->y[k];
        }
        double count = (double)(end - begin);
        fprintf(out, "%.1f,%.1f ", place(x, sum_x / count), place(y, sum_y / count));
    }
    fprintf(out, "\"><title>");
    nt_page_text(out, curve->name);
    fprintf(out, "</title></polyline>");
}

static void draw_dots(FILE *out, const axis *x, const axis *y, const nt_curve *curve, const char *fill)
{
    for (int64_t i = 0; i < curve->n; i++)
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.2\" fill=\"%s\" fill-opacity=\"0.6\"/>",
                place(x, curve->x[i]), place(y, curve->y[i]), fill);
}

static void draw_names(FILE *out, const nt_curve *curves, int n)
{
    double at = LEFT + 8;
    for (int i = 0; i < n; i++) {
        if (curves[i].n == 0) continue;
        fprintf(out, "<tspan x=\"%.1f\" y=\"%.1f\" fill=\"%s\">", at, TOP - 8, colour[i]);
        nt_page_text(out, curves[i].name);
        fprintf(out, "</tspan>");
        at += 7.0 * (double)strlen(curves[i].name) + 16;
    }
}

void nt_page_chart(FILE *out, const char *title, const char *x_name, const nt_curve *curves, int n)
{
    axis x = {.low = INFINITY, .high = -INFINITY, .from = LEFT, .to = WIDTH - RIGHT}, y = x;
    y.from = HEIGHT - BOTTOM;
    y.to = TOP;
    if (n > MAX_CURVES) n = MAX_CURVES;
    for (int i = 0; i < n; i++) {
        widen(&x, curves[i].x, curves[i].n);
        widen(&y, curves[i].y, curves[i].n);
    }
    if (x.low > x.high) return;
    settle(&x, false);
    settle(&y, !curves[0].dots);
    fprintf(out, "<figure><h3>");
    nt_page_text(out, title);
    fprintf(out, "</h3><svg viewBox=\"0 0 %g %g\" role=\"img\">", WIDTH, HEIGHT);
    draw_ticks(out, &x, &y, &x);
    draw_ticks(out, &x, &y, &y);
    for (int i = 0; i < n; i++)
        if (curves[i].n > 0) (curves[i].dots ? draw_dots : draw_line)(out, &x, &y, &curves[i], colour[i]);
    fprintf(out, "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">", WIDTH - RIGHT, HEIGHT - 4);
    nt_page_text(out, x_name);
    fprintf(out, "</text><text>");
    draw_names(out, curves, n);
    fprintf(out, "</text></svg></figure>\n");
}

/* --- pictures --- */

static void put_base64(FILE *out, const uint8_t *byte, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t bits = (uint32_t)byte[i] << 16;
        if (left > 1) bits |= (uint32_t)byte[i + 1] << 8;
        if (left > 2) bits |= byte[i + 2];
        fputc(digit[bits >> 18], out);
        fputc(digit[bits >> 12 & 63], out);
        fputc(left > 1 ? digit[bits >> 6 & 63] : '=', out);
        fputc(left > 2 ? digit[bits & 63] : '=', out);
    }
}

/* (channels, height, width) to (height, width, channels), which PNG wants. */
static void interleave(uint8_t *to, const uint8_t *from, int channels, size_t n_pixels)
{
    for (size_t i = 0; i < n_pixels; i++)
        for (int c = 0; c < channels; c++)
            to[i * (size_t)channels + (size_t)c] = from[(size_t)c * n_pixels + i];
}

/* Small pictures are shown enlarged by a whole factor. */
static int shown_width(int width)
{
    return width >= 96 ? 128 : (96 + width - 1) / width * width;
}

static nt_status encode_png(const uint8_t *pixel, png_image *image, uint8_t **bytes, size_t *n_bytes)
{
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(*image);
    *bytes = malloc(size);
    NT_CHECK_ALLOC(*bytes, size);
    NT_CHECK(png_image_write_to_memory(image, *bytes, &size, 0, pixel, 0, NULL), NT_ERR_BUG,
             "a picture could not be encoded: %s", image->message);
    *n_bytes = size;
    return NT_OK;
}

nt_status nt_page_picture(FILE *out, const uint8_t *pixel, int channels, int height, int width)
{
    NT_CHECK(height > 0 && width > 0 && height <= MAX_SIDE && width <= MAX_SIDE, NT_ERR_DATA,
             "a picture of %d x %d is not drawn: 1 to %d a side", height, width, MAX_SIDE);
    const size_t n_pixels = (size_t)height * (size_t)width;
    uint8_t *rows = malloc(n_pixels * (size_t)channels), *bytes = NULL;
    size_t n_bytes = 0;
    NT_CHECK_ALLOC(rows, n_pixels * (size_t)channels);
    interleave(rows, pixel, channels, n_pixels);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    nt_status status = encode_png(rows, &image, &bytes, &n_bytes);
    if (status == NT_OK) {
        fprintf(out, "<img width=\"%d\" alt=\"\" src=\"data:image/png;base64,", shown_width(width));
        put_base64(out, bytes, n_bytes);
        fprintf(out, "\">");
    }
    free(rows);
    free(bytes);
    NT_TRY(status);
    return NT_OK;
}
