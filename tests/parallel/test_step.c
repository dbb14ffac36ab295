/* The step at any number of ranks against the whole batch in one net, which every rank computes by itself
 * beside the common job, without the stepper: the same losses, gradients' norms and weights.
 *
 * Tolerances. N ranks add the same numbers in another order. In float32 (24 bits) a sum of some hundred terms
 * differs by a few 1e-7 relative, and 12 smooth steps do not amplify that by more than ten: 1e-5. In ref64
 * the same argument gives 1e-14; 1e-12 leaves room and still excludes every formula that is only nearly
 * right. */
#include "dist/shard.h"
#include "launcher/replicas.h"
#include "parallel.h"
#include "toy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_STEPS 12

static toy job, reference; /* too big for a stack under sanitizers */

static void expect_close(nt_comm *comm, double got, double expected, double tolerance, const char *what,
                         int64_t index)
{
    EXPECT(comm, fabs(got - expected) <= tolerance * fmax(1e-3, fabs(expected)),
           "%s %lld: %.17g, but one rank computes %.17g", what, (long long)index, got, expected);
}

/* Largest difference of n elements relative to the largest of them. */
static double distance(const toy *a, const void *p, const void *q, int64_t n)
{
    double difference = 0, largest = 0;
    bool is_float = a->backend->ops->real == NT_F32;
    for (int64_t i = 0; i < n; i++) {
        double x = is_float ? (double)((const float *)p)[i] : ((const double *)p)[i];
        double y = is_float ? (double)((const float *)q)[i] : ((const double *)q)[i];
        difference = fmax(difference, fabs(x - y));
        largest = fmax(largest, fabs(y));
    }
    return difference / largest;
}

static double params_distance(const toy *a, const toy *b)
{
    return distance(a, nt_net_params(a->net), nt_net_params(b->net), nt_net_n_elems(a->net));
}

static size_t params_bytes(const toy *t)
{
    return (size_t)nt_net_n_elems(t->net) * nt_dtype_bytes(t->backend->ops->real);
}

/* Norm of the trained gradients, element by element. */
static double gradient_norm(const toy *t)
{
    bool is_float = t->backend->ops->real == NT_F32;
    const void *g = nt_net_grads(t->net);
    double sum = 0;
    for (int s = 0; s < nt_net_n_slots(t->net); s++) {
        const nt_slot *slot = nt_net_get_slot(t->net, s);
        for (int64_t i = slot->offset; slot->role != NT_PARAM_STAT && i < slot->offset + slot->n_elems; i++)
            sum += pow(is_float ? (double)((const float *)g)[i] : ((const double *)g)[i], 2);
    }
    return sqrt(sum);
}

/* Mean over the batch of the weights that weighted_loss (below) gives to the labels, added up by hand. */
static double mean_weight(const toy *t, int64_t first, int64_t n)
{
    static const double weight[TOY_CLASSES] = {1, 0, 0.25}; /* label 1 is ignored */
    double sum = 0;
    for (int64_t i = first; i < first + n; i++)
        sum += weight[t->label[i]];
    return sum / (double)n;
}

/* A step on the whole batch, as on paper; only what batchnorm sees, the pieces, is as in the job. */
static nt_status paper_step(toy *t, int64_t step, double *loss, double *norm)
{
    int64_t first, n = toy_batch(step, &first);
    nt_loss_sum sum;
    *loss = 0;
    for (int i = 0; i < (t->options.sync ? t->options.pieces : 1); i++) {
        nt_batch batch = toy_piece(t, step, i);
        if (!t->options.sync) batch.n = n;
        if (batch.n == 0) continue;
        nt_pass pass = {.accumulate = i > 0,
                        .scale = 1.0 / (double)n,
                        .share = (double)batch.n / (double)n,
                        .seed = 11,
                        .epoch = batch.epoch,
                        .sample = batch.sample};
        if (t->options.loss) pass.mean_weight = mean_weight(t, first, n);
        NT_TRY(nt_net_forward(t->net, NT_MODE_TRAIN, &batch, &pass));
        NT_TRY(nt_net_loss(t->net, &sum));
        NT_TRY(nt_net_backward(t->net, &pass, NULL, NULL));
        *loss += sum.loss / (double)n;
    }
    *norm = gradient_norm(t);
    double clip = t->options.clip_norm, scale = clip > 0 ? fmin(1, clip / *norm) : 1;
    NT_TRY(nt_net_update(t->net, &(nt_net_step){.lr = 0.1, .step = step, .batch = n, .scale = &scale}));
    return NT_OK;
}

static void compare_with_one_rank(nt_comm *comm, const toy_options *options, double tolerance)
{
    nt_comm alone = toy_alone();
    EXPECT_OK(comm, toy_create(&job, comm, options));
    EXPECT_OK(comm, toy_create(&reference, &alone, options));
    double first_loss = 0, last_loss = 0, loss; /* of the same batch */
    for (int64_t step = 0; step < N_STEPS; step++) {
        nt_step_result result;
        double expected_loss, expected_norm;
        EXPECT_OK(comm, toy_step(&job, step, &result, &loss));
        EXPECT_OK(comm, paper_step(&reference, step, &expected_loss, &expected_norm));
        expect_close(comm, loss, expected_loss, tolerance, "loss of step", step);
        expect_close(comm, result.grad_norm, expected_norm, 10 * tolerance, "norm of step", step);
        if (step == 0) first_loss = loss;
        if (step % TOY_BATCHES == 0) last_loss = loss;
    }
    double apart = params_distance(&job, &reference);
    EXPECT(comm, apart <= tolerance, "weights differ by %g relative", apart);
    EXPECT(comm, last_loss < first_loss, "nothing was learnt: %g -> %g", first_loss, last_loss);
    EXPECT_OK(comm, nt_comm_same(comm, nt_net_params(job.net), params_bytes(&job), "the replica"));
    toy_destroy(&job);
    toy_destroy(&reference);
}

