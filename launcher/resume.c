/* Finding comes before compiling, because the checkpoint holds the algorithms that were chosen; loading comes
 * after. Rank 0's weights go to the others through the gradient plane, as flat arenas. */
#include "launcher/resume.h"

#include "core/fault.h"
#include "core/file.h"
#include "core/log.h"
#include "core/phase.h"
#include "core/weights.h"
#include "dist/shard.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

nt_position nt_position_fresh(void)
{
    return (nt_position){.best = INFINITY, .best_step = -1};
}

nt_status nt_position_check(const nt_position *p, int64_t batches)
{
    bool in_range = p->step >= 0 && p->epoch >= 0 && p->batch >= 0 && p->batch < batches &&
                    p->epoch <= INT64_MAX / batches - 1 && p->best_step <= p->step;
    NT_CHECK(
        in_range && p->step == p->epoch * batches + p->batch, NT_ERR_CHECKPOINT,
        "the checkpoint stands at step %lld, epoch %lld, batch %lld, which cannot be with %lld batches an "
        "epoch; do the data still have the same number of samples?",
        (long long)p->step, (long long)p->epoch, (long long)p->batch, (long long)batches);
    return NT_OK;
}

/* --- finding, on rank 0 --- */

nt_status nt_resume_folder(const nt_session *session, char *path, size_t cap)
{
    NT_CHECK((size_t)snprintf(path, cap, "%s/checkpoints", session->output) < cap, NT_ERR_CONFIG,
             "the path of the run folder is too long: '%s'", session->output);
    return NT_OK;
}

nt_status nt_resume_newest(nt_session *session, char *path, bool *found)
{
    if (!session->newest_known) {
        char folder[PATH_MAX];
        NT_TRY(nt_resume_folder(session, folder, sizeof folder));
        NT_TRY(nt_checkpoint_find(folder, path, PATH_MAX, found));
        if (*found) session->newest = strdup(path);
        NT_CHECK_ALLOC(!*found || session->newest, strlen(path) + 1);
        session->newest_known = true;
    }
    *found = session->newest != NULL;
    if (*found) strcpy(path, session->newest);
    return NT_OK;
}

/* Refuses a checkpoint made with options that compute something else, unless told not to; says which free
 * ones changed. */
static nt_status check_config(const nt_session *session, const nt_checkpoint_meta *meta, const char *path)
{
    nt_config *before = NULL;
    char differences[1400] = "";
    nt_status status = nt_config_parse(&before, path, meta->config_text, strlen(meta->config_text), NULL, 0,
                                       nt_all_sections);
    if (status != NT_OK) return nt_error_prefix(status, "the configuration in checkpoint '%s': ", path);
    int n_fatal = nt_config_diff(before, session->config, differences, sizeof differences);
    nt_config_destroy(before);
    NT_CHECK(n_fatal == 0 || session->checkpoint->force, NT_ERR_CONFIG,
             "checkpoint '%s' was made with another configuration, so going on from it would not be the same "
             "run; change it back, choose another run.output, or say checkpoint.force=yes. Differences: %s",
             path, differences);
    if (n_fatal > 0)
        nt_warn("checkpoint.force = yes: going on with another configuration: %s", differences);
    else if (*differences)
        nt_info("options that may change have changed since the checkpoint: %s", differences);
    return NT_OK;
}

static void say_other_circumstances(const nt_session *session, const nt_checkpoint_meta *meta)
{
    if (meta->n_ranks != session->comm->size)
        nt_warn("the checkpoint was made by %d ranks, this run has %d: same order of samples, other rounding",
                meta->n_ranks, session->comm->size);
    if (meta->backend && strcmp(meta->backend, session->backend->ops->name) != 0)
        nt_warn(
            "the checkpoint was made on backend %s, this run is on %s: same order of samples, other rounding",
            meta->backend, session->backend->ops->name);
    int threads = session->backend->options.threads;
    if (meta->threads > 0 && meta->threads != threads)
        nt_warn("the checkpoint was made with run.threads=%d, this run has %d: same order of samples, other "
                "rounding; only run.threads=%d gives the same results",
                meta->threads, threads, meta->threads);
}

