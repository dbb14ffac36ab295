/* permute: element (i0, i1, ...) of y is the element of x whose index along dimension order[d] is i_d. */
#include "core/layers/permute.h"

#include "core/backends/ref/ref.h"

/* Elements of x from one index of each dimension of y to the next. */
static void strides_of(const nt_op *op, int64_t stride[NT_MAX_DIMS])
{
    const nt_permute_options *o = op->options;
    const nt_shape *x = &op->x[0].shape;
    int64_t of_x[NT_MAX_DIMS], step = 1;
    for (int i = x->n_dims - 1; i >= 0; i--) {
        of_x[i] = step;
        step *= x->dim[i];
    }
    for (int i = 0; i < x->n_dims; i++)
        stride[i] = of_x[o->order[i]];
}

/* Element of x that is element i of y. */
static int64_t source_of(const nt_shape *y, const int64_t *stride, int64_t i)
{
    int64_t at = 0;
    for (int d = y->n_dims - 1; d >= 0; d--) {
        at += i % y->dim[d] * stride[d];
        i /= y->dim[d];
    }
    return at;
}

/* Visits y run by run of its last dimension, whose elements are `step` apart in x: to[...] = from[...] one
 * way or the other. */
static void copy_runs(const nt_op *op, real *to, const real *from, bool to_y)
{
    const nt_shape *y = &op->y.shape;
    const int64_t run = y->dim[y->n_dims - 1], n = nt_shape_elems(*y);
    int64_t stride[NT_MAX_DIMS];
    strides_of(op, stride);
    const int64_t step = stride[y->n_dims - 1];
    for (int64_t i = 0; i < n; i += run) {
        const int64_t x = source_of(y, stride, i);
        for (int64_t j = 0; j < run; j++) {
            const int64_t at_y = i + j, at_x = x + j * step;
            to[to_y ? at_y : at_x] = from[to_y ? at_x : at_y];
        }
    }
}

static nt_status permute_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    copy_runs(op, op->y.data, op->x[0].data, true);
    return NT_OK;
}

static nt_status permute_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (op->need_dx[0]) copy_runs(op, op->dx[0].data, op->dy.data, false);
    return NT_OK;
}

const nt_op_impl NT_REF(permute) = {
    .kind = "permute",
    .create = NT_REF(create_plain),
    .forward = permute_forward,
    .backward = permute_backward,
};
