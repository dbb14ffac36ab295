/* What is said when a net does not fit into a device's memory. */
#include "core/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static void fits_what_is_left(void **state)
{
    (void)state;
    nt_budget b = {.free_bytes = 1000 * MIB, .fixed_bytes = 300 * MIB, .scratch_bytes = 100 * MIB, .n = 256};
    b.batch_bytes = 1280 * MIB; /* 5 MiB a sample: 600 MiB hold 120 */
    assert_int_equal(nt_budget_fits(&b), 120);
    b.batch_bytes = 602 * MIB; /* a little too much: one less is the most that can be said */
    assert_int_equal(nt_budget_fits(&b), 255);
    b.scratch_bytes = 900 * MIB; /* would leave nothing, so it shrinks with the batch: 700 of 1502 */
    assert_int_equal(nt_budget_fits(&b), 119);
    b.fixed_bytes = 1001 * MIB;
    assert_int_equal(nt_budget_fits(&b), 0);
}

static nt_status run_out(void)
{
    NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory");
}

static void says_needs_in_front(void **state)
{
    (void)state;
    nt_budget b = {.free_bytes = 100 * MIB, .fixed_bytes = 50 * MIB, .batch_bytes = 100 * MIB, .n = 10};
    assert_int_equal(nt_budget_explain(run_out(), &b), NT_ERR_UNAVAILABLE);
    assert_string_equal(nt_error_last()->message,
                        "the model needs 150.0 MiB in all for 10 samples a rank; about 5 would fit "
                        "(see data.eval_batch): out of memory");
    b.training = true;
    assert_int_equal(nt_budget_explain(run_out(), &b), NT_ERR_UNAVAILABLE);
    assert_non_null(strstr(nt_error_last()->message, "run.accumulate"));
    b.fixed_bytes = 100 * MIB;
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