static void test_n_ranks_compute_what_one_computes(nt_comm *comm)
{
    compare_with_one_rank(comm, &(toy_options){.backend = "ref64", .pieces = 1, .nan_sample = -1}, 1e-12);
    compare_with_one_rank(comm, &(toy_options){.backend = "ref", .pieces = 1, .nan_sample = -1}, 1e-5);
    compare_with_one_rank(comm, &(toy_options){.backend = "cpu", .pieces = 1, .nan_sample = -1}, 1e-5);
}

static const char weighted_loss[] = "class_weights = 1, 8, 0.25\nlabel_smoothing = 0.1\nignore_index = 1\n"
                                    "mean_over = weights\n";

/* PyTorch's weighted mean: its divisor is a sum over all ranks and pieces. The batch of two has a label that
 * counts and one that does not. */
static void test_mean_over_weights_is_exact(nt_comm *comm)
{
    for (int pieces = 1; pieces <= 3; pieces += 2) {
        toy_options options = {.backend = "ref64", .loss = weighted_loss, .pieces = pieces, .nan_sample = -1};
        compare_with_one_rank(comm, &options, 1e-12);
        options.backend = "cpu";
        compare_with_one_rank(comm, &options, 1e-5);
    }
}

static void test_accumulation_changes_nothing(nt_comm *comm)
{
    compare_with_one_rank(comm, &(toy_options){.backend = "ref64", .pieces = 3, .nan_sample = -1}, 1e-12);
    compare_with_one_rank(comm, &(toy_options){.backend = "ref", .pieces = 3, .nan_sample = -1}, 1e-5);
    compare_with_one_rank(comm, &(toy_options){.backend = "cpu", .pieces = 3, .nan_sample = -1}, 1e-5);
}

static void test_clipping_uses_the_global_norm(nt_comm *comm)
{
    toy_options options = {.backend = "ref64", .pieces = 2, .clip_norm = 0.1, .nan_sample = -1};
    compare_with_one_rank(comm, &options, 1e-12);
}

/* One step of plain SGD with clipping moves the weights by lr * clip. */
static void test_clipping_limits_the_step(nt_comm *comm)
{
    toy_options options = {
        .backend = "ref64", .batchnorm = true, .pieces = 1, .clip_norm = 1e-3, .nan_sample = -1};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    size_t n_bytes = params_bytes(&job);
    double *before = malloc(n_bytes), moved = 0, loss;
    EXPECT(comm, before, "out of memory");
    memcpy(before, nt_net_params(job.net), n_bytes);
    nt_step_result result;
    EXPECT_OK(comm, toy_step(&job, 0, &result, &loss));
    EXPECT(comm, result.grad_norm > 1e-3, "a norm of %g tests nothing", result.grad_norm);
    for (int s = 0; s < nt_net_n_slots(job.net); s++) {
        const nt_slot *slot = nt_net_get_slot(job.net, s);
        if (slot->role == NT_PARAM_STAT) continue;
        for (int64_t i = slot->offset; i < slot->offset + slot->n_elems; i++)
            moved += pow(((double *)nt_net_params(job.net))[i] - before[i], 2);
    }
    /* some hundred sums and products in double */
    EXPECT(comm, fabs(sqrt(moved) / (0.1 * 1e-3) - 1) < 1e-12, "the step's length is %.9g", sqrt(moved));
    free(before);
    toy_destroy(&job);
}

/* Running statistics are those of the global batch, whatever the parts (core/layers/batchnorm.h). Only the
 * first step is comparable: what batchnorm does to the activations depends on the parts, as with any
 * batchnorm that is not synchronised. Samples of a rank alone still give a sound variance. */
static void check_running_statistics(nt_comm *comm, int pieces, int64_t step)
{
    nt_comm alone = toy_alone();
    toy_options options = {.backend = "ref64", .batchnorm = true, .pieces = pieces, .nan_sample = -1};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    EXPECT_OK(comm, toy_create(&reference, &alone, &options));
    nt_step_result result;
    double loss, norm;
    EXPECT_OK(comm, toy_step(&job, step, &result, &loss));
    EXPECT_OK(comm, paper_step(&reference, step, &loss, &norm));
    int n_stats = 0;
    for (int s = 0; s < nt_net_n_slots(job.net); s++) {
        const nt_slot *slot = nt_net_get_slot(job.net, s);
        if (slot->role != NT_PARAM_STAT) continue;
        n_stats++;
        for (int64_t i = slot->offset; i < slot->offset + slot->n_elems; i++)
            expect_close(comm, ((double *)nt_net_params(job.net))[i],
                         ((double *)nt_net_params(reference.net))[i], 1e-12, slot->name, i - slot->offset);
    }
    EXPECT(comm, n_stats == 2, "%d statistics", n_stats);
    toy_destroy(&job);
    toy_destroy(&reference);
}

