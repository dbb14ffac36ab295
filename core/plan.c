/* Compile and memory plan of one (mode, batch size). The moments of the memory plan are: forward of op i at
 * i, backward of op i at 2 n - 1 - i. */
#include "core/plan.h"

#include <stdlib.h>
#include <string.h>

/* --- the graph, looked at from the values --- */

/* Whether the gradient of each layer's output is needed: something trained lies behind it, or running
 * statistics, which backward hands on. Never that of a loss: gradients begin there. */
static void find_needs_gradient(const nt_model *model, bool *needs)
{
    for (int i = 0; i < model->n_layers; i++) {
        const nt_layer *layer = &model->layer[i];
        needs[i] = false;
        for (int p = 0; p < layer->n_params; p++)
            needs[i] = needs[i] || layer->param[p].role == NT_PARAM_STAT ||
                       !model->layer[layer->param[p].owner ? layer->param[p].owner : i].frozen;
        for (int k = 0; k < layer->n_inputs; k++)
            needs[i] = needs[i] || (layer->input[k] >= 0 && needs[layer->input[k]]);
        needs[i] = needs[i] && !layer->ops->is_loss;
    }
}

/* The only layer that reads layer i's output, or -1 if there are none or several. */
static int sole_consumer(const nt_model *model, int i)
{
    int found = -1;
    for (int c = i + 1; c < model->n_layers; c++)
        for (int k = 0; k < model->layer[c].n_inputs; k++)
            if (model->layer[c].input[k] == i) {
                if (found >= 0) return -1;
                found = c;
            }
    return found;
}

/* The activation layer that the backend will run inside layer i's op, or -1. */
static int fusable_activation(const nt_model *model, const nt_backend *backend, int i, bool training)
{
    const nt_layer *layer = &model->layer[i];
    int next = sole_consumer(model, i);
    if (next < 0 || i == model->output || strcmp(model->layer[next].ops->section.name, "activation") != 0)
        return -1;
    bool fuses = nt_backend_fuses(backend, layer->kind, layer->options, model->layer[next].options, training);
    return fuses ? next : -1;
}

/* The max_pool that takes ReLU layer i over from in front of it, or -1: the largest of max(x, 0) is max(the
 * largest x, 0), with the same gradient, and there are fewer of them. */
static int pool_behind(const nt_model *model, const nt_backend *backend, int i, bool training)
{
    const nt_layer *layer = &model->layer[i];
    int next = sole_consumer(model, i);
    if (next < 0 || i == model->output || strcmp(layer->ops->section.name, "activation") != 0) return -1;
    const nt_activation_options *activation = layer->options;
    const nt_layer *pool = &model->layer[next];
    if (activation->function != NT_ACT_RELU || strcmp(pool->ops->section.name, "max_pool") != 0) return -1;
    return nt_backend_fuses(backend, "max_pool", pool->options, activation, training) ? next : -1;
}

/* --- ops --- */

static nt_tensor target_tensor(const nt_model *model, nt_mode mode, int64_t n)
{
    const nt_sample_spec *spec = &model->spec;
    if (spec->soft_targets && mode == NT_MODE_TRAIN)
        return nt_tensor_plain(NT_F32, nt_shape_of(2, n, spec->n_classes));
    return nt_tensor_plain(spec->target == NT_TARGET_CLASS ? NT_I32 : NT_F32,
                           nt_shape_with_n(nt_sample_target_shape(spec), n));
}

static nt_status allocate_op(nt_op *op, int n_inputs)
{
    size_t n = (size_t)n_inputs;
    op->n_inputs = n_inputs;
    op->x = calloc(n, sizeof *op->x);
    op->dx = calloc(n, sizeof *op->dx);
    op->need_dx = calloc(n, sizeof *op->need_dx);
    NT_CHECK_ALLOC(op->x && op->dx && op->need_dx, n * sizeof *op->x);
    return NT_OK;
}

