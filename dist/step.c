/* One step, as on paper: gradients of this rank's part of the global batch, their sum over ranks, one
 * verdict, one update.
 *
 * The sum is exact for uneven parts because every rank scales its loss gradient by 1 / samples of the
 * *global* batch: summing is all that is left to do, and a rank without samples adds zeros. Everything that
 * decides about the update (norm, NaN) is made from numbers that are equal on all ranks, so all decide alike
 * without asking each other: the reduced gradient, and the sum over ranks of a number that a bad loss makes
 * infinite or NaN. Nor do they ask the host: the verdict lies in backend memory as the factor that the update
 * reads, and the host hears of it by a posted report; on a device one step late, so that giving work runs
 * ahead of doing it.
 *
 * The last piece of a step, with the reductions and the verdict, is the same work whenever a batch of the
 * same size comes, so a device may replay it (nt_backend_record). The update is not part of it, because rate
 * and step are arguments of it, nor are the pieces before, of which ranks may have different numbers.
 *
 * Where a NaN ends the run anyway and nothing is clipped, the verdict need not come before the update: in
 * host memory each bucket is measured and updated right after its reduction, while it is in cache, and a NaN
 * is found after the fact; no checkpoint is written then, so nothing is lost. With one rank and one piece an
 * op may even update its weights while it makes their gradient. The same arithmetic in the same order per
 * element, so all ways give the same bits. */
#include "dist/step.h"

#include "core/clock.h"
#include "core/fault.h"
#include "core/log.h"
#include "core/phase.h"

#include <math.h>
#include <stdlib.h>

struct nt_stepper {
    nt_net *net;
    nt_comm *comm;
    nt_backend *backend;
    nt_buckets *buckets;
    nt_step_options options;
    bool sharded;                         /* optimizer state: this rank updates its parts only */
    bool early;                           /* update bucket by bucket */
    bool late;                            /* results are taken one step late */
    bool records;                         /* the device may replay */
    nt_net_step step;                     /* under way */
    double mean_weight;                   /* of the step under way: see nt_pass */
    double update_s;                      /* spent in on_reduced */
    nt_step_result posted[NT_POST_SLOTS]; /* what the host knows of the steps whose reports are under way */
    int slot;                             /* of the step under way */
    int pending;                          /* slot of the last step whose result was not taken; -1: none */
};

/* What is done with a bucket that has just been reduced, while it is in cache. A device, where each call is a
 * launch or two, measures all of them at once: see run_last_piece. */
static nt_status on_reduced(void *stepper, int64_t begin, int64_t end)
{
    nt_stepper *s = stepper;
    double start = nt_clock_s();
    if (s->early)
        NT_TRY(nt_net_measure_and_update(s->net, &s->step, begin, end));
    else if (!nt_backend_is_device(s->backend))
        NT_TRY(nt_net_measure(s->net, begin, end));
    s->update_s += nt_clock_s() - start;
    return NT_OK;
}

/* Collectives that keep the host waiting cannot be part of a recording. */
static nt_status choose_recording(nt_stepper *s)
{
    bool can = s->backend->ops->record && (s->comm->size == 1 || nt_comm_overlaps(s->comm));
    NT_CHECK(
        can || !s->backend->options.graph_or_fail, NT_ERR_UNAVAILABLE,
        "run.cuda_graph = yes, but steps of backend %s with communicator %s cannot be recorded; auto does "
        "it where it can be done",
        s->backend->ops->name, s->comm->gradient->name);
    s->records = can && !nt_fault_wanted(); /* the same on all ranks */
    return NT_OK;
}

nt_status nt_stepper_create(nt_stepper **out, nt_net *net, nt_comm *comm, double bucket_mb,
                            const nt_step_options *options)
{
    *out = NULL;
    nt_stepper *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    s->net = net;
    s->comm = comm;
    s->backend = nt_net_backend(net);
    s->options = *options;
    s->pending = -1;
    bool device = nt_backend_is_device(s->backend);
    s->sharded = nt_net_n_shards(net) > 1;
    s->early = !device && options->nan_policy == NT_NAN_ABORT && options->clip_norm <= 0 &&
               !(s->sharded && nt_net_n_ratio_sums(net) > 0);
    s->late = device && !s->backend->options.debug_sync;
    nt_status status = choose_recording(s);
    if (status == NT_OK) status = nt_buckets_create(&s->buckets, net, comm, bucket_mb, on_reduced, s);
    if (status != NT_OK) {
        nt_stepper_destroy(s);
        return status;
    }
    *out = s;
    return NT_OK;
}

