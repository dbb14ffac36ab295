/* Losses, cuda against ref: values and gradients, logits up to +-1e4, labels that are no class. */
#include "cuda_cases.h"

static void check_loss(pair_spec spec)
{
    spec.tolerance = FUNCTIONS;
    spec.rounding = BF16_ONCE;
    check_types(spec);
}

/* Of logits up to +-1e4, where float32 has steps of 1e-3, the loss is relative to 1e4, too. */
static void cross_entropy(void **state)
{
    (void)state;
    each_cross_entropy(check_loss);
}

static void losses_of_values(void **state)
{
    (void)state;
    each_loss_of_values(check_loss);
}

/* How many are right: all, and all but one. */
static void right_and_wrong(void **state)
{
    (void)state;
    enum { N = 3, K = 40 };
    float values[N * K], wanted[N * K], y[2 * N];
    for (int i = 0; i < N * K; i++) {
        values[i] = i % 3 ? 1.0f : -1.0f;
        wanted[i] = i % 3 ? 1.0f : 0.0f;
    }
    values[K + 38] = -values[K + 38]; /* sample 1 */
    nt_tensor x = f32(2, N, K, 0, 0), target = x;
    x.data = values;
    target.data = wanted;
    const pair_spec spec = {.kind = "bce",
                            .n_inputs = 2,
                            .x = {x, target},
                            .raw = {false, true},
                            .is_loss = true,
                            .y = nt_shape_of(2, (int64_t)N, (int64_t)2)};
    pair_side s = {0};
    pair_begin(&s, "cuda", &spec, NULL);
    pair_ok(nt_backend_to_plain(s.backend, y, &s.op.y));
    assert_true(y[1] == K && y[3] == K - 1 && y[5] == K);
    pair_teardown(&s, &spec);
}

/* Fills y (N, 2) and dx (N, K) of cross_entropy with these labels; the status is that of the next sync. */
static nt_status run_labels(const int32_t *label, float *y, float *dx)
{
    enum { N = 3, K = 5 };
    nt_tensor target = nt_tensor_plain(NT_I32, nt_shape_of(1, (int64_t)N));
    target.data = (void *)(uintptr_t)label;
    const pair_spec spec = {.kind = "cross_entropy",
                            .n_inputs = 2,
                            .x = {f32(2, N, K, 0, 0), target},
                            .is_loss = true,
                            .y = nt_shape_of(2, (int64_t)N, (int64_t)2)};
    pair_side s = {0};
    nt_pass pass = pair_pass();
    pair_begin(&s, "cuda", &spec, NULL);
    pair_backward(&s, &spec, &pass);
    pair_ok(nt_backend_to_plain(s.backend, y, &s.op.y));
    pair_ok(nt_backend_to_plain(s.backend, dx, &s.dx[0]));
    nt_status status = nt_backend_sync(s.backend);
    pair_teardown(&s, &spec);
    return status;
}

/* A label that is no class is an error that names layer, label and classes, once; until it is read nothing is
 * learned from the sample. */
static void fault_label_that_is_no_class(void **state)
{
    (void)state;
    static const int32_t bad[] = {5, -1, INT32_MAX, INT32_MIN};
    float y[6], dx[15];
    for (int b = 0; b < 4; b++) {
        const int32_t label[] = {4, bad[b], 0};
        char words[64];
        assert_int_equal(run_labels(label, y, dx), NT_ERR_DATA);
        snprintf(words, sizeof words, "layer pair: class label %d is not in 0..4", (int)bad[b]);
        assert_non_null(strstr(nt_error_last()->message, words));
        nt_error_clear();
        for (int i = 0; i < 3; i++) {
            assert_true((i == 1) == (bool)isnan(y[2 * i]));
            for (int k = 0; k < 5; k++)
                assert_true((i == 1) == (bool)isnan(dx[5 * i + k]));
        }
        assert_int_equal(run_labels((const int32_t[]){4, 2, 0}, y, dx), NT_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy),
        cmocka_unit_test(losses_of_values),
        cmocka_unit_test(right_and_wrong),
        cmocka_unit_test(fault_label_that_is_no_class),
    };
    return cmocka_run_group_tests(tests, NULL, pair_close);
}
