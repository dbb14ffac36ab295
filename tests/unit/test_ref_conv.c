/* conv2d against a second computation with another organisation: the input is copied into a map with its
 * zeros around it, and every (input, tap) pair is pushed to the output it reaches; ref pulls, and never sees
 * a zero. Backward is checked by the adjoint identity <dy, conv(x, w)> = <dx, x> = <dweight, w>, which holds
 * for the right dx and dweight of a bilinear map and which finite differences are not needed for.
 *
 * Small integers keep double arithmetic exact, so everything is compared with tolerance 0. */
#include "tests/unit/lone_helpers.h"

static nt_backend *backend;

/* Integers in -4..4. */
static void fill_integers(nt_lone_op *lone, nt_tensor *t, int series)
{
    int64_t n = nt_shape_elems(t->shape);
    double *values = make_values(n);
    for (int64_t i = 0; i < n; i++)
        values[i] = floor(4.5 * random_value(series, i) + 0.5);
    MUST(nt_lone_write(lone, t, values));
    free(values);
}

/* A copy of x (N, C, H, W) with the padding written out: (N, C, H + zeros, W + zeros). */
static double *pad_map(const double *x, const int64_t *dim, const nt_conv2d_options *o, int64_t *h,
                       int64_t *w)
{
    *h = dim[2] + o->pad_begin[0] + o->pad_end[0];
    *w = dim[3] + o->pad_begin[1] + o->pad_end[1];
    double *out = make_values(dim[0] * dim[1] * *h * *w);
    for (int64_t i = 0; i < dim[0] * dim[1]; i++)
        for (int64_t r = 0; r < dim[2]; r++)
            memcpy(out + (i * *h + r + o->pad_begin[0]) * *w + o->pad_begin[1], x + (i * dim[2] + r) * dim[3],
                   (size_t)dim[3] * sizeof *out);
    return out;
}

/* Pushes padded element (n, c, row, col) through every tap of every filter that reads channel c. */
static void push(double *y, const int64_t *out, double value, int64_t n, int64_t c, int64_t row, int64_t col,
                 const double *weight, const int64_t *f, const nt_conv2d_options *o)
{
    int64_t filters = f[0] / o->groups;
    for (int64_t k = c / f[1] * filters; k < (c / f[1] + 1) * filters; k++)
        for (int64_t r = 0; r < f[2]; r++)
            for (int64_t s = 0; s < f[3]; s++) {
                int64_t p = row - r * o->dilation[0], q = col - s * o->dilation[1];
                if (p < 0 || q < 0 || p % o->stride[0] || q % o->stride[1]) continue;
                p /= o->stride[0], q /= o->stride[1];
                if (p >= out[2] || q >= out[3]) continue;
                y[((n * out[1] + k) * out[2] + p) * out[3] + q] +=
                    value * weight[((k * f[1] + c % f[1]) * f[2] + r) * f[3] + s];
            }
}

static double *convolve_by_pushing(nt_lone_op *lone)
{
    const nt_op *op = &lone->op;
    const nt_conv2d_options *o = op->options;
    const int64_t *in = op->x[0].shape.dim, *out = op->y.shape.dim;
    int64_t h, w;
    double *x = values_of(lone, &op->x[0]), *weight = values_of(lone, &op->param[0]);
    double *bias = op->n_params > 1 ? values_of(lone, &op->param[1]) : make_values(out[1]);
    double *padded = pad_map(x, in, o, &h, &w), *y = make_values(nt_shape_elems(op->y.shape));
    for (int64_t i = 0; i < nt_shape_elems(op->y.shape); i++)
        y[i] = bias[i / (out[2] * out[3]) % out[1]];
    for (int64_t n = 0; n < in[0]; n++)
        for (int64_t c = 0; c < in[1]; c++)
            for (int64_t row = 0; row < h; row++)
                for (int64_t col = 0; col < w; col++)
                    push(y, out, padded[((n * in[1] + c) * h + row) * w + col], n, c, row, col, weight,
                         op->param[0].shape.dim, o);
    free(x), free(weight), free(bias), free(padded);
    return y;
}

