/* nntrain bench: how fast a training step is, and where its time goes.
 *
 * The steps are those of training (prefetch, forward, backward with reduction, update), without validation,
 * checkpoints and logs. Medians, because a shared machine has outliers. A step's time is the slowest rank's.
 * On a device the host only gives the work and is soon two steps ahead: its step times are then the device's,
 * but the phases are what giving took (with run.debug_sync, the device's too). */
#include "launcher/command.h"
#include "launcher/run.h"
#include "launcher/summary.h"

#include "core/clock.h"
#include "core/schedule.h"
#include "dist/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define USAGE "nntrain bench cfg.ini [section.key=value ...] [--steps N] [--warmup N] [--json]"

enum { PHASE_STEP, PHASE_DATA, PHASE_FORWARD, PHASE_BACKWARD, PHASE_REDUCE, PHASE_UPDATE, N_PHASES };
static const char *const phase_name[] = {"step", "data", "forward", "backward", "reduce", "update"};

typedef struct bench {
    nt_session *session;
    nt_stepper *stepper;
    int64_t n_steps, n_warmup;
    bool json;
    double *time_s; /* (N_PHASES, n_steps) */
    double median_s[N_PHASES];
    double startup_s, peak_rss_mib, samples_per_s;
    double augment_s; /* of processor a step, in the reading thread */
    double cpu_s;     /* of processor a step, in all threads: what it costs, however busy the machine is */
} bench;

/* Seconds since this process was started by its parent (proc(5): field 22 of stat, in ticks after boot). */
static double process_age_s(void)
{
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "r");
    if (!file) return NAN;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    struct timespec now;
    if (!field || clock_gettime(CLOCK_BOOTTIME, &now) != 0) return NAN;
    double started = strtod(field, NULL) / (double)sysconf(_SC_CLK_TCK);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec - started;
}

/* Of this process so far. */
static double processor_s(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec
                                                            : NAN;
}

static nt_status run_step(bench *b, int64_t step, double time_s[N_PHASES])
{
    nt_session *s = b->session;
    nt_step_result result;
    double began = nt_clock_s();
    NT_TRY(nt_feed_next(s->train_feed));
    double read = nt_clock_s();
    const nt_feed *feed = s->train_feed;
    double lr = nt_schedule_lr(s->optim, step, b->n_warmup + b->n_steps, nt_feed_batches(feed));
    nt_status status =
        nt_stepper_run(b->stepper, feed->piece, feed->n_pieces, feed->slice.global_n, lr, step, &result);
    if (status == NT_ERR_NAN) s->agreed = true;
    NT_TRY(status);
    time_s[PHASE_STEP] = nt_clock_s() - began;
    time_s[PHASE_DATA] = read - began;
    time_s[PHASE_FORWARD] = result.times.forward_s;
    time_s[PHASE_BACKWARD] = result.times.backward_s;
    time_s[PHASE_REDUCE] = result.times.reduce_s;
    time_s[PHASE_UPDATE] = result.times.update_s;
    return NT_OK;
}

static nt_status run_steps(bench *b)
{
    double time_s[N_PHASES] = {0}, augmented_s = 0, cpu_s = 0;
    for (int64_t i = 0; i < b->n_warmup + b->n_steps; i++) {
        if (i == b->n_warmup) augmented_s = nt_prefetch_augmented(b->session->train_feed->prefetch);
        if (i == b->n_warmup) cpu_s = processor_s();
        NT_TRY(run_step(b, i, time_s));
        if (i == 0) b->startup_s = process_age_s();
        for (int p = 0; i >= b->n_warmup && p < N_PHASES; p++)
            b->time_s[p * b->n_steps + i - b->n_warmup] = time_s[p];
    }
    augmented_s = nt_prefetch_augmented(b->session->train_feed->prefetch) - augmented_s;
    b->augment_s = augmented_s / (double)b->n_steps;
    b->cpu_s = (processor_s() - cpu_s) / (double)b->n_steps;
    nt_step_result last;
    nt_status status = nt_stepper_finish(b->stepper, &last);
    if (status == NT_ERR_NAN) b->session->agreed = true;
    NT_TRY(status);
    return NT_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *value, int64_t n)
{
    qsort(value, (size_t)n, sizeof *value, by_value);
    return n % 2 ? value[n / 2] : 0.5 * (value[n / 2 - 1] + value[n / 2]);
}

/* The slowest rank's medians, its memory, its start. */
static nt_status reduce_results(bench *b)
{
    struct rusage usage;
    double value[N_PHASES + 4];
    for (int p = 0; p < N_PHASES; p++)
        value[p] = median(b->time_s + p * b->n_steps, b->n_steps);
    NT_CHECK(getrusage(RUSAGE_SELF, &usage) == 0, NT_ERR_UNAVAILABLE,
             "the system does not tell the memory used");
    value[N_PHASES] = (double)usage.ru_maxrss / 1024;
    value[N_PHASES + 1] = b->startup_s;
    value[N_PHASES + 2] = b->augment_s;
    value[N_PHASES + 3] = b->cpu_s;
    NT_TRY(nt_comm_host_reduce(b->session->comm, value, N_PHASES + 4, NT_REDUCE_MAX));
    memcpy(b->median_s, value, sizeof b->median_s);
    b->peak_rss_mib = value[N_PHASES];
    b->startup_s = value[N_PHASES + 1];
    b->augment_s = value[N_PHASES + 2];
    b->cpu_s = value[N_PHASES + 3];
    b->samples_per_s = (double)b->session->data->batch / b->median_s[PHASE_STEP];
    return NT_OK;
}

