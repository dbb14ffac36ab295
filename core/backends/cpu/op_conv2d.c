/* conv2d by oneDNN, in the layouts that it likes best.
 *
 * Forward decides: with a free choice of formats where x is plain, else in x's format if that has a fast
 * implementation. y, the weights and their gradient take the formats of forward; where a backward primitive
 * wants others (the direct backward-data kernel wants its weights transposed), its task reorders.
 *
 * 3x3 convolutions of stride 1 may run by Winograd's algorithm (oneDNN 2 on AVX-512; version 3 has none, its
 * primitive descriptor says so). Which is faster depends on the shape and the machine, so it is measured once
 * per shape and pass and kept in op->tuning, under a name made of the shape without N.
 *
 * ReLU is not fused: oneDNN's turns a NaN into 0, which would hide a diverged run. */
#include "core/backends/cpu/cpu.h"

#include "core/layers/conv2d.h"
#include "core/log.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FORWARD, DATA, WEIGHTS, N_PASSES };
static const char *const pass_names[N_PASSES] = {"fwd", "bwd_data", "bwd_weights"};

typedef struct conv {
    nt_dnnl_conv desc;          /* src, weights, dst: as forward has them */
    dnnl_primitive_desc_t hint; /* of the direct forward */
    nt_cpu_task task[N_PASSES];
    bool runs[N_PASSES];
} conv;

