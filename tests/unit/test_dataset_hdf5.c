/* HDF5 datasets on sound files: every layout that is found without configuration, every way of storing and
 * reading gives the same samples, and what files and config say about them is understood.
 *
 * The oracle is the array the file was written from. */
#include "dataset_helpers.h"

#include "core/log.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <unistd.h>

enum { N = 23, C = 3, H = 4, W = 5, ROW = C * H * W };

static uint8_t pixels[N * ROW];
static int labels[N];

/* Pixels that differ from each other, labels 0 to 6 with the largest at row 6. */
static int setup(void **state)
{
    for (int i = 0; i < N * ROW; i++)
        pixels[i] = (uint8_t)((uint32_t)i * 2654435761u >> 17);
    for (int i = 0; i < N; i++)
        labels[i] = i % 7;
    return make_test_dir(state);
}

static void put_split(hid_t file, const char *data, const char *label, int n)
{
    put_u8(file, data, DIMS((hsize_t)n, C, H, W), pixels);
    put_int(file, label, DIMS((hsize_t)n), labels);
}

/* Rows in an order with neighbours, jumps back and a repetition. */
static const int64_t wild[] = {7, 8, 9, 3, 22, 0, 1, 7, 15, 14};
enum { WILD = sizeof wild / sizeof wild[0] };

static void check_pixels(nt_dataset *ds)
{
    uint8_t x[WILD * ROW];
    int32_t class[WILD];
    assert_int_equal(ds->spec.x_dtype, NT_U8);
    assert_true(nt_shape_equal(ds->spec.x, nt_shape_of(3, (int64_t)C, (int64_t)H, (int64_t)W)));
    assert_int_equal(nt_dataset_x_bytes(ds), ROW);
    assert_int_equal(nt_dataset_target_bytes(ds), 4);
    assert_ok(nt_dataset_read(ds, wild, WILD, x, class));
    for (int i = 0; i < WILD; i++) {
        assert_memory_equal(x + i * ROW, pixels + wild[i] * ROW, ROW);
        assert_int_equal(class[i], labels[wild[i]]);
    }
    memset(class, 0, sizeof class);
    assert_ok(nt_dataset_read(ds, wild, 2, NULL, class));
    assert_int_equal(class[1], labels[wild[1]]);
    assert_ok(nt_dataset_read(ds, wild, 2, x, NULL));
    assert_memory_equal(x, pixels + wild[0] * ROW, 2 * ROW);
}

/* --- where things are --- */

static void default_layout(void **state)
{
    (void)state;
    hid_t file = new_file("default.h5");
    put_split(file, "/train/data", "/train/label", N);
    put_split(file, "/test/data", "/test/label", 5);
    end_file(file);
    nt_data_options options = options_for(in_dir("default.h5"));
    nt_dataset *train = must_open(&options, NT_SPLIT_TRAIN), *valid = must_open(&options, NT_SPLIT_VALID);
    assert_int_equal(train->n_samples, N);
    assert_int_equal(valid->n_samples, 5);
    assert_int_equal(train->spec.target, NT_TARGET_CLASS);
    assert_int_equal(train->spec.n_classes, 7);
    assert_int_equal(train->spec.input.n_channels, 0);
    assert_true(train->spec.input.scale == 1.0 / 255);
    check_pixels(train);
    char text[256], want[256];
    nt_dataset_describe(train, text, sizeof text);
    snprintf(want, sizeof want, "%s:/train, 23 samples 3x4x5 uint8, 7 classes", in_dir("default.h5"));
    assert_string_equal(text, want);
    nt_dataset_close(train);
    nt_dataset_close(valid);
}

static void usual_names_are_found(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"/train/images", "/train/labels"},
        {"/train/x", "/train/y"},
        {"/training/data", "/training/target"},
        {"/train/X", "/train/Y"},
        {"/train/image", "/train/label"},
        {"/data", "/label"},
        {"/images", "/labels"},
        {"/x_train", "/y_train"},
        {"/X_train", "/y_train"},
        {"/train_images", "/train_labels"},
        {"/train_x", "/train_y"},
        {"/train_data", "/train_label"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        hid_t file = new_file("names.h5");
        put_split(file, names[i][0], names[i][1], N);
        end_file(file);
        nt_data_options options = options_for(in_dir("names.h5"));
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        check_pixels(ds);
        nt_dataset_close(ds);
        assert_ok(nt_dataset_open(&ds, &options, NT_SPLIT_VALID, 1));
        assert_null(ds); /* no validation part, none was asked for */
    }
}

static void validation_is_found(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"/valid/data", "/valid/label"},  {"/val/data", "/val/label"}, {"/validation/x", "/validation/y"},
        {"/test/data", "/test/label"},    {"/x_test", "/y_test"},      {"/x_val", "/y_val"},
        {"/test_images", "/test_labels"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        hid_t file = new_file("valid.h5");
        put_split(file, names[i][0], names[i][1], N);
        end_file(file);
        nt_data_options options = options_for(in_dir("valid.h5"));
        nt_dataset *ds = must_open(&options, NT_SPLIT_VALID);
        check_pixels(ds);
        nt_dataset_close(ds);
        assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "valid.h5", "no samples found");
    }
}

