/* A small training job for the tests of the step: 28 samples of 1x6x6 in three classes, global batches of 13,
 * 13 and 2 samples, so that parts are uneven and, from 3 ranks on, one batch leaves ranks without samples. */
#ifndef NT_TESTS_TOY_H
#define NT_TESTS_TOY_H

#include "dist/step.h"

#define TOY_SAMPLES 28
#define TOY_BATCH   13
#define TOY_BATCHES 3 /* per epoch */
#define TOY_CLASSES 3
#define TOY_ELEMS   36

typedef struct toy_options {
    const char *backend;
    const char *loss;      /* lines of [loss], or NULL */
    bool batchnorm;        /* else a model whose samples do not know of each other */
    bool sync;             /* a deeper model with batchnorm everywhere, statistics over all ranks */
    bool zero;             /* the optimizer's state in shards */
    bool sync_off;         /* that model without */
    const char *optimizer; /* lines of [optimizer], or NULL: the model's own */
    int pieces;            /* a slice is cut into up to so many (gradient accumulation) */
    double clip_norm;      /* 0: none */
    double lr;             /* 0: 0.1 */
    double bucket_mb;      /* 0: 1 */
    nt_nan_policy nan_policy;
    int64_t nan_sample; /* this sample's first value is a NaN; -1: none */
} toy_options;

typedef struct toy {
    toy_options options;
    nt_comm *comm;
    nt_config *config;
    nt_model *model;
    nt_backend *backend;
    nt_tuning *tuning;
    nt_net *net;
    nt_stepper *stepper;
    float x[TOY_SAMPLES][TOY_ELEMS];
    int32_t label[TOY_SAMPLES];
    int64_t sample[TOY_SAMPLES];
} toy;

/* A communicator of one rank, to compare with. */
nt_comm toy_alone(void);

NT_MUST nt_status toy_create(toy *t, nt_comm *comm, const toy_options *options);
void toy_destroy(toy *t);

/* This rank's samples in piece i of a step's batch. */
nt_batch toy_piece(const toy *t, int64_t step, int i);

/* Gives a step to the stepper; *result is its own only where memory is the host's. */
NT_MUST nt_status toy_run(toy *t, int64_t step, nt_step_result *result);

/* One step in host memory; *loss is the mean over the global batch. */
NT_MUST nt_status toy_step(toy *t, int64_t step, nt_step_result *result, double *loss);

/* Samples of the global batch of a step, and this rank's. */
int64_t toy_batch(int64_t step, int64_t *first);

#endif
