/* Reading a configuration: values of every type, messages with their places, overrides, and groups. */
#include "tests/unit/config_demo.h"

static void test_defaults(void **state)
{
    (void)state;
    nt_config *config = good("[demo]\n", NULL, demo_only);
    const demo *d = nt_config_section(config, &demo_section);
    assert_int_equal(d->count, 3);
    assert_true(d->rate == 0.1 && isnan(d->gain) && d->flag);
    assert_null(d->name);
    assert_string_equal(d->label, "none");
    assert_int_equal(d->kind, 1);
    assert_int_equal(d->kernel[0], 3);
    assert_int_equal(d->kernel[1], 3);
    assert_int_equal(d->padding[0], -1);
    assert_int_equal(d->files.n, 0);
    assert_int_equal(d->mean.n, 2);
    assert_true(d->mean.value[1] == 0.25);
    assert_int_equal(d->every.unit, NT_EPOCHS);
    assert_null(nt_config_section(config, &input_section));
    assert_false(nt_config_given(config, "demo", "count"));
    nt_config_destroy(config);
}

static void test_values(void **state)
{
    (void)state;
    nt_config *config =
        good("[demo]\ncount = +12\nrate = 1e-3\ngain = .5\nflag = off\nname = a b\nkind = adamw\n"
             "kernel = 3 ,5\npadding = 2\nfiles = a b.h5 , c.h5\nmean = 1,-1\nmilestones = 30\n"
             "every = 2.5 epochs\n",
             NULL, demo_only);
    const demo *d = nt_config_section(config, &demo_section);
    assert_int_equal(d->count, 12);
    assert_true(d->rate == 1e-3 && d->gain == 0.5 && !d->flag);
    assert_string_equal(d->name, "a b");
    assert_int_equal(d->kind, 2);
    assert_int_equal(d->kernel[0], 3);
    assert_int_equal(d->kernel[1], 5);
    assert_int_equal(d->padding[1], 2);
    assert_int_equal(d->files.n, 2);
    assert_string_equal(d->files.name[0], "a b.h5");
    assert_string_equal(d->files.name[1], "c.h5");
    assert_int_equal(d->mean.n, 2);
    assert_true(d->mean.value[0] == 1 && d->mean.value[1] == -1);
    assert_int_equal(d->milestones.n, 1);
    assert_int_equal(d->milestones.value[0], 30);
    assert_true(d->every.unit == NT_EPOCHS && d->every.count == 2.5);
    assert_true(nt_config_given(config, "demo", "count"));
    nt_config_destroy(config);
}

/* Each line is refused at the value's place. */
static void fault_73_wrong_values(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *why;
    } cases[] = {
        {"count", "1e3", "must be a whole number, written out in digits"},
        {"count", "2.5", "must be a whole number, written out in digits"},
        {"count", "0x10", "must be a whole number"},
        {"count", "5abc", "must be a whole number"},
        {"count", "99999999999999999999", "must be a whole number that fits in 64 bits"},
        {"count", "0", "must be at least 1 and at most 100"},
        {"count", "-1", "must be at least 1 and at most 100"},
        {"count", "101", "must be at least 1 and at most 100"},
        {"count", "", "must have a value"},
        {"rate", "nan", "must be a finite decimal number"},
        {"rate", "inf", "must be a finite decimal number"},
        {"rate", "1e999", "must be a finite decimal number"},
        {"rate", "0,1", "must be a finite decimal number"},
        {"rate", "auto", "must be a finite decimal number"},
        {"rate", "0", "must be greater than 0"},
        {"rate", "-1", "must be greater than 0"},
        {"gain", "1", "must be at least 0 and less than 1"},
        {"gain", "x", "must be a finite decimal number such as 0.1 or 1e-3, or auto"},
        {"flag", "maybe", "must be yes or no"},
        {"flag", "Yes", "must be yes or no"},
        {"label", "", "must have a value"},
        {"kind", "admw", "must be one of sgd, adam, adamw; did you mean 'adamw'?"},
        {"kind", "newton", "must be one of sgd, adam, adamw"},
        {"kernel", "0", "must be at least 1"},
        {"kernel", "3,0", "must be at least 1"},
        {"kernel", "3,3,3", "must be one whole number, or two"},
        {"kernel", "3,", "must be a whole number"},
        {"kernel", "same", "must be a whole number"},
        {"padding", "-1", "must be at least 0"},
        {"padding", "full", "must be a whole number"},
        {"files", "a,,b", "has an empty element"},
        {"files", "a,#b", "has an element that begins with '#'"},
        {"mean", "0,2", "must be at least -1 and at most 1"},
        {"mean", "0,x", "must be a finite decimal number"},
        {"milestones", "0", "must be at least 1"},
        {"every", "1", "must be a number of steps, epochs or minutes"},
        {"every", "1 parsec", "must be a number of steps, epochs or minutes"},
        {"every", "epoch", "must be a number of steps, epochs or minutes"},
        {"every", "0 steps", "must be greater than 0, or never"},
        {"every", "-1 epochs", "must be greater than 0, or never"},
        {"every", "1.5 steps", "must be a whole number of steps"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128], message[256];
        const char *space = *cases[i].value ? " " : "";
        snprintf(text, sizeof text, "[demo]\n%s =%s%s\n", cases[i].key, space, cases[i].value);
        snprintf(message, sizeof message, "c.ini:2:%d: demo.%s = %s: %s",
                 (int)(strlen(cases[i].key) + 3 + strlen(space)), cases[i].key, cases[i].value, cases[i].why);
        refuse(text, NULL, demo_only, message);
        snprintf(text, sizeof text, "demo.%s=%s", cases[i].key, cases[i].value);
        snprintf(message, sizeof message, "command line: demo.%s = %s: %s", cases[i].key, cases[i].value,
                 cases[i].why);
        refuse("[demo]\n", text, demo_only, message);
    }
}

