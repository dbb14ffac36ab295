/* Gradient check by central differences: (f(v + e) - f(v - e)) / 2e against what backward says, in double.
 *
 * A single op is checked with a random weighted sum of its output as objective. The values are random but not
 * arbitrary: their magnitudes are a shuffled, evenly spaced grid away from zero, so that no element sits at a
 * kink (relu at 0) and no two are so close that a step of e changes which is the largest (max_pool). */
#include "core/gradcheck.h"

#include "core/layers/losses.h"
#include "core/lone_op.h"
#include "core/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LAYER_EPSILON 1e-6
#define LOSS_SCALE    0.37 /* pass->scale while a loss is checked: any value but 1 */

/* --- what was found --- */

static void record(nt_gradcheck_result *out, const char *tensor, int64_t i, double analytic, double numeric)
{
    double error = fabs(analytic - numeric) / fmax(1, fabs(analytic) + fabs(numeric));
    if (isnan(error)) error = INFINITY;
    if (error <= out->worst && out->where[0]) return;
    out->worst = error;
    snprintf(out->where, sizeof out->where, "%.80s[%lld]", tensor, (long long)i);
}

/* --- random values --- */

static uint32_t random_word(uint64_t seed, uint32_t stream, int64_t i)
{
    return nt_rng_block(seed, NT_RNG_TEST, stream, (uint32_t)i, 0, 0).v[0];
}

/* n values of both signs with different magnitudes in (0.1, 1), at least 0.9 / n apart. */
static void fill_apart(double *values, int64_t n, uint64_t seed, uint32_t stream)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = 0.1 + 0.9 * ((double)i + 0.5) / (double)n;
    for (int64_t i = n - 1; i > 0; i--) { /* Fisher & Yates */
        int64_t j = (int64_t)nt_rng_below(random_word(seed, stream, i), 0, (uint64_t)i + 1);
        double kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
    for (int64_t i = 0; i < n; i++)
        if (random_word(seed, stream, n + i) & 1) values[i] = -values[i];
}

static void fill_range(double *values, int64_t n, double low, double high, uint64_t seed, uint32_t stream)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = low + (high - low) * (double)nt_rng_uniform(random_word(seed, stream, i));
}

/* --- one op --- */

typedef struct check {
    nt_lone_op *lone;
    nt_pass pass;
    double *weight;         /* (y) of the objective; for a loss: 1 for the loss, 0 for the count of right */
    double *plus, *minus;   /* (y) outputs at v + e and v - e */
    double *value, *result; /* (largest tensor) one tensor's values and its analytic gradient */
    double factor;          /* on the objective: LOSS_SCALE for a loss */
    nt_gradcheck_result *out;
} check;

static int64_t largest_tensor(const nt_op *op)
{
    int64_t n = nt_shape_elems(op->y.shape);
    for (int k = 0; k < op->n_inputs; k++)
        n = nt_shape_elems(op->x[k].shape) > n ? nt_shape_elems(op->x[k].shape) : n;
    for (int p = 0; p < op->n_params; p++)
        n = nt_shape_elems(op->param[p].shape) > n ? nt_shape_elems(op->param[p].shape) : n;
    return n;
}

static void free_check(check *c)
{
    nt_lone_destroy(c->lone);
    free(c->weight);
    free(c->value);
    free((void *)c->pass.sample);
}

static nt_status allocate_check(check *c, int64_t n)
{
    size_t n_y = (size_t)nt_shape_elems(c->lone->op.y.shape), n_max = (size_t)largest_tensor(&c->lone->op);
    int64_t *sample = calloc((size_t)n, sizeof *sample);
    c->pass.sample = sample;
    c->weight = calloc(3 * n_y, sizeof *c->weight);
    c->value = calloc(2 * n_max, sizeof *c->value);
    NT_CHECK_ALLOC(sample && c->weight && c->value, (3 * n_y + 2 * n_max) * sizeof *c->value);
    c->plus = c->weight + n_y;
    c->minus = c->plus + n_y;
    c->result = c->value + n_max;
    for (int64_t i = 0; i < n; i++)
        sample[i] = 7 * i + 3;
    return NT_OK;
}

/* Random integers in [0, bound). */
static void fill_integers(double *values, int64_t n, int64_t bound, uint64_t seed, uint32_t stream)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = (double)nt_rng_below(random_word(seed, stream, i), 0, (uint64_t)bound);
}

static int64_t n_classes_of(const nt_op *op)
{
    const nt_loss_options *o = op->options;
    const nt_shape *x = &op->x[0].shape;
    return x->dim[o->class_dim == NT_CLASS_DIM_LAST ? x->n_dims - 1 : 1];
}

