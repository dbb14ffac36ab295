/* Tokens sorted by their bytes: those that begin with the first k bytes of a text are a range of the list,
 * and byte k + 1 narrows it by two binary searches. A trie would be faster and much larger; text is cut once.
 *
 * The longest match is taken and nothing is looked ahead. That is what word pieces want; the merges of a byte
 * pair encoding are another rule, which gives other tokens for some texts: tokens of GPT-2's own encoder are
 * imported as numbers. */
#include "datasets/vocabulary.h"

#include "datasets/import.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)64 << 20)
#define MAX_TOKENS     (1 << 20)

typedef struct token {
    const uint8_t *bytes;
    size_t n;
    int32_t id;
} token;

struct nt_vocabulary {
    char *file;     /* the text of the file, lines terminated */
    uint8_t *bytes; /* of all tokens */
    const char **line;
    token *token; /* (n), sorted */
    int n;
    int32_t unknown; /* id of <unk>; -1 */
};

static nt_status read_file(nt_vocabulary *v, const char *path, size_t *n)
{
    nt_zfile *file;
    NT_TRY(nt_zfile_open(&file, path));
    v->file = malloc(MAX_FILE_BYTES + 1);
    nt_status status = v->file ? nt_zfile_read_some(file, v->file, MAX_FILE_BYTES, n) : NT_ERR_UNAVAILABLE;
    if (!v->file) (void)nt_error_set(status, __FILE__, __LINE__, __func__, "out of memory for '%s'", path);
    nt_zfile_close(file);
    NT_TRY(status);
    NT_CHECK(*n < MAX_FILE_BYTES, NT_ERR_DATA, "'%s' is too large for a vocabulary", path);
    v->file[*n] = '\0';
    return NT_OK;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The bytes that a line stands for; returns their number, or -1 for an escape that is none. */
static int64_t unescape(uint8_t *dst, const char *line)
{
    static const char codes[] = "ntr\\", values[] = "\n\t\r\\";
    int64_t n = 0;
    for (const char *c = line; *c; c++) {
        if (*c != '\\') {
            dst[n++] = (uint8_t)*c;
            continue;
        }
        c++;
        const char *code = *c ? strchr(codes, *c) : NULL;
        if (code) {
            dst[n++] = (uint8_t)values[code - codes];
        } else {
            if (*c != 'x' || hex(c[1]) < 0 || hex(c[2]) < 0) return -1;
            dst[n++] = (uint8_t)(16 * hex(c[1]) + hex(c[2]));
            c += 2;
        }
    }
    return n;
}

static nt_status take_line(nt_vocabulary *v, const char *path, char *line, uint8_t *bytes, int64_t *n)
{
    size_t length = strlen(line);
    if (length > 0 && line[length - 1] == '\r') line[length - 1] = '\0';
    *n = unescape(bytes, line);
    NT_CHECK(*n >= 0, NT_ERR_DATA,
             "'%s', line %d: a backslash begins \\n, \\t, \\r, \\\\ or \\x and two digits", path, v->n + 1);
    NT_CHECK(*n > 0, NT_ERR_DATA, "'%s', line %d is empty: there is one token a line (\\n is a line's end)",
             path, v->n + 1);
    NT_CHECK(v->n < MAX_TOKENS, NT_ERR_DATA, "'%s' has more than %d tokens", path, MAX_TOKENS);
    if (strcmp(line, "<unk>") == 0) v->unknown = v->n;
    v->line[v->n] = line;
    v->token[v->n] = (token){bytes, (size_t)*n, v->n};
    v->n++;
    return NT_OK;
}

static nt_status take_lines(nt_vocabulary *v, const char *path, size_t n)
{
    size_t n_lines = 1;
    NT_CHECK(strlen(v->file) == n, NT_ERR_DATA, "'%s' holds a NUL byte: write it as \\x00", path);
    for (size_t i = 0; i < n; i++)
        n_lines += v->file[i] == '\n';
    v->bytes = malloc(n + 1);
    v->line = calloc(n_lines, sizeof *v->line);
    v->token = calloc(n_lines, sizeof *v->token);
    NT_CHECK_ALLOC(v->bytes && v->line && v->token, n_lines * sizeof *v->token);
    uint8_t *bytes = v->bytes;
    char *line = strncmp(v->file, "\xef\xbb\xbf", 3) == 0 ? v->file + 3 : v->file; /* a byte order mark */
    while (*line) {
        char *end = strchrnul(line, '\n'), *next = *end ? end + 1 : end;
        int64_t n_bytes;
        *end = '\0';
        NT_TRY(take_line(v, path, line, bytes, &n_bytes));
        bytes += n_bytes;
        line = next;
    }
    NT_CHECK(v->n > 0, NT_ERR_DATA, "'%s' is empty: there is one token a line", path);
    return NT_OK;
}

static int by_bytes(const void *left, const void *right)
{
    const token *a = left, *b = right;
    int order = memcmp(a->bytes, b->bytes, a->n < b->n ? a->n : b->n);
    if (order != 0 || a->n == b->n) return order;
    return a->n < b->n ? -1 : 1;
}

static nt_status read_all(nt_vocabulary *v, const char *path)
{
    size_t n;
    NT_TRY(read_file(v, path, &n));
    NT_TRY(take_lines(v, path, n));
    qsort(v->token, (size_t)v->n, sizeof *v->token, by_bytes);
    for (int i = 1; i < v->n; i++) {
        const token *a = &v->token[i - 1], *b = &v->token[i];
        NT_CHECK(by_bytes(a, b) != 0, NT_ERR_DATA, "'%s': lines %d and %d are the same token", path,
                 (a->id < b->id ? a->id : b->id) + 1, (a->id < b->id ? b->id : a->id) + 1);
    }
    return NT_OK;
}

nt_status nt_vocabulary_read(nt_vocabulary **out, const char *path)
{
    nt_vocabulary *v = calloc(1, sizeof *v);
    NT_CHECK_ALLOC(v, sizeof *v);
    v->unknown = -1;
    nt_status status = read_all(v, path);
    if (status != NT_OK) {
        nt_vocabulary_free(v);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = v;
    return NT_OK;
}

void nt_vocabulary_free(nt_vocabulary *v)
{
    if (!v) return;
    free(v->file);
    free(v->bytes);
    free(v->line);
    free(v->token);
    free(v);
}

int nt_vocabulary_size(const nt_vocabulary *v)
{
    return v->n;
}

const char *const *nt_vocabulary_lines(const nt_vocabulary *v)
{
    return v->line;
}

/* First of the tokens [low, high), all longer than k, whose byte k is not below `byte`. */
static int lower_bound(const nt_vocabulary *v, int low, int high, size_t k, int byte)
{
    while (low < high) {
        int mid = low + (high - low) / 2;
        if (v->token[mid].bytes[k] < byte)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

size_t nt_vocabulary_match(const nt_vocabulary *v, const uint8_t *text, size_t n, int32_t *id)
{
    int low = 0, high = v->n;
    size_t length = 0;
    for (size_t k = 0; k < n && low < high; k++) {
        high = lower_bound(v, low, high, k, text[k] + 1);
        low = lower_bound(v, low, high, k, text[k]);
        if (low < high &&
            v->token[low].n == k + 1) { /* the shortest comes first, and is the only one so short */
            *id = v->token[low++].id;
            length = k + 1;
        }
    }
    if (length > 0 || v->unknown < 0) return length;
    *id = v->unknown;
    return 1;
}
