/* Philox4x32-10 (core/rng.h) for many blocks at a time. Part of vec_body.h. */

enum { BLOCKS = 16 };

/* Words of blocks first .. first + BLOCKS - 1 of the mask's stream, word by word. */
INLINE void philox_blocks(uint32_t v[4][BLOCKS], const nt_vec_mask *m, uint32_t first)
{
    uint32_t k0 = (uint32_t)m->seed, k1 = (uint32_t)(m->seed >> 32);
    EACH(i, BLOCKS)
    {
        v[0][i] = first + (uint32_t)i;
        v[1][i] = m->sample;
        v[2][i] = m->epoch;
        v[3][i] = (uint32_t)NT_RNG_DROPOUT << 24 | (m->id & 0xffffffu);
    }
    for (int round = 0; round < 10; round++) {
        EACH(i, BLOCKS)
        {
            uint64_t p0 = (uint64_t)0xD2511F53u * v[0][i], p1 = (uint64_t)0xCD9E8D57u * v[2][i];
            uint32_t a = (uint32_t)(p1 >> 32) ^ v[1][i] ^ k0, b = (uint32_t)(p0 >> 32) ^ v[3][i] ^ k1;
            v[0][i] = a;
            v[1][i] = (uint32_t)p1;
            v[2][i] = b;
            v[3][i] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static void vec_dropout_mask(float *mask, const nt_vec_mask *m, int64_t n)
{
    for (int64_t e = 0; e < n; e += 4 * BLOCKS) {
        uint32_t v[4][BLOCKS];
        float out[4 * BLOCKS];
        philox_blocks(v, m, (uint32_t)(e / 4));
        EACH(i, BLOCKS)
        {
            out[4 * i] = v[0][i] >> 8 >= m->threshold ? m->scale : 0;
            out[4 * i + 1] = v[1][i] >> 8 >= m->threshold ? m->scale : 0;
            out[4 * i + 2] = v[2][i] >> 8 >= m->threshold ? m->scale : 0;
            out[4 * i + 3] = v[3][i] >> 8 >= m->threshold ? m->scale : 0;
        }
        __builtin_memcpy(mask + e, out, (size_t)(n - e < 4 * BLOCKS ? n - e : 4 * BLOCKS) * sizeof *out);
    }
}
