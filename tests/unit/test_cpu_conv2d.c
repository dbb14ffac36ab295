/* conv2d of cpu against ref: shapes that divide into blocks and shapes that do not, every option, both
 * algorithms, and what start-up timing leaves behind. */
#include "core/backends/cpu/isa.h"
#include "core/backends/cpu/winograd.h"
#include "tests/unit/backend_cases.h"

/* float sums of up to a few thousand products against double ones; values are of order 1 */
#define DIRECT 3e-6
/* Winograd's transforms multiply by up to 21 and cancel again: measured up to 3e-5 */
#define WINOGRAD 2e-4

/* A square convolution: one stride, padding and dilation for both axes. */
#define SQUARE(n, c, h, w, k, r, s, stride, pad, dilation, groups, bias, blocked)                            \
    {                                                                                                        \
        n, c, h, w, k, r, s, {stride, stride}, {pad, pad}, {pad, pad}, {dilation, dilation}, groups, bias,   \
            blocked                                                                                          \
    }

/* In training, in inference, and where nobody wants dx. */
static void check_ways(pair_spec spec, const char *tuning, double tolerance)
{
    spec.tuning = tuning;
    spec.tolerance = tolerance;
    pair_check(&spec);
    spec.inference = true;
    pair_check(&spec);
    spec.inference = false;
    spec.no_dx = true;
    pair_check(&spec);
}

static void directly(pair_spec spec)
{
    check_ways(spec, NULL, DIRECT);
}

/* The cases that every backend is held to. */
static void shared_cases(void **state)
{
    (void)state;
    for (int i = 0; i < N_CONVS; i++)
        check_conv(&convs[i], directly);
}

/* One filter for each channel: kernels of all widths, larger than the map, and strides that leave a border
 * out. The weights' gradient is partly our own (op_conv2d_depthwise.c). */
