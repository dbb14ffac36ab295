/* Resuming: finds the checkpoint to go on from, holds it against the configuration, and puts it into every
 * rank's net.
 *
 * Rank 0 alone reads files; the others get the position and the weights from it. So ranks cannot see
 * different checkpoints, and the run folder need not be visible to all hosts. */
#ifndef NT_LAUNCHER_RESUME_H
#define NT_LAUNCHER_RESUME_H

#include "dist/bucket.h"
#include "launcher/folder.h"
#include "launcher/session.h"

#include <limits.h>

typedef struct nt_resume {
    bool found;    /* a checkpoint, or weights that stand in for one */
    bool weights;  /* path is a safetensors file: a fresh run begins with it, or it is evaluated */
    bool verified; /* rank 0: all of the file was read and found good */
    char path[PATH_MAX];
    nt_position position; /* of a fresh run if nothing was found */
    char *tuning_text;    /* malloc'ed; NULL if nothing was found */
} nt_resume;

/* The folder of the run's checkpoints; whether a path is that of a file of weights alone (.safetensors). */
NT_MUST nt_status nt_resume_folder(const nt_session *session, char *path, size_t cap);
bool nt_is_weights_file(const char *path);

/* Rank 0: the newest good checkpoint of the run folder (nt_checkpoint_find), whose every byte was verified.
 * Looked for once a session: whoever asks again gets the same. path: PATH_MAX bytes. */
NT_MUST nt_status nt_resume_newest(nt_session *session, char *path, bool *found);

/* Where a run begins. */
nt_position nt_position_fresh(void);

/* Collective. By [checkpoint] resume: `auto` the newest good one in <output>/checkpoints, `no` none, else
 * that file. Without a checkpoint, model.init gives the weights. Refuses (NT_ERR_CONFIG, with the list) if
 * options differ that change what is computed, and `no` while the folder holds checkpoints (NT_ERR_CREATE): a
 * fresh run beside them would lose them or be lost among them. */
NT_MUST nt_status nt_resume_find(nt_session *session, nt_resume *out);

/* Collective: a checkpoint for evaluation: `path` (or a .safetensors file), or NULL for the newest good one
 * of the run folder. Options may differ; the weights have to fit. NT_ERR_NO_INPUT if there is none. */
NT_MUST nt_status nt_resume_find_for_use(nt_session *session, const char *path, nt_resume *out);

/* Collective: into the session's net, on every rank. Does nothing if there is nothing to load. buckets: how
 * the optimizer's state is sharded, if it is; NULL: weights only, no state. */
NT_MUST nt_status nt_resume_load(nt_session *session, const nt_resume *resume, const nt_buckets *buckets);

/* Whether a position is one that a run over `batches` batches an epoch can have. NT_ERR_CHECKPOINT. */
NT_MUST nt_status nt_position_check(const nt_position *position, int64_t batches);

void nt_resume_free(nt_resume *resume);

/* Writes the algorithms that were chosen by timing to the run folder (rank 0). A run that is killed before
 * its first checkpoint begins again with the same choices, and so ends with the same bits: nt_resume_find
 * takes them from there. */
NT_MUST nt_status nt_resume_keep_tuning(const nt_session *session, nt_folder *folder,
                                        const char *tuning_text);

#endif
