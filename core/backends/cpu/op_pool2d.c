/* max_pool, avg_pool, adaptive_avg_pool and global_avg_pool over strips of channels, in the layout of x.
 *
 * max_pool keeps which element of its window each output came from. oneDNN's pooling was the alternative: its
 * maximum skips NaN, and it cannot take a ReLU along, which costs nothing here: max(relu(x)) is
 * relu(max(x)). */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"
#include "core/layers/pool2d.h"

#include <stdlib.h>
#include <string.h>

typedef struct pool {
    nt_cpu_strips in, out;
    nt_vec_window window;
} pool;

static void pool_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

/* Every element of x lies in exactly one window. */
static bool covers(const nt_vec_window *w)
{
    for (int a = 0; a < 2; a++)
        if (w->kernel[a] != w->stride[a] || w->pad[a] != 0 || w->out[a] * w->stride[a] != w->size[a])
            return false;
    return true;
}

static nt_status make_pool(nt_op *op, const nt_cpu_strips *in, nt_vec_window window)
{
    pool *p = calloc(1, sizeof *p);
    NT_CHECK_ALLOC(p, sizeof *p);
    op->state = p;
    p->in = *in;
    p->window = window;
    p->window.pixel = in->pixel;
    p->window.covers = covers(&window);
    p->window.relu = op->activation != NULL;
    return NT_OK;
}

/* The layout of x with the shape of y. */
static nt_status take_layout(nt_op *op)
{
    nt_cpu *cpu = nt_cpu_of(op);
    const nt_tensor *x = &op->x[0];
    static const dnnl_format_tag_t tags[] = {dnnl_nChw16c, dnnl_nChw8c, dnnl_nChw4c, dnnl_nhwc};
    if (!x->layout) return NT_OK;
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        if (nt_cpu_md_has_tag(x->layout->md, tags[i])) {
            nt_md md;
            NT_TRY(nt_cpu_md(cpu, &md, 4, op->y.shape.dim, tags[i]));
            return nt_cpu_set_md(cpu, &op->y, md);
        }
    NT_BUG_UNLESS(false, "layer %s: a layout that is not known", op->name);
}

static nt_status create_with(nt_op *op, nt_vec_window window)
{
    nt_cpu_strips in;
    if (!nt_cpu_strips_of(nt_cpu_of(op), &op->x[0], &in)) {
        NT_BUG_UNLESS(!op->activation, "layer %s: ReLU fused into a layout that is not known", op->name);
        return nt_fallback_create(op, op->impl->kind);
    }
    NT_TRY(make_pool(op, &in, window));
    NT_TRY(take_layout(op));
    pool *p = op->state;
    NT_BUG_UNLESS(nt_cpu_strips_of(nt_cpu_of(op), &op->y, &p->out), "layer %s: layout of y", op->name);
    return NT_OK;
}

static nt_status window_create(nt_op *op)
{
    const nt_pool2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim, *y = op->y.shape.dim;
    NT_TRY(create_with(op, (nt_vec_window){.size = {x[2], x[3]},
                                           .out = {y[2], y[3]},
                                           .kernel = {o->kernel[0], o->kernel[1]},
                                           .stride = {o->stride[0], o->stride[1]},
                                           .pad = {o->pad_begin[0], o->pad_begin[1]},
                                           .pad_end = {o->pad_end[0], o->pad_end[1]},
                                           .counts = o->count_include_pad}));
    return NT_OK;
}

/* fn is called on all strips. */
typedef void (*strip_fn)(const nt_op *op, const nt_vec_window *w, int64_t x_at, int64_t y_at);

typedef struct strip_job {
    const nt_op *op;
    strip_fn fn;
} strip_job;

static void run_strip(void *arg, int64_t i)
{
    const strip_job *j = arg;
    const pool *p = j->op->state;
    const int64_t groups = p->in.groups, image = i / groups, g = i % groups;
    nt_vec_window w = p->window;
    w.lanes = p->in.padded ? (int)p->in.width : nt_cpu_lanes(&p->in, g);
    j->fn(j->op, &w, image * p->in.image + g * p->in.group, image * p->out.image + g * p->out.group);
}

static void each_strip(const nt_op *op, strip_fn fn)
{
    const pool *p = op->state;
    strip_job j = {op, fn};
    nt_cpu_each(nt_cpu_of(op), p->in.images * p->in.groups, nt_cpu_stored(&op->x[0]), run_strip, &j);
}

static void each_strip_backward(const nt_op *op, strip_fn fn)
{
    const pool *p = op->state;
    if (!op->need_dx[0]) return;
    if (!p->window.covers) memset(op->dx[0].data, 0, op->x[0].n_bytes);
    each_strip(op, fn);
}

/* ---- max_pool ---- */