static void config_names_what_is_not_usual(void **state)
{
    (void)state;
    hid_t file = new_file("odd.h5");
    put_split(file, "/a/b/bilder", "/a/b/klassen", N);
    put_split(file, "/c/bilder", "/c/klassen", 4);
    put_u8(file, "/train/data", DIMS(1, 1), pixels); /* not this one */
    put_int(file, "/train/label", DIMS(1), labels);
    end_file(file);
    nt_data_options options = options_for(in_dir("odd.h5"));
    options.train = "/a/b";
    options.valid = "c";
    options.data = "bilder";
    options.label = "klassen";
    nt_dataset *train = must_open(&options, NT_SPLIT_TRAIN), *valid = must_open(&options, NT_SPLIT_VALID);
    check_pixels(train);
    assert_int_equal(valid->n_samples, 4);
    nt_dataset_close(train);
    nt_dataset_close(valid);
}

static void validation_from_a_file_of_its_own(void **state)
{
    (void)state;
    hid_t file = new_file("one.h5");
    put_split(file, "/data", "/label", 4);
    end_file(file);
    file = new_file("two.h5");
    put_split(file, "/data", "/label", N);
    end_file(file);
    nt_data_options options = options_for(in_dir("one.h5"));
    const char *two = in_dir("two.h5");
    options.valid_file = (nt_names){.n = 1, .name = &two};
    nt_dataset *train = must_open(&options, NT_SPLIT_TRAIN), *valid = must_open(&options, NT_SPLIT_VALID);
    assert_int_equal(train->n_samples, 4);
    check_pixels(valid);
    nt_dataset_close(train);
    nt_dataset_close(valid);
}

/* --- how things are stored --- */

/* Contiguous, chunks that do not divide the rows, filtered; kept in memory or read row by row. */
static void every_storage_reads_the_same(void **state)
{
    (void)state;
    static const storage how[] = {{0, false}, {1, false}, {5, false}, {5, true}, {N, true}};
    for (size_t i = 0; i < sizeof how / sizeof how[0]; i++)
        for (int memory = 0; memory < 2; memory++) {
            hid_t file = new_file("stored.h5");
            put_stored(file, "/train/data", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(N, C, H, W), pixels, how[i]);
            put_stored(file, "/train/label", H5T_STD_U8LE, H5T_NATIVE_INT, DIMS(N, 1), labels, how[i]);
            end_file(file);
            nt_data_options options = options_for(in_dir("stored.h5"));
            options.memory_mb = memory;
            nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
            if (memory) assert_int_equal(truncate(in_dir("stored.h5"), 0), 0); /* the file is not needed */
            check_pixels(ds);
            nt_dataset_close(ds);
        }
}

/* Sets of several files end to end; a batch across the seams. */
static void several_files_are_one_set(void **state)
{
    (void)state;
    static const int sizes[] = {9, 1, 13};
    for (int memory = 0; memory < 2; memory++) {
        nt_data_options options = options_for("");
        static char paths[3][4200];
        for (int i = 0, first = 0; i < 3; first += sizes[i++]) {
            snprintf(paths[i], sizeof paths[i], "%s/part%d.h5", test_dir, i);
            hid_t file = H5Fcreate(paths[i], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
            put_stored(file, "/data", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS((hsize_t)sizes[i], C, H, W),
                       pixels + first * ROW, (storage){i == 1 ? 1 : 0, false});
            put_int(file, "/label", DIMS((hsize_t)sizes[i]), labels + first);
            end_file(file);
            the_files[i] = paths[i];
        }
        options.file.n = 3;
        options.memory_mb = memory;
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        assert_int_equal(ds->n_samples, N);
        check_pixels(ds);
        char text[4300];
        nt_dataset_describe(ds, text, sizeof text);
        assert_non_null(strstr(text, "part0.h5:/data and 2 more files, 23 samples"));
        nt_dataset_close(ds);
        options.file.n = 2;
        ds = must_open(&options, NT_SPLIT_TRAIN);
        nt_dataset_describe(ds, text, sizeof text);
        assert_non_null(strstr(text, "part0.h5:/data and 1 more file, 10 samples"));
        nt_dataset_close(ds);
    }
}

/* Anything but bytes becomes float; the values are what C makes of them. */
static void numbers_of_every_kind(void **state)
{
    (void)state;
    const hid_t types[] = {H5T_STD_I8LE,  H5T_STD_I16LE,  H5T_STD_U16BE,  H5T_STD_I32BE, H5T_STD_U32LE,
                           H5T_STD_I64BE, H5T_IEEE_F32LE, H5T_IEEE_F32BE, H5T_IEEE_F64LE};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++)
        for (int memory = 0; memory < 2; memory++) {
            hid_t file = new_file("kinds.h5");
            double values[6 * 4];
            for (int i = 0; i < 24; i++)
                values[i] = i * 3;
            put_stored(file, "/data", types[t], H5T_NATIVE_DOUBLE, DIMS(6, 4), values, (storage){0});
            put_int(file, "/label", DIMS(6), labels);
            end_file(file);
            nt_data_options options = options_for(in_dir("kinds.h5"));
            options.memory_mb = memory;
            nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
            assert_int_equal(ds->spec.x_dtype, NT_F32);
            assert_int_equal(ds->spec.x.n_dims, 1);
            assert_int_equal(ds->spec.x.dim[0], 4);
            assert_true(ds->spec.input.scale == 1);
            float x[8];
            assert_ok(nt_dataset_read(ds, (int64_t[]){5, 2}, 2, x, NULL));
            for (int k = 0; k < 4; k++) {
                assert_true(x[k] == (5 * 4 + k) * 3);
                assert_true(x[4 + k] == (2 * 4 + k) * 3);
            }
            nt_dataset_close(ds);
        }
}