static void fault_72_unknown_names(void **state)
{
    (void)state;
    refuse("[dmo]\n", NULL, demo_only, "c.ini:1:2: unknown section 'dmo'; did you mean 'demo'?");
    refuse("[lyaer a]\n", NULL, demo_only, "c.ini:1:2: unknown section 'lyaer'; did you mean 'layer'?");
    refuse("[nothing_like_it]\n", NULL, demo_only,
           "c.ini:1:2: unknown section 'nothing_like_it'; there are: demo, layer");
    refuse("[demo]\n\n kidn = sgd\n", NULL, demo_only,
           "c.ini:3:2: unknown key 'kidn' in demo; did you mean 'kind'?");
    refuse("[demo]\nzzzzz = 1\n", NULL, demo_only,
           "c.ini:2:1: unknown key 'zzzzz' in demo; there are: count, rate,");
    refuse("[demo]\nfile = x\n", NULL, both, "c.ini:2:1: unknown key 'file' in demo; it belongs to [input]");
    refuse("[demo x]\n", NULL, demo_only, "c.ini:1:2: [demo] takes no name; 'x' is too much");
    refuse("[layer]\n", NULL, demo_only, "c.ini:1:2: a layer needs a name, as in [layer conv1]");
}

static void fault_72_again(void **state)
{
    (void)state;
    refuse("[demo]\n[layer a]\n[demo]\n", NULL, demo_only,
           "c.ini:3:2: [demo] again; the first is at c.ini:1:2");
    refuse("[layer a]\n[layer b]\n[layer a]\n", NULL, demo_only,
           "c.ini:3:2: [layer a] again; the first is at c.ini:1:2");
    refuse("[demo]\ncount = 1\nrate = 1\ncount = 1\n", NULL, demo_only,
           "c.ini:4:1: key 'count' again in demo; the first is at c.ini:2:1");
    refuse("[layer a]\nx = 1\nx = 2\n", NULL, demo_only,
           "c.ini:3:1: key 'x' again in layer.a; the first is at c.ini:2:1");
}

static void fault_72_too_many(void **state)
{
    (void)state;
    char *text = malloc(400000);
    size_t used = (size_t)sprintf(text, "[layer a]\n");
    assert_non_null(text);
    for (int i = 0; i < 257; i++)
        used += (size_t)sprintf(text + used, "k%d = 1\n", i);
    refuse(text, NULL, demo_only, "c.ini:258:1: more than 256 keys in layer.a");
    used = 0;
    for (int i = 0; i < 10001; i++)
        used += (size_t)sprintf(text + used, "[layer l%d]\n", i);
    refuse(text, NULL, demo_only, "c.ini:10001:2: more than 10000 layers");
    free(text);
}

static void test_required(void **state)
{
    (void)state;
    refuse("[demo]\n", NULL, both, "c.ini: input needs the key 'file' (what to read)");
    refuse("[demo]\n[input]\n", NULL, both, "c.ini:2:2: input needs the key 'file' (what to read)");
    refuse("[input]\nfile =\n", NULL, both, "c.ini:2:7: input.file = : must have a value");
    nt_config *config = good("[demo]\n", (const char *const[]){"input.file=x", NULL}, both);
    assert_string_equal(((const input *)nt_config_section(config, &input_section))->file, "x");
    nt_config_destroy(config);
}

