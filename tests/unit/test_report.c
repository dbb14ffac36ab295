/* The sums of a step and the verdict on it, in host memory and through the backends; and what the verdict
 * does to an update. */
#include "core/report.h"
#include "tests/unit/lone_helpers.h"

#include <math.h>

static void losses_are_added(void **state)
{
    (void)state;
    const float y[] = {0.5f, 1, 2, 0, 0.25f, 7};
    const double wide[] = {0.5, 1, 2, 0, 0.25, 7};
    nt_report single = {.loss = 1, .loss_squared = 2, .correct = 3}, real = single;
    nt_host_add_losses(&single, y, NT_F32, 3);
    nt_host_add_losses(&real, wide, NT_F64, 3);
    assert_true(single.loss == 3.75 && single.loss_squared == 2 + 4.3125 && single.correct == 11);
    assert_memory_equal(&single, &real, sizeof real);
}

/* The pieces of a batch add up as sums of sums, which an unlucky order would show: 1 + 2^-53 + 2^-53 is 1
 * from the left. */
static void pieces_are_summed_first(void **state)
{
    (void)state;
    const double first[] = {1, 0}, second[] = {0x1p-53, 0, 0x1p-53, 0};
    nt_report report = {.loss = 0};
    nt_host_add_losses(&report, first, NT_F64, 1);
    nt_host_add_losses(&report, second, NT_F64, 2);
    assert_true(report.loss == 1 + 0x1p-52);
}

static void expect_verdict(double a, double b, double other, double clip, double sum_squares, double scale)
{
    double squares[] = {a, b, other};
    nt_report report = {.loss = 7};
    nt_host_judge(&report, squares, 2, 1, clip);
    bool same_sum = isnan(sum_squares) ? isnan(report.sum_squares) : report.sum_squares == sum_squares;
    bool same_scale = isnan(scale) ? isnan(report.scale) : report.scale == scale;
    if (!same_sum || !same_scale)
        fail_msg("%g + %g, %g: %g, %g", a, b, other, report.sum_squares, report.scale);
    assert_true(report.loss == 7 && squares[0] == 0 && squares[1] == 0 && squares[2] == 0);
}

static void verdicts(void **state)
{
    (void)state;
    expect_verdict(9, 16, 1e300, 0, 25, 1);
    expect_verdict(9, 16, 1, 5, 25, 1); /* as long as allowed */
    expect_verdict(9, 16, 1, 2.5, 25, 0.5);
    expect_verdict(9, (double)NAN, 1, 0, (double)NAN, (double)NAN);
    expect_verdict((double)INFINITY, 16, 1, 2, (double)INFINITY, (double)NAN);
    expect_verdict(9, 16, (double)INFINITY, 2, (double)NAN, (double)NAN);
    expect_verdict(9, 16, (double)NAN, 0, (double)NAN, (double)NAN);
}

/* A scale that is not finite leaves everything as it was; a finite one multiplies the gradient. */
static void updates_obey(void **state)
{
    (void)state;
    static const char *const names[] = {"ref", "cpu"};
    static const double scales[] = {(double)NAN, (double)INFINITY, 0.5};
    for (int b = 0; b < 2; b++) {
        nt_backend *backend = make_backend(names[b]);
        for (int rule = NT_UPDATE_SGD; rule <= NT_UPDATE_STAT; rule++)
            for (int k = 0; k < 3; k++) {
                float p[2] = {4, 4}, g[2] = {2, 2}, s1[2] = {1, 1}, s2[2] = {8, 8}, s3[2] = {0};
                nt_update u = {.rule = (nt_update_rule)rule,
                               .lr = 0.25,
                               .momentum = 0.5,
                               .beta1 = 0.5,
                               .beta2 = 0.5,
                               .correction1 = 1,
                               .correction2 = 1,
                               .grad_scale = 1,
                               .limit = 1,
                               .s3 = s3,
                               .scale = &scales[k]};
                MUST(nt_backend_update(backend, &u, p, g, s1, s2, 2));
                bool moved = p[0] != 4 || p[1] != 4 || s1[0] != 1 || s3[0] != 0;
                assert_true(moved == (k == 2));
                assert_true(k == 2 || s3[0] == 0);
                if (k == 2 && rule == NT_UPDATE_STEP) assert_true(p[0] == 4 - 0.5f); /* not multiplied */
                if (k == 2 && rule == NT_UPDATE_LIMIT) assert_true(p[0] == 1);
                if (k == 2 && rule == NT_UPDATE_AVERAGE) assert_true(p[0] == 3.5f);
                if (k == 2 && rule == NT_UPDATE_LARS) assert_true(s1[0] == 0.75f && p[0] == 3.25f);
                if (k == 2 && rule == NT_UPDATE_SGD) assert_true(s1[0] == 1.5f && p[0] == 4 - 0.375f);
                if (k == 2 && rule == NT_UPDATE_STAT)
                    assert_true(p[0] == 5 && p[1] == 5); /* not multiplied */
            }
        nt_backend_destroy(backend);
    }
}

/* |w| = 3, |g| = 4. */
static void ratios(void **state)
{
    (void)state;
    const double decay[] = {0, 2, 0, 0}, half = 0.5;
    double pairs[8] = {9, 16, 9, 16, 0, 16, 9, 0};
    nt_host_ratios(pairs, decay, NULL, 0.5, 4);
    assert_true(pairs[0] == 0.5 * 3 / 4 && pairs[2] == 0.5 * 3 / (4 + 2 * 3));
    assert_true(pairs[4] == 1 && pairs[6] == 1); /* nothing to go by */
    double scaled[2] = {9, 16};
    nt_host_ratios(scaled, decay, &half, 1, 1);
    assert_true(scaled[0] == 3.0 / 2);
}

/* What the thin functions do where a backend has nothing of its own. */
static nt_status count_calls(void *arg)
{
    ++*(int *)arg;
    return NT_OK;
}

static void host_backends_do_it_at_once(void **state)
{
    (void)state;
    nt_backend *backend = make_backend("ref");
    int calls = 0;
    bool ran = false;
    for (int i = 0; i < 3; i++) {
        MUST(nt_backend_record(backend, 1, count_calls, &calls, &ran));
        assert_true(ran && calls == i + 1);
    }
    double sent[2] = {1, 2}, other = 5, got[2];
    MUST(nt_backend_post(backend, sent, sizeof sent, 0));
    MUST(nt_backend_post(backend, &other, sizeof other, 1));
    sent[0] = 3; /* after the post */
    MUST(nt_backend_collect(backend, 0, got, sizeof got));
    assert_true(got[0] == 1 && got[1] == 2);
    assert_int_equal(nt_backend_post(backend, sent, sizeof sent, NT_POST_SLOTS), NT_ERR_BUG);
    assert_int_equal(nt_backend_post(backend, sent, NT_POST_BYTES + 1, 0), NT_ERR_BUG);
    nt_backend_destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_added), cmocka_unit_test(pieces_are_summed_first),
        cmocka_unit_test(verdicts),         cmocka_unit_test(updates_obey),
        cmocka_unit_test(ratios),           cmocka_unit_test(host_backends_do_it_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