/* (N) is one feature, (N, H, W) one channel, (N, C, D, H, W) as it is. */
static void shapes_of_samples(void **state)
{
    (void)state;
    static const struct {
        int n_dims, n_out;
        hsize_t dim[5];
        int64_t out[4];
    } cases[] = {
        {1, 1, {4}, {1}},
        {2, 1, {4, 9}, {9}},
        {3, 3, {4, 5, 6}, {1, 5, 6}},
        {4, 3, {4, 2, 5, 6}, {2, 5, 6}},
        {5, 4, {4, 2, 3, 5, 6}, {2, 3, 5, 6}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hid_t file = new_file("shapes.h5");
        put_u8(file, "/data", cases[i].n_dims, cases[i].dim, pixels);
        put_int(file, "/label", DIMS(4), labels);
        end_file(file);
        nt_data_options options = options_for(in_dir("shapes.h5"));
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        assert_int_equal(ds->spec.x.n_dims, cases[i].n_out);
        for (int k = 0; k < cases[i].n_out; k++)
            assert_int_equal(ds->spec.x.dim[k], cases[i].out[k]);
        nt_dataset_close(ds);
    }
}

/* The pixels with channels last, said by the set, the group, the file, or the config. */
static void channels_last_are_turned(void **state)
{
    (void)state;
    static uint8_t last[N * ROW];
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++)
            for (int i = 0; i < H * W; i++)
                last[n * ROW + i * C + c] = pixels[n * ROW + c * H * W + i];
    static const char *const owner[] = {"/train/data", "/train", "/", NULL};
    for (int i = 0; i < 4; i++)
        for (int memory = 0; memory < 2; memory++) {
            hid_t file = new_file("nhwc.h5");
            put_u8(file, "/train/data", DIMS(N, H, W, C), last);
            put_int(file, "/train/label", DIMS(N), labels);
            if (owner[i]) put_text(file, owner[i], "layout", "NHWC");
            end_file(file);
            nt_data_options options = options_for(in_dir("nhwc.h5"));
            options.memory_mb = memory;
            if (!owner[i]) options.layout = NT_LAYOUT_NHWC;
            nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
            check_pixels(ds);
            nt_dataset_close(ds);
        }
    hid_t file = new_file("nchw.h5"); /* the config has the last word */
    put_split(file, "/train/data", "/train/label", N);
    put_text(file, "/", "layout", "NHWC");
    end_file(file);
    nt_data_options options = options_for(in_dir("nchw.h5"));
    options.layout = NT_LAYOUT_NCHW;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    check_pixels(ds);
    nt_dataset_close(ds);
}

static void suspicious_layout_is_said(void **state)
{
    (void)state;
    hid_t file = new_file("who.h5");
    put_u8(file, "/data", DIMS(4, 9, 9, 3), pixels);
    put_int(file, "/label", DIMS(4), labels);
    end_file(file);
    nt_data_options options = options_for(in_dir("who.h5"));
    int before = nt_log_warnings();
    nt_dataset_close(must_open(&options, NT_SPLIT_TRAIN));
    assert_int_equal(nt_log_warnings(), before + 1);
    options.layout = NT_LAYOUT_NCHW;
    nt_dataset_close(must_open(&options, NT_SPLIT_TRAIN));
    assert_int_equal(nt_log_warnings(), before + 1);
}

/* A chunked set of 1.5 MiB and room for 1 MiB: two thirds of the rows come from memory, the others from the
 * file, in one batch. A contiguous one stays in its file. */
static void part_of_a_chunked_set_is_kept(void **state)
{
    (void)state;
    enum { ROWS = 1536, BYTES = 1024 };
    uint8_t *big = malloc((size_t)ROWS * BYTES);
    static int label[ROWS];
    assert_non_null(big);
    for (int i = 0; i < ROWS * BYTES; i++)
        big[i] = (uint8_t)((uint32_t)i * 2654435761u >> 19);
    for (hsize_t chunk = 0; chunk < 20; chunk += 10) {
        hid_t file = new_file("part.h5");
        put_int(file, "/label", DIMS(ROWS), label);
        put_stored(file, "/data", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(ROWS, BYTES), big,
                   (storage){chunk, false});
        end_file(file);
        nt_data_options options = options_for(in_dir("part.h5"));
        options.memory_mb = 1;
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        const int64_t index[] = {1535, 3, 1024, 1023, 1025, 0, 1535, 700};
        static uint8_t x[8 * BYTES];
        assert_ok(nt_dataset_read(ds, index, 8, x, NULL));
        for (int i = 0; i < 8; i++)
            assert_memory_equal(x + i * BYTES, big + index[i] * BYTES, BYTES);
        assert_int_equal(truncate(in_dir("part.h5"), 0), 0);
        nt_status kept = nt_dataset_read(ds, (int64_t[]){5, 1023}, 2, x, NULL);
        assert_int_equal(kept, chunk ? NT_OK : NT_ERR_DATA);
        if (chunk) assert_memory_equal(x + BYTES, big + 1023 * BYTES, BYTES);
        assert_fails(nt_dataset_read(ds, (int64_t[]){1200}, 1, x, NULL), NT_ERR_DATA, "part.h5", "/data");
        nt_dataset_close(ds);
    }
    free(big);
}

