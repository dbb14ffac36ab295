/* .npy files, CIFAR-100 and texts.
 *
 * The oracle for .npy is NumPy itself (tests/reference/arrays.h5): files of every kind and what they hold.
 * Damage is made from them. Texts and records are made here, and what must come out is counted by hand. */
#include "h5_helpers.h"
#include "reference.h"

#include "datasets/import.h"
#include "datasets/npy.h"
#include "datasets/vocabulary.h"

#include <unistd.h>

typedef struct bytes {
    size_t n;
    uint8_t data[1 << 13];
} bytes;

static bytes file_of(const char *name)
{
    bytes b;
    char path[128];
    nt_h5_set *set;
    nt_h5 *file = reference_open("arrays");
    snprintf(path, sizeof path, "%s/file", name);
    assert_ok(nt_h5_set_open(&set, file, path, 1 << 20));
    b.n = (size_t)nt_h5_set_info(set)->shape.dim[0];
    assert_in_range(b.n, 1, sizeof b.data);
    assert_ok(nt_h5_set_read(set, 0, (int64_t)b.n, NT_U8, b.data));
    nt_h5_set_close(set);
    nt_h5_close(file);
    return b;
}

static int64_t values_of(const char *name, double *values, nt_shape *shape)
{
    char path[128];
    nt_h5_set *set;
    nt_h5 *file = reference_open("arrays");
    snprintf(path, sizeof path, "%s/values", name);
    assert_ok(nt_h5_set_open(&set, file, path, 1 << 20));
    *shape = nt_h5_set_info(set)->shape;
    assert_ok(nt_h5_set_read(set, 0, shape->dim[0], NT_F64, values));
    nt_h5_set_close(set);
    nt_h5_close(file);
    return nt_shape_elems(*shape);
}

static void put(const char *name, const void *data, size_t n)
{
    write_whole(in_dir(name), data, n);
}

static const char *const names[] = {
    "b1",     "u1",   "i1",        "u2",        "u2_big",  "i2",           "i2_big", "i4",     "i4_big",
    "u4",     "i8",   "i8_big",    "u8",        "f2",      "f2_big",       "f4",     "f4_big", "f8",
    "f8_big", "half", "version_2", "version_3", "fortran", "fortran_rows", "vector"};
enum { NAMES = sizeof names / sizeof names[0] };

/* In one go, and value by value. */
static void every_kind_equals_numpy(void **state)
{
    (void)state;
    for (int i = 0; i < NAMES; i++)
        for (int64_t step = 1; step <= 1000; step += 999) {
            double want[128], got[128];
            nt_shape shape;
            nt_npy npy;
            bytes b = file_of(names[i]);
            int64_t n = values_of(names[i], want, &shape);
            put("x.npy", b.data, b.n);
            assert_ok(nt_npy_open(&npy, in_dir("x.npy")));
            assert_true(nt_shape_equal(npy.shape, shape));
            for (int64_t at = 0, count; at < n; at += count) {
                count = n - at < step ? n - at : step;
                assert_ok(nt_npy_read(&npy, got + at, count));
            }
            assert_ok(nt_npy_expect_end(&npy));
            nt_npy_close(&npy);
            for (int64_t k = 0; k < n; k++)
                if (got[k] != want[k])
                    fail_msg("%s: value %lld is %.17g, not %.17g", names[i], (long long)k, got[k], want[k]);
        }
}

/* Reads all that a file declares; any error but a damaged file is a failure of the test. */
static nt_status read_all(const char *name)
{
    nt_npy npy;
    double value[128];
    nt_status status = nt_npy_open(&npy, in_dir(name));
    int64_t n = status == NT_OK ? nt_shape_elems(npy.shape) : 0;
    for (int64_t at = 0; at < n && status == NT_OK; at += 100)
        status = nt_npy_read(&npy, value, n - at < 100 ? n - at : 100);
    if (status == NT_OK) status = nt_npy_expect_end(&npy);
    nt_npy_close(&npy);
    return status;
}

