/* conv_transpose2d: the products of conv2d with input and output exchanged (conv_products.h). x (N, C, H, W)
 * is the map, y (N, K, P, Q) the image; weight (C, K / G, R, S). */
#include "core/backends/cuda/conv_products.h"

#include "core/layers/conv_transpose2d.h"

#include <stdlib.h>

static nt_cuda_conv conv_of(const nt_op *op)
{
    const nt_conv_transpose2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim, *y = op->y.shape.dim, *f = op->param[0].shape.dim;
    nt_cuda_conv v = {.type = op->x[0].dtype,
                      .n = x[0],
                      .c = y[1],
                      .k = x[1],
                      .groups = o->groups,
                      .taps = f[1] * f[2] * f[3],
                      .s_image = y[2] * y[3],
                      .s_map = x[2] * x[3]};
    for (int a = 0; a < 2; a++) {
        v.window.in[a] = y[2 + a];
        v.window.out[a] = x[2 + a];
        v.window.kernel[a] = o->kernel[a];
        v.window.stride[a] = o->stride[a];
        v.window.dilation[a] = o->dilation[a];
        v.window.pad[a] = o->padding[a];
    }
    return v;
}

static nt_status conv_transpose2d_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    nt_cuda_conv *v = calloc(1, sizeof *v);
    NT_CHECK_ALLOC(v, sizeof *v);
    op->state = v;
    *v = conv_of(op);
    NT_TRY(nt_cuda_check_planes(op, &v->window));
    nt_cuda_conv_lay_out(op, v, sizeof(float));
    NT_TRY(nt_cuda_conv_open(op, v));
    op->flags = NT_OP_KEEPS_X;
    op->scratch_bytes = v->sums_at;
    if (op->training && op->n_params > 1)
        op->scratch_bytes += nt_cuda_bias_scratch_bytes(nt_cuda_channels_of(&op->y));
    return NT_OK;
}

static nt_status conv_transpose2d_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_conv *v = op->state;
    const void *weight;
    NT_TRY(nt_cuda_conv_fetch_weight(op, v, &weight));
    for (int64_t first = 0; first < v->n; first += v->piece) {
        const int64_t n = nt_cuda_conv_count(v, first);
        NT_TRY(nt_cuda_conv_make_wide(op, v, nt_cuda_conv_sample(&op->x[0], first), n));
        NT_TRY(nt_cuda_conv_fold(op, v, weight, nt_cuda_conv_sample(&op->y, first), n));
    }
    if (op->n_params > 1)
        NT_CUDA_RUN(op, "bias",
                    nt_cuda_bias_forward(nt_cuda_of(op)->compute, v->type, op->y.data, op->y.data,
                                         op->param[1].data, false, nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

static nt_status conv_transpose2d_backward(nt_op *op, const nt_pass *pass)
{
    const nt_cuda_conv *v = op->state;
    const void *weight = NULL;
    if (op->need_dx[0]) NT_TRY(nt_cuda_conv_fetch_weight(op, v, &weight));
    for (int64_t first = 0; first < v->n; first += v->piece) {
        const int64_t n = nt_cuda_conv_count(v, first);
        NT_TRY(nt_cuda_conv_make_col(op, v, nt_cuda_conv_sample(&op->dy, first), n));
        if (op->need_dx[0])
            NT_TRY(nt_cuda_conv_apply(op, v, weight, NULL, nt_cuda_conv_sample(&op->dx[0], first), n));
        NT_TRY(nt_cuda_conv_make_wide(op, v, nt_cuda_conv_sample(&op->x[0], first), n));
        NT_TRY(nt_cuda_conv_weight(op, v, n, pass->accumulate || first > 0));
    }
    if (op->n_params > 1)
        NT_CUDA_RUN(op, "bias backward",
                    nt_cuda_bias_backward(nt_cuda_of(op)->compute, v->type, op->dparam[1].data, op->dy.data,
                                          nt_cuda_conv_scratch(op, v->sums_at), pass->accumulate,
                                          nt_cuda_channels_of(&op->dy)));
    return NT_OK;
}

const nt_op_impl nt_cuda_conv_transpose2d = {
    .kind = "conv_transpose2d",
    .create = conv_transpose2d_create,
    .destroy = nt_cuda_free_state,
    .forward = conv_transpose2d_forward,
    .backward = conv_transpose2d_backward,
};