static void set_inputs(nt_plan *plan, const nt_model *model, int i, const bool *needs)
{
    const nt_layer *layer = &model->layer[i];
    nt_op *op = &plan->op[i];
    if (i == 0) op->x[0] = nt_tensor_plain(model->spec.x_dtype, nt_shape_with_n(model->spec.x, plan->n));
    for (int k = 0; k < layer->n_inputs; k++) {
        int from = layer->input[k];
        op->x[k] = from == NT_NODE_TARGET ? target_tensor(model, plan->mode, plan->n)
                                          : plan->op[plan->maker[from]].y;
        if (from >= 0) op->x[k].shape = nt_layer_op_shape(layer, model->layer[from].out, plan->n);
        op->need_dx[k] = op->training && from >= 0 && needs[from];
    }
}

/* The slot of a layer's parameter p, which may be another layer's. */
static const nt_slot *slot_of(const nt_model *model, int i, int p, const nt_slot *slots, int n_slots)
{
    const int owner = model->layer[i].param[p].owner;
    for (int s = 0; s < n_slots; s++)
        if (owner ? slots[s].layer == owner && slots[s].param == 0
                  : slots[s].layer == i && slots[s].param == p)
            return &slots[s];
    return NULL;
}

/* A parameter that several layers have stays plain, so that each can read it. */
static void set_params(nt_op *op, const nt_model *model, int i, const nt_slot *slots, int n_slots, bool fixed)
{
    const nt_layer *layer = &model->layer[i];
    op->n_params = layer->n_params;
    op->param_fixed = fixed || nt_model_shares(model, i);
    for (int p = 0; p < layer->n_params; p++) {
        const nt_slot *slot = fixed ? slot_of(model, i, p, slots, n_slots) : NULL;
        op->param[p] = slot ? slot->tensor : nt_tensor_plain(op->backend->ops->real, layer->param[p].shape);
    }
}

/* The activation in front of layer i that was left to it, or NULL. */
static const nt_activation_options *deferred_activation(const nt_plan *plan, const nt_model *model, int i)
{
    int x = model->layer[i].n_inputs == 1 ? model->layer[i].input[0] : -1;
    if (x < 0 || plan->maker[x] == x) return NULL;
    const void *options = model->layer[x].options; /* of an activation that has no op of its own */
    return plan->op[plan->maker[x]].activation == options ? NULL : options;
}

static nt_dtype output_dtype(const nt_model *model, const nt_backend *backend, int i)
{
    if (i == 0 && model->spec.x_dtype == NT_I32) return NT_I32; /* tokens stay what they are */
    return model->layer[i].ops->is_loss ? backend->ops->real : backend->activation;
}

static nt_status create_op(nt_plan *plan, const nt_model *model, nt_backend *backend, nt_tuning *tuning,
                           int i, const bool *needs, const nt_slot *slots, int n_slots, bool fixed)
{
    const nt_layer *layer = &model->layer[i];
    nt_op *op = &plan->op[i];
    *op = (nt_op){.backend = backend,
                  .name = layer->name,
                  .id = (uint32_t)i,
                  .options = layer->options,
                  .is_loss = layer->ops->is_loss,
                  .training = plan->mode == NT_MODE_TRAIN,
                  .tuning = tuning};
    NT_TRY(allocate_op(op, i == 0 ? 1 : layer->n_inputs));
    op->activation = deferred_activation(plan, model, i);
    int fused = op->activation ? -1 : fusable_activation(model, backend, i, op->training);
    if (fused >= 0) {
        op->activation = model->layer[fused].options;
        plan->maker[fused] = i;
    }
    set_inputs(plan, model, i, needs);
    set_params(op, model, i, slots, n_slots, fixed);
    op->y = nt_tensor_plain(output_dtype(model, backend, i), nt_layer_op_shape(layer, layer->out, plan->n));
    nt_status status = nt_op_create(op, layer->kind);
    if (status != NT_OK) return nt_error_prefix(status, "layer %s: ", layer->name);
    if (nt_model_shares(model, i)) op->flags &= ~(unsigned)NT_OP_TAKES_SGD; /* its gradient is half of it */
    if (op->scratch_bytes > plan->scratch_bytes) plan->scratch_bytes = op->scratch_bytes;
    return NT_OK;
}

