/* The cpu backend's own loops: every instruction set that this machine has against the base set, bit for bit
 * (no loop may depend on the width of its vectors), and the backend's flat operations against ref. */
#include "core/backends/cpu/vec.h"
#include "tests/unit/op_pair.h"

#include <float.h>

enum { N = 1003 }; /* not a multiple of any vector */

static void fill(float *x, int64_t n, uint32_t id, float scale)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = scale * (2 * nt_rng_uniform(nt_rng_block(3, NT_RNG_TEST, id, (uint32_t)i, 0, 0).v[0]) - 1);
}

typedef struct arrays {
    float a[N], b[N], c[N], d[N], y[N];
} arrays;

static void fill_arrays(arrays *t)
{
    fill(t->a, N, 1, 3);
    fill(t->b, N, 2, 3);
    fill(t->c, N, 3, 1);
    fill(t->d, N, 4, 1);
    for (int i = 0; i < N; i++)
        t->d[i] = fabsf(t->d[i]); /* second moments, variances */
    memset(t->y, 0, sizeof t->y);
}

/* Everything elementwise, into one long array. */
static void run_elementwise(const nt_vec_ops *v, arrays *t, float *out)
{
    static const nt_update sgd = {.rule = NT_UPDATE_SGD,
                                  .lr = 0.1f,
                                  .momentum = 0.9f,
                                  .weight_decay = 0.01f,
                                  .limit = 0.5f,
                                  .grad_scale = 0.5f},
                           nesterov = {.rule = NT_UPDATE_SGD,
                                       .lr = 0.1f,
                                       .momentum = 0.9f,
                                       .nesterov = true,
                                       .grad_scale = 1},
                           adam = {.rule = NT_UPDATE_ADAM,
                                   .lr = 0.01f,
                                   .beta1 = 0.9f,
                                   .beta2 = 0.99f,
                                   .eps = 1e-8f,
                                   .correction1 = 0.3f,
                                   .correction2 = 0.2f,
                                   .grad_scale = 1,
                                   .weight_decay = 0.1f},
                           rms = {.rule = NT_UPDATE_RMSPROP,
                                  .lr = 0.01f,
                                  .beta2 = 0.9f,
                                  .eps = 1e-3f,
                                  .momentum = 0.9f,
                                  .centered = true,
                                  .grad_scale = 1,
                                  .weight_decay = 0.1f},
                           stat = {.rule = NT_UPDATE_STAT, .momentum = 0.1f, .correction1 = 1.01f};
    static uint8_t bytes[N];
    for (int i = 0; i < N; i++)
        bytes[i] = (uint8_t)(i * 7);
#define TAKE(call)                                                                                           \
    fill_arrays(t);                                                                                          \
    call;                                                                                                    \
    memcpy(out, t, sizeof *t);                                                                               \
    out += sizeof *t / sizeof *out
    TAKE(v->add(t->y, t->a, t->b, N));
    TAKE(v->add(t->a, t->a, t->b, N)); /* in place */
    TAKE(v->add_relu(t->y, t->a, t->b, N));
    TAKE(v->mul(t->y, t->a, t->b, N));
    TAKE(v->scale(t->y, t->a, 1.7f, N));
    TAKE(v->affine(t->y, t->a, 1.7f, -0.3f, N));
    TAKE(v->affine_u8(t->y, bytes, 1.7f, -0.3f, N));
    TAKE(v->relu(t->y, t->a, N));
    TAKE(v->relu_backward(t->y, t->a, t->b, N));
    TAKE(v->leaky(t->y, t->a, 0.1f, N));
    TAKE(v->leaky_backward(t->y, t->a, t->b, 0.1f, N));
    TAKE(v->threshold(t->y, t->a, N));
    TAKE(v->logistic(t->y, t->a, 1.5f, N));
    TAKE(v->logistic_backward(t->y, t->a, t->d, 1.5f, N));
    TAKE(v->tanh(t->y, t->a, N));
    TAKE(v->tanh_backward(t->y, t->a, t->c, N));
    TAKE(v->elu(t->y, t->a, 0.7f, N));
    TAKE(v->elu_backward(t->y, t->a, t->b, 0.7f, N));
    TAKE(v->gelu(t->y, t->a, N));
    TAKE(v->gelu_backward(t->y, t->a, t->b, N));
    TAKE(v->silu(t->y, t->a, N));
    TAKE(v->silu_backward(t->y, t->a, t->b, N));
    TAKE(v->exp_shifted(t->y, t->a, 0.3f, N));
    TAKE(v->sgd(&sgd, t->a, t->b, NULL, N));
    TAKE(v->sgd(&sgd, t->a, t->b, t->c, N));
    TAKE(v->sgd(&nesterov, t->a, t->b, t->c, N));
    TAKE(v->adam(&adam, t->a, t->b, t->c, t->d, N));
    TAKE(v->rmsprop(&rms, t->a, t->b, t->d, t->c, t->y, N));
    TAKE(v->rmsprop(&rms, t->a, t->b, t->d, NULL, NULL, N));
    TAKE(v->adagrad(&rms, t->a, t->b, t->d, N));
    TAKE(v->lion(&adam, t->a, t->b, t->c, N));
    TAKE(v->lars(&sgd, t->a, t->b, t->c, N));
    TAKE(v->lamb(&adam, t->a, t->b, t->c, t->d, t->b, N)); /* in place of the gradient */
    TAKE(v->step(&sgd, t->a, t->b, N));
    TAKE(v->limit(&sgd, t->a, t->a, N));
    TAKE(v->average(&sgd, t->a, t->b, N));
    TAKE(v->stat(&stat, t->a, t->b, t->d, t->c, N));
#undef TAKE
}

