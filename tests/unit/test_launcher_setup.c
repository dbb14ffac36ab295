/* What a run needs before it computes: words of a command line, intervals, names, the locked run folder,
 * positions. */
#include "launcher/args.h"
#include "launcher/evaluate.h"
#include "launcher/folder.h"
#include "launcher/interval.h"
#include "launcher/options.h"
#include "launcher/resume.h"

#include "core/log.h"
#include "tests/unit/h5_helpers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* --- words --- */

static bool json;
static int64_t steps;
static const char *part;
static const nt_flag flags[] = {{"json", NT_FLAG_BOOL, &json, ""},
                                {"steps", NT_FLAG_INT, &steps, ""},
                                {"part", NT_FLAG_STRING, &part, ""}};

static nt_status parse(nt_args *args, bool overrides, int n, const char *const *words)
{
    char *argv[16] = {"command"};
    json = false;
    steps = 0;
    part = NULL;
    for (int i = 0; i < n; i++)
        argv[i + 1] = (char *)words[i];
    const nt_syntax syntax = {"usage", 1, 2, overrides, flags, 3};
    return nt_args_parse(args, n + 1, argv, &syntax);
}
#define PARSE(args, overrides, ...)                                                                          \
    parse(args, overrides, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                    \
          (const char *[]){__VA_ARGS__})

static void words_flags_and_overrides_in_any_order(void **state)
{
    (void)state;
    nt_args args;
    assert_int_equal(PARSE(&args, true, "--json", "cfg.ini", "run.seed=3", "--steps=7", "other",
                           "layer.a-b.units=4", "--part", "valid"),
                     NT_OK);
    assert_true(json);
    assert_int_equal(steps, 7);
    assert_string_equal(part, "valid");
    assert_int_equal(args.n_words, 2);
    assert_string_equal(args.word[0], "cfg.ini");
    assert_string_equal(args.word[1], "other");
    assert_int_equal(args.n_overrides, 2);
    assert_string_equal(args.override[1], "layer.a-b.units=4");
    nt_args_free(&args);
}

static void what_is_an_override(void **state)
{
    (void)state;
    nt_args args;
    assert_int_equal(PARSE(&args, true, "a.b=c", "./a.b=c"),
                     NT_OK); /* the first word is the file; a path is one */
    assert_int_equal(args.n_overrides, 0);
    nt_args_free(&args);
    assert_int_equal(PARSE(&args, false, "x", "a.b=c"), NT_OK);
    assert_int_equal(args.n_overrides, 0);
    nt_args_free(&args);
    assert_int_equal(PARSE(&args, true, "--", "-x.ini", "--json"), NT_OK);
    assert_string_equal(args.word[0], "-x.ini");
    assert_false(json);
    nt_args_free(&args);
}

static void fault_81_bad_words_are_refused(void **state)
{
    (void)state;
    nt_args args;
    static const char *const bad[][3] = {{"a", "b", "c"},         {"--nothing", "a", "b"},
                                         {"a", "--steps=x", "b"}, {"a", "--steps=-1", "b"},
                                         {"a", "", "b"},          {"a", "--json=1", "b"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(&args, true, 3, bad[i]), NT_ERR_USAGE);
        nt_args_free(&args);
    }
    assert_int_equal(PARSE(&args, true, "a", "--steps"), NT_ERR_USAGE);
    nt_args_free(&args);
    assert_int_equal(parse(&args, true, 0, NULL), NT_ERR_USAGE);
    nt_args_free(&args);
}

/* --- intervals --- */

static int count_due(nt_interval interval, int64_t first, int64_t last, int64_t batches)
{
    int n = 0;
    for (int64_t step = first; step <= last; step++)
        n += nt_interval_due(&interval, step, batches);
    return n;
}

static void intervals_in_steps_and_epochs(void **state)
{
    (void)state;
    assert_true(nt_interval_due(&(nt_interval){NT_STEPS, 7}, 14, 100));
    assert_false(nt_interval_due(&(nt_interval){NT_STEPS, 7}, 15, 100));
    assert_true(nt_interval_due(&(nt_interval){NT_EPOCHS, 2}, 46, 23));
    assert_int_equal(count_due((nt_interval){NT_EPOCHS, 2}, 1, 230, 23), 5);
    assert_int_equal(count_due((nt_interval){NT_EPOCHS, 0.001}, 1, 230, 23), 230);
    assert_int_equal(count_due((nt_interval){NT_NEVER, 0}, 1, 230, 23), 0);
    assert_int_equal(count_due((nt_interval){NT_MINUTES, 1}, 1, 230, 23), 0);
    assert_true(nt_interval_due_by_clock(&(nt_interval){NT_MINUTES, 0.5}, 31));
    assert_false(nt_interval_due_by_clock(&(nt_interval){NT_MINUTES, 0.5}, 29));
    assert_false(nt_interval_due_by_clock(&(nt_interval){NT_STEPS, 1}, 1e9));
}

