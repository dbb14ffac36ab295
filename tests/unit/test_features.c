/* Features of tabular data: numbers to zero mean and unit deviation or to 0..1, integers to columns of 0
 * and 1.
 *
 * The oracle is two-pass arithmetic on the array that the file was written from. */
#include "dataset_helpers.h"

#include "core/log.h"
#include "datasets/features.h"

#include <math.h>

enum { N = 700, F = 6, HOT = 2, KINDS = 4 }; /* column 2 holds classes, column 3 is constant */

static float data[N * F];
static int labels[N];
static const double kinds[KINDS] = {-3, 0, 7, 1000};

static int setup(void **state)
{
    for (int i = 0; i < N; i++) {
        float *row = data + i * F;
        row[0] = (float)(1e6 + i % 13); /* far from 0: sums of squares would cancel */
        row[1] = (float)sin(i) * 1e-3f;
        row[HOT] = (float)kinds[i % KINDS];
        row[3] = -4.25f;
        row[4] = i == 5 ? 1e30f : (float)i;
        row[5] = (float)(-2 - i); /* 0 is beyond its largest, as it is below the least of column 0 */
        labels[i] = i % 2;
    }
    return make_test_dir(state);
}

static nt_data_options table(const char *name, const float *rows)
{
    hid_t file = new_file(name);
    put_f32(file, "/train/data", DIMS(N, F), rows);
    put_int(file, "/train/label", DIMS(N), labels);
    put_f32(file, "/test/data", DIMS(10, F), rows);
    put_int(file, "/test/label", DIMS(10), labels);
    const double mean = 3; /* features take the place of what the file says */
    put_attribute(file, "/", "mean", H5T_NATIVE_DOUBLE, 1, &mean);
    end_file(file);
    nt_data_options options = options_for(in_dir(name));
    static int64_t hot[] = {HOT};
    options.one_hot = (nt_ints){.n = 1, .value = hot};
    return options;
}

static nt_features *must_fit(const nt_data_options *options)
{
    nt_features *features;
    nt_dataset *ds = must_open(options, NT_SPLIT_TRAIN);
    assert_ok(nt_features_fit(&features, ds, options));
    nt_dataset_close(ds);
    return features;
}

/* shift and factor of a numeric column over the first n rows. */
static void expected(int kind, int column, int n, double *shift, double *factor)
{
    double sum = 0, square = 0, min = INFINITY, max = -INFINITY;
    for (int i = 0; i < n; i++) {
        double v = (double)data[i * F + column];
        sum += v;
        min = fmin(min, v), max = fmax(max, v);
    }
    for (int i = 0; i < n; i++)
        square += pow((double)data[i * F + column] - sum / n, 2);
    double range = kind == NT_FEATURES_MINMAX ? max - min : sqrt(square / n);
    *shift = kind == NT_FEATURES_MINMAX ? min : sum / n;
    *factor = max > min ? 1 / range : 1;
    if (kind == NT_FEATURES_NONE) *shift = 0, *factor = 1;
}

/* Every row through a set, against the arithmetic: the sums differ in their order, by 1e-12 of the largest.
 */
static void check_kind(int kind, int64_t limit)
{
    nt_data_options options = table("table.h5", data);
    options.features = kind;
    options.limit = limit;
    const int n = limit ? (int)limit : N;
    nt_features *features = must_fit(&options);
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_int_equal(nt_features_n_in(features), F);
    assert_int_equal(nt_features_n_out(features), F - 1 + KINDS);
    assert_ok(nt_dataset_set_features(ds, features));
    assert_true(nt_shape_equal(ds->spec.x, nt_shape_of(1, (int64_t)F - 1 + KINDS)));
    assert_int_equal(ds->spec.x_dtype, NT_F32);
    assert_int_equal(ds->spec.input.n_channels, 0);
    assert_true(ds->spec.input.scale == 1);
    for (int64_t i = 0; i < n; i++) {
        float x[F - 1 + KINDS];
        int32_t label;
        assert_ok(nt_dataset_read(ds, &i, 1, x, &label));
        assert_int_equal(label, labels[i]);
        for (int c = 0, at = 0; c < F; c++) {
            double shift, factor;
            if (c == HOT) {
                for (int k = 0; k < KINDS; k++)
                    assert_true(x[at++] == (i % KINDS == k ? 1 : 0));
                continue;
            }
            expected(kind, c, n, &shift, &factor);
            double want = ((double)data[i * F + c] - shift) * factor;
            assert_true(fabs((double)x[at] - want) <= 1e-6 * fmax(1, fabs(want)));
            at++;
        }
    }
    nt_dataset_close(ds);
    nt_features_destroy(features);
}

