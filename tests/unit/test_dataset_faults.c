/* Bad HDF5 datasets: each fault of the catalogue gives one error with the exit code of its kind that names
 * file, object and, where there is one, row; and never a wrong sample.
 *
 * What is wrong with storage as such (faults 51 to 61) is proved in test_h5_hostile.c; here the point is that
 * it reaches the user through the dataset, for samples and for labels alike. */
#include "dataset_helpers.h"

#include "core/log.h"
#include "datasets/prefetch.h"

#include <float.h>
#include <math.h>
#include <sys/stat.h>

static const uint8_t bytes[64 * 12];
static const int zeros[64];

static void put_sound(hid_t file, const char *data, const char *label, hsize_t n)
{
    if (data) put_u8(file, data, DIMS(n, 3, 2, 2), bytes);
    if (label) put_int(file, label, DIMS(n), zeros);
}

/* --- 42 to 48: the wrong thing under a name --- */

static void fault_42_named_object_is_absent(void **state)
{
    (void)state;
    hid_t file = new_file("absent.h5");
    put_sound(file, "/train/data", "/train/label", 4);
    put_sound(file, "/nolabel/data", NULL, 4);
    put_sound(file, NULL, "/nodata/label", 4);
    end_file(file);
    nt_data_options options = options_for(in_dir("absent.h5"));
    options.train = "/trian";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "absent.h5", "/trian", "data.train", "train",
                      "nolabel", "nodata");
    options.train = "/nolabel";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "absent.h5", "/nolabel", "no labels",
                      "it holds: data");
    options.train = "/nodata";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "absent.h5", "/nodata", "no samples",
                      "it holds: label");
    options.train = NULL;
    options.data = "dada";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "absent.h5", "/train/dada");
    options.data = NULL;
    options.label = "labeled";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "absent.h5", "/train/labeled");
    options.label = NULL;
    options.valid = "/valid";
    assert_open_fails(&options, NT_SPLIT_VALID, NT_ERR_DATA, "absent.h5", "/valid", "data.valid");
}

static void fault_42_nothing_that_looks_like_samples(void **state)
{
    (void)state;
    hid_t file = new_file("strange.h5");
    put_sound(file, "/measurements", "/times", 4);
    end_file(file);
    nt_data_options options = options_for(in_dir("strange.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "strange.h5", "no samples found",
                      "measurements");
    nt_dataset *ds;
    assert_fails(nt_dataset_open_for_predict(&ds, &options, in_dir("strange.h5"), NULL), NT_ERR_DATA,
                 "strange.h5", "measurements");
    file = new_file("strange.h5"); /* more than anyone wants to read */
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "/g%d", i);
        assert_true(H5Gclose(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)) >= 0);
    }
    end_file(file);
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "strange.h5", "too much to list");
    options.file.n = 0;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.file");
}

static void fault_43_group_and_set_exchanged(void **state)
{
    (void)state;
    hid_t file = new_file("groups.h5");
    put_sound(file, "/train/data/inner", "/train/label", 4);
    put_sound(file, "/flat", "/b/label", 4);
    put_sound(file, "/b/data", NULL, 4);
    put_sound(file, "/c/data", "/c/label/inner", 4);
    end_file(file);
    nt_data_options options = options_for(in_dir("groups.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "groups.h5", "'/train/data' is a group");
    options.train = "/flat";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "groups.h5", "'/flat' is a data set",
                      "data.train");
    options.train = "/c";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "groups.h5", "'/c/label' is a group");
}

static void fault_44_wrong_rank(void **state)
{
    (void)state;
    nt_data_options options = options_for(in_dir("rank.h5"));
    const hsize_t six[] = {1, 1, 1, 1, 1, 1, 1};
    hid_t file = new_file("rank.h5");
    put_u8(file, "/data", 6, six, bytes);
    put_int(file, "/label", DIMS(1), zeros);
    end_file(file);
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "rank.h5", "'/data' has 6 dimensions");

    file = new_file("rank.h5");
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t set = H5Dcreate2(file, "/data", H5T_STD_U8LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0);
    assert_true(H5Dclose(set) >= 0 && H5Sclose(space) >= 0);
    put_int(file, "/label", DIMS(1), zeros);
    end_file(file);
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "rank.h5", "'/data'", "single value");

    file = new_file("rank.h5");
    put_u8(file, "/data", DIMS(4, 3), bytes);
    put_int(file, "/label", DIMS(4, 1, 2), zeros);
    end_file(file);
    options.target = NT_DATA_TARGET_CLASS;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "rank.h5", "'/label'", "one number a sample");
}

