/* The net as a thing: its slots and segments in flat arenas, laid out and built. Compiling and memory layout
 * are in core/plan.c; core/net_private.h says where the rest is. */
#include "core/net_private.h"

#include "core/budget.h"
#include "core/init.h"
#include "core/layers/batchnorm.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN_BYTES 64

/* --- creation --- */

nt_status nt_net_create(nt_net **out, const nt_model *model, nt_backend *backend,
                        const nt_net_options *options)
{
    nt_net *net = calloc(1, sizeof *net);
    NT_CHECK_ALLOC(net, sizeof *net);
    net->model = model;
    net->backend = backend;
    net->options = *options;
    net->real_bytes = nt_dtype_bytes(backend->ops->real);
    net->n_states = options->optim ? nt_optim_n_states(options->optim) : 0;
    *out = net;
    return NT_OK;
}

static void free_state(nt_net *net)
{
    for (int i = 0; i < net->n_states; i++) {
        nt_backend_free(net->backend, net->state[i], state_bytes(net));
        net->state[i] = NULL;
    }
    free(net->own);
    net->own = NULL;
    net->n_own = 0;
}

void nt_net_destroy(nt_net *net)
{
    if (!net) return;
    for (int i = 0; i < net->n_plans; i++)
        nt_plan_destroy(net->plan[i]);
    nt_backend_free(net->backend, net->params, arena_bytes(net));
    nt_backend_free(net->backend, net->grads, arena_bytes(net));
    free_state(net);
    for (int w = 0; w < NT_N_WEIGHTS; w++)
        nt_backend_free(net->backend, net->average[w], arena_bytes(net));
    nt_backend_free(net->backend, net->activations, net->activation_bytes);
    nt_backend_free(net->backend, net->scratch, net->scratch_bytes);
    nt_backend_free(net->backend, net->sums, sums_bytes(net));
    nt_backend_free(net->backend, net->idle, net->idle_bytes);
    nt_backend_free(net->backend, net->pairs, pairs_bytes(net));
    nt_backend_free(net->backend, net->input.data, net->input.n_bytes);
    nt_backend_free(net->backend, net->target.data, net->target.n_bytes);
    free(net->plan);
    free(net->want);
    free(net->slot);
    free(net->shares);
    free(net->segment);
    free(net->stat);
    free(net->stretch);
    free(net->host_loss);
    free(net->host_slot);
    free(net);
}

nt_status nt_net_want(nt_net *net, nt_mode mode, int64_t n)
{
    NT_BUG_UNLESS(n >= 1 && !net->params, "nt_net_want: n %lld, built %d", (long long)n, net->params != NULL);
    for (int i = 0; i < net->n_wants; i++)
        if (net->want[i].mode == mode && net->want[i].n == n) return NT_OK;
    void *grown = realloc(net->want, (size_t)(net->n_wants + 1) * sizeof *net->want);
    NT_CHECK_ALLOC(grown, (size_t)(net->n_wants + 1) * sizeof *net->want);
    net->want = grown;
    net->want[net->n_wants++] = (struct want){mode, n};
    return NT_OK;
}

/* Training plans first, large ones first: the first plan chooses the parameters' layouts. */
static int by_importance(const void *a, const void *b)
{
    const struct want *x = a, *y = b;
    if (x->mode != y->mode) return x->mode == NT_MODE_TRAIN ? -1 : 1;
    return x->n > y->n ? -1 : x->n < y->n;
}

/* --- slots --- */

static nt_status add_slot(nt_net *net, int i, int p)
{
    const nt_layer *layer = &net->model->layer[i];
    nt_slot *slot = &net->slot[net->n_slots++];
    *slot = (nt_slot){.layer = i, .param = p, .role = layer->param[p].role};
    int used = nt_layer_param_name(layer, p, slot->name, sizeof slot->name);
    NT_CHECK(used < (int)sizeof slot->name, NT_ERR_CONFIG, "layer name %s is too long", layer->name);
    return NT_OK;
}

/* One slot per parameter, last layer first: the order in which backward finishes them; running statistics,
 * for which nobody waits, behind all others. */
