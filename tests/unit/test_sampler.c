/* The order of samples: one order for any number of ranks, every sample once, the same for ever.
 *
 * Includes sampler.c itself, because the 64-bit permutation cannot be reached from outside without 32 GiB. */
#include "datasets/sampler.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static nt_sampler *make(int64_t n, int64_t batch, bool shuffle, bool drop_last, uint64_t seed)
{
    nt_sampler *sampler = NULL;
    assert_int_equal(nt_sampler_create(&sampler, n, batch, shuffle, drop_last, seed), NT_OK);
    return sampler;
}

/* The whole epoch as `size` ranks read it: batches in order, ranks in order. Returns the number of samples.
 */
static int64_t epoch_order(nt_sampler *sampler, int64_t epoch, int size, int64_t *out)
{
    int64_t n = 0;
    for (int64_t b = 0; b < nt_sampler_batches(sampler); b++) {
        int64_t before = n;
        for (int rank = 0; rank < size; rank++) {
            int64_t got = nt_sampler_slice(sampler, epoch, b, rank, size, out + n);
            assert_int_equal(got, nt_sampler_slice_size(sampler, b, rank, size));
            n += got;
        }
        assert_int_equal(n - before, nt_sampler_batch_size(sampler, b));
    }
    return n;
}

/* The permutation is part of what a checkpoint promises: were it to change, resumed runs would see samples
 * twice. These numbers come from an independent implementation in Python (its Philox checked against the
 * vectors of Random123). */
static void golden_order(void **state)
{
    static const int64_t epoch0[10] = {7, 4, 9, 5, 2, 3, 8, 1, 6, 0};
    static const int64_t epoch1[10] = {0, 3, 7, 6, 4, 5, 9, 2, 8, 1};
    (void)state;
    int64_t order[10];
    nt_sampler *sampler = make(10, 4, true, false, 42);
    assert_int_equal(epoch_order(sampler, 0, 1, order), 10);
    assert_memory_equal(order, epoch0, sizeof order);
    epoch_order(sampler, 1, 1, order);
    assert_memory_equal(order, epoch1, sizeof order);
    epoch_order(sampler, 0, 1, order); /* going back gives the old one */
    assert_memory_equal(order, epoch0, sizeof order);
    nt_sampler_destroy(sampler);
}

static void same_order_at_any_number_of_ranks(void **state)
{
    (void)state;
    enum { N = 1003 };
    static int64_t one[N], many[N];
    for (int shuffle = 0; shuffle < 2; shuffle++)
        for (int64_t batch = 1; batch < 200; batch += 33)
            for (int size = 1; size <= 5; size++) {
                nt_sampler *a = make(N, batch, shuffle, false, 7), *b = make(N, batch, shuffle, false, 7);
                assert_int_equal(epoch_order(a, 3, 1, one), N);
                assert_int_equal(epoch_order(b, 3, size, many), N);
                assert_memory_equal(one, many, sizeof one);
                nt_sampler_destroy(a);
                nt_sampler_destroy(b);
            }
}

static void every_sample_once_an_epoch(void **state)
{
    (void)state;
    static int64_t order[5000];
    static char seen[5000];
    for (int64_t n = 1; n <= 5000; n = n * 3 + 1) {
        nt_sampler *sampler = make(n, 64, true, false, 1);
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            assert_int_equal(epoch_order(sampler, epoch, 3, order), n);
            memset(seen, 0, sizeof seen);
            for (int64_t i = 0; i < n; i++) {
                assert_in_range(order[i], 0, n - 1);
                assert_int_equal(seen[order[i]]++, 0);
            }
        }
        nt_sampler_destroy(sampler);
    }
}

static void seeds_and_epochs_differ(void **state)
{
    (void)state;
    int64_t a[100], b[100];
    nt_sampler *one = make(100, 10, true, false, 1), *two = make(100, 10, true, false, 2);
    epoch_order(one, 0, 1, a);
    epoch_order(two, 0, 1, b);
    assert_memory_not_equal(a, b, sizeof a);
    epoch_order(one, 1, 1, b);
    assert_memory_not_equal(a, b, sizeof a);
    epoch_order(one, (int64_t)1 << 32, 1, b); /* the epoch's upper half counts too */
    assert_memory_not_equal(a, b, sizeof a);
    nt_sampler_destroy(one);
    nt_sampler_destroy(two);
}

/* Each of the 24 orders of 4 samples is equally likely: chi-square over 24,000 epochs with 23 degrees of
 * freedom lies below 50 with probability 0.999; the seed is fixed, so the test does not flicker. */
static void shuffle_is_uniform(void **state)
{
    (void)state;
    int count[256] = {0}, orders = 0;
    nt_sampler *sampler = make(4, 4, true, false, 11);
    for (int64_t epoch = 0; epoch < 24000; epoch++) {
        int64_t o[4] = {0};
        epoch_order(sampler, epoch, 1, o);
        count[o[0] * 64 + o[1] * 16 + o[2] * 4 + o[3]]++;
    }
    double chi2 = 0;
    for (int i = 0; i < 256; i++)
        if (count[i]) {
            chi2 += (count[i] - 1000.0) * (count[i] - 1000.0) / 1000.0;
            orders++;
        }
    assert_int_equal(orders, 24);
    assert_true(chi2 < 50);
    nt_sampler_destroy(sampler);
}

