/* The step of the optimizer: sums of squares, the verdict on them, and the update, in blocks that stay in the
 * cache on hosts and in as few calls as there are different constants on devices. */
#include "core/net_private.h"

#include <string.h>

/* --- update --- */

/* Elements of one block: each thread's gradient, parameter and state of it together fit in a level-2 cache.
 * Whole blocks of the sum of squares, so the number of threads does not show in it. */
static int64_t block_elems(const nt_net *net)
{
    return nt_backend_is_device(net->backend) ? INT64_MAX
                                              : (int64_t)NT_SUM_BLOCK * net->backend->options.threads;
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
    if (nt_backend_is_device(net->backend)) return measure_many(net, begin, end);
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
    return NT_OK;
}

nt_status nt_net_check_losses(nt_net *net)
{
    const nt_tensor *y = loss_output(net);
    NT_BUG_UNLESS(y, "no loss: the last forward had no targets");
    NT_TRY(nt_backend_sum_squares(net->backend, nt_net_loss_check(net), y->data, 2 * net->last->n));
    return NT_OK;
}

nt_status nt_net_read_losses(nt_net *net, nt_loss_sum *out)
{
    nt_report report;
    NT_TRY(nt_backend_post(net->backend, &net->sums->report, sizeof report, 0));
    NT_TRY(nt_backend_collect(net->backend, 0, &report, sizeof report));
    *out = (nt_loss_sum){
        .loss = report.loss, .loss_squared = report.loss_squared, .correct = (int64_t)report.correct};
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
    if (nt_backend_is_device(net->backend)) return run_kinds(net, BEGIN | NORMS, step, begin, end);
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
    if (nt_backend_is_device(net->backend)) return run_kinds(net, BEGIN | END, step, begin, end);
    for (int i = 0; i < net->n_segments; i++) {
        nt_update u = prepare(net, &net->segment[i], step);
        NT_TRY(update_segment(net, i, &u, begin, end));
    }
    return NT_OK;
}

nt_status nt_net_update_stats(nt_net *net, const nt_net_step *step)
{
    if (nt_backend_is_device(net->backend)) return update_many_stats(net, step);
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