/* Targets of a loss: classes that differ from row to row, or values in 0..1 that sum to 1 in each row. */
static void fill_target(const nt_op *op, double *values, uint64_t seed)
{
    int64_t rows = op->x[1].shape.dim[0], n = nt_shape_elems(op->x[1].shape), k = n / rows;
    fill_range(values, n, 0, 1, seed, 90);
    if (op->x[1].dtype == NT_I32) fill_integers(values, n, n_classes_of(op), seed, 90);
    for (int64_t i = 0; op->x[1].dtype != NT_I32 && i < rows; i++) {
        double sum = 0;
        for (int64_t j = i * k; j < (i + 1) * k; j++)
            sum += values[j];
        for (int64_t j = i * k; j < (i + 1) * k; j++)
            values[j] /= sum;
    }
}

static nt_status fill_all(check *c, uint64_t seed)
{
    nt_op *op = &c->lone->op;
    bool is_loss = c->lone->layer.ops->is_loss;
    for (int k = 0; k < op->n_inputs; k++) {
        fill_apart(c->value, nt_shape_elems(op->x[k].shape), seed, (uint32_t)k);
        if (is_loss && k == 1) fill_target(op, c->value, seed);
        if (c->lone->layer.ops->takes_tokens)
            fill_integers(c->value, nt_shape_elems(op->x[k].shape), op->param[0].shape.dim[0], seed, 90);
        NT_TRY(nt_lone_write(c->lone, &op->x[k], c->value));
    }
    for (int p = 0; p < op->n_params; p++) {
        bool is_stat = c->lone->layer.param[p].role == NT_PARAM_STAT; /* a variance has to be positive */
        fill_range(c->value, nt_shape_elems(op->param[p].shape), is_stat ? 0.5 : -1.5, 1.5, seed,
                   100 + (uint32_t)p);
        NT_TRY(nt_lone_write(c->lone, &op->param[p], c->value));
    }
    int64_t n_y = nt_shape_elems(op->y.shape);
    fill_range(c->weight, n_y, -1, 1, seed, 200);
    for (int64_t i = 0; is_loss && i < n_y; i++)
        c->weight[i] = i % 2 == 0 ? 1 : 0;
    c->factor = is_loss ? LOSS_SCALE : 1;
    NT_TRY(nt_lone_write(c->lone, &op->dy, c->weight));
    return NT_OK;
}

/* The output with element i of tensor t set to `value`. */
static nt_status output_at(check *c, nt_tensor *t, int64_t i, double value, double *y)
{
    double kept = c->value[i];
    c->value[i] = value;
    nt_status status = nt_lone_write(c->lone, t, c->value);
    if (status == NT_OK) status = nt_lone_forward(c->lone, &c->pass);
    if (status == NT_OK) status = nt_lone_read(c->lone, &c->lone->op.y, y);
    c->value[i] = kept;
    NT_TRY(status);
    return NT_OK;
}

/* Compares the gradient dt of tensor t. Outputs are subtracted element by element before they are summed,
 * which keeps the rounding of a large objective out of a small difference. */
static nt_status check_tensor(check *c, const char *name, nt_tensor *t, const nt_tensor *dt)
{
    int64_t n_y = nt_shape_elems(c->lone->op.y.shape);
    NT_TRY(nt_lone_read(c->lone, t, c->value));
    NT_TRY(nt_lone_read(c->lone, dt, c->result));
    for (int64_t i = 0, n = nt_shape_elems(t->shape); i < n; i++) {
        NT_TRY(output_at(c, t, i, c->value[i] + LAYER_EPSILON, c->plus));
        NT_TRY(output_at(c, t, i, c->value[i] - LAYER_EPSILON, c->minus));
        double sum = 0;
        for (int64_t j = 0; j < n_y; j++)
            sum += c->weight[j] * (c->plus[j] - c->minus[j]);
        record(c->out, name, i, c->result[i], c->factor * sum / (2 * LAYER_EPSILON));
    }
    NT_TRY(nt_lone_write(c->lone, t, c->value));
    return NT_OK;
}

static nt_status check_all_tensors(check *c)
{
    nt_op *op = &c->lone->op;
    const nt_layer *layer = &c->lone->layer;
    char name[32];
    NT_TRY(nt_lone_forward(c->lone, &c->pass));
    NT_TRY(nt_lone_backward(c->lone, &c->pass));
    for (int k = 0; k < op->n_inputs; k++) {
        snprintf(name, sizeof name, "input %d", k);
        if (op->need_dx[k]) NT_TRY(check_tensor(c, name, &op->x[k], &op->dx[k]));
    }
    for (int p = 0; p < op->n_params; p++)
        if (layer->param[p].role != NT_PARAM_STAT)
            NT_TRY(check_tensor(c, layer->param[p].name, &op->param[p], &op->dparam[p]));
    return NT_OK;
}

