/* Everything after the opening goes through the folder's descriptor (openat and friends), so a folder that is
 * renamed or replaced behind our back is still the one that was locked. */
#include "launcher/folder.h"

#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME   "lock"
#define LOCK_WAIT_S 2
#define IN_USE                                                                                               \
    "run folder '%s' is in use by process %ld on %s; if you are sure that it is not running, remove '%s/%s'"

struct nt_folder {
    char path[PATH_MAX];
    char host[64];
    int fd;
    bool locked;
};

/* --- making --- */

static nt_status make_folders(const char *path)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    NT_CHECK(n > 0 && n < sizeof part, NT_ERR_CREATE,
             "the path of the run folder has %zu bytes, allowed are 1 to %zu", n, sizeof part - 1);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        char at = part[i];
        part[i] = '\0';
        NT_CHECK(mkdir(part, 0777) == 0 || errno == EEXIST, NT_ERR_CREATE,
                 "cannot create the folder '%s': %s", part, strerror(errno));
        part[i] = at;
    }
    return NT_OK;
}

/* --- the lock --- */

typedef struct holder {
    char host[64];
    long pid;
    unsigned long long started; /* clock ticks after boot */
    char job[32];               /* SLURM_JOB_ID, "-" if none */
    long restart;               /* SLURM_RESTART_COUNT */
} holder;

static const char *slurm_job(void)
{
    const char *job = getenv("SLURM_JOB_ID");
    return job && *job ? job : "-";
}

static long slurm_restart(void)
{
    const char *count = getenv("SLURM_RESTART_COUNT");
    return count ? strtol(count, NULL, 10) : 0;
}

