/* A ring of slices between one reading thread and the training loop.
 *
 * Slots are numbered for ever: the reader fills slot `produced % n_slots`, the caller holds slot
 * `(taken - 1) % n_slots` until it asks for the next, so `depth` slices wait and one is in use. Everything
 * is allocated at create; a slice costs two short holds of the lock. The order is fixed by the sampler, hence
 * one reader: several would need a reorder buffer to win bandwidth that a slice of a mini-batch does not
 * need.
 *
 * An error of the reader is kept with its words and comes out where the slice would have come: slices read
 * before it are still handed out, and every later call repeats it. With depth 0 the same code runs in the
 * caller's thread. */
#include "datasets/prefetch.h"

#include "core/fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct nt_prefetch {
    nt_loader *loader;
    nt_backend *backend; /* of the memory of slices; may be NULL */
    nt_sampler *sampler;
    int rank, size, n_slots;
    nt_slice *slot;       /* (n_slots); memory owned */
    int64_t *partner;     /* (n) of the slice being read; NULL: no mixing */
    int64_t epoch, index; /* of the next batch to read; the reader's own */
    double waited_s;      /* the caller's own */
    bool threaded;        /* a reader is running */
    pthread_t reader;
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t changed; /* by either side: there are only two */
    int64_t produced;       /* slices read so far */
    int64_t taken;          /* slices handed out so far; the caller holds the last of them */
    bool stop;              /* the caller wants the reader to end */
    nt_error error;         /* status NT_OK while all is well */
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reads the next batch of the epoch into `slice` and steps on. */
static nt_status read_slice(nt_prefetch *p, nt_slice *slice)
{
    if (p->index >= nt_sampler_batches(p->sampler)) {
        p->epoch++;
        p->index = 0;
    }
    slice->epoch = p->epoch;
    slice->index = p->index;
    slice->global_n = nt_sampler_batch_size(p->sampler, p->index);
    slice->n = nt_sampler_slice(p->sampler, p->epoch, p->index, p->rank, p->size, slice->sample);
    p->index++;
    if (slice->n == 0) return NT_OK;
    nt_rows rows = {.epoch = slice->epoch, .index = slice->index, .n = slice->n, .sample = slice->sample};
    if (p->partner) {
        rows.partner = p->partner;
        rows.n_extra = nt_sampler_partners(p->sampler, p->epoch, slice->index, p->rank, p->size, p->partner,
                                           slice->sample + slice->n);
    }
    NT_TRY(nt_loader_read(p->loader, &rows, slice->x, slice->target));
    return NT_OK;
}

