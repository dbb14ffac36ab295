/* nntrain check: everything that a run does before its first step, without training and without writing.
 *
 * The configuration, the run folder, the data (one batch is read), the graph, the plan of memory and of
 * gradient buckets, and the checkpoint from which the run would go on, which is read and held against the
 * net. A device that this machine does not have is replaced by the cpu backend: memory figures are that
 * backend's then. */
#include "launcher/command.h"
#include "launcher/folder.h"
#include "launcher/resume.h"
#include "launcher/run.h"
#include "launcher/summary.h"

#include "core/log.h"

#define USAGE "nntrain check cfg.ini [section.key=value ...] [--ranks N] [--dot]"

static void print_line(const char *text)
{
    printf("%s\n", text);
}

static nt_status read_one_batch(nt_session *session)
{
    NT_TRY(nt_feed_start(session->train_feed, 0, 0));
    NT_TRY(nt_feed_next(session->train_feed));
    nt_feed_stop(session->train_feed);
    return NT_OK;
}

/* Slices as rank 0 of so many ranks has them. */
static nt_status pretend_ranks(nt_session *session, int64_t n_ranks)
{
    NT_CHECK(n_ranks <= session->data->batch, NT_ERR_CONFIG,
             "the global batch of %lld has less than one sample for each of %lld ranks",
             (long long)session->data->batch, (long long)n_ranks);
    session->planned_ranks = (int)n_ranks;
    session->train_feed->size = (int)n_ranks;
    if (session->valid_feed) session->valid_feed->size = (int)n_ranks;
    return NT_OK;
}

/* Buckets are planned by the number of ranks alone, so a copy of the communicator that says another number
 * will do. */
typedef struct plan {
    nt_comm comm;
    nt_buckets *buckets;
} plan;

static nt_status plan_buckets(plan *p, const nt_session *session)
{
    p->comm = *session->comm;
    if (session->planned_ranks > 0) p->comm.size = session->planned_ranks;
    NT_TRY(nt_buckets_create(&p->buckets, session->net, &p->comm, session->run->bucket_mb, NULL, NULL));
    return NT_OK;
}

static void print_plan(const nt_session *session, const plan *p)
{
    if (!nt_session_is_root(session)) return;
    nt_model_print(session->model, stdout);
    nt_summary(session, p->buckets, print_line);
    printf("the configuration is good\n");
}

/* Only rank 0 writes, so only its view of the folder counts. */
static nt_status check_folder(const nt_session *session)
{
    if (nt_session_is_root(session)) NT_TRY(nt_folder_check(session->output, session->comm->host));
    return NT_OK;
}

/* The net as the run would begin with it. */
static nt_status build_and_load(nt_session *session, plan *p)
{
    nt_resume resume;
    nt_status status = nt_resume_find(session, &resume);
    if (status == NT_OK && resume.position.step == 0) status = nt_session_hint_at_data(session);
    if (status == NT_OK) status = nt_session_build(session, true, resume.tuning_text);
    if (status == NT_OK) status = nt_session_agree(session, plan_buckets(p, session));
    if (status == NT_OK) status = nt_resume_load(session, &resume, p->buckets);
    if (status == NT_OK && resume.found)
        nt_info("the run would go on from checkpoint '%s' after step %lld", resume.path,
                (long long)resume.position.step);
    nt_resume_free(&resume);
    NT_TRY(status);
    return NT_OK;
}

static nt_status check_run(nt_session *session, int argc, char **argv)
{
    int64_t n_ranks = 0;
    bool dot = false;
    const nt_flag flags[] = {{"ranks", NT_FLAG_INT, &n_ranks, "plan for so many ranks"},
                             {"dot", NT_FLAG_BOOL, &dot, "only draw the graph, in graphviz's language"}};
    const nt_syntax syntax = {USAGE, 1, 1, true, flags, NT_N_ELEMS(flags)};
    NT_TRY(nt_session_begin(session, argc, argv, &syntax));
    NT_TRY(nt_session_configure(session));
    NT_TRY(nt_session_agree(session, nt_run_check_options(session)));
    NT_TRY(nt_session_agree(session, check_folder(session)));
    NT_TRY(nt_session_open_data(session, true));
    NT_TRY(nt_session_agree(session, read_one_batch(session)));
    NT_TRY(nt_session_open_model(session));
    if (dot) {
        if (nt_session_is_root(session)) nt_model_dot(session->model, stdout);
        return NT_OK;
    }
    NT_TRY(nt_session_open_backend_or_cpu(session));
    if (n_ranks > 0) NT_TRY(nt_session_agree(session, pretend_ranks(session, n_ranks)));
    plan p = {.buckets = NULL};
    nt_status status = build_and_load(session, &p);
    if (status == NT_OK) print_plan(session, &p);
    nt_buckets_destroy(p.buckets);
    return status;
}

const nt_command nt_cmd_check = {
    .name = "check",
    .usage = USAGE,
    .help = "validate everything without training; print shapes, parameters, memory, buckets",
    .run = check_run,
};
