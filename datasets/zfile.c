/* A file that may be gzipped (zlib reads both alike). Regular files only, opened without blocking, so that a
 * FIFO or device cannot hang us. */
#include "core/file.h"
#include "datasets/import.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

struct nt_zfile {
    gzFile gz;
    char *path;
    uint64_t n_read;
};

nt_status nt_zfile_open(nt_zfile **out, const char *path)
{
    int fd;
    NT_TRY(nt_file_open_regular(path, &fd));
    nt_zfile *file = calloc(1, sizeof *file);
    char *copy = strdup(path);
    gzFile gz = file && copy ? gzdopen(fd, "rb") : NULL;
    if (!gz) {
        free(file);
        free(copy);
        close(fd);
        NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory: cannot read '%s'", path);
    }
    gzbuffer(gz, 1 << 16);
    *file = (nt_zfile){.gz = gz, .path = copy};
    *out = file;
    return NT_OK;
}

nt_status nt_zfile_find(const char *folder, const char *name, char *path, size_t cap)
{
    snprintf(path, cap, "%s/%s.gz", folder, name);
    if (access(path, F_OK) == 0) return NT_OK;
    snprintf(path, cap, "%s/%s", folder, name);
    NT_CHECK(access(path, F_OK) == 0, NT_ERR_NO_INPUT, "there is neither '%s' nor '%s.gz'", path, path);
    return NT_OK;
}

void nt_zfile_close(nt_zfile *file)
{
    if (!file) return;
    gzclose(file->gz);
    free(file->path);
    free(file);
}

const char *nt_zfile_path(const nt_zfile *file)
{
    return file->path;
}

nt_status nt_zfile_read_some(nt_zfile *file, void *dst, size_t n_bytes, size_t *got)
{
    *got = 0;
    while (*got < n_bytes) {
        size_t want = n_bytes - *got < (1u << 30) ? n_bytes - *got : 1u << 30;
        int n = gzread(file->gz, (char *)dst + *got, (unsigned)want);
        int code = Z_OK;
        const char *words = n < 0 || gzeof(file->gz) ? gzerror(file->gz, &code) : "";
        NT_CHECK(n >= 0 && (code == Z_OK || code == Z_STREAM_END), NT_ERR_DATA,
                 "'%s' is damaged after %llu bytes: %s", file->path, (unsigned long long)file->n_read,
                 code == Z_BUF_ERROR ? "the gzip stream ends too soon" : words);
        if (n == 0) break;
        *got += (size_t)n;
        file->n_read += (uint64_t)n;
    }
    return NT_OK;
}

nt_status nt_zfile_read(nt_zfile *file, void *dst, size_t n_bytes)
{
    size_t got;
    NT_TRY(nt_zfile_read_some(file, dst, n_bytes, &got));
    NT_CHECK(got == n_bytes, NT_ERR_DATA, "'%s' ends after %llu bytes; %zu more were expected", file->path,
             (unsigned long long)file->n_read, n_bytes - got);
    return NT_OK;
}

nt_status nt_zfile_expect_end(nt_zfile *file)
{
    char extra;
    size_t got;
    NT_TRY(nt_zfile_read_some(file, &extra, 1, &got));
    NT_CHECK(got == 0, NT_ERR_DATA, "'%s' goes on after %llu bytes where it should end", file->path,
             (unsigned long long)file->n_read - 1);
    return NT_OK;
}