static void a_cut_or_turned_file_is_an_error(void **state)
{
    (void)state;
    static const char *const some[] = {"i2", "fortran", "version_3"};
    for (int i = 0; i < 3; i++) {
        bytes b = file_of(some[i]);
        for (size_t n = 0; n < b.n; n += n < 130 ? 1 : 17) {
            put("cut.npy", b.data, n);
            assert_int_equal(read_all("cut.npy"), NT_ERR_DATA);
        }
        for (size_t at = 0; at < 128; at++) { /* the header */
            b.data[at] ^= (uint8_t)(1 << at % 7);
            put("bit.npy", b.data, b.n);
            nt_status status = read_all("bit.npy");
            assert_true(status == NT_OK || status == NT_ERR_DATA);
            b.data[at] ^= (uint8_t)(1 << at % 7);
        }
        b.data[b.n++] = 0;
        put("long.npy", b.data, b.n);
        if (strcmp(some[i], "fortran") != 0) assert_int_equal(read_all("long.npy"), NT_ERR_DATA);
    }
}

static nt_status read_header(const char *header)
{
    char file[512];
    size_t n = strlen(header);
    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (char)n;
    file[9] = (char)(n >> 8);
    memcpy(file + 10, header, n);
    memset(file + 10 + n, 0, 64);
    put("head.npy", file, 10 + n + 64);
    nt_npy npy;
    nt_status status = nt_npy_open(&npy, in_dir("head.npy"));
    nt_npy_close(&npy);
    return status;
}

static void headers(void **state)
{
    (void)state;
    assert_ok(read_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n"));
    assert_ok(read_header("{\"shape\":(2L,),'descr':'|u1','fortran_order':True}"));
    static const struct {
        const char *header, *words;
    } bad[] = {
        {"", "no dictionary"},
        {"{'descr': '<f4', 'fortran_order': False}", "something is missing"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}", "unknown or repeated"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "repeated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + evil()", "too much"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", "True or False"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "structures"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", "'|O'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (2,)}", "'<c8'"},
        {"{'descr': '<f16', 'fortran_order': False, 'shape': (2,)}", "'<f16'"},
        {"{'descr': '<U5', 'fortran_order': False, 'shape': (2,)}", "'<U5'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", "single number"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3)}", "head.npy"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "bad shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)}", "bad shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "2^63"},
        {"{'descr': '<f8', 'fortran_order': True, 'shape': (4294967296, 4294967296)}", "head.npy"},
        {"{'descr': '<f8', 'fortran_order': True, 'shape': (4294967296, 67108864)}", "head.npy"},
        {"{'descr': '<f8', 'fortran_order': True, 'shape': (1048576, 1048576)}", "ends after 64 of the"},
        {"{'descr': '<f4", "without end"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_fails(read_header(bad[i].header), NT_ERR_DATA, bad[i].words);
    put("v.npy", "\x93NUMPY\4\0\0\0\0\0", 12);
    assert_int_equal(read_all("v.npy"), NT_ERR_DATA);
    assert_non_null(strstr(nt_error_last()->message, "4.0"));
    put("v.npy", "\x93NUMPY\2\0\xff\xff\xff\xff", 12);
    assert_int_equal(read_all("v.npy"), NT_ERR_DATA);
    assert_non_null(strstr(nt_error_last()->message, "4294967295"));
}

/* --- as a dataset --- */

static const char *the_inputs[4];
static nt_import_args args_for(int n, ...)
{
    va_list list;
    static char paths[5][4200];
    va_start(list, n);
    for (int i = 0; i < n; i++) {
        snprintf(paths[i], sizeof paths[i], "%s", in_dir(va_arg(list, const char *)));
        the_inputs[i] = paths[i];
    }
    va_end(list);
    snprintf(paths[4], sizeof paths[4], "%s", in_dir("out.h5"));
    unlink(paths[4]);
    return (nt_import_args){.inputs = the_inputs, .n_inputs = n, .out = paths[4], .test_fraction = -1};
}

