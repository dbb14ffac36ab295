/* core/h5 on sound files: what HDF5 itself writes is read, and what we write HDF5 itself reads.
 *
 * The oracle is the library's own H5Dwrite and H5Dread, and for conversions plain C casts on values that are
 * chosen to fit. */
#include "h5_helpers.h"

#include "core/h5.h"

#include <hdf5.h>

#include <float.h>
#include <math.h>

#define CAP ((size_t)64 << 20)

/* A dataset made by HDF5 itself. */
typedef struct recipe {
    hid_t file_type, memory_type;
    int n_dims;
    hsize_t dim[NT_MAX_DIMS], chunk[NT_MAX_DIMS]; /* chunk[0] 0: not chunked */
    bool compact, shuffle, deflate, fletcher32, checksum_first;
    const void *data;
} recipe;

static void cook(const char *path, const char *name, const recipe *r)
{
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    hid_t space = H5Screate_simple(r->n_dims, r->dim, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
    if (r->compact) assert_true(H5Pset_layout(create, H5D_COMPACT) >= 0);
    if (r->chunk[0]) assert_true(H5Pset_chunk(create, r->n_dims, r->chunk) >= 0);
    if (r->checksum_first) assert_true(H5Pset_fletcher32(create) >= 0);
    if (r->shuffle) assert_true(H5Pset_shuffle(create) >= 0);
    if (r->deflate) assert_true(H5Pset_deflate(create, 4) >= 0);
    if (r->fletcher32) assert_true(H5Pset_fletcher32(create) >= 0);
    hid_t set = H5Dcreate2(file, name, r->file_type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dwrite(set, r->memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, r->data) >= 0);
    assert_true(H5Dclose(set) >= 0 && H5Pclose(create) >= 0 && H5Sclose(space) >= 0 && H5Fclose(file) >= 0);
}

static nt_h5_set *open_set(nt_h5 **file, const char *path, const char *name)
{
    nt_h5_set *set = NULL;
    assert_ok(nt_h5_open(file, path));
    assert_ok(nt_h5_set_open(&set, *file, name, CAP));
    return set;
}

/* --- storage --- */

#define ROWS  13
#define ROW_N (2 * 5 * 7)

static void fill(int32_t *data)
{
    for (int i = 0; i < ROWS * ROW_N; i++)
        data[i] = (int32_t)((uint32_t)i * 2654435761u >> 8);
}

/* Reads all, each row by itself, and rows in jumps; all must agree with what was written. */
static void check_reads(nt_h5_set *set, const int32_t *data)
{
    static int32_t got[ROWS * ROW_N];
    assert_ok(nt_h5_set_read(set, 0, ROWS, NT_I32, got));
    assert_memory_equal(got, data, sizeof got);
    for (int row = ROWS - 1; row >= 0; row--) {
        assert_ok(nt_h5_set_read(set, row, 1, NT_I32, got));
        assert_memory_equal(got, data + row * ROW_N, ROW_N * sizeof *got);
    }
    const int64_t rows[] = {0, 1, 2, 5, 7, 8, 11, 12};
    assert_ok(nt_h5_set_read_rows(set, rows, 8, NT_I32, got));
    for (int i = 0; i < 8; i++)
        assert_memory_equal(got + i * ROW_N, data + rows[i] * ROW_N, ROW_N * sizeof *got);
    assert_ok(nt_h5_set_read(set, 3, 0, NT_I32, got));
}

static void every_kind_of_storage_reads_back(void **state)
{
    (void)state;
    static int32_t data[ROWS * ROW_N];
    fill(data);
    const recipe base = {.n_dims = 4, .dim = {ROWS, 2, 5, 7}, .memory_type = H5T_NATIVE_INT32, .data = data};
    const hsize_t chunks[][4] = {{0},          {1, 2, 5, 7}, {4, 2, 5, 7}, {13, 2, 5, 7},
                                 {4, 1, 5, 7}, {5, 2, 2, 3}, {3, 1, 5, 4}};
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++)
        for (int filters = 0; filters < (chunks[c][0] ? 16 : 1); filters++)
            for (int big = 0; big < 2; big++) {
                recipe r = base;
                memcpy(r.chunk, chunks[c], sizeof chunks[c]);
                r.file_type = big ? H5T_STD_I32BE : H5T_STD_I32LE;
                r.shuffle = filters & 1, r.deflate = filters & 2, r.fletcher32 = filters & 4;
                r.checksum_first = (filters & 8) && !r.fletcher32;
                cook(in_dir("storage.h5"), "a", &r);
                nt_h5 *file;
                nt_h5_set *set = open_set(&file, in_dir("storage.h5"), "/a");
                const nt_h5_info *info = nt_h5_set_info(set);
                assert_true(info->chunked == (chunks[c][0] != 0) && info->native_order == !big);
                assert_true(info->fletcher32 == (r.fletcher32 || r.checksum_first));
                assert_true(info->type_class == NT_H5_INT && info->type_bytes == 4);
                check_reads(set, data);
                nt_h5_set_close(set);
                nt_h5_close(file);
            }
}

