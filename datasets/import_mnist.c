/* MNIST and its kin (Fashion-MNIST, KMNIST): IDX files (yann.lecun.com/exdb/mnist: big-endian magic 00 00
 * type n_dims, then the dimensions, then the values). Inputs: train images, train labels, test images, test
 * labels; or one folder that holds them under their usual names, gzipped or not. Pairs that disagree in
 * number, and values out of range, are errors. */
#include "datasets/import.h"

#include <stdlib.h>
#include <string.h>

#define BATCH   256
#define CLASSES 10

typedef struct idx_pair {
    nt_zfile *images, *labels;
    int64_t n, height, width;
} idx_pair;

/* Reads magic and dimensions of an IDX file of unsigned bytes. */
static nt_status read_header(nt_zfile *file, int n_dims, int64_t *dims)
{
    unsigned char head[4 + 4 * 3];
    NT_TRY(nt_zfile_read(file, head, 4 + 4 * (size_t)n_dims));
    NT_CHECK(head[0] == 0 && head[1] == 0 && head[2] == 0x08 && head[3] == n_dims, NT_ERR_DATA,
             "'%s' is not an IDX file of %s: it begins with %02x %02x %02x %02x, expected 00 00 08 %02x",
             nt_zfile_path(file), n_dims == 3 ? "images" : "labels", head[0], head[1], head[2], head[3],
             n_dims);
    for (int i = 0; i < n_dims; i++) {
        const unsigned char *d = head + 4 + 4 * i;
        dims[i] = (int64_t)d[0] << 24 | (int64_t)d[1] << 16 | (int64_t)d[2] << 8 | d[3];
    }
    return NT_OK;
}

static nt_status open_pair(idx_pair *pair, const char *images, const char *labels)
{
    int64_t image_dims[3] = {0}, label_dims[1] = {0};
    NT_TRY(nt_zfile_open(&pair->images, images));
    NT_TRY(nt_zfile_open(&pair->labels, labels));
    NT_TRY(read_header(pair->images, 3, image_dims));
    NT_TRY(read_header(pair->labels, 1, label_dims));
    NT_CHECK(image_dims[0] == label_dims[0], NT_ERR_DATA, "'%s' holds %lld images but '%s' %lld labels",
             images, (long long)image_dims[0], labels, (long long)label_dims[0]);
    pair->n = image_dims[0];
    pair->height = image_dims[1];
    pair->width = image_dims[2];
    NT_CHECK(pair->n >= 1 && pair->height >= 1 && pair->width >= 1 && pair->height <= 4096 &&
                 pair->width <= 4096,
             NT_ERR_DATA, "'%s' declares %lld images of %lldx%lld; 1 to 4096 rows and columns are allowed",
             images, (long long)pair->n, (long long)pair->height, (long long)pair->width);
    return NT_OK;
}

static void close_pair(idx_pair *pair)
{
    nt_zfile_close(pair->images);
    nt_zfile_close(pair->labels);
}

static nt_status copy_rows(nt_import_writer *writer, idx_pair *pair, uint8_t *pixels)
{
    uint8_t bytes[BATCH];
    int32_t labels[BATCH];
    for (int64_t done = 0; done < pair->n;) {
        int64_t n = pair->n - done < BATCH ? pair->n - done : BATCH;
        NT_TRY(nt_zfile_read(pair->images, pixels, (size_t)(n * pair->height * pair->width)));
        NT_TRY(nt_zfile_read(pair->labels, bytes, (size_t)n));
        for (int64_t i = 0; i < n; i++) {
            NT_CHECK(bytes[i] < CLASSES, NT_ERR_DATA, "'%s': label %lld is %d, must be below %d",
                     nt_zfile_path(pair->labels), (long long)(done + i), bytes[i], CLASSES);
            labels[i] = bytes[i];
        }
        NT_TRY(nt_import_put(writer, n, pixels, labels));
        done += n;
    }
    NT_TRY(nt_zfile_expect_end(pair->images));
    NT_TRY(nt_zfile_expect_end(pair->labels));
    return NT_OK;
}

static nt_status copy_part(nt_import_writer *writer, const char *part, idx_pair *pair)
{
    size_t n_bytes = (size_t)(BATCH * pair->height * pair->width);
    uint8_t *pixels = malloc(n_bytes);
    NT_CHECK_ALLOC(pixels, n_bytes);
    nt_status status = nt_import_begin(writer, part, pair->n);
    if (status == NT_OK) status = copy_rows(writer, pair, pixels);
    free(pixels);
    return status;
}

static nt_status convert(const nt_import_args *args, idx_pair *train, idx_pair *test)
{
    static const char *const names[CLASSES] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    NT_CHECK(train->height == test->height && train->width == test->width, NT_ERR_DATA,
             "train images are %lldx%lld but test images %lldx%lld", (long long)train->height,
             (long long)train->width, (long long)test->height, (long long)test->width);
    nt_import_format format = {.dtype = NT_U8,
                               .shape = nt_shape_of(3, (int64_t)1, train->height, train->width),
                               .n_classes = CLASSES,
                               .class_names = names};
    nt_import_writer *writer;
    NT_TRY(nt_import_open(&writer, args, &format));
    nt_status status = copy_part(writer, "train", train);
    if (status == NT_OK) status = copy_part(writer, "test", test);
    if (status == NT_OK) return nt_import_finish(writer);
    nt_import_discard(writer);
    return status;
}

static nt_status run_mnist(const nt_import_args *args)
{
    static const char *const usual[4] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
    char path[4][4096];
    NT_CHECK(args->n_inputs == 1 || args->n_inputs == 4, NT_ERR_USAGE,
             "mnist takes one folder, or four files: train images, train labels, test images, test labels");
    for (int i = 0; i < 4; i++) {
        if (args->n_inputs == 1)
            NT_TRY(nt_zfile_find(args->inputs[0], usual[i], path[i], sizeof path[i]));
        else
            snprintf(path[i], sizeof path[i], "%s", args->inputs[i]);
    }
    idx_pair train = {0}, test = {0};
    nt_status status = open_pair(&train, path[0], path[1]);
    if (status == NT_OK) status = open_pair(&test, path[2], path[3]);
    if (status == NT_OK) status = convert(args, &train, &test);
    close_pair(&train);
    close_pair(&test);
    return status;
}

const nt_importer nt_import_mnist = {
    .name = "mnist",
    .usage = "FOLDER | TRAIN_IMAGES TRAIN_LABELS TEST_IMAGES TEST_LABELS",
    .help = "MNIST and its kin: IDX files, gzipped or not",
    .run = run_mnist,
};
