/* Which layouts are strips of channels: oneDNN's blocks of 16, 8 and 4 channels, channels last, and plain. */
#include "core/backends/cpu/cpu.h"

/* Channels side by side in memory, `width` at a time in blocks of their own. */
static nt_cpu_strips blocked(const nt_tensor *t, int64_t width)
{
    int64_t n = t->shape.dim[0], c = t->shape.dim[1], rows = nt_shape_elems(t->shape) / (n * c);
    int64_t groups = (c + width - 1) / width;
    return (nt_cpu_strips){.images = n,
                           .groups = groups,
                           .rows = rows,
                           .channels = c,
                           .image = groups * rows * width,
                           .group = rows * width,
                           .pixel = width,
                           .width = width,
                           .padded = c % width != 0};
}

/* Channels last: all positions of all images are rows of one image. */
static nt_cpu_strips channels_last(const nt_tensor *t, bool one_image)
{
    int64_t n = t->shape.dim[0], c = t->shape.dim[1], rows = nt_shape_elems(t->shape) / (n * c);
    return (nt_cpu_strips){.images = one_image ? 1 : n,
                           .groups = (c + NT_LANES - 1) / NT_LANES,
                           .rows = one_image ? n * rows : rows,
                           .channels = c,
                           .image = rows * c,
                           .group = NT_LANES,
                           .pixel = c,
                           .width = NT_LANES};
}

static nt_cpu_strips plain(const nt_tensor *t)
{
    nt_cpu_strips s = blocked(t, 1);
    s.wide = true;
    return s;
}

bool nt_cpu_strips_of(nt_cpu *cpu, const nt_tensor *t, nt_cpu_strips *out)
{
    (void)cpu;
    static const struct {
        dnnl_format_tag_t tag;
        int64_t width;
    } blocks[] = {{dnnl_nChw16c, 16}, {dnnl_nChw8c, 8}, {dnnl_nChw4c, 4}};
    if (!t->layout) {
        *out = t->shape.n_dims == 2 ? channels_last(t, true) : plain(t);
        return true;
    }
    nt_md md = t->layout->md;
    if (t->shape.n_dims != 4 || nt_dnnl_md_n_dims(md) != 4) return false;
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (nt_cpu_md_has_tag(md, blocks[i].tag)) {
            *out = blocked(t, blocks[i].width);
            return true;
        }
    if (!nt_cpu_md_has_tag(md, dnnl_nhwc)) return false;
    *out = channels_last(t, false);
    return true;
}

nt_cpu_walk nt_cpu_walk_of(const nt_cpu_strips *s, int64_t g)
{
    if (!s->wide) return (nt_cpu_walk){s->rows, s->pixel, s->padded ? (int)s->width : nt_cpu_lanes(s, g), 0};
    return (nt_cpu_walk){s->rows / NT_LANES, NT_LANES, NT_LANES, (int)(s->rows % NT_LANES)};
}