static nt_status max_create(nt_op *op)
{
    NT_TRY(window_create(op));
    if (op->impl != &nt_cpu_max_pool) return NT_OK; /* fell back */
    op->saved_bytes = op->training ? op->y.n_bytes / sizeof(float) * sizeof(int32_t) : 0;
    op->scratch_bytes = op->training ? 0 : op->y.n_bytes / sizeof(float) * sizeof(int32_t);
    return NT_OK;
}

static int32_t *taps(const nt_op *op)
{
    return op->training ? op->saved : op->scratch;
}

static void max_strip(const nt_op *op, const nt_vec_window *w, int64_t x_at, int64_t y_at)
{
    nt_cpu_of(op)->vec->max_pool(w, (float *)op->y.data + y_at, taps(op) + y_at,
                                 (const float *)op->x[0].data + x_at);
}

static nt_status max_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    each_strip(op, max_strip);
    return NT_OK;
}

static void max_backward_strip(const nt_op *op, const nt_vec_window *w, int64_t x_at, int64_t y_at)
{
    nt_cpu_of(op)->vec->max_pool_backward(w, (float *)op->dx[0].data + x_at,
                                          (const float *)op->dy.data + y_at, taps(op) + y_at);
}

static nt_status max_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    each_strip_backward(op, max_backward_strip);
    return NT_OK;
}

const nt_op_impl nt_cpu_max_pool = {
    .kind = "max_pool",
    .create = max_create,
    .destroy = pool_destroy,
    .forward = max_forward,
    .backward = max_backward,
};

/* ---- avg_pool and global_avg_pool ---- */

static void avg_strip(const nt_op *op, const nt_vec_window *w, int64_t x_at, int64_t y_at)
{
    nt_cpu_of(op)->vec->avg_pool(w, (float *)op->y.data + y_at, (const float *)op->x[0].data + x_at);
}

static nt_status avg_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    each_strip(op, avg_strip);
    return NT_OK;
}

static void avg_backward_strip(const nt_op *op, const nt_vec_window *w, int64_t x_at, int64_t y_at)
{
    nt_cpu_of(op)->vec->avg_pool_backward(w, (float *)op->dx[0].data + x_at,
                                          (const float *)op->dy.data + y_at);
}

static nt_status avg_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    each_strip_backward(op, avg_backward_strip);
    return NT_OK;
}

const nt_op_impl nt_cpu_avg_pool = {
    .kind = "avg_pool",
    .create = window_create,
    .destroy = pool_destroy,
    .forward = avg_forward,
    .backward = avg_backward,
};

const nt_op_impl nt_cpu_avg_pool_padded = {
    .kind = "avg_pool_padded",
    .create = window_create,
    .destroy = pool_destroy,
    .forward = avg_forward,
    .backward = avg_backward,
};

/* Where all windows are alike they are those of avg_pool; where each is one element, y is x. */
static nt_status adaptive_create(nt_op *op)
{
    const int64_t *x = op->x[0].shape.dim, *y = op->y.shape.dim;
    if (x[2] == y[2] && x[3] == y[3]) {
        op->impl = &nt_cpu_flatten;
        return op->impl->create(op);
    }
    if (x[2] % y[2] != 0 || x[3] % y[3] != 0) return nt_fallback_create(op, "adaptive_avg_pool");
    const int64_t size[2] = {x[2] / y[2], x[3] / y[3]};
    return create_with(op, (nt_vec_window){.size = {x[2], x[3]},
                                           .out = {y[2], y[3]},
                                           .kernel = {size[0], size[1]},
                                           .stride = {size[0], size[1]}});
}

const nt_op_impl nt_cpu_adaptive_avg_pool = {
    .kind = "adaptive_avg_pool",
    .create = adaptive_create,
    .destroy = pool_destroy,
    .forward = avg_forward,
    .backward = avg_backward,
};

/* One window over everything; y (N, C) is plain. */
static nt_status global_create(nt_op *op)
{
    const int64_t *x = op->x[0].shape.dim;
    nt_cpu_strips in;
    if (!nt_cpu_strips_of(nt_cpu_of(op), &op->x[0], &in)) return nt_fallback_create(op, "global_avg_pool");
    bool padded = in.padded;
    in.padded = false; /* y has no room for lanes that are no channels */
    NT_TRY(
        make_pool(op, &in,
                  (nt_vec_window){
                      .size = {x[2], x[3]}, .out = {1, 1}, .kernel = {x[2], x[3]}, .stride = {x[2], x[3]}}));
    pool *p = op->state;
    p->window.covers = !padded;
    p->out = (nt_cpu_strips){.image = x[1], .group = in.width};
    return NT_OK;
}

const nt_op_impl nt_cpu_global_avg_pool = {
    .kind = "global_avg_pool",
    .create = global_create,
    .destroy = pool_destroy,
    .forward = avg_forward,
    .backward = avg_backward,
};
