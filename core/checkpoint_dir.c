/* The folder of checkpoints: replacing files atomically, finding the newest good one, clearing away.
 *
 * Every file comes to be in the same way: a temporary name in the same folder, written and fsynced, renamed,
 * and the folder fsynced. So at any instant a step_*.h5 is whole or absent. `latest` only names a file that
 * is already durable; it is a convenience, and finding works without it. Nothing here trusts what it finds in
 * the folder: names must have exactly our form and be regular files. */
#include "core/checkpoint_private.h"
#include "core/fault.h"
#include "core/file.h"
#include "core/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES   64  /* of step_XXXXXXXX.h5 */
#define SUFFIX_BYTES 128 /* of .tmp.<host>.<pid> */

static const char latest_name[] = "latest";

nt_status nt_checkpoint_fault(const char *point)
{
    NT_CHECK(nt_fault_point(point) != NT_FAULT_ERROR, NT_ERR_IO, "fault injected at %s", point);
    return NT_OK;
}

/* --- names --- */

static void step_name(char name[NAME_BYTES], int64_t step)
{
    snprintf(name, NAME_BYTES, "step_%08lld.h5", (long long)step);
}

/* The step that a file of this name holds, or -1: the name must be exactly as step_name makes it. */
static int64_t step_of(const char *name)
{
    char again[NAME_BYTES];
    if (strncmp(name, "step_", 5) != 0) return -1;
    errno = 0;
    long long step = strtoll(name + 5, NULL, 10);
    if (errno != 0 || step < 0) return -1;
    step_name(again, step);
    return strcmp(again, name) == 0 ? step : -1;
}

static nt_status join(char *path, size_t cap, const char *dir, const char *name)
{
    int n = snprintf(path, cap, "%s/%s", dir, name);
    NT_CHECK(n >= 0 && (size_t)n < cap, NT_ERR_CREATE,
             "the path of checkpoint folder '%.200s...' is too long", dir);
    return NT_OK;
}

/* ".tmp.<host>.<pid>": what tells our temporary files from those of other runs. */
static void temp_suffix(char suffix[SUFFIX_BYTES], long pid)
{
    char host[65] = "";
    if (gethostname(host, sizeof host - 1) != 0 || !host[0]) memcpy(host, "host", 5);
    for (char *c = host; *c; c++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-", *c)) *c = '_';
    snprintf(suffix, SUFFIX_BYTES, ".tmp.%s.%ld", host, pid);
}

/* --- replacing a file --- */

static nt_status sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    NT_CHECK(fd >= 0, NT_ERR_IO, "cannot open folder '%s': %s", dir, strerror(errno));
    int rc = fsync(fd), error = errno;
    close(fd);
    /* EINVAL: a file system that cannot sync folders has nothing to lose there */
    NT_CHECK(rc == 0 || error == EINVAL, NT_ERR_IO, "cannot write folder '%s' to the disk: %s", dir,
             strerror(error));
    return NT_OK;
}

/* Writes a new file `path` and makes it durable. */
typedef nt_status (*file_writer)(const char *path, const void *arg);

static nt_status write_and_rename(const char *dir, const char *temp, const char *path, file_writer writer,
                                  const void *arg)
{
    NT_TRY(writer(temp, arg));
    NT_TRY(nt_checkpoint_fault("checkpoint.rename"));
    NT_CHECK(rename(temp, path) == 0, NT_ERR_IO, "cannot rename '%s' to '%s': %s", temp, path,
             strerror(errno));
    NT_TRY(nt_checkpoint_fault("checkpoint.dirsync"));
    NT_TRY(sync_dir(dir));
    return NT_OK;
}

/* Puts a file in the place of dir/name: whole or not at all, durable on return. */
static nt_status replace_file(const char *dir, const char *name, file_writer writer, const void *arg)
{
    char suffix[SUFFIX_BYTES], hidden[NAME_BYTES + SUFFIX_BYTES], temp[PATH_MAX], path[PATH_MAX];
    temp_suffix(suffix, (long)getpid());
    snprintf(hidden, sizeof hidden, ".%.*s%s", NAME_BYTES - 2, name, suffix);
    NT_TRY(join(temp, sizeof temp, dir, hidden));
    NT_TRY(join(path, sizeof path, dir, name));
    (void)unlink(temp); /* of an earlier life of this process number */
    nt_status status = write_and_rename(dir, temp, path, writer, arg);
    if (status == NT_OK) return NT_OK;
    (void)unlink(temp);
    return nt_error_trail(status, __FILE__, __LINE__, __func__);
}

