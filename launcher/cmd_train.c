/* nntrain train: see launcher/run.c. */
#include "launcher/command.h"
#include "launcher/run.h"
#include "launcher/signals.h"

#define USAGE "nntrain [train] cfg.ini [section.key=value ...]"

static nt_status train_run(nt_session *session, int argc, char **argv)
{
    const nt_syntax syntax = {.usage = USAGE, .min_words = 1, .max_words = 1, .overrides = true};
    NT_TRY(nt_signals_install(session->exits.leave));
    NT_TRY(nt_session_begin(session, argc, argv, &syntax));
    NT_TRY(nt_session_configure(session));
    NT_TRY(nt_run_train(session));
    return NT_OK;
}

const nt_command nt_cmd_train = {
    .name = "train",
    .usage = USAGE,
    .help = "train; under mpirun or srun, or alone",
    .run = train_run,
};
