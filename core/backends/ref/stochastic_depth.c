/* stochastic_depth: whole samples times 0 or 1 / (1 - rate). The choice is a function of (seed, epoch,
 * sample, layer), so backward makes it again. In inference, and at rate 0, the op is a view. */
#include "core/layers/stochastic_depth.h"

#include "core/backends/ref/ref.h"
#include "core/rng.h"

static double rate_of(const nt_op *op)
{
    return op->training ? ((const nt_stochastic_depth_options *)op->options)->rate : 0;
}

static nt_status stochastic_depth_create(nt_op *op)
{
    NT_TRY(NT_REF(create_plain)(op));
    op->flags = rate_of(op) > 0 ? NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD : NT_OP_VIEW;
    return NT_OK;
}

static double factor_of(const nt_op *op, const nt_pass *pass, int64_t row)
{
    nt_philox words = nt_rng_block(pass->seed, NT_RNG_DROPOUT, op->id, 0, (uint32_t)pass->sample[row],
                                   (uint32_t)pass->epoch);
    return (double)nt_rng_uniform(words.v[0]) >= rate_of(op) ? 1 / (1 - rate_of(op)) : 0;
}

/* out = in times the sample's factor, (N, ...); out may be in. */
static void run(const nt_op *op, const nt_pass *pass, real *out, const real *in)
{
    if (rate_of(op) == 0) {
        NT_REF(copy)(out, in, op->y.n_bytes);
        return;
    }
    const int64_t n = op->y.shape.dim[0], inner = nt_shape_elems(op->y.shape) / n;
    for (int64_t i = 0; i < n; i++) {
        double factor = factor_of(op, pass, i);
        for (int64_t j = i * inner; j < (i + 1) * inner; j++)
            out[j] = factor > 0 ? (real)((double)in[j] * factor) : 0;
    }
}

static nt_status stochastic_depth_forward(nt_op *op, const nt_pass *pass)
{
    run(op, pass, op->y.data, op->x[0].data);
    return NT_OK;
}

static nt_status stochastic_depth_backward(nt_op *op, const nt_pass *pass)
{
    if (op->need_dx[0]) run(op, pass, op->dx[0].data, op->dy.data);
    return NT_OK;
}

const nt_op_impl NT_REF(stochastic_depth) = {
    .kind = "stochastic_depth",
    .create = stochastic_depth_create,
    .forward = stochastic_depth_forward,
    .backward = stochastic_depth_backward,
};