/* Makes /data or /label of a type that is no number and sees that it is refused. */
static void check_type(hid_t type, const void *value, const char *word)
{
    static const char *const names[] = {"/data", "/label"};
    for (int bad = 0; bad < 2; bad++) {
        hid_t file = new_file("type.h5");
        put_stored(file, names[bad], type, type, DIMS(1), value, (storage){0});
        put_u8(file, names[1 - bad], DIMS(1), bytes);
        end_file(file);
        nt_data_options options = options_for(in_dir("type.h5"));
        assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "type.h5", names[bad], word);
    }
    assert_true(H5Tclose(type) >= 0);
}

static hid_t half_float(void)
{
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    assert_true(H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type, 2) >= 0 &&
                H5Tset_ebias(type, 15) >= 0);
    return type;
}

static void fault_45_types_that_are_no_numbers(void **state)
{
    (void)state;
    char block[64] = "text";
    hid_t text = H5Tcopy(H5T_C_S1), compound = H5Tcreate(H5T_COMPOUND, 8),
          vlen = H5Tvlen_create(H5T_NATIVE_INT), boolean = H5Tenum_create(H5T_NATIVE_INT8);
    const char *variable_text[1] = {"text"};
    assert_true(H5Tset_size(text, 5) >= 0);
    check_type(text, block, "text");
    hid_t variable = H5Tcopy(H5T_C_S1);
    assert_true(H5Tset_size(variable, H5T_VARIABLE) >= 0);
    check_type(variable, variable_text, "text");
    assert_true(H5Tinsert(compound, "a", 0, H5T_NATIVE_FLOAT) >= 0);
    check_type(compound, block, "neither integers nor");
    int one = 1;
    hvl_t list = {.len = 1, .p = &one};
    check_type(vlen, &list, "neither integers nor");
    int8_t no = 0, yes = 1;
    assert_true(H5Tenum_insert(boolean, "FALSE", &no) >= 0 && H5Tenum_insert(boolean, "TRUE", &yes) >= 0);
    check_type(boolean, block, "booleans");
    check_type(H5Tcreate(H5T_OPAQUE, 4), block, "neither integers nor");
    memset(block, 0, sizeof block);
    check_type(H5Tcopy(H5T_STD_REF_OBJ), block, "neither integers nor");
    check_type(half_float(), block, "16-bit floats");
}

static void fault_46_rows_of_data_and_label_differ(void **state)
{
    (void)state;
    static char path[2][4200];
    snprintf(path[0], sizeof path[0], "%s/a.h5", test_dir);
    snprintf(path[1], sizeof path[1], "%s/b.h5", test_dir);
    hid_t file = new_file("a.h5");
    put_sound(file, "/data", "/label", 4);
    end_file(file);
    file = new_file("b.h5");
    put_sound(file, "/data", NULL, 5);
    put_sound(file, NULL, "/label", 3);
    end_file(file);
    nt_data_options options = options_for("");
    the_files[0] = path[0], the_files[1] = path[1];
    options.file.n = 2;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "b.h5", "'/data' has 5 rows", "'/label' has 3");
}

