/* Small text helpers. Numbers are checked against their grammar first and converted in the C locale after, so
 * that strtod never gets to see what it would take too kindly (hex, nan, blanks, a locale's comma). */
#include "core/text.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_WORD 128 /* longer words have no near ones */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static const char *skip_sign(const char *p)
{
    return *p == '+' || *p == '-' ? p + 1 : p;
}

static const char *skip_digits(const char *p)
{
    while (is_digit(*p))
        p++;
    return p;
}

bool nt_text_to_int(const char *text, int64_t *out)
{
    const char *digits = skip_sign(text), *end = skip_digits(digits);
    if (end == digits || *end) return false;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno) return false;
    *out = value;
    return true;
}

/* [sign] digits [. digits] [e [sign] digits], with a digit before or after the point. */
static bool has_float_form(const char *text)
{
    const char *p = skip_sign(text), *end = skip_digits(p);
    int64_t n_digits = end - p;
    p = end;
    if (*p == '.') {
        end = skip_digits(p + 1);
        n_digits += end - (p + 1);
        p = end;
    }
    if (n_digits == 0) return false;
    if (*p == 'e' || *p == 'E') {
        p = skip_sign(p + 1);
        end = skip_digits(p);
        if (end == p) return false;
        p = end;
    }
    return *p == '\0';
}

bool nt_text_to_float(const char *text, double *out)
{
    if (!has_float_form(text)) return false;
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc: a constant, nothing allocated */
    if (!c_locale) return false;
    errno = 0;
    double value = strtod_l(text, NULL, c_locale);
    bool vanished = errno == ERANGE && value == 0;
    freelocale(c_locale);
    if (!isfinite(value) || vanished) return false;
    *out = value;
    return true;
}

const char *nt_text_from_float(double value, char text[NT_FLOAT_TEXT_BYTES])
{
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = c_locale ? uselocale(c_locale) : (locale_t)0;
    bool plain = fabs(value) < 1e15 && value == trunc(value); /* 100000 rather than 1e+05 */
    if (plain) snprintf(text, NT_FLOAT_TEXT_BYTES, "%.0f", value);
    for (int digits = 1; digits <= 17 && !plain; digits++) {
        double back;
        snprintf(text, NT_FLOAT_TEXT_BYTES, "%.*g", digits, value);
        if (nt_text_to_float(text, &back) && back == value) break;
    }
    if (c_locale) {
        uselocale(before);
        freelocale(c_locale);
    }
    return text;
}

/* Edit distance with swaps of neighbours ("optimal string alignment"): three rows of the usual table. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][MAX_WORD + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++)
        last[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = last[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
            if (last[j] + 1 < best) best = last[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            bool swapped =
                i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
            if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[nb];
}

/* What other programs (Keras, PyTorch, Caffe, Darknet) call it, in small letters without '_' and '-'. */
static const char *const other_words[][2] = {
    {"avgpool2d", "avg_pool"},
    {"batchsize", "batch"},
    {"bcewithlogits", "bce"},
    {"bn", "batchnorm"},
    {"connected", "linear"},
    {"conv", "conv2d"},
    {"convolution", "conv2d"},
    {"convolutional", "conv2d"},
    {"deconvolution", "conv_transpose2d"},
    {"dense", "linear"},
    {"fc", "linear"},
    {"fullyconnected", "linear"},
    {"gpu", "cuda"},
    {"innerproduct", "linear"},
    {"learningrate", "lr"},
    {"lrmult", "lr_factor"},
    {"mae", "l1"},
    {"maxpool2d", "max_pool"},
    {"nll", "cross_entropy"},
    {"numepochs", "epochs"},
    {"route", "concat"},
    {"shortcut", "add"},
    {"sigmoid", "logistic"},
    {"softmaxwithloss", "cross_entropy"},
    {"subdivisions", "accumulate"},
    {"swish", "silu"},
    {"wd", "weight_decay"},
};

/* The candidate that other programs call by this word, or NULL. */
static const char *called_otherwise(const char *word, const char *const *candidates)
{
    char plain[MAX_WORD + 1];
    size_t n = 0;
    for (const char *c = word; *c; c++)
        if (*c != '_' && *c != '-') plain[n++] = lower(*c);
    plain[n] = '\0';
    for (size_t i = 0; i < sizeof other_words / sizeof *other_words; i++)
        for (const char *const *c = candidates; strcmp(plain, other_words[i][0]) == 0 && *c; c++)
            if (strcmp(*c, other_words[i][1]) == 0) return *c;
    return NULL;
}

const char *nt_text_nearest(const char *word, const char *const *candidates)
{
    size_t n = strlen(word), limit = n / 3 > 2 ? n / 3 : 2;
    const char *nearest = NULL;
    if (n > MAX_WORD) return NULL;
    const char *other = called_otherwise(word, candidates);
    if (other) return other;
    for (; *candidates; candidates++) {
        size_t length = strlen(*candidates);
        if (length > MAX_WORD) continue;
        size_t distance = edit_distance(word, n, *candidates, length);
        bool alien = distance >= (n > length ? n : length); /* nothing in common */
        if (alien || distance > limit || (nearest && distance == limit)) continue;
        nearest = *candidates;
        limit = distance;
    }
    return nearest;
}

bool nt_text_is_name(const char *name)
{
    size_t n = 0;
    if (*name == '-' || *name == '.') return false;
    for (; name[n]; n++) {
        char c = lower(name[n]);
        bool allowed = (c >= 'a' && c <= 'z') || is_digit(c) || c == '.' || c == '_' || c == '-';
        if (!allowed || n == 64) return false;
    }
    return n > 0;
}

size_t nt_text_utf8_char(const char *text, size_t n_bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    if (n_bytes == 0 || p[0] == 0) return 0;
    if (p[0] < 0x80) return 1;
    size_t n = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
               : (p[0] & 0xf0) == 0xe0        ? 3
               : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                              : 0;
    if (n == 0 || n > n_bytes) return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool too_high = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || too_high ? 0 : n;
}

bool nt_text_is_utf8(const char *text, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        size_t n = nt_text_utf8_char(text + at, n_bytes - at);
        if (n == 0) return false;
        at += n;
    }
    return true;
}

/* C0 and C1 control characters and DEL; U+009B alone starts an escape sequence on some terminals. */
static bool is_control(const unsigned char *p, size_t n)
{
    return (n == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (n == 2 && p[0] == 0xc2 && p[1] < 0xa0);
}

/* One character of text, at most 8 bytes, as it should be shown; returns the bytes of text it took. */
static size_t show_char(char shown[9], const char *text, size_t n_bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = nt_text_utf8_char(text, n_bytes);
    if (n > 0 && !is_control(p, n)) {
        memcpy(shown, text, n);
        shown[n] = '\0';
    } else if (n == 2) {
        snprintf(shown, 9, "\\x%02x\\x%02x", p[0], p[1]);
    } else {
        snprintf(shown, 9, "\\x%02x", p[0]);
        n = 1;
    }
    return n;
}

void nt_text_escape(char *out, size_t cap, const char *text)
{
    size_t n_bytes = strlen(text), used = 0, room_for_dots = 0;
    char shown[9];
    for (size_t at = 0; at < n_bytes;) {
        at += show_char(shown, text + at, n_bytes - at);
        size_t n = strlen(shown);
        if (used + n + 1 > cap) {
            if (cap > 4)
                memcpy(out + room_for_dots, "...", 4);
            else
                out[used] = '\0';
            return;
        }
        memcpy(out + used, shown, n);
        used += n;
        if (used + 4 <= cap) room_for_dots = used;
    }
    out[used] = '\0';
}
