/* Windows that slide over planes, as pooling and convolutions have them: nt_cuda_window in the form that
 * kernels like, and the index arithmetic around it. Planes have fewer than 2^31 elements. */
#ifndef NT_CORE_BACKENDS_CUDA_WINDOW_CUH
#define NT_CORE_BACKENDS_CUDA_WINDOW_CUH

#include "core/backends/cuda/device.cuh"

struct nt_window_plan {
    int in[2], out[2], kernel[2], stride[2], dilation[2], pad[2], pad_end[2];
    bool count_padding;
    nt_divisor in_plane, in_columns, out_plane, out_columns, stride_by[2];
};

static inline nt_window_plan nt_plan_window(const nt_cuda_window *w)
{
    nt_window_plan v;
    for (int a = 0; a < 2; a++) {
        v.in[a] = (int)w->in[a];
        v.out[a] = (int)w->out[a];
        v.kernel[a] = (int)w->kernel[a];
        v.stride[a] = (int)w->stride[a];
        v.dilation[a] = (int)w->dilation[a];
        v.pad[a] = (int)w->pad[a];
        v.pad_end[a] = (int)w->pad_end[a];
        v.stride_by[a] = nt_divide_by(w->stride[a]);
    }
    v.count_padding = w->count_padding;
    v.in_plane = nt_divide_by(w->in[0] * w->in[1]);
    v.in_columns = nt_divide_by(w->in[1]);
    v.out_plane = nt_divide_by(w->out[0] * w->out[1]);
    v.out_columns = nt_divide_by(w->out[1]);
    return v;
}

/* Where element i of a tensor of planes is. */
struct nt_place {
    int64_t plane;
    int row, column;
};

static inline __device__ nt_place nt_place_of(int64_t i, nt_divisor plane, nt_divisor columns)
{
    nt_place p;
    p.plane = nt_quotient(i, plane);
    const int rest = (int)(i - p.plane * plane.d);
    p.row = nt_quotient(rest, columns);
    p.column = rest - p.row * (int)columns.d;
    return p;
}

/* The row (axis 0) or column (axis 1) of the input that a tap of output position `out` is at; may lie
 * outside. */
static inline __device__ int nt_source(const nt_window_plan &w, int axis, int out, int tap)
{
    return out * w.stride[axis] + tap * w.dilation[axis] - w.pad[axis];
}

/* The inverse: the output position in [0, out) whose tap is at `in`, or -1. */
static inline __device__ int nt_target(const nt_window_plan &w, int axis, int in, int tap)
{
    const int from = in + w.pad[axis] - tap * w.dilation[axis];
    if (from < 0) return -1;
    const int out = nt_quotient(from, w.stride_by[axis]);
    return out * w.stride[axis] == from && out < w.out[axis] ? out : -1;
}

static inline __device__ bool nt_inside(int i, int size)
{
    return (unsigned)i < (unsigned)size;
}

#endif
