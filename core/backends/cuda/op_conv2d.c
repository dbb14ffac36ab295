/* conv2d as matrix products: what each tap sees at each position is written out (im2col) and multiplied by
 * the weights, all groups in one batched product.
 *
 * The columns of these matrices are the positions of a piece of the batch, so few large products are made of
 * it; the piece is as large as nt_cuda.piece_bytes allows. Pieces that stay in the L2 cache would be read
 * back faster, but their products are too small to fill a device: 64 MiB is a compromise that nobody has
 * measured yet. For a piece (pitch: columns, rounded up; D = C / G; L = n P Q):
 *
 *   wide y (K, L)        = weight (K, D R S) col (D R S, L), then samples and channels change places
 *   dweight (K, D R S)   = wide dy (K, L) col^T, summed over the pieces
 *   dcol (D R S, L)      = weight^T wide dy, float32, then folded onto dx (col2im)
 *
 * A 1x1 convolution of stride 1 without groups needs no col: its x is one, sample by sample, where rows of
 * positions are whole sixteen bytes; only dweight, which sums over samples, takes the wide way. A depthwise
 * one has kernels of its own (depthwise.cu). An implicit product, which gathers while it multiplies, would
 * save writing col, two thirds of the traffic; cuBLAS has none and one of our own could not be tuned unseen.
 */
#include "core/backends/cuda/blas.h"
#include "core/backends/cuda/ops.h"

#include "core/layers/conv2d.h"

#include <stdlib.h>

typedef enum route { WIDE, POINTWISE, DEPTHWISE } route;

/* x (N, C, H, W), weight (K, D, R, S), y (N, K, P, Q) */
typedef struct conv {
    route route;
    nt_cuda_window window;
    int64_t n, c, k, groups;
    int64_t taps;     /* D R S: rows of col in a group */
    int64_t s_x, s_y; /* positions of a plane of x, of y */
    int64_t piece;    /* samples of a piece */
    /* Scratch: weights in the type of x if that is not float32; col or dcol; wide x or y; partial sums. */
    size_t col_at, wide_at, sums_at;
} conv;

/* --- making --- */

static nt_cuda_window window_of(const nt_op *op)
{
    const nt_conv2d_options *o = op->options;
    nt_cuda_window w = {0};
    for (int a = 0; a < 2; a++) {
        w.in[a] = op->x[0].shape.dim[2 + a];
        w.out[a] = op->y.shape.dim[2 + a];
        w.kernel[a] = o->kernel[a];
        w.stride[a] = o->stride[a];
        w.dilation[a] = o->dilation[a];
        w.pad[a] = o->pad_begin[a];
    }
    return w;
}

static bool is_pointwise(const nt_op *op, const conv *v)
{
    const nt_cuda_window *w = &v->window;
    for (int a = 0; a < 2; a++)
        if (w->kernel[a] != 1 || w->stride[a] != 1 || w->pad[a] != 0 || w->in[a] != w->out[a]) return false;
    return v->groups == 1 && (size_t)v->s_x * nt_dtype_bytes(op->x[0].dtype) % 16 == 0;
}

static conv conv_of(const nt_op *op)
{
    const nt_conv2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim, *f = op->param[0].shape.dim;
    conv v = {.window = window_of(op),
              .n = x[0],
              .c = x[1],
              .k = f[0],
              .groups = o->groups,
              .taps = f[1] * f[2] * f[3]};
    v.s_x = v.window.in[0] * v.window.in[1];
    v.s_y = v.window.out[0] * v.window.out[1];
    v.route = is_pointwise(op, &v) ? POINTWISE : f[1] == 1 && o->groups == v.c ? DEPTHWISE : WIDE;
    return v;
}

/* Rows of col, or of the wide x that stands for it. */
static int64_t col_rows(const conv *v)
{
    return v->taps * v->groups;
}

static int64_t pitch_of(const conv *v, int64_t n)
{
    return (n * v->s_y + NT_CUDA_PITCH - 1) / NT_CUDA_PITCH * NT_CUDA_PITCH;
}

/* Whether any pass of the op uses col and wide. */
static bool has_pieces(const nt_op *op, const conv *v)
{
    return v->route == WIDE || (v->route == POINTWISE && op->training);
}

/* An element of col: dcol, in the same place, is float32. */
static size_t col_elem_bytes(const nt_op *op, const conv *v)
{
    return op->training && v->route == WIDE ? sizeof(float) : nt_dtype_bytes(op->x[0].dtype);
}