/* The last batch of an epoch, uneven parts: every rank is asked for the same batches. */
static void fault_102_uneven_last_batch(void **state)
{
    (void)state;
    nt_sampler *sampler = make(10, 4, true, false, 1), *dropping = make(10, 4, true, true, 1);
    assert_int_equal(nt_sampler_batches(sampler), 3);
    assert_int_equal(nt_sampler_batch_size(sampler, 1), 4);
    assert_int_equal(nt_sampler_batch_size(sampler, 2), 2);
    assert_int_equal(nt_sampler_slice_size(sampler, 0, 0, 3), 2);
    assert_int_equal(nt_sampler_slice_size(sampler, 0, 1, 3), 1);
    assert_int_equal(nt_sampler_slice_size(sampler, 0, 2, 3), 1);
    assert_int_equal(nt_sampler_slice_size(sampler, 2, 1, 3), 1);
    assert_int_equal(nt_sampler_slice_size(sampler, 2, 2, 3), 0);
    assert_int_equal(nt_sampler_batches(dropping), 2);
    assert_int_equal(nt_sampler_batch_size(dropping, 2), 0);
    nt_sampler_destroy(sampler);
    nt_sampler_destroy(dropping);
}

/* 48: one sample, eight ranks; 74: batch < ranks, batch > dataset. */
static void fault_48_74_fewer_samples_than_ranks(void **state)
{
    (void)state;
    int64_t out[100];
    nt_sampler *sampler = make(1, 64, true, true, 1);
    assert_int_equal(nt_sampler_batches(sampler), 1); /* the only batch is never dropped */
    assert_int_equal(nt_sampler_batch_size(sampler, 0), 1);
    assert_int_equal(nt_sampler_slice(sampler, 0, 0, 0, 8, out), 1);
    assert_int_equal(out[0], 0);
    for (int rank = 1; rank < 8; rank++)
        assert_int_equal(nt_sampler_slice(sampler, 0, 0, rank, 8, out), 0);
    nt_sampler_destroy(sampler);
    sampler = make(100, 3, true, false, 1);
    assert_int_equal(epoch_order(sampler, 0, 8, out), 100);
    nt_sampler_destroy(sampler);
}

static void positions_beyond_32_bits(void **state)
{
    (void)state;
    const int64_t n = ((int64_t)1 << 40) + 5, batch = (int64_t)1 << 33;
    int64_t one;
    nt_sampler *sampler = make(n, batch, false, false, 1);
    assert_int_equal(nt_sampler_batches(sampler), 129);
    assert_int_equal(nt_sampler_batch_size(sampler, 128), 5);
    assert_int_equal(nt_sampler_slice(sampler, 0, 128, 4, 5, &one), 1);
    assert_true(one == n - 1);
    nt_sampler_destroy(sampler);
}

static void wide_permutation_is_the_narrow_one(void **state)
{
    (void)state;
    nt_sampler *narrow = make(1000, 10, true, false, 5), *wide = make(1000, 10, true, false, 5);
    free(wide->order);
    wide->order = NULL;
    wide->order8 = malloc(1000 * sizeof *wide->order8);
    assert_non_null(wide->order8);
    int64_t a[1000], b[1000];
    epoch_order(narrow, 9, 2, a);
    epoch_order(wide, 9, 3, b);
    assert_memory_equal(a, b, sizeof a);
    nt_sampler_destroy(narrow);
    nt_sampler_destroy(wide);
}

/* Zero samples; and a batch of none. */
static void fault_47_nothing_to_sample(void **state)
{
    (void)state;
    nt_sampler *sampler = NULL;
    assert_int_equal(nt_sampler_create(&sampler, 0, 4, true, false, 1), NT_ERR_DATA);
    assert_null(sampler);
    assert_int_equal(nt_sampler_create(&sampler, 4, 0, true, false, 1), NT_ERR_CONFIG);
    assert_null(sampler);
    nt_sampler_destroy(NULL);
}

/* Cut into pieces first: the ranks' parts of a piece, laid end to end, are that piece of one rank, and the
 * pieces laid end to end the batch. */
static void pieces_of_all_ranks_are_pieces_of_one(void **state)
{
    (void)state;
    for (int size = 1; size <= 5; size++)
        for (int pieces = 1; pieces <= 5; pieces++) {
            nt_sampler *cut, *whole;
            int64_t batch[11], slice[11], seen = 0, all;
            assert_int_equal(nt_sampler_create(&cut, 27, 11, true, false, 5), NT_OK);
            assert_int_equal(nt_sampler_create(&whole, 27, 11, true, false, 5), NT_OK);
            nt_sampler_cut_pieces(cut, pieces);
            for (int64_t index = 0; index < 3; index++, seen = 0) {
                int64_t n = nt_sampler_slice(whole, 2, index, 0, 1, batch), at[5] = {0};
                for (int piece = 0; piece < pieces; piece++)
                    for (int rank = 0; rank < size; rank++) {
                        assert_int_equal(nt_sampler_slice(cut, 2, index, rank, size, slice),
                                         nt_sampler_slice_size(cut, index, rank, size));
                        int64_t mine = nt_sampler_piece_size(cut, index, piece, rank, size, &all);
                        assert_true(all >= mine);
                        assert_memory_equal(slice + at[rank], batch + seen, (size_t)mine * sizeof *batch);
                        at[rank] += mine;
                        seen += mine;
                    }
                assert_int_equal(seen, n);
            }
            nt_sampler_destroy(cut);
            nt_sampler_destroy(whole);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_order),
        cmocka_unit_test(same_order_at_any_number_of_ranks),
        cmocka_unit_test(every_sample_once_an_epoch),
        cmocka_unit_test(seeds_and_epochs_differ),
        cmocka_unit_test(shuffle_is_uniform),
        cmocka_unit_test(fault_102_uneven_last_batch),
        cmocka_unit_test(fault_48_74_fewer_samples_than_ranks),
        cmocka_unit_test(pieces_of_all_ranks_are_pieces_of_one),
        cmocka_unit_test(positions_beyond_32_bits),
        cmocka_unit_test(wide_permutation_is_the_narrow_one),
        cmocka_unit_test(fault_47_nothing_to_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