static void a_compact_set_reads_back(void **state)
{
    (void)state;
    static int32_t data[ROWS * ROW_N];
    fill(data);
    recipe r = {.n_dims = 2, .dim = {ROWS, ROW_N}, .compact = true, .data = data};
    r.file_type = r.memory_type = H5T_NATIVE_INT32;
    cook(in_dir("compact.h5"), "a", &r);
    nt_h5 *file;
    nt_h5_set *set = open_set(&file, in_dir("compact.h5"), "a");
    check_reads(set, data);
    nt_h5_set_close(set);
    nt_h5_close(file);
}

/* The offset that we give out is where the bytes lie, also behind a user block. */
static void file_offset_is_where_the_bytes_lie(void **state)
{
    (void)state;
    const int32_t data[6] = {1, -2, 3, -4, 5, -6};
    const char *path = in_dir("userblock.h5");
    hid_t create = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_userblock(create, 1024);
    hid_t id = H5Fcreate(path, H5F_ACC_TRUNC, create, H5P_DEFAULT);
    hid_t space = H5Screate_simple(1, (hsize_t[]){6}, NULL);
    hid_t a = H5Dcreate2(id, "a", H5T_STD_I32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(a, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(a), H5Sclose(space), H5Fclose(id), H5Pclose(create);
    nt_h5 *file;
    nt_h5_set *set = open_set(&file, path, "a");
    int32_t got[6] = {0};
    int64_t offset = nt_h5_set_info(set)->file_offset;
    assert_true(offset >= 1024);
    assert_int_equal(pread(nt_h5_descriptor(file), got, sizeof got, offset), sizeof got);
    assert_memory_equal(got, data, sizeof data);
    memset(got, 0, sizeof got);
    assert_ok(nt_h5_set_read(set, 0, 6, NT_I32, got));
    assert_memory_equal(got, data, sizeof data);
    nt_h5_set_close(set);
    nt_h5_close(file);
}

/* --- conversion --- */

/* Every stored kind in both byte orders to every wanted kind, on values that all kinds can hold. */
static void every_conversion_gives_the_value(void **state)
{
    (void)state;
    const hid_t types[] = {H5T_STD_I8LE,   H5T_STD_U8LE,   H5T_STD_I16LE, H5T_STD_I16BE, H5T_STD_U16LE,
                           H5T_STD_U16BE,  H5T_STD_I32LE,  H5T_STD_I32BE, H5T_STD_U32LE, H5T_STD_U32BE,
                           H5T_STD_I64LE,  H5T_STD_I64BE,  H5T_STD_U64LE, H5T_STD_U64BE, H5T_IEEE_F32LE,
                           H5T_IEEE_F32BE, H5T_IEEE_F64LE, H5T_IEEE_F64BE};
    enum { N = 3000 }; /* more than two blocks of the converter */
    static double data[N], got[N];
    for (int i = 0; i < N; i++)
        data[i] = i * 37 % 128;
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        recipe r = {.file_type = types[t],
                    .memory_type = H5T_NATIVE_DOUBLE,
                    .n_dims = 2,
                    .dim = {N / 3, 3},
                    .data = data};
        cook(in_dir("types.h5"), "a", &r);
        nt_h5 *file;
        nt_h5_set *set = open_set(&file, in_dir("types.h5"), "a");
        for (nt_dtype to = 0; to < NT_BF16; to++) {
            assert_ok(nt_h5_set_read(set, 0, N / 3, to, got));
            for (int i = 0; i < N; i++) {
                double value = to == NT_F32   ? ((float *)got)[i]
                               : to == NT_F64 ? got[i]
                               : to == NT_U8  ? ((uint8_t *)got)[i]
                               : to == NT_I32 ? ((int32_t *)got)[i]
                                              : (double)((int64_t *)got)[i];
                if (value != data[i])
                    fail_msg("type %zu to %s: %g is not %g", t, nt_dtype_name(to), value, data[i]);
            }
        }
        nt_h5_set_close(set);
        nt_h5_close(file);
    }
}

/* Float32 keeps its bits (NaN payloads, signed zero, denormals) in both byte orders. */
static void float32_keeps_its_bits(void **state)
{
    (void)state;
    const uint32_t bits[6] = {0x7fc12345, 0x80000000, 0x00000001, 0xff800000, 0x7f7fffff, 0xffc00001};
    for (int big = 0; big < 2; big++) {
        recipe r = {.n_dims = 1, .dim = {6}, .data = bits};
        r.file_type = big ? H5T_IEEE_F32BE : H5T_IEEE_F32LE;
        r.memory_type = H5T_NATIVE_FLOAT;
        cook(in_dir("bits.h5"), "a", &r);
        nt_h5 *file;
        nt_h5_set *set = open_set(&file, in_dir("bits.h5"), "a");
        uint32_t got[6];
        assert_ok(nt_h5_set_read(set, 0, 6, NT_F32, got));
        assert_memory_equal(got, bits, sizeof bits);
        nt_h5_set_close(set);
        nt_h5_close(file);
    }
}

/* The first and the last value of each wanted type, from integers and, where a double has them, from floats.
 */
static void ends_of_ranges_are_values(void **state)
{
    (void)state;
    const int64_t whole[] = {0, UINT8_MAX, INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX};
    const double real[] = {0, UINT8_MAX, INT32_MIN, INT32_MAX, -0x1p63, 0x1.fffffffffffffp62};
    for (int floats = 0; floats < 2; floats++) {
        recipe r = {.n_dims = 1, .dim = {6}, .data = floats ? (const void *)real : whole};
        r.file_type = floats ? H5T_IEEE_F64LE : H5T_STD_I64BE;
        r.memory_type = floats ? H5T_NATIVE_DOUBLE : H5T_NATIVE_INT64;
        cook(in_dir("ends.h5"), "a", &r);
        nt_h5 *file;
        nt_h5_set *set = open_set(&file, in_dir("ends.h5"), "a");
        uint8_t bytes[2];
        int32_t ints[4];
        int64_t longs[6];
        assert_ok(nt_h5_set_read(set, 0, 2, NT_U8, bytes));
        assert_memory_equal(bytes, ((uint8_t[]){0, UINT8_MAX}), 2);
        assert_ok(nt_h5_set_read(set, 0, 4, NT_I32, ints));
        assert_memory_equal(ints, ((int32_t[]){0, UINT8_MAX, INT32_MIN, INT32_MAX}), 16);
        assert_ok(nt_h5_set_read(set, 0, 6, NT_I64, longs));
        assert_memory_equal(longs, whole, 40);
        assert_true(longs[5] == (floats ? (int64_t)0x1.fffffffffffffp62 : INT64_MAX));
        nt_h5_set_close(set);
        nt_h5_close(file);
    }
}

static void check_refused(hid_t type, const void *data, nt_dtype to, const char *word)
{
    recipe r = {.file_type = type, .memory_type = type, .n_dims = 2, .dim = {3, 2}, .data = data};
    cook(in_dir("range.h5"), "a", &r);
    nt_h5 *file;
    nt_h5_set *set = open_set(&file, in_dir("range.h5"), "a");
    double got[6];
    assert_fails(nt_h5_set_read(set, 0, 3, to, got), NT_ERR_DATA, "range.h5", "'a'", "row 2", word);
    assert_fails(nt_h5_set_read(set, 1, 2, to, got), NT_ERR_DATA, "row 2", word);
    assert_ok(nt_h5_set_read(set, 0, 2, to, got));
    nt_h5_set_close(set);
    nt_h5_close(file);
}

/* Values without a place in the wanted type are errors that name the row (fault 49: labels as floats or NaN).
 */
static void fault_49_values_that_do_not_fit_name_their_row(void **state)
{
    (void)state;
    check_refused(H5T_NATIVE_INT64, (int64_t[]){0, 1, 2, -5, 1LL << 31, 4}, NT_I32, "2147483648");
    check_refused(H5T_NATIVE_INT64, (int64_t[]){0, 1, 2, 3, INT64_MIN, 4}, NT_I32, "int32");
    check_refused(H5T_NATIVE_UINT64, (uint64_t[]){0, 1, 2, 3, 4, UINT64_MAX}, NT_I64, "63 bits");
    check_refused(H5T_NATIVE_INT16, (int16_t[]){0, 1, 2, 3, 256, 5}, NT_U8, "256");
    check_refused(H5T_NATIVE_INT16, (int16_t[]){0, 1, 2, 3, -1, 5}, NT_U8, "-1");
    check_refused(H5T_NATIVE_FLOAT, (float[]){0, 1, -2, 3, 1.5f, 5}, NT_I32, "1.5");
    check_refused(H5T_NATIVE_FLOAT, (float[]){0, 1, -2, 3, NAN, 5}, NT_I32, "nan");
    check_refused(H5T_NATIVE_DOUBLE, (double[]){0, 1, 2, 3, INFINITY, 5}, NT_I64, "inf");
    check_refused(H5T_NATIVE_DOUBLE, (double[]){0, 1, 2, 3, 0x1p63, 5}, NT_I64, "9.2233");
    check_refused(H5T_NATIVE_DOUBLE, (double[]){0, 1, 2, 3, 2 * (double)FLT_MAX, 5}, NT_F32, "float32");
}

/* --- writing --- */

static void what_we_write_hdf5_reads(void **state)
{
    (void)state;
    static float data[11 * 6], got[11 * 6];
    for (int i = 0; i < 66; i++)
        data[i] = (float)i * 0.25f - 3;
    for (int deflate = 0; deflate < 3; deflate++) {
        const char *path = in_dir("ours.h5");
        unlink(path);
        nt_h5 *file;
        nt_h5_set *set;
        assert_ok(nt_h5_create(&file, path));
        assert_ok(nt_h5_set_create(&set, file, "deep/er/a", NT_F32, nt_shape_of(3, 11, 2, 3), 4, deflate));
        assert_ok(nt_h5_set_write(set, 0, 5, data)); /* not along the chunks */
        assert_ok(nt_h5_set_write(set, 5, 6, data + 5 * 6));
        nt_h5_set_close(set);
        assert_ok(nt_h5_finish(file));
        hid_t id = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), a = H5Dopen2(id, "/deep/er/a", H5P_DEFAULT);
        assert_true(H5Dread(a, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, got) >= 0);
        assert_memory_equal(got, data, sizeof data);
        hid_t create = H5Dget_create_plist(a);
        assert_int_equal(H5Pget_nfilters(create), deflate ? 3 : 1);
        H5Pclose(create), H5Dclose(a), H5Fclose(id);
        memset(got, 0, sizeof got);
        set = open_set(&file, path, "deep/er/a");
        assert_ok(nt_h5_set_read(set, 0, 11, NT_F32, got));
        assert_memory_equal(got, data, sizeof data);
        nt_h5_set_close(set);
        nt_h5_close(file);
    }
}

