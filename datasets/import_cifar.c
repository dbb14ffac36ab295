/* CIFAR-10 and CIFAR-100, binary version (www.cs.toronto.edu/~kriz/cifar.html): records of one label byte, or
 * of a coarse and a fine one, and 3 x 32 x 32 pixel bytes, planes red, green, blue. Input: the folder with
 * data_batch_1.bin ... data_batch_5.bin and test_batch.bin, or with train.bin and test.bin; each gzipped or
 * not. CIFAR-100 has its names in files beside them. */
#include "datasets/import.h"

#include <stdlib.h>
#include <string.h>

#define PIXELS      (3 * 32 * 32)
#define MAX_RECORD  (2 + PIXELS)
#define BATCH       100
#define MAX_FILES   5
#define MAX_ROWS    1000000
#define MAX_CLASSES 100
#define NAMES_BYTES 4096

typedef struct cifar {
    const char *name;
    int n_label_bytes, label_byte; /* of a record, and which of them counts */
    int n_classes;
    const char *const *train, *const *test; /* NULL-terminated files */
    uint8_t records[BATCH * MAX_RECORD], pixels[BATCH * PIXELS];
    int32_t labels[BATCH];
} cifar;

static size_t record_bytes(const cifar *c)
{
    return (size_t)c->n_label_bytes + PIXELS;
}

/* Number of records, by reading through: a gzipped file does not tell its length honestly. */
static nt_status count_records(cifar *c, const char *path, int64_t *n)
{
    nt_zfile *file;
    size_t got = 0, total = 0, record = record_bytes(c);
    NT_TRY(nt_zfile_open(&file, path));
    nt_status status;
    do {
        status = nt_zfile_read_some(file, c->records, sizeof c->records, &got);
        total += got;
    } while (status == NT_OK && got == sizeof c->records && total <= MAX_ROWS * record);
    nt_zfile_close(file);
    NT_TRY(status);
    NT_CHECK(total > 0 && total % record == 0 && total <= MAX_ROWS * record, NT_ERR_DATA,
             "'%s' has %zu bytes; a %s file has a multiple of %zu", path, total, c->name, record);
    *n = (int64_t)(total / record);
    return NT_OK;
}

static nt_status split_records(cifar *c, const nt_zfile *file, int64_t n, int64_t done)
{
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *record = c->records + (size_t)i * record_bytes(c);
        int label = record[c->label_byte];
        NT_CHECK(label < c->n_classes, NT_ERR_DATA, "'%s': label %lld is %d, must be below %d",
                 nt_zfile_path(file), (long long)(done + i), label, c->n_classes);
        c->labels[i] = label;
        memcpy(c->pixels + i * PIXELS, record + c->n_label_bytes, PIXELS);
    }
    return NT_OK;
}

static nt_status copy_records(cifar *c, nt_import_writer *writer, nt_zfile *file, int64_t n_records)
{
    for (int64_t done = 0; done < n_records;) {
        int64_t n = n_records - done < BATCH ? n_records - done : BATCH;
        NT_TRY(nt_zfile_read(file, c->records, (size_t)n * record_bytes(c)));
        NT_TRY(split_records(c, file, n, done));
        NT_TRY(nt_import_put(writer, n, c->pixels, c->labels));
        done += n;
    }
    NT_TRY(nt_zfile_expect_end(file));
    return NT_OK;
}

static nt_status copy_part(cifar *c, nt_import_writer *writer, const char *part, const char *folder,
                           const char *const *names)
{
    char path[MAX_FILES][4096];
    int64_t n[MAX_FILES], total = 0;
    for (int i = 0; names[i]; i++) {
        NT_TRY(nt_zfile_find(folder, names[i], path[i], sizeof path[i]));
        NT_TRY(count_records(c, path[i], &n[i]));
        total += n[i];
    }
    NT_TRY(nt_import_begin(writer, part, total));
    for (int i = 0; names[i]; i++) {
        nt_zfile *file;
        NT_TRY(nt_zfile_open(&file, path[i]));
        nt_status status = copy_records(c, writer, file, n[i]);
        nt_zfile_close(file);
        NT_TRY(status);
    }
    return NT_OK;
}

