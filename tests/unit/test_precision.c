/* precision = bf16 on host backends. What it is to compute is written down here for every op there is:
 * weights rounded, then the float32 op, then y and dx rounded; bit for bit, because rounding adds nothing
 * else. Then what it is for: training that works, and weights that keep what is too small for bfloat16. */
#include "core/bf16.h"
#include "core/net.h"
#include "tests/unit/lone_helpers.h"

#include <math.h>

static nt_backend *make_bf16(const char *name)
{
    nt_backend *backend;
    const nt_backend_options options = {.threads = 1, .precision = NT_PRECISION_BF16};
    MUST(nt_backend_create(&backend, name, &options));
    return backend;
}

static void round_values(double *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = (double)nt_bf16_round((float)values[i]);
}

/* The tensor as bfloat16 would have it. */
static void round_lone(nt_lone_op *lone, nt_tensor *t)
{
    if (t->dtype != NT_F32) return;
    double *values = values_of(lone, t);
    round_values(values, nt_shape_elems(t->shape));
    MUST(nt_lone_write(lone, t, values));
    free(values);
}

static void expect_equal(const char *name, const char *what, nt_lone_op *got, const nt_tensor *a,
                         nt_lone_op *want, const nt_tensor *b)
{
    double *x = values_of(got, a), *y = values_of(want, b);
    for (int64_t i = 0, n = nt_shape_elems(a->shape); i < n; i++)
        if (x[i] != y[i] && !(isnan(x[i]) && isnan(y[i])))
            fail_msg("%s: %s[%d] is %.9g, should be %.9g", name, what, (int)i, x[i], y[i]);
    free(x);
    free(y);
}

/* By hand: forward and backward of the float32 op between rounded values. */
static void run_by_hand(nt_lone_op *plain, const nt_pass *pass)
{
    nt_op *op = &plain->op;
    for (int p = 0; p < op->n_params; p++)
        if (op->param[p].shape.n_dims >= 2) round_lone(plain, &op->param[p]);
    MUST(nt_lone_forward(plain, pass));
    if (!plain->layer.ops->is_loss) round_lone(plain, &op->y);
    MUST(nt_lone_backward(plain, pass));
    for (int k = 0; k < op->n_inputs; k++)
        if (op->need_dx[k]) round_lone(plain, &op->dx[k]);
}

static void check_case(nt_backend *rounding, nt_backend *exact, const op_case *c)
{
    const nt_pass pass = make_pass();
    nt_lone_op *got = make_lone(rounding, c, true, false), *want = make_lone(exact, c, true, false);
    fill_lone(got);
    fill_lone(want);
    MUST(nt_lone_forward(got, &pass));
    MUST(nt_lone_backward(got, &pass));
    run_by_hand(want, &pass);
    expect_equal(c->name, "y", got, &got->op.y, want, &want->op.y);
    for (int k = 0; k < got->op.n_inputs; k++)
        if (got->op.need_dx[k]) expect_equal(c->name, "dx", got, &got->op.dx[k], want, &want->op.dx[k]);
    for (int p = 0; p < got->op.n_params; p++)
        expect_equal(c->name, "dparam", got, &got->op.dparam[p], want, &want->op.dparam[p]);
    nt_lone_destroy(got);
    nt_lone_destroy(want);
}

static void every_op_is_the_rounded_float_op(void **state)
{
    (void)state;
    static const char *const names[] = {"ref", "cpu"};
    for (int b = 0; b < 2; b++) {
        nt_backend *rounding = make_bf16(names[b]), *exact = make_backend(names[b]);
        for (int i = 0; i < (int)N_CASES; i++)
            check_case(rounding, exact, case_at(i));
        nt_backend_destroy(rounding);
        nt_backend_destroy(exact);
    }
}

