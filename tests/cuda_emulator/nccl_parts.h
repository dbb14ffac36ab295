/* The emulated NCCL's inside. Private to nccl*.c.
 *
 *   nccl.c          the public collectives and groups: checks, and what goes into streams when
 *   nccl_comm.c     communicators: birth, state, errors, end
 *   nccl_segment.c  the memory that the ranks share, and waiting for each other in it
 *   nccl_network.c  the name of the network's interface
 *   nccl_run.c      collectives, on the thread that serves a stream
 *   nccl_reduce.c   the arithmetic
 *
 * Who touches what: threads of the program under test and threads that serve streams meet in a communicator's
 * atomics only. Those are relaxed where streams tell the host something in a healthy run: ThreadSanitizer
 * would take anything stronger for an order between them, and find no missing wait any more. */
#ifndef NT_EMU_NCCL_PARTS_H
#define NT_EMU_NCCL_PARTS_H

#include "tests/cuda_emulator/include/nccl.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NCCL_MAX_RANKS   64
#define NCCL_CHUNK_BYTES ((size_t)1 << 20) /* of each rank's input, and of the result, at a time */

/* --- shared memory --- */

typedef enum nccl_kind {
    NCCL_ALL_REDUCE,
    NCCL_REDUCE,
    NCCL_REDUCE_SCATTER,
    NCCL_ALL_GATHER,
    NCCL_BROADCAST,
    NCCL_N_KINDS
} nccl_kind;

/* What all ranks must call alike. */
typedef struct nccl_call {
    uint64_t number; /* of the communicator's collectives, from 0 */
    uint64_t count;
    int32_t kind, type, op, root; /* op, root: -1 where there is none */
} nccl_call;

typedef enum nccl_presence { NCCL_ABSENT, NCCL_COMING, NCCL_HERE, NCCL_LEFT, NCCL_ABORTED } nccl_presence;

typedef struct nccl_peer {
    _Atomic uint32_t presence;
    int32_t pid, version;
    uint64_t born; /* start time of the process: tells it from a later one of the same number */
    char uuid[16], bus[32];
    _Atomic uint32_t progress; /* steps done; the others sleep on it */
    nccl_call calls[2];        /* of even and odd numbers: one is still read while the next is written */
} nccl_peer;

/* Followed, from NCCL_DATA_OFFSET on, by a chunk per rank and one for results. All zeros is its first state.
 */
typedef struct nccl_segment {
    uint64_t token; /* written by whoever made the id */
    _Atomic uint32_t n_ranks, n_here;
    nccl_peer peers[NCCL_MAX_RANKS];
} nccl_segment;

#define NCCL_DATA_OFFSET ((sizeof(nccl_segment) + 4095) / 4096 * 4096)

/* --- communicators --- */

typedef enum nccl_life { NCCL_LIVE, NCCL_FINALIZED, NCCL_DESTROYED, NCCL_GIVEN_UP } nccl_life;

struct ncclComm {
    struct ncclComm *next; /* all that ever were; never freed, so that use after the end is known */
    _Atomic int life;
    int rank, size, device;
    bool blocking;
    ncclUniqueId id;
    char uuid[16], bus[32];

    nccl_segment *segment;
    size_t segment_bytes;
    bool entered; /* the rank is this communicator's */

    _Atomic int state;         /* ncclResult_t, as ncclCommGetAsyncError says it */
    _Atomic uint32_t aborted;  /* by ncclCommAbort; stalled work sleeps on it */
    _Atomic uint32_t n_queued; /* given to streams and not done */
    _Atomic uint32_t n_running;

    pthread_t helper; /* connects the ranks, or brings work into streams late */
    bool has_helper;
    struct ncclComm *next_in_group;
    uint32_t connected; /* kinds used before, as bits */

    pthread_mutex_t issuing;
    uint64_t next_ticket; /* of work given to streams, under issuing */

    /* Of threads that serve streams; NCCL itself orders the work of one communicator. */
    _Atomic uint32_t busy;
    _Atomic uint32_t turn; /* ticket of the work that may run */
    uint32_t step;         /* own progress */
    uint64_t n_collectives;
};

/* One collective, for one rank. */
typedef struct nccl_job {
    ncclComm_t comm;
    nccl_call call;
    const void *send;
    void *recv;
    cudaStream_t stream;
    bool captured, ran;
    uint64_t ticket;
    struct nccl_job *next; /* in a group */
} nccl_job;

/* nccl_comm.c */

/* Remembers the words for ncclGetLastError; returns `result`. */
ncclResult_t nccl_fail(ncclResult_t result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes it the state of the communicator; the first error stays. */
void nccl_set_state(ncclComm_t comm, ncclResult_t result);

/* Whether `comm` can take a call of the name `what`: alive, connected, without an error. */
ncclResult_t nccl_check_ready(ncclComm_t comm, const char *what);

/* Starts `body` in a thread; the communicator is in progress until it sets another state. */
ncclResult_t nccl_start_helper(ncclComm_t comm, void *(*body)(void *), void *arg);

/* Waits for the thread, if there is one and it is done or `wait` is set. */
void nccl_join_helper(ncclComm_t comm, bool wait);

/* What the communicator's helper has come to; ncclInProgress is waited for if the communicator is a blocking
 * one. One whose init failed is given up. */
ncclResult_t nccl_finish_init(ncclComm_t comm);

/* nccl.c: whether this thread is in a group; if so, it takes the end of the communicator's init over. */
bool nccl_group_takes_init(ncclComm_t comm);

/* nccl_network.c: whether there is an interface of the name that NCCL_SOCKET_IFNAME asks for. */
ncclResult_t nccl_check_network(void);

/* nccl_segment.c */
ncclResult_t nccl_segment_make(ncclUniqueId *id);

/* Attaches the rank, waits for the others, and checks them against each other. */
ncclResult_t nccl_segment_join(ncclComm_t comm);
void nccl_segment_leave(ncclComm_t comm, nccl_presence how);
void nccl_segment_unmap(ncclComm_t comm);

/* Next step: says that this rank has done what came before, and waits until all have. False if that cannot
 * be: aborted, or failed (and said). */
bool nccl_meet(ncclComm_t comm);

/* Wakes this process's work that waits for others. */
void nccl_wake_waiting(ncclComm_t comm);

char *nccl_area(ncclComm_t comm, int rank); /* rank == size: of results */

/* Sleeps while *word == seen, for 0.1 s at most; false: the time is over. `shared`: between processes. */
bool nccl_sleep(_Atomic uint32_t *word, uint32_t seen, bool shared);
void nccl_wake(_Atomic uint32_t *word, bool shared);

/* nccl_run.c */
cudaError_t nccl_run(void *job);
void nccl_run_over(void *job); /* frees it */
void nccl_describe(const nccl_call *call, char *text, size_t n_bytes);
extern const char *const nccl_kind_names[NCCL_N_KINDS];

/* nccl_reduce.c */
size_t nccl_type_bytes(ncclDataType_t type); /* 0: not emulated */

/* out = in, as the first addend of `size`; then out = out op in for the others in order; then the end. */
void nccl_reduce_first(void *out, const void *in, size_t n, int type, int op, int size);
void nccl_reduce_next(void *out, const void *in, size_t n, int type, int op, int size);
void nccl_reduce_last(void *out, size_t n, int type, int op, int size);

#endif
