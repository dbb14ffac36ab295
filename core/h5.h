/* The one room of hdf5.h: everything the project does with HDF5 files, made safe.
 *
 * Files come from strangers. Opening looks up named objects only, never walks; refuses external links,
 * external storage, virtual datasets, user-defined links, unknown filters (plug-in loading is off:
 * H5PLset_loading_state(0)), chunks over a cap before they are read, declared sizes beyond stored ones,
 * chunks never written. HDF5's own error printing is off; its innermost message goes into ours. Every error
 * names file and object. Serial HDF5, 1.10 and 1.14. */
#ifndef NT_CORE_H5_H
#define NT_CORE_H5_H

#include "core/tensor.h"

typedef struct nt_h5 nt_h5;         /* an open file */
typedef struct nt_h5_set nt_h5_set; /* an open dataset */

/* --- reading --- */

/* Opens for reading. NT_ERR_NO_INPUT: does not exist, no permission, not a regular file (FIFO, device,
 * folder); NT_ERR_DATA: not HDF5, truncated. */
NT_MUST nt_status nt_h5_open(nt_h5 **out, const char *path);
void nt_h5_close(nt_h5 *file); /* NULL is fine */
const char *nt_h5_path(const nt_h5 *file);

/* The descriptor that HDF5 reads through, for own pread at nt_h5_info.file_offset. Borrowed. */
int nt_h5_descriptor(const nt_h5 *file);

/* Whether an object of that path exists as a dataset; false also for dangling links. */
bool nt_h5_has_set(nt_h5 *file, const char *name);
bool nt_h5_has_group(nt_h5 *file, const char *name);

/* Whether there is a link of that name, wherever it leads: also a dangling, external or user-defined one. */
bool nt_h5_has_link(nt_h5 *file, const char *name);

/* Names of direct children of a group in native order, at most `max` (an error if there are more). Each
 * malloc'ed, and the array. */
NT_MUST nt_status nt_h5_list(nt_h5 *file, const char *group, int max, char ***names, int *n_names);
void nt_h5_free_list(char **names, int n_names);

typedef enum nt_h5_class { NT_H5_INT, NT_H5_UINT, NT_H5_FLOAT, NT_H5_STRING, NT_H5_OTHER } nt_h5_class;

typedef struct nt_h5_info {
    nt_h5_class type_class;
    int type_bytes;    /* of one element as stored */
    bool native_order; /* stored in this machine's byte order */
    nt_shape shape;    /* (first dimension: samples) */
    bool chunked, filtered, fletcher32;
    nt_shape chunk; /* if chunked */
    int64_t
        file_offset; /* contiguous and allocated: byte offset in the file (user block included); else -1 */
    size_t stored_bytes; /* H5Dget_storage_size */
} nt_h5_info;

/* Opens and checks a dataset (see the head of this file). max_chunk_bytes: cap, e.g. 64 MiB, on a decoded
 * chunk and on the rows that share a row of chunks. An open set is used by one thread at a time; several sets
 * of one file may be used by several. */
NT_MUST nt_status nt_h5_set_open(nt_h5_set **out, nt_h5 *file, const char *name, size_t max_chunk_bytes);
void nt_h5_set_close(nt_h5_set *set);
const nt_h5_info *nt_h5_set_info(const nt_h5_set *set);

/* Rows [first, first + n_rows) along dimension 0 converted to dtype into dst (row-major). Numeric sets only;
 * the conversion from 64-bit integers to int32 is checked for range (NT_ERR_DATA names the row). HDF5 is
 * entered by one thread at a time (own lock). */
NT_MUST nt_status nt_h5_set_read(nt_h5_set *set, int64_t first, int64_t n_rows, nt_dtype dtype, void *dst);

/* The same for n_rows arbitrary rows, in ascending order without repetition. */
NT_MUST nt_status nt_h5_set_read_rows(nt_h5_set *set, const int64_t *rows, int64_t n_rows, nt_dtype dtype,
                                      void *dst);

/* Attributes of an object ("/" for the root). Missing: *found false. Wrong class, or more than cap elements:
 * NT_ERR_DATA. Strings (fixed or variable length) are cut to cap bytes with terminator. */
NT_MUST nt_status nt_h5_attr_string(nt_h5 *file, const char *object, const char *name, char *dst, size_t cap,
                                    bool *found);
/* The same for a text of unknown length, malloc'ed; more than cap bytes: NT_ERR_DATA. */
NT_MUST nt_status nt_h5_attr_text(nt_h5 *file, const char *object, const char *name, size_t cap, char **dst,
                                  bool *found);
NT_MUST nt_status nt_h5_attr_floats(nt_h5 *file, const char *object, const char *name, double *dst, int cap,
                                    int *n, bool *found);
NT_MUST nt_status nt_h5_attr_int(nt_h5 *file, const char *object, const char *name, int64_t *dst,
                                 bool *found);
/* A one-dimensional array of strings; n at most cap; each malloc'ed. */
NT_MUST nt_status nt_h5_attr_strings(nt_h5 *file, const char *object, const char *name, char ***dst, int cap,
                                     int *n, bool *found);

/* --- writing --- (latest file format, chunked, fletcher32; see DESIGN.md section 4) */

/* Creates a file; fails if `path` exists (O_EXCL; never follows a link). NT_ERR_CREATE. */
NT_MUST nt_status nt_h5_create(nt_h5 **out, const char *path);
NT_MUST nt_status nt_h5_make_group(nt_h5 *file, const char *name); /* parents are made too */

/* A dataset of `shape`, written in chunks of chunk_rows rows; deflate level 0 (none) to 9 with shuffle. */
NT_MUST nt_status nt_h5_set_create(nt_h5_set **out, nt_h5 *file, const char *name, nt_dtype dtype,
                                   nt_shape shape, int64_t chunk_rows, int deflate);
NT_MUST nt_status nt_h5_set_write(nt_h5_set *set, int64_t first, int64_t n_rows,
                                  const void *src); /* native dtype of the set */

/* Gives the rows from n_rows (at least 1) on back: for a set that became shorter than was thought. */
NT_MUST nt_status nt_h5_set_shorten(nt_h5_set *set, int64_t n_rows);

NT_MUST nt_status nt_h5_put_string(nt_h5 *file, const char *object, const char *name, const char *value);
NT_MUST nt_status nt_h5_put_strings(nt_h5 *file, const char *object, const char *name,
                                    const char *const *values, int n);
NT_MUST nt_status nt_h5_put_floats(nt_h5 *file, const char *object, const char *name, const double *values,
                                   int n);
NT_MUST nt_status nt_h5_put_int(nt_h5 *file, const char *object, const char *name, int64_t value);

/* Flushes, closes and fsyncs the file; any failure of any of the three is reported (NT_ERR_IO). Frees `file`
 * in every case. */
NT_MUST nt_status nt_h5_finish(nt_h5 *file);

/* "1.10.8" */
const char *nt_h5_version(void);

#endif