/* Weights themselves are never touched, and their gradients keep what bfloat16 has no bits for. */
static void weights_and_their_gradients_stay_float(void **state)
{
    (void)state;
    const op_case c = {"linear", "linear", LINEAR(5, true), 3, 1, {VEC(7)}, false};
    nt_backend *backend = make_bf16("cpu");
    nt_lone_op *lone = make_lone(backend, &c, true, false);
    const nt_pass pass = make_pass();
    fill_lone(lone);
    double *before = values_of(lone, &lone->op.param[0]);
    MUST(nt_lone_forward(lone, &pass));
    MUST(nt_lone_backward(lone, &pass));
    expect_tensor("weight", lone, &lone->op.param[0], before, 0);
    double *grad = values_of(lone, &lone->op.dparam[0]);
    int n_finer = 0;
    for (int i = 0; i < 35; i++)
        n_finer += grad[i] != (double)nt_bf16_round((float)grad[i]);
    assert_true(n_finer > 30);
    free(before);
    free(grad);
    nt_lone_destroy(lone);
    nt_backend_destroy(backend);
}

static void double_is_not_rounded(void **state)
{
    (void)state;
    nt_backend *backend;
    const nt_backend_options options = {.threads = 1, .precision = NT_PRECISION_BF16};
    assert_int_equal(nt_backend_create(&backend, "ref64", &options), NT_ERR_CONFIG);
    assert_non_null(strstr(nt_error_last()->message, "bf16"));
    nt_error_clear();
}

/* --- training --- */

#define N       24
#define X_ELEMS 50
#define CLASSES 3
#define STEPS   40

static const char graph[] =
    "[layer conv]\ntype = conv2d\nfilters = 6\nkernel = 3\npadding = same\nbatchnorm = yes\n"
    "activation = relu\n"
    "[layer more]\ntype = conv2d\nfilters = 6\nkernel = 3\npadding = same\nactivation = silu\n"
    "[layer both]\ntype = add\ninput = conv, more\n"
    "[layer flat]\ntype = flatten\n"
    "[layer out]\ntype = linear\nunits = 3\n"
    "[optimizer]\ntype = sgd\nmomentum = 0.5\n";

typedef struct trained {
    double loss[STEPS];
    int64_t n_params, n_finer; /* parameters, and those that bfloat16 does not have */
    double way;                /* sum of the ways they went */
} trained;

/* All parameters, one slot after the other; the caller frees. */
static float *read_params(nt_net *net, int64_t *n)
{
    float *values = calloc((size_t)nt_net_n_elems(net), sizeof *values);
    assert_non_null(values);
    *n = 0;
    for (int s = 0; s < nt_net_n_slots(net); s++) {
        MUST(nt_net_read(net, s, NT_ARRAY_PARAM, values + *n));
        *n += nt_shape_elems(nt_net_get_slot(net, s)->tensor.shape);
    }
    return values;
}

static void run_steps(nt_net *net, double rate, trained *out)
{
    static float x[N][X_ELEMS];
    int32_t label[N];
    int64_t sample[N];
    for (int i = 0; i < N; i++) {
        sample[i] = i;
        label[i] = i % CLASSES;
        for (int k = 0; k < X_ELEMS; k++)
            x[i][k] = (float)(k % CLASSES == label[i]) + (float)random_value(7, i * X_ELEMS + k);
    }
    const nt_batch batch = {.n = N, .x = x, .target = label, .sample = sample};
    const nt_pass pass = {.scale = 1.0 / N, .share = 1, .seed = 1, .sample = sample};
    for (int step = 0; step < STEPS; step++) {
        nt_loss_sum sum;
        MUST(nt_net_forward(net, NT_MODE_TRAIN, &batch, &pass));
        MUST(nt_net_loss(net, &sum));
        MUST(nt_net_backward(net, &pass, NULL, NULL));
        MUST(nt_net_update(net, &(nt_net_step){.lr = rate, .step = step, .batch = N}));
        out->loss[step] = sum.loss / N;
    }
}

