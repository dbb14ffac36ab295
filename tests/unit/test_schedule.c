/* Schedules against schedulers that remember: the oracles walk through the run and change a rate from step to
 * step (by the recursive forms that PyTorch documents), while ours is asked for each step out of the blue.
 *
 * Tolerance: an oracle of T steps multiplies T factors, each off by some 2^-53, and divides by what goes to
 * zero at the end of cosine and polynomial; 1e-10 of the first rate covers T = 2000 with room, and is far
 * below one step's change. */
#include "core/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PI        3.14159265358979323846
#define TOLERANCE 1e-10

enum { STEPS = 2000, PER_EPOCH = 50, WARMUP = 75 };

static nt_optim_options options_of(nt_schedule schedule)
{
    nt_optim_options options;
    assert_int_equal(nt_section_defaults(&nt_optim_section, &options), NT_OK);
    options.lr = 0.4;
    options.schedule = schedule;
    return options;
}

static void expect_near(double got, double expected, double lr, int64_t step)
{
    if (!(fabs(got - expected) <= TOLERANCE * lr))
        fail_msg("step %lld: %.17g, not %.17g", (long long)step, got, expected);
}

static void test_constant(void **state)
{
    (void)state;
    nt_optim_options options = options_of(NT_SCHEDULE_CONSTANT);
    for (int64_t step = 0; step < STEPS; step++)
        assert_true(nt_schedule_lr(&options, step, STEPS, PER_EPOCH) == 0.4);
}

/* Warm-up adds lr / warmup at every step and lands on lr, whatever follows. */
static void test_warmup(void **state)
{
    (void)state;
    for (int schedule = NT_SCHEDULE_CONSTANT; schedule <= NT_SCHEDULE_COSINE; schedule++) {
        int64_t values[] = {1, 2};
        nt_optim_options options = options_of(schedule);
        options.warmup = WARMUP;
        options.step_every = (nt_interval){NT_STEPS, 1e9};
        options.milestones = (nt_ints){2, values};
        double rate = 0;
        for (int64_t step = 0; step < PER_EPOCH; step++) { /* before the first milestone */
            rate += 0.4 / WARMUP;
            expect_near(nt_schedule_lr(&options, step, STEPS, PER_EPOCH), rate, 0.4, step);
        }
        assert_true(nt_schedule_lr(&options, WARMUP - 1, STEPS, PER_EPOCH) == 0.4);
    }
    nt_optim_options options = options_of(NT_SCHEDULE_COSINE);
    options.warmup = WARMUP;
    assert_true(nt_schedule_lr(&options, WARMUP, STEPS, PER_EPOCH) == 0.4); /* cosine begins at its top */
}

static void test_step(void **state)
{
    (void)state;
    static const nt_interval periods[] = {
        {NT_STEPS, 70}, {NT_EPOCHS, 3}, {NT_EPOCHS, 0.1}, {NT_EPOCHS, 1.1}}; /* 1.1 * 50 is above 55 */
    static const int64_t in_steps[] = {70, 150, 5, 55};
    for (size_t i = 0; i < 4; i++) {
        nt_optim_options options = options_of(NT_SCHEDULE_STEP);
        double rate = 0.4;
        options.gamma = 0.9;
        options.step_every = periods[i];
        for (int64_t step = 0; step < STEPS; step++) {
            if (step > 0 && step % in_steps[i] == 0) rate *= 0.9;
            expect_near(nt_schedule_lr(&options, step, STEPS, PER_EPOCH), rate, 0.4, step);
        }
    }
}

static void test_multistep(void **state)
{
    (void)state;
    int64_t milestones[] = {1, 7, 30};
    nt_optim_options options = options_of(NT_SCHEDULE_MULTISTEP);
    double rate = 0.4;
    options.gamma = 0.1;
    options.milestones = (nt_ints){3, milestones};
    for (int64_t step = 0; step < STEPS; step++) {
        if (step == 1 * PER_EPOCH || step == 7 * PER_EPOCH || step == 30 * PER_EPOCH) rate *= 0.1;
        expect_near(nt_schedule_lr(&options, step, STEPS, PER_EPOCH), rate, 0.4, step);
    }
}

/* Drops stay where epochs end, also behind a warm-up. */
static void test_drops_do_not_move_with_warmup(void **state)
{
    (void)state;
    int64_t milestones[] = {5};
    nt_optim_options options = options_of(NT_SCHEDULE_MULTISTEP);
    options.milestones = (nt_ints){1, milestones};
    options.warmup = WARMUP;
    assert_true(nt_schedule_lr(&options, 5 * PER_EPOCH - 1, STEPS, PER_EPOCH) == 0.4);
    assert_true(nt_schedule_lr(&options, 5 * PER_EPOCH, STEPS, PER_EPOCH) == 0.4 * 0.1);
}

