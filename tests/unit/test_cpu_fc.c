/* The fully connected kernels against plain loops in double: sizes around every block border, several
 * threads, and bits that do not depend on their number. */
#include "core/backends/cpu/fc.h"
#include "core/backends/cpu/vec.h"
#include "tests/unit/op_pair.h"

typedef struct layer {
    nt_fc_shape s;
    float *x, *y, *dy, *dx, *bias, *dbias; /* (m, k), (m, n), (m, n), (m, k), (n), (n) */
    float *w, *dw;                         /* packed */
    int64_t packed;                        /* elements of w */
    void *scratch;
} layer;

static float *random_floats(int64_t n, uint32_t id)
{
    nt_tensor t = nt_tensor_plain(NT_F32, nt_shape_of(1, n));
    return pair_random(&t, id, 0);
}

static int64_t place(const nt_fc_shape *s, int64_t j, int64_t u)
{
    int64_t rows = (s->k + 15) / 16 * 16;
    return (u / NT_FC_PANEL * rows + j) * NT_FC_PANEL + u % NT_FC_PANEL;
}

static void make_layer(layer *l, int64_t m, int64_t k, int64_t n)
{
    l->s = (nt_fc_shape){m, k, n};
    l->packed = (n + NT_FC_PANEL - 1) / NT_FC_PANEL * ((k + 15) / 16 * 16) * NT_FC_PANEL;
    l->x = random_floats(m * k, 1);
    l->y = random_floats(m * n, 2);
    l->dy = random_floats(m * n, 3);
    l->dx = random_floats(m * k, 4);
    l->bias = random_floats(n, 5);
    l->dbias = random_floats(n, 6);
    l->dw = random_floats(l->packed, 7);
    l->w = calloc((size_t)l->packed, sizeof *l->w);
    float *plain = random_floats(k * n, 8);
    for (int64_t j = 0; j < k; j++)
        for (int64_t u = 0; u < n; u++)
            l->w[place(&l->s, j, u)] = plain[j * n + u];
    free(plain);
    l->scratch = aligned_alloc(64, (nt_fc_scratch_bytes(&l->s) + 63) / 64 * 64);
    assert_true(l->w && l->scratch);
}

static void free_layer(layer *l)
{
    float *all[] = {l->x, l->y, l->dy, l->dx, l->bias, l->dbias, l->w, l->dw};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    free(l->scratch);
}

/* float sums of `terms` products of values up to 1 */
static void near(double want, float got, int64_t terms, const char *what)
{
    if (!(fabs(want - (double)got) <= 2e-7 * (double)(terms + 10)))
        fail_msg("%s: %.9g, not %.9g", what, (double)got, want);
}

static void check_forward(layer *l, bool bias, bool relu, int threads)
{
    const nt_fc_shape *s = &l->s;
    nt_fc_forward(s, l->y, l->x, l->w, bias ? l->bias : NULL, relu, l->scratch, threads);
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t u = 0; u < s->n; u++) {
            double sum = bias ? (double)l->bias[u] : 0;
            for (int64_t j = 0; j < s->k; j++)
                sum += (double)l->x[i * s->k + j] * (double)l->w[place(s, j, u)];
            near(relu && sum < 0 ? 0 : sum, l->y[i * s->n + u], s->k, "y");
        }
}

static double dz_of(const layer *l, int64_t at, bool masked)
{
    return masked && l->y[at] <= 0 ? 0 : (double)l->dy[at];
}

static void check_data(layer *l, bool masked, int threads)
{
    const nt_fc_shape *s = &l->s;
    nt_fc_backward_data(s, l->dx, l->dy, masked ? l->y : NULL, l->w, l->scratch, threads);
    for (int64_t i = 0; i < s->m; i++)
        for (int64_t j = 0; j < s->k; j++) {
            double sum = 0;
            for (int64_t u = 0; u < s->n; u++)
                sum += dz_of(l, i * s->n + u, masked) * (double)l->w[place(s, j, u)];
            near(sum, l->dx[i * s->k + j], s->n, "dx");
        }
}

static void check_weights(layer *l, bool masked, int threads)
{
    const nt_fc_shape *s = &l->s;
    const float *y = masked ? l->y : NULL;
    for (int times = 1; times <= 2; times++) {
        nt_fc_backward_weights(s, l->dw, l->dbias, l->x, l->dy, y, times == 2, l->scratch, threads);
        double total = 0, stored = 0;
        for (int64_t u = 0; u < s->n; u++) {
            double sum = 0;
            for (int64_t i = 0; i < s->m; i++)
                sum += dz_of(l, i * s->n + u, masked);
            near(times * sum, l->dbias[u], times * s->m, "dbias");
            for (int64_t j = 0; j < s->k; j++) {
                sum = 0;
                for (int64_t i = 0; i < s->m; i++)
                    sum += dz_of(l, i * s->n + u, masked) * (double)l->x[i * s->k + j];
                near(times * sum, l->dw[place(s, j, u)], times * s->m, "dw");
                total += fabs((double)l->dw[place(s, j, u)]);
            }
        }
        for (int64_t i = 0; i < l->packed; i++)
            stored += fabs((double)l->dw[i]);
        assert_true(fabs(total - stored) <= 1e-9 * total); /* the padding is nothing but zeros */
    }
}