/* Relative to exp in double: also where it is small, as many such terms may make the sum of a softmax. */
static void small_exponentials_are_exact(void **state)
{
    (void)state;
    enum { COUNT = 3501 };
    static float x[COUNT], y[COUNT];
    for (int i = 0; i < COUNT; i++)
        x[i] = -87 + 0.05f * (float)i; /* to 88 */
    nt_vec_base.exp_shifted(y, x, 0, COUNT);
    for (int i = 0; i < COUNT; i++)
        if (!(fabs((double)y[i] / exp((double)x[i]) - 1) <= 4e-7))
            fail_msg("exp(%g) is %g, not %g", (double)x[i], (double)y[i], exp((double)x[i]));
    x[0] = -INFINITY;
    x[1] = -88;
    nt_vec_base.exp_shifted(y, x, 0, 2);
    assert_true(y[0] == 0 && y[1] == 0);
}

/* 60000 outputs 17 below the one that has it: together they are 0.25 % of the probability. */
static void softmax_keeps_its_tail(void **state)
{
    (void)state;
    enum { COUNT = 60001 };
    static float x[COUNT], y[COUNT];
    for (int i = 1; i < COUNT; i++)
        x[i] = -17;
    nt_vec_base.softmax(y, x, COUNT);
    assert_true(fabs((double)y[0] - 1 / (1 + 60000 * exp(-17))) <= 1e-6);
    assert_true(fabs((double)y[COUNT - 1] / (exp(-17) / (1 + 60000 * exp(-17))) - 1) <= 1e-6);
}

static void instruction_sets_agree(void **state)
{
    (void)state;
    enum { CALLS = 37 };
    const size_t n_bytes = CALLS * sizeof(arrays);
    float *want = malloc(n_bytes), *got = malloc(n_bytes);
    arrays *t = malloc(sizeof *t);
    assert_true(want && got && t);
    run_elementwise(&nt_vec_base, t, want);
    for (const nt_vec_ops *const *table = nt_vec_tables(); *table; table++) {
        run_elementwise(*table, t, got);
        for (size_t i = 0; i < n_bytes / sizeof *want; i++)
            if (memcmp(&want[i], &got[i], sizeof *want) != 0)
                fail_msg("%s: call %zu, element %zu is %.9g, base has %.9g", (*table)->name,
                         i / (sizeof *t / 4), i % (sizeof *t / 4), (double)got[i], (double)want[i]);
        assert_true((*table)->sum_squares(t->b, N) == nt_vec_base.sum_squares(t->b, N));
    }
    free(want);
    free(got);
    free(t);
}

