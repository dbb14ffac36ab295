/* The table of chosen algorithms: text and back, whatever stands in the text. */
#include "core/op.h"
#include "tests/unit/h5_helpers.h"

#include <time.h>

static void text_and_back(void **state)
{
    (void)state;
    static char wanted[200000];
    nt_tuning *a, *b;
    char *text;
    assert_ok(nt_tuning_create(&a, false));
    assert_ok(nt_tuning_create(&b, true));
    assert_null(nt_tuning_get(a, "conv1"));
    size_t n = 0;
    for (int i = 0; i < 5000; i++) {
        char name[32];
        snprintf(name, sizeof name, "conv%d/forward", i);
        assert_ok(nt_tuning_set(a, name, "direct"));
        if (i % 7 == 0) assert_ok(nt_tuning_set(a, name, "winograd blocked"));
        n += (size_t)snprintf(wanted + n, sizeof wanted - n, "%s = %s\n", name,
                              i % 7 ? "direct" : "winograd blocked");
    }
    assert_ok(nt_tuning_text(a, &text));
    assert_string_equal(text, wanted);
    assert_ok(nt_tuning_parse(b, text));
    free(text);
    assert_ok(nt_tuning_text(b, &text));
    assert_string_equal(text, wanted);
    free(text);
    assert_string_equal(nt_tuning_get(b, "conv4998/forward"), "winograd blocked");
    assert_null(nt_tuning_get(b, "conv4998/backward"));
    nt_tuning_destroy(a);
    nt_tuning_destroy(b);
}

static void lines_that_are_none(void **state)
{
    (void)state;
    static char long_line[700] = "a = ";
    memset(long_line + 4, 'b', 600);
    const char *const bad[] = {"a\n", "= b\n", "\n", "a = b\n\n", "a b = c\n", "a =\n", long_line};
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        nt_tuning *tuning;
        assert_ok(nt_tuning_create(&tuning, false));
        assert_fails(nt_tuning_parse(tuning, bad[i]), NT_ERR_DATA, "bad line in a tuning table");
        nt_tuning_destroy(tuning);
    }
}

/* A megabyte of choices took minutes. The limit is generous: it is hundredths of a second. */
static void much_is_no_hang(void **state)
{
    (void)state;
    enum { N = 90000 };
    char *text = malloc(N * 16);
    size_t n = 0;
    nt_tuning *tuning;
    assert_non_null(text);
    for (int i = 0; i < N; i++)
        n += (size_t)sprintf(text + n, "k%d = v\n", i);
    assert_ok(nt_tuning_create(&tuning, false));
    clock_t begin = clock();
    assert_ok(nt_tuning_parse(tuning, text));
    assert_true(clock() - begin < 20 * CLOCKS_PER_SEC);
    assert_string_equal(nt_tuning_get(tuning, "k89999"), "v");
    nt_tuning_destroy(tuning);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(lines_that_are_none),
        cmocka_unit_test(much_is_no_hang),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
