/* Gradients of every op in odd shapes against finite differences, in double on ref64.
 *
 * Tolerance 2e-8 relative to max(1, |gradient|): with a step e = 1e-6 the truncation e^2 f''' / 6 is below
 * 1e-11 for these smooth functions with derivatives of order 1, and the rounding of an output of order 1 to
 * 10 is 2e-15 / e = 2e-9. A wrong gradient is wrong by 1e-2 and more. */
#include "core/gradcheck.h"
#include "tests/unit/layer_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TOLERANCE 2e-8

static nt_backend *make_backend(const char *name)
{
    nt_backend *backend;
    const nt_backend_options options = {.threads = 1};
    if (nt_backend_create(&backend, name, &options) != NT_OK) fail_msg("%s", nt_error_last()->message);
    return backend;
}

static nt_lone_spec spec_of(const op_case *c)
{
    return (nt_lone_spec){.type = c->type,
                          .options = c->options,
                          .in = c->in,
                          .n_inputs = c->n_inputs,
                          .labels = c->labels,
                          .n = c->n};
}

static double worst_of(nt_backend *backend, const op_case *c, uint64_t seed, nt_gradcheck_result *result)
{
    const nt_lone_spec spec = spec_of(c);
    if (nt_gradcheck_layer(backend, &spec, seed, result) != NT_OK)
        fail_msg("%s: %s", c->name, nt_error_last()->message);
    return result->worst;
}

static void every_op_in_odd_shapes(void **state)
{
    (void)state;
    nt_backend *backend = make_backend("ref64");
    for (int i = 0; i < N_CASES; i++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            nt_gradcheck_result result;
            double worst = worst_of(backend, case_at(i), seed, &result);
            if (!(worst < TOLERANCE))
                fail_msg("%s, seed %d: %s differs by %g", case_at(i)->name, (int)seed, result.where, worst);
            if (result.where[0] == '\0') fail_msg("%s: nothing was checked", case_at(i)->name);
        }
    nt_backend_destroy(backend);
}

static bool has_case(const char *type)
{
    for (int i = 0; i < N_CASES; i++)
        if (strcmp(case_at(i)->type, type) == 0) return true;
    return false;
}

static void every_layer_type_and_loss_has_a_case(void **state)
{
    (void)state;
    for (const char *const *type = nt_layer_types(); *type; type++)
        if (!has_case(*type))
            fail_msg("layer type %s is in neither tests/unit/op_cases.h nor layer_cases.h", *type);
    for (const char *const *type = nt_loss_types(); *type; type++)
        if (!has_case(*type))
            fail_msg("loss %s is in neither tests/unit/op_cases.h nor layer_cases.h", *type);
}

/* The straight-through estimator of threshold is not its derivative: the check has to notice, and say where.
 */
static void a_wrong_gradient_is_found(void **state)
{
    (void)state;
    nt_backend *backend = make_backend("ref64");
    const op_case wrong = {"threshold", "activation", ACT(NT_ACT_THRESHOLD, NAN, NAN), 2, 1, {VEC(3)}};
    nt_gradcheck_result result;
    assert_true(worst_of(backend, &wrong, 1, &result) > 0.01);
    assert_true(strncmp(result.where, "input 0[", 8) == 0);
    nt_backend_destroy(backend);
}

static void float_backends_are_refused(void **state)
{
    (void)state;
    nt_backend *backend = make_backend("ref");
    const nt_lone_spec spec = spec_of(case_at(0));
    nt_gradcheck_result result;
    assert_int_equal(nt_gradcheck_layer(backend, &spec, 1, &result), NT_ERR_BUG);
    nt_error_clear();
    nt_backend_destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_in_odd_shapes),
        cmocka_unit_test(every_layer_type_and_loss_has_a_case),
        cmocka_unit_test(a_wrong_gradient_is_found),
        cmocka_unit_test(float_backends_are_refused),
    };
    return cmocka_run_group_tests_name("gradcheck", tests, NULL, NULL);
}
