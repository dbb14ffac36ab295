/* Items are taken from one atomic counter, so that a slow item keeps one thread only. A job has a number;
 * threads wait for a number they have not seen. */
#include "datasets/workers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct helper {
    nt_workers *workers;
    int number;
    pthread_t thread;
} helper;

struct nt_workers {
    int n_threads, n_started;
    helper *helper; /* (n_threads - 1) */
    void (*fn)(void *arg, int worker, int64_t item);
    void *arg;
    int64_t n;
    atomic_llong next; /* item to be taken */
    atomic_llong cost_ns;
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t changed; /* a job came, the last helper is through, or stop */
    uint64_t job;           /* number of the present one */
    int n_busy;             /* helpers at it */
    bool stop;
};

static long long cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void do_items(nt_workers *w, int worker)
{
    long long began = cpu_ns();
    for (int64_t i = atomic_fetch_add(&w->next, 1); i < w->n; i = atomic_fetch_add(&w->next, 1))
        w->fn(w->arg, worker, i);
    atomic_fetch_add(&w->cost_ns, cpu_ns() - began);
}

static void *helper_main(void *arg)
{
    helper *h = arg;
    nt_workers *w = h->workers;
    uint64_t seen = 0;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->stop && w->job == seen)
            pthread_cond_wait(&w->changed, &w->lock);
        if (w->stop) break;
        seen = w->job;
        pthread_mutex_unlock(&w->lock);
        do_items(w, h->number);
        pthread_mutex_lock(&w->lock);
        if (--w->n_busy == 0) pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* As the reading thread, which asks for them: see start_reader in datasets/prefetch.c. */
static nt_status start_helpers(nt_workers *w)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t blocked, before;
    int failed = 0;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    for (int i = 0; i < w->n_threads - 1 && !failed; i++) {
        w->helper[i] = (helper){.workers = w, .number = i + 1};
        failed = pthread_create(&w->helper[i].thread, NULL, helper_main, &w->helper[i]);
        w->n_started += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    NT_CHECK(!failed, NT_ERR_UNAVAILABLE,
             "cannot start %d threads for augmentation: %s; lower augment.threads", w->n_threads - 1,
             strerror(failed));
    return NT_OK;
}

nt_status nt_workers_create(nt_workers **out, int n_threads)
{
    *out = NULL;
    nt_workers *w = calloc(1, sizeof *w);
    NT_CHECK_ALLOC(w, sizeof *w);
    w->n_threads = n_threads;
    pthread_mutex_init(&w->lock, NULL); /* cannot fail with default attributes */
    pthread_cond_init(&w->changed, NULL);
    w->helper = calloc((size_t)n_threads, sizeof *w->helper);
    nt_status status = w->helper
                           ? start_helpers(w)
                           : nt_error_set(NT_ERR_UNAVAILABLE, __FILE__, __LINE__, __func__, "out of memory");
    if (status != NT_OK) {
        nt_workers_destroy(w);
        return status;
    }
    *out = w;
    return NT_OK;
}

void nt_workers_destroy(nt_workers *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (int i = 0; i < w->n_started; i++)
        pthread_join(w->helper[i].thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w->helper);
    free(w);
}

void nt_workers_run(nt_workers *w, void (*fn)(void *arg, int worker, int64_t item), void *arg, int64_t n)
{
    pthread_mutex_lock(&w->lock);
    w->fn = fn;
    w->arg = arg;
    w->n = n;
    atomic_store(&w->next, 0);
    w->n_busy = w->n_started;
    w->job++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    do_items(w, 0);
    pthread_mutex_lock(&w->lock);
    while (w->n_busy > 0)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

double nt_workers_cost(const nt_workers *w)
{
    return 1e-9 * (double)atomic_load((atomic_llong *)(uintptr_t)&w->cost_ns);
}
