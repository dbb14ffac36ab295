/* Fully connected layers on weights that stay packed for good: our own kernels for AVX-512.
 *
 * x (m, k), y (m, n), row-major and dense. Weights lie in panels of 64 outputs: element (j, u) of panel p is
 * the weight from input j to output 64 p + u, at (p * k' + j) * 64 + u, with k' = k rounded up to 16. That is
 * oneDNN's AB16b64a. Missing outputs and inputs are zero in memory and stay so.
 *
 * oneDNN's inner product on the same layout was the alternative. Medians of 101 at m 64, one thread, busy
 * Cascade Lake, us: weights' gradient 784x512 949 against 665, 512x512 541 against 422; data gradient 512x512
 * 501 against 391; forward 784x512 424 against 400. */
#ifndef NT_CORE_BACKENDS_CPU_FC_H
#define NT_CORE_BACKENDS_CPU_FC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NT_FC_PANEL 64

typedef struct nt_fc_shape {
    int64_t m, k, n;
} nt_fc_shape;

/* Whether this machine has what the functions below need; they must not be called otherwise. */
bool nt_fc_supported(void);

/* Bytes of scratch, 64-byte aligned, enough for each of the passes. */
size_t nt_fc_scratch_bytes(const nt_fc_shape *s);

/* y = x W + bias (NULL: none), then max(y, 0) if `relu`; a NaN stays NaN. */
void nt_fc_forward(const nt_fc_shape *s, float *y, const float *x, const float *w, const float *bias,
                   bool relu, void *scratch, int threads);

/* dx = dz W^T, where dz is dy, or with y given dy where y > 0. */
void nt_fc_backward_data(const nt_fc_shape *s, float *dx, const float *dy, const float *y, const float *w,
                         void *scratch, int threads);

/* dw = (or += if `accumulate`) x^T dz; the same for dbias (n), unless NULL. */
void nt_fc_backward_weights(const nt_fc_shape *s, float *dw, float *dbias, const float *x, const float *dy,
                            const float *y, bool accumulate, void *scratch, int threads);

/* A step of SGD, as NT_UPDATE_SGD in core/optim.h: the same bits as the gradient followed by the update. */
typedef struct nt_fc_sgd {
    float *p, *velocity; /* packed; velocity is needed */
    float lr, momentum, weight_decay, grad_scale;
    bool nesterov;
} nt_fc_sgd;

/* Whether the weights' gradient is made in one go, and so can be used up in it. */
bool nt_fc_can_sgd(const nt_fc_shape *s);

/* Takes the step with the gradient of the weights, which is never stored, and adds the sum of its squares to
 * *squares. dbias is written. */
void nt_fc_backward_weights_sgd(const nt_fc_shape *s, const nt_fc_sgd *sgd, double *squares, float *dbias,
                                const float *x, const float *dy, const float *y, void *scratch, int threads);

#endif