/* Rows out of a mapping, small ones and ones that are always asked for ahead, in memory or not. */
static void rows_of_a_mapped_file(void **state)
{
    (void)state;
    enum { ROWS = 40, MOST = 70001 };
    static uint8_t big[ROWS * MOST], x[ROWS * MOST];
    static int label[ROWS];
    for (int i = 0; i < ROWS * MOST; i++)
        big[i] = (uint8_t)((uint32_t)i * 2654435761u >> 19);
    for (hsize_t bytes = 101; bytes <= MOST; bytes += MOST - 101) {
        hid_t file = new_file("mapped.h5");
        put_int(file, "/label", DIMS(ROWS), label);
        put_stored(file, "/data", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(ROWS, bytes), big,
                   (storage){0, false});
        end_file(file);
        int fd = open(in_dir("mapped.h5"), O_RDWR);
        assert_int_equal(fsync(fd), 0);
        nt_data_options options = options_for(in_dir("mapped.h5"));
        options.memory_mb = 0;
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        for (int64_t batch = 0; batch < 70; batch++) {
            int64_t index[ROWS];
            for (int64_t i = 0; i < ROWS; i++)
                index[i] = (i * 7 + batch) % ROWS;
            if (batch % 8 == 0) assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
            assert_ok(nt_dataset_read(ds, index, ROWS, x, NULL));
            for (int64_t i = 0; i < ROWS; i++)
                assert_memory_equal(x + i * (int64_t)bytes, big + index[i] * (int64_t)bytes, bytes);
        }
        assert_int_equal(ftruncate(fd, 20 * (off_t)bytes), 0);
        assert_fails(nt_dataset_read(ds, (int64_t[]){3, 39}, 2, x, NULL), NT_ERR_DATA, "mapped.h5",
                     "shorter");
        nt_dataset_close(ds);
        close(fd);
    }
}

typedef struct reading {
    nt_dataset *ds;
    nt_status status;
    bool equal;
} reading;

static void *read_all_often(void *arg)
{
    reading *r = arg;
    uint8_t x[ROW];
    r->equal = true;
    for (int64_t i = 0; i < 20 * N && r->status == NT_OK; i++) {
        int64_t row = i * 7 % N;
        r->status = nt_dataset_read(r->ds, &row, 1, x, NULL);
        r->equal = r->equal && memcmp(x, pixels + row * ROW, ROW) == 0;
    }
    return NULL;
}

/* As a prefetch thread and an evaluation do: two sets of one file, a thread each. */
static void two_sets_are_read_at_once(void **state)
{
    (void)state;
    hid_t file = new_file("both.h5");
    put_stored(file, "/train/data", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(N, C, H, W), pixels,
               (storage){4, true});
    put_int(file, "/train/label", DIMS(N), labels);
    end_file(file);
    nt_data_options options = options_for(in_dir("both.h5"));
    options.memory_mb = 0;
    reading r[2] = {{.ds = must_open(&options, NT_SPLIT_TRAIN)}, {.ds = must_open(&options, NT_SPLIT_TRAIN)}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_all_often, &r[0]), 0);
    read_all_often(&r[1]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(r[i].status, NT_OK);
        assert_true(r[i].equal);
        nt_dataset_close(r[i].ds);
    }
}

/* --- targets --- */

static nt_dataset *open_with_label(const char *name, hid_t type, int n_dims, const hsize_t *dim,
                                   const double *values, int target)
{
    hid_t file = new_file(name);
    put_u8(file, "/data", DIMS(dim[0], 2), pixels);
    put_stored(file, "/label", type, H5T_NATIVE_DOUBLE, n_dims, dim, values, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir(name));
    options.target = target;
    return must_open(&options, NT_SPLIT_TRAIN);
}