static void test_running_statistics_are_global(nt_comm *comm)
{
    check_running_statistics(comm, 1, 0);
    check_running_statistics(comm, 3, 0);
    check_running_statistics(comm, 1, 2); /* 2 samples for all ranks: some have none */
}

/* The first gradients, element by element; the last batch leaves ranks without samples. */
static void compare_gradients(nt_comm *comm, const toy_options *options, int64_t step, double tolerance)
{
    nt_comm alone = toy_alone();
    nt_step_result result;
    double loss, norm;
    EXPECT_OK(comm, toy_create(&job, comm, options));
    EXPECT_OK(comm, toy_create(&reference, &alone, options));
    EXPECT_OK(comm, toy_step(&job, step, &result, &loss));
    EXPECT_OK(comm, paper_step(&reference, step, &loss, &norm));
    double apart =
        distance(&job, nt_net_grads(job.net), nt_net_grads(reference.net), nt_net_n_elems(job.net));
    EXPECT(comm, comm->size == 1 || apart <= tolerance, "gradients differ by %g relative", apart);
    toy_destroy(&job);
    toy_destroy(&reference);
}

/* Synchronised batchnorm: N ranks are one rank with the whole batch, in losses, gradients, weights and
 * running statistics, also with uneven parts, pieces, and ranks without samples. Two of three batches have 13
 * samples and one has 2: a variance of two samples makes rounding errors about ten times as large as
 * elsewhere in this file. */
static void test_sync_batchnorm_is_one_rank(nt_comm *comm)
{
    for (int pieces = 1; pieces <= 5; pieces += 4) {
        toy_options options = {.backend = "ref64", .sync = true, .pieces = pieces, .nan_sample = -1};
        compare_with_one_rank(comm, &options, 1e-11);
        compare_gradients(comm, &options, 0, 1e-12);
        compare_gradients(comm, &options, 2, 1e-11);
        options.bucket_mb = 0.0005; /* sums of statistics between the reductions of many buckets: the same */
        comm->checks = true;        /* calls in the same order on all ranks */
        compare_with_one_rank(comm, &options, 1e-11);
        comm->checks = false;
        options.backend = "cpu";
        compare_gradients(comm, &options, 0, 1e-5);
        compare_with_one_rank(comm, &options, 1e-4);
    }
}

/* Statistics of the data themselves, with and without synchronisation: the first layer's, by hand. */
static void check_statistics_by_hand(nt_comm *comm, const char *backend, int pieces, int64_t step)
{
    toy_options options = {.backend = backend, .sync = true, .pieces = pieces, .nan_sample = -1};
    int64_t first, n = toy_batch(step, &first);
    const float *x = &reference.x[0][0]; /* (samples, TOY_ELEMS) in one piece */
    double mean = 0, var = 0, loss;
    for (int64_t i = first * TOY_ELEMS; i < (first + n) * TOY_ELEMS; i++)
        mean += (double)x[i] / (double)(n * TOY_ELEMS);
    for (int64_t i = first * TOY_ELEMS; i < (first + n) * TOY_ELEMS; i++)
        var += pow((double)x[i] - mean, 2) / (double)(n * TOY_ELEMS - 1);
    for (int sync = 0; sync < 2; sync++) {
        nt_step_result result;
        float got[2];
        options.sync_off = !sync;
        EXPECT_OK(comm, toy_create(&job, comm, &options));
        EXPECT_OK(comm, toy_step(&job, step, &result, &loss));
        for (int s = 0; s < nt_net_n_slots(job.net); s++) {
            const char *name = nt_net_get_slot(job.net, s)->name;
            for (int k = 0; k < 2; k++)
                if (strcmp(name, k ? "norm.running_var" : "norm.running_mean") == 0)
                    EXPECT_OK(comm, nt_net_read(job.net, s, NT_ARRAY_PARAM, &got[k]));
        }
        /* momentum 0.1, from 0 and 1; float32 slots: a few 1e-7 */
        expect_close(comm, (double)got[0], 0.1 * mean, 2e-6, "running mean, sync", sync);
        expect_close(comm, (double)got[1], 0.9 + 0.1 * var, 2e-6, "running variance, sync", sync);
        toy_destroy(&job);
    }
}

static void test_running_statistics_by_hand(nt_comm *comm)
{
    nt_comm alone = toy_alone();
    EXPECT_OK(comm, toy_create(&reference, &alone,
                               &(toy_options){.backend = "ref", .pieces = 1, .nan_sample = -1}));
    for (int64_t step = 0; step < 3; step += 2)
        for (int pieces = 1; pieces <= 3; pieces += 2) {
            check_statistics_by_hand(comm, "ref", pieces, step);
            check_statistics_by_hand(comm, "cpu", pieces, step);
        }
    toy_destroy(&reference);
}