static void test_overrides(void **state)
{
    (void)state;
    const char *const overrides[] = {"demo.count=5",
                                     "demo.rate=0.5",
                                     "layer.a.b.units=7",
                                     "demo.count=6",
                                     "layer.a.b.new=x y=z",
                                     "demo.name=",
                                     NULL};
    nt_config *config = good("[demo]\ncount = 4\nname = n\n[layer a.b]\nunits = 3\n", overrides, demo_only);
    const demo *d = nt_config_section(config, &demo_section);
    const nt_config_group *group = nt_config_get_group(config, 0);
    assert_int_equal(d->count, 6); /* the last one */
    assert_true(d->rate == 0.5);
    assert_null(d->name);
    assert_true(nt_config_given(config, "demo", "rate"));
    assert_string_equal(nt_config_group_value(config, group, "units"), "7");
    assert_string_equal(nt_config_group_value(config, group, "new"), "x y=z");
    assert_null(nt_config_group_value(config, group, "nothing"));
    nt_config_destroy(config);
}

static void fault_81_wrong_arguments(void **state)
{
    (void)state;
    static const char *const malformed[] = {"",          "--",        "-x",      "demo",     "demo.count",
                                            "=",         ".=1",       "demo.=1", ".count=1", "demo.co-unt=1",
                                            "layer.a=1", "layer..x=1"};
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        char message[128];
        snprintf(message, sizeof message,
                 "command line: '%s': expected section.key=value or layer.NAME.key=value", malformed[i]);
        refuse("[demo]\n[layer a]\n", malformed[i], demo_only, message);
    }
    refuse("[demo]\n", "dmeo.count=1", demo_only,
           "command line: unknown section 'dmeo'; did you mean 'demo'?");
    refuse("[demo]\n", "demo.cuont=1", demo_only,
           "command line: unknown key 'cuont' in demo; did you mean 'count'?");
    refuse("[layer conv1]\n", "layer.conv2.x=1", demo_only,
           "command line: there is no [layer conv2]; did you mean 'conv1'?");
    refuse("[demo]\n", "layer.x.y=1", demo_only, "command line: there is no [layer x]");
    static const char *const values[] = {" a", "a ", "a #b", "#a", "a\n[demo]", "\x1b", "\xff"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "demo.name=%s", values[i]);
        refuse("[demo]\n", text, demo_only, "command line: 'demo.name=");
    }
}

static void fault_81_many_arguments(void **state)
{
    (void)state;
    enum { N = 100000 };
    const char **overrides = malloc(N * sizeof *overrides);
    nt_config *config = NULL;
    assert_non_null(overrides);
    for (int i = 0; i < N; i++)
        overrides[i] = i < N - 1 ? "demo.count=5" : "demo.count=9";
    assert_int_equal(nt_config_parse(&config, "c.ini", "[demo]", 6, overrides, N, demo_only), NT_OK);
    assert_int_equal(((const demo *)nt_config_section(config, &demo_section))->count, 9);
    nt_config_destroy(config);
    free(overrides);
}

static void fault_75_values_are_literal(void **state)
{
    (void)state;
    const char *value = "${HOME} `id` $(id) %s %n \\n ~ \"q\" a#b;c";
    char text[128], override[128];
    snprintf(text, sizeof text, "[demo]\nname = %s\n", value);
    snprintf(override, sizeof override, "demo.label=%s", value);
    nt_config *config = good(text, (const char *const[]){override, NULL}, demo_only);
    char *out = resolved(config);
    const demo *d = nt_config_section(config, &demo_section);
    assert_string_equal(d->name, value);
    assert_string_equal(d->label, value);
    assert_non_null(strstr(out, text + strlen("[demo]")));
    free(out);
    nt_config_destroy(config);
    /* in messages too, and escaped */
    refuse("[demo]\ncount = %s%n\n", NULL, demo_only, "c.ini:2:9: demo.count = %s%n: must be");
    refuse("[demo]\n", "\x1b[2J.count=1", demo_only, "command line: unknown section '\\x1b[2J'");
}

typedef struct common {
    const char *type;
} common;

static const nt_option common_options[] = {
    {"type", NT_OPTION_STRING, offsetof(common, type), .flags = NT_OPTION_REQUIRED, .help = "layer type"}};
static const nt_section common_section = {
    .name = "layer", .size = sizeof(common), .options = common_options, .n_options = 1};

