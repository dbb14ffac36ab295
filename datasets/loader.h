/* The loader: rows of a dataset become what the net sees. It reads, augments and mixes; the prefetcher calls
 * it for one slice after the other, in one thread, which it may share the work of augmentation with others.
 */
#ifndef NT_DATASETS_LOADER_H
#define NT_DATASETS_LOADER_H

#include "datasets/augment.h"
#include "datasets/dataset.h"

typedef struct nt_loader nt_loader;

/* Which rows, of which global batch. */
typedef struct nt_rows {
    int64_t epoch, index; /* of the batch */
    int64_t n, n_extra;
    const int64_t
        *sample; /* (n + n_extra) dataset indices: behind the slice's own those that they are mixed with */
    const int64_t *partner; /* (n) see nt_sampler_partners; only where batches are mixed */
} nt_rows;

/* augment NULL: rows as they are stored. training: augmented at random, and mixed; else the deterministic
 * part. dataset and augment are borrowed. */
NT_MUST nt_status nt_loader_create(nt_loader **out, nt_dataset *dataset, const nt_augment *augment,
                                   bool training);
void nt_loader_destroy(nt_loader *loader);

/* Bytes of x and of the target of one sample as it comes out; whether batches are mixed, so that a slice
 * needs room for n_extra samples more. */
size_t nt_loader_x_bytes(const nt_loader *loader);
size_t nt_loader_target_bytes(const nt_loader *loader);
bool nt_loader_mixes(const nt_loader *loader);

/* Fills x and target of a slice. */
NT_MUST nt_status nt_loader_read(nt_loader *loader, const nt_rows *rows, void *x, void *target);

/* Seconds of processor that augmenting and mixing have cost so far. Any thread. */
double nt_loader_cost(const nt_loader *loader);

#endif