static nt_status list_slots(nt_net *net)
{
    const nt_model *model = net->model;
    int n = 0;
    for (int i = 0; i < model->n_layers; i++)
        n += model->layer[i].n_params;
    net->slot = calloc((size_t)n + 1, sizeof *net->slot);
    net->shares = calloc((size_t)(model->n_layers > 0 ? model->n_layers : 1), sizeof *net->shares);
    NT_CHECK_ALLOC(net->slot && net->shares, (size_t)n * sizeof *net->slot);
    for (int i = 0; i < model->n_layers; i++)
        net->shares[i] = nt_model_shares(model, i);
    for (int stats = 0; stats < 2; stats++)
        for (int i = model->n_layers - 1; i >= 0; i--)
            for (int p = 0; p < model->layer[i].n_params; p++)
                if (!model->layer[i].param[p].owner &&
                    (model->layer[i].param[p].role == NT_PARAM_STAT) == stats)
                    NT_TRY(add_slot(net, i, p));
    return NT_OK;
}

/* Where slot s may begin: a cache line, and where a group begins that ranks cut into parts, one for each. */
static int64_t alignment(const nt_net *net, int s)
{
    const int64_t line = (int64_t)(ALIGN_BYTES / net->real_bytes);
    const nt_slot *slot = &net->slot[s];
    bool same_group = s > 0 && slot[-1].layer == slot->layer && slot[-1].role != NT_PARAM_STAT;
    if (slot->role == NT_PARAM_STAT) same_group = s > 0 && slot[-1].role == NT_PARAM_STAT;
    return same_group ? line : line * nt_net_n_shards(net);
}

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

/* Sizes and offsets, from the layouts that the first plan's ops chose. */
static void lay_out_slots(nt_net *net, const nt_plan *plan)
{
    for (int s = 0; s < net->n_slots; s++) {
        nt_slot *slot = &net->slot[s];
        slot->tensor = plan->op[slot->layer].param[slot->param];
        if (plan->maker[slot->layer] < 0) /* not in this plan: see nt_layer.training_only */
            slot->tensor = nt_tensor_plain(net->backend->ops->real,
                                           net->model->layer[slot->layer].param[slot->param].shape);
        slot->n_elems = (int64_t)(slot->tensor.n_bytes / net->real_bytes);
        slot->offset = round_up(net->n_elems, alignment(net, s));
        net->n_elems = slot->offset + slot->n_elems;
    }
    net->n_elems = round_up(net->n_elems, (int64_t)(ALIGN_BYTES / net->real_bytes) * nt_net_n_shards(net));
}

/* --- segments of the update --- */

/* Whether the slot's op can take the optimizer's step itself. */
static bool can_step(const nt_net *net, const nt_slot *slot)
{
    bool can = false;
    for (int i = 0; i < net->n_plans && slot->param == 0; i++)
        can |= (net->plan[i]->op[slot->layer].flags & NT_OP_TAKES_SGD) != 0;
    return can;
}

static bool is_trained(const nt_net *net, const nt_slot *slot)
{
    return slot->role != NT_PARAM_STAT && !net->model->layer[slot->layer].frozen;
}

/* Whether one update can treat both. */
static bool alike(const nt_net *net, const nt_slot *a, const nt_slot *b)
{
    const nt_layer *x = &net->model->layer[a->layer], *y = &net->model->layer[b->layer];
    return a->role == b->role && x->lr_factor == y->lr_factor && x->decay_factor == y->decay_factor &&
           is_trained(net, a) == is_trained(net, b);
}

static nt_status list_segments(nt_net *net)
{
    net->segment = calloc((size_t)net->n_slots + 1, sizeof *net->segment);
    net->stat = calloc((size_t)net->n_slots + 1, sizeof *net->stat);
    net->stretch = calloc((size_t)net->n_slots + 1, sizeof *net->stretch);
    NT_CHECK_ALLOC(net->segment && net->stat && net->stretch, (size_t)net->n_slots * sizeof *net->segment);
    for (int s = 0; s < net->n_slots; s++) {
        const nt_slot *slot = &net->slot[s];
        const nt_layer *layer = &net->model->layer[slot->layer];
        if (!is_trained(net, slot)) continue;
        segment *last = net->n_segments ? &net->segment[net->n_segments - 1] : NULL;
        bool joins = last && s > 0 && alike(net, &net->slot[s - 1], slot);
        bool own = can_step(net, slot);
        bool ratio = net->options.optim && nt_optim_has_ratio(net->options.optim, slot->role);
        if (!joins || own || last->own_slot >= 0 || ratio) {
            last = &net->segment[net->n_segments++];
            *last = (segment){.begin = slot->offset,
                              .role = slot->role,
                              .lr_factor = layer->lr_factor,
                              .decay_factor = layer->decay_factor,
                              .own_slot = own ? s : -1,
                              .pair = ratio ? net->n_pairs++ : -1};
        }
        last->end = slot->offset + slot->n_elems;
    }
    return NT_OK;
}

