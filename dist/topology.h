/* Which cores belong to this rank: threads per rank and pinning. */
#ifndef NT_DIST_TOPOLOGY_H
#define NT_DIST_TOPOLOGY_H

#include "dist/comm.h"

/* Threads for this rank: `wanted` if > 0, else the cores this job may use on this host / local ranks, at
 * least 1. */
int nt_topology_threads(const nt_comm *comm, int wanted);

/* Pins this process to its own cores among those the job may use (by local rank), threads wide; does nothing
 * if there are fewer cores than ranks. Says in debug what it did. */
NT_MUST nt_status nt_topology_pin(const nt_comm *comm, int threads);

#endif
