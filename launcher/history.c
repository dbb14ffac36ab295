/* Lines are cut at commas in place; an empty field is a value that the row does not have. */
#include "launcher/history.h"

#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_FIELDS (3 + NT_HISTORY_VALUES)

/* Cuts `line` at commas; the number of fields, at most `max` of which are kept. */
static int cut(char *line, char **field, int max)
{
    int n = 0;
    line[strcspn(line, "\r\n")] = '\0';
    for (char *at = line; at; n++) {
        char *comma = strchr(at, ',');
        if (comma) *comma = '\0';
        if (n < max) field[n] = at;
        at = comma ? comma + 1 : NULL;
    }
    return n;
}

static bool parse_row(char *line, nt_history_row *row)
{
    char *field[N_FIELDS];
    const int n = cut(line, field, N_FIELDS);
    if (n != N_FIELDS && n != N_FIELDS - 1) return false;
    if (!nt_text_to_int(field[0], &row->step) || !nt_text_to_int(field[1], &row->epoch)) return false;
    if (strlen(field[2]) >= sizeof row->split) return false;
    snprintf(row->split, sizeof row->split, "%s", field[2]);
    for (int i = 0; i < NT_HISTORY_VALUES; i++) {
        row->value[i] = NAN; /* also for what is not finite: there is nowhere to draw it */
        double value;
        if (3 + i < n && nt_text_to_float(field[3 + i], &value)) row->value[i] = value;
    }
    return true;
}

static nt_status add_row(nt_history *history, const nt_history_row *row)
{
    const int64_t n = history->n_rows;
    if ((n & (n - 1)) == 0) { /* the capacity is the next power of 2 */
        size_t n_bytes = (size_t)(n ? 2 * n : 1) * sizeof *row;
        nt_history_row *grown = realloc(history->row, n_bytes);
        NT_CHECK_ALLOC(grown, n_bytes);
        history->row = grown;
    }
    history->row[history->n_rows++] = *row;
    return NT_OK;
}

static nt_status take_metrics_line(nt_history *history, char *line)
{
    nt_history_row row;
    if (!parse_row(line, &row)) {
        history->n_bad_lines++;
        return NT_OK;
    }
    NT_TRY(add_row(history, &row));
    return NT_OK;
}

/* The place of a phase. */
static nt_history_time *time_of(nt_history *history, const char *phase)
{
    for (int i = 0; i < history->n_times; i++)
        if (strcmp(history->time[i].phase, phase) == 0) return &history->time[i];
    if (history->n_times == NT_HISTORY_TIMES) return &history->time[NT_HISTORY_TIMES - 1];
    nt_history_time *at = &history->time[history->n_times++];
    bool last = history->n_times == NT_HISTORY_TIMES;
    snprintf(at->phase, sizeof at->phase, "%s", last ? NT_HISTORY_REST : phase);
    return at;
}

static nt_status take_times_line(nt_history *history, char *line)
{
    char *field[3];
    int64_t step;
    double seconds;
    bool good = cut(line, field, 3) == 3 && nt_text_to_int(field[0], &step) &&
                nt_text_to_float(field[2], &seconds) && strlen(field[1]) < sizeof history->time[0].phase;
    if (!good) {
        history->n_bad_lines++;
        return NT_OK;
    }
    time_of(history, field[1])->seconds += seconds;
    return NT_OK;
}

/* All lines but the header to `take`. */
static nt_status read_lines(nt_history *history, FILE *file, nt_status (*take)(nt_history *, char *))
{
    char *line = NULL;
    size_t cap = 0;
    nt_status status = NT_OK;
    bool header = true;
    while (status == NT_OK && getline(&line, &cap, file) > 0) {
        if (!header) status = take(history, line);
        header = false;
    }
    free(line);
    NT_TRY(status);
    NT_CHECK(!ferror(file), NT_ERR_IO, "cannot read the metrics: %s", strerror(errno));
    return NT_OK;
}

static nt_status open_file(const char *path, FILE **file)
{
    int fd;
    NT_TRY(nt_file_open_regular(path, &fd));
    *file = fdopen(fd, "r");
    if (!*file) close(fd);
    NT_CHECK_ALLOC(*file, sizeof **file);
    return NT_OK;
}

static nt_status read_file(nt_history *history, const char *dir, const char *name, bool needed,
                           nt_status (*take)(nt_history *, char *))
{
    char path[PATH_MAX];
    NT_CHECK(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path, NT_ERR_NO_INPUT,
             "the path of the run folder is too long: '%s'", dir);
    if (!needed && access(path, F_OK) != 0) return NT_OK;
    FILE *file;
    nt_status status = open_file(path, &file);
    if (status != NT_OK) {
        (void)nt_error_prefix(status, "a run folder is wanted, as 'nntrain cfg.ini' makes it: ");
        NT_TRY(status);
    }
    status = read_lines(history, file, take);
    fclose(file);
    NT_TRY(status);
    return NT_OK;
}

static int by_seconds(const void *a, const void *b)
{
    const nt_history_time *x = a, *y = b;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

nt_status nt_history_load(nt_history *history, const char *dir)
{
    *history = (nt_history){0};
    nt_status status = read_file(history, dir, "metrics.csv", true, take_metrics_line);
    if (status == NT_OK) status = read_file(history, dir, "times.csv", false, take_times_line);
    if (status != NT_OK) nt_history_free(history);
    NT_TRY(status);
    qsort(history->time, (size_t)history->n_times, sizeof history->time[0], by_seconds);
    return NT_OK;
}

void nt_history_free(nt_history *history)
{
    free(history->row);
    *history = (nt_history){0};
}

nt_status nt_history_curve(const nt_history *history, const char *split, int value, double **x, double **y,
                           int64_t *n)
{
    *x = *y = NULL;
    *n = 0;
    if (history->n_rows == 0) return NT_OK;
    size_t n_bytes = 2 * (size_t)history->n_rows * sizeof **x;
    *x = malloc(n_bytes);
    NT_CHECK_ALLOC(*x, n_bytes);
    *y = *x + history->n_rows;
    for (int64_t i = 0; i < history->n_rows; i++) {
        const nt_history_row *row = &history->row[i];
        if (strcmp(row->split, split) != 0 || isnan(row->value[value])) continue;
        (*x)[*n] = (double)row->step;
        (*y)[(*n)++] = row->value[value];
    }
    if (*n > 0) return NT_OK;
    free(*x);
    *x = *y = NULL;
    return NT_OK;
}
