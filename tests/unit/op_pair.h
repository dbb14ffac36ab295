/* One operation on two backends with the same data: `cpu` or `cuda` against `ref`, the oracle.
 *
 * A test describes an op in a pair_spec; pair_check creates it on both backends, gives both the same random
 * inputs, parameters and output gradient, runs forward and backward (twice: assign, then accumulate) and
 * compares everything in canonical form. All memory that an op has to write is filled with NaN before, so
 * that a missing write shows; afterwards the padding of blocked layouts must be zero.
 *
 * In bfloat16 all values given are ones that bfloat16 has, so that both sides compute from the same; what
 * remains are the roundings of results, which have a tolerance of their own. */
#ifndef NT_TESTS_OP_PAIR_H
#define NT_TESTS_OP_PAIR_H

#include "core/backends/cpu/cpu.h"
#include "core/bf16.h"
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
    double floor;       /* which is taken to be this at least: of gradients that cancel to nothing */
    const char *tuning; /* NULL: none, no timing */
    int threads;        /* cpu: set by pair_check */
    /* cuda: */
    const char *backend; /* NULL: cpu */
    nt_precision precision;
    double rounding;           /* tolerance of activations and their gradients in bfloat16 */
    double param_rounding;     /* of gradients of parameters in bfloat16; 0: tolerance */
    bool raw[PAIR_MAX_INPUTS]; /* stored samples, targets: not activations, so float32 in bfloat16 too */
    bool is_loss;              /* y is float32 in bfloat16 too */
    size_t shift;              /* elements by which tensors are off their alignment */
    bool twice;                /* runs it all again and wants the same bits */
} pair_spec;

typedef struct pair_side {
    nt_backend *backend;
    size_t shift;
    nt_op op, act;
    nt_tensor x[PAIR_MAX_INPUTS], dx[PAIR_MAX_INPUTS];
    bool need_dx[PAIR_MAX_INPUTS];
} pair_side;

static inline void pair_ok(nt_status status)
{
    if (status != NT_OK)
        fail_msg("status %d: %s\n%s", status, nt_error_last()->message, nt_error_last()->trail);
}

/* Random values of element type of t (float32 for bfloat16), canonical order; `id` makes them different. */
static inline void *pair_random(const nt_tensor *t, uint32_t id, int spread)
{
    int64_t n = nt_shape_elems(t->shape);
    void *out = malloc((size_t)n * sizeof(float));
    assert_non_null(out);
    for (int64_t i = 0; i < n; i++) {
        uint32_t word = nt_rng_block(7, NT_RNG_TEST, id, (uint32_t)i, 0, 0).v[0];
        float u = nt_rng_uniform(word);
        if (t->dtype == NT_U8) ((uint8_t *)out)[i] = (uint8_t)(word >> 24);
        if (t->dtype == NT_F32 || t->dtype == NT_BF16) ((float *)out)[i] = spread == 1 ? u + 0.5f : 2 * u - 1;
    }
    return out;
}

/* As above, or a copy of the `given` values; of those that bfloat16 has if it is the precision, unless `raw`.
 */
