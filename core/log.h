/* Log lines: `2026-01-31T12:00:00Z rank 0 info: text`, each in one write so that ranks never interleave.
 *
 * Rank 0 alone speaks at info level; warnings and errors speak on every rank. Lines go to stderr and, once
 * nt_log_open_file was called, to train.log in the run folder. A line that cannot be written (full disk,
 * closed pipe) never stops a run: it is counted and said once when possible. Control characters are escaped.
 */
#ifndef NT_CORE_LOG_H
#define NT_CORE_LOG_H

#include "core/status.h"

typedef enum nt_log_level { NT_LOG_DEBUG, NT_LOG_INFO, NT_LOG_WARN, NT_LOG_ERROR } nt_log_level;

/* Who is speaking. Before this call the process counts as rank 0 of 1 (and the rank is not printed). */
void nt_log_set_rank(int rank, int size);

/* Lowest level printed; default NT_LOG_INFO. */
void nt_log_set_level(nt_log_level level);

/* Also append to this file (rank 0 only). NT_ERR_CREATE if it cannot be opened. */
NT_MUST nt_status nt_log_open_file(const char *path);

/* Closes the file, if any. */
void nt_log_close_file(void);

/* One line. Thread-safe. No newline in the format. */
void nt_log(nt_log_level level, const char *format, ...) NT_PRINTF(2);

/* Number of warnings so far in this process. */
int nt_log_warnings(void);

/* Called around each line written to stderr, so that a progress bar can get out of the way; NULL for none. */
void nt_log_set_hook(void (*before_line)(void));

#define nt_debug(...) nt_log(NT_LOG_DEBUG, __VA_ARGS__)
#define nt_info(...)  nt_log(NT_LOG_INFO, __VA_ARGS__)
#define nt_warn(...)  nt_log(NT_LOG_WARN, __VA_ARGS__)

#endif
