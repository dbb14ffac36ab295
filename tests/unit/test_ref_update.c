/* The update rules and the vector functions of ref, against closed forms.
 *
 * With a constant gradient g the rules have exact histories: momentum m after t steps gives the velocity
 * g (1 - m^t) / (1 - m), and Adam's bias-corrected moments are g and g^2 at every step. Tolerance 1e-12 on
 * ref64 where the hyperparameters are exact in float (powers of two), as nt_update holds floats. */
#include "tests/unit/lone_helpers.h"

static nt_backend *ref, *ref64;

#define STEPS 7
#define LR    0.125

static nt_update sgd(double momentum, bool nesterov, double weight_decay)
{
    return (nt_update){.rule = NT_UPDATE_SGD,
                       .lr = LR,
                       .momentum = (float)momentum,
                       .nesterov = nesterov,
                       .weight_decay = (float)weight_decay,
                       .grad_scale = 1};
}

/* p after STEPS steps from 3 with constant gradient -2 on ref64. */
static double run_constant(const nt_update *u, double g, bool has_state)
{
    double p = 3, s1 = 0;
    for (int t = 0; t < STEPS; t++)
        MUST(nt_backend_update(ref64, u, &p, &g, has_state ? &s1 : NULL, NULL, 1));
    return p;
}

static void sgd_plain_and_decayed(void **state)
{
    (void)state;
    nt_update u = sgd(0, false, 0);
    expect_close("sgd", run_constant(&u, -2, false), 3 + STEPS * LR * 2, 1e-12);
    u.grad_scale = 0.5f;
    expect_close("scaled", run_constant(&u, -2, false), 3 + STEPS * LR, 1e-12);
    u = sgd(0, false, 0.25);
    expect_close("decay alone", run_constant(&u, 0, false), 3 * pow(1 - LR * 0.25, STEPS), 1e-12);
    u.grad_scale = 0.5f; /* scales the gradient, not the decay */
    expect_close("decay is not scaled", run_constant(&u, 0, false), 3 * pow(1 - LR * 0.25, STEPS), 1e-12);
}

static void sgd_momentum(void **state)
{
    (void)state;
    const double m = 0.5, g = -2;
    double plain = 3, nesterov = 3;
    for (int t = 1; t <= STEPS; t++) {
        double v = g * (1 - pow(m, t)) / (1 - m);
        plain -= LR * v;
        nesterov -= LR * (g + m * v);
    }
    nt_update u = sgd(m, false, 0);
    expect_close("momentum", run_constant(&u, g, true), plain, 1e-12);
    u = sgd(m, true, 0);
    expect_close("nesterov", run_constant(&u, g, true), nesterov, 1e-12);
}

/* Two steps by hand: p 1, g 1 then -1, momentum 0.5, decay 0.5, lr 0.125. */
static void sgd_momentum_with_decay_by_hand(void **state)
{
    (void)state;
    double p = 1, v = 0, g = 1;
    const nt_update u = sgd(0.5, false, 0.5);
    MUST(nt_backend_update(ref64, &u, &p, &g, &v, NULL, 1)); /* v = 1.5, p = 1 - 0.1875 */
    expect_close("v", v, 1.5, 0);
    expect_close("p", p, 0.8125, 0);
    g = -1;
    MUST(nt_backend_update(ref64, &u, &p, &g, &v, NULL, 1)); /* v = 0.75 - 1 + 0.40625 */
    expect_close("v", v, 0.15625, 0);
    expect_close("p", p, 0.8125 - 0.125 * 0.15625, 0);
}

static nt_update adam(bool decoupled, double weight_decay, int t)
{
    return (nt_update){.rule = NT_UPDATE_ADAM,
                       .lr = LR,
                       .weight_decay = (float)weight_decay,
                       .decoupled = decoupled,
                       .beta1 = 0.5f,
                       .beta2 = 0.75f,
                       .eps = 0.0625f,
                       .correction1 = (float)(1 - pow(0.5, t)),
                       .correction2 = (float)(1 - pow(0.75, t)),
                       .grad_scale = 1};
}

