/* The prefetcher hands out what reading in the calling thread hands out, whatever the depth and the moment it
 * is stopped. The dataset is a fake that writes the sample's index everywhere, fails where it is told to and
 * can be made slow. */
#include "core/rng.h"
#include "datasets/prefetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct fake {
    int64_t bad_sample; /* reading it fails; -1: none */
    int sleep_us;       /* per read */
} fake;

static nt_status fake_read(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target)
{
    const fake *f = ds->state;
    if (f->sleep_us) usleep((useconds_t)f->sleep_us);
    for (int64_t i = 0; i < n; i++) {
        NT_CHECK(index[i] != f->bad_sample, NT_ERR_DATA, "sample %lld is rotten", (long long)index[i]);
        for (int k = 0; k < 3; k++)
            ((float *)x)[3 * i + k] = (float)(10 * index[i] + k);
        if (target) ((int32_t *)target)[i] = (int32_t)index[i];
    }
    return NT_OK;
}

static const nt_dataset_ops fake_ops = {.name = "fake", .read = fake_read};

static nt_dataset fake_dataset(fake *f, int64_t n_samples)
{
    return (nt_dataset){.ops = &fake_ops,
                        .spec = {.x_dtype = NT_F32,
                                 .x = {.n_dims = 1, .dim = {3}},
                                 .target = NT_TARGET_CLASS,
                                 .n_classes = n_samples},
                        .n_samples = n_samples,
                        .state = f};
}

static nt_sampler *make_sampler(int64_t n, int64_t batch)
{
    nt_sampler *sampler = NULL;
    assert_int_equal(nt_sampler_create(&sampler, n, batch, true, false, 3), NT_OK);
    return sampler;
}

static nt_prefetch *start(nt_dataset *ds, nt_sampler *sampler, int rank, int size, int64_t epoch,
                          int64_t index, int depth)
{
    nt_prefetch *p = NULL;
    assert_int_equal(
        nt_prefetch_create(&p, ds, sampler, rank, size,
                           &(nt_prefetch_options){.epoch = epoch, .index = index, .depth = depth}),
        NT_OK);
    return p;
}

/* Compares a slice with what the sampler, asked directly, says it must be. */
static void check_slice(const nt_slice *s, nt_sampler *oracle, int rank, int size, int64_t epoch,
                        int64_t index)
{
    int64_t want[64];
    int64_t n = nt_sampler_slice(oracle, epoch, index, rank, size, want);
    assert_int_equal(s->n, n);
    assert_int_equal(s->global_n, nt_sampler_batch_size(oracle, index));
    assert_int_equal(s->epoch, epoch);
    assert_int_equal(s->index, index);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(s->sample[i], want[i]);
        assert_int_equal(((const int32_t *)s->target)[i], want[i]);
        for (int k = 0; k < 3; k++)
            assert_float_equal(((const float *)s->x)[3 * i + k], (float)(10 * want[i] + k), 0);
    }
}

static void slices_in_order_at_every_depth(void **state)
{
    (void)state;
    fake f = {.bad_sample = -1};
    nt_dataset ds = fake_dataset(&f, 103);
    for (int depth = 0; depth <= 5; depth++)
        for (int size = 1; size <= 4; size++)
            for (int rank = 0; rank < size; rank++) {
                nt_sampler *sampler = make_sampler(103, 10), *oracle = make_sampler(103, 10);
                nt_prefetch *p = start(&ds, sampler, rank, size, 0, 0, depth);
                nt_slice slice;
                for (int64_t b = 0; b < 25; b++) { /* over two ends of an epoch */
                    assert_int_equal(nt_prefetch_next(p, &slice), NT_OK);
                    check_slice(&slice, oracle, rank, size, b / 11, b % 11);
                }
                assert_true(nt_prefetch_waited(p) >= 0);
                nt_prefetch_destroy(p);
                nt_sampler_destroy(sampler);
                nt_sampler_destroy(oracle);
            }
}

/* A resumed run starts anywhere; a position just past the last batch is the next epoch's first. */
static void starts_in_mid_epoch(void **state)
{
    (void)state;
    fake f = {.bad_sample = -1};
    nt_dataset ds = fake_dataset(&f, 50);
    for (int depth = 0; depth <= 2; depth += 2) {
        nt_sampler *sampler = make_sampler(50, 8), *oracle = make_sampler(50, 8);
        nt_slice slice;
        nt_prefetch *p = start(&ds, sampler, 0, 1, 4, 5, depth);
        for (int64_t b = 5; b < 9; b++) {
            assert_int_equal(nt_prefetch_next(p, &slice), NT_OK);
            check_slice(&slice, oracle, 0, 1, 4 + b / 7, b % 7);
        }
        nt_prefetch_destroy(p);
        p = start(&ds, sampler, 0, 1, 4, 7, depth);
        assert_int_equal(nt_prefetch_next(p, &slice), NT_OK);
        check_slice(&slice, oracle, 0, 1, 5, 0);
        nt_prefetch_destroy(p);
        nt_sampler_destroy(sampler);
        nt_sampler_destroy(oracle);
    }
}

/* Slices before the bad one come out; then the reader's own words, again and again. */
static void error_travels_with_its_words(void **state)
{
    (void)state;
    for (int depth = 0; depth <= 4; depth++) {
        nt_sampler *sampler = make_sampler(40, 4), *oracle = make_sampler(40, 4);
        int64_t third[4];
        nt_sampler_slice(oracle, 0, 2, 0, 1, third);
        fake f = {.bad_sample = third[3]};
        nt_dataset ds = fake_dataset(&f, 40);
        nt_prefetch *p = start(&ds, sampler, 0, 1, 0, 0, depth);
        nt_slice slice;
        for (int64_t b = 0; b < 2; b++) {
            assert_int_equal(nt_prefetch_next(p, &slice), NT_OK);
            check_slice(&slice, oracle, 0, 1, 0, b);
        }
        for (int again = 0; again < 2; again++) {
            nt_error_clear();
            assert_int_equal(nt_prefetch_next(p, &slice), NT_ERR_DATA);
            assert_non_null(strstr(nt_error_last()->message, "is rotten"));
            assert_non_null(strstr(nt_error_last()->trail, "fake_read"));
        }
        nt_prefetch_destroy(p);
        nt_sampler_destroy(sampler);
        nt_sampler_destroy(oracle);
    }
}

