/* The losses: x (N, ...) and a target -> y (N, 2), the loss of each sample and how many of its answers are
 * right. An answer is the class at a position of cross_entropy (one that is ignored gives none), the class of
 * hinge and kl_divergence, each of the K values where these say yes or no (bce, hinge of values): accuracy is
 * right answers over answers, and whole numbers up to 2^24 a sample are exact in float. mse and its like have
 * none.
 *
 * The loss of a run is the sum over samples divided by their number in the global batch, whatever the loss
 * and its weights: gradients then add up over ranks, batches and uneven parts without anybody having to know
 * the others' labels, and the rate means the same in every step. PyTorch's reduction = "mean" is the same but
 * for cross_entropy with class weights or ignored labels, where it divides by the sum of the weights that
 * occur in the batch. mean_over = weights does so too, exactly: the weights of the global batch are summed
 * over ranks before each step (nt_pass.mean_weight), and in an evaluation over the whole set.
 *
 * Formulas for one sample; t is the target, K the number of outputs, names and defaults as PyTorch's:
 *   mse            mean over K of (x - t)^2
 *   l1             mean over K of |x - t|
 *   huber          mean over K of d^2 / 2 if |d| <= delta, else delta (|d| - delta / 2); d = x - t; delta 1
 *   smooth_l1      mean over K of d^2 / (2 beta) if |d| < beta, else |d| - beta / 2; beta 1; 0: l1
 *   bce            mean over K of -t log s(x) - (1 - t) log(1 - s(x)), s the logistic function
 *   hinge          class labels (MultiMarginLoss): w[t] / K sum over j != t of max(0, margin - x_t + x_j)^p;
 *                  values of -1 and 1: mean over K of max(0, margin - t x)^p; margin 1, p 1
 *   kl_divergence  sum over K of t (log t - x), x logarithms of probabilities (a log_softmax layer), t
 *                  probabilities; PyTorch's reduction = "batchmean", the one its manual advises
 *   cross_entropy  x logits, l = log_softmax(x) over K classes; weights w (1), label smoothing e (0):
 *                    labels:        -(1 - e) w[t] l_t - e / K sum over k of w[k] l_k; 0 where t is ignored
 *                    probabilities: -sum over k of w[k] ((1 - e) t_k + e / K) l_k
 *                  for outputs at several positions (K, P), or (P, K) with class_dim = last, the mean of this
 *                  over P positions, ignored ones counted among them
 *
 * cross_entropy with one label a sample and default options is an operation of its own, `cross_entropy`;
 * everything else is `cross_entropy_full`. */
#ifndef NT_CORE_LAYERS_LOSSES_H
#define NT_CORE_LAYERS_LOSSES_H

#include "core/layer.h"

typedef enum nt_mean_over { NT_MEAN_OVER_SAMPLES, NT_MEAN_OVER_WEIGHTS } nt_mean_over;
typedef enum nt_class_dim { NT_CLASS_DIM_FIRST, NT_CLASS_DIM_LAST } nt_class_dim;

/* Of every loss; each type's table has the rows that concern it, [loss] has all of them. */
typedef struct nt_loss_options {
    const char *type;        /* [loss] only: a loss, or "auto": cross_entropy for classes, mse for values */
    nt_floats class_weights; /* n 0: all 1; else K values */
    double label_smoothing;  /* in [0, 1] */
    double ignore_index;     /* a label; NaN: none */
    int class_dim;           /* nt_class_dim */
    int mean_over;           /* nt_mean_over */
    double delta, beta, margin;
    int64_t p; /* 1 or 2 */
} nt_loss_options;

/* Weight of a class. */
static inline double nt_class_weight(const nt_loss_options *o, int64_t k)
{
    return o->class_weights.n ? o->class_weights.value[k] : 1;
}

static inline bool nt_label_is_ignored(const nt_loss_options *o, int32_t label)
{
    return (double)label == o->ignore_index; /* never for NaN */
}

/* The weight of one sample's n labels, what mean_over = weights takes the mean over: the mean of their class
 * weights, 0 for one that is ignored. A label without a class counts as 0; the loss will refuse it. */
double nt_labels_weight(const nt_loss_options *o, const int32_t *label, int64_t n, int64_t n_classes);

/* Whether the targets of a loss are class labels (int32), not values. */
static inline bool nt_loss_has_labels(const nt_layer *layer)
{
    return layer->has_labels || layer->in[1].n_dims == 0;
}

#endif
