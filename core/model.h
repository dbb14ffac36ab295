/* The model: a graph of named layers, built from the config and the shape of a sample, before any backend.
 *
 * Node 0 is the input. `batchnorm = yes` and `activation = ...` of a layer become nodes of their own,
 * `<name>.bn` and
 * `<name>.act`, which a backend may fuse again; others refer to the last of them by the layer's name. The
 * loss comes after all layers; where there are heads, theirs follow, `<name>.loss`, and then `total`, the
 * sum. A model made for prediction only has no loss. */
#ifndef NT_CORE_MODEL_H
#define NT_CORE_MODEL_H

#include "core/layer.h"
#include "core/layers/input.h"
#include "core/layers/losses.h"

#include <stdio.h>

#define NT_NODE_TARGET (-1) /* as an input index: the target of the batch */

typedef enum nt_target_kind {
    NT_TARGET_NONE,
    NT_TARGET_CLASS, /* int32 class index per sample or position, in [0, n_classes) */
    NT_TARGET_VALUE, /* float32 vector per sample */
} nt_target_kind;

/* What a dataset delivers, and what a model is built for. */
typedef struct nt_sample_spec {
    nt_dtype x_dtype; /* NT_U8 or NT_F32 as stored; NT_I32: tokens, which only an embedding reads */
    nt_shape x;       /* (C, H, W), (F) or (T) */
    nt_target_kind target;
    int64_t n_classes;      /* NT_TARGET_CLASS; 0: unknown */
    int64_t n_labels;       /* NT_TARGET_CLASS: labels of a sample, one for each position; 0: one alone */
    int64_t n_values;       /* NT_TARGET_VALUE: K */
    nt_input_options input; /* scale, mean, inv_std to apply */
    bool soft_targets;      /* NT_TARGET_CLASS: training has float32 (n_classes) probabilities in the place of
                               the label (mixup, cutmix); evaluation has the label */
} nt_sample_spec;

/* Of one sample: () for a single class label, (P) for several, (K) for values. */
nt_shape nt_sample_target_shape(const nt_sample_spec *spec);

typedef struct nt_model {
    int n_layers;
    nt_layer *layer; /* topological order; [0] input; last: what is minimised if has_loss */
    bool has_loss;
    int loss;   /* index of the loss of the output; it is the last node unless there are heads */
    int output; /* index of the node whose y is the prediction (logits) */
    nt_sample_spec spec;
} nt_model;

typedef struct nt_model_options {
    const char *file;   /* INI with [layer ...] sections, taken into the config; NULL: they stand in it */
    const char *params; /* of the file, "NAME=VALUE ..."; the config expands them */
    const char *init;   /* safetensors file that a fresh run takes its weights from; NULL: none */
    bool init_partial;
    nt_names frozen, trained; /* names of layers, or what they begin with up to a dot */
} nt_model_options;
extern const nt_section nt_model_section; /* [model] */

extern const nt_section nt_loss_section;  /* [loss]: nt_loss_options of core/layers/losses.h */
extern const nt_section nt_layer_section; /* keys that every [layer NAME] has, for help */

/* Builds the graph. Errors: NT_ERR_CONFIG with file:line, the layer's name and shapes. */
NT_MUST nt_status nt_model_create(nt_model **out, nt_config *config, const nt_sample_spec *spec);
void nt_model_destroy(nt_model *model);

/* Whether the mean is taken over the weights of labels (mean_over = weights), and the sum of those of n
 * samples with these targets; n otherwise. */
bool nt_model_weighs(const nt_model *model);
double nt_model_target_weight(const nt_model *model, const void *target, int64_t n);

/* What the outputs are, by the loss. */
nt_outputs nt_model_outputs(const nt_model *model);

/* Answers of a sample that can be right or wrong, if none is ignored; 0: there is no accuracy. And those of n
 * samples with these targets, without what is ignored. */
int64_t nt_model_answers(const nt_model *model);
int64_t nt_model_count_answers(const nt_model *model, const void *target, int64_t n);

/* Number of trained parameter elements, and forward FLOPs of one sample. */
int64_t nt_model_n_params(const nt_model *model);
int64_t nt_model_flops(const nt_model *model);

/* Index of a layer by name, or -1. */
int nt_model_find(const nt_model *model, const char *name);

/* Whether a layer has its weight in common with another (nt_param.owner), whichever of them owns it. */
bool nt_model_shares(const nt_model *model, int layer);

/* A printed table: name, type, output shape, parameters, FLOPs. */
void nt_model_print(const nt_model *model, FILE *out);

/* The same as a drawing for graphviz: `nntrain check --dot cfg.ini | dot -Tsvg -o model.svg`. The output's
 * node has a thick line. */
void nt_model_dot(const nt_model *model, FILE *out);

#endif
