/* One operation on two backends with the same data: `cpu` against `ref`, the oracle.
 *
 * A test describes an op in a pair_spec; pair_check creates it on both backends, gives both the same random
 * inputs, parameters and output gradient, runs forward and backward (twice: assign, then accumulate) and
 * compares everything in canonical form. All memory that an op has to write is filled with NaN before, so
 * that a missing write shows; afterwards the padding of blocked layouts must be zero. */
#ifndef NT_TESTS_OP_PAIR_H
#define NT_TESTS_OP_PAIR_H

#include "core/backends/cpu/cpu.h"
#include "core/layers/conv2d.h"
#include "core/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAIR_MAX_INPUTS 4

typedef struct pair_spec {
    const char *kind;
    const void *options;
    const nt_activation_options *activation; /* fused on cpu, an op of its own on ref */
    bool inference;
    int n_inputs, n_params;
    nt_tensor x[PAIR_MAX_INPUTS];  /* nt_tensor_plain(...); data: given values, or NULL for random ones */
    bool blocked[PAIR_MAX_INPUTS]; /* on cpu in the layout of a convolution's output */
    bool flattened;                /* x[0] arrives as (N, C H W), in the layout it had before */
    bool no_dx;                    /* dx[0] is not needed */
    bool in_place;                 /* y on x[0], dx[0] on dy, where the flags allow it */
    int param_spread;              /* 1: parameters in [0.5, 1.5) (variances), else in [-1, 1) */
    nt_shape param[NT_MAX_PARAMS], y;
    double tolerance;   /* of differences, relative to the largest value of the tensor */
    const char *tuning; /* NULL: none, no timing */
} pair_spec;

typedef struct pair_side {
    nt_backend *backend;
    nt_op op, act;
    nt_tensor x[PAIR_MAX_INPUTS], dx[PAIR_MAX_INPUTS];
    bool need_dx[PAIR_MAX_INPUTS];
} pair_side;

static inline void pair_ok(nt_status status)
{
    if (status != NT_OK)
        fail_msg("status %d: %s\n%s", status, nt_error_last()->message, nt_error_last()->trail);
}

/* Random values of element type of t, canonical order; `id` makes them different. */
static inline void *pair_random(const nt_tensor *t, uint32_t id, int spread)
{
    int64_t n = nt_shape_elems(t->shape);
    void *out = malloc((size_t)n * nt_dtype_bytes(t->dtype));
    assert_non_null(out);
    for (int64_t i = 0; i < n; i++) {
        uint32_t word = nt_rng_block(7, NT_RNG_TEST, id, (uint32_t)i, 0, 0).v[0];
        float u = nt_rng_uniform(word);
        if (t->dtype == NT_U8) ((uint8_t *)out)[i] = (uint8_t)(word >> 24);
        if (t->dtype == NT_F32) ((float *)out)[i] = spread == 1 ? u + 0.5f : 2 * u - 1;
    }
    return out;
}

/* The layout in which the backend likes a tensor (N, C, H, W): that of a convolution's output. */
static inline const nt_layout *pair_conv_layout(nt_backend *backend, nt_tensor *t, nt_tuning *tuning)
{
    int64_t c = t->shape.dim[1];
    const nt_conv2d_options o = {.filters = c,
                                 .kernel = {3, 3},
                                 .stride = {1, 1},
                                 .dilation = {1, 1},
                                 .groups = 1,
                                 .pad_begin = {1, 1},
                                 .pad_end = {1, 1}};
    nt_tensor x = nt_tensor_plain(NT_F32, t->shape), dx = {0};
    nt_op op = {.backend = backend,
                .name = "layout",
                .options = &o,
                .tuning = tuning,
                .n_inputs = 1,
                .n_params = 1,
                .x = &x,
                .dx = &dx,
                .need_dx = (bool[]){false}};
    op.param[0] = nt_tensor_plain(NT_F32, nt_shape_of(4, c, c, (int64_t)3, (int64_t)3));
    op.y = nt_tensor_plain(NT_F32, t->shape);
    pair_ok(nt_op_create(&op, "conv2d"));
    t->layout = op.y.layout;
    t->n_bytes = op.y.n_bytes;
    nt_op_destroy(&op);
    return t->layout;
}

