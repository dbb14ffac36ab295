/* The net: flat arenas, plans, and the three passes (forward, backward, update). Compiling and memory layout
 * are in core/plan.c. */
#include "core/net.h"

#include "core/budget.h"
#include "core/init.h"
#include "core/layers/batchnorm.h"
#include "core/plan.h"
#include "core/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN_BYTES 64

/* A stretch of the arenas that one update treats alike: neighbouring slots of the same role and factors.
 * Slots of frozen layers are in none. */
typedef struct segment {
    int64_t begin, end;
    nt_param_role role;
    double lr_factor, decay_factor;
    int own_slot;   /* the only one, of an op that can take the step itself; else -1 */
    bool used_up;   /* its op has taken the step in the last backward */
    double squares; /* of the gradient then */
    int pair;       /* of sums of squares of w and g, for the ratio of its tensor; -1: it has none */
    int kind;       /* the first segment whose update has the same constants, or this one */
} segment;

/* The running statistics of one batchnorm. */
typedef struct stat_pair {
    int mean, var;             /* slots */
    int64_t values_per_sample; /* per channel: H W */
    double momentum;
    int kind; /* the first pair with the same, or this one */
} stat_pair;

/* Elements whose optimizer state is here: from element `at` of the state arrays on. */
typedef struct owned {
    int64_t begin, end, at;
} owned;

/* What a step adds up, in backend memory. squares: of the gradients of each segment; then, of what only has
 * to be finite, of the two statistics of each pair, and of the losses. */
struct sums {
    nt_report report;
    double squares[];
};

struct nt_net {
    const nt_model *model;
    nt_backend *backend;
    nt_net_options options;
    size_t real_bytes;
    int n_plans;
    nt_plan **plan; /* wanted ones until build: see want */
    int n_wants;
    struct want {
        nt_mode mode;
        int64_t n;
    } * want;
    int n_slots;
    nt_slot *slot;
    bool *shares; /* (n_layers) nt_model_shares */
    int64_t n_elems;
    char *params, *grads, *state[NT_MAX_STATES], *activations, *scratch;
    struct staged {
        void *data; /* NULL where the backend points to the batch itself */
        size_t n_bytes;
    } input, target; /* of the largest batch */
    int n_states;
    int n_own;
    owned *own; /* one that covers everything, unless the state is sharded */
    int64_t state_elems;
    float *whole[NT_MAX_STATES]; /* borrowed, see nt_net_lend_state */
    size_t activation_bytes, naive_bytes, scratch_bytes;
    int n_segments, n_stats;
    segment *segment;
    stat_pair *stat;
    nt_stretch *stretch; /* room for one a slot */
    int n_squares;
    struct sums *sums; /* backend memory */
    double *idle;      /* backend memory: zeros for pass->sum, of the widest batchnorm */
    size_t idle_bytes;
    int n_pairs;
    double *pairs;               /* (n_pairs, 2), then (n_pairs) decays; backend memory */
    char *average[NT_N_WEIGHTS]; /* none of NT_WEIGHTS_RAW */
    bool average_begun[NT_N_WEIGHTS];
    nt_weights used; /* what the parameters' arena holds */
    const nt_net_step *step_in_ops;
    nt_plan *last; /* plan of the last forward */
    bool last_has_loss;
    void *host_loss; /* (largest n, 2) real */
    void *host_slot; /* largest slot, real */
};

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

static size_t arena_bytes(const nt_net *net)
{
    return (size_t)net->n_elems * net->real_bytes;
}

static size_t sums_bytes(const nt_net *net)
{
    return sizeof *net->sums + (size_t)net->n_squares * sizeof *net->sums->squares;
}

static size_t pairs_bytes(const nt_net *net)
{
    return 3 * (size_t)net->n_pairs * sizeof *net->pairs;
}

