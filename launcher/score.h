/* What the sums of a step, an epoch or an evaluation come to: mean loss, accuracy, perplexity. NaN where
 * there is no such thing, which every place that shows numbers leaves out.
 *
 * Accuracy is right answers over answers (core/layers/losses.h): of a language model, tokens that were
 * foretold over tokens that count. Perplexity is exp of the mean cross-entropy of the same answers. It is
 * known where cross_entropy of several labels a sample is that cross-entropy, without weights of classes and
 * without smoothing, and is exact whatever is ignored and whatever the loss is a mean over: it comes from a
 * sum of its own, kept beside the loss. */
#ifndef NT_LAUNCHER_SCORE_H
#define NT_LAUNCHER_SCORE_H

#include "core/net.h"
#include "launcher/statistics.h"

double nt_mean_loss(const nt_loss_sum *sum);
double nt_accuracy(const nt_loss_sum *sum);
double nt_perplexity(const nt_model *model, const nt_loss_sum *sum);

/* Sets sum->nats from the sum of one step or one evaluation over all ranks; 0 where perplexity is not known.
 * The training loss of a model with heads is a sum of several: NaN. */
void nt_find_nats(const nt_model *model, bool training, nt_loss_sum *sum);

/* ", accuracy 0.9611", ", accuracy 0.4312, perplexity 9.8765", or nothing. */
typedef struct nt_score_text {
    char text[80];
} nt_score_text;
nt_score_text nt_score_words(const nt_model *model, const nt_loss_sum *sum);

/* 95 % interval of the accuracy: Wilson's, and where samples give several answers, the one for clusters. */
nt_range nt_accuracy_range(const nt_model *model, const nt_loss_sum *sum, const nt_clusters *clusters);

/* "0.4312 (17662 of 40960 right; 95 % interval 0.42 to 0.44)", and how the interval was made. */
void nt_accuracy_describe(char *text, size_t cap, const nt_model *model, const nt_loss_sum *sum,
                          const nt_clusters *clusters);

#endif
