/* Layers one a line and blocks of them: what they expand to, compared with the same layers written out, and
 * every mistake with the line in the block and the line that used it. */
#include "core/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const nt_section *const no_sections[] = {NULL};

static nt_status parse(nt_config **out, const char *text)
{
    return nt_config_parse(out, "m.ini", text, strlen(text), NULL, 0, no_sections);
}

/* Both texts are the same layers: same resolved text, same hash. */
static void same(const char *with_blocks, const char *written_out)
{
    nt_config *a, *b;
    char *text_a, *text_b;
    if (parse(&a, with_blocks) != NT_OK || parse(&b, written_out) != NT_OK)
        fail_msg("%s", nt_error_last()->message);
    assert_int_equal(nt_config_text(a, &text_a), NT_OK);
    assert_int_equal(nt_config_text(b, &text_b), NT_OK);
    assert_string_equal(text_a, text_b);
    assert_true(nt_config_hash(a) == nt_config_hash(b));
    free(text_a);
    free(text_b);
    nt_config_destroy(a);
    nt_config_destroy(b);
}

/* The text is refused with these words. */
static void refuses(const char *text, const char *words)
{
    nt_config *config;
    assert_int_equal(parse(&config, text), NT_ERR_CONFIG);
    assert_null(config);
    if (!strstr(nt_error_last()->message, words))
        fail_msg("'%s' does not say '%s'", nt_error_last()->message, words);
    nt_error_clear();
}

static void lines_are_layers(void **state)
{
    (void)state;
    same("[layers]\n"
         "conv1 = conv2d  filters=64\tkernel=1,7 ; comment\n"
         "b.fc-1 = linear\n",
         "[layer conv1]\ntype = conv2d\nfilters = 64\nkernel = 1,7\n"
         "[layer b.fc-1]\ntype = linear\n");
    same("[layer a]\ntype = relu\n[layers]\nb = tanh\n[layer c]\ntype = relu\n[layers]\nd = tanh\n",
         "[layers]\na = relu\nb = tanh\nc = relu\nd = tanh\n");
}

/* A section that gives the file's parameters other values. */
typedef struct outer {
    const char *params;
} outer;
static const nt_option outer_options[] = {
    {"params", NT_OPTION_STRING, offsetof(outer, params), .flags = NT_OPTION_ARGUMENTS}};
static const nt_section outer_section = {
    .name = "model", .size = sizeof(outer), .options = outer_options, .n_options = 1};
static const nt_section *const outer_sections[] = {&outer_section, NULL};

#define WITH_PARAMS                                                                                          \
    "[block b]\nparams = units\nfc = linear units=$units\n"                                                  \
    "[layers]\nparams = depth=2 units kind=relu\nh = b repeat=$depth units=$units\nlast = $kind\n"

static void the_file_has_parameters(void **state)
{
    (void)state;
    nt_config *a, *b;
    char *text_a, *text_b, *again;
    static const char given[] = "[model]\nparams = units=7 depth=1\n" WITH_PARAMS;
    static const char plain[] = "[layer h.0.fc]\ntype = linear\nunits = 7\ninput = input\n"
                                "[layer last]\ntype = relu\ninput = h.0.fc\n";
    assert_int_equal(nt_config_parse(&a, "m.ini", given, strlen(given), NULL, 0, outer_sections), NT_OK);
    assert_int_equal(nt_config_parse(&b, "m.ini", plain, strlen(plain), NULL, 0, outer_sections), NT_OK);
    assert_true(nt_config_hash(a) == nt_config_hash(b));
    assert_int_equal(nt_config_text(a, &text_a), NT_OK);
    assert_int_equal(nt_config_text(b, &text_b), NT_OK);
    assert_string_equal(text_a, text_b);
    nt_config_destroy(b);
    /* what is kept in a run folder can be read again */
    assert_int_equal(nt_config_parse(&b, "config.ini", text_a, strlen(text_a), NULL, 0, outer_sections),
                     NT_OK);
    assert_int_equal(nt_config_text(b, &again), NT_OK);
    assert_string_equal(text_a, again);
    free(text_a), free(text_b), free(again);
    nt_config_destroy(a);
    nt_config_destroy(b);
}

static void refuses_params(const char *given, const char *text, const char *words)
{
    nt_config *config;
    char all[1024];
    snprintf(all, sizeof all, "%s%s", given, text);
    assert_int_equal(nt_config_parse(&config, "m.ini", all, strlen(all), NULL, 0, outer_sections),
                     NT_ERR_CONFIG);
    if (!strstr(nt_error_last()->message, words))
        fail_msg("'%s' does not say '%s'", nt_error_last()->message, words);
    nt_error_clear();
}