static size_t state_bytes(const nt_net *net)
{
    return (size_t)net->state_elems * net->real_bytes;
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

/* The update of a segment's elements. */
static nt_update prepare(const nt_net *net, const segment *s, const nt_net_step *step)
{
    nt_update u = nt_optim_prepare(net->options.optim, step->lr * s->lr_factor, step->step, s->role);
    u.weight_decay *= s->decay_factor;
    u.scale = step->scale;
    u.ratio = s->pair >= 0 ? net->pairs + 2 * s->pair : NULL;
    return u;
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

static bool keeps(const nt_net *net, nt_weights which)
{
    return net->options.average && nt_average_kept(net->options.average, which);
}

static size_t n_averages(const nt_net *net)
{
    size_t n = 0;
    for (int w = 0; w < NT_N_WEIGHTS; w++)
        n += keeps(net, (nt_weights)w);
    return n;
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

static nt_tensor *input_of(nt_plan *plan)
{
    return &plan->op[0].x[0];
}

/* NULL without a loss. */
static nt_tensor *target_of(nt_plan *plan)
{
    return plan->model->has_loss ? &plan->op[plan->model->loss].x[1] : NULL;
}

/* The losses of heads read the target where that of the output does. */
static void share_target(nt_plan *plan)
{
    const nt_model *model = plan->model;
    for (int i = model->loss + 1; model->has_loss && i < plan->n_ops; i++)
        if (plan->maker[i] == i && model->layer[i].n_inputs > 1 && model->layer[i].input[1] == NT_NODE_TARGET)
            plan->op[i].x[1].data = target_of(plan)->data;
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

/* --- passes --- */

static nt_plan *find_plan(const nt_net *net, nt_mode mode, int64_t n)
{
    for (int i = 0; i < net->n_plans; i++)
        if (net->plan[i]->mode == mode && net->plan[i]->n == n) return net->plan[i];
    return NULL;
}

static nt_status stage_batch(nt_net *net, nt_plan *plan, const nt_batch *batch)
{
    NT_TRY(nt_backend_stage(net->backend, input_of(plan), batch->x));
    if (!net->last_has_loss) return NT_OK;
    NT_TRY(nt_backend_stage(net->backend, target_of(plan), batch->target));
    share_target(plan);
    return NT_OK;
}

nt_status nt_net_stage(nt_net *net, nt_mode mode, const nt_batch *batch, const nt_pass *pass)
{
    nt_plan *plan = find_plan(net, mode, batch->n);
    NT_BUG_UNLESS(plan, "no plan for %lld samples in mode %d", (long long)batch->n, mode);
    net->last_has_loss = net->model->has_loss && batch->target;
    NT_BUG_UNLESS(mode == NT_MODE_EVAL || net->last_has_loss, "training needs a loss and targets");
    NT_TRY(stage_batch(net, plan, batch));
    NT_TRY(nt_backend_begin_pass(net->backend, pass, batch->n));
    net->last = plan;
    return NT_OK;
}

nt_status nt_net_run_forward(nt_net *net, const nt_pass *pass)
{
    nt_plan *plan = net->last;
    NT_BUG_UNLESS(plan, "forward without a batch");
    int n_run = net->model->has_loss && !net->last_has_loss ? net->model->loss : plan->n_ops;
    for (int i = 0; i < n_run; i++) {
        if (plan->maker[i] != i || (plan->op[i].flags & NT_OP_VIEW)) continue;
        NT_TRY(nt_op_forward(&plan->op[i], pass));
    }
    return NT_OK;
}

nt_status nt_net_forward(nt_net *net, nt_mode mode, const nt_batch *batch, const nt_pass *pass)
{
    NT_TRY(nt_net_stage(net, mode, batch, pass));
    NT_TRY(nt_net_run_forward(net, pass));
    return NT_OK;
}

static nt_status run_sums(nt_net *net, nt_plan *plan, int after, int *next)
{
    for (; *next < plan->n_sums && plan->sum[*next].after == after; (*next)++) {
        const nt_plan_sum *s = &plan->sum[*next];
        NT_TRY(nt_backend_sum(net->backend, net->activations + plan->storage[s->dst].offset,
                              net->activations + plan->storage[s->a].offset,
                              net->activations + plan->storage[s->b].offset, s->n));
    }
    return NT_OK;
}

/* Says that the gradients of layer i's slots are final. `slot` walks through the slots. */
static nt_status report_ready(nt_net *net, int i, int *slot, nt_ready_fn ready, void *arg)
{
    int first = *slot;
    while (*slot < net->n_slots && net->slot[*slot].layer == i && net->slot[*slot].role != NT_PARAM_STAT)
        (*slot)++;
    if (*slot == first || !ready) return NT_OK;
    int64_t end = *slot < net->n_slots ? net->slot[*slot].offset : net->n_elems;
    NT_TRY(ready(arg, net->slot[first].offset, end));
    return NT_OK;
}

/* The running statistics, all at once, after everything else. */
static nt_status report_stats(nt_net *net, int slot, nt_ready_fn ready, void *arg)
{
    if (slot == net->n_slots || !ready) return NT_OK;
    NT_TRY(ready(arg, net->slot[slot].offset, net->n_elems));
    return NT_OK;
}

static char *elem(const nt_net *net, char *arena, int64_t offset)
{
    return arena ? arena + (size_t)offset * net->real_bytes : NULL;
}

/* State array i of the element at `offset`, which is owned; NULL: there is no such array. */
static char *state_at(const nt_net *net, int i, int64_t offset)
{
    for (int k = 0; net->state[i] && k < net->n_own; k++)
        if (offset >= net->own[k].begin && offset < net->own[k].end)
            return elem(net, net->state[i], net->own[k].at + offset - net->own[k].begin);
    return NULL;
}

void nt_net_step_in_ops(nt_net *net, const nt_net_step *step)
{
    const bool can = net->backend->ops->host_memory && net->options.optim && net->state[0] &&
                     net->options.optim->type == NT_OPTIM_SGD && net->options.optim->clip_value == 0;
    net->step_in_ops = can && step && !step->scale ? step : NULL;
}

bool nt_net_used_up(const nt_net *net, int slot, double *squares)
{
    for (int i = 0; i < net->n_segments; i++)
        if (net->segment[i].own_slot == slot && net->segment[i].used_up) {
            *squares = net->segment[i].squares;
            return true;
        }
    return false;
}

/* The segment whose step op i shall take; NULL if there is none. */
static segment *step_for(const nt_net *net, int i, const nt_pass *pass)
{
    if (!net->step_in_ops || pass->accumulate || !(net->last->op[i].flags & NT_OP_TAKES_SGD)) return NULL;
    for (int k = 0; k < net->n_segments; k++)
        if (net->segment[k].own_slot >= 0 && net->slot[net->segment[k].own_slot].layer == i)
            return &net->segment[k];
    return NULL;
}

static nt_status backward_and_step(nt_net *net, int i, segment *s, const nt_pass *pass)
{
    nt_op *op = &net->last->op[i];
    const nt_op_step step = {.update = prepare(net, s, net->step_in_ops),
                             .s1 = state_at(net, 0, s->begin),
                             .squares = &s->squares};
    s->used_up = true;
    s->squares = 0;
    op->step = &step;
    nt_status status = nt_op_backward(op, pass);
    op->step = NULL;
    net->sums->squares[s - net->segment] += s->squares;
    return status;
}

/* Whether a layer behind layer i, whose backward has run before, has written the gradient of its parameter p.
 */
static bool is_written(const nt_model *model, int i, int p)
{
    const int owner = model->layer[i].param[p].owner ? model->layer[i].param[p].owner : i;
    for (int c = i + 1; c < model->n_layers; c++)
        for (int k = 0; k < model->layer[c].n_params; k++)
            if (model->layer[c].param[k].owner == owner && (owner != i || p == 0)) return true;
    return false;
}

/* Backward of an op that has a parameter in common with one behind it: it adds to what that has written, and
 * so what is its own begins at zero. */
static nt_status backward_adding(nt_net *net, int i, const nt_pass *pass)
{
    nt_op *op = &net->last->op[i];
    nt_pass adding = *pass;
    adding.accumulate = true;
    for (int p = 0; p < op->n_params; p++)
        if (!is_written(net->model, i, p))
            NT_TRY(nt_backend_zero(net->backend, op->dparam[p].data, op->dparam[p].n_bytes));
    NT_TRY(nt_op_backward(op, &adding));
    return NT_OK;
}

/* Whether nobody handed a gradient to the op and nobody waits for one: all behind it is frozen. */
static bool is_idle(const nt_op *op)
{
    bool needs = op->is_loss || op->dy.data;
    for (int k = 0; k < op->n_inputs; k++)
        needs = needs || op->need_dx[k];
    return !needs;
}

static nt_status run_backward(nt_net *net, int i, const nt_pass *pass)
{
    nt_op *op = &net->last->op[i];
    if (net->last->maker[i] != i || (op->flags & NT_OP_VIEW) || is_idle(op)) return NT_OK;
    segment *s = step_for(net, i, pass);
    if (s) return backward_and_step(net, i, s, pass);
    if (!pass->accumulate && net->shares[i] && is_written(net->model, i, 0))
        return backward_adding(net, i, pass);
    return nt_op_backward(op, pass);
}

nt_status nt_net_backward(nt_net *net, const nt_pass *pass, nt_ready_fn ready, void *arg)
{
    nt_plan *plan = net->last;
    NT_BUG_UNLESS(plan && plan->mode == NT_MODE_TRAIN && net->grads, "backward without a training forward");
    int slot = 0, sum = 0;
    for (int k = 0; k < net->n_segments; k++)
        net->segment[k].used_up = false;
    for (int i = plan->n_ops - 1; i > 0; i--) {
        NT_TRY(run_backward(net, i, pass));
        NT_TRY(run_sums(net, plan, i, &sum));
        NT_TRY(report_ready(net, i, &slot, ready, arg));
    }
    NT_TRY(report_stats(net, slot, ready, arg));
    return NT_OK;
}

/* --- a part without samples --- */

static nt_status sum_zeros(const nt_net *net, const nt_pass *pass, int64_t n)
{
    if (!pass->sum) return NT_OK;
    NT_TRY(nt_backend_zero(net->backend, net->idle, (size_t)n * sizeof *net->idle));
    NT_TRY(pass->sum(pass->sum_arg, net->idle, n));
    return NT_OK;
}

nt_status nt_net_idle_forward(nt_net *net, const nt_pass *pass)
{
    for (int i = 0; i < net->model->n_layers; i++) {
        const nt_layer *layer = &net->model->layer[i];
        if (nt_layer_is_batchnorm(layer))
            NT_TRY(sum_zeros(net, pass, nt_batchnorm_forward_sums(layer->out.dim[0])));
    }
    return NT_OK;
}

nt_status nt_net_idle_backward(nt_net *net, const nt_pass *pass, nt_ready_fn ready, void *arg)
{
    int slot = 0;
    if (!pass->accumulate) NT_TRY(nt_net_zero_grads(net));
    for (int i = net->model->n_layers - 1; i > 0; i--) {
        const nt_layer *layer = &net->model->layer[i];
        if (nt_layer_is_batchnorm(layer))
            NT_TRY(sum_zeros(net, pass, nt_batchnorm_backward_sums(layer->out.dim[0])));
        NT_TRY(report_ready(net, i, &slot, ready, arg));
    }
    NT_TRY(report_stats(net, slot, ready, arg));
    return NT_OK;
}

/* Element i of an array of the backend's real type. */
static double real_at(const nt_net *net, const void *array, int64_t i)
{
    return net->real_bytes == sizeof(float) ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

/* The (N, 2) output of the last forward's loss; NULL if there was none. */
static const nt_tensor *loss_output(const nt_net *net)
{
    return net->last && net->last_has_loss ? &net->last->op[nt_plan_loss(net->last)].y : NULL;
}

nt_status nt_net_loss(nt_net *net, nt_loss_sum *out)
{
    const nt_tensor *y = loss_output(net);
    NT_BUG_UNLESS(y, "no loss: the last forward had no targets");
    NT_TRY(nt_backend_download(net->backend, net->host_loss, y->data, y->n_bytes));
    NT_TRY(nt_backend_sync(net->backend));
    nt_report sums = {.loss = 0};
    nt_host_add_losses(&sums, net->host_loss, net->backend->ops->real, net->last->n);
    *out = (nt_loss_sum){sums.loss, sums.loss_squared, (int64_t)sums.correct, net->last->n};
    return NT_OK;
}

nt_status nt_net_output(nt_net *net, float *out)
{
    NT_BUG_UNLESS(net->last, "no output: nothing has run");
    const nt_tensor *y = &net->last->op[net->last->maker[net->model->output]].y;
    int64_t n = nt_shape_elems(y->shape);
    NT_TRY(nt_backend_to_plain(net->backend, net->host_slot, y));
    NT_TRY(nt_backend_sync(net->backend));
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)real_at(net, net->host_slot, i);
    return NT_OK;
}

/* --- update --- */

/* Elements of one block: each thread's gradient, parameter and state of it together fit in a level-2 cache.
 * Whole blocks of the sum of squares, so the number of threads does not show in it. */
static int64_t block_elems(const nt_net *net)
{
    return net->backend->ops->host_memory ? (int64_t)NT_SUM_BLOCK * net->backend->options.threads : INT64_MAX;
}

static nt_status add_squares(nt_net *net, double *squares, int64_t offset, int64_t n)
{
    NT_TRY(nt_backend_sum_squares(net->backend, squares, elem(net, net->grads, offset), n));
    return NT_OK;
}

/* Stretches of the arenas from element `base` on, whose state lies in one piece. */
typedef struct batch_of {
    int64_t base;
    const nt_stretch *stretch;
    int n;
} batch_of;

static nt_status run_rule(nt_net *net, const nt_update *u, void *s3, const batch_of *b)
{
    nt_update own = *u;
    own.s3 = s3;
    NT_TRY(nt_backend_update_of(net->backend, &own, elem(net, net->params, b->base),
                                elem(net, net->grads, b->base), state_at(net, 0, b->base),
                                state_at(net, 1, b->base), b->stretch, b->n));
    return NT_OK;
}

/* The part of an update that comes before the ratios of tensors: elements are cut off at clip_value; LAMB
 * moves its moments and puts what the parameter goes down by into the place of the gradient. */
static nt_status begin_batch(nt_net *net, const nt_update *u, const batch_of *b)
{
    void *g = elem(net, net->grads, b->base);
    const nt_update limit = {.rule = NT_UPDATE_LIMIT, .limit = net->options.optim->clip_value};
    if (limit.limit > 0)
        NT_TRY(nt_backend_update_of(net->backend, &limit, g, g, NULL, NULL, b->stretch, b->n));
    nt_update own = *u;
    own.ratio = NULL;
    if (u->rule == NT_UPDATE_LAMB) NT_TRY(run_rule(net, &own, g, b));
    return NT_OK;
}

static nt_status end_batch(nt_net *net, const nt_update *u, const batch_of *b)
{
    nt_update own = *u;
    if (u->rule == NT_UPDATE_LAMB) own.rule = NT_UPDATE_STEP;
    NT_TRY(run_rule(net, &own, state_at(net, 2, b->base), b));
    return NT_OK;
}

static nt_status begin_elems(nt_net *net, const nt_update *u, int64_t begin, int64_t end)
{
    return begin_batch(net, u, &(batch_of){begin, &(nt_stretch){.n = end - begin}, 1});
}

static nt_status end_elems(nt_net *net, const nt_update *u, int64_t begin, int64_t end)
{
    return end_batch(net, u, &(batch_of){begin, &(nt_stretch){.n = end - begin}, 1});
}

static nt_status update_elems(nt_net *net, const nt_update *u, int64_t begin, int64_t end)
{
    NT_TRY(begin_elems(net, u, begin, end));
    NT_TRY(end_elems(net, u, begin, end));
    return NT_OK;
}

/* What is done to elements block by block, while they are in cache. */
enum {
    MEASURE = 1, /* the squares of the gradient */
    BEGIN = 2,   /* the update, up to the ratio */
    NORMS = 4,   /* sums for the ratio */
    END = 8,     /* the rest of the update */
};

static nt_status run_block(nt_net *net, int i, unsigned what, const nt_update *u, int64_t begin, int64_t end)
{
    double *pair = net->segment[i].pair >= 0 ? net->pairs + 2 * net->segment[i].pair : NULL;
    if (what & MEASURE) NT_TRY(add_squares(net, &net->sums->squares[i], begin, end - begin));
    if (what & BEGIN) NT_TRY(begin_elems(net, u, begin, end));
    if (what & NORMS) {
        NT_TRY(nt_backend_sum_squares(net->backend, &pair[0], elem(net, net->params, begin), end - begin));
        NT_TRY(add_squares(net, &pair[1], begin, end - begin));
    }
    if (what & END) NT_TRY(end_elems(net, u, begin, end));
    return NT_OK;
}

/* The part of [begin, end) that lies in segment s and is owned as own[k]. */
static nt_span cut(const nt_net *net, const segment *s, int k, int64_t begin, int64_t end)
{
    const owned *own = &net->own[k];
    begin = begin > s->begin ? begin : s->begin;
    end = end < s->end ? end : s->end;
    return (nt_span){begin > own->begin ? begin : own->begin, end < own->end ? end : own->end};
}

static nt_status run_blocks(nt_net *net, int i, unsigned what, const nt_update *u, nt_span range)
{
    const int64_t block = block_elems(net);
    for (int64_t from = range.begin; from < range.end; from += block) {
        int64_t to = block < range.end - from ? from + block : range.end;
        NT_TRY(run_block(net, i, what, u, from, to));
        if (to == range.end) break;
    }
    return NT_OK;
}

/* Over the part of segment i that lies in [begin, end) and is owned. u may be NULL where it only measures. */
static nt_status run_segment(nt_net *net, int i, unsigned what, const nt_update *u, int64_t begin,
                             int64_t end)
{
    const segment *s = &net->segment[i];
    if (s->used_up || begin >= s->end || end <= s->begin) return NT_OK;
    for (int k = 0; k < net->n_own; k++)
        NT_TRY(run_blocks(net, i, what, u, cut(net, s, k, begin, end)));
    return NT_OK;
}

static nt_status make_ratios(nt_net *net, const nt_net_step *step, int first, int n)
{
    const nt_ratio ratio = nt_optim_ratio(net->options.optim);
    NT_TRY(nt_backend_ratios(net->backend, net->pairs + 2 * first, net->pairs + 2 * net->n_pairs + first,
                             ratio.scales ? step->scale : NULL, ratio.coefficient, n));
    return NT_OK;
}

/* Measures and updates a whole tensor that has a ratio. */
static nt_status run_with_ratio(nt_net *net, int i, const nt_update *u, const nt_net_step *step)
{
    const segment *s = &net->segment[i];
    NT_TRY(nt_backend_zero(net->backend, net->pairs + 2 * s->pair, 2 * sizeof *net->pairs));
    NT_TRY(run_segment(net, i, MEASURE | BEGIN | NORMS, u, s->begin, s->end));
    NT_TRY(make_ratios(net, step, s->pair, 1));
    NT_TRY(run_segment(net, i, END, u, s->begin, s->end));
    return NT_OK;
}

static nt_stretch stretch_of_stat(const nt_net *net, const stat_pair *stat)
{
    const nt_slot *mean = &net->slot[stat->mean], *var = &net->slot[stat->var];
    return (nt_stretch){mean->offset, mean->n_elems, var->offset};
}

/* Of batchnorms of the kind of *stat. */
static nt_status update_stats(nt_net *net, const stat_pair *stat, const nt_net_step *step,
                              const nt_stretch *stretch, int n)
{
    double values = (double)(step->batch * stat->values_per_sample);
    nt_update u = {.rule = NT_UPDATE_STAT,
                   .momentum = (float)stat->momentum,
                   .grad_scale = 1,
                   .scale = step->scale,
                   .correction1 = values > 1 ? (float)(values / (values - 1)) : 1};
    NT_TRY(
        nt_backend_update_of(net->backend, &u, net->params, net->grads, net->params, net->grads, stretch, n));
    return NT_OK;
}

static nt_status update_stat(nt_net *net, const stat_pair *stat, const nt_net_step *step)
{
    const nt_stretch stretch = stretch_of_stat(net, stat);
    return update_stats(net, stat, step, &stretch, 1);
}

/* Measures and, if step is not NULL, updates the running statistics in [begin, end). */
static nt_status run_stats(nt_net *net, const nt_net_step *step, int64_t begin, int64_t end)
{
    for (int i = 0; i < net->n_stats; i++) {
        const nt_slot *mean = &net->slot[net->stat[i].mean], *var = &net->slot[net->stat[i].var];
        if (mean->offset < begin || mean->offset >= end) continue;
        double *squares = net->sums->squares + net->n_segments + 2 * i;
        NT_TRY(add_squares(net, &squares[0], mean->offset, mean->n_elems));
        NT_TRY(add_squares(net, &squares[1], var->offset, var->n_elems));
        if (step) NT_TRY(update_stat(net, &net->stat[i], step));
    }
    return NT_OK;
}

nt_status nt_net_measure_and_update(nt_net *net, const nt_net_step *step, int64_t begin, int64_t end)
{
    NT_BUG_UNLESS(net->grads, "update without an optimizer");
    for (int i = 0; i < net->n_segments; i++) {
        const segment *s = &net->segment[i];
        nt_update u = prepare(net, s, step);
        if (s->pair < 0)
            NT_TRY(run_segment(net, i, MEASURE | BEGIN | END, &u, begin, end));
        else if (s->begin >= begin && s->begin < end)
            NT_TRY(run_with_ratio(net, i, &u, step));
    }
    NT_TRY(run_stats(net, step, begin, end));
    return NT_OK;
}

/* --- the same on a device: its calls take many stretches at once, and have no cache to keep to --- */

static bool takes_many(const nt_net *net)
{
    return !net->backend->ops->host_memory;
}

/* Adds what lies in [begin, end) of segment i and is owned as own[k] to the n in net->stretch, as seen from
 * `base`. */
static int add_stretch(nt_net *net, int n, int i, int k, int64_t base, int64_t begin, int64_t end, int other)
{
    const segment *s = &net->segment[i];
    const nt_span range = cut(net, s, k, begin, end);
    if (s->used_up || range.begin >= range.end) return n;
    net->stretch[n] = (nt_stretch){range.begin - base, range.end - range.begin, other};
    return n + 1;
}

static int add_stats(nt_net *net, int n, int64_t begin, int64_t end)
{
    for (int i = 0; i < net->n_stats; i++) {
        const nt_stretch s = stretch_of_stat(net, &net->stat[i]);
        const int other = net->n_segments + 2 * i;
        if (s.begin < begin || s.begin >= end) continue;
        net->stretch[n++] = (nt_stretch){s.begin, s.n, other};
        net->stretch[n++] = (nt_stretch){s.other, s.n, other + 1};
    }
    return n;
}

static nt_status measure_many(nt_net *net, int64_t begin, int64_t end)
{
    for (int k = 0; k < net->n_own || k == 0; k++) {
        int n = k == 0 ? add_stats(net, 0, begin, end) : 0;
        for (int i = 0; i < net->n_segments && k < net->n_own; i++)
            n = add_stretch(net, n, i, k, 0, begin, end, i);
        NT_TRY(nt_backend_sum_squares_of(net->backend, net->sums->squares, net->grads, net->stretch, n));
    }
    return NT_OK;
}

/* What is owned as own[k] and lies in [begin, end) of all segments of a kind; `other` is the index of their
 * ratios. */
static batch_of list_kind(nt_net *net, int kind, int k, int64_t begin, int64_t end)
{
    batch_of b = {net->own[k].begin, net->stretch, 0};
    for (int i = kind; i < net->n_segments; i++) {
        const segment *s = &net->segment[i];
        if (s->kind == kind)
            b.n = add_stretch(net, b.n, i, k, b.base, begin, end, s->pair < 0 ? 0 : 2 * s->pair);
    }
    return b;
}

/* The update of segments of that kind, whose ratios are found by `other`. */
static nt_update prepare_kind(const nt_net *net, int kind, const nt_net_step *step)
{
    nt_update u = prepare(net, &net->segment[kind], step);
    if (u.ratio) u.ratio = net->pairs;
    return u;
}

static nt_status add_norms(nt_net *net, const batch_of *b)
{
    NT_TRY(nt_backend_sum_squares_of(net->backend, net->pairs, elem(net, net->params, b->base), b->stretch,
                                     b->n));
    for (int i = 0; i < b->n; i++)
        net->stretch[i].other++;
    NT_TRY(nt_backend_sum_squares_of(net->backend, net->pairs, elem(net, net->grads, b->base), b->stretch,
                                     b->n));
    return NT_OK;
}

/* What: BEGIN and NORMS of tensors with a ratio; or END, and BEGIN of those without. */
static nt_status run_kind(nt_net *net, int kind, unsigned what, const nt_net_step *step, int64_t begin,
                          int64_t end)
{
    const bool ratio = net->segment[kind].pair >= 0;
    const nt_update u = prepare_kind(net, kind, step);
    for (int k = 0; k < net->n_own; k++) {
        const batch_of b = list_kind(net, kind, k, begin, end);
        if (b.n == 0) continue;
        if (ratio == !(what & END)) NT_TRY(begin_batch(net, &u, &b));
        if (what & NORMS) NT_TRY(add_norms(net, &b));
        if (what & END) NT_TRY(end_batch(net, &u, &b));
    }
    return NT_OK;
}

static nt_status run_kinds(nt_net *net, unsigned what, const nt_net_step *step, int64_t begin, int64_t end)
{
    for (int i = 0; i < net->n_segments; i++) {
        const segment *s = &net->segment[i];
        if (s->kind == i && (s->pair >= 0 || (what & END))) NT_TRY(run_kind(net, i, what, step, begin, end));
    }
    return NT_OK;
}

static nt_status update_many_stats(nt_net *net, const nt_net_step *step)
{
    for (int kind = 0; kind < net->n_stats; kind++) {
        int n = 0;
        for (int i = kind; i < net->n_stats && net->stat[kind].kind == kind; i++)
            if (net->stat[i].kind == kind) net->stretch[n++] = stretch_of_stat(net, &net->stat[i]);
        if (n > 0) NT_TRY(update_stats(net, &net->stat[kind], step, net->stretch, n));
    }
    return NT_OK;
}

/* --- in parts --- */

nt_status nt_net_measure(nt_net *net, int64_t begin, int64_t end)
{
    NT_BUG_UNLESS(net->grads, "no gradients to measure: there is no optimizer");
    if (takes_many(net)) return measure_many(net, begin, end);
    for (int i = 0; i < net->n_segments; i++)
        NT_TRY(run_segment(net, i, MEASURE, NULL, begin, end));
    NT_TRY(run_stats(net, NULL, begin, end));
    return NT_OK;
}

nt_status nt_net_begin_step(nt_net *net)
{
    NT_TRY(nt_backend_zero(net->backend, net->sums, sums_bytes(net)));
    return NT_OK;
}

nt_status nt_net_add_losses(nt_net *net)
{
    const nt_tensor *y = loss_output(net);
    NT_BUG_UNLESS(y, "no loss: the last forward had no targets");
    NT_TRY(nt_backend_add_losses(net->backend, &net->sums->report, y->data, net->last->n));
    NT_TRY(nt_backend_sum_squares(net->backend, nt_net_loss_check(net), y->data, 2 * net->last->n));
    return NT_OK;
}

nt_status nt_net_read_losses(nt_net *net, nt_loss_sum *out)
{
    nt_report report;
    NT_TRY(nt_backend_post(net->backend, &net->sums->report, sizeof report, 0));
    NT_TRY(nt_backend_collect(net->backend, 0, &report, sizeof report));
    *out = (nt_loss_sum){report.loss, report.loss_squared, (int64_t)report.correct, 0, 0};
    return NT_OK;
}

nt_status nt_net_judge(nt_net *net, double clip)
{
    NT_TRY(nt_backend_judge(net->backend, &net->sums->report, net->sums->squares, net->n_segments,
                            net->n_squares - net->n_segments, clip));
    return NT_OK;
}

nt_report *nt_net_report(const nt_net *net)
{
    return &net->sums->report;
}

double *nt_net_squares(const nt_net *net, int *n)
{
    *n = net->n_squares;
    return net->sums->squares;
}

double *nt_net_loss_check(const nt_net *net)
{
    return &net->sums->squares[net->n_squares - 1];
}

nt_status nt_net_measure_ratios(nt_net *net, const nt_net_step *step, int64_t begin, int64_t end)
{
    NT_BUG_UNLESS(net->grads, "no gradients to measure: there is no optimizer");
    NT_TRY(nt_backend_zero(net->backend, net->pairs, 2 * (size_t)net->n_pairs * sizeof *net->pairs));
    if (takes_many(net)) return run_kinds(net, BEGIN | NORMS, step, begin, end);
    for (int i = 0; i < net->n_segments; i++) {
        nt_update u = prepare(net, &net->segment[i], step);
        if (net->segment[i].pair >= 0) NT_TRY(run_segment(net, i, BEGIN | NORMS, &u, begin, end));
    }
    return NT_OK;
}

int nt_net_n_ratio_sums(const nt_net *net)
{
    return 2 * net->n_pairs;
}

double *nt_net_ratio_sums(const nt_net *net)
{
    return net->pairs;
}

nt_status nt_net_make_ratios(nt_net *net, const nt_net_step *step)
{
    return make_ratios(net, step, 0, net->n_pairs);
}

static nt_status update_segment(nt_net *net, int i, const nt_update *u, int64_t begin, int64_t end)
{
    const segment *s = &net->segment[i];
    for (int k = 0; k < net->n_own; k++) {
        nt_span r = cut(net, s, k, begin, end);
        if (r.begin >= r.end) continue;
        NT_TRY(s->pair >= 0 ? end_elems(net, u, r.begin, r.end) : update_elems(net, u, r.begin, r.end));
    }
    return NT_OK;
}

nt_status nt_net_update_range(nt_net *net, const nt_net_step *step, int64_t begin, int64_t end)
{
    NT_BUG_UNLESS(net->grads, "update without an optimizer");
    if (takes_many(net)) return run_kinds(net, BEGIN | END, step, begin, end);
    for (int i = 0; i < net->n_segments; i++) {
        nt_update u = prepare(net, &net->segment[i], step);
        NT_TRY(update_segment(net, i, &u, begin, end));
    }
    return NT_OK;
}

nt_status nt_net_update_stats(nt_net *net, const nt_net_step *step)
{
    if (takes_many(net)) return update_many_stats(net, step);
    for (int i = 0; i < net->n_stats; i++)
        NT_TRY(update_stat(net, &net->stat[i], step));
    return NT_OK;
}

nt_status nt_net_update(nt_net *net, const nt_net_step *step)
{
    NT_TRY(nt_net_measure_ratios(net, step, 0, net->n_elems));
    NT_TRY(nt_net_make_ratios(net, step));
    NT_TRY(nt_net_update_range(net, step, 0, net->n_elems));
    NT_TRY(nt_net_update_stats(net, step));
    return NT_OK;
}

nt_status nt_net_zero_grads(nt_net *net)
{
    NT_TRY(nt_backend_zero(net->backend, net->grads, arena_bytes(net)));
    return NT_OK;
}

/* --- averages --- */

void *nt_net_average_of(const nt_net *net, nt_weights which)
{
    return net->average[which];
}

static nt_status mix(nt_net *net, void *into, const void *x, double weight)
{
    const nt_update u = {.rule = NT_UPDATE_AVERAGE, .lr = weight};
    NT_TRY(nt_backend_update(net->backend, &u, into, x, NULL, NULL, net->n_elems));
    return NT_OK;
}

nt_status nt_net_average(nt_net *net, nt_weights which, double weight)
{
    NT_BUG_UNLESS(net->average[which] && net->used == NT_WEIGHTS_RAW, "no average %s",
                  nt_weights_names[which]);
    NT_TRY(mix(net, net->average[which], net->params, nt_net_average_begun(net, which) ? weight : 1));
    nt_net_begin_average(net, which);
    return NT_OK;
}

bool nt_net_average_begun(const nt_net *net, nt_weights which)
{
    return net->average_begun[which];
}

void nt_net_begin_average(nt_net *net, nt_weights which)
{
    net->average_begun[which] = true;
}

nt_status nt_net_use_weights(nt_net *net, nt_weights which)
{
    NT_BUG_UNLESS(which == NT_WEIGHTS_RAW || (net->average[which] && net->grads), "no average %s",
                  nt_weights_names[which]);
    if (which == net->used) return NT_OK;
    if (net->used == NT_WEIGHTS_RAW) NT_TRY(mix(net, net->grads, net->params, 1));
    NT_TRY(mix(net, net->params, which == NT_WEIGHTS_RAW ? net->grads : net->average[which], 1));
    net->used = which;
    return NT_OK;
}

/* --- looking in --- */

int64_t nt_net_n_elems(const nt_net *net)
{
    return net->n_elems;
}

void *nt_net_params(const nt_net *net)
{
    return net->params;
}

void *nt_net_grads(const nt_net *net)
{
    return net->grads;
}

void *nt_net_state(const nt_net *net, int index)
{
    return index < net->n_states ? net->state[index] : NULL;
}

int nt_net_n_slots(const nt_net *net)
{
    return net->n_slots;
}

const nt_slot *nt_net_get_slot(const nt_net *net, int index)
{
    return &net->slot[index];
}

const nt_model *nt_net_model(const nt_net *net)
{
    return net->model;
}

nt_backend *nt_net_backend(const nt_net *net)
{
    return net->backend;
}

void nt_net_lend_state(nt_net *net, int index, float *whole)
{
    net->whole[index] = whole;
}

float *nt_net_whole_state(const nt_net *net, int index)
{
    return net->whole[index];
}

/* Where a slot lies in a whole state array; for the number of slots, how long that is. */
static int64_t whole_offset(const nt_net *net, int slot)
{
    int64_t at = 0;
    for (int s = 0; s < slot; s++)
        if (net->slot[s].role != NT_PARAM_STAT) at += nt_shape_elems(net->slot[s].tensor.shape);
    return at;
}

int64_t nt_net_whole_elems(const nt_net *net)
{
    return whole_offset(net, net->n_slots);
}

static bool is_sharded(const nt_net *net, int array)
{
    return array >= 0 && nt_net_n_shards(net) > 1;
}

static nt_status find_whole(const nt_net *net, int slot, int array, float **at)
{
    bool there = array < net->n_states && slot >= 0 && slot < net->n_slots && net->whole[array] &&
                 net->slot[slot].role != NT_PARAM_STAT;
    NT_BUG_UNLESS(there, "slot %d, array %d of a sharded state has not been collected", slot, array);
    *at = net->whole[array] + whole_offset(net, slot);
    return NT_OK;
}

/* The slot's tensor in one of the arenas. */
static nt_status slot_tensor(const nt_net *net, int slot, int array, nt_tensor *out)
{
    char *arena = array == NT_ARRAY_PARAM ? net->params : array == NT_ARRAY_GRAD ? net->grads : NULL;
    if (array == NT_ARRAY_EMA) arena = net->average[NT_WEIGHTS_EMA];
    if (array == NT_ARRAY_SWA) arena = net->average[NT_WEIGHTS_SWA];
    if (array >= 0 && array < net->n_states) arena = net->state[array];
    NT_BUG_UNLESS(arena && slot >= 0 && slot < net->n_slots, "slot %d, array %d: there is none", slot, array);
    *out = net->slot[slot].tensor;
    out->data = elem(net, arena, net->slot[slot].offset);
    return NT_OK;
}

nt_status nt_net_read(nt_net *net, int slot, int array, float *host)
{
    nt_tensor t;
    float *whole;
    if (is_sharded(net, array)) {
        NT_TRY(find_whole(net, slot, array, &whole));
        memcpy(host, whole, (size_t)nt_shape_elems(net->slot[slot].tensor.shape) * sizeof *host);
        return NT_OK;
    }
    NT_TRY(slot_tensor(net, slot, array, &t));
    NT_TRY(nt_backend_to_plain(net->backend, net->host_slot, &t));
    NT_TRY(nt_backend_sync(net->backend));
    for (int64_t i = 0, n = nt_shape_elems(t.shape); i < n; i++)
        host[i] = (float)real_at(net, net->host_slot, i);
    return NT_OK;
}

nt_status nt_net_write(nt_net *net, int slot, int array, const float *host)
{
    nt_tensor t;
    float *whole;
    if (is_sharded(net, array)) {
        NT_TRY(find_whole(net, slot, array, &whole));
        memcpy(whole, host, (size_t)nt_shape_elems(net->slot[slot].tensor.shape) * sizeof *host);
        return NT_OK;
    }
    NT_TRY(slot_tensor(net, slot, array, &t));
    for (int64_t i = 0, n = nt_shape_elems(t.shape); i < n; i++) {
        if (net->real_bytes == sizeof(float))
            ((float *)net->host_slot)[i] = host[i];
        else
            ((double *)net->host_slot)[i] = (double)host[i];
    }
    NT_TRY(nt_backend_from_plain(net->backend, &t, net->host_slot));
    NT_TRY(nt_backend_sync(net->backend));
    return NT_OK;
}

nt_net_memory nt_net_get_memory(const nt_net *net)
{
    return (nt_net_memory){.activations = net->activation_bytes,
                           .activations_naive = net->naive_bytes,
                           .params = arena_bytes(net) * (1 + n_averages(net)),
                           .grads = net->grads ? arena_bytes(net) : 0,
                           .state = (size_t)net->n_states * state_bytes(net),
                           .state_whole = (size_t)net->n_states * arena_bytes(net),
                           .scratch = net->scratch_bytes};
}
