/* A thread that reads this rank's slices ahead into a bounded ring of buffers, in order. Where batches go to
 * a device, the buffers are memory that it copies from by itself (nt_backend_alloc_host). */
#ifndef NT_DATASETS_PREFETCH_H
#define NT_DATASETS_PREFETCH_H

#include "core/backend.h"
#include "datasets/loader.h"
#include "datasets/sampler.h"

typedef struct nt_prefetch nt_prefetch;

/* One slice: valid until the next nt_prefetch_next or destroy. */
typedef struct nt_slice {
    int64_t n;                    /* samples of this rank, may be 0 */
    int64_t global_n;             /* samples of the global batch */
    int64_t epoch, index;         /* which batch */
    void *x, *target;             /* (n, ...) plain */
    int64_t *sample;              /* (n) */
    size_t x_bytes, target_bytes; /* of one sample */
} nt_slice;

typedef struct nt_prefetch_options {
    const nt_augment *augment; /* borrowed; NULL: samples as they are stored */
    bool training;             /* augmented at random and mixed, else the deterministic part */
    int64_t epoch, index;      /* where to start */
    int depth;                 /* batches ahead; 0: read in the calling thread, no thread started */
    nt_backend *backend;       /* borrowed; slices are read into its host memory; NULL: ordinary memory */
} nt_prefetch_options;

/* Starts reading and goes on through further epochs without end. dataset and sampler are borrowed and belong
 * to the prefetcher until it is destroyed. */
NT_MUST nt_status nt_prefetch_create(nt_prefetch **out, nt_dataset *dataset, nt_sampler *sampler, int rank,
                                     int size, const nt_prefetch_options *options);
void nt_prefetch_destroy(nt_prefetch *prefetch); /* joins the thread */

/* The next slice; waits for it. An error of the reading thread comes out here, with its words. What a device
 * still reads of the slice before is the caller's to wait for (nt_backend_unstage). */
NT_MUST nt_status nt_prefetch_next(nt_prefetch *prefetch, nt_slice *out);

/* Seconds the caller has waited in nt_prefetch_next so far. */
double nt_prefetch_waited(const nt_prefetch *prefetch);

/* Seconds of processor that augmentation has cost so far, beside the caller's own work unless depth is 0. */
double nt_prefetch_augmented(const nt_prefetch *prefetch);

#endif
