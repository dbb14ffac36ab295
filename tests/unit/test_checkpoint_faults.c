/* Saving a checkpoint while everything goes wrong: the process dies, the disk fills up, the folder is not
 * what it should be. After each fault the folder must hold a complete checkpoint, and nothing else of ours.
 *
 * System calls fail for real where that can be had (file size limit, full tmpfs, missing rights). Where it
 * cannot, this program's own pwrite, write, fsync and rename stand before the C library's and fail at the
 * k-th call; each such test first counts the calls, so that it cannot pass by not being met. */
#include "bundle.h"

#include "core/file.h"
#include "core/log.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* --- system calls that fail --- */

typedef enum call { PWRITE, WRITE, FSYNC, RENAME, N_CALLS } call;

static const char *const call_names[N_CALLS] = {"pwrite", "write", "fsync", "rename"};

static struct {
    bool counting; /* else calls pass through unseen */
    int n[N_CALLS];
    call call;
    int at;    /* the k-th call fails, 1-based; 0: none */
    int error; /* with this errno, or */
    bool kill; /* the process dies there */
    bool short_writes, interrupts;
} plan;

static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) abort();
    return function;
}

/* Whether this call fails now; errno is set. */
static bool fails_now(call which)
{
    if (!plan.counting) return false;
    int n = ++plan.n[which];
    if (plan.interrupts && which <= WRITE && n % 2 == 1) {
        errno = EINTR;
        return true;
    }
    if (which != plan.call || n != plan.at) return false;
    if (plan.kill) raise(SIGKILL);
    errno = plan.error;
    return true;
}

static size_t shorten(size_t n_bytes)
{
    return plan.counting && plan.short_writes && n_bytes > 1 ? (n_bytes + 2) / 3 : n_bytes;
}

ssize_t pwrite(int fd, const void *data, size_t n_bytes, off_t offset)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next) next = (ssize_t(*)(int, const void *, size_t, off_t))real("pwrite");
    return fails_now(PWRITE) ? -1 : next(fd, data, shorten(n_bytes), offset);
}

ssize_t write(int fd, const void *data, size_t n_bytes)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = (ssize_t(*)(int, const void *, size_t))real("write");
    bool ours = fd > 2; /* not what is printed */
    return ours && fails_now(WRITE) ? -1 : next(fd, data, ours ? shorten(n_bytes) : n_bytes);
}

int fsync(int fd)
{
    static int (*next)(int);
    if (!next) next = (int (*)(int))real("fsync");
    return fails_now(FSYNC) ? -1 : next(fd);
}

int rename(const char *from, const char *to)
{
    static int (*next)(const char *, const char *);
    if (!next) next = (int (*)(const char *, const char *))real("rename");
    return fails_now(RENAME) ? -1 : next(from, to);
}

/* Saves the bundle of `seed` under a plan. */
static nt_status save_under(call which, int at, int error, int seed, const char *dir)
{
    bundle b;
    bundle_init(&b, seed);
    memset(&plan, 0, sizeof plan);
    plan.call = which, plan.at = at, plan.error = error;
    plan.counting = true;
    nt_status status = nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir);
    plan.counting = false;
    return status;
}

/* How often a whole saving makes this call. */
static int count_calls(call which, const char *dir)
{
    assert_ok(save_under(N_CALLS, 0, 0, 1, dir));
    assert_true(plan.n[which] > 0);
    return plan.n[which];
}

/* --- folders --- */