static inline void *pair_memory(nt_backend *backend, size_t n_bytes)
{
    void *out;
    pair_ok(nt_backend_alloc(backend, &out, n_bytes));
    for (size_t i = 0; i < n_bytes / 4; i++)
        ((float *)out)[i] = NAN;
    return out;
}

/* Creates the op, gives it memory and values, binds it. */
static inline void pair_setup(pair_side *s, const char *name, const pair_spec *spec, nt_tuning *tuning,
                              int threads)
{
    bool cpu = strcmp(name, "cpu") == 0;
    const nt_backend_options options = {.threads = cpu ? threads : 1};
    pair_ok(nt_backend_create(&s->backend, name, &options));
    if (cpu) ((nt_cpu *)s->backend->state)->worth_threads = 0; /* small shapes too */
    s->op = (nt_op){.backend = s->backend,
                    .name = "pair",
                    .id = 5,
                    .options = spec->options,
                    .training = !spec->inference,
                    .tuning = tuning,
                    .n_inputs = spec->n_inputs,
                    .n_params = spec->n_params,
                    .x = s->x,
                    .dx = s->dx,
                    .need_dx = s->need_dx};
    s->op.activation = cpu ? spec->activation : NULL;
    s->op.y = nt_tensor_plain(NT_F32, spec->y);
    for (int i = 0; i < spec->n_inputs; i++) {
        s->x[i] = nt_tensor_plain(spec->x[i].dtype, spec->x[i].shape);
        if (cpu && spec->blocked[i]) pair_conv_layout(s->backend, &s->x[i], tuning);
        if (spec->flattened)
            s->x[i].shape =
                nt_shape_of(2, s->x[i].shape.dim[0], nt_shape_elems(s->x[i].shape) / s->x[i].shape.dim[0]);
        s->need_dx[i] = !spec->inference && spec->x[i].dtype == NT_F32 && !(i == 0 && spec->no_dx);
    }
    for (int i = 0; i < spec->n_params; i++)
        s->op.param[i] = nt_tensor_plain(NT_F32, spec->param[i]);
    pair_ok(nt_op_create(&s->op, spec->kind));
}

static inline bool pair_keeps_x(const pair_spec *spec, const nt_op *op)
{
    return !spec->inference && (op->flags & NT_OP_KEEPS_X);
}

static inline void pair_bind(pair_side *s, const pair_spec *spec)
{
    nt_op *op = &s->op;
    for (int i = 0; i < spec->n_inputs; i++) {
        void *values = spec->x[i].data ? spec->x[i].data : pair_random(&s->x[i], 10 + (uint32_t)i, 0);
        s->x[i].data = pair_memory(s->backend, s->x[i].n_bytes);
        pair_ok(nt_backend_from_plain(s->backend, &s->x[i], values));
        if (values != spec->x[i].data) free(values);
    }
    for (int i = 0; i < spec->n_params; i++) {
        void *values = pair_random(&op->param[i], 20 + (uint32_t)i, spec->param_spread);
        op->param[i].data = pair_memory(s->backend, op->param[i].n_bytes);
        op->dparam[i] = op->param[i];
        op->dparam[i].data = pair_memory(s->backend, op->param[i].n_bytes);
        pair_ok(nt_backend_from_plain(s->backend, &op->param[i], values));
        free(values);
    }
    bool y_on_x = spec->in_place && (op->flags & NT_OP_INPLACE_FORWARD) && !pair_keeps_x(spec, op);
    bool view = op->flags & NT_OP_VIEW;
    op->y.data = y_on_x || view ? s->x[0].data : pair_memory(s->backend, op->y.n_bytes);
    op->dy = op->y;
    op->dy.data = pair_memory(s->backend, op->y.n_bytes);
    for (int i = 0; i < spec->n_inputs; i++) {
        s->dx[i] = s->x[i];
        bool on_dy = view || (i == 0 && spec->in_place && (op->flags & NT_OP_INPLACE_BACKWARD));
        s->dx[i].data = !s->need_dx[i] ? NULL
                        : on_dy        ? op->dy.data
                                       : pair_memory(s->backend, s->x[i].n_bytes);
    }
    op->saved = pair_memory(s->backend, op->saved_bytes);
    op->scratch = pair_memory(s->backend, op->scratch_bytes);
    pair_ok(nt_op_bind(op));
}

