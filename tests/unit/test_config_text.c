/* The promises of the resolved text: it reads back to the same values, its hash sees what matters and nothing
 * else, the differences name what changed, and an included model is part of it all. And the tables of the
 * program, which all of this stands on. */
#include "core/ini.h"
#include "core/layer.h"
#include "core/model.h"
#include "core/optim.h"
#include "core/rng.h"
#include "datasets/dataset.h"
#include "tests/unit/config_demo.h"
#include "tests/unit/h5_helpers.h"

#include <unistd.h>

#define N_SPELLINGS 5
/* For every option of demo a few spellings of good values. */
static const char *const spellings[][N_SPELLINGS] = {
    {"1", "+7", "007", "100", "42"},
    {"0.1", "1e-300", ".3333333333333333", "123456789", "5e0"},
    {"auto", "0", "0.9999999999999999", "0.50", "1e-2"},
    {"yes", "no", "true", "off", "0"},
    {"", "a b", "a#b", "\xc3\xa9 = \"x\"", "[demo]"},
    {"none", "x", "a, b", "1", "no"},
    {"sgd", "adam", "adamw", "sgd", "adam"},
    {"3", "3,5", "1 , 7", "9223372036854775807", "2,2"},
    {"same", "0", "1, 2", "0,0", "7"},
    {"", "a", "a,b", "a b , c", "x,y,z"},
    {"", "0.5", "0.50,1e-1", "-1,1", "0.1,0.2,0.3"},
    {"", "1", "30,60 , 90", "1,2", "9223372036854775807"},
    {"never", "1 epoch", "500 steps", "0.5 epochs", "1.25\tminutes"},
    {"10", "0.5", "1e9", "-3", "0"},
};

static uint32_t pick(uint32_t seed, int i)
{
    return nt_rng_block(11, NT_RNG_TEST, 0, seed, (uint32_t)i, 0).v[0];
}

/* A config with random spellings of random keys, and two groups. */
static void random_config(char *text, size_t cap, uint32_t seed)
{
    size_t used = (size_t)snprintf(text, cap, "[layer a]\ntype = conv2d\n[demo]\n");
    for (int i = 0; i < demo_section.n_options; i++) {
        if (pick(seed, i) % 4 == 0) continue;
        used += (size_t)snprintf(text + used, cap - used, "%s = %s\n", demo_options[i].key,
                                 spellings[i][pick(seed, i + 100) % N_SPELLINGS]);
    }
    snprintf(text + used, cap - used, "[layer b]\nkernel = 3 ,5 ; c\nx =\n");
}

static void expect_same_values(const demo *a, const demo *b)
{
    demo x = *a, y = *b;
    assert_int_equal(x.files.n, y.files.n);
    for (int i = 0; i < x.files.n; i++)
        assert_string_equal(x.files.name[i], y.files.name[i]);
    assert_int_equal(x.mean.n, y.mean.n);
    if (x.mean.n) assert_memory_equal(x.mean.value, y.mean.value, (size_t)x.mean.n * sizeof(double));
    assert_int_equal(x.milestones.n, y.milestones.n);
    if (x.milestones.n)
        assert_memory_equal(x.milestones.value, y.milestones.value, (size_t)x.milestones.n * sizeof(int64_t));
    assert_true(!x.name == !y.name);
    if (x.name) assert_string_equal(x.name, y.name);
    assert_string_equal(x.label, y.label);
    assert_memory_equal(&x.rate, &y.rate, sizeof x.rate);
    assert_true(x.gain == y.gain || (isnan(x.gain) && isnan(y.gain)));
    assert_true(x.count == y.count && x.flag == y.flag && x.kind == y.kind);
    assert_memory_equal(x.kernel, y.kernel, sizeof x.kernel);
    assert_memory_equal(x.padding, y.padding, sizeof x.padding);
    assert_true(x.every.unit == y.every.unit && x.every.count == y.every.count);
    assert_true(x.log_every == y.log_every);
}

static void test_resolved_text_reads_back(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < 3000; seed++) {
        char text[2048], differences[256];
        random_config(text, sizeof text, seed);
        nt_config *first = good(text, NULL, demo_only);
        char *out = resolved(first);
        nt_config *second = good(out, NULL, demo_only);
        char *again = resolved(second);
        assert_string_equal(out, again);
        expect_same_values(nt_config_section(first, &demo_section), nt_config_section(second, &demo_section));
        assert_true(nt_config_hash(first) == nt_config_hash(second));
        assert_int_equal(nt_config_diff(first, second, differences, sizeof differences), 0);
        assert_string_equal(differences, "");
        free(out);
        free(again);
        nt_config_destroy(first);
        nt_config_destroy(second);
    }
}

