/* A closer look at an evaluation: how classes are confused, which samples went worst, and, for values, what
 * was predicted against what is true. Collected batch by batch on every rank, then put together. */
#ifndef NT_LAUNCHER_EXAMINE_H
#define NT_LAUNCHER_EXAMINE_H

#include "launcher/evaluate.h"

#define NT_WORST        24  /* samples kept */
#define NT_WORST_VALUES 4   /* of an output that is kept with them */
#define NT_SCATTER      400 /* samples in the comparison of values */

/* A sample that went wrong. */
typedef struct nt_mistake {
    int64_t sample;             /* of the dataset; -1: none */
    double error;               /* class: -log of the true class's probability; values: mean of squares */
    double class_, probability; /* the class that won, and what it won with */
    double true_probability;    /* of the true class */
    double predicted[NT_WORST_VALUES]; /* values: the first ones */
} nt_mistake;

typedef struct nt_examination {
    bool classes;               /* else values */
    bool logistic;              /* values are logistic(outputs): bce */
    bool softmax;               /* classes: outputs of cross_entropy, so that probabilities mean something */
    int64_t n_outputs;          /* of a sample */
    int64_t n_samples;          /* of the whole set */
    nt_confusion confusion;     /* count NULL: values, or more than 1000 classes */
    nt_mistake worst[NT_WORST]; /* by error, worst first; for classes only those that were got wrong */
    double (*scatter)[2]; /* values: (NT_SCATTER) true and predicted first value of samples spread evenly */
    double *table;        /* in which the ranks' worst samples come together */
} nt_examination;

/* Whether a model can be examined: one class or one vector of values for a sample. */
bool nt_examination_fits(const nt_model *model);

/* For a model that fits and an evaluation over n_samples by the ranks of `comm`. Allocates all there is to
 * allocate, so that it is here that ranks have to agree. */
NT_MUST nt_status nt_examination_create(nt_examination **out, const nt_model *model, int64_t n_samples,
                                        const nt_comm *comm);
void nt_examination_destroy(nt_examination *examination); /* NULL is fine */

/* An nt_outputs_fn; arg: the examination. */
void nt_examine(void *examination, const nt_batch *batch, const float *outputs, int64_t n_outputs);

/* Collective, after the evaluation: all ranks' findings on each of them. */
NT_MUST nt_status nt_examination_gather(nt_examination *examination, nt_comm *comm);

#endif