/* Number of entries whose names begin with a dot. */
static int count_hidden(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] == '.' && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static int count_open_files(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* After a failed save of step 2 over a good step 1: the old one is found, no temporary file is left, and
 * saving works again. */
static void check_recovered(const char *dir)
{
    assert_int_equal(count_hidden(dir), 0);
    check_found(dir, 1, 2);
    check_bundle(1, file_in(dir, "step_00000001.h5"));
    if (access(file_in(dir, "step_00000002.h5"), F_OK) == 0)
        check_bundle(2, file_in(dir, "step_00000002.h5"));
    bundle_save(2, dir);
    assert_int_equal(check_found(dir, 2, 2), 2);
}

static void start_with_step_1(const char *dir)
{
    unlink(file_in(dir, "step_00000002.h5"));
    bundle_save(1, dir);
}

/* Every k-th call of this kind fails; each time the status must be NT_ERR_IO with errno's words. */
static void fail_each(call which, int error)
{
    const char *dir = new_dir(call_names[which]);
    int n = count_calls(which, dir), open_files = count_open_files();
    for (int at = 1; at <= n; at++) {
        start_with_step_1(dir);
        assert_fails(save_under(which, at, error, 2, dir), NT_ERR_IO, strerror(error), dir);
        assert_true(plan.n[which] >= at);
        check_recovered(dir);
    }
    assert_int_equal(count_open_files(), open_files); /* HDF5 holds on to nothing */
}

static nt_status write_new_text(void *arg, int fd, const char *path)
{
    NT_CHECK(nt_file_write(fd, arg, strlen(arg)), NT_ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    return NT_OK;
}

/* Files that are replaced as a whole, like exports and reports, are the old one or the new one, whatever
 * fails. */
static void fault_03_replaced_files(void **state)
{
    (void)state;
    static const call calls[] = {WRITE, FSYNC, RENAME};
    char text[] = "new";
    size_t n_bytes;
    const char *dir = in_dir("replaced"), *path = file_in(in_dir("replaced"), "file");
    assert_int_equal(mkdir(dir, 0700), 0);
    write_whole(path, "old", 3);
    for (int i = 0; i <= 3; i++) {
        memset(&plan, 0, sizeof plan);
        plan.call = i < 3 ? calls[i] : N_CALLS, plan.at = 1, plan.error = ENOSPC;
        plan.counting = true;
        nt_status status = nt_file_replace(path, write_new_text, text);
        plan.counting = false;
        if (i < 3)
            assert_fails(status, NT_ERR_IO, path, strerror(ENOSPC));
        else
            assert_ok(status);
        unsigned char *bytes = read_whole(path, &n_bytes);
        assert_true(n_bytes == 3 && memcmp(bytes, i < 3 ? "old" : "new", 3) == 0);
        free(bytes);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(dir), 0); /* nothing else was left in it */
        assert_int_equal(mkdir(dir, 0700), 0);
        write_whole(path, "old", 3);
    }
}

/* --- death --- */

static int wait_for(pid_t child)
{
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Runs this program anew, for the fault points are read from the environment once: saves step 2 in `dir`. */
static int save_with_fault(const char *dir, const char *point, const char *kind, int hit)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        char fault[128];
        snprintf(fault, sizeof fault, "point=checkpoint.%s,kind=%s,hit=%d", point, kind, hit);
        setenv("NNTRAIN_FAULT", fault, 1);
        execl("/proc/self/exe", "test", "save", dir, (char *)NULL);
        _exit(99);
    }
    return wait_for(child);
}

static const struct {
    const char *point;
    int hit, step; /* found afterwards */
} fault_points[] = {{"open", 1, 1},   {"write", 1, 1},  {"write", 2, 1},   {"write", 5, 1},
                    {"fsync", 1, 1},  {"rename", 1, 1}, {"dirsync", 1, 1}, {"latest", 1, 1},
                    {"rename", 2, 1}, {"dirsync", 2, 2}};

static void fault_01_killed_at_each_step_of_the_writer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fault_points / sizeof *fault_points; i++) {
        const char *dir = new_dir("killed");
        start_with_step_1(dir);
        assert_int_equal(save_with_fault(dir, fault_points[i].point, "kill", fault_points[i].hit),
                         100 + SIGKILL);
        assert_int_equal(check_found(dir, 1, 2), fault_points[i].step);
        assert_ok(nt_checkpoint_prepare(dir)); /* as the next run does */
        check_recovered(dir);
    }
}

static void fault_01_errors_at_each_step_of_the_writer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fault_points / sizeof *fault_points; i++) {
        const char *dir = new_dir("erring");
        start_with_step_1(dir);
        assert_int_equal(save_with_fault(dir, fault_points[i].point, "error", fault_points[i].hit),
                         NT_ERR_IO);
        check_recovered(dir);
    }
}

/* Dies at the k-th call of each kind. */
static void fault_01_killed_at_each_system_call(void **state)
{
    (void)state;
    const char *dir = new_dir("calls");
    for (call which = 0; which < N_CALLS; which++)
        for (int at = 1, n = count_calls(which, dir); at <= n; at++) {
            start_with_step_1(dir);
            fflush(NULL);
            pid_t child = fork();
            if (child == 0) {
                bundle b;
                bundle_init(&b, 2);
                memset(&plan, 0, sizeof plan);
                plan.call = which, plan.at = at, plan.kill = plan.counting = true;
                _exit(nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir));
            }
            assert_int_equal(wait_for(child), 100 + SIGKILL);
            check_found(dir, 1, 2);
            assert_ok(nt_checkpoint_prepare(dir));
            check_recovered(dir);
        }
}

