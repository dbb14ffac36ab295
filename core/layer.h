/* What a layer means: its options, shape inference, parameters and their initialisation. No arithmetic, no
 * device, no rank.
 *
 * A layer type is a const nt_layer_ops in a file of core/layers and one line in the list of core/layer.c;
 * losses are layers with two inputs (output, target) in a second list. The arithmetic is in the backends,
 * found by the type's name (core/op.h). Shapes here are per sample: (C, H, W) or (F). */
#ifndef NT_CORE_LAYER_H
#define NT_CORE_LAYER_H

#include "core/config.h"
#include "core/tensor.h"

#define NT_NAME_BYTES 128
#define NT_MAX_PARAMS 4

typedef enum nt_param_role {
    NT_PARAM_WEIGHT, /* trained, with weight decay */
    NT_PARAM_BIAS,   /* trained, no decay unless asked */
    NT_PARAM_NORM,   /* scale and shift of a normalisation: trained, no decay unless asked */
    NT_PARAM_STAT,   /* running statistic: its gradient slot carries the batch's statistic, see
                        core/layers/batchnorm.h */
} nt_param_role;

typedef enum nt_init_type {
    NT_INIT_CONSTANT,     /* value a */
    NT_INIT_NORMAL,       /* mean a, standard deviation b */
    NT_INIT_TRUNC_NORMAL, /* mean a, standard deviation b, redrawn outside +-2 b */
    NT_INIT_UNIFORM,      /* in [a, b) */
    NT_INIT_KAIMING,      /* He et al. 2015: normal with std gain a / sqrt(fan_in), a = sqrt(2) for relu */
    NT_INIT_XAVIER,       /* Glorot & Bengio 2010: uniform in +-a sqrt(6 / (fan_in + fan_out)) */
} nt_init_type;

typedef struct nt_init {
    nt_init_type type;
    double a, b;
    int64_t fan_in, fan_out;
} nt_init;

/* One parameter of a layer, in canonical row-major form. */
typedef struct nt_param {
    const char *name; /* "weight"; full name is "<layer>.<name>", and "<layer>" alone if this is "" */
    nt_shape shape;
    nt_param_role role;
    nt_init init;
    int owner; /* node whose parameter of that name this is; 0: it is the layer's own. Set by the model */
} nt_param;

typedef struct nt_layer nt_layer;
typedef struct nt_onnx nt_onnx;

/* What a model's outputs are in the eyes of its loss. */
typedef enum nt_outputs {
    NT_OUTPUTS_UNKNOWN,  /* there is no loss to say so */
    NT_OUTPUTS_VALUES,   /* they are to meet the target: how near they come is all there is (mse) */
    NT_OUTPUTS_SCORES,   /* the largest one wins, or each says yes by its sign (hinge) */
    NT_OUTPUTS_LOGITS,   /* the same; probabilities by the softmax over classes (cross_entropy) */
    NT_OUTPUTS_LOGISTIC, /* each says yes by its sign; probabilities by the logistic function (bce) */
} nt_outputs;

typedef struct nt_layer_ops {
    nt_section
        section; /* name = the type as written in the config and as looked up in backends; option table */
    int min_inputs, max_inputs; /* max -1: any number */
    bool takes_batchnorm;       /* `batchnorm = yes` is allowed (linear, conv2d) */
    bool takes_tokens;          /* reads int32 tokens (embedding); all others read real numbers */
    bool is_loss; /* second input is the target, () for a class or (K) for values; output is (2): loss of the
                     sample, and how many of its answers are right */
    nt_outputs outputs; /* losses: what their first input is */
    /* Losses: how many answers a sample gives that can be right or wrong. Optional: none, there is no
     * accuracy. */
    int64_t (*answers)(const nt_layer *layer);
    /* From layer->in and layer->options: checks them, sets layer->out and layer->param. Errors name shapes.
     */
    nt_status (*infer)(nt_layer *layer);
    /* Multiplications and additions of a forward pass of one sample. Optional: 0. */
    int64_t (*flops)(const nt_layer *layer);
    /* What the layer is in ONNX's operators (core/onnx.h). Optional: it cannot be exported. */
    nt_status (*onnx)(const nt_layer *layer, nt_onnx *onnx);
} nt_layer_ops;

/* A node of the graph. */
struct nt_layer {
    char name[NT_NAME_BYTES];
    const nt_layer_ops *ops;
    void *options;      /* ops->section.size bytes */
    const char *kind;   /* of the operation that computes it: the type's name, unless infer() says that
                           its options need a more general one */
    bool folds;         /* set by infer(): the operation sees (N, T, F) as (N T, F), see nt_layer_op_shape */
    bool has_batchnorm; /* a batchnorm node follows: `bias = auto` means no */
    bool training_only; /* serves a head (core/layers/head.h) and nothing else: left out of evaluation */
    bool has_labels;    /* losses: the targets are class labels, whatever the shape of in[1] */
    bool has_soft;      /* and in training probabilities in their place */
    int n_inputs;
    int *input;   /* indices of nodes; for losses input[1] is NT_NODE_TARGET */
    nt_shape *in; /* per-sample shapes of the inputs */
    nt_shape out;
    int n_params;
    nt_param param[NT_MAX_PARAMS];
    const char
        *weight_of; /* set by infer(): param[0] is that of the layer of this name; NULL: it is its own */
    int group;      /* config group it came from; -1 if none */
    double lr_factor, decay_factor; /* of its parameters: on the rate and on weight decay */
    bool frozen;                    /* its parameters are not trained; running statistics move all the same */
};

/* Checks the number of inputs and their shapes, runs ops->infer and checks what it gave. NT_ERR_CONFIG with
 * the type and the shapes; the caller puts the layer's name in front. */
NT_MUST nt_status nt_layer_infer(nt_layer *layer);

/* The shape under which the layer's operation sees n samples of `shape`, which is that of its one input or of
 * its output: with n in front, and all but the last dimension folded into the batch if layer->folds. */
nt_shape nt_layer_op_shape(const nt_layer *layer, nt_shape shape, int64_t n);

/* Multiplications and additions of a forward pass of one sample; INT64_MAX if that overflows. */
int64_t nt_layer_flops(const nt_layer *layer);

/* The name of a layer's parameter p in files, "conv1.weight": as snprintf, how long it is. */
int nt_layer_param_name(const nt_layer *layer, int p, char *text, size_t cap);

/* Adds a parameter to a layer that is being inferred. */
void nt_layer_add_param(nt_layer *layer, const char *name, nt_shape shape, nt_param_role role, nt_init init);

/* The layer type or loss of that name; NULL if there is none. `input` and `total_loss` are found, too, but
 * are not in nt_layer_types: a config cannot name them. */
const nt_layer_ops *nt_layer_find(const char *type);
const nt_layer_ops *nt_loss_find(const char *type);

/* NULL-terminated names for messages and help. */
const char *const *nt_layer_types(void);
const char *const *nt_loss_types(void);

/* Keys that linear and conv2d share for initial weights; core/init.h has the rows of the table and says what
 * they come to. Embed as `init` in the options. */
typedef struct nt_init_options {
    int type;    /* nt_init_choice: auto (uniform in +-1/sqrt(fan_in), as PyTorch's layers), kaiming, xavier,
                    normal, truncated_normal, zeros, ones */
    double gain; /* kaiming, xavier; NaN or 0: sqrt 2 for kaiming, 1 for xavier */
    double std;  /* normal, truncated_normal */
    double bias; /* constant for the bias; NaN: as the weight with init = auto, else 0 */
} nt_init_options;

#endif