/* Batchnorm ranks see different data but must stay replicas. */
static void test_batchnorm_replicas_stay_equal(nt_comm *comm)
{
    toy_options options = {.backend = "ref", .batchnorm = true, .pieces = 2, .nan_sample = -1};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    for (int64_t step = 0; step < N_STEPS; step++) {
        nt_step_result result;
        double loss;
        EXPECT_OK(comm, toy_step(&job, step, &result, &loss));
        EXPECT_OK(comm, nt_comm_same(comm, nt_net_params(job.net), params_bytes(&job), "the replica"));
        EXPECT_OK(comm, nt_comm_same(comm, &result.grad_norm, sizeof result.grad_norm, "the norm"));
    }
    toy_destroy(&job);
}

static void fault_96_two_runs_end_with_the_same_bits(nt_comm *comm)
{
    static const char *const backends[] = {"ref", "cpu"};
    for (int b = 0; b < 2; b++) {
        toy_options options = {.backend = backends[b], .pieces = 2, .nan_sample = -1, .bucket_mb = 0.001};
        toy *runs[2] = {&job, &reference};
        double losses[2][N_STEPS];
        for (int k = 0; k < 2; k++) {
            EXPECT_OK(comm, toy_create(runs[k], comm, &options));
            for (int64_t step = 0; step < N_STEPS; step++) {
                nt_step_result result;
                EXPECT_OK(comm, toy_step(runs[k], step, &result, &losses[k][step]));
            }
        }
        EXPECT(comm, memcmp(losses[0], losses[1], sizeof losses[0]) == 0, "losses have other bits");
        EXPECT(comm, memcmp(nt_net_params(job.net), nt_net_params(reference.net), params_bytes(&job)) == 0,
               "weights have other bits");
        toy_destroy(&job);
        toy_destroy(&reference);
    }
}

/* Buckets tile the arena, never split a layer, and their number does not change the result. */
static void test_buckets_tile_the_arena(nt_comm *comm)
{
    static const double megabytes[] = {1e-6, 0.001, 0.004, 25};
    int last_count = 1 << 30;
    for (int k = 0; k < 4; k++) {
        toy_options options = {.backend = "ref", .pieces = 1, .nan_sample = -1};
        EXPECT_OK(comm, toy_create(&job, comm, &options));
        nt_buckets *buckets;
        EXPECT_OK(comm, nt_buckets_create(&buckets, job.net, comm, megabytes[k], NULL, NULL));
        int64_t at = 0, begin, end;
        for (int i = 0; i < nt_buckets_count(buckets); i++, at = end) {
            nt_buckets_range(buckets, i, &begin, &end);
            EXPECT(comm, begin == at && end > begin, "bucket %d is [%lld, %lld)", i, (long long)begin,
                   (long long)end);
            for (int s = 0; s < nt_net_n_slots(job.net); s++) {
                const nt_slot *slot = nt_net_get_slot(job.net, s);
                bool starts = slot->offset >= begin && slot->offset < end;
                EXPECT(comm, !starts || slot->offset + slot->n_elems <= end, "bucket %d splits %s", i,
                       slot->name);
            }
        }
        EXPECT(comm, at == nt_net_n_elems(job.net), "buckets end at %lld", (long long)at);
        EXPECT(comm, nt_buckets_count(buckets) <= last_count, "bigger buckets, more of them");
        last_count = nt_buckets_count(buckets);
        if (k == 0) EXPECT(comm, last_count == 3, "%d buckets for three layers", last_count);
        int fewest = comm->size > 1 ? 1 : 3; /* alone nothing is sent: every layer by itself */
        if (k == 3) EXPECT(comm, last_count == fewest, "%d buckets for 10 kB", last_count);
        nt_buckets_destroy(buckets);
        toy_destroy(&job);
    }
}

/* Gradients reported with a hole, or not all of them, are our bug and do not pass in silence. */
static void test_buckets_refuse_holes(nt_comm *comm)
{
    toy_options options = {.backend = "ref", .pieces = 1, .nan_sample = -1};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    nt_buckets *buckets;
    EXPECT_OK(comm, nt_buckets_create(&buckets, job.net, comm, 1, NULL, NULL));
    EXPECT(comm, nt_buckets_ready(buckets, 16, 32) == NT_ERR_BUG, "a hole went unseen");
    EXPECT(comm, nt_buckets_finish(buckets) == NT_ERR_BUG, "missing buckets went unseen");
    nt_error_clear();
    nt_buckets_destroy(buckets);
    toy_destroy(&job);
}

/* A statistic that is not finite makes the verdict not finite, though it is no part of the norm. */
static void fault_93_broken_statistic(nt_comm *comm)
{
    toy_options options = {.backend = "ref", .batchnorm = true, .pieces = 1, .nan_sample = -1};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    nt_buckets *buckets;
    EXPECT_OK(comm, nt_buckets_create(&buckets, job.net, comm, 1, NULL, NULL));
    int s = 0;
    while (nt_net_get_slot(job.net, s)->role != NT_PARAM_STAT)
        s++;
    float *grads = nt_net_grads(job.net), bad[2] = {3, INFINITY};
    for (int k = 0; k < 2; k++) {
        const char *name;
        EXPECT_OK(comm, nt_net_zero_grads(job.net));
        grads[nt_net_get_slot(job.net, s)->offset] = bad[k];
        EXPECT_OK(comm, nt_buckets_ready(buckets, 0, nt_net_n_elems(job.net)));
        EXPECT_OK(comm, nt_buckets_finish(buckets));
        EXPECT_OK(comm, nt_net_measure(job.net, 0, nt_net_n_elems(job.net)));
        EXPECT_OK(comm, nt_net_judge(job.net, 0));
        double sum = nt_net_report(job.net)->sum_squares;
        EXPECT(comm, k == 0 ? sum == 0 : !isfinite(sum), "statistic %g: sum of squares %g", (double)bad[k],
               sum);
        EXPECT_OK(comm, nt_buckets_blame(buckets, &name));
        EXPECT(comm, k == 0 ? !name : name && strcmp(name, "hidden.bn.running_mean") == 0, "blamed: %s",
               name ? name : "none");
    }
    nt_buckets_destroy(buckets);
    toy_destroy(&job);
}

