/* What the files core/h5*.c share. No hdf5.h here: an HDF5 identifier is an int64_t (checked in h5.c), so
 * that the pure C files of this room (filters, conversion) and their tests do without it. */
#ifndef NT_CORE_H5_PRIVATE_H
#define NT_CORE_H5_PRIVATE_H

#include "core/h5.h"

#define NT_H5_PATH_BYTES 1024 /* of a resolved object path inside a file */

/* The file below HDF5's feet: core/h5_driver.c reads and writes it. */
typedef struct nt_h5_io {
    int fd;
    int64_t size; /* bytes; grows with writes */
    bool writing;
    bool dropping; /* writes go nowhere: after the first failure, or when the file is being given up */
    bool released; /* HDF5 has closed its side */
    int error;     /* errno of the first failed write; 0 if none */
} nt_h5_io;

#define NT_H5_LABEL_BYTES 512

struct nt_h5 {
    char *path;
    char label[NT_H5_LABEL_BYTES]; /* the path in messages: its end where it is long, so that the reason fits,
                                      too */
    nt_h5_io *io;                  /* own block: outlives this struct when HDF5 cannot close its side */
    int64_t id;
    bool spoiled; /* closing a dataset failed */
};

/* HDF5 is entered by one thread at a time: every public function of the room brackets its HDF5 calls. */
void nt_h5_enter(void);
void nt_h5_leave(void);

/* Innermost message of the last failed HDF5 call of this thread, for our messages. The text stays until this
 * thread asks again. */
const char *nt_h5_reason(void);

/* core/h5_driver.c: a file access property list that makes HDF5 work on io->fd; negative on failure. */
int64_t nt_h5_driver_access(nt_h5_io *io);

/* core/h5_walk.c: the path of hard links only that `name` stands for, "/" for the root; soft links are
 * followed by us, external and user-defined ones refused. *found false: no such object; path is then as
 * far as it got. */
NT_MUST nt_status nt_h5_resolve(nt_h5 *file, const char *name, char path[NT_H5_PATH_BYTES], bool *found);

/* --- elements (core/h5_convert.c) --- */

typedef enum nt_h5_elem {
    NT_H5_I8,
    NT_H5_U8,
    NT_H5_I16,
    NT_H5_U16,
    NT_H5_I32,
    NT_H5_U32,
    NT_H5_I64,
    NT_H5_U64,
    NT_H5_F32,
    NT_H5_F64,
    NT_H5_N_ELEMS, /* not a number */
} nt_h5_elem;

size_t nt_h5_elem_bytes(nt_h5_elem elem);

/* Whether an element of the file is, byte for byte, an element of dtype. */
bool nt_h5_elem_is(nt_h5_elem elem, bool swap, nt_dtype dtype);

/* Converts n elements (swap: the other byte order). False when a value has no place in dtype: *bad is its
 * index and `why` (at least 96 bytes) says so. */
bool nt_h5_convert(void *dst, nt_dtype dtype, const void *src, nt_h5_elem elem, bool swap, int64_t n,
                   int64_t *bad, char why[96]);

/* --- chunks (core/h5_filter.c) --- */

typedef enum nt_h5_filter { NT_H5_SHUFFLE, NT_H5_DEFLATE, NT_H5_FLETCHER32 } nt_h5_filter;

typedef struct nt_h5_pipeline {
    int n;
    nt_h5_filter filter[3]; /* in the order of writing; each at most once */
    size_t elem_bytes;
    size_t chunk_bytes; /* decoded */
} nt_h5_pipeline;

/* Bytes that both buffers of nt_h5_decode need; a stored chunk larger than this is refused. */
size_t nt_h5_decode_bytes(size_t chunk_bytes);

/* Undoes the pipeline on the n_bytes in buffer[0], going to and fro between the two buffers of `cap` bytes;
 * skipped: the chunk's filter mask. *out: the buffer that holds exactly chunk_bytes. On failure NULL is
 * returned in *out and the reason as a word of text, else NULL. */
const char *nt_h5_decode(const nt_h5_pipeline *pipeline, uint32_t skipped, unsigned char *const buffer[2],
                         size_t n_bytes, size_t cap, unsigned char **out);

struct nt_h5_set {
    nt_h5 *file;
    char *name;
    int64_t id;
    nt_h5_info info;
    nt_h5_elem elem;
    size_t elem_bytes, row_bytes; /* as stored */
    int64_t row_elems;
    nt_dtype dtype; /* of a set that is being written */

    /* Reading; buffers come with the first read. */
    nt_h5_pipeline pipeline;
    bool whole_rows;          /* a chunk spans all of its rows: a band is one chunk */
    size_t band_bytes;        /* of a full band: the rows that share a row of chunks */
    unsigned char *buffer[2]; /* (decode_bytes): a chunk on its way */
    size_t decode_bytes;
    unsigned char *band_memory;
    const unsigned char *band; /* rows of band number band_index; of a compact set all rows */
    int64_t band_index;        /* -1: none */
    unsigned char *stage;      /* (NT_H5_STAGE_BYTES) of a contiguous set: rows before their conversion */
};

#define NT_H5_STAGE_BYTES ((size_t)256 << 10)

#endif
