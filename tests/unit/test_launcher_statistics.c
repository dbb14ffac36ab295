/* Wilson's interval, spread, scores per class. */
#include "launcher/statistics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The interval's ends are, by definition, the p at which the score statistic |correct/n - p| / sqrt(p(1-p)/n)
 * is z. Tolerance: rounding of double arithmetic in the statistic. */
static void wilson_ends_solve_the_score_equation(void **state)
{
    (void)state;
    static const int64_t cases[][2] = {{1, 10}, {5, 10}, {346, 360}, {9851, 10000}, {2, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double n = (double)cases[i][1], p = (double)cases[i][0] / n;
        nt_range r = nt_wilson(cases[i][0], cases[i][1]);
        assert_true(r.low < p && p < r.high);
        assert_float_equal((p - r.low) / sqrt(r.low * (1 - r.low) / n), 1.959964, 1e-5);
        assert_float_equal((r.high - p) / sqrt(r.high * (1 - r.high) / n), 1.959964, 1e-5);
    }
}

static void wilson_stays_within_bounds(void **state)
{
    (void)state;
    nt_range none = nt_wilson(0, 0), zero = nt_wilson(0, 10), all = nt_wilson(10, 10);
    assert_true(none.low == 0 && none.high == 1);
    assert_true(zero.low == 0 && zero.high > 0.2 && zero.high < 0.35);
    assert_true(all.high == 1 && all.low < 0.8 && all.low > 0.65);
}

static void spread_of_known_values(void **state)
{
    (void)state;
    /* 2 4 4 4 5 5 7 9: the textbook sample with mean 5 and standard deviation 2 */
    assert_float_equal(nt_spread(40, 4 + 16 * 3 + 25 * 2 + 49 + 81, 8), 2, 1e-12);
    assert_true(nt_spread(3e8, 3e16 - 1, 3) == 0);
    assert_true(nt_spread(0, 0, 0) == 0);
}

static void scores_from_a_matrix(void **state)
{
    (void)state;
    double count[] = {5, 1, 0, 2, 8, 0, 0, 0, 0};
    nt_confusion confusion = {.n_classes = 3, .count = count};
    nt_class_score first = nt_confusion_score(&confusion, 0), last = nt_confusion_score(&confusion, 2);
    assert_float_equal(first.precision, 5.0 / 7, 1e-12);
    assert_float_equal(first.recall, 5.0 / 6, 1e-12);
    assert_int_equal(first.n, 6);
    assert_true(isnan(last.precision) && isnan(last.recall) && last.n == 0);
}

static void argmax_takes_first_and_skips_nan(void **state)
{
    (void)state;
    assert_int_equal(nt_argmax((float[]){1, 3, 3, 2}, 4), 1);
    assert_int_equal(nt_argmax((float[]){NAN, -1, NAN}, 3), 1);
    assert_int_equal(nt_argmax((float[]){7}, 1), 0);
}

static void class_names_are_escaped(void **state)
{
    (void)state;
    double count[9] = {1};
    char *names[] = {"cat\x1b[31m", "dog\n"}, text[4096];
    FILE *out = fmemopen(text, sizeof text, "w");
    nt_confusion_print(&(nt_confusion){.n_classes = 3, .count = count}, &(nt_class_names){2, names}, out);
    fclose(out);
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "cat\\x1b[31m"));
    assert_non_null(strstr(text, "dog\\x0a"));
    assert_non_null(strstr(text, "\n2 ")); /* an output that no class of the data has */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_ends_solve_the_score_equation),
        cmocka_unit_test(wilson_stays_within_bounds),
        cmocka_unit_test(spread_of_known_values),
        cmocka_unit_test(scores_from_a_matrix),
        cmocka_unit_test(argmax_takes_first_and_skips_nan),
        cmocka_unit_test(class_names_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