void nt_stepper_destroy(nt_stepper *s)
{
    if (!s) return;
    nt_backend_forget(s->backend); /* what was recorded of its steps */
    nt_buckets_destroy(s->buckets);
    free(s);
}

const nt_buckets *nt_stepper_buckets(const nt_stepper *stepper)
{
    return stepper->buckets;
}

static nt_status fault_error(const char *name, nt_fault_kind kind)
{
    NT_CHECK(kind != NT_FAULT_ERROR, NT_ERR_UNAVAILABLE, "fault point %s: it failed", name);
    return NT_OK;
}

/* Makes a number in backend memory a NaN: what a broken kernel would do. */
static nt_status poison(nt_stepper *s, void *at, nt_dtype dtype)
{
    const uint64_t all_ones = UINT64_MAX; /* a NaN as float and as double */
    NT_TRY(nt_backend_upload(s->backend, at, &all_ones, nt_dtype_bytes(dtype)));
    NT_TRY(nt_backend_sync(s->backend));
    return NT_OK;
}

/* See nt_pass.sum. Ranks run through the same net, so they come here, and to the reductions of buckets in
 * between, in the same order. */
static nt_status sum_over_ranks(void *stepper, double *values, int64_t n)
{
    nt_stepper *s = stepper;
    nt_phase here = nt_phase_get();
    nt_phase_wait("batchnorm sums");
    NT_TRY(nt_comm_all_reduce(s->comm, values, n, NT_F64));
    NT_TRY(nt_comm_wait(s->comm));
    nt_phase_enter(here.name);
    return NT_OK;
}

/* A piece in which only other ranks have samples. */
static nt_status run_idle(nt_stepper *s, const nt_pass *pass, bool last)
{
    nt_phase_enter("forward");
    NT_TRY(nt_net_idle_forward(s->net, pass));
    nt_phase_enter("backward");
    NT_TRY(nt_net_idle_backward(s->net, pass, last ? nt_buckets_ready : NULL, s->buckets));
    return NT_OK;
}

static nt_status run_forward(nt_stepper *s, const nt_pass *pass, nt_step_result *r)
{
    nt_fault_kind fault = nt_fault_point("step.forward");
    NT_TRY(fault_error("step.forward", fault));
    double start = nt_clock_s();
    NT_TRY(nt_net_run_forward(s->net, pass));
    NT_TRY(nt_net_add_losses(s->net));
    NT_TRY(nt_net_check_losses(s->net));
    if (fault == NT_FAULT_NAN) {
        NT_TRY(poison(s, &nt_net_report(s->net)->loss, NT_F64));
        NT_TRY(poison(s, nt_net_loss_check(s->net), NT_F64));
    }
    r->times.forward_s += nt_clock_s() - start;
    return NT_OK;
}

/* The last piece of the slice reduces each bucket as soon as its gradients are final. */
static nt_status run_backward(nt_stepper *s, const nt_pass *pass, bool last, nt_step_result *r)
{
    nt_phase_enter("backward");
    nt_fault_kind fault = nt_fault_point("step.backward");
    NT_TRY(fault_error("step.backward", fault));
    double start = nt_clock_s();
    bool overlap = last && fault != NT_FAULT_NAN;
    bool final = overlap && s->early && s->comm->size == 1 && !pass->accumulate; /* when it is made */
    nt_net_step_in_ops(s->net, final ? &s->step : NULL);
    NT_TRY(nt_net_backward(s->net, pass, overlap ? nt_buckets_ready : NULL, s->buckets));
    if (fault == NT_FAULT_NAN) NT_TRY(poison(s, nt_net_grads(s->net), s->backend->ops->real));
    if (last && !overlap) NT_TRY(nt_buckets_ready(s->buckets, 0, nt_net_n_elems(s->net)));
    r->times.backward_s += nt_clock_s() - start;
    return NT_OK;
}

