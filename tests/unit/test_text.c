/* Text helpers against independent oracles: printf and strtod for numbers, a plain recursion for edit
 * distances, iconv for UTF-8. */
#include "core/rng.h"
#include "core/text.h"

#include <iconv.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Word `index` of a fixed random sequence. */
static uint32_t random_word(uint32_t index)
{
    return nt_rng_block(1, NT_RNG_TEST, 0, index / 4, 0, 0).v[index % 4];
}

static void fault_73_whole_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"+7", true, 7},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999999", false, 0},
        {"", false, 0},
        {"+", false, 0},
        {"--1", false, 0},
        {" 5 ", false, 0},
        {"5 ", false, 0},
        {"5abc", false, 0},
        {"1e3", false, 0},
        {"1.0", false, 0},
        {"0x10", false, 0},
        {"1,000", false, 0},
        {"\xd9\xa3", false, 0}, /* an Arabic digit */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        if (nt_text_to_int(cases[i].text, &value) != cases[i].ok) fail_msg("'%s'", cases[i].text);
        assert_int_equal(value, cases[i].value);
    }
}

static void fault_73_decimal_numbers(void **state)
{
    (void)state;
    static const char *const good[] = {"0",    "-1",     "+2.5",  ".5",       "5.",       "1e3",
                                       "1E-3", "-.5e+2", "1e308", "4.9e-324", "2.2e-310", "0e999"};
    static const char *const bad[] = {"",       "-",        "e3",  "1e",   "1e+",  ".",      "1.2.3",
                                      "0x10",   "0x1p3",    "nan", "inf",  "-inf", "NAN(1)", "1e999",
                                      "-1e999", "1e-999",   " 5",  "5 ",   "5abc", "1,5",    "1_000",
                                      "1f",     "infinity", "--1", "1e3.5"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double value;
        if (!nt_text_to_float(good[i], &value)) fail_msg("'%s' was refused", good[i]);
        assert_true(value == strtod(good[i], NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double value = 42;
        if (nt_text_to_float(bad[i], &value)) fail_msg("'%s' was taken", bad[i]);
        assert_true(value == 42);
    }
}

/* Random bit patterns: the text must be the same double, and no shorter one may be (in significant digits).
 */
static void test_float_text_reads_back(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)random_word(2 * i) << 32 | random_word(2 * i + 1);
        double value, back = 0;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        char text[NT_FLOAT_TEXT_BYTES], shorter[512];
        nt_text_from_float(value, text);
        if (!nt_text_to_float(text, &back)) fail_msg("%a -> '%s'", value, text);
        assert_memory_equal(&back, &value, sizeof value);
        assert_true(strtod(text, NULL) == value);
        int digits = 0; /* significant ones */
        for (const char *p = text; *p && *p != 'e'; p++)
            digits += *p >= (digits ? '0' : '1') && *p <= '9';
        if (digits < 2 || value == trunc(value)) continue; /* whole numbers may end in zeros */
        snprintf(shorter, sizeof shorter, "%.*g", digits - 1, value);
        assert_true(strtod(shorter, NULL) != value);
    }
}

static void test_float_text_is_readable(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {0.1, "0.1"},
                 {1e-3, "0.001"},
                 {100000, "100000"},
                 {-2.5, "-2.5"},
                 {1e-8, "1e-08"},
                 {1e15, "1e+15"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1.0 / 3, "0.3333333333333333"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[NT_FLOAT_TEXT_BYTES];
        assert_string_equal(nt_text_from_float(cases[i].value, text), cases[i].text);
    }
}

/* Makes a locale with a decimal comma in `folder` and switches to it; no such locale is installed where this
 * usually runs. */
static bool enter_comma_locale(const char *folder)
{
    char path[128], command[512];
    snprintf(path, sizeof path, "%s/source", folder);
    FILE *source = fopen(path, "w");
    if (!source) return false;
    fputs("LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n", source);
    fclose(source);
    snprintf(command, sizeof command, "localedef -c -i %s %s/xx_XX >/dev/null 2>&1", path, folder);
    if (system(command) < 0) return false; /* it fails for its warnings too: setlocale decides */
    setenv("LOCPATH", folder, 1);
    return setlocale(LC_NUMERIC, "xx_XX") != NULL;
}

