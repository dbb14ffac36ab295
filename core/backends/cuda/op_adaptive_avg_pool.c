/* adaptive_avg_pool: windows follow from the sizes alone. One window is global_avg_pool, for whose long rows
 * there are kernels of their own. */
#include "core/backends/cuda/ops.h"

static nt_cuda_window window_of(const nt_op *op)
{
    const int64_t *x = op->x[0].shape.dim, *y = op->y.shape.dim;
    return (nt_cuda_window){
        .in = {x[2], x[3]}, .out = {y[2], y[3]}, .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
}

static int64_t planes_of(const nt_op *op)
{
    return op->y.shape.dim[0] * op->y.shape.dim[1];
}

/* Elements of the only window, or 0 if there are more. */
static int64_t only_window(const nt_cuda_window *w)
{
    return w->out[0] * w->out[1] == 1 ? w->in[0] * w->in[1] : 0;
}

static nt_status adaptive_create(nt_op *op)
{
    const nt_cuda_window w = window_of(op);
    NT_TRY(nt_cuda_create_plain(op));
    NT_TRY(nt_cuda_check_planes(op, &w));
    return NT_OK;
}

static nt_status adaptive_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_window w = window_of(op);
    if (only_window(&w) > 0) {
        NT_CUDA_RUN(op, "global_avg_pool",
                    nt_cuda_mean_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data,
                                         planes_of(op), only_window(&w)));
        return NT_OK;
    }
    NT_CUDA_RUN(op, "adaptive_avg_pool",
                nt_cuda_adaptive_forward(nt_cuda_of(op)->compute, op->y.dtype, op->y.data, op->x[0].data, &w,
                                         planes_of(op)));
    return NT_OK;
}

static nt_status adaptive_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_cuda_window w = window_of(op);
    if (!op->need_dx[0]) return NT_OK;
    if (only_window(&w) > 0) {
        NT_CUDA_RUN(op, "global_avg_pool backward",
                    nt_cuda_mean_backward(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                                          planes_of(op), only_window(&w)));
        return NT_OK;
    }
    NT_CUDA_RUN(op, "adaptive_avg_pool backward",
                nt_cuda_adaptive_backward(nt_cuda_of(op)->compute, op->y.dtype, op->dx[0].data, op->dy.data,
                                          &w, planes_of(op)));
    return NT_OK;
}

const nt_op_impl nt_cuda_adaptive_avg_pool = {
    .kind = "adaptive_avg_pool",
    .create = adaptive_create,
    .forward = adaptive_forward,
    .backward = adaptive_backward,
};