/* A loss stays local, but whether all of them are finite is for all to know. So is the norm where a rank has
 * measured its parts only; of statistics, which all have measured, it only counts whether they are finite. */
static nt_status check_losses(nt_stepper *s)
{
    int n = 1;
    double *sums = nt_net_loss_check(s->net);
    if (s->comm->size == 1) return NT_OK;
    if (s->sharded) sums = nt_net_squares(s->net, &n);
    nt_phase_wait("loss check");
    NT_TRY(nt_comm_all_reduce(s->comm, sums, n, NT_F64));
    NT_TRY(nt_comm_wait(s->comm));
    return NT_OK;
}

/* What a device may replay: the last piece, or, without samples, zeros that the others wait for; then what
 * the ranks do together. */
typedef struct last_piece {
    nt_stepper *stepper;
    nt_pass pass;
    int64_t n; /* samples */
    nt_step_result *result;
} last_piece;

static nt_status run_last_piece(void *arg)
{
    const last_piece *piece = arg;
    nt_stepper *s = piece->stepper;
    nt_buckets_reset(s->buckets);
    if (piece->n > 0) {
        NT_TRY(run_forward(s, &piece->pass, piece->result));
        NT_TRY(run_backward(s, &piece->pass, true, piece->result));
    } else {
        NT_TRY(run_idle(s, &piece->pass, true));
    }
    NT_TRY(nt_buckets_finish(s->buckets));
    if (nt_backend_is_device(s->backend)) NT_TRY(nt_net_measure(s->net, 0, nt_net_n_elems(s->net)));
    NT_TRY(check_losses(s));
    NT_TRY(nt_net_judge(s->net, s->options.clip_norm));
    return NT_OK;
}

/* The same work is known by the size of the global batch, which is cut alike every time, and is the same
 * number on all ranks; by this rank's part to be sure. */
static uint64_t key_of(const last_piece *piece)
{
    return (uint64_t)piece->stepper->step.batch << 32 ^ (uint64_t)piece->n << 1 ^ piece->pass.accumulate;
}

static nt_status give_last_piece(last_piece *piece)
{
    bool ran;
    if (!piece->stepper->records) return run_last_piece(piece);
    return nt_backend_record(piece->stepper->backend, key_of(piece), run_last_piece, piece, &ran);
}

/* The mean weight of a sample of the global batch, where a loss asks for it. */
static nt_status find_mean_weight(nt_stepper *s, const nt_batch *micro, int n_micro)
{
    const nt_model *model = nt_net_model(s->net);
    double sum = 0;
    s->mean_weight = 0;
    if (!nt_model_weighs(model)) return NT_OK;
    for (int i = 0; i < n_micro; i++)
        if (micro[i].n > 0) sum += nt_model_target_weight(model, micro[i].target, micro[i].n);
    nt_phase_wait("weights of the targets");
    NT_TRY(nt_comm_host_reduce(s->comm, &sum, 1, NT_REDUCE_SUM));
    s->mean_weight = sum / (double)s->step.batch;
    return NT_OK;
}

static nt_pass make_pass(nt_stepper *s, const nt_batch *piece, int index)
{
    return (nt_pass){.sum = s->options.sync_batchnorm && s->comm->size > 1 ? sum_over_ranks : NULL,
                     .sum_arg = s,
                     .accumulate = index > 0,
                     .scale = 1.0 / (double)s->step.batch,
                     .share = (double)piece->n / (double)s->step.batch,
                     .mean_weight = s->mean_weight,
                     .seed = s->options.seed,
                     .epoch = piece->epoch,
                     .sample = piece->sample};
}

static nt_status stage(nt_stepper *s, const nt_batch *piece, const nt_pass *pass)
{
    nt_phase_enter("forward");
    if (piece->n > 0) NT_TRY(nt_net_stage(s->net, NT_MODE_TRAIN, piece, pass));
    return NT_OK;
}

