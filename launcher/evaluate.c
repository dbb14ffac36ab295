/* The pass over the data is training's without the backward half: the same feed, the same plans by batch
 * size. Sums of losses are kept in double and added in a fixed order, so an evaluation gives the same bits
 * every time. A device adds them itself and is asked once, at the end: it would idle while the host reads the
 * losses of every batch. */
#include "launcher/evaluate.h"

#include "core/phase.h"

#include <math.h>
#include <stdlib.h>

static void add_sum(nt_loss_sum *total, const nt_loss_sum *part)
{
    total->loss += part->loss;
    total->loss_squared += part->loss_squared;
    total->correct += part->correct;
    total->n += part->n;
    total->weight += part->weight;
    total->answers += part->answers;
}

/* Of the samples of the last nt_net_loss. */
static void add_clusters(nt_clusters *c, const nt_net *net, const nt_batch *piece)
{
    const nt_model *model = nt_net_model(net);
    const bool labels = model->spec.target == NT_TARGET_CLASS;
    const int64_t each = nt_model_answers(model);
    for (int64_t i = 0; i < piece->n; i++) {
        const int32_t *target = labels ? (const int32_t *)piece->target + i * each : NULL;
        const double answers = (double)nt_model_count_answers(model, target, 1);
        const double right = (double)nt_net_correct(net, i);
        c->n += answers > 0;
        c->right2 += right * right;
        c->right_answers += right * answers;
        c->answers2 += answers * answers;
    }
}

static bool adds_on_device(const nt_evaluator *e)
{
    return nt_backend_is_device(nt_net_backend(e->net));
}

static nt_status take_losses(const nt_evaluator *e, const nt_batch *piece, nt_loss_sum *part)
{
    const nt_model *model = nt_net_model(e->net);
    nt_loss_sum own = {0};
    if (adds_on_device(e)) NT_TRY(nt_net_add_losses(e->net));
    if (!adds_on_device(e) || e->clusters) NT_TRY(nt_net_loss(e->net, &own));
    if (!adds_on_device(e)) *part = own;
    if (e->clusters) add_clusters(e->clusters, e->net, piece);
    part->weight = nt_model_target_weight(model, piece->target, piece->n);
    part->answers = nt_model_count_answers(model, piece->target, piece->n);
    return NT_OK;
}

static nt_status evaluate_piece(const nt_evaluator *e, const nt_batch *piece, float *outputs,
                                nt_loss_sum *sum)
{
    nt_pass pass = {.scale = 1, .share = 1, .seed = e->seed, .epoch = piece->epoch, .sample = piece->sample};
    nt_loss_sum part = {.n = piece->n};
    NT_TRY(nt_net_forward(e->net, NT_MODE_EVAL, piece, &pass));
    const nt_model *model = nt_net_model(e->net);
    if (piece->target && model->has_loss) NT_TRY(take_losses(e, piece, &part));
    add_sum(sum, &part);
    if (!e->each) return NT_OK;
    NT_TRY(nt_net_output(e->net, outputs));
    e->each(e->arg, piece, outputs, nt_shape_elems(model->layer[model->output].out));
    return NT_OK;
}

static nt_status evaluate_share(const nt_evaluator *e, float *outputs, nt_loss_sum *sum)
{
    const int64_t n_batches = nt_feed_batches(e->feed);
    nt_loss_sum added = {0};
    if (adds_on_device(e)) NT_TRY(nt_net_begin_step(e->net));
    for (int64_t i = 0; i < n_batches; i++) {
        NT_TRY(nt_feed_next(e->feed));
        for (int p = 0; p < e->feed->n_pieces; p++)
            NT_TRY(evaluate_piece(e, &e->feed->piece[p], outputs, sum));
        nt_phase_tick();
        if (e->progress) e->progress(i + 1, n_batches);
    }
    if (adds_on_device(e)) NT_TRY(nt_net_read_losses(e->net, &added));
    add_sum(sum, &added);
    return NT_OK;
}

/* Losses scaled so that their mean over samples is that over the weights of the targets. */
static void weigh(nt_loss_sum *sum)
{
    if (!(sum->weight > 0)) return;
    double factor = (double)sum->n / sum->weight;
    sum->loss *= factor;
    sum->loss_squared *= factor * factor;
}

static nt_status reduce_sum(const nt_evaluator *e, nt_loss_sum *sum)
{
    nt_clusters none = {0}, *c = e->clusters ? e->clusters : &none;
    double values[] = {sum->loss,
                       sum->loss_squared,
                       (double)sum->correct,
                       (double)sum->n,
                       sum->weight,
                       (double)sum->answers,
                       c->n,
                       c->right2,
                       c->answers2,
                       c->right_answers};
    nt_phase_wait("evaluation");
    NT_TRY(nt_comm_host_reduce(e->comm, values, NT_N_ELEMS(values), NT_REDUCE_SUM));
    *sum = (nt_loss_sum){.loss = values[0],
                         .loss_squared = values[1],
                         .correct = (int64_t)values[2],
                         .n = (int64_t)values[3],
                         .weight = values[4],
                         .answers = (int64_t)values[5]};
    *c =
        (nt_clusters){.n = values[6], .right2 = values[7], .answers2 = values[8], .right_answers = values[9]};
    weigh(sum);
    nt_find_nats(nt_net_model(e->net), false, sum);
    return NT_OK;
}

