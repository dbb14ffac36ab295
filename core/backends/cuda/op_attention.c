/* multihead_attention: matrix products by cuBLAS, all heads of all samples as one batch each.
 *
 * The joint projection is brought into the order (3, N, H, T, D), so that q, k and v of every head are
 * matrices of their own, one behind the other. Scores and their gradients are float32; probabilities, like
 * everything that is kept, of the type of activations. Kept for backward: q, k, v; the probabilities before
 * dropout; what the heads made. The dropout mask is made again from its formula. The whole (N, H, T, T) is in
 * memory: a fused kernel that never writes it (Dao et al. 2022) is what long sequences would want. */
#include "core/backends/cuda/blas.h"
#include "core/backends/cuda/ops.h"

#include "core/layers/multihead_attention.h"

#include <math.h>

/* N samples of T positions with E features in H heads of D. */
typedef struct sizes {
    int64_t n, t, e, h, d;
    int64_t tokens, squares; /* N T E elements; N H T T elements */
    double scale, rate;      /* 1 / sqrt(D); dropout in training, else 0 */
    bool causal, bias;
    size_t elem;
} sizes;

static sizes sizes_of(const nt_op *op)
{
    const nt_multihead_attention_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim;
    sizes z = {.n = x[0], .t = x[1], .e = x[2], .h = o->num_heads, .d = x[2] / o->num_heads};
    z.tokens = z.n * z.t * z.e;
    z.squares = z.n * z.h * z.t * z.t;
    z.scale = 1 / sqrt((double)z.d);
    z.rate = op->training ? o->dropout : 0;
    z.causal = o->causal;
    z.bias = op->n_params > 2;
    z.elem = nt_dtype_bytes(op->x[0].dtype);
    return z;
}

/* --- memory --- */

/* The next n_bytes of an area; with base NULL only counts. */
static void *take(char *base, size_t *at, size_t n_bytes)
{
    void *out = base ? base + *at : NULL;
    *at += nt_cuda_round(n_bytes);
    return out;
}

/* heads: q, k, v (3, N, H, T, D); p (N, H, T, T); context (N, T, E). */
typedef struct kept {
    void *heads, *p, *context;
} kept;

static kept take_kept(const sizes *z, char *base, size_t *at)
{
    const size_t tokens = (size_t)z->tokens * z->elem;
    kept k;
    k.heads = take(base, at, 3 * tokens);
    k.p = take(base, at, (size_t)z->squares * z->elem);
    k.context = take(base, at, tokens);
    return k;
}

/* Scratch of both passes: weights in the type of x if that is not float32; a joint array (N, T, 3 E) and one
 * of (3, N, H, T, D); arrays of tokens, by position and by head; squares in float32 and twice in the type of
 * x; sums of biases. */
typedef struct spare {
    void *in_weight, *out_weight, *joint, *heads, *tokens, *by_head, *square, *dropped, *sums;
    float *score;
} spare;

static spare take_spare(const sizes *z, bool training, char *base, size_t *at)
{
    const bool casts = z->elem != sizeof(float);
    const size_t weight = casts ? (size_t)(z->e * z->e) * z->elem : 0;
    const size_t tokens = (size_t)z->tokens * z->elem, squares = (size_t)z->squares * z->elem;
    const size_t sums_in = nt_cuda_bias_scratch_bytes((nt_cuda_channels){z->n * z->t, 3 * z->e, 1});
    const size_t sums_out = nt_cuda_bias_scratch_bytes((nt_cuda_channels){z->n * z->t, z->e, 1});
    spare s;
    s.in_weight = take(base, at, 3 * weight);
    s.out_weight = take(base, at, weight);
    s.joint = take(base, at, 3 * tokens);
    s.by_head = take(base, at, tokens);
    s.score = take(base, at, (size_t)z->squares * sizeof(float));
    s.dropped = take(base, at, z->rate > 0 ? squares : 0);
    s.heads = take(base, at, training ? 3 * tokens : 0);
    s.tokens = take(base, at, training ? tokens : 0);
    s.square = take(base, at, training ? squares : 0);
    s.sums = take(base, at, !training ? 0 : sums_in > sums_out ? sums_in : sums_out);
    return s;
}