/* expm1 and what is made of it, where it is hard: near 0, far out, at the limits. */
static void exponentials_at_the_limits(void **state)
{
    (void)state;
    static const float x[] = {0,  1e-30f, -1e-30f, 1e-7f, -1e-7f, 1e-3f, -1e-3f, 0.34f, -0.35f, 1,     -1,
                              10, -10,    86,      -86,   100,    -100,  1e4f,   -1e4f, 1e38f,  -1e38f};
    enum { COUNT = sizeof x / sizeof x[0] };
    float y[COUNT];
    const nt_vec_ops *v = nt_vec_tables()[0];
    v->tanh(y, x, COUNT);
    for (int i = 0; i < COUNT; i++) /* relative: tanh(x) is x near 0 */
        assert_true(fabs((double)y[i] - tanh((double)x[i])) <= 1e-6 * fabs(tanh((double)x[i])));
    v->logistic(y, x, 1, COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_true(fabs((double)y[i] - 1 / (1 + exp(-(double)x[i]))) <= 5e-7);
    v->elu(y, x, 1, COUNT);
    for (int i = 0; i < COUNT; i++) {
        double want = x[i] > 0 ? (double)x[i] : expm1((double)x[i]);
        assert_true(fabs((double)y[i] - want) <= 1e-6 * fabs(want));
    }
}

/* No loop may hide a NaN: a diverged run has to show. */
static void fault_nan_is_kept(void **state)
{
    (void)state;
    enum { COUNT = 33 };
    for (const nt_vec_ops *const *table = nt_vec_tables(); *table; table++) {
        const nt_vec_ops *v = *table;
        for (int at = 0; at < COUNT; at++) {
            float x[COUNT] = {0}, y[COUNT], one[COUNT];
            for (int i = 0; i < COUNT; i++)
                one[i] = 1;
            x[at] = NAN;
#define KEEPS(call)                                                                                          \
    call;                                                                                                    \
    for (int i = 0; i < COUNT; i++)                                                                          \
    assert_true((i == at) == (bool)isnan(y[i]))
            KEEPS(v->relu(y, x, COUNT));
            KEEPS(v->relu_backward(y, x, one, COUNT));
            KEEPS(v->add_relu(y, x, one, COUNT));
            KEEPS(v->leaky(y, x, 0.1f, COUNT));
            KEEPS(v->threshold(y, x, COUNT));
            KEEPS(v->logistic(y, x, 1, COUNT));
            KEEPS(v->tanh(y, x, COUNT));
            KEEPS(v->elu(y, x, 1, COUNT));
            KEEPS(v->gelu(y, x, COUNT));
            KEEPS(v->silu(y, x, COUNT));
            KEEPS(v->exp_shifted(y, x, 0, COUNT));
#undef KEEPS
            assert_true(isnan(v->sum_squares(x, COUNT)));
        }
    }
}

/* The maximum of a window with a NaN is NaN, with ReLU on top and without. */
static void fault_nan_passes_through_pooling(void **state)
{
    (void)state;
    for (const nt_vec_ops *const *table = nt_vec_tables(); *table; table++)
        for (int at = 0; at < 4; at++)
            for (int fused = 0; fused < 2; fused++) {
                const nt_vec_window w = {.lanes = 1,
                                         .relu = fused,
                                         .pixel = 1,
                                         .size = {2, 2},
                                         .out = {1, 1},
                                         .kernel = {2, 2},
                                         .stride = {2, 2}};
                float x[4] = {1, 2, 3, 4}, y = 0;
                int32_t tap;
                x[at] = NAN;
                (*table)->max_pool(&w, &y, &tap, x);
                assert_true(isnan(y));
            }
}

typedef struct flat_pair {
    nt_backend *ref, *cpu;
    float *p[2], *g, *s1[2], *s2[2], *s3[2];
    int64_t n;
} flat_pair;

static void make_pair(flat_pair *f, int64_t n, int threads)
{
    const nt_backend_options options = {.threads = threads};
    pair_ok(nt_backend_create(&f->ref, "ref", &options));
    pair_ok(nt_backend_create(&f->cpu, "cpu", &options));
    f->n = n;
    f->g = malloc((size_t)n * sizeof *f->g);
    fill(f->g, n, 9, 1);
    for (int i = 0; i < 2; i++) {
        float **arrays_of[] = {&f->p[i], &f->s1[i], &f->s2[i], &f->s3[i]};
        for (int k = 0; k < 4; k++) {
            *arrays_of[k] = malloc((size_t)n * sizeof **arrays_of[k]);
            assert_non_null(*arrays_of[k]);
            fill(*arrays_of[k], n, 10 + (uint32_t)k, 1);
        }
        for (int64_t j = 0; j < n; j++)
            f->s2[i][j] = fabsf(f->s2[i][j]);
    }
}

static void free_pair(flat_pair *f)
{
    for (int i = 0; i < 2; i++) {
        free(f->p[i]);
        free(f->s1[i]);
        free(f->s2[i]);
        free(f->s3[i]);
    }
    free(f->g);
    nt_backend_destroy(f->ref);
    nt_backend_destroy(f->cpu);
}

/* A mean of squares as RMSProp and AdaGrad have it: not below the square of the mean in s2. */
static void make_squares(float *s1, const float *s2, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        s1[i] = 1 + s1[i] * s1[i] + s2[i] * s2[i];
}

/* ref computes in double and rounds once, cpu in float: a few roundings of values of order 1, or relative */
static void close_to(const float *a, const float *b, int64_t n, double tolerance)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * fmax(1, fabs((double)a[i]))))
            fail_msg("element %lld: %.9g and %.9g", (long long)i, (double)a[i], (double)b[i]);
}