static void write_sample(const char *path)
{
    nt_h5 *file;
    nt_h5_set *set;
    const int32_t label[4] = {3, 1, 2, 0};
    assert_ok(nt_h5_create(&file, path));
    assert_ok(nt_h5_make_group(file, "/train/sub"));
    assert_ok(nt_h5_make_group(file, "/train/sub")); /* again: fine */
    assert_ok(nt_h5_set_create(&set, file, "/train/label", NT_I32, nt_shape_of(1, (int64_t)4), 4, 0));
    assert_ok(nt_h5_set_write(set, 0, 4, label));
    nt_h5_set_close(set);
    assert_ok(nt_h5_put_string(file, "/train", "layout", "NCHW"));
    assert_ok(nt_h5_put_string(file, "/train", "empty", ""));
    assert_ok(
        nt_h5_put_strings(file, "/", "class_names", (const char *const[]){"zero", "one", "zw\xc3\xb6lf"}, 3));
    assert_ok(nt_h5_put_floats(file, "/train", "mean", (double[]){0.5, -INFINITY, 1e-300}, 3));
    assert_ok(nt_h5_put_int(file, "train/label", "classes", -7000000000LL));
    assert_ok(nt_h5_finish(file));
}

/* Same content, same bytes: shipped data sets can be made again and compared. */
static void files_are_a_function_of_their_content(void **state)
{
    (void)state;
    write_sample(in_dir("one.h5"));
    sleep(1); /* time stamps in HDF5 count seconds */
    write_sample(in_dir("two.h5"));
    size_t n_one, n_two;
    unsigned char *one = read_whole(in_dir("one.h5"), &n_one), *two = read_whole(in_dir("two.h5"), &n_two);
    assert_int_equal(n_one, n_two);
    assert_memory_equal(one, two, n_one);
    free(one), free(two);
}

