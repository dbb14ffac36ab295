/* Texts as one stream of tokens: bytes, or the tokens of a vocabulary. Several files are laid end to end; the
 * end of the whole is the test part. Everything is in memory at once. */
#include "core/log.h"
#include "datasets/import.h"
#include "datasets/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#define PIECE        ((size_t)1 << 20)
#define DEFAULT_TEST 0.1

typedef struct text {
    const nt_import_args *args;
    uint8_t *bytes;
    size_t n_bytes, cap;
    int32_t *token; /* NULL: the bytes are the tokens */
    int64_t n_tokens;
} text;

static nt_status append(text *t, nt_zfile *file)
{
    size_t got;
    do {
        if (t->cap - t->n_bytes < PIECE) {
            size_t cap = t->cap ? 2 * t->cap : 4 * PIECE;
            uint8_t *grown = realloc(t->bytes, cap);
            NT_CHECK_ALLOC(grown, cap);
            t->bytes = grown;
            t->cap = cap;
        }
        NT_TRY(nt_zfile_read_some(file, t->bytes + t->n_bytes, PIECE, &got));
        t->n_bytes += got;
    } while (got == PIECE);
    return NT_OK;
}

static nt_status read_files(text *t)
{
    for (int i = 0; i < t->args->n_inputs; i++) {
        nt_zfile *file;
        NT_TRY(nt_zfile_open(&file, t->args->inputs[i]));
        size_t before = t->n_bytes;
        nt_status status = append(t, file);
        nt_zfile_close(file);
        NT_TRY(status);
        NT_CHECK(t->n_bytes > before, NT_ERR_DATA, "'%s' is empty", t->args->inputs[i]);
    }
    t->n_tokens = (int64_t)t->n_bytes;
    return NT_OK;
}

/* At most one token a byte. */
static nt_status cut(text *t, const nt_vocabulary *vocabulary)
{
    t->token = malloc(t->n_bytes * sizeof *t->token);
    NT_CHECK_ALLOC(t->token, t->n_bytes * sizeof *t->token);
    t->n_tokens = 0;
    for (size_t at = 0, n; at < t->n_bytes; at += n) {
        n = nt_vocabulary_match(vocabulary, t->bytes + at, t->n_bytes - at, &t->token[t->n_tokens++]);
        NT_CHECK(n > 0, NT_ERR_DATA,
                 "byte %zu of the text, 0x%02x ('%.*s'), begins no token of '%s'; a line <unk> there would "
                 "stand for "
                 "what is unknown",
                 at, t->bytes[at], (int)(t->n_bytes - at < 12 ? t->n_bytes - at : 12), (char *)t->bytes + at,
                 t->args->vocabulary);
    }
    return NT_OK;
}

static nt_status put(const text *t, nt_import_writer *writer, const char *part, int64_t begin, int64_t end)
{
    NT_TRY(nt_import_begin(writer, part, end - begin));
    for (int64_t at = begin; at < end;) {
        int64_t n = end - at < (int64_t)PIECE ? end - at : (int64_t)PIECE;
        NT_TRY(nt_import_put(writer, n, t->token ? (void *)(t->token + at) : t->bytes + at, NULL));
        at += n;
    }
    return NT_OK;
}

static nt_status put_parts(const text *t, nt_import_writer *writer)
{
    double fraction = t->args->test_fraction < 0 ? DEFAULT_TEST : t->args->test_fraction;
    int64_t n_test = (int64_t)((double)t->n_tokens * fraction), n_train = t->n_tokens - n_test;
    NT_CHECK(n_train >= 2 && (fraction == 0 || n_test >= 2), NT_ERR_DATA,
             "%lld tokens are too few for a training and a test part (--test-fraction %g)",
             (long long)t->n_tokens, fraction);
    NT_TRY(put(t, writer, "train", 0, n_train));
    if (n_test > 0) NT_TRY(put(t, writer, "test", n_train, t->n_tokens));
    nt_info("%lld tokens to train on, %lld to test on, out of %zu bytes", (long long)n_train,
            (long long)n_test, t->n_bytes);
    return NT_OK;
}

static nt_status write_out(const text *t, const nt_vocabulary *vocabulary)
{
    nt_import_format format = {.dtype = vocabulary ? NT_I32 : NT_U8,
                               .n_classes = vocabulary ? nt_vocabulary_size(vocabulary) : 256,
                               .class_names = vocabulary ? nt_vocabulary_lines(vocabulary) : NULL,
                               .tokens = true};
    nt_import_writer *writer;
    NT_TRY(nt_import_open(&writer, t->args, &format));
    nt_status status = put_parts(t, writer);
    if (status == NT_OK) return nt_import_finish(writer);
    nt_import_discard(writer);
    return status;
}

static nt_status convert(text *t)
{
    nt_vocabulary *vocabulary = NULL;
    if (t->args->vocabulary) NT_TRY(nt_vocabulary_read(&vocabulary, t->args->vocabulary));
    nt_status status = read_files(t);
    if (status == NT_OK && vocabulary) status = cut(t, vocabulary);
    if (status == NT_OK) status = write_out(t, vocabulary);
    nt_vocabulary_free(vocabulary);
    return status;
}

static nt_status run_text(const nt_import_args *args)
{
    text t = {.args = args};
    NT_CHECK(args->n_inputs >= 1, NT_ERR_USAGE, "text takes one or more files");
    nt_status status = convert(&t);
    free(t.bytes);
    free(t.token);
    return status;
}

const nt_importer nt_import_text = {
    .name = "text",
    .usage = "[--vocabulary FILE] [--test-fraction F] FILE...",
    .help = "texts as tokens: bytes, or the longest matches of a vocabulary of one token a line",
    .run = run_text,
};
