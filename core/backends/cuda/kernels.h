/* The launchers of the kernels, by file. No vendor header: this is what the C side of the backend sees.
 *
 * Every launcher puts its kernels into `stream`, returns at once, and returns cudaGetLastError() as int; see
 * nt_cuda_check. Pointers are device memory unless said otherwise. */
#ifndef NT_CORE_BACKENDS_CUDA_KERNELS_H
#define NT_CORE_BACKENDS_CUDA_KERNELS_H

#include "core/layers/activation.h"
#include "core/stretch.h"
#include "core/tensor.h"

typedef void *nt_cuda_stream; /* cudaStream_t without the vendor's header */

/* nt_pass in device memory, at an address that never changes, so that a recorded step can be replayed with
 * other numbers. The sample numbers are in nt_cuda.sample. */
typedef struct nt_cuda_pass {
    double scale, share, mean_weight;
    uint64_t seed;
    int64_t epoch;
    int64_t n; /* samples of this pass */
} nt_cuda_pass;

/* A batch in channels: (N, C, S), S positions of a channel in a row; S = 1 for (N, F). */
typedef struct nt_cuda_channels {
    int64_t n, c, s;
} nt_cuda_channels;

/* A window that slides over planes (H, W) and stops at (P, Q). Rows first, then columns. */
typedef struct nt_cuda_window {
    int64_t in[2], out[2];
    int64_t kernel[2], stride[2], dilation[2];
    int64_t pad[2], pad_end[2]; /* zeros before the first and behind the last row and column */
    bool count_padding;         /* avg_pool: divides by what a window covers of x and its padding */
} nt_cuda_window;

enum {
    NT_CUDA_MAX_TERMS = 8,       /* inputs that nt_cuda_add_forward takes at once */
    NT_CUDA_MAX_CHANNELS = 64,   /* NT_MAX_CHANNELS */
    NT_CUDA_PARTIAL_SUMS = 4096, /* doubles of nt_cuda.partial */
    NT_CUDA_PITCH = 8,           /* rows of the matrices of a convolution are multiples of this long */
};

/* By value to kernels: y = (x scale - mean[c]) inv_std[c]. */
typedef struct nt_cuda_normaliser {
    double scale;
    int n_channels; /* 0: only scale; 1: one for all; else the channels of a sample */
    double mean[NT_CUDA_MAX_CHANNELS], inv_std[NT_CUDA_MAX_CHANNELS];
} nt_cuda_normaliser;

/* What one batchnorm works with; device memory. */
typedef struct nt_cuda_norm {
    nt_cuda_channels shape;
    double eps;
    bool relu;                               /* y = max(y, 0) */
    const float *weight, *bias;              /* (C) */
    const float *running_mean, *running_var; /* (C) */
    void *saved;   /* nt_cuda_norm_saved_bytes; written by forward, read by backward */
    void *scratch; /* nt_cuda_norm_scratch_bytes */
} nt_cuda_norm;

/* layer_norm and group_norm: n rows of m; element j of row r has weight ((r % groups) m + j) / span. Device
 * memory. */
typedef struct nt_cuda_rows {
    int64_t n, m, groups, span;
    double eps;
    const float *weight, *bias; /* NULL: 1 and 0 */
    void *saved;                /* nt_cuda_rows_saved_bytes; NULL in inference */
} nt_cuda_rows;

/* local_response_norm. */
typedef struct nt_cuda_response {
    int64_t size;
    double alpha, beta, k;
} nt_cuda_response;

/* What a kernel found to be wrong with the data: see nt_cuda.data_error. */
typedef enum nt_cuda_bad {
    NT_CUDA_BAD_LABEL,
    NT_CUDA_BAD_TOKEN,
    NT_CUDA_BAD_PROBABILITY, /* its bits as a float */
    NT_CUDA_BAD_SUM          /* of probabilities, its bits as a float */
} nt_cuda_bad;

/* Losses that are a mean over values. */
typedef enum nt_cuda_loss_kind {
    NT_CUDA_MSE,
    NT_CUDA_L1,
    NT_CUDA_HUBER,
    NT_CUDA_SMOOTH_L1,
    NT_CUDA_BCE,
    NT_CUDA_HINGE
} nt_cuda_loss_kind;

typedef struct nt_cuda_loss {
    nt_cuda_loss_kind kind;
    double param; /* delta, beta or margin */
    int power;    /* hinge: 1 or 2 */
} nt_cuda_loss;

/* hinge of class labels; weight (k) in device memory or NULL. */
typedef struct nt_cuda_margins {
    double margin;
    int power;
    const float *weight;
    int *data_error;
    uint32_t id;
} nt_cuda_margins;