static nt_status create_ops(nt_plan *plan, const nt_model *model, nt_backend *backend, nt_tuning *tuning,
                            const nt_slot *slots, int n_slots, bool fixed)
{
    bool *needs = calloc((size_t)plan->n_ops, sizeof *needs);
    NT_CHECK_ALLOC(needs, (size_t)plan->n_ops);
    find_needs_gradient(model, needs);
    for (int i = 0; i < plan->n_ops; i++)
        plan->maker[i] = plan->mode == NT_MODE_EVAL && model->layer[i].training_only ? -1 : i;
    nt_status status = NT_OK;
    for (int i = 0; i < plan->n_ops && status == NT_OK; i++) {
        if (plan->maker[i] != i) continue;
        if (pool_behind(model, backend, i, plan->mode == NT_MODE_TRAIN) >= 0)
            plan->maker[i] = plan->maker[model->layer[i].input[0]];
        else
            status = create_op(plan, model, backend, tuning, i, needs, slots, n_slots, fixed);
    }
    free(needs);
    return status;
}

int nt_plan_loss(const nt_plan *plan)
{
    if (!plan->model->has_loss) return -1;
    return plan->mode == NT_MODE_TRAIN ? plan->n_ops - 1 : plan->model->loss;
}

/* --- storages --- */

static int moment_of_backward(const nt_plan *plan, int i)
{
    return 2 * plan->n_ops - 1 - i;
}

static nt_status new_storage(nt_plan *plan, size_t n_bytes, int first, int last, int *out)
{
    if (plan->n_storages == plan->cap_storages) {
        int cap = plan->cap_storages ? 2 * plan->cap_storages : 64;
        nt_memplan_value *grown = realloc(plan->storage, (size_t)cap * sizeof *grown);
        NT_CHECK_ALLOC(grown, (size_t)cap * sizeof *grown);
        plan->storage = grown;
        plan->cap_storages = cap;
    }
    plan->storage[plan->n_storages] = (nt_memplan_value){.n_bytes = n_bytes, .first = first, .last = last};
    plan->naive_bytes += nt_memplan_round_up(n_bytes);
    *out = plan->n_storages++;
    return NT_OK;
}

static void use_until(nt_plan *plan, int storage, int moment)
{
    if (plan->storage[storage].last < moment) plan->storage[storage].last = moment;
}

/* Last moment at which the output of op i is read. */
static int last_use_of_output(const nt_plan *plan, const nt_model *model, int i)
{
    int last = i;
    bool training = plan->mode == NT_MODE_TRAIN;
    if (training && (plan->op[i].flags & NT_OP_KEEPS_Y)) last = moment_of_backward(plan, i);
    if (plan->maker[model->output] == i || i == nt_plan_loss(plan)) last = 2 * plan->n_ops;
    for (int c = i + 1; c < plan->n_ops; c++) {
        if (plan->maker[c] != c) continue;
        for (int k = 0; k < model->layer[c].n_inputs; k++) {
            int from = model->layer[c].input[k];
            if (from < 0 || plan->maker[from] != i) continue;
            int use = training && (plan->op[c].flags & NT_OP_KEEPS_X) ? moment_of_backward(plan, c) : c;
            if (use > last) last = use;
        }
    }
    return last;
}