static spare spare_of(const nt_op *op, const sizes *z)
{
    size_t at = 0;
    if (!op->training) (void)take_kept(z, NULL, &at);
    return take_spare(z, op->training, op->scratch, &at);
}

static kept kept_of(const nt_op *op, const sizes *z)
{
    size_t at = 0;
    return take_kept(z, op->training ? op->saved : op->scratch, &at);
}

static nt_status attention_create(nt_op *op)
{
    NT_TRY(nt_cuda_create_plain(op));
    const sizes z = sizes_of(op);
    NT_TRY(nt_cuda_blas_open(op, (int64_t[]){z.n * z.t, 3 * z.e}, 2));
    size_t kept_bytes = 0;
    (void)take_kept(&z, NULL, &kept_bytes);
    if (op->training) {
        op->flags = NT_OP_KEEPS_X;
        op->saved_bytes = kept_bytes;
    } else {
        op->scratch_bytes = kept_bytes;
    }
    (void)take_spare(&z, op->training, NULL, &op->scratch_bytes);
    return NT_OK;
}

/* --- parts --- */

/* Matrices without gaps: c (m, n) = alpha op(a) op(b) + beta c, `batch` of them one behind the other. */
typedef struct product {
    bool trans_a, trans_b;
    int64_t m, n, k;
    double alpha, beta;
    nt_dtype out;
    int64_t batch;
} product;

static nt_status multiply(const nt_op *op, void *c, const void *a, const void *b, product p)
{
    return nt_cuda_gemm(op, &(nt_cuda_gemm_args){.trans_a = p.trans_a,
                                                 .trans_b = p.trans_b,
                                                 .m = p.m,
                                                 .n = p.n,
                                                 .k = p.k,
                                                 .a = a,
                                                 .b = b,
                                                 .c = c,
                                                 .lda = p.trans_a ? p.m : p.k,
                                                 .ldb = p.trans_b ? p.k : p.n,
                                                 .ldc = p.n,
                                                 .stride_a = p.m * p.k,
                                                 .stride_b = p.k * p.n,
                                                 .stride_c = p.m * p.n,
                                                 .in = op->x[0].dtype,
                                                 .out = p.out,
                                                 .alpha = (float)p.alpha,
                                                 .beta = (float)p.beta,
                                                 .batch = p.batch});
}

/* y (N T, k) = x (N T, E) weight (k, E)^T + bias (k) */
static nt_status project(const nt_op *op, const sizes *z, void *y, const void *x, const void *weight,
                         int bias, int64_t k)
{
    const nt_dtype type = op->x[0].dtype;
    NT_TRY(multiply(
        op, y, x, weight,
        (product){
            .trans_b = true, .m = z->n * z->t, .n = k, .k = z->e, .alpha = 1, .out = type, .batch = 1}));
    if (z->bias)
        NT_CUDA_RUN(op, "bias",
                    nt_cuda_bias_forward(nt_cuda_of(op)->compute, type, y, y, op->param[bias].data, false,
                                         (nt_cuda_channels){z->n * z->t, k, 1}));
    return NT_OK;
}

/* Orders of dimensions: sizes of the result and the strides that its indices have in the source. */
typedef struct order {
    int n_dims;
    int64_t size[5], stride[5];
} order;

static nt_status reorder(const nt_op *op, void *dst, const void *src, order o)
{
    NT_CUDA_RUN(
        op, "order of heads",
        nt_cuda_permute_dims(nt_cuda_of(op)->compute, op->x[0].dtype, dst, src, o.n_dims, o.size, o.stride));
    return NT_OK;
}

/* (N, T, 3, H, D) to (3, N, H, T, D) */
static order joint_to_heads(const sizes *z)
{
    const int64_t row = 3 * z->e;
    return (order){5, {3, z->n, z->h, z->t, z->d}, {z->e, z->t * row, z->d, row, 1}};
}

/* (3, N, H, T, D) to (N, T, 3, H, D) */
static order heads_to_joint(const sizes *z)
{
    const int64_t head = z->t * z->d, sample = z->h * head;
    return (order){5, {z->n, z->t, 3, z->h, z->d}, {sample, z->d, z->n * sample, head, 1}};
}

