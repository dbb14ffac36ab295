/* See shard.h. Copies between the arenas go through host memory, a piece at a time: backends have no copy of
 * their own, and this runs once a checkpoint. */
#include "dist/shard.h"

#include <stdlib.h>

#define PIECE_BYTES ((size_t)1 << 20)

static bool is_root(const nt_buckets *b)
{
    return nt_buckets_comm(b)->rank == 0;
}

static int n_states(const nt_net *net)
{
    int n = 0;
    while (n < NT_MAX_STATES && nt_net_state(net, n))
        n++;
    return n;
}

nt_status nt_shard_open(const nt_buckets *b)
{
    nt_net *net = nt_buckets_net(b);
    if (!nt_buckets_sharded(b) || !is_root(b)) return NT_OK;
    for (int i = 0; i < n_states(net); i++) {
        size_t n = (size_t)nt_net_whole_elems(net) + 1;
        float *whole = calloc(n, sizeof *whole);
        if (!whole) nt_shard_close(b);
        NT_CHECK_ALLOC(whole, n * sizeof *whole);
        nt_net_lend_state(net, i, whole);
    }
    return NT_OK;
}

void nt_shard_close(const nt_buckets *b)
{
    nt_net *net = nt_buckets_net(b);
    for (int i = 0; i < NT_MAX_STATES; i++) {
        free(nt_net_whole_state(net, i));
        nt_net_lend_state(net, i, NULL);
    }
}

static nt_status copy(nt_backend *backend, char *to, const char *from, size_t n_bytes, void *piece)
{
    for (size_t done = 0; done < n_bytes; done += PIECE_BYTES) {
        size_t n = n_bytes - done < PIECE_BYTES ? n_bytes - done : PIECE_BYTES;
        NT_TRY(nt_backend_download(backend, piece, from + done, n));
        NT_TRY(nt_backend_sync(backend));
        NT_TRY(nt_backend_upload(backend, to + done, piece, n));
        NT_TRY(nt_backend_sync(backend));
    }
    return NT_OK;
}

/* This rank's parts of state array `index`, out into the place of the gradients or back. */
static nt_status copy_parts(const nt_buckets *b, int index, bool out)
{
    nt_net *net = nt_buckets_net(b);
    nt_backend *backend = nt_net_backend(net);
    const size_t real_bytes = nt_dtype_bytes(backend->ops->real);
    char *state = nt_net_state(net, index), *grads = nt_net_grads(net);
    nt_status status = NT_OK;
    void *piece = malloc(PIECE_BYTES);
    NT_CHECK_ALLOC(piece, PIECE_BYTES);
    for (int i = 0; i < nt_buckets_count(b) && status == NT_OK; i++) {
        nt_span own = nt_buckets_own(b, i);
        size_t n_bytes = (size_t)(own.end - own.begin) * real_bytes;
        char *at = grads + (size_t)own.begin * real_bytes;
        status = copy(backend, out ? at : state, out ? state : at, n_bytes, piece);
        state += n_bytes;
    }
    free(piece);
    NT_TRY(status);
    return NT_OK;
}

/* Rank 0: every slot from the place of the gradients into the whole array, or back. */
static nt_status copy_slots(const nt_buckets *b, int index, bool out)
{
    nt_net *net = nt_buckets_net(b);
    float *at = nt_net_whole_state(net, index);
    if (!is_root(b)) return NT_OK;
    for (int s = 0; s < nt_net_n_slots(net); s++) {
        const nt_slot *slot = nt_net_get_slot(net, s);
        if (slot->role == NT_PARAM_STAT) continue;
        if (out)
            NT_TRY(nt_net_write(net, s, NT_ARRAY_GRAD, at));
        else
            NT_TRY(nt_net_read(net, s, NT_ARRAY_GRAD, at));
        at += nt_shape_elems(slot->tensor.shape);
    }
    return NT_OK;
}

nt_status nt_shard_gather(const nt_buckets *b)
{
    nt_net *net = nt_buckets_net(b);
    for (int i = 0; nt_buckets_sharded(b) && i < n_states(net); i++) {
        NT_TRY(copy_parts(b, i, true));
        NT_TRY(nt_buckets_gather(b, nt_net_grads(net)));
        NT_TRY(copy_slots(b, i, false));
    }
    return NT_OK;
}

nt_status nt_shard_scatter(const nt_buckets *b)
{
    nt_net *net = nt_buckets_net(b);
    nt_comm *comm = nt_buckets_comm(b);
    const size_t n_bytes = (size_t)nt_net_n_elems(net) * nt_dtype_bytes(nt_net_backend(net)->ops->real);
    for (int i = 0; nt_buckets_sharded(b) && i < n_states(net); i++) {
        NT_TRY(nt_net_zero_grads(net)); /* paddings */
        NT_TRY(copy_slots(b, i, true));
        NT_TRY(nt_comm_broadcast(comm, nt_net_grads(net), n_bytes, 0));
        NT_TRY(nt_comm_wait(comm));
        NT_TRY(copy_parts(b, i, false));
    }
    return NT_OK;
}
