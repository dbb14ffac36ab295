/* metrics.jsonl and metrics.csv: whole lines, the same numbers in both, nothing twice after a resume. */
#include "launcher/metrics.h"

#include "core/log.h"
#include "launcher/json.h"
#include "tests/unit/h5_helpers.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char *content(const char *name)
{
    static char text[8192];
    FILE *file = fopen(in_dir(name), "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void write_rows(int64_t resumed, int64_t first, int64_t last)
{
    nt_metrics *metrics;
    assert_int_equal(nt_metrics_open(&metrics, test_dir, resumed, false), NT_OK);
    for (int64_t step = first; step <= last; step++)
        nt_metrics_write(metrics, &(nt_metrics_row){.step = step,
                                                    .epoch = 1,
                                                    .split = "train",
                                                    .loss = 1.0 / (double)step,
                                                    .accuracy = NAN,
                                                    .lr = 0.1,
                                                    .grad_norm = INFINITY,
                                                    .samples_per_s = 1e6,
                                                    .perplexity = 2.5});
    nt_metrics_sync(metrics);
    nt_metrics_close(metrics);
}

static void same_fields_in_both_files(void **state)
{
    (void)state;
    write_rows(0, 3, 3);
    assert_string_equal(
        content("metrics.jsonl"),
        "{\"step\": 3, \"epoch\": 1, \"split\": \"train\", \"loss\": 0.333333333, \"lr\": 0.1, "
        "\"grad_norm\": null, \"samples_per_s\": 1000000, \"perplexity\": 2.5}\n");
    assert_string_equal(content("metrics.csv"),
                        "step,epoch,split,loss,accuracy,lr,grad_norm,samples_per_s,perplexity\n"
                        "3,1,train,0.333333333,,0.1,inf,1000000,2.5\n");
}

/* A run that an older version began goes on with the columns of its header; a fresh one has those of today.
 */
static void older_files_keep_their_columns(void **state)
{
    (void)state;
    static const char old[] = "step,epoch,split,loss,accuracy,lr,grad_norm,samples_per_s\n"
                              "1,1,train,1,,0.1,2,3\n2,1,train,1,,0.1,2,3\n";
    const int warnings = nt_log_warnings();
    for (int fresh = 0; fresh < 2; fresh++) {
        FILE *file = fopen(in_dir("metrics.csv"), "w");
        fputs(old, file);
        fclose(file);
        write_rows(fresh ? 0 : 1, 3, 3);
        assert_string_equal(content("metrics.csv"),
                            fresh ? "step,epoch,split,loss,accuracy,lr,grad_norm,samples_per_s,perplexity\n"
                                    "3,1,train,0.333333333,,0.1,inf,1000000,2.5\n"
                                  : "step,epoch,split,loss,accuracy,lr,grad_norm,samples_per_s\n"
                                    "1,1,train,1,,0.1,2,3\n3,1,train,0.333333333,,0.1,inf,1000000\n");
    }
    assert_int_equal(nt_log_warnings(), warnings); /* that somebody has worked on the file */
}

static void json_has_no_infinities(void **state)
{
    (void)state;
    assert_string_equal(nt_json_number(0.1).text, "0.1");
    assert_string_equal(nt_json_number(-1.0 / 3).text, "-0.333333333");
    assert_string_equal(nt_json_number(1e300).text, "1e+300");
    assert_string_equal(nt_json_number(INFINITY).text, "null");
    assert_string_equal(nt_json_number(-INFINITY).text, "null");
    assert_string_equal(nt_json_number(NAN).text, "null");
}

/* Killed after step 7 and resumed from 5: the same bytes as one uninterrupted run. */
static void resumed_files_equal_uninterrupted_ones(void **state)
{
    (void)state;
    write_rows(0, 1, 10);
    char json[8192], csv[8192];
    strcpy(json, content("metrics.jsonl"));
    strcpy(csv, content("metrics.csv"));
    write_rows(0, 1, 7);
    write_rows(5, 6, 10);
    assert_string_equal(content("metrics.jsonl"), json);
    assert_string_equal(content("metrics.csv"), csv);
}

static void torn_last_line_is_cut(void **state)
{
    (void)state;
    write_rows(0, 1, 2);
    FILE *file = fopen(in_dir("metrics.jsonl"), "a");
    fputs("{\"step\": 3, \"epo", file);
    fclose(file);
    file = fopen(in_dir("metrics.csv"), "a");
    fputs("3", file);
    fclose(file);
    write_rows(2, 3, 3);
    char json[8192];
    strcpy(json, content("metrics.jsonl"));
    write_rows(0, 1, 3);
    assert_string_equal(content("metrics.jsonl"), json);
    assert_non_null(strstr(content("metrics.csv"), "\n3,1,train"));
}

static void fresh_run_begins_empty(void **state)
{
    (void)state;
    write_rows(0, 1, 9);
    write_rows(0, 1, 1);
    assert_null(strstr(content("metrics.jsonl"), "\"step\": 9"));
}

/* A spreadsheet ends lines in its own way: what it has made of the file is not thrown away. */
static void edited_files_are_kept(void **state)
{
    (void)state;
    static const char *const aside[] = {"metrics.csv.old", "metrics.csv.old.1", "metrics.csv.old.2"};
    static char before[3][8192];
    write_rows(0, 1, 3);
    for (int time = 0; time < 3; time++) { /* a copy does not take the place of an earlier one */
        FILE *file = fopen(in_dir("metrics.csv"), "a");
        fprintf(file, "%d;1;train;0,25\r\n", 4 + time);
        fclose(file);
        strcpy(before[time], content("metrics.csv"));
        int warnings = nt_log_warnings();
        write_rows(3 + time, 4 + time, 4 + time);
        assert_int_equal(nt_log_warnings(), warnings + 1);
        assert_null(strstr(content("metrics.csv"), ";"));
        assert_non_null(strstr(content("metrics.csv"), "\n4,1,train,0.25"));
    }
    for (int time = 0; time < 3; time++)
        assert_string_equal(content(aside[time]), before[time]);
    assert_int_not_equal(access(in_dir("metrics.jsonl.old"), F_OK), 0);
}

static void links_and_folders_are_refused(void **state)
{
    (void)state;
    nt_metrics *metrics;
    assert_int_equal(mkfifo(in_dir("train.log"), 0600), 0);
    assert_int_equal(nt_log_open_file(in_dir("train.log")), NT_ERR_CREATE);
    assert_int_equal(symlink("/dev/null", in_dir("metrics.jsonl")), 0);
    assert_int_equal(nt_metrics_open(&metrics, test_dir, 0, false), NT_ERR_CREATE);
    unlink(in_dir("metrics.jsonl"));
    assert_int_equal(mkfifo(in_dir("metrics.jsonl"), 0600), 0);
    assert_int_equal(nt_metrics_open(&metrics, test_dir, 0, false), NT_ERR_CREATE);
}

/* The file may not grow past 100 bytes: no half line stays, one warning, no failure. */
static void fault_89_full_disk_costs_rows_only(void **state)
{
    (void)state;
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 100, .rlim_max = old.rlim_max};
    int warnings = nt_log_warnings();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    write_rows(0, 1, 5);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(nt_log_warnings(), warnings + 1);
    const char *text = content("metrics.jsonl");
    assert_true(*text == '\0' || text[strlen(text) - 1] == '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(same_fields_in_both_files, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(older_files_keep_their_columns, make_test_dir, remove_test_dir),
        cmocka_unit_test(json_has_no_infinities),
        cmocka_unit_test_setup_teardown(resumed_files_equal_uninterrupted_ones, make_test_dir,
                                        remove_test_dir),
        cmocka_unit_test_setup_teardown(torn_last_line_is_cut, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(fresh_run_begins_empty, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(edited_files_are_kept, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(links_and_folders_are_refused, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(fault_89_full_disk_costs_rows_only, make_test_dir, remove_test_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
