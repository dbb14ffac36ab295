/* NCCL, loaded when it is first asked for and not when the program starts: a binary that was built with it
 * also starts, and trains, where it is not installed. As core/backends/cuda/lazy/cublas.c: functions of the
 * names and types of nccl.h that pass their arguments on. comm_nccl.c knows nothing of it, and the emulator
 * brings functions of its own.
 *
 * To use another function of NCCL: one more FORWARD. Without the library every function returns
 * ncclSystemError; nt_comm_nccl asks for the version first of all. */
#include "core/log.h"

#include <dlfcn.h>
#include <nccl.h>
#include <pthread.h>

#define TEXT(x)  TEXT_(x)
#define TEXT_(x) #x

static void *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* By its name first (LD_LIBRARY_PATH, ld.so.conf), then where it was when this was built. */
static void load(void)
{
    library = dlopen("libnccl.so." TEXT(NCCL_MAJOR), RTLD_NOW | RTLD_LOCAL);
    if (!library) library = dlopen(NNTRAIN_NCCL_FILE, RTLD_NOW | RTLD_LOCAL);
    if (!library) nt_debug("NCCL cannot be loaded: %s", dlerror());
}

static void *find(const char *name)
{
    (void)pthread_once(&once, load);
    return library ? dlsym(library, name) : NULL;
}

/* FORWARD(result, otherwise, name, (parameters), (arguments)): the parameters must be those of the header, or
 * it does not compile. */
#define FORWARD(result, otherwise, name, parameters, arguments)                                              \
    result name parameters                                                                                   \
    {                                                                                                        \
        static __typeof__(&name) function;                                                                   \
        if (!function) *(void **)&function = find(TEXT(name));                                               \
        return function ? function arguments : (otherwise);                                                  \
    }
#define FORWARD_CALL(name, parameters, arguments)                                                            \
    FORWARD(ncclResult_t, ncclSystemError, name, parameters, arguments)

/* nccl.h declares these two without (void). */
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

/* clang-format off */
FORWARD_CALL(ncclGetVersion, (int *version), (version))
FORWARD_CALL(ncclGetUniqueId, (ncclUniqueId *id), (id))
FORWARD_CALL(ncclCommInitRankConfig, (ncclComm_t *comm, int size, ncclUniqueId id, int rank, ncclConfig_t *config),
             (comm, size, id, rank, config))
FORWARD_CALL(ncclCommGetAsyncError, (ncclComm_t comm, ncclResult_t *error), (comm, error))
FORWARD_CALL(ncclCommFinalize, (ncclComm_t comm), (comm))
FORWARD_CALL(ncclCommDestroy, (ncclComm_t comm), (comm))
FORWARD_CALL(ncclCommAbort, (ncclComm_t comm), (comm))
FORWARD_CALL(ncclGroupStart, (void), ())
FORWARD_CALL(ncclGroupEnd, (void), ())
FORWARD_CALL(ncclAllReduce, (const void *from, void *to, size_t n_elems, ncclDataType_t type, ncclRedOp_t op,
                             ncclComm_t comm, cudaStream_t stream),
             (from, to, n_elems, type, op, comm, stream))
FORWARD_CALL(ncclReduce, (const void *from, void *to, size_t n_elems, ncclDataType_t type, ncclRedOp_t op, int root,
                          ncclComm_t comm, cudaStream_t stream),
             (from, to, n_elems, type, op, root, comm, stream))
FORWARD_CALL(ncclReduceScatter, (const void *from, void *to, size_t n_elems, ncclDataType_t type, ncclRedOp_t op,
                                 ncclComm_t comm, cudaStream_t stream),
             (from, to, n_elems, type, op, comm, stream))
FORWARD_CALL(ncclAllGather, (const void *from, void *to, size_t n_elems, ncclDataType_t type, ncclComm_t comm,
                             cudaStream_t stream),
             (from, to, n_elems, type, comm, stream))
FORWARD_CALL(ncclBroadcast, (const void *from, void *to, size_t n_elems, ncclDataType_t type, int root,
                             ncclComm_t comm, cudaStream_t stream),
             (from, to, n_elems, type, root, comm, stream))
FORWARD(const char *, "NCCL cannot be loaded", ncclGetErrorString, (ncclResult_t result), (result))
FORWARD(const char *, "", ncclGetLastError, (ncclComm_t comm), (comm))
/* clang-format on */
