/* Synthetic data: the same numbers whether kept or made when read, splits that differ, classes that can be
 * told apart. */
#include "core/log.h"
#include "datasets/dataset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int64_t image[] = {3, 9, 7}, features[] = {50};
static const char *names[] = {"synthetic"};

static nt_data_options options_of(int64_t *shape, int n_dims)
{
    return (nt_data_options){.file = {.n = 1, .name = names},
                             .synthetic_shape = {.n = n_dims, .value = shape},
                             .synthetic_samples = 80,
                             .memory_mb = 1};
}

static nt_dataset *must_open(const nt_data_options *options, nt_split split, uint64_t seed)
{
    nt_dataset *ds = NULL;
    assert_int_equal(nt_dataset_open(&ds, options, split, seed), NT_OK);
    assert_non_null(ds);
    return ds;
}

static void kept_and_made_are_the_same(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        nt_data_options options = kind ? options_of(features, 1) : options_of(image, 3);
        nt_dataset *kept = must_open(&options, NT_SPLIT_TRAIN, 1);
        options.memory_mb = 0;
        nt_dataset *made = must_open(&options, NT_SPLIT_TRAIN, 1);
        assert_int_equal(kept->spec.x_dtype, kind ? NT_F32 : NT_U8);
        int64_t index[3] = {79, 0, 33};
        char a[3 * 200], b[3 * 200], row[200];
        int32_t class_a[3], class_b[3];
        size_t n_bytes = nt_dataset_x_bytes(kept);
        assert_int_equal(nt_dataset_read(kept, index, 3, a, class_a), NT_OK);
        assert_int_equal(nt_dataset_read(made, index, 3, b, class_b), NT_OK);
        assert_memory_equal(a, b, 3 * n_bytes);
        assert_memory_equal(class_a, class_b, sizeof class_a);
        assert_int_equal(nt_dataset_read(made, index + 2, 1, row, NULL), NT_OK);
        assert_memory_equal(row, a + 2 * n_bytes, n_bytes);
        nt_dataset_close(kept);
        nt_dataset_close(made);
    }
}

static void splits_and_seeds_differ(void **state)
{
    (void)state;
    nt_data_options options = options_of(image, 3);
    uint8_t a[189], b[189];
    int64_t first = 0;
    nt_dataset *one = must_open(&options, NT_SPLIT_TRAIN, 1), *two = must_open(&options, NT_SPLIT_TRAIN, 2),
               *valid = must_open(&options, NT_SPLIT_VALID, 1);
    assert_int_equal(valid->n_samples, 10); /* an eighth, rounded up */
    nt_dataset_close(valid);
    options.synthetic_samples = 81;
    valid = must_open(&options, NT_SPLIT_VALID, 1);
    assert_int_equal(valid->n_samples, 11);
    assert_int_equal(nt_dataset_read(one, &first, 1, a, NULL), NT_OK);
    assert_int_equal(nt_dataset_read(two, &first, 1, b, NULL), NT_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(nt_dataset_read(valid, &first, 1, b, NULL), NT_OK);
    assert_memory_not_equal(a, b, sizeof a);
    assert_int_equal(nt_dataset_conform(valid, &one->spec), NT_OK);
    nt_dataset_close(one);
    nt_dataset_close(two);
    nt_dataset_close(valid);
}

/* The nearest class mean of the training part names the class of a validation sample: with 189 pixels the
 * patterns stand out of the noise by more than ten standard deviations. */
static void classes_can_be_learned(void **state)
{
    (void)state;
    nt_data_options options = options_of(image, 3);
    options.synthetic_samples = 800;
    nt_dataset *train = must_open(&options, NT_SPLIT_TRAIN, 5),
               *valid = must_open(&options, NT_SPLIT_VALID, 5);
    static double mean[10][189];
    int count[10] = {0}, correct = 0;
    uint8_t x[189];
    int32_t class;
    for (int64_t i = 0; i < train->n_samples; i++) {
        assert_int_equal(nt_dataset_read(train, &i, 1, x, &class), NT_OK);
        assert_in_range(class, 0, 9);
        count[class]++;
        for (int e = 0; e < 189; e++)
            mean[class][e] += x[e];
    }
    for (int64_t i = 0; i < valid->n_samples; i++) {
        assert_int_equal(nt_dataset_read(valid, &i, 1, x, &class), NT_OK);
        int best = 0;
        double best_distance = 1e30;
        for (int c = 0; c < 10; c++) {
            double distance = 0;
            for (int e = 0; e < 189; e++)
                distance += (x[e] - mean[c][e] / count[c]) * (x[e] - mean[c][e] / count[c]);
            if (distance < best_distance) best = c, best_distance = distance;
        }
        correct += best == class;
    }
    assert_true(correct >= 95); /* of 100 */
    nt_dataset_close(train);
    nt_dataset_close(valid);
}

static void values_do_not_need_the_sample(void **state)
{
    (void)state;
    nt_data_options options = options_of(features, 1);
    options.target = NT_DATA_TARGET_VALUE;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN, 1);
    assert_int_equal(ds->spec.target, NT_TARGET_VALUE);
    assert_int_equal(ds->spec.n_values, 1);
    float x[100], with[2], without[2];
    int64_t index[2] = {7, 8};
    assert_int_equal(nt_dataset_read(ds, index, 2, x, with), NT_OK);
    assert_int_equal(nt_dataset_read(ds, index, 2, NULL, without), NT_OK);
    assert_memory_equal(with, without, sizeof with);
    assert_true(with[0] != with[1]);
    nt_dataset_close(ds);
}

