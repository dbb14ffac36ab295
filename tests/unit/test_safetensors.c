/* safetensors: what is written is read back; every rule of the format, broken, is an error of its own. The
 * independent oracle (the safetensors package of Python reads our files, we read its) is in
 * tests/e2e/weights.sh. */
#include "core/safetensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static int make_path(void **state)
{
    (void)state;
    strcpy(path, "/tmp/nt_safetensors_XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) return -1;
    close(fd);
    return 0;
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

/* A file of a header and n_data bytes 0, 1, 2, ... ; announced: the header's length, -1: its true one. */
static void put_file(const char *header, long long announced, size_t n_data)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    unsigned long long n = announced >= 0 ? (unsigned long long)announced : strlen(header);
    for (int i = 0; i < 8; i++)
        fputc((int)(n >> 8 * i & 0xff), file);
    fputs(header, file);
    for (size_t i = 0; i < n_data; i++)
        fputc((int)i, file);
    assert_int_equal(fclose(file), 0);
}

static void refuses(const char *header, size_t n_data, const char *words)
{
    nt_safetensors *file;
    put_file(header, -1, n_data);
    assert_int_equal(nt_safetensors_open(&file, path), NT_ERR_DATA);
    assert_null(file);
    if (!strstr(nt_error_last()->message, words))
        fail_msg("'%s' does not say '%s'", nt_error_last()->message, words);
    nt_error_clear();
}

static nt_status get_values(void *arg, int index, float *values)
{
    const float *const *all = arg;
    memcpy(values, all[index], (index == 0 ? 6 : 1) * sizeof *values);
    return NT_OK;
}

static void written_is_read(void **state)
{
    (void)state;
    const float matrix[6] = {0, -1.5f, 3e-40f, INFINITY, 1e30f, 0.1f}, scalar[1] = {42};
    const float *all[] = {matrix, scalar};
    const nt_safetensors_item items[] = {{"fc \"1\".weight", nt_shape_of(2, (int64_t)2, (int64_t)3)},
                                         {"scale", nt_shape_of(0)}};
    assert_int_equal(nt_safetensors_write(path, items, 2, "a test", get_values, all), NT_OK);
    nt_safetensors *file;
    assert_int_equal(nt_safetensors_open(&file, path), NT_OK);
    assert_int_equal(nt_safetensors_count(file), 2);
    const nt_safetensor *t = nt_safetensors_find(file, "fc \"1\".weight");
    assert_non_null(t);
    assert_string_equal(t->dtype, "F32");
    assert_int_equal(t->shape.n_dims, 2);
    assert_int_equal(t->shape.dim[1], 3);
    float back[6];
    assert_int_equal(nt_safetensors_read(file, t, back), NT_OK);
    assert_memory_equal(back, matrix, sizeof matrix);
    assert_int_equal(nt_safetensors_read(file, nt_safetensors_find(file, "scale"), back), NT_OK);
    assert_true(back[0] == 42);
    assert_null(nt_safetensors_find(file, "bias"));
    nt_safetensors_close(file);
}

static nt_status fails(void *arg, int index, float *values)
{
    (void)arg, (void)index, (void)values;
    NT_FAIL(NT_ERR_IO, "no values today");
}

static void failed_write_leaves_what_was_there(void **state)
{
    (void)state;
    put_file("{}", -1, 0);
    const nt_safetensors_item item = {"w", nt_shape_of(1, (int64_t)1)};
    assert_int_equal(nt_safetensors_write(path, &item, 1, "", fails, NULL), NT_ERR_IO);
    nt_error_clear();
    nt_safetensors *file;
    assert_int_equal(nt_safetensors_open(&file, path), NT_OK);
    assert_int_equal(nt_safetensors_count(file), 0);
    nt_safetensors_close(file);
    char temporary[96];
    snprintf(temporary, sizeof temporary, "%s.tmp%ld", path, (long)getpid());
    assert_int_not_equal(access(temporary, F_OK), 0);
}

static void float_types(void **state)
{
    (void)state;
    /* little-endian bytes by hand: F16 1.5, 2^-24 (smallest subnormal), -inf; BF16 -2; F64 0.1 */
    static const unsigned char data[] = {0x00, 0x3e, 0x01, 0x00, 0x00, 0xfc, 0x00, 0xc0,
                                         0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f};
    put_file("{\"h\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[0,6]},"
             "\"b\":{\"dtype\":\"BF16\",\"shape\":[1,1],\"data_offsets\":[6,8]},"
             "\"d\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]}}   ",
             -1, 0);
    FILE *out = fopen(path, "ab");
    assert_int_equal(fwrite(data, 1, sizeof data, out), sizeof data);
    fclose(out);
    nt_safetensors *file;
    float v[3];
    assert_int_equal(nt_safetensors_open(&file, path), NT_OK);
    assert_int_equal(nt_safetensors_read(file, nt_safetensors_get(file, 0), v), NT_OK);
    assert_true(v[0] == 1.5f && v[1] == 0x1p-24f && v[2] == -INFINITY);
    assert_int_equal(nt_safetensors_read(file, nt_safetensors_get(file, 1), v), NT_OK);
    assert_true(v[0] == -2);
    assert_int_equal(nt_safetensors_read(file, nt_safetensors_get(file, 2), v), NT_OK);
    assert_true(v[0] == 0.1f);
    nt_safetensors_close(file);
}

#define TENSOR(name, dtype, shape, from, to)                                                                 \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

static void broken_rules(void **state)
{
    (void)state;
    refuses("{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 8, 12) "}", 12, "hole");
    refuses("{" TENSOR("a", "F32", "[2]", 0, 8) "," TENSOR("b", "F32", "[1]", 4, 8) "}", 8, "overlaps");
    refuses("{" TENSOR("a", "F32", "[1]", 0, 4) "}", 5, "1 bytes after its last tensor");
    refuses("{" TENSOR("a", "F32", "[1]", 0, 4) "}", 3, "cut off");
    refuses("{" TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("a", "F32", "[1]", 4, 8) "}", 8, "JSON");
    refuses("{" TENSOR("a", "F32", "[3]", 0, 4) "}", 4, "occupies");
    refuses("{" TENSOR("a", "F33", "[1]", 0, 4) "}", 4, "unknown dtype");
    refuses("{" TENSOR("a", "F32", "[-1]", 0, 4) "}", 4, "not a count");
    refuses("{" TENSOR("a", "F32", "[1.0]", 0, 4) "}", 4, "not a count");
    refuses("{" TENSOR("a", "F32", "[1]", 4, 0) "}", 4, "data_offsets");
    refuses("{" TENSOR("a", "F32", "[4611686018427387904,4]", 0, 4) "}", 4, "more elements");
    refuses("{" TENSOR("a", "F64", "[2305843009213693952]", 0, 0) "}", 0, "occupies");
    refuses("{" TENSOR("a", "F32", "[99999999999999999999]", 0, 4) "}", 4, "JSON");
    refuses("{" TENSOR("a", "F32", "[1,1,1,1,1,1,1]", 0, 4) "}", 4, "7 dimensions");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets");
    refuses("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, "nothing else");
    refuses("{\"a\":3}", 0, "nothing else");
    refuses("{\"__metadata__\":{\"a\":1}}", 0, "not a string");
    refuses("{\"__metadata__\":[]}", 0, "not an object");
    refuses("[1,2]", 0, "does not begin with '{'");
    refuses(" {}", 0, "does not begin with '{'");
    refuses("{\"a\":", 0, "JSON");
    refuses("{} x", 0, "JSON");
    refuses("{\"\\ud800\":1}", 0, "JSON");
}

static void broken_lengths(void **state)
{
    (void)state;
    nt_safetensors *file;
    const long long lengths[] = {0, 1, 3, 1LL << 20, 1LL << 62};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        put_file("{}", lengths[i], 0);
        assert_int_equal(nt_safetensors_open(&file, path), NT_ERR_DATA);
        nt_error_clear();
    }
    FILE *out = fopen(path, "wb"); /* shorter than a length */
    fputs("abc", out);
    fclose(out);
    assert_int_equal(nt_safetensors_open(&file, path), NT_ERR_DATA);
    nt_error_clear();
    assert_int_equal(nt_safetensors_open(&file, "/tmp"), NT_ERR_NO_INPUT);
    nt_error_clear();
    assert_int_equal(nt_safetensors_open(&file, "/nonexistent.safetensors"), NT_ERR_NO_INPUT);
    nt_error_clear();
}

/* The length of a header may be any: 640 = 0x0280 begins as a pickle does. */
static void lengths_like_a_pickle(void **state)
{
    (void)state;
    enum { N = 2 * 65536 + 640 };
    const size_t lengths[] = {640, 65536 + 640, N};
    const char *entry = "{" TENSOR("w", "F32", "[1]", 0, 4) "}";
    char *header = malloc(N + 1);
    nt_safetensors *file;
    assert_non_null(header);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memset(header, ' ', N);
        memcpy(header, entry, strlen(entry));
        header[lengths[i]] = '\0';
        put_file(header, -1, 4);
        if (nt_safetensors_open(&file, path) != NT_OK) fail_msg("%s", nt_error_last()->message);
        assert_int_equal(nt_safetensors_count(file), 1);
        nt_safetensors_close(file);
    }
    free(header);
}

