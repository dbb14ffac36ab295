/* write(2) may take a part, or nothing because of a signal; the loop around it is here, once. It reports by
 * errno rather than by nt_status, because the log, which must not start an error of its own, needs it too. */
#include "core/file.h"

#include <errno.h>
#include <unistd.h>

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
