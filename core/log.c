#include "core/log.h"

#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    int rank, size, file, warnings;
    bool said_lost;
    nt_log_level level;
    void (*before_line)(void);
} the_log = {.lock = PTHREAD_MUTEX_INITIALIZER, .rank = 0, .size = 1, .file = -1, .level = NT_LOG_INFO};

void nt_log_set_rank(int rank, int size)
{
    the_log.rank = rank;
    the_log.size = size;
}

void nt_log_set_level(nt_log_level level)
{
    the_log.level = level;
}

void nt_log_set_hook(void (*before_line)(void))
{
    the_log.before_line = before_line;
}

int nt_log_warnings(void)
{
    return the_log.warnings;
}

nt_status nt_log_open_file(const char *path)
{
    struct stat info; /* O_NONBLOCK: a FIFO must not hold us up until somebody reads it */
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot open the log file '%s': %s", path, strerror(errno));
    bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    if (!regular) close(fd);
    NT_CHECK(regular, NT_ERR_CREATE, "cannot use the log file '%s': not a regular file", path);
    the_log.file = fd;
    return NT_OK;
}

void nt_log_close_file(void)
{
    if (the_log.file >= 0) close(the_log.file);
    the_log.file = -1;
}

/* Formats time, rank and level in front of `text`; returns the length, newline included. */
static size_t format_line(char *line, size_t cap, nt_log_level level, const char *text)
{
    static const char *const level_name[] = {"debug", "info", "warning", "error"};
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, cap, "%Y-%m-%dT%H:%M:%SZ ", &tm);
    if (the_log.size > 1 && (the_log.rank > 0 || level >= NT_LOG_WARN))
        n += (size_t)snprintf(line + n, cap - n, "rank %d ", the_log.rank);
    n += (size_t)snprintf(line + n, cap - n, "%s: ", level_name[level]);
    nt_text_escape(line + n, cap - n - 1, text);
    n += strlen(line + n);
    line[n++] = '\n';
    return n;
}

void nt_log(nt_log_level level, const char *format, ...)
{
    char text[4096], line[4608];
    if (level < the_log.level || (level < NT_LOG_WARN && the_log.rank > 0)) return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t n = format_line(line, sizeof line, level, text);
    pthread_mutex_lock(&the_log.lock);
    if (level == NT_LOG_WARN) the_log.warnings++;
    if (the_log.before_line) the_log.before_line();
    bool ok = nt_file_write(STDERR_FILENO, line, n);
    if (the_log.file >= 0) ok = nt_file_write(the_log.file, line, n) && ok;
    if (!ok && !the_log.said_lost) {
        static const char lost[] = "nntrain: some log lines could not be written; training goes on\n";
        the_log.said_lost = true;
        (void)nt_file_write(STDERR_FILENO, lost, sizeof lost - 1);
        if (the_log.file >= 0) (void)nt_file_write(the_log.file, lost, sizeof lost - 1);
    }
    pthread_mutex_unlock(&the_log.lock);
}
