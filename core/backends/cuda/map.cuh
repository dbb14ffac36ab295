/* Functions of each element: out[i] = f(a[i]) and out[i] = f(a[i], b[i]). out may be any input: a thread
 * reads what it is about to write before it writes.
 *
 * Bound by memory: one pass per tensor. A thread takes sixteen bytes of each; 2048 threads of a
 * multiprocessor then have 32 KiB under way per input, three times what latency times bandwidth asks for. */
#ifndef NT_CORE_BACKENDS_CUDA_MAP_CUH
#define NT_CORE_BACKENDS_CUDA_MAP_CUH

#include "core/backends/cuda/device.cuh"

/* Reads 1 and writes 1 pass. */
template <typename D, typename S, typename F>
static __global__ void __launch_bounds__(NT_BLOCK) nt_map1(D *out, const S *a, int64_t n, bool vector, F f)
{
    constexpr int W = nt_lanes<D>::N > nt_lanes<S>::N ? nt_lanes<D>::N : nt_lanes<S>::N;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float v[W];
        nt_load(v, a + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++)
            v[k] = f(v[k]);
        nt_store(out + i, v, n - i, vector);
    }
}

/* Reads 2 and writes 1 pass. */
template <typename T, typename F>
static __global__ void __launch_bounds__(NT_BLOCK)
    nt_map2(T *out, const T *a, const T *b, int64_t n, bool vector, F f)
{
    constexpr int W = nt_lanes<T>::N;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float v[W], u[W];
        nt_load(v, a + i, n - i, vector);
        nt_load(u, b + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++)
            v[k] = f(v[k], u[k]);
        nt_store(out + i, v, n - i, vector);
    }
}

template <typename D, typename S, typename F>
static inline void nt_launch_map1(nt_cuda_stream stream, D *out, const S *a, int64_t n, F f)
{
    const bool vector = nt_aligned(out) && nt_aligned(a);
    NT_LAUNCH((nt_map1<D, S, F>), nt_blocks(n / 4 + 1), NT_BLOCK, 0, stream, out, a, n, vector, f);
}

template <typename T, typename F>
static inline void nt_launch_map2(nt_cuda_stream stream, T *out, const T *a, const T *b, int64_t n, F f)
{
    const bool vector = nt_aligned(out) && nt_aligned(a) && nt_aligned(b);
    NT_LAUNCH((nt_map2<T, F>), nt_blocks(n / nt_lanes<T>::N + 1), NT_BLOCK, 0, stream, out, a, b, n, vector,
              f);
}

#endif
