/* conv2d: oneDNN's direct convolution in the formats that it likes best, or our Winograd convolution in the
 * same formats where that is faster.
 *
 * Forward decides about formats: x in its own one if it has one that goes fast. y, the weights and their
 * gradient take the formats of forward; where a backward primitive wants others (the direct backward-data
 * kernel wants its weights transposed), its task reorders.
 *
 * ReLU is not fused: oneDNN's turns a NaN into 0, which would hide a diverged run. */
#include "core/backends/cpu/op_conv2d.h"

#include "core/layers/conv2d.h"

#include <stdlib.h>
#include <string.h>

static void conv_destroy(nt_op *op)
{
    nt_conv *c = op->state;
    if (!c) return;
    for (int p = 0; p < NT_CONV_PASSES; p++)
        nt_cpu_task_free(&c->task[p]);
    if (c->hint) (void)dnnl_primitive_desc_destroy(c->hint);
    free(c);
    op->state = NULL;
}

static nt_status describe_weights(nt_op *op, nt_dnnl_conv *d)
{
    const nt_conv2d_options *o = op->options;
    const int64_t *w = op->param[0].shape.dim; /* (K, C / groups, R, S) */
    nt_cpu *cpu = nt_cpu_of(op);
    if (o->groups == 1) return nt_cpu_md(cpu, &d->weights, 4, w, dnnl_format_tag_any);
    int64_t grouped[5] = {o->groups, w[0] / o->groups, w[1], w[2], w[3]};
    return nt_cpu_md(cpu, &d->weights, 5, grouped, dnnl_format_tag_any);
}

/* Everything with a free choice of formats. */
static nt_status describe(nt_op *op, nt_dnnl_conv *d)
{
    const nt_conv2d_options *o = op->options;
    nt_cpu *cpu = nt_cpu_of(op);
    d->prop = dnnl_forward_training; /* in inference too: the same bits */
    d->alg = dnnl_convolution_direct;
    for (int i = 0; i < 2; i++) {
        d->strides[i] = o->stride[i];
        d->dilates[i] = o->dilation[i] - 1;
        d->pad_begin[i] = o->pad_begin[i];
        d->pad_end[i] = o->pad_end[i];
    }
    NT_TRY(nt_cpu_md(cpu, &d->src, 4, op->x[0].shape.dim, dnnl_format_tag_any));
    NT_TRY(describe_weights(op, d));
    if (o->has_bias) NT_TRY(nt_cpu_md(cpu, &d->bias, 1, op->param[1].shape.dim, dnnl_a));
    NT_TRY(nt_cpu_md(cpu, &d->dst, 4, op->y.shape.dim, dnnl_format_tag_any));
    return NT_OK;
}

static bool is_slow(nt_const_pd pd)
{
    const char *name = "";
    if (dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) != dnnl_success) return false;
    return strstr(name, "ref") || strstr(name, "gemm");
}

static bool try_forward(nt_cpu *cpu, const nt_dnnl_conv *d, dnnl_primitive_desc_t *out)
{
    if (nt_dnnl_conv_forward(out, cpu->engine, d, cpu->attr) != dnnl_success) return false;
    if (!is_slow(*out)) return true;
    (void)dnnl_primitive_desc_destroy(*out);
    return false;
}

/* First in blocks of 16 channels, which all kernels and Winograd share, where vectors are as long: even if x,
 * out of a convolution of small groups, has narrower ones, in which everything up to the end of the network
 * would take twice the time. Then in x's own format; then as oneDNN likes it. */
static nt_status choose_forward(nt_op *op, nt_conv *c, dnnl_primitive_desc_t *out)
{
    nt_cpu *cpu = nt_cpu_of(op);
    const int64_t *x = op->x[0].shape.dim, *y = op->y.shape.dim;
    nt_dnnl_conv d = c->desc;
    (void)nt_cpu_use_threads(c->threads);
    if (op->x[0].layout)
        NT_TRY(nt_cpu_md_of(cpu, &d.src, &op->x[0]));
    else if (x[1] % NT_LANES == 0)
        NT_TRY(nt_cpu_md(cpu, &d.src, 4, x, dnnl_nChw16c));
    if (cpu->blocks_of_16 && y[1] % NT_LANES == 0) {
        NT_TRY(nt_cpu_md(cpu, &d.dst, 4, y, dnnl_nChw16c));
        if (try_forward(cpu, &d, out)) return NT_OK;
        if (x[1] % NT_LANES == 0) NT_TRY(nt_cpu_md(cpu, &d.src, 4, x, dnnl_nChw16c));
        if (x[1] % NT_LANES == 0 && try_forward(cpu, &d, out)) return NT_OK;
    }
    d = c->desc;
    if (op->x[0].layout) {
        NT_TRY(nt_cpu_md_of(cpu, &d.src, &op->x[0]));
        if (try_forward(cpu, &d, out)) return NT_OK;
    }
    NT_DNNL(nt_dnnl_conv_forward(out, cpu->engine, &c->desc, cpu->attr));
    return NT_OK;
}