/* cross_entropy_full: n samples of p positions of k classes. Device memory. */
typedef struct nt_cuda_positions {
    int64_t n, p, k;
    bool classes_last, over_weights; /* x is (n, p, k), else (n, k, p) */
    const int32_t *label;            /* (n, p), or NULL: target, as x */
    const float *target, *weight;    /* weight (k) or NULL */
    double ignored, smoothing;       /* ignored NaN: none */
    int *data_error;
    uint32_t id;
} nt_cuda_positions;

/* Constants of one optimizer step over a flat range: nt_update, rounded by the host. */
typedef struct nt_cuda_update {
    float lr, momentum, weight_decay, beta1, beta2, one_minus_beta1, one_minus_beta2, eps;
    float inv_correction1, inv_correction2; /* STAT: inv_correction1 is the factor correction1 itself */
    double grad_scale;
    const double *scale, *ratio; /* device memory or NULL */
    float limit;
    bool nesterov, decoupled, centered;
} nt_cuda_update;

#ifdef __cplusplus
extern "C" {
#endif

/* Types of activations (and of their gradients): `type` is NT_F32 or NT_BF16, and void * are of it unless
 * said otherwise; parameters, their gradients, losses and targets are float32. Where an output may be an
 * input, it is said; nothing else may overlap. */

/* probe.cu: *out = value. */
int nt_cuda_probe(nt_cuda_stream stream, int *out, int value);

/* input.cu: y of `type` from x, NT_U8 or NT_F32. */
int nt_cuda_input_forward(nt_cuda_stream stream, nt_dtype type, void *y, nt_dtype stored, const void *x,
                          const nt_cuda_normaliser *normaliser, nt_cuda_channels shape);

/* activation.cu. y may be x, dx may be dy. `at` is x where the slope cannot be told from y, else y. */
bool nt_cuda_slope_needs_x(nt_activation function);
int nt_cuda_activation_forward(nt_cuda_stream stream, nt_dtype type, const nt_activation_options *o, void *y,
                               const void *x, int64_t n);
int nt_cuda_activation_backward(nt_cuda_stream stream, nt_dtype type, const nt_activation_options *o,
                                void *dx, const void *dy, const void *at, int64_t n);

/* add.cu: y = x[0] + ... + x[n_terms - 1], then max(y, 0) if relu; y may be any x. x: host array. */
int nt_cuda_add_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *const *x, int n_terms,
                        bool relu, int64_t n);

/* cast.cu: dst and src of NT_F32 or NT_BF16, any of the four; equal types copy. */
int nt_cuda_cast(nt_cuda_stream stream, nt_dtype dst_type, void *dst, nt_dtype src_type, const void *src,
                 int64_t n);
/* `rows` rows of row_bytes each, pitches from row to row in bytes. dst = src is allowed and does nothing. */
int nt_cuda_copy_rows(nt_cuda_stream stream, void *dst, int64_t dst_pitch, const void *src, int64_t src_pitch,
                      int64_t row_bytes, int64_t rows);

/* dst rows of dst_bytes: zeros but for the src_bytes of src's row from byte `begin` on. */
int nt_cuda_place_rows(nt_cuda_stream stream, void *dst, int64_t dst_bytes, const void *src,
                       int64_t src_bytes, int64_t begin, int64_t rows);

/* dropout.cu: out = in * mask / (1 - rate), (n, inner); out may be in. */
int nt_cuda_dropout_apply(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                          const nt_cuda_pass *pass, const int64_t *sample, uint32_t id, double rate,
                          int64_t n, int64_t inner);

/* The same for whole samples. */
int nt_cuda_drop_samples(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                         const nt_cuda_pass *pass, const int64_t *sample, uint32_t id, double rate, int64_t n,
                         int64_t inner);

/* softmax.cu: over C of (N, C, S); log: its logarithm. y may be x, dx may be dy. */
int nt_cuda_softmax_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x, bool log,
                            nt_cuda_channels shape);
int nt_cuda_softmax_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy, const void *y,
                             bool log, nt_cuda_channels shape);

/* loss.cu: x (n, k) of `type`; y (n, 2), target (n, k) float32; dx of `type`. */
int nt_cuda_loss_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_loss *loss, float *y,
                         const void *x, const float *target, int64_t n, int64_t k);
int nt_cuda_loss_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_loss *loss, void *dx,
                          const void *x, const float *target, const nt_cuda_pass *pass, int64_t n, int64_t k);

/* class_loss.cu */
int nt_cuda_hinge_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_margins *o, float *y,
                          const void *x, const int32_t *label, int64_t n, int64_t k);
