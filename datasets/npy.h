/* NumPy's .npy files (numpy.lib.format, versions 1.0 to 3.0), gzipped or not, row by row. */
#ifndef NT_DATASETS_NPY_H
#define NT_DATASETS_NPY_H

#include "datasets/import.h"

typedef struct nt_npy {
    nt_zfile *file;
    char kind;      /* 'b' bool, 'i', 'u', 'f' */
    int elem_bytes; /* 1, 2, 4, 8 */
    bool swap;      /* of the other byte order */
    bool fortran;   /* first index fastest in the file: read whole, see below */
    nt_shape shape; /* at least one dimension */
    uint8_t *all;   /* fortran: elements in C order; owned */
    int64_t n_done; /* elements read */
    uint8_t *raw;   /* (1 << 16) bytes */
} nt_npy;

/* Opens a file and reads its header. NT_ERR_DATA names it. Close also after a failure. */
NT_MUST nt_status nt_npy_open(nt_npy *npy, const char *path);
void nt_npy_close(nt_npy *npy);

/* The next n elements in C order. As doubles: integers beyond 2^53 are NT_ERR_DATA. */
NT_MUST nt_status nt_npy_read(nt_npy *npy, double *dst, int64_t n);

/* NT_ERR_DATA unless the file ends here. */
NT_MUST nt_status nt_npy_expect_end(nt_npy *npy);

#endif
