/* CSV of numbers: one sample a row; a class label or float targets in the last (or first) columns.
 *
 * The file is read once to see how many rows and columns there are, whether all values are integers in 0..255
 * (then they are stored as uint8, else as float32) and which words stand for classes, and then once for each
 * part that is written. Only a class may be a word, in every row or in none: a word elsewhere, an empty
 * field, a value beyond float32, a row of another length is an error with file, line and column. */
#include "core/log.h"
#include "core/text.h"
#include "datasets/class_words.h"
#include "datasets/import.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES      (1 << 20)
#define MAX_COLUMNS     65536
#define MAX_CLASSES     65536
#define MAX_WORD        200
#define FEW_ROWS        10             /* in so few each class may well be there once */
#define BYTE_ORDER_MARK "\xEF\xBB\xBF" /* spreadsheets put it before UTF-8 */

typedef struct csv {
    nt_zfile *file;
    const nt_import_args *args;
    char *buffer; /* what was read and not yet taken */
    size_t begin, end;
    int64_t line;
    double *value;    /* (n_columns) of the present row */
    const char *word; /* its class, if that is a word */
    int64_t n_columns;
} csv;

/* What the first reading found. */
typedef struct csv_facts {
    int64_t n_columns, n_rows, n_test, n_classes;
    nt_class_words words; /* n = 0: classes are numbers */
    bool bytes;
    char first[MAX_WORD + 1]; /* the first row's class, if that is a word */
    int64_t first_line;
    bool first_again; /* another row is of that class */
} csv_facts;

/* Room for one row on its way out. */
typedef struct csv_row {
    uint8_t u8[MAX_COLUMNS];
    float f32[MAX_COLUMNS], target[MAX_COLUMNS];
} csv_row;

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
    if (c->line == 1 && *text && strncmp(*text, BYTE_ORDER_MARK, 3) == 0) *text += 3;
    return NT_OK;
}

/* Without blanks around it, and without the quotes that some programs put around each. */
static char *trim(char *field)
{
    while (*field == ' ' || *field == '\t')
        field++;
    size_t n = strlen(field);
    while (n > 0 && (field[n - 1] == ' ' || field[n - 1] == '\t'))
        field[--n] = '\0';
    if (n < 2 || field[0] != '"' || field[n - 1] != '"') return field;
    field[n - 1] = '\0';
    return field + 1;
}

/* Sets *value, or c->word of a class that is a word. */
static nt_status parse_field(csv *c, char *field, int64_t column, bool is_class, double *value)
{
    const char *path = nt_zfile_path(c->file);
    const long long line = c->line;
    const bool number = nt_text_to_float(field, value);
    NT_CHECK(number || *field, NT_ERR_DATA, "'%s', line %lld, column %lld is empty", path, line,
             (long long)column);
    NT_CHECK(number || is_class, NT_ERR_DATA, "'%s', line %lld, column %lld: '%.40s' is not a number%s", path,
             line, (long long)column, field,
             line == 1 ? "; if the first line holds names, give --header" : "");
    NT_CHECK(!number || fabs(*value) <= FLT_MAX, NT_ERR_DATA,
             "'%s', line %lld, column %lld: '%.40s' is too large for float32", path, line, (long long)column,
             field);
    const size_t length = number ? 0 : strlen(field);
    NT_CHECK(length <= MAX_WORD && nt_text_is_utf8(field, length), NT_ERR_DATA,
             "'%s', line %lld, column %lld: the class's name is not UTF-8, or longer than %d bytes", path,
             line, (long long)column, MAX_WORD);
    if (!number) c->word = field;
    return NT_OK;
}

