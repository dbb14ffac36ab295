/* max_pool and avg_pool. Forward: a thread per output looks through its window. Backward: a thread per
 * element of dx gathers from the windows that cover it, in a fixed order; scattering would need atomics.
 * Neighbouring threads take neighbouring columns, so a warp's loads are one piece for each tap, and
 * overlapping windows meet in the L1 cache.
 *
 * max_pool keeps which tap of its window every output came from, in one byte where the window has fewer than
 * 255, which is all that backward needs. */
#include "core/backends/cuda/window.cuh"

/* The part of a window, or of the windows that cover an element, that exists: [begin, end). */
struct span {
    int begin, end;
};

static inline __device__ span taps_inside(const nt_window_plan &w, int axis, int out)
{
    const int first = out * w.stride[axis] - w.pad[axis];
    return {max(first, 0), min(first + w.kernel[axis], w.in[axis])};
}

static inline __device__ span windows_over(const nt_window_plan &w, int axis, int in)
{
    const int last = in + w.pad[axis], before = last - w.kernel[axis] + w.stride[axis];
    return {before > 0 ? nt_quotient(before, w.stride_by[axis]) : 0,
            min(nt_quotient(last, w.stride_by[axis]) + 1, w.out[axis])};
}

/* Bound by memory: x once (overlaps come from L1), y and a byte of `where` per output. The first largest
 * wins, or the first NaN. */
template <typename T, typename I>
static __global__ void __launch_bounds__(NT_BLOCK)
    max_forward(T *y, I *where, const T *x, nt_window_plan w, bool relu, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const nt_place o = nt_place_of(i, w.out_plane, w.out_columns);
        const span rows = taps_inside(w, 0, o.row), columns = taps_inside(w, 1, o.column);
        const T *plane = x + o.plane * w.in_plane.d;
        float best = 0;
        int at = -1;
        for (int row = rows.begin; row < rows.end; row++)
            for (int column = columns.begin; column < columns.end; column++) {
                const int e = row * w.in[1] + column;
                const float v = nt_to_float(plane[e]);
                if (at >= 0 && !(v > best) && !(v != v && best == best)) continue;
                best = v;
                at = e;
            }
        if (where) {
            const int row = nt_quotient(at, w.in_columns), column = at - row * w.in[1];
            const int tap = (row - (o.row * w.stride[0] - w.pad[0])) * w.kernel[1] +
                            (column - (o.column * w.stride[1] - w.pad[1]));
            where[i] = relu && !(best > 0) ? (I)-1 : (I)tap;
        }
        nt_put(&y[i], relu && best < 0 ? 0.0f : best);
    }
}

/* Bound by memory: dy and `where` once, dx once. */
template <typename T, typename I>
static __global__ void __launch_bounds__(NT_BLOCK)
    max_backward(T *dx, const T *dy, const I *where, nt_window_plan w, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const nt_place e = nt_place_of(i, w.in_plane, w.in_columns);
        const span rows = windows_over(w, 0, e.row), columns = windows_over(w, 1, e.column);
        const int64_t plane = e.plane * w.out_plane.d;
        float sum = 0;
        for (int p = rows.begin; p < rows.end; p++)
            for (int q = columns.begin; q < columns.end; q++) {
                const int64_t o = plane + p * w.out[1] + q;
                const int tap = (e.row - (p * w.stride[0] - w.pad[0])) * w.kernel[1] +
                                (e.column - (q * w.stride[1] - w.pad[1]));
                if (where[o] == (I)tap) sum += nt_to_float(dy[o]);
            }
        nt_put(&dx[i], sum);
    }
}

/* How many rows or columns of the window at `out` count. */
static inline __device__ int counted(const nt_window_plan &w, int axis, int out)
{
    const span inside = taps_inside(w, axis, out);
    if (!w.count_padding) return inside.end - inside.begin;
    const int first = nt_source(w, axis, out, 0);
    return min(w.kernel[axis], w.in[axis] + w.pad_end[axis] - first);
}

