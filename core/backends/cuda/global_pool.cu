/* global_avg_pool: the mean of each plane, x (planes, S). A warp takes a plane: S is 49 to some thousand
 * wherever this layer is used, and the planes are many. */
#include "core/backends/cuda/device.cuh"

/* Bound by memory: 1 read. `vector`: S fills packs, so every plane is aligned. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    mean_forward(T *y, const T *x, int64_t planes, int64_t s, bool vector)
{
    constexpr int W = nt_lanes<T>::N;
    const int lane = nt_lane(), width = vector ? W : 1;
    for (int64_t i = nt_thread() / NT_WARP; i < planes; i += nt_threads() / NT_WARP) {
        const T *plane = x + i * s;
        double sum = 0;
        for (int64_t j = lane * width; j < s; j += NT_WARP * width) {
            float v[W], part = 0;
            nt_load(v, plane + j, vector ? W : 1, vector);
#pragma unroll
            for (int k = 0; k < W; k++)
                part += v[k];
            sum += (double)part;
        }
        sum = nt_warp_sum(sum);
        if (lane == 0) nt_put(&y[i], (float)(sum / (double)s));
    }
}

/* Bound by memory: 1 write. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    mean_backward(T *dx, const T *dy, nt_divisor s, int64_t n, bool vector)
{
    constexpr int W = nt_lanes<T>::N;
    const float inverse = 1.0f / (float)s.d;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        int64_t plane = nt_quotient(i, s), at = i - plane * s.d;
        float v[W], value = nt_to_float(dy[plane]) * inverse;
#pragma unroll
        for (int k = 0; k < W; k++) {
            v[k] = value;
            if (++at == s.d && i + k + 1 < n) {
                at = 0;
                value = nt_to_float(dy[++plane]) * inverse;
            }
        }
        nt_store(dx + i, v, n - i, vector);
    }
}

extern "C" int nt_cuda_mean_forward(nt_cuda_stream stream, nt_dtype type, void *y, const void *x,
                                    int64_t planes, int64_t s)
{
    NT_WITH_TYPE(type, NT_LAUNCH(mean_forward<T>, nt_warp_blocks(planes), NT_BLOCK, 0, stream, (T *)y,
                                 (const T *)x, planes, s, s % nt_lanes<T>::N == 0 && nt_aligned(x)));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_mean_backward(nt_cuda_stream stream, nt_dtype type, void *dx, const void *dy,
                                     int64_t planes, int64_t s)
{
    const int64_t n = planes * s;
    NT_WITH_TYPE(type, NT_LAUNCH(mean_backward<T>, nt_blocks(n / nt_lanes<T>::N + 1), NT_BLOCK, 0, stream,
                                 (T *)dx, (const T *)dy, nt_divide_by(s), n, nt_aligned(dx)));
    return (int)cudaGetLastError();
}
