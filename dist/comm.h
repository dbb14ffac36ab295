/* Communicators: collectives over ranks, two planes.
 *
 * The gradient plane moves big buffers of the backend's real type in backend memory; the control plane moves
 * tiny host messages (agreement on errors, metrics, hashes). A communicator is a const nt_comm_ops in a file
 * of its own and a line in the list of dist/comm.c: `self` (one process; the template), `mpi` (host memory).
 * Callers use the nt_comm_* functions. */
#ifndef NT_DIST_COMM_H
#define NT_DIST_COMM_H

#include "core/backend.h"

typedef struct nt_comm nt_comm;

typedef enum nt_reduce { NT_REDUCE_SUM, NT_REDUCE_MIN, NT_REDUCE_MAX } nt_reduce;

typedef struct nt_comm_ops {
    const char *name;
    NT_MUST nt_status (*create)(nt_comm *comm);
    void (*destroy)(nt_comm *comm);
    /* Gradient plane: in place, n elements of dtype (NT_F32, NT_F64). May return before it is done: see wait.
     */
    NT_MUST nt_status (*all_reduce)(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
    NT_MUST nt_status (*reduce_scatter)(nt_comm *comm, void *buffer, int64_t n,
                                        nt_dtype dtype); /* rank r keeps its part summed, see nt_comm_part */
    NT_MUST nt_status (*all_gather)(nt_comm *comm, void *buffer, int64_t n,
                                    nt_dtype dtype); /* inverse of the above */
    NT_MUST nt_status (*broadcast)(nt_comm *comm, void *buffer, size_t n_bytes, int root);
    /* Everything started on the gradient plane is done and visible to the backend. */
    NT_MUST nt_status (*wait)(nt_comm *comm);
    /* Control plane, blocking. */
    NT_MUST nt_status (*host_reduce)(nt_comm *comm, double *values, int n,
                                     nt_reduce op); /* all-reduce, in place, fixed order */
    NT_MUST nt_status (*host_broadcast)(nt_comm *comm, void *data, size_t n_bytes, int root);
    NT_MUST nt_status (*barrier)(nt_comm *comm);
    /* Ends the whole job with this exit code; does not return (except for self, which does). */
    void (*abort)(nt_comm *comm, int code);
} nt_comm_ops;

struct nt_comm {
    const nt_comm_ops *ops;
    int rank, size;             /* of the job */
    int local_rank, local_size; /* among the ranks of this host */
    char host[64];
    nt_backend *backend; /* set by nt_comm_attach; the memory the gradient plane works on */
    void *state;
};

/* Whether this process was started by mpirun or srun (Open MPI, PMIx, PMI variables in the environment). */
bool nt_comm_launched(void);

/* The job's communicator: `mpi` if launched, else `self` (which starts no MPI at all: a lone run begins in
 * milliseconds). Every rank calls it first. NT_ERR_UNAVAILABLE if MPI cannot start. */
NT_MUST nt_status nt_comm_create(nt_comm **out);
void nt_comm_destroy(nt_comm *comm); /* collective on a healthy job; finalises MPI */
void nt_comm_attach(nt_comm *comm, nt_backend *backend);

NT_MUST nt_status nt_comm_all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
NT_MUST nt_status nt_comm_reduce_scatter(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
NT_MUST nt_status nt_comm_all_gather(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
NT_MUST nt_status nt_comm_broadcast(nt_comm *comm, void *buffer, size_t n_bytes, int root);
NT_MUST nt_status nt_comm_wait(nt_comm *comm);
NT_MUST nt_status nt_comm_host_reduce(nt_comm *comm, double *values, int n, nt_reduce op);
NT_MUST nt_status nt_comm_host_broadcast(nt_comm *comm, void *data, size_t n_bytes, int root);
NT_MUST nt_status nt_comm_barrier(nt_comm *comm);
void nt_comm_abort(nt_comm *comm, int code);

/* Rank's part of n things: [*begin, *end), sizes differ by at most one. */
void nt_comm_part(int64_t n, int rank, int size, int64_t *begin, int64_t *end);

/* Agreement: every rank brings its status of a stage. If any failed, all return the failure of the lowest
 * failing rank with that rank's message ("rank 1 on host: ..." unless all ranks failed alike), else NT_OK.
 * The one place where setup errors meet. */
NT_MUST nt_status nt_comm_agree(nt_comm *comm, nt_status mine);

/* All ranks must hold the same bytes: NT_ERR_CONFIG naming `what` and the first rank that differs otherwise.
 */
NT_MUST nt_status nt_comm_same(nt_comm *comm, const void *data, size_t n_bytes, const char *what);

/* The MPI library this was built with and runs on: "Open MPI 4.1.4". */
const char *nt_comm_version(void);

extern const nt_comm_ops nt_comm_self, nt_comm_mpi;

#endif
