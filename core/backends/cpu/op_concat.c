/* concat along channels: where each input is one piece of memory per sample, its pieces are copied.
 *
 * That is so for plain layouts, and for blocks of channels if every input but the last fills its blocks;
 * anything else is left to ref. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"

#include <string.h>

/* Whether all inputs are in blocks of the same width, filled but for the last. */
static bool fills_blocks(const nt_op *op, dnnl_format_tag_t tag, int64_t width)
{
    for (int i = 0; i < op->n_inputs; i++) {
        const nt_tensor *x = &op->x[i];
        if (!x->layout || x->shape.n_dims != 4 || nt_dnnl_md_n_dims(x->layout->md) != 4 ||
            !nt_cpu_md_has_tag(x->layout->md, tag))
            return false;
        if (i + 1 < op->n_inputs && x->shape.dim[1] % width != 0) return false;
    }
    return true;
}

static bool all_plain(const nt_op *op)
{
    for (int i = 0; i < op->n_inputs; i++)
        if (op->x[i].layout) return false;
    return true;
}

static nt_status concat_create(nt_op *op)
{
    static const struct {
        dnnl_format_tag_t tag;
        int64_t width;
    } blocks[] = {{dnnl_nChw16c, 16}, {dnnl_nChw8c, 8}, {dnnl_nChw4c, 4}};
    op->flags = 0;
    if (all_plain(op)) return NT_OK;
    for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++)
        if (fills_blocks(op, blocks[b].tag, blocks[b].width)) {
            nt_md md;
            NT_TRY(nt_cpu_md(nt_cpu_of(op), &md, 4, op->y.shape.dim, blocks[b].tag));
            return nt_cpu_set_md(nt_cpu_of(op), &op->y, md);
        }
    return nt_fallback_create(op, "concat");
}

static nt_status concat_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const size_t n = (size_t)op->y.shape.dim[0];
    char *y = op->y.data;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < op->n_inputs; k++) {
            size_t n_bytes = op->x[k].n_bytes / n; /* of one sample */
            memcpy(y, (const char *)op->x[k].data + i * n_bytes, n_bytes);
            y += n_bytes;
        }
    return NT_OK;
}

static nt_status concat_backward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const size_t n = (size_t)op->y.shape.dim[0];
    const char *dy = op->dy.data;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < op->n_inputs; k++) {
            size_t n_bytes = op->x[k].n_bytes / n;
            if (op->need_dx[k]) memcpy((char *)op->dx[k].data + i * n_bytes, dy, n_bytes);
            dy += n_bytes;
        }
    return NT_OK;
}

const nt_op_impl nt_cpu_concat = {
    .kind = "concat",
    .create = concat_create,
    .forward = concat_forward,
    .backward = concat_backward,
};