static void files_that_do_not_agree_are_both_named(void **state)
{
    (void)state;
    static char path[2][4200];
    snprintf(path[0], sizeof path[0], "%s/a.h5", test_dir);
    snprintf(path[1], sizeof path[1], "%s/b.h5", test_dir);
    hid_t file = new_file("a.h5");
    put_sound(file, "/data", "/label", 4);
    end_file(file);
    file = new_file("b.h5");
    put_u8(file, "/data", DIMS(4, 3, 2, 3), bytes);
    put_int(file, "/label", DIMS(4), zeros);
    end_file(file);
    nt_data_options options = options_for("");
    the_files[0] = path[0], the_files[1] = path[1];
    options.file.n = 2;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "a.h5 is 4x3x2x2", "b.h5 is 4x3x2x3");
    file = new_file("b.h5");
    put_f32(file, "/data", DIMS(4, 3, 2, 2), (float[48]){0});
    put_int(file, "/label", DIMS(4), zeros);
    end_file(file);
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "a.h5 holds uint8", "b.h5 holds floats");
    file = new_file("b.h5");
    put_sound(file, "/other", "/label", 4);
    end_file(file);
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "b.h5", "no samples found");
}

static void fault_47_zero_samples(void **state)
{
    (void)state;
    hid_t file = new_file("zero.h5");
    put_stored(file, "/data", H5T_STD_U8LE, H5T_STD_U8LE, DIMS(0, 3), NULL, (storage){0});
    put_stored(file, "/label", H5T_STD_U8LE, H5T_STD_U8LE, DIMS(0), NULL, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("zero.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "zero.h5", "'/data'", "size 0");
}

/* One sample and eight ranks: one rank gets it, the others get empty slices, for ever. */
static void fault_48_one_sample_for_eight_ranks(void **state)
{
    (void)state;
    hid_t file = new_file("single.h5");
    put_sound(file, "/data", "/label", 1);
    end_file(file);
    nt_data_options options = options_for(in_dir("single.h5"));
    for (int rank = 0; rank < 8; rank++) {
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        nt_sampler *sampler = NULL;
        nt_prefetch *prefetch = NULL;
        nt_slice slice;
        assert_ok(nt_sampler_create(&sampler, ds->n_samples, 64, true, true, 1));
        assert_ok(nt_prefetch_create(&prefetch, ds, sampler, rank, 8, &(nt_prefetch_options){.depth = 2}));
        for (int step = 0; step < 3; step++) {
            assert_ok(nt_prefetch_next(prefetch, &slice));
            assert_int_equal(slice.n, rank == 0);
            assert_int_equal(slice.global_n, 1);
        }
        nt_prefetch_destroy(prefetch);
        nt_sampler_destroy(sampler);
        nt_dataset_close(ds);
    }
}

/* --- 49, 50: values --- */

static void check_label(hid_t type, double value, int target, const char *word)
{
    double label[9] = {0};
    label[7] = value;
    hid_t file = new_file("label.h5");
    put_u8(file, "/data", DIMS(9, 2), bytes);
    put_stored(file, "/label", type, H5T_NATIVE_DOUBLE, DIMS(9), label, (storage){0});
    end_file(file);
    nt_data_options options = options_for(in_dir("label.h5"));
    options.target = target;
    options.classes = 10;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "label.h5", "'/label'", "row 7", word);
}

static void fault_49_labels_out_of_range(void **state)
{
    (void)state;
    check_label(H5T_STD_I32LE, -1, NT_DATA_TARGET_AUTO, "-1");
    check_label(H5T_STD_I32LE, 10, NT_DATA_TARGET_AUTO, "10");
    check_label(H5T_STD_I64BE, 0x1p40, NT_DATA_TARGET_AUTO, "1099511627776");
    check_label(H5T_STD_I64LE, 0x1p32, NT_DATA_TARGET_AUTO, "4294967296"); /* not 0 */
    check_label(H5T_STD_U64LE, 0x1.8p63, NT_DATA_TARGET_AUTO, "row 7");
    check_label(H5T_IEEE_F32LE, NAN, NT_DATA_TARGET_CLASS, "nan");
    check_label(H5T_IEEE_F32LE, INFINITY, NT_DATA_TARGET_CLASS, "inf");
    check_label(H5T_IEEE_F64LE, 2.5, NT_DATA_TARGET_CLASS, "class labels: ");
    check_label(H5T_IEEE_F64LE, -3, NT_DATA_TARGET_CLASS, "-3");
    check_label(H5T_IEEE_F32LE, 1e30, NT_DATA_TARGET_CLASS, "e+30");
}

static void fault_49_rows_that_are_not_one_hot(void **state)
{
    (void)state;
    static const int bad[][3] = {{0, 0, 0}, {1, 1, 0}, {0, 2, 0}, {-1, 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int label[3][3] = {{1, 0, 0}, {0, 0, 1}};
        memcpy(label[2], bad[i], sizeof label[2]);
        hid_t file = new_file("hot.h5");
        put_u8(file, "/data", DIMS(3, 2), bytes);
        put_int(file, "/label", DIMS(3, 3), label[0]);
        end_file(file);
        nt_data_options options = options_for(in_dir("hot.h5"));
        options.target = NT_DATA_TARGET_CLASS;
        assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "hot.h5", "'/label'", "row 2");
    }
}

/* The seventh row of samples, or of target values, holds `value`; in memory and not, contiguous and chunked.
 */
static void check_value(bool in_target, float value, const char *word)
{
    float data[9][4] = {{0}};
    data[7][2] = value;
    for (int kind = 0; kind < 4; kind++) {
        hid_t file = new_file("value.h5");
        storage how = {kind & 1 ? 2 : 0, false};
        put_stored(file, in_target ? "/label" : "/data", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, DIMS(9, 4), data,
                   how);
        put_u8(file, in_target ? "/data" : "/label", DIMS(9), bytes);
        end_file(file);
        nt_data_options options = options_for(in_dir("value.h5"));
        options.memory_mb = kind >> 1;
        const char *set = in_target ? "'/label'" : "'/data'";
        if (options.memory_mb) {
            assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "value.h5", set, "row 7", "value 2",
                              word);
            continue;
        }
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        float x[16], target[16];
        assert_ok(nt_dataset_read(ds, (int64_t[]){8, 0, 6}, 3, x, target)); /* the others are good */
        assert_fails(nt_dataset_read(ds, (int64_t[]){8, 7, 6}, 3, x, target), NT_ERR_DATA, "value.h5", set,
                     "row 7", "value 2", word, "1 of its 4");
        nt_dataset_close(ds);
    }
}