/* (N, H, T, D) to (N, T, H, D) */
static order by_position(const sizes *z)
{
    const int64_t head = z->t * z->d;
    return (order){4, {z->n, z->t, z->h, z->d}, {z->h * head, z->d, head, 1}};
}

/* (N, T, H, D) to (N, H, T, D) */
static order by_head(const sizes *z)
{
    return (order){4, {z->n, z->h, z->t, z->d}, {z->t * z->e, z->d, z->e, 1}};
}

/* q (0), k (1) or v (2) of an array (3, N, H, T, D). */
static void *third(const sizes *z, void *heads, int which)
{
    return (char *)heads + (size_t)which * (size_t)z->tokens * z->elem;
}

/* out = in times the dropout mask, (N, H, T, T). */
static nt_status mask(const nt_op *op, const sizes *z, nt_dtype type, void *out, const void *in)
{
    const nt_cuda *cuda = nt_cuda_of(op);
    NT_CUDA_RUN(op, "dropout",
                nt_cuda_dropout_apply(cuda->compute, type, out, in, cuda->pass, cuda->sample, op->id, z->rate,
                                      z->n, z->h * z->t * z->t));
    return NT_OK;
}

/* The probabilities behind dropout. */
static nt_status fetch_dropped(const nt_op *op, const sizes *z, const kept *k, const spare *s,
                               const void **out)
{
    *out = k->p;
    if (z->rate == 0) return NT_OK;
    NT_TRY(mask(op, z, op->x[0].dtype, s->dropped, k->p));
    *out = s->dropped;
    return NT_OK;
}

/* --- forward --- */

/* p = softmax(q k^T / sqrt(D)); by_head = dropped p v. */
static nt_status attend(const nt_op *op, const sizes *z, const kept *k, const spare *s)
{
    const nt_dtype type = op->x[0].dtype;
    const int64_t batch = z->n * z->h;
    const void *dropped;
    NT_TRY(multiply(op, s->score, third(z, k->heads, 0), third(z, k->heads, 1),
                    (product){.trans_b = true,
                              .m = z->t,
                              .n = z->t,
                              .k = z->d,
                              .alpha = z->scale,
                              .out = NT_F32,
                              .batch = batch}));
    NT_CUDA_RUN(
        op, "attention",
        nt_cuda_attention_rows(nt_cuda_of(op)->compute, type, k->p, s->score, z->causal, z->t, batch * z->t));
    NT_TRY(fetch_dropped(op, z, k, s, &dropped));
    return multiply(op, s->by_head, dropped, third(z, k->heads, 2),
                    (product){.m = z->t, .n = z->d, .k = z->t, .alpha = 1, .out = type, .batch = batch});
}

static nt_status attention_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const sizes z = sizes_of(op);
    const kept k = kept_of(op, &z);
    const spare s = spare_of(op, &z);
    const void *in_weight, *out_weight;
    NT_TRY(nt_cuda_fetch_param(op, NT_MHA_IN_WEIGHT, op->x[0].dtype, s.in_weight, &in_weight));
    NT_TRY(nt_cuda_fetch_param(op, NT_MHA_OUT_WEIGHT, op->x[0].dtype, s.out_weight, &out_weight));
    NT_TRY(project(op, &z, s.joint, op->x[0].data, in_weight, NT_MHA_IN_BIAS, 3 * z.e));
    NT_TRY(reorder(op, k.heads, s.joint, joint_to_heads(&z)));
    NT_TRY(attend(op, &z, &k, &s));
    NT_TRY(reorder(op, k.context, s.by_head, by_position(&z)));
    NT_TRY(project(op, &z, op->y.data, k.context, out_weight, NT_MHA_OUT_BIAS, z.e));
    return NT_OK;
}

/* --- backward --- */