int nt_cuda_hinge_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_margins *o, void *dx,
                           const void *x, const int32_t *label, const nt_cuda_pass *pass, int64_t n,
                           int64_t k);
int nt_cuda_kl_forward(nt_cuda_stream stream, nt_dtype type, float *y, const void *x, const float *target,
                       int64_t n, int64_t k);
int nt_cuda_kl_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const float *target,
                        const nt_cuda_pass *pass, int64_t n, int64_t k);

/* cross_entropy_full.cu */
size_t nt_cuda_positions_scratch_bytes(const nt_cuda_positions *o);
int nt_cuda_positions_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_positions *o, float *y,
                              const void *x, void *scratch, const nt_cuda_pass *pass);
int nt_cuda_positions_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_positions *o, void *dx,
                               const void *x, const nt_cuda_pass *pass);

/* broadcast.cu: y (n, 2): losses (+)= weight times those of x; the first x says who is right. */
int nt_cuda_add_loss(nt_cuda_stream stream, float *y, const float *x, double weight, bool first, int64_t n);
/* dst[i pitch + j] = row[j] for every sample i. */
int nt_cuda_put_rows(nt_cuda_stream stream, nt_dtype type, void *dst, int64_t pitch, const float *row,
                     int64_t width, int64_t samples);

/* cross_entropy.cu: a label outside 0..k-1 goes to data_error unless something is there already; the loss and
 * dx of its sample are NaN. */
int nt_cuda_cross_entropy_forward(nt_cuda_stream stream, nt_dtype type, float *y, const void *x,
                                  const int32_t *label, int *data_error, uint32_t id, int64_t n, int64_t k);
int nt_cuda_cross_entropy_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *x,
                                   const int32_t *label, const nt_cuda_pass *pass, int64_t n, int64_t k);

/* pool.cu: `planes` planes. Of max_pool, `where` (planes, P, Q) keeps which element of its window each output
 * is (none where relu cut it off): tap_bytes of nt_cuda_tap_bytes each. NULL: not wanted. */
int nt_cuda_tap_bytes(const nt_cuda_window *w);
int nt_cuda_max_pool_forward(nt_cuda_stream stream, nt_dtype type, void *y, void *where, const void *x,
                             const nt_cuda_window *w, bool relu, int64_t planes);
int nt_cuda_max_pool_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                              const void *where, const nt_cuda_window *w, int64_t planes);
int nt_cuda_avg_pool_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x,
                             const nt_cuda_window *w, int64_t planes);
int nt_cuda_avg_pool_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                              const nt_cuda_window *w, int64_t planes);

/* adaptive_pool.cu: windows by the sizes of `w` alone. */
int nt_cuda_adaptive_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x,
                             const nt_cuda_window *w, int64_t planes);
int nt_cuda_adaptive_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                              const nt_cuda_window *w, int64_t planes);

/* global_pool.cu: x (planes, s), y (planes). */
int nt_cuda_mean_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x, int64_t planes,
                         int64_t s);
int nt_cuda_mean_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy, int64_t planes,
                          int64_t s);

/* bias.cu: y = x + bias (C) over (N, C, S), then max(y, 0) if relu; y may be x. */
int nt_cuda_bias_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x, const float *bias,
                         bool relu, nt_cuda_channels shape);
/* dbias (C) (+)= sums of dy; scratch of nt_cuda_bias_scratch_bytes. */
size_t nt_cuda_bias_scratch_bytes(nt_cuda_channels shape);
int nt_cuda_bias_backward(nt_cuda_stream stream, nt_dtype type, float *dbias, const void *dy, void *scratch,
                          bool accumulate, nt_cuda_channels shape);
/* dweight (row) (+)= sums over n samples, `pitch` apart, of the first `row` values; scratch as for (n, row,
 * 1). */
int nt_cuda_pitched_backward(nt_cuda_stream stream, nt_dtype type, float *dweight, const void *dy,
                             int64_t pitch, void *scratch, bool accumulate, int64_t n, int64_t row);

/* multiply.cu: out = in factor; out = a gate[i / s] over (n_gates, s) (out may be a; also gate if s is 1);
 * out (rows) = sums of a b over rows of s. */
int nt_cuda_times(nt_cuda_stream stream, nt_dtype type, void *out, const void *in, double factor, int64_t n);
int nt_cuda_multiply_gates(nt_cuda_stream stream, nt_dtype type, void *out, const void *a, const void *gate,
                           int64_t n_gates, int64_t s);
int nt_cuda_dot_rows(nt_cuda_stream stream, nt_dtype type, void *out, const void *a, const void *b,
                     int64_t rows, int64_t s);

