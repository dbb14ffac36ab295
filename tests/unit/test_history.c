/* What a run wrote down, read back: every second of times.csv is somewhere whatever it calls its phases,
 * lines that are no rows are counted, and what lies in the place of a file does not hold the report up. */
#include "launcher/history.h"
#include "tests/unit/h5_helpers.h"

#include <math.h>
#include <sys/stat.h>

static nt_history history;

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(in_dir(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static double seconds_of(const char *phase)
{
    for (int i = 0; i < history.n_times; i++)
        if (strcmp(history.time[i].phase, phase) == 0) return history.time[i].seconds;
    return -1;
}

static void no_second_is_lost(void **state)
{
    (void)state;
    FILE *file = fopen(in_dir("times.csv"), "w");
    assert_non_null(file);
    fprintf(file, "step,phase,seconds\n");
    for (int step = 1; step <= 2; step++)
        for (int i = 0; i < 1000; i++)
            fprintf(file, "%d,phase %d,%d\n", step, i, i + 1);
    fclose(file);
    write_text("metrics.csv",
               "step,epoch,split,loss,accuracy,lr,grad_norm,samples_per_s\n1,1,train,2.5,,,,\n");
    assert_ok(nt_history_load(&history, in_dir("")));
    double sum = 0;
    for (int i = 0; i < history.n_times; i++)
        sum += history.time[i].seconds;
    assert_int_equal(history.n_times, NT_HISTORY_TIMES);
    assert_true(sum == 2 * 500500);
    assert_true(seconds_of("phase 0") == 2 && seconds_of("phase 62") == 126);
    assert_string_equal(history.time[0].phase, NT_PHASE_REST); /* most of the time */
    assert_int_equal(history.n_rows, 1);
    assert_int_equal(history.n_bad_lines, 0);
    nt_history_free(&history);
}

/* The same while the run counts. */
static void phases_have_a_rest_too(void **state)
{
    (void)state;
    static char name[40][8];
    nt_phase_time times[NT_MAX_PHASES];
    (void)nt_phase_take_times(times);
    for (int i = 0; i < 40; i++) {
        snprintf(name[i], sizeof name[i], "p%d", i);
        nt_phase_enter(name[i]);
    }
    nt_phase_enter("p0");
    int n = nt_phase_take_times(times);
    assert_int_equal(n, NT_MAX_PHASES);
    assert_string_equal(times[n - 1].name, NT_PHASE_REST);
    nt_phase_enter("start");
}

static void lines_that_are_no_rows(void **state)
{
    (void)state;
    unlink(in_dir("times.csv"));
    write_text("metrics.csv",
               "step,epoch,split,loss,accuracy,lr,grad_norm,samples_per_s\r\n"
               "1,1,train,nan,inf,0.1,,\r\n\n2,1\n9999999999999999999999,1,train,1,,,,\n"
               "3,1,a split whose name is far too long,1,,,,\n4,1,train,1,,,,,,\n5,1,valid,0.5,,,,");
    assert_ok(nt_history_load(&history, in_dir("")));
    assert_int_equal(history.n_rows, 2);
    assert_int_equal(history.n_bad_lines, 5);
    assert_true(isnan(history.row[0].value[NT_HISTORY_LOSS]) && history.row[0].value[NT_HISTORY_LR] == 0.1);
    assert_int_equal(history.row[1].step, 5);
    nt_history_free(&history);
}

static void what_is_no_file(void **state)
{
    (void)state;
    unlink(in_dir("times.csv"));
    unlink(in_dir("metrics.csv"));
    assert_fails(nt_history_load(&history, in_dir("")), NT_ERR_NO_INPUT, "metrics.csv",
                 "run folder is wanted");
    assert_int_equal(mkfifo(in_dir("metrics.csv"), 0600), 0);
    assert_fails(nt_history_load(&history, in_dir("")), NT_ERR_NO_INPUT, "metrics.csv", "regular file");
    unlink(in_dir("metrics.csv"));
    assert_int_equal(symlink("/dev/zero", in_dir("metrics.csv")), 0);
    assert_fails(nt_history_load(&history, in_dir("")), NT_ERR_NO_INPUT, "metrics.csv", "regular file");
    unlink(in_dir("metrics.csv"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_second_is_lost),
        cmocka_unit_test(phases_have_a_rest_too),
        cmocka_unit_test(lines_that_are_no_rows),
        cmocka_unit_test(what_is_no_file),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