/* One of the pieces before the last. */
static nt_status run_piece(nt_stepper *s, const nt_batch *piece, const nt_pass *pass, nt_step_result *r)
{
    if (piece->n == 0) return run_idle(s, pass, false);
    NT_TRY(run_forward(s, pass, r));
    NT_TRY(run_backward(s, pass, false, r));
    return NT_OK;
}

/* Leaves the summed gradients of the global batch in the arena, and the verdict on them in the report. */
static nt_status compute_gradients(nt_stepper *s, const nt_batch *micro, int n_micro, nt_step_result *r)
{
    last_piece last = {.stepper = s, .result = r};
    NT_TRY(find_mean_weight(s, micro, n_micro));
    for (int i = 0; i < n_micro; i++) {
        nt_pass pass = make_pass(s, &micro[i], i);
        last.pass = pass;
        last.n = micro[i].n;
        r->sum.n += micro[i].n;
        if (micro[i].n > 0)
            r->sum.answers += nt_model_count_answers(nt_net_model(s->net), micro[i].target, micro[i].n);
        NT_TRY(stage(s, &micro[i], &pass));
        if (i < n_micro - 1) NT_TRY(run_piece(s, &micro[i], &pass, r));
    }
    NT_TRY(give_last_piece(&last));
    r->times.reduce_s = nt_buckets_take_seconds(s->buckets);
    r->times.update_s = s->update_s;
    if (last.n > 0) r->times.backward_s -= r->times.reduce_s + r->times.update_s;
    return NT_OK;
}

/* Bucket by bucket, each on its way to the others while the next is updated. */
static nt_status update_and_gather(nt_stepper *s)
{
    for (int i = 0; i < nt_buckets_count(s->buckets); i++) {
        int64_t begin, end;
        nt_buckets_range(s->buckets, i, &begin, &end);
        NT_TRY(nt_net_update_range(s->net, &s->step, begin, end));
        nt_phase_wait("all-gather");
        NT_TRY(nt_buckets_begin_gather(s->buckets, i, nt_net_params(s->net)));
        nt_phase_enter("update");
    }
    return NT_OK;
}

/* As nt_net_update, but norms of tensors are sums over the ranks that have parts of them, and every rank's
 * parts go to all. */
static nt_status update_parts(nt_stepper *s)
{
    const int64_t n = nt_net_n_elems(s->net);
    const int n_sums = nt_net_n_ratio_sums(s->net);
    NT_TRY(nt_net_measure_ratios(s->net, &s->step, 0, n));
    if (n_sums > 0) {
        NT_TRY(nt_comm_all_reduce(s->comm, nt_net_ratio_sums(s->net), n_sums, NT_F64));
        NT_TRY(nt_comm_wait(s->comm));
    }
    NT_TRY(nt_net_make_ratios(s->net, &s->step));
    NT_TRY(update_and_gather(s));
    NT_TRY(nt_net_update_stats(s->net, &s->step));
    NT_TRY(nt_comm_wait(s->comm));
    return NT_OK;
}

/* Every rank's parts, which were updated while they were reduced, to all. */
static nt_status gather_params(nt_stepper *s)
{
    nt_phase_wait("all-gather");
    NT_TRY(nt_buckets_gather(s->buckets, nt_net_params(s->net)));
    nt_phase_enter("update");
    return NT_OK;
}

/* The update of everything, where it had to wait for the verdict; the verdict may be not to do it. */
static nt_status update(nt_stepper *s, nt_step_result *r)
{
    nt_phase_enter("update");
    NT_TRY(fault_error("step.update", nt_fault_point("step.update")));
    double start = nt_clock_s();
    if (!s->early) {
        s->step.scale = &nt_net_report(s->net)->scale;
        NT_TRY(s->sharded ? update_parts(s) : nt_net_update(s->net, &s->step));
    }
    if (s->sharded && s->early) NT_TRY(gather_params(s));
    r->times.update_s += nt_clock_s() - start;
    return NT_OK;
}

/* The lowest rank whose loss is not finite; the number of ranks if there is none. The same on all ranks. */
static nt_status find_bad_loss(nt_stepper *s, const nt_step_result *r, int *rank)
{
    double lowest = isfinite(r->sum.loss) ? s->comm->size : s->comm->rank;
    nt_phase_wait("loss check");
    NT_TRY(nt_comm_host_reduce(s->comm, &lowest, 1, NT_REDUCE_MIN));
    *rank = (int)lowest;
    return NT_OK;
}