/* Begins as torch.save's files do: a zip archive (the length it would be fits into the file, or does not), a
 * pickle of protocol 2. */
static void a_pickle_is_named(void **state)
{
    (void)state;
    const struct {
        unsigned char begin[8];
        size_t n;
    } kinds[] = {{"PK\3\4\0\0\10\10", 1000},
                 {"PK\3\4\0\0\0\0", 0x04034b50},
                 {"\x80\2\x8a\12l\xfc\x9c\x46", 1000},
                 {"\x80\2\0\0\0\0\0\0", 1000}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        nt_safetensors *file;
        FILE *out = fopen(path, "wb");
        assert_non_null(out);
        assert_int_equal(fwrite(kinds[i].begin, 1, 8, out), 8);
        assert_int_equal(fclose(out), 0);
        assert_int_equal(truncate(path, (off_t)(8 + kinds[i].n)), 0); /* zeros, and no room on the disk */
        assert_int_equal(nt_safetensors_open(&file, path), NT_ERR_DATA);
        assert_non_null(strstr(nt_error_last()->message, "is a file of torch.save"));
        nt_error_clear();
    }
}

static void integers_are_no_weights(void **state)
{
    (void)state;
    nt_safetensors *file;
    float v[1];
    put_file("{" TENSOR("n", "I64", "[]", 0, 8) "," TENSOR("none", "F32", "[0,3]", 8, 8) "}", -1, 8);
    assert_int_equal(nt_safetensors_open(&file, path), NT_OK);
    assert_false(nt_safetensor_is_float(nt_safetensors_get(file, 0)));
    assert_int_equal(nt_safetensors_read(file, nt_safetensors_get(file, 0), v), NT_ERR_DATA);
    nt_error_clear();
    assert_int_equal(nt_safetensors_get(file, 1)->n_elems, 0);
    assert_int_equal(nt_safetensors_read(file, nt_safetensors_get(file, 1), v), NT_OK);
    nt_safetensors_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read),   cmocka_unit_test(failed_write_leaves_what_was_there),
        cmocka_unit_test(float_types),       cmocka_unit_test(broken_rules),
        cmocka_unit_test(broken_lengths),    cmocka_unit_test(lengths_like_a_pickle),
        cmocka_unit_test(a_pickle_is_named), cmocka_unit_test(integers_are_no_weights),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
