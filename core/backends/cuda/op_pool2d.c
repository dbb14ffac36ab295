/* max_pool (with ReLU on top where it is fused), avg_pool with and without padding, and global_avg_pool. */
#include "core/backends/cuda/ops.h"

#include "core/layers/pool2d.h"

static nt_cuda_window window_of(const nt_op *op)
{
    const nt_pool2d_options *o = op->options;
    nt_cuda_window w = {.dilation = {1, 1}, .count_padding = o->count_include_pad};
    for (int a = 0; a < 2; a++) {
        w.in[a] = op->x[0].shape.dim[2 + a];
        w.out[a] = op->y.shape.dim[2 + a];
        w.kernel[a] = o->kernel[a];
        w.stride[a] = o->stride[a];
        w.pad[a] = o->pad_begin[a];
        w.pad_end[a] = o->pad_end[a];
    }
    return w;
}

static int64_t planes_of(const nt_op *op)
{
    return op->y.shape.dim[0] * op->y.shape.dim[1];
}

/* --- max_pool --- */

static nt_status max_pool_create(nt_op *op)
{
    const nt_cuda_window w = window_of(op);
    NT_TRY(nt_cuda_create_plain(op));
    NT_TRY(nt_cuda_check_planes(op, &w));
    if (op->training) op->saved_bytes = (size_t)nt_shape_elems(op->y.shape) * (size_t)nt_cuda_tap_bytes(&w);
    return NT_OK;
}

static nt_status max_pool_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_window w = window_of(op);
    NT_CUDA_RUN(op, "max_pool",
                nt_cuda_max_pool_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data,
                                         op->training ? op->saved : NULL, op->x[0].data, &w,
                                         op->activation != NULL, planes_of(op)));
    return NT_OK;
}

static nt_status max_pool_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_window w = window_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "max_pool backward",
                nt_cuda_max_pool_backward(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                                          op->saved, &w, planes_of(op)));
    return NT_OK;
}

/* --- avg_pool --- */

static nt_status avg_pool_create(nt_op *op)
{
    const nt_cuda_window w = window_of(op);
    NT_TRY(nt_cuda_create_plain(op));
    NT_TRY(nt_cuda_check_planes(op, &w));
    return NT_OK;
}

static nt_status avg_pool_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_window w = window_of(op);
    NT_CUDA_RUN(op, "avg_pool",
                nt_cuda_avg_pool_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data, &w,
                                         planes_of(op)));
    return NT_OK;
}

static nt_status avg_pool_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_window w = window_of(op);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "avg_pool backward",
                nt_cuda_avg_pool_backward(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                                          &w, planes_of(op)));
    return NT_OK;
}

/* --- global_avg_pool --- */

static nt_status global_avg_pool_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t planes = nt_shape_elems(op->y.shape);
    NT_CUDA_RUN(op, "global_avg_pool",
                nt_cuda_mean_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data, planes,
                                     nt_shape_elems(op->x[0].shape) / planes));
    return NT_OK;
}

static nt_status global_avg_pool_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const int64_t planes = nt_shape_elems(op->y.shape);
    if (!op->need_dx[0]) return NT_OK;
    NT_CUDA_RUN(op, "global_avg_pool backward",
                nt_cuda_mean_backward(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                                      planes, nt_shape_elems(op->x[0].shape) / planes));
    return NT_OK;
}

const nt_op_impl nt_cuda_max_pool = {
    .kind = "max_pool",
    .create = max_pool_create,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
};

const nt_op_impl nt_cuda_avg_pool = {
    .kind = "avg_pool",
    .create = avg_pool_create,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
};

const nt_op_impl nt_cuda_avg_pool_padded = {
    .kind = "avg_pool_padded",
    .create = avg_pool_create,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
};

const nt_op_impl nt_cuda_global_avg_pool = {
    .kind = "global_avg_pool",
    .create = nt_cuda_create_plain,
    .forward = global_avg_pool_forward,
    .backward = global_avg_pool_backward,
};
