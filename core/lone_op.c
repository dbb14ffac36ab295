/* One op alone. Every tensor gets its own memory, unless the spec asks to share what the flags say may be
 * shared; a wrong flag then shows as a wrong value. */
#include "core/lone_op.h"

#include <stdlib.h>
#include <string.h>

/* --- making --- */

static nt_status make_layer(nt_lone_op *lone, const nt_lone_spec *spec)
{
    nt_layer *layer = &lone->layer;
    const nt_layer_ops *ops = nt_layer_find(spec->type);
    layer->ops = ops ? ops : nt_loss_find(spec->type);
    NT_BUG_UNLESS(layer->ops, "there is no layer type or loss '%s'", spec->type);
    size_t n = (size_t)spec->n_inputs, n_bytes = layer->ops->section.size;
    memcpy(layer->name, "lone", sizeof "lone");
    layer->group = -1;
    layer->n_inputs = spec->n_inputs;
    layer->options = calloc(1, n_bytes + 1);
    layer->in = calloc(n + 1, sizeof *layer->in);
    NT_CHECK_ALLOC(layer->options && layer->in, n_bytes + n * sizeof *layer->in);
    if (spec->options)
        memcpy(layer->options, spec->options, n_bytes);
    else
        NT_TRY(nt_section_defaults(&layer->ops->section, layer->options));
    layer->has_labels = spec->labels;
    memcpy(layer->in, spec->in, n * sizeof *layer->in);
    NT_TRY(nt_layer_infer(layer));
    return NT_OK;
}

/* Element type of input k. */
static nt_dtype input_dtype(const nt_layer *layer, const nt_lone_spec *spec, nt_dtype activation, int k)
{
    if (layer->ops->is_loss && k == 1) return layer->has_labels || layer->in[1].n_dims == 0 ? NT_I32 : NT_F32;
    if (layer->ops->takes_tokens) return NT_I32;
    return strcmp(spec->type, "input") == 0 ? spec->stored : activation;
}

static nt_status make_op(nt_lone_op *lone, nt_backend *backend, const nt_lone_spec *spec)
{
    nt_op *op = &lone->op;
    const nt_layer *layer = &lone->layer;
    nt_dtype real = backend->ops->real, activation = backend->activation;
    size_t n = (size_t)spec->n_inputs;
    *op = (nt_op){.backend = backend,
                  .name = layer->name,
                  .id = spec->id,
                  .options = layer->options,
                  .is_loss = layer->ops->is_loss,
                  .training = spec->training,
                  .tuning = lone->tuning,
                  .n_inputs = spec->n_inputs,
                  .n_params = layer->n_params};
    op->x = calloc(n + 1, sizeof *op->x);
    op->dx = calloc(n + 1, sizeof *op->dx);
    op->need_dx = calloc(n + 1, sizeof *op->need_dx);
    NT_CHECK_ALLOC(op->x && op->dx && op->need_dx, n * sizeof *op->x);
    for (int k = 0; k < spec->n_inputs; k++) {
        nt_dtype dtype = input_dtype(layer, spec, activation, k);
        op->x[k] = nt_tensor_plain(dtype, nt_layer_op_shape(layer, layer->in[k], spec->n));
        op->need_dx[k] = spec->training && dtype == activation && !(layer->ops->is_loss && k == 1);
    }
    for (int p = 0; p < layer->n_params; p++)
        op->param[p] = nt_tensor_plain(real, layer->param[p].shape);
    op->y = nt_tensor_plain(layer->ops->is_loss ? real : activation,
                            nt_layer_op_shape(layer, layer->out, spec->n));
    NT_TRY(nt_op_create(op, layer->kind));
    return NT_OK;
}

/* --- memory --- */

static nt_status own(nt_lone_op *lone, void **out, size_t n_bytes)
{
    nt_lone_memory *memory = &lone->owned[lone->n_owned];
    NT_TRY(nt_backend_alloc(lone->op.backend, &memory->ptr, n_bytes));
    memory->n_bytes = n_bytes;
    lone->n_owned++;
    *out = memory->ptr;
    return NT_OK;
}

static nt_status place_inputs(nt_lone_op *lone)
{
    nt_op *op = &lone->op;
    for (int k = 0; k < op->n_inputs; k++) {
        NT_TRY(own(lone, &op->x[k].data, op->x[k].n_bytes));
        op->dx[k] = op->x[k];
        op->dx[k].data = NULL;
        bool on_dy = lone->shares && ((k == 0 && (op->flags & (NT_OP_INPLACE_BACKWARD | NT_OP_VIEW))) ||
                                      (op->flags & NT_OP_PASSES_GRADIENT));
        if (op->need_dx[k] && on_dy)
            op->dx[k].data = op->dy.data;
        else if (op->need_dx[k])
            NT_TRY(own(lone, &op->dx[k].data, op->x[k].n_bytes));
    }
    return NT_OK;
}