static void mistakes_in_parameters_of_the_file(void **state)
{
    (void)state;
    refuses_params("", WITH_PARAMS, "m.ini:5:1: the model's parameter 'units' needs a value");
    refuses_params("[model]\nparams = units=1 dept=3\n", WITH_PARAMS,
                   "m.ini:2:18: [layers] has no parameter 'dept'; did you mean 'depth'?");
    refuses_params("[model]\nparams = units\n", WITH_PARAMS, "m.ini:2:10: 'units' is not NAME=VALUE");
    refuses_params("[model]\nparams = units=1\n", "[layers]\na = relu\n",
                   "m.ini:2:10: [layers] declares no params, so it has no parameter 'units'");
    refuses_params("", "[layers]\nparams = a=1\nparams = b=1\n",
                   "m.ini:3:1: params again; the first are at m.ini:2:1");
    refuses_params("", "[layers]\nparams = a=1\nx = linear units=$b\n", "[layers] has no parameter 'b'");
}

static void blocks_expand(void **state)
{
    (void)state;
    same("[block b]\nx = linear units=3 lr_factor=5\ny = linear units=4\n"
         "[layers]\nu = b lr_factor=2 frozen=yes\n",
         "[layers]\nu.x = linear units=3 lr_factor=5 frozen=yes input=input\n"
         "u.y = linear units=4 lr_factor=2 frozen=yes input=u.x\n");
    same(
        "[block b]\nx = tanh\n[layers]\none = tanh\ntwo = relu\nthree = b input=one\nfour = relu input=two\n",
        "[layers]\none = tanh\ntwo = relu input=one\nthree.x = tanh input=one\nfour = relu input=two\n");
    same("[block pair]\n"
         "params = width act=relu\n"
         "one = linear units=$width\n"
         "two = linear units=x$width-$act$width input=one,in\n"
         "[layers]\n"
         "first = tanh\n"
         "p = pair width=3\n"
         "last = linear input=p,first\n",
         "[layers]\n"
         "first = tanh\n"
         "p.one = linear units=3 input=first\n"
         "[layer p.two]\ntype = linear\nunits = x3-relu3\ninput = p.one, first\n"
         "[layer last]\ntype = linear\ninput = p.two, first\n");
}

static void first_layer_reads_the_data(void **state)
{
    (void)state;
    same("[block b]\nx = tanh\ny = add input=x,in\n[layers]\na = b\nz = relu\n",
         "[layer a.x]\ntype = tanh\ninput = input\n"
         "[layer a.y]\ntype = add\ninput = a.x, input\n"
         "[layer z]\ntype = relu\ninput = a.y\n");
}

static void repeats(void **state)
{
    (void)state;
    same("[block b]\nx = tanh\n[layers]\nstem = relu\nr = b repeat=2\nq = b repeat=3..4\nend = add "
         "input=r,q,r.0\n",
         "[layers]\nstem = relu\n"
         "r.0.x = tanh input=stem\n"
         "r.1.x = tanh input=r.0.x\n"
         "q.3.x = tanh input=r.1.x\n"
         "q.4.x = tanh input=q.3.x\n"
         "[layer end]\ntype = add\ninput = r.1.x, q.4.x, r.0.x\n");
    same("[layers]\na = tanh repeat=2\nb = relu\n",
         "[layers]\na.0 = tanh\na.1 = tanh input=a.0\nb = relu input=a.1\n");
}

static void left_out(void **state)
{
    (void)state;
    const char *written = "[layers]\ns = relu\n"
                          "a.conv = conv2d input=s\n"
                          "[layer a.sum]\ntype = add\ninput = a.conv, s\n"
                          "[layer b.conv]\ntype = conv2d\ninput = a.sum\n"
                          "[layer b.down]\ntype = conv2d\ninput = a.sum\n"
                          "[layer b.norm]\ntype = norm\ninput = b.down\n"
                          "[layer b.sum]\ntype = add\ninput = b.conv, b.norm\n";
    same("[block r]\nparams = project=no\n"
         "conv = conv2d\n"
         "down = conv2d if=$project input=in\n"
         "norm = norm if=$project input=down\n"
         "sum = add input=conv,norm\n"
         "[layers]\ns = relu\na = r\nb = r project=yes\n",
         written);
}

/* A layer of several inputs that is left out stands for the first. */
static void left_out_sum(void **state)
{
    (void)state;
    same("[block r]\nparams = add=yes\nconv = conv2d\nsum = add if=$add input=conv,in\n"
         "[layers]\na = r\nb = r add=no\nc = relu\n",
         "[layer a.conv]\ntype = conv2d\ninput = input\n"
         "[layer a.sum]\ntype = add\ninput = a.conv, input\n"
         "[layer b.conv]\ntype = conv2d\ninput = a.sum\n"
         "[layer c]\ntype = relu\ninput = b.conv\n");
}