/* With gradients in bfloat16 on the wire, running statistics, which are values, still come as they are. */
static void test_statistics_are_not_rounded_on_the_wire(nt_comm *comm)
{
    float *exact = NULL;
    int64_t n_rounded = 0;
    for (int wire = 0; wire < 2; wire++) {
        toy_options options = {.backend = "ref", .batchnorm = true, .pieces = 1, .nan_sample = -1};
        nt_step_result result;
        double loss;
        EXPECT_OK(comm, toy_create(&job, comm, &options));
        comm->bf16_wire = wire == 1;
        EXPECT_OK(comm, toy_step(&job, 0, &result, &loss));
        comm->bf16_wire = false;
        const float *params = nt_net_params(job.net);
        size_t n_bytes = (size_t)nt_net_n_elems(job.net) * sizeof *params;
        if (wire == 0) {
            exact = malloc(n_bytes);
            EXPECT(comm, exact, "out of memory");
            memcpy(exact, params, n_bytes);
        }
        for (int i = 0; i < nt_net_n_slots(job.net); i++) {
            const nt_slot *slot = nt_net_get_slot(job.net, i);
            bool same = memcmp(exact + slot->offset, params + slot->offset,
                               (size_t)slot->n_elems * sizeof *params) == 0;
            n_rounded += !same;
            EXPECT(comm, same || slot->role != NT_PARAM_STAT, "%s was rounded", slot->name);
        }
        toy_destroy(&job);
    }
    EXPECT(comm, comm->size == 1 || n_rounded > 0, "nothing was rounded");
    free(exact);
}

/* A communicator that counts what is asked of it. */
static struct {
    const nt_comm_ops *real;
    const nt_gradient_ops *gradient;
    int64_t all_reduces, elems, host_reduces;
} counted;

static nt_status counting_all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    counted.all_reduces++;
    counted.elems += n;
    return counted.gradient->all_reduce(comm, buffer, n, dtype);
}

static nt_status counting_host_reduce(nt_comm *comm, double *values, int n, nt_reduce op)
{
    counted.host_reduces++;
    return counted.real->host_reduce(comm, values, n, op);
}

static void fault_102_all_ranks_make_the_same_calls(nt_comm *comm)
{
    nt_comm_ops ops = *comm->ops;
    nt_gradient_ops gradient = *comm->gradient;
    counted.real = comm->ops;
    counted.gradient = comm->gradient;
    gradient.all_reduce = counting_all_reduce;
    ops.host_reduce = counting_host_reduce;
    toy_options options = {.backend = "ref", .pieces = 3, .nan_sample = -1, .bucket_mb = 0.001};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    for (int64_t step = 0; step < 2 * TOY_BATCHES; step++) {
        counted.all_reduces = counted.elems = counted.host_reduces = 0;
        comm->ops = &ops;
        comm->gradient = &gradient;
        nt_step_result result;
        double loss;
        nt_status status = toy_step(&job, step, &result, &loss);
        comm->ops = counted.real;
        comm->gradient = counted.gradient;
        EXPECT_OK(comm, status);
        int64_t calls[3] = {counted.all_reduces, counted.elems, counted.host_reduces}, first;
        EXPECT_OK(comm, nt_comm_same(comm, calls, sizeof calls, "the number of collective calls"));
        /* three buckets, and whether all losses are finite */
        EXPECT(comm, calls[0] == (comm->size > 1 ? 4 : 0), "%lld all-reduces", (long long)calls[0]);
        int64_t n = toy_batch(step, &first), total = 0;
        double samples = (double)result.sum.n;
        EXPECT_OK(comm, nt_comm_host_reduce(comm, &samples, 1, NT_REDUCE_SUM));
        total = (int64_t)samples;
        EXPECT(comm, total == n, "%lld of %lld samples", (long long)total, (long long)n);
    }
    toy_destroy(&job);
}

/* A NaN in one sample: the rank that has it must not be the only one that knows. */
static void fault_93_nan_ends_the_step_on_all_ranks(nt_comm *comm)
{
    for (int64_t sample = 0; sample < TOY_BATCH;
         sample += TOY_BATCH - 1) { /* of the first, of the last rank */
        toy_options options = {.backend = "ref", .pieces = 2, .nan_sample = sample};
        EXPECT_OK(comm, toy_create(&job, comm, &options));
        nt_step_result result;
        double loss;
        nt_status status = toy_step(&job, 0, &result, &loss);
        EXPECT(comm, status == NT_ERR_NAN, "status %d", (int)status);
        EXPECT(comm, strncmp(nt_error_last()->message, "step 1: the gradient of out.", 28) == 0,
               "message '%s'", nt_error_last()->message);
        EXPECT_OK(comm, nt_comm_same(comm, nt_error_last()->message, strlen(nt_error_last()->message),
                                     "the message"));
        nt_error_clear();
        toy_destroy(&job);
    }
}