static inline float *pair_plain(pair_side *s, const nt_tensor *t)
{
    float *out = malloc((size_t)nt_shape_elems(t->shape) * sizeof *out);
    assert_non_null(out);
    pair_ok(nt_backend_to_plain(s->backend, out, t));
    return out;
}

/* Everything that the canonical form does not show must be zero in memory. */
static inline void pair_check_padding(pair_side *s, const nt_tensor *t, const char *what)
{
    if (!t->layout) return;
    float *plain = pair_plain(s, t);
    nt_tensor copy = *t;
    pair_ok(nt_backend_alloc(s->backend, &copy.data, t->n_bytes));
    pair_ok(nt_backend_from_plain(s->backend, &copy, plain));
    if (memcmp(copy.data, t->data, t->n_bytes) != 0) {
        for (size_t i = 0; i < t->n_bytes / 4; i++) {
            float a = ((float *)t->data)[i], b = ((float *)copy.data)[i];
            if (a != b) fail_msg("%s: element %zu of the storage is %g, not %g", what, i, a, b);
        }
    }
    nt_backend_free(s->backend, copy.data, copy.n_bytes);
    free(plain);
}

static inline void pair_compare(pair_side *ref, const nt_tensor *a, pair_side *cpu, const nt_tensor *b,
                                double factor, double tolerance, const char *what)
{
    float *want = pair_plain(ref, a), *got = pair_plain(cpu, b);
    int64_t n = nt_shape_elems(a->shape);
    assert_int_equal(n, nt_shape_elems(b->shape));
    double largest = 1e-30;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)want[i] * factor));
    for (int64_t i = 0; i < n; i++) {
        double error = fabs((double)want[i] * factor - (double)got[i]);
        if (!(error <= tolerance * largest))
            fail_msg("%s: element %lld is %.9g, ref has %.9g (largest %.3g, tolerance %.1g)", what,
                     (long long)i, (double)got[i], (double)want[i] * factor, largest, tolerance);
    }
    pair_check_padding(cpu, b, what);
    free(want);
    free(got);
}

/* ref has no fused activations: it runs one after the op, in place. */
static inline void pair_activation(pair_side *s, const nt_activation_options *o, bool backward)
{
    static nt_tensor x, dx;
    static bool need = true;
    const nt_pass pass = {0};
    x = s->op.y;
    dx = s->op.dy;
    s->act = (nt_op){.backend = s->backend,
                     .name = "act",
                     .options = o,
                     .training = true,
                     .n_inputs = 1,
                     .x = &x,
                     .dx = &dx,
                     .need_dx = &need,
                     .y = s->op.y,
                     .dy = s->op.dy};
    pair_ok(nt_op_create(&s->act, "activation"));
    s->act.y = s->op.y;
    s->act.dy = s->op.dy;
    pair_ok(nt_op_bind(&s->act));
    pair_ok(backward ? nt_op_backward(&s->act, &pass) : nt_op_forward(&s->act, &pass));
    nt_op_destroy(&s->act);
}

static inline void pair_set_dy(pair_side *s)
{
    nt_tensor plain = nt_tensor_plain(NT_F32, s->op.y.shape);
    void *values = pair_random(&plain, 30, 0);
    pair_ok(nt_backend_from_plain(s->backend, &s->op.dy, values));
    free(values);
}