/* What the weights expect and what the data will give them. */
static nt_status check_features(const nt_session *session, const nt_checkpoint_meta *meta, const char *path)
{
    const char *before = meta->features ? meta->features : "";
    const char *now = session->features_text ? session->features_text : "";
    NT_CHECK(
        *before || !*now, NT_ERR_CONFIG,
        "checkpoint '%s' was trained without features: take data.features and data.one_hot out of the config",
        path);
    NT_CHECK(!*before || *now, NT_ERR_CONFIG,
             "checkpoint '%s' was trained on features: the config must say data.features and data.one_hot as "
             "it did",
             path);
    NT_CHECK(strcmp(before, now) == 0, NT_ERR_CONFIG,
             "checkpoint '%s' was trained on other features than those in use", path);
    return NT_OK;
}

/* Takes what is needed of a sound file. */
static nt_status take_meta(nt_session *session, bool same_config, nt_resume *out)
{
    nt_checkpoint_meta meta = {0};
    NT_TRY(nt_checkpoint_read_meta(out->path, &meta));
    nt_status status = same_config ? check_config(session, &meta, out->path) : NT_OK;
    if (status == NT_OK) status = check_features(session, &meta, out->path);
    if (status == NT_OK && same_config)
        status = nt_position_check(&meta.position, nt_feed_batches(session->train_feed));
    if (status == NT_OK) {
        if (same_config) say_other_circumstances(session, &meta);
        out->found = true;
        out->position = meta.position;
        out->tuning_text = meta.tuning_text;
        meta.tuning_text = NULL;
    }
    nt_checkpoint_meta_free(&meta);
    NT_TRY(status);
    return NT_OK;
}

/* --- algorithms without a checkpoint --- */

#define TUNING_NAME      "tuning.txt"
#define MAX_TUNING_BYTES (1 << 20)

nt_status nt_resume_keep_tuning(const nt_session *session, nt_folder *folder, const char *tuning_text)
{
    char *text = NULL;
    int n = asprintf(&text, "config %016llx\n%s", (unsigned long long)nt_config_hash(session->config),
                     tuning_text);
    NT_CHECK_ALLOC(n >= 0, strlen(tuning_text) + 32);
    nt_status status = nt_folder_write(folder, TUNING_NAME, text);
    free(text);
    NT_TRY(status);
    return NT_OK;
}

/* The whole file, at most cap bytes of it, malloc'ed. */
static nt_status read_text(const char *path, size_t cap, char **text)
{
    int fd;
    NT_TRY(nt_file_open_regular(path, &fd));
    char *all = calloc(1, cap + 1);
    size_t n = 0;
    ssize_t got = all ? 1 : 0;
    while (n < cap && (got > 0 || (got < 0 && errno == EINTR))) {
        got = read(fd, all + n, cap - n);
        if (got > 0) n += (size_t)got;
    }
    int error = errno;
    close(fd);
    NT_CHECK_ALLOC(all, cap + 1);
    *text = all;
    NT_CHECK(got >= 0, NT_ERR_NO_INPUT, "cannot read '%s': %s", path, strerror(error));
    NT_CHECK(n < cap, NT_ERR_DATA, "'%s' has more than %zu bytes", path, cap);
    NT_CHECK(strlen(all) == n, NT_ERR_DATA, "'%s' holds a NUL byte", path);
    return NT_OK;
}

/* *choices: what follows "config <hash>", NULL if that is the hash of another configuration. */
static nt_status find_choices(const nt_session *session, const char *path, const char *text,
                              const char **choices)
{
    unsigned long long hash;
    int head = 0;
    nt_tuning *tuning;
    NT_CHECK(sscanf(text, "config %16llx%n", &hash, &head) == 1 && text[head] == '\n', NT_ERR_DATA,
             "'%s' does not begin with 'config' and a number", path);
    if (hash != nt_config_hash(session->config)) return NT_OK;
    NT_TRY(nt_tuning_create(&tuning, false));
    nt_status status = nt_tuning_parse(tuning, text + head + 1);
    nt_tuning_destroy(tuning);
    if (status != NT_OK) return nt_error_prefix(status, "'%s': ", path);
    *choices = text + head + 1;
    return NT_OK;
}

/* What an earlier start of the same configuration chose; *text stays NULL if there was none. A file that
 * cannot be used is said: without it a run that was killed before its first checkpoint may end with other
 * bits. */
static nt_status read_tuning(const nt_session *session, char **text)
{
    char path[PATH_MAX], *all = NULL;
    const char *choices = NULL;
    if ((size_t)snprintf(path, sizeof path, "%s/" TUNING_NAME, session->output) >= sizeof path ||
        access(path, F_OK) != 0)
        return NT_OK;
    nt_status status = read_text(path, MAX_TUNING_BYTES, &all);
    if (status == NT_OK) status = find_choices(session, path, all, &choices);
    if (status != NT_OK) {
        nt_warn("%s: the algorithms are chosen anew", nt_error_last()->message);
        nt_error_clear();
    }
    *text = choices ? strdup(choices) : NULL;
    free(all);
    NT_CHECK_ALLOC(!choices || *text, MAX_TUNING_BYTES);
    return NT_OK;
}