/* The reader must not touch the slice that the caller holds. */
static void held_slice_stays(void **state)
{
    (void)state;
    fake f = {.bad_sample = -1};
    nt_dataset ds = fake_dataset(&f, 64);
    nt_sampler *sampler = make_sampler(64, 4), *oracle = make_sampler(64, 4);
    nt_prefetch *p = start(&ds, sampler, 0, 1, 0, 0, 2);
    nt_slice slice;
    for (int64_t b = 0; b < 8; b++) {
        assert_int_equal(nt_prefetch_next(p, &slice), NT_OK);
        usleep(2000); /* time enough to fill the whole ring */
        check_slice(&slice, oracle, 0, 1, 0, b);
    }
    nt_prefetch_destroy(p);
    nt_sampler_destroy(sampler);
    nt_sampler_destroy(oracle);
}

static void destroy_at_any_moment(void **state)
{
    (void)state;
    fake f = {.bad_sample = -1, .sleep_us = 50};
    nt_dataset ds = fake_dataset(&f, 64);
    for (int i = 0; i < 300; i++) {
        nt_philox r = nt_rng_block(1, NT_RNG_TEST, 0, (uint32_t)i, 0, 0);
        nt_sampler *sampler = make_sampler(64, 8);
        nt_prefetch *p = start(&ds, sampler, 0, 1, 0, 0, 1 + (int)(r.v[0] % 3));
        nt_slice slice;
        for (uint32_t taken = 0; taken < r.v[1] % 4; taken++)
            assert_int_equal(nt_prefetch_next(p, &slice), NT_OK);
        usleep(r.v[2] % 200);
        nt_prefetch_destroy(p);
        nt_sampler_destroy(sampler);
    }
    f.bad_sample = 0; /* with an error nobody asked for */
    nt_sampler *sampler = make_sampler(64, 64);
    nt_prefetch *p = start(&ds, sampler, 0, 1, 0, 0, 2);
    usleep(2000);
    nt_prefetch_destroy(p);
    nt_sampler_destroy(sampler);
    nt_prefetch_destroy(NULL);
}

/* 48: a rank without samples still gets its empty slices. */
static void fault_48_rank_without_samples(void **state)
{
    (void)state;
    fake f = {.bad_sample = -1};
    nt_dataset ds = fake_dataset(&f, 1);
    for (int depth = 0; depth <= 2; depth++)
        for (int rank = 0; rank < 8; rank++) {
            nt_sampler *sampler = make_sampler(1, 64);
            nt_prefetch *p = start(&ds, sampler, rank, 8, 0, 0, depth);
            nt_slice slice;
            for (int64_t epoch = 0; epoch < 3; epoch++) {
                assert_int_equal(nt_prefetch_next(p, &slice), NT_OK);
                assert_int_equal(slice.n, rank == 0);
                assert_int_equal(slice.global_n, 1);
                assert_int_equal(slice.epoch, epoch);
            }
            nt_prefetch_destroy(p);
            nt_sampler_destroy(sampler);
        }
}

static void waiting_is_measured(void **state)
{
    (void)state;
    fake f = {.bad_sample = -1, .sleep_us = 5000};
    nt_dataset ds = fake_dataset(&f, 64);
    for (int depth = 0; depth <= 1; depth++) {
        nt_sampler *sampler = make_sampler(64, 8);
        nt_prefetch *p = start(&ds, sampler, 0, 1, 0, 0, depth);
        nt_slice slice;
        for (int b = 0; b < 4; b++)
            assert_int_equal(nt_prefetch_next(p, &slice), NT_OK);
        assert_true(nt_prefetch_waited(p) >= 0.010); /* 4 reads of 5 ms, nothing else to do meanwhile */
        nt_prefetch_destroy(p);
        nt_sampler_destroy(sampler);
    }
}

/* Memory is asked for at create: a batch that cannot be had fails there, with advice. */
static void too_large_a_batch_fails_at_create(void **state)
{
    (void)state;
    fake f = {.bad_sample = -1};
    nt_dataset ds = fake_dataset(&f, (int64_t)1 << 40);
    ds.spec.x.dim[0] = (int64_t)1 << 30;
    nt_sampler *sampler = NULL;
    assert_int_equal(nt_sampler_create(&sampler, (int64_t)1 << 40, (int64_t)1 << 40, false, false, 3), NT_OK);
    nt_prefetch *p = NULL;
    assert_int_equal(nt_prefetch_create(&p, &ds, sampler, 0, 1, &(nt_prefetch_options){.depth = 2}),
                     NT_ERR_CONFIG);
    assert_null(p);
    assert_non_null(strstr(nt_error_last()->message, "data.batch"));
    nt_sampler_destroy(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_in_order_at_every_depth),
        cmocka_unit_test(starts_in_mid_epoch),
        cmocka_unit_test(error_travels_with_its_words),
        cmocka_unit_test(held_slice_stays),
        cmocka_unit_test(destroy_at_any_moment),
        cmocka_unit_test(fault_48_rank_without_samples),
        cmocka_unit_test(waiting_is_measured),
        cmocka_unit_test(too_large_a_batch_fails_at_create),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