static void fault_50_values_that_are_not_finite(void **state)
{
    (void)state;
    check_value(false, NAN, "nan");
    check_value(false, INFINITY, "inf");
    check_value(false, -INFINITY, "-inf");
    check_value(true, NAN, "nan");
    check_value(true, INFINITY, "inf");
}

/* Subnormals become zero, the smallest normal number stays, and it is said once. */
static void fault_50_subnormals_are_flushed_and_counted(void **state)
{
    (void)state;
    const float data[2][3] = {{FLT_MIN, FLT_MIN / 2, -FLT_TRUE_MIN}, {1, -FLT_MIN, FLT_TRUE_MIN}};
    hid_t file = new_file("tiny.h5");
    put_f32(file, "/data", DIMS(2, 3), data[0]);
    put_int(file, "/label", DIMS(2), zeros);
    end_file(file);
    for (int memory = 0; memory < 2; memory++) {
        nt_data_options options = options_for(in_dir("tiny.h5"));
        options.memory_mb = memory;
        int before = nt_log_warnings();
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        float x[6];
        for (int again = 0; again < 2; again++) {
            assert_ok(nt_dataset_read(ds, (int64_t[]){0, 1}, 2, x, NULL));
            assert_true(x[0] == FLT_MIN && x[1] == 0 && x[2] == 0);
            assert_true(x[3] == 1 && x[4] == -FLT_MIN && x[5] == 0);
        }
        assert_int_equal(nt_log_warnings(), before + 1);
        nt_dataset_close(ds);
    }
}

