/* One training step, the algorithm: forward, loss, backward with reduction, update. The same on every rank.
 */
#ifndef NT_DIST_STEP_H
#define NT_DIST_STEP_H

#include "core/net.h"
#include "dist/bucket.h"

typedef enum nt_nan_policy { NT_NAN_ABORT, NT_NAN_SKIP } nt_nan_policy;

typedef struct nt_step_options {
    uint64_t seed;
    nt_nan_policy nan_policy;
    double clip_norm; /* 0: none */
    /* Batch statistics are those of all ranks' pieces together. Then every rank brings the same number of
     * pieces, some of which may have no samples (n = 0). */
    bool sync_batchnorm;
} nt_step_options;

/* Wall time of the phases of this rank's last step; on a device, of giving it the work. */
typedef struct nt_step_times {
    double forward_s, backward_s, reduce_s, update_s;
} nt_step_times;

typedef struct nt_step_result {
    int64_t step;     /* whose result it is; -1: of none, the rest means nothing */
    nt_loss_sum sum;  /* this rank's samples */
    double grad_norm; /* of the global mean gradient; equal on all ranks */
    bool skipped;     /* NaN policy skip: no update was made */
    nt_step_times times;
} nt_step_result;

typedef struct nt_stepper nt_stepper;
NT_MUST nt_status nt_stepper_create(nt_stepper **out, nt_net *net, nt_comm *comm, double bucket_mb,
                                    const nt_step_options *options);
void nt_stepper_destroy(nt_stepper *stepper);

/* The gradient buckets it reduces. */
const nt_buckets *nt_stepper_buckets(const nt_stepper *stepper);

/* micro[0 .. n_micro): this rank's slice of a global batch of `global_n` samples, in pieces (gradient
 * accumulation); n_micro may be 0 (no samples for this rank in a last batch), unless sync_batchnorm. How a
 * batch is cut depends on global_n alone. Every rank calls it for every step: the collectives are the same.
 * NaN or Inf in the reduced gradient or in any rank's loss: by policy NT_ERR_NAN on all ranks (names step,
 * and the layer), or skipped on all.
 *
 * *result: of this step where memory is the host's. On a device (unless debug_sync waits anyway) nothing is
 * waited for: it is the result of the call before, -1 for the first, and a NaN is found then; the update that
 * it would have spoilt was not made. */
NT_MUST nt_status nt_stepper_run(nt_stepper *stepper, const nt_batch *micro, int n_micro, int64_t global_n,
                                 double lr, int64_t step, nt_step_result *result);

/* The result that is still to come, if there is one (else step -1). Before anything is read of the net that
 * depends on the last step having been sound: a checkpoint, an evaluation; and at the end. Collective. */
NT_MUST nt_status nt_stepper_finish(nt_stepper *stepper, nt_step_result *result);

#endif