/* A fresh run begins with the weights of model.init, if there are any. */
static nt_status take_init(const nt_session *session, nt_resume *out)
{
    const nt_model_options *model = nt_config_section(session->config, &nt_model_section);
    if (!model->init) return NT_OK;
    NT_CHECK(strlen(model->init) < sizeof out->path, NT_ERR_CONFIG, "model.init is too long");
    strcpy(out->path, model->init);
    out->weights = true;
    return NT_OK;
}

bool nt_is_weights_file(const char *path)
{
    static const char end[] = ".safetensors";
    size_t n = strlen(path);
    return n > sizeof end - 1 && strcmp(path + n - (sizeof end - 1), end) == 0;
}

static nt_status find_on_root(nt_session *session, nt_resume *out)
{
    const char *resume = session->checkpoint->resume;
    bool automatic = strcmp(resume, "auto") == 0, no = strcmp(resume, "no") == 0;
    if (!automatic && !no) {
        NT_CHECK(strlen(resume) < sizeof out->path, NT_ERR_CONFIG, "checkpoint.resume is too long");
        strcpy(out->path, resume);
        NT_TRY(take_meta(session, true, out));
        return NT_OK;
    }
    bool found = false;
    NT_TRY(nt_resume_newest(session, out->path, &found));
    out->verified = found;
    NT_CHECK(
        !(found && no), NT_ERR_CREATE,
        "run folder '%s' holds checkpoints of an earlier run; to go on from them use checkpoint.resume=auto, "
        "to begin afresh choose another run.output or remove the folder",
        session->output);
    if (found)
        NT_TRY(take_meta(session, true, out));
    else if (automatic)
        NT_TRY(read_tuning(session, &out->tuning_text));
    if (!found) NT_TRY(take_init(session, out));
    return NT_OK;
}

static nt_status find_for_use_on_root(nt_session *session, const char *path, nt_resume *out)
{
    char folder[PATH_MAX];
    bool found = true;
    NT_TRY(nt_resume_folder(session, folder, sizeof folder));
    if (path) {
        NT_CHECK(strlen(path) < sizeof out->path, NT_ERR_USAGE, "the checkpoint's path is too long");
        strcpy(out->path, path);
    } else {
        NT_TRY(nt_resume_newest(session, out->path, &found));
        out->verified = found;
    }
    NT_CHECK(found, NT_ERR_NO_INPUT, "there is no checkpoint in '%s': train first, or name a checkpoint file",
             folder);
    out->weights = nt_is_weights_file(out->path);
    out->found = true;
    if (!out->weights) NT_TRY(take_meta(session, false, out));
    return NT_OK;
}

/* --- to all ranks --- */

static nt_status share(nt_session *session, nt_resume *out)
{
    struct {
        int64_t found, weights, tuning_bytes;
        nt_position position;
    } head = {.found = out->found, .weights = out->weights, .position = out->position};
    if (out->tuning_text) head.tuning_bytes = (int64_t)strlen(out->tuning_text) + 1;
    nt_phase_wait("resume");
    NT_TRY(nt_comm_host_broadcast(session->comm, &head, sizeof head, 0));
    NT_TRY(nt_comm_host_broadcast(session->comm, out->path, sizeof out->path, 0));
    out->found = head.found;
    out->weights = head.weights;
    out->position = head.position;
    if (head.tuning_bytes > 0) {
        if (!out->tuning_text) out->tuning_text = calloc(1, (size_t)head.tuning_bytes);
        NT_CHECK_ALLOC(out->tuning_text, head.tuning_bytes);
        NT_TRY(nt_comm_host_broadcast(session->comm, out->tuning_text, (size_t)head.tuning_bytes, 0));
    }
    return NT_OK;
}

nt_status nt_resume_find(nt_session *session, nt_resume *out)
{
    *out = (nt_resume){.position = nt_position_fresh()};
    nt_phase_enter("resume");
    NT_TRY(nt_session_agree(session, session->comm->rank == 0 ? find_on_root(session, out) : NT_OK));
    NT_TRY(share(session, out));
    return NT_OK;
}

