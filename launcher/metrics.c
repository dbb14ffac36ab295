/* The files are opened twice: once to cut off what lies past the resumed step, then to append for ever. */
#include "launcher/metrics.h"

#include "core/file.h"
#include "core/log.h"
#include "launcher/events.h"
#include "launcher/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CSV_HEADER   "step,epoch,split,loss,accuracy,lr,grad_norm,samples_per_s,perplexity\n"
#define OLD_HEADER   "step,epoch,split,loss,accuracy,lr,grad_norm,samples_per_s\n" /* of older versions */
#define TIMES_HEADER "step,phase,seconds\n"
#define LINE_BYTES   512
#define N_VALUES     6    /* of a row */
#define MAX_ASIDE    1000 /* copies of a file that somebody has worked on */

struct nt_metrics {
    int json, csv, times; /* file descriptors */
    size_t csv_values;    /* columns of the CSV for them: a run that an older version began keeps its own */
    nt_events *events;    /* NULL: none are wanted */
    bool said_lost;
};

/* The step of a line of any of the files; false if the line does not begin like one of ours. */
static bool line_step(const char *line, int64_t *step)
{
    static const char json_start[] = "{\"step\": ";
    char *end;
    if (strncmp(line, json_start, sizeof json_start - 1) == 0) line += sizeof json_start - 1;
    if (*line < '0' || *line > '9') return false;
    *step = strtoll(line, &end, 10);
    return *end == ',';
}

static bool is_header_line(const char *line)
{
    return strcmp(line, CSV_HEADER) == 0 || strcmp(line, OLD_HEADER) == 0 || strcmp(line, TIMES_HEADER) == 0;
}

/* A run that goes on keeps the header that it has, a fresh one begins with that of today. */
static bool header_stays(const char *line, int64_t step)
{
    return step > 0 || strcmp(line, OLD_HEADER) != 0;
}

/* Bytes of the file that stay: whole lines up to the first one past `step`. *strange: that one is no line of
 * ours at all (and not just torn), so it may be that somebody has worked on the file. */
static nt_status kept_bytes(FILE *file, int64_t step, off_t *kept, bool *strange)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int64_t line_at = 0;
    *kept = 0;
    *strange = false;
    while ((n = getline(&line, &cap, file)) > 0) {
        bool is_header = *kept == 0 && is_header_line(line);
        bool whole = line[n - 1] == '\n', ours = is_header || line_step(line, &line_at);
        *strange = whole && !ours;
        if (!whole || !ours || !(is_header ? header_stays(line, step) : line_at <= step)) break;
        *kept += n;
    }
    bool failed = ferror(file) != 0;
    free(line);
    NT_CHECK(!failed, NT_ERR_IO, "cannot read the metrics written so far: %s", strerror(errno));
    return NT_OK;
}

/* Creates the first of path.old, path.old.1, ... that is not there: an earlier copy stays. */
static nt_status create_aside(const char *path, char aside[PATH_MAX], int *out)
{
    char number[16] = "";
    for (int i = 1; i <= MAX_ASIDE; i++) {
        NT_CHECK(snprintf(aside, PATH_MAX, "%s.old%s", path, number) < PATH_MAX, NT_ERR_CREATE,
                 "the path of the run folder is too long");
        *out = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (*out >= 0 || errno != EEXIST) break;
        snprintf(number, sizeof number, ".%d", i);
    }
    NT_CHECK(*out >= 0, NT_ERR_CREATE, "cannot write '%s': %s", aside, strerror(errno));
    return NT_OK;
}

/* Puts a copy of the file beside it. */
static nt_status set_aside(const char *path, int fd)
{
    char aside[PATH_MAX], bytes[65536];
    int out = -1;
    NT_TRY(create_aside(path, aside, &out));
    bool good = true;
    ssize_t n = 1;
    for (off_t at = 0; good && n > 0; at += n) {
        n = pread(fd, bytes, sizeof bytes, at);
        good = n >= 0 && nt_file_write(out, bytes, (size_t)n);
    }
    int error = errno;
    close(out);
    NT_CHECK(good, NT_ERR_CREATE, "cannot write '%s': %s", aside, strerror(error));
    nt_warn(
        "'%s' holds lines that no run has written; it is kept as '%s', and lines from there on are left out",
        path, aside);
    return NT_OK;
}

