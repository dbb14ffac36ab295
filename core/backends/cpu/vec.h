/* Vector loops: what the cpu backend does itself, once per instruction set.
 *
 * vec_body.h holds plain C loops; vec_base.c, vec_avx2.c and vec_avx512.c compile it for their instruction
 * set, and the best table that the machine can run is taken at start-up. So one binary runs on every x86-64,
 * and other processors get the base table. No loop depends on the width in its result: elementwise ones have
 * no contraction (-ffp-contract=off), sums have a fixed number of partial sums. y may be the same as x. */
#ifndef NT_CORE_BACKENDS_CPU_VEC_H
#define NT_CORE_BACKENDS_CPU_VEC_H

#include "core/optim.h"

#include <stdint.h>

/* Channels that the loops of batchnorm and pooling take at a time: a block of nChw16c. */
#define NT_LANES 16

/* What a strip of up to NT_LANES channels is normalised with: y = (x - mean) factor + bias. */
typedef struct nt_vec_norm {
    int lanes;      /* channels in use */
    int64_t stride; /* elements from one row to the next */
    bool relu;      /* y = max(y, 0), and min(y, top) */
    float top;
    float mean[NT_LANES], factor[NT_LANES], bias[NT_LANES];
    /* Backward: dx = factor dz - (x - mean) slope - offset, dz = dy where 0 < y < top (with relu). */
    float slope[NT_LANES], offset[NT_LANES];
} nt_vec_norm;

/* A window over a plane (height, width) of up to NT_LANES channels. */
typedef struct nt_vec_window {
    int lanes;     /* channels in use */
    bool relu;     /* max_pool: y = max(y, 0) */
    bool counts;   /* avg_pool: divides by the taps in x and its padding, not only by those in x */
    bool covers;   /* windows cover every element of x exactly once: backward assigns, else it adds */
    int64_t pixel; /* elements from one position to the next, of x and y */
    int64_t size[2], out[2], kernel[2], stride[2], pad[2], pad_end[2]; /* of x, of y; pad: before */
} nt_vec_window;

/* Of a row. */
typedef struct nt_vec_moments {
    float mean, inv_std;
} nt_vec_moments;

/* A dropout mask: kept elements are `scale`, the others 0; core/layers/dropout.h. */
typedef struct nt_vec_mask {
    uint64_t seed;
    uint32_t id, sample, epoch, threshold;
    float scale;
} nt_vec_mask;