static void all_kinds(void **state)
{
    (void)state;
    check_kind(NT_FEATURES_STANDARDISE, 0);
    check_kind(NT_FEATURES_MINMAX, 0);
    check_kind(NT_FEATURES_NONE, 0);
    check_kind(NT_FEATURES_STANDARDISE, 300); /* data.limit: the rest is not looked at */
}

/* Bytes are taken as they are, without 1/255. */
static void bytes_are_columns_too(void **state)
{
    (void)state;
    uint8_t bytes[N * 2];
    for (int i = 0; i < N; i++)
        bytes[2 * i] = (uint8_t)(i % 3), bytes[2 * i + 1] = (uint8_t)(i % 256);
    hid_t file = new_file("bytes.h5");
    put_u8(file, "/train/data", DIMS(N, 2), bytes);
    put_int(file, "/train/label", DIMS(N), labels);
    end_file(file);
    nt_data_options options = options_for(in_dir("bytes.h5"));
    int64_t hot[] = {0};
    options.one_hot = (nt_ints){.n = 1, .value = hot};
    nt_features *features = must_fit(&options);
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_ok(nt_dataset_set_features(ds, features));
    float x[2 * 4];
    assert_ok(nt_dataset_read(ds, (const int64_t[]){100, 200}, 2, x, NULL));
    assert_memory_equal(x, ((float[]){0, 1, 0, 100, 0, 0, 1, 200}), sizeof x);
    nt_dataset_close(ds);
    nt_features_destroy(features);
}