static nt_status cut_after(const char *path, int64_t step)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot open '%s': %s", path, strerror(errno));
    struct stat info;
    bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    FILE *file = regular ? fdopen(fd, "r+") : NULL;
    if (!file) {
        int error = errno;
        close(fd);
        NT_FAIL(NT_ERR_CREATE, "cannot use '%s': %s", path, regular ? strerror(error) : "not a regular file");
    }
    off_t kept;
    bool strange;
    nt_status status = kept_bytes(file, step, &kept, &strange);
    if (status == NT_OK && strange) status = set_aside(path, fd);
    bool cut = status == NT_OK && ftruncate(fd, kept) == 0;
    int error = errno;
    fclose(file);
    NT_TRY(status);
    NT_CHECK(cut, NT_ERR_IO, "cannot shorten '%s': %s", path, strerror(error));
    return NT_OK;
}

static nt_status open_one(int *fd, const char *dir, const char *name, int64_t step)
{
    char path[PATH_MAX];
    NT_CHECK(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path, NT_ERR_CREATE,
             "the path of the run folder is too long: '%s'", dir);
    NT_TRY(cut_after(path, step));
    *fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    NT_CHECK(*fd >= 0, NT_ERR_CREATE, "cannot open '%s': %s", path, strerror(errno));
    return NT_OK;
}

/* Appends the line whole, or leaves the file as it was and says so once. */
static void append_line(nt_metrics *metrics, int fd, const char *line, size_t n_bytes)
{
    off_t before = lseek(fd, 0, SEEK_END);
    ssize_t n;
    do
        n = write(fd, line, n_bytes);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)n_bytes) return;
    const char *reason = n < 0 ? strerror(errno) : "no space left";
    if (n > 0 && before >= 0 && ftruncate(fd, before) != 0) reason = strerror(errno);
    if (!metrics->said_lost)
        nt_warn("metrics could not be written (%s); training goes on without them", reason);
    metrics->said_lost = true;
}

/* Whether the CSV begins with the header of an older version, which has one value less. */
static bool has_old_header(const char *dir)
{
    char path[PATH_MAX], line[sizeof OLD_HEADER] = "";
    snprintf(path, sizeof path, "%s/metrics.csv", dir);
    FILE *file = fopen(path, "re");
    bool old = file && fgets(line, sizeof line, file) && strcmp(line, OLD_HEADER) == 0;
    if (file) fclose(file);
    return old;
}

nt_status nt_metrics_open(nt_metrics **out, const char *dir, int64_t step, bool tensorboard)
{
    nt_metrics *metrics = calloc(1, sizeof *metrics);
    NT_CHECK_ALLOC(metrics, sizeof *metrics);
    metrics->json = metrics->csv = metrics->times = -1;
    nt_status status = open_one(&metrics->json, dir, "metrics.jsonl", step);
    if (status == NT_OK) status = open_one(&metrics->csv, dir, "metrics.csv", step);
    if (status == NT_OK) status = open_one(&metrics->times, dir, "times.csv", step);
    if (status == NT_OK && tensorboard) status = nt_events_open(&metrics->events, dir, step);
    if (status != NT_OK) {
        nt_metrics_close(metrics);
        NT_TRY(status);
    }
    metrics->csv_values = has_old_header(dir) ? N_VALUES - 1 : N_VALUES;
    if (lseek(metrics->csv, 0, SEEK_END) == 0)
        append_line(metrics, metrics->csv, CSV_HEADER, sizeof CSV_HEADER - 1);
    if (lseek(metrics->times, 0, SEEK_END) == 0)
        append_line(metrics, metrics->times, TIMES_HEADER, sizeof TIMES_HEADER - 1);
    *out = metrics;
    return NT_OK;
}

