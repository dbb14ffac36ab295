/* The emulated NCCL's shared memory, and how ranks find, watch and wait for each other in it.
 *
 * The id names an anonymous memory file (memfd) of the process that made it: its process number, descriptor,
 * and a random token. The others open it through /proc. So there is no name that could be left behind: the
 * memory is gone when the last process that maps it is, however it ended. POSIX shared memory objects were
 * the alternative: they outlive ranks that are killed while they wait for each other.
 *
 * Nobody holds a lock. Each rank has a counter of the steps it has done, on which the others sleep (a futex).
 * Who sleeps for a tenth of a second looks whether the one it waits for still lives: dead processes that are
 * not waited for yet count as dead. */
#include "tests/cuda_emulator/nccl_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ID_MAGIC 0x6c63636e756d656eu /* "nemunccl" */
#define PAUSE_NS 100000000

/* What is inside an ncclUniqueId. */
typedef struct id_inside {
    uint64_t magic, token;
    int32_t pid, fd;
} id_inside;

/* --- futexes --- */

bool nccl_sleep(_Atomic uint32_t *word, uint32_t seen, bool shared)
{
    const struct timespec limit = {.tv_nsec = PAUSE_NS};
    int what = FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    long code = syscall(SYS_futex, (uint32_t *)word, what, seen, &limit, NULL, 0);
    return !(code < 0 && errno == ETIMEDOUT);
}

void nccl_wake(_Atomic uint32_t *word, bool shared)
{
    int what = FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    (void)syscall(SYS_futex, (uint32_t *)word, what, INT_MAX, NULL, NULL, 0);
}

/* --- processes --- */

/* State letter and start time of a process; false if there is none. proc(5): the fields of stat, the name (in
 * parentheses, of any characters) is the second. */
static bool look_at(int pid, char *state, uint64_t *born)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return false;
    text[n] = 0;
    const char *at = strrchr(text, ')');
    if (!at || at[1] != ' ') return false;
    *state = at[2];
    at += 2;
    for (int field = 3; field < 22 && at; field++)
        at = strchr(at + 1, ' ');
    if (!at) return false;
    *born = strtoull(at, NULL, 10);
    return true;
}

static bool lives(const nccl_peer *peer)
{
    char state;
    uint64_t born;
    if (!look_at(peer->pid, &state, &born)) return false;
    return born == peer->born && state != 'Z' && state != 'X';
}

/* --- ids --- */

/* Descriptors that ids of this process name, until the communicator is there. */
static struct {
    pthread_mutex_t lock;
    int fds[256];
    uint64_t tokens[256];
    int n;
} made = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool remember_id(int fd, uint64_t token)
{
    pthread_mutex_lock(&made.lock);
    bool fits = made.n < (int)(sizeof made.fds / sizeof made.fds[0]);
    if (fits) {
        made.fds[made.n] = fd;
        made.tokens[made.n++] = token;
    }
    pthread_mutex_unlock(&made.lock);
    return fits;
}

/* All ranks have it open: the descriptor has served. */
static void forget_id(uint64_t token)
{
    pthread_mutex_lock(&made.lock);
    for (int i = 0; i < made.n; i++)
        if (made.tokens[i] == token) {
            close(made.fds[i]);
            made.n--;
            made.fds[i] = made.fds[made.n];
            made.tokens[i] = made.tokens[made.n];
        }
    pthread_mutex_unlock(&made.lock);
}

static ncclResult_t system_failed(const char *what)
{
    return nccl_fail(ncclSystemError, "%s: %s", what, strerror(errno));
}

ncclResult_t nccl_segment_make(ncclUniqueId *id)
{
    id_inside inside = {.magic = ID_MAGIC, .pid = getpid()};
    _Static_assert(sizeof inside <= sizeof *id, "the id is too small");
    if (getrandom(&inside.token, sizeof inside.token, 0) != sizeof inside.token)
        return system_failed("getrandom");
    inside.fd = memfd_create("nt-emu-nccl", MFD_CLOEXEC);
    if (inside.fd < 0) return system_failed("memfd_create");
    if (ftruncate(inside.fd, (off_t)NCCL_DATA_OFFSET) != 0 ||
        pwrite(inside.fd, &inside.token, sizeof inside.token, offsetof(nccl_segment, token)) !=
            sizeof inside.token) {
        close(inside.fd);
        return system_failed("shared memory");
    }
    if (!remember_id(inside.fd, inside.token)) {
        close(inside.fd);
        return nccl_fail(ncclSystemError, "too many unique ids without a communicator");
    }
    memset(id, 0, sizeof *id);
    memcpy(id, &inside, sizeof inside);
    return ncclSuccess;
}

