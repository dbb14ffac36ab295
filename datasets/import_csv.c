/* CSV of numbers: one sample a row; a class label or float targets in the last (or first) columns.
 *
 * The file is read twice, first to see how many rows and columns there are and whether all values are
 * integers in 0..255 (then they are stored as uint8, else as float32), then to write. Numbers only: a word,
 * an empty field, a value beyond float32, a row of another length is an error with file, line and column. */
#include "core/text.h"
#include "datasets/import.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES  (1 << 20)
#define MAX_COLUMNS 65536
#define MAX_CLASSES 65536

typedef struct csv {
    nt_zfile *file;
    const nt_import_args *args;
    char *buffer; /* what was read and not yet taken */
    size_t begin, end;
    int64_t line;
    double *value; /* (n_columns) of the present row */
    int64_t n_columns;
} csv;

/* What the first reading found. */
typedef struct csv_facts {
    int64_t n_rows, n_classes;
    bool bytes;
} csv_facts;

/* The next line into the buffer at c->begin, terminated; *text NULL at the end of the file. */
static nt_status next_line(csv *c, char **text)
{
    size_t length = 0;
    for (;;) {
        char *newline = memchr(c->buffer + c->begin, '\n', c->end - c->begin);
        if (newline) {
            *newline = '\0';
            *text = c->buffer + c->begin;
            length = (size_t)(newline - *text);
            c->begin += length + 1;
            break;
        }
        memmove(c->buffer, c->buffer + c->begin, c->end - c->begin);
        c->end -= c->begin;
        c->begin = 0;
        size_t got;
        NT_CHECK(c->end < LINE_BYTES, NT_ERR_DATA, "'%s', line %lld is longer than %d bytes",
                 nt_zfile_path(c->file), (long long)c->line + 1, LINE_BYTES);
        NT_TRY(nt_zfile_read_some(c->file, c->buffer + c->end, LINE_BYTES - c->end, &got));
        c->end += got;
        if (got > 0) continue;
        *text = c->end > 0 ? c->buffer : NULL;
        c->buffer[c->end] = '\0';
        length = c->end;
        c->end = 0;
        break;
    }
    c->line++;
    NT_CHECK(!*text || strlen(*text) == length, NT_ERR_DATA, "'%s', line %lld holds a NUL byte",
             nt_zfile_path(c->file), (long long)c->line);
    if (*text && **text && (*text)[strlen(*text) - 1] == '\r') (*text)[strlen(*text) - 1] = '\0';
    return NT_OK;
}

static char *trim(char *field)
{
    while (*field == ' ' || *field == '\t')
        field++;
    size_t n = strlen(field);
    while (n > 0 && (field[n - 1] == ' ' || field[n - 1] == '\t'))
        field[--n] = '\0';
    return field;
}

/* Splits a line into c->value. *n is the number of fields. */
static nt_status parse_line(csv *c, char *text, int64_t *n)
{
    *n = 0;
    for (char *rest = text, *field; (field = strsep(&rest, ",;"));) {
        NT_CHECK(*n < MAX_COLUMNS, NT_ERR_DATA, "'%s', line %lld: more than %d columns",
                 nt_zfile_path(c->file), (long long)c->line, MAX_COLUMNS);
        field = trim(field);
        NT_CHECK(nt_text_to_float(field, &c->value[*n]), NT_ERR_DATA,
                 "'%s', line %lld, column %lld: '%.40s' is not a number%s", nt_zfile_path(c->file),
                 (long long)c->line, (long long)*n + 1, field,
                 c->line == 1 ? "; if the first line holds names, give --header" : "");
        NT_CHECK(fabs(c->value[*n]) <= FLT_MAX, NT_ERR_DATA,
                 "'%s', line %lld, column %lld: '%.40s' is too large for float32", nt_zfile_path(c->file),
                 (long long)c->line, (long long)*n + 1, field);
        (*n)++;
    }
    return NT_OK;
}

/* The next row into c->value; *more false at the end. Empty lines are passed over. */
static nt_status next_row(csv *c, bool *more)
{
    char *text = NULL;
    int64_t n;
    do {
        NT_TRY(next_line(c, &text));
        *more = text != NULL;
        if (!*more) return NT_OK;
    } while (*text == '\0' || (c->line == 1 && c->args->header));
    NT_TRY(parse_line(c, text, &n));
    if (c->n_columns == 0) c->n_columns = n;
    NT_CHECK(n == c->n_columns, NT_ERR_DATA, "'%s', line %lld has %lld columns, the lines before have %lld",
             nt_zfile_path(c->file), (long long)c->line, (long long)n, (long long)c->n_columns);
    return NT_OK;
}

static nt_status csv_open(csv *c, const nt_import_args *args)
{
    *c = (csv){.args = args};
    c->buffer = malloc(LINE_BYTES + 1);
    c->value = malloc(MAX_COLUMNS * sizeof *c->value);
    NT_CHECK_ALLOC(c->buffer && c->value, LINE_BYTES + MAX_COLUMNS * sizeof *c->value);
    NT_TRY(nt_zfile_open(&c->file, args->inputs[0]));
    return NT_OK;
}

static void csv_close(csv *c)
{
    nt_zfile_close(c->file);
    free(c->buffer);
    free(c->value);
}

static int64_t n_target_columns(const nt_import_args *args)
{
    return args->n_targets > 0 ? args->n_targets : 1;
}

/* Where the features and the targets of a row begin. */
static const double *features(const csv *c)
{
    return c->args->label_first ? c->value + n_target_columns(c->args) : c->value;
}