/* Microseconds of one saving here and now. */
static unsigned time_saving(const char *dir)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 5; i++)
        bundle_save(1, dir);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (unsigned)((end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000) / 5 + 1;
}

/* Saves step after step until it is killed at a random time; fault 14 (mpirun kills rank 0 because another
 * rank died) comes as SIGTERM. */
static void fault_02_14_killed_at_200_random_times(void **state)
{
    (void)state;
    const char *dir = new_dir("random");
    unsigned seed = 12345, save_us = time_saving(dir);
    int highest = 1;
    for (int i = 0; i < 200; i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            for (int step = highest + 1;; step++) {
                bundle b;
                bundle_init(&b, step);
                if (nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir) != NT_OK) _exit(1);
                if (nt_checkpoint_prune(dir, 2, -1) != NT_OK) _exit(1);
            }
        }
        usleep((useconds_t)((unsigned)rand_r(&seed) % (3 * save_us)));
        kill(child, i % 2 ? SIGKILL : SIGTERM);
        int rc = wait_for(child);
        assert_true(rc == 100 + SIGKILL || rc == 100 + SIGTERM);
        char path[4200];
        bool found = false;
        nt_checkpoint_meta meta;
        assert_ok(nt_checkpoint_find(dir, path, sizeof path, &found));
        assert_true(found);
        assert_ok(nt_checkpoint_read_meta(path, &meta));
        int step = (int)meta.position.step;
        nt_checkpoint_meta_free(&meta);
        assert_true(step >= highest);
        highest = step;
        check_bundle(step, path);
    }
    assert_true(highest > 20); /* they did get to save something */
    assert_ok(nt_checkpoint_prepare(dir));
    assert_int_equal(count_hidden(dir), 0);
}

/* --- disks --- */

static void fault_03_no_space_at_each_write(void **state)
{
    (void)state;
    fail_each(PWRITE, ENOSPC);
    fail_each(WRITE, ENOSPC);
}

/* Runs fn(dir) in a child, which alone sees what it mounts; 77 from it: mounting is not allowed here. */
static void must_succeed_where_mounts_are_allowed(int (*fn)(const char *dir), const char *dir)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) _exit(fn(dir));
    int rc = wait_for(child);
    if (rc == 77) {
        print_message("SKIPPED: no right to mount here\n");
        skip();
    }
    assert_int_equal(rc, 0);
}

/* Steps 1 and 2 into a folder that has room for one and a bit. */
static int save_on_small_tmpfs(const char *dir)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return 77;
    if (mount("tmpfs", dir, "tmpfs", 0, "size=16k") != 0) return 77;
    bundle b;
    bundle_init(&b, 1);
    if (nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir) != NT_OK) return 2;
    int fill = open(file_in(dir, "filler"), O_WRONLY | O_CREAT, 0600);
    char page[4096] = {0};
    if (fill < 0 || pwrite(fill, page, sizeof page, 0) < 0) return 2;
    bundle_init(&b, 2);
    if (nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir) != NT_ERR_IO) return 3;
    if (!strstr(nt_error_last()->message, "No space left")) return 4;
    char path[4200];
    bool found = false;
    if (nt_checkpoint_find(dir, path, sizeof path, &found) != NT_OK || !found || !strstr(path, "00000001"))
        return 5;
    return count_hidden(dir) == 0 ? 0 : 6;
}

static void fault_03_a_disk_that_is_really_full(void **state)
{
    (void)state;
    must_succeed_where_mounts_are_allowed(save_on_small_tmpfs, new_dir("tmpfs"));
}

static void fault_04_quota(void **state)
{
    (void)state;
    fail_each(PWRITE, EDQUOT);
}

/* A real limit: RLIMIT_FSIZE, at several places of the file. */
static void fault_04_file_size_limit(void **state)
{
    (void)state;
    const char *dir = new_dir("limit");
    for (rlim_t limit = 100; limit < 4000; limit += 650) {
        start_with_step_1(dir);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            bundle b;
            bundle_init(&b, 2);
            signal(SIGXFSZ, SIG_IGN);
            if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, limit}) != 0) _exit(2);
            nt_status status = nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir);
            _exit(status == NT_ERR_IO && strstr(nt_error_last()->message, "File too large") ? 0 : 1);
        }
        assert_int_equal(wait_for(child), 0);
        check_recovered(dir);
    }
}