static void test_exponential(void **state)
{
    (void)state;
    nt_optim_options options = options_of(NT_SCHEDULE_EXPONENTIAL);
    double rate = 0.4, factor = exp(log(0.95) / PER_EPOCH);
    options.gamma = 0.95;
    options.step_every = (nt_interval){NT_EPOCHS, 1};
    for (int64_t step = 0; step < STEPS; step++) {
        expect_near(nt_schedule_lr(&options, step, STEPS, PER_EPOCH), rate, 0.4, step);
        rate *= factor;
    }
}

static void test_polynomial(void **state)
{
    (void)state;
    static const double powers[] = {1, 2, 0.5};
    for (size_t i = 0; i < 3; i++) {
        nt_optim_options options = options_of(NT_SCHEDULE_POLYNOMIAL);
        double above = 0.4 - 0.01; /* what is above min_lr shrinks by the ratio of what remains */
        options.power = powers[i];
        options.min_lr = 0.01;
        options.warmup = WARMUP;
        for (int64_t step = WARMUP; step < STEPS; step++) {
            expect_near(nt_schedule_lr(&options, step, STEPS, PER_EPOCH), 0.01 + above, 0.4, step);
            double remaining = (double)(STEPS - step);
            above *= pow((remaining - 1) / remaining, powers[i]);
        }
    }
}

static void test_cosine(void **state)
{
    (void)state;
    nt_optim_options options = options_of(NT_SCHEDULE_COSINE);
    double rate = 0.4, total = STEPS - WARMUP;
    options.min_lr = 0.001;
    options.warmup = WARMUP;
    for (int64_t step = WARMUP; step < STEPS; step++) {
        expect_near(nt_schedule_lr(&options, step, STEPS, PER_EPOCH), rate, 0.4, step);
        double t = (double)(step - WARMUP);
        rate = 0.001 + (rate - 0.001) * (1 + cos(PI * (t + 1) / total)) / (1 + cos(PI * t / total));
    }
    /* by hand: the middle is half way, a third of the way three quarters */
    options = options_of(NT_SCHEDULE_COSINE);
    expect_near(nt_schedule_lr(&options, 300, 600, 10), 0.2, 0.4, 300);
    expect_near(nt_schedule_lr(&options, 200, 600, 10), 0.3, 0.4, 200);
}

static void test_ends(void **state)
{
    (void)state;
    nt_optim_options options = options_of(NT_SCHEDULE_COSINE);
    options.min_lr = 0.001;
    assert_true(nt_schedule_lr(&options, 0, 1, 1) == 0.4);
    expect_near(nt_schedule_lr(&options, 10, 10, 1), 0.001, 0.4, 10); /* asked beyond the end */
    expect_near(nt_schedule_lr(&options, 1000000000, 10, 1), 0.001, 0.4, 1000000000);
    options.warmup = 10; /* nothing but warm-up */
    assert_true(nt_schedule_lr(&options, 9, 10, 1) == 0.4);
    expect_near(nt_schedule_lr(&options, 10, 10, 1), 0.001, 0.4, 10);
    options = options_of(NT_SCHEDULE_POLYNOMIAL);
    assert_true(nt_schedule_lr(&options, 10, 10, 1) == 0);
    options.lr = NAN; /* auto */
    assert_true(nt_schedule_lr(&options, 0, 10, 1) == 0.01);
    options.type = NT_OPTIM_ADAM;
    assert_true(nt_schedule_lr(&options, 0, 10, 1) == 0.001);
}

/* Rates at the corners, by hand; between them PyTorch's are in tests/reference. */
static void test_one_cycle(void **state)
{
    (void)state;
    nt_optim_options o = options_of(NT_SCHEDULE_ONE_CYCLE);
    o.pct_start = 0.25;
    o.div_factor = 10;
    o.final_div_factor = 100;
    expect_near(nt_schedule_lr(&o, 0, 100, 10), 0.04, 0.4, 0);
    expect_near(nt_schedule_lr(&o, 12, 100, 10), 0.22, 0.4, 12); /* half way up, at 24 / 2 */
    expect_near(nt_schedule_lr(&o, 24, 100, 10), 0.4, 0.4, 24);
    expect_near(nt_schedule_lr(&o, 99, 100, 10), 0.0004, 0.4, 99);
    expect_near(nt_schedule_lr(&o, 5000, 100, 10), 0.0004, 0.4, 5000);
    for (int64_t n = 1; n < 5; n++) /* runs shorter than a cycle */
        for (int64_t step = 0; step < n + 2; step++) {
            double lr = nt_schedule_lr(&o, step, n, 10);
            assert_true(lr > 0 && lr <= 0.4 * (1 + TOLERANCE));
        }
    o.pct_start = 1;
    expect_near(nt_schedule_lr(&o, 99, 100, 10), 0.4, 0.4, 99);
    expect_near(nt_schedule_lr(&o, 0, 1, 10), 0.4, 0.4, 0);
}