/* Texts with a few bytes changed: refused with a place, or taken and then still true to the promises. */
static void fault_72_mutated_texts(void **state)
{
    (void)state;
    static const char bytes[] = "=[]#; \n\t,.-+019aeins\0\r\xff\xc3";
    int n_taken = 0;
    for (uint32_t seed = 0; seed < 20000; seed++) {
        char text[2048];
        nt_config *config = NULL;
        random_config(text, sizeof text, seed % 500);
        size_t n_bytes = strlen(text);
        for (int i = 0; i < 1 + (int)(seed % 3); i++)
            text[pick(seed, 200 + i) % n_bytes] = bytes[pick(seed, 300 + i) % (sizeof bytes - 1)];
        if (nt_config_parse(&config, "c.ini", text, n_bytes, NULL, 0, demo_only) != NT_OK) {
            assert_int_equal(nt_error_last()->status, NT_ERR_CONFIG);
            assert_memory_equal(last_message(), "c.ini:", 6);
            continue;
        }
        n_taken++;
        char *out = resolved(config);
        nt_config *back = good(out, NULL, demo_only);
        char *again = resolved(back);
        assert_string_equal(out, again);
        assert_true(nt_config_hash(config) == nt_config_hash(back));
        free(out);
        free(again);
        nt_config_destroy(config);
        nt_config_destroy(back);
    }
    assert_true(n_taken > 1000 && n_taken < 19000);
}

static void test_resolved_text(void **state)
{
    (void)state;
    nt_config *config =
        good("[layer b]\nz = 1\na = 2\n[input]\nfile = f\n[demo]\nflag=0\nkernel = 5,5\nevery=500 step\n",
             NULL, both);
    char *out = resolved(config);
    assert_string_equal(out,
                        "[demo]\ncount = 3\nrate = 0.1\ngain = auto\nflag = no\nname =\nlabel = none\n"
                        "kind = adam\nkernel = 5\npadding = same\nfiles =\nmean = 0.5, 0.25\nmilestones =\n"
                        "every = 500 steps\nlog_every = 10\n\n"
                        "[input]\nfile = f\nmodel =\n\n"
                        "[layer b]\nz = 1\na = 2\n");
    free(out);
    nt_config_destroy(config);
}

/* The longest lists that are taken still fit on a line when written out. */
static void test_long_lists_read_back(void **state)
{
    (void)state;
    static const char *const keys[] = {"files", "mean", "milestones", "name"}, *const elems[] = {"a", "1",
                                                                                                 "1", "a"};
    for (size_t k = 0; k < 4; k++) {
        int n_taken = 0;
        for (int n = 1; n < 2100; n = n * 5 / 4 + 1) {
            char text[8192], *out = NULL;
            nt_config *config = NULL, *back = NULL;
            size_t used = (size_t)snprintf(text, sizeof text, "[demo]\n%s = ", keys[k]);
            for (int i = 0; i < n; i++)
                used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? "," : "", elems[k]);
            if (nt_config_parse(&config, "c.ini", text, used, NULL, 0, demo_only) != NT_OK) continue;
            n_taken++;
            out = resolved(config);
            back = good(out, NULL, demo_only);
            expect_same_values(nt_config_section(config, &demo_section),
                               nt_config_section(back, &demo_section));
            free(out);
            nt_config_destroy(config);
            nt_config_destroy(back);
        }
        assert_true(n_taken > 10);
    }
}

static uint64_t hash_of(const char *text)
{
    nt_config *config = good(text, NULL, both);
    uint64_t hash = nt_config_hash(config);
    nt_config_destroy(config);
    return hash;
}

