/* A page of HTML that needs nothing but itself: text made safe, charts as SVG, pictures as PNG inside the
 * page. No script, no font, no address of anything else. */
#ifndef NT_LAUNCHER_PAGE_H
#define NT_LAUNCHER_PAGE_H

#include "core/status.h"

#include <stdint.h>
#include <stdio.h>

void nt_page_begin(FILE *out, const char *title);
void nt_page_end(FILE *out);

/* Text with the five characters that mean something in HTML replaced, and control characters (other than
 * newline and tab) and bytes that are not UTF-8 shown as \xNN. */
void nt_page_text(FILE *out, const char *text);

typedef struct nt_curve {
    const char *name;
    const double *x, *y; /* (n), finite; x ascending where it is a line */
    int64_t n;
    bool dots; /* points, not a line: both axes are linear then */
} nt_curve;

/* A chart of up to 4 curves; those without points are left out, and a chart without any is not drawn. Long
 * curves are shown as the means of 500 stretches. The y axis is logarithmic where the values are positive and
 * span more than a factor of 100. */
void nt_page_chart(FILE *out, const char *title, const char *x_name, const nt_curve *curves, int n);

/* An image (channels, height, width) of bytes, 1 or 3 channels, about 100 to 130 screen pixels wide. Larger
 * sides than 4096 are refused (NT_ERR_DATA). */
NT_MUST nt_status nt_page_picture(FILE *out, const uint8_t *pixel, int channels, int height, int width);

#endif
