/* A field is a key, (number << 3 | wire type) as a varint, and its value; a varint holds seven bits a byte,
 * low bits first. */
#include "core/proto.h"

#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

void nt_proto_free(nt_proto *p)
{
    free(p->bytes);
    *p = (nt_proto){0};
}

void nt_proto_clear(nt_proto *p)
{
    p->n = 0;
    p->failed = false;
}

static bool reserve(nt_proto *p, size_t n)
{
    if (p->failed) return false;
    if (n <= p->cap - p->n) return true;
    size_t cap = p->cap ? p->cap : 256;
    while (cap - p->n < n && cap <= SIZE_MAX / 2)
        cap *= 2;
    unsigned char *grown = cap - p->n < n ? NULL : realloc(p->bytes, cap);
    p->failed = !grown;
    if (p->failed) return false;
    p->bytes = grown;
    p->cap = cap;
    return true;
}

void nt_proto_raw(nt_proto *p, const void *bytes, size_t n)
{
    if (n == 0 || !reserve(p, n)) return;
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
}

static void put_varint(nt_proto *p, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value > 0);
    nt_proto_raw(p, bytes, n);
}

static void put_key(nt_proto *p, int field, int wire_type)
{
    put_varint(p, (uint64_t)field << 3 | (uint64_t)wire_type);
}

/* The low n bytes, low byte first. */
static void put_fixed(nt_proto *p, uint64_t bits, int n)
{
    unsigned char bytes[8];
    for (int i = 0; i < n; i++)
        bytes[i] = (unsigned char)(bits >> 8 * i);
    nt_proto_raw(p, bytes, (size_t)n);
}

static uint64_t double_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void nt_proto_int(nt_proto *p, int field, int64_t value)
{
    put_key(p, field, VARINT);
    put_varint(p, (uint64_t)value);
}

void nt_proto_float(nt_proto *p, int field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(p, field, FIXED32);
    put_fixed(p, bits, 4);
}

void nt_proto_double(nt_proto *p, int field, double value)
{
    put_key(p, field, FIXED64);
    put_fixed(p, double_bits(value), 8);
}

void nt_proto_bytes(nt_proto *p, int field, const void *bytes, size_t n)
{
    put_key(p, field, LENGTH);
    put_varint(p, n);
    nt_proto_raw(p, bytes, n);
}

void nt_proto_string(nt_proto *p, int field, const char *text)
{
    nt_proto_bytes(p, field, text, strlen(text));
}

void nt_proto_message(nt_proto *p, int field, const nt_proto *value)
{
    nt_proto_bytes(p, field, value->bytes, value->n);
    p->failed |= value->failed;
}

void nt_proto_ints(nt_proto *p, int field, const int64_t *values, int n)
{
    nt_proto packed = {0};
    for (int i = 0; i < n; i++)
        put_varint(&packed, (uint64_t)values[i]);
    nt_proto_message(p, field, &packed);
    nt_proto_free(&packed);
}

void nt_proto_doubles(nt_proto *p, int field, const double *values, size_t n)
{
    put_key(p, field, LENGTH);
    put_varint(p, 8 * (uint64_t)n);
    for (size_t i = 0; i < n; i++)
        put_fixed(p, double_bits(values[i]), 8);
}

void nt_proto_floats(nt_proto *p, int field, const float *values, size_t n)
{
    put_key(p, field, LENGTH);
    put_varint(p, 4 * (uint64_t)n);
    for (size_t i = 0; i < n && !p->failed; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        put_fixed(p, bits, 4);
    }
}

nt_status nt_proto_check(const nt_proto *p)
{
    NT_CHECK(!p->failed, NT_ERR_UNAVAILABLE, "out of memory: a message of more than %zu bytes", p->n);
    return NT_OK;
}
