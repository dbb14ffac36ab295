/* A primitive between tensors that may have other layouts than it likes.
 *
 * Scratch of a task: the staged copies of its ports one after the other, then a scratchpad that the primitive
 * and the reorders use in turn. Outputs that accumulate always have a staged copy, which plain runs leave
 * alone. */
#include "core/backends/cpu/cpu.h"

nt_status nt_cpu_task_create(nt_cpu *cpu, nt_cpu_task *task, dnnl_primitive_desc_t pd)
{
    NT_TRY(nt_cpu_prim_create(cpu, &task->prim, pd));
    task->scratch_bytes = nt_cpu_round(task->prim.scratch_bytes);
    return NT_OK;
}

void nt_cpu_task_free(nt_cpu_task *task)
{
    for (int i = 0; i < task->n_ports; i++) {
        nt_cpu_port *port = &task->port[i];
        nt_cpu_prim_free(&port->reorder);
        nt_cpu_prim_free(&port->add);
        if (port->direct) (void)dnnl_memory_destroy(port->direct);
        if (port->staged) (void)dnnl_memory_destroy(port->staged);
    }
    nt_cpu_prim_free(&task->prim);
    *task = (nt_cpu_task){0};
}

/* Largest scratchpad of the primitive and the reorders. */
static size_t pad_bytes(const nt_cpu_task *task)
{
    size_t most = task->prim.scratch_bytes;
    for (int i = 0; i < task->n_ports; i++) {
        if (task->port[i].reorder.scratch_bytes > most) most = task->port[i].reorder.scratch_bytes;
        if (task->port[i].add.scratch_bytes > most) most = task->port[i].add.scratch_bytes;
    }
    return nt_cpu_round(most);
}

static void measure_scratch(nt_cpu_task *task)
{
    task->scratch_bytes = pad_bytes(task);
    for (int i = 0; i < task->n_ports; i++)
        task->scratch_bytes += nt_cpu_round(task->port[i].staged_bytes);
}

/* The descriptor of `like` with as many dimensions as `md`. */
static nt_status md_like(nt_cpu *cpu, nt_md *out, const nt_tensor *like, nt_md md)
{
    if (!like->layout) return nt_cpu_md_plain(cpu, out, md);
    NT_TRY(nt_cpu_md_of(cpu, out, like));
    NT_BUG_UNLESS(nt_dnnl_md_n_dims(*out) == nt_dnnl_md_n_dims(md),
                  "a layout of %d dimensions where %d are wanted", nt_dnnl_md_n_dims(*out),
                  nt_dnnl_md_n_dims(md));
    return NT_OK;
}

static nt_status make_port(nt_cpu *cpu, nt_cpu_port *port, nt_md md, nt_md own, bool accumulates)
{
    bool same = dnnl_memory_desc_equal(md, own);
    NT_DNNL(dnnl_memory_create(&port->direct, same ? own : md, cpu->engine, DNNL_MEMORY_NONE));
    NT_DNNL(dnnl_memory_create(&port->staged, md, cpu->engine, DNNL_MEMORY_NONE));
    if (!same || accumulates) port->staged_bytes = dnnl_memory_desc_get_size(md);
    if (!same && port->is_output) NT_TRY(nt_cpu_reorder_create(cpu, &port->reorder, md, own, false));
    if (!same && !port->is_output) NT_TRY(nt_cpu_reorder_create(cpu, &port->reorder, own, md, false));
    if (accumulates) NT_TRY(nt_cpu_reorder_create(cpu, &port->add, md, own, true));
    return NT_OK;
}

static nt_status add_port(nt_cpu *cpu, nt_cpu_task *task, nt_cpu_port value, nt_md md, const nt_tensor *like,
                          bool accumulates)
{
    NT_BUG_UNLESS(task->n_ports < NT_CPU_MAX_PORTS && task->n_ports + task->prim.n_args < NT_CPU_MAX_ARGS,
                  "more than %d ports", NT_CPU_MAX_PORTS);
    nt_md own;
    NT_TRY(md_like(cpu, &own, like, md));
    nt_cpu_port *port = &task->port[task->n_ports++];
    *port = value;
    NT_TRY(make_port(cpu, port, md, own, accumulates));
    measure_scratch(task);
    return NT_OK;
}

nt_status nt_cpu_task_input(nt_cpu *cpu, nt_cpu_task *task, int arg, nt_md md, const nt_tensor *like,
                            const nt_tensor *tensor)
{
    return add_port(cpu, task, (nt_cpu_port){.arg = arg, .tensor = tensor}, md, like, false);
}

nt_status nt_cpu_task_output(nt_cpu *cpu, nt_cpu_task *task, int arg, nt_md md, const nt_tensor *like,
                             const nt_tensor *tensor, bool accumulates)
{
    return add_port(cpu, task, (nt_cpu_port){.arg = arg, .tensor = tensor, .is_output = true}, md, like,
                    accumulates);
}

static nt_status bind_reorder(nt_cpu_prim *prim, void *from, void *to, void *pad)
{
    if (!prim->primitive) return NT_OK;
    NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_FROM, from));
    NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_TO, to));
    if (prim->scratch_bytes) NT_TRY(nt_cpu_prim_bind(prim, DNNL_ARG_SCRATCHPAD, pad));
    return NT_OK;
}

nt_status nt_cpu_task_bind(nt_cpu_task *task, void *scratch)
{
    char *staged = scratch, *pad = staged;
    for (int i = 0; i < task->n_ports; i++)
        pad += nt_cpu_round(task->port[i].staged_bytes);
    for (int i = 0; i < task->n_ports; i++) {
        nt_cpu_port *port = &task->port[i];
        void *own = port->tensor->data;
        NT_DNNL(dnnl_memory_set_data_handle(port->direct, own));
        NT_DNNL(dnnl_memory_set_data_handle(port->staged, staged));
        NT_TRY(bind_reorder(&port->reorder, port->is_output ? staged : own, port->is_output ? own : staged,
                            pad));
        NT_TRY(bind_reorder(&port->add, staged, own, pad));
        staged += nt_cpu_round(port->staged_bytes);
    }
    if (task->prim.scratch_bytes) NT_TRY(nt_cpu_prim_bind(&task->prim, DNNL_ARG_SCRATCHPAD, pad));
    return NT_OK;
}

nt_status nt_cpu_task_run(nt_cpu *cpu, nt_cpu_task *task, bool accumulate)
{
    nt_cpu_prim run = task->prim;
    for (int i = 0; i < task->n_ports; i++) {
        nt_cpu_port *port = &task->port[i];
        bool adds = accumulate && port->add.primitive;
        bool staged = adds || port->reorder.primitive;
        if (staged && !port->is_output) NT_TRY(nt_cpu_prim_run(cpu, &port->reorder));
        run.arg[run.n_args++] = (dnnl_exec_arg_t){port->arg, staged ? port->staged : port->direct};
    }
    NT_TRY(nt_cpu_prim_run(cpu, &run));
    for (int i = 0; i < task->n_ports; i++) {
        nt_cpu_port *port = &task->port[i];
        bool adds = accumulate && port->add.primitive;
        if (port->is_output && adds) NT_TRY(nt_cpu_prim_run(cpu, &port->add));
        if (port->is_output && !adds && port->reorder.primitive) NT_TRY(nt_cpu_prim_run(cpu, &port->reorder));
    }
    return NT_OK;
}
