/* safetensors files: named tensors as other frameworks keep them (format: github.com/huggingface/safetensors,
 * README, "Format").
 *
 * A file is a length (8 bytes, little endian), a JSON object of that length that gives every tensor's dtype,
 * shape and place, and the bytes of all tensors without holes. The reader is strict: everything that the
 * format forbids is an error that names the file and the tensor, before a byte of data is looked at. The JSON
 * itself is read by jansson; core/safetensors.c is the only file that includes it. */
#ifndef NT_CORE_SAFETENSORS_H
#define NT_CORE_SAFETENSORS_H

#include "core/tensor.h"

typedef struct nt_safetensors nt_safetensors; /* an open file */

/* One tensor of a file. */
typedef struct nt_safetensor {
    char *name;        /* UTF-8 */
    const char *dtype; /* "F32", as in the file */
    nt_shape shape;    /* no dimensions: one value; a dimension may be 0 here */
    int64_t n_elems;
    int64_t begin, end; /* bytes after the header */
} nt_safetensor;

/* Opens a file and checks its header. NT_ERR_NO_INPUT if it cannot be read, NT_ERR_DATA if it breaks the
 * format or has a tensor of more than NT_MAX_DIMS dimensions. */
NT_MUST nt_status nt_safetensors_open(nt_safetensors **out, const char *path);
void nt_safetensors_close(nt_safetensors *file); /* NULL is fine */

int nt_safetensors_count(const nt_safetensors *file);
const nt_safetensor *nt_safetensors_get(const nt_safetensors *file,
                                        int index); /* in the order of their bytes */
const nt_safetensor *nt_safetensors_find(const nt_safetensors *file,
                                         const char *name); /* NULL if not there */

/* Whether the values of a tensor can be had as float32: F64, F32, F16, BF16. */
bool nt_safetensor_is_float(const nt_safetensor *tensor);

/* All values as float32, row-major, into `out` (n_elems). NT_ERR_IO; NT_ERR_DATA if they are not numbers of a
 * float type. */
NT_MUST nt_status nt_safetensors_read(nt_safetensors *file, const nt_safetensor *tensor, float *out);

/* What is to be written: names and shapes first, values one tensor at a time by `get`, so that a large model
 * need not be in memory twice. */
typedef struct nt_safetensors_item {
    const char *name;
    nt_shape shape;
} nt_safetensors_item;
typedef nt_status (*nt_safetensors_get_fn)(void *arg, int index, float *values);

/* Writes a file of float32 tensors: whole, or not at all. An existing file is replaced. `origin` goes into
 * the header's __metadata__ as "format" = "pt" (which torch's loaders ask for) and "source" = origin.
 * NT_ERR_CREATE, NT_ERR_IO. */
NT_MUST nt_status nt_safetensors_write(const char *path, const nt_safetensors_item *items, int n,
                                       const char *origin, nt_safetensors_get_fn get, void *arg);

#endif