static double run_adam(bool decoupled, double weight_decay, double g, double grad_scale)
{
    double p = 3, m = 0, v = 0;
    for (int t = 1; t <= STEPS; t++) {
        nt_update u = adam(decoupled, weight_decay, t);
        u.grad_scale = (float)grad_scale;
        MUST(nt_backend_update(ref64, &u, &p, &g, &m, &v, 1));
    }
    return p;
}

static void adam_constant_gradient(void **state)
{
    (void)state;
    expect_close("adam", run_adam(false, 0, -2, 1), 3 + STEPS * LR * 2 / (2 + 0.0625), 1e-12);
    expect_close("scaled", run_adam(false, 0, -2, 0.5), 3 + STEPS * LR * 1 / (1 + 0.0625), 1e-12);
    expect_close("adamw", run_adam(true, 0.25, 0, 1), 3 * pow(1 - LR * 0.25, STEPS), 1e-12);
    expect_close("no gradient", run_adam(false, 0, 0, 1), 3, 0);
}

/* First step from p 4: adam adds the decay to the gradient, 1 + 0.25 * 4 = 2; adamw shrinks p and uses g = 1.
 */
static void adam_decay_by_hand(void **state)
{
    (void)state;
    double p = 4, m = 0, v = 0, g = 1;
    nt_update u = adam(false, 0.25, 1);
    MUST(nt_backend_update(ref64, &u, &p, &g, &m, &v, 1));
    expect_close("m", m, 1, 0);
    expect_close("v", v, 1, 0);
    expect_close("adam", p, 4 - LR * 2 / 2.0625, 1e-12);
    p = 4, m = v = 0;
    u = adam(true, 0.25, 1);
    MUST(nt_backend_update(ref64, &u, &p, &g, &m, &v, 1));
    expect_close("m", m, 0.5, 0);
    expect_close("adamw", p, 4 * (1 - LR * 0.25) - LR / 1.0625, 1e-12);
}

/* Running statistics of a batch cut into three unequal parts with a mean of 1e4: the slots of the parts,
 * summed, lead to the mean and unbiased variance of the whole, which a two-pass sum gives. Values of 1e4 in
 * double are good to 2e-12, so 1e-9 holds unless squares of the mean are subtracted (1e8, good to 1e-8 only).
 */
static void running_statistics_of_parts(void **state)
{
    (void)state;
    enum { M = 30 };
    static const int cut[] = {0, 4, 17, M};
    const double running_mean = 1e4 - 2, running_var = 5, momentum = 0.125;
    double x[M], sum = 0, squares = 0, slot[2] = {0, 0}, p = running_mean, var = running_var;
    for (int i = 0; i < M; i++)
        sum += x[i] = 1e4 + random_value(1, i);
    for (int i = 0; i < M; i++)
        squares += (x[i] - sum / M) * (x[i] - sum / M);
    for (int part = 0; part < 3; part++) {
        op_case c = {"bn", "batchnorm", BATCHNORM(1e-5, 0.125), cut[part + 1] - cut[part], 1, {VEC(1)}};
        nt_lone_op *lone = make_lone(ref64, &c, true, false);
        nt_pass pass = make_pass();
        pass.share = (double)c.n / M;
        MUST(nt_lone_write(lone, &lone->op.param[NT_BN_MEAN], &running_mean));
        MUST(nt_lone_write(lone, &lone->op.x[0], x + cut[part]));
        MUST(nt_lone_forward(lone, &pass));
        MUST(nt_lone_backward(lone, &pass));
        for (int k = 0; k < 2; k++) {
            double value;
            MUST(nt_lone_read(lone, &lone->op.dparam[NT_BN_MEAN + k], &value));
            slot[k] += value;
        }
        nt_lone_destroy(lone);
    }
    const nt_update u = {.rule = NT_UPDATE_STAT,
                         .momentum = (float)momentum,
                         .grad_scale = 1,
                         .correction1 = (float)(M / (M - 1.0))};
    MUST(nt_backend_update(ref64, &u, &p, &slot[0], &var, &slot[1], 1));
    expect_close("mean", p, running_mean + momentum * (sum / M - running_mean), 1e-9);
    /* the float correction is off by 2^-25 relative */
    expect_close("variance", var, running_var + momentum * (squares / (M - 1) - running_var), 1e-7);
}

