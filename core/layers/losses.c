/* What each loss accepts; the header has the formulas. What the targets are is seen in their kind: labels, or
 * float values. Both mistakes are named here, before any data are read. */
#include "core/layers/losses.h"

#include "core/layers/common.h"
#include "core/model.h"

#include <math.h>
#include <string.h>

static nt_status need_vector(const nt_layer *layer)
{
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(layer->in[0].n_dims == 1, NT_ERR_CONFIG,
             "%s needs outputs in one dimension, got %s; end the model with a linear, flatten or "
             "global_avg_pool layer",
             layer->ops->section.name, nt_shape_text(layer->in[0], text));
    return NT_OK;
}

static nt_status need_equal_values(const nt_layer *layer)
{
    char out[NT_SHAPE_TEXT_BYTES], target[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(nt_shape_equal(layer->in[0], layer->in[1]), NT_ERR_CONFIG,
             "%s needs an output for each target value, but the output is %s and the target %s",
             layer->ops->section.name, nt_shape_text(layer->in[0], out), nt_shape_text(layer->in[1], target));
    return NT_OK;
}

/* Losses of float targets. */
static nt_status values_infer(nt_layer *layer)
{
    char out[NT_SHAPE_TEXT_BYTES];
    NT_TRY(need_vector(layer));
    NT_CHECK(!nt_loss_has_labels(layer), NT_ERR_CONFIG,
             "%s needs targets of %s float values a sample, but the data have class labels; for classes use "
             "cross_entropy",
             layer->ops->section.name, nt_shape_text(layer->in[0], out));
    NT_TRY(need_equal_values(layer));
    layer->out = nt_shape_of(1, (int64_t)2);
    return NT_OK;
}

static nt_status huber_infer(nt_layer *layer)
{
    const nt_loss_options *o = layer->options;
    NT_CHECK(o->delta > 0, NT_ERR_CONFIG, "huber: delta is %g, must be greater than 0", o->delta);
    return values_infer(layer);
}

static nt_status smooth_l1_infer(nt_layer *layer)
{
    const nt_loss_options *o = layer->options;
    NT_CHECK(o->beta >= 0, NT_ERR_CONFIG, "smooth_l1: beta is %g, must not be negative", o->beta);
    return values_infer(layer);
}

static nt_status check_class_weights(const nt_layer *layer, int64_t n_classes)
{
    const nt_floats *w = &((const nt_loss_options *)layer->options)->class_weights;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(w->n == 0 || w->n == n_classes, NT_ERR_CONFIG,
             "%s: class_weights has %d values, but output %s has %lld classes", layer->ops->section.name,
             w->n, nt_shape_text(layer->in[0], text), (long long)n_classes);
    for (int i = 0; i < w->n; i++)
        NT_CHECK(w->value[i] >= 0, NT_ERR_CONFIG, "%s: class_weights %d is %g, must not be negative",
                 layer->ops->section.name, i + 1, w->value[i]);
    return NT_OK;
}

static nt_status hinge_infer(nt_layer *layer)
{
    const nt_loss_options *o = layer->options;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_TRY(need_vector(layer));
    NT_CHECK(o->p == 1 || o->p == 2, NT_ERR_CONFIG, "hinge: p is %lld, must be 1 or 2", (long long)o->p);
    if (nt_loss_has_labels(layer)) {
        NT_CHECK(layer->in[1].n_dims == 0 && layer->in[0].dim[0] >= 2, NT_ERR_CONFIG,
                 "hinge needs one class label a sample and an output for each class, at least 2, got %s",
                 nt_shape_text(layer->in[0], text));
        NT_TRY(check_class_weights(layer, layer->in[0].dim[0]));
    } else {
        NT_TRY(need_equal_values(layer));
        NT_CHECK(o->class_weights.n == 0, NT_ERR_CONFIG,
                 "hinge: class_weights need class labels, but the targets are values");
    }
    layer->out = nt_shape_of(1, (int64_t)2);
    return NT_OK;
}

/* --- cross_entropy --- */

static int64_t classes_of(const nt_layer *layer)
{
    const nt_loss_options *o = layer->options;
    const nt_shape in = layer->in[0];
    return in.dim[o->class_dim == NT_CLASS_DIM_LAST ? in.n_dims - 1 : 0];
}

static nt_status check_labels(const nt_layer *layer, int64_t n_positions)
{
    char out[NT_SHAPE_TEXT_BYTES];
    const nt_shape target = layer->in[1];
    int64_t n_labels = target.n_dims == 0 ? 1 : nt_shape_elems(target);
    NT_CHECK(n_labels == n_positions, NT_ERR_CONFIG,
             "cross_entropy: output %s has %lld classes at %lld position%s, but the data have %lld label%s a "
             "sample%s",
             nt_shape_text(layer->in[0], out), (long long)classes_of(layer), (long long)n_positions,
             n_positions == 1 ? "" : "s", (long long)n_labels, n_labels == 1 ? "" : "s",
             n_labels == 1 ? "; end the model with a linear, flatten or global_avg_pool layer"
                           : "; class_dim says which dimension the classes are");
    return NT_OK;
}

static nt_status check_probabilities(const nt_layer *layer)
{
    const nt_loss_options *o = layer->options;
    char out[NT_SHAPE_TEXT_BYTES], target[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(nt_shape_elems(layer->in[0]) == nt_shape_elems(layer->in[1]), NT_ERR_CONFIG,
             "cross_entropy needs a class label, or a probability for each output, but the output is %s and "
             "the target has values of shape %s; for values use mse, for independent probabilities bce",
             nt_shape_text(layer->in[0], out), nt_shape_text(layer->in[1], target));
    NT_CHECK(isnan(o->ignore_index), NT_ERR_CONFIG,
             "cross_entropy: ignore_index needs class labels, but the targets are probabilities");
    NT_CHECK(o->mean_over == NT_MEAN_OVER_SAMPLES, NT_ERR_CONFIG,
             "cross_entropy: mean_over = weights needs class labels, but the targets are probabilities");
    return NT_OK;
}

double nt_labels_weight(const nt_loss_options *o, const int32_t *label, int64_t n, int64_t n_classes)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        if (label[i] >= 0 && label[i] < n_classes && !nt_label_is_ignored(o, label[i]))
            sum += nt_class_weight(o, label[i]);
    return sum / (double)n;
}

/* Labels that mixup or cutmix turn into probabilities of the model's outputs. */
static nt_status check_mixed(const nt_layer *layer)
{
    const nt_loss_options *o = layer->options;
    NT_CHECK(isnan(o->ignore_index) && o->mean_over == NT_MEAN_OVER_SAMPLES, NT_ERR_CONFIG,
             "cross_entropy: ignore_index and mean_over = weights need class labels, but augment.mixup and "
             "augment.cutmix make probabilities of them");
    return NT_OK;
}

static bool is_plain(const nt_layer *layer)
{
    const nt_loss_options *o = layer->options;
    return o->class_weights.n == 0 && o->label_smoothing == 0 && isnan(o->ignore_index) &&
           layer->in[0].n_dims == 1 && nt_loss_has_labels(layer) && !layer->has_soft;
}

static nt_status cross_entropy_infer(nt_layer *layer)
{
    const nt_loss_options *o = layer->options;
    char text[NT_SHAPE_TEXT_BYTES];
    NT_CHECK(classes_of(layer) >= 2, NT_ERR_CONFIG,
             "cross_entropy needs one output for each class, at least 2, got %s; for one logit use bce",
             nt_shape_text(layer->in[0], text));
    if (nt_loss_has_labels(layer))
        NT_TRY(check_labels(layer, nt_shape_elems(layer->in[0]) / classes_of(layer)));
    else
        NT_TRY(check_probabilities(layer));
    if (layer->has_soft) NT_TRY(check_mixed(layer));
    NT_TRY(check_class_weights(layer, classes_of(layer)));
    NT_CHECK(o->label_smoothing >= 0 && o->label_smoothing <= 1, NT_ERR_CONFIG,
             "cross_entropy: label_smoothing is %g, must be between 0 and 1", o->label_smoothing);
    layer->out = nt_shape_of(1, (int64_t)2);
    if (!is_plain(layer)) layer->kind = "cross_entropy_full";
    return NT_OK;
}

/* --- what can be right or wrong --- */

static int64_t one_answer(const nt_layer *layer)
{
    (void)layer;
    return 1;
}

/* Yes or no, by each output. */
static int64_t answer_each(const nt_layer *layer)
{
    return nt_shape_elems(layer->in[0]);
}

static int64_t hinge_answers(const nt_layer *layer)
{
    return nt_loss_has_labels(layer) ? 1 : answer_each(layer);
}

/* A class at each position. */
static int64_t cross_entropy_answers(const nt_layer *layer)
{
    return nt_shape_elems(layer->in[0]) / classes_of(layer);
}

static int64_t loss_flops(const nt_layer *layer)
{
    return nt_count_mul(4, nt_shape_elems(layer->in[0]));
}

/* --- tables --- */

static const char *const class_dims[] = {"first", "last", NULL};
static const char *const means[] = {"samples", "weights", NULL};

/* clang-format off */
#define ROW(name, ...) {#name, __VA_ARGS__}
#define CLASS_WEIGHTS                                                                                        \
    ROW(class_weights, NT_OPTION_FLOATS, offsetof(nt_loss_options, class_weights),                           \
        .help = "cross_entropy, hinge: a weight for each class; default: all 1")
#define LABEL_SMOOTHING                                                                                      \
    ROW(label_smoothing, NT_OPTION_FLOAT, offsetof(nt_loss_options, label_smoothing), "0", .max = 1,         \
        .help = "cross_entropy: part of the target that is spread over all classes")
#define IGNORE_INDEX                                                                                         \
    ROW(ignore_index, NT_OPTION_FLOAT, offsetof(nt_loss_options, ignore_index), "auto",                      \
        .flags = NT_OPTION_AUTO, .help = "cross_entropy: label that does not count; auto: none")
#define CLASS_DIM                                                                                            \
    ROW(class_dim, NT_OPTION_ENUM, offsetof(nt_loss_options, class_dim), "first", .choices = class_dims,     \
        .help = "cross_entropy of several positions: which dimension the classes are")
#define MEAN_OVER                                                                                            \
    ROW(mean_over, NT_OPTION_ENUM, offsetof(nt_loss_options, mean_over), "samples", .choices = means,        \
        .help = "cross_entropy: weights: divide by the weights of the batch's labels, as PyTorch's mean does")
#define DELTA                                                                                                \
    ROW(delta, NT_OPTION_FLOAT, offsetof(nt_loss_options, delta), "1", .min = NT_ABOVE_ZERO,                 \
        .help = "huber: where the square turns into a line")
#define BETA                                                                                                 \
    ROW(beta, NT_OPTION_FLOAT, offsetof(nt_loss_options, beta), "1", .min = 0, .max = INFINITY,              \
        .help = "smooth_l1: where the square turns into a line; 0: l1")
#define MARGIN                                                                                               \
    ROW(margin, NT_OPTION_FLOAT, offsetof(nt_loss_options, margin), "1",                                     \
        .help = "hinge: by how much the right output has to exceed the others")
#define POWER                                                                                                \
    ROW(p, NT_OPTION_INT, offsetof(nt_loss_options, p), "1", .min = 1, .max = 2,                             \
        .help = "hinge: 2 squares it")

static const nt_option all_rows[] = {
    {"type", NT_OPTION_STRING, offsetof(nt_loss_options, type), "auto",
     .help = "which loss (nntrain help layers); auto: cross_entropy for classes, mse for values"},
    CLASS_WEIGHTS, LABEL_SMOOTHING, IGNORE_INDEX, CLASS_DIM, MEAN_OVER, DELTA, BETA, MARGIN, POWER};
static const nt_option huber_rows[] = {DELTA};
static const nt_option smooth_l1_rows[] = {BETA};
static const nt_option hinge_rows[] = {CLASS_WEIGHTS, MARGIN, POWER};
static const nt_option cross_entropy_rows[] = {CLASS_WEIGHTS, LABEL_SMOOTHING, IGNORE_INDEX, CLASS_DIM, MEAN_OVER};

const nt_section nt_loss_section = {.name = "loss", .help = "what is minimised",
                                    .size = sizeof(nt_loss_options), .options = all_rows,
                                    .n_options = NT_N_ELEMS(all_rows)};

#define LOSS(loss, fn, rows, n, outputs_are, n_answers, text)                                                \
    const nt_layer_ops nt_loss_##loss = {.section = {.name = #loss, .help = text,                            \
                                                     .size = sizeof(nt_loss_options), .options = rows,       \
                                                     .n_options = n},                                        \
                                         .min_inputs = 2, .max_inputs = 2, .is_loss = true,                  \
                                         .outputs = outputs_are, .answers = n_answers, .infer = fn,          \
                                         .flops = loss_flops}
