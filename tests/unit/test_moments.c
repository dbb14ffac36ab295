/* Mean and variance of a batch from those of its parts: against sums over all values in long double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/moments.h"

#include <math.h>
#include <stdlib.h>

enum { CHANNELS = 3, VALUES = 40 };

static double value(int channel, int i)
{
    static const double mean[CHANNELS] = {0.5, -3e4, 1e6}, spread[CHANNELS] = {1, 2, 0.25};
    return mean[channel] + spread[channel] * sin(1.7 * i + channel);
}

/* Mean and biased variance of the values [from, to) of a channel. */
static void moments_of(int channel, int from, int to, double *mean, double *var)
{
    long double sum = 0, squares = 0, m;
    for (int i = from; i < to; i++)
        sum += (long double)value(channel, i);
    m = to > from ? sum / (to - from) : 0;
    for (int i = from; i < to; i++)
        squares += ((long double)value(channel, i) - m) * ((long double)value(channel, i) - m);
    *mean = (double)m;
    *var = to > from ? (double)(squares / (to - from)) : 0;
}

/* What the other parts bring: their sums, as nt_moments_join makes them of their own moments. */
typedef struct others {
    double sums[2 * CHANNELS + 1];
} others;

static nt_status add_others(void *arg, double *values, int64_t n)
{
    const others *o = arg;
    assert_int_equal(n, 2 * CHANNELS + 1);
    for (int64_t i = 0; i < n; i++)
        values[i] += o->sums[i];
    return NT_OK;
}

static nt_status keep(void *arg, double *values, int64_t n)
{
    others *o = arg;
    for (int64_t i = 0; i < n; i++)
        o->sums[i] += values[i];
    return NT_OK;
}

/* Joins the part [from, to) with whatever `sum` does. */
static void join(const nt_moments *m, int from, int to, double pivot, nt_pass *pass)
{
    for (int c = 0; c < CHANNELS; c++) {
        moments_of(c, from, to, &m->mean[c], &m->var[c]);
        m->sums[c] = pivot * value(c, 0);
    }
    assert_int_equal(nt_moments_join(m, to - from, pass), NT_OK);
}

/* Cut into three parts of any size, the first ones empty at times; about a running mean that is near the
 * mean, or zero. A mean that is r standard deviations is rounded to 1e-16 r of one, and so much the variance
 * loses; about zero it loses r times more by cancellation: r is up to 6e6 here. */
static void parts_make_the_whole(void **state)
{
    (void)state;
    void *memory = calloc(1, nt_moments_bytes(CHANNELS));
    assert_non_null(memory);
    const nt_moments m = nt_moments_at(memory, CHANNELS);
    for (int first = 0; first <= VALUES; first += 13)
        for (int second = first; second <= VALUES; second += 9)
            for (int near = 0; near < 2; near++) {
                others o = {{0}};
                nt_pass pass = {.sum = keep, .sum_arg = &o};
                if (first > 0) join(&m, 0, first, near, &pass);
                if (second > first) join(&m, first, second, near, &pass);
                pass.sum = add_others;
                if (second == VALUES) continue; /* this part must have something */
                join(&m, second, VALUES, near, &pass);
                assert_true(*m.count == VALUES);
                for (int c = 0; c < CHANNELS; c++) {
                    double mean, var;
                    moments_of(c, 0, VALUES, &mean, &var);
                    double ratio = fabs(mean) / sqrt(var), lost = near ? ratio : ratio * ratio;
                    assert_true(fabs(m.mean[c] - mean) <= 1e-15 * VALUES * fabs(mean));
                    assert_true(fabs(m.var[c] - var) <= 4e-16 * VALUES * (1 + lost) * var);
                    assert_true(m.var[c] >= 0);
                }
            }
    free(memory);
}

/* Alone, nothing is touched. */
static void one_part_stays(void **state)
{
    (void)state;
    void *memory = calloc(1, nt_moments_bytes(CHANNELS));
    assert_non_null(memory);
    const nt_moments m = nt_moments_at(memory, CHANNELS);
    nt_pass pass = {.sum = NULL};
    double mean, var;
    join(&m, 0, 7, 1, &pass);
    moments_of(2, 0, 7, &mean, &var);
    assert_true(*m.count == 7 && m.mean[2] == mean && m.var[2] == var);
    m.sums[0] = 5;
    assert_int_equal(nt_moments_join_gradients(&m, &pass), NT_OK);
    assert_true(m.sums[0] == 5);
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_make_the_whole),
        cmocka_unit_test(one_part_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
