/* The matrix products of convolutions: see the header. */
#include "core/backends/cuda/conv_products.h"

#include "core/backends/cuda/blas.h"

int64_t nt_cuda_conv_pitch(const nt_cuda_conv *v, int64_t n)
{
    return (n * v->s_map + NT_CUDA_PITCH - 1) / NT_CUDA_PITCH * NT_CUDA_PITCH;
}

int64_t nt_cuda_conv_count(const nt_cuda_conv *v, int64_t first)
{
    return v->n - first < v->piece ? v->n - first : v->piece;
}

void *nt_cuda_conv_sample(const nt_tensor *t, int64_t n)
{
    return (char *)t->data + (size_t)n * (t->n_bytes / (size_t)t->shape.dim[0]);
}

/* As many samples as fit, in pieces of nearly equal size. */
static void choose_piece(const nt_op *op, nt_cuda_conv *v, size_t col_elem)
{
    const size_t column = (size_t)(v->taps * v->groups) * col_elem + (size_t)v->k * nt_dtype_bytes(v->type);
    const size_t fits = nt_cuda_of(op)->piece_bytes / column / (size_t)v->s_map;
    const int64_t most = fits < 1 ? 1 : fits > (size_t)v->n ? v->n : (int64_t)fits;
    const int64_t pieces = (v->n + most - 1) / most;
    v->piece = (v->n + pieces - 1) / pieces;
}

void nt_cuda_conv_lay_out(const nt_op *op, nt_cuda_conv *v, size_t col_elem)
{
    const size_t elem = nt_dtype_bytes(v->type);
    choose_piece(op, v, col_elem);
    const size_t pitch = (size_t)nt_cuda_conv_pitch(v, v->piece);
    v->col_at = v->type == NT_F32 ? 0 : nt_cuda_round((size_t)(v->k * v->taps) * elem);
    v->wide_at = v->col_at + nt_cuda_round((size_t)(v->taps * v->groups) * pitch * col_elem);
    v->sums_at = v->wide_at + nt_cuda_round((size_t)v->k * pitch * elem);
}

nt_status nt_cuda_conv_open(const nt_op *op, const nt_cuda_conv *v)
{
    return nt_cuda_blas_open(
        op, (int64_t[]){nt_cuda_conv_pitch(v, v->piece), v->taps, v->c, v->k, v->s_image}, 5);
}

nt_status nt_cuda_conv_fetch_weight(const nt_op *op, const nt_cuda_conv *v, const void **out)
{
    return nt_cuda_fetch_param(op, 0, v->type, op->scratch, out);
}

nt_status nt_cuda_conv_make_col(const nt_op *op, const nt_cuda_conv *v, const void *image, int64_t n)
{
    NT_CUDA_RUN(op, "im2col",
                nt_cuda_im2col(nt_cuda_of(op)->compute, v->type, nt_cuda_conv_scratch(op, v->col_at), image,
                               &v->window, n, v->c, nt_cuda_conv_pitch(v, n)));
    return NT_OK;
}

nt_status nt_cuda_conv_make_wide(const nt_op *op, const nt_cuda_conv *v, const void *map, int64_t n)
{
    NT_CUDA_RUN(op, "wide map",
                nt_cuda_to_wide(nt_cuda_of(op)->compute, v->type, nt_cuda_conv_scratch(op, v->wide_at), map,
                                (nt_cuda_channels){n, v->k, v->s_map}, nt_cuda_conv_pitch(v, n)));
    return NT_OK;
}

nt_status nt_cuda_conv_apply(const nt_op *op, const nt_cuda_conv *v, const void *weight, const float *bias,
                             void *map, int64_t n)
{
    const int64_t filters = v->k / v->groups, pitch = nt_cuda_conv_pitch(v, n);
    void *wide = nt_cuda_conv_scratch(op, v->wide_at);
    NT_TRY(nt_cuda_gemm(op, &(nt_cuda_gemm_args){.m = filters,
                                                 .n = n * v->s_map,
                                                 .k = v->taps,
                                                 .a = weight,
                                                 .b = nt_cuda_conv_scratch(op, v->col_at),
                                                 .c = wide,
                                                 .lda = v->taps,
                                                 .ldb = pitch,
                                                 .ldc = pitch,
                                                 .stride_a = filters * v->taps,
                                                 .stride_b = v->taps * pitch,
                                                 .stride_c = filters * pitch,
                                                 .in = v->type,
                                                 .out = v->type,
                                                 .alpha = 1,
                                                 .batch = v->groups}));
    NT_CUDA_RUN(op, "map of a piece",
                nt_cuda_from_wide(nt_cuda_of(op)->compute, v->type, map, wide, bias,
                                  (nt_cuda_channels){n, v->k, v->s_map}, pitch));
    return NT_OK;
}

nt_status nt_cuda_conv_fold(const nt_op *op, const nt_cuda_conv *v, const void *weight, void *image,
                            int64_t n)
{
    const int64_t filters = v->k / v->groups, pitch = nt_cuda_conv_pitch(v, n);
    void *col = nt_cuda_conv_scratch(op, v->col_at);
    NT_TRY(nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_a = true,
                                                 .m = v->taps,
                                                 .n = n * v->s_map,
                                                 .k = filters,
                                                 .a = weight,
                                                 .b = nt_cuda_conv_scratch(op, v->wide_at),
                                                 .c = col,
                                                 .lda = v->taps,
                                                 .ldb = pitch,
                                                 .ldc = pitch,
                                                 .stride_a = filters * v->taps,
                                                 .stride_b = filters * pitch,
                                                 .stride_c = v->taps * pitch,
                                                 .in = v->type,
                                                 .out = NT_F32,
                                                 .alpha = 1,
                                                 .batch = v->groups}));
    NT_CUDA_RUN(op, "col2im",
                nt_cuda_col2im(nt_cuda_of(op)->compute, v->type, image, col, &v->window, n, v->c, pitch));
    return NT_OK;
}

nt_status nt_cuda_conv_weight(const nt_op *op, const nt_cuda_conv *v, int64_t n, bool accumulate)
{
    const int64_t filters = v->k / v->groups, pitch = nt_cuda_conv_pitch(v, n);
    return nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_b = true,
                                                 .m = filters,
                                                 .n = v->taps,
                                                 .k = n * v->s_map,
                                                 .a = nt_cuda_conv_scratch(op, v->wide_at),
                                                 .b = nt_cuda_conv_scratch(op, v->col_at),
                                                 .c = op->dparam[0].data,
                                                 .lda = pitch,
                                                 .ldb = pitch,
                                                 .ldc = v->taps,
                                                 .stride_a = filters * pitch,
                                                 .stride_b = v->taps * pitch,
                                                 .stride_c = filters * v->taps,
                                                 .in = v->type,
                                                 .out = NT_F32,
                                                 .alpha = 1,
                                                 .beta = accumulate ? 1 : 0,
                                                 .batch = v->groups});
}