static void targets_are_classes_or_values(void **state)
{
    (void)state;
    const double values[] = {0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0}; /* as (4, 3): one-hot 1, 2, 0, 1 */
    const int64_t all[] = {3, 0};
    int32_t class[2];
    float value[6];

    nt_dataset *ds = open_with_label("t.h5", H5T_STD_U8LE, DIMS(4), values, NT_DATA_TARGET_AUTO);
    assert_int_equal(ds->spec.target, NT_TARGET_CLASS);
    assert_int_equal(ds->spec.n_classes, 2);
    nt_dataset_close(ds);

    ds = open_with_label("t.h5", H5T_IEEE_F32LE, DIMS(4, 3), values, NT_DATA_TARGET_AUTO);
    assert_int_equal(ds->spec.target, NT_TARGET_VALUE);
    assert_int_equal(ds->spec.n_values, 3);
    assert_int_equal(nt_dataset_target_bytes(ds), 12);
    assert_ok(nt_dataset_read(ds, all, 2, NULL, value));
    for (int k = 0; k < 3; k++) {
        assert_true(value[k] == (float)values[9 + k]);
        assert_true(value[3 + k] == (float)values[k]);
    }
    nt_dataset_close(ds);

    ds = open_with_label("t.h5", H5T_IEEE_F64LE, DIMS(4), values, NT_DATA_TARGET_AUTO);
    assert_int_equal(ds->spec.target, NT_TARGET_VALUE);
    assert_int_equal(ds->spec.n_values, 1);
    nt_dataset_close(ds);

    int warnings = nt_log_warnings(); /* they may well be classes: it is said */
    ds = open_with_label("t.h5", H5T_STD_I32LE, DIMS(4, 3), values, NT_DATA_TARGET_AUTO);
    assert_int_equal(ds->spec.target, NT_TARGET_VALUE);
    assert_int_equal(nt_log_warnings(), warnings + 1);
    nt_dataset_close(ds);
    ds = open_with_label("t.h5", H5T_STD_I32LE, DIMS(4, 3), values, NT_DATA_TARGET_VALUE);
    assert_int_equal(nt_log_warnings(), warnings + 1);
    nt_dataset_close(ds);

    ds = open_with_label("t.h5", H5T_STD_I32LE, DIMS(4, 3), values, NT_DATA_TARGET_CLASS);
    assert_int_equal(ds->spec.target, NT_TARGET_CLASS);
    assert_int_equal(ds->spec.n_classes, 3);
    assert_ok(nt_dataset_read(ds, all, 2, NULL, class));
    assert_int_equal(class[0], 1);
    assert_int_equal(class[1], 1);
    nt_dataset_close(ds);

    ds = open_with_label("t.h5", H5T_IEEE_F32LE, DIMS(4), values, NT_DATA_TARGET_CLASS); /* Caffe's way */
    assert_int_equal(ds->spec.n_classes, 2);
    nt_dataset_close(ds);

    ds = open_with_label("t.h5", H5T_STD_I16LE, DIMS(4), values, NT_DATA_TARGET_VALUE);
    assert_int_equal(ds->spec.target, NT_TARGET_VALUE);
    assert_ok(nt_dataset_read(ds, all, 2, NULL, value));
    assert_true(value[0] == 0 && value[1] == 0);
    nt_dataset_close(ds);
}

static void put_names(hid_t file, const char *name, int n)
{
    char text[8][4] = {"a", "bb", "c", "d", "e", "f", "g", "h"};
    hid_t type = H5Tcopy(H5T_C_S1);
    assert_true(H5Tset_size(type, 4) >= 0);
    put_attribute(file, "/", name, type, (hsize_t)n, text);
    assert_true(H5Tclose(type) >= 0);
}

/* Config before attribute before names before labels; a limit does not change it. */
static void number_of_classes(void **state)
{
    (void)state;
    const int64_t ten = 10;
    hid_t file = new_file("classes.h5");
    put_split(file, "/train/data", "/train/label", N);
    put_names(file, "class_names", 8);
    end_file(file);
    nt_data_options options = options_for(in_dir("classes.h5"));
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.n_classes, 8);
    assert_string_equal(ds->class_names[1], "bb");
    nt_dataset_close(ds);

    file = H5Fopen(in_dir("classes.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    put_attribute(file, "/train", "classes", H5T_NATIVE_INT64, 1, &ten);
    end_file(file);
    options.limit = 2;
    ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->n_samples, 2);
    assert_int_equal(ds->spec.n_classes, 10);
    assert_null(ds->class_names); /* eight names for ten classes are none */
    nt_dataset_close(ds);

    options.classes = 8;
    ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.n_classes, 8);
    assert_non_null(ds->class_names);
    nt_dataset_close(ds);

    options.classes = 6; /* row 6 has class 6 */
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "classes.h5", "/train/label", "row 6",
                      "data.classes");
}

/* --- limits, prediction, fitting a model --- */

static void limits_per_split(void **state)
{
    (void)state;
    hid_t file = new_file("limit.h5");
    put_split(file, "/train/data", "/train/label", N);
    put_split(file, "/test/data", "/test/label", N);
    end_file(file);
    nt_data_options options = options_for(in_dir("limit.h5"));
    options.limit = 3;
    options.valid_limit = 100;
    nt_dataset *train = must_open(&options, NT_SPLIT_TRAIN), *valid = must_open(&options, NT_SPLIT_VALID);
    assert_int_equal(train->n_samples, 3);
    assert_int_equal(train->spec.n_classes, 7);
    assert_int_equal(valid->n_samples, N);
    uint8_t x[ROW];
    assert_ok(nt_dataset_read(train, (int64_t[]){2}, 1, x, NULL));
    assert_memory_equal(x, pixels + 2 * ROW, ROW);
    assert_fails(nt_dataset_read(train, (int64_t[]){3}, 1, x, NULL), NT_ERR_BUG, "sample 3 of 3");
    nt_dataset_close(train);
    nt_dataset_close(valid);
}