static inline void *pair_values(const pair_spec *spec, const nt_tensor *t, const void *given, bool raw,
                                uint32_t id, int spread)
{
    void *values = pair_random(t, id, spread);
    int64_t n = nt_shape_elems(t->shape);
    bool is_float = t->dtype == NT_F32 || t->dtype == NT_BF16;
    if (given) memcpy(values, given, (size_t)n * (is_float ? sizeof(float) : nt_dtype_bytes(t->dtype)));
    for (int64_t i = 0; is_float && !raw && spec->precision == NT_PRECISION_BF16 && i < n; i++)
        ((float *)values)[i] = nt_bf16_round(((float *)values)[i]);
    return values;
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

/* All bits set: NaN in float32 and in bfloat16. */
static inline void *pair_memory(nt_backend *backend, size_t n_bytes)
{
    void *out, *fill = malloc(n_bytes + 1);
    assert_non_null(fill);
    memset(fill, 0xff, n_bytes);
    pair_ok(nt_backend_alloc(backend, &out, n_bytes));
    if (out) pair_ok(nt_backend_upload(backend, out, fill, n_bytes));
    free(fill);
    return out;
}

/* Memory of a tensor, off its alignment if the case asks for it. */
static inline void *pair_tensor_memory(const pair_side *s, const nt_tensor *t)
{
    const size_t shift = s->shift * nt_dtype_bytes(t->dtype);
    return (char *)pair_memory(s->backend, t->n_bytes + shift) + shift;
}

static inline void pair_free(const pair_side *s, const nt_tensor *t, void *data)
{
    const size_t shift = s->shift * nt_dtype_bytes(t->dtype);
    if (data) nt_backend_free(s->backend, (char *)data - shift, t->n_bytes + shift);
}

/* A device takes a while to make ready, so there is one for each precision, until pair_close. */
static nt_backend *pair_devices[3];

static inline nt_backend *pair_backend(const char *name, nt_precision precision, int threads)
{
    const nt_backend_options options = {.threads = threads > 0 ? threads : 1, .precision = precision};
    const bool host = strcmp(name, "cuda") != 0;
    nt_backend *made = host ? NULL : pair_devices[precision];
    if (!made) pair_ok(nt_backend_create(&made, name, &options));
    if (!host) pair_devices[precision] = made;
    return made;
}

/* Teardown of a group of tests. */
static inline int pair_close(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        nt_backend_destroy(pair_devices[i]);
        pair_devices[i] = NULL;
    }
    return 0;
}