nt_status nt_resume_find_for_use(nt_session *session, const char *path, nt_resume *out)
{
    *out = (nt_resume){.position = nt_position_fresh()};
    nt_status mine = session->comm->rank == 0 ? find_for_use_on_root(session, path, out) : NT_OK;
    NT_TRY(nt_session_agree(session, mine));
    NT_TRY(share(session, out));
    return NT_OK;
}

/* The file was read before, for its position: it must still be that one. */
static nt_status check_not_replaced(const nt_resume *resume, const nt_checkpoint_meta *meta)
{
    const nt_position *a = &resume->position, *b = &meta->position;
    NT_CHECK(
        !resume->found || (a->step == b->step && a->epoch == b->epoch && a->batch == b->batch),
        NT_ERR_CHECKPOINT,
        "checkpoint '%s' was replaced while it was read: it stood at step %lld and now stands at step %lld; "
        "is another run writing to this folder?",
        resume->path, (long long)a->step, (long long)b->step);
    return NT_OK;
}

static nt_status load_on_root(nt_session *session, const nt_resume *resume, bool with_state)
{
    nt_checkpoint_meta meta = {0};
    const nt_model_options *model = nt_config_section(session->config, &nt_model_section);
    if (resume->weights) {
        NT_TRY(nt_weights_load(session->net, resume->path, !resume->found && model->init_partial));
        return NT_OK;
    }
    (void)nt_fault_point("resume.load");
    nt_weights which = with_state ? NT_WEIGHTS_RAW : (nt_weights)session->average->weights;
    nt_status status =
        which == NT_WEIGHTS_RAW
            ? nt_checkpoint_load(session->net, resume->path, with_state, resume->verified, &meta)
            : nt_checkpoint_load_weights(session->net, resume->path, which, resume->verified, &meta);
    if (status == NT_OK) status = check_not_replaced(resume, &meta);
    nt_checkpoint_meta_free(&meta);
    NT_TRY(status);
    return NT_OK;
}

/* Rank 0's optimizer state to all, or to each its shard. */
static nt_status spread_state(nt_session *session, const nt_buckets *buckets, size_t n_bytes)
{
    nt_comm *comm = session->comm;
    NT_TRY(nt_shard_scatter(buckets));
    for (int i = 0; !nt_buckets_sharded(buckets) && i < nt_optim_n_states(session->optim); i++)
        NT_TRY(nt_comm_broadcast(comm, nt_net_state(session->net, i), n_bytes, 0));
    return NT_OK;
}

/* The averages that rank 0 has got. */
static nt_status spread_averages(nt_session *session, size_t n_bytes)
{
    nt_net *net = session->net;
    for (int w = NT_WEIGHTS_EMA; w < NT_N_WEIGHTS; w++) {
        int64_t begun = nt_net_average_begun(net, (nt_weights)w);
        if (!nt_net_average_of(net, (nt_weights)w)) continue;
        NT_TRY(nt_comm_host_broadcast(session->comm, &begun, sizeof begun, 0));
        if (!begun) continue;
        nt_net_begin_average(net, (nt_weights)w);
        NT_TRY(nt_comm_broadcast(session->comm, nt_net_average_of(net, (nt_weights)w), n_bytes, 0));
    }
    return NT_OK;
}

static nt_status load(nt_session *session, const nt_resume *resume, const nt_buckets *buckets)
{
    nt_comm *comm = session->comm;
    nt_net *net = session->net;
    nt_phase_enter("resume");
    if (buckets) NT_TRY(nt_session_agree(session, nt_shard_open(buckets)));
    nt_status mine = comm->rank == 0 ? load_on_root(session, resume, buckets != NULL) : NT_OK;
    NT_TRY(nt_session_agree(session, mine));
    nt_phase_wait("resume");
    size_t n_bytes = (size_t)nt_net_n_elems(net) * nt_dtype_bytes(session->backend->ops->real);
    NT_TRY(nt_comm_broadcast(comm, nt_net_params(net), n_bytes, 0));
    if (buckets && !resume->weights) NT_TRY(spread_state(session, buckets, n_bytes));
    if (buckets && !resume->weights) NT_TRY(spread_averages(session, n_bytes));
    NT_TRY(nt_comm_wait(comm));
    return NT_OK;
}

nt_status nt_resume_load(nt_session *session, const nt_resume *resume, const nt_buckets *buckets)
{
    if (!resume->found && !resume->weights) return NT_OK;
    nt_status status = load(session, resume, buckets);
    if (buckets) nt_shard_close(buckets);
    NT_TRY(status);
    return NT_OK;
}

void nt_resume_free(nt_resume *resume)
{
    free(resume->tuning_text);
    resume->tuning_text = NULL;
}