static void fault_73_locale_with_comma(void **state)
{
    (void)state;
    char folder[] = "/tmp/nt_locale_XXXXXX", command[64], shown[8], text[NT_FLOAT_TEXT_BYTES];
    double value = 0;
    assert_non_null(mkdtemp(folder));
    bool entered = enter_comma_locale(folder);
    if (entered) {
        snprintf(shown, sizeof shown, "%.1f", 1.5);
        assert_string_equal(shown, "1,5"); /* it is in force */
        assert_true(nt_text_to_float("1.5", &value) && value == 1.5);
        assert_false(nt_text_to_float("1,5", &value));
        assert_string_equal(nt_text_from_float(1.5, text), "1.5");
        snprintf(shown, sizeof shown, "%.1f", 1.5);
        assert_string_equal(shown, "1,5"); /* and still is */
    }
    setlocale(LC_ALL, "C");
    unsetenv("LOCPATH");
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    if (!entered) skip();
}

/* Edit distance with swaps, straight from its definition; fine for words of a few letters. */
static int slow_distance(const char *a, int na, const char *b, int nb)
{
    if (na == 0 || nb == 0) return na + nb;
    int best = slow_distance(a, na - 1, b, nb - 1) + (a[na - 1] != b[nb - 1]);
    int other = slow_distance(a, na - 1, b, nb) + 1;
    if (other < best) best = other;
    other = slow_distance(a, na, b, nb - 1) + 1;
    if (other < best) best = other;
    if (na > 1 && nb > 1 && a[na - 1] == b[nb - 2] && a[na - 2] == b[nb - 1]) {
        other = slow_distance(a, na - 2, b, nb - 2) + 1;
        if (other < best) best = other;
    }
    return best;
}

static void random_letters(char *word, uint32_t seed)
{
    int n = 1 + (int)(random_word(seed) % 6);
    for (int i = 0; i < n; i++)
        word[i] = (char)('a' + random_word(seed + 1 + (uint32_t)i) % 3);
    word[n] = '\0';
}

static void test_nearest_by_definition(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 300; i++) {
        char word[8], list[4][8];
        const char *candidates[5] = {list[0], list[1], list[2], list[3], NULL}, *expected = NULL;
        random_letters(word, 100000 + i * 64);
        int least = 3, n = (int)strlen(word); /* a word of up to 6 letters may be 2 off */
        for (uint32_t c = 0; c < 4; c++) {
            random_letters(list[c], 100000 + i * 64 + 8 * (c + 1));
            int m = (int)strlen(list[c]), distance = slow_distance(word, n, list[c], m);
            if (distance >= (n > m ? n : m) || distance >= least) continue;
            least = distance;
            expected = list[c];
        }
        const char *got = nt_text_nearest(word, candidates);
        if (got != expected) fail_msg("'%s': %s, not %s", word, got ? got : "-", expected ? expected : "-");
    }
}

