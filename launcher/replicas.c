/* Hashes are over the arenas as they lie in memory, paddings included: layouts are the same on all ranks, and
 * a flipped bit in a padding that kernels read is a fault too. */
#include "launcher/replicas.h"

#include "core/fault.h"

#include <stdlib.h>
#include <xxhash.h>

struct nt_replicas {
    nt_net *net;
    nt_comm *comm;
    int n_states, n_hashes; /* n_hashes = slots x (1 + n_states) */
    size_t real_bytes;
    uint64_t *hash, *hash_of_root; /* (n_hashes) */
    char *host;                    /* largest slot */
};

nt_status nt_replicas_create(nt_replicas **out, nt_net *net, nt_comm *comm, int n_states)
{
    nt_replicas *replicas = calloc(1, sizeof *replicas);
    NT_CHECK_ALLOC(replicas, sizeof *replicas);
    *replicas = (nt_replicas){.net = net,
                              .comm = comm,
                              .n_states = n_states,
                              .n_hashes = nt_net_n_slots(net) * (1 + n_states),
                              .real_bytes = nt_dtype_bytes(nt_net_backend(net)->ops->real)};
    size_t largest = 1;
    for (int i = 0; i < nt_net_n_slots(net); i++) {
        size_t n_bytes = (size_t)nt_net_get_slot(net, i)->n_elems * replicas->real_bytes;
        if (n_bytes > largest) largest = n_bytes;
    }
    replicas->hash = calloc((size_t)replicas->n_hashes + 1, sizeof *replicas->hash);
    replicas->hash_of_root = calloc((size_t)replicas->n_hashes + 1, sizeof *replicas->hash_of_root);
    replicas->host = malloc(largest);
    if (!replicas->hash || !replicas->hash_of_root || !replicas->host) {
        nt_replicas_destroy(replicas);
        NT_FAIL(NT_ERR_UNAVAILABLE, "out of memory: could not get %zu bytes", largest);
    }
    *out = replicas;
    return NT_OK;
}

void nt_replicas_destroy(nt_replicas *replicas)
{
    if (!replicas) return;
    free(replicas->hash);
    free(replicas->hash_of_root);
    free(replicas->host);
    free(replicas);
}

/* Flips the lowest bit of the first weight: what a cosmic ray or a broken kernel would do. */
static nt_status flip_bit(nt_replicas *r)
{
    nt_backend *backend = nt_net_backend(r->net);
    char *at = (char *)nt_net_params(r->net) + (size_t)nt_net_get_slot(r->net, 0)->offset * r->real_bytes;
    NT_TRY(nt_backend_download(backend, r->host, at, r->real_bytes));
    NT_TRY(nt_backend_sync(backend));
    r->host[0] ^= 1;
    NT_TRY(nt_backend_upload(backend, at, r->host, r->real_bytes));
    NT_TRY(nt_backend_sync(backend));
    return NT_OK;
}

static nt_status hash_slots(nt_replicas *r)
{
    int n_slots = nt_net_n_slots(r->net);
    for (int array = 0; array <= r->n_states; array++) {
        const char *base = array == 0 ? nt_net_params(r->net) : nt_net_state(r->net, array - 1);
        for (int i = 0; i < n_slots; i++) {
            const nt_slot *slot = nt_net_get_slot(r->net, i);
            size_t n_bytes = (size_t)slot->n_elems * r->real_bytes;
            NT_TRY(nt_backend_download(nt_net_backend(r->net), r->host,
                                       base + (size_t)slot->offset * r->real_bytes, n_bytes));
            NT_TRY(nt_backend_sync(nt_net_backend(r->net)));
            r->hash[array * n_slots + i] = XXH3_64bits(r->host, n_bytes);
        }
    }
    return NT_OK;
}

/* Says which tensor of which rank is not that of rank 0. */
static nt_status name_difference(nt_replicas *r)
{
    static const char *const array_name[] = {"", "optimizer state 0 of ", "optimizer state 1 of ",
                                             "optimizer state 2 of "};
    const size_t n_bytes = (size_t)r->n_hashes * sizeof *r->hash;
    for (int i = 0; i < r->n_hashes; i++)
        r->hash_of_root[i] = r->hash[i];
    NT_TRY(nt_comm_host_broadcast(r->comm, r->hash_of_root, n_bytes, 0));
    int first = 0;
    while (first < r->n_hashes && r->hash[first] == r->hash_of_root[first])
        first++;
    double rank = first < r->n_hashes ? r->comm->rank : r->comm->size, tensor = first;
    NT_TRY(nt_comm_host_reduce(r->comm, &rank, 1, NT_REDUCE_MIN));
    if ((int)rank != r->comm->rank) tensor = r->n_hashes;
    NT_TRY(nt_comm_host_reduce(r->comm, &tensor, 1, NT_REDUCE_MIN));
    NT_BUG_UNLESS((int)tensor < r->n_hashes, "replicas differ, but no tensor does");
    const int n_slots = nt_net_n_slots(r->net);
    NT_FAIL(
        NT_ERR_DIVERGED,
        "the replicas differ: %s%s of rank %d is not that of rank 0; this is a fault of memory, processor or "
        "software; resume from the last checkpoint",
        array_name[(int)tensor / n_slots], nt_net_get_slot(r->net, (int)tensor % n_slots)->name, (int)rank);
}

nt_status nt_replicas_check(nt_replicas *replicas)
{
    if (replicas->comm->size == 1) return NT_OK;
    if (nt_fault_point("replicas.flip") == NT_FAULT_ERROR) NT_TRY(flip_bit(replicas));
    NT_TRY(hash_slots(replicas));
    uint64_t all = XXH3_64bits(replicas->hash, (size_t)replicas->n_hashes * sizeof *replicas->hash);
    /* MAX of x and of -x: equal on all ranks iff the maxima cancel; 32 bits at a time, exact in a double */
    double low = (double)(uint32_t)all, high = (double)(uint32_t)(all >> 32);
    double bounds[] = {low, -low, high, -high};
    NT_TRY(nt_comm_host_reduce(replicas->comm, bounds, 4, NT_REDUCE_MAX));
    if (bounds[0] + bounds[1] != 0 || bounds[2] + bounds[3] != 0) NT_TRY(name_difference(replicas));
    return NT_OK;
}