static void check_skipping(nt_comm *comm, bool zero)
{
    toy_options options = {
        .backend = "ref", .pieces = 1, .nan_sample = 4, .nan_policy = NT_NAN_SKIP, .zero = zero};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    size_t n_bytes = params_bytes(&job);
    void *before = malloc(n_bytes);
    EXPECT(comm, before, "out of memory");
    for (int64_t step = 0; step < 2 * TOY_BATCHES; step++) {
        bool bad = step % TOY_BATCHES == 0; /* sample 4 is in the first batch */
        memcpy(before, nt_net_params(job.net), n_bytes);
        nt_step_result result;
        double loss;
        EXPECT_OK(comm, toy_step(&job, step, &result, &loss));
        EXPECT(comm, result.skipped == bad, "step %lld: skipped %d", (long long)step, result.skipped);
        bool moved = memcmp(before, nt_net_params(job.net), n_bytes) != 0;
        EXPECT(comm, moved == !bad, "step %lld: the weights moved: %d", (long long)step, moved);
        EXPECT_OK(comm, nt_comm_same(comm, nt_net_params(job.net), n_bytes, "the replica"));
    }
    free(before);
    toy_destroy(&job);
}

static void fault_93_nan_is_skipped_by_all_ranks(nt_comm *comm)
{
    check_skipping(comm, false);
    check_skipping(comm, true);
}

/* An infinite weight on one rank only (a bit flip): all ranks learn of it. */
static void fault_93_broken_weight_of_one_rank(nt_comm *comm)
{
    toy_options options = {.backend = "ref", .pieces = 1, .nan_sample = -1};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    if (comm->rank == comm->size - 1)
        ((float *)nt_net_params(job.net))[nt_net_get_slot(job.net, 0)->offset] = INFINITY;
    nt_step_result result;
    double loss;
    nt_status status = toy_step(&job, 0, &result, &loss);
    EXPECT(comm, status == NT_ERR_NAN, "status %d", (int)status);
    nt_error_clear();
    toy_destroy(&job);
}

static const struct optimizer {
    const char *lines;
    double lr;
    bool norms; /* of whole tensors */
} optimizers[] = {
    {"type = sgd\nmomentum = 0.9\nnesterov = yes\nweight_decay = 0.01\n", 0.05, false},
    {"type = adam\n", 0.005, false},
    {"type = adamw\nclip_value = 0.01\n", 0.005, false},
    {"type = rmsprop\ncentered = yes\nmomentum = 0.9\n", 0.001, false},
    {"type = adagrad\n", 0.01, false},
    {"type = lion\n", 0.001, false},
    {"type = lars\n", 1, true},
    {"type = lamb\n", 0.01, true},
};

/* All of an unsharded state as nt_shard_gather lays it out. */
static void read_state(nt_comm *comm, toy *t, int index, float *out)
{
    for (int s = 0; s < nt_net_n_slots(t->net); s++) {
        const nt_slot *slot = nt_net_get_slot(t->net, s);
        if (slot->role == NT_PARAM_STAT) continue;
        EXPECT_OK(comm, nt_net_read(t->net, s, index, out));
        out += nt_shape_elems(slot->tensor.shape);
    }
}

/* Largest difference of all parameters and of state array `index` (rank 0's), relative to the largest value;
 * *same: not a bit differs. */
static double shard_distance(nt_comm *comm, int index, bool *same)
{
    static float a[1 << 16], b[1 << 16];
    double most = 0, apart = 0;
    int64_t n = 0;
    for (int s = 0; s < nt_net_n_slots(job.net); s++) {
        EXPECT_OK(comm, nt_net_read(job.net, s, NT_ARRAY_PARAM, a + n));
        EXPECT_OK(comm, nt_net_read(reference.net, s, NT_ARRAY_PARAM, b + n));
        n += nt_shape_elems(nt_net_get_slot(job.net, s)->tensor.shape);
    }
    if (index >= 0 && comm->rank == 0) {
        read_state(comm, &job, index, a + n);
        read_state(comm, &reference, index, b + n);
        n += nt_net_whole_elems(job.net);
    }
    for (int64_t i = 0; i < n; i++) {
        apart = fmax(apart, fabs((double)a[i] - (double)b[i]));
        most = fmax(most, fabs((double)b[i]));
    }
    *same = memcmp(a, b, (size_t)n * sizeof *a) == 0;
    return apart / most;
}

/* The same job with its state in shards and without. Two ranks add two numbers in either order: the same
 * bits, but for clipping and ratios, whose norms are then added up in another order. More ranks: MPI sums in
 * another order when it reduces and scatters than when it reduces for all, and a rule that divides by the
 * size of a gradient, or takes its sign, makes much of a rounding error where that is small: compared in
 * double. */
