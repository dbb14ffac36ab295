/* The header of a .npy file is a Python dictionary in text: three keys, in any order, and nothing else is
 * taken; pickled objects and structures are refused. What it declares is never allocated: rows are read as
 * they are asked for, and a file in Fortran's order, which must be turned as a whole, is read piece by piece
 * before memory for the turned one is asked for. */
#include "datasets/npy.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RAW_BYTES        (1 << 16)
#define MAX_HEADER_BYTES ((size_t)1 << 16)

typedef struct parser {
    const char *at, *path;
} parser;

/* --- the dictionary --- */

static void skip_blanks(parser *p)
{
    while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n')
        p->at++;
}

static bool take(parser *p, const char *word)
{
    skip_blanks(p);
    size_t n = strlen(word);
    if (strncmp(p->at, word, n) != 0) return false;
    p->at += n;
    return true;
}

static nt_status damaged(const parser *p, const char *what)
{
    NT_FAIL(NT_ERR_DATA, "'%s': its header is not that of a .npy file: %s at '%.20s'", p->path, what, p->at);
}

static nt_status take_string(parser *p, char *text, size_t cap)
{
    skip_blanks(p);
    char quote = *p->at;
    if (quote != '\'' && quote != '"') return damaged(p, "a text is missing");
    size_t n = 0;
    for (p->at++; *p->at && *p->at != quote && n + 1 < cap; p->at++)
        text[n++] = *p->at;
    text[n] = '\0';
    if (*p->at != quote) return damaged(p, "a text without end");
    p->at++;
    return NT_OK;
}

/* (3, 4), (3,) */
static nt_status take_shape(parser *p, nt_shape *shape)
{
    *shape = (nt_shape){0};
    if (!take(p, "(")) return damaged(p, "a tuple is missing");
    while (!take(p, ")")) {
        int64_t dim = 0;
        skip_blanks(p);
        if (!isdigit((unsigned char)*p->at) || shape->n_dims == NT_MAX_DIMS) return damaged(p, "a bad shape");
        for (; isdigit((unsigned char)*p->at); p->at++) {
            if (dim > (INT64_MAX - 9) / 10) return damaged(p, "a dimension beyond 2^63");
            dim = 10 * dim + (*p->at - '0');
        }
        take(p, "L"); /* Python 2 */
        shape->dim[shape->n_dims++] = dim;
        if (!take(p, ",") && *p->at != ')') return damaged(p, "a bad shape");
        skip_blanks(p);
    }
    return NT_OK;
}

static nt_status take_type(nt_npy *npy, parser *p)
{
    char text[32];
    if (take(p, "[")) NT_FAIL(NT_ERR_DATA, "'%s' holds structures, not numbers", p->path);
    NT_TRY(take_string(p, text, sizeof text));
    size_t n = strlen(text);
    bool sized = n == 3 && strchr("<>|=", text[0]) && strchr("biuf", text[1]) && strchr("1248", text[2]);
    int bytes = sized ? text[2] - '0' : 0;
    bool known = sized && !(text[1] == 'b' && bytes != 1) && !(text[1] == 'f' && bytes == 1);
    NT_CHECK(known, NT_ERR_DATA,
             "'%s' holds elements of type '%s': bool, integers and floats up to 64 bits are taken", p->path,
             text);
    npy->kind = text[1];
    npy->elem_bytes = bytes;
    npy->swap = bytes > 1 && text[0] == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '>' : '<');
    return NT_OK;
}

static nt_status take_key(nt_npy *npy, parser *p, int seen[3])
{
    static const char *const keys[3] = {"descr", "fortran_order", "shape"};
    char key[32];
    int k = 0;
    NT_TRY(take_string(p, key, sizeof key));
    while (k < 3 && strcmp(key, keys[k]) != 0)
        k++;
    if (k == 3 || seen[k]++ || !take(p, ":")) return damaged(p, "an unknown or repeated key");
    if (k == 0) return take_type(npy, p);
    if (k == 2) return take_shape(p, &npy->shape);
    npy->fortran = take(p, "True");
    if (!npy->fortran && !take(p, "False")) return damaged(p, "True or False is missing");
    return NT_OK;
}

