/* Tokens: what a sample is made of, and reading it.
 *
 * The trick is that a stream is a column whose rows are single tokens: a window of T + 1 of them is a range
 * of rows, a row of a set (N, T + 1) is a range of one, and from there on both are the same numbers, of which
 * the first T are the sample and the last T its targets. Windows are samples like any others, so the global
 * shuffle, the slices of ranks and an exact resume come for free. Bytes stay bytes in memory and become int32
 * in the batch. */
#include "datasets/hdf5_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INSPECTED_LENGTH 256

bool nt_tokens_wanted(const nt_data_options *options, const char *name)
{
    const char *slash = strrchr(name, '/');
    if (options->tokens != NT_TOKENS_AUTO) return options->tokens == NT_TOKENS_YES;
    return options->sequence > 0 || strcmp(slash ? slash + 1 : name, "tokens") == 0;
}

/* --- planning --- */

/* Keys that say what to do with the values of pixels and features. */
static nt_status check_options(const nt_data_options *o)
{
    const char *key = o->scale > 0                                            ? "scale"
                      : o->mean.n > 0                                         ? "mean"
                      : o->std.n > 0                                          ? "std"
                      : o->normalize                                          ? "normalize"
                      : o->resize[0] > 0 || o->resize[1] > 0                  ? "resize"
                      : o->layout != NT_LAYOUT_AUTO                           ? "layout"
                      : o->stride > 0 && o->sequence == 0 && !o->any_sequence ? "stride"
                                                                              : NULL;
    NT_CHECK(!key || strcmp(key, "stride") == 0, NT_ERR_CONFIG,
             "data.%s is for pixels and features, but the samples are integer tokens (data.tokens)", key);
    NT_CHECK(!key, NT_ERR_CONFIG,
             "data.stride is the distance of windows in a stream of tokens: set data.sequence, their length");
    return NT_OK;
}

/* One long stream: windows of T tokens and the one after. */
static nt_status plan_stream(nt_tokens *t, const nt_column *column, const nt_data_options *o)
{
    char where[NT_COLUMN_WHERE_BYTES];
    int64_t n = nt_column_rows(column), length = o->sequence;
    if (length == 0 && o->any_sequence) length = n - 1 < INSPECTED_LENGTH ? n - 1 : INSPECTED_LENGTH;
    NT_CHECK(length > 0, NT_ERR_CONFIG,
             "%s: a stream of %lld tokens: data.sequence must say how many of them make a sample",
             nt_column_where(column, 0, where), (long long)n);
    t->length = length;
    t->n_span = t->n_rows = length + t->shifted;
    t->stride = o->stride > 0 ? o->stride : length;
    NT_CHECK(n >= t->n_rows, NT_ERR_DATA,
             "%s: a stream of %lld tokens is shorter than one sample, data.sequence = %lld%s",
             nt_column_where(column, 0, where), (long long)n, (long long)length,
             t->shifted ? " and the token to foretell" : "");
    t->n_samples = (n - t->n_rows) / t->stride + 1;
    return NT_OK;
}

/* (N, T) with labels or to predict, else (N, T + 1). */
static nt_status plan_rows(nt_tokens *t, const nt_column *column, const nt_data_options *o)
{
    char where[NT_COLUMN_WHERE_BYTES];
    t->n_span = nt_column_stored_shape(column).dim[0];
    t->length = t->n_span - t->shifted;
    t->n_rows = t->stride = 1;
    t->n_samples = nt_column_rows(column);
    NT_CHECK(t->length >= 1, NT_ERR_DATA, "%s: rows of one token and no labels: there is nothing to foretell",
             nt_column_where(column, 0, where));
    NT_CHECK(o->sequence == 0 || o->sequence == t->length, NT_ERR_CONFIG,
             "%s: rows of %lld tokens%s; data.sequence = %lld does not fit, and need not be set: it is for "
             "one long stream of tokens, (L)",
             nt_column_where(column, 0, where), (long long)t->n_span,
             t->shifted ? ", of which the last is only foretold," : "", (long long)o->sequence);
    return NT_OK;
}

