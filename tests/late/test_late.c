/* Results that come one step late (dist/step.h): the same job on a device that is none (late_device.c) and on
 * ref, step by step the same bits, only later: losses, norms, what was skipped, weights and momentum. */
#include "parallel.h"
#include "toy.h"

#include <stdlib.h>
#include <string.h>

#define N_STEPS 9

static toy late, host; /* too big for a stack under sanitizers */

static size_t arena_bytes(const toy *t)
{
    return (size_t)nt_net_n_elems(t->net) * sizeof(float);
}

static void create_both(nt_comm *comm, const toy_options *options)
{
    toy_options with = *options;
    with.backend = "ref";
    EXPECT_OK(comm, toy_create(&host, comm, &with));
    with.backend = "cuda";
    EXPECT_OK(comm, toy_create(&late, comm, &with));
    EXPECT(comm, !late.backend->ops->host_memory && (comm->size == 1 || nt_comm_overlaps(comm)),
           "there is no late device here");
}

/* The communicator has one gradient plane at a time. */
static void run_on(nt_comm *comm, toy *t, int64_t step, nt_step_result *result)
{
    if (comm->backend != t->backend) EXPECT_OK(comm, nt_comm_attach(comm, t->backend));
    EXPECT_OK(comm, toy_run(t, step, result));
}

static void expect_same(nt_comm *comm, const nt_step_result *got, const nt_step_result *want)
{
    EXPECT(comm, got->step == want->step, "the result of step %lld came, not that of %lld",
           (long long)got->step, (long long)want->step);
    bool same = memcmp(&got->sum, &want->sum, sizeof got->sum) == 0 && got->skipped == want->skipped &&
                memcmp(&got->grad_norm, &want->grad_norm, sizeof got->grad_norm) == 0;
    EXPECT(comm, same, "step %lld: loss %.17g, norm %.17g, skipped %d; ref has %.17g, %.17g, %d",
           (long long)got->step, got->sum.loss, got->grad_norm, got->skipped, want->sum.loss, want->grad_norm,
           want->skipped);
}

static void expect_same_weights(nt_comm *comm)
{
    EXPECT(comm, memcmp(nt_net_params(late.net), nt_net_params(host.net), arena_bytes(&host)) == 0,
           "weights have other bits");
    void *momentum = nt_net_state(late.net, 0);
    const size_t n_bytes = nt_net_get_memory(host.net).state; /* one array, or a shard of it */
    EXPECT(comm, !momentum || memcmp(momentum, nt_net_state(host.net, 0), n_bytes) == 0,
           "momentum has other bits");
}

static void compare(nt_comm *comm, toy_options options)
{
    nt_step_result want[N_STEPS], got;
    create_both(comm, &options);
    for (int64_t step = 0; step < N_STEPS; step++)
        run_on(comm, &host, step, &want[step]);
    for (int64_t step = 0; step < N_STEPS; step++) {
        run_on(comm, &late, step, &got);
        if (step == 0)
            EXPECT(comm, got.step == -1, "step %lld has a result already", (long long)got.step);
        else
            expect_same(comm, &got, &want[step - 1]);
    }
    EXPECT_OK(comm, nt_stepper_finish(late.stepper, &got));
    expect_same(comm, &got, &want[N_STEPS - 1]);
    EXPECT_OK(comm, nt_stepper_finish(late.stepper, &got));
    EXPECT(comm, got.step == -1, "a result comes twice");
    expect_same_weights(comm);
    toy_destroy(&late);
    toy_destroy(&host);
}

/* From three ranks on, every third batch leaves ranks without samples. */
static void test_plain(nt_comm *comm)
{
    compare(comm, (toy_options){.pieces = 1, .nan_sample = -1});
    compare(comm, (toy_options){.pieces = 1, .nan_sample = -1, .bucket_mb = 0.001});
}

static void test_batchnorm(nt_comm *comm)
{
    compare(comm, (toy_options){.pieces = 1, .batchnorm = true, .nan_sample = -1, .bucket_mb = 0.001});
}

static void test_accumulation(nt_comm *comm)
{
    compare(comm, (toy_options){.pieces = 3, .nan_sample = -1, .bucket_mb = 0.001});
}

