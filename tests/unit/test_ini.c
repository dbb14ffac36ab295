/* The lexer: what it takes, where it points when it refuses, and, on random texts, the same reading as inih
 * wherever both read. */
#include "core/ini.h"
#include "core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <ini.h>

/* "section|NAME|key=value;..." of what was read, for comparing. */
static void flatten(const nt_ini *ini, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < ini->n_items && used < cap; i++) {
        const nt_ini_item *item = &ini->item[i];
        if (item->section)
            used += (size_t)snprintf(out + used, cap - used, "[%s%s%s]\n", item->section,
                                     item->name ? " " : "", item->name ? item->name : "");
        else
            used += (size_t)snprintf(out + used, cap - used, "%s=%s\n", item->key, item->value);
    }
}

static void expect_bytes(const char *text, size_t n_bytes, const char *expected)
{
    nt_pool pool = {0};
    nt_ini ini;
    char got[1024];
    if (nt_ini_parse(&ini, &pool, "f", text, n_bytes) != NT_OK) fail_msg("%s", nt_error_last()->message);
    flatten(&ini, got, sizeof got);
    assert_string_equal(got, expected);
    nt_pool_free(&pool);
}

static void expect(const char *text, const char *expected)
{
    expect_bytes(text, strlen(text), expected);
}

/* The text must be refused with a message that begins with `message`. */
static void refuse_bytes(const char *text, size_t n_bytes, const char *message)
{
    nt_pool pool = {0};
    nt_ini ini;
    assert_int_equal(nt_ini_parse(&ini, &pool, "f", text, n_bytes), NT_ERR_CONFIG);
    if (strncmp(nt_error_last()->message, message, strlen(message)) != 0)
        fail_msg("'%s', not '%s'", nt_error_last()->message, message);
    nt_pool_free(&pool);
}

static void refuse(const char *text, const char *message)
{
    refuse_bytes(text, strlen(text), message);
}

static void test_plain(void **state)
{
    (void)state;
    expect("[run]\nepochs = 3\n", "[run]\nepochs=3\n");
    expect("  [run]  \n\tepochs=3\t\n\n\n", "[run]\nepochs=3\n");
    expect("[layers]\nlayer1.0.conv-a = conv2d\n", "[layers]\nlayer1.0.conv-a=conv2d\n");
    expect("[layer conv1]\ntype = conv2d\n[layer  a.b-c_D]\n",
           "[layer conv1]\ntype=conv2d\n[layer a.b-c_D]\n");
    expect("[a]\nx = b = c\ny =\nz = [q]\n", "[a]\nx=b = c\ny=\nz=[q]\n");
    expect("[a]\nfile = my data/\xc3\xa9t\xc3\xa9.h5\n", "[a]\nfile=my data/\xc3\xa9t\xc3\xa9.h5\n");
}

static void test_comments(void **state)
{
    (void)state;
    expect("# c\n; c\n  # c\n[a] ; c\nx = 1 # c\ny = 2\t; c\n", "[a]\nx=1\ny=2\n");
    expect("[a]\nx = a#b;c\ny = # nothing\nz = ;\n", "[a]\nx=a#b;c\ny=\nz=\n");
    expect("[a]\nx = a  #  b ; c\n", "[a]\nx=a\n");
    refuse("[a]\nx =#1\n", "f:2:4: a value cannot begin with '#'");
    refuse("[a];c\n", "f:1:4: unexpected text after ']'");
}

static void fault_72_forms_that_are_taken(void **state)
{
    (void)state;
    expect("\xef\xbb\xbf[a]\nx = 1\n", "[a]\nx=1\n");
    expect("[a]\r\nx = 1\r\n\r\n", "[a]\nx=1\n");
    expect("[a]\nx = 1", "[a]\nx=1\n");
    expect("[a]", "[a]\n");
}