/* Takes formats of src, weights and dst from forward's choice, and gives them to y and the weights. */
static nt_status adopt_formats(nt_op *op, nt_conv *c)
{
    nt_cpu *cpu = nt_cpu_of(op);
    NT_TRY(nt_cpu_pd_md(cpu, &c->desc.src, c->hint, dnnl_query_src_md));
    NT_TRY(nt_cpu_pd_md(cpu, &c->desc.weights, c->hint, dnnl_query_weights_md));
    NT_TRY(nt_cpu_pd_md(cpu, &c->desc.dst, c->hint, dnnl_query_dst_md));
    NT_TRY(nt_cpu_set_md(cpu, &op->y, c->desc.dst));
    if (!op->param_fixed) NT_TRY(nt_cpu_set_md(cpu, &op->param[0], c->desc.weights));
    return NT_OK;
}

static dnnl_status_t make_pd(nt_op *op, nt_conv *c, nt_conv_pass pass, const nt_dnnl_conv *d,
                             dnnl_primitive_desc_t *out)
{
    nt_cpu *cpu = nt_cpu_of(op);
    (void)nt_cpu_use_threads(c->threads);
    if (pass == NT_CONV_FORWARD) return nt_dnnl_conv_forward(out, cpu->engine, d, cpu->attr);
    if (pass == NT_CONV_DATA) return nt_dnnl_conv_backward_data(out, cpu->engine, d, c->hint, cpu->attr);
    return nt_dnnl_conv_backward_weights(out, cpu->engine, d, c->hint, cpu->attr);
}

/* The descriptor of a pass: formats of src and dst as forward has them, of the weights as it likes; all free
 * if that would be slow. */
static nt_status choose_pd(nt_op *op, nt_conv *c, nt_conv_pass pass, dnnl_primitive_desc_t *out)
{
    nt_dnnl_conv free_formats = {0}, d = c->desc;
    NT_TRY(describe(op, &free_formats));
    if (pass != NT_CONV_FORWARD) d.weights = free_formats.weights;
    dnnl_status_t answer = make_pd(op, c, pass, &d, out);
    if (answer == dnnl_success && (pass == NT_CONV_FORWARD || !is_slow(*out))) return NT_OK;
    if (answer == dnnl_success) (void)dnnl_primitive_desc_destroy(*out);
    NT_DNNL(make_pd(op, c, pass, &free_formats, out));
    return NT_OK;
}

static nt_status add_ports(nt_op *op, const nt_conv *c, nt_cpu_task *t, nt_conv_pass pass, const nt_md md[3])
{
    nt_cpu *cpu = nt_cpu_of(op);
    const nt_tensor *x = &op->x[0], *w = &op->param[0], *b = &op->param[1], *y = &op->y;
    if (pass == NT_CONV_FORWARD) {
        NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_SRC, md[0], x, x));
        NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_WEIGHTS, md[1], w, w));
        if (c->desc.bias) NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_BIAS, c->desc.bias, b, b));
        NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DST, md[2], y, y, false));
        return NT_OK;
    }
    NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_DIFF_DST, md[2], y, &op->dy));
    if (pass == NT_CONV_DATA) {
        NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_WEIGHTS, md[1], w, w));
        NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DIFF_SRC, md[0], x, &op->dx[0], false));
        return NT_OK;
    }
    NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_SRC, md[0], x, x));
    NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DIFF_WEIGHTS, md[1], w, &op->dparam[0], true));
    if (c->desc.bias)
        NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DIFF_BIAS, c->desc.bias, b, &op->dparam[1], true));
    return NT_OK;
}