static inline void pair_teardown(pair_side *s, const pair_spec *spec)
{
    nt_op *op = &s->op;
    bool y_own = op->y.data != s->x[0].data;
    for (int i = 0; i < spec->n_inputs; i++) {
        if (s->dx[i].data != op->dy.data) nt_backend_free(s->backend, s->dx[i].data, s->dx[i].n_bytes);
        nt_backend_free(s->backend, s->x[i].data, s->x[i].n_bytes);
    }
    for (int i = 0; i < spec->n_params; i++) {
        nt_backend_free(s->backend, op->param[i].data, op->param[i].n_bytes);
        nt_backend_free(s->backend, op->dparam[i].data, op->param[i].n_bytes);
    }
    if (y_own) nt_backend_free(s->backend, op->y.data, op->y.n_bytes);
    nt_backend_free(s->backend, op->dy.data, op->dy.n_bytes);
    nt_backend_free(s->backend, op->saved, op->saved_bytes);
    nt_backend_free(s->backend, op->scratch, op->scratch_bytes);
    nt_op_destroy(op);
    nt_backend_destroy(s->backend);
}

static inline void pair_backward(pair_side *ref, pair_side *cpu, const pair_spec *spec, const nt_pass *pass)
{
    pair_set_dy(ref);
    pair_set_dy(cpu);
    if (spec->activation) pair_activation(ref, spec->activation, true);
    pair_ok(nt_op_backward(&ref->op, pass));
    pair_ok(nt_op_backward(&cpu->op, pass));
}

static inline void pair_compare_gradients(pair_side *ref, pair_side *cpu, const pair_spec *spec,
                                          const char *what)
{
    for (int i = 0; i < spec->n_inputs; i++)
        if (ref->need_dx[i]) pair_compare(ref, &ref->dx[i], cpu, &cpu->dx[i], 1, spec->tolerance, what);
    for (int i = 0; i < spec->n_params; i++)
        pair_compare(ref, &ref->op.dparam[i], cpu, &cpu->op.dparam[i], 1, spec->tolerance, what);
}

static inline void pair_check_threads(const pair_spec *spec, int threads)
{
    static const int64_t sample[] = {3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 97, 93, 23, 84, 62, 64, 33};
    nt_pass pass = {.scale = 0.125, .share = 0.75, .seed = 11, .epoch = 2, .sample = sample};
    pair_side ref = {0}, cpu = {0};
    nt_tuning *tuning;
    pair_ok(nt_tuning_create(&tuning, false));
    if (spec->tuning) pair_ok(nt_tuning_parse(tuning, spec->tuning));
    pair_setup(&ref, "ref", spec, tuning, 1);
    pair_setup(&cpu, "cpu", spec, tuning, threads);
    pair_bind(&ref, spec);
    pair_bind(&cpu, spec);
    pair_ok(nt_op_forward(&ref.op, &pass));
    pair_ok(nt_op_forward(&cpu.op, &pass));
    if (spec->activation) pair_activation(&ref, spec->activation, false);
    pair_compare(&ref, &ref.op.y, &cpu, &cpu.op.y, 1, spec->tolerance, "y");
    if (!spec->inference) {
        pair_backward(&ref, &cpu, spec, &pass);
        pair_compare_gradients(&ref, &cpu, spec, "gradient");
        pass.accumulate = true;
        pair_backward(&ref, &cpu, spec, &pass);
        pair_compare_gradients(&ref, &cpu, spec, "accumulated gradient");
    }
    pair_teardown(&ref, spec);
    pair_teardown(&cpu, spec);
    nt_tuning_destroy(tuning);
}

/* The whole comparison, with one thread and with three, which divide few shapes evenly. */
static inline void pair_check(const pair_spec *spec)
{
    for (int threads = 1; threads <= 3; threads += 2)
        pair_check_threads(spec, threads);
}

#endif