static void fault_72_forms_that_are_refused(void **state)
{
    (void)state;
    refuse("", "f:1:1: the file is empty");
    refuse("\n# c\n", "f:1:1: only comments and blank lines");
    refuse("x = 1\n", "f:1:1: a key before the first [section]");
    refuse("[a]\n\n  x\n", "f:3:4: expected '=' after the key");
    refuse("[a]\nlearning rate = 1\n", "f:2:10: expected '=' after the key");
    refuse("[a]\n.b = 1\n", "f:2:1: expected 'key = value'");
    refuse("[a]\na:b = 1\n", "f:2:2: expected '=' after the key");
    refuse("[a]\n= 1\n", "f:2:1: expected 'key = value'");
    refuse("[a]\n\xc3\xa9 = 1\n", "f:2:1: expected 'key = value'");
    refuse("[a\nx = 1\n", "f:1:3: expected ']' here");
    refuse("[]\n", "f:1:2: expected a section name");
    refuse("[ a]\n", "f:1:2: expected a section name");
    refuse("[a ]\n", "f:1:4: expected a name");
    refuse("[a b c]\n", "f:1:5: expected ']' here");
    refuse("[a b ]\n", "f:1:5: expected ']' here");
    refuse("[a] b\n", "f:1:5: unexpected text after ']'");
    refuse("[layer -x]\n", "f:1:8: a name has 1 to 64");
    refuse("[layer \xc3\xa9]\n", "f:1:8: a name has 1 to 64");
}

static void fault_72_bytes_that_are_refused(void **state)
{
    (void)state;
    refuse_bytes("[a]\nx = 1\0\n", 11, "f:2:6: control character (byte 0x00)");
    refuse_bytes("\0", 1, "f:1:1: control character (byte 0x00)");
    refuse("[a]\nx = \x1b[2J\n", "f:2:5: control character (byte 0x1b)");
    refuse("[a]\nx = \xc2\x9b\n", "f:2:5: control character");
    refuse("[a]\nx = a\x7f\n", "f:2:6: control character (byte 0x7f)");
    refuse("[a]\nx = 1\ry = 2\n", "f:2:6: carriage return inside a line");
    refuse("[a]\n# \xff\n", "f:2:3: byte 0xff is not UTF-8");
    refuse("[a]\nx = \xc3\xa9\xc3\n", "f:2:6: byte 0xc3 is not UTF-8"); /* the e-acute is one column */
    refuse("[a]\nx = \xed\xa0\x80\n", "f:2:5: byte 0xed is not UTF-8");
    refuse("\xff\xfe[\0a\0]\0", "f:1:1: byte 0xff is not UTF-8"); /* UTF-16 */
    refuse("[a]\nx = \xef\xbb\xbf\xef\n", "f:2:6: byte 0xef is not UTF-8");
}

/* n bytes of `fill` behind `head`, then `tail`; malloc'ed. */
static char *stretched(const char *head, char fill, size_t n, const char *tail, size_t *n_bytes)
{
    *n_bytes = strlen(head) + n + strlen(tail);
    char *text = malloc(*n_bytes + 1);
    assert_non_null(text);
    memcpy(text, head, strlen(head));
    memset(text + strlen(head), fill, n);
    memcpy(text + strlen(head) + n, tail, strlen(tail) + 1);
    return text;
}

static void refuse_stretched(const char *head, char fill, size_t n, const char *tail, const char *message)
{
    size_t n_bytes;
    char *text = stretched(head, fill, n, tail, &n_bytes);
    refuse_bytes(text, n_bytes, message);
    free(text);
}

static void fault_72_limits(void **state)
{
    (void)state;
    size_t n_bytes;
    nt_pool pool = {0};
    nt_ini ini;
    refuse_stretched("[a]\nx = ", 'y', 1 << 20, "\n", "f:2:4097: the line is longer than 4096 bytes");
    refuse_stretched("[a]\n#", ' ', 4096, "", "f:2:4097: the line is longer than 4096 bytes");
    refuse_stretched("[a]\nx = ", 'y', 4001, "\n", "f:2:5: the value is longer than 4000 bytes");
    refuse_stretched("[a]\n", 'k', 65, " = 1\n", "f:2:1: the key is longer than 64 characters");
    refuse_stretched("[a]\n", '\n', 1000000, "", "f:100001:1: the file has more than 100000 lines");
    refuse_stretched("[a]\n", ' ', NT_INI_MAX_FILE_BYTES, "", "f:1:1: the file is larger than 4194304 bytes");
    char *text = stretched("[a]\nx = ", 'y', 4000, "\r\n", &n_bytes);
    assert_int_equal(nt_ini_parse(&ini, &pool, "f", text, n_bytes), NT_OK);
    assert_int_equal(strlen(ini.item[1].value), 4000);
    nt_pool_free(&pool);
    free(text);
}