static void prediction_needs_no_labels(void **state)
{
    (void)state;
    hid_t file = new_file("new.h5");
    put_u8(file, "/data", DIMS(N, C, H, W), pixels);
    put_u8(file, "/train/data", DIMS(1, 1), pixels);
    put_split(file, "/more/data", "/more/label", 4);
    end_file(file);
    nt_data_options options = options_for("not this one");
    options.limit = 2;
    nt_dataset *ds;
    assert_ok(nt_dataset_open_for_predict(&ds, &options, in_dir("new.h5"), NULL));
    assert_int_equal(ds->n_samples, N);
    assert_int_equal(ds->spec.target, NT_TARGET_NONE);
    assert_int_equal(nt_dataset_target_bytes(ds), 0);
    uint8_t x[ROW];
    assert_ok(nt_dataset_read(ds, (int64_t[]){2}, 1, x, x + ROW)); /* the target is not touched */
    assert_memory_equal(x, pixels + 2 * ROW, ROW);
    nt_dataset_close(ds);
    assert_ok(nt_dataset_open_for_predict(&ds, &options, in_dir("new.h5"), "/more"));
    assert_int_equal(ds->n_samples, 4);
    assert_int_equal(ds->spec.target, NT_TARGET_CLASS);
    nt_dataset_close(ds);
}

static void conform_hands_over_and_checks(void **state)
{
    (void)state;
    hid_t file = new_file("train.h5");
    put_split(file, "/train/data", "/train/label", N);
    put_int(file, "/short/label", DIMS(3), labels);
    put_u8(file, "/short/data", DIMS(3, C, H, W), pixels);
    put_u8(file, "/wide/data", DIMS(3, C, H, W + 1), pixels);
    put_int(file, "/wide/label", DIMS(3), labels);
    put_f32(file, "/float/data", DIMS(1, C, H, W), (float[ROW]){0});
    put_int(file, "/float/label", DIMS(1), labels);
    put_u8(file, "/value/data", DIMS(1, C, H, W), pixels);
    put_f32(file, "/value/label", DIMS(1, 2), (float[]){0, 0});
    int seven = 7;
    put_u8(file, "/many/data", DIMS(1, C, H, W), pixels);
    put_int(file, "/many/label", DIMS(1), &seven);
    end_file(file);
    nt_data_options options = options_for(in_dir("train.h5"));
    options.normalize = true;
    nt_dataset *train = must_open(&options, NT_SPLIT_TRAIN);
    options.valid = "/short";
    nt_dataset *valid = must_open(&options, NT_SPLIT_VALID);
    assert_int_equal(valid->spec.n_classes, 3);
    assert_int_equal(valid->spec.input.n_channels, 0); /* of the training part alone */
    assert_ok(nt_dataset_conform(valid, &train->spec));
    assert_int_equal(valid->spec.n_classes, 7);
    assert_memory_equal(&valid->spec.input, &train->spec.input, sizeof train->spec.input);
    nt_dataset_close(valid);

    static const struct {
        const char *group, *word, *other;
    } bad[] = {{"/wide", "3x4x5", "3x4x6"},
               {"/float", "uint8", "float32"},
               {"/value", "classes", "values"},
               {"/many", "/many/label' row 0: class label 7", "7 classes"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options.valid = bad[i].group;
        valid = must_open(&options, NT_SPLIT_VALID);
        assert_fails(nt_dataset_conform(valid, &train->spec), NT_ERR_DATA, "train.h5", bad[i].group,
                     bad[i].word, bad[i].other);
        nt_dataset_close(valid);
    }
    nt_dataset_close(train);
}

/* --- normalisation --- */

static void normalization_from_the_file(void **state)
{
    (void)state;
    const double mean[] = {0.5, 0.25, 0.125}, std[] = {2}, scale = 0.5;
    hid_t file = new_file("norm.h5");
    put_split(file, "/train/data", "/train/label", N);
    put_attribute(file, "/train/data", "mean", H5T_NATIVE_DOUBLE, 3, mean);
    put_attribute(file, "/", "std", H5T_NATIVE_DOUBLE, 1, std);
    end_file(file);
    nt_data_options options = options_for(in_dir("norm.h5"));
    options.normalize = true; /* the file comes first */
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.input.n_channels, 3);
    assert_true(ds->spec.input.scale == 1.0 / 255);
    for (int c = 0; c < 3; c++) {
        assert_true(ds->spec.input.mean[c] == mean[c]);
        assert_true(ds->spec.input.inv_std[c] == 0.5);
    }
    nt_dataset_close(ds);

    file = H5Fopen(in_dir("norm.h5"), H5F_ACC_RDWR, H5P_DEFAULT); /* attribute `scale`; config doubles it */
    put_attribute(file, "/", "scale", H5T_NATIVE_DOUBLE, 1, &scale);
    end_file(file);
    ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_true(ds->spec.input.scale == 0.5 && ds->spec.input.mean[1] == 0.25);
    nt_dataset_close(ds);
    options.scale = 1;
    ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_true(ds->spec.input.scale == 1 && ds->spec.input.mean[1] == 0.5 &&
                ds->spec.input.inv_std[1] == 0.25);
    nt_dataset_close(ds);

    double one = 7; /* the config replaces both */
    options.mean = (nt_floats){1, &one};
    ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.input.n_channels, 1);
    assert_true(ds->spec.input.mean[0] == 7 && ds->spec.input.inv_std[0] == 1);
    nt_dataset_close(ds);

    double two[2] = {1, 1}, none[3] = {1, 0, 1};
    options.mean = (nt_floats){2, two};
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.mean", "2 values", "3 channels");
    options.mean.n = 0;
    options.std = (nt_floats){3, none};
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.std", "value 2");
}

