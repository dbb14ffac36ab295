/* adaptive_avg_pool: output row p of P is the mean of rows [floor(p H / P), ceil((p + 1) H / P)) of H,
 * columns alike. Forward gathers a window, backward the windows that cover an element; a thread each. Bound
 * by memory: 1 read, 1 write; neighbouring windows share a row at most. */
#include "core/backends/cuda/window.cuh"

struct span {
    int begin, end;
};

/* What position `i` of `n` covers of m: a window of the input, or the windows over an element; the two are
 * the same formula, because a window covers an element where their intervals of the unit length meet. */
static inline __device__ span covered(int i, int n, int m)
{
    return {(int)((int64_t)i * m / n), (int)(((int64_t)(i + 1) * m + n - 1) / n)};
}

template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK) forward(T *y, const T *x, nt_window_plan w, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const nt_place o = nt_place_of(i, w.out_plane, w.out_columns);
        const span rows = covered(o.row, w.out[0], w.in[0]), columns = covered(o.column, w.out[1], w.in[1]);
        const T *plane = x + o.plane * w.in_plane.d;
        double sum = 0;
        for (int row = rows.begin; row < rows.end; row++)
            for (int column = columns.begin; column < columns.end; column++)
                sum += (double)nt_to_float(plane[row * w.in[1] + column]);
        nt_put(&y[i],
               (float)(sum / ((double)(rows.end - rows.begin) * (double)(columns.end - columns.begin))));
    }
}

template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK) backward(T *dx, const T *dy, nt_window_plan w, int64_t n)
{
    for (int64_t i = nt_thread(); i < n; i += nt_threads()) {
        const nt_place e = nt_place_of(i, w.in_plane, w.in_columns);
        const span rows = covered(e.row, w.in[0], w.out[0]), columns = covered(e.column, w.in[1], w.out[1]);
        const T *plane = dy + e.plane * w.out_plane.d;
        float sum = 0;
        for (int p = rows.begin; p < rows.end; p++)
            for (int q = columns.begin; q < columns.end; q++) {
                const span high = covered(p, w.out[0], w.in[0]), wide = covered(q, w.out[1], w.in[1]);
                sum += nt_to_float(plane[p * w.out[1] + q]) /
                       ((float)(high.end - high.begin) * (float)(wide.end - wide.begin));
            }
        nt_put(&dx[i], sum);
    }
}

extern "C" int nt_cuda_adaptive_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x,
                                        const nt_cuda_window *w, int64_t planes)
{
    const int64_t n = planes * w->out[0] * w->out[1];
    NT_WITH_TYPE(type, NT_LAUNCH(forward<T>, nt_blocks(n), NT_BLOCK, 0, stream, (T *)y, (const T *)x,
                                 nt_plan_window(w), n));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_adaptive_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                                         const nt_cuda_window *w, int64_t planes)
{
    const int64_t n = planes * w->in[0] * w->in[1];
    NT_WITH_TYPE(type, NT_LAUNCH(backward<T>, nt_blocks(n), NT_BLOCK, 0, stream, (T *)dx, (const T *)dy,
                                 nt_plan_window(w), n));
    return (int)cudaGetLastError();
}
