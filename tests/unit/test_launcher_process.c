/* Signals, watchdog and progress bar: what the launcher does beside the algorithm. */
#include "launcher/console.h"
#include "launcher/signals.h"
#include "launcher/watchdog.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void leave(int signal_number)
{
    _exit(100 + signal_number);
}

/* Runs `body` in a child; its exit code. */
static int in_child(void (*body)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        body();
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void signal_once(void)
{
    if (nt_signals_install(leave) != NT_OK || nt_signals_caught() != 0) _exit(1);
    raise(SIGTERM);
    if (nt_signals_caught() != SIGTERM) _exit(2);
}

static void signal_twice_at_once(void)
{
    signal_once();
    raise(SIGTERM);
    raise(SIGUSR1);
    if (nt_signals_caught() != SIGTERM) _exit(3);
}

static void signal_twice_in_turn(void)
{
    signal_once();
    usleep(300000);
    raise(SIGINT);
}

static void fault_87_first_signal_sets_a_flag(void **state)
{
    (void)state;
    assert_int_equal(in_child(signal_once), 0);
}

static void fault_87_group_delivery_counts_once(void **state)
{
    (void)state;
    assert_int_equal(in_child(signal_twice_at_once), 0);
}

static void fault_87_second_signal_leaves(void **state)
{
    (void)state;
    assert_int_equal(in_child(signal_twice_in_turn), 100 + SIGINT);
}

static atomic_int barks;

static void bark(double idle_s, const nt_phase *phase)
{
    if (idle_s > 0 && strcmp(phase->name, "data") == 0 && phase->step == 7) atomic_fetch_add(&barks, 1);
}

static void watchdog_barks_once_when_nothing_moves(void **state)
{
    (void)state;
    barks = 0;
    nt_phase_set_step(7);
    nt_phase_enter("data");
    assert_int_equal(nt_watchdog_start(0.2, bark), NT_OK);
    for (int i = 0; i < 100 && !barks; i++)
        usleep(20000);
    nt_watchdog_stop();
    assert_int_equal(barks, 1);
}

static void watchdog_is_quiet_while_ticks_come(void **state)
{
    (void)state;
    barks = 0;
    nt_phase_enter("data");
    assert_int_equal(nt_watchdog_start(0.5, bark), NT_OK);
    for (int i = 0; i < 50; i++) {
        usleep(20000);
        nt_phase_tick();
    }
    nt_watchdog_stop();
    assert_int_equal(barks, 0);
}

/* A rank that waits for others gets two seconds more: the culprit speaks first. */
static void watchdog_gives_waiting_ranks_grace(void **state)
{
    (void)state;
    barks = 0;
    nt_phase_wait("data");
    assert_int_equal(nt_watchdog_start(0.2, bark), NT_OK);
    usleep(600000);
    nt_watchdog_stop();
    assert_int_equal(barks, 0);
}

static void watchdog_zero_is_off(void **state)
{
    (void)state;
    assert_int_equal(nt_watchdog_start(0, bark), NT_OK);
    nt_watchdog_stop();
}

static void bar_fits_its_width(void **state)
{
    (void)state;
    char text[256];
    nt_console_view view = {.what = "epoch 1/2",
                            .done = 6,
                            .total = 12,
                            .loss = 0.25,
                            .accuracy = NAN,
                            .samples_per_s = 1000,
                            .left_s = 3723};
    nt_console_format(text, sizeof text, &view, 200);
    assert_string_equal(
        text, "epoch 1/2 [############------------] 6/12  loss 0.2500  1000 samples/s  1:02:03 left");
    for (int width = 1; width < 100; width++) {
        nt_console_format(text, sizeof text, &view, width);
        assert_true((int)strlen(text) <= width);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_87_first_signal_sets_a_flag),
        cmocka_unit_test(fault_87_group_delivery_counts_once),
        cmocka_unit_test(fault_87_second_signal_leaves),
        cmocka_unit_test(watchdog_barks_once_when_nothing_moves),
        cmocka_unit_test(watchdog_is_quiet_while_ticks_come),
        cmocka_unit_test(watchdog_gives_waiting_ranks_grace),
        cmocka_unit_test(watchdog_zero_is_off),
        cmocka_unit_test(bar_fits_its_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