static void nested(void **state)
{
    (void)state;
    same("[block inner]\nparams = n\nx = linear units=$n\n"
         "[block outer]\nparams = m\nl = inner n=$m repeat=2\nr = inner n=7 input=in\nc = concat input=l,r\n"
         "[layers]\no = outer m=5\n",
         "[layer o.l.0.x]\ntype = linear\nunits = 5\ninput = input\n"
         "[layer o.l.1.x]\ntype = linear\nunits = 5\ninput = o.l.0.x\n"
         "[layer o.r.x]\ntype = linear\nunits = 7\ninput = input\n"
         "[layer o.c]\ntype = concat\ninput = o.l.1.x, o.r.x\n");
}

#define BLOCK "[block b]\nparams = n m=1\nx = linear units=$n\n"

static void mistakes(void **state)
{
    (void)state;
    refuses(BLOCK "[layers]\na = b\n", "m.ini:5:1: block b needs a value for its parameter 'n'");
    refuses(BLOCK "[layers]\na = b n=1 mm=2\n",
            "m.ini:5:11: block b has no parameter 'mm'; did you mean 'm'?");
    refuses(BLOCK "y = tanh k=$o\n[layers]\na = b n=1\n",
            "m.ini:4:10 (used at m.ini:6:1): block b has no parameter 'o'");
    refuses(BLOCK "y = tanh input=z\n[layers]\na = b n=1\n",
            "m.ini:4:16 (used at m.ini:6:1): there is no layer 'z' before it in block b");
    refuses(BLOCK "x = tanh\n[layers]\na = b n=1\n", "m.ini:4:1: key 'x' again in block.b");
    refuses(BLOCK "y = tanh if=maybe\n[layers]\na = b n=1\n", "if = maybe: expected yes or no");
    refuses(BLOCK "[block b]\n", "m.ini:4:2: [block b] again; the first is at m.ini:1:2");
    refuses("[block]\nx = tanh\n", "a block needs a name");
    refuses("[block b]\nx = b\n[layers]\na = b\n", "blocks within blocks, more than 8 deep");
    refuses("[layers]\na = tanh repeat=0\n", "expected a count from 1 to 1000, or FIRST..LAST");
    refuses("[layers]\na = tanh repeat=-9223372036854775808\n", "FIRST..LAST");
    refuses("[layers]\na = tanh repeat=3..1\n", "FIRST..LAST");
    refuses("[layers]\na = tanh repeat=99999999\n", "FIRST..LAST");
    refuses("[layers]\na =\n", "expected NAME = TYPE key=value");
    refuses("[layers]\na = units=3\n", "expected NAME = TYPE key=value");
    refuses("[layers]\na = conv2d kernel=1, 7\n",
            "m.ini:2:22: '7' is not key=value (lists have no blanks here: 1,7)");
    refuses("[layers]\na = conv2d kernel=1 kernel=2\n", "key 'kernel' again in the same line");
    refuses("[layers]\na = conv2d [[kernel=1\n", "m.ini:2:12: '[[kernel' is no key");
    refuses("[layers]\na = conv2d ker[nel=1\n", "m.ini:2:12: 'ker[nel' is no key");
    refuses("[layers]\na = conv2d kernel=#1\n", "m.ini:2:19: '#1' cannot be a value in a file");
    refuses("[layers]\na = tanh\na = relu\n", "m.ini:3:1: layer a again; the first is at m.ini:2:1");
    refuses("[layers]\na. = tanh\n[layer a.]\ntype = tanh\n", "[layer a.] again");
    refuses("[block b]\nveryveryveryveryverylongname.x = tanh\n"
            "[layers]\nveryveryveryveryveryveryveryveryverylongname = b\n",
            "is no name of a layer");
}

/* Doubling at every level: the limit on layers ends it, soon and with a clear word. */
static void explosion(void **state)
{
    (void)state;
    refuses("[block a]\nx = tanh repeat=1000\n[block b]\nx = a repeat=1000\n[layers]\ny = b repeat=1000\n",
            "more than 10000 layers");
    refuses(
        "[block a]\nx = tanh if=no\n[block b]\nx = a repeat=1000\n[block c]\nx = b repeat=1000\n[layers]\n"
        "y = c repeat=1000\n",
        "more than 20000 layers and blocks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_layers),
        cmocka_unit_test(blocks_expand),
        cmocka_unit_test(the_file_has_parameters),
        cmocka_unit_test(mistakes_in_parameters_of_the_file),
        cmocka_unit_test(first_layer_reads_the_data),
        cmocka_unit_test(repeats),
        cmocka_unit_test(left_out),
        cmocka_unit_test(left_out_sum),
        cmocka_unit_test(nested),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(explosion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
