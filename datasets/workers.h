/* A few threads that share the items of one job after the other. */
#ifndef NT_DATASETS_WORKERS_H
#define NT_DATASETS_WORKERS_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_workers nt_workers;

/* n_threads >= 1, the caller's among them; one: nothing is started. Signals are blocked in them. */
NT_MUST nt_status nt_workers_create(nt_workers **out, int n_threads);
void nt_workers_destroy(nt_workers *workers);

/* fn(arg, worker, item) for every item in [0, n), each once, by worker 0 (the caller) to n_threads - 1;
 * returns when all are done. One job at a time. */
void nt_workers_run(nt_workers *workers, void (*fn)(void *arg, int worker, int64_t item), void *arg,
                    int64_t n);

/* Seconds of processor that the jobs have cost so far, all threads together. Any thread. */
double nt_workers_cost(const nt_workers *workers);

#endif