static void fault_05_input_output_error_at_each_write(void **state)
{
    (void)state;
    fail_each(PWRITE, EIO);
    fail_each(WRITE, EIO);
}

/* A failed fsync is final: the file it failed for is not synced again and trusted, but given up. */
static void fault_06_fsync_fails(void **state)
{
    (void)state;
    fail_each(FSYNC, EIO);
    const char *dir = new_dir("fsync");
    start_with_step_1(dir);
    assert_fails(save_under(FSYNC, 1, EIO, 2, dir), NT_ERR_IO, "to the disk");
    assert_int_equal(plan.n[FSYNC], 1);
    assert_int_equal(plan.n[RENAME], 0);
    assert_true(access(file_in(dir, "step_00000002.h5"), F_OK) != 0);
}

static void fault_07_rename_fails(void **state)
{
    (void)state;
    fail_each(RENAME, EIO);
    fail_each(RENAME, EXDEV);
}

static void fault_08_short_writes_and_interrupts(void **state)
{
    (void)state;
    const char *dir = new_dir("short");
    bundle b;
    bundle_init(&b, 3);
    memset(&plan, 0, sizeof plan);
    plan.counting = plan.short_writes = plan.interrupts = true;
    nt_status status = nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir);
    plan.counting = false;
    assert_ok(status);
    assert_true(plan.n[PWRITE] > 20 && plan.n[WRITE] > 4);
    check_found(dir, 3, 3);
}

/* --- folders that are not what they should be --- */

static void fault_09_folder_removed_during_the_run(void **state)
{
    (void)state;
    const char *dir = new_dir("gone");
    bundle b;
    bundle_save(1, dir);
    unlink(file_in(dir, "step_00000001.h5")), unlink(file_in(dir, "latest"));
    assert_int_equal(rmdir(dir), 0);
    bundle_init(&b, 2);
    assert_fails(nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir), NT_ERR_CREATE, "gone", "No such file");
    assert_ok(nt_checkpoint_prune(dir, 1, -1)); /* nothing there to prune */
}

/* Without the right to write; root has it always, so it becomes somebody else. */
static void fault_10_read_only_folder_is_refused_at_the_start(void **state)
{
    (void)state;
    const char *dir = new_dir("readonly");
    assert_int_equal(chmod(dir, 0555) | chmod(test_dir, 0755), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && setuid(65534) != 0) _exit(77);
        bool refused = nt_checkpoint_prepare(dir) == NT_ERR_CREATE;
        _exit(refused && strstr(nt_error_last()->message, "readonly") &&
                      strstr(nt_error_last()->message, "denied")
                  ? 0
                  : 1);
    }
    assert_int_equal(wait_for(child), 0);
}

static int prepare_on_read_only_mount(const char *dir)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return 77;
    if (mount("tmpfs", dir, "tmpfs", MS_RDONLY, "size=16k") != 0) return 77;
    if (nt_checkpoint_prepare(dir) != NT_ERR_CREATE) return 1;
    return strstr(nt_error_last()->message, "Read-only file system") ? 0 : 2;
}

static void fault_10_read_only_file_system_is_refused_at_the_start(void **state)
{
    (void)state;
    must_succeed_where_mounts_are_allowed(prepare_on_read_only_mount, new_dir("romount"));
}

static void fault_11_path_is_no_folder(void **state)
{
    (void)state;
    write_whole(in_dir("file"), "x", 1);
    new_dir("real");
    assert_int_equal(symlink("real", in_dir("link")), 0);
    assert_int_equal(symlink("nowhere", in_dir("dangling")), 0);
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    alarm(20); /* a FIFO would wait for ever */
    assert_fails(nt_checkpoint_prepare(in_dir("file")), NT_ERR_CREATE, "/file'", "no folder");
    assert_fails(nt_checkpoint_prepare(in_dir("link")), NT_ERR_CREATE, "/link'", "symbolic link");
    assert_fails(nt_checkpoint_prepare(in_dir("dangling")), NT_ERR_CREATE, "/dangling'", "symbolic link");
    assert_fails(nt_checkpoint_prepare(in_dir("fifo")), NT_ERR_CREATE, "/fifo'", "no folder");
    assert_fails(nt_checkpoint_prepare(in_dir("no/parent")), NT_ERR_CREATE, "no/parent", "No such file");
    alarm(0);
    assert_true(access(in_dir("nowhere"), F_OK) != 0);
}

