/* multihead_attention: products of small matrices, all by one function over strided views, so that heads need
 * no copies: q, k and v of a head are columns of the joint projection.
 *
 * Kept for backward: the joint projection, the probabilities before dropout, and what the heads made. The
 * dropout mask is made again from its formula. */
#include "core/layers/multihead_attention.h"

#include "core/backends/ref/ref.h"
#include "core/rng.h"

#include <math.h>

/* N samples of T positions with E features in H heads of D. */
typedef struct sizes {
    int64_t n, t, e, h, d;
    double scale, rate; /* 1 / sqrt(D); dropout in training, else 0 */
    bool causal;
} sizes;

static sizes sizes_of(const nt_op *op)
{
    const nt_multihead_attention_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim;
    const int64_t d = x[2] / o->num_heads;
    return (sizes){x[0],     x[1], x[2], o->num_heads, d, 1 / sqrt((double)d), op->training ? o->dropout : 0,
                   o->causal};
}

/* A matrix in memory: element (i, j) at i * row + j * col. */
typedef struct matrix {
    real *at;
    int64_t row, col;
} matrix;

static matrix transposed(matrix m)
{
    return (matrix){m.at, m.col, m.row};
}

/* out (m, n) = factor a (m, k) b (k, n) */
static void product(matrix out, matrix a, matrix b, int64_t m, int64_t n, int64_t k, double factor)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += (double)a.at[i * a.row + l * a.col] * (double)b.at[l * b.row + j * b.col];
            out.at[i * out.row + j * out.col] = (real)(factor * sum);
        }
}

/* y (rows, k) = x (rows, f) weight (k, f)^T + bias (k) */
static void project(real *y, const real *x, const nt_tensor *weight, const real *bias, int64_t rows)
{
    const int64_t k = weight->shape.dim[0], f = weight->shape.dim[1];
    product((matrix){y, k, 1}, (matrix){(real *)x, f, 1}, transposed((matrix){weight->data, f, 1}), rows, k,
            f, 1);
    for (int64_t i = 0; bias && i < rows * k; i++)
        y[i] = (real)((double)y[i] + (double)bias[i % k]);
}

/* The buffers of saved: joint projection (N, T, 3 E), probabilities (N, H, T, T), heads' output (N, T, E). */
typedef struct kept {
    real *qkv, *p, *context;
} kept;

static kept kept_of(const sizes *z, void *memory)
{
    real *qkv = memory, *p = qkv + z->n * z->t * 3 * z->e;
    return (kept){qkv, p, p + z->n * z->h * z->t * z->t};
}

static size_t kept_bytes(const sizes *z)
{
    return (size_t)(z->n * z->t * 4 * z->e + z->n * z->h * z->t * z->t) * sizeof(real);
}

/* Third `which` (q, k, v) of head h of sample n in a joint array (N, T, 3 E): (T, D). */
static matrix head_of(const sizes *z, real *qkv, int64_t n, int64_t h, int which)
{
    return (matrix){qkv + n * z->t * 3 * z->e + which * z->e + h * z->d, 3 * z->e, 1};
}

/* Head h of sample n in an array (N, T, E): (T, D). */
static matrix part_of(const sizes *z, real *context, int64_t n, int64_t h)
{
    return (matrix){context + n * z->t * z->e + h * z->d, z->e, 1};
}

static nt_status attention_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    const sizes z = sizes_of(op);
    const size_t dropped = (size_t)(z.t * z.t) * sizeof(real); /* probabilities of one head after dropout */
    if (!op->training) {
        op->scratch_bytes = kept_bytes(&z) + dropped;
        return NT_OK;
    }
    op->flags = NT_OP_KEEPS_X;
    op->saved_bytes = kept_bytes(&z);
    /* d qkv, d context, and two (T, T) */
    op->scratch_bytes = (size_t)(z.n * z.t * 4 * z.e) * sizeof(real) + 2 * dropped;
    return NT_OK;
}

/* Rows of the scores s (T, T) become probabilities. */
static void softmax_rows(const sizes *z, real *s)
{
    for (int64_t i = 0; i < z->t; i++, s += z->t) {
        const int64_t seen = z->causal ? i + 1 : z->t;
        double top = (double)s[0], sum = 0;
        for (int64_t j = 1; j < seen; j++)
            if ((double)s[j] > top) top = (double)s[j];
        for (int64_t j = 0; j < seen; j++)
            sum += exp((double)s[j] - top);
        for (int64_t j = 0; j < z->t; j++)
            s[j] = j < seen ? (real)(exp((double)s[j] - top) / sum) : 0;
    }
}

/* out = in times the dropout mask of head h of sample row n, (T, T). */
static void apply_mask(const nt_op *op, const sizes *z, const nt_pass *pass, int64_t n, int64_t h, real *out,
                       const real *in)
{
    const double scale = 1 / (1 - z->rate);
    for (int64_t i = 0; i < z->t * z->t; i++) {
        const int64_t e = h * z->t * z->t + i;
        bool keeps = true;
        if (z->rate > 0) {
            nt_philox words = nt_rng_block(pass->seed, NT_RNG_DROPOUT, op->id, (uint32_t)(e / 4),
                                           (uint32_t)pass->sample[n], (uint32_t)pass->epoch);
            keeps = (double)nt_rng_uniform(words.v[e % 4]) >= z->rate;
        }
        out[i] = keeps ? (real)((double)in[i] * scale) : 0;
    }
}

