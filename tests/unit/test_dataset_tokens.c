/* Tokens: streams and sequences give the samples and targets that the arrays they were written from say,
 * however they are stored; and what is no token, no window or no label is an error that says where.
 *
 * The oracle is arithmetic on the array: sample w of a stream is stream[w stride .. + T], its targets the
 * same one later. */
#include "dataset_helpers.h"

enum { L = 1000, T = 16, N = 12 };

static int stream[L];
static uint8_t letters[L];
static int labels[N * T];

static int setup(void **state)
{
    for (int i = 0; i < L; i++) {
        stream[i] = (int)((uint32_t)i * 2654435761u >> 18); /* below 16384: more than a byte */
        letters[i] = (uint8_t)((uint32_t)i * 2654435761u >> 24);
    }
    for (int i = 0; i < N * T; i++)
        labels[i] = i % 5;
    return make_test_dir(state);
}

static void put(hid_t file, const char *name, hid_t type, int n_dims, const hsize_t *dim, const int *data,
                storage how)
{
    put_stored(file, name, type, H5T_NATIVE_INT, n_dims, dim, data, how);
}

/* Sample `w` and its targets, against the array. */
static void check_window(nt_dataset *ds, const int *data, int64_t w, int64_t length, int64_t stride)
{
    int32_t x[64], target[64];
    assert_in_range(length, 1, 64);
    assert_ok(nt_dataset_read(ds, &w, 1, x, target));
    for (int64_t t = 0; t < length; t++) {
        assert_int_equal(x[t], data[w * stride + t]);
        assert_int_equal(target[t], data[w * stride + t + 1]);
    }
}

/* Windows in a wild order, one at a time and in one batch. */
static void check_stream(nt_dataset *ds, const int *data, int64_t length, int64_t stride)
{
    const int64_t last = (L - length - 1) / stride, order[] = {last, 0, last / 2, 1, 2, 3, last, last / 3};
    enum { ORDER = sizeof order / sizeof order[0] };
    int32_t x[ORDER * 64], target[ORDER * 64];
    assert_int_equal(ds->spec.x_dtype, NT_I32);
    assert_true(nt_shape_equal(ds->spec.x, nt_shape_of(1, length)));
    assert_int_equal(ds->spec.target, NT_TARGET_CLASS);
    assert_int_equal(ds->spec.n_labels, length);
    assert_int_equal(nt_dataset_x_bytes(ds), 4 * length);
    assert_int_equal(nt_dataset_target_bytes(ds), 4 * length);
    assert_int_equal(ds->n_samples, last + 1);
    for (int64_t w = 0; w <= last; w++)
        check_window(ds, data, w, length, stride);
    assert_ok(nt_dataset_read(ds, order, ORDER, x, target));
    for (int i = 0; i < ORDER; i++)
        for (int64_t t = 0; t < length; t++) {
            assert_int_equal(x[i * length + t], data[order[i] * stride + t]);
            assert_int_equal(target[i * length + t], data[order[i] * stride + t + 1]);
        }
}

/* All integer types, contiguous and in chunks, in memory, half of it and read from the file. */
static void a_stream_is_cut_into_windows(void **state)
{
    (void)state;
    const hid_t types[] = {H5T_STD_U8LE,  H5T_STD_U16LE, H5T_STD_I16BE, H5T_STD_I32LE,
                           H5T_STD_U32LE, H5T_STD_I64LE, H5T_STD_U64LE};
    const storage ways[] = {{0}, {.chunk_rows = 100}, {.chunk_rows = 7, .filtered = true}};
    int small[L];
    for (int i = 0; i < L; i++)
        small[i] = letters[i];
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++)
        for (size_t way = 0; way < 3; way++)
            for (int mb = 0; mb < 2; mb++) {
                const int *data = k == 0 ? small : stream;
                hid_t file = new_file("stream.h5");
                put(file, "/train/tokens", types[k], DIMS(L), data, ways[way]);
                end_file(file);
                nt_data_options options = options_for(in_dir("stream.h5"));
                options.sequence = T;
                options.memory_mb = mb;
                nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
                check_stream(ds, data, T, T);
                nt_dataset_close(ds);
            }
}

