/* flatten: a view that keeps its input's layout, so that a linear layer can take blocked images as they are.
 */
#include "core/backends/cpu/cpu.h"

static nt_status flatten_create(nt_op *op)
{
    nt_cpu_copy_layout(&op->y, &op->x[0]);
    op->flags = NT_OP_VIEW;
    return NT_OK;
}

static nt_status flatten_run(nt_op *op, const nt_pass *pass)
{
    (void)op, (void)pass;
    return NT_OK;
}

const nt_op_impl nt_cpu_flatten = {
    .kind = "flatten",
    .create = flatten_create,
    .forward = flatten_run,
    .backward = flatten_run,
};