static nt_status attention_forward(nt_op *op, const nt_pass *pass)
{
    const sizes z = sizes_of(op);
    const kept a = kept_of(&z, op->training ? op->saved : op->scratch);
    real *dropped = op->training ? op->scratch : a.context + z.n * z.t * z.e;
    const bool bias = op->n_params > 2;
    project(a.qkv, op->x[0].data, &op->param[NT_MHA_IN_WEIGHT], bias ? op->param[NT_MHA_IN_BIAS].data : NULL,
            z.n * z.t);
    for (int64_t n = 0; n < z.n; n++)
        for (int64_t h = 0; h < z.h; h++) {
            real *p = a.p + (n * z.h + h) * z.t * z.t;
            product((matrix){p, z.t, 1}, head_of(&z, a.qkv, n, h, 0), transposed(head_of(&z, a.qkv, n, h, 1)),
                    z.t, z.t, z.d, z.scale);
            softmax_rows(&z, p);
            apply_mask(op, &z, pass, n, h, dropped, p);
            product(part_of(&z, a.context, n, h), (matrix){dropped, z.t, 1}, head_of(&z, a.qkv, n, h, 2), z.t,
                    z.d, z.t, 1);
        }
    project(op->y.data, a.context, &op->param[NT_MHA_OUT_WEIGHT],
            bias ? op->param[NT_MHA_OUT_BIAS].data : NULL, z.n * z.t);
    return NT_OK;
}

/* dweight (k, f) = dy (rows, k)^T x (rows, f), dbias = sum of dy over rows */
static void backward_projection(nt_op *op, int weight, int bias, const real *dy, const real *x, int64_t rows,
                                const nt_pass *pass)
{
    const int64_t k = op->param[weight].shape.dim[0], f = op->param[weight].shape.dim[1];
    real *dweight = op->dparam[weight].data, *dbias = op->n_params > 2 ? op->dparam[bias].data : NULL;
    for (int64_t u = 0; u < k; u++) {
        for (int64_t j = 0; j < f; j++) {
            double sum = 0;
            for (int64_t i = 0; i < rows; i++)
                sum += (double)dy[i * k + u] * (double)x[i * f + j];
            nt_ref_put(&dweight[u * f + j], sum, pass);
        }
        double sum = 0;
        for (int64_t i = 0; i < rows; i++)
            sum += (double)dy[i * k + u];
        if (dbias) nt_ref_put(&dbias[u], sum, pass);
    }
}

/* ds = p (dp - sum over j of dp p) in every row; where p is 0 for being in the future, ds is 0, too. */
static void softmax_rows_backward(const sizes *z, real *ds, const real *p)
{
    for (int64_t i = 0; i < z->t; i++, ds += z->t, p += z->t) {
        double dot = 0;
        for (int64_t j = 0; j < z->t; j++)
            dot += (double)ds[j] * (double)p[j];
        for (int64_t j = 0; j < z->t; j++)
            ds[j] = (real)((double)p[j] * ((double)ds[j] - dot));
    }
}

/* d qkv of one head from d context; p and ds are two (T, T) of scratch. */
static void backward_head(const nt_op *op, const sizes *z, const nt_pass *pass, const kept *a, real *dqkv,
                          real *dcontext, real *scratch, int64_t n, int64_t h)
{
    const real *p = a->p + (n * z->h + h) * z->t * z->t;
    real *dropped = scratch, *ds = scratch + z->t * z->t;
    const matrix dc = part_of(z, dcontext, n, h), s = {ds, z->t, 1};
    apply_mask(op, z, pass, n, h, dropped, p);
    product(head_of(z, dqkv, n, h, 2), transposed((matrix){dropped, z->t, 1}), dc, z->t, z->d, z->t, 1);
    product(s, dc, transposed(head_of(z, a->qkv, n, h, 2)), z->t, z->t, z->d, 1);
    apply_mask(op, z, pass, n, h, ds, ds);
    softmax_rows_backward(z, ds, p);
    product(head_of(z, dqkv, n, h, 0), s, head_of(z, a->qkv, n, h, 1), z->t, z->d, z->t, z->scale);
    product(head_of(z, dqkv, n, h, 1), transposed(s), head_of(z, a->qkv, n, h, 0), z->t, z->d, z->t,
            z->scale);
}

static nt_status attention_backward(nt_op *op, const nt_pass *pass)
{
    const sizes z = sizes_of(op);
    const kept a = kept_of(&z, op->saved);
    const int64_t rows = z.n * z.t;
    real *dqkv = op->scratch, *dcontext = dqkv + rows * 3 * z.e, *two = dcontext + rows * z.e;
    backward_projection(op, NT_MHA_OUT_WEIGHT, NT_MHA_OUT_BIAS, op->dy.data, a.context, rows, pass);
    product((matrix){dcontext, z.e, 1}, (matrix){op->dy.data, z.e, 1},
            (matrix){op->param[NT_MHA_OUT_WEIGHT].data, z.e, 1}, rows, z.e, z.e, 1);
    for (int64_t n = 0; n < z.n; n++)
        for (int64_t h = 0; h < z.h; h++)
            backward_head(op, &z, pass, &a, dqkv, dcontext, two, n, h);
    backward_projection(op, NT_MHA_IN_WEIGHT, NT_MHA_IN_BIAS, dqkv, op->x[0].data, rows, pass);
    if (op->need_dx[0])
        product((matrix){op->dx[0].data, z.e, 1}, (matrix){dqkv, 3 * z.e, 1},
                (matrix){op->param[NT_MHA_IN_WEIGHT].data, z.e, 1}, rows, z.e, 3 * z.e, 1);
    return NT_OK;
}

const nt_op_impl NT_REF(multihead_attention) = {
    .kind = "multihead_attention",
    .create = attention_create,
    .forward = attention_forward,
    .backward = attention_backward,
};
