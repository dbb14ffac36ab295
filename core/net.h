/* The net: a model compiled for a backend, with its parameters in flat arenas.
 *
 * Plans. An op is compiled for one batch size and mode, so a net holds a few plans (full batch, last batch,
 * evaluation), all asked for before nt_net_build and all bound to the same arenas: the step allocates
 * nothing. Activation memory is laid out by liveness (core/memplan.h) and shared by all plans.
 *
 * Flat parameters. Slots lie in the arena in the order in which backward finishes their gradients, running
 * statistics behind all others, 64-byte aligned, in the backend's layout. A gradient bucket is a range
 * [begin, end) of elements. Gaps and padding hold zeros for ever. */
#ifndef NT_CORE_NET_H
#define NT_CORE_NET_H

#include "core/average.h"
#include "core/backend.h"
#include "core/model.h"

typedef struct nt_net nt_net;

typedef enum nt_mode { NT_MODE_TRAIN, NT_MODE_EVAL } nt_mode;

typedef struct nt_net_options {
    uint64_t seed;
    nt_tuning *tuning;                 /* borrowed; outlives the net */
    const nt_optim_options *optim;     /* NULL: no gradients, no optimizer state (evaluation only) */
    const nt_average_options *average; /* NULL: no averages of the weights */
    int n_shards; /* > 1: the optimizer's state is cut into so many parts, one of them here; see nt_net_own */
    bool no_reuse; /* for tests: activations never share memory by liveness; the same bits must come out */
} nt_net_options;

/* A parameter's place. */
typedef struct nt_slot {
    char name[NT_NAME_BYTES]; /* "conv1.weight" */
    int layer, param;         /* of the model */
    nt_param_role role;
    nt_tensor tensor;        /* shape, layout; data in the parameter arena */
    int64_t offset, n_elems; /* in elements of the arenas, padding of the layout included */
} nt_slot;

/* A batch on the host. Memory must live until the pass that uses it is over (nt_net_sync). */
typedef struct nt_batch {
    int64_t n;             /* samples; a plan for (mode, n) must exist; 0: only for dist/step.h */
    const void *x;         /* (n, ...) plain, spec.x_dtype */
    const void *target;    /* int32 (n) or float32 (n, K); may be NULL in NT_MODE_EVAL: no loss then */
    const int64_t *sample; /* (n) dataset indices */
    int64_t epoch;
} nt_batch;

/* Sums over samples of the last forward. */
typedef struct nt_loss_sum {
    double loss, loss_squared; /* of per-sample losses */
    int64_t correct, n;        /* right answers; samples */
    double weight;             /* evaluation with mean_over = weights: of the samples' targets */
    int64_t answers;           /* what correct is out of: nt_model_count_answers */
    double nats;               /* of those answers, where it is known: launcher/score.h */
} nt_loss_sum;

/* model and backend are borrowed and outlive the net. */
NT_MUST nt_status nt_net_create(nt_net **out, const nt_model *model, nt_backend *backend,
                                const nt_net_options *options);
void nt_net_destroy(nt_net *net);

/* Asks for a plan; n >= 1; asking twice is fine. Only before nt_net_build. */
NT_MUST nt_status nt_net_want(nt_net *net, nt_mode mode, int64_t n);

/* Compiles all plans, lays out and allocates all arenas (but for a sharded state), sets initial parameters.
 */
NT_MUST nt_status nt_net_build(nt_net *net);

/* Runs forward; batch->target may be NULL only in NT_MODE_EVAL. It is nt_net_stage, which hands batch and
 * pass over to the backend, and nt_net_run_forward, which gives the same work for every batch of that size.
 */
NT_MUST nt_status nt_net_forward(nt_net *net, nt_mode mode, const nt_batch *batch, const nt_pass *pass);
NT_MUST nt_status nt_net_stage(nt_net *net, nt_mode mode, const nt_batch *batch, const nt_pass *pass);
NT_MUST nt_status nt_net_run_forward(nt_net *net, const nt_pass *pass);

/* Called by nt_net_backward when the gradients of [begin, end) are final (for this pass), in ascending order
 * without holes. */
typedef nt_status (*nt_ready_fn)(void *arg, int64_t begin, int64_t end);

/* Backward of the last NT_MODE_TRAIN forward with the same pass. ready may be NULL. */
NT_MUST nt_status nt_net_backward(nt_net *net, const nt_pass *pass, nt_ready_fn ready, void *arg);

