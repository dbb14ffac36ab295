/* Rank 0 decides and the others get its text, so that no rank computes other numbers than its neighbour. The
 * checkpoint is looked at here already, before it is loaded: how wide the model's input is depends on it. */
#include "launcher/featurise.h"

#include "core/log.h"
#include "core/phase.h"
#include "datasets/features.h"
#include "launcher/resume.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The file whose features count; *found false: there is none, or it holds weights alone. */
static nt_status find_file(nt_session *session, const char *checkpoint, bool for_use, char *path, bool *found)
{
    const char *named = checkpoint, *resume = session->checkpoint->resume;
    *found = false;
    if (!for_use && strcmp(resume, "no") == 0) return NT_OK;
    if (!for_use && strcmp(resume, "auto") != 0) named = resume;
    if (!named) return nt_resume_newest(session, path, found);
    NT_CHECK(strlen(named) < PATH_MAX, NT_ERR_USAGE, "the checkpoint's path is too long");
    strcpy(path, named);
    *found = !nt_is_weights_file(named);
    return NT_OK;
}

static nt_status from_checkpoint(nt_session *session, const char *checkpoint, bool for_use, char **text)
{
    char path[PATH_MAX];
    bool found;
    NT_TRY(find_file(session, checkpoint, for_use, path, &found));
    if (!found) return NT_OK;
    nt_checkpoint_meta meta = {0};
    NT_TRY(nt_checkpoint_read_meta(path, &meta));
    *text = meta.features;
    meta.features = NULL;
    nt_checkpoint_meta_free(&meta);
    return NT_OK;
}

static nt_status compute(const nt_session *session, char **text)
{
    nt_features *features;
    NT_CHECK(session->train, NT_ERR_NO_INPUT,
             "the features (data.features, data.one_hot) are neither in a checkpoint nor is there a training "
             "part to "
             "compute them from");
    NT_TRY(nt_features_fit(&features, session->train, session->data));
    nt_status status = nt_features_text(features, text);
    nt_info("features: %lld columns of the training part become %lld", (long long)nt_features_n_in(features),
            (long long)nt_features_n_out(features));
    nt_features_destroy(features);
    return status;
}

static nt_status decide(nt_session *session, const char *checkpoint, bool for_use, char **text)
{
    NT_TRY(from_checkpoint(session, checkpoint, for_use, text));
    if (!*text) NT_TRY(compute(session, text));
    return NT_OK;
}

static nt_status share(nt_session *session)
{
    char **text = &session->features_text;
    int64_t n_bytes = *text ? (int64_t)strlen(*text) + 1 : 0;
    nt_phase_wait("features");
    NT_TRY(nt_comm_host_broadcast(session->comm, &n_bytes, sizeof n_bytes, 0));
    if (session->comm->rank != 0) *text = malloc((size_t)n_bytes);
    NT_CHECK_ALLOC(*text, n_bytes);
    NT_TRY(nt_comm_host_broadcast(session->comm, *text, (size_t)n_bytes, 0));
    nt_phase_enter("data");
    return NT_OK;
}

static nt_status put_before(nt_session *session)
{
    NT_TRY(nt_features_parse(&session->features, session->features_text));
    if (session->train) NT_TRY(nt_dataset_set_features(session->train, session->features));
    if (session->valid) NT_TRY(nt_dataset_set_features(session->valid, session->features));
    return NT_OK;
}

nt_status nt_session_featurise(nt_session *session, const char *checkpoint, bool for_use)
{
    if (!nt_features_wanted(session->data)) return NT_OK;
    nt_phase_enter("features");
    nt_status mine =
        session->comm->rank == 0 ? decide(session, checkpoint, for_use, &session->features_text) : NT_OK;
    NT_TRY(nt_session_agree(session, mine));
    NT_TRY(share(session));
    return nt_session_agree(session, put_before(session));
}
