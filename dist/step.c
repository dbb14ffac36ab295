/* One step, as on paper: gradients of this rank's part of the global batch, their sum over ranks, one
 * verdict, one update.
 *
 * The sum is exact for uneven parts because every rank scales its loss gradient by 1 / samples of the
 * *global* batch: summing is all that is left to do, and a rank without samples adds zeros. Everything that
 * decides about the update (norm, NaN) is computed from numbers that are equal on all ranks, so all decide
 * alike without asking each other; only a loss, which stays local, needs one tiny message.
 *
 * Where a NaN ends the run anyway and nothing is clipped, the verdict need not come before the update: each
 * bucket is measured and updated right after its reduction, while it is in cache, and a NaN is found after
 * the fact; no checkpoint is written then, so nothing is lost. The same arithmetic in the same order per
 * element, so both ways give the same bits. */
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
    nt_buckets *buckets;
    nt_step_options options;
    bool early;       /* update bucket by bucket */
    nt_net_step step; /* under way */
    double update_s;  /* spent in on_reduced */
};

/* What is done with a bucket that has just been reduced. */
static nt_status on_reduced(void *stepper, int64_t begin, int64_t end)
{
    nt_stepper *s = stepper;
    double start = nt_clock_s();
    if (s->early)
        NT_TRY(nt_net_measure_and_update(s->net, &s->step, begin, end));
    else
        NT_TRY(nt_net_measure(s->net, begin, end));
    s->update_s += nt_clock_s() - start;
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
    s->options = *options;
    s->early = options->nan_policy == NT_NAN_ABORT && options->clip_norm <= 0;
    nt_status status = nt_buckets_create(&s->buckets, net, comm, bucket_mb, on_reduced, s);
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

static nt_status run_forward(nt_stepper *s, const nt_batch *batch, const nt_pass *pass, nt_step_result *r)
{
    nt_phase_enter("forward");
    nt_fault_kind fault = nt_fault_point("step.forward");
    NT_TRY(fault_error("step.forward", fault));
    double start = nt_clock_s();
    NT_TRY(nt_net_forward(s->net, NT_MODE_TRAIN, batch, pass));
    nt_loss_sum sum;
    NT_TRY(nt_net_loss(s->net, &sum));
    if (fault == NT_FAULT_NAN) sum.loss = (double)NAN;
    r->sum.loss += sum.loss;
    r->sum.loss_squared += sum.loss_squared;
    r->sum.correct += sum.correct;
    r->sum.n += sum.n;
    r->times.forward_s += nt_clock_s() - start;
    return NT_OK;
}

/* Makes the first gradient a NaN: what a broken kernel would do. */
static nt_status poison(nt_stepper *s)
{
    bool is_float = nt_net_backend(s->net)->ops->real == NT_F32;
    float single = NAN;
    double real = (double)NAN;
    NT_TRY(nt_backend_upload(nt_net_backend(s->net), nt_net_grads(s->net),
                             is_float ? (void *)&single : (void *)&real,
                             is_float ? sizeof single : sizeof real));
    NT_TRY(nt_backend_sync(nt_net_backend(s->net)));
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
    NT_TRY(nt_net_backward(s->net, pass, overlap ? nt_buckets_ready : NULL, s->buckets));
    if (fault == NT_FAULT_NAN) NT_TRY(poison(s));
    if (last && !overlap) NT_TRY(nt_buckets_ready(s->buckets, 0, nt_net_n_elems(s->net)));
    r->times.backward_s += nt_clock_s() - start;
    return NT_OK;
}

/* Leaves the summed gradients of the global batch in the arena. */
static nt_status compute_gradients(nt_stepper *s, const nt_batch *micro, int n_micro, int64_t global_n,
                                   nt_step_result *r)
{
    for (int i = 0; i < n_micro; i++) {
        nt_pass pass = {.accumulate = i > 0,
                        .scale = 1.0 / (double)global_n,
                        .share = (double)micro[i].n / (double)global_n,
                        .seed = s->options.seed,
                        .epoch = micro[i].epoch,
                        .sample = micro[i].sample};
        NT_TRY(run_forward(s, &micro[i], &pass, r));
        NT_TRY(run_backward(s, &pass, i == n_micro - 1, r));
    }
    if (n_micro == 0) { /* nothing to add, but the others wait for our zeros */
        NT_TRY(nt_net_zero_grads(s->net));
        NT_TRY(nt_buckets_ready(s->buckets, 0, nt_net_n_elems(s->net)));
    }
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

/* By policy, NT_ERR_NAN or a skipped update. All ranks come here together. */
static nt_status refuse(nt_stepper *s, int64_t step, int bad_loss_rank, nt_step_result *r)
{
    const char *slot = NULL;
    char what[NT_NAME_BYTES + 64];
    NT_TRY(nt_buckets_blame(s->buckets, &slot));
    if (slot)
        snprintf(what, sizeof what, "the gradient of %s is not finite", slot);
    else if (bad_loss_rank < s->comm->size)
        snprintf(what, sizeof what, "the loss of rank %d is not finite", bad_loss_rank);
    else
        snprintf(what, sizeof what, "the gradient's norm is not finite");
    NT_CHECK(s->options.nan_policy == NT_NAN_SKIP, NT_ERR_NAN,
             "step %lld: %s (NaN or Inf); a smaller learning rate, warm-up or clip_norm usually helps, and "
             "run.nan_policy = skip leaves such steps out",
             (long long)step, what);
    if (s->comm->rank == 0) nt_warn("step %lld: %s; no update is made", (long long)step, what);
    r->skipped = true;
    return NT_OK;
}

/* The update of everything, where it had to wait for the verdict. */
static nt_status update(nt_stepper *s, nt_step_result *r)
{
    nt_phase_enter("update");
    NT_TRY(fault_error("step.update", nt_fault_point("step.update")));
    if (s->early) return NT_OK;
    double start = nt_clock_s(), clip = s->options.clip_norm;
    if (clip > 0 && r->grad_norm > clip) s->step.grad_scale = clip / r->grad_norm;
    NT_TRY(nt_net_update(s->net, &s->step));
    r->times.update_s += nt_clock_s() - start;
    return NT_OK;
}

/* Splits what backward took into its parts, and takes the gradient's norm. */
static nt_status close_gradients(nt_stepper *s, int n_micro, double *sum_squares, nt_step_result *r)
{
    NT_TRY(nt_buckets_finish(s->buckets));
    NT_TRY(nt_net_take_squares(s->net, sum_squares));
    r->times.reduce_s = nt_buckets_take_seconds(s->buckets);
    r->times.update_s = s->update_s;
    if (n_micro > 0) r->times.backward_s -= r->times.reduce_s + r->times.update_s;
    r->grad_norm = sqrt(*sum_squares);
    return NT_OK;
}

static nt_status begin_step(nt_stepper *s, int64_t global_n, double lr, int64_t step)
{
    double stale;
    nt_fault_set_step(step);
    nt_phase_set_step(step);
    s->step = (nt_net_step){.lr = lr, .step = step, .batch = global_n, .grad_scale = 1};
    s->update_s = 0;
    nt_buckets_reset(s->buckets);
    NT_TRY(nt_net_take_squares(s->net, &stale)); /* of a step that was given up */
    return NT_OK;
}

nt_status nt_stepper_run(nt_stepper *s, const nt_batch *micro, int n_micro, int64_t global_n, double lr,
                         int64_t step, nt_step_result *result)
{
    NT_BUG_UNLESS(n_micro >= 0 && global_n >= 1, "%d pieces of a batch of %lld", n_micro,
                  (long long)global_n);
    double sum_squares = 0;
    int bad_loss_rank = s->comm->size;
    *result = (nt_step_result){.skipped = false};
    NT_TRY(begin_step(s, global_n, lr, step));
    NT_TRY(compute_gradients(s, micro, n_micro, global_n, result));
    NT_TRY(close_gradients(s, n_micro, &sum_squares, result));
    NT_TRY(find_bad_loss(s, result, &bad_loss_rank));
    if (!isfinite(sum_squares) || bad_loss_rank < s->comm->size)
        NT_TRY(refuse(s, step, bad_loss_rank, result));
    else
        NT_TRY(update(s, result));
    return NT_OK;
}