/* Shards of the state; statistics over all ranks in between. */
static void test_zero(nt_comm *comm)
{
    compare(comm, (toy_options){.zero = true, .pieces = 2, .nan_sample = -1, .bucket_mb = 0.001});
    compare(comm, (toy_options){.zero = true,
                                .sync = true,
                                .optimizer = "momentum = 0.9\n",
                                .pieces = 3,
                                .clip_norm = 0.1,
                                .nan_sample = -1,
                                .bucket_mb = 0.001});
}

extern bool late_has_no_plane; /* late_device.c */

/* Through host memory a reduce-scatter is an all-reduce of which parts are left over: shards have the bits of
 * the whole state at any number of ranks. */
static void test_zero_through_host_memory(nt_comm *comm)
{
    static float a[1 << 16], b[1 << 16];
    toy_options options = {.backend = "ref", .pieces = 2, .nan_sample = -1, .bucket_mb = 0.001};
    nt_step_result result;
    late_has_no_plane = true;
    EXPECT_OK(comm, toy_create(&host, comm, &options));
    for (int64_t step = 0; step < N_STEPS; step++)
        EXPECT_OK(comm, toy_run(&host, step, &result));
    options.zero = true;
    options.backend = "cuda";
    EXPECT_OK(comm, toy_create(&late, comm, &options));
    EXPECT(comm, comm->size == 1 || comm->gradient == &nt_comm_staged, "the plane is %s",
           comm->gradient->name);
    for (int64_t step = 0; step < N_STEPS; step++)
        EXPECT_OK(comm, toy_run(&late, step, &result));
    EXPECT_OK(comm, nt_stepper_finish(late.stepper, &result));
    for (int s = 0; s < nt_net_n_slots(host.net); s++) {
        size_t n = (size_t)nt_shape_elems(nt_net_get_slot(host.net, s)->tensor.shape);
        EXPECT_OK(comm, nt_net_read(host.net, s, NT_ARRAY_PARAM, a));
        EXPECT_OK(comm, nt_net_read(late.net, s, NT_ARRAY_PARAM, b));
        EXPECT(comm, memcmp(a, b, n * sizeof *a) == 0, "%s has other bits",
               nt_net_get_slot(host.net, s)->name);
    }
    toy_destroy(&late);
    toy_destroy(&host);
    late_has_no_plane = false;
}

static void test_clipping(nt_comm *comm)
{
    compare(comm, (toy_options){.pieces = 2, .clip_norm = 0.1, .nan_sample = -1});
}

static void fault_93_skip(nt_comm *comm)
{
    compare(comm, (toy_options){.pieces = 2, .nan_sample = 4, .nan_policy = NT_NAN_SKIP});
    compare(
        comm,
        (toy_options){
            .pieces = 1, .batchnorm = true, .nan_sample = 17, .nan_policy = NT_NAN_SKIP, .clip_norm = 0.1});
}

static void expect_nan_in_step_0(nt_comm *comm, nt_status status)
{
    const char *message = nt_error_last()->message;
    EXPECT(comm, status == NT_ERR_NAN, "status %d", (int)status);
    EXPECT(comm, strncmp(message, "step 1: ", 8) == 0, "message '%s'", message);
    EXPECT_OK(comm, nt_comm_same(comm, message, strlen(message), "the message"));
    nt_error_clear();
}

/* Found one step late, by the next step or by finish; the weights are still sound. */
static void fault_93_abort(nt_comm *comm)
{
    for (int by_finish = 0; by_finish < 2; by_finish++) {
        toy_options options = {.backend = "cuda", .pieces = 2, .nan_sample = 4};
        nt_step_result result;
        EXPECT_OK(comm, toy_create(&late, comm, &options));
        void *before = malloc(arena_bytes(&late));
        EXPECT(comm, before, "out of memory");
        memcpy(before, nt_net_params(late.net), arena_bytes(&late));
        EXPECT_OK(comm, toy_run(&late, 0, &result));
        EXPECT(comm, memcmp(before, nt_net_params(late.net), arena_bytes(&late)) == 0, "NaNs were taken in");
        expect_nan_in_step_0(comm, by_finish ? nt_stepper_finish(late.stepper, &result)
                                             : toy_run(&late, 1, &result));
        free(before);
        toy_destroy(&late);
    }
}