static void attributes_come_back(void **state)
{
    (void)state;
    nt_h5 *file;
    char text[16], **names;
    double mean[4];
    int64_t value;
    int n;
    bool found;
    write_sample(in_dir("attributes.h5"));
    assert_ok(nt_h5_open(&file, in_dir("attributes.h5")));
    assert_ok(nt_h5_attr_string(file, "/train", "layout", text, sizeof text, &found));
    assert_true(found);
    assert_string_equal(text, "NCHW");
    assert_ok(nt_h5_attr_string(file, "train", "layout", text, 3, &found)); /* cut */
    assert_string_equal(text, "NC");
    assert_ok(nt_h5_attr_string(file, "/train", "empty", text, sizeof text, &found));
    assert_true(found && !text[0]);
    assert_ok(nt_h5_attr_string(file, "/train", "nothing", text, sizeof text, &found));
    assert_false(found);
    assert_ok(nt_h5_attr_string(file, "/nowhere", "nothing", text, sizeof text, &found));
    assert_false(found);
    assert_ok(nt_h5_attr_floats(file, "/train", "mean", mean, 4, &n, &found));
    assert_true(found && n == 3 && mean[0] == 0.5 && mean[1] == -INFINITY && mean[2] == 1e-300);
    assert_ok(nt_h5_attr_int(file, "/train/label", "classes", &value, &found));
    assert_true(found && value == -7000000000LL);
    assert_ok(nt_h5_attr_strings(file, "/", "class_names", &names, 3, &n, &found));
    assert_true(found && n == 3);
    assert_string_equal(names[1], "one");
    assert_string_equal(names[2], "zw\xc3\xb6lf");
    nt_h5_free_list(names, n);
    nt_h5_close(file);
}