static void refuse_group(const char *text, const char *message)
{
    nt_config *config = good(text, NULL, demo_only);
    common c;
    demo d;
    nt_status status =
        nt_config_parse_group(config, nt_config_get_group(config, nt_config_n_groups(config) - 1),
                              &common_section, &c, &demo_section, &d);
    assert_int_equal(status, NT_ERR_CONFIG);
    if (strncmp(last_message(), message, strlen(message)) != 0)
        fail_msg("'%s', not '%s'", last_message(), message);
    nt_config_destroy(config);
}

static void test_groups(void **state)
{
    (void)state;
    nt_config *config =
        good("[layer z]\ntype = t\nkernel = 2\nfiles = a,b\n[demo]\n[layer a]\n", NULL, demo_only);
    const nt_config_group *group = nt_config_get_group(config, 0);
    common c;
    demo d;
    memset(&d, 0xff, sizeof d);
    assert_int_equal(nt_config_n_groups(config), 2);
    assert_string_equal(group->name, "z");
    assert_int_equal(group->line, 1);
    assert_int_equal(nt_config_get_group(config, 1)->index, 1);
    assert_null(nt_config_get_group(config, 2));
    assert_null(nt_config_get_group(config, -1));
    assert_int_equal(nt_config_parse_group(config, group, &common_section, &c, &demo_section, &d), NT_OK);
    assert_string_equal(c.type, "t");
    assert_int_equal(d.kernel[1], 2);
    assert_int_equal(d.count, 3); /* a default */
    assert_string_equal(d.files.name[1], "b");
    nt_config_destroy(config);
}

static void test_wrong_groups(void **state)
{
    (void)state;
    refuse_group("[demo]\n[layer a]\n", "c.ini:2:2: layer.a needs the key 'type' (layer type)");
    refuse_group("[layer a]\ntype = t\nkernle = 3\n",
                 "c.ini:3:1: unknown key 'kernle' in layer.a; did you mean 'kernel'?");
    refuse_group("[layer a]\ntpye = t\n", "c.ini:2:1: unknown key 'tpye' in layer.a; did you mean 'type'?");
    refuse_group("[layer a]\ntype = t\nzzzzz = t\n",
                 "c.ini:3:1: unknown key 'zzzzz' in layer.a; there are: type, count,");
    refuse_group("[layer a]\ntype = t\nkernel = x\n",
                 "c.ini:3:10: layer.a.kernel = x: must be a whole number");
}

static void test_fail_places(void **state)
{
    (void)state;
    nt_config *config = good("[demo]\ncount = 4\n[layer a]\n  x = 1\n",
                             (const char *const[]){"demo.rate=1", NULL}, demo_only);
    const nt_config_group *group = nt_config_get_group(config, 0);
    assert_int_equal(nt_config_fail(config, "demo", "count", "no %d", 5), NT_ERR_CONFIG);
    assert_string_equal(last_message(), "c.ini:2:9: no 5");
    assert_int_equal(nt_config_fail(config, "demo", "rate", "no"), NT_ERR_CONFIG);
    assert_string_equal(last_message(), "command line: no");
    assert_int_equal(nt_config_fail(config, "demo", "name", "no"), NT_ERR_CONFIG);
    assert_string_equal(last_message(), "c.ini:1:2: no");
    assert_int_equal(nt_config_fail(config, "elsewhere", "name", "no"), NT_ERR_CONFIG);
    assert_string_equal(last_message(), "c.ini: no");
    assert_int_equal(nt_config_fail_group(config, group, "x", "no"), NT_ERR_CONFIG);
    assert_string_equal(last_message(), "c.ini:4:7: no");
    assert_int_equal(nt_config_fail_group(config, group, NULL, "no"), NT_ERR_CONFIG);
    assert_string_equal(last_message(), "c.ini:3:2: no");
    nt_config_destroy(config);
}

static void test_section_check(void **state)
{
    (void)state;
    check_calls = 0;
    nt_config *config = good("[demo]\n", NULL, demo_only);
    assert_int_equal(check_calls, 1);
    nt_config_destroy(config);
    refuse("[demo]\ncount = 77\n", NULL, demo_only, "c.ini:2:9: 77 is refused");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(fault_73_wrong_values),
        cmocka_unit_test(fault_72_unknown_names),
        cmocka_unit_test(fault_72_again),
        cmocka_unit_test(fault_72_too_many),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(fault_81_wrong_arguments),
        cmocka_unit_test(fault_81_many_arguments),
        cmocka_unit_test(fault_75_values_are_literal),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_wrong_groups),
        cmocka_unit_test(test_fail_places),
        cmocka_unit_test(test_section_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
