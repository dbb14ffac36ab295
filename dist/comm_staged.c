/* staged: device memory through the communicator's own plane for host memory, a piece at a time: download,
 * collective, upload. It needs nothing of the device but copies, so it is what remains where there is no
 * NCCL.
 *
 * A piece is as long as those in which `mpi` works, so the sums have the same bits as the same numbers in
 * host memory would have. reduce_scatter is a whole all-reduce, of which the other parts are superfluous:
 * nobody asks a fallback for speed, and the copies cost more than the collectives.
 *
 * Contract: a download waits for the backend's work so far, so everything is done when a call returns. */
#include "dist/comm.h"

#include <stdlib.h>

#define PIECE_BYTES ((int64_t)2 << 20)

static const nt_gradient_ops *host_plane(const nt_comm *comm)
{
    return comm->ops->gradient;
}

/* gradient_state: a piece in host memory. */
static nt_status staged_create(nt_comm *comm)
{
    nt_comm_keep(comm, malloc((size_t)PIECE_BYTES));
    NT_CHECK_ALLOC(comm->gradient_state, PIECE_BYTES);
    return NT_OK;
}

static void staged_destroy(nt_comm *comm)
{
    free(comm->gradient_state);
}

/* dtype NT_BF16: of float32, which travels so. */
static nt_status all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    bool narrow = dtype == NT_BF16;
    size_t elem_bytes = narrow ? sizeof(float) : nt_dtype_bytes(dtype);
    int64_t piece = PIECE_BYTES / (int64_t)elem_bytes;
    for (int64_t done = 0; done < n; done += piece) {
        int64_t count = n - done < piece ? n - done : piece;
        char *at = (char *)buffer + (size_t)done * elem_bytes;
        NT_TRY(nt_backend_download(comm->backend, comm->gradient_state, at, (size_t)count * elem_bytes));
        if (narrow)
            NT_TRY(host_plane(comm)->all_reduce_bf16(comm, comm->gradient_state, count));
        else
            NT_TRY(host_plane(comm)->all_reduce(comm, comm->gradient_state, count, dtype));
        NT_TRY(nt_backend_upload(comm->backend, at, comm->gradient_state, (size_t)count * elem_bytes));
    }
    return NT_OK;
}

static nt_status staged_all_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    NT_TRY(all_reduce(comm, buffer, n, dtype));
    return NT_OK;
}

static nt_status staged_all_reduce_bf16(nt_comm *comm, float *buffer, int64_t n)
{
    NT_TRY(all_reduce(comm, buffer, n, host_plane(comm)->all_reduce_bf16 ? NT_BF16 : NT_F32));
    return NT_OK;
}

static nt_status staged_broadcast(nt_comm *comm, void *buffer, size_t n_bytes, int root)
{
    bool mine = comm->rank == root;
    for (size_t done = 0; done < n_bytes; done += (size_t)PIECE_BYTES) {
        size_t left = n_bytes - done, count = left < (size_t)PIECE_BYTES ? left : (size_t)PIECE_BYTES;
        char *at = (char *)buffer + done;
        if (mine) NT_TRY(nt_backend_download(comm->backend, comm->gradient_state, at, count));
        NT_TRY(host_plane(comm)->broadcast(comm, comm->gradient_state, count, root));
        if (!mine) NT_TRY(nt_backend_upload(comm->backend, at, comm->gradient_state, count));
    }
    return NT_OK;
}

/* Every rank's part, broadcast by it. */
static nt_status staged_all_gather(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    size_t elem_bytes = nt_dtype_bytes(dtype);
    for (int root = 0; root < comm->size; root++) {
        int64_t begin, end;
        nt_comm_part(n, root, comm->size, &begin, &end);
        NT_TRY(staged_broadcast(comm, (char *)buffer + (size_t)begin * elem_bytes,
                                (size_t)(end - begin) * elem_bytes, root));
    }
    return NT_OK;
}

static nt_status staged_wait(nt_comm *comm)
{
    (void)comm;
    return NT_OK;
}

const nt_gradient_ops nt_comm_staged = {
    .name = "staged",
    .create = staged_create,
    .destroy = staged_destroy,
    .all_reduce = staged_all_reduce,
    .all_reduce_bf16 = staged_all_reduce_bf16,
    .reduce_scatter = staged_all_reduce,
    .all_gather = staged_all_gather,
    .broadcast = staged_broadcast,
    .wait = staged_wait,
};
