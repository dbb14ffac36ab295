/* linear and conv2d, cuda against ref: every route of conv2d (im2col, pointwise, depthwise), groups,
 * dilation, asymmetric padding, strides that leave a rest, and pieces of the batch. */
#include "cuda_cases.h"

#include "core/backends/cuda/cuda.h"
#include "core/layers/linear.h"

static const nt_activation_options relu = {.function = NT_ACT_RELU};

/* Gradients of parameters stay float32 in bfloat16, and are held to the same tolerance there: their products
 * are exact in float32. */
static void linear(void **state)
{
    (void)state;
    static const int64_t cases[][3] = {{64, 84, 52}, {5, 37, 10},  {1, 1, 1},    {17, 33, 31},
                                       {3, 512, 1},  {16, 16, 16}, {2, 30, 129}, {300, 3, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int bias = 0; bias < 2; bias++) {
            const int64_t n = cases[i][0], f = cases[i][1], k = cases[i][2];
            const nt_linear_options o = {.units = k, .has_bias = bias};
            pair_spec spec = {.kind = "linear",
                              .options = &o,
                              .n_inputs = 1,
                              .n_params = 1 + bias,
                              .x = {f32(2, n, f, 0, 0)},
                              .param = {nt_shape_of(2, k, f), nt_shape_of(1, k)},
                              .y = nt_shape_of(2, n, k),
                              .tolerance = SUMS,
                              .rounding = BF16_TWICE};
            check_types(spec);
            spec.activation = bias ? &relu : NULL;
            if (bias) check_types(spec);
            spec.no_dx = true;
            check_types(spec);
            spec.inference = true;
            check_types(spec);
        }
}

/* An image goes into linear without a flatten. */
static void linear_of_a_map(void **state)
{
    (void)state;
    const nt_linear_options o = {.units = 6, .has_bias = true};
    check_types((pair_spec){.kind = "linear",
                            .options = &o,
                            .n_inputs = 1,
                            .n_params = 2,
                            .x = {f32(4, 3, 2, 5, 7)},
                            .param = {nt_shape_of(2, (int64_t)6, (int64_t)70), nt_shape_of(1, (int64_t)6)},
                            .y = nt_shape_of(2, (int64_t)3, (int64_t)6),
                            .tolerance = SUMS,
                            .rounding = BF16_TWICE});
}

typedef struct conv_case {
    int64_t n, c, h, w, k, r, s;
    int64_t stride[2], begin[2], end[2], dilation[2], groups;
    bool bias;
} conv_case;

static const conv_case convs[] = {
    {2, 16, 8, 8, 16, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, true},
    {3, 3, 9, 11, 5, 3, 3, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 1, false},
    {2, 1, 7, 5, 1, 5, 5, {1, 1}, {2, 2}, {2, 2}, {1, 1}, 1, true},
    {1, 2, 4, 5, 3, 4, 5, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true}, /* the whole map */
    {2, 3, 3, 2, 2, 5, 5, {1, 1}, {2, 2}, {2, 2}, {1, 1}, 1, true}, /* kernel larger than x */
    {1, 1, 2, 2, 2, 2, 2, {1, 1}, {3, 3}, {3, 3}, {1, 1}, 1, true}, /* windows in the padding only */
    {2, 2, 8, 7, 2, 2, 2, {3, 3}, {0, 0}, {0, 0}, {1, 1}, 1, true}, /* stride larger than kernel */
    {1, 2, 5, 6, 3, 3, 1, {1, 2}, {0, 1}, {0, 1}, {1, 1}, 1, true}, /* stride differs by axis */
    {2, 2, 7, 7, 3, 3, 3, {2, 2}, {2, 2}, {2, 2}, {2, 2}, 1, true}, /* dilation and stride */
    {2, 2, 5, 6, 2, 3, 2, {1, 1}, {2, 1}, {2, 1}, {2, 3}, 1, true}, /* dilation differs by axis */
    {2, 1, 5, 6, 2, 2, 4, {1, 1}, {0, 1}, {1, 2}, {1, 1}, 1, true}, /* asymmetric padding */
    {17, 2, 6, 3, 9, 4, 2, {3, 1}, {1, 1}, {1, 1}, {1, 1}, 1, true},
    {2, 4, 4, 5, 6, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 2, true}, /* groups */
    {3, 12, 5, 5, 18, 3, 2, {2, 1}, {1, 0}, {0, 1}, {1, 2}, 3, false},
    {2, 6, 4, 4, 4, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 2, true},  /* 1x1 with groups */
    {2, 2, 5, 5, 3, 1, 1, {2, 2}, {0, 0}, {0, 0}, {1, 1}, 1, false}, /* 1x1, stride 2 */
    {3, 7, 4, 4, 5, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true},  /* pointwise */
    {2, 5, 8, 3, 9, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, false},
    {2, 5, 3, 3, 4, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true},  /* 1x1 with rows that are no packs */
    {1, 2, 1, 1, 3, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true},  /* 1x1 on 1x1 */
    {2, 3, 5, 4, 3, 3, 3, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 3, true},  /* depthwise */
    {3, 3, 4, 4, 6, 3, 1, {1, 1}, {1, 0}, {1, 0}, {1, 1}, 3, false}, /* two filters each */
    {2, 4, 9, 8, 4, 5, 5, {1, 2}, {2, 4}, {2, 3}, {1, 2}, 4, true},  /* 25 taps: three blocks of them */
    {1, 1, 3, 3, 2, 2, 2, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true},  /* one channel: depthwise, too */
};
enum { N_CONVS = sizeof convs / sizeof convs[0] };

static int64_t out_of(int64_t in, const conv_case *t, int axis)
{
    int64_t kernel = ((axis ? t->s : t->r) - 1) * t->dilation[axis] + 1;
    return (in + t->begin[axis] + t->end[axis] - kernel) / t->stride[axis] + 1;
}

static void run_conv(const conv_case *t, void (*check)(pair_spec))
{
    nt_conv2d_options o = {.filters = t->k, .kernel = {t->r, t->s}, .groups = t->groups, .has_bias = t->bias};
    for (int a = 0; a < 2; a++) {
        o.stride[a] = t->stride[a];
        o.dilation[a] = t->dilation[a];
        o.pad_begin[a] = t->begin[a];
        o.pad_end[a] = t->end[a];
    }
    check((pair_spec){.kind = "conv2d",
                      .options = &o,
                      .n_inputs = 1,
                      .n_params = 1 + t->bias,
                      .x = {f32(4, t->n, t->c, t->h, t->w)},
                      .param = {nt_shape_of(4, t->k, t->c / t->groups, t->r, t->s), nt_shape_of(1, t->k)},
                      .y = nt_shape_of(4, t->n, t->k, out_of(t->h, t, 0), out_of(t->w, t, 1)),
                      .tolerance = SUMS,
                      .rounding = BF16_TWICE});
}

static void without_dx(pair_spec spec)
{
    spec.no_dx = true;
    check_types(spec);
}

static void in_inference(pair_spec spec)
{
    spec.inference = true;
    check_types(spec);
}

static void conv2d(void **state)
{
    (void)state;
    for (int i = 0; i < N_CONVS; i++) {
        run_conv(&convs[i], check_types);
        run_conv(&convs[i], without_dx);
        run_conv(&convs[i], in_inference);
    }
}

static void set_piece_bytes(size_t n_bytes)
{
    static const nt_precision precisions[] = {NT_PRECISION_FP32, NT_PRECISION_BF16};
    for (int i = 0; i < 2; i++)
        ((nt_cuda *)pair_backend("cuda", precisions[i], 1)->state)->piece_bytes = n_bytes;
}

/* Pieces of one sample, and of as many as leave a rest. */
static void conv2d_in_pieces(void **state)
{
    (void)state;
    const size_t before = ((nt_cuda *)pair_backend("cuda", NT_PRECISION_FP32, 1)->state)->piece_bytes;
    static const size_t sizes[] = {1, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        set_piece_bytes(sizes[i]);
        for (int c = 0; c < N_CONVS; c++) {
            run_conv(&convs[c], check_types);
            run_conv(&convs[c], in_inference);
        }
    }
    set_piece_bytes(before);
}

/* Large enough for several blocks of every kernel and several parts of every sum. */
static void conv2d_of_more_than_a_block(void **state)
{
    (void)state;
    static const conv_case large[] = {
        {6, 2, 40, 41, 3, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, true},
        {5, 3, 33, 32, 3, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 3, true},
        {90, 1, 40, 40, 2, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true}, /* a depthwise sum in two parts */
    };
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        run_conv(&large[i], check_types);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),
        cmocka_unit_test(linear_of_a_map),
        cmocka_unit_test(conv2d),
        cmocka_unit_test(conv2d_in_pieces),
        cmocka_unit_test(conv2d_of_more_than_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, pair_close);
}