static void depthwise(void **state)
{
    (void)state;
    static const conv_case cases[] = {
        SQUARE(3, 32, 9, 7, 32, 5, 5, 1, 2, 1, 32, false, true),
        SQUARE(2, 16, 11, 13, 16, 5, 5, 2, 2, 1, 16, false, true),
        SQUARE(2, 16, 3, 3, 16, 5, 5, 1, 2, 1, 16, false, true),
        SQUARE(2, 48, 8, 9, 48, 7, 7, 1, 3, 1, 48, false, true),
        SQUARE(2, 16, 12, 12, 16, 7, 7, 3, 1, 1, 16, false, true),
        SQUARE(2, 16, 9, 10, 16, 4, 4, 1, 0, 1, 16, false, true),
        SQUARE(1, 16, 6, 6, 16, 2, 6, 1, 1, 1, 16, false, true),
        SQUARE(2, 16, 5, 6, 16, 5, 5, 1, 4, 1, 16, false, true),
        SQUARE(2, 20, 7, 7, 20, 5, 5, 1, 2, 1, 20, false, true),
        SQUARE(2, 16, 8, 8, 16, 5, 5, 1, 2, 1, 16, true, true),
        {2, 16, 9, 12, 16, 5, 5, {1, 2}, {2, 0}, {1, 3}, {1, 1}, 16, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_conv(&cases[i], directly);
}

static void plain_input(void **state)
{
    (void)state;
    static const conv_case cases[] = {
        SQUARE(2, 1, 9, 11, 8, 5, 5, 1, 2, 1, 1, true, false),
        SQUARE(3, 3, 8, 8, 16, 3, 3, 1, 1, 1, 1, false, false),
        SQUARE(1, 3, 7, 5, 10, 3, 3, 2, 1, 1, 1, true, false),
        SQUARE(2, 5, 6, 6, 7, 1, 1, 1, 0, 1, 1, true, false),
        SQUARE(2, 16, 8, 8, 32, 3, 3, 1, 1, 1, 1, true, false),
        SQUARE(2, 4, 9, 9, 6, 3, 3, 1, 2, 2, 2, true, false),
        SQUARE(2, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, false, false),
        SQUARE(2, 8, 6, 7, 8, 3, 3, 1, 1, 1, 8, true, false),
        SQUARE(2, 16, 5, 5, 16, 3, 3, 2, 1, 1, 16, false, false),
        SQUARE(17, 2, 12, 3, 20, 4, 2, 3, 1, 1, 1, true, false),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_conv(&cases[i], directly);
}

static void blocked_input(void **state)
{
    (void)state;
    static const conv_case cases[] = {
        SQUARE(2, 16, 8, 8, 16, 3, 3, 1, 1, 1, 1, true, true),
        SQUARE(2, 10, 8, 8, 10, 3, 3, 1, 1, 1, 1, true, true),
        SQUARE(2, 32, 8, 8, 48, 3, 3, 2, 1, 1, 1, false, true),
        SQUARE(2, 32, 8, 8, 64, 1, 1, 2, 0, 1, 1, false, true),
        SQUARE(3, 33, 5, 7, 17, 3, 5, 1, 1, 1, 1, true, true),
        SQUARE(2, 32, 6, 6, 32, 3, 3, 1, 1, 1, 4, true, true),
        SQUARE(2, 32, 7, 7, 32, 3, 3, 1, 1, 1, 32, true, true),
        SQUARE(2, 24, 7, 7, 12, 3, 3, 1, 1, 1, 3, false, true),
        SQUARE(1, 64, 4, 4, 10, 4, 4, 1, 0, 1, 1, true, true),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_conv(&cases[i], directly);
}

static const char *winograd_tuning;

static void by_winograd(pair_spec spec)
{
    check_ways(spec, winograd_tuning, WINOGRAD);
}

static void winograd(void **state)
{
    (void)state;
    static const conv_case cases[] = {
        SQUARE(2, 16, 8, 8, 16, 3, 3, 1, 1, 1, 1, true, true),
        SQUARE(2, 32, 7, 9, 48, 3, 3, 1, 1, 1, 1, false, true),
        SQUARE(3, 64, 4, 4, 32, 3, 3, 1, 1, 1, 1, false, true),
        SQUARE(2, 32, 9, 7, 16, 5, 5, 1, 2, 1, 1, true, true),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int tile = 6; tile <= 8; tile += 2) {
            char tuning[160];
            const conv_case *t = &cases[i];
            snprintf(tuning, sizeof tuning,
                     "conv2d/%dx%dx%d-%d/%dx%d/p%d,%d = fwd=winograd%d bwd_data=winograd%d "
                     "bwd_weights=winograd%d\n",
                     (int)t->c, (int)t->h, (int)t->w, (int)t->k, (int)t->r, (int)t->s, (int)t->begin[0],
                     (int)t->begin[1], tile, tile, tile);
            winograd_tuning = tuning;
            check_conv(t, by_winograd);
        }
}

/* Timing records a choice for every pass of a 3x3 convolution, and a second op takes it over. */
static void timing_is_recorded(void **state)
{
    (void)state;
    const nt_backend_options options = {.threads = 1};
    const nt_conv2d_options o = {.filters = 32,
                                 .kernel = {3, 3},
                                 .stride = {1, 1},
                                 .dilation = {1, 1},
                                 .groups = 1,
                                 .pad_begin = {1, 1},
                                 .pad_end = {1, 1}};
    nt_backend *cpu;
    nt_tuning *tuning;
    pair_ok(nt_backend_create(&cpu, "cpu", &options));
    pair_ok(nt_tuning_create(&tuning, true));
    char *text[2];
    for (int i = 0; i < 2; i++) {
        nt_tensor x = nt_tensor_plain(NT_F32, nt_shape_of(4, 4, 32, 8, 8)), dx = {0};
        pair_conv_layout(cpu, &x, tuning);
        nt_op op = {.backend = cpu,
                    .name = "c",
                    .options = &o,
                    .tuning = tuning,
                    .n_inputs = 1,
                    .n_params = 1,
                    .x = &x,
                    .dx = &dx,
                    .need_dx = (bool[]){true},
                    .training = true};
        op.param[0] = nt_tensor_plain(NT_F32, nt_shape_of(4, 32, 32, 3, 3));
        op.y = nt_tensor_plain(NT_F32, x.shape);
        pair_ok(nt_op_create(&op, "conv2d"));
        pair_ok(nt_tuning_text(tuning, &text[i]));
        nt_op_destroy(&op);
    }
    assert_string_equal(text[0], text[1]);
    const char *known = nt_tuning_get(tuning, "conv2d/32x8x8-32/3x3/p1,1");
    if (known) { /* NULL: this machine has no Winograd, so there was nothing to choose */
        assert_non_null(strstr(known, "fwd="));
        assert_non_null(strstr(known, "bwd_data="));
        assert_non_null(strstr(known, "bwd_weights="));
    }
    free(text[0]);
    free(text[1]);
    nt_tuning_destroy(tuning);
    nt_backend_destroy(cpu);
}

/* y of one convolution with what a tuning table says, malloc'ed. */
static float *run_tuned(const char *text, size_t *n_bytes)
{
    const nt_conv2d_options o = {.filters = 16,
                                 .kernel = {3, 3},
                                 .stride = {1, 1},
                                 .dilation = {1, 1},
                                 .groups = 1,
                                 .pad_begin = {1, 1},
                                 .pad_end = {1, 1}};
    pair_spec spec = {.kind = "conv2d",
                      .options = &o,
                      .inference = true,
                      .n_inputs = 1,
                      .n_params = 1,
                      .x = {nt_tensor_plain(NT_F32, nt_shape_of(4, 1, 16, 8, 8))},
                      .blocked = {true},
                      .param = {nt_shape_of(4, 16, 16, 3, 3)},
                      .y = nt_shape_of(4, 1, 16, 8, 8)};
    const nt_pass pass = {0};
    pair_side side = {0};
    nt_tuning *tuning;
    pair_ok(nt_tuning_create(&tuning, false));
    pair_ok(nt_tuning_parse(tuning, text));
    pair_setup(&side, "cpu", &spec, tuning);
    pair_bind(&side, &spec);
    pair_ok(nt_op_forward(&side.op, &pass));
    float *y = pair_plain(&side, &side.op.y);
    *n_bytes = (size_t)nt_shape_elems(spec.y) * sizeof *y;
    pair_teardown(&side, &spec);
    nt_tuning_destroy(tuning);
    return y;
}

/* Each algorithm leaves its own last bits: the choice in the table is obeyed, and gives the same bits again.
 */
static void tuning_is_obeyed(void **state)
{
    (void)state;
    size_t n_bytes;
    float *direct = run_tuned("conv2d/16x8x8-16/3x3/p1,1 = fwd=direct\n", &n_bytes);
    float *tile6 = run_tuned("conv2d/16x8x8-16/3x3/p1,1 = bwd_data=direct fwd=winograd6\n", &n_bytes);
    float *again = run_tuned("conv2d/16x8x8-16/3x3/p1,1 = fwd=winograd6\n", &n_bytes);
    float *tile8 = run_tuned("conv2d/16x8x8-16/3x3/p1,1 = fwd=winograd8\n", &n_bytes);
    const bool halves = nt_isa_best() == NT_ISA_AVX2; /* then oneDNN's blocks are of 8 channels */
    const nt_winograd_shape shape = {
        .n = 1, .c = 16, .h = 8, .w = 8, .k = 16, .kernel = 3, .tile = 6, .blocks_of_8 = halves};
    assert_memory_equal(tile6, again, n_bytes);
    if (nt_winograd_supported(&shape)) {
        assert_memory_not_equal(direct, tile6, n_bytes);
        assert_memory_not_equal(tile6, tile8, n_bytes);
    }
    free(direct);
    free(tile6);
    free(again);
    free(tile8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_cases),     cmocka_unit_test(depthwise), cmocka_unit_test(plain_input),
        cmocka_unit_test(blocked_input),    cmocka_unit_test(winograd),  cmocka_unit_test(timing_is_recorded),
        cmocka_unit_test(tuning_is_obeyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