/* The checkpoint's text gives the same bits back; and nothing else is taken for one. */
static void text_and_back(void **state)
{
    (void)state;
    nt_data_options options = table("text.h5", data);
    options.features = NT_FEATURES_STANDARDISE;
    nt_features *features = must_fit(&options), *again;
    char *text, *second;
    assert_ok(nt_features_text(features, &text));
    assert_ok(nt_features_parse(&again, text));
    assert_ok(nt_features_text(again, &second));
    assert_string_equal(text, second);
    float one[F - 1 + KINDS], two[F - 1 + KINDS];
    int64_t unknown = 0;
    for (int i = 0; i < N; i++) {
        assert_ok(nt_features_apply(features, NT_F32, data + i * F, 1, one, &unknown));
        assert_ok(nt_features_apply(again, NT_F32, data + i * F, 1, two, &unknown));
        assert_memory_equal(one, two, sizeof one);
    }
    assert_int_equal(unknown, 0);
    nt_features_destroy(again);
    for (size_t n = 0; n < strlen(text); n++) { /* cut anywhere */
        nt_features *cut = NULL;
        char kept = text[n];
        text[n] = '\0';
        assert_int_equal(nt_features_parse(&cut, text), NT_ERR_DATA);
        assert_null(cut);
        text[n] = kept;
    }
    static const char *const bad[] = {"",
                                      "features 0\n",
                                      "features 99999999\nnumber 1 2\n",
                                      "features 1\nnumber 1 2\nnumber 1 2\n",
                                      "features 1\nnumber 1\n",
                                      "features 1\nnumber 1 nan\n",
                                      "features 1\nnumber 1 2 3\n",
                                      "features 1\nclasses\n",
                                      "features 1\nclasses 1 1\n",
                                      "features 1\nclasses 1.5\n",
                                      "features 1\nother 1 2\n",
                                      "features 1\n\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(nt_features_parse(&again, bad[i]), NT_ERR_DATA);
    nt_features_destroy(features);
    free(text);
    free(second);
}

/* All zeros, counted; and a value out of all proportion is named. */
static void what_was_not_there_to_train_on(void **state)
{
    (void)state;
    nt_data_options options = table("known.h5", data);
    options.features = NT_FEATURES_STANDARDISE;
    nt_features *features = must_fit(&options);
    float other[N * F];
    memcpy(other, data, sizeof other);
    other[3 * F + HOT] = 8;
    other[4 * F + HOT] = 0.5f; /* nor is this a class */
    other[6 * F + 1] = 3e38f;
    options = table("other.h5", other);
    options.features = NT_FEATURES_STANDARDISE;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_ok(nt_dataset_set_features(ds, features));
    float x[2 * (F - 1 + KINDS)];
    int before = nt_log_warnings();
    assert_ok(nt_dataset_read(ds, (const int64_t[]){4, 3}, 1, x, NULL));
    assert_int_equal(nt_log_warnings(), before + 1);
    assert_ok(nt_dataset_read(ds, (const int64_t[]){3, 4}, 2, x, NULL));
    assert_int_equal(nt_log_warnings(), before + 1); /* said once */
    for (int k = 0; k < KINDS; k++)
        assert_true(x[HOT + k] == 0 && x[F - 1 + KINDS + HOT + k] == 0);
    assert_int_equal(ds->n_unknown, 3);
    assert_fails(nt_dataset_read(ds, (const int64_t[]){6}, 1, x, NULL), NT_ERR_DATA, "other.h5", "column 1",
                 "3e+38");
    nt_dataset_close(ds);
    hid_t file = new_file("narrow.h5");
    put_f32(file, "/train/data", DIMS(N, 2), data);
    put_int(file, "/train/label", DIMS(N), labels);
    end_file(file);
    options = options_for(in_dir("narrow.h5"));
    ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_fails(nt_dataset_set_features(ds, features), NT_ERR_DATA, "narrow.h5", "2 columns", "for 6");
    nt_dataset_close(ds);
    nt_features_destroy(features);
}

static void what_cannot_be_fitted(void **state)
{
    (void)state;
    nt_features *features;
    int64_t column[] = {4};
    nt_data_options options = table("bad.h5", data);
    options.one_hot.value = column;
    column[0] = 1;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_fails(nt_features_fit(&features, ds, &options), NT_ERR_DATA, "bad.h5",
                 "sample 1, column 1: ", "no integer");
    nt_dataset_close(ds);
    column[0] = F;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.one_hot names column 6", "0 to 5");
    column[0] = HOT;
    options.scale = 2;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.one_hot and data.scale exclude");
    options.scale = 0;
    options.features = NT_FEATURES_MINMAX;
    options.normalize = true;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.features and data.normalize exclude");
    static uint8_t bytes[4 * 12];
    hid_t file = new_file("images.h5");
    put_u8(file, "/train/data", DIMS(4, 3, 2, 2), bytes);
    put_int(file, "/train/label", DIMS(4), labels);
    end_file(file);
    options = options_for(in_dir("images.h5"));
    options.features = NT_FEATURES_STANDARDISE;
    assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_CONFIG, "data.features is for", "3x2x2 of uint8");
}

static void an_identifier_is_no_class(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static float id[MANY];
    static int zero[MANY];
    for (int i = 0; i < MANY; i++)
        id[i] = (float)i;
    hid_t file = new_file("id.h5");
    put_f32(file, "/train/data", DIMS(MANY, 1), id);
    put_int(file, "/train/label", DIMS(MANY), zero);
    end_file(file);
    nt_data_options options = options_for(in_dir("id.h5"));
    int64_t column[] = {0};
    options.one_hot = (nt_ints){.n = 1, .value = column};
    nt_features *features;
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    assert_fails(nt_features_fit(&features, ds, &options), NT_ERR_DATA,
                 "sample 4096, column 0: ", "more than 4096");
    nt_dataset_close(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kinds),
        cmocka_unit_test(bytes_are_columns_too),
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(what_was_not_there_to_train_on),
        cmocka_unit_test(what_cannot_be_fitted),
        cmocka_unit_test(an_identifier_is_no_class),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_dir);
}
