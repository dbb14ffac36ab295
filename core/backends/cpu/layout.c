/* Layouts: interned memory descriptors.
 *
 * All descriptors live in one list until the backend is destroyed; there are a few dozen in a network, so
 * looking through the list is cheaper than owning each of them somewhere. */
#include "core/backends/cpu/cpu.h"

#include <stdlib.h>
#include <string.h>

/* The layout of a descriptor, even of a plain one. */
static nt_status intern(nt_cpu *cpu, const nt_layout **out, nt_md md)
{
    for (const nt_layout *l = cpu->layouts; l; l = l->next)
        if (dnnl_memory_desc_equal(l->md, md)) {
            *out = l;
            return NT_OK;
        }
    nt_layout *added = calloc(1, sizeof *added);
    NT_CHECK_ALLOC(added, sizeof *added);
    dnnl_status_t status = nt_dnnl_md_clone(&added->md, md);
    if (status != dnnl_success) free(added);
    NT_DNNL(status);
    added->next = cpu->layouts;
    cpu->layouts = added;
    *out = added;
    return NT_OK;
}

void nt_cpu_free_layouts(nt_cpu *cpu)
{
    for (nt_layout *l = cpu->layouts, *next; l; l = next) {
        next = l->next;
        nt_dnnl_md_destroy(l->md);
        free(l);
    }
    cpu->layouts = NULL;
}

nt_status nt_cpu_md_keep(nt_cpu *cpu, nt_md *out, nt_md md)
{
    const nt_layout *layout;
    NT_TRY(intern(cpu, &layout, md));
    *out = layout->md;
    return NT_OK;
}

nt_status nt_cpu_md(nt_cpu *cpu, nt_md *out, int n_dims, const int64_t *dims, dnnl_format_tag_t tag)
{
    dnnl_dims_t d = {0};
    for (int i = 0; i < n_dims; i++)
        d[i] = dims[i];
    nt_md md;
    NT_DNNL(nt_dnnl_md_create(&md, n_dims, d, tag));
    nt_status status = nt_cpu_md_keep(cpu, out, md);
    nt_dnnl_md_destroy(md);
    return status;
}

static nt_status md_row_major(nt_cpu *cpu, nt_md *out, int n_dims, const int64_t *dims)
{
    static const dnnl_format_tag_t tags[] = {dnnl_a, dnnl_ab, dnnl_abc, dnnl_abcd, dnnl_abcde, dnnl_abcdef};
    NT_BUG_UNLESS(n_dims >= 1 && n_dims <= 6, "a tensor of %d dimensions", n_dims);
    return nt_cpu_md(cpu, out, n_dims, dims, tags[n_dims - 1]);
}

nt_status nt_cpu_md_plain(nt_cpu *cpu, nt_md *out, nt_md like)
{
    return md_row_major(cpu, out, nt_dnnl_md_n_dims(like), nt_dnnl_md_dims(like));
}

nt_status nt_cpu_md_of(nt_cpu *cpu, nt_md *out, const nt_tensor *t)
{
    if (!t->layout) return md_row_major(cpu, out, t->shape.n_dims, t->shape.dim);
    *out = t->layout->md;
    return NT_OK;
}

nt_status nt_cpu_set_md(nt_cpu *cpu, nt_tensor *t, nt_md md)
{
    nt_md plain = {0};
    NT_TRY(nt_cpu_md_plain(cpu, &plain, md));
    t->layout = NULL;
    t->n_bytes = dnnl_memory_desc_get_size(md);
    if (dnnl_memory_desc_equal(plain, md)) return NT_OK;
    return intern(cpu, &t->layout, md);
}

void nt_cpu_copy_layout(nt_tensor *t, const nt_tensor *like)
{
    t->layout = like->layout;
    t->n_bytes = like->n_bytes;
}

bool nt_cpu_md_has_tag(nt_md md, dnnl_format_tag_t tag)
{
    dnnl_dims_t dims;
    memcpy(dims, nt_dnnl_md_dims(md), sizeof dims);
    nt_md tagged;
    if (nt_dnnl_md_create(&tagged, nt_dnnl_md_n_dims(md), dims, tag) != dnnl_success) return false;
    bool same = dnnl_memory_desc_equal(md, tagged);
    nt_dnnl_md_destroy(tagged);
    return same;
}

nt_status nt_cpu_reorder_now(nt_cpu *cpu, nt_md src_md, const void *src, nt_md dst_md, void *dst)
{
    nt_cpu_prim prim = {0};
    void *scratch = NULL;
    nt_status status;
    NT_TRY_GOTO(status, done, nt_cpu_reorder_create(cpu, &prim, src_md, dst_md, false));
    if (prim.scratch_bytes) {
        scratch = aligned_alloc(64, nt_cpu_round(prim.scratch_bytes));
        if (!scratch) status = NT_ERR_UNAVAILABLE;
        NT_TRY_GOTO(status, done, nt_cpu_prim_bind(&prim, DNNL_ARG_SCRATCHPAD, scratch));
    }
    NT_TRY_GOTO(status, done, nt_cpu_prim_bind(&prim, DNNL_ARG_FROM, (void *)(uintptr_t)src));
    NT_TRY_GOTO(status, done, nt_cpu_prim_bind(&prim, DNNL_ARG_TO, dst));
    NT_TRY_GOTO(status, done, nt_cpu_prim_run(cpu, &prim));
done:
    nt_cpu_prim_free(&prim);
    free(scratch);
    return status;
}

nt_status nt_cpu_to_plain(nt_backend *backend, void *host, const nt_tensor *t)
{
    nt_cpu *cpu = backend->state;
    nt_md plain = {0};
    NT_TRY(nt_cpu_md_plain(cpu, &plain, t->layout->md));
    NT_TRY(nt_cpu_reorder_now(cpu, t->layout->md, t->data, plain, host));
    return NT_OK;
}

nt_status nt_cpu_from_plain(nt_backend *backend, nt_tensor *t, const void *host)
{
    nt_cpu *cpu = backend->state;
    nt_md plain = {0};
    NT_TRY(nt_cpu_md_plain(cpu, &plain, t->layout->md));
    NT_TRY(nt_cpu_reorder_now(cpu, plain, host, t->layout->md, t->data));
    return NT_OK;
}