typedef struct nt_vec_ops {
    const char *name;
    void (*add)(float *y, const float *a, const float *b, int64_t n);              /* y = a + b */
    void (*add_relu)(float *y, const float *a, const float *b, int64_t n);         /* y = max(a + b, 0) */
    void (*mul)(float *y, const float *a, const float *b, int64_t n);              /* y = a b */
    void (*scale)(float *y, const float *x, float factor, int64_t n);              /* y = factor x */
    void (*affine)(float *y, const float *x, float scale, float shift, int64_t n); /* y = x scale + shift */
    void (*affine_u8)(float *y, const uint8_t *x, float scale, float shift, int64_t n);
    void (*relu)(float *y, const float *x, int64_t n);
    void (*relu_backward)(float *dx, const float *dy, const float *y, int64_t n); /* y > 0 ? dy : 0 */
    void (*leaky)(float *y, const float *x, float slope, int64_t n);
    void (*leaky_backward)(float *dx, const float *dy, const float *x, float slope, int64_t n);
    void (*threshold)(float *y, const float *x, int64_t n); /* x >= 0 ? 1 : 0 */
    void (*logistic)(float *y, const float *x, float beta, int64_t n);
    void (*logistic_backward)(float *dx, const float *dy, const float *y, float beta, int64_t n);
    void (*tanh)(float *y, const float *x, int64_t n);
    void (*tanh_backward)(float *dx, const float *dy, const float *y, int64_t n);
    void (*elu)(float *y, const float *x, float alpha, int64_t n);
    void (*elu_backward)(float *dx, const float *dy, const float *y, float alpha, int64_t n);
    void (*gelu)(float *y, const float *x, int64_t n);
    void (*gelu_backward)(float *dx, const float *dy, const float *x, int64_t n);
    void (*silu)(float *y, const float *x, int64_t n);
    void (*silu_backward)(float *dx, const float *dy, const float *x, int64_t n);
    void (*relu6)(float *y, const float *x, int64_t n);
    void (*relu6_backward)(float *dx, const float *dy, const float *y, int64_t n);
    void (*hardsigmoid)(float *y, const float *x, int64_t n);
    void (*hardsigmoid_backward)(float *dx, const float *dy, const float *y, int64_t n);
    void (*hardswish)(float *y, const float *x, int64_t n);
    void (*hardswish_backward)(float *dx, const float *dy, const float *x, int64_t n);
    void (*mish)(float *y, const float *x, int64_t n);
    void (*mish_backward)(float *dx, const float *dy, const float *x, int64_t n);
    void (*gelu_tanh)(float *y, const float *x, int64_t n);
    void (*gelu_tanh_backward)(float *dx, const float *dy, const float *x, int64_t n);
    void (*exp_shifted)(float *y, const float *x, float shift, int64_t n); /* y = exp(x - shift) */
    void (*accumulate)(double *sum, const float *x, int64_t n);            /* sum += x */
    float (*largest)(const float *x, int64_t n); /* of n >= 1; NaN if the first is, others are passed over */
    double (*sum)(const float *x, int64_t n);
    /* Rows: y = exp(x) / sum exp(x), y may be x; dx = y (dx - sum of dx y). A NaN makes all of y NaN. */
    void (*softmax)(float *y, const float *x, int64_t n);
    void (*softmax_backward)(float *dx, const float *y, int64_t n);
    /* layer_norm of one row; weight and bias NULL: 1 and 0. columns: adds this row's part of the gradients of
     * weight and bias. */
    void (*row_moments)(nt_vec_moments *h, const float *x, double eps, int64_t n);
    void (*row_norm)(float *y, const nt_vec_moments *h, const float *x, const float *weight,
                     const float *bias, int64_t n);
    void (*row_norm_backward)(float *dx, const nt_vec_moments *h, const float *dy, const float *x,
                              const float *weight, int64_t n);
    void (*row_norm_columns)(double *dweight, double *dbias, const nt_vec_moments *h, const float *dy,
                             const float *x, int64_t n);
    void (*dropout_mask)(float *mask, const nt_vec_mask *m, int64_t n);
    double (*sum_squares)(const float *x, int64_t n);
    /* Batch normalisation of up to 16 channels side by side. sum: of d and d^2, d = x - mean; backward
     * of dz and dz d. */
    void (*norm_sums)(float sum[2][NT_LANES], const nt_vec_norm *h, const float *x, int64_t rows);
    void (*norm_apply)(float *y, const nt_vec_norm *h, const float *x, int64_t rows);
    void (*norm_backward_sums)(float sum[2][NT_LANES], const nt_vec_norm *h, const float *dy, const float *x,
                               int64_t rows);
    void (*norm_backward)(float *dx, const nt_vec_norm *h, const float *dy, const float *x, int64_t rows);
    /* Pooling of a plane. tap: which element of its window y is. */
    void (*max_pool)(const nt_vec_window *w, float *y, int32_t *tap, const float *x);
    void (*max_pool_backward)(const nt_vec_window *w, float *dx, const float *dy, const int32_t *tap);
    void (*avg_pool)(const nt_vec_window *w, float *y, const float *x);
    void (*avg_pool_backward)(const nt_vec_window *w, float *dx, const float *dy);
    /* Adds to dw (kernel, NT_LANES) what a plane of NT_LANES channels, one filter each, gives to it. */
    void (*depthwise_weights)(const nt_vec_window *w, float *dw, const float *dy, const float *x);
    void (*sgd)(const nt_update *u, float *p, const float *g, float *velocity, int64_t n);
    void (*adam)(const nt_update *u, float *p, const float *g, float *m, float *v, int64_t n);
    void (*rmsprop)(const nt_update *u, float *p, const float *g, float *square, float *mean, float *buffer,
                    int64_t n); /* mean NULL: not centered; buffer NULL: no momentum */
    void (*adagrad)(const nt_update *u, float *p, const float *g, float *sum, int64_t n);
    void (*lion)(const nt_update *u, float *p, const float *g, float *m, int64_t n);
    void (*lars)(const nt_update *u, float *p, const float *g, float *velocity, int64_t n);
    void (*lamb)(const nt_update *u, const float *p, const float *g, float *m, float *v, float *direction,
                 int64_t n); /* direction may be g */
    void (*step)(const nt_update *u, float *p, const float *g, int64_t n);
    void (*limit)(const nt_update *u, float *p, const float *g, int64_t n); /* p may be g */
    void (*average)(const nt_update *u, float *p, const float *g, int64_t n);
    void (*stat)(const nt_update *u, float *mean, const float *a, float *var, const float *b, int64_t n);
} nt_vec_ops;

extern const nt_vec_ops nt_vec_base;
#if defined(__x86_64__)
extern const nt_vec_ops nt_vec_avx2, nt_vec_avx512;
#endif

/* All tables that this machine can run (isa.h), the best one first; NULL after the last. */
const nt_vec_ops *const *nt_vec_tables(void);

#endif