/* --- saving --- */

typedef struct contents {
    const nt_arrays *arrays;
    const nt_checkpoint_meta *meta;
} contents;

static nt_status write_checkpoint(const char *path, const void *arg)
{
    const contents *c = arg;
    return nt_checkpoint_write_file(path, c->arrays, c->meta);
}

static nt_status write_durably(int fd, const char *path, const char *text)
{
    NT_CHECK(nt_file_write(fd, text, strlen(text)), NT_ERR_IO, "cannot write '%s': %s", path,
             strerror(errno));
    NT_CHECK(fsync(fd) == 0, NT_ERR_IO, "cannot write '%s' to the disk: %s", path, strerror(errno));
    return NT_OK;
}

static nt_status write_text(const char *path, const void *arg)
{
    const char *text = arg;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    NT_CHECK(fd >= 0, NT_ERR_CREATE, "cannot create '%s': %s", path, strerror(errno));
    nt_status status = write_durably(fd, path, text);
    int rc = close(fd);
    NT_TRY(status);
    NT_CHECK(rc == 0, NT_ERR_IO, "cannot close '%s': %s", path, strerror(errno));
    return NT_OK;
}

nt_status nt_checkpoint_save_arrays(const nt_arrays *arrays, const nt_checkpoint_meta *meta, const char *dir)
{
    char name[NAME_BYTES], line[NAME_BYTES + 1];
    step_name(name, meta->position.step);
    NT_TRY(replace_file(dir, name, write_checkpoint, &(contents){arrays, meta}));
    NT_TRY(nt_checkpoint_fault("checkpoint.latest"));
    snprintf(line, sizeof line, "%s\n", name);
    NT_TRY(replace_file(dir, latest_name, write_text, line));
    return NT_OK;
}

/* --- listing --- */

typedef struct step_list {
    int64_t *step; /* newest first */
    int n, cap;
} step_list;

static int newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static nt_status add_step(step_list *list, int64_t step)
{
    if (list->n == list->cap) {
        int cap = list->cap ? 2 * list->cap : 64;
        int64_t *grown = realloc(list->step, (size_t)cap * sizeof *grown);
        NT_CHECK_ALLOC(grown, (size_t)cap * sizeof *grown);
        list->step = grown;
        list->cap = cap;
    }
    list->step[list->n++] = step;
    return NT_OK;
}

/* Calls `take` with every name in dir. *exists false: there is no such folder. */
static nt_status each_name(const char *dir, bool *exists,
                           nt_status (*take)(void *arg, int dir_fd, const char *name), void *arg)
{
    DIR *d = opendir(dir);
    *exists = d || errno != ENOENT;
    if (!*exists) return NT_OK;
    NT_CHECK(d, NT_ERR_NO_INPUT, "cannot read folder '%s': %s", dir, strerror(errno));
    nt_status status = NT_OK;
    const struct dirent *entry;
    while (status == NT_OK && (errno = 0, entry = readdir(d)))
        status = take(arg, dirfd(d), entry->d_name);
    int error = errno;
    closedir(d);
    NT_TRY(status);
    NT_CHECK(error == 0, NT_ERR_NO_INPUT, "cannot read folder '%s': %s", dir, strerror(error));
    return NT_OK;
}

static bool is_regular(int dir_fd, const char *name)
{
    struct stat st;
    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static nt_status take_step(void *arg, int dir_fd, const char *name)
{
    int64_t step = step_of(name);
    if (step < 0) return NT_OK;
    if (is_regular(dir_fd, name)) return add_step(arg, step);
    nt_warn("%s in the checkpoint folder is not a regular file and is not used", name);
    return NT_OK;
}

static nt_status list_steps(const char *dir, step_list *list)
{
    bool exists;
    *list = (step_list){0};
    nt_status status = each_name(dir, &exists, take_step, list);
    if (status != NT_OK) {
        free(list->step);
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    }
    if (list->n > 1) qsort(list->step, (size_t)list->n, sizeof *list->step, newest_first);
    return NT_OK;
}

/* --- latest --- */

/* Reads at most a name's length of a regular file; the length, or -1. */
static ssize_t read_small_file(const char *path, char *text, size_t cap)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, text, cap) : -1;
    close(fd);
    return n;
}

