/* Philox4x32-10, a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
 * 3").
 *
 * Every random number of a run is a pure function of (seed, what it is for, where it stands), so nothing is
 * saved and nothing depends on the number of ranks or threads. The key is the seed; the counter names the
 * number: c[3] = stream (nt_rng_stream, with a sub-id in the low bits), c[2..0] = coordinates. */
#ifndef NT_CORE_RNG_H
#define NT_CORE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* The same numbers in kernels (core/backends/cuda/dropout.cu). */
#ifdef __CUDACC__
#define NT_RNG_INLINE static inline __host__ __device__
#else
#define NT_RNG_INLINE static inline
#endif

typedef struct nt_philox {
    uint32_t v[4];
} nt_philox;

/* One block of four random words. */
NT_RNG_INLINE nt_philox nt_philox4x32(nt_philox counter, uint64_t key)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * counter.v[0], p1 = (uint64_t)0xCD9E8D57u * counter.v[2];
        const nt_philox next = {{(uint32_t)(p1 >> 32) ^ counter.v[1] ^ k0, (uint32_t)p1,
                                 (uint32_t)(p0 >> 32) ^ counter.v[3] ^ k1, (uint32_t)p0}};
        counter = next;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return counter;
}

/* What a number is for; the top byte of counter word 3. */
typedef enum nt_rng_stream {
    NT_RNG_INIT = 1,    /* initial weights: (element, 0, parameter id) */
    NT_RNG_SHUFFLE = 2, /* order of samples: (position, 0, epoch) */
    NT_RNG_DROPOUT = 3, /* masks: (element / 4, sample, epoch), sub-id = layer */
    NT_RNG_DATA = 4,    /* synthetic data and augmentation: (element, sample, epoch) */
    NT_RNG_TEST = 5,
} nt_rng_stream;

/* The block at (a, b, c) of a stream; sub_id < 2^24. */
NT_RNG_INLINE nt_philox nt_rng_block(uint64_t seed, nt_rng_stream stream, uint32_t sub_id, uint32_t a,
                                     uint32_t b, uint32_t c)
{
    const nt_philox counter = {{a, b, c, (uint32_t)stream << 24 | (sub_id & 0xffffffu)}};
    return nt_philox4x32(counter, seed);
}

/* Uniform in [0, 1) with 24 bits. */
NT_RNG_INLINE float nt_rng_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* Two independent standard normals from two words (Box-Muller). */
void nt_rng_normal(uint32_t a, uint32_t b, double out[2]);

/* Uniform integer in [0, bound), bound >= 1, from two words; bias below 2^-32 for bound < 2^32. */
static inline uint64_t nt_rng_below(uint32_t a, uint32_t b, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)((uint64_t)a << 32 | b) * bound) >> 64);
}

#endif