static double dot(nt_lone_op *lone, const nt_tensor *a, const nt_tensor *b)
{
    double *x = values_of(lone, a), *y = values_of(lone, b), sum = 0;
    for (int64_t i = 0; i < nt_shape_elems(a->shape); i++)
        sum += x[i] * y[i];
    free(x), free(y);
    return sum;
}

static void check_case(const op_case *c)
{
    nt_lone_op *lone = make_lone(backend, c, true, false);
    nt_op *op = &lone->op;
    nt_pass pass = make_pass();
    fill_integers(lone, &op->x[0], 1);
    fill_integers(lone, &op->dy, 2);
    for (int p = 0; p < op->n_params; p++)
        fill_integers(lone, &op->param[p], 3 + p);
    MUST(nt_lone_forward(lone, &pass));
    MUST(nt_lone_backward(lone, &pass));
    double *want = convolve_by_pushing(lone);
    expect_tensor(c->name, lone, &op->y, want, 0);
    double bias_part = op->n_params > 1 ? dot(lone, &op->dparam[1], &op->param[1]) : 0;
    double product = dot(lone, &op->dy, &op->y) - bias_part;
    expect_close(c->name, dot(lone, &op->dx[0], &op->x[0]), product, 0);
    expect_close(c->name, dot(lone, &op->dparam[0], &op->param[0]), product, 0);
    free(want);
    nt_lone_destroy(lone);
}

static void every_case_by_pushing(void **state)
{
    (void)state;
    int n_cases = 0;
    for (int i = 0; i < N_OP_CASES; i++)
        if (strcmp(op_cases[i].type, "conv2d") == 0) {
            check_case(&op_cases[i]);
            n_cases++;
        }
    assert_true(n_cases >= 10);
}

/* 300 drawn geometries; those that do not fit must be refused, all others must agree. */
static void drawn_geometries(void **state)
{
    (void)state;
    int n_fit = 0;
    for (uint32_t i = 0; i < 300; i++) {
        nt_philox a = nt_rng_block(7, NT_RNG_TEST, 1, i, 0, 0), b = nt_rng_block(7, NT_RNG_TEST, 1, i, 1, 0);
        int64_t groups = 1 + a.v[0] % 3;
        nt_conv2d_options o = {.filters = groups * (1 + a.v[1] % 2),
                               .kernel = {1 + a.v[2] % 4, 1 + a.v[3] % 4},
                               .groups = groups,
                               .bias = i % 2 ? YES : NO,
                               .init = {.gain = NAN, .bias = NAN}};
        nt_shape in = MAP(groups * (1 + b.v[0] % 2), 1 + b.v[1] % 6, 1 + b.v[2] % 6);
        for (int axis = 0; axis < 2; axis++) {
            uint32_t bits = b.v[3] >> (16 * axis);
            o.stride[axis] = 1 + bits % 3;
            o.dilation[axis] = 1 + (bits >> 3) % 3;
            o.padding[axis] = (int64_t)((bits >> 6) % 5) - 1;
        }
        op_case c = {"drawn", "conv2d", &o, 1 + i % 3, 1, {in}};
        bool fits = true;
        for (int axis = 0; axis < 2; axis++)
            fits = fits && (o.padding[axis] < 0 ||
                            in.dim[1 + axis] + 2 * o.padding[axis] > o.dilation[axis] * (o.kernel[axis] - 1));
        if (fits) check_case(&c);
        n_fit += fits;
        if (fits) continue;
        nt_lone_op *lone;
        const nt_lone_spec spec = {.type = "conv2d", .options = &o, .in = &in, .n_inputs = 1, .n = 1};
        assert_int_equal(nt_lone_create(&lone, backend, &spec), NT_ERR_CONFIG);
    }
    nt_error_clear();
    assert_in_range(n_fit, 150, 299);
}

static int open_backend(void **state)
{
    (void)state;
    backend = make_backend("ref64");
    return 0;
}

static int close_backend(void **state)
{
    (void)state;
    nt_backend_destroy(backend);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_by_pushing),
        cmocka_unit_test(drawn_geometries),
    };
    return cmocka_run_group_tests_name("ref_conv", tests, open_backend, close_backend);
}
