/* dropout: the mask is a function of (seed, epoch, sample, layer, element), so backward makes it again and
 * nothing is saved. In inference, and at rate 0, the op is a view. */
#include "core/layers/dropout.h"

#include "core/backends/ref/ref.h"
#include "core/rng.h"

static double rate_of(const nt_op *op)
{
    return ((const nt_dropout_options *)op->options)->rate;
}

static nt_status dropout_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    bool masks = op->training && rate_of(op) > 0;
    op->flags = masks ? NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD : NT_OP_VIEW;
    return NT_OK;
}

/* out = in * mask / (1 - rate), (N, ...); out may be in. */
static void apply_mask(const nt_op *op, const nt_pass *pass, real *out, const real *in)
{
    const double rate = rate_of(op), scale = 1 / (1 - rate);
    int64_t n = op->y.shape.dim[0], inner = nt_shape_elems(op->y.shape) / n;
    for (int64_t i = 0; i < n; i++, in += inner, out += inner) {
        nt_philox words = {{0}};
        for (int64_t e = 0; e < inner; e++) {
            if (e % 4 == 0)
                words = nt_rng_block(pass->seed, NT_RNG_DROPOUT, op->id, (uint32_t)(e / 4),
                                     (uint32_t)pass->sample[i], (uint32_t)pass->epoch);
            bool keeps = (double)nt_rng_uniform(words.v[e % 4]) >= rate;
            out[e] = keeps ? (real)((double)in[e] * scale) : 0;
        }
    }
}

static void run(const nt_op *op, const nt_pass *pass, void *out, const void *in)
{
    if (op->training && rate_of(op) > 0)
        apply_mask(op, pass, out, in);
    else
        NT_REF(copy)(out, in, op->y.n_bytes);
}

static nt_status dropout_forward(nt_op *op, const nt_pass *pass)
{
    run(op, pass, op->y.data, op->x[0].data);
    return NT_OK;
}

static nt_status dropout_backward(nt_op *op, const nt_pass *pass)
{
    if (op->need_dx[0]) run(op, pass, op->dx[0].data, op->dy.data);
    return NT_OK;
}

const nt_op_impl NT_REF(dropout) = {
    .kind = "dropout",
    .create = dropout_create,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
