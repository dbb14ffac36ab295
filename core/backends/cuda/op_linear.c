/* linear: y = x weight^T + bias, three products by cuBLAS and small kernels around them.
 *
 * The bias, and ReLU where it is fused, go over y in one pass after the product. In bfloat16 the weights are
 * cast into scratch at each call (6 bytes a weight, beside the 2 that the product reads), and gradients of
 * weights leave the product in float32. */
#include "core/backends/cuda/blas.h"
#include "core/backends/cuda/ops.h"

/* x (N, F), weight (K, F), y (N, K) */
typedef struct sizes {
    int64_t n, k, f;
} sizes;

static sizes sizes_of(const nt_op *op)
{
    const int64_t *w = op->param[0].shape.dim;
    return (sizes){nt_shape_elems(op->x[0].shape) / w[1], w[0], w[1]};
}

/* Scratch: weights in the type of x if that is not float32, masked dy if ReLU is fused, sums of the bias. */
static size_t weight_bytes(const nt_op *op)
{
    if (op->x[0].dtype == NT_F32) return 0;
    return nt_cuda_round((size_t)nt_shape_elems(op->param[0].shape) * nt_dtype_bytes(op->x[0].dtype));
}

static size_t masked_bytes(const nt_op *op)
{
    return op->activation ? nt_cuda_round(op->y.n_bytes) : 0;
}

static nt_cuda_channels bias_shape(const nt_op *op)
{
    const sizes z = sizes_of(op);
    return (nt_cuda_channels){z.n, z.k, 1};
}

static nt_status linear_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    const sizes z = sizes_of(op);
    NT_TRY(nt_cuda_blas_open(op, (int64_t[]){z.n, z.k, z.f}, 3));
    op->flags = NT_OP_KEEPS_X | (op->activation ? NT_OP_KEEPS_Y : 0);
    op->scratch_bytes = weight_bytes(op);
    if (op->training) op->scratch_bytes += masked_bytes(op) + nt_cuda_bias_scratch_bytes(bias_shape(op));
    return NT_OK;
}

/* The weights in the type of x. */
static nt_status fetch_weight(const nt_op *op, const void **out)
{
    return nt_cuda_fetch_param(op, 0, op->x[0].dtype, op->scratch, out);
}

static nt_status linear_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const sizes z = sizes_of(op);
    const nt_cuda *cuda = nt_cuda_of(op);
    const void *weight;
    NT_TRY(fetch_weight(op, &weight));
    NT_TRY(nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_b = true,
                                                 .m = z.n,
                                                 .n = z.k,
                                                 .k = z.f,
                                                 .a = op->x[0].data,
                                                 .b = weight,
                                                 .c = op->y.data,
                                                 .lda = z.f,
                                                 .ldb = z.f,
                                                 .ldc = z.k,
                                                 .in = op->x[0].dtype,
                                                 .out = op->y.dtype,
                                                 .alpha = 1,
                                                 .batch = 1}));
    if (op->n_params > 1)
        NT_CUDA_RUN(op, "bias",
                    nt_cuda_bias_forward(cuda->compute, op->y.dtype, op->y.data, op->y.data,
                                         op->param[1].data, op->activation != NULL, bias_shape(op)));
    return NT_OK;
}

/* dy behind the fused ReLU. */
static nt_status fetch_dz(const nt_op *op, const void **out)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    void *masked = (char *)op->scratch + weight_bytes(op);
    *out = op->dy.data;
    if (!op->activation) return NT_OK;
    NT_CUDA_RUN(op, "ReLU backward",
                nt_cuda_activation_backward(cuda->compute, op->y.dtype, op->activation, masked, op->dy.data,
                                            op->y.data, nt_shape_elems(op->y.shape)));
    *out = masked;
    return NT_OK;
}

/* dx (N, F) = dz (N, K) weight (K, F) */
static nt_status backward_x(nt_op *op, sizes z, const void *dz)
{
    const void *weight;
    NT_TRY(fetch_weight(op, &weight));
    NT_TRY(nt_cuda_gemm(op, &(nt_cuda_gemm_args){.m = z.n,
                                                 .n = z.f,
                                                 .k = z.k,
                                                 .a = dz,
                                                 .b = weight,
                                                 .c = op->dx[0].data,
                                                 .lda = z.k,
                                                 .ldb = z.f,
                                                 .ldc = z.f,
                                                 .in = op->x[0].dtype,
                                                 .out = op->x[0].dtype,
                                                 .alpha = 1,
                                                 .batch = 1}));
    return NT_OK;
}

/* dweight (K, F) = dz^T x */
static nt_status backward_weight(nt_op *op, sizes z, const void *dz, bool accumulate)
{
    NT_TRY(nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_a = true,
                                                 .m = z.k,
                                                 .n = z.f,
                                                 .k = z.n,
                                                 .a = dz,
                                                 .b = op->x[0].data,
                                                 .c = op->dparam[0].data,
                                                 .lda = z.k,
                                                 .ldb = z.f,
                                                 .ldc = z.f,
                                                 .in = op->x[0].dtype,
                                                 .out = NT_F32,
                                                 .alpha = 1,
                                                 .beta = accumulate ? 1 : 0,
                                                 .batch = 1}));
    return NT_OK;
}

static nt_status linear_backward(nt_op *op, const nt_pass *pass)
{
    const sizes z = sizes_of(op);
    const nt_cuda *cuda = nt_cuda_of(op);
    const void *dz;
    NT_TRY(fetch_dz(op, &dz));
    if (op->need_dx[0]) NT_TRY(backward_x(op, z, dz));
    NT_TRY(backward_weight(op, z, dz, pass->accumulate));
    if (op->n_params > 1)
        NT_CUDA_RUN(op, "bias backward",
                    nt_cuda_bias_backward(cuda->compute, op->y.dtype, op->dparam[1].data, dz,
                                          (char *)op->scratch + weight_bytes(op) + masked_bytes(op),
                                          pass->accumulate, bias_shape(op)));
    return NT_OK;
}

const nt_op_impl nt_cuda_linear = {
    .kind = "linear",
    .create = linear_create,
    .forward = linear_forward,
    .backward = linear_backward,
};
