/* An operation: one node of the graph, compiled for one backend and one batch size.
 *
 * Life of an op: core/net.c fills in what is to be computed; create() picks layouts and algorithm and builds
 * whatever it reuses; the memory plan then binds data pointers and calls bind(); after that forward() and
 * backward() only run. All shapes here have N in front. Layouts: x[i].layout arrives set (whoever made x
 * chose it) and y.layout is chosen by create(); a gradient always has the layout of its tensor. A parameter's
 * layout is chosen by the first op created on it (param_fixed false) and arrives set in later ones (other
 * batch sizes, evaluation). An op that would like another layout reorders inside, in its scratch. */
#ifndef NT_CORE_OP_H
#define NT_CORE_OP_H

#include "core/layer.h"
#include "core/layers/activation.h"
#include "core/optim.h"
#include "core/tensor.h"

typedef struct nt_backend nt_backend;
typedef struct nt_op nt_op;
typedef struct nt_tuning nt_tuning;

/* What a pass over the graph has to know besides the tensors. The same struct is handed to every op of a
 * pass. */
typedef struct nt_pass {
    bool accumulate;    /* backward: add to dparam (true) or assign (false) */
    double scale;       /* factor on the loss gradient: 1 / samples of the global batch */
    double share;       /* this rank's samples of this pass / samples of the global batch: weight of batch
                           statistics */
    double mean_weight; /* losses with mean_over = weights: sum of the weights of the global batch / its
                           samples; 0 stands for 1 */
    uint64_t seed;      /* of the run */
    int64_t epoch;
    const int64_t
        *sample; /* (N) dataset index of each row; with seed, epoch and op->id the key of dropout masks */
    /* Sums n numbers in backend memory, in place, over all parts of the batch that are computed elsewhere at
     * the same time; it comes after the work given so far and before what is given later. For statistics of
     * the batch: who calls it does so whatever its data (core/moments.h). NULL: this part is all there is. */
    nt_status (*sum)(void *arg, double *values, int64_t n);
    void *sum_arg;
} nt_pass;

/* Flags that create() sets for the memory plan. */
enum {
    NT_OP_KEEPS_X = 1,          /* backward reads x (all inputs) */
    NT_OP_KEEPS_Y = 2,          /* backward reads y */
    NT_OP_INPLACE_FORWARD = 4,  /* y may lie on x[0] (same bytes) */
    NT_OP_INPLACE_BACKWARD = 8, /* dx[0] may lie on dy */
    NT_OP_VIEW = 16,            /* y is x[0] and dx[0] is dy, the same memory: nothing runs (flatten) */
    NT_OP_PASSES_GRADIENT =
        32, /* every dx[i] equals dy (add): backward may be skipped by sharing dy's memory; with fused
               activation the op writes dx[0] and all others share it */
    NT_OP_TAKES_SGD = 64, /* backward can take op->step: SGD with momentum */
};

/* A step of the optimizer that an op takes itself for param[0], in backward, instead of writing dparam[0]:
 * where nobody else wants the gradient (one rank, nothing accumulated, nothing clipped) it need not leave the
 * registers. The same bits as nt_backend_update with `update` on the gradient. */
typedef struct nt_op_step {
    nt_update update; /* NT_UPDATE_SGD with momentum, no scale */
    void *s1;         /* velocity of param[0] */
    double *squares;  /* the sum of squares of the gradient is added */
} nt_op_step;

typedef struct nt_op_impl {
    const char *kind; /* the layer type it implements */
    NT_MUST nt_status (*create)(nt_op *op);
    void (*destroy)(nt_op *op);           /* frees op->state; called also after a failed create; optional */
    NT_MUST nt_status (*bind)(nt_op *op); /* data pointers are set or have changed; optional */
    NT_MUST nt_status (*forward)(nt_op *op, const nt_pass *pass);
    /* Writes dx[i] where need_dx[i], and dparam. Optional for ops without gradient (input). */
    NT_MUST nt_status (*backward)(nt_op *op, const nt_pass *pass);
} nt_op_impl;

struct nt_op {
    const nt_op_impl *impl;
    nt_backend *backend;
    void *state; /* of the implementation */

    /* Set before create(). */
    const char *name;    /* layer's */
    uint32_t id;         /* layer's index in the model: stream of its random numbers */
    const void *options; /* struct of core/layers/<type>.h */
    const nt_activation_options
        *activation;   /* fused activation on y, or NULL; only where the backend said it fuses */
    bool is_loss;      /* y holds losses, which stay in the backend's real type whatever the precision */
    bool training;     /* statistics of the batch, masks, backward will run; else inference */
    nt_tuning *tuning; /* where to look up and keep choices of algorithm; never NULL */
    int n_inputs, n_params;
    nt_tensor *x;                   /* (n_inputs) */
    bool *need_dx;                  /* (n_inputs) */
    nt_tensor param[NT_MAX_PARAMS]; /* backend's real type */
    bool param_fixed;               /* param[].layout is already decided */

    /* Set by create(). */
    nt_tensor y; /* dtype and shape arrive set; create sets layout and n_bytes */
    unsigned flags;
    size_t saved_bytes;   /* own memory from forward to backward (workspace, mask); 0 unless training */
    size_t scratch_bytes; /* memory during one call; shared by all ops */

    /* Bound before bind(). */
    nt_tensor dy;
    nt_tensor *dx; /* (n_inputs); data NULL where not needed */
    nt_tensor dparam[NT_MAX_PARAMS];
    void *saved, *scratch;

    const nt_op_step *step; /* set during a backward that shall take it (NT_OP_TAKES_SGD), else NULL */
};

/* The choices of algorithm made at start-up by timing, as "layer: words" lines: rank 0's table is sent to all
 * ranks and kept in checkpoints, so that every rank and every resumed run computes the same bits. */
NT_MUST nt_status nt_tuning_create(nt_tuning **out,
                                   bool may_time); /* may_time: whether ops may time to fill gaps */
void nt_tuning_destroy(nt_tuning *tuning);
bool nt_tuning_may_time(const nt_tuning *tuning);
const char *nt_tuning_get(const nt_tuning *tuning, const char *name); /* NULL: no choice known */
NT_MUST nt_status nt_tuning_set(nt_tuning *tuning, const char *name, const char *choice);
NT_MUST nt_status nt_tuning_text(const nt_tuning *tuning, char **out); /* malloc'ed lines "name = choice\n" */
NT_MUST nt_status nt_tuning_parse(nt_tuning *tuning, const char *text);

#endif