static void updates(void **state)
{
    (void)state;
    static const nt_update rules[] = {
        {.rule = NT_UPDATE_SGD, .lr = 0.1f, .grad_scale = 1},
        {.rule = NT_UPDATE_SGD, .lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f, .grad_scale = 0.5f},
        {.rule = NT_UPDATE_SGD, .lr = 0.1f, .momentum = 0.9f, .nesterov = true, .grad_scale = 1},
        {.rule = NT_UPDATE_ADAM,
         .lr = 0.01f,
         .beta1 = 0.9f,
         .beta2 = 0.999f,
         .eps = 1e-8f,
         .grad_scale = 1,
         .correction1 = 0.19f,
         .correction2 = 0.002f,
         .weight_decay = 0.1f},
        {.rule = NT_UPDATE_ADAM,
         .lr = 0.01f,
         .beta1 = 0.9f,
         .beta2 = 0.999f,
         .eps = 1e-8f,
         .grad_scale = 1,
         .correction1 = 0.19f,
         .correction2 = 0.002f,
         .weight_decay = 0.1f,
         .decoupled = true},
        {.rule = NT_UPDATE_RMSPROP, .lr = 0.1f, .beta2 = 0.99f, .eps = 1e-8f, .grad_scale = 1},
        {.rule = NT_UPDATE_RMSPROP,
         .lr = 0.1f,
         .beta2 = 0.99f,
         .eps = 1e-8f,
         .momentum = 0.9f,
         .weight_decay = 0.01f,
         .grad_scale = 0.5f},
        {.rule = NT_UPDATE_RMSPROP,
         .lr = 0.1f,
         .beta2 = 0.99f,
         .eps = 1e-8f,
         .momentum = 0.9f,
         .centered = true,
         .grad_scale = 1},
        {.rule = NT_UPDATE_ADAGRAD, .lr = 0.1f, .eps = 1e-10f, .weight_decay = 0.01f, .grad_scale = 0.5f},
        {.rule = NT_UPDATE_LION,
         .lr = 0.1f,
         .beta1 = 0.9f,
         .beta2 = 0.99f,
         .weight_decay = 0.1f,
         .grad_scale = 1},
        {.rule = NT_UPDATE_LARS, .lr = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f, .grad_scale = 0.5f},
        {.rule = NT_UPDATE_LAMB,
         .beta1 = 0.9f,
         .beta2 = 0.999f,
         .eps = 1e-6f,
         .correction1 = 0.19f,
         .correction2 = 0.002f,
         .weight_decay = 0.1f,
         .grad_scale = 1},
        {.rule = NT_UPDATE_STEP, .lr = 0.1f},
        {.rule = NT_UPDATE_LIMIT, .limit = 0.5f},
        {.rule = NT_UPDATE_AVERAGE, .lr = 0.01f},
        {.rule = NT_UPDATE_AVERAGE, .lr = 1},
        {.rule = NT_UPDATE_STAT, .momentum = 0.1f, .correction1 = 1.02f},
    };
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        for (int threads = 1; threads <= 3; threads++) {
            const bool momentum = rules[r].rule != NT_UPDATE_SGD || rules[r].momentum > 0;
            flat_pair f;
            make_pair(&f, 50001, threads);
            for (int i = 0; i < 2; i++) {
                nt_update u = rules[r];
                u.s3 = f.s3[i];
                if (u.rule == NT_UPDATE_RMSPROP || u.rule == NT_UPDATE_ADAGRAD)
                    make_squares(f.s1[i], f.s2[i], f.n);
                pair_ok(nt_backend_update(i ? f.cpu : f.ref, &u, f.p[i], f.g, momentum ? f.s1[i] : NULL,
                                          f.s2[i], f.n));
            }
            close_to(f.p[0], f.p[1], f.n, 1e-6);
            close_to(f.s1[0], f.s1[1], f.n, 1e-6);
            close_to(f.s2[0], f.s2[1], f.n, 1e-6);
            close_to(f.s3[0], f.s3[1], f.n, 1e-6);
            free_pair(&f);
        }
}

