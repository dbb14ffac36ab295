/* Training: from an opened session to the last checkpoint. */
#ifndef NT_LAUNCHER_RUN_H
#define NT_LAUNCHER_RUN_H

#include "launcher/session.h"

/* Collective. The session has its communicator and configuration; everything else is opened here. Returns
 * NT_OK when all steps are done, NT_STOPPED after a signal and a good checkpoint. */
NT_MUST nt_status nt_run_train(nt_session *session);

/* What the option tables cannot know: lengths of nothing, batches smaller than the number of ranks. */
NT_MUST nt_status nt_run_check_options(const nt_session *session);

#endif
