/* Emulator of CUDA: the part of NCCL that the project uses, written from the public documentation. A test
 * double: ranks are processes of this machine that share memory, and what the original answers with a hang is
 * said. See tests/cuda_emulator/nccl.c.
 *
 * NT_EMU_NCCL_VERSION_CODE, a compile definition, is the version that the header claims to be
 * (21800: 2.18.0); what that version did not have yet is not there. The environment's NT_EMU_NCCL_VERSION is
 * what the library says it is at run time. */
#ifndef NT_EMU_NCCL_H
#define NT_EMU_NCCL_H

#include <cuda_runtime_api.h>
#include <limits.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef NT_EMU_NCCL_VERSION_CODE
#define NT_EMU_NCCL_VERSION_CODE 22809
#endif

#define NCCL_MAJOR  (NT_EMU_NCCL_VERSION_CODE / 10000)
#define NCCL_MINOR  (NT_EMU_NCCL_VERSION_CODE / 100 % 100)
#define NCCL_PATCH  (NT_EMU_NCCL_VERSION_CODE % 100)
#define NCCL_SUFFIX ""

#define NCCL_VERSION_CODE     NT_EMU_NCCL_VERSION_CODE
#define NCCL_VERSION(X, Y, Z) ((X)*10000 + (Y)*100 + (Z))

#define NCCL_UNIQUE_ID_BYTES  128
#define NCCL_CONFIG_UNDEF_INT INT_MIN
#define NCCL_CONFIG_UNDEF_PTR NULL

typedef struct ncclComm *ncclComm_t;

typedef struct {
    char internal[NCCL_UNIQUE_ID_BYTES];
} ncclUniqueId;

typedef enum {
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1,
    ncclSystemError = 2,
    ncclInternalError = 3,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7,
    ncclNumResults = 8
} ncclResult_t;

typedef enum {
    ncclInt8 = 0,
    ncclChar = 0,
    ncclUint8 = 1,
    ncclInt32 = 2,
    ncclInt = 2,
    ncclUint32 = 3,
    ncclInt64 = 4,
    ncclUint64 = 5,
    ncclFloat16 = 6,
    ncclHalf = 6,
    ncclFloat32 = 7,
    ncclFloat = 7,
    ncclFloat64 = 8,
    ncclDouble = 8,
#if NCCL_VERSION_CODE >= 22400 || defined(__cplusplus)
    ncclBfloat16 = 9
#endif
} ncclDataType_t;

typedef enum { ncclSum = 0, ncclProd = 1, ncclMax = 2, ncclMin = 3, ncclAvg = 4 } ncclRedOp_t;

/* The first three members belong to the initialiser. UNDEF: as the library likes. */
typedef struct ncclConfig_v21700 {
    size_t size;
    unsigned int magic;
    unsigned int version;
    int blocking;
    int cgaClusterSize;
    int minCTAs;
    int maxCTAs;
    const char *netName;
#if NCCL_VERSION_CODE >= 21800
    int splitShare;
#endif
#if NCCL_VERSION_CODE >= 22600
    int trafficClass;
#endif
#if NCCL_VERSION_CODE >= 22700
    const char *commName;
    int collnetEnable;
    int CTAPolicy;
    int shrinkShare;
    int nvlsCTAs;
#endif
} ncclConfig_t;

#define NT_EMU_NCCL_CONFIG_MAGIC 0x6e74656du
#if NCCL_VERSION_CODE >= 22700
#define NT_EMU_NCCL_CONFIG_TAIL                                                                              \
    .splitShare = NCCL_CONFIG_UNDEF_INT, .trafficClass = NCCL_CONFIG_UNDEF_INT,                              \
    .commName = NCCL_CONFIG_UNDEF_PTR, .collnetEnable = NCCL_CONFIG_UNDEF_INT,                               \
    .CTAPolicy = NCCL_CONFIG_UNDEF_INT, .shrinkShare = NCCL_CONFIG_UNDEF_INT,                                \
    .nvlsCTAs = NCCL_CONFIG_UNDEF_INT
#elif NCCL_VERSION_CODE >= 22600
#define NT_EMU_NCCL_CONFIG_TAIL .splitShare = NCCL_CONFIG_UNDEF_INT, .trafficClass = NCCL_CONFIG_UNDEF_INT
#elif NCCL_VERSION_CODE >= 21800
#define NT_EMU_NCCL_CONFIG_TAIL .splitShare = NCCL_CONFIG_UNDEF_INT
#else
#error "the emulated NCCL claims to be 2.18 at least"
#endif

#define NCCL_CONFIG_INITIALIZER                                                                              \
    {                                                                                                        \
        .size = sizeof(ncclConfig_t), .magic = NT_EMU_NCCL_CONFIG_MAGIC, .version = NCCL_VERSION_CODE,       \
        .blocking = NCCL_CONFIG_UNDEF_INT, .cgaClusterSize = NCCL_CONFIG_UNDEF_INT,                          \
        .minCTAs = NCCL_CONFIG_UNDEF_INT, .maxCTAs = NCCL_CONFIG_UNDEF_INT,                                  \
        .netName = NCCL_CONFIG_UNDEF_PTR, NT_EMU_NCCL_CONFIG_TAIL                                            \
    }

/* The library */
ncclResult_t ncclGetVersion(int *version);
const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm_t comm); /* of the process; comm may be NULL */

/* Communicators */
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId id, int rank,
                                    ncclConfig_t *config);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error);
ncclResult_t ncclCommCount(const ncclComm_t comm, int *count);
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank);
ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device);

/* Collectives. Counts are elements: of each rank's buffer for all-reduce, reduce and broadcast, of one rank's
 * part for reduce-scatter (what it receives) and all-gather (what it sends). */
ncclResult_t ncclAllReduce(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclReduce(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclReduceScatter(const void *sendbuff, void *recvbuff, size_t recvcount,
                               ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclAllGather(const void *sendbuff, void *recvbuff, size_t sendcount, ncclDataType_t datatype,
                           ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclBroadcast(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                           int root, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);

#ifdef __cplusplus
}
#endif
#endif
