/* Short forms for tests that run one op: everything fails the test with the library's own message. */
#ifndef NT_TESTS_UNIT_LONE_HELPERS_H
#define NT_TESTS_UNIT_LONE_HELPERS_H

#include "core/lone_op.h"
#include "core/rng.h"
#include "tests/unit/layer_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MUST(expr)                                                                                           \
    do {                                                                                                     \
        if ((expr) != NT_OK) fail_msg("%s", nt_error_last()->message);                                       \
    } while (0)

static inline nt_backend *make_backend(const char *name)
{
    nt_backend *backend;
    const nt_backend_options options = {.threads = 1};
    MUST(nt_backend_create(&backend, name, &options));
    return backend;
}

static inline nt_lone_op *make_lone(nt_backend *backend, const op_case *c, bool training, bool shares)
{
    nt_lone_op *lone;
    const nt_lone_spec spec = {.type = c->type,
                               .options = c->options,
                               .in = c->in,
                               .n_inputs = c->n_inputs,
                               .labels = c->labels,
                               .n = c->n,
                               .training = training,
                               .shares = shares,
                               .id = 3};
    if (nt_lone_create(&lone, backend, &spec) != NT_OK) fail_msg("%s: %s", c->name, nt_error_last()->message);
    return lone;
}

static const int64_t helper_samples[16] = {11, 5, 42, 7, 100, 3, 9, 1000, 2, 8, 6, 77, 31, 12, 13, 14};

static inline nt_pass make_pass(void)
{
    return (nt_pass){.scale = 0.25, .share = 0.5, .seed = 99, .epoch = 4, .sample = helper_samples};
}

/* Value i of a random series in (-1, 1), exact in float. */
static inline double random_value(int series, int64_t i)
{
    return 2 * (double)nt_rng_uniform(
                   nt_rng_block(1, NT_RNG_TEST, (uint32_t)series, (uint32_t)i, 0, 0).v[0]) -
           1;
}

static inline double *make_values(int64_t n)
{
    double *values = calloc((size_t)n + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

/* Fills a tensor with the random series; integers become 0, 1, 2, 0, ... or fewer classes. */
static inline void fill_tensor(nt_lone_op *lone, nt_tensor *t, int series, int n_classes)
{
    int64_t n = nt_shape_elems(t->shape);
    double *values = make_values(n);
    for (int64_t i = 0; i < n; i++)
        values[i] = t->dtype == NT_I32 ? (double)(i % n_classes) : random_value(series, i);
    MUST(nt_lone_write(lone, t, values));
    free(values);
}

/* Integers that labels or tokens stay below. */
static inline int n_classes_of(const nt_lone_op *lone)
{
    const nt_shape *x = &lone->op.x[0].shape;
    if (lone->layer.ops->takes_tokens) return (int)lone->op.param[0].shape.dim[0];
    if (!lone->layer.ops->is_loss) return 1;
    const nt_loss_options *o = lone->op.options;
    return (int)x->dim[o->class_dim == NT_CLASS_DIM_LAST ? x->n_dims - 1 : 1];
}

/* Targets that are probabilities: positive, and (N, K) with a sum of 1 in each row. */
static inline void make_probabilities(nt_lone_op *lone)
{
    nt_tensor *t = &lone->op.x[1];
    int64_t n = t->shape.dim[0], k = nt_shape_elems(t->shape) / n;
    double *values = make_values(n * k);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < k; j++)
            sum += values[i * k + j] = 1.5 + random_value(1, i * k + j);
        for (int64_t j = 0; j < k; j++)
            values[i * k + j] /= sum;
    }
    MUST(nt_lone_write(lone, t, values));
    free(values);
}

static inline bool wants_probabilities(const nt_lone_op *lone)
{
    return lone->layer.ops->is_loss && lone->op.x[1].dtype == NT_F32 &&
           (strcmp(lone->layer.kind, "cross_entropy_full") == 0 ||
            strcmp(lone->layer.kind, "kl_divergence") == 0);
}

/* Random inputs, parameters (running variances positive) and dy. */
static inline void fill_lone(nt_lone_op *lone)
{
    nt_op *op = &lone->op;
    int n_classes = n_classes_of(lone);
    fill_tensor(lone, &op->dy, 50, 1);
    for (int p = 0; p < op->n_params; p++)
        fill_tensor(lone, &op->param[p], 20 + p, 1);
    for (int k = 0; k < op->n_inputs; k++)
        fill_tensor(lone, &op->x[k], k, n_classes);
    if (wants_probabilities(lone)) make_probabilities(lone);
    if (strcmp(lone->layer.kind, "batchnorm") != 0) return;
    int64_t channels = nt_shape_elems(op->param[NT_BN_VAR].shape);
    double *values = make_values(channels);
    for (int64_t i = 0; i < channels; i++)
        values[i] = 0.5 + 0.25 * (double)i;
    MUST(nt_lone_write(lone, &op->param[NT_BN_VAR], values));
    free(values);
}

/* The values of a tensor; the caller frees. */
static inline double *values_of(nt_lone_op *lone, const nt_tensor *t)
{
    double *values = make_values(nt_shape_elems(t->shape));
    MUST(nt_lone_read(lone, t, values));
    return values;
}

static inline void expect_close(const char *what, double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%s: %.17g, should be %.17g", what, got, want);
}

static inline void expect_tensor(const char *what, nt_lone_op *lone, const nt_tensor *t, const double *want,
                                 double tolerance)
{
    double *got = values_of(lone, t);
    for (int64_t i = 0, n = nt_shape_elems(t->shape); i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance))
            fail_msg("%s[%d]: %.17g, should be %.17g", what, (int)i, got[i], want[i]);
    free(got);
}

#endif
