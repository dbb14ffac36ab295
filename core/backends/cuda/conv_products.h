/* The matrix products of conv2d and conv_transpose2d, which are the same with input and output exchanged. An
 * `image` (N, C, H, W) is what the kernel slides over, a `map` (N, K, P, Q) has one value per place of the
 * kernel: of a conv2d these are x and y, of a conv_transpose2d y and x. weight (K, D, R, S), D = C / G.
 *
 * The columns of the matrices are the places of a piece of the batch, so few large products are made of it;
 * the piece is as large as nt_cuda.piece_bytes allows. Pieces that stay in the L2 cache would be read back
 * faster, but their products are too small to fill a device: 64 MiB is a compromise that nobody has measured
 * yet. For a piece (L = n P Q columns, rounded up):
 *
 *   col (D R S, L)       what each tap sees at each place (im2col)
 *   wide (K, L)          the map with samples and channels exchanged
 *   wide = weight col    a convolution
 *   weight^T wide        its transpose: in the place of col, float32, then folded onto the image (col2im)
 *   wide col^T           the gradient of the weight
 *
 * All groups are one batched product. An implicit product, which gathers while it multiplies, would save
 * writing col, two thirds of the traffic; cuBLAS has none and one of our own could not be tuned unseen. */
#ifndef NT_CORE_BACKENDS_CUDA_CONV_PRODUCTS_H
#define NT_CORE_BACKENDS_CUDA_CONV_PRODUCTS_H

#include "core/backends/cuda/ops.h"

typedef struct nt_cuda_conv {
    nt_cuda_window window; /* over the image, to the map */
    nt_dtype type;         /* of both */
    int64_t n, c, k, groups;
    int64_t taps;           /* D R S: rows of col in a group */
    int64_t s_image, s_map; /* positions of a plane */
    int64_t piece;          /* samples of a piece */
    /* Scratch: weights in `type` if that is not float32, at 0; then col, wide, and what the op needs besides.
     */
    size_t col_at, wide_at, sums_at;
} nt_cuda_conv;

/* Sets piece and the places in scratch for col of elements of col_elem bytes. */
void nt_cuda_conv_lay_out(const nt_op *op, nt_cuda_conv *v, size_t col_elem);

/* For create(), when it is laid out: readies cuBLAS for its products. */
NT_MUST nt_status nt_cuda_conv_open(const nt_op *op, const nt_cuda_conv *v);

static inline void *nt_cuda_conv_scratch(const nt_op *op, size_t at)
{
    return (char *)op->scratch + at;
}

/* Columns of the matrices of n samples. */
int64_t nt_cuda_conv_pitch(const nt_cuda_conv *v, int64_t n);

/* Samples of the piece that begins with `first`. */
int64_t nt_cuda_conv_count(const nt_cuda_conv *v, int64_t first);

/* Sample n of a tensor. */
void *nt_cuda_conv_sample(const nt_tensor *t, int64_t n);

/* param[0] in v->type. */
NT_MUST nt_status nt_cuda_conv_fetch_weight(const nt_op *op, const nt_cuda_conv *v, const void **out);

/* Each of n samples; `image` and `map` point to the first. */
NT_MUST nt_status nt_cuda_conv_make_col(const nt_op *op, const nt_cuda_conv *v, const void *image, int64_t n);
NT_MUST nt_status nt_cuda_conv_make_wide(const nt_op *op, const nt_cuda_conv *v, const void *map, int64_t n);
/* wide = weight col, and from there to the map, with bias (K) unless NULL. */
NT_MUST nt_status nt_cuda_conv_apply(const nt_op *op, const nt_cuda_conv *v, const void *weight,
                                     const float *bias, void *map, int64_t n);
/* weight^T wide over col, folded onto the image. */
NT_MUST nt_status nt_cuda_conv_fold(const nt_op *op, const nt_cuda_conv *v, const void *weight, void *image,
                                    int64_t n);
/* dparam[0] (+)= wide col^T. */
NT_MUST nt_status nt_cuda_conv_weight(const nt_op *op, const nt_cuda_conv *v, int64_t n, bool accumulate);

#endif
