/* What the files core/net*.c share: the net itself. net.c lays it out and builds it, net_pass.c runs forward
 * and backward, net_update.c measures and updates, net_access.c averages weights and lets others look in. */
#ifndef NT_CORE_NET_PRIVATE_H
#define NT_CORE_NET_PRIVATE_H

#include "core/net.h"

#include "core/plan.h"
#include "core/report.h"

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

static inline size_t arena_bytes(const nt_net *net)
{
    return (size_t)net->n_elems * net->real_bytes;
}

static inline size_t sums_bytes(const nt_net *net)
{
    return sizeof *net->sums + (size_t)net->n_squares * sizeof *net->sums->squares;
}

static inline size_t pairs_bytes(const nt_net *net)
{
    return 3 * (size_t)net->n_pairs * sizeof *net->pairs;
}

static inline size_t state_bytes(const nt_net *net)
{
    return (size_t)net->state_elems * net->real_bytes;
}

/* The update of a segment's elements. */
static inline nt_update prepare(const nt_net *net, const segment *s, const nt_net_step *step)
{
    nt_update u = nt_optim_prepare(net->options.optim, step->lr * s->lr_factor, step->step, s->role);
    u.weight_decay *= s->decay_factor;
    u.scale = step->scale;
    u.ratio = s->pair >= 0 ? net->pairs + 2 * s->pair : NULL;
    return u;
}

static inline char *elem(const nt_net *net, char *arena, int64_t offset)
{
    return arena ? arena + (size_t)offset * net->real_bytes : NULL;
}

/* State array i of the element at `offset`, which is owned; NULL: there is no such array. */
static inline char *state_at(const nt_net *net, int i, int64_t offset)
{
    for (int k = 0; net->state[i] && k < net->n_own; k++)
        if (offset >= net->own[k].begin && offset < net->own[k].end)
            return elem(net, net->state[i], net->own[k].at + offset - net->own[k].begin);
    return NULL;
}

/* The (N, 2) output of the last forward's loss; NULL if there was none. */
static inline const nt_tensor *loss_output(const nt_net *net)
{
    return net->last && net->last_has_loss ? &net->last->op[nt_plan_loss(net->last)].y : NULL;
}

static inline nt_tensor *input_of(nt_plan *plan)
{
    return &plan->op[0].x[0];
}

/* NULL without a loss. */
static inline nt_tensor *target_of(nt_plan *plan)
{
    return plan->model->has_loss ? &plan->op[plan->model->loss].x[1] : NULL;
}

/* The losses of heads read the target where that of the output does. */
static inline void share_target(nt_plan *plan)
{
    const nt_model *model = plan->model;
    for (int i = model->loss + 1; model->has_loss && i < plan->n_ops; i++)
        if (plan->maker[i] == i && model->layer[i].n_inputs > 1 && model->layer[i].input[1] == NT_NODE_TARGET)
            plan->op[i].x[1].data = target_of(plan)->data;
}

static inline bool keeps(const nt_net *net, nt_weights which)
{
    return net->options.average && nt_average_kept(net->options.average, which);
}

static inline size_t n_averages(const nt_net *net)
{
    size_t n = 0;
    for (int w = 0; w < NT_N_WEIGHTS; w++)
        n += keeps(net, (nt_weights)w);
    return n;
}

/* Element i of an array of the backend's real type. */
static inline double real_at(const nt_net *net, const void *array, int64_t i)
{
    return net->real_bytes == sizeof(float) ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

#endif