/* A loss that is not finite stays on its rank, and its gradient may be finite; yet no rank makes the update.
 */
static void fault_93_loss_of_one_rank(nt_comm *comm)
{
    toy_options options = {.backend = "cuda", .pieces = 1, .nan_sample = -1, .nan_policy = NT_NAN_SKIP};
    nt_step_result result;
    EXPECT_OK(comm, toy_create(&late, comm, &options));
    for (int64_t step = 0; step < 2; step++)
        EXPECT_OK(comm, toy_run(&late, step, &result));
    EXPECT_OK(comm, nt_stepper_finish(late.stepper, &result));
    void *before = malloc(arena_bytes(&late));
    EXPECT(comm, before, "out of memory");
    memcpy(before, nt_net_params(late.net), arena_bytes(&late));
    EXPECT_OK(comm, nt_net_begin_step(late.net));
    if (comm->rank == comm->size - 1) *nt_net_loss_check(late.net) = 1e308 * 10;
    if (comm->size > 1) EXPECT_OK(comm, nt_comm_all_reduce(comm, nt_net_loss_check(late.net), 1, NT_F64));
    EXPECT_OK(comm, nt_comm_wait(comm));
    EXPECT_OK(comm, nt_net_judge(late.net, 0));
    nt_net_step update = {.lr = 0.1, .step = 2, .batch = 2, .scale = &nt_net_report(late.net)->scale};
    EXPECT_OK(comm, nt_net_update(late.net, &update));
    EXPECT(comm, memcmp(before, nt_net_params(late.net), arena_bytes(&late)) == 0, "an update was made");
    free(before);
    toy_destroy(&late);
}

/* Finished, put away, and taken up again by another stepper: as if nothing had been. */
static void test_resume(nt_comm *comm)
{
    const int64_t middle = N_STEPS / 2;
    toy_options options = {.pieces = 2, .nan_sample = -1};
    nt_step_result want, got;
    create_both(comm, &options);
    for (int64_t step = 0; step < N_STEPS; step++)
        run_on(comm, &host, step, &want);
    for (int64_t step = 0; step < middle; step++)
        run_on(comm, &late, step, &got);
    EXPECT_OK(comm, nt_stepper_finish(late.stepper, &got));
    EXPECT(comm, got.step == middle - 1, "the last result is of step %lld", (long long)got.step);
    size_t n_bytes = arena_bytes(&late);
    char *saved = malloc(2 * n_bytes);
    EXPECT(comm, saved, "out of memory");
    memcpy(saved, nt_net_params(late.net), n_bytes);
    memcpy(saved + n_bytes, nt_net_state(late.net, 0), n_bytes);
    toy_destroy(&late);
    options.backend = "cuda";
    EXPECT_OK(comm, toy_create(&late, comm, &options));
    memcpy(nt_net_params(late.net), saved, n_bytes);
    memcpy(nt_net_state(late.net, 0), saved + n_bytes, n_bytes);
    for (int64_t step = middle; step < N_STEPS; step++)
        run_on(comm, &late, step, &got);
    EXPECT_OK(comm, nt_stepper_finish(late.stepper, &got));
    expect_same(comm, &got, &want);
    expect_same_weights(comm);
    free(saved);
    toy_destroy(&late);
    toy_destroy(&host);
}

int main(void)
{
    static const parallel_test tests[] = {
        {"plain", test_plain},
        {"batchnorm", test_batchnorm},
        {"accumulation", test_accumulation},
        {"zero", test_zero},
        {"zero_through_host_memory", test_zero_through_host_memory},
        {"clipping", test_clipping},
        {"fault_93_skip", fault_93_skip},
        {"fault_93_abort", fault_93_abort},
        {"fault_93_loss_of_one_rank", fault_93_loss_of_one_rank},
        {"resume", test_resume},
    };
    return parallel_main(tests, (int)(sizeof tests / sizeof tests[0]));
}
