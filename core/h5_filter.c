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
 * sums folded to 16 bits. */
static uint32_t fletcher32(const unsigned char *data, size_t n_bytes)
{
    uint32_t a = 0, b = 0;
    size_t n_words = n_bytes / 2;
    while (n_words > 0) {
        size_t n = n_words < 360 ? n_words : 360; /* 360 words: the sums stay below 2^32 */
        n_words -= n;
        for (; n > 0; n--, data += 2) {
            a += (uint32_t)data[0] << 8 | data[1];
            b += a;
        }
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    if (n_bytes % 2 != 0) {
        a += (uint32_t)data[0] << 8;
        b += a;
        a = (a & 0xffff) + (a >> 16);
        b = (b & 0xffff) + (b >> 16);
    }
    a = (a & 0xffff) + (a >> 16);
    b = (b & 0xffff) + (b >> 16);
    return b << 16 | a;
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
