/* Evaluation: the valid part once through the net, every rank its slices, sums over all samples and ranks. */
#ifndef NT_LAUNCHER_EVALUATE_H
#define NT_LAUNCHER_EVALUATE_H

#include "launcher/feed.h"
#include "launcher/score.h"

/* Called for each batch of this rank's share with its predictions (n, n_outputs). Optional. */
typedef void (*nt_outputs_fn)(void *arg, const nt_batch *batch, const float *outputs, int64_t n_outputs);

typedef struct nt_evaluator {
    nt_net *net;
    nt_comm *comm;
    nt_feed *feed; /* not shuffled; its sizes were asked for in NT_MODE_EVAL */
    uint64_t seed;
    nt_outputs_fn each; /* NULL: predictions stay where they are */
    void *arg;
    nt_clusters *clusters; /* for nt_accuracy_range, over all ranks; NULL: not wanted (a device would have to
                              be waited for after each batch) */
    void (*progress)(int64_t done, int64_t total); /* after each batch; NULL: none */
    bool *agreed; /* not NULL: an error of one rank's share becomes that of all, and this is set */
} nt_evaluator;

/* Collective. *sum: over all ranks, the same bits on all of them; loss sums are zero if the data have no
 * targets. */
NT_MUST nt_status nt_evaluate(const nt_evaluator *evaluator, nt_loss_sum *sum);

/* Where there is an accuracy, but one label a sample: how often which class was taken for which. An
 * nt_outputs_fn; arg: an nt_confusion of as many classes as there are outputs. Labels beyond them, which the
 * loss ignores, are left out. */
void nt_count_classes(void *confusion, const nt_batch *batch, const float *outputs, int64_t n_outputs);

/* Which of a sample's outputs are the classes of which position: element c class_step + p position_step. One
 * position, and all outputs its classes, unless the loss is the cross-entropy of several. */
typedef struct nt_output_layout {
    int64_t n_classes, n_positions, class_step, position_step;
} nt_output_layout;

nt_output_layout nt_model_output_layout(const nt_model *model);

/* Predictions to probabilities, in place over the outputs of a sample, where they are logits: the softmax of
 * each position, or each by the logistic function. */
void nt_outputs_to_probabilities(float *output, const nt_output_layout *layout, nt_outputs outputs);
bool nt_outputs_have_probabilities(nt_outputs outputs);

/* The class of the largest output at a position. Of logits: two that differ may have the same probability. */
int64_t nt_output_class(const float *output, const nt_output_layout *layout, int64_t position);

#endif