/* Makes a task of pd and destroys pd. */
static nt_status make_task(nt_op *op, nt_conv *c, nt_conv_pass pass, dnnl_primitive_desc_t pd)
{
    static const dnnl_query_t queries[NT_CONV_PASSES][3] = {
        {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md},
        {dnnl_query_diff_src_md, dnnl_query_weights_md, dnnl_query_diff_dst_md},
        {dnnl_query_src_md, dnnl_query_diff_weights_md, dnnl_query_diff_dst_md},
    };
    nt_cpu *cpu = nt_cpu_of(op);
    nt_md md[3] = {0};
    nt_status status = NT_OK;
    for (int i = 0; i < 3 && status == NT_OK; i++)
        status = nt_cpu_pd_md(cpu, &md[i], pd, queries[pass][i]);
    if (status != NT_OK) {
        (void)dnnl_primitive_desc_destroy(pd);
        return status;
    }
    NT_TRY(nt_cpu_task_create(cpu, &c->task[pass], pd));
    NT_TRY(add_ports(op, c, &c->task[pass], pass, md));
    return NT_OK;
}

static nt_status make_pass(nt_op *op, nt_conv *c, nt_conv_pass pass)
{
    dnnl_primitive_desc_t pd;
    NT_TRY(choose_pd(op, c, pass, &pd));
    c->depthwise = pass == NT_CONV_WEIGHTS && is_slow(pd) && nt_conv_can_depthwise(op);
    if (c->depthwise) {
        NT_DNNL(dnnl_primitive_desc_destroy(pd));
        return NT_OK;
    }
    NT_TRY(make_task(op, c, pass, pd));
    c->runs[pass] = true;
    if (nt_conv_can_winograd(op, c)) NT_TRY(nt_conv_choose(op, c, pass));
    size_t scratch = nt_conv_scratch(c, pass);
    if (scratch > op->scratch_bytes) op->scratch_bytes = scratch;
    return NT_OK;
}

static int threads_of(const nt_op *op)
{
    const nt_shape w = op->param[0].shape;
    const int64_t per_output = 2 * nt_shape_elems(w) / w.dim[0];
    return nt_cpu_threads(nt_cpu_of(op), nt_shape_elems(op->y.shape) * per_output / NT_CPU_FLOPS);
}

static nt_status conv_create(nt_op *op)
{
    nt_conv *c = calloc(1, sizeof *c);
    NT_CHECK_ALLOC(c, sizeof *c);
    op->state = c;
    op->scratch_bytes = 0;
    c->threads = threads_of(op);
    NT_TRY(describe(op, &c->desc));
    NT_TRY(choose_forward(op, c, &c->hint));
    NT_TRY(adopt_formats(op, c));
    NT_TRY(make_pass(op, c, NT_CONV_FORWARD));
    if (!op->training) return NT_OK;
    op->flags = NT_OP_KEEPS_X;
    if (op->need_dx[0]) NT_TRY(make_pass(op, c, NT_CONV_DATA));
    NT_TRY(make_pass(op, c, NT_CONV_WEIGHTS));
    return NT_OK;
}

static nt_status conv_bind(nt_op *op)
{
    nt_conv *c = op->state;
    for (int p = 0; p < NT_CONV_PASSES; p++)
        if (c->runs[p]) NT_TRY(nt_cpu_task_bind(&c->task[p], op->scratch));
    return NT_OK;
}

static nt_status conv_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    NT_TRY(nt_conv_run(op, op->state, NT_CONV_FORWARD, false));
    return NT_OK;
}

static nt_status conv_backward(nt_op *op, const nt_pass *pass)
{
    nt_conv *c = op->state;
    if (c->runs[NT_CONV_DATA]) NT_TRY(nt_conv_run(op, c, NT_CONV_DATA, false));
    if (c->depthwise)
        nt_conv_depthwise_weights(op, pass->accumulate);
    else
        NT_TRY(nt_conv_run(op, c, NT_CONV_WEIGHTS, pass->accumulate));
    return NT_OK;
}

const nt_op_impl nt_cpu_conv2d = {
    .kind = "conv2d",
    .create = conv_create,
    .destroy = conv_destroy,
    .bind = conv_bind,
    .forward = conv_forward,
    .backward = conv_backward,
};
