/* linear and conv2d, cuda against ref: every route of conv2d (im2col, pointwise, depthwise), groups,
 * dilation, asymmetric padding, strides that leave a rest, and pieces of the batch. */
#include "cuda_cases.h"

#include "core/backends/cuda/cuda.h"
/* Gradients of parameters stay float32 in bfloat16, and are held to the same tolerance there: their products
 * are exact in float32. */
static void check_products(pair_spec spec)
{
    spec.tolerance = SUMS;
    spec.rounding = BF16_TWICE;
    check_types(spec);
    spec.activation = spec.n_params == 2 ? &fused_relu : NULL;
    if (spec.activation) check_types(spec);
    spec.no_dx = true;
    check_types(spec);
    spec.inference = true;
    check_types(spec);
}

static void linear(void **state)
{
    (void)state;
    each_linear(check_products);
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

static void as_it_is(pair_spec spec)
{
    spec.tolerance = SUMS;
    spec.rounding = BF16_TWICE;
    check_types(spec);
}

static void without_dx(pair_spec spec)
{
    spec.no_dx = true;
    as_it_is(spec);
}

static void in_inference(pair_spec spec)
{
    spec.inference = true;
    as_it_is(spec);
}

static void conv2d(void **state)
{
    (void)state;
    for (int i = 0; i < N_CONVS; i++) {
        check_conv(&convs[i], as_it_is);
        check_conv(&convs[i], without_dx);
        check_conv(&convs[i], in_inference);
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
            check_conv(&convs[c], as_it_is);
            check_conv(&convs[c], in_inference);
        }
    }
    set_piece_bytes(before);
}

/* Large enough for several blocks of every kernel and several parts of every sum. */
static void conv2d_of_more_than_a_block(void **state)
{
    (void)state;
    static const conv_case large[] = {
        {6, 2, 40, 41, 3, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, true, false},
        {5, 3, 33, 32, 3, 3, 3, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 3, true, false},
        {90, 1, 40, 40, 2, 1, 1, {1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, true, false}, /* a depthwise sum in two
                                                                                     parts */
    };
    for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
        check_conv(&large[i], as_it_is);
}

/* cuBLAS counts rows and columns with int: refused where the shapes are compiled, in words, before any
 * memory. */
static void what_cublas_cannot_count(void **state)
{
    (void)state;
    nt_backend *b = NULL;
    const nt_backend_options options = {.threads = 1};
    const nt_linear_options o = {.units = 1};
    nt_tensor x = nt_tensor_plain(NT_F32, nt_shape_of(2, (int64_t)1 << 31, 1)), dx = x;
    bool need_dx = true;
    nt_op op = {.backend = b,
                .name = "wide",
                .options = &o,
                .training = true,
                .n_inputs = 1,
                .n_params = 1,
                .x = &x,
                .dx = &dx,
                .need_dx = &need_dx,
                .y = x};
    op.param[0] = nt_tensor_plain(NT_F32, nt_shape_of(2, 1, 1));
    pair_ok(nt_backend_create(&b, "cuda", &options));
    op.backend = b;
    assert_int_equal(nt_op_create(&op, "linear"), NT_ERR_CONFIG);
    assert_string_equal(
        nt_error_last()->message,
        "layer wide: linear multiplies a matrix of 2147483648 rows or columns, and cuBLAS counts "
        "them up to 2147483647; use a smaller batch or layer");
    nt_backend_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear),
        cmocka_unit_test(linear_of_a_map),
        cmocka_unit_test(conv2d),
        cmocka_unit_test(conv2d_in_pieces),
        cmocka_unit_test(conv2d_of_more_than_a_block),
        cmocka_unit_test(what_cublas_cannot_count),
    };
    return cmocka_run_group_tests(tests, NULL, pair_close);
}
