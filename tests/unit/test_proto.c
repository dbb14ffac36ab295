/* The protobuf writer against bytes worked out by hand and from the encoding's own documentation. */
#include "core/proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(nt_proto *p, const char *bytes, size_t n)
{
    assert_int_equal(nt_proto_check(p), NT_OK);
    assert_int_equal(p->n, n);
    assert_memory_equal(p->bytes, bytes, n);
    nt_proto_clear(p);
}
#define EXPECT(p, literal) expect(p, literal, sizeof literal - 1)

static void integers(void **state)
{
    (void)state;
    nt_proto p = {0};
    nt_proto_int(&p, 1, 150); /* the documentation's first example */
    EXPECT(&p, "\x08\x96\x01");
    nt_proto_int(&p, 16, 0); /* a key of two bytes */
    EXPECT(&p, "\x80\x01\x00");
    nt_proto_int(&p, 1, 127);
    EXPECT(&p, "\x08\x7f");
    nt_proto_int(&p, 1, 128);
    EXPECT(&p, "\x08\x80\x01");
    nt_proto_int(&p, 1, -2); /* ten bytes */
    EXPECT(&p, "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    nt_proto_ints(&p, 6, (int64_t[]){3, 270, 86942}, 3); /* the documentation's packed example */
    EXPECT(&p, "\x32\x06\x03\x8e\x02\x9e\xa7\x05");
    nt_proto_free(&p);
}

static void fixed_and_nested(void **state)
{
    (void)state;
    nt_proto p = {0}, inner = {0};
    nt_proto_float(&p, 2, 1.0f);
    EXPECT(&p, "\x15\x00\x00\x80\x3f");
    nt_proto_double(&p, 1, -2.0);
    EXPECT(&p, "\x09\x00\x00\x00\x00\x00\x00\x00\xc0");
    nt_proto_doubles(&p, 1, (double[]){1.0}, 1);
    EXPECT(&p, "\x0a\x08\x00\x00\x00\x00\x00\x00\xf0\x3f");
    nt_proto_string(&p, 2, "testing");
    EXPECT(&p, "\x12\x07testing");
    nt_proto_int(&inner, 1, 150);
    nt_proto_message(&p, 3, &inner); /* the documentation's embedded message */
    EXPECT(&p, "\x1a\x03\x08\x96\x01");
    nt_proto_string(&p, 2, "");
    EXPECT(&p, "\x12\x00");
    nt_proto_free(&p);
    nt_proto_free(&inner);
}

static void grows_and_fails_for_good(void **state)
{
    (void)state;
    nt_proto p = {0};
    for (int i = 0; i < 10000; i++)
        nt_proto_int(&p, 1, i & 0x7f);
    assert_int_equal(p.n, 20000);
    assert_int_equal(p.bytes[2 * 9999 + 1], 9999 & 0x7f);
    p.failed = true; /* as after a failed allocation */
    nt_proto_int(&p, 1, 1);
    assert_int_equal(p.n, 20000);
    assert_int_equal(nt_proto_check(&p), NT_ERR_UNAVAILABLE);
    nt_proto outer = {0};
    nt_proto_message(&outer, 1, &p);
    assert_int_equal(nt_proto_check(&outer), NT_ERR_UNAVAILABLE);
    nt_proto_free(&outer);
    nt_proto_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(fixed_and_nested),
        cmocka_unit_test(grows_and_fails_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