/* When a process of this host was started; 0 if there is none. */
static unsigned long long start_time(long pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    /* the name in parentheses may hold anything: fields are counted from the last ')' (proc(5), starttime is
     * 22) */
    char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

static bool read_holder(int dir, holder *out)
{
    char text[256];
    int fd = openat(dir, LOCK_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return false;
    text[n] = '\0';
    int n_read =
        sscanf(text, "%63s %ld %llu %31s %ld", out->host, &out->pid, &out->started, out->job, &out->restart);
    return n_read >= 3 && out->pid > 0;
}

/* Whether the holder is certainly gone. A lock that cannot be read is from a run that died while writing it.
 */
static bool is_stale(const nt_folder *folder, const holder *held, bool readable)
{
    if (!readable) return true;
    bool earlier_start =
        strcmp(held->job, "-") != 0 && strcmp(held->job, slurm_job()) == 0 && held->restart < slurm_restart();
    if (earlier_start)
        return true; /* of the job that we are: SLURM requeued it, perhaps after its node died */
    if (strcmp(held->host, folder->host) != 0) return false;
    if (kill((pid_t)held->pid, 0) != 0 && errno == ESRCH) return true;
    unsigned long long started = start_time(held->pid);
    return started != 0 && held->started != 0 && started != held->started;
}

static nt_status write_lock(nt_folder *folder, bool *exists)
{
    char text[256];
    int fd = openat(folder->fd, LOCK_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    *exists = fd < 0 && errno == EEXIST;
    if (*exists) return NT_OK;
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot create '%s/%s': %s", folder->path, LOCK_NAME, strerror(errno));
    int n = snprintf(text, sizeof text, "%s %ld %llu %s %ld\n", folder->host, (long)getpid(),
                     start_time((long)getpid()), slurm_job(), slurm_restart());
    bool written = write(fd, text, (size_t)n) == n;
    int error = errno;
    close(fd);
    if (!written) (void)unlinkat(folder->fd, LOCK_NAME, 0);
    NT_CHECK(written, NT_ERR_CREATE, "cannot write '%s/%s': %s", folder->path, LOCK_NAME, strerror(error));
    folder->locked = true;
    return NT_OK;
}

/* Makes the lock, or says who has it (*held, *readable). Called with flock() held on the folder. */
static nt_status take_lock(nt_folder *folder, holder *held, bool *readable)
{
    bool exists;
    NT_TRY(write_lock(folder, &exists));
    if (!exists) return NT_OK;
    *readable = read_holder(folder->fd, held);
    if (!is_stale(folder, held, *readable)) return NT_OK;
    nt_warn("run folder '%s' was left locked by process %ld, which is gone; taking it over", folder->path,
            held->pid);
    NT_CHECK(unlinkat(folder->fd, LOCK_NAME, 0) == 0, NT_ERR_CREATE, "cannot remove '%s/%s': %s",
             folder->path, LOCK_NAME, strerror(errno));
    NT_TRY(write_lock(folder, &exists));
    return NT_OK;
}

static nt_status wait_for_lock(nt_folder *folder)
{
    holder held = {0};
    bool readable = true;
    for (int tries = 0; !folder->locked && tries <= LOCK_WAIT_S * 10; tries++) {
        if (tries > 0) usleep(100000);
        (void)flock(folder->fd, LOCK_EX); /* where the file system has none, O_EXCL alone has to do */
        nt_status status = take_lock(folder, &held, &readable);
        (void)flock(folder->fd, LOCK_UN);
        NT_TRY(status);
        if (readable && strcmp(held.host, folder->host) != 0) break;
    }
    NT_CHECK(folder->locked, NT_ERR_CREATE, IN_USE, folder->path, held.pid, held.host, folder->path,
             LOCK_NAME);
    return NT_OK;
}

/* The folder itself may not be a link, which would put the run's files somewhere else than they are looked
 * for; folders above it may. */
static nt_status refuse_link(const char *path)
{
    char part[PATH_MAX], to[PATH_MAX];
    size_t n = strlen(path);
    NT_CHECK(n > 0 && n < sizeof part, NT_ERR_CREATE,
             "the path of the run folder has %zu bytes, allowed are 1 to %zu", n, sizeof part - 1);
    memcpy(part, path, n + 1);
    while (n > 1 && part[n - 1] == '/')
        part[--n] = '\0';
    ssize_t length = readlink(part, to, sizeof to - 1);
    if (length < 0) return NT_OK;
    to[length] = '\0';
    NT_FAIL(NT_ERR_CREATE,
            "run folder '%s' is a symbolic link to '%s': name that folder itself as run.output", path, to);
}

nt_status nt_folder_open(nt_folder **out, const char *path, const char *host)
{
    NT_TRY(refuse_link(path));
    NT_TRY(make_folders(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot use '%s' as run folder: %s", path, strerror(errno));
    nt_folder *folder = calloc(1, sizeof *folder);
    if (!folder) close(fd);
    NT_CHECK_ALLOC(folder, sizeof *folder);
    folder->fd = fd;
    snprintf(folder->path, sizeof folder->path, "%s", path);
    snprintf(folder->host, sizeof folder->host, "%s", *host ? host : "localhost");
    nt_status status = wait_for_lock(folder);
    if (status != NT_OK) {
        nt_folder_close(folder);
        NT_TRY(status);
    }
    *out = folder;
    return NT_OK;
}

/* The nearest folder above that is there, or the path itself. */
static nt_status find_existing(const char *path, char part[PATH_MAX], struct stat *at)
{
    size_t n = strlen(path);
    NT_CHECK(n > 0 && n < PATH_MAX, NT_ERR_CREATE,
             "the path of the run folder has %zu bytes, allowed are 1 to %d", n, PATH_MAX - 1);
    memcpy(part, path, n + 1);
    while (stat(part, at) != 0) {
        NT_CHECK(errno == ENOENT, NT_ERR_CREATE, "cannot use '%s' as run folder: '%s': %s", path, part,
                 strerror(errno));
        char *slash = strrchr(part, '/');
        if (slash && slash > part)
            *slash = '\0';
        else
            strcpy(part, slash && part[1] ? "/" : ".");
    }
    return NT_OK;
}

static nt_status check_lock(const char *path, const char *host)
{
    nt_folder folder = {.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    holder held = {0};
    NT_CHECK(folder.fd >= 0, NT_ERR_CREATE, "cannot use '%s' as run folder: %s", path, strerror(errno));
    snprintf(folder.host, sizeof folder.host, "%s", *host ? host : "localhost");
    bool free = !read_holder(folder.fd, &held) || is_stale(&folder, &held, true);
    close(folder.fd);
    NT_CHECK(free, NT_ERR_CREATE, IN_USE, path, held.pid, held.host, path, LOCK_NAME);
    return NT_OK;
}

nt_status nt_folder_check(const char *path, const char *host)
{
    char part[PATH_MAX];
    struct stat at;
    NT_TRY(refuse_link(path));
    NT_TRY(find_existing(path, part, &at));
    NT_CHECK(S_ISDIR(at.st_mode), NT_ERR_CREATE, "cannot use '%s' as run folder: '%s' is not a folder", path,
             part);
    NT_CHECK(access(part, W_OK | X_OK) == 0, NT_ERR_CREATE, "cannot write to the run folder '%s': '%s': %s",
             path, part, strerror(errno));
    if (strcmp(part, path) == 0) NT_TRY(check_lock(path, host));
    return NT_OK;
}

void nt_folder_close(nt_folder *folder)
{
    if (!folder) return;
    if (folder->locked) (void)unlinkat(folder->fd, LOCK_NAME, 0);
    close(folder->fd);
    free(folder);
}

/* --- files --- */

nt_status nt_folder_path(const nt_folder *folder, const char *name, char *path, size_t cap)
{
    NT_CHECK((size_t)snprintf(path, cap, "%s/%s", folder->path, name) < cap, NT_ERR_CREATE,
             "the path of the run folder is too long: '%s'", folder->path);
    return NT_OK;
}

nt_status nt_folder_write(nt_folder *folder, const char *name, const char *text)
{
    char temporary[256];
    snprintf(temporary, sizeof temporary, "%s.tmp", name);
    (void)unlinkat(folder->fd, temporary, 0); /* of a dead run: the lock is ours */
    int fd = openat(folder->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot create '%s/%s': %s", folder->path, temporary, strerror(errno));
    bool written = nt_file_write(fd, text, strlen(text)) && fsync(fd) == 0;
    int error = errno;
    close(fd);
    if (written && renameat(folder->fd, temporary, folder->fd, name) == 0) return NT_OK;
    if (written) error = errno;
    (void)unlinkat(folder->fd, temporary, 0);
    NT_FAIL(NT_ERR_IO, "cannot write '%s/%s': %s", folder->path, name, strerror(error));
}
