/* dropout and stochastic_depth: the masks of core/layers/dropout.h, bit for bit those of the CPU, made again
 * in backward.
 *
 * One Philox block is the numbers of four neighbours, so a thread takes four elements: 16 bytes of float32, 8
 * of bfloat16. A number u = k 2^-24 with an integer k, and u >= rate exactly where k >= ceil(rate 2^24),
 * which the host computes: no comparison in double is needed to agree with ref. */
#include "core/backends/cuda/device.cuh"
#include "core/rng.h"

/* What the mask of an element depends on. */
struct mask_key {
    const nt_cuda_pass *pass;
    const int64_t *sample; /* (N) */
    uint32_t id, threshold;
};

/* One read, one write; some 90 integer operations of Philox per four elements: in float32 about as much as an
 * A100 does in the time that the 32 bytes take, in bfloat16 twice that. `groups`: of four elements per row.
 */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    dropout(T *out, const T *in, mask_key key, float scale, int64_t inner, nt_divisor groups,
            int64_t n_groups, bool vector)
{
    const uint64_t seed = key.pass->seed;
    const uint32_t epoch = (uint32_t)key.pass->epoch;
    for (int64_t i = nt_thread(); i < n_groups; i += nt_threads()) {
        const int64_t row = nt_quotient(i, groups), group = i - row * groups.d;
        const int64_t at = row * inner + 4 * group, left = inner - 4 * group;
        const nt_philox words =
            nt_rng_block(seed, NT_RNG_DROPOUT, key.id, (uint32_t)group, (uint32_t)key.sample[row], epoch);
        float v[4];
        nt_load(v, in + at, left, vector);
#pragma unroll
        for (int k = 0; k < 4; k++)
            v[k] = words.v[k] >> 8 >= key.threshold ? v[k] * scale : 0.0f;
        nt_store(out + at, v, left, vector);
    }
}

/* Whole samples: element 0 of a mask. One read, one write; Philox once per sixteen bytes. */
template <typename T>
static __global__ void __launch_bounds__(NT_BLOCK)
    drop_samples(T *out, const T *in, mask_key key, float scale, nt_divisor inner, int64_t n, bool vector)
{
    constexpr int W = nt_lanes<T>::N;
    const uint64_t seed = key.pass->seed;
    const uint32_t epoch = (uint32_t)key.pass->epoch;
    for (int64_t i = nt_thread() * W; i < n; i += nt_threads() * W) {
        float v[W], factor = 0;
        int64_t row = -1;
        nt_load(v, in + i, n - i, vector);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const int64_t own = nt_quotient(i + k < n ? i + k : n - 1, inner);
            if (own != row) {
                row = own;
                const nt_philox words =
                    nt_rng_block(seed, NT_RNG_DROPOUT, key.id, 0, (uint32_t)key.sample[row], epoch);
                factor = words.v[0] >> 8 >= key.threshold ? scale : 0.0f;
            }
            v[k] = factor > 0 ? v[k] * factor : 0.0f;
        }
        nt_store(out + i, v, n - i, vector);
    }
}

static mask_key key_of(const nt_cuda_pass *pass, const int64_t *sample, uint32_t id, double rate)
{
    return {pass, sample, id, (uint32_t)ceil(rate * 0x1p24)};
}

extern "C" int nt_cuda_dropout_apply(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                                     const nt_cuda_pass *pass, const int64_t *sample, uint32_t id,
                                     double rate, int64_t n, int64_t inner)
{
    const mask_key key = key_of(pass, sample, id, rate);
    const float scale = (float)(1 / (1 - rate));
    const int64_t groups = (inner + 3) / 4;
    NT_WITH_TYPE(type, const size_t align = 4 * sizeof(T);
                 const bool vector = inner % 4 == 0 && nt_aligned(out, align) && nt_aligned(in, align);
                 NT_LAUNCH(dropout<T>, nt_blocks(n * groups), NT_BLOCK, 0, stream, (T *)out, (const T *)in,
                           key, scale, inner, nt_divide_by(groups), n * groups, vector));
    return (int)cudaGetLastError();
}

extern "C" int nt_cuda_drop_samples(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                                    const nt_cuda_pass *pass, const int64_t *sample, uint32_t id, double rate,
                                    int64_t n, int64_t inner)
{
    const mask_key key = key_of(pass, sample, id, rate);
    const bool vector = nt_aligned(out) && nt_aligned(in);
    NT_WITH_TYPE(type, NT_LAUNCH(drop_samples<T>, nt_blocks(n * inner / nt_lanes<T>::N + 1), NT_BLOCK, 0,
                                 stream, (T *)out, (const T *)in, key, (float)(1 / (1 - rate)),
                                 nt_divide_by(inner), n * inner, vector));
    return (int)cudaGetLastError();
}
