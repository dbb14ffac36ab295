/* A run in a few lines: what was opened, how big it is, where it computes. For the log and for `nntrain
 * check`. */
#ifndef NT_LAUNCHER_SUMMARY_H
#define NT_LAUNCHER_SUMMARY_H

#include "dist/bucket.h"
#include "launcher/session.h"

/* Calls `line` for each line (no newline in it). buckets may be NULL. The session's net is built. */
void nt_summary(const nt_session *session, const nt_buckets *buckets, void (*line)(const char *text));

#endif