static void test_hash_ignores_form(void **state)
{
    (void)state;
    uint64_t hash =
        hash_of("[input]\nfile = f\n[demo]\nrate = 0.01\nkernel = 3\n[layer a]\nx = 1\nk = 3, 5\n");
    assert_true(hash != 0);
    static const char *const same[] = {
        "; c\n[demo]\nkernel=3 , 3 ; c\nrate = 1e-2\n\n[input]\nfile=f\n[layer a]\nx=1\nk=3,5\n", /* form,
                                                                                                     order */
        "[input]\nfile = f\n[demo]\nrate = 0.010\n[layer a]\nk = 3 ,5\nx = +1\n", /* a default less */
        "[input]\nfile = f\n[demo]\nrate = 0.01\nlog_every = 99\n[layer a]\nx = 1.0\nk = 3,5\n", /* a free key
                                                                                                  */
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        if (hash_of(same[i]) != hash) fail_msg("%s", same[i]);
    static const char *const others[] = {
        "[input]\nfile = g\n[demo]\nrate = 0.01\n[layer a]\nx = 1\nk = 3, 5\n",
        "[input]\nfile = f\n[demo]\nrate = 0.02\n[layer a]\nx = 1\nk = 3, 5\n",
        "[input]\nfile = f\n[demo]\nrate = 0.01\n[layer b]\nx = 1\nk = 3, 5\n",
        "[input]\nfile = f\n[demo]\nrate = 0.01\n[layer a]\nx = 2\nk = 3, 5\n",
        "[input]\nfile = f\n[demo]\nrate = 0.01\n[layer a]\nx = 1\n",
        "[input]\nfile = f\n[demo]\nrate = 0.01\n[layer a]\nx = 1\nk = 3, 5\n[layer b]\n",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (hash_of(others[i]) == hash) fail_msg("%s", others[i]);
}

static void test_hash_sees_order_of_layers(void **state)
{
    (void)state;
    assert_true(hash_of("[input]\nfile=f\n[layer a]\n[layer b]\n") !=
                hash_of("[input]\nfile=f\n[layer b]\n[layer a]\n"));
}

static void test_differences(void **state)
{
    (void)state;
    char text[1024];
    nt_config *a =
        good("[demo]\nrate = 0.1\nlog_every = 1\n[layer a]\nx = 1\nold = 1\n[layer b]\n[layer c]\n", NULL,
             demo_only);
    nt_config *b =
        good("[demo]\nrate = 0.2\nlog_every = 2\n[layer a]\nx = 1.0\nnew = q\n[layer c]\n[layer d]\n", NULL,
             demo_only);
    assert_int_equal(nt_config_diff(a, b, text, sizeof text), 6);
    assert_string_equal(text, "demo.rate: '0.1' -> '0.2'; "
                              "demo.log_every: '1' -> '2'; "
                              "layer.a.old: '1' -> nothing; "
                              "layer.a.new: nothing -> 'q'; "
                              "layer.b: 'layer 2' -> nothing; "
                              "layer.c: 'layer 3' -> 'layer 2'; "
                              "layer.d: nothing -> 'layer 3'");
    for (size_t cap = 0; cap < 60; cap++) { /* whole ones only, never past the end; all are counted */
        memset(text, '?', sizeof text);
        assert_int_equal(nt_config_diff(a, b, text, cap), 6);
        assert_int_equal(text[cap], '?');
        if (cap) assert_true(strlen(text) < cap && (!*text || text[strlen(text) - 1] == '\''));
    }
    assert_int_equal(nt_config_diff(a, a, text, sizeof text), 0);
    assert_string_equal(text, "");
    nt_config_destroy(a);
    nt_config_destroy(b);
}

/* ---- files ---- */

static void write_file(const char *name, const char *text, char path[128])
{
    snprintf(path, 128, "%s/%s", test_dir, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void test_load(void **state)
{
    (void)state;
    char path[128], expected[256];
    const char *override = "demo.count=8";
    nt_config *config = NULL;
    write_file("a.ini", "[demo]\nrate = 2\n", path);
    assert_int_equal(nt_config_load(&config, path, &override, 1, demo_only), NT_OK);
    const demo *d = nt_config_section(config, &demo_section);
    assert_true(d->rate == 2 && d->count == 8);
    nt_config_destroy(config);
    write_file("b.ini", "[demo]\nrate = x\n", path);
    assert_int_equal(nt_config_load(&config, path, NULL, 0, demo_only), NT_ERR_CONFIG);
    snprintf(expected, sizeof expected, "%s:2:8: demo.rate = x: must be", path);
    assert_memory_equal(last_message(), expected, strlen(expected));
    assert_int_equal(nt_config_load(&config, "/nowhere/a.ini", NULL, 0, demo_only), NT_ERR_NO_INPUT);
    assert_int_equal(nt_config_load(&config, test_dir, NULL, 0, demo_only), NT_ERR_NO_INPUT);
    assert_null(config);
    assert_int_equal(nt_config_load(&config, NULL, &override, 1, demo_only), NT_OK); /* defaults only */
    assert_int_equal(((const demo *)nt_config_section(config, &demo_section))->count, 8);
    nt_config_destroy(config);
}

static void test_included_layers(void **state)
{
    (void)state;
    char path[128], text[512], differences[256];
    write_file("model.ini", "[layer a]\ntype = conv2d\n[layer b]\nunits = 3\n", path);
    snprintf(text, sizeof text, "[input]\nfile = f\nmodel = %s\n", path);
    nt_config *taken_in = good(text, (const char *const[]){"layer.b.units=4", NULL}, both);
    nt_config *inside =
        good("[input]\nfile = f\n[layer a]\ntype = conv2d\n[layer b]\nunits = 4\n", NULL, both);
    assert_int_equal(nt_config_n_groups(taken_in), 2);
    assert_string_equal(nt_config_group_value(taken_in, nt_config_get_group(taken_in, 1), "units"), "4");
    assert_true(nt_config_hash(taken_in) == nt_config_hash(inside));
    assert_int_equal(nt_config_diff(taken_in, inside, differences, sizeof differences), 0);
    assert_string_equal(differences, "");
    char *a = resolved(taken_in), *b = resolved(inside); /* needs the file no longer */
    assert_string_equal(a, b);
    nt_config *back = good(a, NULL, both);
    assert_int_equal(nt_config_n_groups(back), 2);
    assert_int_equal(nt_config_fail_group(taken_in, nt_config_get_group(taken_in, 1), NULL, "x"),
                     NT_ERR_CONFIG);
    snprintf(text, sizeof text, "%s:3:2: x", path);
    assert_string_equal(last_message(), text);
    free(a);
    free(b);
    nt_config_destroy(taken_in);
    nt_config_destroy(inside);
    nt_config_destroy(back);
}

static void test_wrong_includes(void **state)
{
    (void)state;
    char path[128], text[512], expected[512];
    nt_config *config = NULL;
    write_file("model.ini", "[layer a]\n[demo]\n", path);
    snprintf(text, sizeof text, "[input]\nfile = f\nmodel = %s\n", path);
    snprintf(expected, sizeof expected,
             "%s:2:2: a model file has only [layers], [layer NAME] and [block NAME] sections, not [demo]",
             path);
    refuse(text, NULL, both, expected);
    snprintf(text, sizeof text, "[input]\nfile = f\nmodel = %s\n[layer a]\n", path);
    refuse(text, NULL, both,
           "c.ini:3:9: input.model names a model, but the first of the config's own layers is at c.ini:4:2");
    const char *missing = "[input]\nfile = f\nmodel = /nowhere/m.ini\n";
    assert_int_equal(nt_config_parse(&config, "c.ini", missing, strlen(missing), NULL, 0, both),
                     NT_ERR_NO_INPUT);
    assert_non_null(strstr(last_message(), "c.ini:3:9: input.model: cannot open /nowhere/m.ini"));
}

/* [model] file of the program itself: an edited model file is another configuration. */
static void test_model_file_is_part_of_the_config(void **state)
{
    (void)state;
    static const nt_section *const only_model[] = {&nt_model_section, NULL};
    char path[128], text[512], differences[256];
    write_file("model.ini", "[layer fc]\ntype = linear\nunits = 3\n", path);
    snprintf(text, sizeof text, "[model]\nfile = %s\n", path);
    nt_config *before = good(text, NULL, only_model);
    write_file("model.ini", "[layer fc]\ntype = linear\nunits = 4\n", path);
    nt_config *after = good(text, NULL, only_model);
    assert_true(nt_config_hash(before) != nt_config_hash(after));
    assert_int_equal(nt_config_diff(before, after, differences, sizeof differences), 1);
    assert_string_equal(differences, "layer.fc.units: '3' -> '4'");
    char *all = resolved(after);
    assert_non_null(strstr(all, "[layer fc]\ntype = linear\nunits = 4\n"));
    free(all);
    nt_config_destroy(before);
    nt_config_destroy(after);
}

static void test_relative_model_file(void **state)
{
    (void)state;
    static const nt_section *const only_model[] = {&nt_model_section, NULL};
    char path[128], model[128], expected[512];
    nt_config *config = NULL;
    write_file("beside.ini", "[layer fc]\ntype = linear\n", model);
    write_file("c.ini", "[model]\nfile = beside.ini\n", path);
    assert_int_equal(nt_config_load(&config, path, NULL, 0, only_model), NT_OK);
    assert_int_equal(nt_config_n_groups(config), 1);
    nt_config_destroy(config);
    assert_int_equal(unlink(model), 0);
    assert_int_equal(nt_config_load(&config, path, NULL, 0, only_model), NT_ERR_NO_INPUT);
    snprintf(
        expected, sizeof expected,
        "%s:2:8: model.file: there is no file 'beside.ini'; tried 'beside.ini', '%s/beside.ini', and the "
        "shipped models in '/",
        path, test_dir);
    assert_memory_equal(last_message(), expected, strlen(expected));
    assert_non_null(strstr(last_message(), "/nntrain/launcher/models'"));
}

/* From anywhere: by name alone, and as the examples write it. */
static void test_shipped_model(void **state)
{
    (void)state;
    static const nt_section *const only_model[] = {&nt_model_section, NULL};
    static const char *const names[] = {"lenet5.ini", "launcher/models/lenet5.ini"};
    char path[128], here[1024];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir("/"), 0);
    for (int i = 0; i < 2; i++) {
        nt_config *config = NULL;
        char text[64];
        snprintf(text, sizeof text, "[model]\nfile = %s\n", names[i]);
        write_file("shipped.ini", text, path);
        assert_int_equal(nt_config_load(&config, path, NULL, 0, only_model), NT_OK);
        assert_int_equal(nt_config_n_groups(config), 8);
        nt_config_destroy(config);
    }
    assert_int_equal(chdir(here), 0);
}

/* ---- tables ---- */

/* A table must be one that text can be written from and read through. */
static void check_table(const nt_section *section)
{
    void *values = malloc(section->size ? section->size : 1);
    assert_non_null(values);
    if (nt_section_defaults(section, values) != NT_OK) fail_msg("%s", last_message());
    for (int i = 0; i < section->n_options; i++) {
        const nt_option *option = &section->options[i];
        size_t n = strspn(option->key, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (option->key[n] || n == 0) fail_msg("%s.%s: key", section->name, option->key);
        if (!option->help || strchr(option->help, '\n')) fail_msg("%s.%s: help", section->name, option->key);
        if (option->offset >= section->size) fail_msg("%s.%s: offset", section->name, option->key);
        if ((option->type == NT_OPTION_ENUM) != (option->choices != NULL))
            fail_msg("%s.%s: choices", section->name, option->key);
        if (option->def && !nt_ini_is_value(option->def))
            fail_msg("%s.%s: default", section->name, option->key);
        for (int j = 0; j < i; j++)
            if (strcmp(section->options[j].key, option->key) == 0)
                fail_msg("%s.%s: twice", section->name, option->key);
    }
    free(values);
}

static void test_tables_of_the_program(void **state)
{
    (void)state;
    const nt_section *const fixed[] = {&nt_model_section, &nt_loss_section, &nt_optim_section,
                                       &nt_data_section, &demo_section};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        check_table(fixed[i]);
    for (const char *const *type = nt_layer_types(); *type; type++)
        check_table(&nt_layer_find(*type)->section);
    for (const char *const *type = nt_loss_types(); *type; type++)
        check_table(&nt_loss_find(*type)->section);
}

/* Lists of defaults without a config are made once. */
static void test_section_defaults(void **state)
{
    (void)state;
    demo a, b;
    assert_int_equal(nt_section_defaults(&demo_section, &a), NT_OK);
    assert_int_equal(nt_section_defaults(&demo_section, &b), NT_OK);
    assert_int_equal(a.mean.n, 2);
    assert_ptr_equal(a.mean.value, b.mean.value);
    assert_string_equal(a.label, "none");
    expect_same_values(&a, &b);
}

static void test_help(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n_bytes;
    FILE *out = open_memstream(&text, &n_bytes);
    assert_non_null(out);
    nt_section_print_help(&demo_section, out);
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(text, "[demo]  a section with everything\n"));
    assert_non_null(strstr(text, "  count = 3\n      how many (whole number; at least 1 and at most 100)\n"));
    assert_non_null(strstr(text, "  kind = adam\n      which (sgd | adam | adamw)\n"));
    assert_non_null(
        strstr(text, "  gain = auto\n      how much (number | auto; at least 0 and less than 1)\n"));
    assert_non_null(strstr(text, "  log_every = 10\n      seconds (number; may change on resume)\n"));
    for (int i = 0; i < demo_section.n_options; i++)
        assert_non_null(strstr(text, demo_options[i].help));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolved_text_reads_back),
        cmocka_unit_test(fault_72_mutated_texts),
        cmocka_unit_test(test_resolved_text),
        cmocka_unit_test(test_long_lists_read_back),
        cmocka_unit_test(test_hash_ignores_form),
        cmocka_unit_test(test_hash_sees_order_of_layers),
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_included_layers),
        cmocka_unit_test(test_wrong_includes),
        cmocka_unit_test(test_model_file_is_part_of_the_config),
        cmocka_unit_test(test_relative_model_file),
        cmocka_unit_test(test_shipped_model),
        cmocka_unit_test(test_tables_of_the_program),
        cmocka_unit_test(test_section_defaults),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