static void compare_with_whole_state(nt_comm *comm, toy_options options, double tolerance, bool bits)
{
    bool same;
    EXPECT_OK(comm, toy_create(&reference, comm, &options));
    nt_comm_detach(comm);
    options.zero = true;
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    const nt_buckets *buckets = nt_stepper_buckets(job.stepper);
    for (int64_t step = 0; step < N_STEPS; step++) {
        nt_step_result got, want;
        double loss, wanted_loss;
        if (comm->backend != job.backend) EXPECT_OK(comm, nt_comm_attach(comm, job.backend));
        EXPECT_OK(comm, toy_step(&job, step, &got, &loss));
        EXPECT_OK(comm, nt_comm_attach(comm, reference.backend));
        EXPECT_OK(comm, toy_step(&reference, step, &want, &wanted_loss));
        expect_close(comm, loss, wanted_loss, tolerance, "loss of step", step);
        expect_close(comm, got.grad_norm, want.grad_norm, tolerance, "norm of step", step);
    }
    EXPECT_OK(comm, nt_comm_attach(comm, job.backend));
    EXPECT_OK(comm, nt_shard_open(buckets));
    EXPECT_OK(comm, nt_shard_gather(buckets));
    for (int i = 0; i < NT_MAX_STATES && nt_net_state(job.net, i); i++) {
        double apart = shard_distance(comm, i, &same);
        EXPECT(comm, apart <= tolerance, "weights or state %d differ by %g relative", i, apart);
        EXPECT(comm, !bits || same, "weights or state %d have other bits", i);
    }
    EXPECT_OK(comm, nt_comm_same(comm, nt_net_params(job.net), params_bytes(&job), "the replica"));
    nt_shard_close(buckets);
    nt_net_memory memory = nt_net_get_memory(job.net);
    EXPECT(comm, memory.state * (size_t)comm->size <= memory.state_whole && memory.state_whole > 0,
           "%zu bytes of %zu", memory.state, memory.state_whole);
    toy_destroy(&job);
    toy_destroy(&reference);
}

static void test_zero_is_the_whole_state(nt_comm *comm)
{
    for (size_t i = 0; i < sizeof optimizers / sizeof *optimizers; i++) {
        toy_options options = {.backend = "ref64",
                               .optimizer = optimizers[i].lines,
                               .lr = optimizers[i].lr,
                               .sync = i % 2 == 0,
                               .sync_off = true,
                               .pieces = 2,
                               .nan_sample = -1,
                               .bucket_mb = 0.001};
        compare_with_whole_state(comm, options, 1e-6, comm->size <= 2 && !optimizers[i].norms);
        options.clip_norm = 0.1;
        compare_with_whole_state(comm, options, 1e-6, false);
        options.clip_norm = 0;
        options.backend = "cpu";
        if (comm->size <= 2 && !optimizers[i].norms) compare_with_whole_state(comm, options, 1e-6, true);
        options.sync = false; /* a batchnorm of one sample divides rounding errors by sqrt(eps) */
        if (i == 0) compare_with_whole_state(comm, options, 1e-5, comm->size <= 2);
    }
}

/* Rank 0's state goes to the shards and comes back. */
static void test_shards_scatter_and_gather(nt_comm *comm)
{
    toy_options options = {.backend = "cpu",
                           .optimizer = "type = adam\n",
                           .sync = true,
                           .zero = true,
                           .pieces = 1,
                           .nan_sample = -1,
                           .bucket_mb = 0.001};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    const nt_buckets *buckets = nt_stepper_buckets(job.stepper);
    EXPECT_OK(comm, nt_shard_open(buckets));
    const bool root = comm->rank == 0 && comm->size > 1;
    const int64_t n = nt_net_whole_elems(job.net);
    EXPECT(comm, root == (nt_net_whole_state(job.net, 0) != NULL), "who has memory for the whole state");
    for (int i = 0; root && i < 2; i++)
        for (int64_t k = 0; k < n; k++)
            nt_net_whole_state(job.net, i)[k] = (float)(k + i * n + 1);
    EXPECT_OK(comm, nt_shard_scatter(buckets));
    nt_shard_close(buckets);
    EXPECT_OK(comm, nt_shard_open(buckets));
    EXPECT_OK(comm, nt_shard_gather(buckets));
    for (int i = 0; root && i < 2; i++)
        for (int64_t k = 0; k < n; k++)
            EXPECT(comm, nt_net_whole_state(job.net, i)[k] == (float)(k + i * n + 1),
                   "state %d, element %lld", i, (long long)k);
    nt_shard_close(buckets);
    toy_destroy(&job);
}

/* A NaN in the sums of one rank's part: all ranks name the same layer. */
static void fault_93_nan_in_one_shard(nt_comm *comm)
{
    toy_options options = {
        .backend = "ref", .zero = true, .pieces = 2, .nan_sample = 5, .bucket_mb = 0.001, .clip_norm = 1};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    nt_step_result result;
    double loss;
    EXPECT(comm, toy_step(&job, 0, &result, &loss) == NT_ERR_NAN, "the NaN went unseen");
    EXPECT_OK(comm,
              nt_comm_same(comm, nt_error_last()->message, strlen(nt_error_last()->message), "the message"));
    EXPECT(comm, strstr(nt_error_last()->message, "the gradient of out."), "'%s'", nt_error_last()->message);
    nt_error_clear();
    toy_destroy(&job);
}