static nt_status parse(nt_npy *npy, const char *text, const char *path)
{
    parser p = {.at = text, .path = path};
    int seen[3] = {0};
    if (!take(&p, "{")) return damaged(&p, "no dictionary");
    while (!take(&p, "}")) {
        NT_TRY(take_key(npy, &p, seen));
        if (!take(&p, ",") && *p.at != '}') return damaged(&p, "no comma");
    }
    skip_blanks(&p);
    if (*p.at || !seen[0] || !seen[1] || !seen[2]) return damaged(&p, "something is missing, or too much,");
    return NT_OK;
}

/* --- opening --- */

static nt_status read_header(nt_npy *npy, const char *path)
{
    uint8_t head[12];
    NT_TRY(nt_zfile_read(npy->file, head, 10));
    NT_CHECK(memcmp(head, "\x93NUMPY", 6) == 0, NT_ERR_DATA, "'%s' is not a .npy file", path);
    NT_CHECK(head[6] >= 1 && head[6] <= 3 && head[7] == 0, NT_ERR_DATA,
             "'%s' is a .npy file of version %d.%d; 1.0, 2.0 and 3.0 are known", path, head[6], head[7]);
    size_t n = head[8] | (size_t)head[9] << 8;
    if (head[6] > 1) {
        NT_TRY(nt_zfile_read(npy->file, head + 10, 2));
        n |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    }
    NT_CHECK(n <= MAX_HEADER_BYTES, NT_ERR_DATA, "'%s' has a header of %zu bytes, at most %zu are taken",
             path, n, MAX_HEADER_BYTES);
    char *text = calloc(1, n + 1);
    NT_CHECK_ALLOC(text, n + 1);
    nt_status status = nt_zfile_read(npy->file, text, n);
    if (status == NT_OK && strlen(text) != n)
        status = nt_error_set(NT_ERR_DATA, __FILE__, __LINE__, __func__, "'%s': its header holds a NUL byte",
                              path);
    if (status == NT_OK) status = parse(npy, text, path);
    free(text);
    return status;
}

/* Grows while there is something to read, so a file that lies gets no more memory than it has bytes. */
static nt_status read_whole(nt_npy *npy, size_t n_bytes, uint8_t **out)
{
    size_t cap = 0, n = 0;
    while (n < n_bytes) {
        size_t more = cap ? cap : (size_t)1 << 20, got;
        if (more > n_bytes - n) more = n_bytes - n;
        uint8_t *grown = realloc(*out, n + more);
        NT_CHECK_ALLOC(grown, n + more);
        *out = grown;
        cap = n + more;
        NT_TRY(nt_zfile_read_some(npy->file, *out + n, more, &got));
        n += got;
        NT_CHECK(got == more, NT_ERR_DATA, "'%s' ends after %zu of the %zu bytes that its header declares",
                 nt_zfile_path(npy->file), n, n_bytes);
    }
    return NT_OK;
}

/* From the first index fastest to the last. */
static void turn(uint8_t *dst, const uint8_t *src, nt_shape shape, size_t elem)
{
    int64_t index[NT_MAX_DIMS] = {0}, n = nt_shape_elems(shape);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = 0;
        for (int d = shape.n_dims - 1; d >= 0; d--)
            from = from * shape.dim[d] + index[d];
        memcpy(dst + (size_t)i * elem, src + (size_t)from * elem, elem);
        for (int d = shape.n_dims - 1; d >= 0 && ++index[d] == shape.dim[d]; d--)
            index[d] = 0;
    }
}

