/* conv2d by one of three routes: as matrix products over what each tap sees (conv_products.h); a 1x1
 * convolution of stride 1 without groups needs no such matrix, its x is one, sample by sample, where rows of
 * positions are whole sixteen bytes (only dweight, which sums over samples, takes the wide way); and a
 * depthwise one has kernels of its own (depthwise.cu). */
#include "core/backends/cuda/blas.h"
#include "core/backends/cuda/conv_products.h"

#include "core/layers/conv2d.h"

#include <stdlib.h>

typedef enum route { WIDE, POINTWISE, DEPTHWISE } route;

/* x (N, C, H, W) is the image, y (N, K, P, Q) the map. */
typedef struct conv {
    nt_cuda_conv v;
    route route;
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

static bool is_pointwise(const nt_cuda_conv *v)
{
    const nt_cuda_window *w = &v->window;
    for (int a = 0; a < 2; a++)
        if (w->kernel[a] != 1 || w->stride[a] != 1 || w->pad[a] != 0 || w->in[a] != w->out[a]) return false;
    return v->groups == 1 && (size_t)v->s_image * nt_dtype_bytes(v->type) % 16 == 0;
}

static conv conv_of(const nt_op *op)
{
    const nt_conv2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim, *f = op->param[0].shape.dim;
    conv s = {.v = {.window = window_of(op),
                    .type = op->x[0].dtype,
                    .n = x[0],
                    .c = x[1],
                    .k = f[0],
                    .groups = o->groups,
                    .taps = f[1] * f[2] * f[3]}};
    s.v.s_image = s.v.window.in[0] * s.v.window.in[1];
    s.v.s_map = s.v.window.out[0] * s.v.window.out[1];
    s.route = is_pointwise(&s.v) ? POINTWISE : f[1] == 1 && o->groups == x[1] ? DEPTHWISE : WIDE;
    return s;
}

static size_t sums_bytes(const nt_op *op, const conv *s)
{
    size_t bias = 0, weights = 0;
    if (!op->training) return 0;
    if (op->n_params > 1) bias = nt_cuda_bias_scratch_bytes(nt_cuda_channels_of(&op->y));
    if (s->route == DEPTHWISE) weights = nt_cuda_depthwise_scratch_bytes(&s->v.window, s->v.n, s->v.k);
    return bias > weights ? bias : weights;
}

/* The gradient of col lies in its place, in float32. */
static void lay_out(nt_op *op, conv *s)
{
    const bool folds = op->training && s->route == WIDE;
    nt_cuda_conv_lay_out(op, &s->v, folds ? sizeof(float) : nt_dtype_bytes(s->v.type));
    if (s->route == DEPTHWISE)
        s->v.sums_at = 0;
    else if (s->route == POINTWISE && !op->training)
        s->v.sums_at = s->v.col_at;
    op->scratch_bytes = s->v.sums_at + sums_bytes(op, s);
}

static nt_status conv2d_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    conv *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    op->state = s;
    *s = conv_of(op);
    NT_TRY(nt_cuda_check_planes(op, &s->v.window));
    lay_out(op, s);
    if (s->route != DEPTHWISE) NT_TRY(nt_cuda_conv_open(op, &s->v));
    op->flags = NT_OP_KEEPS_X;
    return NT_OK;
}

/* --- forward --- */

static const float *bias_of(const nt_op *op)
{
    return op->n_params > 1 ? op->param[1].data : NULL;
}