/* The passes of a part of a batch that has no samples while others, elsewhere, have some: takes part in
 * pass->sum with zeros as often as a net with samples does, adds nothing to the gradients (which are zeroed
 * unless pass->accumulate), and reports them in the same order. */
NT_MUST nt_status nt_net_idle_forward(nt_net *net, const nt_pass *pass);
NT_MUST nt_status nt_net_idle_backward(nt_net *net, const nt_pass *pass, nt_ready_fn ready, void *arg);

/* Losses of the last forward, but for what the targets alone say (weight, answers); waits for the device. And
 * after it, how many answers of sample i are right. */
NT_MUST nt_status nt_net_loss(nt_net *net, nt_loss_sum *out);
int64_t nt_net_correct(const nt_net *net, int64_t i);

/* Predictions (logits) of the last forward, (n, ...) plain float32 into `out`. Per-sample losses are not
 * included. */
NT_MUST nt_status nt_net_output(nt_net *net, float *out);

/* What an optimizer step is made with. */
typedef struct nt_net_step {
    double lr;
    int64_t step;        /* 0-based */
    int64_t batch;       /* samples in the global batch */
    const double *scale; /* see nt_update: the verdict's, or NULL */
} nt_net_step;

/* One optimizer step over everything, from the (already reduced) gradients. */
NT_MUST nt_status nt_net_update(nt_net *net, const nt_net_step *step);

/* What nt_net_update is, but for running statistics, in parts that may be cut anywhere. LARS and LAMB first
 * need sums over whole tensors: nt_net_measure_ratios zeroes all of them and adds those of [begin, end); they
 * are nt_net_n_ratio_sums doubles in backend memory, to be summed over whoever has the other elements;
 * nt_net_make_ratios makes of them what nt_net_update_range reads. Without such an optimizer there are no
 * sums, and the first two do nothing. Gradients are used up. */
NT_MUST nt_status nt_net_measure_ratios(nt_net *net, const nt_net_step *step, int64_t begin, int64_t end);
int nt_net_n_ratio_sums(const nt_net *net);
double *nt_net_ratio_sums(const nt_net *net);
NT_MUST nt_status nt_net_make_ratios(nt_net *net, const nt_net_step *step);
NT_MUST nt_status nt_net_update_range(nt_net *net, const nt_net_step *step, int64_t begin, int64_t end);

/* The same over the slots in [begin, end), a range as nt_net_backward reports it, taking the sum of squares
 * of its gradients on the way: block by block, so that a gradient comes from memory once for both. */
NT_MUST nt_status nt_net_measure_and_update(nt_net *net, const nt_net_step *step, int64_t begin, int64_t end);

/* The part of nt_net_update that is about running statistics. */
NT_MUST nt_status nt_net_update_stats(nt_net *net, const nt_net_step *step);

/* Sharded optimizer state (Rajbhandari et al. 2020, ZeRO stage 1). From now on this net keeps the state of
 * the elements in own[0, n), ascending ranges outside the running statistics, and measures and updates only
 * these. The layers' slots then begin at multiples of n_shards cache lines, so that ranges from layer to
 * layer can be cut into n_shards equal parts. */
typedef struct nt_span {
    int64_t begin, end; /* elements of the arenas */
} nt_span;
NT_MUST nt_status nt_net_own(nt_net *net, const nt_span *own, int n);
int nt_net_n_shards(const nt_net *net); /* 1: all of the state is here */

/* All of a sharded state array, borrowed from whoever has collected it: canonical float32, nt_net_whole_elems
 * of them, all slots but running statistics one behind the other. nt_net_read and nt_net_write of the state
 * go there. NULL: it is not at hand. */
void nt_net_lend_state(nt_net *net, int index, float *whole);
float *nt_net_whole_state(const nt_net *net, int index);
int64_t nt_net_whole_elems(const nt_net *net);

/* Lets ops take this step themselves, in every backward until step is NULL, for weights whose gradient is
 * used up where it is made. nt_net_measure_and_update, which still has to be called for all ranges, knows
 * them. Only where the gradient is final: one rank, one backward a step. The same parameters, bit for bit. */
void nt_net_step_in_ops(nt_net *net, const nt_net_step *step);