/* As many samples as fit, in pieces of nearly equal size. */
static void choose_piece(const nt_op *op, conv *v)
{
    const size_t column =
        (size_t)col_rows(v) * col_elem_bytes(op, v) + (size_t)v->k * nt_dtype_bytes(op->x[0].dtype);
    const size_t fits = nt_cuda_of(op)->piece_bytes / column / (size_t)v->s_y;
    const int64_t most = fits < 1 ? 1 : fits > (size_t)v->n ? v->n : (int64_t)fits;
    const int64_t pieces = (v->n + most - 1) / most;
    v->piece = (v->n + pieces - 1) / pieces;
}

static size_t sums_bytes(const nt_op *op, const conv *v)
{
    size_t bias = 0, weights = 0;
    if (!op->training) return 0;
    if (op->n_params > 1) bias = nt_cuda_bias_scratch_bytes((nt_cuda_channels){v->n, v->k, v->s_y});
    if (v->route == DEPTHWISE) weights = nt_cuda_depthwise_scratch_bytes(&v->window, v->n, v->k);
    return bias > weights ? bias : weights;
}

static void lay_out_scratch(nt_op *op, conv *v)
{
    const size_t elem = nt_dtype_bytes(op->x[0].dtype);
    const bool casts = op->x[0].dtype != NT_F32 && v->route != DEPTHWISE;
    size_t at = casts ? nt_cuda_round((size_t)(v->k * v->taps) * elem) : 0;
    v->col_at = v->wide_at = v->sums_at = at;
    if (has_pieces(op, v)) {
        const size_t pitch = (size_t)pitch_of(v, v->piece);
        v->wide_at = at + nt_cuda_round((size_t)col_rows(v) * pitch * col_elem_bytes(op, v));
        v->sums_at = v->wide_at + nt_cuda_round((size_t)v->k * pitch * elem);
    }
    op->scratch_bytes = v->sums_at + sums_bytes(op, v);
}

static nt_status conv2d_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    conv *v = calloc(1, sizeof *v);
    NT_CHECK_ALLOC(v, sizeof *v);
    op->state = v;
    *v = conv_of(op);
    NT_TRY(nt_cuda_check_planes(op, &v->window));
    if (v->route != DEPTHWISE) NT_TRY(nt_cuda_blas_open(op->backend));
    choose_piece(op, v);
    lay_out_scratch(op, v);
    op->flags = NT_OP_KEEPS_X;
    return NT_OK;
}

static void conv2d_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

/* --- parts --- */

static void *col_of(const nt_op *op)
{
    return (char *)op->scratch + ((const conv *)op->state)->col_at;
}

static void *wide_of(const nt_op *op)
{
    return (char *)op->scratch + ((const conv *)op->state)->wide_at;
}

static void *sums_of(const nt_op *op)
{
    return (char *)op->scratch + ((const conv *)op->state)->sums_at;
}

/* Sample n of a tensor. */
static void *sample_of(const nt_tensor *t, int64_t n)
{
    return (char *)t->data + (size_t)n * (t->n_bytes / (size_t)t->shape.dim[0]);
}

/* The weights in the type of x. */
static nt_status fetch_weight(const nt_op *op, const void **out)
{
    *out = op->param[0].data;
    if (op->x[0].dtype == NT_F32) return NT_OK;
    NT_CUDA_RUN(op, "cast of weights",
                nt_cuda_cast(nt_cuda_of(op)->compute, op->x[0].dtype, op->scratch, NT_F32, op->param[0].data,
                             nt_shape_elems(op->param[0].shape)));
    *out = op->scratch;
    return NT_OK;
}

/* col of samples [first, first + n); of a pointwise convolution x itself, only wide. */
static nt_status make_col(const nt_op *op, int64_t first, int64_t n)
{
    const conv *v = op->state;
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    const void *x = sample_of(&op->x[0], first);
    if (v->route == POINTWISE)
        NT_CUDA_RUN(op, "conv2d: wide x",
                    nt_cuda_to_wide(stream, op->x[0].dtype, col_of(op), x,
                                    (nt_cuda_channels){n, v->c, v->s_x}, pitch_of(v, n)));
    else
        NT_CUDA_RUN(
            op, "conv2d: im2col",
            nt_cuda_im2col(stream, op->x[0].dtype, col_of(op), x, &v->window, n, v->c, pitch_of(v, n)));
    return NT_OK;
}

/* --- forward --- */