static nt_status convert(cifar *c, const nt_import_args *args, const char *const *class_names)
{
    nt_import_format format = {.dtype = NT_U8,
                               .shape = nt_shape_of(3, (int64_t)3, (int64_t)32, (int64_t)32),
                               .n_classes = c->n_classes,
                               .class_names = class_names};
    nt_import_writer *writer;
    NT_TRY(nt_import_open(&writer, args, &format));
    nt_status status = copy_part(c, writer, "train", args->inputs[0], c->train);
    if (status == NT_OK) status = copy_part(c, writer, "test", args->inputs[0], c->test);
    if (status == NT_OK) return nt_import_finish(writer);
    nt_import_discard(writer);
    return status;
}

static nt_status run_cifar10(const nt_import_args *args)
{
    static const char *const train[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                        "data_batch_4.bin", "data_batch_5.bin", NULL};
    static const char *const test[] = {"test_batch.bin", NULL};
    static const char *const names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                        "dog",      "frog",       "horse", "ship", "truck"};
    NT_CHECK(args->n_inputs == 1, NT_ERR_USAGE, "cifar10 takes one folder, the one with data_batch_1.bin");
    cifar *c = calloc(1, sizeof *c);
    NT_CHECK_ALLOC(c, sizeof *c);
    c->name = "CIFAR-10";
    c->n_label_bytes = 1;
    c->n_classes = 10;
    c->train = train;
    c->test = test;
    nt_status status = convert(c, args, names);
    free(c);
    return status;
}

/* --- CIFAR-100 --- */

/* One name a line, n of them, into text; *found false: there is no such file. */
static nt_status read_names(const char *folder, const char *name, char text[NAMES_BYTES],
                            const char *names[MAX_CLASSES], int n, bool *found)
{
    char path[4096], *rest = text;
    nt_zfile *file;
    size_t got = 0;
    *found = nt_zfile_find(folder, name, path, sizeof path) == NT_OK;
    if (!*found) {
        nt_error_clear();
        return NT_OK;
    }
    NT_TRY(nt_zfile_open(&file, path));
    nt_status status = nt_zfile_read_some(file, text, NAMES_BYTES - 1, &got);
    nt_zfile_close(file);
    NT_TRY(status);
    text[got] = '\0';
    int count = 0;
    for (char *line = strtok_r(text, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest), count++)
        if (count < n) names[count] = line;
    NT_CHECK(count == n && got < NAMES_BYTES - 1, NT_ERR_DATA, "'%s' holds %d names, there are %d classes",
             path, count, n);
    return NT_OK;
}

static nt_status run_cifar100(const nt_import_args *args)
{
    static const char *const train[] = {"train.bin", NULL};
    static const char *const test[] = {"test.bin", NULL};
    const char *names[MAX_CLASSES];
    char text[NAMES_BYTES];
    bool named;
    NT_CHECK(args->n_inputs == 1, NT_ERR_USAGE,
             "cifar100 takes one folder, the one with train.bin and test.bin");
    cifar *c = calloc(1, sizeof *c);
    NT_CHECK_ALLOC(c, sizeof *c);
    c->name = "CIFAR-100";
    c->n_label_bytes = 2;
    c->label_byte = args->coarse ? 0 : 1;
    c->n_classes = args->coarse ? 20 : 100;
    c->train = train;
    c->test = test;
    const char *file = args->coarse ? "coarse_label_names.txt" : "fine_label_names.txt";
    nt_status status = read_names(args->inputs[0], file, text, names, c->n_classes, &named);
    if (status == NT_OK) status = convert(c, args, named ? names : NULL);
    free(c);
    return status;
}
const nt_importer nt_import_cifar10 = {
    .name = "cifar10",
    .usage = "FOLDER",
    .help = "CIFAR-10, binary version: the folder with data_batch_*.bin and test_batch.bin",
    .run = run_cifar10,
};

const nt_importer nt_import_cifar100 = {
    .name = "cifar100",
    .usage = "[--coarse] FOLDER",
    .help = "CIFAR-100, binary version: the folder with train.bin and test.bin; 100 classes, or the 20 "
            "coarse ones",
    .run = run_cifar100,
};
