/* What a memory plan relies on, held for every op of the shared list and on both builds of ref: flags are
 * honest, gradients of parameters accumulate or not as told, nothing needed is read from memory that may be
 * gone, and float computes what double does. */
#include "tests/unit/lone_helpers.h"

static nt_backend *ref, *ref64;

/* Everything that a run leaves behind. */
typedef struct outcome {
    double *y, *dx[4], *dparam[NT_MAX_PARAMS];
} outcome;

static void free_outcome(outcome *o)
{
    free(o->y);
    for (int i = 0; i < 4; i++)
        free(o->dx[i]), free(o->dparam[i]);
}

static void fill_nan(nt_lone_op *lone, nt_tensor *t)
{
    int64_t n = nt_shape_elems(t->shape);
    double *values = make_values(n);
    for (int64_t i = 0; i < n; i++)
        values[i] = NAN;
    MUST(nt_lone_write(lone, t, values));
    free(values);
}

static void poison_bytes(void *ptr, size_t n_bytes)
{
    if (n_bytes) memset(ptr, 0xff, n_bytes); /* NaN as float and as double */
}

/* Between forward and backward: everything that the flags do not ask to keep is gone. dy is set last, as it
 * may lie where y or x was in a real plan. */
static void poison_what_is_not_kept(nt_lone_op *lone)
{
    nt_op *op = &lone->op;
    bool view = op->flags & NT_OP_VIEW;
    for (int k = 0; k < op->n_inputs; k++)
        if (!(op->flags & NT_OP_KEEPS_X) && !view) fill_nan(lone, &op->x[k]);
    if (!(op->flags & NT_OP_KEEPS_Y) && !view && op->y.data != op->x[0].data) fill_nan(lone, &op->y);
    poison_bytes(op->scratch, op->scratch_bytes);
}

static outcome run_case(nt_backend *backend, const op_case *c, bool shares, bool poisons)
{
    nt_lone_op *lone = make_lone(backend, c, true, shares);
    nt_op *op = &lone->op;
    nt_pass pass = make_pass();
    outcome out = {0};
    fill_lone(lone);
    if (poisons) {
        poison_bytes(op->scratch, op->scratch_bytes);
        poison_bytes(op->saved, op->saved_bytes);
    }
    MUST(nt_lone_forward(lone, &pass));
    out.y = values_of(lone, &op->y);
    if (poisons) poison_what_is_not_kept(lone);
    for (int k = 0; poisons && k < op->n_inputs; k++)
        if (op->need_dx[k]) fill_nan(lone, &op->dx[k]);
    for (int p = 0; poisons && p < op->n_params; p++)
        fill_nan(lone, &op->dparam[p]);
    fill_tensor(lone, &op->dy, 50, 1);
    MUST(nt_lone_backward(lone, &pass));
    for (int k = 0; k < op->n_inputs; k++)
        if (op->need_dx[k]) out.dx[k] = values_of(lone, &op->dx[k]);
    for (int p = 0; p < op->n_params; p++)
        out.dparam[p] = values_of(lone, &op->dparam[p]);
    nt_lone_destroy(lone);
    return out;
}

static void expect_same(const char *what, int index, const op_case *c, const double *got, const double *want,
                        int64_t n, double tolerance)
{
    assert_int_equal(!got, !want);
    for (int64_t i = 0; want && i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * fmax(1, fabs(want[i]))))
            fail_msg("%s: %s %d [%d] is %.9g, should be %.9g", c->name, what, index, (int)i, got[i], want[i]);
}

/* Number of elements of everything, from a lone op of the case. */
static void expect_same_outcome(nt_backend *backend, const op_case *c, const outcome *got,
                                const outcome *want, double tolerance)
{
    nt_lone_op *lone = make_lone(backend, c, true, false);
    const nt_op *op = &lone->op;
    expect_same("y", 0, c, got->y, want->y, nt_shape_elems(op->y.shape), tolerance);
    for (int k = 0; k < op->n_inputs; k++)
        expect_same("dx", k, c, got->dx[k], want->dx[k], nt_shape_elems(op->x[k].shape), tolerance);
    for (int p = 0; p < op->n_params; p++)
        expect_same("dparam", p, c, got->dparam[p], want->dparam[p], nt_shape_elems(op->param[p].shape),
                    tolerance);
    nt_lone_destroy(lone);
}

