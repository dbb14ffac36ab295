/* Writing protobuf messages: just the wire format (protobuf.dev, "Encoding").
 *
 * TensorBoard's event files and ONNX models need some fifty fields between them and nothing is ever read
 * back, so this writer replaces protobuf-c with its generator and its copies of the schemas. The field
 * numbers stand where they are used. A message grows in memory; running out of it sticks (`failed`) and is
 * asked for once, at the end. */
#ifndef NT_CORE_PROTO_H
#define NT_CORE_PROTO_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_proto {
    unsigned char *bytes; /* malloc'ed; nt_proto_free */
    size_t n, cap;
    bool failed;
} nt_proto;

void nt_proto_free(nt_proto *p);

/* Empties a message and keeps its memory. */
void nt_proto_clear(nt_proto *p);

/* Fields of a message. Integers of all kinds, enums and bools are varints. */
void nt_proto_int(nt_proto *p, int field, int64_t value);
void nt_proto_float(nt_proto *p, int field, float value);
void nt_proto_double(nt_proto *p, int field, double value);
void nt_proto_bytes(nt_proto *p, int field, const void *bytes, size_t n);
void nt_proto_string(nt_proto *p, int field, const char *text);
void nt_proto_message(nt_proto *p, int field, const nt_proto *value);          /* fails if value has failed */
void nt_proto_ints(nt_proto *p, int field, const int64_t *values, int n);      /* packed */
void nt_proto_doubles(nt_proto *p, int field, const double *values, size_t n); /* packed */

void nt_proto_floats(nt_proto *p, int field, const float *values, size_t n); /* packed; also raw bytes */

/* Bytes without a field around them. */
void nt_proto_raw(nt_proto *p, const void *bytes, size_t n);

/* NT_ERR_UNAVAILABLE if memory ran out on the way. */
NT_MUST nt_status nt_proto_check(const nt_proto *p);

#endif