/* channel_map.cu: out = factor (C) in + shift (C), shift may be NULL; prelu: out = in where x > 0, else slope
 * in, out may be in; shape.c slopes. */
int nt_cuda_scale_channels(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                           const float *factor, const float *shift, nt_cuda_channels shape);
int nt_cuda_prelu_apply(nt_cuda_stream stream, nt_dtype type, void *out, const void *in, const void *x,
                        const float *slope, nt_cuda_channels shape);
/* dslope (+)=; scratch of nt_cuda_bias_scratch_bytes. */
int nt_cuda_prelu_slopes(nt_cuda_stream stream, nt_dtype type, float *dslope, const void *dy, const void *x,
                         void *scratch, bool accumulate, nt_cuda_channels shape);

/* permute.cu: y, whose dimensions have these sizes, from x, in which its indices have these strides. */
int nt_cuda_permute_dims(nt_cuda_stream stream, nt_dtype type, void *y, const void *x, int n_dims,
                         const int64_t *size, const int64_t *stride);

/* row_norm.cu: layer_norm and group_norm. y may be x in inference, dx may be dy (weights first). */
size_t nt_cuda_rows_saved_bytes(const nt_cuda_rows *v);
size_t nt_cuda_rows_scratch_bytes(const nt_cuda_rows *v); /* of nt_cuda_rows_weights */
int nt_cuda_rows_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_rows *v, void *y, const void *x);
int nt_cuda_rows_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_rows *v, void *dx,
                          const void *dy, const void *x);
int nt_cuda_rows_weights(nt_cuda_stream stream, nt_dtype type, const nt_cuda_rows *v, float *dweight,
                         float *dbias, const void *dy, const void *x, void *scratch, bool accumulate);

/* local_response.cu: saved, float32, one per element; NULL in inference. */
int nt_cuda_response_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_response *o, void *y,
                             float *saved, const void *x, nt_cuda_channels shape);
int nt_cuda_response_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_response *o, void *dx,
                              const void *dy, const void *x, const float *saved, nt_cuda_channels shape);

/* embedding.cu: y (n, e) = rows of weight (vocabulary, e); a token outside the vocabulary is reported and its
 * row is NaN. dweight (+)=; scratch of nt_cuda_embedding_scratch_bytes. */
int nt_cuda_embedding_forward(nt_cuda_stream stream, nt_dtype type, void *y, const float *weight,
                              const int32_t *token, int *data_error, uint32_t id, int64_t vocabulary,
                              int64_t e, int64_t n);
size_t nt_cuda_embedding_scratch_bytes(int64_t vocabulary, int64_t n);
int nt_cuda_embedding_backward(nt_cuda_stream stream, nt_dtype type, float *dweight, const void *dy,
                               const int32_t *token, void *scratch, bool accumulate, int64_t vocabulary,
                               int64_t e, int64_t n);

/* attention.cu: rows of t scores to probabilities of `type`, and their gradients back. */
int nt_cuda_attention_rows(nt_cuda_stream stream, nt_dtype type, void *p, const float *score, bool causal,
                           int64_t t, int64_t rows);
int nt_cuda_attention_rows_backward(nt_cuda_stream stream, nt_dtype type, void *ds, const float *dp,
                                    const void *p, bool causal, int64_t t, int64_t rows);

/* batchnorm.cu, as core/layers/batchnorm.h defines it. y may be x in inference, dx may be dy. dx NULL: not
 * wanted. */
size_t nt_cuda_norm_saved_bytes(nt_cuda_channels shape);
size_t nt_cuda_norm_scratch_bytes(nt_cuda_channels shape);
int nt_cuda_norm_forward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm, void *y,
                         const void *x, bool training);
/* dparam: the four gradient slots in the order of NT_BN_WEIGHT; host array. */
int nt_cuda_norm_backward(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm, void *dx,
                          const void *dy, const void *x, float *const *dparam, const nt_cuda_pass *pass,
                          bool accumulate);
/* The same in two halves, between which the sums, which the first half leaves, become those of all parts of
 * the batch: nt_batchnorm_forward_sums of them in forward, nt_batchnorm_backward_sums in backward; device
 * memory.
 */
double *nt_cuda_norm_sums(const nt_cuda_norm *norm);
int nt_cuda_norm_forward_part(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm, const void *x);
int nt_cuda_norm_forward_joined(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm, void *y,
                                const void *x);
int nt_cuda_norm_backward_part(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm, const void *dy,
                               const void *x, float *const *dparam, const nt_cuda_pass *pass,
                               bool accumulate);