static nt_status make_outputs(const nt_evaluator *e, size_t n_outputs, float **outputs)
{
    size_t n_bytes = (size_t)e->feed->options.batch * n_outputs * sizeof **outputs;
    if (!e->each) return NT_OK;
    *outputs = malloc(n_bytes);
    NT_CHECK_ALLOC(*outputs, n_bytes);
    return NT_OK;
}

/* Where nothing is agreed on, an error stays this rank's own, and ends the job. */
static nt_status agree(const nt_evaluator *e, nt_status mine)
{
    if (!e->agreed) return mine;
    nt_phase_wait("evaluation");
    nt_status status = nt_comm_agree(e->comm, mine);
    *e->agreed = status != NT_OK;
    return status;
}

nt_status nt_evaluate(const nt_evaluator *evaluator, nt_loss_sum *sum)
{
    const nt_model *model = nt_net_model(evaluator->net);
    const size_t n_outputs = (size_t)nt_shape_elems(model->layer[model->output].out);
    float *outputs = NULL;
    nt_phase_enter("evaluation");
    *sum = (nt_loss_sum){0};
    if (evaluator->clusters) *evaluator->clusters = (nt_clusters){0};
    nt_status status = make_outputs(evaluator, n_outputs, &outputs);
    if (status == NT_OK) status = nt_feed_start(evaluator->feed, 0, 0);
    if (status == NT_OK) status = evaluate_share(evaluator, outputs, sum);
    nt_feed_stop(evaluator->feed);
    free(outputs);
    NT_TRY(agree(evaluator, status));
    NT_TRY(reduce_sum(evaluator, sum));
    return NT_OK;
}

/* --- what the outputs say --- */

void nt_count_classes(void *confusion, const nt_batch *batch, const float *outputs, int64_t n_outputs)
{
    const nt_confusion *c = confusion;
    const int32_t *truth = batch->target;
    for (int64_t i = 0; i < batch->n; i++)
        if (truth[i] >= 0 && truth[i] < c->n_classes)
            c->count[truth[i] * c->n_classes + nt_argmax(outputs + i * n_outputs, n_outputs)]++;
}

nt_output_layout nt_model_output_layout(const nt_model *model)
{
    const nt_shape out = model->layer[model->output].out;
    int64_t elems = nt_shape_elems(out);
    nt_output_layout one = {.n_classes = elems, .n_positions = 1, .class_step = 1, .position_step = 1};
    if (nt_model_outputs(model) != NT_OUTPUTS_LOGITS || out.n_dims < 2) return one;
    const nt_loss_options *o = model->layer[model->loss].options;
    bool last = o->class_dim == NT_CLASS_DIM_LAST;
    int64_t n = out.dim[last ? out.n_dims - 1 : 0];
    return (nt_output_layout){.n_classes = n,
                              .n_positions = elems / n,
                              .class_step = last ? 1 : elems / n,
                              .position_step = last ? n : 1};
}

int64_t nt_output_class(const float *output, const nt_output_layout *layout, int64_t position)
{
    const float *x = output + position * layout->position_step;
    int64_t best = 0, step = layout->class_step;
    for (int64_t i = 1; i < layout->n_classes; i++)
        if (x[i * step] > x[best * step] || isnan(x[best * step])) best = i;
    return best;
}

static void softmax(float *output, const nt_output_layout *layout, int64_t position)
{
    double sum = 0;
    float *x = output + position * layout->position_step;
    int64_t step = layout->class_step;
    float largest = x[nt_output_class(output, layout, position) * step];
    for (int64_t i = 0; i < layout->n_classes; i++)
        sum += exp((double)x[i * step] - largest);
    for (int64_t i = 0; i < layout->n_classes; i++)
        x[i * step] = (float)(exp((double)x[i * step] - largest) / sum);
}

bool nt_outputs_have_probabilities(nt_outputs outputs)
{
    return outputs == NT_OUTPUTS_LOGITS || outputs == NT_OUTPUTS_LOGISTIC;
}

void nt_outputs_to_probabilities(float *output, const nt_output_layout *layout, nt_outputs outputs)
{
    for (int64_t p = 0; outputs == NT_OUTPUTS_LOGITS && p < layout->n_positions; p++)
        softmax(output, layout, p);
    for (int64_t i = 0; outputs == NT_OUTPUTS_LOGISTIC && i < layout->n_classes; i++)
        output[i] = (float)(1 / (1 + exp(-(double)output[i])));
}