/* A piece: wide y = weight col for every group. */
static nt_status multiply(const nt_op *op, const void *weight, int64_t n)
{
    const conv *v = op->state;
    const int64_t filters = v->k / v->groups, pitch = pitch_of(v, n);
    return nt_cuda_gemm(op, &(nt_cuda_gemm_args){.m = filters,
                                                 .n = n * v->s_y,
                                                 .k = v->taps,
                                                 .a = weight,
                                                 .b = col_of(op),
                                                 .c = wide_of(op),
                                                 .lda = v->taps,
                                                 .ldb = pitch,
                                                 .ldc = pitch,
                                                 .stride_a = filters * v->taps,
                                                 .stride_b = v->taps * pitch,
                                                 .stride_c = filters * pitch,
                                                 .in = op->x[0].dtype,
                                                 .out = op->y.dtype,
                                                 .alpha = 1,
                                                 .batch = v->groups});
}

static nt_status forward_piece(const nt_op *op, const void *weight, int64_t first, int64_t n)
{
    const conv *v = op->state;
    NT_TRY(make_col(op, first, n));
    NT_TRY(multiply(op, weight, n));
    NT_CUDA_RUN(op, "conv2d: y",
                nt_cuda_from_wide(nt_cuda_of(op)->compute, op->y.dtype, sample_of(&op->y, first), wide_of(op),
                                  op->n_params > 1 ? op->param[1].data : NULL,
                                  (nt_cuda_channels){n, v->k, v->s_y}, pitch_of(v, n)));
    return NT_OK;
}

/* y (K, S) = weight (K, C) x (C, S), sample by sample. */
static nt_status forward_pointwise(const nt_op *op, const void *weight)
{
    const conv *v = op->state;
    NT_TRY(nt_cuda_gemm(op, &(nt_cuda_gemm_args){.m = v->k,
                                                 .n = v->s_x,
                                                 .k = v->c,
                                                 .a = weight,
                                                 .b = op->x[0].data,
                                                 .c = op->y.data,
                                                 .lda = v->c,
                                                 .ldb = v->s_x,
                                                 .ldc = v->s_x,
                                                 .stride_b = v->c * v->s_x,
                                                 .stride_c = v->k * v->s_x,
                                                 .in = op->x[0].dtype,
                                                 .out = op->y.dtype,
                                                 .alpha = 1,
                                                 .batch = v->n}));
    if (op->n_params > 1)
        NT_CUDA_RUN(op, "bias",
                    nt_cuda_bias_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->param[1].data,
                                         false, nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

static nt_status forward_depthwise(const nt_op *op)
{
    const conv *v = op->state;
    NT_CUDA_RUN(op, "depthwise",
                nt_cuda_depthwise_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data,
                                          op->param[0].data, op->n_params > 1 ? op->param[1].data : NULL,
                                          &v->window, v->n, v->c, v->k / v->c));
    return NT_OK;
}

static nt_status conv2d_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const conv *v = op->state;
    const void *weight;
    if (v->route == DEPTHWISE) return forward_depthwise(op);
    NT_TRY(fetch_weight(op, &weight));
    if (v->route == POINTWISE) return forward_pointwise(op, weight);
    for (int64_t first = 0; first < v->n; first += v->piece)
        NT_TRY(forward_piece(op, weight, first, v->n - first < v->piece ? v->n - first : v->piece));
    return NT_OK;
}

/* --- backward --- */

/* A piece: dweight (+)= wide dy col^T for every group. */
static nt_status backward_weight(const nt_op *op, int64_t n, bool accumulate)
{
    const conv *v = op->state;
    const int64_t filters = v->k / v->groups, pitch = pitch_of(v, n);
    return nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_b = true,
                                                 .m = filters,
                                                 .n = v->taps,
                                                 .k = n * v->s_y,
                                                 .a = wide_of(op),
                                                 .b = col_of(op),
                                                 .c = op->dparam[0].data,
                                                 .lda = pitch,
                                                 .ldb = pitch,
                                                 .ldc = v->taps,
                                                 .stride_a = filters * pitch,
                                                 .stride_b = v->taps * pitch,
                                                 .stride_c = filters * v->taps,
                                                 .in = op->x[0].dtype,
                                                 .out = NT_F32,
                                                 .alpha = 1,
                                                 .beta = accumulate ? 1 : 0,
                                                 .batch = v->groups});
}