static nt_status place_outputs(nt_plan *plan, const nt_model *model)
{
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->maker[i] != i) continue;
        const nt_op *op = &plan->op[i];
        int last = last_use_of_output(plan, model, i);
        int x = i > 0 && model->layer[i].input[0] >= 0
                    ? plan->y_storage[plan->maker[model->layer[i].input[0]]]
                    : -1;
        bool in_place = x >= 0 && (op->flags & NT_OP_INPLACE_FORWARD) && plan->storage[x].last <= i &&
                        plan->storage[x].n_bytes == op->y.n_bytes;
        if (in_place || (x >= 0 && (op->flags & NT_OP_VIEW))) {
            plan->y_storage[i] = x;
            plan->naive_bytes += in_place ? nt_memplan_round_up(op->y.n_bytes) : 0;
            use_until(plan, x, last);
        } else {
            NT_TRY(new_storage(plan, op->y.n_bytes, i, last, &plan->y_storage[i]));
        }
    }
    return NT_OK;
}

static nt_status place_saved(nt_plan *plan)
{
    for (int i = 0; i < plan->n_ops; i++) {
        const nt_op *op = &plan->op[i];
        plan->saved_storage[i] = -1;
        if (plan->maker[i] == i && op->saved_bytes > 0)
            NT_TRY(
                new_storage(plan, op->saved_bytes, i, moment_of_backward(plan, i), &plan->saved_storage[i]));
    }
    return NT_OK;
}

/* --- gradients --- */

/* The moment at which a part of the gradient of op `x`'s output, written by the backward of op c for its
 * input k, is read next: the sum with the part of the next consumer, or the backward of op x. */
static int next_use_of_part(const nt_plan *plan, const nt_model *model, int x, int c, int k)
{
    for (int d = c; d > x; d--) {
        if (plan->maker[d] != d) continue;
        for (int j = d == c ? k + 1 : 0; j < model->layer[d].n_inputs; j++)
            if (plan->op[d].need_dx[j] && plan->maker[model->layer[d].input[j]] == x)
                return moment_of_backward(plan, d);
    }
    return moment_of_backward(plan, x);
}

/* How long the part that op c writes for its input k lives: it is read at once where a sum is already under
 * way. */
static int life_of_part(const nt_plan *plan, const nt_model *model, int c, int k)
{
    int x = plan->maker[model->layer[c].input[k]];
    return plan->dy_storage[x] >= 0 ? moment_of_backward(plan, c) : next_use_of_part(plan, model, x, c, k);
}

/* Adds the part in storage `part` to what the gradient of op x has so far. Either operand's memory is taken
 * for the sum if nothing else lives in it afterwards. */
static nt_status meet_gradient(nt_plan *plan, int x, int c, int part, int use)
{
    int now = moment_of_backward(plan, c), sofar = plan->dy_storage[x];
    if (sofar < 0) {
        plan->dy_storage[x] = part;
        return NT_OK;
    }
    int dst = plan->storage[sofar].last <= now ? sofar : plan->storage[part].last <= now ? part : -1;
    size_t n_bytes = plan->op[x].y.n_bytes;
    if (dst < 0) NT_TRY(new_storage(plan, n_bytes, now, use, &dst));
    use_until(plan, dst, use);
    nt_plan_sum *grown = realloc(plan->sum, (size_t)(plan->n_sums + 1) * sizeof *grown);
    NT_CHECK_ALLOC(grown, (size_t)(plan->n_sums + 1) * sizeof *grown);
    plan->sum = grown;
    int64_t n = (int64_t)(n_bytes / nt_dtype_bytes(plan->op[x].y.dtype));
    plan->sum[plan->n_sums++] = (nt_plan_sum){.after = c, .dst = dst, .a = sofar, .b = part, .n = n};
    plan->dy_storage[x] = dst;
    return NT_OK;
}

/* Where the backward of op c writes dx[k]: on dy where it may, on what it already wrote where the gradient is
 * passed on. */
