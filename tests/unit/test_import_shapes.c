/* The made-up pictures: targets of mean 0 and variance 1; a picture shows what its targets say, measured by
 * moments of its brightness; the same words make the same bytes; what a user may get wrong. */
#include "datasets/dataset.h"
#include "datasets/import.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MUST(expr)                                                                                           \
    do {                                                                                                     \
        if ((expr) != NT_OK) fail_msg("%s", nt_error_last()->message);                                       \
    } while (0)

enum { N = 400, SIDE = 40, TARGETS = 7 };
static const char file_name[] = "test_import_shapes.h5";

static nt_status import(const char *const *words, int n)
{
    const nt_import_args args = {
        .n_inputs = n, .inputs = words, .out = file_name, .force = true, .deflate = 1};
    return nt_importer_find("shapes")->run(&args);
}

typedef struct part {
    uint8_t x[N][SIDE * SIDE];
    float target[N][TARGETS];
} part;

static void read_part(part *out, nt_split split, int64_t n)
{
    nt_data_options options = {0};
    nt_dataset *ds;
    int64_t index[N];
    MUST(nt_section_defaults(&nt_data_section, &options));
    const char *name = file_name;
    options.file = (nt_names){.n = 1, .name = &name};
    MUST(nt_dataset_open(&ds, &options, split, 1));
    assert_int_equal(ds->n_samples, n);
    assert_int_equal(ds->spec.n_values, TARGETS);
    for (int64_t i = 0; i < n; i++)
        index[i] = i;
    MUST(nt_dataset_read(ds, index, n, out->x, out->target));
    nt_dataset_close(ds);
}

static const char *const usual[] = {"train=400", "test=50", "size=40", "channels=1", "seed=3"};

static void targets_are_standardised(void **state)
{
    (void)state;
    part *p = calloc(1, sizeof *p);
    assert_non_null(p);
    MUST(import(usual, 5));
    read_part(p, NT_SPLIT_TRAIN, N);
    for (int k = 0; k < TARGETS; k++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < N; i++) {
            sum += p->target[i][k];
            squares += (double)p->target[i][k] * p->target[i][k];
        }
        /* four standard errors of 400 samples: 0.2 of the mean, 0.18 of the variance of a uniform number */
        if (!(fabs(sum / N) < 0.2) || !(fabs(squares / N - 1) < 0.18))
            fail_msg("target %d: mean %g, variance %g", k, sum / N, squares / N);
    }
    free(p);
}

/* Centre of gravity of what is brighter than the ground, against x and y; second moments against the angle.
 */
static void pictures_show_their_targets(void **state)
{
    (void)state;
    part *p = calloc(1, sizeof *p);
    assert_non_null(p);
    read_part(p, NT_SPLIT_VALID, 50);
    for (int i = 0; i < 50; i++) {
        double m = 0, mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
        for (int e = 0; e < SIDE * SIDE; e++) {
            double w = p->x[i][e] / 255.0 - 0.15;
            if (w < 0.08) continue; /* the ground is 0.15 +- 0.04, the darkest ellipse 0.3 */
            double x = (e % SIDE + 0.5) / SIDE, y = (e / SIDE + 0.5) / SIDE;
            m += w, mx += w * x, my += w * y, xx += w * x * x, yy += w * y * y, xy += w * x * y;
        }
        mx /= m, my /= m, xx = xx / m - mx * mx, yy = yy / m - my * my, xy = xy / m - mx * my;
        const float *t = p->target[i];
        double x = 0.5 + 0.5 * t[0] / sqrt(12), y = 0.5 + 0.5 * t[1] / sqrt(12);
        double radius = 0.18 + 0.12 * t[2] / sqrt(12), ratio = 0.6 + 0.4 * t[3] / sqrt(12);
        /* a full ellipse has the moments radius^2 / 4 and (radius ratio)^2 / 4 along its axes */
        double spread = radius * radius * (1 - ratio * ratio) / 4;
        double cosine = (xx - yy) / spread * sqrt(2), sine = 2 * xy / spread * sqrt(2);
        if (!(hypot(mx - x, my - y) < 0.01)) fail_msg("picture %d: centre %g %g, not %g %g", i, mx, my, x, y);
        if (!(hypot(cosine - t[4], sine - t[5]) < 0.3))
            fail_msg("picture %d: angle %g %g, not %g %g", i, cosine, sine, (double)t[4], (double)t[5]);
    }
    free(p);
}

static void the_same_words_make_the_same_pictures(void **state)
{
    (void)state;
    static const char *const fewer[] = {"train=7", "test=1", "size=40", "channels=1", "seed=3"},
                             *const other[] = {"train=7", "test=0", "size=40", "channels=1", "seed=4"};
    part *a = calloc(3, sizeof *a), *b = a + 1, *c = a + 2;
    assert_non_null(a);
    read_part(a, NT_SPLIT_TRAIN, N);
    MUST(import(fewer, 5));
    read_part(b, NT_SPLIT_TRAIN, 7);
    assert_memory_equal(a->x, b->x, 7 * sizeof a->x[0]);
    assert_memory_equal(a->target, b->target, 7 * sizeof a->target[0]);
    MUST(import(other, 5));
    read_part(c, NT_SPLIT_TRAIN, 7);
    assert_true(memcmp(a->target, c->target, 7 * sizeof a->target[0]) != 0);
    free(a);
    assert_int_equal(unlink(file_name), 0);
}

static void mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *word, *says;
    } rows[] = {{"trian=5", "did you mean 'train'?"},
                {"size", "shapes takes train=N, test=N, size=N, channels=N and seed=N, not 'size'"},
                {"size=7", "size is a whole number from 8 to 1024"},
                {"channels=x", "channels is a whole number from 1 to 4"},
                {"train=0", "train is a whole number from 1"}};
    for (int i = 0; i < NT_N_ELEMS(rows); i++) {
        assert_int_equal(import(&rows[i].word, 1), NT_ERR_USAGE);
        if (!strstr(nt_error_last()->message, rows[i].says))
            fail_msg("'%s' is not in: %s", rows[i].says, nt_error_last()->message);
        nt_error_clear();
        assert_int_not_equal(access(file_name, F_OK), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_standardised),
        cmocka_unit_test(pictures_show_their_targets),
        cmocka_unit_test(the_same_words_make_the_same_pictures),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests_name("import_shapes", tests, NULL, NULL);
}
