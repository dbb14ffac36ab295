/* linear by oneDNN's inner product, for machines and layers that op_linear.c does not serve.
 *
 * x in a blocked image format, as flatten leaves it, is used as it is: the inner product then has four
 * dimensions and the weights a matching order, so that nothing is reordered between the last convolution and
 * the first linear layer. */
#include "core/backends/cpu/cpu.h"

#include "core/layers/linear.h"

#include <stdlib.h>

enum { FORWARD, DATA, WEIGHTS, N_PASSES };

typedef struct linear {
    nt_dnnl_linear desc; /* with a free choice of formats for the weights */
    dnnl_primitive_desc_t hint;
    nt_cpu_task task[N_PASSES];
    bool runs[N_PASSES];
    nt_tensor masked;    /* with ReLU: dy where y > 0, in scratch */
    const nt_tensor *dz; /* that, or dy */
} linear;

static void linear_destroy(nt_op *op)
{
    linear *l = op->state;
    if (!l) return;
    for (int p = 0; p < N_PASSES; p++)
        nt_cpu_task_free(&l->task[p]);
    if (l->hint) (void)dnnl_primitive_desc_destroy(l->hint);
    free(l);
    op->state = NULL;
}

/* x as it is: with the dimensions of its descriptor if it has one, else (N, F). */
static nt_status describe(nt_op *op, nt_dnnl_linear *d)
{
    const nt_linear_options *o = op->options;
    nt_cpu *cpu = nt_cpu_of(op);
    const int64_t n = op->y.shape.dim[0], k = o->units, f = nt_shape_elems(op->x[0].shape) / n;
    int64_t dims[6] = {k, f}, rows[2] = {n, f};
    int n_dims = 2;
    d->prop = dnnl_forward_training;
    NT_TRY(nt_cpu_md(cpu, &d->src, 2, rows, dnnl_ab));
    if (op->x[0].layout) {
        NT_TRY(nt_cpu_md_of(cpu, &d->src, &op->x[0]));
        n_dims = nt_dnnl_md_n_dims(d->src);
        for (int i = 1; i < n_dims; i++)
            dims[i] = nt_dnnl_md_dims(d->src)[i];
    }
    NT_TRY(nt_cpu_md(cpu, &d->weights, n_dims, dims, dnnl_format_tag_any));
    if (o->has_bias) NT_TRY(nt_cpu_md(cpu, &d->bias, 1, &k, dnnl_a));
    NT_TRY(nt_cpu_md(cpu, &d->dst, 2, (int64_t[]){n, k}, dnnl_ab));
    return NT_OK;
}

static nt_status add_ports(nt_op *op, const linear *l, nt_cpu_task *t, int pass, nt_md weights)
{
    nt_cpu *cpu = nt_cpu_of(op);
    const nt_dnnl_linear *d = &l->desc;
    const nt_tensor *x = &op->x[0], *w = &op->param[0], *b = &op->param[1], *y = &op->y;
    if (pass == FORWARD) {
        NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_SRC, d->src, x, x));
        NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_WEIGHTS, weights, w, w));
        if (d->bias) NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_BIAS, d->bias, b, b));
        NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DST, d->dst, y, y, false));
        return NT_OK;
    }
    NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_DIFF_DST, d->dst, y, l->dz));
    if (pass == DATA) {
        NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_WEIGHTS, weights, w, w));
        NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DIFF_SRC, d->src, x, &op->dx[0], false));
        return NT_OK;
    }
    NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_SRC, d->src, x, x));
    NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DIFF_WEIGHTS, weights, w, &op->dparam[0], true));
    if (d->bias) NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DIFF_BIAS, d->bias, b, &op->dparam[1], true));
    return NT_OK;
}

static nt_status make_pd(nt_op *op, const linear *l, int pass, dnnl_primitive_desc_t *out)
{
    nt_cpu *cpu = nt_cpu_of(op);
    const int64_t flops = 2 * nt_shape_elems(op->x[0].shape) * op->y.shape.dim[1];
    (void)nt_cpu_use_threads(nt_cpu_threads(cpu, flops / NT_CPU_FLOPS));
    if (pass == FORWARD)
        NT_DNNL(nt_dnnl_linear_forward(out, cpu->engine, &l->desc, cpu->attr));
    else if (pass == DATA)
        NT_DNNL(nt_dnnl_linear_backward_data(out, cpu->engine, &l->desc, l->hint, cpu->attr));
    else
        NT_DNNL(nt_dnnl_linear_backward_weights(out, cpu->engine, &l->desc, l->hint, cpu->attr));
    return NT_OK;
}