/* What a backend may do in one call: see segment.kind and stat_pair.kind. */
static void find_kinds(nt_net *net)
{
    for (int i = 0; i < net->n_segments; i++) {
        segment *s = &net->segment[i];
        for (s->kind = 0; s->kind < i; s->kind++) {
            const segment *t = &net->segment[s->kind];
            if (s->role == t->role && s->lr_factor == t->lr_factor && s->decay_factor == t->decay_factor &&
                (s->pair >= 0) == (t->pair >= 0))
                break;
        }
    }
    for (int i = 0; i < net->n_stats; i++) {
        stat_pair *s = &net->stat[i];
        for (s->kind = 0; s->kind < i; s->kind++) {
            const stat_pair *t = &net->stat[s->kind];
            if (s->momentum == t->momentum && s->values_per_sample == t->values_per_sample) break;
        }
    }
}

/* Statistics come in pairs, mean then variance, in one layer. */
static void list_stats(nt_net *net)
{
    for (int s = 0; s + 1 < net->n_slots; s++) {
        const nt_slot *slot = &net->slot[s];
        if (slot->role != NT_PARAM_STAT || slot->param != NT_BN_MEAN) continue;
        const nt_layer *layer = &net->model->layer[slot->layer];
        const nt_batchnorm_options *options = layer->options;
        size_t n_bytes = (size_t)nt_batchnorm_forward_sums(layer->out.dim[0]) * sizeof(double);
        if (n_bytes > net->idle_bytes) net->idle_bytes = n_bytes;
        net->stat[net->n_stats++] =
            (stat_pair){.mean = s,
                        .var = s + 1,
                        .momentum = options->momentum,
                        .values_per_sample = nt_shape_elems(layer->out) / layer->out.dim[0]};
    }
}

/* --- build --- */

static nt_status compile_plans(nt_net *net)
{
    qsort(net->want, (size_t)net->n_wants, sizeof *net->want, by_importance);
    net->plan = calloc((size_t)net->n_wants, sizeof *net->plan);
    NT_CHECK_ALLOC(net->plan, (size_t)net->n_wants * sizeof *net->plan);
    NT_TRY(list_slots(net));
    for (int i = 0; i < net->n_wants; i++) {
        NT_TRY(nt_plan_create(&net->plan[i], net->model, net->backend, net->options.tuning, net->want[i].mode,
                              net->want[i].n, net->slot, net->n_slots, i > 0, net->options.no_reuse));
        net->n_plans++;
        if (i == 0) lay_out_slots(net, net->plan[0]);
        if (net->plan[i]->arena_bytes > net->activation_bytes)
            net->activation_bytes = net->plan[i]->arena_bytes;
        if (net->plan[i]->naive_bytes > net->naive_bytes) net->naive_bytes = net->plan[i]->naive_bytes;
        if (net->plan[i]->scratch_bytes > net->scratch_bytes)
            net->scratch_bytes = net->plan[i]->scratch_bytes;
    }
    return NT_OK;
}

static nt_status allocate_arenas(nt_net *net)
{
    NT_TRY(nt_backend_alloc(net->backend, (void **)&net->params, arena_bytes(net)));
    if (net->options.optim) NT_TRY(nt_backend_alloc(net->backend, (void **)&net->grads, arena_bytes(net)));
    for (int w = 0; w < NT_N_WEIGHTS; w++)
        if (keeps(net, (nt_weights)w))
            NT_TRY(nt_backend_alloc(net->backend, (void **)&net->average[w], arena_bytes(net)));
    if (nt_net_n_shards(net) == 1) NT_TRY(nt_net_own(net, &(nt_span){.end = net->n_elems}, 1));
    NT_TRY(nt_backend_alloc(net->backend, (void **)&net->activations, net->activation_bytes));
    NT_TRY(nt_backend_alloc(net->backend, (void **)&net->scratch, net->scratch_bytes));
    NT_TRY(nt_backend_alloc(net->backend, (void **)&net->sums, sums_bytes(net)));
    NT_TRY(nt_backend_alloc(net->backend, (void **)&net->idle, net->idle_bytes));
    NT_TRY(nt_backend_alloc(net->backend, (void **)&net->pairs, pairs_bytes(net)));
    return NT_OK;
}