/* A link in the place of our temporary file or of a checkpoint leads nowhere. */
static void fault_11_links_in_the_folder_are_not_followed(void **state)
{
    (void)state;
    const char *dir = new_dir("links");
    char host[65] = "", temp[256];
    gethostname(host, sizeof host - 1);
    write_whole(in_dir("precious"), "precious", 8);
    snprintf(temp, sizeof temp, ".step_00000002.h5.tmp.%s.%ld", host, (long)getpid());
    assert_int_equal(symlink(in_dir("precious"), file_in(dir, temp)), 0);
    assert_int_equal(symlink(in_dir("precious"), file_in(dir, "step_00000002.h5")), 0);
    assert_int_equal(symlink(in_dir("precious"), file_in(dir, "latest")), 0);
    bundle_save(2, dir);
    check_found(dir, 2, 2);
    size_t n_bytes;
    unsigned char *bytes = read_whole(in_dir("precious"), &n_bytes);
    assert_int_equal(n_bytes, 8);
    free(bytes);
}

static void fault_13_left_over_temporary_files(void **state)
{
    (void)state;
    const char *dir = new_dir("left");
    char host[65] = "", mine[256], others[256], latest[256];
    gethostname(host, sizeof host - 1);
    pid_t dead = fork();
    if (dead == 0) _exit(0);
    wait_for(dead);
    snprintf(mine, sizeof mine, ".step_00000005.h5.tmp.%s.%ld", host, (long)dead);
    snprintf(latest, sizeof latest, ".latest.tmp.%s.%ld", host, (long)dead);
    snprintf(others, sizeof others, ".step_00000005.h5.tmp.%s.%ld", host, (long)getppid());
    const char *kept[] = {others,
                          ".step_00000005.h5.tmp.another-host.1",
                          ".step_5.h5.tmp.x.1",
                          ".bashrc",
                          "step_00000005.h5.tmp.x.1",
                          ".step_00000005.h5.tmp."};
    write_whole(file_in(dir, mine), "half", 4);
    write_whole(file_in(dir, latest), "", 0);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        write_whole(file_in(dir, kept[i]), "x", 1);
    bundle_save(4, dir);
    int before = nt_log_warnings();
    check_found(dir, 4, 4); /* they do not count */
    assert_int_equal(nt_log_warnings(), before);
    assert_ok(nt_checkpoint_prepare(dir));
    assert_true(access(file_in(dir, mine), F_OK) != 0 && access(file_in(dir, latest), F_OK) != 0);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        assert_true(access(file_in(dir, kept[i]), F_OK) == 0);
    assert_int_equal(nt_log_warnings(),
                     before + 4 + 1); /* two removed, and all that might be of other runs */
    check_found(dir, 4, 4);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "save") == 0) { /* see save_with_fault */
        bundle b;
        bundle_init(&b, 2);
        return nt_checkpoint_save_arrays(&b.arrays, &b.meta, argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_03_replaced_files),
        cmocka_unit_test(fault_01_killed_at_each_step_of_the_writer),
        cmocka_unit_test(fault_01_errors_at_each_step_of_the_writer),
        cmocka_unit_test(fault_01_killed_at_each_system_call),
        cmocka_unit_test(fault_02_14_killed_at_200_random_times),
        cmocka_unit_test(fault_03_no_space_at_each_write),
        cmocka_unit_test(fault_03_a_disk_that_is_really_full),
        cmocka_unit_test(fault_04_quota),
        cmocka_unit_test(fault_04_file_size_limit),
        cmocka_unit_test(fault_05_input_output_error_at_each_write),
        cmocka_unit_test(fault_06_fsync_fails),
        cmocka_unit_test(fault_07_rename_fails),
        cmocka_unit_test(fault_08_short_writes_and_interrupts),
        cmocka_unit_test(fault_09_folder_removed_during_the_run),
        cmocka_unit_test(fault_10_read_only_folder_is_refused_at_the_start),
        cmocka_unit_test(fault_10_read_only_file_system_is_refused_at_the_start),
        cmocka_unit_test(fault_11_path_is_no_folder),
        cmocka_unit_test(fault_11_links_in_the_folder_are_not_followed),
        cmocka_unit_test(fault_13_left_over_temporary_files),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