static nt_status make_pass(nt_op *op, linear *l, int pass)
{
    nt_cpu *cpu = nt_cpu_of(op);
    dnnl_primitive_desc_t pd;
    nt_md weights = NULL;
    NT_TRY(make_pd(op, l, pass, &pd));
    nt_status status =
        nt_cpu_pd_md(cpu, &weights, pd, pass == WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
    if (status == NT_OK && pass == FORWARD && !op->param_fixed)
        status = nt_cpu_set_md(cpu, &op->param[0], weights);
    if (status != NT_OK) {
        (void)dnnl_primitive_desc_destroy(pd);
        return status;
    }
    NT_TRY(nt_cpu_task_create(cpu, &l->task[pass], pd));
    NT_TRY(add_ports(op, l, &l->task[pass], pass, weights));
    l->runs[pass] = true;
    if (l->task[pass].scratch_bytes > op->scratch_bytes) op->scratch_bytes = l->task[pass].scratch_bytes;
    return NT_OK;
}

static nt_status linear_create(nt_op *op)
{
    linear *l = calloc(1, sizeof *l);
    NT_CHECK_ALLOC(l, sizeof *l);
    op->state = l;
    op->scratch_bytes = 0;
    l->dz = op->activation ? &l->masked : &op->dy;
    NT_TRY(describe(op, &l->desc));
    NT_TRY(nt_cpu_set_md(nt_cpu_of(op), &op->y, l->desc.dst));
    NT_TRY(make_pd(op, l, FORWARD, &l->hint));
    NT_TRY(make_pass(op, l, FORWARD));
    if (!op->training) return NT_OK;
    op->flags = NT_OP_KEEPS_X | (op->activation ? NT_OP_KEEPS_Y : 0);
    l->masked = op->y;
    if (op->need_dx[0]) NT_TRY(make_pass(op, l, DATA));
    NT_TRY(make_pass(op, l, WEIGHTS));
    if (op->activation) op->scratch_bytes += nt_cpu_round(op->y.n_bytes);
    return NT_OK;
}

static nt_status linear_bind(nt_op *op)
{
    linear *l = op->state;
    char *scratch = op->scratch;
    if (op->activation && op->training) {
        l->masked.data = scratch;
        scratch += nt_cpu_round(op->y.n_bytes);
    }
    for (int p = FORWARD; p < N_PASSES; p++)
        if (l->runs[p]) NT_TRY(nt_cpu_task_bind(&l->task[p], scratch));
    return NT_OK;
}

static nt_status linear_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    linear *l = op->state;
    nt_cpu *cpu = nt_cpu_of(op);
    NT_TRY(nt_cpu_task_run(cpu, &l->task[FORWARD], false));
    /* oneDNN's own ReLU would turn a NaN into 0 */
    if (op->activation) cpu->vec->relu(op->y.data, op->y.data, nt_cpu_stored(&op->y));
    return NT_OK;
}

static nt_status linear_backward(nt_op *op, const nt_pass *pass)
{
    linear *l = op->state;
    nt_cpu *cpu = nt_cpu_of(op);
    if (op->activation)
        nt_cpu_relu_backward(cpu, l->masked.data, op->dy.data, op->y.data, nt_cpu_stored(&op->y));
    if (l->runs[DATA]) NT_TRY(nt_cpu_task_run(cpu, &l->task[DATA], false));
    NT_TRY(nt_cpu_task_run(cpu, &l->task[WEIGHTS], pass->accumulate));
    return NT_OK;
}

const nt_op_impl nt_cpu_linear_dnnl = {
    .kind = "linear",
    .create = linear_create,
    .destroy = linear_destroy,
    .bind = linear_bind,
    .forward = linear_forward,
    .backward = linear_backward,
};