static nt_status place_part(nt_plan *plan, int c, int k, int first_part, int last, int *out)
{
    const nt_op *op = &plan->op[c];
    int now = moment_of_backward(plan, c), dy = plan->dy_storage[c];
    bool passes = op->flags & NT_OP_PASSES_GRADIENT;
    bool may_share =
        dy >= 0 && plan->storage[dy].n_bytes == op->x[k].n_bytes && plan->storage[dy].last <= now;
    if ((op->flags & NT_OP_VIEW) || (passes && !op->activation))
        *out = dy;
    else if (passes && first_part >= 0)
        *out = first_part;
    else if (k == 0 && (op->flags & NT_OP_INPLACE_BACKWARD) && may_share)
        *out = dy;
    else
        return new_storage(plan, op->x[k].n_bytes, now, last, out);
    plan->naive_bytes += nt_memplan_round_up(op->x[k].n_bytes);
    return NT_OK;
}

/* All gradients that the backward of op c makes. Lifetimes of all parts are extended before any sum is
 * decided, so that two inputs that share memory do not overwrite each other. */
static nt_status place_gradients_of(nt_plan *plan, const nt_model *model, int c)
{
    const nt_layer *layer = &model->layer[c];
    int first_part = -1;
    for (int k = 0; k < layer->n_inputs; k++) {
        if (!plan->op[c].need_dx[k]) continue;
        NT_TRY(place_part(plan, c, k, first_part, life_of_part(plan, model, c, k), &plan->dx_storage[c][k]));
        if (first_part < 0) first_part = plan->dx_storage[c][k];
    }
    for (int k = 0; k < layer->n_inputs; k++)
        if (plan->dx_storage[c][k] >= 0)
            use_until(plan, plan->dx_storage[c][k], life_of_part(plan, model, c, k));
    for (int k = 0; k < layer->n_inputs; k++) {
        if (plan->dx_storage[c][k] < 0) continue;
        int x = plan->maker[layer->input[k]];
        NT_TRY(meet_gradient(plan, x, c, plan->dx_storage[c][k], next_use_of_part(plan, model, x, c, k)));
    }
    return NT_OK;
}

static nt_status place_gradients(nt_plan *plan, const nt_model *model)
{
    for (int i = 0; i < plan->n_ops; i++)
        plan->dy_storage[i] = -1;
    if (plan->mode != NT_MODE_TRAIN) return NT_OK;
    for (int c = plan->n_ops - 1; c > 0; c--)
        if (plan->maker[c] == c) NT_TRY(place_gradients_of(plan, model, c));
    return NT_OK;
}

/* --- life --- */

static nt_status allocate_plan(nt_plan *plan, const nt_model *model)
{
    size_t n = (size_t)model->n_layers;
    plan->n_ops = model->n_layers;
    plan->op = calloc(n, sizeof *plan->op);
    plan->maker = calloc(n, sizeof *plan->maker);
    plan->y_storage = calloc(n, sizeof *plan->y_storage);
    plan->dy_storage = calloc(n, sizeof *plan->dy_storage);
    plan->saved_storage = calloc(n, sizeof *plan->saved_storage);
    plan->dx_storage = calloc(n, sizeof *plan->dx_storage);
    NT_CHECK_ALLOC(plan->op && plan->maker && plan->y_storage && plan->dy_storage && plan->saved_storage &&
                       plan->dx_storage,
                   n * sizeof *plan->op);
    for (size_t i = 0; i < n; i++) {
        size_t n_inputs = (size_t)model->layer[i].n_inputs + 1;
        plan->dx_storage[i] = calloc(n_inputs, sizeof **plan->dx_storage);
        NT_CHECK_ALLOC(plan->dx_storage[i], n_inputs * sizeof **plan->dx_storage);
        memset(plan->dx_storage[i], 0xff, n_inputs * sizeof **plan->dx_storage); /* all -1: none */
    }
    return NT_OK;
}