/* h5py writes texts with variable length. */
static void variable_length_texts_are_read(void **state)
{
    (void)state;
    const char *path = in_dir("variable.h5"), *words[2] = {"cat", "a longer dog"};
    hid_t id = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    hid_t one = H5Screate(H5S_SCALAR), two = H5Screate_simple(1, (hsize_t[]){2}, NULL);
    hid_t a = H5Acreate2(id, "source", type, one, H5P_DEFAULT, H5P_DEFAULT);
    hid_t b = H5Acreate2(id, "names", type, two, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Awrite(a, type, words) >= 0 && H5Awrite(b, type, words) >= 0);
    H5Aclose(a), H5Aclose(b), H5Sclose(one), H5Sclose(two), H5Tclose(type), H5Fclose(id);
    nt_h5 *file;
    char text[16], **names, *whole;
    int n;
    bool found;
    assert_ok(nt_h5_open(&file, path));
    assert_ok(nt_h5_attr_string(file, "/", "source", text, sizeof text, &found));
    assert_string_equal(text, "cat");
    assert_ok(nt_h5_attr_strings(file, "/", "names", &names, 8, &n, &found));
    assert_true(n == 2);
    assert_string_equal(names[1], "a longer dog");
    nt_h5_free_list(names, n);
    assert_ok(nt_h5_attr_text(file, "/", "source", 100, &whole, &found));
    assert_string_equal(whole, "cat");
    free(whole);
    assert_fails(nt_h5_attr_text(file, "/", "source", 3, &whole, &found), NT_ERR_DATA, "source",
                 "longer than 3");
    nt_h5_close(file);
}