static nt_status read_fortran(nt_npy *npy)
{
    size_t n_bytes = (size_t)nt_shape_elems(npy->shape) * (size_t)npy->elem_bytes;
    uint8_t *raw = NULL;
    nt_status status = read_whole(npy, n_bytes, &raw);
    if (status == NT_OK) {
        npy->all = malloc(n_bytes);
        if (npy->all)
            turn(npy->all, raw, npy->shape, (size_t)npy->elem_bytes);
        else
            status = nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory for '%s'",
                                  nt_zfile_path(npy->file));
    }
    free(raw);
    return status;
}

nt_status nt_npy_open(nt_npy *npy, const char *path)
{
    *npy = (nt_npy){0};
    NT_TRY(nt_zfile_open(&npy->file, path));
    NT_TRY(read_header(npy, path));
    NT_CHECK(npy->shape.n_dims >= 1, NT_ERR_DATA, "'%s' holds a single number", path);
    nt_status status = nt_shape_check(npy->shape, "array");
    if (status != NT_OK) {
        (void)nt_error_prefix(status, "'%s': ", path);
        return NT_ERR_DATA;
    }
    NT_CHECK(nt_shape_elems(npy->shape) <= (INT64_MAX >> 4), NT_ERR_DATA, "'%s' declares too many elements",
             path);
    npy->raw = malloc(RAW_BYTES);
    NT_CHECK_ALLOC(npy->raw, RAW_BYTES);
    if (npy->fortran && npy->shape.n_dims > 1) NT_TRY(read_fortran(npy));
    return NT_OK;
}

void nt_npy_close(nt_npy *npy)
{
    nt_zfile_close(npy->file);
    free(npy->all);
    free(npy->raw);
    *npy = (nt_npy){0};
}

/* --- reading --- */

/* IEEE 754 binary16. */
static double half(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == 0) return sign * ldexp(fraction, -24);
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    return sign * ldexp(1024 + fraction, exponent - 25);
}

/* One element, in this machine's order, that is `bits`. */
static double value_of(const nt_npy *npy, uint64_t bits)
{
    float f32;
    double f64;
    uint32_t low = (uint32_t)bits;
    if (npy->kind == 'f') {
        if (npy->elem_bytes == 2) return half((uint16_t)bits);
        memcpy(&f32, &low, sizeof f32);
        memcpy(&f64, &bits, sizeof f64);
        return npy->elem_bytes == 4 ? (double)f32 : f64;
    }
    int unused = 64 - 8 * npy->elem_bytes;
    if (npy->kind == 'i') return (double)((int64_t)(bits << unused) >> unused);
    return (double)bits;
}

static uint64_t bits_of(const nt_npy *npy, const uint8_t *element)
{
    uint64_t bits = 0;
    bool little = (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) != npy->swap;
    for (int i = 0; i < npy->elem_bytes; i++)
        bits = bits << 8 | element[little ? npy->elem_bytes - 1 - i : i];
    return bits;
}

static nt_status convert(const nt_npy *npy, double *dst, const uint8_t *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        dst[i] = value_of(npy, bits_of(npy, src + i * npy->elem_bytes));
        NT_CHECK(npy->kind == 'f' || fabs(dst[i]) <= 0x1p53, NT_ERR_DATA,
                 "'%s': element %lld is %.0f, beyond 2^53", nt_zfile_path(npy->file),
                 (long long)(npy->n_done + i), dst[i]);
    }
    return NT_OK;
}

nt_status nt_npy_read(nt_npy *npy, double *dst, int64_t n)
{
    const int64_t most = RAW_BYTES / npy->elem_bytes;
    for (int64_t count; n > 0; n -= count, dst += count, npy->n_done += count) {
        count = n < most ? n : most;
        const uint8_t *src = npy->raw;
        if (npy->all)
            src = npy->all + (size_t)npy->n_done * (size_t)npy->elem_bytes;
        else
            NT_TRY(nt_zfile_read(npy->file, npy->raw, (size_t)count * (size_t)npy->elem_bytes));
        NT_TRY(convert(npy, dst, src, count));
    }
    return NT_OK;
}

nt_status nt_npy_expect_end(nt_npy *npy)
{
    return nt_zfile_expect_end(npy->file);
}