/* Whether the last backward has used up a slot's gradient; then *squares is its sum of squares. */
bool nt_net_used_up(const nt_net *net, int slot, double *squares);

/* Takes the sum of squares of the gradients of [begin, end) only. */
NT_MUST nt_status nt_net_measure(nt_net *net, int64_t begin, int64_t end);

/* A step's sums and verdict are made in backend memory, so that nobody waits for them:
 * nt_net_begin_step zeroes them; nt_net_add_losses adds those of the last forward; nt_net_measure the
 * squares; nt_net_judge looks at all of it: no update if any gradient, any statistic, or the loss check is
 * not finite. */
NT_MUST nt_status nt_net_begin_step(nt_net *net);
NT_MUST nt_status nt_net_add_losses(nt_net *net);
/* Adds to the loss check what makes it not finite if one of the last forward's losses is not. */
NT_MUST nt_status nt_net_check_losses(nt_net *net);
/* What nt_net_add_losses has added since nt_net_begin_step, but for the number of samples: the one wait of an
 * evaluation. No result of a step may be outstanding. */
NT_MUST nt_status nt_net_read_losses(nt_net *net, nt_loss_sum *out);
NT_MUST nt_status nt_net_judge(nt_net *net, double clip);
nt_report *nt_net_report(const nt_net *net); /* backend memory */
/* What nt_net_judge looks at, backend memory; the last one is nt_net_loss_check. With a sharded state they
 * are sums of this part, to be summed over all. */
double *nt_net_squares(const nt_net *net, int *n);
/* One double in backend memory that is finite if all losses added were: summed over ranks before the verdict,
 * it makes all of them judge alike. */
double *nt_net_loss_check(const nt_net *net);

/* Sets all gradients to zero (a rank without samples in this batch). */
NT_MUST nt_status nt_net_zero_grads(nt_net *net);

/* The flat arenas. */
int64_t nt_net_n_elems(const nt_net *net);        /* elements of the real type, gaps and padding included */
void *nt_net_params(const nt_net *net);           /* device memory */
void *nt_net_grads(const nt_net *net);            /* NULL without optimizer */
void *nt_net_state(const nt_net *net, int index); /* optimizer state array */
int nt_net_n_slots(const nt_net *net);
const nt_slot *nt_net_get_slot(const nt_net *net, int index);
const nt_model *nt_net_model(const nt_net *net);
nt_backend *nt_net_backend(const nt_net *net);

/* Averages of the parameters and running statistics (core/average.h), arenas like that of the parameters;
 * NULL where there is none. nt_net_average adds to one: += weight (parameters - it), a copy with weight 1
 * and the first time, which is late where a run goes on from a checkpoint that has no average.
 * nt_net_average_begun: whether it holds anything yet; nt_net_begin_average says that it does. */
void *nt_net_average_of(const nt_net *net, nt_weights which);
NT_MUST nt_status nt_net_average(nt_net *net, nt_weights which, double weight);
bool nt_net_average_begun(const nt_net *net, nt_weights which);
void nt_net_begin_average(nt_net *net, nt_weights which);

/* Puts an average into the place of the parameters, until NT_WEIGHTS_RAW brings them back, which must be
 * before the next backward: they wait in the place of the gradients. */
NT_MUST nt_status nt_net_use_weights(nt_net *net, nt_weights which);

/* Canonical row-major float32 of a slot's parameter (array < 0), gradient (NT_ARRAY_GRAD) or optimizer state
 * array (0 to NT_MAX_STATES - 1), to and from host memory of nt_shape_elems(slot->tensor.shape) floats. For
 * ref64 the values are rounded to float. */
enum { NT_ARRAY_PARAM = -1, NT_ARRAY_GRAD = -2, NT_ARRAY_EMA = -3, NT_ARRAY_SWA = -4 };
NT_MUST nt_status nt_net_read(nt_net *net, int slot, int array, float *host);
NT_MUST nt_status nt_net_write(nt_net *net, int slot, int array, const float *host);

/* Memory plan: bytes of activations planned, and if every value had its own memory; parameters with their
 * averages, gradients, state. */
typedef struct nt_net_memory {
    size_t activations, activations_naive, params, grads, scratch;
    size_t state, state_whole; /* here, and of all shards */
} nt_net_memory;
nt_net_memory nt_net_get_memory(const nt_net *net);

#endif