static inline __device__ float elements_of(const nt_window_plan &w, int p, int q)
{
    return (float)counted(w, 0, p) * (float)counted(w, 1, q);
}

/* Bound by memory: 1 read, 1 write. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK) avg_forward(T *y, const T *x, nt_window_plan w, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const nt_place o = nt_place_of(i, w.out_plane, w.out_columns);
        const span rows = taps_inside(w, 0, o.row), columns = taps_inside(w, 1, o.column);
        const T *plane = x + o.plane * w.in_plane.d;
        float sum = 0;
        for (int row = rows.begin; row < rows.end; row++)
            for (int column = columns.begin; column < columns.end; column++)
                sum += nt_to_float(plane[row * w.in[1] + column]);
        nt_put(&y[i], sum / elements_of(w, o.row, o.column));
    }
}

/* Bound by memory: 1 read, 1 write. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    avg_backward(T *dx, const T *dy, nt_window_plan w, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const nt_place e = nt_place_of(i, w.in_plane, w.in_columns);
        const span rows = windows_over(w, 0, e.row), columns = windows_over(w, 1, e.column);
        const T *plane = dy + e.plane * w.out_plane.d;
        float sum = 0;
        for (int p = rows.begin; p < rows.end; p++)
            for (int q = columns.begin; q < columns.end; q++)
                sum += nt_to_float(plane[p * w.out[1] + q]) / elements_of(w, p, q);
        nt_put(&dx[i], sum);
    }
}

extern "C" int nt_cuda_tap_bytes(const nt_cuda_window *w)
{
    return w->kernel[0] * w->kernel[1] < 255 ? 1 : 4;
}

extern "C" int nt_cuda_max_pool_forward(nt_cuda_stream stream, nt_dtype type, void *y, void *where,
                                        const void *x, const nt_cuda_window *w, bool relu, int64_t planes)
{
    const nt_window_plan v = nt_plan_window(w);
    const int64_t n = planes * v.out_plane.d;
    NT_WITH_TYPE(type, if (nt_cuda_tap_bytes(w) == 1)
                           NT_LAUNCH((max_forward<T, uint8_t>), nt_blocks(n), NT_BLOCK, 0, stream, (T *)y,
                                     (uint8_t *)where, (const T *)x, v, relu, n);
                 else NT_LAUNCH((max_forward<T, int>), nt_blocks(n), NT_BLOCK, 0, stream, (T *)y,
                                (int *)where, (const T *)x, v, relu, n));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_max_pool_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                                         const void *where, const nt_cuda_window *w, int64_t planes)
{
    const nt_window_plan v = nt_plan_window(w);
    const int64_t n = planes * v.in_plane.d;
    NT_WITH_TYPE(type, if (nt_cuda_tap_bytes(w) == 1)
                           NT_LAUNCH((max_backward<T, uint8_t>), nt_blocks(n), NT_BLOCK, 0, stream, (T *)dx,
                                     (const T *)dy, (const uint8_t *)where, v, n);
                 else NT_LAUNCH((max_backward<T, int>), nt_blocks(n), NT_BLOCK, 0, stream, (T *)dx,
                                (const T *)dy, (const int *)where, v, n));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_avg_pool_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x,
                                        const nt_cuda_window *w, int64_t planes)
{
    const nt_window_plan v = nt_plan_window(w);
    const int64_t n = planes * v.out_plane.d;
    NT_WITH_TYPE(type,
                 NT_LAUNCH(avg_forward<T>, nt_blocks(n), NT_BLOCK, 0, stream, (T *)y, (const T *)x, v, n));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_avg_pool_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                                         const nt_cuda_window *w, int64_t planes)
{
    const nt_window_plan v = nt_plan_window(w);
    const int64_t n = planes * v.in_plane.d;
    NT_WITH_TYPE(type,
                 NT_LAUNCH(avg_backward<T>, nt_blocks(n), NT_BLOCK, 0, stream, (T *)dx, (const T *)dy, v, n));
    return (int)cudaGetLastError();
}
