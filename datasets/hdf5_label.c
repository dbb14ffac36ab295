/* Labels come in any type of number; what counts is that every one is a whole number in range. They go
 * through int64, so that nothing is cut off before it has been looked at, and stay in memory for good: four
 * bytes a sample, against which the file need not be asked again. */
#include "datasets/hdf5_label.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ELEMS 16384

/* The class of one row of K numbers, K = 1: the number itself, else the place of the one. False: none. */
static bool class_of(const int64_t *row, int64_t k, int64_t *class)
{
    int64_t ones = 0;
    *class = row[0];
    if (k == 1) return row[0] >= 0 && row[0] < NT_MAX_CLASSES;
    for (int64_t i = 0; i < k; i++) {
        if (row[i] != 0 && row[i] != 1) return false;
        if (row[i] == 1) *class = i;
        ones += row[i];
    }
    return ones == 1;
}

static nt_status complain(const nt_column *column, int64_t row, int64_t k, int64_t value)
{
    char where[NT_COLUMN_WHERE_BYTES];
    nt_column_where(column, row, where);
    NT_CHECK(k > 1, NT_ERR_DATA,
             "%s: class label %lld is out of range: classes are whole numbers from 0 to %lld "
             "(data.target = value takes numbers as they are)",
             where, (long long)value, (long long)NT_MAX_CLASSES - 1);
    NT_FAIL(NT_ERR_DATA,
            "%s: %lld numbers of which not exactly one is 1 and the others 0 name no class "
            "(data.target = value takes numbers as they are)",
            where, (long long)k);
}

/* n rows of k numbers that begin at row `first`. */
static nt_status take_block(nt_labels *labels, const nt_column *column, int64_t first, int64_t n, int64_t k,
                            const int64_t *block)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t class;
        if (!class_of(block + i * k, k, &class)) return complain(column, first + i, k, block[i * k]);
        labels->class[first + i] = (int32_t) class;
        if (class > labels->class[labels->max_row]) labels->max_row = first + i;
    }
    return NT_OK;
}

nt_status nt_labels_read(nt_labels *labels, nt_column *column)
{
    int64_t k = nt_shape_elems(nt_column_stored_shape(column)), n = nt_column_rows(column);
    *labels = (nt_labels){.n = n};
    char where[NT_COLUMN_WHERE_BYTES];
    NT_CHECK(nt_column_stored_shape(column).n_dims <= 1 && k <= BLOCK_ELEMS, NT_ERR_DATA,
             "%s: class labels are one number a sample, (N), or one column a class, (N, K)",
             nt_column_where(column, 0, where));
    labels->class = calloc((size_t)n, sizeof *labels->class);
    int64_t *block = malloc(BLOCK_ELEMS * sizeof *block), block_rows = BLOCK_ELEMS / k;
    nt_status status = NT_OK;
    if (!labels->class || !block)
        status = nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__,
                              "out of memory for %lld class labels", (long long)n);
    for (int64_t first = 0; first < n && status == NT_OK; first += block_rows) {
        int64_t rows = n - first < block_rows ? n - first : block_rows;
        status = nt_column_read_integers(column, first, rows, block);
        if (status != NT_OK) (void)nt_error_prefix(status, "class labels: ");
        if (status == NT_OK) status = take_block(labels, column, first, rows, k, block);
    }
    free(block);
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

void nt_labels_free(nt_labels *labels)
{
    free(labels->class);
    labels->class = NULL;
}
