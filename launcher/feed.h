/* The feed of one part of the data: sampler, prefetch thread, and this rank's slice cut into pieces.
 *
 * Pieces (gradient accumulation) are cut as evenly as slices are. The sizes of all slices and pieces are
 * known beforehand, so that the net can compile a plan for each. */
#ifndef NT_LAUNCHER_FEED_H
#define NT_LAUNCHER_FEED_H

#include "core/net.h"
#include "datasets/prefetch.h"
#include "dist/comm.h"

typedef struct nt_feed_options {
    int64_t batch; /* global */
    bool shuffle, drop_last;
    uint64_t seed;
    int64_t n_pieces; /* >= 1 */
    bool joint;       /* piece i of all ranks together is a piece of the batch: all ranks have as many */
    int depth;        /* batches read ahead */
    const nt_augment *augment; /* borrowed; NULL: samples as they are stored */
    bool training;             /* augmented at random, not only the deterministic part */
} nt_feed_options;

typedef struct nt_feed {
    nt_dataset *dataset; /* borrowed */
    nt_sampler *sampler;
    nt_prefetch *prefetch; /* NULL until started */
    nt_backend *backend;   /* of the net that wants its batches; NULL before */
    nt_feed_options options;
    int rank, size;
    nt_slice slice;  /* the present one */
    nt_batch *piece; /* (options.n_pieces) */
    int n_pieces;    /* of the present slice; 0 if it is empty; with `joint` also those without samples */
} nt_feed;

NT_MUST nt_status nt_feed_create(nt_feed **out, nt_dataset *dataset, const nt_comm *comm,
                                 const nt_feed_options *options);
void nt_feed_destroy(nt_feed *feed); /* NULL is fine */

/* Batches of an epoch. */
int64_t nt_feed_batches(const nt_feed *feed);

/* Asks the net for a plan of every size that can come. The largest piece of rank 0 is asked for on every
 * rank: the largest plan chooses the layout of the parameters, which must be the same everywhere. From then
 * on slices are read into host memory of the net's backend, which outlives the feed. */
NT_MUST nt_status nt_feed_want(nt_feed *feed, nt_net *net, nt_mode mode);

/* Begins to read at (epoch, index). */
NT_MUST nt_status nt_feed_start(nt_feed *feed, int64_t epoch, int64_t index);

/* Ends reading; nt_feed_start may follow. NULL and a feed that does not read are fine. */
void nt_feed_stop(nt_feed *feed);

/* The next slice, as feed->slice and feed->piece, after the backend has read what was staged of the one
 * before.
 */
NT_MUST nt_status nt_feed_next(nt_feed *feed);

#endif