/* Parts of an epoch neither drift nor depend on where a run was resumed: n parts come n times an epoch, for
 * ever. */
static void intervals_of_parts_do_not_drift(void **state)
{
    (void)state;
    for (int parts = 1; parts <= 10; parts++)
        for (int64_t epoch = 0; epoch < 50; epoch++)
            assert_int_equal(
                count_due((nt_interval){NT_EPOCHS, 1.0 / parts}, epoch * 23 + 1, (epoch + 1) * 23, 23),
                parts);
}

/* --- names --- */

static nt_status name_of(const char *path, const char *override, char name[80])
{
    nt_config *config;
    static const nt_section *const sections[] = {&nt_run_section, NULL};
    assert_int_equal(nt_config_parse(&config, "test", "[run]\n", 6, &override, override != NULL, sections),
                     NT_OK);
    nt_status status = nt_run_name(config, path, name, 80);
    nt_config_destroy(config);
    return status;
}

static void fault_76_names_are_safe(void **state)
{
    (void)state;
    static const char *const bad[] = {"run.name=../x", "run.name=a/b", "run.name=-x",
                                      "run.name=$rm",  "run.name=.x",  "run.name=a b"};
    char name[80];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(name_of("x.ini", bad[i], name), NT_ERR_CONFIG);
    assert_int_equal(name_of("x.ini", "run.name=ok_1.2-3", name), NT_OK);
    assert_string_equal(name, "ok_1.2-3");
    assert_int_equal(name_of("x.ini", "run.name=mine.ini", name), NT_OK);
    assert_string_equal(name, "mine.ini"); /* as it was given */
}

static void names_come_from_the_config_file(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"a/b/digits.ini", "digits"},
                                           {"digits", "digits"},
                                           {"x y;.ini", "x_y_"},
                                           {"-x.ini", "_x"},
                                           {".ini", "_ini"},
                                           {"dir/", "_"},
                                           {"$(rm)\n.ini", "__rm__"}};
    char name[80], long_path[300];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(name_of(cases[i][0], NULL, name), NT_OK);
        assert_string_equal(name, cases[i][1]);
    }
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    assert_int_equal(name_of(long_path, NULL, name), NT_OK);
    assert_int_equal(strlen(name), 64);
}

/* --- the run folder --- */

static void write_lock(const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "%s/lock", test_dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static nt_status open_and_close(const char *host)
{
    nt_folder *folder;
    nt_status status = nt_folder_open(&folder, test_dir, host);
    if (status == NT_OK) nt_folder_close(folder);
    return status;
}

static void fault_12_folder_has_one_owner(void **state)
{
    (void)state;
    nt_folder *folder;
    assert_int_equal(nt_folder_open(&folder, test_dir, "here"), NT_OK);
    assert_int_equal(open_and_close("here"), NT_ERR_CREATE);
    assert_non_null(strstr(nt_error_last()->message, "in use by process"));
    assert_int_equal(open_and_close("elsewhere"), NT_ERR_CREATE);
    nt_folder_close(folder);
    assert_int_equal(open_and_close("here"), NT_OK);
}

static void fault_12_stale_locks_are_taken_over(void **state)
{
    (void)state;
    char text[128];
    pid_t gone = fork();
    if (gone == 0) _exit(0);
    waitpid(gone, NULL, 0);
    snprintf(text, sizeof text, "here %d 12345\n", (int)gone);
    write_lock(text);
    assert_int_equal(open_and_close("here"), NT_OK);
    snprintf(text, sizeof text, "here %d 1\n", (int)getpid()); /* our number, but a process of another time */
    write_lock(text);
    assert_int_equal(open_and_close("here"), NT_OK);
    write_lock("torn");
    assert_int_equal(open_and_close("here"), NT_OK);
    write_lock("elsewhere 1 1\n");
    assert_int_equal(open_and_close("here"), NT_ERR_CREATE);
}

/* Eight processes find the same stale lock: exactly one gets it. */
static void fault_12_one_of_many_takes_over(void **state)
{
    (void)state;
    pid_t child[8];
    int owners = 0, status;
    write_lock("here 999999999 1\n");
    for (int i = 0; i < 8; i++) {
        if ((child[i] = fork()) != 0) continue;
        nt_folder *folder;
        nt_log_set_level(NT_LOG_ERROR);
        nt_status opened = nt_folder_open(&folder, test_dir, "here");
        if (opened == NT_OK) sleep(3); /* longer than the others wait */
        _exit(opened == NT_OK ? 1 : 0);
    }
    for (int i = 0; i < 8; i++) {
        waitpid(child[i], &status, 0);
        owners += WEXITSTATUS(status);
    }
    assert_int_equal(owners, 1);
}

static void files_of_the_folder_are_replaced_whole(void **state)
{
    (void)state;
    nt_folder *folder;
    char path[4096], text[32] = "";
    assert_int_equal(nt_folder_open(&folder, test_dir, "here"), NT_OK);
    assert_int_equal(nt_folder_write(folder, "config.ini", "first"), NT_OK);
    assert_int_equal(nt_folder_write(folder, "config.ini", "second"), NT_OK);
    assert_int_equal(nt_folder_path(folder, "config.ini", path, sizeof path), NT_OK);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, sizeof text - 1, file), 6);
    fclose(file);
    assert_string_equal(text, "second");
    nt_folder_close(folder);
}