static void every_pair(bool shares_a, bool poisons_a)
{
    nt_backend *const both[] = {ref, ref64};
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < N_CASES; i++) {
            outcome plain = run_case(both[b], case_at(i), false, false);
            outcome other = run_case(both[b], case_at(i), shares_a, poisons_a);
            expect_same_outcome(both[b], case_at(i), &other, &plain, 0);
            free_outcome(&plain);
            free_outcome(&other);
        }
}

static void shared_memory_gives_the_same_bits(void **state)
{
    (void)state;
    every_pair(true, false);
}

static void nothing_is_read_that_is_not_kept(void **state)
{
    (void)state;
    every_pair(false, true);
}

/* ref rounds inputs of sums never and results once (2^-24 relative, 6e-8); an activation whose slope comes
 * from the rounded y and a softmax whose gradient is made of rounded products add a few of those. 1e-6 covers
 * sums of up to 10 such terms. */
static void float_computes_what_double_does(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        outcome f = run_case(ref, case_at(i), false, false), d = run_case(ref64, case_at(i), false, false);
        expect_same_outcome(ref64, case_at(i), &f, &d, 1e-6);
        free_outcome(&f);
        free_outcome(&d);
    }
}

/* Gradients of parameters: assigned, then added to. Doubling is exact. */
static void parameter_gradients_accumulate(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        nt_lone_op *lone = make_lone(ref, case_at(i), true, false);
        nt_pass pass = make_pass();
        fill_lone(lone);
        MUST(nt_lone_forward(lone, &pass));
        MUST(nt_lone_backward(lone, &pass));
        double *once[NT_MAX_PARAMS], *dx = lone->op.need_dx[0] ? values_of(lone, &lone->op.dx[0]) : NULL;
        for (int p = 0; p < lone->op.n_params; p++)
            once[p] = values_of(lone, &lone->op.dparam[p]);
        pass.accumulate = true;
        MUST(nt_lone_backward(lone, &pass));
        for (int p = 0; p < lone->op.n_params; p++) {
            for (int64_t e = 0; e < nt_shape_elems(lone->op.param[p].shape); e++)
                once[p][e] *= 2;
            expect_tensor(case_at(i)->name, lone, &lone->op.dparam[p], once[p], 0);
            free(once[p]);
        }
        if (dx) expect_tensor(case_at(i)->name, lone, &lone->op.dx[0], dx, 0); /* assigned, not added */
        free(dx);
        nt_lone_destroy(lone);
    }
}

/* Without need_dx nothing is written, whatever dx points to. */
static void gradients_nobody_needs_are_not_written(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        nt_lone_op *lone = make_lone(ref, case_at(i), true, false);
        nt_pass pass = make_pass();
        fill_lone(lone);
        for (int k = 0; k < lone->op.n_inputs; k++) {
            lone->op.need_dx[k] = false;
            lone->op.dx[k].data = NULL;
        }
        MUST(nt_lone_forward(lone, &pass));
        MUST(nt_lone_backward(lone, &pass));
        nt_lone_destroy(lone);
    }
}

/* With several inputs, a gradient comes out the same whether or not the others are needed. */
static void gradients_do_not_depend_on_what_else_is_needed(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        outcome all = run_case(ref, case_at(i), false, false);
        for (int only = 0; only < case_at(i)->n_inputs; only++) {
            if (!all.dx[only]) continue;
            nt_lone_op *lone = make_lone(ref, case_at(i), true, false);
            nt_pass pass = make_pass();
            fill_lone(lone);
            for (int k = 0; k < lone->op.n_inputs; k++)
                lone->op.need_dx[k] = k == only;
            MUST(nt_lone_forward(lone, &pass));
            MUST(nt_lone_backward(lone, &pass));
            expect_tensor(case_at(i)->name, lone, &lone->op.dx[only], all.dx[only], 0);
            nt_lone_destroy(lone);
        }
        free_outcome(&all);
    }
}

/* In inference no memory is asked for from forward to backward, and shared memory changes nothing. */
static void inference_saves_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        nt_lone_op *apart = make_lone(ref, case_at(i), false, false);
        nt_lone_op *shared = make_lone(ref, case_at(i), false, true);
        nt_pass pass = make_pass();
        assert_int_equal(apart->op.saved_bytes, 0);
        fill_lone(apart);
        fill_lone(shared);
        MUST(nt_lone_forward(apart, &pass));
        MUST(nt_lone_forward(shared, &pass));
        double *want = values_of(apart, &apart->op.y);
        expect_tensor(case_at(i)->name, shared, &shared->op.y, want, 0);
        free(want);
        nt_lone_destroy(apart);
        nt_lone_destroy(shared);
    }
}