static void value_too_large_for_float32(void **state)
{
    (void)state;
    double huge[2] = {1, 1e200};
    hid_t file = new_file("huge.h5");
    put_stored(file, "/data", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, DIMS(2, 1), huge, (storage){0});
    put_int(file, "/label", DIMS(2), zeros);
    end_file(file);
    nt_data_options options = options_for(in_dir("huge.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "huge.h5", "/data", "row 1", "1e+200");
}

/* --- 51 to 61: what a file can do to its reader, through the dataset --- */

/* A file in which `make` has made the samples, then one in which it has made the labels. */
static void check_hostile(void (*make)(hid_t file, const char *name), nt_status status, const char *word)
{
    static const char *const names[] = {"/train/data", "/train/label"};
    for (int bad = 0; bad < 2; bad++) {
        hid_t file = new_file("hostile.h5");
        assert_true(H5Gclose(H5Gcreate2(file, "/train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)) >= 0);
        put_sound(file, bad == 0 ? NULL : names[0], bad == 1 ? NULL : names[1], 4);
        make(file, names[bad]);
        end_file(file);
        nt_data_options options = options_for(in_dir("hostile.h5"));
        assert_open_fails(&options, NT_SPLIT_TRAIN, status, "hostile.h5", names[bad], word);
    }
}

static void put_created(hid_t file, const char *name, hid_t create, hsize_t rows)
{
    hid_t space = H5Screate_simple(1, &rows, NULL);
    hid_t set = H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    assert_true(set >= 0 && H5Dclose(set) >= 0 && H5Sclose(space) >= 0 && H5Pclose(create) >= 0);
}

static hid_t create_list(void)
{
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    assert_true(create >= 0);
    return create;
}

static void make_immense(hid_t file, const char *name)
{
    hid_t create = create_list();
    hsize_t chunk = 16;
    assert_true(H5Pset_chunk(create, 1, &chunk) >= 0);
    put_created(file, name, create, (hsize_t)1 << 62);
}

static void fault_51_52_shape_bomb(void **state)
{
    (void)state;
    check_hostile(make_immense, NT_ERR_DATA, "2^40");
}

static void make_huge_chunk(hid_t file, const char *name)
{
    hid_t create = create_list();
    hsize_t chunk = (hsize_t)1 << 30, zero = 0;
    assert_true(H5Pset_chunk(create, 1, &chunk) >= 0 && H5Pset_deflate(create, 9) >= 0);
    hid_t space = H5Screate_simple(1, &chunk, NULL);
    hid_t set = H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    assert_true(H5Dwrite_chunk(set, H5P_DEFAULT, 0, &zero, 64, bytes) >= 0);
    assert_true(H5Dclose(set) >= 0 && H5Sclose(space) >= 0 && H5Pclose(create) >= 0);
}

static void fault_53_chunk_of_a_gibibyte(void **state)
{
    (void)state;
    check_hostile(make_huge_chunk, NT_ERR_DATA, "chunks of");
}

static void make_external_link(hid_t file, const char *name)
{
    assert_true(H5Lcreate_external("/etc/other.h5", "/data", file, name, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void fault_54_external_link(void **state)
{
    (void)state;
    check_hostile(make_external_link, NT_ERR_DATA, "external link");
    hid_t file = new_file("hostile.h5"); /* the group itself */
    make_external_link(file, "/train");
    put_sound(file, "/data", "/label", 4);
    end_file(file);
    nt_data_options options = options_for(in_dir("hostile.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "hostile.h5", "/train", "external link");
    options.train = "/train";
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "hostile.h5", "/train", "external link");
}

static void make_loop(hid_t file, const char *name)
{
    assert_true(H5Lcreate_soft(name, file, name, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void make_dangling(hid_t file, const char *name)
{
    assert_true(H5Lcreate_soft("/nowhere", file, name, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void fault_55_soft_links(void **state)
{
    (void)state;
    check_hostile(make_loop, NT_ERR_DATA, "soft links");
    check_hostile(make_dangling, NT_ERR_DATA, "there is no dataset");
    hid_t file = new_file("hostile.h5"); /* a dangling /test is no reason to train without validation */
    put_sound(file, "/train/data", "/train/label", 4);
    make_dangling(file, "/test");
    end_file(file);
    nt_data_options options = options_for(in_dir("hostile.h5"));
    assert_open_fails(&options, NT_SPLIT_VALID, NT_ERR_DATA, "hostile.h5", "/test");
    file = new_file("hostile.h5"); /* a good soft link is fine */
    put_sound(file, "/v1/data", "/v1/label", 4);
    assert_true(H5Lcreate_soft("/v1", file, "/train", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    end_file(file);
    nt_dataset_close(must_open(&options, NT_SPLIT_TRAIN));
}

static void make_external_storage(hid_t file, const char *name)
{
    hid_t create = create_list();
    assert_true(H5Pset_external(create, "/etc/passwd", 0, 4) >= 0);
    put_created(file, name, create, 4);
}

static void fault_56_external_storage(void **state)
{
    (void)state;
    check_hostile(make_external_storage, NT_ERR_DATA, "external storage");
}

static void make_virtual(hid_t file, const char *name)
{
    hsize_t rows = 4;
    hid_t create = create_list(), space = H5Screate_simple(1, &rows, NULL);
    assert_true(H5Pset_virtual(create, space, "/etc/other.h5", "/data", space) >= 0);
    assert_true(H5Sclose(space) >= 0);
    put_created(file, name, create, rows);
}

static void fault_57_virtual_dataset(void **state)
{
    (void)state;
    check_hostile(make_virtual, NT_ERR_DATA, "virtual");
}

static int n_traversed;

static hid_t traverse(const char *name, hid_t group, const void *data, size_t n_bytes, hid_t list)
{
    (void)name, (void)group, (void)data, (void)n_bytes, (void)list;
    n_traversed++;
    return -1;
}

static void make_user_link(hid_t file, const char *name)
{
    H5L_class_t class = {.version = H5L_LINK_CLASS_T_VERS, .id = (H5L_type_t)200, .comment = "ours"};
    class.trav_func = (void *)traverse; /* it has got one more argument in newer versions of HDF5 */
    assert_true(H5Lregister(&class) >= 0);
    assert_true(H5Lcreate_ud(file, name, (H5L_type_t)200, "x", 1, H5P_DEFAULT, H5P_DEFAULT) >= 0);
}

static void fault_58_user_defined_link(void **state)
{
    (void)state;
    check_hostile(make_user_link, NT_ERR_DATA, "user-defined link");
    assert_int_equal(n_traversed, 0);
}

static size_t pass_on(unsigned flags, size_t n, const unsigned values[], size_t n_bytes, size_t *size,
                      void **buffer)
{
    (void)flags, (void)n, (void)values, (void)size, (void)buffer;
    return n_bytes;
}

static void make_filtered(hid_t file, const char *name)
{
    static const H5Z_class2_t class = {H5Z_CLASS_T_VERS, 333, 1, 1, "odd filter", NULL, NULL, pass_on};
    hid_t create = create_list();
    hsize_t rows = 4;
    assert_true(H5Zregister(&class) >= 0);
    assert_true(H5Pset_chunk(create, 1, &rows) >= 0 && H5Pset_filter(create, 333, 0, 0, NULL) >= 0);
    hid_t space = H5Screate_simple(1, &rows, NULL);
    hid_t set = H5Dcreate2(file, name, H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes) >= 0);
    assert_true(H5Dclose(set) >= 0 && H5Sclose(space) >= 0 && H5Pclose(create) >= 0);
    assert_true(H5Zunregister(333) >= 0);
}

/* 60: with a plug-in path set; that nothing is loaded from it is proved in test_h5_hostile.c. */
static void fault_59_60_unknown_filter(void **state)
{
    (void)state;
    assert_int_equal(setenv("HDF5_PLUGIN_PATH", test_dir, 1), 0);
    check_hostile(make_filtered, NT_ERR_DATA, "filter 333");
    assert_int_equal(unsetenv("HDF5_PLUGIN_PATH"), 0);
}

static void make_unwritten(hid_t file, const char *name)
{
    hid_t create = create_list();
    hsize_t chunk = 2;
    assert_true(H5Pset_chunk(create, 1, &chunk) >= 0);
    put_created(file, name, create, 4);
}

static void make_never_written(hid_t file, const char *name)
{
    put_created(file, name, create_list(), 4);
}

static void fault_61_data_that_were_never_written(void **state)
{
    (void)state;
    check_hostile(make_unwritten, NT_ERR_DATA, "ever written");
    check_hostile(make_never_written, NT_ERR_DATA, "never written");
}

/* --- 64 to 67: the file itself --- */

static void fault_64_truncated_while_it_is_read(void **state)
{
    (void)state;
    for (hsize_t chunk_rows = 0; chunk_rows <= 8; chunk_rows += 8) {
        hid_t file = new_file("cut.h5");
        put_int(file, "/label", DIMS(64), zeros);
        put_stored(file, "/data", H5T_STD_U8LE, H5T_NATIVE_UINT8, DIMS(64, 3, 2, 2), bytes,
                   (storage){chunk_rows, false});
        end_file(file);
        nt_data_options options = options_for(in_dir("cut.h5"));
        options.memory_mb = 0;
        nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
        uint8_t x[12];
        assert_ok(nt_dataset_read(ds, (int64_t[]){0}, 1, x, NULL));
        assert_int_equal(truncate(in_dir("cut.h5"), 600), 0);
        assert_fails(nt_dataset_read(ds, (int64_t[]){63}, 1, x, NULL), NT_ERR_DATA, "cut.h5", "/data");
        nt_dataset_close(ds);
    }
}

static void fault_65_odd_paths(void **state)
{
    (void)state;
    static const char *const names[] = {"two words.h5", "new\nline.h5", "\xc3\xa4\xe2\x82\xac.h5",
                                        "-x",           "%s%n.h5",      "a;b`c`$(d).h5"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        hid_t file = new_file(names[i]);
        put_sound(file, "/data", "/label", 4);
        end_file(file);
        nt_data_options options = options_for(in_dir(names[i]));
        nt_dataset_close(must_open(&options, NT_SPLIT_TRAIN));
    }
    nt_data_options options = options_for(in_dir("no\nsuch.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_NO_INPUT, "no\\x0asuch.h5", "No such file");
    char path[4200];
    memset(path, 'a', sizeof path);
    path[4096] = '\0';
    options = options_for(path);
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_NO_INPUT, "name too long");
    options.train = path;
    hid_t file = new_file("short.h5");
    put_sound(file, "/data", "/label", 4);
    end_file(file);
    const char *short_path = in_dir("short.h5");
    options.file = (nt_names){.n = 1, .name = &short_path};
    nt_dataset *ds;
    assert_int_not_equal(nt_dataset_open(&ds, &options, NT_SPLIT_TRAIN, 1), NT_OK);
    options.train = NULL;
    options.data = path;
    assert_int_not_equal(nt_dataset_open(&ds, &options, NT_SPLIT_TRAIN, 1), NT_OK);
}

static void fault_66_not_a_file(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    static const char *const paths[] = {"/tmp", "/dev/zero", "/dev/null"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        nt_data_options options = options_for(paths[i]);
        assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_NO_INPUT, paths[i], "not a regular file");
    }
    nt_data_options options = options_for(in_dir("fifo"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_NO_INPUT, "fifo", "FIFO");
    options = options_for("/proc/self/mem");
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "/proc/self/mem");
    write_whole(in_dir("text.h5"), "no HDF5 at all\n", 15);
    options = options_for(in_dir("text.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "text.h5", "not an HDF5 file");
}

/* That the other ranks stop too is tested with mpirun; here: what the rank says. */
static void fault_67_permission_denied(void **state)
{
    (void)state;
    hid_t file = new_file("secret.h5");
    put_sound(file, "/data", "/label", 4);
    end_file(file);
    nt_data_options options = options_for(in_dir("secret.h5"));
    assert_int_equal(chmod(in_dir("secret.h5"), 0), 0);
    bool root = geteuid() == 0;
    if (root) assert_int_equal(seteuid(65534), 0);
    nt_dataset *ds = NULL;
    nt_status status = nt_dataset_open(&ds, &options, NT_SPLIT_TRAIN, 1);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_fails(status, NT_ERR_NO_INPUT, "secret.h5", "Permission denied");
    assert_null(ds);
}

/* --- 70: attributes --- */

static void check_attribute(const char *name, hid_t type, hsize_t n, const void *value, const char *word)
{
    hid_t file = new_file("attr.h5");
    put_sound(file, "/train/data", "/train/label", 4);
    put_attribute(file, "/train", name, type, n, value);
    end_file(file);
    nt_data_options options = options_for(in_dir("attr.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "attr.h5", name, word);
}

static void fault_70_attribute_bombs(void **state)
{
    (void)state;
    static const double many[4096] = {1, 1, 1, 1}, zero[] = {0}, bad[] = {NAN}, tiny[] = {1e-310};
    static const int64_t none = 0, minus = -5, immense = (int64_t)1 << 40;
    check_attribute("mean", H5T_NATIVE_DOUBLE, 2, many, "2 values for 3 channels");
    check_attribute("std", H5T_NATIVE_DOUBLE, 4, many, "4 values for 3 channels");
    check_attribute("mean", H5T_NATIVE_DOUBLE, 4096, many, "4096");
    check_attribute("mean", H5T_NATIVE_DOUBLE, 1, bad, "nan");
    check_attribute("std", H5T_NATIVE_DOUBLE, 1, zero, "above 0");
    check_attribute("std", H5T_NATIVE_DOUBLE, 1, tiny, "above 0");
    check_attribute("scale", H5T_NATIVE_DOUBLE, 1, zero, "above 0");
    check_attribute("scale", H5T_NATIVE_DOUBLE, 2, many, "one number");
    check_attribute("classes", H5T_NATIVE_INT64, 1, &none, "is 0");
    check_attribute("classes", H5T_NATIVE_INT64, 1, &minus, "is -5");
    check_attribute("classes", H5T_NATIVE_INT64, 1, &immense, "1099511627776");
    check_attribute("layout", H5T_NATIVE_INT64, 1, &none, "not text");
    hid_t file = new_file("attr.h5");
    put_sound(file, "/train/data", "/train/label", 4);
    put_text(file, "/train", "layout", "CHWN\n\x1b[31m");
    end_file(file);
    nt_data_options options = options_for(in_dir("attr.h5"));
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "attr.h5", "layout", "CHWN\\x0a\\x1b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_42_named_object_is_absent),
        cmocka_unit_test(fault_42_nothing_that_looks_like_samples),
        cmocka_unit_test(fault_43_group_and_set_exchanged),
        cmocka_unit_test(fault_44_wrong_rank),
        cmocka_unit_test(fault_45_types_that_are_no_numbers),
        cmocka_unit_test(fault_46_rows_of_data_and_label_differ),
        cmocka_unit_test(files_that_do_not_agree_are_both_named),
        cmocka_unit_test(fault_47_zero_samples),
        cmocka_unit_test(fault_48_one_sample_for_eight_ranks),
        cmocka_unit_test(fault_49_labels_out_of_range),
        cmocka_unit_test(fault_49_rows_that_are_not_one_hot),
        cmocka_unit_test(fault_50_values_that_are_not_finite),
        cmocka_unit_test(fault_50_subnormals_are_flushed_and_counted),
        cmocka_unit_test(value_too_large_for_float32),
        cmocka_unit_test(fault_51_52_shape_bomb),
        cmocka_unit_test(fault_53_chunk_of_a_gibibyte),
        cmocka_unit_test(fault_54_external_link),
        cmocka_unit_test(fault_55_soft_links),
        cmocka_unit_test(fault_56_external_storage),
        cmocka_unit_test(fault_57_virtual_dataset),
        cmocka_unit_test(fault_58_user_defined_link),
        cmocka_unit_test(fault_59_60_unknown_filter),
        cmocka_unit_test(fault_61_data_that_were_never_written),
        cmocka_unit_test(fault_64_truncated_while_it_is_read),
        cmocka_unit_test(fault_65_odd_paths),
        cmocka_unit_test(fault_66_not_a_file),
        cmocka_unit_test(fault_67_permission_denied),
        cmocka_unit_test(fault_70_attribute_bombs),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