static void described_and_normalised(void **state)
{
    (void)state;
    char text[256];
    nt_data_options options = options_of(image, 3);
    options.normalize = true;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN, 1);
    nt_dataset_describe(ds, text, sizeof text);
    assert_string_equal(text, "synthetic training data, 80 samples 3x9x7 uint8, 10 classes");
    assert_int_equal(ds->spec.input.n_channels, 3);
    double sum = 0;
    uint8_t x[189];
    for (int64_t i = 0; i < 80; i++) {
        assert_int_equal(nt_dataset_read(ds, &i, 1, x, NULL), NT_OK);
        for (int e = 63; e < 126; e++)
            sum += x[e];
    }
    assert_true(ds->spec.input.scale == 1.0 / 255);
    assert_float_equal(ds->spec.input.mean[1], sum / (80 * 63) / 255,
                       1e-12); /* rounding of a few operations */
    nt_dataset_close(ds);
    int64_t six[] = {1, 1, 1, 1, 1, 1};
    options = options_of(six, 6);
    assert_int_equal(nt_dataset_open(&ds, &options, NT_SPLIT_TRAIN, 1), NT_ERR_CONFIG);
    assert_null(ds);
    int warnings = nt_log_warnings();
    options = options_of(image, 3);
    options.resize[0] = options.resize[1] = 4; /* means nothing here, and that is said */
    nt_dataset_close(must_open(&options, NT_SPLIT_TRAIN, 1));
    assert_int_equal(nt_log_warnings(), warnings + 1);
    options.file.n = 2;
    assert_int_equal(nt_dataset_open(&ds, &options, NT_SPLIT_TRAIN, 1), NT_ERR_CONFIG);
}

/* Values are weighted sums of both signs, around 0: their weights are. Of 800 of deviation below 1, the mean
 * is within 0.2, which is more than five deviations. */
static void values_are_around_zero(void **state)
{
    (void)state;
    nt_data_options options = options_of(image, 3);
    options.synthetic_samples = 800;
    options.target = NT_TARGET_VALUE;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN, 5);
    double sum = 0;
    for (int64_t i = 0; i < ds->n_samples; i++) {
        uint8_t x[189];
        float value;
        assert_int_equal(nt_dataset_read(ds, &i, 1, x, &value), NT_OK);
        sum += (double)value;
    }
    assert_true(sum / 800 > -1 && sum / 800 < 1);
    nt_dataset_close(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_and_made_are_the_same),    cmocka_unit_test(splits_and_seeds_differ),
        cmocka_unit_test(values_are_around_zero),        cmocka_unit_test(classes_can_be_learned),
        cmocka_unit_test(values_do_not_need_the_sample), cmocka_unit_test(described_and_normalised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
