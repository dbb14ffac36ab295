/* write(2) may take a part, or nothing because of a signal; the loop around it is here, once. It reports by
 * errno rather than by nt_status, because the log, which must not start an error of its own, needs it too. */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

nt_status nt_file_open_regular(const char *path, int *fd)
{
    struct stat info;
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    NT_CHECK(*fd >= 0, NT_ERR_NO_INPUT, "cannot open '%s': %s", path, strerror(errno));
    if (fstat(*fd, &info) == 0 && S_ISREG(info.st_mode)) return NT_OK;
    close(*fd);
    *fd = -1;
    NT_FAIL(NT_ERR_NO_INPUT, "'%s' is not a regular file", path);
}

bool nt_file_write(int fd, const void *bytes, size_t n_bytes)
{
    const char *at = bytes;
    while (n_bytes > 0) {
        ssize_t n = write(fd, at, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = EIO;
        if (n <= 0) return false;
        at += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

nt_status nt_file_check_output(const char *path, const char *input, bool force)
{
    struct stat out, in;
    bool there = stat(path, &out) == 0;
    NT_CHECK(!there || S_ISREG(out.st_mode), NT_ERR_CREATE, "'%s' is %s and cannot be replaced by a file",
             path, S_ISDIR(out.st_mode) ? "a folder" : "no regular file");
    NT_CHECK(force || (!there && lstat(path, &in) != 0), NT_ERR_CREATE,
             "'%s' exists already; --force replaces it", path);
    NT_CHECK(!there || !input || stat(input, &in) != 0 || in.st_dev != out.st_dev || in.st_ino != out.st_ino,
             NT_ERR_CREATE, "'%s' would be written over '%s', from which it is made: give another name", path,
             input);
    return NT_OK;
}

/* Writes the temporary file and makes it durable. */
static nt_status write_new(const char *temporary, const char *path, nt_file_writer writer, void *arg)
{
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot create '%s': %s", temporary, strerror(errno));
    nt_status status = writer(arg, fd, path);
    bool synced = status == NT_OK && fsync(fd) == 0;
    int error = errno;
    bool closed = close(fd) == 0;
    if (synced && !closed) error = errno;
    if (status != NT_OK || !synced || !closed) (void)unlink(temporary);
    NT_TRY(status);
    NT_CHECK(synced && closed, NT_ERR_IO, "cannot write '%s' to the disk: %s", path, strerror(error));
    return NT_OK;
}

nt_status nt_file_replace(const char *path, nt_file_writer writer, void *arg)
{
    char temporary[PATH_MAX];
    NT_CHECK(snprintf(temporary, sizeof temporary, "%s.tmp%ld", path, (long)getpid()) < PATH_MAX,
             NT_ERR_CREATE, "the path of the output is too long");
    NT_TRY(nt_file_check_output(path, NULL, true));
    NT_TRY(write_new(temporary, path, writer, arg));
    if (rename(temporary, path) == 0) return NT_OK;
    int error = errno;
    (void)unlink(temporary);
    NT_FAIL(NT_ERR_IO, "cannot rename '%s' to '%s': %s", temporary, path, strerror(error));
}
