/* The passes over a net: forward, backward, and what a rank without samples does instead. */
#include "core/net_private.h"

#include "core/layers/batchnorm.h"

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

void nt_net_step_in_ops(nt_net *net, const nt_net_step *step)
{
    const bool can = !nt_backend_is_device(net->backend) && net->options.optim && net->state[0] &&
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

nt_status nt_net_loss(nt_net *net, nt_loss_sum *out)
{
    const nt_tensor *y = loss_output(net);
    NT_BUG_UNLESS(y, "no loss: the last forward had no targets");
    NT_TRY(nt_backend_download(net->backend, net->host_loss, y->data, y->n_bytes));
    NT_TRY(nt_backend_sync(net->backend));
    nt_report sums = {.loss = 0};
    nt_host_add_losses(&sums, net->host_loss, net->backend->ops->real, net->last->n);
    *out = (nt_loss_sum){.loss = sums.loss,
                         .loss_squared = sums.loss_squared,
                         .correct = (int64_t)sums.correct,
                         .n = net->last->n};
    return NT_OK;
}

int64_t nt_net_correct(const nt_net *net, int64_t i)
{
    return (int64_t)real_at(net, net->host_loss, 2 * i + 1);
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
