/* How fast shuffled samples come out of HDF5, against memcpy of the same bytes from the page cache.
 *
 *   bench_loader [folder [batch [epochs]]]
 *
 * Makes a set of 50,000 uint8 images of 3x32x32 in three kinds of storage and reads whole epochs through
 * sampler, dataset and prefetcher in one thread (depth 0), labels included. The yardstick copies the same
 * bytes, in order and a batch at a time, from a mapping of the contiguous file into the buffer of a batch; a
 * second one copies row by row in the shuffled order, which is the least that any loader has to do. All take
 * turns, epoch by epoch, and medians are printed, because the speed of memory changes with the neighbours on
 * the machine. The last batch of every epoch is compared with the file. */
#include "datasets/prefetch.h"

#include <hdf5.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { N = 50000, ROW = 3 * 32 * 32, N_WAYS = 7, MAX_EPOCHS = 99 };

/* What stands behind a way of getting an epoch. */
typedef struct way {
    const char *name;
    const char *file;  /* of the folder; NULL: a yardstick */
    int64_t memory_mb; /* of the loader */
    bool shuffled;
    int64_t share; /* only one of so many batches is read: the rate is the same and the wait shorter */
    nt_dataset *ds;
    nt_prefetch *prefetch;
    nt_sampler *sampler;
    double gb_per_s[MAX_EPOCHS];
} way;

static way ways[N_WAYS] = {
    {"memcpy in order", NULL, 0, false, 1},
    {"memcpy shuffled rows", NULL, 0, true, 1},
    {"in memory", "contiguous.h5", 1024, true, 1},
    {"contiguous, from the file", "contiguous.h5", 0, true, 1},
    {"contiguous, not shuffled", "contiguous.h5", 0, false, 1},
    {"chunks of 21 rows + fletcher32", "chunked.h5", 0, true, 10},
    {"the same + deflate", "deflated.h5", 0, true, 50},
};

typedef struct bench {
    const char *folder;
    int64_t batch;
    int n_epochs;
    const char *rows; /* (N, ROW) of the contiguous file, mapped */
    char *buffer;     /* (batch, ROW) */
    int64_t *index;   /* (batch) */
} bench;

/* Time of this thread: everything comes from the page cache, so it never waits, and what others do with its
 * core does not count. */
static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A ramp with noise: compresses to about half, as images do. */
static void fill(uint8_t *pixels)
{
    uint32_t r = 1;
    for (int64_t i = 0; i < (int64_t)N * ROW; i++) {
        r = r * 1664525 + 1013904223;
        pixels[i] = (uint8_t)(i / 7 % 100 + (r >> 28));
    }
}

/* --- files --- */