/* uint8: the integers' mean, and n S2 - S1^2 in long double, which here is exact. */
static void computed_statistics_of_bytes(void **state)
{
    (void)state;
    hid_t file = new_file("stats.h5");
    put_split(file, "/train/data", "/train/label", N);
    end_file(file);
    for (int memory = 0; memory < 2; memory++) {
        nt_data_options options = options_for(in_dir("stats.h5"));
        options.normalize = true;
        options.memory_mb = memory;
        options.limit = 20;
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        assert_int_equal(ds->spec.input.n_channels, 3);
        for (int c = 0; c < 3; c++) {
            long double sum = 0, square = 0, n = 20 * H * W;
            for (int s = 0; s < 20; s++)
                for (int i = 0; i < H * W; i++) {
                    long double v = pixels[s * ROW + c * H * W + i];
                    sum += v, square += v * v;
                }
            double mean = (double)(sum / n / 255), std = (double)(sqrtl(n * square - sum * sum) / n / 255);
            assert_float_equal(ds->spec.input.mean[c], mean, 1e-15); /* two roundings of numbers below 1 */
            assert_float_equal(ds->spec.input.inv_std[c], 1 / std, 1e-14 / std);
        }
        nt_dataset_close(ds);
    }
}

/* Floats far from zero, a constant channel, and more features than can have a statistic each. */
static void computed_statistics_of_floats(void **state)
{
    (void)state;
    enum { ROWS = 300 };
    static float x[ROWS * 100];
    for (int i = 0; i < ROWS; i++) {
        x[2 * i] = 1e6f + (float)(i % 2);
        x[2 * i + 1] = 3;
    }
    hid_t file = new_file("far.h5");
    put_f32(file, "/data", DIMS(ROWS, 2), x);
    put_stored(file, "/label", H5T_STD_U8LE, H5T_NATIVE_FLOAT, DIMS(ROWS), (float[ROWS]){0}, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("far.h5"));
    options.normalize = true;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.input.n_channels, 2);
    assert_float_equal(ds->spec.input.mean[0], 1e6 + 0.5, 1e-9); /* sums of zeros and ones are exact */
    assert_float_equal(ds->spec.input.inv_std[0], 2, 1e-9);
    assert_float_equal(ds->spec.input.mean[1], 3, 0);
    assert_float_equal(ds->spec.input.inv_std[1], 1, 0); /* no spread: only centred */
    nt_dataset_close(ds);

    file = new_file("wide.h5");
    put_f32(file, "/data", DIMS(ROWS, 100), x);
    put_stored(file, "/label", H5T_STD_U8LE, H5T_NATIVE_FLOAT, DIMS(ROWS), (float[ROWS]){0}, (storage){0});
    end_file(file);
    options = options_for(in_dir("wide.h5"));
    options.normalize = true;
    ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.input.n_channels, 1);
    nt_dataset_close(ds);
}

/* --- resizing --- */

/* One plane the slow way: a triangle of a target pixel's width, and of two source pixels' at least. */
static double weight(int i, int n_out, int j, int n_in)
{
    double ratio = (double)n_in / n_out, support = fmax(ratio, 1), centre = (i + 0.5) * ratio, sum = 0;
    for (int k = 0; k < n_in; k++)
        sum += fmax(0, 1 - fabs(k + 0.5 - centre) / support);
    return fmax(0, 1 - fabs(j + 0.5 - centre) / support) / sum;
}

static double resized(const uint8_t *plane, int y, int x, int new_h, int new_w)
{
    double sum = 0;
    for (int j = 0; j < H; j++)
        for (int i = 0; i < W; i++)
            sum += weight(y, new_h, j, H) * weight(x, new_w, i, W) * plane[j * W + i];
    return sum;
}