static trained train(nt_backend *backend, double rate)
{
    static const nt_section *const sections[] = {&nt_model_section, &nt_loss_section, &nt_optim_section,
                                                 NULL};
    const nt_sample_spec spec = {.x_dtype = NT_F32,
                                 .x = nt_shape_of(3, (int64_t)2, (int64_t)5, (int64_t)5),
                                 .target = NT_TARGET_CLASS,
                                 .n_classes = CLASSES,
                                 .input = {.scale = 1}};
    nt_config *config;
    nt_model *model;
    nt_tuning *tuning;
    nt_net *net;
    trained out = {.n_params = 0};
    MUST(nt_config_parse(&config, "test", graph, strlen(graph), NULL, 0, sections));
    MUST(nt_model_create(&model, config, &spec));
    MUST(nt_tuning_create(&tuning, false));
    const nt_net_options options = {
        .seed = 5, .tuning = tuning, .optim = nt_config_section(config, &nt_optim_section)};
    MUST(nt_net_create(&net, model, backend, &options));
    MUST(nt_net_want(net, NT_MODE_TRAIN, N));
    MUST(nt_net_build(net));
    float *before = read_params(net, &out.n_params);
    run_steps(net, rate, &out);
    float *after = read_params(net, &out.n_params);
    for (int64_t i = 0; i < out.n_params; i++) {
        out.n_finer += after[i] != nt_bf16_round(after[i]);
        out.way += fabs((double)after[i] - (double)before[i]);
    }
    free(before);
    free(after);
    nt_net_destroy(net);
    nt_tuning_destroy(tuning);
    nt_model_destroy(model);
    nt_config_destroy(config);
    nt_backend_destroy(backend);
    return out;
}

static double largest_difference(const trained *a, const trained *b)
{
    double largest = 0;
    for (int i = 0; i < STEPS; i++)
        largest = fmax(largest, fabs(a->loss[i] - b->loss[i]));
    return largest;
}

/* Bounds. A rounding is at most 2^-9 = 0.002 of a value. Some hundred of them with random signs go into a
 * logit, and the mean over 24 samples takes most of that back: of losses near 1 less than 0.005 remains. ref
 * and cpu round the same numbers, except where sums in another order (1e-6) fall on two sides of a tie, which
 * happens to one number in a thousand: a tenth of that is generous. */
static void training_is_close_to_float(void **state)
{
    (void)state;
    trained exact = train(make_backend("ref"), 0.05), ref = train(make_bf16("ref"), 0.05),
            cpu = train(make_bf16("cpu"), 0.05);
    double rounding = largest_difference(&exact, &ref), order = largest_difference(&ref, &cpu);
    if (rounding == 0 || rounding > 0.005) fail_msg("bf16 differs by %g from float", rounding);
    if (order > 0.0005) fail_msg("cpu differs by %g from ref", order);
    assert_true(cpu.loss[STEPS - 1] < 0.5 * cpu.loss[0]);
    assert_true(cpu.n_finer > cpu.n_params / 2); /* master weights are float32 */
}

/* Steps far below 2^-9 of a weight would all be lost if the weights themselves were bfloat16: they go as far
 * as in float, but for the rounding of gradients (2^-9 each, and a loss of a few hundredths along the way: 5
 * %). */
static void small_steps_add_up(void **state)
{
    (void)state;
    trained slow = train(make_bf16("cpu"), 1e-6), exact = train(make_backend("cpu"), 1e-6);
    assert_true(exact.way > 0);
    if (!(fabs(slow.way / exact.way - 1) < 0.05)) fail_msg("went %g, float goes %g", slow.way, exact.way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_op_is_the_rounded_float_op),
        cmocka_unit_test(weights_and_their_gradients_stay_float),
        cmocka_unit_test(double_is_not_rounded),
        cmocka_unit_test(training_is_close_to_float),
        cmocka_unit_test(small_steps_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