/* clang-format on */

LOSS(mse, values_infer, NULL, 0, NT_OUTPUTS_VALUES, NULL, "mean squared error of float targets");
LOSS(l1, values_infer, NULL, 0, NT_OUTPUTS_VALUES, NULL, "mean absolute error of float targets");
LOSS(huber, huber_infer, huber_rows, NT_N_ELEMS(huber_rows), NT_OUTPUTS_VALUES, NULL,
     "squared error of float targets, absolute beyond delta");
LOSS(smooth_l1, smooth_l1_infer, smooth_l1_rows, NT_N_ELEMS(smooth_l1_rows), NT_OUTPUTS_VALUES, NULL,
     "absolute error of float targets, rounded off within beta");
LOSS(bce, values_infer, NULL, 0, NT_OUTPUTS_LOGISTIC, answer_each,
     "binary cross-entropy of logits with float targets in 0..1");
LOSS(hinge, hinge_infer, hinge_rows, NT_N_ELEMS(hinge_rows), NT_OUTPUTS_SCORES, hinge_answers,
     "margin between outputs, of class labels or of targets -1 and 1");
LOSS(kl_divergence, values_infer, NULL, 0, NT_OUTPUTS_SCORES, one_answer,
     "Kullback-Leibler divergence of log-probabilities (log_softmax) from target probabilities");
LOSS(cross_entropy, cross_entropy_infer, cross_entropy_rows, NT_N_ELEMS(cross_entropy_rows),
     NT_OUTPUTS_LOGITS, cross_entropy_answers,
     "softmax cross-entropy of logits with class labels or probabilities");