/* The step that `latest` names. -1: there is no such file, or (*bad) it is not of our making. */
static int64_t read_latest(const char *dir, bool *bad)
{
    char path[PATH_MAX], text[NAME_BYTES + 1];
    struct stat st;
    *bad = false;
    if (snprintf(path, sizeof path, "%s/%s", dir, latest_name) >= (int)sizeof path) return -1;
    if (lstat(path, &st) != 0 && errno == ENOENT) return -1;
    *bad = true;
    ssize_t n = read_small_file(path, text, sizeof text - 1);
    if (n < 1 || memchr(text, '\0', (size_t)n)) return -1;
    text[n] = '\0';
    if (text[n - 1] == '\n') text[n - 1] = '\0';
    int64_t step = step_of(text);
    *bad = step < 0;
    return step;
}

/* --- finding --- */

/* OK: usable. Errors other than of memory and of our own are said and cleared (*usable false). */
static nt_status try_step(const char *dir, int64_t step, char *path, size_t cap, bool *usable)
{
    char name[NAME_BYTES];
    nt_checkpoint_file file;
    step_name(name, step);
    NT_TRY(join(path, cap, dir, name));
    nt_status status = nt_checkpoint_file_open(&file, path);
    if (status == NT_OK) {
        status = nt_checkpoint_file_verify(&file);
        nt_checkpoint_file_close(&file);
    }
    *usable = status == NT_OK;
    if (status == NT_ERR_UNAVAILABLE || status == NT_ERR_BUG)
        return nt_error_trail(status, __FILE__, __LINE__, __func__);
    if (!*usable)
        nt_warn("checkpoint of step %lld cannot be used: %s", (long long)step, nt_error_last()->message);
    nt_error_clear();
    return NT_OK;
}

/* Puts the step that `latest` names first. */
static int64_t put_latest_first(const char *dir, step_list *list, bool *named)
{
    bool bad;
    int64_t latest = read_latest(dir, &bad);
    *named = bad || latest >= 0;
    if (bad) nt_warn("'%s/%s' does not name a checkpoint and is not used", dir, latest_name);
    for (int i = 0; i < list->n; i++)
        if (list->step[i] == latest) {
            memmove(list->step + 1, list->step, (size_t)i * sizeof *list->step);
            list->step[0] = latest;
            return latest;
        }
    if (latest >= 0)
        nt_warn("'%s/%s' names step %lld, which is not there", dir, latest_name, (long long)latest);
    return list->n ? list->step[0] : -1;
}

static nt_status find_usable(const char *dir, step_list *list, char *path, size_t cap, bool *found)
{
    bool named;
    int64_t wanted = put_latest_first(dir, list, &named);
    for (int i = 0; i < list->n && !*found; i++) {
        NT_TRY(try_step(dir, list->step[i], path, cap, found));
        if (*found && list->step[i] != wanted)
            nt_warn("falling back to the checkpoint of step %lld", (long long)list->step[i]);
    }
    NT_CHECK(*found || list->n == 0, NT_ERR_CHECKPOINT,
             "none of the %d checkpoints in '%s' can be used; to start anew, move them away or choose "
             "another run.output",
             list->n, dir);
    NT_CHECK(*found || !named, NT_ERR_CHECKPOINT,
             "'%s/%s' is there, but no checkpoint is; to start anew, remove it or choose another run.output",
             dir, latest_name);
    return NT_OK;
}

nt_status nt_checkpoint_find(const char *dir, char *path, size_t cap, bool *found)
{
    step_list list;
    *found = false;
    NT_TRY(list_steps(dir, &list));
    nt_status status = find_usable(dir, &list, path, cap, found);
    free(list.step);
    if (status != NT_OK) return nt_error_trail(status, __FILE__, __LINE__, __func__);
    return NT_OK;
}

/* --- clearing away --- */

nt_status nt_checkpoint_prune(const char *dir, int keep, int64_t best_step)
{
    step_list list;
    bool bad;
    NT_BUG_UNLESS(keep >= 1, "nt_checkpoint_prune: keep %d", keep);
    NT_TRY(list_steps(dir, &list));
    int64_t latest = read_latest(dir, &bad);
    for (int i = keep; i < list.n; i++) {
        char name[NAME_BYTES], path[PATH_MAX];
        if (list.step[i] == latest || list.step[i] == best_step) continue;
        step_name(name, list.step[i]);
        if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path || unlink(path) != 0)
            nt_warn("cannot delete old checkpoint '%s': %s", path, strerror(errno));
    }
    free(list.step);
    return NT_OK;
}