static void all_sizes(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {
        {1, 1, 1},     {64, 112, 64},  {3, 17, 65},   {14, 16, 32},  {15, 29, 33},
        {64, 401, 70}, {65, 450, 129}, {127, 40, 40}, {129, 30, 20}, {33, 253, 9},
        {16, 15, 600}, {200, 70, 100}, {2, 1000, 64},
    };
    if (!nt_fc_supported()) skip();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int threads = 1; threads <= 3; threads += 2) {
            layer l;
            make_layer(&l, sizes[i][0], sizes[i][1], sizes[i][2]);
            check_forward(&l, false, false, threads);
            check_forward(&l, true, true, threads);
            check_data(&l, false, threads);
            check_data(&l, true, threads);
            check_weights(&l, false, threads);
            check_weights(&l, true, threads);
            free_layer(&l);
        }
}

static void threads_do_not_show(void **state)
{
    (void)state;
    if (!nt_fc_supported()) skip();
    layer a, b;
    make_layer(&a, 64, 300, 200);
    make_layer(&b, 64, 300, 200);
    nt_fc_forward(&a.s, a.y, a.x, a.w, a.bias, true, a.scratch, 1);
    nt_fc_forward(&b.s, b.y, b.x, b.w, b.bias, true, b.scratch, 4);
    nt_fc_backward_data(&a.s, a.dx, a.dy, a.y, a.w, a.scratch, 1);
    nt_fc_backward_data(&b.s, b.dx, b.dy, b.y, b.w, b.scratch, 4);
    nt_fc_backward_weights(&a.s, a.dw, a.dbias, a.x, a.dy, a.y, false, a.scratch, 1);
    nt_fc_backward_weights(&b.s, b.dw, b.dbias, b.x, b.dy, b.y, false, b.scratch, 4);
    assert_memory_equal(a.y, b.y, 64 * 200 * 4);
    assert_memory_equal(a.dx, b.dx, 64 * 300 * 4);
    assert_memory_equal(a.dw, b.dw, (size_t)a.packed * 4);
    assert_memory_equal(a.dbias, b.dbias, 200 * 4);
    free_layer(&a);
    free_layer(&b);
}

/* One go gives the bits of the gradient followed by the flat update. */
static void check_sgd(int64_t m, int64_t k, int64_t n, bool nesterov, int threads)
{
    const nt_update u = {.rule = NT_UPDATE_SGD,
                         .lr = 0.1f,
                         .momentum = 0.9f,
                         .weight_decay = 0.01f,
                         .nesterov = nesterov,
                         .grad_scale = 0.5f};
    layer l;
    make_layer(&l, m, k, n);
    const size_t n_bytes = (size_t)l.packed * sizeof *l.w;
    float *p = malloc(n_bytes), *velocity = malloc(n_bytes), *velocity2 = malloc(n_bytes);
    assert_true(p && velocity && velocity2);
    memcpy(p, l.w, n_bytes);
    for (int64_t i = 0; i < l.packed; i++)
        velocity[i] = velocity2[i] = l.w[i] * 0.25f;
    const nt_fc_sgd sgd = {p, velocity, u.lr, u.momentum, u.weight_decay, u.grad_scale, nesterov};
    double squares = 1;
    assert_true(nt_fc_can_sgd(&l.s));
    nt_fc_backward_weights_sgd(&l.s, &sgd, &squares, l.dbias, l.x, l.dy, l.y, l.scratch, threads);
    float *dbias = random_floats(n, 6);
    nt_fc_backward_weights(&l.s, l.dw, dbias, l.x, l.dy, l.y, false, l.scratch, threads);
    nt_vec_tables()[0]->sgd(&u, l.w, l.dw, velocity2, l.packed);
    double want = 0;
    for (int64_t i = 0; i < l.packed; i++)
        want += (double)l.dw[i] * (double)l.dw[i];
    assert_memory_equal(p, l.w, n_bytes);
    assert_memory_equal(velocity, velocity2, n_bytes);
    assert_true(fabs(squares - 1 - want) <= 1e-12 * (1 + want)); /* sums in double, in another order */
    assert_memory_equal(dbias, l.dbias, (size_t)n * sizeof *dbias);
    free(dbias);
    free(p);
    free(velocity);
    free(velocity2);
    free_layer(&l);
}

static void sgd_in_one_go(void **state)
{
    (void)state;
    if (!nt_fc_supported()) skip();
    for (int threads = 1; threads <= 3; threads += 2)
        for (int nesterov = 0; nesterov < 2; nesterov++) {
            check_sgd(64, 112, 128, nesterov, threads);
            check_sgd(5, 461, 70, nesterov, threads);
            check_sgd(63, 17, 33, nesterov, threads);
        }
}

static void fault_nan_is_kept(void **state)
{
    (void)state;
    if (!nt_fc_supported()) skip();
    layer l;
    make_layer(&l, 5, 20, 40);
    l.x[2 * 20 + 7] = NAN;
    nt_fc_forward(&l.s, l.y, l.x, l.w, l.bias, true, l.scratch, 1);
    for (int64_t i = 0; i < 5; i++)
        for (int64_t u = 0; u < 40; u++)
            assert_true((i == 2) == (bool)isnan(l.y[i * 40 + u]));
    nt_fc_backward_data(&l.s, l.dx, l.dy, l.y, l.w, l.scratch, 1);
    for (int64_t j = 0; j < 20; j++)
        assert_true(l.dx[2 * 20 + j] != 0); /* a NaN in y lets the gradient through */
    free_layer(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sizes),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(sgd_in_one_go),
        cmocka_unit_test(fault_nan_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