/* What a rank does not sum is its own gradient, not the job's: only the sums that it has count. */
static void fault_93_only_sums_are_blamed(nt_comm *comm)
{
    toy_options options = {.backend = "ref", .zero = true, .pieces = 1, .nan_sample = -1, .bucket_mb = 0.001};
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    nt_buckets *buckets = (nt_buckets *)nt_stepper_buckets(job.stepper);
    float *grads = nt_net_grads(job.net);
    const int64_t n = nt_net_n_elems(job.net);
    const char *name;
    for (int64_t i = 0; i < n; i++)
        grads[i] = comm->size > 1 ? NAN : 1;
    for (int i = 0; i < nt_buckets_count(buckets) && comm->size > 1; i++) {
        const nt_span own = nt_buckets_own(buckets, i);
        for (int64_t k = own.begin; k < own.end; k++)
            grads[k] = 1;
    }
    EXPECT_OK(comm, nt_buckets_blame(buckets, &name));
    EXPECT(comm, !name, "%s is blamed for what others sum", name);
    for (int s = 0; s < nt_net_n_slots(job.net); s++) {
        const nt_slot *slot = nt_net_get_slot(job.net, s);
        float *last = &grads[slot->offset + slot->n_elems - 1], kept = *last;
        *last = NAN;
        EXPECT_OK(comm, nt_buckets_blame(buckets, &name));
        EXPECT(comm, name && strcmp(name, slot->name) == 0, "%s instead of %s", name ? name : "nobody",
               slot->name);
        *last = kept;
    }
    toy_destroy(&job);
}

/* A bit of the last element, of each slot, of the weights and of each part of the optimizer's state, on the
 * last rank: all ranks name it. */
static void fault_95_every_slot_is_compared(nt_comm *comm)
{
    static const char *const arrays[] = {"", "optimizer state 0 of ", "optimizer state 1 of "};
    toy_options options = {.backend = "cpu", .optimizer = "type = adam\n", .pieces = 1, .nan_sample = -1};
    nt_replicas *replicas;
    char words[256];
    EXPECT_OK(comm, toy_create(&job, comm, &options));
    EXPECT_OK(comm, nt_replicas_create(&replicas, job.net, comm, 2));
    EXPECT_OK(comm, nt_replicas_check(replicas));
    const int last = comm->size - 1;
    for (int array = 0; array < 3; array++)
        for (int s = 0; s < nt_net_n_slots(job.net); s++) {
            const nt_slot *slot = nt_net_get_slot(job.net, s);
            float *base = array == 0 ? nt_net_params(job.net) : nt_net_state(job.net, array - 1);
            unsigned char *bits = (unsigned char *)&base[slot->offset + slot->n_elems - 1];
            *bits ^= comm->rank == last;
            nt_status status = nt_replicas_check(replicas);
            EXPECT(comm, status == (comm->size > 1 ? NT_ERR_DIVERGED : NT_OK), "%s%s: status %d",
                   arrays[array], slot->name, status);
            snprintf(words, sizeof words, "differ: %s%s of rank %d ", arrays[array], slot->name, last);
            EXPECT(comm, comm->size == 1 || strstr(nt_error_last()->message, words), "'%s' instead of '%s'",
                   nt_error_last()->message, words);
            nt_error_clear();
            *bits ^= comm->rank == last;
        }
    nt_replicas_destroy(replicas);
    toy_destroy(&job);
}

int main(void)
{
    static const parallel_test tests[] = {
        {"n_ranks_compute_what_one_computes", test_n_ranks_compute_what_one_computes},
        {"mean_over_weights_is_exact", test_mean_over_weights_is_exact},
        {"accumulation_changes_nothing", test_accumulation_changes_nothing},
        {"clipping_uses_the_global_norm", test_clipping_uses_the_global_norm},
        {"clipping_limits_the_step", test_clipping_limits_the_step},
        {"running_statistics_are_global", test_running_statistics_are_global},
        {"running_statistics_by_hand", test_running_statistics_by_hand},
        {"sync_batchnorm_is_one_rank", test_sync_batchnorm_is_one_rank},
        {"zero_is_the_whole_state", test_zero_is_the_whole_state},
        {"shards_scatter_and_gather", test_shards_scatter_and_gather},
        {"fault_93_nan_in_one_shard", fault_93_nan_in_one_shard},
        {"fault_93_only_sums_are_blamed", fault_93_only_sums_are_blamed},
        {"fault_95_every_slot_is_compared", fault_95_every_slot_is_compared},
        {"batchnorm_replicas_stay_equal", test_batchnorm_replicas_stay_equal},
        {"fault_96_two_runs_end_with_the_same_bits", fault_96_two_runs_end_with_the_same_bits},
        {"buckets_tile_the_arena", test_buckets_tile_the_arena},
        {"buckets_refuse_holes", test_buckets_refuse_holes},
        {"statistics_are_not_rounded_on_the_wire", test_statistics_are_not_rounded_on_the_wire},
        {"fault_102_all_ranks_make_the_same_calls", fault_102_all_ranks_make_the_same_calls},
        {"fault_93_nan_ends_the_step_on_all_ranks", fault_93_nan_ends_the_step_on_all_ranks},
        {"fault_93_nan_is_skipped_by_all_ranks", fault_93_nan_is_skipped_by_all_ranks},
        {"fault_93_broken_statistic", fault_93_broken_statistic},
        {"fault_93_broken_weight_of_one_rank", fault_93_broken_weight_of_one_rank},
    };
    return parallel_main(tests, (int)(sizeof tests / sizeof tests[0]));
}
