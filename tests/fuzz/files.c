/* The scratch folder lies where run.sh says, who also removes what a crash leaves; or in memory where there
 * is /dev/shm. It goes with the process. */
#include "fuzz.h"

#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_NAMES 16

static char folder[128];
static char path[MAX_NAMES][192];

static void remove_folder(void)
{
    for (int i = 0; i < MAX_NAMES && path[i][0]; i++)
        (void)unlink(path[i]);
    (void)rmdir(folder);
}

static void fail(const char *what)
{
    fprintf(stderr, "fuzz: %s: %s\n", what, strerror(errno));
    _exit(1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *parent = getenv("NNTRAIN_FUZZ_SCRATCH");
    if (!parent) parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof folder, "%s/nt_fuzz_XXXXXX", parent);
    if (!mkdtemp(folder)) fail("no scratch folder");
    atexit(remove_folder);
    nt_log_set_rank(1, 2); /* not rank 0: says nothing */
    return 0;
}

const char *fuzz_path(const char *name)
{
    char wanted[192];
    int i = 0;
    snprintf(wanted, sizeof wanted, "%s/%s", folder, name);
    while (i < MAX_NAMES - 1 && path[i][0] && strcmp(path[i], wanted) != 0)
        i++;
    snprintf(path[i], sizeof path[i], "%s", wanted);
    return path[i];
}

const char *fuzz_file(const char *name, const void *bytes, size_t n_bytes)
{
    const char *at = fuzz_path(name);
    int fd = open(at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, n_bytes) != (ssize_t)n_bytes || close(fd) != 0) fail(at);
    return at;
}
