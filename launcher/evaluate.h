/* Evaluation: the valid part once through the net, every rank its slices, sums over all samples and ranks. */
#ifndef NT_LAUNCHER_EVALUATE_H
#define NT_LAUNCHER_EVALUATE_H

#include "launcher/feed.h"
#include "launcher/statistics.h"

/* Called for each batch of this rank's share with its predictions (n, n_outputs). Optional. */
typedef void (*nt_outputs_fn)(void *arg, const nt_batch *batch, const float *outputs, int64_t n_outputs);

typedef struct nt_evaluator {
    nt_net *net;
    nt_comm *comm;
    nt_feed *feed; /* not shuffled; its sizes were asked for in NT_MODE_EVAL */
    uint64_t seed;
    nt_outputs_fn each; /* NULL: predictions stay where they are */
    void *arg;
    void (*progress)(int64_t done, int64_t total); /* after each batch; NULL: none */
} nt_evaluator;

/* Collective. *sum: over all ranks, the same bits on all of them; loss sums are zero if the data have no
 * targets. */
NT_MUST nt_status nt_evaluate(const nt_evaluator *evaluator, nt_loss_sum *sum);

/* Predictions to probabilities, in place over k outputs of a sample: softmax after cross_entropy, logistic
 * after bce, as they are otherwise. loss: the loss's type, or NULL. */
void nt_outputs_to_probabilities(float *output, int64_t k, const char *loss);

/* Type of the model's loss, or NULL. */
const char *nt_loss_of_model(const nt_model *model);

#endif