/* What is not finite. The gradients themselves can only be looked at while they are there. */
static nt_status find_cause(nt_stepper *s, const nt_step_result *r, char *what, size_t cap)
{
    const char *slot = NULL;
    int rank = s->comm->size;
    if (!s->late) NT_TRY(nt_buckets_blame(s->buckets, &slot));
    NT_TRY(find_bad_loss(s, r, &rank));
    if (slot)
        snprintf(what, cap, "the gradient of %s is not finite", slot);
    else if (rank < s->comm->size)
        snprintf(what, cap, "the loss of rank %d is not finite", rank);
    else
        snprintf(what, cap, "the gradient%s is not finite",
                 s->late ? " (run.debug_sync = yes says of which layer)" : "'s norm");
    return NT_OK;
}

/* By policy, NT_ERR_NAN or a skipped update. All ranks come here together. */
static nt_status refuse(nt_stepper *s, nt_step_result *r)
{
    char what[NT_NAME_BYTES + 64];
    NT_TRY(find_cause(s, r, what, sizeof what));
    NT_CHECK(s->options.nan_policy == NT_NAN_SKIP, NT_ERR_NAN,
             "step %lld: %s (NaN or Inf); a smaller learning rate, warm-up or clip_norm usually helps, and "
             "run.nan_policy = skip leaves such steps out",
             (long long)r->step + 1, what);
    if (s->comm->rank == 0) nt_warn("step %lld: %s; no update is made", (long long)r->step + 1, what);
    r->skipped = true;
    return NT_OK;
}

/* The result of the step that was posted to `slot`; -1: of none. */
static nt_status take_result(nt_stepper *s, int slot, nt_step_result *result)
{
    nt_report report;
    *result = (nt_step_result){.step = -1};
    if (slot < 0) return NT_OK;
    if (s->late && s->comm->size > 1)
        nt_phase_wait("waiting for the device"); /* and for other ranks on it */
    else if (s->late)
        nt_phase_enter("waiting for the device");
    NT_TRY(nt_backend_collect(s->backend, slot, &report, sizeof report));
    *result = s->posted[slot];
    result->sum.loss = report.loss;
    result->sum.loss_squared = report.loss_squared;
    result->sum.correct = (int64_t)report.correct;
    result->grad_norm = sqrt(report.sum_squares);
    if (!isfinite(report.scale)) NT_TRY(refuse(s, result));
    return NT_OK;
}

static nt_status begin_step(nt_stepper *s, int64_t global_n, double lr, int64_t step)
{
    nt_fault_set_step(step);
    nt_phase_set_step(step + 1);
    s->step = (nt_net_step){.lr = lr, .step = step, .batch = global_n};
    s->update_s = 0;
    s->posted[s->slot] = (nt_step_result){.step = step};
    NT_TRY(nt_net_begin_step(s->net));
    return NT_OK;
}

nt_status nt_stepper_run(nt_stepper *s, const nt_batch *micro, int n_micro, int64_t global_n, double lr,
                         int64_t step, nt_step_result *result)
{
    NT_BUG_UNLESS(n_micro >= 0 && global_n >= 1, "%d pieces of a batch of %lld", n_micro,
                  (long long)global_n);
    nt_step_result *mine = &s->posted[s->slot];
    NT_TRY(begin_step(s, global_n, lr, step));
    NT_TRY(compute_gradients(s, micro, n_micro, mine));
    NT_TRY(update(s, mine));
    NT_TRY(nt_backend_post(s->backend, nt_net_report(s->net), sizeof(nt_report), s->slot));
    int due = s->late ? s->pending : s->slot;
    s->pending = s->late ? s->slot : -1;
    s->slot = (s->slot + 1) % NT_POST_SLOTS;
    return take_result(s, due, result);
}

nt_status nt_stepper_finish(nt_stepper *s, nt_step_result *result)
{
    int due = s->pending;
    s->pending = -1;
    return take_result(s, due, result);
}
