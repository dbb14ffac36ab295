/* input: y = (x scale - mean[c]) inv_std[c], from uint8 or float32 to the type of activations; int32 tokens
 * are passed on. It has no gradient. */
#include "core/backends/cuda/ops.h"

#include "core/layers/input.h"

_Static_assert((int)NT_MAX_CHANNELS <= (int)NT_CUDA_MAX_CHANNELS,
               "constants of all channels go to the kernel");

static nt_status input_create(nt_op *op)
{
    bool tokens = op->x[0].dtype == NT_I32 && op->y.dtype == NT_I32;
    NT_BUG_UNLESS(tokens || op->x[0].dtype == NT_U8 || op->x[0].dtype == NT_F32,
                  "layer %s: samples of type %s, not uint8 or float32", op->name,
                  nt_dtype_name(op->x[0].dtype));
    NT_TRY(nt_cuda_create_plain(op));
    return NT_OK;
}

static nt_status input_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const nt_input_options *o = op->options;
    const nt_cuda *cuda = nt_cuda_of(op);
    nt_cuda_normaliser normaliser = {.scale = o->scale, .n_channels = o->n_channels};
    if (op->y.dtype == NT_I32) return nt_cuda_copy_tensor(op, op->y.data, op->x[0].data, &op->y);
    for (int c = 0; c < o->n_channels; c++) {
        normaliser.mean[c] = o->mean[c];
        normaliser.inv_std[c] = o->inv_std[c];
    }
    NT_CUDA_RUN(op, "input",
                nt_cuda_input_forward(cuda->compute, op->y.dtype, op->y.data, op->x[0].dtype, op->x[0].data,
                                      &normaliser, nt_cuda_channels_of(&op->y)));
    return NT_OK;
}

const nt_op_impl nt_cuda_input = {
    .kind = "input",
    .create = input_create,
    .forward = input_forward,
};
