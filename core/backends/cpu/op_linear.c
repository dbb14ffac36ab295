/* linear on our own panels (fc.h) where the machine has AVX-512 and the layer enough outputs to fill them;
 * else by oneDNN (op_linear_dnnl.c).
 *
 * A flattened image in blocks of 16 channels is used as it lies in memory: the weights' panels then follow
 * that order of inputs, which is the format ABcd16b64a, and nothing is reordered between the last convolution
 * and the first linear layer. */
#include "core/backends/cpu/cpu.h"

#include "core/backends/cpu/fc.h"
#include "core/layers/linear.h"

#include <stdlib.h>

static void linear_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

static bool has_panels(const nt_cpu *cpu, const nt_linear_options *o)
{
    enum { WORTH_PANELS = 32 };
    return cpu->blocks_of_16 && nt_fc_supported() && o->units > WORTH_PANELS;
}

/* The weights' descriptor in the order of x; NULL if x lies in no order that panels can follow. */
static nt_status describe_weights(nt_op *op, nt_md *out)
{
    const int64_t n = op->y.shape.dim[0], k = op->y.shape.dim[1], f = nt_shape_elems(op->x[0].shape) / n;
    nt_cpu *cpu = nt_cpu_of(op);
    *out = NULL;
    if (!op->x[0].layout) return nt_cpu_md(cpu, out, 2, (int64_t[]){k, f}, dnnl_AB16b64a);
    nt_md x = op->x[0].layout->md;
    const dnnl_dim_t *dims = nt_dnnl_md_dims(x);
    if (nt_dnnl_md_n_dims(x) != 4 || dims[1] % 16 != 0 || !nt_cpu_md_has_tag(x, dnnl_nChw16c)) return NT_OK;
    return nt_cpu_md(cpu, out, 4, (int64_t[]){k, dims[1], dims[2], dims[3]}, dnnl_ABcd16b64a);
}

static nt_status linear_create(nt_op *op)
{
    nt_cpu *cpu = nt_cpu_of(op);
    nt_tensor wanted = op->param[0];
    nt_md weights = NULL;
    if (has_panels(cpu, op->options)) NT_TRY(describe_weights(op, &weights));
    if (weights) NT_TRY(nt_cpu_set_md(cpu, &wanted, weights));
    if (!weights || (op->param_fixed && op->param[0].layout != wanted.layout)) {
        op->impl = &nt_cpu_linear_dnnl;
        return op->impl->create(op);
    }
    nt_fc_shape *s = calloc(1, sizeof *s);
    NT_CHECK_ALLOC(s, sizeof *s);
    op->state = s;
    op->param[0] = wanted;
    s->m = op->y.shape.dim[0];
    s->k = nt_shape_elems(op->x[0].shape) / s->m;
    s->n = op->y.shape.dim[1];
    op->scratch_bytes = nt_fc_scratch_bytes(s);
    if (op->training)
        op->flags =
            NT_OP_KEEPS_X | (op->activation ? NT_OP_KEEPS_Y : 0) | (nt_fc_can_sgd(s) ? NT_OP_TAKES_SGD : 0);
    return NT_OK;
}

static int threads_of(const nt_op *op)
{
    const nt_fc_shape *s = op->state;
    return nt_cpu_threads(nt_cpu_of(op), 2 * s->m * s->k * s->n / NT_CPU_FLOPS);
}

static nt_status linear_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    nt_fc_forward(op->state, op->y.data, op->x[0].data, op->param[0].data,
                  op->n_params > 1 ? op->param[1].data : NULL, op->activation != NULL, op->scratch,
                  threads_of(op));
    return NT_OK;
}

static void backward_and_step(nt_op *op, const float *y, float *dbias)
{
    const nt_update *u = &op->step->update;
    const nt_fc_sgd sgd = {.p = op->param[0].data,
                           .velocity = op->step->s1,
                           .lr = u->lr,
                           .momentum = u->momentum,
                           .weight_decay = u->weight_decay,
                           .grad_scale = u->grad_scale,
                           .nesterov = u->nesterov};
    nt_fc_backward_weights_sgd(op->state, &sgd, op->step->squares, dbias, op->x[0].data, op->dy.data, y,
                               op->scratch, threads_of(op));
}

static nt_status linear_backward(nt_op *op, const nt_pass *pass)
{
    const float *y = op->activation ? op->y.data : NULL;
    const int threads = threads_of(op);
    if (op->need_dx[0])
        nt_fc_backward_data(op->state, op->dx[0].data, op->dy.data, y, op->param[0].data, op->scratch,
                            threads);
    float *dbias = op->n_params > 1 ? op->dparam[1].data : NULL;
    if (op->step)
        backward_and_step(op, y, dbias);
    else
        nt_fc_backward_weights(op->state, op->dparam[0].data, dbias, op->x[0].data, op->dy.data, y,
                               pass->accumulate, op->scratch, threads);
    return NT_OK;
}

const nt_op_impl nt_cpu_linear = {
    .kind = "linear",
    .create = linear_create,
    .destroy = linear_destroy,
    .forward = linear_forward,
    .backward = linear_backward,
};
