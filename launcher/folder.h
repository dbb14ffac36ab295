/* The run folder: made, locked against a second run, and holding config.ini, logs, metrics and checkpoints.
 * Rank 0 only.
 *
 * The lock is a file `lock` made with O_EXCL that names host, process and that process's start time. A lock
 * whose process is gone from this host is stale and taken over, saying so; one of another host cannot be
 * judged and is refused. Judging and taking over happen under flock() on the folder, so that two runs that
 * find the same stale lock do not both win. flock() alone was the alternative: it does not reach other hosts
 * on NFS and says nothing about who holds it. A run that is being ended may need a moment to die, so a lock
 * of this host is waited for, two seconds. */
#ifndef NT_LAUNCHER_FOLDER_H
#define NT_LAUNCHER_FOLDER_H

#include "core/status.h"

typedef struct nt_folder nt_folder;

/* Creates `path` with its parents where missing and locks it. host: this host's name. NT_ERR_CREATE: it is
 * not a folder or not writable, or another run holds it. */
NT_MUST nt_status nt_folder_open(nt_folder **out, const char *path, const char *host);

/* Whether nt_folder_open would succeed, as far as that can be seen without changing anything. */
NT_MUST nt_status nt_folder_check(const char *path, const char *host);

/* Gives up the lock. NULL is fine. */
void nt_folder_close(nt_folder *folder);

/* Replaces `name` in the folder by `text`: temporary file, fsync, rename. */
NT_MUST nt_status nt_folder_write(nt_folder *folder, const char *name, const char *text);

/* "<folder>/<name>"; NT_ERR_CREATE if too long. */
NT_MUST nt_status nt_folder_path(const nt_folder *folder, const char *name, char *path, size_t cap);

#endif
