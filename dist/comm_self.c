/* self: one process. Sums over one rank are what they were, so every collective is done when it is asked for,
 * in whatever memory. This is the template for a new communicator: copy it, fill the slots of both planes,
 * add a line to dist/comm.c.
 *
 * Contract of the slots: dist/comm.h. A gradient-plane buffer is memory of comm->backend and is worked on in
 * place. */
#include "dist/comm.h"

static nt_status self_create(nt_comm *comm)
{
    comm->rank = comm->local_rank = 0;
    comm->size = comm->local_size = 1;
    return NT_OK;
}

static void self_destroy(nt_comm *comm)
{
    (void)comm;
}

/* all_reduce, reduce_scatter and all_gather: the only part is already whole. */
static nt_status self_reduce(nt_comm *comm, void *buffer, int64_t n, nt_dtype dtype)
{
    (void)comm, (void)buffer, (void)n, (void)dtype;
    return NT_OK;
}

static nt_status self_broadcast(nt_comm *comm, void *buffer, size_t n_bytes, int root)
{
    (void)comm, (void)buffer, (void)n_bytes, (void)root;
    return NT_OK;
}

static nt_status self_host_reduce(nt_comm *comm, double *values, int n, nt_reduce op)
{
    (void)comm, (void)values, (void)n, (void)op;
    return NT_OK;
}

/* wait and barrier: nobody to wait for. */
static nt_status self_wait(nt_comm *comm)
{
    (void)comm;
    return NT_OK;
}

/* Returns: main ends the process with this code. */
static void self_abort(nt_comm *comm, int code)
{
    (void)comm, (void)code;
}

static const nt_gradient_ops self_gradient = {
    .name = "self",
    .all_reduce = self_reduce,
    .reduce_scatter = self_reduce,
    .all_gather = self_reduce,
    .broadcast = self_broadcast,
    .wait = self_wait,
};

const nt_comm_ops nt_comm_self = {
    .name = "self",
    .gradient = &self_gradient,
    .create = self_create,
    .destroy = self_destroy,
    .host_reduce = self_host_reduce,
    .host_broadcast = self_broadcast,
    .barrier = self_wait,
    .abort = self_abort,
};