static void test_places(void **state)
{
    (void)state;
    const char *text = "# c\n\n  [layer \xc3\xa9\x62]\n";
    nt_pool pool = {0};
    nt_ini ini;
    refuse(text, "f:3:10: a name has");
    text = "\xef\xbb\xbf [a]\n\n\tkey  =  \xc3\xa9\xc3\xa9 # c\n";
    assert_int_equal(nt_ini_parse(&ini, &pool, "f", text, strlen(text)), NT_OK);
    assert_int_equal(ini.n_items, 2);
    assert_int_equal(ini.item[0].line, 1);
    assert_int_equal(ini.item[0].column, 3);
    assert_int_equal(ini.item[1].line, 3);
    assert_int_equal(ini.item[1].column, 2);
    assert_int_equal(ini.item[1].value_column, 10);
    nt_pool_free(&pool);
}

static void fault_75_values_are_literal(void **state)
{
    (void)state;
    expect("[a]\nx = ${HOME} `id` %s $(id) \\n \"q\" 'r' ~ *\n",
           "[a]\nx=${HOME} `id` %s $(id) \\n \"q\" 'r' ~ *\n");
}

/* Of any text: what can stand as a value is read back as itself, and nothing else can. */
static void test_is_value(void **state)
{
    (void)state;
    static const char *const words[] = {"",    "a",     "a b",      " a",       "a ",  "#",    "a#",
                                        "a #", "a\t;b", ";a",       "a;b",      "a\n", "\x1b", "\xff",
                                        "[x]", "a = b", "\xc3\xa9", "\xc2\x80", "a\r"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char text[64];
        nt_pool pool = {0};
        nt_ini ini;
        snprintf(text, sizeof text, "[a]\nx = %s\n", words[i]);
        bool same = nt_ini_parse(&ini, &pool, "f", text, strlen(text)) == NT_OK && ini.n_items == 2 &&
                    strcmp(ini.item[1].value, words[i]) == 0;
        if (strcmp(words[i], "a\r") == 0) same = false; /* lost as a line end, not kept */
        if (nt_ini_is_value(words[i]) != same) fail_msg("'%s'", words[i]);
        nt_pool_free(&pool);
    }
}

static void fault_66_config_that_is_not_a_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/nt_ini_XXXXXX", fifo[64];
    char *text = NULL;
    size_t n_bytes;
    assert_non_null(mkdtemp(folder));
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(nt_ini_read_file(folder, &text, &n_bytes), NT_ERR_NO_INPUT);
    assert_non_null(strstr(nt_error_last()->message, "it is a folder"));
    assert_int_equal(nt_ini_read_file(fifo, &text, &n_bytes), NT_ERR_NO_INPUT); /* and does not wait */
    assert_int_equal(nt_ini_read_file("/dev/zero", &text, &n_bytes), NT_ERR_NO_INPUT);
    assert_int_equal(nt_ini_read_file("/nowhere/x.ini", &text, &n_bytes), NT_ERR_NO_INPUT);
    assert_non_null(strstr(nt_error_last()->message, "/nowhere/x.ini"));
    unlink(fifo);
    rmdir(folder);
}

/* ---- against inih ---- */

typedef struct inih_reading {
    char text[4096];
    size_t used;
    char section[64];
} inih_reading;

static int take_from_inih(void *user, const char *section, const char *name, const char *value)
{
    inih_reading *r = user;
    r->used +=
        (size_t)snprintf(r->text + r->used, sizeof r->text - r->used, "%s|%s=%s\n", section, name, value);
    return r->used < sizeof r->text;
}

/* The same form from our reading: keys only, each with its section. */
static void flatten_keys(const nt_ini *ini, char *out, size_t cap)
{
    size_t used = 0;
    char section[140] = "";
    out[0] = '\0';
    for (int i = 0; i < ini->n_items && used < cap; i++) {
        const nt_ini_item *item = &ini->item[i];
        if (item->section)
            snprintf(section, sizeof section, "%s%s%s", item->section, item->name ? " " : "",
                     item->name ? item->name : "");
        else
            used += (size_t)snprintf(out + used, cap - used, "%s|%s=%s\n", section, item->key, item->value);
    }
}

/* A text of random pieces that are likely to go wrong together. Kept out is what the two languages define
 * differently: `#` comments behind a value, lines that begin with white space (inih continues the value
 * before), and more than one blank inside a header. */
