/* What a person sees while a run goes on: a progress bar on a terminal, nothing otherwise.
 *
 * The bar lives on stderr's last line, is redrawn at most five times a second, and gets out of the way of log
 * lines (the hook of core/log.h). Under mpirun stderr is a pipe even on a terminal, so the question "is there
 * a terminal?" is put to the parent's stderr then. Plain interval lines in a file are the log's business. */
#ifndef NT_LAUNCHER_CONSOLE_H
#define NT_LAUNCHER_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nt_console_view {
    const char *what; /* "epoch 3/20" or "validating" */
    int64_t done, total;
    double loss, accuracy; /* NaN: not shown */
    double samples_per_s, left_s;
} nt_console_view;

/* Draws bars from now on if there is a terminal to draw on. launched: by mpirun or srun. */
void nt_console_start(bool launched);

/* Whether bars are drawn. */
bool nt_console_is_terminal(void);

/* Redraws if the last drawing is long enough ago. */
void nt_console_show(const nt_console_view *view);

/* Wipes the bar and draws no more. */
void nt_console_stop(void);

/* The bar as text of at most `width` columns, for nt_console_show and for tests. */
void nt_console_format(char *text, size_t cap, const nt_console_view *view, int width);

/* "1:02:03", "2:03" */
void nt_console_duration(char *text, size_t cap, double seconds);

#endif