static void windows_may_overlap_or_leave_gaps(void **state)
{
    (void)state;
    hid_t file = new_file("stride.h5");
    put(file, "/train/data", H5T_STD_U16LE, DIMS(L), stream, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("stride.h5"));
    options.sequence = T;
    const int64_t strides[] = {1, 5, T, 40};
    for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++) {
        options.stride = strides[i];
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        check_stream(ds, stream, T, strides[i]);
        nt_dataset_close(ds);
    }
    options.stride = 0;
    options.limit = 3;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->n_samples, 3);
    check_window(ds, stream, 2, T, T);
    nt_dataset_close(ds);
}

/* Two files laid end to end: a window goes over the seam. */
static void streams_of_several_files_are_one(void **state)
{
    (void)state;
    hid_t file = new_file("one.h5");
    put(file, "/train/tokens", H5T_STD_U16LE, DIMS(333), stream, (storage){0});
    end_file(file);
    file = new_file("two.h5");
    put(file, "/train/tokens", H5T_STD_U16LE, DIMS(L - 333), stream + 333, (storage){.chunk_rows = 50});
    end_file(file);
    char one[4200];
    snprintf(one, sizeof one, "%s", in_dir("one.h5"));
    nt_data_options options = options_for(in_dir("two.h5"));
    the_files[1] = the_files[0];
    the_files[0] = one;
    options.file.n = 2;
    options.sequence = T;
    for (int mb = 0; mb < 2; mb++) {
        options.memory_mb = mb;
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        check_stream(ds, stream, T, T);
        nt_dataset_close(ds);
    }
}

static void sequences_with_labels(void **state)
{
    (void)state;
    int with_ignored[N * T];
    int32_t x[2 * T], target[2 * T];
    memcpy(with_ignored, labels, sizeof labels);
    with_ignored[3 * T + 2] = -100;
    hid_t file = new_file("rows.h5");
    put(file, "/train/tokens", H5T_STD_U16LE, DIMS(N, T), stream, (storage){0});
    put(file, "/train/label", H5T_STD_I64LE, DIMS(N, T), with_ignored, (storage){.chunk_rows = 5});
    put(file, "/one/tokens", H5T_STD_I32LE, DIMS(N, T), stream, (storage){0});
    put(file, "/one/label", H5T_STD_I32LE, DIMS(N), labels, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("rows.h5"));
    for (int mb = 0; mb < 2; mb++) {
        options.memory_mb = mb;
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        assert_int_equal(ds->n_samples, N);
        assert_int_equal(ds->spec.n_labels, T);
        assert_int_equal(ds->spec.n_classes, 0);
        assert_ok(nt_dataset_read(ds, (const int64_t[]){3, 11}, 2, x, target));
        for (int t = 0; t < T; t++) {
            assert_int_equal(x[t], stream[3 * T + t]);
            assert_int_equal(x[T + t], stream[11 * T + t]);
            assert_int_equal(target[t], with_ignored[3 * T + t]);
            assert_int_equal(target[T + t], labels[11 * T + t]);
        }
        nt_dataset_close(ds);
    }
    options.train = "/one"; /* a class for the whole sequence, as of a text */
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.n_labels, 0);
    assert_int_equal(ds->spec.n_classes, 5);
    assert_int_equal(nt_dataset_target_bytes(ds), 4);
    assert_ok(nt_dataset_read(ds, (const int64_t[]){7}, 1, x, target));
    assert_int_equal(target[0], 7 % 5);
    assert_int_equal(x[T - 1], stream[8 * T - 1]);
    nt_dataset_close(ds);
}

/* (N, T + 1) without labels: the last T are foretold from the first T. For prediction all are input. */
static void sequences_without_labels(void **state)
{
    (void)state;
    hid_t file = new_file("bare.h5");
    put(file, "/train/tokens", H5T_STD_U16LE, DIMS(N, T + 1), stream, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("bare.h5"));
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->n_samples, N);
    assert_int_equal(ds->spec.n_labels, T);
    for (int i = 0; i < N; i++)
        check_window(ds, stream, i, T, T + 1);
    nt_dataset_close(ds);
    ds = must_open(&options, NT_SPLIT_PREDICT);
    assert_int_equal(ds->spec.x.dim[0], T + 1);
    assert_int_equal(ds->spec.target, NT_TARGET_NONE);
    nt_dataset_close(ds);
}