/* Returns the offset of the data in the file, -1 if chunked, -2 on failure. */
static int64_t put(hid_t file, const char *name, hid_t type, int n_dims, const hsize_t *dim,
                   hsize_t chunk_rows, bool deflate, const void *data)
{
    hsize_t chunk[4];
    memcpy(chunk, dim, (size_t)n_dims * sizeof *dim);
    chunk[0] = chunk_rows;
    hid_t space = H5Screate_simple(n_dims, dim, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
    bool ok = space >= 0 && create >= 0;
    if (chunk_rows) ok = ok && H5Pset_chunk(create, n_dims, chunk) >= 0;
    if (deflate) ok = ok && H5Pset_deflate(create, 1) >= 0;
    if (chunk_rows) ok = ok && H5Pset_fletcher32(create) >= 0;
    hid_t set = ok ? H5Dcreate2(file, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT) : -1;
    ok = set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0 &&
         H5Fflush(file, H5F_SCOPE_LOCAL) >= 0;
    int64_t offset = !ok ? -2 : chunk_rows ? -1 : (int64_t)H5Dget_offset(set);
    if (set >= 0 && H5Dclose(set) < 0) offset = -2;
    H5Pclose(create), H5Sclose(space);
    return offset;
}

static int64_t write_file(const char *path, const uint8_t *pixels, hsize_t chunk_rows, bool deflate)
{
    static int32_t label[N];
    for (int i = 0; i < N; i++)
        label[i] = i % 10;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    if (file < 0) return -2;
    int64_t offset =
        put(file, "/data", H5T_NATIVE_UINT8, 4, (hsize_t[]){N, 3, 32, 32}, chunk_rows, deflate, pixels);
    if (put(file, "/label", H5T_NATIVE_INT32, 1, (hsize_t[]){N}, 0, false, label) < 0) offset = -2;
    return H5Fclose(file) >= 0 ? offset : -2;
}

/* Makes the three files, syncs them, and maps the rows of the first. */
static nt_status make_files(bench *b)
{
    char path[3][4096];
    static const char *const name[] = {"contiguous.h5", "chunked.h5", "deflated.h5"};
    uint8_t *pixels = malloc((size_t)N * ROW);
    NT_CHECK_ALLOC(pixels, (size_t)N * ROW);
    fill(pixels);
    int64_t offset[3];
    for (int i = 0; i < 3; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s", b->folder, name[i]);
        offset[i] = write_file(path[i], pixels, i ? 21 : 0, i == 2);
        NT_CHECK(offset[i] != -2, NT_ERR_CREATE, "cannot write '%s'", path[i]);
    }
    free(pixels);
    sync(); /* or the kernel writes while we measure */
    int fd = open(path[0], O_RDONLY);
    char *map = mmap(NULL, (size_t)offset[0] + (size_t)N * ROW, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    NT_CHECK(map != MAP_FAILED, NT_ERR_IO, "cannot map '%s'", path[0]);
    b->rows = map + offset[0];
    return NT_OK;
}

/* --- epochs --- */

static nt_status prepare(bench *b, way *w)
{
    NT_TRY(nt_sampler_create(&w->sampler, N, b->batch, w->shuffled, false, 7));
    if (!w->file) return NT_OK;
    char path[4096];
    const char *name = path;
    nt_data_options options;
    snprintf(path, sizeof path, "%s/%s", b->folder, w->file);
    NT_TRY(nt_section_defaults(&nt_data_section, &options));
    options.file = (nt_names){.n = 1, .name = &name};
    options.memory_mb = w->memory_mb;
    NT_TRY(nt_dataset_open(&w->ds, &options, NT_SPLIT_TRAIN, 1));
    NT_TRY(nt_prefetch_create(&w->prefetch, w->ds, w->sampler, 0, 1, &(nt_prefetch_options){0}));
    return NT_OK;
}

static void copy_batch(bench *b, way *w, int64_t epoch, int64_t index)
{
    if (!w->shuffled) {
        size_t n = (size_t)nt_sampler_batch_size(w->sampler, index);
        memcpy(b->buffer, b->rows + (size_t)(index * b->batch) * ROW, n * ROW);
        return;
    }
    int64_t n = nt_sampler_slice(w->sampler, epoch, index, 0, 1, b->index);
    for (int64_t i = 0; i < n; i++)
        memcpy(b->buffer + i * ROW, b->rows + b->index[i] * ROW, ROW);
}

/* The slice holds the rows it says it holds. */
static nt_status check(const bench *b, const way *w, const nt_slice *slice)
{
    for (int64_t i = 0; i < slice->n; i++)
        NT_CHECK(memcmp((const char *)slice->x + i * ROW, b->rows + slice->sample[i] * ROW, ROW) == 0,
                 NT_ERR_DATA, "%s: row %lld is wrong", w->name, (long long)slice->sample[i]);
    return NT_OK;
}

static nt_status run_epoch(bench *b, way *w, int epoch)
{
    int64_t batches = (nt_sampler_batches(w->sampler) + w->share - 1) / w->share, n = 0;
    nt_slice slice = {0};
    double start = now_s();
    for (int64_t i = 0; i < batches; i++) {
        if (w->file)
            NT_TRY(nt_prefetch_next(w->prefetch, &slice));
        else
            copy_batch(b, w, epoch, i);
        n += nt_sampler_batch_size(w->sampler, i);
    }
    w->gb_per_s[epoch] = (double)n * ROW / (now_s() - start) / 1e9;
    return w->file ? check(b, w, &slice) : NT_OK;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const way *w, int n)
{
    double sorted[MAX_EPOCHS];
    memcpy(sorted, w->gb_per_s, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void print_table(const bench *b)
{
    double yard = median(&ways[0], b->n_epochs);
    printf("50,000 uint8 images 3x32x32, batches of %lld, one thread, medians of %d epochs in turns\n\n",
           (long long)b->batch, b->n_epochs);
    printf("| way | GB/s | samples/s | of memcpy |\n|---|---|---|---|\n");
    for (int i = 0; i < N_WAYS; i++) {
        double rate = median(&ways[i], b->n_epochs);
        printf("| %s | %.2f | %.0f | %.0f %% |\n", ways[i].name, rate, rate * 1e9 / ROW, 100 * rate / yard);
    }
}

static nt_status run(bench *b)
{
    b->buffer = malloc((size_t)b->batch * ROW);
    b->index = malloc((size_t)b->batch * sizeof *b->index);
    NT_CHECK_ALLOC(b->buffer && b->index, (size_t)b->batch * ROW);
    NT_TRY(make_files(b));
    for (int i = 0; i < N_WAYS; i++)
        NT_TRY(prepare(b, &ways[i]));
    for (int i = 0; i < N_WAYS; i++) /* warm up: the page cache, and the buffers */
        NT_TRY(run_epoch(b, &ways[i], 0));
    for (int epoch = 0; epoch < b->n_epochs; epoch++)
        for (int i = 0; i < N_WAYS; i++)
            NT_TRY(run_epoch(b, &ways[i], epoch));
    print_table(b);
    return NT_OK;
}

int main(int argc, char **argv)
{
    bench b = {.folder = argc > 1 ? argv[1] : "/tmp",
               .batch = argc > 2 ? atoll(argv[2]) : 128,
               .n_epochs = argc > 3 ? atoi(argv[3]) : 9};
    if (b.batch < 1 || b.batch > N || b.n_epochs < 1 || b.n_epochs > MAX_EPOCHS) {
        fprintf(stderr, "usage: bench_loader [folder [batch [epochs, at most %d]]]\n", MAX_EPOCHS);
        return NT_ERR_USAGE;
    }
    nt_status status = run(&b);
    if (status != NT_OK) fprintf(stderr, "%s\n%s", nt_error_last()->message, nt_error_last()->trail);
    for (int i = 0; i < N_WAYS; i++) {
        nt_prefetch_destroy(ways[i].prefetch);
        nt_sampler_destroy(ways[i].sampler);
        nt_dataset_close(ways[i].ds);
    }
    return status;
}
