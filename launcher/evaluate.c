/* The pass over the data is training's without the backward half: the same feed, the same plans by batch
 * size. Sums of losses are kept in double and added in a fixed order, so an evaluation gives the same bits
 * every time. A device adds them itself and is asked once, at the end: it would idle while the host reads the
 * losses of every batch. */
#include "launcher/evaluate.h"

#include "core/phase.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void add_sum(nt_loss_sum *total, const nt_loss_sum *part)
{
    total->loss += part->loss;
    total->loss_squared += part->loss_squared;
    total->correct += part->correct;
    total->n += part->n;
    total->weight += part->weight;
}

static bool adds_on_device(const nt_evaluator *e)
{
    return !nt_net_backend(e->net)->ops->host_memory;
}

static nt_status evaluate_piece(const nt_evaluator *e, const nt_batch *piece, float *outputs,
                                nt_loss_sum *sum)
{
    nt_pass pass = {.scale = 1, .share = 1, .seed = e->seed, .epoch = piece->epoch, .sample = piece->sample};
    nt_loss_sum part = {.n = piece->n};
    NT_TRY(nt_net_forward(e->net, NT_MODE_EVAL, piece, &pass));
    const nt_model *model = nt_net_model(e->net);
    if (piece->target && model->has_loss) {
        NT_TRY(adds_on_device(e) ? nt_net_add_losses(e->net) : nt_net_loss(e->net, &part));
        part.weight = nt_model_target_weight(model, piece->target, piece->n);
    }
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

static nt_status reduce_sum(nt_comm *comm, nt_loss_sum *sum)
{
    double values[] = {sum->loss, sum->loss_squared, (double)sum->correct, (double)sum->n, sum->weight};
    nt_phase_wait("evaluation");
    NT_TRY(nt_comm_host_reduce(comm, values, 5, NT_REDUCE_SUM));
    *sum = (nt_loss_sum){values[0], values[1], (int64_t)values[2], (int64_t)values[3], values[4]};
    weigh(sum);
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
    nt_status status = make_outputs(evaluator, n_outputs, &outputs);
    if (status == NT_OK) status = nt_feed_start(evaluator->feed, 0, 0);
    if (status == NT_OK) status = evaluate_share(evaluator, outputs, sum);
    nt_feed_stop(evaluator->feed);
    free(outputs);
    NT_TRY(agree(evaluator, status));
    NT_TRY(reduce_sum(evaluator->comm, sum));
    return NT_OK;
}

/* --- probabilities --- */

nt_output_layout nt_model_output_layout(const nt_model *model)
{
    const nt_shape out = model->layer[model->output].out;
    const char *loss = nt_loss_of_model(model);
    int64_t elems = nt_shape_elems(out);
    nt_output_layout one = {.n_classes = elems, .n_positions = 1, .class_step = 1, .position_step = 1};
    if (!loss || strcmp(loss, "cross_entropy") != 0 || out.n_dims < 2) return one;
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

void nt_outputs_to_probabilities(float *output, const nt_output_layout *layout, const char *loss)
{
    for (int64_t p = 0; loss && strcmp(loss, "cross_entropy") == 0 && p < layout->n_positions; p++)
        softmax(output, layout, p);
    if (loss && strcmp(loss, "bce") == 0)
        for (int64_t i = 0; i < layout->n_classes; i++)
            output[i] = (float)(1 / (1 + exp(-(double)output[i])));
}

const char *nt_loss_of_model(const nt_model *model)
{
    return model->has_loss ? model->layer[model->loss].ops->section.name : NULL;
}
