/* What the files core/checkpoint*.c share. A checkpoint file holds named float arrays and meta data; this
 * part knows no net, which makes it testable by itself. */
#ifndef NT_CORE_CHECKPOINT_PRIVATE_H
#define NT_CORE_CHECKPOINT_PRIVATE_H

#include "core/checkpoint.h"
#include "core/h5.h"

#define XXH_INLINE_ALL /* the size of XXH3_state_t is known only so */
#include <xxhash.h>

#define NT_CHECKPOINT_NAME_BYTES (NT_NAME_BYTES + 16)

/* The groups of a file: what an array is. */
enum { NT_N_CHECKPOINT_GROUPS = 1 + NT_MAX_STATES + NT_N_WEIGHTS - 1 };
extern const char
    *const nt_checkpoint_groups[NT_N_CHECKPOINT_GROUPS]; /* "params", "state0", ..., "ema", "swa" */

/* One array: of a file, or of whoever saves and loads. */
typedef struct nt_array {
    char name[NT_CHECKPOINT_NAME_BYTES]; /* "params/conv1.weight" */
    nt_shape shape;
    XXH128_hash_t digest; /* of name, shape and values; of a file's arrays: as stored */
    int slot, array;      /* of the net; see nt_net_read */
} nt_array;

/* Somebody's arrays, in ascending order of names. Values are canonical row-major float32. */
typedef struct nt_arrays {
    int n;
    nt_array *item;
    void *arg;
    nt_status (*get)(void *arg, const nt_array *array, float *values);
    nt_status (*set)(void *arg, const nt_array *array, const float *values);
} nt_arrays;

void nt_arrays_sort(nt_array *item, int n);
int64_t nt_arrays_largest(const nt_arrays *arrays); /* elements, at least 1 */

/* --- digests --- */

XXH128_hash_t nt_array_digest(const nt_array *array, const float *values);
XXH128_hash_t nt_arrays_digest(const nt_array *item, int n); /* from the digests of the items */
void nt_digest_text(XXH128_hash_t digest, char hex[33]);

/* --- meta data (core/checkpoint_meta.c) --- */

NT_MUST nt_status nt_checkpoint_meta_put(const nt_checkpoint_meta *meta, nt_h5 *h5);
NT_MUST nt_status nt_checkpoint_meta_get(nt_checkpoint_meta *meta, nt_h5 *h5);
/* Digest over every field and over `weights`, the digest of the arrays. */
XXH128_hash_t nt_checkpoint_meta_digest(const nt_checkpoint_meta *meta, int64_t version, const char *program,
                                        XXH128_hash_t weights);

/* --- one file (core/checkpoint_file.c) --- */

/* Writes a new file and makes it durable. */
NT_MUST nt_status nt_checkpoint_write_file(const char *path, const nt_arrays *arrays,
                                           const nt_checkpoint_meta *meta);

typedef struct nt_checkpoint_file {
    nt_h5 *h5;
    int64_t version;
    char *program; /* version of nntrain that wrote it */
    nt_checkpoint_meta meta;
    int n;
    nt_array *item;        /* ascending names */
    XXH128_hash_t weights; /* digest of all arrays */
    float *scratch;        /* the largest array */
} nt_checkpoint_file;

/* Opens a file and checks its meta data and its list of arrays, but not the arrays' values. */
NT_MUST nt_status nt_checkpoint_file_open(nt_checkpoint_file *file, const char *path);
void nt_checkpoint_file_close(nt_checkpoint_file *file);

/* Reads one array into file->scratch and checks its digest and that all values are finite. */
NT_MUST nt_status nt_checkpoint_file_read(nt_checkpoint_file *file, int index);

/* All arrays. */
NT_MUST nt_status nt_checkpoint_file_verify(nt_checkpoint_file *file);

/* Verifies everything, and only then hands the arrays over (with_state: also the optimizer's). verified: that
 * has just been done, and each array is only verified again when its turn comes. */
NT_MUST nt_status nt_checkpoint_file_load(nt_checkpoint_file *file, const nt_arrays *arrays, bool with_state,
                                          bool verified);
/* The same of the arrays whose names begin with "group/" alone. */
NT_MUST nt_status nt_checkpoint_file_load_group(nt_checkpoint_file *file, const nt_arrays *arrays,
                                                const char *group, bool verified);
bool nt_checkpoint_file_has(const nt_checkpoint_file *file, const char *group);

/* --- the folder (core/checkpoint_dir.c) --- */

/* Writes `arrays` and `meta` as the checkpoint of its step. See nt_checkpoint_save. */
NT_MUST nt_status nt_checkpoint_save_arrays(const nt_arrays *arrays, const nt_checkpoint_meta *meta,
                                            const char *dir);

/* Meets a fault point of core/fault.h: an error if it says so. */
NT_MUST nt_status nt_checkpoint_fault(const char *point);

#endif
