/* Averages of the weights, and single parameters, gradients and states in and out. */
#include "core/net_private.h"

#include <string.h>

/* --- averages --- */

void *nt_net_average_of(const nt_net *net, nt_weights which)
{
    return net->average[which];
}

static nt_status mix(nt_net *net, void *into, const void *x, double weight)
{
    const nt_update u = {.rule = NT_UPDATE_AVERAGE, .lr = weight};
    NT_TRY(nt_backend_update(net->backend, &u, into, x, NULL, NULL, net->n_elems));
    return NT_OK;
}

nt_status nt_net_average(nt_net *net, nt_weights which, double weight)
{
    NT_BUG_UNLESS(net->average[which] && net->used == NT_WEIGHTS_RAW, "no average %s",
                  nt_weights_names[which]);
    NT_TRY(mix(net, net->average[which], net->params, nt_net_average_begun(net, which) ? weight : 1));
    nt_net_begin_average(net, which);
    return NT_OK;
}

bool nt_net_average_begun(const nt_net *net, nt_weights which)
{
    return net->average_begun[which];
}

void nt_net_begin_average(nt_net *net, nt_weights which)
{
    net->average_begun[which] = true;
}

nt_status nt_net_use_weights(nt_net *net, nt_weights which)
{
    NT_BUG_UNLESS(which == NT_WEIGHTS_RAW || (net->average[which] && net->grads), "no average %s",
                  nt_weights_names[which]);
    if (which == net->used) return NT_OK;
    if (net->used == NT_WEIGHTS_RAW) NT_TRY(mix(net, net->grads, net->params, 1));
    NT_TRY(mix(net, net->params, which == NT_WEIGHTS_RAW ? net->grads : net->average[which], 1));
    net->used = which;
    return NT_OK;
}

/* --- looking in --- */

int64_t nt_net_n_elems(const nt_net *net)
{
    return net->n_elems;
}

void *nt_net_params(const nt_net *net)
{
    return net->params;
}

void *nt_net_grads(const nt_net *net)
{
    return net->grads;
}

void *nt_net_state(const nt_net *net, int index)
{
    return index < net->n_states ? net->state[index] : NULL;
}

int nt_net_n_slots(const nt_net *net)
{
    return net->n_slots;
}

const nt_slot *nt_net_get_slot(const nt_net *net, int index)
{
    return &net->slot[index];
}

const nt_model *nt_net_model(const nt_net *net)
{
    return net->model;
}

nt_backend *nt_net_backend(const nt_net *net)
{
    return net->backend;
}

void nt_net_lend_state(nt_net *net, int index, float *whole)
{
    net->whole[index] = whole;
}

float *nt_net_whole_state(const nt_net *net, int index)
{
    return net->whole[index];
}

/* Where a slot lies in a whole state array; for the number of slots, how long that is. */
static int64_t whole_offset(const nt_net *net, int slot)
{
    int64_t at = 0;
    for (int s = 0; s < slot; s++)
        if (net->slot[s].role != NT_PARAM_STAT) at += nt_shape_elems(net->slot[s].tensor.shape);
    return at;
}

int64_t nt_net_whole_elems(const nt_net *net)
{
    return whole_offset(net, net->n_slots);
}

static bool is_sharded(const nt_net *net, int array)
{
    return array >= 0 && nt_net_n_shards(net) > 1;
}

static nt_status find_whole(const nt_net *net, int slot, int array, float **at)
{
    bool there = array < net->n_states && slot >= 0 && slot < net->n_slots && net->whole[array] &&
                 net->slot[slot].role != NT_PARAM_STAT;
    NT_BUG_UNLESS(there, "slot %d, array %d of a sharded state has not been collected", slot, array);
    *at = net->whole[array] + whole_offset(net, slot);
    return NT_OK;
}

/* The slot's tensor in one of the arenas. */
static nt_status slot_tensor(const nt_net *net, int slot, int array, nt_tensor *out)
{
    char *arena = array == NT_ARRAY_PARAM ? net->params : array == NT_ARRAY_GRAD ? net->grads : NULL;
    if (array == NT_ARRAY_EMA) arena = net->average[NT_WEIGHTS_EMA];
    if (array == NT_ARRAY_SWA) arena = net->average[NT_WEIGHTS_SWA];
    if (array >= 0 && array < net->n_states) arena = net->state[array];
    NT_BUG_UNLESS(arena && slot >= 0 && slot < net->n_slots, "slot %d, array %d: there is none", slot, array);
    *out = net->slot[slot].tensor;
    out->data = elem(net, arena, net->slot[slot].offset);
    return NT_OK;
}

nt_status nt_net_read(nt_net *net, int slot, int array, float *host)
{
    nt_tensor t;
    float *whole;
    if (is_sharded(net, array)) {
        NT_TRY(find_whole(net, slot, array, &whole));
        memcpy(host, whole, (size_t)nt_shape_elems(net->slot[slot].tensor.shape) * sizeof *host);
        return NT_OK;
    }
    NT_TRY(slot_tensor(net, slot, array, &t));
    NT_TRY(nt_backend_to_plain(net->backend, net->host_slot, &t));
    NT_TRY(nt_backend_sync(net->backend));
    for (int64_t i = 0, n = nt_shape_elems(t.shape); i < n; i++)
        host[i] = (float)real_at(net, net->host_slot, i);
    return NT_OK;
}

nt_status nt_net_write(nt_net *net, int slot, int array, const float *host)
{
    nt_tensor t;
    float *whole;
    if (is_sharded(net, array)) {
        NT_TRY(find_whole(net, slot, array, &whole));
        memcpy(whole, host, (size_t)nt_shape_elems(net->slot[slot].tensor.shape) * sizeof *host);
        return NT_OK;
    }
    NT_TRY(slot_tensor(net, slot, array, &t));
    for (int64_t i = 0, n = nt_shape_elems(t.shape); i < n; i++) {
        if (net->real_bytes == sizeof(float))
            ((float *)net->host_slot)[i] = host[i];
        else
            ((double *)net->host_slot)[i] = (double)host[i];
    }
    NT_TRY(nt_backend_from_plain(net->backend, &t, net->host_slot));
    NT_TRY(nt_backend_sync(net->backend));
    return NT_OK;
}

nt_net_memory nt_net_get_memory(const nt_net *net)
{
    return (nt_net_memory){.activations = net->activation_bytes,
                           .activations_naive = net->naive_bytes,
                           .params = arena_bytes(net) * (1 + n_averages(net)),
                           .grads = net->grads ? arena_bytes(net) : 0,
                           .state = (size_t)net->n_states * state_bytes(net),
                           .state_whole = (size_t)net->n_states * arena_bytes(net),
                           .scratch = net->scratch_bytes};
}
