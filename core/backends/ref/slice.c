/* slice: x (outer, size, inner) -> y (outer, count, inner); the gradient of what was left out is zero. */
#include "core/layers/slice.h"

#include "core/backends/ref/ref.h"

#include <string.h>

/* In bytes: a run of x, of y, and where in x's run that of y begins. */
typedef struct runs {
    int64_t n;
    size_t x, y, begin;
} runs;

static runs runs_of(const nt_op *op)
{
    const nt_slice_options *o = op->options;
    runs v = {.n = 1};
    size_t inner = sizeof(real);
    for (int i = 0; i < op->y.shape.n_dims; i++) {
        if (i < o->axis) v.n *= op->y.shape.dim[i];
        if (i > o->axis) inner *= (size_t)op->y.shape.dim[i];
    }
    v.x = inner * (size_t)op->x[0].shape.dim[o->axis];
    v.y = inner * (size_t)o->count;
    v.begin = inner * (size_t)o->begin;
    return v;
}

static nt_status slice_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const runs v = runs_of(op);
    const char *x = op->x[0].data;
    char *y = op->y.data;
    for (int64_t i = 0; i < v.n; i++, x += v.x, y += v.y)
        memcpy(y, x + v.begin, v.y);
    return NT_OK;
}

static nt_status slice_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (!op->need_dx[0]) return NT_OK;
    const runs v = runs_of(op);
    const char *dy = op->dy.data;
    char *dx = op->dx[0].data;
    for (int64_t i = 0; i < v.n; i++, dx += v.x, dy += v.y) {
        memset(dx, 0, v.x);
        memcpy(dx + v.begin, dy, v.y);
    }
    return NT_OK;
}

const nt_op_impl NT_REF(slice) = {
    .kind = "slice",
    .create = NT_REF(create_plain),
    .forward = slice_forward,
    .backward = slice_backward,
};