static nt_status import(const char *name, const nt_import_args *args)
{
    return nt_importer_find(name)->run(args);
}

#define EXPECT_FAILURE(name, args, status, ...)                                                              \
    do {                                                                                                     \
        assert_fails(import(name, args), status, __VA_ARGS__);                                               \
        assert_int_not_equal(access((args)->out, F_OK), 0);                                                  \
    } while (0)

static nt_shape read_back(const char *name, nt_dtype dtype, void *dst)
{
    nt_h5 *file;
    nt_h5_set *set;
    assert_ok(nt_h5_open(&file, in_dir("out.h5")));
    assert_ok(nt_h5_set_open(&set, file, name, 1 << 24));
    nt_shape shape = nt_h5_set_info(set)->shape;
    assert_ok(nt_h5_set_read(set, 0, shape.dim[0], dtype, dst));
    nt_h5_set_close(set);
    nt_h5_close(file);
    return shape;
}

static void put_case(const char *path, const char *name)
{
    bytes b = file_of(name);
    put(path, b.data, b.n);
}

/* A vector of n little-endian int64 or float64. */
static void put_vector(const char *name, char kind, int n, const void *data)
{
    char file[1024];
    int head =
        snprintf(file + 10, 200, "{'descr': '<%c8', 'fortran_order': False, 'shape': (%d,), }\n", kind, n);
    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (char)head, file[9] = 0;
    memcpy(file + 10 + head, data, (size_t)n * 8);
    put(name, file, 10 + (size_t)head + (size_t)n * 8);
}

static void arrays_become_datasets(void **state)
{
    (void)state;
    float x[128];
    uint8_t u8[128];
    int32_t label[8];
    double want[128];
    nt_shape shape;
    put_case("x.npy", "fortran"); /* (4, 5, 3, 2) */
    put_vector("y.npy", 'i', 4, (int64_t[]){2, 0, 5, 1});
    nt_import_args args = args_for(2, "x.npy", "y.npy");
    EXPECT_FAILURE("npy", &args, NT_ERR_USAGE, "(4, 5, 3, 2)", "--nhwc", "--nchw");
    args.channels_last = true;
    assert_ok(import("npy", &args));
    shape = read_back("/train/data", NT_F32, x);
    assert_true(nt_shape_equal(shape, nt_shape_of(4, (int64_t)4, (int64_t)2, (int64_t)5, (int64_t)3)));
    values_of("fortran", want, &shape);
    for (int n = 0; n < 4; n++)
        for (int c = 0; c < 2; c++)
            for (int i = 0; i < 15; i++)
                assert_true(x[(n * 2 + c) * 15 + i] == (float)want[(n * 15 + i) * 2 + c]);
    read_back("/train/label", NT_I32, label);
    assert_memory_equal(label, ((int32_t[]){2, 0, 5, 1}), 16);
    put_case("x.npy", "u1"); /* (4, 3, 2): images of one channel */
    put_case("xt.npy", "b1");
    put_vector("yt.npy", 'i', 4, (int64_t[]){6, 0, 0, 0});
    args = args_for(4, "x.npy", "y.npy", "xt.npy", "yt.npy");
    assert_ok(import("npy", &args));
    shape = read_back("/train/data", NT_U8, u8);
    assert_true(nt_shape_equal(shape, nt_shape_of(4, (int64_t)4, (int64_t)1, (int64_t)3, (int64_t)2)));
    values_of("u1", want, &shape);
    for (int i = 0; i < 24; i++)
        assert_int_equal(u8[i], want[i]);
    read_back("/test/data", NT_U8, u8);
    assert_true(u8[1] <= 1);
    nt_h5 *file;
    int64_t classes;
    bool found;
    assert_ok(nt_h5_open(&file, args.out));
    assert_ok(nt_h5_attr_int(file, "/", "classes", &classes, &found));
    assert_int_equal(classes, 7); /* the test part's, too: one more than the train part's 6 */
    nt_h5_close(file);
    put_vector("y.npy", 'f', 4, (double[]){0.5, -1, 1e-3, 4});
    args = args_for(2, "x.npy", "y.npy");
    assert_ok(import("npy", &args));
    read_back("/train/label", NT_F32, x);
    assert_true(x[0] == 0.5f && x[1] == -1 && x[2] == 1e-3f && x[3] == 4);
}

