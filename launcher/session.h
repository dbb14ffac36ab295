/* A session: what the commands that compute have in common, opened stage by stage.
 *
 * After each stage all ranks agree (nt_session_agree): they go on together or return together, with the words
 * of the lowest failing rank. `agreed` tells main that every rank knows of the error, so that it is said once
 * and the job ends cleanly; an error with `agreed` false is one rank's own, and main aborts the job. */
#ifndef NT_LAUNCHER_SESSION_H
#define NT_LAUNCHER_SESSION_H

#include "core/checkpoint.h"
#include "core/net.h"
#include "datasets/augment.h"
#include "datasets/dataset.h"
#include "dist/comm.h"
#include "launcher/args.h"
#include "launcher/feed.h"
#include "launcher/options.h"
#include "launcher/watchdog.h"

/* How a process ends in the two cases that cannot return to main. Set by main. */
typedef struct nt_exits {
    void (*leave)(int signal_number); /* second signal; async-signal-safe */
    nt_bark_fn bark;                  /* the watchdog */
} nt_exits;

typedef struct nt_session {
    nt_exits exits;
    nt_args args;
    nt_comm *comm;
    bool agreed; /* the error being returned is known to every rank */
    nt_config *config;
    const char *config_path;
    char *config_text; /* resolved */
    const nt_run_options *run;
    const nt_data_options *data;
    const nt_optim_options *optim;
    const nt_average_options *average;
    const nt_checkpoint_options *checkpoint;
    char name[80];
    char output[4096]; /* run folder */
    nt_dataset *train, *valid;
    struct nt_features *features; /* put before both; NULL: none */
    char *features_text;          /* the same, for the checkpoint */
    nt_augment *augment;          /* what becomes of their samples */
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
    nt_feed *train_feed, *valid_feed;
    char *newest;      /* rank 0: the newest good checkpoint, once it was looked for; see nt_resume_newest */
    bool newest_known; /* it was; newest NULL: there is none */
    int planned_ranks; /* `check` plans for so many; 0: as many as there are */
} nt_session;

/* Starts the communicator and takes the command line apart (launcher/args.h) into session->args. */
NT_MUST nt_status nt_session_begin(nt_session *session, int argc, char **argv, const nt_syntax *syntax);

/* Reads the config, the first word of the command line, with the overrides; every rank must have got the
 * same. Starts the watchdog that it asks for. */
NT_MUST nt_status nt_session_configure(nt_session *session);

/* Opens the training part, and the valid part if wanted and there, with their feeds. */
NT_MUST nt_status nt_session_open_data(nt_session *session, bool valid);

/* Collective: warns of training data with which nothing would seem to happen. For a run that begins: one that
 * goes on has heard it. */
NT_MUST nt_status nt_session_hint_at_data(nt_session *session);

/* For evaluation: as above, but only one feed, valid_feed, over the part asked for (`valid`, or the training
 * part if there is no other). checkpoint: that will be used, or NULL for the newest of the run folder. */
NT_MUST nt_status nt_session_open_for_eval(nt_session *session, bool valid, const char *checkpoint);

/* Builds the graph for the opened data. */
NT_MUST nt_status nt_session_open_model(nt_session *session);

/* Pins this rank, creates the backend and attaches it to the communicator. */
NT_MUST nt_status nt_session_open_backend(nt_session *session);

/* The same, but on the cpu backend where the device is not to be had (`check` on a machine without it). */
NT_MUST nt_status nt_session_open_backend_or_cpu(nt_session *session);

/* Compiles the net: rank 0 first, choosing algorithms beyond those of tuning_text (NULL: none), then the
 * others with its choices. for_training: with gradients and optimizer state. */
NT_MUST nt_status nt_session_build(nt_session *session, bool for_training, const char *tuning_text);

/* One MAX over the ranks' statuses; notes that an error is known to all. */
NT_MUST nt_status nt_session_agree(nt_session *session, nt_status mine);

/* Closes everything; the communicator last. */
void nt_session_end(nt_session *session);

/* Whether this process is the one that speaks and writes. */
static inline bool nt_session_is_root(const nt_session *session)
{
    return !session->comm || session->comm->rank == 0;
}

#endif