static nt_status compile(nt_plan *plan, const nt_model *model, nt_backend *backend, nt_tuning *tuning,
                         const nt_slot *slots, int n_slots, bool params_fixed, bool no_reuse)
{
    NT_TRY(allocate_plan(plan, model));
    NT_TRY(create_ops(plan, model, backend, tuning, slots, n_slots, params_fixed));
    NT_TRY(place_outputs(plan, model));
    NT_TRY(place_saved(plan));
    NT_TRY(place_gradients(plan, model));
    for (int i = 0; no_reuse && i < plan->n_storages; i++)
        plan->storage[i].first = 0, plan->storage[i].last = 2 * plan->n_ops;
    NT_TRY(nt_memplan_solve(plan->storage, plan->n_storages, &plan->arena_bytes));
    return NT_OK;
}

nt_status nt_plan_create(nt_plan **out, const nt_model *model, nt_backend *backend, nt_tuning *tuning,
                         nt_mode mode, int64_t n, const nt_slot *slots, int n_slots, bool params_fixed,
                         bool no_reuse)
{
    nt_plan *plan = calloc(1, sizeof *plan);
    NT_CHECK_ALLOC(plan, sizeof *plan);
    plan->model = model;
    plan->mode = mode;
    plan->n = n;
    nt_status status = compile(plan, model, backend, tuning, slots, n_slots, params_fixed, no_reuse);
    if (status != NT_OK) {
        nt_plan_destroy(plan);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    *out = plan;
    return NT_OK;
}

void nt_plan_destroy(nt_plan *plan)
{
    if (!plan) return;
    for (int i = 0; plan->op && i < plan->n_ops; i++) {
        nt_op_destroy(&plan->op[i]);
        free(plan->op[i].x);
        free(plan->op[i].dx);
        free(plan->op[i].need_dx);
        if (plan->dx_storage) free(plan->dx_storage[i]);
    }
    free(plan->op);
    free(plan->maker);
    free(plan->storage);
    free(plan->y_storage);
    free(plan->dy_storage);
    free(plan->dx_storage);
    free(plan->saved_storage);
    free(plan->sum);
    free(plan);
}

/* --- binding --- */

static void *at(const nt_plan *plan, char *arena, int storage)
{
    return storage < 0 ? NULL : arena + plan->storage[storage].offset;
}

static void bind_inputs(nt_plan *plan, nt_op *op, int i, char *arena)
{
    const nt_layer *layer = &plan->model->layer[i];
    for (int k = 0; k < layer->n_inputs; k++) {
        if (layer->input[k] == NT_NODE_TARGET) continue; /* staged batch by batch, like the input */
        op->x[k].data = at(plan, arena, plan->y_storage[plan->maker[layer->input[k]]]);
        op->dx[k] = op->x[k];
        op->dx[k].data = at(plan, arena, plan->dx_storage[i][k]);
    }
}

static void bind_params(nt_op *op, const nt_model *model, int layer, const nt_slot *slots, int n_slots,
                        char *params, char *grads, size_t real_bytes)
{
    for (int p = 0; p < op->n_params; p++) {
        const nt_slot *slot = slot_of(model, layer, p, slots, n_slots);
        op->dparam[p] = op->param[p];
        op->param[p].data = params + (size_t)slot->offset * real_bytes;
        op->dparam[p].data = grads ? grads + (size_t)slot->offset * real_bytes : NULL;
    }
}

nt_status nt_plan_bind(nt_plan *plan, char *arena, char *scratch, const nt_slot *slots, int n_slots,
                       char *params, char *grads, size_t real_bytes)
{
    for (int i = 0; i < plan->n_ops; i++) {
        nt_op *op = &plan->op[i];
        if (plan->maker[i] != i) continue;
        bind_inputs(plan, op, i, arena);
        op->y.data = at(plan, arena, plan->y_storage[i]);
        op->dy = op->y;
        op->dy.data = at(plan, arena, plan->dy_storage[i]);
        op->saved = at(plan, arena, plan->saved_storage[i]);
        op->scratch = scratch;
        bind_params(op, plan->model, i, slots, n_slots, params, grads, real_bytes);
        NT_TRY(nt_op_bind(op));
    }
    return NT_OK;
}
