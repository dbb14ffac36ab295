/* The three filters that files may use, undone by us: shuffle, deflate, fletcher32.
 *
 * HDF5 1.10 inflates a chunk into a buffer that doubles until the stream ends (a megabyte becomes a
 * gigabyte), and trusts that what comes out has the size of a chunk. Here every step writes into a buffer of
 * known size and the last one must give exactly chunk_bytes. It also runs outside the library's lock. */
#include "core/h5_private.h"

#include <string.h>
#include <zlib.h>

size_t nt_h5_decode_bytes(size_t chunk_bytes)
{
    return compressBound(chunk_bytes + 64) + 64;
}

/* Fletcher's checksum (Fletcher 1982) over 16-bit big-endian words, an odd last byte padded with zero, both
 * sums folded to 16 bits: a is the sum of the words, b that of all values a has had.
 *
 * Folding may come late, because it is a remainder of 65535, in which 0 is written as 65535 unless all words
 * were 0; and in that remainder swapping the bytes of a word is to multiply by 256, so words are summed as
 * this machine reads them. They are summed in LANES columns at once: with B the b of a column alone, a word
 * in column l counts LANES * B - l * a. */
enum { LANES = 16, MOST_ROWS = 256 /* below 2^32: 65535 * 256 * 257 / 2 */ };
typedef uint16_t words __attribute__((vector_size(2 * LANES)));
typedef uint32_t sums __attribute__((vector_size(4 * LANES)));

static uint32_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint32_t)sum;
}

/* n_rows * LANES words; a and b go on. */
static void sum_columns(const unsigned char *data, size_t n_rows, uint64_t *a, uint64_t *b)
{
    sums col_a = {0}, col_b = {0};
    for (size_t row = 0; row < n_rows; row++, data += 2 * LANES) {
        words word;
        memcpy(&word, data, sizeof word);
        col_a += __builtin_convertvector(word, sums);
        col_b += col_a;
    }
    uint64_t sum_a = 0, sum_b = 0;
    for (int l = 0; l < LANES; l++) {
        sum_a += col_a[l];
        sum_b += (uint64_t)LANES * col_b[l] - (uint64_t)l * col_a[l];
    }
    *b = fold(*b + n_rows * LANES * *a + sum_b);
    *a = fold(*a + sum_a);
}

static uint32_t fletcher32(const unsigned char *data, size_t n_bytes)
{
    uint64_t a = 0, b = 0;
    for (size_t rows = n_bytes / (2 * LANES), n; rows > 0; rows -= n, data += n * 2 * LANES) {
        n = rows < MOST_ROWS ? rows : MOST_ROWS;
        sum_columns(data, n, &a, &b);
    }
    for (size_t left = n_bytes % (2 * LANES), i = 0; i < left; i += 2) {
        uint16_t word = 0;
        memcpy(&word, data + i, i + 1 < left ? 2 : 1);
        a += word;
        b += a;
    }
    const uint64_t swap = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 256 : 1;
    return fold(swap * b) << 16 | fold(swap * a);
}

/* The checksum follows the data, little-endian. */
static const char *undo_fletcher32(const unsigned char *data, size_t *n_bytes)
{
    if (*n_bytes < 4) return "is shorter than its checksum";
    *n_bytes -= 4;
    const unsigned char *s = data + *n_bytes;
    uint32_t stored = (uint32_t)s[3] << 24 | (uint32_t)s[2] << 16 | (uint32_t)s[1] << 8 | s[0];
    return fletcher32(data, *n_bytes) == stored ? NULL : "is damaged: its checksum (fletcher32) is wrong";
}

static const char *undo_deflate(unsigned char *dst, const unsigned char *src, size_t *n_bytes, size_t cap)
{
    uLongf n_out = cap;
    int rc = uncompress(dst, &n_out, src, *n_bytes);
    *n_bytes = n_out;
    if (rc == Z_OK) return NULL;
    return rc == Z_BUF_ERROR ? "inflates to more than a chunk, or is cut off"
                             : "is damaged: it cannot be inflated";
}

/* Byte b of element i lies at b * n + i; bytes that fill no element stay at the end. */
static void undo_shuffle(unsigned char *dst, const unsigned char *src, size_t n_bytes, size_t elem_bytes)
{
    size_t n = n_bytes / elem_bytes;
    for (size_t b = 0; b < elem_bytes; b++)
        for (size_t i = 0; i < n; i++)
            dst[i * elem_bytes + b] = src[b * n + i];
    memcpy(dst + n * elem_bytes, src + n * elem_bytes, n_bytes - n * elem_bytes);
}

const char *nt_h5_decode(const nt_h5_pipeline *pipeline, uint32_t skipped, unsigned char *const buffer[2],
                         size_t n_bytes, size_t cap, unsigned char **out)
{
    int at = 0; /* buffer that holds the data */
    *out = NULL;
    for (int i = pipeline->n - 1; i >= 0; i--) {
        const char *why = NULL;
        bool skip = skipped >> i & 1;
        switch (pipeline->filter[i]) {
        case NT_H5_FLETCHER32: /* never optional when written */
            why = skip ? "claims to have no checksum" : undo_fletcher32(buffer[at], &n_bytes);
            break;
        case NT_H5_DEFLATE:
            if (skip) break;
            why = undo_deflate(buffer[!at], buffer[at], &n_bytes, cap);
            at = !at;
            break;
        case NT_H5_SHUFFLE:
            if (skip || pipeline->elem_bytes < 2) break;
            undo_shuffle(buffer[!at], buffer[at], n_bytes, pipeline->elem_bytes);
            at = !at;
            break;
        }
        if (why) return why;
    }
    if (n_bytes != pipeline->chunk_bytes) return "has not the size of a chunk";
    *out = buffer[at];
    return NULL;
}