nt_status nt_net_own(nt_net *net, const nt_span *own, int n)
{
    free_state(net);
    net->own = calloc((size_t)n + 1, sizeof *net->own);
    NT_CHECK_ALLOC(net->own, (size_t)n * sizeof *net->own);
    net->state_elems = 0;
    for (int i = 0; i < n; i++) {
        net->own[net->n_own++] = (owned){own[i].begin, own[i].end, net->state_elems};
        net->state_elems += own[i].end - own[i].begin;
    }
    for (int i = 0; i < net->n_states; i++)
        NT_TRY(nt_backend_alloc(net->backend, (void **)&net->state[i], state_bytes(net)));
    return NT_OK;
}

int nt_net_n_shards(const nt_net *net)
{
    return net->options.n_shards > 1 ? net->options.n_shards : 1;
}

static void make_room(struct staged *staged, const nt_tensor *t)
{
    if (t && t->n_bytes > staged->n_bytes) staged->n_bytes = t->n_bytes;
}

/* Where batches are staged: all plans read them at the same address. */
static nt_status allocate_staged(nt_net *net)
{
    int64_t n = 1;
    for (int i = 0; i < net->n_plans; i++)
        if (net->plan[i]->n > n) n = net->plan[i]->n;
    NT_TRY(nt_backend_alloc_input(net->backend, &net->input.data, net->input.n_bytes, n));
    if (net->target.n_bytes > 0)
        NT_TRY(nt_backend_alloc_input(net->backend, &net->target.data, net->target.n_bytes, n));
    for (int i = 0; i < net->n_plans; i++) {
        nt_tensor *target = target_of(net->plan[i]);
        input_of(net->plan[i])->data = net->input.data;
        if (target) target->data = net->target.data;
        share_target(net->plan[i]);
    }
    return NT_OK;
}

/* What the net would need if its largest plan had n samples; see nt_budget. */
typedef struct need {
    const nt_net *net;
    const nt_plan *largest;
} need;

static size_t need_of(void *arg, int64_t n)
{
    enum { STAGED_COPIES = 3 }; /* core/backends/cuda/stage.c */
    const need *it = arg;
    const nt_net *net = it->net;
    nt_plan *plan = NULL;
    nt_status status = nt_plan_create(&plan, net->model, net->backend, net->options.tuning, it->largest->mode,
                                      n, net->slot, net->n_slots, true, net->options.no_reuse);
    size_t n_arrays = 1 + (net->options.optim ? 1 : 0) + n_averages(net);
    size_t state = (size_t)net->n_states * arena_bytes(net) / (size_t)nt_net_n_shards(net);
    size_t staged = (net->input.n_bytes + net->target.n_bytes) / (size_t)it->largest->n * (size_t)n;
    size_t needs = 0;
    if (status == NT_OK)
        needs = arena_bytes(net) * n_arrays + state + plan->arena_bytes + plan->scratch_bytes +
                STAGED_COPIES * staged;
    else
        nt_error_clear();
    nt_plan_destroy(plan);
    return needs;
}

static nt_status explain(const nt_net *net, nt_status status, size_t free_bytes)
{
    need largest = {.net = net, .largest = net->plan[0]};
    for (int i = 1; i < net->n_plans; i++)
        if (net->plan[i]->arena_bytes > largest.largest->arena_bytes) largest.largest = net->plan[i];
    nt_budget budget = {.free_bytes = free_bytes,
                        .n = largest.largest->n,
                        .training = largest.largest->mode == NT_MODE_TRAIN,
                        .needs = need_of,
                        .arg = &largest};
    return nt_budget_explain(status, &budget);
}

