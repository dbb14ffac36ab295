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

static nt_clusters clusters_of(const int *right, int n, int each)
{
    nt_clusters c = {.n = n, .answers2 = (double)n * each * each};
    for (int i = 0; i < n; i++) {
        c.right2 += right[i] * right[i];
        c.right_answers += right[i] * each;
    }
    return c;
}

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8; /* 24 bits */
}

/* Samples that are right or wrong as a whole are n - 1 independent answers, whatever their length; answers
 * that all vary alike count each, and no more than that; where nothing varies, each sample counts once. */
static void clusters_count_as_what_varies(void **state)
{
    (void)state;
    enum { N = 40, EACH = 25 };
    int whole[N], even[N], all[N];
    for (int i = 0; i < N; i++)
        whole[i] = i % 4 ? EACH : 0, even[i] = 10, all[i] = EACH;
    nt_clusters c = clusters_of(whole, N, EACH), e = clusters_of(even, N, EACH),
                a = clusters_of(all, N, EACH);
    nt_range got = nt_wilson_of_clusters(30 * EACH, N * EACH, &c), want = nt_wilson(30 * 39, 40 * 39);
    const double p = 0.75, n = N - 1, z = 1.959963984540054;
    assert_float_equal((p - got.low) / sqrt(got.low * (1 - got.low) / n), z, 1e-9);
    assert_float_equal((got.high - p) / sqrt(got.high * (1 - got.high) / n), z, 1e-9);
    assert_true(got.low < want.low && got.high > want.high);
    got = nt_wilson_of_clusters(10 * N, N * EACH, &e), want = nt_wilson(16, N);
    assert_float_equal(got.low, want.low, 1e-12);
    assert_float_equal(got.high, want.high, 1e-12);
    got = nt_wilson_of_clusters(N * EACH, N * EACH, &a), want = nt_wilson(N, N);
    assert_true(got.low == want.low && got.high == 1);
    got = nt_wilson_of_clusters(0, 0, &(nt_clusters){0});
    assert_true(got.low == 0 && got.high == 1);
}

/* What an interval promises: that in 95 of 100 data sets it holds the true share. Samples of 20 answers with
 * a share of their own, uniform in 0.2..0.6 in steps of 0.01. 2000 data sets of 50 samples: the count has a
 * standard deviation of 0.5 %, and the interval itself is an approximation, so 0.93 to 0.97; the interval for
 * independent answers fails. */
static void intervals_of_clusters_hold_the_truth(void **state)
{
    (void)state;
    enum { SETS = 2000, N = 50, EACH = 20 };
    uint32_t random = 7;
    int held = 0, naive = 0;
    for (int s = 0; s < SETS; s++) {
        int right[N] = {0}, sum = 0;
        for (int i = 0; i < N; i++) {
            double share = 0.2 + 0.01 * (draw(&random) % 41);
            for (int k = 0; k < EACH; k++)
                right[i] += draw(&random) < share * (1 << 24);
            sum += right[i];
        }
        nt_clusters c = clusters_of(right, N, EACH);
        nt_range r = nt_wilson_of_clusters(sum, N * EACH, &c), w = nt_wilson(sum, N * EACH);
        held += r.low < 0.4 && 0.4 < r.high;
        naive += w.low < 0.4 && 0.4 < w.high;
    }
    assert_in_range(held, SETS * 93 / 100, SETS * 97 / 100);
    assert_true(naive < SETS * 91 / 100);
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
        cmocka_unit_test(clusters_count_as_what_varies),
        cmocka_unit_test(intervals_of_clusters_hold_the_truth),
        cmocka_unit_test(spread_of_known_values),
        cmocka_unit_test(scores_from_a_matrix),
        cmocka_unit_test(argmax_takes_first_and_skips_nan),
        cmocka_unit_test(class_names_are_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