/* The float build does the same to within one rounding per step of a value of order 1. */
static void float_update(void **state)
{
    (void)state;
    float p = 3, v = 0, g = -2;
    const nt_update u = sgd(0.5, true, 0.25);
    double want = 3, velocity = 0;
    for (int t = 0; t < STEPS; t++) {
        MUST(nt_backend_update(ref, &u, &p, &g, &v, NULL, 1));
        double step = -2 + 0.25 * want;
        velocity = 0.5 * velocity + step;
        want -= LR * (step + 0.5 * velocity);
    }
    expect_close("p", (double)p, want, STEPS * 8 * 0x1p-24);
}

static void updates_keep_to_their_range(void **state)
{
    (void)state;
    float p[5] = {1, 1, 1, 1, 1}, g[5] = {1, 1, 1, 1, 1};
    const nt_update u = sgd(0, false, 0);
    MUST(nt_backend_update(ref, &u, p + 1, g + 1, NULL, NULL, 3));
    const float want[5] = {1, 0.875f, 0.875f, 0.875f, 1};
    assert_memory_equal(p, want, sizeof p);
}

/* alloc: aligned, zero, any size; a size no machine has is an error, not a crash. */
static void memory(void **state)
{
    (void)state;
    const size_t sizes[] = {1, 63, 64, 65, 4097};
    for (int i = 0; i < NT_N_ELEMS(sizes); i++) {
        void *ptr;
        MUST(nt_backend_alloc(ref, &ptr, sizes[i]));
        assert_int_equal((uintptr_t)ptr % 64, 0);
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(((char *)ptr)[b], 0);
        nt_backend_free(ref, ptr, sizes[i]);
    }
    void *ptr = &ptr;
    assert_int_equal(nt_backend_alloc(ref, &ptr, SIZE_MAX), NT_ERR_UNAVAILABLE);
    assert_null(ptr);
    nt_error_clear();
}

static void sums(void **state)
{
    (void)state;
    float a[3] = {1, 2, 3}, b[3] = {10, 20, 30};
    const float want[3] = {11, 22, 33};
    double squares = 0;
    MUST(nt_backend_sum(ref, a, a, b, 3)); /* dst may be an operand */
    assert_memory_equal(a, want, sizeof want);
    MUST(nt_backend_sum_squares(ref, &squares, b, 3));
    expect_close("squares", squares, 1400, 0);
    b[1] = INFINITY;
    squares = 0;
    MUST(nt_backend_sum_squares(ref, &squares, b, 3));
    assert_false(isfinite(squares));
    b[1] = NAN;
    squares = 0;
    MUST(nt_backend_sum_squares(ref, &squares, b, 3));
    assert_false(isfinite(squares));
    float big = 1e30f; /* its square is not a float */
    squares = 0;
    MUST(nt_backend_sum_squares(ref, &squares, &big, 1));
    assert_true(isfinite(squares));
}

static void copies(void **state)
{
    (void)state;
    char host[4] = {1, 2, 3, 4}, back[4] = {0};
    void *ptr;
    nt_tensor t = nt_tensor_plain(NT_U8, nt_shape_of(1, (int64_t)4));
    MUST(nt_backend_alloc(ref, &ptr, 4));
    MUST(nt_backend_upload(ref, ptr, host, 4));
    MUST(nt_backend_download(ref, back, ptr, 4));
    assert_memory_equal(host, back, 4);
    MUST(nt_backend_zero(ref, ptr, 3));
    MUST(nt_backend_download(ref, back, ptr, 4));
    assert_memory_equal(back, ((char[]){0, 0, 0, 4}), 4);
    MUST(nt_backend_stage(ref, &t, host));
    assert_ptr_equal(t.data, host);
    nt_backend_free(ref, ptr, 4);
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
        cmocka_unit_test(sgd_plain_and_decayed),
        cmocka_unit_test(sgd_momentum),
        cmocka_unit_test(sgd_momentum_with_decay_by_hand),
        cmocka_unit_test(adam_constant_gradient),
        cmocka_unit_test(adam_decay_by_hand),
        cmocka_unit_test(running_statistics_of_parts),
        cmocka_unit_test(float_update),
        cmocka_unit_test(updates_keep_to_their_range),
        cmocka_unit_test(memory),
        cmocka_unit_test(sums),
        cmocka_unit_test(copies),
    };
    return cmocka_run_group_tests_name("ref_update", tests, open_backends, close_backends);
}
