/* embedding, and position_embedding, of plain rows.
 *
 * The gradient of a token's row is the sum of dy over its positions in the order of the batch, whatever the
 * number of threads: they share the columns. ref's chain from each token to its next position, for sums in
 * double, was the alternative; it walks through dy once for each element of a row. */
#include "core/layers/embedding.h"

#include "core/backends/cpu/cpu.h"
#include "core/fallback.h"

#include <string.h>

/* ---- embedding ---- */

static nt_status embedding_create(nt_op *op)
{
    NT_BUG_UNLESS(op->x[0].dtype == NT_I32 && !op->x[0].layout,
                  "layer %s: tokens of type %s, not plain int32", op->name, nt_dtype_name(op->x[0].dtype));
    op->flags = op->training ? NT_OP_KEEPS_X : 0;
    return NT_OK;
}

static nt_status check_tokens(const nt_op *op, const nt_pass *pass)
{
    const int64_t vocabulary = op->param[0].shape.dim[0], length = op->x[0].shape.dim[1];
    const int32_t *token = op->x[0].data; /* (N, T) */
    for (int64_t i = 0, n = nt_shape_elems(op->x[0].shape); i < n; i++)
        NT_CHECK(token[i] >= 0 && token[i] < vocabulary, NT_ERR_DATA,
                 "layer %s: token %d at position %lld of sample %lld is not in 0..%lld, the vocabulary that "
                 "num_embeddings says",
                 op->name, token[i], (long long)(i % length),
                 (long long)(pass->sample ? pass->sample[i / length] : i / length),
                 (long long)(vocabulary - 1));
    return NT_OK;
}

static void embed_sample(void *arg, int64_t i)
{
    const nt_op *op = arg;
    const int64_t e = op->param[0].shape.dim[1], length = op->x[0].shape.dim[1];
    const int32_t *token = (const int32_t *)op->x[0].data + i * length;
    const float *weight = op->param[0].data;         /* (V, E) */
    float *y = (float *)op->y.data + i * length * e; /* (T, E) */
    for (int64_t t = 0; t < length; t++)
        memcpy(y + t * e, weight + token[t] * e, (size_t)e * sizeof *y);
}

static nt_status embedding_forward(nt_op *op, const nt_pass *pass)
{
    NT_TRY(check_tokens(op, pass));
    nt_cpu_each(nt_cpu_of(op), op->x[0].shape.dim[0], nt_shape_elems(op->y.shape), embed_sample, op);
    return NT_OK;
}

/* A block of columns of the gradient. */
enum { COLUMNS = 64 };

static void add_columns(void *arg, int64_t block)
{
    const nt_op *op = arg;
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    const int64_t e = op->param[0].shape.dim[1], first = block * COLUMNS;
    const int64_t n = e - first < COLUMNS ? e - first : COLUMNS;
    const int32_t *token = op->x[0].data;
    const float *dy = (const float *)op->dy.data + first;
    float *dweight = (float *)op->dparam[0].data + first;
    for (int64_t i = 0, n_tokens = nt_shape_elems(op->x[0].shape); i < n_tokens; i++)
        vec->add(dweight + token[i] * e, dweight + token[i] * e, dy + i * e, n);
}

static nt_status embedding_backward(nt_op *op, const nt_pass *pass)
{
    const int64_t e = op->param[0].shape.dim[1];
    if (!pass->accumulate) memset(op->dparam[0].data, 0, op->param[0].n_bytes);
    nt_cpu_each(nt_cpu_of(op), (e + COLUMNS - 1) / COLUMNS, nt_shape_elems(op->y.shape), add_columns, op);
    return NT_OK;
}

const nt_op_impl nt_cpu_embedding = {
    .kind = "embedding",
    .create = embedding_create,
    .forward = embedding_forward,
    .backward = embedding_backward,
};

/* ---- position_embedding: y = x + weight in every sample ---- */

/* Elements of a sample. */
static int64_t inner_of(const nt_op *op)
{
    return nt_shape_elems(op->y.shape) / op->y.shape.dim[0];
}

static nt_status position_create(nt_op *op)
{
    if (op->x[0].layout) return nt_fallback_create(op, "position_embedding");
    op->flags = NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD;
    op->scratch_bytes = op->training ? (size_t)inner_of(op) * sizeof(double) : 0;
    return NT_OK;
}

static void place_sample(void *arg, int64_t i)
{
    const nt_op *op = arg;
    const int64_t inner = inner_of(op);
    nt_cpu_of(op)->vec->add((float *)op->y.data + i * inner, (const float *)op->x[0].data + i * inner,
                            op->param[0].data, inner);
}

static nt_status position_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    nt_cpu_each(nt_cpu_of(op), op->y.shape.dim[0], nt_shape_elems(op->y.shape), place_sample, op);
    return NT_OK;
}

/* Sums over the samples. */
static void sum_places(void *arg, int64_t begin, int64_t end)
{
    const nt_op *op = arg;
    const int64_t inner = inner_of(op);
    const float *dy = op->dy.data;
    double *sum = op->scratch;
    for (int64_t j = begin; j < end; j++)
        sum[j] = 0;
    for (int64_t i = 0; i < op->y.shape.dim[0]; i++)
        nt_cpu_of(op)->vec->accumulate(sum + begin, dy + i * inner + begin, end - begin);
}

static nt_status position_backward(nt_op *op, const nt_pass *pass)
{
    const int64_t inner = inner_of(op), n = nt_shape_elems(op->param[0].shape);
    const double *sum = op->scratch;
    float *dweight = op->dparam[0].data;
    nt_cpu_parallel(nt_cpu_of(op), inner, sum_places, op);
    for (int64_t j = 0; j < n; j++) {
        const double value = j < inner ? sum[j] : 0; /* 0 for positions that no sample has */
        dweight[j] = (float)(pass->accumulate ? (double)dweight[j] + value : value);
    }
    if (op->need_dx[0] && op->dx[0].data != op->dy.data) memcpy(op->dx[0].data, op->dy.data, op->y.n_bytes);
    return NT_OK;
}

const nt_op_impl nt_cpu_position_embedding = {
    .kind = "position_embedding",
    .create = position_create,
    .forward = position_forward,
    .backward = position_backward,
};
