/* The order of samples, made once per epoch by Fisher-Yates from counter-based random numbers.
 *
 * The trick is what is missing: no state. The permutation of an epoch starts from the identity and draws the
 * number of position i from the Philox block (i, epoch), so any rank, thread or resumed run makes the same
 * one out of (seed, epoch) alone. Ranks cut a global batch into consecutive parts, hence the parts of n ranks
 * laid end to end are the batch of one rank. A Feistel network would need no memory for the permutation,
 * but 4 bytes a sample are cheap and a table is faster to read.
 *
 * Contract: sampler.h. Positions above 2^32 work; they cost 8 bytes a sample. */
#include "datasets/sampler.h"

#include "core/rng.h"

#include <stdlib.h>

struct nt_sampler {
    int64_t n_samples, batch, n_batches;
    int n_pieces;
    bool shuffle;
    uint64_t seed;
    int64_t epoch;    /* whose permutation `order` holds; -1: none yet */
    uint32_t *order;  /* (n_samples); NULL without shuffle or if n_samples is beyond 32 bits */
    uint64_t *order8; /* (n_samples) in that case */
};

/* Memory for the permutation, in the smallest type that holds an index. */
static nt_status allocate_order(nt_sampler *sampler)
{
    size_t n = (size_t)sampler->n_samples, width = n <= UINT32_MAX ? sizeof(uint32_t) : sizeof(uint64_t);
    NT_CHECK(n <= SIZE_MAX / width, NT_ERR_UNAVAILABLE, "the order of %zu samples does not fit in memory", n);
    void *memory = malloc(n * width);
    NT_CHECK_ALLOC(memory, n * width);
    if (width == sizeof(uint32_t))
        sampler->order = memory;
    else
        sampler->order8 = memory;
    return NT_OK;
}

nt_status nt_sampler_create(nt_sampler **out, int64_t n_samples, int64_t batch, bool shuffle, bool drop_last,
                            uint64_t seed)
{
    *out = NULL;
    NT_CHECK(n_samples >= 1, NT_ERR_DATA, "a dataset of %lld samples cannot be sampled",
             (long long)n_samples);
    NT_CHECK(batch >= 1, NT_ERR_CONFIG, "the batch is %lld, must be at least 1", (long long)batch);
    nt_sampler *sampler = calloc(1, sizeof *sampler);
    NT_CHECK_ALLOC(sampler, sizeof *sampler);
    int64_t full = n_samples / batch, rest = n_samples % batch;
    *sampler = (nt_sampler){.n_samples = n_samples,
                            .batch = batch,
                            .n_batches = full + (rest > 0 && (full == 0 || !drop_last)),
                            .n_pieces = 1,
                            .shuffle = shuffle,
                            .seed = seed,
                            .epoch = -1};
    nt_status status = shuffle ? allocate_order(sampler) : NT_OK;
    if (status != NT_OK) {
        nt_sampler_destroy(sampler);
        return status;
    }
    *out = sampler;
    return NT_OK;
}

void nt_sampler_destroy(nt_sampler *sampler)
{
    if (!sampler) return;
    free(sampler->order);
    free(sampler->order8);
    free(sampler);
}

int64_t nt_sampler_batches(const nt_sampler *sampler)
{
    return sampler->n_batches;
}

int64_t nt_sampler_batch_size(const nt_sampler *sampler, int64_t index)
{
    if (index < 0 || index >= sampler->n_batches) return 0;
    int64_t left = sampler->n_samples - index * sampler->batch;
    return left < sampler->batch ? left : sampler->batch;
}

/* The partner of position i in the shuffle of `epoch`: uniform in [0, i]. */
static uint64_t draw(const nt_sampler *sampler, int64_t epoch, uint64_t i)
{
    nt_philox block = nt_rng_block(sampler->seed, NT_RNG_SHUFFLE, (uint32_t)((uint64_t)epoch >> 32),
                                   (uint32_t)i, (uint32_t)(i >> 32), (uint32_t)epoch);
    return nt_rng_below(block.v[0], block.v[1], i + 1);
}