static const double *targets(const csv *c)
{
    return c->args->label_first ? c->value : c->value + c->n_columns - n_target_columns(c->args);
}

static nt_status look_at_row(const csv *c, csv_facts *facts)
{
    int64_t n_features = c->n_columns - n_target_columns(c->args);
    NT_CHECK(n_features >= 1, NT_ERR_DATA,
             "'%s' has %lld columns, of which %lld are targets: no features are left", nt_zfile_path(c->file),
             (long long)c->n_columns, (long long)n_target_columns(c->args));
    for (int64_t i = 0; i < n_features && facts->bytes; i++)
        facts->bytes =
            features(c)[i] >= 0 && features(c)[i] <= 255 && features(c)[i] == floor(features(c)[i]);
    facts->n_rows++;
    if (c->args->n_targets > 0) return NT_OK;
    double label = targets(c)[0];
    NT_CHECK(label >= 0 && label < MAX_CLASSES && label == floor(label), NT_ERR_DATA,
             "'%s', line %lld: label %g is not a class number 0, 1, 2, ...; for float targets give --targets",
             nt_zfile_path(c->file), (long long)c->line, label);
    if ((int64_t)label + 1 > facts->n_classes) facts->n_classes = (int64_t)label + 1;
    return NT_OK;
}

static nt_status look_through(csv *c, csv_facts *facts)
{
    bool more;
    *facts = (csv_facts){.bytes = true};
    for (;;) {
        NT_TRY(next_row(c, &more));
        if (!more) break;
        NT_TRY(look_at_row(c, facts));
    }
    NT_CHECK(facts->n_rows > c->args->test_rows && c->args->test_rows >= 0, NT_ERR_DATA,
             "'%s' has %lld rows; %lld for the test part leave none to train on", nt_zfile_path(c->file),
             (long long)facts->n_rows, (long long)c->args->test_rows);
    return NT_OK;
}

static nt_status put_row(nt_import_writer *writer, const csv *c, bool bytes, uint8_t *u8, float *f32,
                         float *target)
{
    int64_t n = c->n_columns - n_target_columns(c->args);
    const bool classes = c->args->n_targets == 0; /* a float target need not fit an int32_t */
    int32_t label = classes ? (int32_t)targets(c)[0] : 0;
    for (int64_t i = 0; i < n; i++) {
        u8[i] = bytes ? (uint8_t)features(c)[i] : 0;
        f32[i] = (float)features(c)[i];
    }
    for (int64_t i = 0; i < c->args->n_targets; i++)
        target[i] = (float)targets(c)[i];
    NT_TRY(nt_import_put(writer, 1, bytes ? (void *)u8 : f32, classes ? (void *)&label : target));
    return NT_OK;
}

static nt_status copy_rows(nt_import_writer *writer, csv *c, const csv_facts *facts, uint8_t *u8, float *f32)
{
    int64_t n_train = facts->n_rows - c->args->test_rows;
    bool more;
    NT_TRY(nt_import_begin(writer, "train", n_train));
    for (int64_t row = 0; row < facts->n_rows; row++) {
        if (row == n_train) NT_TRY(nt_import_begin(writer, "test", c->args->test_rows));
        NT_TRY(next_row(c, &more));
        NT_CHECK(more, NT_ERR_DATA, "'%s' became shorter while it was read", nt_zfile_path(c->file));
        NT_TRY(put_row(writer, c, facts->bytes, u8, f32, f32 + MAX_COLUMNS));
    }
    return NT_OK;
}

static nt_status write_all(const nt_import_args *args, csv *c, const csv_facts *facts, int64_t n_columns)
{
    int64_t n_features = n_columns - n_target_columns(args);
    nt_shape shape = args->shape.n_dims ? args->shape : nt_shape_of(1, n_features);
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(nt_shape_elems(shape) == n_features, NT_ERR_USAGE,
             "--shape %s has %lld values but a row has %lld features", nt_shape_text(shape, text),
             (long long)nt_shape_elems(shape), (long long)n_features);
    nt_import_format format = {.dtype = facts->bytes ? NT_U8 : NT_F32,
                               .shape = shape,
                               .n_classes = args->n_targets > 0 ? 0 : facts->n_classes,
                               .n_targets = args->n_targets};
    nt_import_writer *writer;
    float *f32 = malloc(2 * MAX_COLUMNS * sizeof *f32);
    uint8_t *u8 = malloc(MAX_COLUMNS);
    nt_status status = NT_OK;
    if (!f32 || !u8) status = nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory");
    if (status == NT_OK) status = nt_import_open(&writer, args, &format);
    if (status == NT_OK) {
        status = copy_rows(writer, c, facts, u8, f32);
        if (status == NT_OK)
            status = nt_import_finish(writer);
        else
            nt_import_discard(writer);
    }
    free(f32);
    free(u8);
    return status;
}

static nt_status run_csv(const nt_import_args *args)
{
    csv first, second;
    csv_facts facts;
    NT_CHECK(args->n_inputs == 1, NT_ERR_USAGE, "csv takes one file");
    nt_status status = csv_open(&first, args);
    if (status == NT_OK) status = look_through(&first, &facts);
    int64_t n_columns = first.n_columns;
    csv_close(&first);
    NT_TRY(status);
    status = csv_open(&second, args);
    if (status == NT_OK) status = write_all(args, &second, &facts, n_columns);
    csv_close(&second);
    return status;
}

const nt_importer nt_import_csv = {
    .name = "csv",
    .usage = "[--shape CxHxW] [--test-rows N] [--targets N] [--label-first] [--header] [--scale S] FILE",
    .help = "rows of numbers; the last column is the class, or the last N columns the targets",
    .run = run_csv,
};