nt_status nt_tokens_plan(nt_tokens *t, nt_column *column, const nt_data_options *options, nt_split split,
                         bool labelled)
{
    char where[NT_COLUMN_WHERE_BYTES], text[NT_SHAPE_TEXT_BYTES];
    nt_shape stored = nt_column_stored_shape(column), out;
    *t = (nt_tokens){.shifted = !labelled && split != NT_SPLIT_PREDICT, .is_u8 = nt_column_is_u8(column)};
    NT_TRY(check_options(options));
    NT_CHECK(nt_column_is_integer(column), NT_ERR_DATA,
             "%s: tokens are integers, these are floats (data.tokens, data.sequence)",
             nt_column_where(column, 0, where));
    NT_CHECK(stored.n_dims <= 1, NT_ERR_DATA,
             "%s: a sample of shape %s; tokens are stored as one stream, (L), or as sequences, (N, T)",
             nt_column_where(column, 0, where), nt_shape_text(stored, text));
    NT_CHECK(stored.n_dims == 1 || !labelled, NT_ERR_DATA,
             "%s: a stream of tokens with labels beside it; the targets of a stream are its own next tokens: "
             "take the labels out, or store sequences, (N, T) with labels (N, T)",
             nt_column_where(column, 0, where));
    if (stored.n_dims == 0)
        NT_TRY(plan_stream(t, column, options));
    else
        NT_TRY(plan_rows(t, column, options));
    if (stored.n_dims == 0) stored = nt_shape_of(1, (int64_t)1);
    NT_TRY(nt_column_form_rows(column, t->is_u8 ? NT_U8 : NT_I32, stored, (nt_column_form){0}, &out));
    t->span = calloc((size_t)t->n_span, sizeof(int32_t));
    NT_CHECK_ALLOC(t->span, (size_t)t->n_span * sizeof(int32_t));
    return NT_OK;
}

void nt_tokens_free(nt_tokens *t)
{
    free(t->span);
    t->span = NULL;
}

int64_t nt_tokens_rows(const nt_tokens *t, int64_t n)
{
    return (n - 1) * t->stride + t->n_rows;
}

/* --- reading --- */

static nt_status complain(const nt_tokens *t, const nt_column *column, int64_t sample, int64_t at,
                          int64_t value, int64_t n_tokens)
{
    char where[NT_COLUMN_WHERE_BYTES];
    nt_column_where(column, sample * t->stride + (t->n_rows > 1 ? at : 0), where);
    NT_CHECK(value >= 0, NT_ERR_DATA, "%s: token %lld (sample %lld, position %lld) is negative", where,
             (long long)value, (long long)sample, (long long)at);
    NT_FAIL(NT_ERR_DATA,
            "%s: token %lld (sample %lld, position %lld) is out of range: the vocabulary has %lld tokens",
            where, (long long)value, (long long)sample, (long long)at, (long long)n_tokens);
}

/* The span as int32, checked. */
static nt_status widen(nt_tokens *t, const nt_column *column, int64_t sample, int64_t n_tokens)
{
    int32_t *token = t->span;
    const uint8_t *byte = t->span;
    for (int64_t i = t->n_span - 1; t->is_u8 && i >= 0; i--) /* from the end: they lie on each other */
        token[i] = byte[i];
    int32_t limit = n_tokens > 0 && n_tokens <= INT32_MAX ? (int32_t)(n_tokens - 1) : INT32_MAX;
    for (int64_t i = 0; i < t->n_span; i++)
        if (token[i] < 0 || token[i] > limit) return complain(t, column, sample, i, token[i], n_tokens);
    return NT_OK;
}

nt_status nt_tokens_read(nt_tokens *t, nt_column *column, int64_t n_tokens, const int64_t *index, int64_t n,
                         int32_t *x, int32_t *target)
{
    const size_t n_bytes = (size_t)t->length * sizeof(int32_t);
    for (int64_t i = 0; i < n; i++) {
        NT_TRY(nt_column_read_range(column, index[i] * t->stride, t->n_rows, t->span));
        NT_TRY(widen(t, column, index[i], n_tokens));
        if (x) memcpy(x + i * t->length, t->span, n_bytes);
        if (target && t->shifted) memcpy(target + i * t->length, (int32_t *)t->span + 1, n_bytes);
    }
    return NT_OK;
}