/* What an array does not say can be said: the shape of a sample, and that integers are values. */
static void arrays_are_what_they_are_said_to_be(void **state)
{
    (void)state;
    float x[24], as_lying[24];
    put_case("x.npy", "f8"); /* (4, 3, 2) */
    put_vector("y.npy", 'i', 4, (int64_t[]){-7, 0, 70000, 3});
    nt_import_args args = args_for(2, "x.npy", "y.npy");
    EXPECT_FAILURE("npy", &args, NT_ERR_DATA, "y.npy': row 0 is -7", "--targets 1");
    args.n_targets = 1;
    assert_ok(import("npy", &args));
    nt_shape shape = read_back("/train/data", NT_F32, as_lying);
    assert_true(nt_shape_equal(shape, nt_shape_of(4, (int64_t)4, (int64_t)1, (int64_t)3, (int64_t)2)));
    read_back("/train/label", NT_F32, x);
    assert_true(x[0] == -7 && x[1] == 0 && x[2] == 70000 && x[3] == 3);
    args.shape = nt_shape_of(1, (int64_t)6);
    args.force = true;
    assert_ok(import("npy", &args));
    shape = read_back("/train/data", NT_F32, x);
    assert_true(nt_shape_equal(shape, nt_shape_of(2, (int64_t)4, (int64_t)6)));
    assert_memory_equal(x, as_lying, sizeof x);
    unlink(args.out);
    args.shape = nt_shape_of(2, (int64_t)3, (int64_t)3);
    EXPECT_FAILURE("npy", &args, NT_ERR_USAGE, "--shape 3x3 has 9 values", "x.npy' has 6");
    args.channels_first = true;
    EXPECT_FAILURE("npy", &args, NT_ERR_USAGE, "exclude each other");
    args.shape = (nt_shape){0};
    EXPECT_FAILURE("npy", &args, NT_ERR_USAGE, "--nchw is for images", "3 dimensions");
    args.channels_first = false;
    args.n_targets = 2;
    EXPECT_FAILURE("npy", &args, NT_ERR_USAGE, "--targets 2", "y.npy' has 1 columns");
}

static void arrays_that_do_not_fit(void **state)
{
    (void)state;
    put_case("x.npy", "f8"); /* (4, 3, 2) */
    put_vector("y.npy", 'i', 3, (int64_t[]){0, 1, 2});
    nt_import_args args = args_for(2, "x.npy", "y.npy");
    EXPECT_FAILURE("npy", &args, NT_ERR_DATA, "x.npy' has 4 rows", "y.npy' has 3");
    put_vector("y.npy", 'i', 4, (int64_t[]){0, 1, -2, 3});
    EXPECT_FAILURE("npy", &args, NT_ERR_DATA, "y.npy': row 2 is -2", "--targets 1");
    put_vector("y.npy", 'i', 4, (int64_t[]){0, 1, 2, (int64_t)1 << 60});
    EXPECT_FAILURE("npy", &args, NT_ERR_DATA, "y.npy': element 3");
    put_vector("y.npy", 'f', 4, (double[]){0, 1, NAN, 3});
    EXPECT_FAILURE("npy", &args, NT_ERR_DATA, "y.npy': value 0 of row 2 is nan");
    put_vector("y.npy", 'f', 4, (double[]){0, 1, 2, 1e39});
    EXPECT_FAILURE("npy", &args, NT_ERR_DATA, "row 3 is 1e+39");
    args = args_for(3, "x.npy", "y.npy", "x.npy");
    EXPECT_FAILURE("npy", &args, NT_ERR_USAGE, "x_test.npy");
    put_vector("y.npy", 'i', 4, (int64_t[]){0, 1, 2, 3});
    put_case("xt.npy", "u1");
    args = args_for(4, "x.npy", "y.npy", "xt.npy", "y.npy");
    EXPECT_FAILURE("npy", &args, NT_ERR_DATA, "x.npy' and", "xt.npy' differ");
    args = args_for(2, "x.npy", "none.npy");
    EXPECT_FAILURE("npy", &args, NT_ERR_NO_INPUT, "none.npy");
    args = args_for(2, "x.npy", "y.npy");
    args.channels_last = true;
    EXPECT_FAILURE("npy", &args, NT_ERR_USAGE, "--nhwc is for images", "3 dimensions");
}

