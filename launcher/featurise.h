/* Features of tabular data (datasets/features.h) in a session: where they come from, and that all ranks have
 * the same. */
#ifndef NT_LAUNCHER_FEATURISE_H
#define NT_LAUNCHER_FEATURISE_H

#include "launcher/session.h"

/* Collective, once the data are open. If [data] asks for features, takes those of the checkpoint that will be
 * used (for_use: `checkpoint`, or NULL for the newest of the run folder; else the one that the run goes on
 * from), or computes them on rank 0 from the training part; and puts them before the session's sets. */
NT_MUST nt_status nt_session_featurise(nt_session *session, const char *checkpoint, bool for_use);

#endif