static void test_sgdr(void **state)
{
    (void)state;
    nt_optim_options o = options_of(NT_SCHEDULE_SGDR);
    o.restart_every = (nt_interval){NT_EPOCHS, 2};
    o.restart_mult = 3;
    o.min_lr = 0.1;
    o.warmup = 5;
    static const int64_t starts[] = {5, 25, 85, 265}; /* periods of 20, 60, 180 steps */
    for (int i = 0; i < 4; i++)
        expect_near(nt_schedule_lr(&o, starts[i], 100, 10), 0.4, 0.4, starts[i]);
    expect_near(nt_schedule_lr(&o, 15, 100, 10), 0.25, 0.4, 15);
    expect_near(nt_schedule_lr(&o, 55, 100, 10), 0.25, 0.4, 55);
    o.restart_mult = 1;
    expect_near(nt_schedule_lr(&o, 5 + 20 * INT64_C(1000000000) + 10, 100, 10), 0.25, 0.4, 10);
}

static void test_wsd(void **state)
{
    (void)state;
    nt_optim_options o = options_of(NT_SCHEDULE_WSD);
    o.decay_for = (nt_interval){NT_EPOCHS, 2};
    o.power = 1;
    o.min_lr = 0.1;
    o.warmup = 10;
    expect_near(nt_schedule_lr(&o, 4, 100, 10), 0.2, 0.4, 4);
    expect_near(nt_schedule_lr(&o, 80, 100, 10), 0.4, 0.4, 80);
    expect_near(nt_schedule_lr(&o, 90, 100, 10), 0.25, 0.4, 90);
    expect_near(nt_schedule_lr(&o, 100, 100, 10), 0.1, 0.4, 100);
    expect_near(nt_schedule_lr(&o, 101, 100, 10), 0.1, 0.4, 101);
}

/* What stop_after counts: a NaN is no better, nor is what is better by delta at most. */
static void test_progress(void **state)
{
    (void)state;
    nt_progress p = {.n = 0};
    assert_false(nt_progress_take(&p, (double)NAN, 0, 0));
    assert_false(nt_progress_take(&p, (double)INFINITY, 0, 0));
    assert_true(p.bad == 2 && p.n == 2);
    assert_true(nt_progress_take(&p, 2, 0, 0.5) && p.bad == 0 && p.best == 2);
    assert_false(nt_progress_take(&p, 1.5, 0, 0.5));
    assert_true(nt_progress_take(&p, 1.25, 0, 0.5));
    assert_false(nt_progress_take(&p, 1.2, 0.1, 0));
    assert_true(nt_progress_take(&p, 1.0, 0.1, 0) && p.n == 7);
}

/* The state alone goes on: a copy of it in mid-run comes to the same rates. */
static void test_plateau_goes_on(void **state)
{
    (void)state;
    nt_optim_options o = options_of(NT_SCHEDULE_PLATEAU);
    o.gamma = 0.5;
    o.patience = 1;
    o.cooldown = 1;
    nt_plateau a = {.lr = 0};
    for (int cut = 0; cut < 12; cut++) {
        nt_plateau b = a;
        assert_true(nt_plateau_take(&a, &o, 1) == nt_plateau_take(&b, &o, 1));
        assert_memory_equal(&a, &b, sizeof a);
    }
    expect_near(a.lr, 0.4 * 0.5 * 0.5 * 0.5 * 0.5, 0.4, 12); /* at 3, 6 (one cools), 9, 12 */
    o.min_lr = a.lr;
    for (int i = 0; i < 6; i++)
        assert_false(nt_plateau_take(&a, &o, 1));
    assert_true(a.lr == o.min_lr);
}

static void test_lr_per(void **state)
{
    (void)state;
    nt_optim_options o = options_of(NT_SCHEDULE_CONSTANT);
    assert_true(nt_optim_lr_of_batch(&o, 1024) == 0.4);
    o.lr_per = 256;
    assert_true(nt_optim_lr_of_batch(&o, 1024) == 1.6 && nt_optim_lr_of_batch(&o, 64) == 0.1);
    o.lr = NAN; /* auto: the type's */
    assert_true(nt_optim_lr_of_batch(&o, 512) == 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),    cmocka_unit_test(test_warmup),
        cmocka_unit_test(test_step),        cmocka_unit_test(test_multistep),
        cmocka_unit_test(test_exponential), cmocka_unit_test(test_drops_do_not_move_with_warmup),
        cmocka_unit_test(test_polynomial),  cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_ends),        cmocka_unit_test(test_one_cycle),
        cmocka_unit_test(test_sgdr),        cmocka_unit_test(test_wsd),
        cmocka_unit_test(test_progress),    cmocka_unit_test(test_plateau_goes_on),
        cmocka_unit_test(test_lr_per),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
