/* One static watchdog: a condition variable that is never signalled but to stop, waited on by the monotonic
 * clock. */
#include "launcher/watchdog.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define GRACE_FOR_OTHERS_S 2.0

static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running, stop;
    double limit_s;
    nt_bark_fn bark;
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Sleeps for one period or until stopped; false when stopped. Called with the lock held. */
static bool watchdog_sleep(double period_s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)(period_s * 1e9);
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    while (!dog.stop)
        if (pthread_cond_timedwait(&dog.wake, &dog.lock, &until) != 0) break;
    return !dog.stop;
}

static void *watchdog_main(void *unused)
{
    (void)unused;
    const double period_s = fmin(1.0, dog.limit_s / 10);
    uint64_t seen = nt_phase_get().ticks;
    double idle_s = 0;
    pthread_mutex_lock(&dog.lock);
    while (watchdog_sleep(period_s)) {
        nt_phase phase = nt_phase_get();
        idle_s = phase.ticks == seen ? idle_s + period_s : 0;
        seen = phase.ticks;
        if (idle_s >= dog.limit_s + (phase.waits ? GRACE_FOR_OTHERS_S : 0)) {
            dog.bark(idle_s, &phase);
            break;
        }
    }
    pthread_mutex_unlock(&dog.lock);
    return NULL;
}

/* Starts the thread with all signals blocked: they are the main thread's business. */
static int watchdog_spawn(void)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&dog.thread, NULL, watchdog_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}

nt_status nt_watchdog_start(double limit_s, nt_bark_fn bark)
{
    NT_BUG_UNLESS(!dog.running, "a second watchdog was started");
    if (limit_s <= 0) return NT_OK;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int error = pthread_cond_init(&dog.wake, &attr);
    pthread_condattr_destroy(&attr);
    NT_CHECK(error == 0, NT_ERR_UNAVAILABLE, "cannot start the watchdog: %s", strerror(error));
    dog.stop = false;
    dog.limit_s = limit_s;
    dog.bark = bark;
    error = watchdog_spawn();
    NT_CHECK(error == 0, NT_ERR_UNAVAILABLE, "cannot start the watchdog's thread: %s", strerror(error));
    dog.running = true;
    return NT_OK;
}

void nt_watchdog_stop(void)
{
    if (!dog.running) return;
    pthread_mutex_lock(&dog.lock);
    dog.stop = true;
    pthread_cond_signal(&dog.wake);
    pthread_mutex_unlock(&dog.lock);
    pthread_join(dog.thread, NULL);
    pthread_cond_destroy(&dog.wake);
    dog.running = false;
}