/* The backend's memory. Where a device has too little, says what would be enough. */
static nt_status allocate(nt_net *net)
{
    size_t free_bytes, total;
    for (int i = 0; i < net->n_plans; i++) {
        make_room(&net->input, input_of(net->plan[i]));
        make_room(&net->target, target_of(net->plan[i]));
    }
    NT_TRY(nt_backend_memory(net->backend, &free_bytes, &total));
    nt_status status = allocate_arenas(net);
    if (status == NT_OK) status = allocate_staged(net);
    return status == NT_OK || total == 0 ? status : explain(net, status, free_bytes);
}

static nt_status allocate_host_buffers(nt_net *net)
{
    int64_t largest_slot = 1, largest_n = 1;
    for (int s = 0; s < net->n_slots; s++) {
        int64_t n = nt_shape_elems(net->slot[s].tensor.shape);
        if (n > largest_slot) largest_slot = n;
    }
    for (int i = 0; i < net->n_plans; i++) {
        const nt_op *output = &net->plan[i]->op[net->plan[i]->maker[net->model->output]];
        int64_t n = nt_shape_elems(output->y.shape);
        if (2 * net->plan[i]->n > largest_n) largest_n = 2 * net->plan[i]->n;
        if (n > largest_slot) largest_slot = n;
    }
    net->host_loss = malloc((size_t)largest_n * net->real_bytes);
    net->host_slot = malloc((size_t)largest_slot * net->real_bytes);
    NT_CHECK_ALLOC(net->host_loss && net->host_slot, (size_t)largest_slot * net->real_bytes);
    return NT_OK;
}

static nt_status init_params(nt_net *net)
{
    for (int s = 0; s < net->n_slots; s++) {
        const nt_slot *slot = &net->slot[s];
        const nt_param *param = &net->model->layer[slot->layer].param[slot->param];
        int64_t n = nt_shape_elems(slot->tensor.shape);
        float *values = malloc((size_t)n * sizeof *values);
        NT_CHECK_ALLOC(values, (size_t)n * sizeof *values);
        uint32_t id = (uint32_t)(slot->layer * NT_MAX_PARAMS + slot->param);
        nt_status status = nt_init_fill(values, n, &param->init, net->options.seed, id);
        if (status == NT_OK) status = nt_net_write(net, s, NT_ARRAY_PARAM, values);
        free(values);
        NT_TRY(status);
    }
    return NT_OK;
}

/* The decay that is part of each tensor's ratio. */
static nt_status put_decays(nt_net *net)
{
    if (net->n_pairs == 0) return NT_OK;
    double *decay = calloc((size_t)net->n_pairs, sizeof *decay);
    NT_CHECK_ALLOC(decay, (size_t)net->n_pairs * sizeof *decay);
    bool decays = nt_optim_ratio(net->options.optim).decays;
    for (int i = 0; i < net->n_segments; i++)
        if (decays && net->segment[i].pair >= 0)
            decay[net->segment[i].pair] =
                prepare(net, &net->segment[i], &(nt_net_step){.lr = 1}).weight_decay;
    nt_status status = nt_backend_upload(net->backend, net->pairs + 2 * net->n_pairs, decay,
                                         (size_t)net->n_pairs * sizeof *decay);
    if (status == NT_OK) status = nt_backend_sync(net->backend);
    free(decay);
    NT_TRY(status);
    return NT_OK;
}

nt_status nt_net_build(nt_net *net)
{
    NT_BUG_UNLESS(net->n_wants > 0, "nt_net_build: no plan was asked for");
    NT_TRY(compile_plans(net));
    NT_TRY(list_segments(net));
    list_stats(net);
    find_kinds(net);
    net->n_squares = net->n_segments + 2 * net->n_stats + 1;
    NT_TRY(allocate(net));
    NT_TRY(put_decays(net));
    NT_TRY(allocate_host_buffers(net));
    for (int i = 0; i < net->n_plans; i++)
        NT_TRY(nt_plan_bind(net->plan[i], net->activations, net->scratch, net->slot, net->n_slots,
                            net->params, net->grads, net->real_bytes));
    for (int s = 0; s < net->n_slots; s++)
        net->slot[s].tensor.data = net->params + (size_t)net->slot[s].offset * net->real_bytes;
    NT_TRY(init_params(net));
    return NT_OK;
}