/* Backward is taken for two forwards. */
static double flop_per_s(const bench *b)
{
    return 3.0 * (double)nt_model_flops(b->session->model) * b->samples_per_s;
}

static void print_json(const bench *b)
{
    const nt_session *s = b->session;
    printf("{\"name\": \"%s\", \"backend\": \"%s\", \"ranks\": %d, \"threads\": %d, \"batch\": %lld, "
           "\"steps\": %lld, "
           "\"samples_per_s\": %.6g",
           s->name, s->backend->ops->name, s->comm->size, s->backend->options.threads,
           (long long)s->data->batch, (long long)b->n_steps, b->samples_per_s);
    for (int p = 0; p < N_PHASES; p++)
        printf(", \"%s_ms\": %.6g", phase_name[p], 1e3 * b->median_s[p]);
    printf(", \"augment_ms\": %.6g, \"cpu_ms\": %.6g, \"gflop_per_s\": %.6g", 1e3 * b->augment_s,
           1e3 * b->cpu_s, 1e-9 * flop_per_s(b));
    printf(", \"peak_rss_mib\": %.1f, \"startup_s\": %.3f}\n", b->peak_rss_mib, b->startup_s);
}

static void print_line(const char *text)
{
    printf("%s\n", text);
}

static void print_text(const bench *b)
{
    nt_summary(b->session, nt_stepper_buckets(b->stepper), print_line);
    printf("\n%-10s %10s %7s   medians of %lld steps\n", "phase", "ms", "part", (long long)b->n_steps);
    for (int p = 1; p < N_PHASES; p++)
        printf("%-10s %10.3f %6.1f%%\n", phase_name[p], 1e3 * b->median_s[p],
               100 * b->median_s[p] / b->median_s[PHASE_STEP]);
    if (nt_backend_is_device(b->session->backend) && !b->session->run->debug_sync)
        printf("(phases: the host's time to give the work; with run.debug_sync = yes, to do it)\n");
    if (b->augment_s > 0)
        printf("%-10s %10.3f %6.1f%%   of a core, in the reading thread beside the step\n", "augment",
               1e3 * b->augment_s, 100 * b->augment_s / b->median_s[PHASE_STEP]);
    printf("%-10s %10.3f\n\n%.0f samples/s, about %.1f GFLOP/s; first step %.3f s after the start; peak "
           "memory %.0f MiB "
           "a rank\n",
           "step", 1e3 * b->median_s[PHASE_STEP], b->samples_per_s, 1e-9 * flop_per_s(b), b->startup_s,
           b->peak_rss_mib);
}

static nt_status set_up(bench *b)
{
    nt_session *s = b->session;
    nt_step_options options = {.seed = (uint64_t)s->run->seed,
                               .clip_norm = s->optim->clip_norm,
                               .sync_batchnorm = s->run->sync_batchnorm};
    NT_TRY(nt_session_agree(s, nt_run_check_options(s)));
    NT_TRY(nt_session_open_data(s, false));
    NT_TRY(nt_session_open_model(s));
    NT_TRY(nt_session_open_backend(s));
    NT_TRY(nt_session_build(s, true, NULL));
    NT_TRY(nt_session_agree(s, nt_stepper_create(&b->stepper, s->net, s->comm, s->run->bucket_mb, &options)));
    NT_TRY(nt_session_agree(s, nt_feed_start(s->train_feed, 0, 0)));
    b->time_s = calloc((size_t)(N_PHASES * b->n_steps), sizeof *b->time_s);
    NT_CHECK_ALLOC(b->time_s, (size_t)(N_PHASES * b->n_steps) * sizeof *b->time_s);
    return NT_OK;
}

static nt_status measure(bench *b)
{
    NT_TRY(set_up(b));
    NT_TRY(run_steps(b));
    NT_TRY(reduce_results(b));
    if (!nt_session_is_root(b->session)) return NT_OK;
    if (b->json)
        print_json(b);
    else
        print_text(b);
    return NT_OK;
}

static nt_status bench_run(nt_session *session, int argc, char **argv)
{
    bench b = {.session = session, .n_steps = 50, .n_warmup = 5};
    const nt_flag flags[] = {{"steps", NT_FLAG_INT, &b.n_steps, "timed steps; default 50"},
                             {"warmup", NT_FLAG_INT, &b.n_warmup, "steps before; default 5"},
                             {"json", NT_FLAG_BOOL, &b.json, "print one JSON object"}};
    const nt_syntax syntax = {USAGE, 1, 1, true, flags, NT_N_ELEMS(flags)};
    NT_TRY(nt_session_begin(session, argc, argv, &syntax));
    NT_TRY(nt_session_configure(session));
    session->agreed = b.n_steps < 1 || b.n_steps > 1000000;
    NT_CHECK(!session->agreed, NT_ERR_USAGE, "--steps is 1 to 1000000, got %lld", (long long)b.n_steps);
    session->agreed = b.n_warmup < 0 || b.n_warmup > 1000000;
    NT_CHECK(!session->agreed, NT_ERR_USAGE, "--warmup is 0 to 1000000, got %lld", (long long)b.n_warmup);
    nt_status status = measure(&b);
    nt_feed_stop(session->train_feed);
    nt_stepper_destroy(b.stepper);
    free(b.time_s);
    NT_TRY(status);
    return NT_OK;
}

const nt_command nt_cmd_bench = {
    .name = "bench",
    .usage = USAGE,
    .help = "samples per second and where the time goes",
    .run = bench_run,
};
