/* CIFAR-10, binary version (www.cs.toronto.edu/~kriz/cifar.html): records of one label byte and 3 x 32 x 32
 * pixel bytes, planes red, green, blue. Input: the folder with data_batch_1.bin ... data_batch_5.bin and
 * test_batch.bin, each gzipped or not. */
#include "datasets/import.h"

#include <stdlib.h>

#define PIXELS    (3 * 32 * 32)
#define RECORD    (1 + PIXELS)
#define CLASSES   10
#define BATCH     100
#define MAX_FILES 5
#define MAX_ROWS  1000000

typedef struct buffers {
    uint8_t records[BATCH * RECORD], pixels[BATCH * PIXELS];
    int32_t labels[BATCH];
} buffers;

/* Number of records, by reading through: a gzipped file does not tell its length honestly. */
static nt_status count_records(const char *path, buffers *b, int64_t *n)
{
    nt_zfile *file;
    size_t got = 0, total = 0;
    NT_TRY(nt_zfile_open(&file, path));
    nt_status status;
    do {
        status = nt_zfile_read_some(file, b->records, sizeof b->records, &got);
        total += got;
    } while (status == NT_OK && got == sizeof b->records && total <= (size_t)MAX_ROWS * RECORD);
    nt_zfile_close(file);
    NT_TRY(status);
    NT_CHECK(total > 0 && total % RECORD == 0 && total <= (size_t)MAX_ROWS * RECORD, NT_ERR_DATA,
             "'%s' has %zu bytes; a CIFAR-10 batch has a multiple of %d", path, total, RECORD);
    *n = (int64_t)(total / RECORD);
    return NT_OK;
}

static nt_status split_records(nt_zfile *file, buffers *b, int64_t n, int64_t done)
{
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *record = b->records + i * RECORD;
        NT_CHECK(record[0] < CLASSES, NT_ERR_DATA, "'%s': label %lld is %d, must be below %d",
                 nt_zfile_path(file), (long long)(done + i), record[0], CLASSES);
        b->labels[i] = record[0];
        for (int k = 0; k < PIXELS; k++)
            b->pixels[i * PIXELS + k] = record[1 + k];
    }
    return NT_OK;
}

static nt_status copy_records(nt_import_writer *writer, nt_zfile *file, buffers *b, int64_t n_records)
{
    for (int64_t done = 0; done < n_records;) {
        int64_t n = n_records - done < BATCH ? n_records - done : BATCH;
        NT_TRY(nt_zfile_read(file, b->records, (size_t)(n * RECORD)));
        NT_TRY(split_records(file, b, n, done));
        NT_TRY(nt_import_put(writer, n, b->pixels, b->labels));
        done += n;
    }
    NT_TRY(nt_zfile_expect_end(file));
    return NT_OK;
}

static nt_status copy_part(nt_import_writer *writer, buffers *b, const char *part, const char *folder,
                           const char *const *names, int n_names)
{
    char path[MAX_FILES][4096];
    int64_t n[MAX_FILES], total = 0;
    for (int i = 0; i < n_names; i++) {
        NT_TRY(nt_zfile_find(folder, names[i], path[i], sizeof path[i]));
        NT_TRY(count_records(path[i], b, &n[i]));
        total += n[i];
    }
    NT_TRY(nt_import_begin(writer, part, total));
    for (int i = 0; i < n_names; i++) {
        nt_zfile *file;
        NT_TRY(nt_zfile_open(&file, path[i]));
        nt_status status = copy_records(writer, file, b, n[i]);
        nt_zfile_close(file);
        NT_TRY(status);
    }
    return NT_OK;
}

static nt_status run_cifar10(const nt_import_args *args)
{
    static const char *const train[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                        "data_batch_4.bin", "data_batch_5.bin"};
    static const char *const test[] = {"test_batch.bin"};
    static const char *const names[CLASSES] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                               "dog",      "frog",       "horse", "ship", "truck"};
    NT_CHECK(args->n_inputs == 1, NT_ERR_USAGE, "cifar10 takes one folder, the one with data_batch_1.bin");
    nt_import_format format = {.dtype = NT_U8,
                               .shape = nt_shape_of(3, (int64_t)3, (int64_t)32, (int64_t)32),
                               .n_classes = CLASSES,
                               .class_names = names};
    nt_import_writer *writer;
    buffers *b = malloc(sizeof *b);
    NT_CHECK_ALLOC(b, sizeof *b);
    nt_status status = nt_import_open(&writer, args, &format);
    if (status == NT_OK) {
        status = copy_part(writer, b, "train", args->inputs[0], train, 5);
        if (status == NT_OK) status = copy_part(writer, b, "test", args->inputs[0], test, 1);
        if (status == NT_OK)
            status = nt_import_finish(writer);
        else
            nt_import_discard(writer);
    }
    free(b);
    return status;
}

const nt_importer nt_import_cifar10 = {
    .name = "cifar10",
    .usage = "FOLDER",
    .help = "CIFAR-10, binary version: the folder with data_batch_*.bin and test_batch.bin",
    .run = run_cifar10,
};