int nt_cuda_norm_backward_joined(nt_cuda_stream stream, nt_dtype type, const nt_cuda_norm *norm, void *dx,
                                 const void *dy, const void *x);

/* conv.cu: between tensors (N, C, S) and the matrices of a convolution, whose columns are the positions of n
 * samples: col (C R S, pitch), wide (C, pitch), pitch >= n P Q and a multiple of NT_CUDA_PITCH. */
int nt_cuda_im2col(nt_cuda_stream stream, nt_dtype type, void *col, const void *x, const nt_cuda_window *w,
                   int64_t n, int64_t c, int64_t pitch);
/* dx (n, c, H, W) = what the taps of col, float32, say of each element. */
int nt_cuda_col2im(nt_cuda_stream stream, nt_dtype type, void *dx, const float *col, const nt_cuda_window *w,
                   int64_t n, int64_t c, int64_t pitch);
int nt_cuda_to_wide(nt_cuda_stream stream, nt_dtype type, void *wide, const void *x, nt_cuda_channels shape,
                    int64_t pitch);
/* Adds bias (C) unless NULL. */
int nt_cuda_from_wide(nt_cuda_stream stream, nt_dtype type, void *x, const void *wide, const float *bias,
                      nt_cuda_channels shape, int64_t pitch);

/* depthwise.cu: x (n, c, H, W), weight (c m, R, S), y (n, c m, P, Q). bias may be NULL. */
int nt_cuda_depthwise_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x,
                              const float *weight, const float *bias, const nt_cuda_window *w, int64_t n,
                              int64_t c, int64_t m);
int nt_cuda_depthwise_backward_x(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                                 const float *weight, const nt_cuda_window *w, int64_t n, int64_t c,
                                 int64_t m);
size_t nt_cuda_depthwise_scratch_bytes(const nt_cuda_window *w, int64_t n, int64_t filters);
int nt_cuda_depthwise_backward_weight(nt_cuda_stream stream, nt_dtype type, float *dweight, const void *dy,
                                      const void *x, void *scratch, bool accumulate, const nt_cuda_window *w,
                                      int64_t n, int64_t c, int64_t m);

/* update.cu: one optimizer step over ranges (host array) of p and of all arrays beside it; where u->ratio is
 * given that of a range is u->ratio[other]. velocity NULL: no momentum. */
int nt_cuda_update_sgd(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                       float *velocity, const nt_stretch *ranges, int n);
int nt_cuda_update_adam(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                        float *first, float *second, const nt_stretch *ranges, int n);
/* Names as in core/optim.h; mean, buffer NULL: not centered, no momentum. direction may be g, p may be g. */
int nt_cuda_update_rmsprop(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                           float *square, float *mean, float *buffer, const nt_stretch *ranges, int n);
int nt_cuda_update_adagrad(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                           float *sum, const nt_stretch *ranges, int n);
int nt_cuda_update_lion(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                        float *first, const nt_stretch *ranges, int n);
int nt_cuda_update_lars(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                        float *velocity, const nt_stretch *ranges, int n);
int nt_cuda_update_lamb(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                        float *first, float *second, float *direction, const nt_stretch *ranges, int n);
int nt_cuda_update_step(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                        const nt_stretch *ranges, int n);
int nt_cuda_update_limit(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                         const nt_stretch *ranges, int n);
int nt_cuda_update_average(nt_cuda_stream stream, const nt_cuda_update *u, float *p, const float *g,
                           const nt_stretch *ranges, int n);
/* The running statistics; a, b: the batch's slots. A range begins at `other` in var and b. */
int nt_cuda_update_stat(nt_cuda_stream stream, const nt_cuda_update *u, float *mean, const float *a,
                        float *var, const float *b, const nt_stretch *ranges, int n);

/* reduce.cu: sums of a step, double, in device memory. */
/* totals[other] += squares of each range (host array) of x, an `other` occurring once; partial:
 * NT_CUDA_PARTIAL_SUMS doubles that only this launcher writes; `block` = NT_SUM_BLOCK. */
int nt_cuda_sum_squares(nt_cuda_stream stream, double *totals, double *partial, const float *x,
                        const nt_stretch *ranges, int n, int64_t block);
/* report: {loss, loss_squared, correct, sum_squares, scale} of core/backend.h; y (n, 2). */
int nt_cuda_add_losses(nt_cuda_stream stream, double *report, const float *y, int64_t n);
int nt_cuda_judge(nt_cuda_stream stream, double *report, double *squares, int n, int n_others, double clip);
int nt_cuda_ratios(nt_cuda_stream stream, double *pairs, const double *decay, const double *scale,
                   double coefficient, int n);

#ifdef __cplusplus
}
#endif

#endif
