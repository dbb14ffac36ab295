/* One quantity of a dataset, samples or targets: a data set of the same name and kind in each of several
 * files, laid end to end. */
#ifndef NT_DATASETS_HDF5_COLUMN_H
#define NT_DATASETS_HDF5_COLUMN_H

#include "core/h5.h"

typedef struct nt_column nt_column;

/* One file's share. Strings and file are borrowed and outlive the column. */
typedef struct nt_column_source {
    nt_h5 *file;
    const char *name; /* of the data set */
} nt_column_source;

/* How rows are changed on their way. All zero: they stay as they are stored. */
typedef struct nt_column_form {
    bool channels_last;    /* stored (..., C), wanted (C, ...) */
    int64_t height, width; /* wanted; 0: as stored */
} nt_column_form;

/* Opens all shares. They must agree in shape (but for the number of rows) and in kind of number: NT_ERR_DATA
 * names both files. At most 5 dimensions, the first of them rows. */
NT_MUST nt_status nt_column_open(nt_column **out, const nt_column_source *source, int n_sources);
void nt_column_close(nt_column *column);

int64_t nt_column_rows(const nt_column *column);
int64_t nt_column_source_rows(const nt_column *column, int source);
nt_shape nt_column_stored_shape(const nt_column *column); /* of one row; no dimensions: a single value */
bool nt_column_is_u8(const nt_column *column);            /* stored as unsigned bytes */
bool nt_column_is_integer(const nt_column *column);
bool nt_column_is_chunked(const nt_column *column);

/* Decides what rows become: dtype NT_U8, NT_F32 or NT_I32 (of integers, checked for range), shape
 * (stored_shape with the same number of elements, in the order after channels_last; (C, H, W) where height
 * and width are given). *out_shape: what comes out. Once, before reading. */
NT_MUST nt_status nt_column_form_rows(nt_column *column, nt_dtype dtype, nt_shape shape, nt_column_form form,
                                      nt_shape *out_shape);
size_t nt_column_row_bytes(const nt_column *column); /* of what comes out */

/* Reads rows [0, n) into memory, where nt_column_read finds them from then on. complete: no other rows will
 * be asked for, and the data sets are closed. */
NT_MUST nt_status nt_column_load(nt_column *column, int64_t n, bool complete);

/* Rows index[0 .. n) in that order. Floats are checked: NaN and infinity are NT_ERR_DATA naming file, set and
 * row; subnormal numbers become zero and are reported once. One thread at a time. */
NT_MUST nt_status nt_column_read(nt_column *column, const int64_t *index, int64_t n, void *dst);

/* Rows [first, first + n), formed and checked as by nt_column_read. */
NT_MUST nt_status nt_column_read_range(nt_column *column, int64_t first, int64_t n, void *dst);

/* Rows [first, first + n) converted to int64, unformed; fractions and NaN are NT_ERR_DATA. */
NT_MUST nt_status nt_column_read_integers(nt_column *column, int64_t first, int64_t n, int64_t *dst);

/* Which source holds a row, and where in it. */
int nt_column_source_of(const nt_column *column, int64_t row, int64_t *row_in_source);

/* "file.h5: '/train/label' row 17" for messages. */
#define NT_COLUMN_WHERE_BYTES 1024
const char *nt_column_where(const nt_column *column, int64_t row, char text[NT_COLUMN_WHERE_BYTES]);

#endif
