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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant),    cmocka_unit_test(test_warmup),
        cmocka_unit_test(test_step),        cmocka_unit_test(test_multistep),
        cmocka_unit_test(test_exponential), cmocka_unit_test(test_drops_do_not_move_with_warmup),
        cmocka_unit_test(test_polynomial),  cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
