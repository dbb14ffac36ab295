/* Which cores belong to this rank: threads per rank and pinning. */
#ifndef NT_DIST_TOPOLOGY_H
#define NT_DIST_TOPOLOGY_H

#include "dist/comm.h"

/* Threads for this rank: `wanted` if > 0, else the cores this job may use on this host / local ranks, at
 * least 1. */
int nt_topology_threads(const nt_comm *comm, int wanted);

/* Pins this process, and the threads it starts from now on, to its own slice of the cores that the job may
 * use (by local rank; all of them are dealt out, so that a lone rank is only freed of what mpirun bound it
 * to). Does nothing if there are fewer cores than ranks, if the user had the launcher choose the cores
 * (mpirun
 * --bind-to, srun --cpu-bind), and under a CPU quota. Says in debug what it did, and warns if `threads` are
 * more than the slice has cores. */
NT_MUST nt_status nt_topology_pin(const nt_comm *comm, int threads);

#endif
