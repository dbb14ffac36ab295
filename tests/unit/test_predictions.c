/* Files of predictions, CSV and HDF5: what is in them to the letter, and that they are whole or absent. */
#include "h5_helpers.h"

#include "core/h5.h"
#include "launcher/predictions.h"

#include <unistd.h>

static const char *const names[] = {"cat", "a,\"b\"", "two\nlines"};
static const float row[] = {0.1f, 1.0f / 3, 16777216.0f, -1e-30f, 0, 2};
static const int32_t class_[] = {2, 1};

static nt_predictions_form form_of(int64_t n, int64_t k)
{
    return (nt_predictions_form){
        .n_samples = n,
        .n_outputs = k,
        .layout = {.n_classes = k, .n_positions = 1, .class_step = 1, .position_step = 1},
        .classes = true,
        .names = names,
        .n_names = 3,
        .value_name = "probability",
        .checkpoint = "run/checkpoints/step_00000007.h5"};
}

static void write_two(const char *name, const nt_predictions_form *form)
{
    nt_predictions *p;
    assert_ok(nt_predictions_open(&p, in_dir(name), false, form));
    assert_ok(nt_predictions_put(p, 1, row, class_));
    assert_int_not_equal(access(in_dir(name), F_OK), 0); /* not before it is whole */
    assert_ok(nt_predictions_put(p, 1, row + 3, class_ + 1));
    assert_ok(nt_predictions_finish(p));
}

static void expect_text(const char *name, const char *want)
{
    size_t n;
    unsigned char *got = read_whole(in_dir(name), &n);
    got[n] = '\0';
    assert_string_equal((char *)got, want);
    free(got);
}

static void csv_to_the_letter(void **state)
{
    (void)state;
    nt_predictions_form form = form_of(2, 3);
    write_two("named.csv", &form);
    expect_text(
        "named.csv",
        "sample,class,class_name,probability_cat,\"probability_a,\"\"b\"\"\",\"probability_two\nlines\"\n"
        "0,2,\"two\nlines\",0.100000001,0.333333343,16777216\n"
        "1,1,\"a,\"\"b\"\"\",-1e-30,0,2\n");
    form.names = NULL;
    form.n_names = 0;
    write_two("numbered.csv", &form);
    expect_text("numbered.csv", "sample,class,probability_0,probability_1,probability_2\n"
                                "0,2,0.100000001,0.333333343,16777216\n"
                                "1,1,-1e-30,0,2\n");
    form.classes = false;
    form.value_name = "output";
    write_two("values.csv", &form);
    expect_text("values.csv",
                "sample,output_0,output_1,output_2\n0,0.100000001,0.333333343,16777216\n1,-1e-30,0,2\n");
}

/* A model may have more outputs than the data have names. */
static void outputs_beyond_the_names(void **state)
{
    (void)state;
    nt_predictions_form form = form_of(2, 3);
    form.n_names = 2;
    write_two("more.csv", &form);
    expect_text("more.csv",
                "sample,class,class_name,probability_cat,\"probability_a,\"\"b\"\"\",probability_2\n"
                "0,2,,0.100000001,0.333333343,16777216\n"
                "1,1,\"a,\"\"b\"\"\",-1e-30,0,2\n");
}

static void hdf5_has_the_same(void **state)
{
    (void)state;
    nt_predictions_form form = form_of(2, 3);
    write_two("p.h5", &form);
    nt_h5 *file;
    nt_h5_set *set;
    float got[6];
    int32_t class_got[2];
    char **list;
    int n;
    bool found;
    assert_ok(nt_h5_open(&file, in_dir("p.h5")));
    assert_ok(nt_h5_set_open(&set, file, "/prediction", 1 << 20));
    assert_ok(nt_h5_set_read(set, 0, 2, NT_F32, got));
    assert_memory_equal(got, row, sizeof row);
    nt_h5_set_close(set);
    assert_ok(nt_h5_set_open(&set, file, "/class", 1 << 20));
    assert_ok(nt_h5_set_read(set, 0, 2, NT_I32, class_got));
    assert_memory_equal(class_got, class_, sizeof class_);
    nt_h5_set_close(set);
    assert_ok(nt_h5_attr_strings(file, "/", "class_names", &list, 3, &n, &found));
    assert_true(found && n == 3);
    assert_string_equal(list[1], names[1]);
    nt_h5_free_list(list, n);
    nt_h5_close(file);
}

static void whole_or_absent(void **state)
{
    (void)state;
    static const char *const paths[] = {"gone.csv", "gone.h5"};
    nt_predictions_form form = form_of(2, 3);
    for (int i = 0; i < 2; i++) {
        nt_predictions *p;
        assert_ok(nt_predictions_open(&p, in_dir(paths[i]), false, &form));
        assert_ok(nt_predictions_put(p, 1, row, class_));
        nt_predictions_discard(p);
        assert_int_not_equal(access(in_dir(paths[i]), F_OK), 0);
        write_whole(in_dir(paths[i]), "mine", 4);
        assert_fails(nt_predictions_open(&p, in_dir(paths[i]), false, &form), NT_ERR_CREATE, paths[i],
                     "--force");
        expect_text(paths[i], "mine");
        assert_ok(nt_predictions_open(&p, in_dir(paths[i]), true, &form));
        assert_ok(nt_predictions_put(p, 2, row, class_));
        assert_ok(nt_predictions_finish(p));
        char command[4600];
        snprintf(command, sizeof command, "! ls '%s' | grep -q tmp && [ $(wc -c < '%s') -gt 50 ]", test_dir,
                 in_dir(paths[i]));
        assert_int_equal(system(command), 0);
    }
    nt_predictions *p;
    form.layout.n_positions = 4;
    assert_fails(nt_predictions_open(&p, in_dir("many.csv"), false, &form), NT_ERR_USAGE, "many.csv",
                 "4 positions", ".h5");
    assert_null(p);
    form = form_of(2, 3);
    assert_fails(nt_predictions_open(&p, in_dir("no/where.csv"), false, &form), NT_ERR_CREATE,
                 "no/where.csv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_to_the_letter),
        cmocka_unit_test(outputs_beyond_the_names),
        cmocka_unit_test(hdf5_has_the_same),
        cmocka_unit_test(whole_or_absent),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
