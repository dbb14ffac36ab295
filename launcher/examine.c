/* The worst samples are kept in order by insertion: 24 of them, and most samples fail at the first
 * comparison. Gathering is one sum over tables in which each rank fills its own part. */
#include "launcher/examine.h"

#include "core/fault.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CLASSES     1000
#define MISTAKE_DOUBLES (5 + NT_WORST_VALUES)

static int64_t outputs_of(const nt_model *model)
{
    return nt_shape_elems(model->layer[model->output].out);
}

bool nt_examination_fits(const nt_model *model)
{
    const nt_sample_spec *spec = &model->spec;
    if (spec->target == NT_TARGET_CLASS)
        return spec->n_labels == 0 && outputs_of(model) >= 2 && outputs_of(model) >= spec->n_classes;
    return spec->target == NT_TARGET_VALUE && outputs_of(model) == spec->n_values;
}

/* Doubles in e->table: a part for each rank. */
static size_t table_size(const nt_comm *comm)
{
    return (size_t)comm->size * NT_WORST * MISTAKE_DOUBLES;
}

nt_status nt_examination_create(nt_examination **out, const nt_model *model, int64_t n_samples,
                                const nt_comm *comm)
{
    nt_examination *e = *out = calloc(1, sizeof *e);
    NT_CHECK_ALLOC(e, sizeof *e);
    e->n_outputs = outputs_of(model);
    e->n_samples = n_samples;
    e->classes = model->spec.target == NT_TARGET_CLASS;
    e->logistic = nt_model_outputs(model) == NT_OUTPUTS_LOGISTIC;
    e->softmax = nt_model_outputs(model) == NT_OUTPUTS_LOGITS;
    e->confusion.n_classes = e->n_outputs;
    for (int i = 0; i < NT_WORST; i++)
        e->worst[i] = (nt_mistake){.sample = -1, .error = -1};
    NT_CHECK(nt_fault_point("examine.create") == NT_FAULT_NONE, NT_ERR_UNAVAILABLE,
             "injected fault: examine.create");
    e->table = calloc(table_size(comm), sizeof *e->table);
    NT_CHECK_ALLOC(e->table, table_size(comm) * sizeof *e->table);
    size_t n_cells = (size_t)(e->n_outputs * e->n_outputs);
    if (e->classes && e->n_outputs <= MAX_CLASSES) {
        e->confusion.count = calloc(n_cells, sizeof *e->confusion.count);
        NT_CHECK_ALLOC(e->confusion.count, n_cells * sizeof *e->confusion.count);
    }
    if (!e->classes) {
        e->scatter = calloc(NT_SCATTER, sizeof *e->scatter);
        NT_CHECK_ALLOC(e->scatter, NT_SCATTER * sizeof *e->scatter);
    }
    return NT_OK;
}

void nt_examination_destroy(nt_examination *e)
{
    if (!e) return;
    free(e->confusion.count);
    free(e->scatter);
    free(e->table);
    free(e);
}

/* --- one sample --- */

static void keep_if_worst(nt_examination *e, const nt_mistake *mistake)
{
    int at = NT_WORST;
    while (at > 0 && mistake->error > e->worst[at - 1].error)
        at--;
    if (at == NT_WORST) return;
    memmove(&e->worst[at + 1], &e->worst[at], (size_t)(NT_WORST - 1 - at) * sizeof *mistake);
    e->worst[at] = *mistake;
}

/* log of the sum of exponentials of k outputs */
static double log_sum_exp(const float *output, int64_t k)
{
    double largest = output[nt_argmax(output, k)], sum = 0;
    for (int64_t i = 0; i < k; i++)
        sum += exp(output[i] - largest);
    return largest + log(sum);
}

