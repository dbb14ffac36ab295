/* The lexer: one pass over a copy of the text, line by line. Tokens are cut out by writing NULs into the
 * copy, so an item is four pointers and nothing is allocated per token. A ready-made reader (inih) was
 * the alternative; it cuts long lines and values with NUL silently and tells no columns. */
#include "core/ini.h"

#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct lexer {
    nt_ini *out;
    nt_pool *pool;
    char *text; /* the copy */
    int capacity;
    const char *origin;
    int line;
    const char *line_start;
} lexer;

/* Column of `at` in the present line, in characters from 1. */
static int column_of(const lexer *lx, const char *at)
{
    int column = 1;
    for (const char *p = lx->line_start; p < at; p++)
        column += ((unsigned char)*p & 0xc0) != 0x80;
    return column;
}

/* Fails at a place in the present line. */
#define LEX_FAIL(lx, at, format, ...)                                                                        \
    NT_FAIL(NT_ERR_CONFIG, "%s:%d:%d: " format, (lx)->origin, (lx)->line,                                    \
            column_of((lx), (at)) __VA_OPT__(, ) __VA_ARGS__)

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_comment(char c)
{
    return c == '#' || c == ';';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static char *skip_blanks(char *p)
{
    while (is_blank(*p))
        p++;
    return p;
}

static char *skip_word(char *p)
{
    while (is_word(*p))
        p++;
    return p;
}

static char *skip_key(char *p)
{
    if (!is_word(*p)) return p;
    while (is_word(*p) || *p == '.' || *p == '-')
        p++;
    return p;
}

/* First byte in [p, end) that is not text: broken UTF-8, NUL, or a control character other than tab; `end` if
 * all is well. */
static const char *find_bad_byte(const char *p, const char *end)
{
    while (p < end) {
        size_t n = nt_text_utf8_char(p, (size_t)(end - p));
        if (n == 0 || (n == 1 && (unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f) return p;
        if (n == 2 && (unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0) return p;
        p += n;
    }
    return end;
}

static nt_status check_line(const lexer *lx, const char *end)
{
    if (end - lx->line_start > NT_INI_MAX_LINE_BYTES)
        NT_FAIL(NT_ERR_CONFIG, "%s:%d:%d: the line is longer than %d bytes", lx->origin, lx->line,
                NT_INI_MAX_LINE_BYTES + 1, NT_INI_MAX_LINE_BYTES);
    const char *bad = find_bad_byte(lx->line_start, end);
    if (bad == end) return NT_OK;
    unsigned byte = (unsigned char)*bad;
    if (byte == '\r') LEX_FAIL(lx, bad, "carriage return inside a line; end lines with LF or CRLF");
    if (byte < 0x20 || byte == 0x7f || nt_text_utf8_char(bad, (size_t)(end - bad)) != 0)
        LEX_FAIL(lx, bad, "control character (byte 0x%02x)", byte);
    LEX_FAIL(lx, bad, "byte 0x%02x is not UTF-8 text", byte);
}

static nt_status add_item(lexer *lx, nt_ini_item item)
{
    nt_ini *ini = lx->out;
    if (ini->n_items == lx->capacity) {
        int capacity = lx->capacity ? 2 * lx->capacity : 64;
        size_t n_bytes = (size_t)capacity * sizeof *ini->item;
        nt_ini_item *grown = nt_pool_alloc(lx->pool, n_bytes); /* the old array stays in the pool */
        NT_CHECK_ALLOC(grown, n_bytes);
        if (ini->n_items) memcpy(grown, ini->item, (size_t)ini->n_items * sizeof *grown);
        ini->item = grown;
        lx->capacity = capacity;
    }
    item.line = lx->line;
    ini->item[ini->n_items++] = item;
    return NT_OK;
}

/* [section] or [section NAME]; p at the bracket. */
static nt_status lex_header(lexer *lx, char *p)
{
    char *section = p + 1, *section_end = skip_word(section), *name = NULL;
    if (section_end == section) LEX_FAIL(lx, section, "expected a section name after '['");
    p = section_end;
    if (is_blank(*p)) {
        name = skip_blanks(p);
        p = name + strcspn(name, "] \t");
        if (p == name)
            LEX_FAIL(lx, name, "expected a name, as in [layer conv1], or ']' right after the section");
    }
    if (*p != ']') LEX_FAIL(lx, p, "expected ']' here");
    char *after = skip_blanks(p + 1);
    if (*after && !(is_comment(*after) && after > p + 1))
        LEX_FAIL(lx, after, "unexpected text after ']'; a comment needs white space before it");
    int column = column_of(lx, section);
    *section_end = *p = '\0';
    if (name && !nt_text_is_name(name))
        LEX_FAIL(lx, name, "a name has 1 to 64 of A-Z a-z 0-9 . _ - and does not begin with '.' or '-'");
    return add_item(lx, (nt_ini_item){.section = section, .name = name, .column = column});
}

/* Cuts a value at its comment and the white space before that. */
static void cut_value(char *value)
{
    char *end = value; /* behind the last character that is not blank */
    for (char *p = value; *p; p++) {
        if (is_comment(*p) && is_blank(p[-1])) break;
        if (!is_blank(*p)) end = p + 1;
    }
    *end = '\0';
}

/* key = value; p at the key. */
static nt_status lex_key(lexer *lx, char *key)
{
    char *key_end = skip_key(key), *equals = skip_blanks(key_end);
    if (key_end == key) LEX_FAIL(lx, key, "expected 'key = value', '[section]' or a comment");
    if (*equals != '=') LEX_FAIL(lx, equals, "expected '=' after the key; a key has only A-Z a-z 0-9 _ . -");
    if (key_end - key > NT_INI_MAX_KEY_BYTES)
        LEX_FAIL(lx, key, "the key is longer than %d characters", NT_INI_MAX_KEY_BYTES);
    if (lx->out->n_items == 0) LEX_FAIL(lx, key, "a key before the first [section]");
    char *value = skip_blanks(equals + 1);
    if (is_comment(*value) && value == equals + 1)
        LEX_FAIL(lx, value, "a value cannot begin with '%c'; a comment needs white space before it", *value);
    int column = column_of(lx, key), value_column = column_of(lx, value);
    cut_value(value);
    if (strlen(value) > NT_INI_MAX_VALUE_BYTES)
        LEX_FAIL(lx, value, "the value is longer than %d bytes", NT_INI_MAX_VALUE_BYTES);
    *key_end = '\0';
    return add_item(
        lx, (nt_ini_item){.key = key, .value = value, .column = column, .value_column = value_column});
}

/* A line [line_start, end) whose end may be overwritten. */
static nt_status lex_line(lexer *lx, char *start, char *end)
{
    lx->line_start = start;
    lx->line++;
    if (end > start && end[-1] == '\r') end--;
    NT_TRY(check_line(lx, end));
    *end = '\0';
    char *p = skip_blanks(start);
    if (*p == '\0' || is_comment(*p)) return NT_OK;
    return *p == '[' ? lex_header(lx, p) : lex_key(lx, p);
}

static nt_status lex_all(lexer *lx, size_t n_bytes)
{
    char *p = lx->text, *end = p + n_bytes;
    if (n_bytes >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) p += 3;
    while (p < end) {
        char *newline = memchr(p, '\n', (size_t)(end - p));
        char *line_end = newline ? newline : end;
        NT_CHECK(lx->line < NT_INI_MAX_LINES, NT_ERR_CONFIG, "%s:%d:1: the file has more than %d lines",
                 lx->origin, NT_INI_MAX_LINES + 1, NT_INI_MAX_LINES);
        NT_TRY(lex_line(lx, p, line_end));
        p = line_end + 1;
    }
    NT_CHECK(lx->out->n_items > 0, NT_ERR_CONFIG, "%s:1:1: %s: there is no [section] in it", lx->origin,
             n_bytes ? "only comments and blank lines" : "the file is empty");
    return NT_OK;
}

nt_status nt_ini_parse(nt_ini *out, nt_pool *pool, const char *origin, const char *text, size_t n_bytes)
{
    *out = (nt_ini){0};
    NT_CHECK(n_bytes <= NT_INI_MAX_FILE_BYTES, NT_ERR_CONFIG, "%s:1:1: the file is larger than %u bytes",
             origin, NT_INI_MAX_FILE_BYTES);
    lexer lx = {.out = out, .pool = pool, .origin = origin};
    lx.text = nt_pool_text(pool, n_bytes ? text : "", n_bytes);
    NT_CHECK_ALLOC(lx.text, n_bytes + 1);
    return lex_all(&lx, n_bytes);
}

bool nt_ini_is_key(const char *key)
{
    const char *end = skip_key((char *)key);
    return end > key && !*end && end - key <= NT_INI_MAX_KEY_BYTES;
}

bool nt_ini_is_value(const char *value)
{
    size_t n = strlen(value);
    if (n == 0) return true;
    if (n > NT_INI_MAX_VALUE_BYTES || find_bad_byte(value, value + n) != value + n) return false;
    if (is_blank(value[0]) || is_blank(value[n - 1]) || is_comment(value[0])) return false;
    for (size_t i = 1; i < n; i++)
        if (is_comment(value[i]) && is_blank(value[i - 1])) return false;
    return true;
}

static nt_status read_all(int fd, const char *path, char *text, size_t cap, size_t *n_bytes)
{
    *n_bytes = 0;
    while (*n_bytes < cap) {
        ssize_t got = read(fd, text + *n_bytes, cap - *n_bytes);
        if (got < 0 && errno == EINTR) continue;
        NT_CHECK(got >= 0, NT_ERR_NO_INPUT, "cannot read %s: %s", path, strerror(errno));
        if (got == 0) return NT_OK;
        *n_bytes += (size_t)got;
    }
    NT_FAIL(NT_ERR_CONFIG, "%s:1:1: the file is larger than %u bytes", path, NT_INI_MAX_FILE_BYTES);
}

static nt_status read_open_file(int fd, const char *path, char **text, size_t *n_bytes)
{
    struct stat info;
    NT_CHECK(fstat(fd, &info) == 0, NT_ERR_NO_INPUT, "cannot read %s: %s", path, strerror(errno));
    NT_CHECK(S_ISREG(info.st_mode), NT_ERR_NO_INPUT, "cannot read %s: it is %s, not a file", path,
             S_ISDIR(info.st_mode) ? "a folder" : "a pipe or device");
    size_t cap = NT_INI_MAX_FILE_BYTES + 1;
    char *all = malloc(cap);
    NT_CHECK_ALLOC(all, cap);
    nt_status status = read_all(fd, path, all, cap, n_bytes);
    if (status != NT_OK)
        free(all);
    else
        *text = all;
    return status;
}

nt_status nt_ini_read_file(const char *path, char **text, size_t *n_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    NT_CHECK(fd >= 0, NT_ERR_NO_INPUT, "cannot open %s: %s", path, strerror(errno));
    nt_status status = read_open_file(fd, path, text, n_bytes);
    close(fd);
    return status;
}
