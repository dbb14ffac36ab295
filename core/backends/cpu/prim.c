/* A oneDNN primitive with its memory objects, made once; binding sets addresses, running only runs. */
#include "core/backends/cpu/cpu.h"

#include <omp.h>

static nt_status make_primitive(nt_cpu *cpu, nt_cpu_prim *prim, nt_const_pd pd)
{
    NT_DNNL(dnnl_primitive_create(&prim->primitive, pd));
    prim->threads = omp_get_max_threads();
    nt_md scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    prim->scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    if (prim->scratch_bytes) NT_TRY(nt_cpu_prim_add(cpu, prim, DNNL_ARG_SCRATCHPAD, scratch));
    return NT_OK;
}

nt_status nt_cpu_prim_create(nt_cpu *cpu, nt_cpu_prim *prim, dnnl_primitive_desc_t pd)
{
    *prim = (nt_cpu_prim){0};
    nt_status status = make_primitive(cpu, prim, pd);
    (void)dnnl_primitive_desc_destroy(pd);
    return status;
}

void nt_cpu_prim_free(nt_cpu_prim *prim)
{
    for (int i = 0; i < prim->n_args; i++)
        (void)dnnl_memory_destroy(prim->arg[i].memory);
    if (prim->primitive) (void)dnnl_primitive_destroy(prim->primitive);
    *prim = (nt_cpu_prim){0};
}

nt_status nt_cpu_prim_add(nt_cpu *cpu, nt_cpu_prim *prim, int arg, nt_md md)
{
    NT_BUG_UNLESS(prim->n_args < NT_CPU_MAX_ARGS, "more than %d arguments", NT_CPU_MAX_ARGS);
    dnnl_memory_t memory;
    NT_DNNL(dnnl_memory_create(&memory, md, cpu->engine, DNNL_MEMORY_NONE));
    prim->arg[prim->n_args++] = (dnnl_exec_arg_t){arg, memory};
    return NT_OK;
}

nt_status nt_cpu_prim_bind(nt_cpu_prim *prim, int arg, void *data)
{
    for (int i = 0; i < prim->n_args; i++)
        if (prim->arg[i].arg == arg) {
            NT_DNNL(dnnl_memory_set_data_handle(prim->arg[i].memory, data));
            return NT_OK;
        }
    NT_BUG_UNLESS(false, "the primitive has no argument %d", arg);
}

nt_status nt_cpu_prim_run(nt_cpu *cpu, const nt_cpu_prim *prim)
{
    (void)nt_cpu_use_threads(prim->threads);
    NT_DNNL(dnnl_primitive_execute(prim->primitive, cpu->stream, prim->n_args, prim->arg));
    return NT_OK;
}

static nt_status make_reorder(nt_cpu *cpu, nt_cpu_prim *prim, nt_md src, nt_md dst, bool sum)
{
    dnnl_primitive_desc_t pd;
    NT_DNNL(dnnl_reorder_primitive_desc_create(&pd, src, cpu->engine, dst, cpu->engine,
                                               sum ? cpu->attr_sum : cpu->attr));
    NT_TRY(nt_cpu_prim_create(cpu, prim, pd));
    NT_TRY(nt_cpu_prim_add(cpu, prim, DNNL_ARG_FROM, src));
    NT_TRY(nt_cpu_prim_add(cpu, prim, DNNL_ARG_TO, dst));
    return NT_OK;
}

nt_status nt_cpu_reorder_create(nt_cpu *cpu, nt_cpu_prim *prim, nt_md src, nt_md dst, bool sum)
{
    const int64_t n_elems = (int64_t)(dnnl_memory_desc_get_size(dst) / sizeof(float));
    const int before = nt_cpu_use_threads(nt_cpu_threads(cpu, n_elems));
    nt_status status = make_reorder(cpu, prim, src, dst, sum);
    (void)nt_cpu_use_threads(before);
    return status;
}

nt_status nt_cpu_pd_md(nt_cpu *cpu, nt_md *out, nt_const_pd pd, dnnl_query_t what)
{
    nt_md md = dnnl_primitive_desc_query_md(pd, what, 0);
    NT_BUG_UNLESS(md, "the primitive descriptor does not know query %d", (int)what);
    return nt_cpu_md_keep(cpu, out, md);
}

size_t nt_cpu_pd_workspace(nt_const_pd pd)
{
    nt_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_workspace_md, 0);
    return md ? dnnl_memory_desc_get_size(md) : 0;
}
