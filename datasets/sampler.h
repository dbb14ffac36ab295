/* The order of samples: a pure function of (seed, epoch), the same for any number of ranks. */
#ifndef NT_DATASETS_SAMPLER_H
#define NT_DATASETS_SAMPLER_H

#include "core/status.h"

#include <stdint.h>

typedef struct nt_sampler nt_sampler;

/* The one rule by which n things are cut into `size` consecutive parts: part `rank` is [*begin, *end). The
 * first n % size parts have one more. */
static inline void nt_part(int64_t n, int rank, int size, int64_t *begin, int64_t *end)
{
    int64_t each = n / size, more = n % size;
    *begin = rank * each + (rank < more ? rank : more);
    *end = *begin + each + (rank < more);
}

/* n_samples >= 1, batch >= 1 (global). drop_last leaves out a last partial batch (unless it would be the only
 * one). */
NT_MUST nt_status nt_sampler_create(nt_sampler **out, int64_t n_samples, int64_t batch, bool shuffle,
                                    bool drop_last, uint64_t seed);
void nt_sampler_destroy(nt_sampler *sampler);

/* Cuts each batch into n pieces first and every piece over the ranks: then the ranks' parts of a piece are,
 * laid end to end, the piece of one rank. 1, the default: over the ranks alone. */
void nt_sampler_cut_pieces(nt_sampler *sampler, int n);

int64_t nt_sampler_batches(const nt_sampler *sampler); /* per epoch */
int64_t nt_sampler_batch_size(const nt_sampler *sampler,
                              int64_t index); /* global samples of batch `index` of an epoch */

/* This rank's slice of global batch `index` of `epoch`: dataset indices into out (at least the slice's size);
 * returns their number, which may be 0. Parts are nt_part-wise, of the batch or of its pieces. Fisher-Yates
 * with NT_RNG_SHUFFLE; the permutation of an epoch is kept until another epoch is asked for. Not thread-safe.
 */
int64_t nt_sampler_slice(nt_sampler *sampler, int64_t epoch, int64_t index, int rank, int size, int64_t *out);

/* This rank's part of one of the pieces (nt_sampler_cut_pieces): how many samples, which lie one piece behind
 * the other in its slice. *all: of all ranks. */
int64_t nt_sampler_piece_size(const nt_sampler *sampler, int64_t index, int piece, int rank, int size,
                              int64_t *all);

/* For each sample of that slice the one before it in the global batch, before whose first comes its last, as
 * partner (of the slice's size): its place in the slice, always the one before; or, counted on from the
 * slice's size, its place in `extra`, which gets the dataset indices of those that are not at hand. Returns
 * how many there are: at most nt_sampler_max_extra. */
int64_t nt_sampler_partners(nt_sampler *sampler, int64_t epoch, int64_t index, int rank, int size,
                            int64_t *partner, int64_t *extra);
int64_t nt_sampler_max_extra(const nt_sampler *sampler);

/* Size of that slice without filling it. */
int64_t nt_sampler_slice_size(const nt_sampler *sampler, int64_t index, int rank, int size);

#endif