/* --- CIFAR-100 --- */

static void cifar100(void **state)
{
    (void)state;
    enum { N = 130, RECORD = 2 + 3072 };
    static uint8_t file[N * RECORD], x[N * 3072];
    static char text[100 * 12];
    int32_t label[N];
    for (int i = 0; i < N * RECORD; i++)
        file[i] = (uint8_t)(i * 31 >> 2);
    for (int i = 0; i < N; i++)
        file[i * RECORD] = (uint8_t)(i % 20), file[i * RECORD + 1] = (uint8_t)(i % 100);
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), 12, "class_%02d\n", i);
    put("train.bin", file, sizeof file);
    put("test.bin", file, 3 * RECORD);
    put("fine_label_names.txt", text, strlen(text));
    nt_import_args args = args_for(1, ".");
    assert_ok(import("cifar100", &args));
    read_back("/train/label", NT_I32, label);
    read_back("/train/data", NT_U8, x);
    for (int i = 0; i < N; i++) {
        assert_int_equal(label[i], i % 100);
        assert_memory_equal(x + i * 3072, file + i * RECORD + 2, 3072);
    }
    nt_h5 *h5;
    char **got;
    int n;
    bool found;
    assert_ok(nt_h5_open(&h5, args.out));
    assert_ok(nt_h5_attr_strings(h5, "/", "class_names", &got, 100, &n, &found));
    assert_true(found && n == 100);
    assert_string_equal(got[42], "class_42");
    nt_h5_free_list(got, n);
    nt_h5_close(h5);
    args = args_for(1, ".");
    args.coarse = true;
    assert_ok(import("cifar100", &args));
    read_back("/train/label", NT_I32, label);
    for (int i = 0; i < N; i++)
        assert_int_equal(label[i], i % 20);
    args = args_for(1, ".");
    file[5 * RECORD + 1] = 100;
    put("train.bin", file, sizeof file);
    EXPECT_FAILURE("cifar100", &args, NT_ERR_DATA, "train.bin': label 5 is 100, must be below 100");
    put("train.bin", file, sizeof file - 1);
    EXPECT_FAILURE("cifar100", &args, NT_ERR_DATA, "multiple of 3074");
    put("fine_label_names.txt", "one\ntwo\n", 8);
    EXPECT_FAILURE("cifar100", &args, NT_ERR_DATA, "fine_label_names.txt' holds 2 names");
}

/* --- texts --- */

static void texts_as_bytes(void **state)
{
    (void)state;
    uint8_t got[64], want[50];
    for (int i = 0; i < 50; i++)
        want[i] = (uint8_t)(i * 5 + 7);
    put("a.txt", want, 20);
    put("b.txt", want + 20, 30);
    nt_import_args args = args_for(2, "a.txt", "b.txt");
    assert_ok(import("text", &args));
    assert_int_equal(read_back("/train/tokens", NT_U8, got).dim[0], 45);
    assert_memory_equal(got, want, 45);
    assert_int_equal(read_back("/test/tokens", NT_U8, got).dim[0], 5);
    assert_memory_equal(got, want + 45, 5);
    args = args_for(1, "a.txt");
    args.test_fraction = 0;
    assert_ok(import("text", &args));
    assert_int_equal(read_back("/train/tokens", NT_U8, got).dim[0], 20);
    args = args_for(1, "a.txt");
    args.test_fraction = 0.95;
    EXPECT_FAILURE("text", &args, NT_ERR_DATA, "20 tokens are too few");
    put("empty.txt", "", 0);
    args = args_for(2, "a.txt", "empty.txt");
    EXPECT_FAILURE("text", &args, NT_ERR_DATA, "empty.txt' is empty");
}

