/* multihead_attention of cpu against ref at sizes where its products are real ones: heads that do and do not
 * fill a vector, causal and not, with dropout and without, one position, one and three threads, training and
 * inference, gradients assigned and added to. */
#include "core/layers/multihead_attention.h"
#include "tests/unit/op_pair.h"

/* float sums of up to 300 terms, and an exponential */
#define TOLERANCE 1e-5

static void check(int64_t n, int64_t t, int64_t e, int64_t heads, bool causal, double dropout, bool bias)
{
    const nt_multihead_attention_options o = {
        .num_heads = heads, .causal = causal, .dropout = dropout, .bias = bias};
    nt_shape x = nt_shape_of(3, n, t, e);
    pair_spec spec = {
        .kind = "multihead_attention",
        .options = &o,
        .n_inputs = 1,
        .n_params = bias ? 4 : 2,
        .x = {nt_tensor_plain(NT_F32, x)},
        .param = {nt_shape_of(2, 3 * e, e), nt_shape_of(2, e, e), nt_shape_of(1, 3 * e), nt_shape_of(1, e)},
        .y = x,
        .tolerance = TOLERANCE};
    pair_check(&spec);
    spec.no_dx = true;
    pair_check(&spec);
    spec.inference = true;
    pair_check(&spec);
}

static void against_ref(void **state)
{
    (void)state;
    check(3, 17, 48, 4, false, 0, true);
    check(2, 33, 24, 3, true, 0, true);
    check(4, 16, 64, 1, true, 0.3, true);
    check(3, 13, 20, 5, false, 0.6, false);
    check(5, 1, 6, 2, true, 0, true);
    check(1, 50, 10, 10, false, 0.1, true);
    check(2, 7, 96, 2, false, 0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_ref)};
    return cmocka_run_group_tests_name("cpu_attention", tests, NULL, NULL);
}
