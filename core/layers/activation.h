/* Activations: one layer type with a function inside, so that backends can fuse it into the layer before. */
#ifndef NT_CORE_LAYERS_ACTIVATION_H
#define NT_CORE_LAYERS_ACTIVATION_H

typedef enum nt_activation {
    NT_ACT_NONE,
    NT_ACT_THRESHOLD, /* x >= 0 ? 1 : 0 (perceptron); backward passes dy through unchanged (straight-through
                         estimator) */
    NT_ACT_LOGISTIC,  /* 1 / (1 + exp(-beta x)) */
    NT_ACT_TANH,
    NT_ACT_RELU,
    NT_ACT_LEAKY_RELU,  /* x > 0 ? x : alpha x */
    NT_ACT_ELU,         /* x > 0 ? x : alpha (exp(x) - 1) */
    NT_ACT_GELU,        /* x Phi(x), exact (erf) */
    NT_ACT_SILU,        /* x / (1 + exp(-x)) */
    NT_ACT_RELU6,       /* min(max(x, 0), 6) */
    NT_ACT_HARDSIGMOID, /* relu6(x + 3) / 6 */
    NT_ACT_HARDSWISH,   /* x relu6(x + 3) / 6 */
    NT_ACT_SOFTPLUS,    /* log(1 + exp(beta x)) / beta; x itself where beta x > 20, as PyTorch */
    NT_ACT_MISH,        /* x tanh(log(1 + exp(x))) */
    NT_ACT_GELU_TANH,   /* 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): GPT-2's gelu */
    NT_N_ACTIVATIONS,
} nt_activation;

typedef struct nt_activation_options {
    nt_activation function;
    double alpha; /* leaky_relu (default 0.01), elu (default 1); NaN until resolved */
    double beta;  /* logistic: slope, softplus: sharpness, default 1; NaN until resolved */
} nt_activation_options;

/* "none", "threshold", "logistic", ...: the words of the config in the order of nt_activation,
 * NULL-terminated. */
extern const char *const nt_activation_words[];

/* Puts the function's own alpha and beta where they are NaN (not given). Every use of an
 * nt_activation_options comes after this; infer() of the layer type does it. */
void nt_activation_resolve(nt_activation_options *options);

#endif