static void conv_destroy(nt_op *op)
{
    conv *c = op->state;
    if (!c) return;
    for (int p = 0; p < N_PASSES; p++)
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
    d->prop = dnnl_forward_training; /* inference has no Winograd that shares weights with it */
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

/* The direct forward: in x's own format if it has one that goes fast, else as oneDNN likes it. */
static nt_status choose_forward(nt_op *op, conv *c, dnnl_primitive_desc_t *out)
{
    nt_cpu *cpu = nt_cpu_of(op);
    if (op->x[0].layout) {
        nt_dnnl_conv own = c->desc;
        NT_TRY(nt_cpu_md_of(cpu, &own.src, &op->x[0]));
        dnnl_status_t status = nt_dnnl_conv_forward(out, cpu->engine, &own, cpu->attr);
        if (status == dnnl_success && !is_slow(*out)) return NT_OK;
        if (status == dnnl_success) (void)dnnl_primitive_desc_destroy(*out);
    }
    NT_DNNL(nt_dnnl_conv_forward(out, cpu->engine, &c->desc, cpu->attr));
    return NT_OK;
}

/* Takes formats of src, weights and dst from forward's choice, and gives them to y and the weights. */
static nt_status adopt_formats(nt_op *op, conv *c)
{
    nt_cpu *cpu = nt_cpu_of(op);
    NT_TRY(nt_cpu_pd_md(cpu, &c->desc.src, c->hint, dnnl_query_src_md));
    NT_TRY(nt_cpu_pd_md(cpu, &c->desc.weights, c->hint, dnnl_query_weights_md));
    NT_TRY(nt_cpu_pd_md(cpu, &c->desc.dst, c->hint, dnnl_query_dst_md));
    NT_TRY(nt_cpu_set_md(cpu, &op->y, c->desc.dst));
    if (!op->param_fixed) NT_TRY(nt_cpu_set_md(cpu, &op->param[0], c->desc.weights));
    return NT_OK;
}

static dnnl_status_t make_pd(nt_op *op, conv *c, int pass, const nt_dnnl_conv *d, dnnl_primitive_desc_t *out)
{
    nt_cpu *cpu = nt_cpu_of(op);
    switch (pass) {
    case FORWARD:
        return nt_dnnl_conv_forward(out, cpu->engine, d, cpu->attr);
    case DATA:
        return nt_dnnl_conv_backward_data(out, cpu->engine, d, c->hint, cpu->attr);
    default:
        return nt_dnnl_conv_backward_weights(out, cpu->engine, d, c->hint, cpu->attr);
    }
}

/* The descriptor of a pass: formats of src and dst as forward has them, of the weights as it likes; all free
 * if that would be slow. */
static dnnl_status_t choose_pd(nt_op *op, conv *c, int pass, dnnl_alg_kind_t alg, dnnl_primitive_desc_t *out)
{
    nt_dnnl_conv free_formats, d = c->desc;
    nt_status status = describe(op, &free_formats);
    if (status != NT_OK) return dnnl_out_of_memory;
    d.alg = free_formats.alg = alg;
    if (pass != FORWARD) d.weights = free_formats.weights;
    dnnl_status_t answer = make_pd(op, c, pass, &d, out);
    if (pass == FORWARD || alg != dnnl_convolution_direct) return answer;
    if (answer == dnnl_success && !is_slow(*out)) return answer;
    if (answer == dnnl_success) (void)dnnl_primitive_desc_destroy(*out);
    return make_pd(op, c, pass, &free_formats, out);
}

static nt_status add_ports(nt_op *op, const conv *c, nt_cpu_task *t, int pass, const nt_md md[3])
{
    nt_cpu *cpu = nt_cpu_of(op);
    const nt_tensor *x = &op->x[0], *w = &op->param[0], *b = &op->param[1], *y = &op->y;
    if (pass == FORWARD) {
        NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_SRC, md[0], x, x));
        NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_WEIGHTS, md[1], w, w));
        if (c->desc.bias) NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_BIAS, c->desc.bias, b, b));
        NT_TRY(nt_cpu_task_output(cpu, t, DNNL_ARG_DST, md[2], y, y, false));
        return NT_OK;
    }
    NT_TRY(nt_cpu_task_input(cpu, t, DNNL_ARG_DIFF_DST, md[2], y, &op->dy));
    if (pass == DATA) {
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
static nt_status make_task(nt_op *op, conv *c, nt_cpu_task *task, int pass, dnnl_primitive_desc_t pd)
{
    static const dnnl_query_t queries[N_PASSES][3] = {
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
    NT_TRY(nt_cpu_task_create(cpu, task, pd));
    NT_TRY(add_ports(op, c, task, pass, md));
    return NT_OK;
}

/* ---- direct or Winograd ---- */

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Shortest of a few runs of two tasks, by turns, so that a disturbance meets both. */
static nt_status time_tasks(nt_cpu *cpu, nt_cpu_task *const task[2], double best_s[2])
{
    enum { ROUNDS = 4 }; /* the first warms caches up and does not count */
    best_s[0] = best_s[1] = 1e30;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 2; i++) {
            double start_s = now_s();
            NT_TRY(nt_cpu_task_run(cpu, task[i], false));
            double took_s = now_s() - start_s;
            if (round > 0 && took_s < best_s[i]) best_s[i] = took_s;
        }
    return NT_OK;
}

/* The tensors of the op, for moments when it has no memory yet. */
static int list_tensors(nt_op *op, nt_tensor *list[8])
{
    int n = 0;
    list[n++] = &op->x[0];
    list[n++] = &op->dx[0];
    list[n++] = &op->y;
    list[n++] = &op->dy;
    for (int i = 0; i < op->n_params; i++) {
        list[n++] = &op->param[i];
        list[n++] = &op->dparam[i];
    }
    return n;
}

static size_t tensor_bytes(nt_op *op, const nt_tensor *t)
{
    if (t == &op->dx[0]) return op->x[0].n_bytes;
    if (t == &op->dy) return op->y.n_bytes;
    for (int i = 0; i < op->n_params; i++)
        if (t == &op->dparam[i]) return op->param[i].n_bytes;
    return t->n_bytes;
}

/* Gives all tensors memory of one block (size 0: only asks for the size). Small numbers, not zeros. */
static size_t lend_memory(nt_op *op, char *block)
{
    nt_tensor *list[8];
    size_t used = 0;
    int n = list_tensors(op, list);
    for (int i = 0; i < n; i++) {
        list[i]->data = block ? block + used : NULL;
        used += nt_cpu_round(tensor_bytes(op, list[i]));
    }
    for (size_t i = 0; block && i < used / sizeof(float); i++)
        ((float *)block)[i] = (float)((i * 2654435761u >> 20) % 64) / 64;
    return used;
}

static nt_status compare_tasks(nt_op *op, nt_cpu_task *const task[2], double best_s[2])
{
    nt_cpu *cpu = nt_cpu_of(op);
    size_t tensors = lend_memory(op, NULL), scratch = task[0]->scratch_bytes;
    if (task[1]->scratch_bytes > scratch) scratch = task[1]->scratch_bytes;
    char *block = aligned_alloc(64, tensors + nt_cpu_round(scratch));
    NT_CHECK_ALLOC(block, tensors + scratch);
    (void)lend_memory(op, block);
    nt_status status;
    NT_TRY_GOTO(status, done, nt_cpu_task_bind(task[0], block + tensors));
    NT_TRY_GOTO(status, done, nt_cpu_task_bind(task[1], block + tensors));
    NT_TRY_GOTO(status, done, time_tasks(cpu, task, best_s));
done:
    (void)lend_memory(op, NULL);
    free(block);
    return status;
}

static void tuning_name(const nt_op *op, char name[NT_NAME_BYTES])
{
    const nt_conv2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim;
    snprintf(name, NT_NAME_BYTES, "conv2d/%lldx%lldx%lld-%lld/%lldx%lld/p%lld,%lld,%lld,%lld",
             (long long)x[1], (long long)x[2], (long long)x[3], (long long)o->filters,
             (long long)o->kernel[0], (long long)o->kernel[1], (long long)o->pad_begin[0],
             (long long)o->pad_begin[1], (long long)o->pad_end[0], (long long)o->pad_end[1]);
}

/* Adds " pass=choice" to what is known about this shape. */
static nt_status remember(nt_op *op, int pass, const char *choice)
{
    char name[NT_NAME_BYTES], text[256];
    tuning_name(op, name);
    const char *known = nt_tuning_get(op->tuning, name);
    snprintf(text, sizeof text, "%s%s%s=%s", known ? known : "", known ? " " : "", pass_names[pass], choice);
    return nt_tuning_set(op->tuning, name, text);
}

/* What is known: 1 Winograd, 0 direct, -1 nothing. */
static int recall(const nt_op *op, int pass)
{
    char name[NT_NAME_BYTES], key[32];
    tuning_name(op, name);
    const char *known = nt_tuning_get(op->tuning, name);
    snprintf(key, sizeof key, "%s=winograd", pass_names[pass]);
    const char *found = known ? strstr(known, key) : NULL;
    /* "bwd_data=" does not end in "fwd=", so a hit is the pass itself */
    if (found) return 1;
    snprintf(key, sizeof key, "%s=direct", pass_names[pass]);
    return known && strstr(known, key) ? 0 : -1;
}

/* task has the direct variant; takes Winograd's instead if it is known, or measured, to be faster. */
static nt_status choose_algorithm(nt_op *op, conv *c, int pass)
{
    int choice = recall(op, pass);
    if (choice == 0 || (choice < 0 && !nt_tuning_may_time(op->tuning))) return NT_OK;
    dnnl_primitive_desc_t pd;
    dnnl_status_t answer = choose_pd(op, c, pass, dnnl_convolution_winograd, &pd);
    if (answer != dnnl_success && choice > 0)
        nt_warn("layer %s: the run was tuned for Winograd convolutions, which this oneDNN does not have "
                "here; results will differ in the last bits",
                op->name);
    if (answer != dnnl_success) return NT_OK;
    nt_cpu_task winograd = {0}, *const both[2] = {&c->task[pass], &winograd};
    double best_s[2] = {0};
    nt_status status = make_task(op, c, &winograd, pass, pd);
    if (status == NT_OK && choice < 0) status = compare_tasks(op, both, best_s);
    if (status == NT_OK && choice < 0) {
        choice = best_s[1] < best_s[0];
        nt_debug("layer %s: %s takes %.3f ms direct, %.3f ms by Winograd", op->name, pass_names[pass],
                 1e3 * best_s[0], 1e3 * best_s[1]);
        status = remember(op, pass, choice ? "winograd" : "direct");
    }
    bool take = status == NT_OK && choice > 0;
    nt_cpu_task_free(take ? &c->task[pass] : &winograd);
    if (take) c->task[pass] = winograd;
    return status;
}

/* ---- the op ---- */

static nt_status make_pass(nt_op *op, conv *c, int pass)
{
    dnnl_primitive_desc_t pd;
    NT_DNNL(choose_pd(op, c, pass, dnnl_convolution_direct, &pd));
    NT_TRY(make_task(op, c, &c->task[pass], pass, pd));
    NT_TRY(choose_algorithm(op, c, pass));
    c->runs[pass] = true;
    if (c->task[pass].scratch_bytes > op->scratch_bytes) op->scratch_bytes = c->task[pass].scratch_bytes;
    return NT_OK;
}

static nt_status conv_create(nt_op *op)
{
    conv *c = calloc(1, sizeof *c);
    NT_CHECK_ALLOC(c, sizeof *c);
    op->state = c;
    NT_TRY(describe(op, &c->desc));
    NT_TRY(choose_forward(op, c, &c->hint));
    NT_TRY(adopt_formats(op, c));
    op->scratch_bytes = 0;
    NT_TRY(make_pass(op, c, FORWARD));
    if (!op->training) return NT_OK;
    op->flags = NT_OP_KEEPS_X;
    if (op->need_dx[0]) NT_TRY(make_pass(op, c, DATA));
    NT_TRY(make_pass(op, c, WEIGHTS));
    return NT_OK;
}

static nt_status conv_bind(nt_op *op)
{
    conv *c = op->state;
    for (int p = FORWARD; p < N_PASSES; p++)
        if (c->runs[p]) NT_TRY(nt_cpu_task_bind(&c->task[p], op->scratch));
    return NT_OK;
}

static nt_status conv_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    conv *c = op->state;
    NT_TRY(nt_cpu_task_run(nt_cpu_of(op), &c->task[FORWARD], false));
    return NT_OK;
}

static nt_status conv_backward(nt_op *op, const nt_pass *pass)
{
    conv *c = op->state;
    nt_cpu *cpu = nt_cpu_of(op);
    if (c->runs[DATA]) NT_TRY(nt_cpu_task_run(cpu, &c->task[DATA], false));
    NT_TRY(nt_cpu_task_run(cpu, &c->task[WEIGHTS], pass->accumulate));
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