static void sums(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 15, 16, 1000, 40000, 3000001};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double first = 0;
        for (int threads = 1; threads <= 2; threads++) {
            flat_pair f;
            double want = 0, got = 0, pieces = 0;
            make_pair(&f, sizes[i], threads);
            pair_ok(nt_backend_sum_squares(f.ref, &want, f.g, f.n));
            pair_ok(nt_backend_sum_squares(f.cpu, &got, f.g, f.n));
            assert_true(fabs(want - got) <= 1e-10 * want); /* both sum in double, 3e6 terms at most */
            if (threads == 1) first = got;
            assert_true(got == first); /* the number of threads does not show */
            for (int64_t at = 0, left; (left = f.n - at) > 0; at += 3 * NT_SUM_BLOCK)
                pair_ok(nt_backend_sum_squares(f.cpu, &pieces, f.g + at,
                                               left < 3 * NT_SUM_BLOCK ? left : 3 * NT_SUM_BLOCK));
            assert_true(pieces == first); /* nor do cuts between blocks */
            pair_ok(nt_backend_sum(f.cpu, f.p[1], f.p[1], f.g, f.n));
            pair_ok(nt_backend_sum(f.ref, f.p[0], f.p[0], f.g, f.n));
            assert_memory_equal(f.p[0], f.p[1], (size_t)f.n * sizeof *f.p[0]);
            free_pair(&f);
        }
    }
}

/* The address sanitizer ends the program at absurd sizes unless it is told not to. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void memory_is_aligned_and_zero(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 64, 1000, 2 << 20, (5 << 20) + 12};
    const nt_backend_options options = {.threads = 1};
    nt_backend *cpu;
    pair_ok(nt_backend_create(&cpu, "cpu", &options));
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            void *ptr;
            pair_ok(nt_backend_alloc(cpu, &ptr, sizes[i]));
            assert_int_equal((uintptr_t)ptr % 64, 0);
            for (size_t k = 0; k < sizes[i]; k += 61)
                assert_int_equal(((char *)ptr)[k], 0);
            memset(ptr, 1, sizes[i]);
            nt_backend_free(cpu, ptr, sizes[i]);
        }
    void *ptr;
    assert_int_equal(nt_backend_alloc(cpu, &ptr, SIZE_MAX - 3), NT_ERR_UNAVAILABLE);
    assert_int_equal(nt_backend_alloc(cpu, &ptr, (size_t)1 << 60), NT_ERR_UNAVAILABLE);
    nt_error_clear();
    nt_backend_destroy(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_exponentials_are_exact),
        cmocka_unit_test(softmax_keeps_its_tail),
        cmocka_unit_test(instruction_sets_agree),
        cmocka_unit_test(exponentials_at_the_limits),
        cmocka_unit_test(fault_nan_is_kept),
        cmocka_unit_test(fault_nan_passes_through_pooling),
        cmocka_unit_test(updates),
        cmocka_unit_test(sums),
        cmocka_unit_test(memory_is_aligned_and_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