static const char *put_vocabulary(const char *text)
{
    put("vocabulary.txt", text, strlen(text));
    return in_dir("vocabulary.txt");
}

static void texts_by_a_vocabulary(void **state)
{
    (void)state;
    int32_t got[64];
    const char text[] = "the then\n  th\\e\303\244";
    put("a.txt", text, strlen(text));
    nt_import_args args = args_for(1, "a.txt");
    args.test_fraction = 0;
    args.vocabulary = put_vocabulary("e\r\nth\nthe\n \nn\n\\n\n  \n\\\\e\n\\xc3\\xa4\nh\nthem\n");
    assert_ok(import("text", &args));
    nt_shape shape = read_back("/train/tokens", NT_I32, got);
    /* the, blank, the, n, newline, two blanks, th, \e, a with dots */
    assert_int_equal(shape.dim[0], 9);
    assert_memory_equal(got, ((int32_t[]){2, 3, 2, 4, 5, 6, 1, 7, 8}), 9 * sizeof *got);
    args = args_for(1, "a.txt");
    args.test_fraction = 0;
    args.vocabulary = put_vocabulary("e\nth\nthe\n \n<unk>\n");
    assert_ok(import("text", &args));
    shape = read_back("/train/tokens", NT_I32, got);
    /* the, blank, the, n?, newline?, blank, blank, th, backslash?, e, ?, ? */
    assert_int_equal(shape.dim[0], 12);
    assert_memory_equal(got, ((int32_t[]){2, 3, 2, 4, 4, 3, 3, 1, 4, 0, 4, 4}), 12 * sizeof *got);
    args = args_for(1, "a.txt");
    args.vocabulary = put_vocabulary("e\nth\nthe\n ");
    EXPECT_FAILURE("text", &args, NT_ERR_DATA, "byte 7 of the text, 0x6e", "<unk>");
}

static void vocabularies_that_are_none(void **state)
{
    (void)state;
    nt_import_args args = args_for(1, "a.txt");
    put("a.txt", "abc", 3);
    static const char *const bad[][2] = {
        {"", "is empty"},
        {"a\n\nb\n", "line 2 is empty"},
        {"a\nb\\q\n", "line 2: a backslash"},
        {"a\n\\x4\n", "line 2: a backslash"},
        {"a\nb\\", "line 2: a backslash"},
        {"a\nb\n\\x61\n", "lines 1 and 3 are the same"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        args.vocabulary = put_vocabulary(bad[i][0]);
        EXPECT_FAILURE("text", &args, NT_ERR_DATA, "vocabulary.txt", bad[i][1]);
    }
    put("vocabulary.txt", "a\0b\n", 4);
    EXPECT_FAILURE("text", &args, NT_ERR_DATA, "vocabulary.txt", "NUL", "\\x00");
    args.vocabulary = in_dir("nothing.txt");
    EXPECT_FAILURE("text", &args, NT_ERR_NO_INPUT, "nothing.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_equals_numpy),
        cmocka_unit_test(a_cut_or_turned_file_is_an_error),
        cmocka_unit_test(headers),
        cmocka_unit_test(arrays_become_datasets),
        cmocka_unit_test(arrays_are_what_they_are_said_to_be),
        cmocka_unit_test(arrays_that_do_not_fit),
        cmocka_unit_test(cifar100),
        cmocka_unit_test(texts_as_bytes),
        cmocka_unit_test(texts_by_a_vocabulary),
        cmocka_unit_test(vocabularies_that_are_none),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
