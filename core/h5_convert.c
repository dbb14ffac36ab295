/* Elements as stored in a file to elements as wanted in memory, every value checked.
 *
 * All pairs go through blocks of one widest kind, 64-bit integers or doubles, so that there is one loop to
 * load each stored kind and one to store each wanted kind instead of fifty; equal kinds are copied and bytes
 * to floats, the one pair that is hot, have their own loop. HDF5's converter was the alternative: it clamps
 * values that do not fit without a word. */
#include "core/h5_private.h"

#include <byteswap.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 1024

static const size_t elem_bytes[NT_H5_N_ELEMS] = {
    [NT_H5_I8] = 1,  [NT_H5_U8] = 1,  [NT_H5_I16] = 2, [NT_H5_U16] = 2, [NT_H5_I32] = 4,
    [NT_H5_U32] = 4, [NT_H5_I64] = 8, [NT_H5_U64] = 8, [NT_H5_F32] = 4, [NT_H5_F64] = 8,
};

size_t nt_h5_elem_bytes(nt_h5_elem elem)
{
    return elem < NT_H5_N_ELEMS ? elem_bytes[elem] : 0;
}

bool nt_h5_elem_is(nt_h5_elem elem, bool swap, nt_dtype dtype)
{
    static const nt_h5_elem same[NT_N_DTYPES] = {
        [NT_F32] = NT_H5_F32, [NT_F64] = NT_H5_F64, [NT_U8] = NT_H5_U8,
        [NT_I32] = NT_H5_I32, [NT_I64] = NT_H5_I64, [NT_BF16] = NT_H5_N_ELEMS,
    };
    return elem == same[dtype] && !swap;
}

typedef union block {
    int64_t integer[BLOCK];
    double real[BLOCK];
    unsigned char bytes[8 * BLOCK];
} block;

static void swap_into(unsigned char *dst, const unsigned char *src, size_t n_bytes, int n)
{
    for (int i = 0; i < n; i++)
        for (size_t b = 0; b < n_bytes; b++)
            dst[(size_t)i * n_bytes + b] = src[(size_t)i * n_bytes + n_bytes - 1 - b];
}

/* Unaligned loads through memcpy: rows of a file start anywhere. */
#define LOAD(type, field)                                                                                    \
    for (int i = 0; i < n; i++) {                                                                            \
        type v;                                                                                              \
        memcpy(&v, src + (size_t)i * sizeof v, sizeof v);                                                    \
        to->field[i] = v;                                                                                    \
    }                                                                                                        \
    break

/* Returns the index of an unsigned value beyond int64_t, or -1. */
static int load(block *to, const unsigned char *src, nt_h5_elem elem, int n)
{
    switch (elem) {
    case NT_H5_I8:
        LOAD(int8_t, integer);
    case NT_H5_U8:
        LOAD(uint8_t, integer);
    case NT_H5_I16:
        LOAD(int16_t, integer);
    case NT_H5_U16:
        LOAD(uint16_t, integer);
    case NT_H5_I32:
        LOAD(int32_t, integer);
    case NT_H5_U32:
        LOAD(uint32_t, integer);
    case NT_H5_I64:
        LOAD(int64_t, integer);
    case NT_H5_F32:
        LOAD(float, real);
    case NT_H5_F64:
        LOAD(double, real);
    case NT_H5_U64:
        memcpy(to->integer, src, (size_t)n * 8);
        for (int i = 0; i < n; i++)
            if (to->integer[i] < 0) return i;
        break;
    case NT_H5_N_ELEMS:
        break;
    }
    return -1;
}

#define STORE(type, field, fits)                                                                             \
    for (int i = 0; i < n; i++) {                                                                            \
        __typeof__(from->field[0]) v = from->field[i];                                                       \
        if (!(fits)) return i;                                                                               \
        type w = (type)v;                                                                                    \
        memcpy(dst + (size_t)i * sizeof w, &w, sizeof w);                                                    \
    }                                                                                                        \
    break

