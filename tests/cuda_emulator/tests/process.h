/* For tests of the emulated libraries, in C: runs a function in a forked process, several at once if need be,
 * and says how each ended and what it said on stderr. Fork before any thread exists: such tests call the
 * emulator in children only. */
#ifndef NT_EMU_TESTS_PROCESS_H
#define NT_EMU_TESTS_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_STDERR_BYTES 65536
#define CHILD_COMPLAINED   24 /* exit status of a process that the emulator complained about */

typedef struct child {
    pid_t pid;
    FILE *said;
} child;

typedef struct child_end {
    int status;                    /* of exit, or minus the signal */
    char said[CHILD_STDERR_BYTES]; /* on stderr */
} child_end;

/* body's result is the exit status. */
static inline child child_start(int (*body)(void *arg), void *arg)
{
    child c = {.said = tmpfile()};
    fflush(NULL);
    c.pid = c.said ? fork() : -1;
    if (c.pid == 0) {
        dup2(fileno(c.said), STDERR_FILENO);
        exit(body(arg));
    }
    return c;
}

static inline bool child_has_ended(child *c, int *status)
{
    return waitpid(c->pid, status, WNOHANG) == c->pid;
}

/* A child that has not ended after `seconds` is killed (its status: -SIGKILL). */
static inline child_end child_wait(child *c, double seconds)
{
    child_end end = {.status = -1000};
    int status = 0;
    if (c->pid < 0) return end;
    for (double waited = 0; !child_has_ended(c, &status); waited += 0.005) {
        struct timespec nap = {.tv_nsec = 5000000};
        if (waited > seconds) kill(c->pid, SIGKILL);
        nanosleep(&nap, NULL);
    }
    end.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    rewind(c->said);
    end.said[fread(end.said, 1, sizeof end.said - 1, c->said)] = 0;
    fclose(c->said);
    return end;
}

static inline child_end child_run(int (*body)(void *arg), void *arg, double seconds)
{
    child c = child_start(body, arg);
    return child_wait(&c, seconds);
}

/* In a child: ends it with 1 and the place unless `condition`. */
#define CHILD_CHECK(condition, ...)                                                                          \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: not %s: ", __FILE__, __LINE__, #condition);                              \
            fprintf(stderr, __VA_ARGS__);                                                                    \
            fprintf(stderr, "\n");                                                                           \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

#endif
