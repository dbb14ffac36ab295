/* The weights' gradient of depthwise convolutions that oneDNN has no kernel for: 2.6 has one for three
 * columns only, and its way around costs ten times all the rest of such a layer. Blocks of 16 channels.
 *
 * Sums are in float over a plane, and in double over images in their order, whatever the number of threads:
 * they share the blocks of channels. */
#include "core/backends/cpu/op_conv2d.h"

#include "core/layers/conv2d.h"

enum { MAX_TAPS = 49 };

bool nt_conv_can_depthwise(const nt_op *op)
{
    const nt_conv2d_options *o = op->options;
    const nt_layout *x = op->x[0].layout, *y = op->y.layout, *w = op->param[0].layout;
    return o->groups == op->x[0].shape.dim[1] && o->groups == o->filters && !o->has_bias &&
           o->dilation[0] == 1 && o->dilation[1] == 1 && o->kernel[0] * o->kernel[1] <= MAX_TAPS && x && y &&
           w && nt_cpu_md_has_tag(x->md, dnnl_nChw16c) && nt_cpu_md_has_tag(y->md, dnnl_nChw16c) &&
           nt_cpu_md_has_tag(w->md, dnnl_Goihw16g);
}

typedef struct job {
    const nt_op *op;
    nt_vec_window window;
    bool accumulate;
} job;

/* Block g of 16 channels. */
static void run_block(void *arg, int64_t g)
{
    const job *j = arg;
    const nt_op *op = j->op;
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    const nt_vec_window *w = &j->window;
    const int64_t images = op->x[0].shape.dim[0], blocks = (op->x[0].shape.dim[1] + NT_LANES - 1) / NT_LANES;
    const int64_t n = w->kernel[0] * w->kernel[1] * NT_LANES;
    const int64_t x_plane = w->size[0] * w->size[1] * NT_LANES, y_plane = w->out[0] * w->out[1] * NT_LANES;
    float *dweight = (float *)op->dparam[0].data + g * n, part[MAX_TAPS * NT_LANES];
    double sum[MAX_TAPS * NT_LANES];
    for (int64_t i = 0; i < n; i++)
        sum[i] = j->accumulate ? (double)dweight[i] : 0;
    for (int64_t i = 0; i < images; i++) {
        for (int64_t k = 0; k < n; k++)
            part[k] = 0;
        vec->depthwise_weights(w, part, (const float *)op->dy.data + (i * blocks + g) * y_plane,
                               (const float *)op->x[0].data + (i * blocks + g) * x_plane);
        vec->accumulate(sum, part, n);
    }
    for (int64_t i = 0; i < n; i++)
        dweight[i] = (float)sum[i];
}

void nt_conv_depthwise_weights(const nt_op *op, bool accumulate)
{
    const nt_conv2d_options *o = op->options;
    const int64_t *x = op->x[0].shape.dim, *y = op->y.shape.dim;
    job j = {.op = op,
             .window = {.size = {x[2], x[3]},
                        .out = {y[2], y[3]},
                        .kernel = {o->kernel[0], o->kernel[1]},
                        .stride = {o->stride[0], o->stride[1]},
                        .pad = {o->pad_begin[0], o->pad_begin[1]}},
             .accumulate = accumulate};
    nt_cpu_each(nt_cpu_of(op), (x[1] + NT_LANES - 1) / NT_LANES,
                nt_cpu_stored(&op->y) * o->kernel[0] * o->kernel[1], run_block, &j);
}
