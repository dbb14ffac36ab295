/* Gradient buckets: ranges of the flat gradient arena, reduced as backward finishes them.
 *
 * The first ranges to be finished (last layers) make a small bucket so that communication starts early, and
 * the last (first layers) a small one because nothing is left to hide it; bucket_mb in between. A bucket
 * never splits a layer: its slots are finished at the same moment. What is to be done with a reduced bucket
 * while it is still in cache (norm, update) is the caller's business.
 *
 * Where the net's optimizer state is sharded (nt_net_own), a bucket is reduce-scattered: a rank gets the sums
 * of its part, updates it, and nt_buckets_gather gives it to all. Buckets have lengths that the ranks cut
 * into equal parts, with padding between layers. Running statistics, a bucket of their own, are summed on
 * all. */
#ifndef NT_DIST_BUCKET_H
#define NT_DIST_BUCKET_H

#include "core/net.h"
#include "dist/comm.h"

typedef struct nt_buckets nt_buckets;

/* reduced(arg, begin, end) is called for every bucket: right after its reduction, or, where reductions
 * overlap with backward, after all of them. May be NULL. */
NT_MUST nt_status nt_buckets_create(nt_buckets **out, nt_net *net, nt_comm *comm, double bucket_mb,
                                    nt_ready_fn reduced, void *arg);
void nt_buckets_destroy(nt_buckets *buckets);

/* Whether each rank has the sums of its own part only. */
bool nt_buckets_sharded(const nt_buckets *buckets);

/* This rank's part of a sharded bucket; empty for running statistics. */
nt_span nt_buckets_own(const nt_buckets *buckets, int index);

/* Sharded: gives every rank's parts of an arena (parameters, or whatever lies in the place of the gradients)
 * to all, for whatever the backend is given next. nt_buckets_begin_gather does it for one bucket, and where
 * the communicator works beside the backend only after nt_comm_wait. */
NT_MUST nt_status nt_buckets_gather(const nt_buckets *buckets, void *arena);
NT_MUST nt_status nt_buckets_begin_gather(const nt_buckets *buckets, int index, void *arena);

/* An nt_ready_fn with the buckets as arg: reduces every bucket that [.., end) completes. After the last one
 * the sums are there for whatever the backend is given next. */
NT_MUST nt_status nt_buckets_ready(void *buckets, int64_t begin, int64_t end);

/* All buckets must be reduced. Readies the next step. */
NT_MUST nt_status nt_buckets_finish(nt_buckets *buckets);

/* Forgets what was reduced of a step that was given up. */
void nt_buckets_reset(nt_buckets *buckets);

/* The first slot whose reduced gradient is not finite, by name; NULL if all are finite. Looks at all of them:
 * for messages. Collective. */
NT_MUST nt_status nt_buckets_blame(nt_buckets *buckets, const char **name);

/* Wall time of the reductions, without what `reduced` took, since the last call. */
double nt_buckets_take_seconds(nt_buckets *buckets);

nt_net *nt_buckets_net(const nt_buckets *buckets);
nt_comm *nt_buckets_comm(const nt_buckets *buckets);
int nt_buckets_count(const nt_buckets *buckets);
void nt_buckets_range(const nt_buckets *buckets, int index, int64_t *begin, int64_t *end);

#endif