/* data.target = positions: a class for each pixel. */
static void labels_of_pixels(void **state)
{
    (void)state;
    int32_t target[8];
    hid_t file = new_file("pixels.h5");
    put_u8(file, "/train/data", DIMS(N, 3, 2, 4), letters);
    put(file, "/train/label", H5T_STD_U8LE, DIMS(N, 2, 4), labels, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("pixels.h5"));
    options.target = NT_DATA_TARGET_POSITIONS;
    options.classes = 5;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.x_dtype, NT_U8);
    assert_int_equal(ds->spec.n_labels, 8);
    assert_int_equal(ds->spec.n_classes, 5);
    assert_ok(nt_dataset_read(ds, (const int64_t[]){9}, 1, NULL, target));
    for (int i = 0; i < 8; i++)
        assert_int_equal(target[i], labels[9 * 8 + i]);
    nt_dataset_close(ds);
    options.classes = 4;
    ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_fails(nt_dataset_read(ds, (const int64_t[]){2}, 1, NULL, target), NT_ERR_DATA,
                 "'/train/label' row 2", "class label 4 at position 3 ", "4 classes");
    nt_dataset_close(ds);
}

static void validation_conforms(void **state)
{
    (void)state;
    hid_t file = new_file("conform.h5");
    put(file, "/train/tokens", H5T_STD_U16LE, DIMS(L), stream, (storage){0});
    put(file, "/test/tokens", H5T_STD_U16LE, DIMS(100), stream, (storage){0});
    put_u8(file, "/bytes/data", DIMS(N, T), letters);
    put_int(file, "/bytes/label", DIMS(N), labels);
    const int64_t vocabulary = 16384;
    put_attribute(file, "/", "classes", H5T_NATIVE_INT64, 1, &vocabulary);
    end_file(file);
    nt_data_options options = options_for(in_dir("conform.h5"));
    options.sequence = T;
    nt_dataset *train = must_open(&options, NT_SPLIT_TRAIN), *valid = must_open(&options, NT_SPLIT_VALID);
    assert_int_equal(train->spec.n_classes, 16384);
    assert_int_equal(valid->n_samples, (100 - 1) / T);
    assert_ok(nt_dataset_conform(valid, &train->spec));
    check_window(valid, stream, 5, T, T);
    nt_dataset_close(valid);
    options.sequence = T + 1;
    valid = must_open(&options, NT_SPLIT_VALID);
    assert_fails(nt_dataset_conform(valid, &train->spec), NT_ERR_DATA, "samples 16,", "17");
    nt_dataset_close(valid);
    options.sequence = 0;
    options.valid = "/bytes";
    options.tokens = NT_TOKENS_YES; /* same tokens, another kind of label */
    valid = must_open(&options, NT_SPLIT_VALID);
    assert_fails(nt_dataset_conform(valid, &train->spec), NT_ERR_DATA, "16 labels a sample, this set has 1");
    nt_dataset_close(valid);
    options.tokens = NT_TOKENS_NO;
    valid = must_open(&options, NT_SPLIT_VALID);
    assert_fails(nt_dataset_conform(valid, &train->spec), NT_ERR_DATA, "int32", "uint8");
    nt_dataset_close(valid);
    nt_dataset_close(train);
}

/* --- what is wrong --- */

static void fault_49_token_out_of_range(void **state)
{
    (void)state;
    int bad[L];
    memcpy(bad, stream, sizeof stream);
    bad[5 * T + 3] = 16384;
    bad[9 * T + 1] = -7;
    hid_t file = new_file("range.h5");
    put(file, "/train/tokens", H5T_STD_I32LE, DIMS(L), bad, (storage){0});
    put(file, "/rows/tokens", H5T_STD_I32LE, DIMS(N, T), bad, (storage){0});
    const int64_t vocabulary = 16384;
    put_attribute(file, "/", "classes", H5T_NATIVE_INT64, 1, &vocabulary);
    end_file(file);
    nt_data_options options = options_for(in_dir("range.h5"));
    options.sequence = T;
    int32_t x[T], target[T];
    for (int mb = 0; mb < 2; mb++) {
        options.memory_mb = mb;
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        check_window(ds, stream, 4, T, T);
        assert_fails(nt_dataset_read(ds, (const int64_t[]){5}, 1, x, target), NT_ERR_DATA,
                     "range.h5: '/train/tokens' row 83: token 16384 (sample 5, position 3)", "16384 tokens");
        assert_fails(nt_dataset_read(ds, (const int64_t[]){9}, 1, x, target), NT_ERR_DATA,
                     "'/train/tokens' row 145: token -7 (sample 9, position 1) is negative");
        nt_dataset_close(ds);
    }
    options.sequence = 0;
    options.train = "/rows";
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_fails(nt_dataset_read(ds, (const int64_t[]){5}, 1, x, target), NT_ERR_DATA,
                 "'/rows/tokens' row 5: token 16384 (sample 5, position 3)");
    nt_dataset_close(ds);
}