/* Appends `, "key": value` unless the value is NaN. */
static size_t json_field(char *line, size_t cap, const char *key, double value)
{
    if (isnan(value)) return 0;
    return (size_t)snprintf(line, cap, ", \"%s\": %s", key, nt_json_number(value).text);
}

static size_t csv_field(char *line, size_t cap, double value)
{
    return (size_t)(isnan(value) ? snprintf(line, cap, ",") : snprintf(line, cap, ",%.9g", value));
}

/* Only says that values are lost, once. */
static void note_loss(nt_metrics *metrics, nt_status status)
{
    if (status == NT_OK) return;
    if (!metrics->said_lost) nt_warn("%s; training goes on without it", nt_error_last()->message);
    nt_error_clear();
    metrics->said_lost = true;
}

static void write_events(nt_metrics *metrics, const nt_metrics_row *row, const char *const *key,
                         const double *value, int n)
{
    char tag[N_VALUES][64];
    nt_event_value values[N_VALUES];
    if (!metrics->events) return;
    for (int i = 0; i < n; i++) {
        snprintf(tag[i], sizeof tag[i], "%s/%s", row->split, key[i]);
        values[i] = (nt_event_value){tag[i], value[i]};
    }
    note_loss(metrics, nt_events_scalars(metrics->events, row->step, values, n));
}

void nt_metrics_write(nt_metrics *metrics, const nt_metrics_row *row)
{
    static const char *const key[N_VALUES] = {"loss",      "accuracy",      "lr",
                                              "grad_norm", "samples_per_s", "perplexity"};
    const double value[N_VALUES] = {row->loss,      row->accuracy,      row->lr,
                                    row->grad_norm, row->samples_per_s, row->perplexity};
    char json[LINE_BYTES], csv[LINE_BYTES];
    size_t n_json = (size_t)snprintf(json, sizeof json, "{\"step\": %lld, \"epoch\": %lld, \"split\": \"%s\"",
                                     (long long)row->step, (long long)row->epoch, row->split);
    size_t n_csv = (size_t)snprintf(csv, sizeof csv, "%lld,%lld,%s", (long long)row->step,
                                    (long long)row->epoch, row->split);
    for (size_t i = 0; i < N_VALUES; i++) {
        n_json += json_field(json + n_json, sizeof json - n_json, key[i], value[i]);
        if (i < metrics->csv_values) n_csv += csv_field(csv + n_csv, sizeof csv - n_csv, value[i]);
    }
    n_json += (size_t)snprintf(json + n_json, sizeof json - n_json, "}\n");
    n_csv += (size_t)snprintf(csv + n_csv, sizeof csv - n_csv, "\n");
    append_line(metrics, metrics->json, json, n_json);
    append_line(metrics, metrics->csv, csv, n_csv);
    write_events(metrics, row, key, value, N_VALUES);
}

void nt_metrics_write_histogram(nt_metrics *metrics, int64_t step, const char *tag, const float *values,
                                int64_t n)
{
    if (metrics->events) note_loss(metrics, nt_events_histogram(metrics->events, step, tag, values, n));
}

void nt_metrics_write_times(nt_metrics *metrics, int64_t step, const nt_phase_time *times, int n)
{
    char line[LINE_BYTES];
    for (int i = 0; i < n; i++) {
        int n_bytes =
            snprintf(line, sizeof line, "%lld,%s,%.6f\n", (long long)step, times[i].name, times[i].seconds);
        append_line(metrics, metrics->times, line, (size_t)n_bytes);
    }
}

void nt_metrics_sync(nt_metrics *metrics)
{
    bool failed = fdatasync(metrics->json) != 0 || fdatasync(metrics->csv) != 0;
    failed |= fdatasync(metrics->times) != 0;
    if (failed && !metrics->said_lost) {
        nt_warn("metrics could not be made durable: %s", strerror(errno));
        metrics->said_lost = true;
    }
}

void nt_metrics_close(nt_metrics *metrics)
{
    if (!metrics) return;
    if (metrics->json >= 0) close(metrics->json);
    if (metrics->csv >= 0) close(metrics->csv);
    if (metrics->times >= 0) close(metrics->times);
    nt_events_close(metrics->events);
    free(metrics);
}
