/* Class labels: all of a split in memory as int32, checked when they are read. */
#ifndef NT_DATASETS_HDF5_LABEL_H
#define NT_DATASETS_HDF5_LABEL_H

#include "datasets/hdf5_column.h"

#define NT_MAX_CLASSES ((int64_t)1 << 24)

typedef struct nt_labels {
    int64_t n;
    int32_t *class;  /* (n); owned */
    int64_t max_row; /* a row with the largest class */
} nt_labels;

/* Reads all rows of `column`: (N) or (N, 1) whole numbers in [0, NT_MAX_CLASSES), or (N, K) rows with a
 * single one among zeros. NT_ERR_DATA names file, set, row and value. Free with nt_labels_free also after a
 * failure. */
NT_MUST nt_status nt_labels_read(nt_labels *labels, nt_column *column);
void nt_labels_free(nt_labels *labels);

#endif