/* --- positions and probabilities --- */

static void fault_40_impossible_positions_are_refused(void **state)
{
    (void)state;
    static const nt_position bad[] = {{.step = -1},
                                      {.step = 5, .batch = 4},
                                      {.step = 10, .batch = 10},
                                      {.step = 3, .epoch = -1, .batch = 13},
                                      {.step = 0, .best_step = 1},
                                      {.step = INT64_MAX, .epoch = INT64_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(nt_position_check(&bad[i], 10), NT_ERR_CHECKPOINT);
    assert_int_equal(
        nt_position_check(&(nt_position){.step = 23, .epoch = 2, .batch = 3, .best_step = 20}, 10), NT_OK);
    nt_position fresh = nt_position_fresh();
    assert_int_equal(nt_position_check(&fresh, 10), NT_OK);
}

static void probabilities(void **state)
{
    (void)state;
    float logits[] = {1000, 1000, -1000}, logit[] = {0}, value[] = {3.5f};
    nt_outputs_to_probabilities(logits, &(nt_output_layout){3, 1, 1, 3}, NT_OUTPUTS_LOGITS);
    assert_true(logits[0] == 0.5f && logits[1] == 0.5f && logits[2] == 0);
    nt_outputs_to_probabilities(logit, &(nt_output_layout){1, 1, 1, 1}, NT_OUTPUTS_LOGISTIC);
    assert_true(logit[0] == 0.5f);
    nt_outputs_to_probabilities(value, &(nt_output_layout){1, 1, 1, 1}, NT_OUTPUTS_VALUES);
    assert_true(value[0] == 3.5f);
    float last[] = {0, 0, -1000, 1000, 1000, 0}, first[] = {0, 7, 0, 7, -1000, 7};
    const nt_output_layout by_position = {3, 2, 1, 3}, by_class = {3, 2, 2, 1};
    nt_outputs_to_probabilities(last, &by_position, NT_OUTPUTS_LOGITS);
    assert_true(last[0] == 0.5f && last[2] == 0 && last[3] == 0.5f && last[5] == 0);
    assert_int_equal(nt_output_class(last, &by_position, 1), 0);
    nt_outputs_to_probabilities(first, &by_class, NT_OUTPUTS_LOGITS);
    assert_true(first[0] == 0.5f && first[2] == 0.5f && first[4] == 0);
    assert_true(fabsf(first[1] - 1 / 3.0f) < 1e-6f && first[1] == first[5]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_flags_and_overrides_in_any_order),
        cmocka_unit_test(what_is_an_override),
        cmocka_unit_test(fault_81_bad_words_are_refused),
        cmocka_unit_test(intervals_in_steps_and_epochs),
        cmocka_unit_test(intervals_of_parts_do_not_drift),
        cmocka_unit_test(fault_76_names_are_safe),
        cmocka_unit_test(names_come_from_the_config_file),
        cmocka_unit_test_setup_teardown(fault_12_folder_has_one_owner, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(fault_12_stale_locks_are_taken_over, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(fault_12_one_of_many_takes_over, make_test_dir, remove_test_dir),
        cmocka_unit_test_setup_teardown(files_of_the_folder_are_replaced_whole, make_test_dir,
                                        remove_test_dir),
        cmocka_unit_test(fault_40_impossible_positions_are_refused),
        cmocka_unit_test(probabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