/* Creates the op, gives it memory and values, binds it. */
static inline void pair_setup(pair_side *s, const char *name, const pair_spec *spec, nt_tuning *tuning)
{
    bool cpu = strcmp(name, "cpu") == 0, ref = strcmp(name, "ref") == 0;
    s->backend = pair_backend(name, ref ? NT_PRECISION_FP32 : spec->precision, cpu ? spec->threads : 1);
    if (cpu) ((nt_cpu *)s->backend->state)->worth_threads = 0; /* small shapes too */
    s->shift = ref ? 0 : spec->shift;
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
    s->op.activation = ref ? NULL : spec->activation;
    s->op.y = nt_tensor_plain(spec->is_loss ? NT_F32 : s->backend->activation, spec->y);
    for (int i = 0; i < spec->n_inputs; i++) {
        bool follows = spec->x[i].dtype == NT_F32 && !spec->raw[i];
        s->x[i] = nt_tensor_plain(follows ? s->backend->activation : spec->x[i].dtype, spec->x[i].shape);
        if (cpu && spec->blocked[i]) pair_conv_layout(s->backend, &s->x[i], tuning);
        if (spec->flattened)
            s->x[i].shape =
                nt_shape_of(2, s->x[i].shape.dim[0], nt_shape_elems(s->x[i].shape) / s->x[i].shape.dim[0]);
        s->need_dx[i] = !spec->inference && follows && !(i == 0 && spec->no_dx);
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
        void *values = pair_values(spec, &s->x[i], spec->x[i].data, spec->raw[i], 10 + (uint32_t)i, 0);
        s->x[i].data = pair_tensor_memory(s, &s->x[i]);
        pair_ok(nt_backend_from_plain(s->backend, &s->x[i], values));
        free(values);
    }
    for (int i = 0; i < spec->n_params; i++) {
        void *values = pair_values(spec, &op->param[i], NULL, false, 20 + (uint32_t)i, spec->param_spread);
        op->param[i].data = pair_tensor_memory(s, &op->param[i]);
        op->dparam[i] = op->param[i];
        op->dparam[i].data = pair_tensor_memory(s, &op->param[i]);
        pair_ok(nt_backend_from_plain(s->backend, &op->param[i], values));
        free(values);
    }
    bool y_on_x = spec->in_place && (op->flags & NT_OP_INPLACE_FORWARD) && !pair_keeps_x(spec, op);
    bool view = op->flags & NT_OP_VIEW;
    op->y.data = y_on_x || view ? s->x[0].data : pair_tensor_memory(s, &op->y);
    op->dy = op->y;
    op->dy.data = pair_tensor_memory(s, &op->y);
    for (int i = 0; i < spec->n_inputs; i++) {
        s->dx[i] = s->x[i];
        bool on_dy = view || (i == 0 && spec->in_place && (op->flags & NT_OP_INPLACE_BACKWARD));
        s->dx[i].data = !s->need_dx[i] ? NULL : on_dy ? op->dy.data : pair_tensor_memory(s, &s->x[i]);
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

static inline double pair_tolerance(const pair_spec *spec, const nt_tensor *t, bool is_param)
{
    if (t->dtype == NT_BF16) return spec->rounding;
    bool rounds = is_param && spec->precision == NT_PRECISION_BF16 && spec->param_rounding > 0;
    return rounds ? spec->param_rounding : spec->tolerance;
}

static inline void pair_compare(pair_side *ref, const nt_tensor *a, pair_side *other, const nt_tensor *b,
                                const pair_spec *spec, const char *what)
{
    const bool is_param = b >= other->op.dparam && b < other->op.dparam + NT_MAX_PARAMS;
    const double tolerance = pair_tolerance(spec, b, is_param);
    float *want = pair_plain(ref, a), *got = pair_plain(other, b);
    int64_t n = nt_shape_elems(a->shape);
    assert_int_equal(n, nt_shape_elems(b->shape));
    double largest = fmax(spec->floor, 1e-30);
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++) {
        double error = fabs((double)want[i] - (double)got[i]);
        if (!(error <= tolerance * largest))
            fail_msg("%s: %s: element %lld of %lld is %.9g, ref has %.9g (largest %.3g, tolerance %.1g)",
                     spec->kind, what, (long long)i, (long long)n, (double)got[i], (double)want[i], largest,
                     tolerance);
    }
    pair_check_padding(other, b, what);
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

static inline void pair_set_dy(pair_side *s, const pair_spec *spec)
{
    nt_tensor plain = nt_tensor_plain(NT_F32, s->op.y.shape);
    void *values = pair_values(spec, &plain, NULL, false, 30, 0);
    pair_ok(nt_backend_from_plain(s->backend, &s->op.dy, values));
    free(values);
}

static inline void pair_teardown(pair_side *s, const pair_spec *spec)
{
    nt_op *op = &s->op;
    bool y_own = op->y.data != s->x[0].data;
    for (int i = 0; i < spec->n_inputs; i++) {
        if (s->dx[i].data != op->dy.data) pair_free(s, &s->dx[i], s->dx[i].data);
        pair_free(s, &s->x[i], s->x[i].data);
    }
    for (int i = 0; i < spec->n_params; i++) {
        pair_free(s, &op->param[i], op->param[i].data);
        pair_free(s, &op->param[i], op->dparam[i].data);
    }
    if (y_own) pair_free(s, &op->y, op->y.data);
    pair_free(s, &op->dy, op->dy.data);
    nt_backend_free(s->backend, op->saved, op->saved_bytes);
    nt_backend_free(s->backend, op->scratch, op->scratch_bytes);
    nt_op_destroy(op);
    if (s->backend->ops->host_memory) nt_backend_destroy(s->backend);
}

static inline void pair_backward(pair_side *s, const pair_spec *spec, const nt_pass *pass)
{
    pair_set_dy(s, spec);
    if (spec->activation && !s->op.activation) pair_activation(s, spec->activation, true);
    pair_ok(nt_op_backward(&s->op, pass));
}

static inline void pair_compare_gradients(pair_side *ref, pair_side *other, const pair_spec *spec,
                                          const char *what)
{
    for (int i = 0; i < spec->n_inputs; i++)
        if (ref->need_dx[i]) pair_compare(ref, &ref->dx[i], other, &other->dx[i], spec, what);
    for (int i = 0; i < spec->n_params; i++)
        pair_compare(ref, &ref->op.dparam[i], other, &other->op.dparam[i], spec, what);
}

static const int64_t pair_samples[] = {3, 1, 4, 15, 9, 2, 6, 5, 35, 8, 97, 93, 23, 84, 62, 64, 33};

static inline nt_pass pair_pass(void)
{
    return (nt_pass){
        .scale = 0.125, .share = 0.75, .mean_weight = 0.6, .seed = 11, .epoch = 2, .sample = pair_samples};
}

/* Makes a side and runs it forward. */
static inline void pair_begin(pair_side *s, const char *name, const pair_spec *spec, nt_tuning *tuning)
{
    const nt_pass pass = pair_pass();
    const int64_t n = spec->x[0].shape.dim[0], n_samples = sizeof pair_samples / sizeof pair_samples[0];
    pair_setup(s, name, spec, tuning);
    pair_bind(s, spec);
    pair_ok(nt_backend_begin_pass(s->backend, &pass, n < n_samples ? n : n_samples));
    pair_ok(nt_op_forward(&s->op, &pass));
    if (spec->activation && !s->op.activation) pair_activation(s, spec->activation, false);
}

static inline void pair_same_bits(pair_side *a, const nt_tensor *t, pair_side *b, const nt_tensor *u,
                                  const pair_spec *spec)
{
    char *first = malloc(t->n_bytes), *second = malloc(t->n_bytes);
    assert_true(first && second);
    pair_ok(nt_backend_download(a->backend, first, t->data, t->n_bytes));
    pair_ok(nt_backend_download(b->backend, second, u->data, u->n_bytes));
    if (memcmp(first, second, t->n_bytes) != 0) fail_msg("%s: a second run has other bits", spec->kind);
    free(first);
    free(second);
}

/* `done` has run forward and backward twice; so does another one. */
static inline void pair_run_again(pair_side *done, const char *name, const pair_spec *spec, nt_tuning *tuning)
{
    pair_side again = {0};
    nt_pass pass = pair_pass();
    pair_begin(&again, name, spec, tuning);
    for (int i = 0; i < 2 && !spec->inference; i++) {
        pass.accumulate = i > 0;
        pair_backward(&again, spec, &pass);
    }
    pair_same_bits(done, &done->op.y, &again, &again.op.y, spec);
    for (int i = 0; i < spec->n_inputs; i++)
        if (again.need_dx[i]) pair_same_bits(done, &done->dx[i], &again, &again.dx[i], spec);
    for (int i = 0; i < spec->n_params && !spec->inference; i++)
        pair_same_bits(done, &done->op.dparam[i], &again, &again.op.dparam[i], spec);
    pair_teardown(&again, spec);
}

/* On which side of 0 a y close to it lies is a matter of roundings that its tolerance allows; the gradient of
 * a fused ReLU depends on it, so from here on both sides have the same y. */
static inline void pair_share_y(pair_side *ref, pair_side *other, const pair_spec *spec)
{
    if (!spec->activation || spec->precision != NT_PRECISION_BF16) return;
    float *y = pair_plain(other, &other->op.y);
    pair_ok(nt_backend_from_plain(ref->backend, &ref->op.y, y));
    free(y);
}

enum { PAIR_MAX_COUNTS = 2 };

/* Runs both directions on ref once and on all the others, and compares each of them. */
static inline void pair_run(pair_side *ref, pair_side *other, int n_others, const pair_spec *spec)
{
    nt_pass pass = pair_pass();
    for (int k = 0; k < n_others; k++)
        pair_compare(ref, &ref->op.y, &other[k], &other[k].op.y, spec, "y");
    pair_share_y(ref, other, spec);
    for (int i = 0; i < 2 && !spec->inference; i++) {
        pass.accumulate = i > 0;
        pair_backward(ref, spec, &pass);
        for (int k = 0; k < n_others; k++) {
            pair_backward(&other[k], spec, &pass);
            pair_compare_gradients(ref, &other[k], spec, i == 0 ? "gradient" : "accumulated gradient");
        }
    }
}

/* The whole comparison; of cpu with one thread and with three, which divide few shapes evenly. */
static inline void pair_check(const pair_spec *spec)
{
    pair_spec own = *spec;
    pair_side ref = {0}, other[PAIR_MAX_COUNTS] = {{0}};
    const char *name = spec->backend ? spec->backend : "cpu";
    const int n_others = spec->backend ? 1 : PAIR_MAX_COUNTS;
    nt_tuning *tuning;
    pair_ok(nt_tuning_create(&tuning, false));
    if (spec->tuning) pair_ok(nt_tuning_parse(tuning, spec->tuning));
    pair_begin(&ref, "ref", spec, tuning);
    for (int k = 0; k < n_others; k++) {
        own.threads = 1 + 2 * k;
        pair_begin(&other[k], name, &own, tuning);
    }
    pair_run(&ref, other, n_others, spec);
    if (spec->twice) pair_run_again(&other[0], name, spec, tuning);
    pair_teardown(&ref, spec);
    for (int k = 0; k < n_others; k++)
        pair_teardown(&other[k], spec);
    nt_tuning_destroy(tuning);
}

#endif