/* --- attaching --- */

static ncclResult_t open_id(const ncclUniqueId *id, id_inside *inside, int *fd)
{
    char path[64];
    uint64_t token = 0;
    memcpy(inside, id, sizeof *inside);
    if (inside->magic != ID_MAGIC)
        return nccl_fail(ncclInvalidArgument, "the unique id is not one of ncclGetUniqueId");
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)inside->pid, (int)inside->fd);
    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd >= 0 && pread(*fd, &token, sizeof token, offsetof(nccl_segment, token)) == sizeof token &&
        token == inside->token)
        return ncclSuccess;
    if (*fd >= 0) close(*fd);
    return nccl_fail(ncclRemoteError, "process %d, which made the unique id, has ended", (int)inside->pid);
}

static ncclResult_t map_segment(ncclComm_t comm, int fd)
{
    size_t n_bytes = NCCL_DATA_OFFSET + (size_t)(comm->size + 1) * NCCL_CHUNK_BYTES;
    struct stat about;
    if (fstat(fd, &about) != 0) return system_failed("fstat");
    /* The first one gives the size; a rank that believes in another number of ranks is found out by it. */
    if ((size_t)about.st_size == NCCL_DATA_OFFSET && ftruncate(fd, (off_t)n_bytes) != 0)
        return system_failed("shared memory");
    if ((size_t)about.st_size != NCCL_DATA_OFFSET && (size_t)about.st_size != n_bytes)
        return nccl_fail(ncclInvalidArgument, "rank %d was told of %d ranks, others of another number",
                         comm->rank, comm->size);
    void *at = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return system_failed("mmap of shared memory");
    comm->segment = at;
    comm->segment_bytes = n_bytes;
    return ncclSuccess;
}

static ncclResult_t enter(ncclComm_t comm)
{
    nccl_segment *s = comm->segment;
    nccl_peer *own = &s->peers[comm->rank];
    uint32_t n_ranks = 0, absent = NCCL_ABSENT;
    char state;
    if (!atomic_compare_exchange_strong(&s->n_ranks, &n_ranks, (uint32_t)comm->size) &&
        n_ranks != (uint32_t)comm->size)
        return nccl_fail(ncclInvalidArgument, "rank %d was told of %d ranks, others of %u", comm->rank,
                         comm->size, n_ranks);
    if (!atomic_compare_exchange_strong(&own->presence, &absent, NCCL_COMING))
        return nccl_fail(ncclInvalidUsage, "rank %d is taken by process %d", comm->rank, (int)own->pid);
    comm->entered = true;
    own->pid = getpid();
    if (!look_at(own->pid, &state, &own->born)) return system_failed("/proc/self/stat");
    memcpy(own->uuid, comm->uuid, sizeof own->uuid);
    memcpy(own->bus, comm->bus, sizeof own->bus);
    (void)ncclGetVersion(&own->version);
    atomic_store(&own->presence, NCCL_HERE);
    atomic_fetch_add(&s->n_here, 1);
    nccl_wake(&s->n_here, true);
    return ncclSuccess;
}

/* Who is here already may have gone again, or died. */
static ncclResult_t check_early_ones(ncclComm_t comm)
{
    for (int r = 0; r < comm->size; r++) {
        const nccl_peer *peer = &comm->segment->peers[r];
        uint32_t presence = atomic_load(&peer->presence);
        if (presence == NCCL_LEFT || presence == NCCL_ABORTED || (presence == NCCL_HERE && !lives(peer)))
            return nccl_fail(ncclRemoteError, "rank %d (process %d) ended while the ranks were connected", r,
                             (int)peer->pid);
    }
    return ncclSuccess;
}

static ncclResult_t wait_for_all(ncclComm_t comm)
{
    uint32_t n_here;
    while ((n_here = atomic_load(&comm->segment->n_here)) < (uint32_t)comm->size) {
        if (atomic_load(&comm->aborted)) return nccl_fail(ncclInternalError, "aborted while connecting");
        if (nccl_sleep(&comm->segment->n_here, n_here, true)) continue;
        ncclResult_t result = check_early_ones(comm);
        if (result != ncclSuccess) return result;
    }
    return ncclSuccess;
}