/* Returns the index of the first value that has no place in dtype, or -1. */
static int store_integers(unsigned char *dst, nt_dtype dtype, const block *from, int n)
{
    switch (dtype) {
    case NT_F32:
        STORE(float, integer, true);
    case NT_F64:
        STORE(double, integer, true);
    case NT_U8:
        STORE(uint8_t, integer, v >= 0 && v <= UINT8_MAX);
    case NT_I32:
        STORE(int32_t, integer, v >= INT32_MIN && v <= INT32_MAX);
    case NT_I64:
        STORE(int64_t, integer, true);
    case NT_BF16: /* never on the host */
    case NT_N_DTYPES:
        return 0;
    }
    return -1;
}

static int store_reals(unsigned char *dst, nt_dtype dtype, const block *from, int n)
{
    switch (dtype) {
    case NT_F32:
        STORE(float, real, !(fabs(v) > FLT_MAX) || isinf(v));
    case NT_F64:
        STORE(double, real, true);
    case NT_U8:
        STORE(uint8_t, real, v >= 0 && v <= UINT8_MAX && v == trunc(v));
    case NT_I32:
        STORE(int32_t, real, v >= INT32_MIN && v <= INT32_MAX && v == trunc(v));
    case NT_I64:
        STORE(int64_t, real, v >= -0x1p63 && v < 0x1p63 && v == trunc(v));
    case NT_BF16: /* never on the host */
    case NT_N_DTYPES:
        return 0;
    }
    return -1;
}

static bool is_real(nt_h5_elem elem)
{
    return elem == NT_H5_F32 || elem == NT_H5_F64;
}

/* One block of native elements; the index of a bad one, or -1. */
static int convert_block(unsigned char *dst, nt_dtype dtype, const unsigned char *src, nt_h5_elem elem, int n,
                         char why[96])
{
    block wide;
    int bad = load(&wide, src, elem, n);
    if (bad >= 0) {
        snprintf(why, 96, "%llu does not fit into 63 bits", (unsigned long long)wide.integer[bad]);
        return bad;
    }
    bad = is_real(elem) ? store_reals(dst, dtype, &wide, n) : store_integers(dst, dtype, &wide, n);
    if (bad < 0) return -1;
    if (is_real(elem))
        snprintf(why, 96, "%.9g is no value of type %s", wide.real[bad], nt_dtype_name(dtype));
    else
        snprintf(why, 96, "%lld is no value of type %s", (long long)wide.integer[bad], nt_dtype_name(dtype));
    return bad;
}

static void bytes_to_floats(float *dst, const unsigned char *src, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] = src[i];
}

bool nt_h5_convert(void *dst, nt_dtype dtype, const void *src, nt_h5_elem elem, bool swap, int64_t n,
                   int64_t *bad, char why[96])
{
    unsigned char *to = dst;
    const unsigned char *from = src;
    size_t n_from = elem_bytes[elem], n_to = nt_dtype_bytes(dtype);
    bool same = nt_h5_elem_is(elem, false, dtype);
    if (same && !swap) {
        memcpy(dst, src, (size_t)n * n_from);
        return true;
    }
    if (elem == NT_H5_U8 && dtype == NT_F32) {
        bytes_to_floats(dst, src, n);
        return true;
    }
    block turned;
    for (int64_t at = 0; at < n; at += BLOCK) {
        int count = n - at < BLOCK ? (int)(n - at) : BLOCK;
        const unsigned char *part = from + (size_t)at * n_from;
        unsigned char *out = to + (size_t)at * n_to;
        if (swap) {
            swap_into(same ? out : turned.bytes, part, n_from, count);
            part = turned.bytes;
        }
        int index = same ? -1 : convert_block(out, dtype, part, elem, count, why);
        if (index < 0) continue;
        *bad = at + index;
        return false;
    }
    return true;
}
