/* Every case of the shared lists that reads maps: cpu against ref, with inputs in the blocked layout of a
 * convolution's output and plain, in place and not, in training and inference. What cpu has no code for comes
 * from ref behind reorders, which this sees too. Tolerance 1e-5: sums in float of some hundred terms. */
#include "tests/unit/case_pair.h"

static void check_case(const op_case *c)
{
    nt_layer layer = case_infer(c);
    pair_spec spec = {.kind = layer.kind,
                      .options = layer.options,
                      .n_inputs = c->n_inputs,
                      .n_params = layer.n_params,
                      .param_spread = 1,
                      .y = nt_layer_op_shape(&layer, layer.out, c->n),
                      .tolerance = 1e-5};
    for (int k = 0; k < c->n_inputs; k++)
        spec.x[k] = nt_tensor_plain(NT_F32, nt_layer_op_shape(&layer, c->in[k], c->n));
    for (int p = 0; p < layer.n_params; p++)
        spec.param[p] = layer.param[p].shape;
    for (int way = 0; way < 8; way++) {
        for (int k = 0; k < c->n_inputs; k++)
            spec.blocked[k] = (way & 1) && spec.x[k].shape.n_dims == 4;
        spec.in_place = way & 2;
        spec.inference = way & 4;
        pair_check(&spec);
    }
    free(layer.options);
    free(layer.in);
}

static void every_case_on_blocked_maps(void **state)
{
    (void)state;
    int n_cases = 0;
    for (int i = 0; i < N_CASES; i++) {
        const op_case *c = case_at(i);
        if (nt_loss_find(c->type) || c->in[0].n_dims != 3) continue;
        check_case(c);
        n_cases++;
    }
    assert_true(n_cases > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_case_on_blocked_maps)};
    return cmocka_run_group_tests_name("cpu_cases", tests, NULL, NULL);
}
