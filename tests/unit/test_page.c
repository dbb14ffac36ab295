/* The report's page: text that cannot become markup, charts that hold all their points whatever the values,
 * pictures that libpng reads back as they were. */
#include "launcher/page.h"

#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *text;
static size_t n_bytes;

static FILE *begin(void)
{
    free(text);
    text = NULL;
    FILE *out = open_memstream(&text, &n_bytes);
    assert_non_null(out);
    return out;
}

static void text_is_never_markup(void **state)
{
    (void)state;
    FILE *out = begin();
    nt_page_text(out, "a<b>&\"'\x1b[31m\n\tz\xc3\xa9\xff");
    fclose(out);
    assert_string_equal(text, "a&#60;b&#62;&#38;&#34;&#39;\\x1b[31m\n\tz\xc3\xa9\\xff");
}

/* All coordinates of the points of the first line, checked to lie on the plane. */
static int count_points(void)
{
    int n = 0;
    const char *at = strstr(text, "points=\"");
    if (!at) return 0;
    for (at += strlen("points=\""); *at != '"'; n++) {
        char *end;
        double x = strtod(at, &end), y = strtod(end + 1, &end);
        assert_true(*end == ' ' && x >= 60 && x <= 590.01 && y >= 0 && y <= 220);
        at = end + 1;
    }
    return n;
}

static int points_of(const double *x, const double *y, int64_t n)
{
    FILE *out = begin();
    nt_page_chart(out, "t", "step", &(nt_curve){.name = "c", .x = x, .y = y, .n = n}, 1);
    fclose(out);
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "inf"));
    return count_points();
}

static void charts_take_any_values(void **state)
{
    (void)state;
    const double one[] = {7}, same[] = {3, 3, 3}, zero[] = {0, 0, 0}, up[] = {1, 2, 3};
    const double wide[] = {1e-300, 1, 1e300}, tiny[] = {1e-12, 2e-12, 3e-12}, negative[] = {-5, 0, 1e6};
    assert_int_equal(points_of(one, one, 1), 1);
    assert_int_equal(points_of(up, same, 3), 3);
    assert_int_equal(points_of(up, zero, 3), 3);
    assert_int_equal(points_of(up, wide, 3), 3);
    assert_int_equal(points_of(up, tiny, 3), 3);
    assert_int_equal(points_of(up, negative, 3), 3);
    assert_int_equal(points_of(up, up, 0), 0);
    assert_int_equal(n_bytes, 0);
}

static void long_curves_become_means(void **state)
{
    (void)state;
    enum { N = 100000 };
    double *x = malloc(2 * N * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < N; i++) {
        x[i] = i;
        x[N + i] = i % 2; /* a mean of 0.5 everywhere */
    }
    assert_int_equal(points_of(x, x + N, N), 500);
    double first = 0, last = 0;
    const char *at = strstr(text, "points=\"") + strlen("points=\"");
    assert_int_equal(sscanf(at, "%*f,%lf", &first), 1);
    assert_int_equal(sscanf(strrchr(at, ',') + 1, "%lf", &last), 1);
    assert_true(fabs(first - last) < 0.2);
    free(x);
}

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(digits, c);
    return at && c ? (int)(at - digits) : -1;
}

static size_t decode(uint8_t *to, const char *from)
{
    uint32_t bits = 0;
    int n_bits = 0;
    size_t n = 0;
    for (int digit; (digit = digit_of(*from)) >= 0; from++) {
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) to[n++] = (uint8_t)(bits >> (n_bits -= 8));
    }
    return n;
}

static void pictures_read_back(void **state)
{
    (void)state;
    uint8_t pixel[3 * 5 * 7], back[5 * 7 * 3], bytes[4096];
    for (size_t i = 0; i < sizeof pixel; i++)
        pixel[i] = (uint8_t)(i * 37);
    for (int channels = 1; channels <= 3; channels += 2) {
        FILE *out = begin();
        assert_int_equal(nt_page_picture(out, pixel, channels, 5, 7), NT_OK);
        fclose(out);
        const char *start = strstr(text, "base64,");
        assert_non_null(start);
        size_t n = decode(bytes, start + strlen("base64,"));
        png_image image = {.version = PNG_IMAGE_VERSION};
        assert_true(png_image_begin_read_from_memory(&image, bytes, n));
        assert_true(image.width == 7 && image.height == 5);
        image.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
        assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
        for (int i = 0; i < 35; i++)
            for (int c = 0; c < channels; c++)
                assert_int_equal(back[i * channels + c], pixel[c * 35 + i]);
    }
    FILE *out = begin();
    assert_int_equal(nt_page_picture(out, pixel, 1, 5000, 1), NT_ERR_DATA);
    fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_never_markup),
        cmocka_unit_test(charts_take_any_values),
        cmocka_unit_test(long_curves_become_means),
        cmocka_unit_test(pictures_read_back),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(text);
    return failed;
}