/* A piece: dcol = weight^T wide dy in the place of col, folded onto dx. */
static nt_status backward_x(nt_op *op, const void *weight, int64_t first, int64_t n)
{
    const conv *v = op->state;
    const int64_t filters = v->k / v->groups, pitch = pitch_of(v, n);
    NT_TRY(nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_a = true,
                                                 .m = v->taps,
                                                 .n = n * v->s_y,
                                                 .k = filters,
                                                 .a = weight,
                                                 .b = wide_of(op),
                                                 .c = col_of(op),
                                                 .lda = v->taps,
                                                 .ldb = pitch,
                                                 .ldc = pitch,
                                                 .stride_a = filters * v->taps,
                                                 .stride_b = filters * pitch,
                                                 .stride_c = v->taps * pitch,
                                                 .in = op->x[0].dtype,
                                                 .out = NT_F32,
                                                 .alpha = 1,
                                                 .batch = v->groups}));
    NT_CUDA_RUN(op, "conv2d: col2im",
                nt_cuda_col2im(nt_cuda_of(op)->compute, op->x[0].dtype, sample_of(&op->dx[0], first),
                               col_of(op), &v->window, n, v->c, pitch));
    return NT_OK;
}

static nt_status backward_piece(nt_op *op, const void *weight, int64_t first, int64_t n, bool accumulate)
{
    const conv *v = op->state;
    NT_CUDA_RUN(op, "conv2d: wide dy",
                nt_cuda_to_wide(nt_cuda_of(op)->compute, op->y.dtype, wide_of(op), sample_of(&op->dy, first),
                                (nt_cuda_channels){n, v->k, v->s_y}, pitch_of(v, n)));
    NT_TRY(make_col(op, first, n));
    NT_TRY(backward_weight(op, n, accumulate || first > 0));
    if (op->need_dx[0] && v->route == WIDE) NT_TRY(backward_x(op, weight, first, n));
    return NT_OK;
}

/* dx (C, S) = weight^T dy (K, S), sample by sample. */
static nt_status backward_x_pointwise(nt_op *op, const void *weight)
{
    const conv *v = op->state;
    return nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_a = true,
                                                 .m = v->c,
                                                 .n = v->s_x,
                                                 .k = v->k,
                                                 .a = weight,
                                                 .b = op->dy.data,
                                                 .c = op->dx[0].data,
                                                 .lda = v->c,
                                                 .ldb = v->s_x,
                                                 .ldc = v->s_x,
                                                 .stride_b = v->k * v->s_x,
                                                 .stride_c = v->c * v->s_x,
                                                 .in = op->x[0].dtype,
                                                 .out = op->x[0].dtype,
                                                 .alpha = 1,
                                                 .batch = v->n});
}

static nt_status backward_depthwise(nt_op *op, bool accumulate)
{
    const conv *v = op->state;
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    const int64_t m = v->k / v->c;
    if (op->need_dx[0])
        NT_CUDA_RUN(op, "depthwise: dx",
                    nt_cuda_depthwise_backward_x(stream, op->x[0].dtype, op->dx[0].data, op->dy.data,
                                                 op->param[0].data, &v->window, v->n, v->c, m));
    NT_CUDA_RUN(op, "depthwise: dweight",
                nt_cuda_depthwise_backward_weight(stream, op->x[0].dtype, op->dparam[0].data, op->dy.data,
                                                  op->x[0].data, sums_of(op), accumulate, &v->window, v->n,
                                                  v->c, m));
    return NT_OK;
}

static nt_status backward_products(nt_op *op, bool accumulate)
{
    const conv *v = op->state;
    const void *weight = NULL;
    if (op->need_dx[0]) NT_TRY(fetch_weight(op, &weight));
    if (op->need_dx[0] && v->route == POINTWISE) NT_TRY(backward_x_pointwise(op, weight));
    for (int64_t first = 0; first < v->n; first += v->piece)
        NT_TRY(
            backward_piece(op, weight, first, v->n - first < v->piece ? v->n - first : v->piece, accumulate));
    return NT_OK;
}

static nt_status conv2d_backward(nt_op *op, const nt_pass *pass)
{
    const conv *v = op->state;
    if (v->route == DEPTHWISE)
        NT_TRY(backward_depthwise(op, pass->accumulate));
    else
        NT_TRY(backward_products(op, pass->accumulate));
    if (op->n_params > 1)
        NT_CUDA_RUN(op, "bias backward",
                    nt_cuda_bias_backward(nt_cuda_of(op)->compute, op->y.dtype, op->dparam[1].data,
                                          op->dy.data, sums_of(op), pass->accumulate,
                                          nt_cuda_channels_of(&op->dy)));
    return NT_OK;
}

const nt_op_impl nt_cuda_conv2d = {
    .kind = "conv2d",
    .create = conv2d_create,
    .destroy = conv2d_destroy,
    .forward = conv2d_forward,
    .backward = conv2d_backward,
};
