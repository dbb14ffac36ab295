/* stochastic_depth: whole samples times 0 or 1 / (1 - rate), chosen by core/layers/stochastic_depth.h, over
 * all of the storage. Samples are the outermost dimension of every layout that strips.c knows. */
#include "core/layers/stochastic_depth.h"

#include "core/backends/cpu/cpu.h"
#include "core/fallback.h"
#include "core/rng.h"

#include <string.h>

static double rate_of(const nt_op *op)
{
    return op->training ? ((const nt_stochastic_depth_options *)op->options)->rate : 0;
}

static nt_status stochastic_depth_create(nt_op *op)
{
    nt_cpu_strips strips;
    if (!nt_cpu_strips_of(nt_cpu_of(op), &op->x[0], &strips))
        return nt_fallback_create(op, "stochastic_depth");
    nt_cpu_copy_layout(&op->y, &op->x[0]);
    op->flags = rate_of(op) > 0 ? NT_OP_INPLACE_FORWARD | NT_OP_INPLACE_BACKWARD : NT_OP_VIEW;
    return NT_OK;
}

typedef struct job {
    const nt_op *op;
    const nt_pass *pass;
    float *out;
    const float *in;
} job;

static void run_sample(void *arg, int64_t i)
{
    const job *j = arg;
    const nt_pass *pass = j->pass;
    const double rate = rate_of(j->op);
    const int64_t n = nt_cpu_stored(&j->op->y) / j->op->y.shape.dim[0];
    const nt_philox words = nt_rng_block(pass->seed, NT_RNG_DROPOUT, j->op->id, 0, (uint32_t)pass->sample[i],
                                         (uint32_t)pass->epoch);
    if ((double)nt_rng_uniform(words.v[0]) >= rate)
        nt_cpu_of(j->op)->vec->scale(j->out + i * n, j->in + i * n, (float)(1 / (1 - rate)), n);
    else
        memset(j->out + i * n, 0, (size_t)n * sizeof *j->out);
}

static void run(const nt_op *op, const nt_pass *pass, float *out, const float *in)
{
    job j = {op, pass, out, in};
    if (rate_of(op) > 0)
        nt_cpu_each(nt_cpu_of(op), op->y.shape.dim[0], nt_cpu_stored(&op->y), run_sample, &j);
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

const nt_op_impl nt_cpu_stochastic_depth = {
    .kind = "stochastic_depth",
    .create = stochastic_depth_create,
    .forward = stochastic_depth_forward,
    .backward = stochastic_depth_backward,
};
