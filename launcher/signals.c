/* Two lock-free atomics and a clock: all that is safe in a handler, whichever thread it runs in. */
#include "launcher/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define SAME_SIGNAL_NS 250000000

static atomic_int caught;
static _Atomic int64_t caught_at_ns;
static void (*leave_at_once)(int);

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void on_signal(int signal_number)
{
    int saved_errno = errno, none = 0;
    int64_t now = now_ns();
    if (atomic_compare_exchange_strong(&caught, &none, signal_number))
        atomic_store(&caught_at_ns, now);
    else if (now - atomic_load(&caught_at_ns) > SAME_SIGNAL_NS && atomic_load(&caught_at_ns) > 0)
        leave_at_once(signal_number);
    errno = saved_errno;
}

nt_status nt_signals_install(void (*leave)(int signal_number))
{
    static const int stops[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    leave_at_once = leave;
    /* One handler at a time: the others wait while it runs. */
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        sigaddset(&action.sa_mask, stops[i]);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        NT_CHECK(sigaction(stops[i], &action, NULL) == 0, NT_ERR_UNAVAILABLE,
                 "cannot install a handler for signal %d: %s", stops[i], strerror(errno));
    return NT_OK;
}

int nt_signals_caught(void)
{
    return atomic_load(&caught);
}

const char *nt_signals_name(int signal_number)
{
    switch (signal_number) {
    case SIGUSR1:
        return "SIGUSR1";
    case SIGUSR2:
        return "SIGUSR2";
    case SIGTERM:
        return "SIGTERM";
    case SIGINT:
        return "SIGINT";
    default:
        return "a signal";
    }
}
