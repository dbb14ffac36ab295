/* adaptive_avg_pool: windows that follow from the output's size. global_avg_pool is the one of size 1, as a
 * vector. */
#include "core/layers/adaptive_avg_pool.h"

#include "core/layers/common.h"
#include "core/onnx.h"

#include <stdlib.h>

static nt_status adaptive_infer(nt_layer *layer)
{
    const nt_adaptive_avg_pool_options *o = layer->options;
    NT_TRY(nt_layer_need_image(layer, 0));
    NT_CHECK(o->output_size[0] >= 1 && o->output_size[1] >= 1, NT_ERR_CONFIG,
             "adaptive_avg_pool: output_size %lldx%lld must be at least 1x1", (long long)o->output_size[0],
             (long long)o->output_size[1]);
    layer->out = nt_shape_of(3, layer->in[0].dim[0], o->output_size[0], o->output_size[1]);
    return NT_OK;
}

static int64_t adaptive_flops(const nt_layer *layer)
{
    return nt_shape_elems(layer->in[0]);
}

static const nt_option adaptive_options[] = {
    {.key = "output_size",
     .type = NT_OPTION_PAIR,
     .offset = offsetof(nt_adaptive_avg_pool_options, output_size),
     .min = 1,
     .max = 1 << 16,
     .flags = NT_OPTION_REQUIRED,
     .help = "height and width of the output (one number: both)"},
};

/* (rows, cols), or transposed: what part input j has in output i, PyTorch's windows. NULL: out of memory. */
static const char *put_windows(nt_onnx *o, int64_t in, int64_t out, bool transposed)
{
    float *part = calloc((size_t)(in * out), sizeof *part);
    if (!part) return NULL;
    for (int64_t i = 0; i < out; i++) {
        int64_t begin = i * in / out, end = ((i + 1) * in + out - 1) / out;
        for (int64_t j = begin; j < end; j++)
            part[transposed ? j * out + i : i * in + j] = 1 / (float)(end - begin);
    }
    const char *name =
        nt_onnx_floats(o, part, transposed ? nt_shape_of(2, in, out) : nt_shape_of(2, out, in));
    free(part);
    return name;
}

/* ONNX has no such operator: an average pooling where all windows are alike, else a product with a matrix
 * from either side, for the windows of rows and columns are independent. */
static nt_status adaptive_avg_pool_onnx(const nt_layer *layer, nt_onnx *o)
{
    const int64_t *in = layer->in[0].dim + 1, *out = layer->out.dim + 1;
    if (in[0] % out[0] != 0 || in[1] % out[1] != 0) {
        const char *rows = put_windows(o, in[0], out[0], false), *cols = put_windows(o, in[1], out[1], true);
        NT_CHECK_ALLOC(rows && cols, (size_t)(in[0] * out[0] + in[1] * out[1]) * sizeof(float));
        const char *fewer = nt_onnx_apply(o, "MatMul", rows, nt_onnx_x(o, 0));
        nt_onnx_op(o, "MatMul");
        nt_onnx_input(o, fewer);
        nt_onnx_input(o, cols);
        nt_onnx_end_layer(o);
        return NT_OK;
    }
    const int64_t kernel[] = {in[0] / out[0], in[1] / out[1]};
    nt_onnx_op(o, "AveragePool");
    nt_onnx_input(o, nt_onnx_x(o, 0));
    nt_onnx_int_list(o, "kernel_shape", kernel, 2);
    nt_onnx_int_list(o, "strides", kernel, 2);
    nt_onnx_end_layer(o);
    return NT_OK;
}

const nt_layer_ops nt_layer_adaptive_avg_pool = {
    .section = {.name = "adaptive_avg_pool",
                .help = "averages over as many windows as the output is to have",
                .size = sizeof(nt_adaptive_avg_pool_options),
                .options = adaptive_options,
                .n_options = NT_N_ELEMS(adaptive_options)},
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = adaptive_infer,
    .flops = adaptive_flops,
    .onnx = adaptive_avg_pool_onnx,
};