static void random_text(char *text, size_t cap, uint32_t seed)
{
    static const char *const pieces[] = {"[run]",    "[layer conv1]",
                                         "\n",       "\n",
                                         "\n",       "\r\n",
                                         "lr",       " = ",
                                         "=",        "0.1",
                                         " ; note",  ";",
                                         "a=b",      "[",
                                         "]",        ":",
                                         "key",      " ",
                                         "\t",       "x y",
                                         "# c",      "; c",
                                         "[a]\n",    "a#b",
                                         "a;b",      "=\n",
                                         "==",       "\xc3\xa9",
                                         "b=2\n",    "lr = 0.5\n",
                                         "k=v ;w\n", "[s] ; c\n",
                                         "\xff",     "[b]\n",
                                         "\nx = ",   "y=1 2\n",
                                         "\nz =\t"};
    size_t used = 0, n_pieces = sizeof pieces / sizeof pieces[0];
    uint32_t n = 1 + nt_rng_block(9, NT_RNG_TEST, 0, seed, 0, 0).v[0] % 24;
    text[0] = '\0';
    if (nt_rng_block(9, NT_RNG_TEST, 0, seed, 0, 1).v[0] % 2) used = (size_t)snprintf(text, cap, "[a]\n");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t pick = nt_rng_block(9, NT_RNG_TEST, 0, seed, i, 2).v[0];
        used += (size_t)snprintf(text + used, cap - used, "%s", pieces[pick % n_pieces]);
    }
}

static bool is_comparable(const char *text)
{
    if (strstr(text, " #") || strstr(text, "\t#")) return false;
    for (const char *line = text; *line; line++) {
        bool at_start = line == text || line[-1] == '\n';
        if (at_start && (*line == ' ' || *line == '\t')) return false;
    }
    return true;
}

static void test_against_inih(void **state)
{
    (void)state;
    int n_both = 0, n_ours = 0, n_keys = 0;
    for (uint32_t seed = 0; seed < 400000; seed++) {
        char text[1024], ours[4096];
        nt_pool pool = {0};
        nt_ini ini;
        inih_reading theirs = {.used = 0};
        random_text(text, sizeof text, seed);
        if (!is_comparable(text)) continue;
        bool taken = nt_ini_parse(&ini, &pool, "f", text, strlen(text)) == NT_OK;
        if (taken) {
            n_ours++;
            flatten_keys(&ini, ours, sizeof ours);
            if (ini_parse_string(text, take_from_inih, &theirs) == 0) {
                n_both++;
                if (strcmp(ours, theirs.text) != 0)
                    fail_msg("text '%s'\nours '%s'\ninih '%s'", text, ours, theirs.text);
                for (const char *p = ours; *p; p++)
                    n_keys += *p == '\n';
            }
        }
        nt_pool_free(&pool);
    }
    print_message("both read %d of our %d texts, %d keys\n", n_both, n_ours, n_keys);
    assert_int_equal(n_both, n_ours); /* we are the stricter one */
    assert_true(n_both > 5000 && n_keys > 5000);
}

/* Any bytes: an answer, and if it is no, one with a place. Under the sanitizers this is the fuzz test. */
static void fault_72_random_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "[]=#; \t\r\nab_.-0\0\xc3\xa9\xff\x1b";
    for (uint32_t seed = 0; seed < 50000; seed++) {
        char text[64];
        nt_pool pool = {0};
        nt_ini ini;
        size_t n_bytes = nt_rng_block(10, NT_RNG_TEST, 0, seed, 0, 0).v[0] % sizeof text;
        for (size_t i = 0; i < n_bytes; i++)
            text[i] =
                alphabet[nt_rng_block(10, NT_RNG_TEST, 0, seed, (uint32_t)i, 1).v[0] % (sizeof alphabet - 1)];
        char *exact = malloc(n_bytes ? n_bytes : 1); /* so that a byte too far is seen */
        assert_non_null(exact);
        memcpy(exact, text, n_bytes);
        if (nt_ini_parse(&ini, &pool, "f", exact, n_bytes) != NT_OK) {
            int line = 0, column = 0;
            assert_int_equal(sscanf(nt_error_last()->message, "f:%d:%d: ", &line, &column), 2);
            assert_true(line >= 1 && column >= 1);
        }
        free(exact);
        nt_pool_free(&pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(fault_72_forms_that_are_taken),
        cmocka_unit_test(fault_72_forms_that_are_refused),
        cmocka_unit_test(fault_72_bytes_that_are_refused),
        cmocka_unit_test(fault_72_limits),
        cmocka_unit_test(fault_72_random_bytes),
        cmocka_unit_test(test_places),
        cmocka_unit_test(fault_75_values_are_literal),
        cmocka_unit_test(test_is_value),
        cmocka_unit_test(fault_66_config_that_is_not_a_file),
        cmocka_unit_test(test_against_inih),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
