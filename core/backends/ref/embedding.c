/* embedding: rows of a table. Backward visits the tokens once for each row that occurs, so that every sum is
 * in double and in the order of the batch: a chain through the positions of equal tokens, made in forward. */
#include "core/layers/embedding.h"

#include "core/backends/ref/ref.h"

static int64_t n_tokens(const nt_op *op)
{
    return nt_shape_elems(op->x[0].shape);
}

static nt_status embedding_create(nt_op *op)
{
    NT_BUG_UNLESS(op->x[0].dtype == NT_I32, "layer %s: tokens of type %s, not int32", op->name,
                  nt_dtype_name(op->x[0].dtype));
    NT_TRY(NT_REF(create_plain)(op));
    if (!op->training) return NT_OK;
    op->saved_bytes = (size_t)(op->param[0].shape.dim[0] + n_tokens(op)) * sizeof(int64_t);
    return NT_OK;
}

/* first (V): first position of each token or -1; next (N T): following position of the same token or -1. */
static void make_chains(const int32_t *token, int64_t n, int64_t vocabulary, int64_t *first)
{
    int64_t *next = first + vocabulary;
    for (int64_t v = 0; v < vocabulary; v++)
        first[v] = -1;
    for (int64_t i = n - 1; i >= 0; i--) {
        next[i] = first[token[i]];
        first[token[i]] = i;
    }
}

static nt_status embedding_forward(nt_op *op, const nt_pass *pass)
{
    const int64_t vocabulary = op->param[0].shape.dim[0], e = op->param[0].shape.dim[1];
    const int64_t length = op->x[0].shape.dim[1];
    const int32_t *token = op->x[0].data;   /* (N, T) */
    const real *weight = op->param[0].data; /* (V, E) */
    real *y = op->y.data;                   /* (N, T, E) */
    for (int64_t i = 0, n = n_tokens(op); i < n; i++) {
        NT_CHECK(token[i] >= 0 && token[i] < vocabulary, NT_ERR_DATA,
                 "layer %s: token %d at position %lld of sample %lld is not in 0..%lld, the vocabulary that "
                 "num_embeddings says",
                 op->name, token[i], (long long)(i % length),
                 (long long)(pass->sample ? pass->sample[i / length] : i / length),
                 (long long)(vocabulary - 1));
        NT_REF(copy)(y + i * e, weight + token[i] * e, (size_t)e * sizeof *y);
    }
    if (op->training) make_chains(token, n_tokens(op), vocabulary, op->saved);
    return NT_OK;
}

static nt_status embedding_backward(nt_op *op, const nt_pass *pass)
{
    const int64_t vocabulary = op->param[0].shape.dim[0], e = op->param[0].shape.dim[1];
    const int64_t *first = op->saved, *next = first + vocabulary;
    const real *dy = op->dy.data;
    real *dweight = op->dparam[0].data;
    for (int64_t v = 0; v < vocabulary; v++)
        for (int64_t j = 0; j < e; j++) {
            double sum = 0;
            for (int64_t i = first[v]; i >= 0; i = next[i])
                sum += (double)dy[i * e + j];
            nt_ref_put(&dweight[v * e + j], sum, pass);
        }
    return NT_OK;
}

const nt_op_impl NT_REF(embedding) = {
    .kind = "embedding",
    .create = embedding_create,
    .forward = embedding_forward,
    .backward = embedding_backward,
};