static void check_resized(int new_h, int new_w, int memory, bool floats)
{
    nt_data_options options = options_for(in_dir(floats ? "size_f.h5" : "size.h5"));
    options.memory_mb = memory;
    options.resize[0] = new_h;
    options.resize[1] = new_w;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_true(nt_shape_equal(ds->spec.x, nt_shape_of(3, (int64_t)C, (int64_t)new_h, (int64_t)new_w)));
    static uint8_t bytes[2 * C * 400];
    static float reals[2 * C * 400];
    const int64_t index[] = {20, 4};
    assert_ok(nt_dataset_read(ds, index, 2, floats ? (void *)reals : bytes, NULL));
    int at = 0;
    for (int s = 0; s < 2; s++)
        for (int c = 0; c < C; c++)
            for (int y = 0; y < new_h; y++)
                for (int x = 0; x < new_w; x++, at++) {
                    double want = resized(pixels + index[s] * ROW + c * H * W, y, x, new_h, new_w);
                    /* float weights and sums of at most 40 terms of 255: below 2e-4. Bytes are rounded half
                     * up; where the exact value is that close to a half, either neighbour is right. */
                    if (floats)
                        assert_float_equal(reals[at], want, 2e-4);
                    else
                        assert_true(fabs(bytes[at] - want) <= 0.5 + 2e-4);
                }
    nt_dataset_close(ds);
}

static void resizing_is_bilinear_with_antialias(void **state)
{
    (void)state;
    static float reals[N * ROW];
    for (int i = 0; i < N * ROW; i++)
        reals[i] = pixels[i];
    hid_t file = new_file("size.h5");
    put_split(file, "/data", "/label", N);
    end_file(file);
    file = new_file("size_f.h5");
    put_f32(file, "/data", DIMS(N, C, H, W), reals);
    put_int(file, "/label", DIMS(N), labels);
    end_file(file);
    static const int size[][2] = {{2, 2},  {1, 1},  {3, 4}, {4, 5},  {8, 10},
                                  {2, 11}, {17, 3}, {4, 3}, {20, 20}};
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++)
        for (int memory = 0; memory < 2; memory++)
            for (int floats = 0; floats < 2; floats++)
                check_resized(size[i][0], size[i][1], memory, floats);
}

/* Channels last and a new size together: the same as one after the other. */
static void turned_and_resized(void **state)
{
    (void)state;
    static uint8_t last[N * ROW];
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++)
            for (int i = 0; i < H * W; i++)
                last[n * ROW + i * C + c] = pixels[n * ROW + c * H * W + i];
    hid_t file = new_file("size.h5");
    put_u8(file, "/data", DIMS(N, H, W, C), last);
    put_int(file, "/label", DIMS(N), labels);
    put_text(file, "/data", "layout", "NHWC");
    end_file(file);
    for (int memory = 0; memory < 2; memory++)
        check_resized(2, 7, memory, false);
}

static void a_flat_image_stays_flat(void **state)
{
    (void)state;
    static uint8_t flat[3 * 31 * 29];
    for (int v = 0; v < 256; v += 51) {
        memset(flat, v, sizeof flat);
        hid_t file = new_file("flat.h5");
        put_u8(file, "/data", DIMS(1, 3, 31, 29), flat);
        put_int(file, "/label", DIMS(1), labels);
        end_file(file);
        for (int size = 1; size < 64; size += 9) {
            nt_data_options options = options_for(in_dir("flat.h5"));
            options.resize[0] = options.resize[1] = size;
            nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
            static uint8_t x[3 * 64 * 64];
            assert_ok(nt_dataset_read(ds, (int64_t[]){0}, 1, x, NULL));
            for (int i = 0; i < 3 * size * size; i++)
                assert_int_equal(x[i], v);
            nt_dataset_close(ds);
        }
    }
}

static void only_images_are_resized(void **state)
{
    (void)state;
    hid_t file = new_file("flat.h5");
    put_u8(file, "/data", DIMS(4, 9), pixels);
    put_int(file, "/label", DIMS(4), labels);
    end_file(file);
    nt_data_options options = options_for(in_dir("flat.h5"));
    options.resize[0] = options.resize[1] = 3;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.resize", "samples are 9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_layout),
        cmocka_unit_test(usual_names_are_found),
        cmocka_unit_test(validation_is_found),
        cmocka_unit_test(config_names_what_is_not_usual),
        cmocka_unit_test(validation_from_a_file_of_its_own),
        cmocka_unit_test(every_storage_reads_the_same),
        cmocka_unit_test(several_files_are_one_set),
        cmocka_unit_test(numbers_of_every_kind),
        cmocka_unit_test(shapes_of_samples),
        cmocka_unit_test(channels_last_are_turned),
        cmocka_unit_test(suspicious_layout_is_said),
        cmocka_unit_test(part_of_a_chunked_set_is_kept),
        cmocka_unit_test(rows_of_a_mapped_file),
        cmocka_unit_test(two_sets_are_read_at_once),
        cmocka_unit_test(targets_are_classes_or_values),
        cmocka_unit_test(number_of_classes),
        cmocka_unit_test(limits_per_split),
        cmocka_unit_test(prediction_needs_no_labels),
        cmocka_unit_test(conform_hands_over_and_checks),
        cmocka_unit_test(normalization_from_the_file),
        cmocka_unit_test(computed_statistics_of_bytes),
        cmocka_unit_test(computed_statistics_of_floats),
        cmocka_unit_test(resizing_is_bilinear_with_antialias),
        cmocka_unit_test(turned_and_resized),
        cmocka_unit_test(a_flat_image_stays_flat),
        cmocka_unit_test(only_images_are_resized),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_dir);
}
