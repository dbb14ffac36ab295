/* input: samples as they came over the bus, normalised to the type of activations. It computes in double, as
 * ref does: data with a large mean and a small deviation lose nothing, and it is one small tensor a step. */
#include "core/backends/cuda/device.cuh"

/* Bound by memory: 1 or 4 bytes read and 2 or 4 written per element, three operations in double (a fifth of
 * the time of the memory on an A100). Four elements a thread; the constants come from the kernel's
 * parameters, which are cached, and mostly all threads of a warp want the same. */
template <typename T, typename S>
static __global__ void __launch_bounds__(NT_BLOCK)
    normalise(T *y, const S *x, nt_cuda_normaliser o, nt_divisor inner, nt_divisor channels, int64_t n,
              bool vector)
{
    for (int64_t i = nt_thread() * 4; i < n; i += nt_threads() * 4) {
        float v[4];
        int64_t plane = nt_quotient(i, inner), at = i - plane * inner.d;
        int c = (int)(plane - nt_quotient(plane, channels) * channels.d);
        nt_load(v, x + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const int use = o.n_channels > 1 ? c : 0;
            const double mean = o.n_channels > 0 ? o.mean[use] : 0;
            const double inv_std = o.n_channels > 0 ? o.inv_std[use] : 1;
            v[k] = (float)(((double)v[k] * o.scale - mean) * inv_std);
            if (++at == inner.d) {
                at = 0;
                c = c + 1 < channels.d ? c + 1 : 0;
            }
        }
        nt_store(y + i, v, n - i, vector);
    }
}

template <typename T, typename S>
static void launch(nt_cuda_stream stream, void *y, const void *x, const nt_cuda_normaliser *o,
                   nt_cuda_channels z)
{
    const bool vector = nt_aligned(y, 4 * sizeof(T)) && nt_aligned(x, 4 * sizeof(S));
    const int64_t n = z.n * z.c * z.s;
    NT_LAUNCH((normalise<T, S>), nt_blocks(n / 4 + 1), NT_BLOCK, 0, stream, (T *)y, (const S *)x, *o,
              nt_divide_by(z.s), nt_divide_by(z.c), n, vector);
}

extern "C" int nt_cuda_input_forward(nt_cuda_stream stream, nt_dtype type, void *y, nt_dtype stored,
                                     const void *x, const nt_cuda_normaliser *normaliser,
                                     nt_cuda_channels shape)
{
    NT_WITH_TYPE(type, if (stored == NT_U8) launch<T, uint8_t>(stream, y, x, normaliser, shape);
                 else launch<T, float>(stream, y, x, normaliser, shape));
    return (int)cudaGetLastError();
}
