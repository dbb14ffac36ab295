/* A plan: the model compiled for one mode and one batch size, with its memory laid out. Private to
 * core/net.c.
 *
 * Compiling walks the graph once and creates an op per layer (an activation that the backend can fuse
 * disappears into the op before it). Then every tensor gets a storage: views share it, in-place ops take it
 * over, gradients that an addition passes on are the same memory, and gradients that arrive from several
 * consumers are summed. Storages are placed by liveness (core/memplan.h). */
#ifndef NT_CORE_PLAN_H
#define NT_CORE_PLAN_H

#include "core/memplan.h"
#include "core/net.h"

/* dst = dst_or_other + other over n elements: gradients that meet. Runs right after the backward of op
 * `after`. */
typedef struct nt_plan_sum {
    int after;
    int dst, a, b; /* storages */
    int64_t n;
} nt_plan_sum;

typedef struct nt_plan {
    const nt_model *model; /* borrowed */
    nt_mode mode;
    int64_t n; /* samples */
    int n_ops; /* one per layer of the model; op[i].impl NULL where fused away */
    nt_op *op;
    int *maker; /* (n_ops) which op makes layer i's output; -1: none, it is for training only */
    int n_storages, cap_storages;
    nt_memplan_value *storage;
    int *y_storage;     /* (n_ops) */
    int *dy_storage;    /* (n_ops) -1: none */
    int **dx_storage;   /* (n_ops)(n_inputs) -1: none */
    int *saved_storage; /* (n_ops) -1: none */
    int n_sums;
    nt_plan_sum *sum; /* in the order in which they run */
    size_t arena_bytes, naive_bytes, scratch_bytes;
} nt_plan;

/* The op whose y is the loss of a batch: the sum over all heads in training, that of the output otherwise. -1
 * without a loss. */
int nt_plan_loss(const nt_plan *plan);

/* Compiles. no_reuse: every storage gets memory of its own. slots: the parameters' layouts if `params_fixed`,
 * which the ops must take; otherwise they are left to choose. */
NT_MUST nt_status nt_plan_create(nt_plan **out, const nt_model *model, nt_backend *backend, nt_tuning *tuning,
                                 nt_mode mode, int64_t n, const nt_slot *slots, int n_slots,
                                 bool params_fixed, bool no_reuse);
void nt_plan_destroy(nt_plan *plan);

/* Sets all data pointers from the arenas' addresses and binds the ops. params, grads: flat arenas; slots tell
 * where. */
NT_MUST nt_status nt_plan_bind(nt_plan *plan, char *arena, char *scratch, const nt_slot *slots, int n_slots,
                               char *params, char *grads, size_t real_bytes);

#endif