/* Whether `name` is a temporary file of ours, of which process of this host (*pid; 0: of another host). */
static bool is_temp(const char *name, long *pid)
{
    char suffix[SUFFIX_BYTES], stem[NAME_BYTES];
    const char *tail = strstr(name, ".tmp.");
    if (name[0] != '.' || !tail || (size_t)(tail - name) >= sizeof stem) return false;
    memcpy(stem, name + 1, (size_t)(tail - name) - 1);
    stem[tail - name - 1] = '\0';
    if (step_of(stem) < 0 && strcmp(stem, latest_name) != 0) return false;
    const char *dot = strrchr(tail, '.');
    *pid = strtol(dot + 1, NULL, 10);
    temp_suffix(suffix, *pid);
    if (*pid <= 0 || strcmp(suffix, tail) != 0) *pid = 0;
    return true;
}

/* Whether nobody holds the file any more: its process is gone, and so is the lock of its writer. */
static bool is_left_over(int dir_fd, const char *name, long pid)
{
    if (pid == 0 || pid == (long)getpid() || kill((pid_t)pid, 0) == 0 || errno != ESRCH) return false;
    if (!is_regular(dir_fd, name)) return false;
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool is_free = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (fd >= 0) close(fd);
    return is_free;
}

static nt_status clear_temp(void *arg, int dir_fd, const char *name)
{
    long pid;
    (void)arg;
    if (!is_temp(name, &pid)) return NT_OK;
    if (!is_left_over(dir_fd, name, pid))
        nt_warn("temporary file %s in the checkpoint folder may belong to another run and is left alone",
                name);
    else if (unlinkat(dir_fd, name, 0) == 0)
        nt_warn("removed %s, left over from a run that died while it saved a checkpoint", name);
    else
        nt_warn("cannot remove left-over %s: %s", name, strerror(errno));
    return NT_OK;
}

/* --- preparing --- */

static nt_status make_dir(const char *dir)
{
    struct stat st;
    if (lstat(dir, &st) != 0 && errno == ENOENT) {
        NT_CHECK(mkdir(dir, 0777) == 0, NT_ERR_CREATE, "cannot create checkpoint folder '%s': %s", dir,
                 strerror(errno));
        return NT_OK;
    }
    NT_CHECK(lstat(dir, &st) == 0, NT_ERR_CREATE, "cannot look at checkpoint folder '%s': %s", dir,
             strerror(errno));
    NT_CHECK(!S_ISLNK(st.st_mode), NT_ERR_CREATE,
             "checkpoint folder '%s' is a symbolic link; give the folder itself", dir);
    NT_CHECK(S_ISDIR(st.st_mode), NT_ERR_CREATE,
             "'%s' is in the place of the checkpoint folder, but is no folder", dir);
    return NT_OK;
}

static nt_status probe_dir(const char *dir)
{
    char suffix[SUFFIX_BYTES], name[NAME_BYTES + SUFFIX_BYTES], path[PATH_MAX];
    temp_suffix(suffix, (long)getpid());
    snprintf(name, sizeof name, ".probe%s", suffix);
    NT_TRY(join(path, sizeof path, dir, name));
    (void)unlink(path);
    nt_status status = write_text(path, "nntrain can write here\n");
    if (unlink(path) != 0 && status == NT_OK)
        NT_FAIL(NT_ERR_CREATE, "cannot delete '%s' again: %s", path, strerror(errno));
    if (status == NT_OK) return NT_OK;
    nt_error error;
    nt_error_take(&error);
    error.status = NT_ERR_CREATE;
    (void)nt_error_raise(&error);
    (void)nt_error_prefix(NT_ERR_CREATE, "checkpoint folder '%s' cannot be used: ", dir);
    return nt_error_trail(NT_ERR_CREATE, __FILE__, __LINE__, __func__);
}

nt_status nt_checkpoint_prepare(const char *dir)
{
    bool exists;
    NT_TRY(make_dir(dir));
    NT_TRY(each_name(dir, &exists, clear_temp, NULL));
    NT_TRY(probe_dir(dir));
    return NT_OK;
}
