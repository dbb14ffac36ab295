/* dropout: the mask of core/layers/dropout.h, bit for bit the one of the CPU, made again in backward.
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

extern "C" int nt_cuda_dropout_apply(nt_cuda_stream stream, nt_dtype type, void *out, const void *in,
                                     const nt_cuda_pass *pass, const int64_t *sample, uint32_t id,
                                     double rate, int64_t n, int64_t inner)
{
    const mask_key key = {pass, sample, id, (uint32_t)ceil(rate * 0x1p24)};
    const float scale = (float)(1 / (1 - rate));
    const int64_t groups = (inner + 3) / 4;
    NT_WITH_TYPE(type, const size_t align = 4 * sizeof(T);
                 const bool vector = inner % 4 == 0 && nt_aligned(out, align) && nt_aligned(in, align);
                 NT_LAUNCH(dropout<T>, nt_blocks(n * groups), NT_BLOCK, 0, stream, (T *)out, (const T *)in,
                           key, scale, inner, nt_divide_by(groups), n * groups, vector));
    return (int)cudaGetLastError();
}
