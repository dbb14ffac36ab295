/* Checkpoints: whole or absent, verified, with fall-back.
 *
 * A file step_00001234.h5 in the checkpoint folder: /params/<name>, /state0/<name> to /state2/<name>,
 * /ema/<name>, /swa/<name> (float32, canonical), attributes on / (format version, nntrain version, config
 * text and hash, tuning text, np, backend, position), and an XXH3-128 digest per dataset and over all of it.
 * Written by rank 0 to a temporary file in the same folder, fsync, rename, fsync of the folder; `latest` is a
 * small text file replaced the same way. Loading verifies everything before the net is touched. */
#ifndef NT_CORE_CHECKPOINT_H
#define NT_CORE_CHECKPOINT_H

#include "core/net.h"
#include "core/schedule.h"

#define NT_CHECKPOINT_VERSION 1

/* What a run has to know to go on as if it had never stopped. */
typedef struct nt_position {
    int64_t step;          /* optimizer steps done */
    int64_t epoch;         /* of the next batch */
    int64_t batch;         /* index in the epoch of the next batch */
    double best;           /* best validation metric so far (run.metric; less is better); +inf if none */
    int64_t best_step;     /* -1 if none */
    nt_loss_sum epoch_sum; /* of the epoch so far: so that resumed epochs log the same numbers */
    nt_plateau plateau;    /* of schedule = plateau */
    nt_progress stop;      /* of run.stop_after */
} nt_position;

/* What goes with the weights. Strings are borrowed when writing, malloc'ed (nt_checkpoint_meta_free) when
 * reading. */
typedef struct nt_checkpoint_meta {
    nt_position position;
    char *config_text; /* resolved */
    uint64_t config_hash;
    char *tuning_text;
    char *backend;
    int n_ranks;
    int threads; /* of each rank; 0: unknown (older files). nt_checkpoint_save takes the backend's */
    char *optimizer;
    char *features; /* datasets/features.h; NULL or "": none */
} nt_checkpoint_meta;
void nt_checkpoint_meta_free(nt_checkpoint_meta *meta);

/* A digest over parameters, statistics and optimizer state of a net, independent of layout: 32 hex digits. */
NT_MUST nt_status nt_checkpoint_digest(nt_net *net, char hex[33]);

/* Checks that `dir` can take checkpoints, by writing and removing a probe; creates it if it does not exist.
 * Refuses links, FIFOs, files. NT_ERR_CREATE. Removes our own left-over temporary files and says so. */
NT_MUST nt_status nt_checkpoint_prepare(const char *dir);

/* Writes step_%08lld.h5 and makes `latest` name it; durable when it returns. An existing file of that step is
 * replaced. On failure the temporary file is gone and older files are as they were. NT_ERR_IO, NT_ERR_CREATE;
 * NT_ERR_NAN if an array holds NaN or Inf: such a checkpoint would push the good ones out. */
NT_MUST nt_status nt_checkpoint_save(nt_net *net, const nt_checkpoint_meta *meta, const char *dir);

/* Deletes all but the newest `keep` checkpoints (keep >= 1); never the one that `latest` names nor that of
 * best_step. */
NT_MUST nt_status nt_checkpoint_prune(const char *dir, int keep, int64_t best_step);

/* Reads and verifies the meta data of a file without a net. */
NT_MUST nt_status nt_checkpoint_read_meta(const char *path, nt_checkpoint_meta *meta);

/* Verifies the file fully, then fills the net (parameters, statistics and, if with_state, optimizer state).
 * Shapes and names must match: errors name the layer and both shapes. NT_ERR_CHECKPOINT: damaged;
 * NT_ERR_CONFIG: sound but does not fit. verified: nt_checkpoint_find has just read all of this file, so it
 * is read only once more, checking each array before it is taken: damage that came between leaves the net
 * half filled. */
NT_MUST nt_status nt_checkpoint_load(nt_net *net, const char *path, bool with_state, bool verified,
                                     nt_checkpoint_meta *meta);

/* The same for evaluation, with an average of the weights in the place of the parameters. NT_ERR_CONFIG if
 * the file has none. */
NT_MUST nt_status nt_checkpoint_load_weights(nt_net *net, const char *path, nt_weights which, bool verified,
                                             nt_checkpoint_meta *meta);

/* Finds what to resume from in `dir`: the file `latest` names, else the newest. Damaged ones are said and
 * skipped (nt_warn), each fall-back to an older one is said. *found false: there is no checkpoint at all.
 * NT_ERR_CHECKPOINT: there are some and none is usable, or `latest` is there without any. path: at least
 * PATH_MAX bytes. */
NT_MUST nt_status nt_checkpoint_find(const char *dir, char *path, size_t cap, bool *found);

/* Verifies every digest of a file and prints what is in it, for `nntrain inspect`. */
NT_MUST nt_status nt_checkpoint_inspect(const char *path, FILE *out);

typedef enum nt_checkpoint_on_error { NT_CHECKPOINT_STOP, NT_CHECKPOINT_CONTINUE } nt_checkpoint_on_error;

typedef struct nt_checkpoint_options {
    nt_interval every;  /* default 1 epoch */
    int64_t keep;       /* default 3 */
    bool best;          /* keep the one with the best validation loss; default yes */
    const char *resume; /* auto | no | path; default auto */
    bool force;         /* go on from a checkpoint of another configuration */
    int on_error;       /* nt_checkpoint_on_error: a failed write */
} nt_checkpoint_options;
extern const nt_section nt_checkpoint_section; /* [checkpoint] */

#endif