/* Beyond int32: refused where it is read, with its row. */
static void fault_49_token_beyond_32_bits(void **state)
{
    (void)state;
    int64_t big[T + 2] = {[T] = (int64_t)1 << 31};
    hid_t file = new_file("big.h5");
    put_stored(file, "/train/tokens", H5T_STD_I64LE, H5T_NATIVE_INT64, DIMS(T + 2), big, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("big.h5"));
    options.sequence = T;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "big.h5", "/train/tokens", "2147483648");
}

static void what_is_no_token(void **state)
{
    (void)state;
    static const float real[N * 4];
    hid_t file = new_file("wrong.h5");
    put_f32(file, "/floats/tokens", DIMS(N, 4), real);
    put(file, "/deep/tokens", H5T_STD_I32LE, DIMS(N, 4, 4), stream, (storage){0});
    put(file, "/both/tokens", H5T_STD_I32LE, DIMS(N), stream, (storage){0});
    put(file, "/both/label", H5T_STD_I32LE, DIMS(N), labels, (storage){0});
    put(file, "/short/tokens", H5T_STD_I32LE, DIMS(N), stream, (storage){0});
    put(file, "/single/tokens", H5T_STD_I32LE, DIMS(N, 1), stream, (storage){0});
    put(file, "/rows/tokens", H5T_STD_I32LE, DIMS(N, T), stream, (storage){0});
    put(file, "/uneven/tokens", H5T_STD_I32LE, DIMS(N, T), stream, (storage){0});
    put(file, "/uneven/label", H5T_STD_I32LE, DIMS(N, T - 1), labels, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("wrong.h5"));
    options.train = "/floats";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "'/floats/tokens'", "integers", "floats");
    options.train = "/deep";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "'/deep/tokens'", "4x4", "(N, T)");
    options.train = "/both";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "'/both/tokens'", "labels beside it");
    options.train = "/single";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "'/single/tokens'", "nothing to foretell");
    options.train = "/short";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "'/short/tokens'", "stream of 12 tokens",
                      "data.sequence");
    options.stride = 2;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.stride", "data.sequence");
    options.stride = 0;
    options.sequence = N;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "'/short/tokens'", "stream of 12 tokens",
                      "sequence = 12");
    options.sequence = N - 1;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->n_samples, 1);
    nt_dataset_close(ds);
    options.train = "/rows";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "rows of 16 tokens", "data.sequence = 11");
    options.sequence = 0;
    options.scale = 0.5;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.scale", "integer tokens");
    options.scale = 0;
    options.train = "/uneven";
    options.target = NT_DATA_TARGET_CLASS;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "'/uneven/label'");
}

/* Every integer that is not called tokens stays what it was: features. */
static void other_integers_are_features(void **state)
{
    (void)state;
    hid_t file = new_file("features.h5");
    put(file, "/train/data", H5T_STD_I32LE, DIMS(N, T), stream, (storage){0});
    put_int(file, "/train/label", DIMS(N), labels);
    end_file(file);
    nt_data_options options = options_for(in_dir("features.h5"));
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(ds->spec.x_dtype, NT_F32);
    nt_dataset_close(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_cut_into_windows),
        cmocka_unit_test(windows_may_overlap_or_leave_gaps),
        cmocka_unit_test(streams_of_several_files_are_one),
        cmocka_unit_test(sequences_with_labels),
        cmocka_unit_test(sequences_without_labels),
        cmocka_unit_test(labels_of_pixels),
        cmocka_unit_test(validation_conforms),
        cmocka_unit_test(fault_49_token_out_of_range),
        cmocka_unit_test(fault_49_token_beyond_32_bits),
        cmocka_unit_test(what_is_no_token),
        cmocka_unit_test(other_integers_are_features),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_dir);
}