static void examine_class(nt_examination *e, int64_t sample, int32_t truth, const float *output)
{
    const int64_t k = e->n_outputs, won = nt_argmax(output, k);
    if (truth < 0 || truth >= k) return; /* a label that the loss ignores */
    if (e->confusion.count) e->confusion.count[truth * k + won]++;
    if (won == truth) return;
    double norm = log_sum_exp(output, k), error = norm - output[truth];
    keep_if_worst(e, &(nt_mistake){.sample = sample,
                                   .error = isfinite(error) ? error : 1e30,
                                   .class_ = (double)won,
                                   .probability = exp(output[won] - norm),
                                   .true_probability = exp(-error)});
}

static void examine_values(nt_examination *e, int64_t sample, const float *truth, const float *output)
{
    nt_mistake mistake = {.sample = sample};
    for (int64_t i = 0; i < e->n_outputs; i++) {
        double value = e->logistic ? 1 / (1 + exp(-(double)output[i])) : (double)output[i];
        double difference = value - truth[i];
        mistake.error += difference * difference / (double)e->n_outputs;
        if (i < NT_WORST_VALUES) mistake.predicted[i] = value;
    }
    if (!isfinite(mistake.error)) mistake.error = 1e30;
    keep_if_worst(e, &mistake);
    int64_t stride = (e->n_samples + NT_SCATTER - 1) / NT_SCATTER;
    if (sample % stride != 0 || sample / stride >= NT_SCATTER) return;
    e->scatter[sample / stride][0] = truth[0];
    e->scatter[sample / stride][1] = mistake.predicted[0];
}

void nt_examine(void *examination, const nt_batch *batch, const float *outputs, int64_t n_outputs)
{
    nt_examination *e = examination;
    for (int64_t i = 0; i < batch->n; i++) {
        if (e->classes)
            examine_class(e, batch->sample[i], ((const int32_t *)batch->target)[i], outputs + i * n_outputs);
        else
            examine_values(e, batch->sample[i], (const float *)batch->target + i * n_outputs,
                           outputs + i * n_outputs);
    }
}

/* --- all ranks --- */

/* A mistake as it travels: sample + 1, so that zeros are nothing. */
static void pack(double *to, const nt_mistake *from)
{
    to[0] = (double)(from->sample + 1);
    to[1] = from->error;
    to[2] = from->class_;
    to[3] = from->probability;
    to[4] = from->true_probability;
    memcpy(to + 5, from->predicted, sizeof from->predicted);
}

static nt_mistake unpack(const double *from)
{
    nt_mistake mistake = {.sample = (int64_t)from[0] - 1,
                          .error = from[1],
                          .class_ = from[2],
                          .probability = from[3],
                          .true_probability = from[4]};
    memcpy(mistake.predicted, from + 5, sizeof mistake.predicted);
    return mistake;
}

static nt_status gather_worst(nt_examination *e, nt_comm *comm)
{
    const size_t width = MISTAKE_DOUBLES, part = NT_WORST * width, n = table_size(comm);
    double *table = e->table;
    memset(table, 0, n * sizeof *table);
    for (size_t i = 0; i < NT_WORST; i++)
        if (e->worst[i].sample >= 0) pack(table + (size_t)comm->rank * part + i * width, &e->worst[i]);
    NT_TRY(nt_comm_host_reduce(comm, table, (int)n, NT_REDUCE_SUM));
    for (size_t i = 0; i < NT_WORST; i++)
        e->worst[i] = (nt_mistake){.sample = -1, .error = -1};
    for (size_t i = 0; i < n / width; i++) {
        nt_mistake mistake = unpack(table + i * width);
        if (mistake.sample >= 0) keep_if_worst(e, &mistake);
    }
    return NT_OK;
}

nt_status nt_examination_gather(nt_examination *e, nt_comm *comm)
{
    const int n_cells = (int)(e->n_outputs * e->n_outputs);
    if (e->confusion.count) NT_TRY(nt_comm_host_reduce(comm, e->confusion.count, n_cells, NT_REDUCE_SUM));
    if (e->scatter) NT_TRY(nt_comm_host_reduce(comm, &e->scatter[0][0], 2 * NT_SCATTER, NT_REDUCE_SUM));
    NT_TRY(gather_worst(e, comm));
    return NT_OK;
}
