/* Replicas: are all ranks' weights and optimizer states the same, bit for bit?
 *
 * Each rank hashes every slot (XXH3-64) and the ranks compare one hash over all; only if that differs the
 * slots' hashes are compared one by one, to name tensor and rank. Synchronous data parallelism makes them
 * equal by construction, so any difference is a fault of memory, of a library or of ours, and training on
 * would only hide it. Costs one pass over the arenas at memory speed. */
#ifndef NT_LAUNCHER_REPLICAS_H
#define NT_LAUNCHER_REPLICAS_H

#include "core/net.h"
#include "dist/comm.h"

typedef struct nt_replicas nt_replicas;

/* n_states: arrays of optimizer state. net and comm are borrowed. */
NT_MUST nt_status nt_replicas_create(nt_replicas **out, nt_net *net, nt_comm *comm, int n_states);
void nt_replicas_destroy(nt_replicas *replicas); /* NULL is fine */

/* Collective. NT_ERR_DIVERGED on all ranks alike, naming rank and tensor. */
NT_MUST nt_status nt_replicas_check(nt_replicas *replicas);

#endif