nt_status nt_gradcheck_layer(nt_backend *backend, const nt_lone_spec *wanted, uint64_t seed,
                             nt_gradcheck_result *out)
{
    NT_BUG_UNLESS(backend->ops->real == NT_F64, "gradient checks need double, backend '%s' has %s",
                  backend->ops->name, nt_dtype_name(backend->ops->real));
    nt_lone_spec spec = *wanted;
    spec.training = true;
    spec.shares = false;
    spec.id = 5;
    check c = {.pass = {.scale = LOSS_SCALE, .share = 1, .seed = seed, .epoch = 2}, .out = out};
    *out = (nt_gradcheck_result){0};
    NT_TRY(nt_lone_create(&c.lone, backend, &spec));
    nt_status status = allocate_check(&c, spec.n);
    if (status == NT_OK) status = fill_all(&c, seed);
    if (status == NT_OK) status = check_all_tensors(&c);
    free_check(&c);
    NT_TRY(status);
    return NT_OK;
}

/* --- a whole net --- */

typedef struct net_check {
    nt_net *net;
    const nt_batch *batch;
    nt_pass pass;
    double epsilon;
    nt_gradcheck_result *out;
} net_check;

static nt_status mean_loss(const net_check *c, double *out)
{
    nt_loss_sum sum;
    NT_TRY(nt_net_forward(c->net, NT_MODE_TRAIN, c->batch, &c->pass));
    NT_TRY(nt_net_loss(c->net, &sum));
    *out = sum.loss / (double)c->batch->n;
    return NT_OK;
}

/* The loss with one element of the parameter arena at `value`. */
static nt_status loss_at(const net_check *c, double *element, double value, double *out)
{
    nt_backend *backend = nt_net_backend(c->net);
    NT_TRY(nt_backend_upload(backend, element, &value, sizeof value));
    NT_TRY(mean_loss(c, out));
    return NT_OK;
}

static nt_status check_element(const net_check *c, const nt_slot *slot, int64_t i, double analytic)
{
    nt_backend *backend = nt_net_backend(c->net);
    double *element = (double *)nt_net_params(c->net) + slot->offset + i;
    double value = 0, plus = 0, minus = 0;
    NT_TRY(nt_backend_download(backend, &value, element, sizeof value));
    NT_TRY(nt_backend_sync(backend));
    NT_TRY(loss_at(c, element, value + c->epsilon, &plus));
    NT_TRY(loss_at(c, element, value - c->epsilon, &minus));
    NT_TRY(nt_backend_upload(backend, element, &value, sizeof value));
    record(c->out, slot->name, i, analytic, (plus - minus) / (2 * c->epsilon));
    return NT_OK;
}

static nt_status check_slot(const net_check *c, const nt_slot *slot, const double *grads, int max_per_tensor)
{
    NT_BUG_UNLESS(!slot->tensor.layout, "%s is not in plain layout", slot->name);
    int64_t n = nt_shape_elems(slot->tensor.shape), n_checked = n < max_per_tensor ? n : max_per_tensor;
    for (int64_t j = 0; j < n_checked; j++) {
        int64_t i = j * n / n_checked;
        NT_TRY(check_element(c, slot, i, grads[slot->offset + i]));
    }
    return NT_OK;
}

static nt_status check_net(const net_check *c, double *grads, int64_t n_elems, int max_per_tensor)
{
    double loss;
    nt_backend *backend = nt_net_backend(c->net);
    NT_TRY(mean_loss(c, &loss));
    NT_TRY(nt_net_backward(c->net, &c->pass, NULL, NULL));
    NT_TRY(nt_backend_download(backend, grads, nt_net_grads(c->net), (size_t)n_elems * sizeof *grads));
    NT_TRY(nt_backend_sync(backend));
    for (int s = 0; s < nt_net_n_slots(c->net); s++) {
        const nt_slot *slot = nt_net_get_slot(c->net, s);
        if (slot->role != NT_PARAM_STAT) NT_TRY(check_slot(c, slot, grads, max_per_tensor));
    }
    return NT_OK;
}

nt_status nt_gradcheck_net(nt_net *net, const nt_batch *batch, double epsilon, int max_per_tensor,
                           nt_gradcheck_result *out)
{
    const nt_backend_ops *ops = nt_net_backend(net)->ops;
    NT_BUG_UNLESS(ops->real == NT_F64, "gradient checks need double, backend '%s' has %s", ops->name,
                  nt_dtype_name(ops->real));
    NT_BUG_UNLESS(epsilon > 0 && max_per_tensor > 0, "epsilon %g, %d elements", epsilon, max_per_tensor);
    *out = (nt_gradcheck_result){0};
    const net_check c = {.net = net,
                         .batch = batch,
                         .pass = {.scale = 1 / (double)batch->n,
                                  .share = 1,
                                  .seed = 1,
                                  .epoch = batch->epoch,
                                  .sample = batch->sample},
                         .epsilon = epsilon,
                         .out = out};
    int64_t n_elems = nt_net_n_elems(net);
    double *grads = calloc((size_t)n_elems + 1, sizeof *grads);
    NT_CHECK_ALLOC(grads, (size_t)n_elems * sizeof *grads);
    nt_status status = check_net(&c, grads, n_elems, max_per_tensor);
    free(grads);
    NT_TRY(status);
    return NT_OK;
}
