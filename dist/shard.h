/* All of a sharded optimizer state (dist/bucket.h), on rank 0, for checkpoints, which do not know of shards.
 *
 * Between two steps the arena of gradients is free. An array at a time, every rank puts its own parts there,
 * the buckets' all-gather completes it, and rank 0 takes the slots out in canonical form; the way back is a
 * broadcast, of which every rank keeps its parts. Nothing more than the host memory of rank 0 is needed, as
 * much as the unsharded state has, as long as a checkpoint is written or read.
 *
 * All four do nothing where the state is not sharded. */
#ifndef NT_DIST_SHARD_H
#define NT_DIST_SHARD_H

#include "dist/bucket.h"

/* Makes room on rank 0: nt_net_read and nt_net_write of the state work there until nt_shard_close. */
NT_MUST nt_status nt_shard_open(const nt_buckets *buckets);
void nt_shard_close(const nt_buckets *buckets);

/* Fills rank 0's from all ranks' parts, or all ranks' parts from rank 0's. Collective. Uses up the gradients.
 */
NT_MUST nt_status nt_shard_gather(const nt_buckets *buckets);
NT_MUST nt_status nt_shard_scatter(const nt_buckets *buckets);

#endif