static void names_are_found_and_listed(void **state)
{
    (void)state;
    nt_h5 *file;
    char **names;
    int n;
    write_sample(in_dir("names.h5"));
    assert_ok(nt_h5_open(&file, in_dir("names.h5")));
    assert_true(nt_h5_has_set(file, "/train/label") && nt_h5_has_set(file, "train//./label"));
    assert_false(nt_h5_has_set(file, "/train"));
    assert_false(nt_h5_has_set(file, "/train/label/x"));
    assert_true(nt_h5_has_group(file, "/") && nt_h5_has_group(file, "/train/sub/"));
    assert_false(nt_h5_has_group(file, "/train/label"));
    assert_ok(nt_h5_list(file, "/train", 10, &names, &n));
    assert_int_equal(n, 2);
    assert_true(strcmp(names[0], "label") == 0 || strcmp(names[1], "label") == 0);
    nt_h5_free_list(names, n);
    assert_fails(nt_h5_list(file, "/train", 1, &names, &n), NT_ERR_DATA, "at most 1 are");
    assert_fails(nt_h5_list(file, "/nothing", 1, &names, &n), NT_ERR_DATA, "no group '/nothing'");
    nt_h5_close(file);
}

static void creating_never_overwrites(void **state)
{
    (void)state;
    nt_h5 *file;
    write_whole(in_dir("mine.txt"), "mine", 4);
    assert_fails(nt_h5_create(&file, in_dir("mine.txt")), NT_ERR_CREATE, "mine.txt", "exists");
    assert_int_equal(symlink("target.h5", in_dir("link.h5")), 0);
    assert_fails(nt_h5_create(&file, in_dir("link.h5")), NT_ERR_CREATE, "link.h5");
    assert_true(access(in_dir("target.h5"), F_OK) != 0);
    assert_fails(nt_h5_create(&file, in_dir("no/such/a.h5")), NT_ERR_CREATE, "a.h5");
}

/* Wrong calls of ours are bugs, not data errors. */
static void rows_out_of_range_are_our_bug(void **state)
{
    (void)state;
    nt_h5 *file;
    int32_t got[8];
    write_sample(in_dir("bug.h5"));
    nt_h5_set *set = open_set(&file, in_dir("bug.h5"), "/train/label");
    assert_fails(nt_h5_set_read(set, 3, 2, NT_I32, got), NT_ERR_BUG, "label");
    assert_fails(nt_h5_set_read(set, -1, 1, NT_I32, got), NT_ERR_BUG, "label");
    assert_fails(nt_h5_set_read_rows(set, (int64_t[]){1, 1}, 2, NT_I32, got), NT_ERR_BUG, "label");
    assert_fails(nt_h5_set_read_rows(set, (int64_t[]){4}, 1, NT_I32, got), NT_ERR_BUG, "label");
    nt_h5_set_close(set);
    nt_h5_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_storage_reads_back),
        cmocka_unit_test(a_compact_set_reads_back),
        cmocka_unit_test(file_offset_is_where_the_bytes_lie),
        cmocka_unit_test(every_conversion_gives_the_value),
        cmocka_unit_test(float32_keeps_its_bits),
        cmocka_unit_test(ends_of_ranges_are_values),
        cmocka_unit_test(fault_49_values_that_do_not_fit_name_their_row),
        cmocka_unit_test(what_we_write_hdf5_reads),
        cmocka_unit_test(files_are_a_function_of_their_content),
        cmocka_unit_test(attributes_come_back),
        cmocka_unit_test(variable_length_texts_are_read),
        cmocka_unit_test(names_are_found_and_listed),
        cmocka_unit_test(creating_never_overwrites),
        cmocka_unit_test(rows_out_of_range_are_our_bug),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
