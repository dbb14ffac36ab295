/* Ratios of sums; what is divided by zero is NaN and not there. */
#include "launcher/score.h"

#include <math.h>

double nt_mean_loss(const nt_loss_sum *sum)
{
    return sum->n > 0 ? sum->loss / (double)sum->n : (double)NAN;
}

double nt_accuracy(const nt_loss_sum *sum)
{
    return sum->answers > 0 ? (double)sum->correct / (double)sum->answers : (double)NAN;
}

static bool has_perplexity(const nt_model *model)
{
    if (nt_model_outputs(model) != NT_OUTPUTS_LOGITS || model->spec.n_labels == 0) return false;
    const nt_loss_options *o = model->layer[model->loss].options;
    return o->class_weights.n == 0 && o->label_smoothing == 0;
}

/* A sample's loss is its answers' cross-entropies over all of its positions; with mean_over = weights the
 * mean over samples is that over the answers of all of them. */
void nt_find_nats(const nt_model *model, bool training, nt_loss_sum *sum)
{
    const bool has_heads = has_perplexity(model) && model->loss < model->n_layers - 1;
    sum->nats = training && has_heads ? (double)NAN : 0;
    if (!has_perplexity(model) || (training && has_heads) || sum->n == 0) return;
    sum->nats = nt_model_weighs(model) ? sum->loss / (double)sum->n * (double)sum->answers
                                       : sum->loss * (double)nt_model_answers(model);
}

double nt_perplexity(const nt_model *model, const nt_loss_sum *sum)
{
    return has_perplexity(model) && sum->answers > 0 ? exp(sum->nats / (double)sum->answers) : (double)NAN;
}

nt_score_text nt_score_words(const nt_model *model, const nt_loss_sum *sum)
{
    nt_score_text words = {""};
    const double accuracy = nt_accuracy(sum), perplexity = nt_perplexity(model, sum);
    int n = 0;
    if (!isnan(accuracy)) n = snprintf(words.text, sizeof words.text, ", accuracy %.4f", accuracy);
    if (!isnan(perplexity))
        snprintf(words.text + n, sizeof words.text - (size_t)n, ", perplexity %.5g", perplexity);
    return words;
}

nt_range nt_accuracy_range(const nt_model *model, const nt_loss_sum *sum, const nt_clusters *clusters)
{
    if (nt_model_answers(model) > 1) return nt_wilson_of_clusters(sum->correct, sum->answers, clusters);
    return nt_wilson(sum->correct, sum->answers);
}

void nt_accuracy_describe(char *text, size_t cap, const nt_model *model, const nt_loss_sum *sum,
                          const nt_clusters *clusters)
{
    const nt_range range = nt_accuracy_range(model, sum, clusters);
    snprintf(text, cap, "%.4f (%lld of %lld right; 95 %% interval %.4f to %.4f%s)", nt_accuracy(sum),
             (long long)sum->correct, (long long)sum->answers, range.low, range.high,
             nt_model_answers(model) > 1 ? ", by how samples differ: the answers of one hang together" : "");
}