static void shuffle32(const nt_sampler *sampler, int64_t epoch)
{
    uint32_t *order = sampler->order;
    for (uint64_t i = 0; i < (uint64_t)sampler->n_samples; i++)
        order[i] = (uint32_t)i;
    for (uint64_t i = (uint64_t)sampler->n_samples - 1; i > 0; i--) {
        uint64_t j = draw(sampler, epoch, i);
        uint32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

static void shuffle64(const nt_sampler *sampler, int64_t epoch)
{
    uint64_t *order = sampler->order8;
    for (uint64_t i = 0; i < (uint64_t)sampler->n_samples; i++)
        order[i] = i;
    for (uint64_t i = (uint64_t)sampler->n_samples - 1; i > 0; i--) {
        uint64_t j = draw(sampler, epoch, i), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* Makes the permutation of `epoch` unless it is there. */
static void turn_to_epoch(nt_sampler *sampler, int64_t epoch)
{
    if (sampler->epoch == epoch) return;
    if (sampler->order)
        shuffle32(sampler, epoch);
    else
        shuffle64(sampler, epoch);
    sampler->epoch = epoch;
}

void nt_sampler_cut_pieces(nt_sampler *sampler, int n)
{
    sampler->n_pieces = n;
}

/* This rank's part [*begin, *end) of piece `piece` of a batch, counted within the batch. */
static void find_part(const nt_sampler *sampler, int64_t index, int piece, int rank, int size, int64_t *begin,
                      int64_t *end)
{
    int64_t first, stop;
    nt_part(nt_sampler_batch_size(sampler, index), piece, sampler->n_pieces, &first, &stop);
    nt_part(stop - first, rank, size, begin, end);
    *begin += first;
    *end += first;
}

int64_t nt_sampler_piece_size(const nt_sampler *sampler, int64_t index, int piece, int rank, int size,
                              int64_t *all)
{
    int64_t begin, end;
    nt_part(nt_sampler_batch_size(sampler, index), piece, sampler->n_pieces, &begin, &end);
    *all = end - begin;
    find_part(sampler, index, piece, rank, size, &begin, &end);
    return end - begin;
}

int64_t nt_sampler_slice_size(const nt_sampler *sampler, int64_t index, int rank, int size)
{
    int64_t n = 0, all;
    for (int i = 0; i < sampler->n_pieces; i++)
        n += nt_sampler_piece_size(sampler, index, i, rank, size, &all);
    return n;
}

static int64_t sample_at(const nt_sampler *sampler, int64_t i)
{
    if (sampler->order) return (int64_t)sampler->order[i];
    return sampler->order8 ? (int64_t)sampler->order8[i] : i;
}

int64_t nt_sampler_slice(nt_sampler *sampler, int64_t epoch, int64_t index, int rank, int size, int64_t *out)
{
    int64_t n = 0, begin, end, base = index * sampler->batch;
    if (sampler->shuffle && nt_sampler_slice_size(sampler, index, rank, size) > 0)
        turn_to_epoch(sampler, epoch);
    for (int piece = 0; piece < sampler->n_pieces; piece++) {
        find_part(sampler, index, piece, rank, size, &begin, &end);
        for (int64_t i = begin; i < end; i++)
            out[n++] = sample_at(sampler, base + i);
    }
    return n;
}

int64_t nt_sampler_max_extra(const nt_sampler *sampler)
{
    return sampler->n_pieces;
}

int64_t nt_sampler_partners(nt_sampler *sampler, int64_t epoch, int64_t index, int rank, int size,
                            int64_t *partner, int64_t *extra)
{
    const int64_t n = nt_sampler_slice_size(sampler, index, rank, size), base = index * sampler->batch;
    int64_t n_extra = 0, at = 0, begin, end, before = -1; /* before: where the last run ended */
    if (sampler->shuffle && n > 0) turn_to_epoch(sampler, epoch);
    for (int piece = 0; piece < sampler->n_pieces; piece++) {
        find_part(sampler, index, piece, rank, size, &begin, &end);
        for (int64_t i = begin; i < end; i++, at++) {
            partner[at] = at - 1;
            if (i > begin || i == before) continue;
            partner[at] = n + n_extra;
            extra[n_extra++] =
                sample_at(sampler, base + (i > 0 ? i : nt_sampler_batch_size(sampler, index)) - 1);
        }
        if (end > begin) before = end;
    }
    return n_extra;
}
