/* input: uint8 or float32 samples to normalised floats, plain: y = x (scale inv_std) - mean inv_std. In
 * float, where the two terms are not so large that their difference loses digits; else in double. */
#include "core/backends/cpu/cpu.h"

#include "core/fallback.h"
#include "core/layers/input.h"

#include <math.h>
#include <stdlib.h>

/* Shortest run of elements of one channel for which a vector loop pays. */
enum { WORTH_A_LOOP = 16 };

/* Terms up to this, of differences of order 1, cost float32 five of its 24 bits. */
static const double MOST_CANCELLED = 32;

typedef struct input {
    int64_t channels, inner; /* y is (N, channels, inner) */
    double scale[NT_MAX_CHANNELS], shift[NT_MAX_CHANNELS];
    bool cancels; /* some channel's terms are larger than that */
} input;

static nt_status input_create(nt_op *op)
{
    const nt_input_options *o = op->options;
    if (op->x[0].dtype == NT_I32) return nt_fallback_create(op, "input"); /* tokens: a copy */
    NT_BUG_UNLESS(op->x[0].dtype == NT_U8 || op->x[0].dtype == NT_F32, "samples of type %s",
                  nt_dtype_name(op->x[0].dtype));
    NT_BUG_UNLESS(o->n_channels <= NT_MAX_CHANNELS, "%d channels", o->n_channels);
    input *in = calloc(1, sizeof *in);
    NT_CHECK_ALLOC(in, sizeof *in);
    op->state = in;
    in->channels = o->n_channels > 1 ? o->n_channels : 1;
    in->inner = nt_shape_elems(op->y.shape) / op->y.shape.dim[0] / in->channels;
    for (int64_t c = 0; c < in->channels; c++) {
        double mean = o->n_channels ? o->mean[c] : 0, inv_std = o->n_channels ? o->inv_std[c] : 1;
        in->scale[c] = o->scale * inv_std;
        in->shift[c] = -mean * inv_std;
        in->cancels = in->cancels || fabs(in->shift[c]) > MOST_CANCELLED;
    }
    op->flags = 0;
    return NT_OK;
}

static void input_destroy(nt_op *op)
{
    free(op->state);
    op->state = NULL;
}

/* Elements [0, n) of one channel. */
static void convert(const nt_op *op, int64_t at, double exact_scale, double exact_shift, int64_t n)
{
    const nt_vec_ops *vec = nt_cpu_of(op)->vec;
    const float scale = (float)exact_scale, shift = (float)exact_shift;
    float *y = (float *)op->y.data + at;
    if (op->x[0].dtype == NT_U8)
        vec->affine_u8(y, (const uint8_t *)op->x[0].data + at, scale, shift, n);
    else
        vec->affine(y, (const float *)op->x[0].data + at, scale, shift, n);
}

/* In double; and for samples whose channels are so short that a loop over them is the better one. */
static void convert_in_double(const nt_op *op, const input *in, int64_t n)
{
    const uint8_t *bytes = op->x[0].data;
    const float *floats = op->x[0].data;
    bool is_u8 = op->x[0].dtype == NT_U8;
    float *y = op->y.data;
    for (int64_t i = 0; i < n * in->channels; i++)
        for (int64_t j = i * in->inner; j < (i + 1) * in->inner; j++)
            y[j] = (float)((is_u8 ? bytes[j] : (double)floats[j]) * in->scale[i % in->channels] +
                           in->shift[i % in->channels]);
}

/* Row i: one channel of one sample. */
static void convert_row(void *arg, int64_t i)
{
    const nt_op *op = arg;
    const input *in = op->state;
    convert(op, i * in->inner, in->scale[i % in->channels], in->shift[i % in->channels], in->inner);
}

static nt_status input_forward(nt_op *op, const nt_pass *pass)
{
    (void)pass;
    const input *in = op->state;
    int64_t n = op->y.shape.dim[0], rows = n * in->channels;
    if (in->cancels || (in->channels > 1 && in->inner < WORTH_A_LOOP)) {
        convert_in_double(op, in, n);
        return NT_OK;
    }
    if (in->channels == 1) {
        convert(op, 0, in->scale[0], in->shift[0], nt_shape_elems(op->y.shape));
        return NT_OK;
    }
    nt_cpu_each(nt_cpu_of(op), rows, rows * in->inner, convert_row, op);
    return NT_OK;
}

const nt_op_impl nt_cpu_input = {
    .kind = "input",
    .create = input_create,
    .destroy = input_destroy,
    .forward = input_forward,
};