/* Samples do not see each other (batchnorm in training excepted): a sample alone gives what it gave in the
 * batch. */
static void samples_are_independent(void **state)
{
    (void)state;
    for (int i = 0; i < N_CASES; i++) {
        op_case one = *case_at(i);
        if (one.n_inputs > 1 || strcmp(one.type, "batchnorm") == 0) continue;
        one.n = 1;
        nt_lone_op *batch = make_lone(ref64, case_at(i), true, false);
        nt_lone_op *alone = make_lone(ref64, &one, true, false);
        nt_pass pass = make_pass();
        fill_lone(batch);
        fill_lone(alone);
        MUST(nt_lone_forward(batch, &pass));
        double *x = values_of(batch, &batch->op.x[0]), *y = values_of(batch, &batch->op.y);
        int64_t last = case_at(i)->n - 1;
        MUST(nt_lone_write(alone, &alone->op.x[0], x + last * nt_shape_elems(alone->op.x[0].shape)));
        pass.sample += last;
        MUST(nt_lone_forward(alone, &pass));
        expect_tensor(one.name, alone, &alone->op.y, y + last * nt_shape_elems(alone->op.y.shape), 0);
        free(x), free(y);
        nt_lone_destroy(batch);
        nt_lone_destroy(alone);
    }
}

static bool in_list(const char *kind)
{
    return ref->ops->find_op(ref, kind) && strcmp(ref->ops->find_op(ref, kind)->kind, kind) == 0 &&
           ref64->ops->find_op(ref64, kind);
}

static void every_layer_type_and_loss_has_an_op(void **state)
{
    (void)state;
    assert_true(in_list("input"));
    for (const char *const *type = nt_layer_types(); *type; type++)
        if (!in_list(*type)) fail_msg("ref has no op for layer type %s", *type);
    for (const char *const *type = nt_loss_types(); *type; type++)
        if (!in_list(*type)) fail_msg("ref has no op for loss %s", *type);
    assert_null(ref->ops->find_op(ref, "conv3d"));
}

/* A loss that is given the wrong kind of target at this late point still says which is wanted. */
static void losses_name_the_target_they_want(void **state)
{
    (void)state;
    static const struct {
        const char *type, *says;
        nt_dtype given;
    } rows[] = {{"mse", "cross_entropy", NT_I32},
                {"bce", "cross_entropy", NT_I32},
                {"cross_entropy", "class labels", NT_F32}};
    for (int i = 0; i < NT_N_ELEMS(rows); i++) {
        const nt_shape out = VEC(3);
        nt_tensor x[2] = {nt_tensor_plain(NT_F32, nt_shape_with_n(out, 2)),
                          nt_tensor_plain(rows[i].given, nt_shape_with_n(out, 2))};
        nt_op op = {.backend = ref, .name = "loss", .n_inputs = 2, .x = x, .training = true};
        op.y = nt_tensor_plain(NT_F32, nt_shape_of(2, (int64_t)2, (int64_t)2));
        assert_int_equal(nt_op_create(&op, rows[i].type), NT_ERR_CONFIG);
        assert_non_null(strstr(nt_error_last()->message, rows[i].type));
        assert_non_null(strstr(nt_error_last()->message, rows[i].says));
    }
    nt_error_clear();
}

static int open_backends(void **state)
{
    (void)state;
    ref = make_backend("ref");
    ref64 = make_backend("ref64");
    return 0;
}

static int close_backends(void **state)
{
    (void)state;
    nt_backend_destroy(ref);
    nt_backend_destroy(ref64);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_memory_gives_the_same_bits),
        cmocka_unit_test(nothing_is_read_that_is_not_kept),
        cmocka_unit_test(float_computes_what_double_does),
        cmocka_unit_test(parameter_gradients_accumulate),
        cmocka_unit_test(gradients_nobody_needs_are_not_written),
        cmocka_unit_test(gradients_do_not_depend_on_what_else_is_needed),
        cmocka_unit_test(inference_saves_nothing),
        cmocka_unit_test(samples_are_independent),
        cmocka_unit_test(every_layer_type_and_loss_has_an_op),
        cmocka_unit_test(losses_name_the_target_they_want),
    };
    return cmocka_run_group_tests_name("ref_memory", tests, open_backends, close_backends);
}
