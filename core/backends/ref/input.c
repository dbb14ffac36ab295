/* input: y = (x scale - mean[c]) inv_std[c], from uint8 or float32 to real; int32 tokens are passed on. It
 * has no gradient. */
#include "core/layers/input.h"

#include "core/backends/ref/ref.h"

static nt_status input_create(nt_op *op)
{
    bool tokens = op->x[0].dtype == NT_I32 && op->y.dtype == NT_I32;
    NT_BUG_UNLESS(tokens || op->x[0].dtype == NT_U8 || op->x[0].dtype == NT_F32,
                  "layer %s: samples of type %s, not uint8 or float32", op->name,
                  nt_dtype_name(op->x[0].dtype));
    return NT_REF(create_plain)(op);
}

static nt_status input_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    if (op->y.dtype == NT_I32) {
        NT_REF(copy)(op->y.data, op->x[0].data, op->y.n_bytes);
        return NT_OK;
    }
    const nt_input_options *o = op->options;
    const uint8_t *bytes = op->x[0].data; /* (N, C, ...), one of the two */
    const float *floats = op->x[0].data;
    real *y = op->y.data; /* (N, C, ...) */
    int64_t n = op->y.shape.dim[0], c = op->y.shape.dim[1], inner = nt_shape_elems(op->y.shape) / (n * c);
    for (int64_t i = 0; i < n * c; i++) {
        int64_t channel = o->n_channels > 1 ? i % c : 0;
        double mean = o->n_channels ? o->mean[channel] : 0, inv_std = o->n_channels ? o->inv_std[channel] : 1;
        for (int64_t j = i * inner; j < (i + 1) * inner; j++) {
            double x = op->x[0].dtype == NT_U8 ? (double)bytes[j] : (double)floats[j];
            y[j] = (real)((x * o->scale - mean) * inv_std);
        }
    }
    return NT_OK;
}

const nt_op_impl NT_REF(input) = {
    .kind = "input",
    .create = input_create,
    .forward = input_forward,
};
