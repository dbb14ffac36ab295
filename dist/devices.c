/* Every rank tells all others on which host it runs and which device it has; then each compares all with all
 * and comes to the same verdict, so nothing need be agreed on.
 *
 * What tells devices apart is the id of the hardware and not a number: with CUDA_VISIBLE_DEVICES, or a
 * launcher that gives each task one GPU, every rank's device has number 0. */
#include "dist/devices.h"

#include "core/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct holder {
    char host[sizeof((nt_comm *)NULL)->host];
    char id[sizeof((nt_backend *)NULL)->device_id];
    char name[sizeof((nt_backend *)NULL)->device_name];
    char visible[64]; /* CUDA_VISIBLE_DEVICES */
} holder;

static void describe_own(const nt_comm *comm, holder *own)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    memcpy(own->host, comm->host, sizeof own->host);
    memcpy(own->id, comm->backend->device_id, sizeof own->id);
    memcpy(own->name, comm->backend->device_name, sizeof own->name);
    if (visible)
        snprintf(own->visible, sizeof own->visible, "'%.60s'", visible);
    else
        strcpy(own->visible, "not set");
}

/* Ids are unique by themselves; the host is compared too because a simulator of devices may number them anew
 * on each. */
static bool same_device(const holder *a, const holder *b)
{
    return a->id[0] && strcmp(a->id, b->id) == 0 && strcmp(a->host, b->host) == 0;
}

static nt_status refuse_shared(const holder *all, int size)
{
    for (int b = 1; b < size; b++)
        for (int a = 0; a < b; a++)
            NT_CHECK(
                !same_device(&all[a], &all[b]), NT_ERR_UNAVAILABLE,
                "ranks %d and %d on %s have the same device, %s (%s), and every rank needs one of its own: "
                "start no more ranks on a host than it has GPUs, and look at CUDA_VISIBLE_DEVICES (%s on "
                "rank %d, %s on rank %d)",
                a, b, all[a].host, all[a].name, all[a].id, all[a].visible, a, all[b].visible, b);
    return NT_OK;
}

static void warn_of_mixture(const holder *all, int size)
{
    for (int b = 1; b < size; b++) {
        if (strcmp(all[b].name, all[0].name) == 0) continue;
        nt_warn("rank %d on %s has another kind of device (%s) than rank 0 (%s): the slowest sets the pace",
                b, all[b].host, all[b].name, all[0].name);
        return;
    }
}

static nt_status compare(nt_comm *comm, holder *all)
{
    describe_own(comm, &all[comm->rank]);
    for (int rank = 0; rank < comm->size; rank++)
        NT_TRY(nt_comm_host_broadcast(comm, &all[rank], sizeof *all, rank));
    NT_TRY(refuse_shared(all, comm->size));
    if (comm->rank == 0) warn_of_mixture(all, comm->size);
    return NT_OK;
}

static nt_status make_list(const nt_comm *comm, holder **all)
{
    *all = calloc((size_t)comm->size, sizeof **all);
    NT_CHECK_ALLOC(*all, (size_t)comm->size * sizeof **all);
    return NT_OK;
}

nt_status nt_devices_check(nt_comm *comm)
{
    holder *all;
    nt_status status = nt_comm_agree(comm, make_list(comm, &all));
    if (status == NT_OK) status = compare(comm, all);
    free(all);
    NT_TRY(status);
    return NT_OK;
}