static void test_nearest_of_real_words(void **state)
{
    (void)state;
    static const char *const keys[] = {"type", "lr", "momentum", "weight_decay", "schedule", NULL};
    static const char *const none[] = {NULL};
    char longest[1000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_string_equal(nt_text_nearest("momentun", keys), "momentum");
    assert_string_equal(nt_text_nearest("Weight-Decay", keys), "weight_decay");
    assert_string_equal(nt_text_nearest("tpye", keys), "type");
    assert_string_equal(nt_text_nearest("LR", keys), "lr");
    assert_null(nt_text_nearest("filters", keys));
    assert_null(nt_text_nearest("xy", keys));
    assert_null(nt_text_nearest(longest, keys));
    assert_null(nt_text_nearest("lr", none));
    assert_string_equal(nt_text_nearest("Learning_Rate", keys), "lr"); /* as others call it */
    assert_string_equal(nt_text_nearest("wd", keys), "weight_decay");
    assert_null(nt_text_nearest("dense", keys));
}

static void fault_76_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "conv1", "A.b_c-9", "0"};
    static const char *const bad[] = {"",    "-x",   ".",    "..",       "../x", "a/b",
                                      "a b", "a\nb", "a;rm", "\xc3\xa9", "a\x1b"};
    char longest[66];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(nt_text_is_name(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(nt_text_is_name(bad[i]));
    memset(longest, 'a', 65);
    longest[65] = '\0';
    assert_false(nt_text_is_name(longest));
    longest[64] = '\0';
    assert_true(nt_text_is_name(longest));
}

/* Whether iconv takes the bytes as UTF-8, beyond U+10FFFF and NUL excluded (glibc's takes both). */
static bool iconv_takes(iconv_t to_ucs4, const char *bytes, size_t n_bytes)
{
    uint32_t chars[8];
    char *in = (char *)(uintptr_t)bytes, *out = (char *)chars;
    size_t n_in = n_bytes, n_out = sizeof chars;
    iconv(to_ucs4, NULL, NULL, NULL, NULL);
    if (iconv(to_ucs4, &in, &n_in, &out, &n_out) == (size_t)-1 || n_in) return false;
    for (const uint32_t *p = chars; (char *)p < out; p++)
        if (*p == 0 || *p > 0x10ffff) return false;
    return true;
}

static void test_utf8_against_iconv(void **state)
{
    (void)state;
    /* bytes near every border of the definition */
    static const unsigned char edge[] = {0x00, 0x01, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0,
                                         0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
                                         0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    size_t n = sizeof edge, n_valid = 0;
    iconv_t to_ucs4 = iconv_open("UCS-4LE", "UTF-8");
    assert_true(to_ucs4 != (iconv_t)-1);
    for (size_t i = 0; i < n * n * n * n; i++) {
        unsigned char bytes[4] = {edge[i % n], edge[i / n % n], edge[i / n / n % n], edge[i / n / n / n]};
        for (size_t length = 1; length <= 4; length++) {
            if (length < 4 && i >= (length == 1 ? n : length == 2 ? n * n : n * n * n)) continue;
            bool expected = iconv_takes(to_ucs4, (char *)bytes, length);
            n_valid += expected;
            if (nt_text_is_utf8((char *)bytes, length) != expected)
                fail_msg("%02x %02x %02x %02x, %zu bytes", bytes[0], bytes[1], bytes[2], bytes[3], length);
        }
    }
    iconv_close(to_ucs4);
    assert_true(n_valid > 1000);
    assert_true(nt_text_is_utf8("", 0));
}

static void test_escape(void **state)
{
    (void)state;
    char out[64];
    nt_text_escape(out, sizeof out,
                   "a\x1b[2J\n\x7f"
                   "b\xc2\x9b"
                   "31m\xff \xc3\xa9");
    assert_string_equal(out, "a\\x1b[2J\\x0a\\x7f"
                             "b\\xc2\\x9b"
                             "31m\\xff \xc3\xa9");
    for (size_t cap = 1; cap <= 12; cap++) { /* never past cap, never half a character */
        memset(out, '?', sizeof out);
        nt_text_escape(out, cap,
                       "\xc3\xa9\xc3\xa9\x01\xc3\xa9"
                       "abcdef");
        assert_true(strlen(out) < cap);
        assert_true(nt_text_is_utf8(out, strlen(out)));
        for (size_t i = cap; i < sizeof out; i++)
            assert_int_equal(out[i], '?');
    }
    nt_text_escape(out, 8, "abcdefg");
    assert_string_equal(out, "abcdefg");
    nt_text_escape(out, 8, "abcdefgh");
    assert_string_equal(out, "abcd...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_73_whole_numbers),      cmocka_unit_test(fault_73_decimal_numbers),
        cmocka_unit_test(fault_73_locale_with_comma),  cmocka_unit_test(test_float_text_reads_back),
        cmocka_unit_test(test_float_text_is_readable), cmocka_unit_test(test_nearest_by_definition),
        cmocka_unit_test(test_nearest_of_real_words),  cmocka_unit_test(fault_76_names),
        cmocka_unit_test(test_utf8_against_iconv),     cmocka_unit_test(test_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
