/* The process: it begins and ends here, and nowhere else.
 *
 * An error is said once, in one write: by rank 0 alone if every rank knows of it (set-up, checkpoint,
 * evaluation), after which the job ends cleanly; by the failing rank itself otherwise, with host, step and
 * phase, after which it aborts the job, because the others wait for it in a collective. The watchdog's bark
 * and the second signal end the process from where nothing can be returned to main; their functions are here
 * too. */
#include "launcher/command.h"

#include "core/log.h"
#include "core/phase.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static nt_session session;

/* A file opened while 0, 1 or 2 is closed would become stdin, stdout or stderr, and log lines would end up in
 * a checkpoint. */
static void hold_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO) close(fd);
}

/* "rank 1 on host, step 12, backward: ", as far as it is known. */
static void describe_place(char *text, size_t cap)
{
    const nt_comm *comm = session.comm;
    nt_phase phase = nt_phase_get();
    size_t n = 0;
    text[0] = '\0';
    if (comm && comm->size > 1) n += (size_t)snprintf(text, cap, "rank %d on %s, ", comm->rank, comm->host);
    if (phase.step >= 0) n += (size_t)snprintf(text + n, cap - n, "step %lld, ", (long long)phase.step);
    snprintf(text + n, cap - n, "%s: ", phase.name);
}

static void say(const char *text)
{
    ssize_t n = write(STDERR_FILENO, text, strlen(text));
    (void)n; /* there is nobody left to tell */
}

/* The message, and the trail for a bug or where it is asked for. */
static void report(const nt_error *error, bool with_place)
{
    static char text[sizeof error->message + sizeof error->trail + 512];
    char place[256] = "";
    const char *trace = getenv("NNTRAIN_TRACE");
    bool trail = error->status == NT_ERR_BUG || (trace && strcmp(trace, "1") == 0);
    if (with_place) describe_place(place, sizeof place);
    snprintf(text, sizeof text, "nntrain: %s%s%s\n%s", place, error->status == NT_ERR_BUG ? "bug: " : "",
             error->message, trail ? error->trail : "");
    say(text);
}

/* Ends the whole job from any thread; used where nothing can be returned. */
static void end_job(int code)
{
    if (session.comm) nt_comm_abort(session.comm, code);
    _exit(code);
}

static void on_watchdog(double idle_s, const nt_phase *phase)
{
    char text[512], place[256];
    describe_place(place, sizeof place);
    snprintf(text, sizeof text,
             "nntrain: %sno progress for %.0f s%s; the watchdog ends the job (run.watchdog)\n", place, idle_s,
             phase->waits ? ", waiting for another rank" : "");
    say(text);
    end_job(NT_ERR_WATCHDOG);
}

/* Async-signal-safe. 128 + n is what shells make of a death by signal n. */
static void on_second_signal(int signal_number)
{
    say("nntrain: second signal: leaving at once; the last checkpoint stands\n");
    _exit(128 + signal_number);
}

/* Text that could not be written to stdout is an I/O error, even if the command went well. */
static nt_status flush_stdout(void)
{
    bool failed = ferror(stdout) != 0;
    failed |= fflush(stdout) != 0;
    NT_CHECK(!failed, NT_ERR_IO, "cannot write to standard output: %s", strerror(errno));
    return NT_OK;
}

/* OpenMP's threads spin while they wait for the next loop, in libgomp for 15 ms and more. On a core that
 * another process wants too, such a thread has used up its time slice when the loop comes, and all others
 * wait for it: a step of a small net took 20 times as long. A tenth of a millisecond bridges the gaps between
 * loops just as well. libgomp reads its settings before main; so, unless the user has chosen, the process
 * becomes itself again with a limit. Where that does not work, nothing is lost. */
static void limit_spinning(char **argv)
{
    char path[4096];
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path); /* by its name, which ps and killall show */
    if (n <= 0 || (size_t)n >= sizeof path || setenv("GOMP_SPINCOUNT", "2000", 1) != 0) return;
    path[n] = '\0';
    (void)execv(path, argv);
}

int main(int argc, char **argv)
{
    limit_spinning(argv);
    hold_standard_streams();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write(), */
    signal(SIGXFSZ, SIG_IGN); /* and so is a file that may not grow further */
    session.exits = (nt_exits){.leave = on_second_signal, .bark = on_watchdog};
    nt_status status = nt_command_main(&session, argc, argv);
    if (status == NT_OK) {
        status = flush_stdout();
        session.agreed = false;
    }
    nt_error error = *nt_error_last();
    error.status = status;
    bool alone = !session.comm || session.comm->size == 1, agreed = session.agreed;
    if (status != NT_OK && (!agreed || nt_session_is_root(&session)))
        report(&error, !agreed && session.comm && (!alone || nt_phase_get().step >= 0));
    if (status != NT_OK && !agreed && !alone) end_job(status);
    nt_session_end(&session);
    return status;
}
