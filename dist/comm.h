/* Communicators: collectives over ranks, in two planes that never mix.
 *
 * The control plane moves tiny host messages (agreement on errors, metrics, hashes). It is a const
 * nt_comm_ops in a file of its own and a line in the list of dist/comm.c: `self` (one process; the template),
 * `mpi`. The gradient plane moves big buffers of the backend's real type in backend memory. It is a const
 * nt_gradient_ops that nt_comm_attach chooses for the backend: the communicator's own where that is host
 * memory; for a device `nccl`, or `staged` (through host memory) in a build without NCCL.
 * Callers use the nt_comm_* functions. */
#ifndef NT_DIST_COMM_H
#define NT_DIST_COMM_H

#include "core/backend.h"

typedef struct nt_comm nt_comm;

typedef enum nt_reduce { NT_REDUCE_SUM, NT_REDUCE_MIN, NT_REDUCE_MAX } nt_reduce;

/* Gradient plane: collectives on memory of comm->backend, in place, n elements of dtype (NT_F32, NT_F64).
 * Each comes after the work given to the backend so far, and may return before it is done: see wait. */
typedef struct nt_gradient_ops {
    const char *name;
    /* Why it cannot be had here; NULL: it can. Optional. */
    const char *(*missing)(void);
    /* The collectives run beside backend work that is given after them; wait only orders later backend work
     * after all of them, and keeps the host for nothing. False: they are done when they return. */
    bool overlaps;
    NT_MUST nt_status (*create)(nt_comm *comm); /* collective; comm->backend is set. Optional */
    void (*destroy)(nt_comm *comm);             /* collective on a healthy job. Optional */
    NT_MUST nt_status (*all_reduce)(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
    /* The same of float32, which travels as bfloat16: half the bytes, sums rounded to 8 bits. Optional. */
    NT_MUST nt_status (*all_reduce_bf16)(nt_comm *comm, float *buffer, int64_t n);
    NT_MUST nt_status (*reduce_scatter)(nt_comm *comm, void *buffer, int64_t n,
                                        nt_dtype dtype); /* rank r keeps its part summed, see nt_comm_part */
    NT_MUST nt_status (*all_gather)(nt_comm *comm, void *buffer, int64_t n,
                                    nt_dtype dtype); /* inverse of the above */
    NT_MUST nt_status (*broadcast)(nt_comm *comm, void *buffer, size_t n_bytes, int root);
    /* Everything started is visible to the backend work that is given from now on. */
    NT_MUST nt_status (*wait)(nt_comm *comm);
    /* Gives up what is under way, from any thread; returns within seconds. Optional. */
    void (*abort)(nt_comm *comm);
} nt_gradient_ops;

/* The control plane, blocking, and the job as a whole. */
typedef struct nt_comm_ops {
    const char *name;
    const nt_gradient_ops *gradient; /* for host memory */
    NT_MUST nt_status (*create)(nt_comm *comm);
    void (*destroy)(nt_comm *comm);
    NT_MUST nt_status (*host_reduce)(nt_comm *comm, double *values, int n,
                                     nt_reduce op); /* all-reduce, in place, fixed order */
    NT_MUST nt_status (*host_broadcast)(nt_comm *comm, void *data, size_t n_bytes, int root);
    NT_MUST nt_status (*barrier)(nt_comm *comm);
    /* Ends the whole job with this exit code; does not return (except for self, which does). */
    void (*abort)(nt_comm *comm, int code);
} nt_comm_ops;

struct nt_comm {
    const nt_comm_ops *ops;
    const nt_gradient_ops *gradient; /* ops->gradient until a device is attached */
    int rank, size;                  /* of the job */
    int local_rank, local_size;      /* among the ranks of this host */
    char host[64];
    nt_backend *backend; /* set by nt_comm_attach; the memory the gradient plane works on */
    bool bf16_wire;      /* nt_comm_sum_gradients rounds */
    bool checks;    /* debug mode: before each collective the ranks compare their calls, dist/call_check.h */
    double grace_s; /* of nt_comm_let_speak */
    double patience_s; /* that a rank waits for a collective under way; 0: for ever. Set by the session */
    int64_t n_calls;   /* compared so far */
    bool unreachable;  /* another rank has not answered in time: nothing is agreed on any more */
    void *state;
    void *gradient_state; /* of the gradient plane; changed by nt_comm_keep alone */
};

/* Whether this process was started by mpirun or srun (Open MPI, PMIx, PMI variables in the environment). */
bool nt_comm_launched(void);

/* The job's communicator: `mpi` if launched, else `self` (which starts no MPI at all: a lone run begins in
 * milliseconds). Every rank calls it first. NT_ERR_UNAVAILABLE if MPI cannot start. */
NT_MUST nt_status nt_comm_create(nt_comm **out);
void nt_comm_destroy(nt_comm *comm); /* collective on a healthy job; finalises MPI */

/* Chooses and starts the gradient plane for the memory of this backend, and refuses devices that two ranks
 * share. Collective, and all ranks return the same, unless one of them does not answer (comm->unreachable).
 */
NT_MUST nt_status nt_comm_attach(nt_comm *comm, nt_backend *backend);
/* Ends the gradient plane; before the backend is destroyed. */
void nt_comm_detach(nt_comm *comm);

NT_MUST nt_status nt_comm_all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
/* An all-reduce of what may be rounded a little: float32 travels as bfloat16 with comm->bf16_wire. */
NT_MUST nt_status nt_comm_sum_gradients(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
NT_MUST nt_status nt_comm_reduce_scatter(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
NT_MUST nt_status nt_comm_all_gather(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype);
NT_MUST nt_status nt_comm_broadcast(nt_comm *comm, void *buffer, size_t n_bytes, int root);
NT_MUST nt_status nt_comm_wait(nt_comm *comm);
bool nt_comm_overlaps(const nt_comm *comm); /* the gradient plane, see nt_gradient_ops */
NT_MUST nt_status nt_comm_host_reduce(nt_comm *comm, double *values, int n, nt_reduce op);
NT_MUST nt_status nt_comm_host_broadcast(nt_comm *comm, void *data, size_t n_bytes, int root);
NT_MUST nt_status nt_comm_barrier(nt_comm *comm);
void nt_comm_abort(nt_comm *comm, int code); /* from any thread */

/* Rank's part of n things: [*begin, *end), sizes differ by at most one. */
void nt_comm_part(int64_t n, int rank, int size, int64_t *begin, int64_t *end);

/* Agreement: every rank brings its status of a stage. If any failed, all return the failure of the lowest
 * failing rank with that rank's message ("rank 1 on host: ..." unless all ranks failed alike), else NT_OK.
 * The one place where setup errors meet. */
NT_MUST nt_status nt_comm_agree(nt_comm *comm, nt_status mine);

/* All ranks must hold the same bytes: NT_ERR_CONFIG naming `what` and the first rank that differs otherwise.
 */
NT_MUST nt_status nt_comm_same(nt_comm *comm, const void *data, size_t n_bytes, const char *what);

/* Seconds that ranks wait for each other while the job starts: NNTRAIN_INIT_TIMEOUT, or 300. */
int nt_comm_init_timeout_s(void);

/* For gradient planes: makes `state` comm->gradient_state, which an abort in another thread may use from then
 * on, or (NULL) takes it back: who returns from that may free it. */
void nt_comm_keep(nt_comm *comm, void *state);

/* Waits for `turns` moments (0: for nothing), in each of which a rank that knows more of the cause of a
 * failure, or has been chosen to speak for all, says it and ends the job, and this process with it. */
void nt_comm_let_speak(const nt_comm *comm, int turns);

/* The MPI library this was built with and runs on: "Open MPI 4.1.4". */
const char *nt_comm_version(void);

extern const nt_comm_ops nt_comm_self, nt_comm_mpi;
extern const nt_gradient_ops nt_comm_staged, nt_comm_nccl;

#endif