/* The reading thread. */
static void *reader_main(void *arg)
{
    nt_prefetch *p = arg;
    pthread_mutex_lock(&p->lock);
    while (!p->stop && p->error.status == NT_OK) {
        if (p->produced - p->taken >= p->n_slots - 1) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        nt_slice *slice = &p->slot[p->produced % p->n_slots];
        pthread_mutex_unlock(&p->lock);
        nt_status status = read_slice(p, slice);
        pthread_mutex_lock(&p->lock);
        if (status == NT_OK)
            p->produced++;
        else
            nt_error_take(&p->error);
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Starts the reader with signals blocked, so that handlers of the program run in its main thread; those that
 * a thread brings on itself stay open. */
static nt_status start_reader(nt_prefetch *p)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int failed = pthread_create(&p->reader, NULL, reader_main, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    NT_CHECK(!failed, NT_ERR_UNAVAILABLE, "cannot start the reading thread: %s", strerror(failed));
    p->threaded = true;
    return NT_OK;
}

/* n_bytes (0 is made 1) of ordinary memory, or of what a device copies from by itself. */
static nt_status allocate(nt_backend *backend, void **out, size_t n_bytes)
{
    nt_status status = nt_backend_alloc_host(backend, out, n_bytes > 0 ? n_bytes : 1);
    if (status == NT_OK) return NT_OK;
    return nt_error_prefix(status, "prefetching (lower data.prefetch or data.batch): ");
}

/* Memory for the largest slice of this rank, which is that of the first batch, in every slot. */
static nt_status allocate_slots(nt_prefetch *p)
{
    bool mixes = nt_loader_mixes(p->loader);
    size_t n = (size_t)nt_sampler_slice_size(p->sampler, 0, p->rank, p->size);
    if (mixes) n += (size_t)nt_sampler_max_extra(p->sampler);
    size_t x_bytes = nt_loader_x_bytes(p->loader), target_bytes = nt_loader_target_bytes(p->loader);
    NT_CHECK(n == 0 || x_bytes + target_bytes < (SIZE_MAX / 2) / n, NT_ERR_CONFIG,
             "%zu samples of %zu bytes do not fit in memory; lower data.batch", n, x_bytes + target_bytes);
    if (mixes) NT_TRY(allocate(NULL, (void **)&p->partner, n * sizeof *p->partner));
    p->slot = calloc((size_t)p->n_slots, sizeof *p->slot);
    NT_CHECK_ALLOC(p->slot, (size_t)p->n_slots * sizeof *p->slot);
    for (int i = 0; i < p->n_slots; i++) {
        NT_TRY(allocate(p->backend, &p->slot[i].x, n * x_bytes));
        if (target_bytes > 0) NT_TRY(allocate(p->backend, &p->slot[i].target, n * target_bytes));
        NT_TRY(allocate(NULL, (void **)&p->slot[i].sample, n * sizeof(int64_t)));
        p->slot[i].x_bytes = x_bytes;
        p->slot[i].target_bytes = target_bytes;
    }
    return NT_OK;
}

nt_status nt_prefetch_create(nt_prefetch **out, nt_dataset *dataset, nt_sampler *sampler, int rank, int size,
                             const nt_prefetch_options *o)
{
    nt_status status;
    *out = NULL;
    NT_BUG_UNLESS(o->epoch >= 0 && o->index >= 0 && o->index <= nt_sampler_batches(sampler) && o->depth >= 0,
                  "prefetch at epoch %lld, batch %lld of %lld, depth %d", (long long)o->epoch,
                  (long long)o->index, (long long)nt_sampler_batches(sampler), o->depth);
    nt_prefetch *p = calloc(1, sizeof *p);
    NT_CHECK_ALLOC(p, sizeof *p);
    *p = (nt_prefetch){.sampler = sampler,
                       .backend = o->backend,
                       .rank = rank,
                       .size = size,
                       .n_slots = o->depth + 1,
                       .epoch = o->epoch,
                       .index = o->index};
    pthread_mutex_init(&p->lock, NULL); /* cannot fail with default attributes */
    pthread_cond_init(&p->changed, NULL);
    NT_TRY_GOTO(status, fail, nt_loader_create(&p->loader, dataset, o->augment, o->training));
    NT_TRY_GOTO(status, fail, allocate_slots(p));
    if (o->depth > 0) NT_TRY_GOTO(status, fail, start_reader(p));
    *out = p;
    return NT_OK;
fail:
    nt_prefetch_destroy(p);
    return status;
}

void nt_prefetch_destroy(nt_prefetch *p)
{
    if (!p) return;
    if (p->threaded) {
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_cond_signal(&p->changed);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->reader, NULL);
    }
    for (int i = 0; p->slot && i < p->n_slots; i++) {
        nt_backend_free_host(p->backend, p->slot[i].x);
        nt_backend_free_host(p->backend, p->slot[i].target);
        free(p->slot[i].sample);
    }
    free(p->slot);
    free(p->partner);
    nt_loader_destroy(p->loader);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* Waits until the reader has a slice or an error; false for the error. Takes the slice. */
static bool take(nt_prefetch *p, nt_slice *out)
{
    pthread_mutex_lock(&p->lock);
    while (p->produced == p->taken && p->error.status == NT_OK)
        pthread_cond_wait(&p->changed, &p->lock);
    bool got = p->produced > p->taken;
    if (got) {
        *out = p->slot[p->taken % p->n_slots];
        p->taken++; /* which gives the slot of the slice before back to the reader */
        pthread_cond_signal(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return got;
}

nt_status nt_prefetch_next(nt_prefetch *p, nt_slice *out)
{
    NT_CHECK(nt_fault_point("prefetch.next") == NT_FAULT_NONE, NT_ERR_IO, "injected fault: prefetch.next");
    double start_s = now_s();
    if (p->threaded) {
        bool got = take(p, out);
        p->waited_s += now_s() - start_s;
        if (!got) NT_TRY(nt_error_raise(&p->error));
        return NT_OK;
    }
    if (p->error.status == NT_OK && read_slice(p, &p->slot[0]) != NT_OK) nt_error_take(&p->error);
    if (p->error.status != NT_OK) NT_TRY(nt_error_raise(&p->error));
    *out = p->slot[0];
    p->waited_s += now_s() - start_s;
    return NT_OK;
}

double nt_prefetch_waited(const nt_prefetch *p)
{
    return p->waited_s;
}

double nt_prefetch_augmented(const nt_prefetch *p)
{
    return nt_loader_cost(p->loader);
}