/* Splits a line into c->value and c->word. *n is the number of fields. */
static nt_status parse_line(csv *c, char *text, int64_t *n)
{
    *n = 0;
    c->word = NULL;
    NT_CHECK(
        !strchr(text, ';') || !strchr(text, ','), NT_ERR_DATA,
        "'%s', line %lld holds both ',' and ';': which of them separates columns? Decimal commas are not "
        "read: write 1.5",
        nt_zfile_path(c->file), (long long)c->line);
    for (char *rest = text, *field; (field = strsep(&rest, ",;"));) {
        NT_CHECK(*n < MAX_COLUMNS, NT_ERR_DATA, "'%s', line %lld: more than %d columns",
                 nt_zfile_path(c->file), (long long)c->line, MAX_COLUMNS);
        const bool here = c->args->label_first ? *n == 0 : rest == NULL;
        c->value[*n] = 0;
        NT_TRY(parse_field(c, trim(field), *n + 1, here && c->args->n_targets == 0, &c->value[*n]));
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

static nt_status look_at_word(const csv *c, csv_facts *facts)
{
    NT_CHECK(facts->words.n < MAX_CLASSES || nt_class_words_find(&facts->words, c->word) >= 0, NT_ERR_DATA,
             "'%s', line %lld: the %s column is taken for the class, and holds more than %d different words; "
             "%s, and --targets N float targets",
             nt_zfile_path(c->file), (long long)c->line, c->args->label_first ? "first" : "last", MAX_CLASSES,
             c->args->label_first ? "without --label-first it is the last" : "--label-first takes the first");
    NT_TRY(nt_class_words_add(&facts->words, c->word, MAX_CLASSES));
    facts->n_classes = facts->words.n;
    if (facts->n_rows == 0) {
        snprintf(facts->first, sizeof facts->first, "%s", c->word);
        facts->first_line = c->line;
    } else if (!facts->first_again)
        facts->first_again = strcmp(facts->first, c->word) == 0;
    return NT_OK;
}

/* Classes are words in every row or in none. */
static nt_status look_at_class(const csv *c, csv_facts *facts)
{
    const char *path = nt_zfile_path(c->file);
    const double label = targets(c)[0];
    const bool words = facts->words.n > 0;
    NT_CHECK(facts->n_rows == 0 || words == (c->word != NULL), NT_ERR_DATA,
             "'%s', line %lld: the class is a %s, in the lines before it is a %s%s", path, (long long)c->line,
             words ? "number" : "word", words ? "word" : "number",
             words && facts->n_rows == 1 && !c->args->header
                 ? "; if the first line holds names, give --header"
                 : "");
    if (c->word) {
        NT_TRY(look_at_word(c, facts));
        return NT_OK;
    }
    NT_CHECK(label >= 0 && label < MAX_CLASSES && label == floor(label), NT_ERR_DATA,
             "'%s', line %lld: label %.17g is not a class number 0, 1, 2, ... (up to 65535); "
             "for float targets give --targets 1",
             path, (long long)c->line, label);
    if ((int64_t)label + 1 > facts->n_classes) facts->n_classes = (int64_t)label + 1;
    return NT_OK;
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
    if (c->args->n_targets == 0) NT_TRY(look_at_class(c, facts));
    facts->n_rows++;
    return NT_OK;
}

/* Whether --test-fraction takes a row: by its number alone, so anywhere in the file. */
static bool is_drawn(const nt_import_args *args, int64_t row)
{
    char name[32];
    snprintf(name, sizeof name, "row %lld", (long long)row);
    return args->test_fraction > 0 && nt_name_fraction(name) < args->test_fraction;
}

static bool is_test(const nt_import_args *args, const csv_facts *facts, int64_t row)
{
    return row >= facts->n_rows - args->test_rows || is_drawn(args, row);
}

/* Names of columns that are numbers, with a word for the class's, would be a sample and a class more. */
static nt_status check_first_row(const csv *c, const csv_facts *facts)
{
    char text[400];
    if (facts->words.n == 0 || facts->first_again || c->args->header || c->args->no_header) return NT_OK;
    snprintf(
        text, sizeof text,
        "line %lld is of class '%.40s' and no other row is: if it holds names, give --header; if it is a "
        "row, --no-header",
        (long long)facts->first_line, facts->first);
    NT_CHECK(facts->n_rows <= FEW_ROWS, NT_ERR_DATA, "'%s': %s", nt_zfile_path(c->file), text);
    nt_warn("'%s': %s", nt_zfile_path(c->file), text);
    return NT_OK;
}

static nt_status look_through(csv *c, csv_facts *facts)
{
    const nt_import_args *args = c->args;
    const char *path = nt_zfile_path(c->file);
    bool more;
    *facts = (csv_facts){.bytes = true};
    for (;;) {
        NT_TRY(next_row(c, &more));
        if (!more) break;
        facts->n_test += is_drawn(args, facts->n_rows);
        NT_TRY(look_at_row(c, facts));
    }
    facts->n_test += args->test_rows;
    facts->n_columns = c->n_columns;
    NT_CHECK(facts->n_rows > 0, NT_ERR_DATA, "'%s' has no rows", path);
    NT_TRY(check_first_row(c, facts));
    NT_CHECK(facts->n_rows > facts->n_test && args->test_rows >= 0, NT_ERR_DATA,
             "'%s' has %lld rows; %lld for the test part leave none to train on", path,
             (long long)facts->n_rows, (long long)facts->n_test);
    NT_CHECK(args->test_fraction <= 0 || facts->n_test > 0, NT_ERR_DATA,
             "--test-fraction %g takes none of the %lld rows of '%s'", args->test_fraction,
             (long long)facts->n_rows, path);
    return NT_OK;
}

/* The class's number; of a word that was not there before, none. */
static nt_status class_of(const csv *c, const csv_facts *facts, int32_t *label)
{
    *label = (int32_t)(c->word ? nt_class_words_find(&facts->words, c->word) : (int64_t)targets(c)[0]);
    NT_CHECK(*label >= 0 && *label < facts->n_classes, NT_ERR_DATA, "'%s' was changed while it was read",
             nt_zfile_path(c->file));
    return NT_OK;
}

static nt_status put_row(nt_import_writer *writer, const csv *c, const csv_facts *facts, csv_row *row)
{
    const int64_t n = c->n_columns - n_target_columns(c->args);
    const bool classes = c->args->n_targets == 0; /* a float target need not fit an int32_t */
    int32_t label = 0;
    if (classes) NT_TRY(class_of(c, facts, &label));
    for (int64_t i = 0; i < n; i++) {
        row->u8[i] = facts->bytes ? (uint8_t)features(c)[i] : 0;
        row->f32[i] = (float)features(c)[i];
    }
    for (int64_t i = 0; i < c->args->n_targets; i++)
        row->target[i] = (float)targets(c)[i];
    NT_TRY(nt_import_put(writer, 1, facts->bytes ? (void *)row->u8 : row->f32,
                         classes ? (void *)&label : row->target));
    return NT_OK;
}

/* The rows of the training or of the test part, in their order. */
static nt_status copy_rows(nt_import_writer *writer, csv *c, const csv_facts *facts, bool test, csv_row *row)
{
    bool more;
    for (int64_t i = 0; i < facts->n_rows; i++) {
        NT_TRY(next_row(c, &more));
        NT_CHECK(more && c->n_columns == facts->n_columns, NT_ERR_DATA, "'%s' was changed while it was read",
                 nt_zfile_path(c->file));
        if (is_test(c->args, facts, i) == test) NT_TRY(put_row(writer, c, facts, row));
    }
    return NT_OK;
}

static nt_status put_part(nt_import_writer *writer, const nt_import_args *args, const csv_facts *facts,
                          bool test, csv_row *row)
{
    csv c;
    const int64_t n = test ? facts->n_test : facts->n_rows - facts->n_test;
    if (n == 0) return NT_OK;
    NT_TRY(nt_import_begin(writer, test ? "test" : "train", n));
    nt_status status = csv_open(&c, args);
    if (status == NT_OK) status = copy_rows(writer, &c, facts, test, row);
    csv_close(&c);
    return status;
}

static nt_status write_all(const nt_import_args *args, const csv_facts *facts, csv_row *row)
{
    const int64_t n_features = facts->n_columns - n_target_columns(args);
    const nt_shape shape = args->shape.n_dims ? args->shape : nt_shape_of(1, n_features);
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(nt_shape_elems(shape) == n_features, NT_ERR_USAGE,
             "--shape %s has %lld values but a row has %lld features", nt_shape_text(shape, text),
             (long long)nt_shape_elems(shape), (long long)n_features);
    nt_import_format format = {.dtype = facts->bytes ? NT_U8 : NT_F32,
                               .shape = shape,
                               .n_classes = args->n_targets > 0 ? 0 : facts->n_classes,
                               .n_targets = args->n_targets,
                               .class_names = (const char *const *)facts->words.word};
    nt_import_writer *writer;
    NT_TRY(nt_import_open(&writer, args, &format));
    nt_status status = put_part(writer, args, facts, false, row);
    if (status == NT_OK) status = put_part(writer, args, facts, true, row);
    if (status == NT_OK) return nt_import_finish(writer);
    nt_import_discard(writer);
    return status;
}

static nt_status look_and_write(const nt_import_args *args, csv_facts *facts, csv_row *row)
{
    csv c;
    nt_status status = csv_open(&c, args);
    if (status == NT_OK) status = look_through(&c, facts);
    csv_close(&c);
    if (status == NT_OK) status = write_all(args, facts, row);
    return status;
}

static nt_status run_csv(const nt_import_args *args)
{
    csv_facts facts = {0};
    NT_CHECK(args->n_inputs == 1, NT_ERR_USAGE, "csv takes one file");
    NT_CHECK(args->test_rows == 0 || args->test_fraction <= 0, NT_ERR_USAGE,
             "--test-rows and --test-fraction exclude each other");
    NT_CHECK(!args->header || !args->no_header, NT_ERR_USAGE, "--header and --no-header exclude each other");
    csv_row *row = malloc(sizeof *row);
    NT_CHECK_ALLOC(row, sizeof *row);
    nt_status status = look_and_write(args, &facts, row);
    nt_class_words_free(&facts.words);
    free(row);
    return status;
}

const nt_importer nt_import_csv = {
    .name = "csv",
    .usage = "[--header | --no-header] [--targets N] [--label-first] [--test-fraction F | --test-rows N] "
             "[--shape CxHxW] [--scale S] FILE",
    .help = "rows of numbers; the last column is the class, a number or a word, or (--targets) the last N "
            "columns are float targets. --test-fraction takes rows from anywhere for the test part, "
            "--test-rows the last",
    .run = run_csv,
};
