/* Integer tokens as samples: whole rows of a set (N, T), or windows that are cut out of one long stream (L).
 */
#ifndef NT_DATASETS_HDF5_TOKENS_H
#define NT_DATASETS_HDF5_TOKENS_H

#include "datasets/dataset.h"
#include "datasets/hdf5_column.h"

/* Where sample i lies in its column: n_rows rows from row i stride on. */
typedef struct nt_tokens {
    int64_t length;    /* T: tokens of a sample */
    int64_t n_span;    /* numbers that are read for it: T, or T + 1 if shifted */
    int64_t n_rows;    /* rows of the column that these are */
    int64_t stride;    /* rows from one sample to the next */
    int64_t n_samples; /* in all of the column */
    bool shifted;      /* the targets are the same tokens, one later: token t + 1 is to be foretold at t */
    bool is_u8;        /* how the column keeps them */
    void *span;        /* (n_span) of them; owned */
} nt_tokens;

/* Whether the set of that name holds tokens: data.tokens says so, or data.sequence is given, or its name is
 * `tokens`. */
bool nt_tokens_wanted(const nt_data_options *options, const char *name);

/* Looks at the column, decides how samples are cut out of it and forms its rows. labelled: there are labels,
 * so nothing is shifted. NT_ERR_DATA or NT_ERR_CONFIG name what does not fit. Free with nt_tokens_free also
 * after a failure. */
NT_MUST nt_status nt_tokens_plan(nt_tokens *tokens, nt_column *column, const nt_data_options *options,
                                 nt_split split, bool labelled);
void nt_tokens_free(nt_tokens *tokens);

/* Rows of the column that the first n samples take. */
int64_t nt_tokens_rows(const nt_tokens *tokens, int64_t n);

/* Samples index[0 .. n) into x (n, T) and, if shifted, target (n, T); either may be NULL. Tokens must be in
 * [0, n_tokens), n_tokens 0: any but negative ones; NT_ERR_DATA names file, set, row, sample and value. */
NT_MUST nt_status nt_tokens_read(nt_tokens *tokens, nt_column *column, int64_t n_tokens, const int64_t *index,
                                 int64_t n, int32_t *x, int32_t *target);

#endif