/* All ranks see the same, so all come to the same end. */
static ncclResult_t compare_peers(ncclComm_t comm)
{
    const nccl_peer *peers = comm->segment->peers;
    for (int i = 0; i < comm->size; i++)
        for (int j = i + 1; j < comm->size; j++) {
            bool involved = comm->rank == i || comm->rank == j;
            if (memcmp(peers[i].uuid, peers[j].uuid, sizeof peers[i].uuid) == 0)
                return nccl_fail(involved ? ncclInvalidUsage : ncclRemoteError,
                                 "Duplicate GPU detected: rank %d and rank %d both on CUDA device %s", i, j,
                                 peers[i].bus);
            if (peers[i].version != peers[j].version)
                return nccl_fail(ncclInvalidUsage, "rank %d has NCCL %d, rank %d has %d", i, peers[i].version,
                                 j, peers[j].version);
        }
    return ncclSuccess;
}

ncclResult_t nccl_segment_join(ncclComm_t comm)
{
    id_inside inside;
    int fd = -1;
    ncclResult_t result = open_id(&comm->id, &inside, &fd);
    if (result != ncclSuccess) return result;
    result = map_segment(comm, fd);
    close(fd);
    if (result == ncclSuccess) result = enter(comm);
    if (result == ncclSuccess) result = wait_for_all(comm);
    if (result == ncclSuccess) {
        forget_id(inside.token);
        result = compare_peers(comm);
    }
    return result;
}

/* Tells the others, once; they may wait for this rank. */
void nccl_segment_leave(ncclComm_t comm, nccl_presence how)
{
    if (!comm->segment || !comm->entered) return;
    nccl_peer *own = &comm->segment->peers[comm->rank];
    uint32_t here = NCCL_HERE;
    if (!atomic_compare_exchange_strong(&own->presence, &here, how)) return;
    nccl_wake(&own->progress, true);
}

void nccl_segment_unmap(ncclComm_t comm)
{
    if (comm->segment) munmap(comm->segment, comm->segment_bytes);
    comm->segment = NULL;
}

/* --- meeting --- */

char *nccl_area(ncclComm_t comm, int rank)
{
    return (char *)comm->segment + NCCL_DATA_OFFSET + (size_t)rank * NCCL_CHUNK_BYTES;
}

static bool has_done(const nccl_peer *peer, uint32_t step)
{
    return (int32_t)(atomic_load(&peer->progress) - step) >= 0;
}

static bool lost(ncclComm_t comm, int rank, const char *how)
{
    nccl_set_state(comm, nccl_fail(ncclRemoteError, "rank %d (process %d) %s while rank %d waits for it",
                                   rank, (int)comm->segment->peers[rank].pid, how, comm->rank));
    return false;
}

/* Waits until `rank` has done `step`. */
static bool await(ncclComm_t comm, int rank, uint32_t step)
{
    nccl_peer *peer = &comm->segment->peers[rank];
    bool timely = true;
    while (!has_done(peer, step)) {
        uint32_t seen = atomic_load(&peer->progress);
        if (atomic_load(&comm->aborted)) return false;
        uint32_t presence = atomic_load(&peer->presence);
        if (presence != NCCL_HERE && !has_done(peer, step))
            return lost(comm, rank, presence == NCCL_ABORTED ? "gave up" : "left");
        if (!timely && !lives(peer) && !has_done(peer, step)) return lost(comm, rank, "has ended");
        if (has_done(peer, step)) break;
        timely = nccl_sleep(&peer->progress, seen, true);
    }
    return true;
}

bool nccl_meet(ncclComm_t comm)
{
    nccl_peer *own = &comm->segment->peers[comm->rank];
    atomic_store(&own->progress, ++comm->step);
    nccl_wake(&own->progress, true);
    for (int r = 0; r < comm->size; r++)
        if (r != comm->rank && !await(comm, r, comm->step)) return false;
    return true;
}

void nccl_wake_waiting(ncclComm_t comm)
{
    if (!comm->segment) return;
    nccl_wake(&comm->segment->n_here, true);
    for (int r = 0; r < comm->size; r++)
        nccl_wake(&comm->segment->peers[r].progress, true);
}
