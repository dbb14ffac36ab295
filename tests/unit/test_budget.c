/* What is said when a net does not fit into a device's memory. */
#include "core/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

/* 300 MiB, 5 a sample, and scratch of 2 a sample up to 100. */
static size_t needs(void *arg, int64_t n)
{
    size_t scratch = n < 50 ? 2 * (size_t)n : 100;
    *(int *)arg += 1;
    return (300 + 5 * (size_t)n + scratch) * MIB;
}

static size_t nobody_knows(void *arg, int64_t n)
{
    (void)arg;
    return n == 256 ? 2000 * MIB : 0;
}

static void fits_what_is_left(void **state)
{
    (void)state;
    int asked = 0;
    nt_budget b = {.free_bytes = 1000 * MIB, .n = 256, .needs = needs, .arg = &asked};
    assert_int_equal(nt_budget_fits(&b), 120); /* 300 + 600 + 100 */
    assert_true(asked <= 8);
    b.n = 121; /* one too much */
    assert_int_equal(nt_budget_fits(&b), 120);
    b.free_bytes = 370 * MIB; /* within the part that shrinks */
    assert_int_equal(nt_budget_fits(&b), 10);
    b.free_bytes = 306 * MIB;
    assert_int_equal(nt_budget_fits(&b), 0);
    b.n = 256;
    b.needs = nobody_knows;
    assert_int_equal(nt_budget_fits(&b), 0);
}

static nt_status run_out(void)
{
    NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory");
}

static void says_needs_in_front(void **state)
{
    (void)state;
    int asked = 0;
    nt_budget b = {.free_bytes = 370 * MIB, .n = 20, .needs = needs, .arg = &asked};
    assert_int_equal(nt_budget_explain(run_out(), &b), NT_ERR_UNAVAILABLE);
    assert_string_equal(nt_error_last()->message,
                        "the model needs 440.0 MiB in all for 20 samples a rank; about 10 would fit "
                        "(see data.eval_batch): out of memory");
    b.training = true;
    assert_int_equal(nt_budget_explain(run_out(), &b), NT_ERR_UNAVAILABLE);
    assert_non_null(strstr(nt_error_last()->message, "run.accumulate"));
    b.free_bytes = 200 * MIB;
    assert_int_equal(nt_budget_explain(run_out(), &b), NT_ERR_UNAVAILABLE);
    assert_non_null(strstr(nt_error_last()->message, "does not fit with any batch"));
    b.free_bytes = 500 * MIB; /* another fault than the size */
    assert_int_equal(nt_budget_explain(run_out(), &b), NT_ERR_UNAVAILABLE);
    assert_string_equal(nt_error_last()->message, "out of memory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_what_is_left),
        cmocka_unit_test(says_needs_in_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