static nt_status place_all(nt_lone_op *lone)
{
    nt_op *op = &lone->op;
    size_t n_owned = (size_t)(2 * op->n_inputs + 2 * op->n_params + 4);
    lone->owned = calloc(n_owned, sizeof *lone->owned);
    NT_CHECK_ALLOC(lone->owned, n_owned * sizeof *lone->owned);
    op->dy = op->y;
    NT_TRY(own(lone, &op->dy.data, op->dy.n_bytes));
    NT_TRY(place_inputs(lone));
    if (lone->shares && (op->flags & (NT_OP_INPLACE_FORWARD | NT_OP_VIEW)))
        op->y.data = op->x[0].data;
    else
        NT_TRY(own(lone, &op->y.data, op->y.n_bytes));
    for (int p = 0; p < op->n_params; p++) {
        NT_TRY(own(lone, &op->param[p].data, op->param[p].n_bytes));
        op->dparam[p] = op->param[p];
        NT_TRY(own(lone, &op->dparam[p].data, op->param[p].n_bytes));
    }
    NT_TRY(own(lone, &op->saved, op->saved_bytes));
    NT_TRY(own(lone, &op->scratch, op->scratch_bytes));
    NT_TRY(nt_op_bind(op));
    return NT_OK;
}

static nt_status make_all(nt_lone_op *lone, nt_backend *backend, const nt_lone_spec *spec)
{
    lone->shares = spec->shares;
    NT_TRY(nt_tuning_create(&lone->tuning, false));
    NT_TRY(make_layer(lone, spec));
    NT_TRY(make_op(lone, backend, spec));
    NT_TRY(place_all(lone));
    return NT_OK;
}

nt_status nt_lone_create(nt_lone_op **out, nt_backend *backend, const nt_lone_spec *spec)
{
    nt_lone_op *lone = calloc(1, sizeof *lone);
    NT_CHECK_ALLOC(lone, sizeof *lone);
    nt_status status = make_all(lone, backend, spec);
    if (status != NT_OK) {
        nt_lone_destroy(lone);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = lone;
    return NT_OK;
}

void nt_lone_destroy(nt_lone_op *lone)
{
    if (!lone) return;
    nt_op_destroy(&lone->op);
    for (int i = 0; i < lone->n_owned; i++)
        nt_backend_free(lone->op.backend, lone->owned[i].ptr, lone->owned[i].n_bytes);
    free(lone->owned);
    free(lone->op.x);
    free(lone->op.dx);
    free(lone->op.need_dx);
    free(lone->layer.options);
    free(lone->layer.in);
    nt_tuning_destroy(lone->tuning);
    free(lone);
}

/* --- values --- */

static void put_value(void *array, nt_dtype dtype, int64_t i, double value)
{
    switch (dtype) {
    case NT_F32:
        ((float *)array)[i] = (float)value;
        break;
    case NT_F64:
        ((double *)array)[i] = value;
        break;
    case NT_U8:
        ((uint8_t *)array)[i] = (uint8_t)value;
        break;
    case NT_I32:
        ((int32_t *)array)[i] = (int32_t)value;
        break;
    case NT_I64:
        ((int64_t *)array)[i] = (int64_t)value;
        break;
    case NT_BF16:
    case NT_N_DTYPES:
        break;
    }
}

static double get_value(const void *array, nt_dtype dtype, int64_t i)
{
    switch (dtype) {
    case NT_F32:
        return (double)((const float *)array)[i];
    case NT_F64:
        return ((const double *)array)[i];
    case NT_U8:
        return (double)((const uint8_t *)array)[i];
    case NT_I32:
        return (double)((const int32_t *)array)[i];
    case NT_I64:
        return (double)((const int64_t *)array)[i];
    case NT_BF16:
    case NT_N_DTYPES:
        break;
    }
    return 0;
}

/* Type of the elements in canonical form. */
static nt_dtype plain_dtype(const nt_lone_op *lone, const nt_tensor *t)
{
    return t->dtype == NT_BF16 ? lone->op.backend->ops->real : t->dtype;
}

static nt_status plain_copy(const nt_lone_op *lone, const nt_tensor *t, void **out)
{
    size_t n_bytes = (size_t)nt_shape_elems(t->shape) * nt_dtype_bytes(plain_dtype(lone, t));
    *out = malloc(n_bytes + 1);
    NT_CHECK_ALLOC(*out, n_bytes);
    return NT_OK;
}

nt_status nt_lone_write(nt_lone_op *lone, nt_tensor *t, const double *values)
{
    void *host;
    NT_TRY(plain_copy(lone, t, &host));
    for (int64_t i = 0, n = nt_shape_elems(t->shape); i < n; i++)
        put_value(host, plain_dtype(lone, t), i, values[i]);
    nt_status status = nt_backend_from_plain(lone->op.backend, t, host);
    if (status == NT_OK) status = nt_backend_sync(lone->op.backend);
    free(host);
    NT_TRY(status);
    return NT_OK;
}

nt_status nt_lone_read(nt_lone_op *lone, const nt_tensor *t, double *values)
{
    void *host;
    NT_TRY(plain_copy(lone, t, &host));
    nt_status status = nt_backend_to_plain(lone->op.backend, host, t);
    if (status == NT_OK) status = nt_backend_sync(lone->op.backend);
    for (int64_t i = 0, n = nt_shape_elems(t->shape); i < n && status == NT_OK; i++)
        values[i] = get_value(host, plain_dtype(lone, t), i);
    free(host);
    NT_TRY(status);
    return NT_OK;
}

/* --- running --- */

static bool runs(const nt_lone_op *lone)
{
    return !(lone->shares && (lone->op.flags & NT_OP_VIEW));
}

nt_status nt_lone_forward(nt_lone_op *lone, const nt_pass *pass)
{
    if (runs(lone)) NT_TRY(nt_op_forward(&lone->op, pass));
    return NT_OK;
}

nt_status nt_lone_backward(nt_lone_op *lone, const nt_pass *pass)
{
    if (runs(lone)) NT_TRY(nt_op_backward(&lone->op, pass));
    return NT_OK;
}