/* y (K, S) = weight (K, C) x (C, S), sample by sample. */
static nt_status forward_pointwise(const nt_op *op, const nt_cuda_conv *v, const void *weight)
{
    NT_TRY(nt_cuda_gemm(op, &(nt_cuda_gemm_args){.m = v->k,
                                                 .n = v->s_image,
                                                 .k = v->c,
                                                 .a = weight,
                                                 .b = op->x[0].data,
                                                 .c = op->y.data,
                                                 .lda = v->c,
                                                 .ldb = v->s_image,
                                                 .ldc = v->s_image,
                                                 .stride_b = v->c * v->s_image,
                                                 .stride_c = v->k * v->s_image,
                                                 .in = v->type,
                                                 .out = v->type,
                                                 .alpha = 1,
                                                 .batch = v->n}));
    if (bias_of(op))
        NT_CUDA_RUN(op, "bias",
                    nt_cuda_bias_forward(nt_cuda_of(op)->compute, v->type, op->y.data, op->y.data,
                                         bias_of(op), false, nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

static nt_status forward_depthwise(const nt_op *op, const nt_cuda_conv *v)
{
    NT_CUDA_RUN(op, "depthwise",
                nt_cuda_depthwise_forward(nt_cuda_of(op)->compute, v->type, op->y.data, op->x[0].data,
                                          op->param[0].data, bias_of(op), &v->window, v->n, v->c,
                                          v->k / v->c));
    return NT_OK;
}

static nt_status conv2d_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const conv *s = op->state;
    const nt_cuda_conv *v = &s->v;
    const void *weight;
    if (s->route == DEPTHWISE) return forward_depthwise(op, v);
    NT_TRY(nt_cuda_conv_fetch_weight(op, v, &weight));
    if (s->route == POINTWISE) return forward_pointwise(op, v, weight);
    for (int64_t first = 0; first < v->n; first += v->piece) {
        const int64_t n = nt_cuda_conv_count(v, first);
        NT_TRY(nt_cuda_conv_make_col(op, v, nt_cuda_conv_sample(&op->x[0], first), n));
        NT_TRY(nt_cuda_conv_apply(op, v, weight, bias_of(op), nt_cuda_conv_sample(&op->y, first), n));
    }
    return NT_OK;
}

/* --- backward --- */

/* col of a pointwise convolution is x itself, only wide. */
static nt_status make_col(const nt_op *op, const conv *s, int64_t first, int64_t n)
{
    const nt_cuda_conv *v = &s->v;
    const void *x = nt_cuda_conv_sample(&op->x[0], first);
    if (s->route == WIDE) return nt_cuda_conv_make_col(op, v, x, n);
    NT_CUDA_RUN(op, "wide x",
                nt_cuda_to_wide(nt_cuda_of(op)->compute, v->type, nt_cuda_conv_scratch(op, v->col_at), x,
                                (nt_cuda_channels){n, v->c, v->s_image}, nt_cuda_conv_pitch(v, n)));
    return NT_OK;
}

static nt_status backward_piece(nt_op *op, const void *weight, int64_t first, bool accumulate)
{
    const conv *s = op->state;
    const nt_cuda_conv *v = &s->v;
    const int64_t n = nt_cuda_conv_count(v, first);
    NT_TRY(nt_cuda_conv_make_wide(op, v, nt_cuda_conv_sample(&op->dy, first), n));
    NT_TRY(make_col(op, s, first, n));
    NT_TRY(nt_cuda_conv_weight(op, v, n, accumulate || first > 0));
    if (op->need_dx[0] && s->route == WIDE)
        NT_TRY(nt_cuda_conv_fold(op, v, weight, nt_cuda_conv_sample(&op->dx[0], first), n));
    return NT_OK;
}

/* dx (C, S) = weight^T dy (K, S), sample by sample. */
static nt_status backward_x_pointwise(nt_op *op, const nt_cuda_conv *v, const void *weight)
{
    return nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_a = true,
                                                 .m = v->c,
                                                 .n = v->s_image,
                                                 .k = v->k,
                                                 .a = weight,
                                                 .b = op->dy.data,
                                                 .c = op->dx[0].data,
                                                 .lda = v->c,
                                                 .ldb = v->s_image,
                                                 .ldc = v->s_image,
                                                 .stride_b = v->k * v->s_image,
                                                 .stride_c = v->c * v->s_image,
                                                 .in = v->type,
                                                 .out = v->type,
                                                 .alpha = 1,
                                                 .batch = v->n});
}

static nt_status backward_depthwise(nt_op *op, const nt_cuda_conv *v, bool accumulate)
{
    nt_cuda_stream stream = nt_cuda_of(op)->compute;
    const int64_t m = v->k / v->c;
    if (op->need_dx[0])
        NT_CUDA_RUN(op, "depthwise: dx",
                    nt_cuda_depthwise_backward_x(stream, v->type, op->dx[0].data, op->dy.data,
                                                 op->param[0].data, &v->window, v->n, v->c, m));
    NT_CUDA_RUN(op, "depthwise: dweight",
                nt_cuda_depthwise_backward_weight(stream, v->type, op->dparam[0].data, op->dy.data,
                                                  op->x[0].data, nt_cuda_conv_scratch(op, v->sums_at),
                                                  accumulate, &v->window, v->n, v->c, m));
    return NT_OK;
}

static nt_status backward_products(nt_op *op, bool accumulate)
{
    const conv *s = op->state;
    const void *weight = NULL;
    if (op->need_dx[0]) NT_TRY(nt_cuda_conv_fetch_weight(op, &s->v, &weight));
    if (op->need_dx[0] && s->route == POINTWISE) NT_TRY(backward_x_pointwise(op, &s->v, weight));
    for (int64_t first = 0; first < s->v.n; first += s->v.piece)
        NT_TRY(backward_piece(op, weight, first, accumulate));
    return NT_OK;
}

static nt_status conv2d_backward(nt_op *op, const nt_pass *pass)
{
    const conv *s = op->state;
    if (s->route == DEPTHWISE)
        NT_TRY(backward_depthwise(op, &s->v, pass->accumulate));
    else
        NT_TRY(backward_products(op, pass->accumulate));
    if (op->n_params > 1)
        NT_CUDA_RUN(op, "bias backward",
                    nt_cuda_bias_backward(nt_cuda_of(op)->compute, s->v.type, op->dparam[1].data, op->dy.data,
                                          nt_cuda_conv_scratch(op, s->v.sums_at), pass->accumulate,
                                          nt_cuda_channels_of(&op->dy)));
    return NT_OK;
}

const nt_op_impl nt_cuda_conv2d = {
    .kind = "conv2d",
    .create = conv2d_create,
    .destroy = nt_cuda_free_state,
    .forward = conv2d_forward,
    .backward = conv2d_backward,
};