/* dweight (k, E) = dy (N T, k)^T x (N T, E), dbias = sums of dy; dx (N T, E) = dy weight unless NULL. */
static nt_status backward_projection(nt_op *op, const sizes *z, const spare *s, int weight, int bias,
                                     const void *dy, const void *x, void *dx, int64_t k, const nt_pass *pass)
{
    const nt_dtype type = op->x[0].dtype;
    const int64_t rows = z->n * z->t;
    void *room = weight == NT_MHA_IN_WEIGHT ? s->in_weight : s->out_weight;
    const void *w;
    NT_TRY(multiply(op, op->dparam[weight].data, dy, x,
                    (product){.trans_a = true,
                              .m = k,
                              .n = z->e,
                              .k = rows,
                              .alpha = 1,
                              .beta = pass->accumulate ? 1 : 0,
                              .out = NT_F32,
                              .batch = 1}));
    if (z->bias)
        NT_CUDA_RUN(op, "bias backward",
                    nt_cuda_bias_backward(nt_cuda_of(op)->compute, type, op->dparam[bias].data, dy, s->sums,
                                          pass->accumulate, (nt_cuda_channels){rows, k, 1}));
    if (!dx) return NT_OK;
    NT_TRY(nt_cuda_fetch_param(op, weight, type, room, &w));
    return multiply(op, dx, dy, w,
                    (product){.m = rows, .n = z->e, .k = k, .alpha = 1, .out = type, .batch = 1});
}

/* Gradients of scores in s->square from those of the heads' output, dc, and that of v on the way. */
static nt_status backward_scores(nt_op *op, const sizes *z, const kept *k, const spare *s, const void *dc)
{
    const nt_dtype type = op->x[0].dtype;
    const int64_t batch = z->n * z->h;
    const void *dropped;
    NT_TRY(fetch_dropped(op, z, k, s, &dropped));
    NT_TRY(multiply(
        op, third(z, s->heads, 2), dropped, dc,
        (product){
            .trans_a = true, .m = z->t, .n = z->d, .k = z->t, .alpha = 1, .out = type, .batch = batch}));
    NT_TRY(multiply(
        op, s->score, dc, third(z, k->heads, 2),
        (product){
            .trans_b = true, .m = z->t, .n = z->t, .k = z->d, .alpha = 1, .out = NT_F32, .batch = batch}));
    if (z->rate > 0) NT_TRY(mask(op, z, NT_F32, s->score, s->score));
    NT_CUDA_RUN(op, "attention backward",
                nt_cuda_attention_rows_backward(nt_cuda_of(op)->compute, type, s->square, s->score, k->p,
                                                z->causal, z->t, batch * z->t));
    return NT_OK;
}

/* dq = ds k / sqrt(D), dk = ds^T q / sqrt(D) */
static nt_status backward_heads(nt_op *op, const sizes *z, const kept *k, const spare *s)
{
    product p = {
        .m = z->t, .n = z->d, .k = z->t, .alpha = z->scale, .out = op->x[0].dtype, .batch = z->n * z->h};
    NT_TRY(multiply(op, third(z, s->heads, 0), s->square, third(z, k->heads, 1), p));
    p.trans_a = true;
    return multiply(op, third(z, s->heads, 1), s->square, third(z, k->heads, 0), p);
}

static nt_status attention_backward(nt_op *op, const nt_pass *pass)
{
    const sizes z = sizes_of(op);
    const kept k = kept_of(op, &z);
    const spare s = spare_of(op, &z);
    NT_TRY(backward_projection(op, &z, &s, NT_MHA_OUT_WEIGHT, NT_MHA_OUT_BIAS, op->dy.data, k.context,
                               s.tokens, z.e, pass));
    NT_TRY(reorder(op, s.by_head, s.tokens, by_head(&z)));
    NT_TRY(backward_scores(op, &z, &k, &s, s.by_head));
    NT_TRY(backward_heads(op, &z, &k, &s));
    NT_TRY(reorder(op, s.joint, s.heads, heads_to_joint(&z)));
    NT_TRY(backward_projection(op, &z, &s, NT_MHA_IN_WEIGHT, NT_MHA_IN_BIAS, s.joint, op->x[0].data,
                               op->need_dx[0] ? op->dx[0].data : NULL, 3 * z.e, pass));
    return NT_OK;
}

const nt_op_impl nt_cuda_multihead_attention = {
    .kind = "multihead_attention",
    .create = attention_create,
    .forward = attention_forward,
    .backward = attention_backward,
};
