/* Augmentation as a whole: the same whoever computes it, spread as it should be, and refused where it makes
 * no sense. What each function does to an image is test_reference_images' business.
 *
 * Statistics are of fixed seeds, so they cannot fail by chance; bounds are five standard deviations of what
 * is counted, which a wrong probability of 2 % exceeds. */
#include "dataset_helpers.h"

#include "core/h5.h"
#include "datasets/augment_private.h"
#include "datasets/prefetch.h"

#include <math.h>

static const nt_section *const sections[] = {&nt_augment_section, NULL};

static nt_config *config_of(const char *lines)
{
    char text[1024];
    nt_config *config = NULL;
    int n = snprintf(text, sizeof text, "[augment]\n%s\n", lines);
    assert_ok(nt_config_parse(&config, "cfg.ini", text, (size_t)n, NULL, 0, sections));
    return config;
}

static nt_sample_spec image_spec(nt_dtype dtype, int64_t c, int64_t h, int64_t w)
{
    return (nt_sample_spec){.x_dtype = dtype,
                            .x = nt_shape_of(3, c, h, w),
                            .target = NT_TARGET_CLASS,
                            .n_classes = 4,
                            .input = {.scale = dtype == NT_U8 ? 1.0 / 255 : 1}};
}

/* What has been set up for one test. */
typedef struct bench {
    nt_config *config;
    nt_augment *augment;
    nt_augmenter *augmenter;
} bench;

static bench set_up(const char *lines, nt_sample_spec spec, bool training)
{
    bench b = {.config = config_of(lines)};
    assert_ok(nt_augment_create(&b.augment, b.config, &spec, 7));
    assert_ok(nt_augmenter_create(&b.augmenter, b.augment, training));
    return b;
}

static void tear_down(bench *b)
{
    nt_augmenter_destroy(b->augmenter);
    nt_augment_destroy(b->augment);
    nt_config_destroy(b->config);
}

/* --- a pure function --- */

enum {
    N = 60,
    BATCH = 14,
    CLASSES = 4,
    C = 3,
    SIDE = 9,
    OUT = 8,
    ROW = C * SIDE * SIDE,
    ROW_OUT = C * OUT * OUT
};
static const char everything[] = "crop = 8\npadding = 2\npadding_mode = reflect\nhflip = 0.5\nvflip = "
                                 "0.3\nrotation = 20\ninterpolation = bilinear\n"
                                 "brightness = 0.4\ncontrast = 0.4\nsaturation = 0.4\nhue = 0.2\nrandaugment "
                                 "= 2\ncutout = 3\nerase = 0.5\n";

static nt_status fake_read(nt_dataset *ds, const int64_t *index, int64_t n, void *x, void *target)
{
    (void)ds;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; x && k < ROW; k++)
            ((uint8_t *)x)[i * ROW + k] = (uint8_t)((k * 7 + k / SIDE * 31 + index[i] * 13) % 256);
        if (target) ((int32_t *)target)[i] = (int32_t)(index[i] % CLASSES);
    }
    return NT_OK;
}

static const nt_dataset_ops fake_ops = {.name = "fake", .read = fake_read};

/* What one way of reading delivers: of each position of the batches from `first` on. */
typedef struct record {
    uint8_t x[3 * N][ROW_OUT];
    float target[3 * N][CLASSES];
} record;

static int first_batch_of(int64_t epoch, int64_t index)
{
    return (int)(epoch * N + index * BATCH);
}

/* Three epochs, from batch `from` of the first on, as `size` ranks read them; joint pieces where pieces > 1.
 */
static void read_all(record *r, const nt_augment *augment, int size, int depth, int pieces, int64_t from)
{
    nt_dataset ds = {.ops = &fake_ops, .spec = image_spec(NT_U8, C, SIDE, SIDE), .n_samples = N};
    for (int rank = 0; rank < size; rank++) {
        nt_sampler *sampler = NULL;
        nt_prefetch *p = NULL;
        nt_slice s;
        assert_ok(nt_sampler_create(&sampler, N, BATCH, true, false, 7));
        nt_sampler_cut_pieces(sampler, pieces);
        assert_ok(nt_prefetch_create(
            &p, &ds, sampler, rank, size,
            &(nt_prefetch_options){.augment = augment, .training = true, .index = from, .depth = depth}));
        const int64_t n_batches = nt_sampler_batches(sampler);
        for (int64_t b = from; b < 3 * n_batches; b++) {
            int64_t order[BATCH];
            assert_ok(nt_prefetch_next(p, &s));
            assert_int_equal(s.x_bytes, ROW_OUT);
            nt_sampler *whole = NULL; /* where in the global batch each sample of the slice stands */
            assert_ok(nt_sampler_create(&whole, N, BATCH, true, false, 7));
            int64_t n = nt_sampler_slice(whole, s.epoch, s.index, 0, 1, order);
            nt_sampler_destroy(whole);
            for (int64_t i = 0; i < s.n; i++) {
                int64_t at = 0;
                while (at < n && order[at] != s.sample[i])
                    at++;
                assert_true(at < n);
                int to = first_batch_of(s.epoch, s.index) + (int)at;
                memcpy(r->x[to], (uint8_t *)s.x + i * ROW_OUT, ROW_OUT);
                for (int k = 0; k < CLASSES; k++)
                    r->target[to][k] = s.target_bytes > 4 ? ((float *)s.target)[i * CLASSES + k]
                                                          : (float)(((int32_t *)s.target)[i] == k);
            }
        }
        nt_prefetch_destroy(p);
        nt_sampler_destroy(sampler);
    }
}

static void check_pure(const char *more)
{
    char lines[1024];
    static record one, other;
    snprintf(lines, sizeof lines, "%s%s", everything, more);
    bench b = set_up(lines, image_spec(NT_U8, C, SIDE, SIDE), true);
    memset(&one, 0, sizeof one);
    read_all(&one, b.augment, 1, 0, 1, 0);
    tear_down(&b);
    strncat(lines, "threads = 3\n", sizeof lines - strlen(lines) - 1);
    bench three = set_up(lines, image_spec(NT_U8, C, SIDE, SIDE), true);
    for (int size = 1; size <= 5; size++)
        for (int pieces = 1; pieces <= 3; pieces++) {
            memset(&other, 0, sizeof other);
            read_all(&other, three.augment, size, size % 3, pieces, 0);
            assert_memory_equal(&one, &other, sizeof one);
        }
    for (int64_t from = 1; from < 5; from++) { /* resumed */
        other = one;
        memset(other.x[from * BATCH], 99, sizeof other.x[0]);
        read_all(&other, three.augment, 2, 2, 1, from);
        assert_memory_equal(&one, &other, sizeof one);
    }
    tear_down(&three);
}

static void augmentation_is_a_function_of_seed_epoch_and_sample(void **state)
{
    (void)state;
    check_pure("");
}

static void mixing_does_not_depend_on_ranks(void **state)
{
    (void)state;
    check_pure("mixup = 0.4\ncutmix = 1\nmix_probability = 0.9\n");
}

/* Other epochs, other samples and other seeds are changed in another way. */
static void nothing_comes_twice(void **state)
{
    (void)state;
    uint8_t src[ROW], a[ROW_OUT], c[ROW_OUT];
    int n_equal = 0;
    bench b = set_up(everything, image_spec(NT_U8, C, SIDE, SIDE), true);
    nt_augment other = *b.augment;
    other.seed = 8;
    nt_augmenter *seed = NULL;
    assert_ok(nt_augmenter_create(&seed, &other, true));
    for (int i = 0; i < ROW; i++)
        src[i] = (uint8_t)(i * 37);
    for (int64_t s = 0; s < 100; s++) {
        nt_augmenter_run(b.augmenter, 3, s, a, src);
        nt_augmenter_run(b.augmenter, 4, s, c, src);
        n_equal += memcmp(a, c, sizeof a) == 0;
        nt_augmenter_run(b.augmenter, 3, s + ((int64_t)1 << 33), c, src);
        n_equal += memcmp(a, c, sizeof a) == 0;
        nt_augmenter_run(seed, 3, s, c, src);
        n_equal += memcmp(a, c, sizeof a) == 0;
        nt_augmenter_run(b.augmenter, 3, s, c, src);
        assert_memory_equal(a, c, sizeof a);
    }
    assert_int_equal(n_equal, 0);
    nt_augmenter_destroy(seed);
    tear_down(&b);
}

/* --- distributions --- */

enum { DRAWS = 20000 };

static void check_count(int64_t count, double probability)
{
    double sd = sqrt(DRAWS * probability * (1 - probability));
    assert_true(fabs((double)count - DRAWS * probability) <= 5 * sd);
}

static void flips_have_their_rates(void **state)
{
    (void)state;
    const uint8_t src[4] = {0, 1, 2, 3};
    uint8_t dst[4];
    int64_t h = 0, v = 0, both = 0;
    bench b = set_up("hflip = 0.3\nvflip = 0.6\n", image_spec(NT_U8, 1, 2, 2), true);
    for (int64_t i = 0; i < DRAWS; i++) {
        nt_augmenter_run(b.augmenter, i % 7, i, dst, src);
        h += dst[0] % 2;
        v += dst[0] / 2;
        both += dst[0] == 3;
        assert_int_equal(dst[0] + dst[3], 3);
        assert_int_equal(dst[1] + dst[2], 3);
    }
    check_count(h, 0.3);
    check_count(v, 0.6);
    check_count(both, 0.18); /* independent */
    tear_down(&b);
}

/* Every window as often, and nothing else. */
/* The crop is all there is, so what lies around the picture is what the mode says, on each side. */
static void paddings(void **state)
{
    (void)state;
    enum { H = 4, W = 5, PAD = 3 };
    static const char *const modes[] = {"zeros", "edge", "reflect"};
    uint8_t src[H * W], dst[(H + 2 * PAD) * (W + 2 * PAD)];
    for (int i = 0; i < H * W; i++)
        src[i] = (uint8_t)(i + 1);
    for (int m = 0; m < 3; m++) {
        char lines[80];
        snprintf(lines, sizeof lines, "crop = 10, 11\npadding = 3\npadding_mode = %s\n", modes[m]);
        bench b = set_up(lines, image_spec(NT_U8, 1, H, W), true);
        nt_augmenter_run(b.augmenter, 1, 1, dst, src);
        for (int y = -PAD; y < H + PAD; y++)
            for (int x = -PAD; x < W + PAD; x++) {
                bool inside = y >= 0 && x >= 0 && y < H && x < W;
                int at[2] = {y, x}, last[2] = {H - 1, W - 1};
                for (int k = 0; k < 2; k++) {
                    if (at[k] < 0) at[k] = m == 1 ? 0 : -at[k];
                    if (at[k] > last[k]) at[k] = m == 1 ? last[k] : 2 * last[k] - at[k];
                }
                int want = inside || m > 0 ? src[at[0] * W + at[1]] : 0;
                assert_int_equal(dst[(y + PAD) * (W + 2 * PAD) + x + PAD], want);
            }
        tear_down(&b);
    }
}

/* A target that is a value is mixed as its sample is: lambda of its own. */
static void values_are_mixed_like_samples(void **state)
{
    (void)state;
    const nt_mix mix = {.kind = NT_MIX_UP, .lambda = 0.25};
    const nt_mix_form form = {.dtype = NT_F32, .channels = 1, .height = 1, .width = 2, .n_values = 2};
    const float before[] = {1, 2, 10, 20, 5, 6, 7, 8}, want[] = {4, 5, 7.75f, 11, 5, 6, 7, 8};
    float x[8], value[8];
    memcpy(x, before, sizeof x), memcpy(value, before, sizeof value);
    nt_mix_samples(&mix, &form, x, (const int64_t[]){2, 3}, 2);
    nt_mix_values(&mix, &form, value, (const int64_t[]){2, 3}, 2);
    assert_memory_equal(x, want, sizeof want);
    assert_memory_equal(value, want, sizeof want);
}

static void crops_are_uniform(void **state)
{
    (void)state;
    enum { H = 5, W = 7, PAD = 2, CH = 6, CW = 4, TOPS = H + 2 * PAD - CH + 1, LEFTS = W + 2 * PAD - CW + 1 };
    uint8_t src[H * W], dst[CH * CW];
    int64_t count[TOPS][LEFTS] = {{0}};
    bench b = set_up("crop = 6, 4\npadding = 2\n", image_spec(NT_U8, 1, H, W), true);
    for (int i = 0; i < H * W; i++)
        src[i] = (uint8_t)(i + 1);
    for (int64_t i = 0; i < DRAWS; i++) {
        int n_fitting = 0;
        nt_augmenter_run(b.augmenter, 1, i, dst, src);
        for (int top = 0; top < TOPS; top++)
            for (int left = 0; left < LEFTS; left++) {
                bool fits = true;
                for (int y = 0; y < CH && fits; y++)
                    for (int x = 0; x < CW && fits; x++) {
                        int sy = top + y - PAD, sx = left + x - PAD;
                        bool inside = sy >= 0 && sx >= 0 && sy < H && sx < W;
                        fits = dst[y * CW + x] == (inside ? src[sy * W + sx] : 0);
                    }
                count[top][left] += fits;
                n_fitting += fits;
            }
        assert_int_equal(n_fitting, 1);
    }
    for (int top = 0; top < TOPS; top++)
        for (int left = 0; left < LEFTS; left++)
            check_count(count[top][left], 1.0 / (TOPS * LEFTS));
    tear_down(&b);
}

/* Means of many draws of torchvision, which are in the reference file with their standard deviations. */
static void check_means(const char *name, const double *sum, int n)
{
    nt_h5 *file = NULL;
    double want[16];
    int n_want;
    bool found;
    assert_ok(nt_h5_open(&file, "tests/reference/images.h5"));
    assert_ok(nt_h5_attr_floats(file, "/", name, want, 16, &n_want, &found));
    assert_true(found && n_want == 2 * n);
    for (int i = 0; i < n; i++) {
        double sd = want[n + i] / sqrt(DRAWS / 2.0); /* of the difference of two means */
        if (fabs(sum[i] / DRAWS - want[i]) > 5 * sd)
            fail_msg("%s %d: mean %g, torchvision's is %g", name, i, sum[i] / DRAWS, want[i]);
    }
    nt_h5_close(file);
}

static void windows_are_torchvisions(void **state)
{
    (void)state;
    static const char *const lines[] = {"resized_crop = 8\n",
                                        "resized_crop = 8\nresized_crop_scale = 0.5, 1\n"
                                        "resized_crop_ratio = 0.2, 0.4\n"};
    static const char *const names[] = {"resized_crop_default", "resized_crop_narrow"};
    for (int k = 0; k < 2; k++) {
        double sum[5] = {0};
        bench b = set_up(lines[k], image_spec(NT_U8, 1, 30, 40), true);
        for (int64_t i = 0; i < DRAWS; i++) {
            nt_window w = nt_augment_window(b.augment, 2, i);
            assert_true(w.top >= 0 && w.left >= 0 && w.height >= 1 && w.width >= 1);
            assert_true(w.top + w.height <= 30 && w.left + w.width <= 40);
            const double v[5] = {(double)w.top, (double)w.left, (double)w.height, (double)w.width,
                                 (double)(w.height * w.width)};
            for (int j = 0; j < 5; j++)
                sum[j] += v[j];
        }
        check_means(names[k], sum, 5);
        tear_down(&b);
    }
}

/* The erased part of an image of ones, whose mean is 0. */
static void erased_parts_are_torchvisions(void **state)
{
    (void)state;
    enum { H = 16, W = 24 };
    uint8_t src[H * W], dst[H * W];
    double sum[3] = {0};
    memset(src, 1, sizeof src);
    bench b = set_up("erase = 0.7\n", image_spec(NT_U8, 1, H, W), true);
    for (int64_t i = 0; i < DRAWS; i++) {
        int area = 0, first = -1;
        nt_augmenter_run(b.augmenter, 5, i, dst, src);
        for (int k = 0; k < H * W; k++) {
            area += dst[k] == 0;
            if (dst[k] == 0 && first < 0) first = k;
        }
        sum[0] += area > 0;
        sum[1] += area;
        sum[2] += first < 0 ? 0 : first / W;
    }
    check_means("erase", sum, 3);
    tear_down(&b);
}

/* A square around any pixel: each pixel is hit with the part of the places from which a square reaches it;
 * the colour is the mean of the data. */
static void cutout_covers_pixels_as_it_should(void **state)
{
    (void)state;
    enum { H = 6, W = 5, S = 3 };
    uint8_t src[H * W], dst[H * W];
    int64_t hits[H * W] = {0};
    memset(src, 1, sizeof src);
    nt_sample_spec spec = image_spec(NT_U8, 1, H, W);
    spec.input = (nt_input_options){.scale = 1.0 / 255, .n_channels = 1, .mean = {0.4913}};
    bench b = set_up("cutout = 3\n", spec, true);
    for (int64_t i = 0; i < DRAWS; i++) {
        nt_augmenter_run(b.augmenter, 5, i, dst, src);
        for (int k = 0; k < H * W; k++) {
            assert_true(dst[k] == 1 || dst[k] == 125); /* 0.4913 * 255 = 125.3 */
            hits[k] += dst[k] == 125;
        }
    }
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            int ny = (y > 0) + 1 + (y < H - 1), nx = (x > 0) + 1 + (x < W - 1);
            check_count(hits[y * W + x], (double)(ny * nx) / (H * W));
        }
    tear_down(&b);
}

/* What is cut out keeps its colour: brightness came before. And the square lies upright: rotation came
 * before. */
static void colours_come_before_cutout(void **state)
{
    (void)state;
    enum { SIDE_ = 12, S = 5 };
    uint8_t src[SIDE_ * SIDE_], dst[SIDE_ * SIDE_];
    int n_changed = 0;
    memset(src, 100, sizeof src);
    nt_sample_spec spec = image_spec(NT_U8, 1, SIDE_, SIDE_);
    spec.input = (nt_input_options){.scale = 1.0 / 255, .n_channels = 1, .mean = {201.0 / 255}};
    bench b = set_up("rotation = 40\nbrightness = 0.5\ncutout = 5\n", spec, true);
    for (int64_t i = 0; i < 200; i++) {
        int top = SIDE_, left = SIDE_, bottom = -1, right = -1, n = 0;
        nt_augmenter_run(b.augmenter, 5, i, dst, src);
        for (int y = 0; y < SIDE_; y++)
            for (int x = 0; x < SIDE_; x++) {
                if (dst[y * SIDE_ + x] != 201) continue;
                n++;
                top = y < top ? y : top, bottom = y > bottom ? y : bottom;
                left = x < left ? x : left, right = x > right ? x : right;
            }
        assert_true(n > 0 && n == (bottom - top + 1) * (right - left + 1));
        assert_true(bottom - top < S && right - left < S);
        n_changed += dst[(top > SIDE_ - 1 - bottom ? 4 : SIDE_ - 5) * SIDE_ + SIDE_ / 2] != 100;
    }
    assert_true(n_changed > 100);
    tear_down(&b);
}

/* A strength above 1 makes factors of [0, 1 + strength], none below 0: of a uniform factor in [0, 4] one in
 * 200 leaves less than 1 of 50, and its mean is 2. Five deviations of 2000 draws are 0.13 of it, and 16 of
 * those 10. */
static void strong_colours_stay_above_zero(void **state)
{
    (void)state;
    enum { RUNS = 2000 };
    uint8_t src[1] = {50}, dst[1];
    nt_sample_spec spec = image_spec(NT_U8, 1, 1, 1);
    bench b = set_up("brightness = 3\n", spec, true);
    int n_black = 0;
    double sum = 0;
    for (int64_t i = 0; i < RUNS; i++) {
        nt_augmenter_run(b.augmenter, 5, i, dst, src);
        n_black += dst[0] == 0;
        sum += dst[0] / 50.0;
        assert_true(dst[0] <= 200);
    }
    assert_true(n_black <= 26);
    assert_true(fabs(sum / RUNS - 2) < 0.13);
    tear_down(&b);
}

/* Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)). */
static void lambda_is_beta(void **state)
{
    (void)state;
    static const double alphas[] = {0.01, 0.2, 1, 3, 200};
    for (int k = 0; k < 5; k++) {
        const nt_mix_options o = {.mixup = alphas[k], .probability = 1};
        double sum = 0, square = 0, variance = 1 / (4 * (2 * alphas[k] + 1));
        for (int64_t i = 0; i < DRAWS; i++) {
            nt_mix mix = nt_mix_draw(&o, 3, i / 100, i % 100, 8, 8);
            assert_int_equal(mix.kind, NT_MIX_UP);
            assert_true(mix.lambda >= 0 && mix.lambda <= 1);
            sum += mix.lambda;
            square += (mix.lambda - 0.5) * (mix.lambda - 0.5);
        }
        assert_true(fabs(sum / DRAWS - 0.5) <= 5 * sqrt(variance / DRAWS));
        /* the fourth moment of any of these is at most 3 variance^2 or variance / 4: the spread of the sum */
        assert_true(fabs(square / DRAWS - variance) <= 5 * sqrt(fmin(2 * variance, 0.25) * variance / DRAWS));
    }
}

static void mixing_has_its_rates(void **state)
{
    (void)state;
    const nt_mix_options o = {.mixup = 1, .cutmix = 1, .probability = 0.8};
    int64_t count[3] = {0};
    double left = 0;
    for (int64_t i = 0; i < DRAWS; i++) {
        nt_mix mix = nt_mix_draw(&o, 3, 1, i, 10, 6);
        count[mix.kind]++;
        if (mix.kind != NT_MIX_CUT) continue;
        assert_true(mix.left >= 0 && mix.left <= mix.right && mix.right <= 6);
        assert_true(mix.top >= 0 && mix.top <= mix.bottom && mix.bottom <= 10);
        double own = 1 - (double)((mix.right - mix.left) * (mix.bottom - mix.top)) / 60;
        assert_true(fabs(own - mix.lambda) < 1e-12);
        left += own;
    }
    check_count(count[NT_MIX_NONE], 0.2);
    check_count(count[NT_MIX_UP], 0.4);
    check_count(count[NT_MIX_CUT], 0.4);
    double want[2] = {0}; /* torchvision's mean of lambda_adjusted for 10x6, alpha 1 */
    nt_h5 *file = NULL;
    int n;
    bool found;
    assert_ok(nt_h5_open(&file, "tests/reference/images.h5"));
    assert_ok(nt_h5_attr_floats(file, "/", "cutmix_lambda", want, 2, &n, &found));
    nt_h5_close(file);
    assert_true(found && n == 2);
    assert_true(fabs(left / (double)count[NT_MIX_CUT] - want[0]) <=
                5 * want[1] * sqrt(1.0 / (double)count[NT_MIX_CUT] + 1.0 / DRAWS));
}

/* --- evaluation --- */

static void evaluation_takes_the_centre(void **state)
{
    (void)state;
    uint8_t src[9 * 9], dst[64];
    for (int i = 0; i < 81; i++)
        src[i] = (uint8_t)i;
    bench b = set_up("crop = 4, 5\npadding = 1\nhflip = 1\nrotation = 90\nerase = 1\n",
                     image_spec(NT_U8, 1, 9, 9), false);
    assert_true(nt_augment_changes(b.augment, false));
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        nt_augmenter_run(b.augmenter, epoch, epoch, dst, src);
        for (int y = 0; y < 4; y++)
            for (int x = 0; x < 5; x++)
                assert_int_equal(dst[y * 5 + x],
                                 (y + 2) * 9 + x + 2); /* (9 - 4) / 2 is 2.5: to the even one */
    }
    tear_down(&b);
    b = set_up("hflip = 1\nmixup = 1\n", image_spec(NT_U8, 1, 9, 9), false);
    assert_false(nt_augment_changes(b.augment, false));
    assert_true(nt_augment_changes(b.augment, true));
    tear_down(&b);
}

static void evaluation_resizes_as_torchvision(void **state)
{
    (void)state;
    nt_h5 *file = NULL;
    nt_h5_set *set = NULL;
    uint8_t src[3 * 30 * 20], want[3 * 8 * 8], got[3 * 8 * 8];
    assert_ok(nt_h5_open(&file, "tests/reference/images.h5"));
    assert_ok(nt_h5_set_open(&set, file, "/evaluation/x", 1 << 20));
    assert_ok(nt_h5_set_read(set, 0, 3, NT_U8, src));
    nt_h5_set_close(set);
    assert_ok(nt_h5_set_open(&set, file, "/evaluation/y", 1 << 20));
    assert_ok(nt_h5_set_read(set, 0, 3, NT_U8, want));
    nt_h5_set_close(set);
    nt_h5_close(file);
    bench b = set_up("resized_crop = 8\neval_resize = 11\n", image_spec(NT_U8, 3, 30, 20), false);
    nt_augmenter_run(b.augmenter, 0, 0, got, src);
    for (size_t i = 0; i < sizeof got; i++)
        assert_in_range(got[i], want[i] > 0 ? want[i] - 1 : 0, want[i] + 1); /* see test_reference_images.c */
    tear_down(&b);
}

/* --- values that must not get through --- */

static void check_bad_pixel(const char *lines, bool resized)
{
    enum { N_IMAGES = 12 };
    float x[N_IMAGES][2][5][5];
    int label[N_IMAGES];
    nt_data_options options = options_for(in_dir("pixels.h5"));
    for (int i = 0; i < N_IMAGES; i++) {
        label[i] = i % 4;
        for (int k = 0; k < 50; k++)
            ((float *)x[i])[k] = (float)k;
    }
    x[7][1][2][3] = NAN;
    hid_t h5 = new_file("pixels.h5");
    put_f32(h5, "/train/data", DIMS(N_IMAGES, 2, 5, 5), &x[0][0][0][0]);
    put_int(h5, "/train/label", DIMS(N_IMAGES), label);
    end_file(h5);
    options.memory_mb = 0; /* so that rows are read, and looked at, when they are asked for */
    nt_dataset *ds = must_open(&options, NT_SPLIT_TRAIN);
    nt_config *config = config_of(lines);
    nt_augment *augment = NULL;
    assert_ok(nt_augment_create(&augment, config, &ds->spec, 1));
    assert_true(nt_augment_spec(augment)->x.dim[1] == (resized ? 4 : 5));
    nt_sampler *sampler = NULL;
    nt_prefetch *p = NULL;
    nt_slice slice;
    nt_status status = NT_OK;
    assert_ok(nt_sampler_create(&sampler, N_IMAGES, 5, true, false, 1));
    assert_ok(nt_prefetch_create(&p, ds, sampler, 0, 1,
                                 &(nt_prefetch_options){.augment = augment, .training = true, .depth = 2}));
    for (int i = 0; i < 3 && status == NT_OK; i++)
        status = nt_prefetch_next(p, &slice);
    assert_fails(status, NT_ERR_DATA, "pixels.h5", "/train/data", "row 7", "nan");
    nt_prefetch_destroy(p);
    nt_sampler_destroy(sampler);
    nt_augment_destroy(augment);
    nt_config_destroy(config);
    nt_dataset_close(ds);
}

static void fault_50_nan_pixel_with_augmentation(void **state)
{
    (void)state;
    check_bad_pixel("hflip = 0.5\nerase = 1\n", false);
    check_bad_pixel("resized_crop = 4\nmixup = 1\nthreads = 3\n", true);
    check_bad_pixel("crop = 5\npadding = 2\ncutmix = 1\n", false);
}

/* Labels out of range are found before the first sample, mixed or not. */
static void fault_49_label_out_of_range_with_mixing(void **state)
{
    (void)state;
    uint8_t x[6][1][2][2] = {{{{0}}}};
    const int label[6] = {0, 1, 2, 3, 1, 2}, minus[6] = {0, 1, -1, 3, 1, 2};
    for (int k = 0; k < 2; k++) {
        hid_t h5 = new_file("labels.h5");
        put_u8(h5, "/train/data", DIMS(6, 1, 2, 2), &x[0][0][0][0]);
        put_int(h5, "/train/label", DIMS(6), k ? minus : label);
        end_file(h5);
        nt_data_options options = options_for(in_dir("labels.h5"));
        options.classes = 3;
        assert_open_fails(&options, NT_SPLIT_TRAIN, NT_ERR_DATA, "labels.h5", k ? "row 2" : "row 3");
    }
}

/* --- mistakes --- */

static void check_refused(const char *lines, nt_sample_spec spec, const char *a, const char *b)
{
    char text[512];
    nt_config *config = NULL;
    nt_augment *augment = NULL;
    int n = snprintf(text, sizeof text, "[augment]\n%s\n", lines);
    nt_status status = nt_config_parse(&config, "cfg.ini", text, (size_t)n, NULL, 0, sections);
    if (status == NT_OK) status = nt_augment_create(&augment, config, &spec, 1);
    if (status != NT_ERR_CONFIG) fail_msg("'%s' was taken", lines);
    assert_fails(status, NT_ERR_CONFIG, "cfg.ini:", a, b);
    assert_null(augment);
    if (config) nt_config_destroy(config);
}

/* What is just possible is no mistake. */
static void limits_are_taken(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "crop = 12, 14\npadding = 2",
        "crop = 8\npadding = 7\npadding_mode = reflect",
        "resized_crop = 6\neval_resize = 6",
        "resized_crop = 4\nresized_crop_scale = 1, 1",
        "resized_crop = 4\nresized_crop_ratio = 2, 2",
        "hflip = 1\nvflip = 0",
        "rotation = 180",
        "hue = 0.5\nsaturation = 100",
        "randaugment = 32\nrandaugment_magnitude = 30",
        "cutout = 8",
        "threads = 64\nhflip = 0.5",
    };
    const nt_sample_spec image = image_spec(NT_U8, 3, 8, 10);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[512];
        nt_config *config;
        nt_augment *augment;
        int n = snprintf(text, sizeof text, "[augment]\n%s\n", lines[i]);
        assert_ok(nt_config_parse(&config, "cfg.ini", text, (size_t)n, NULL, 0, sections));
        assert_ok(nt_augment_create(&augment, config, &image, 1));
        nt_augment_destroy(augment);
        nt_config_destroy(config);
    }
}

static void mistakes_are_named(void **state)
{
    (void)state;
    const nt_sample_spec image = image_spec(NT_U8, 3, 8, 10), real = image_spec(NT_F32, 3, 8, 10),
                         four = image_spec(NT_U8, 4, 8, 10);
    nt_sample_spec table = image, tokens = image;
    table.x = nt_shape_of(1, (int64_t)13);
    table.x_dtype = NT_F32;
    tokens.x = nt_shape_of(1, (int64_t)16);
    tokens.x_dtype = NT_I32;
    static const struct {
        const char *lines, *a, *b;
    } bad[] = {
        {"crop = 13, 14\npadding = 2", ":2:", "larger than the images, 8x10 with augment.padding = 2, 2"},
        {"crop = 8, 15\npadding = 2", "crop = 8, 15", "larger"},
        {"crop = 0, 5", "crop", "both must be above 0"},
        {"crop = -1", "crop", "at least 0"},
        {"padding = 4", "padding", "nothing without augment.crop"},
        {"crop = 8\npadding_mode = edge", "padding_mode", "nothing without augment.padding"},
        {"crop = 8\npadding = 1\npadding_mode = mirror", "mirror", "reflect"},
        {"crop = 8\npadding = 8\npadding_mode = reflect", "padding", "less than a side"},
        {"resized_crop = 4, 0", "resized_crop", "both must be above 0"},
        {"resized_crop = 4\ncrop = 4", "resized_crop", "take one of them"},
        {"resized_crop = x", "resized_crop", "x"},
        {"resized_crop = 4\nresized_crop_scale = 0.5", "resized_crop_scale", "two numbers"},
        {"resized_crop = 4\nresized_crop_scale = 0.5, 1.5", "resized_crop_scale", "at most 1"},
        {"resized_crop_scale = 0.5, 1", "resized_crop_scale", "nothing without augment.resized_crop"},
        {"resized_crop = 4\nresized_crop_ratio = 2, 1", "resized_crop_ratio", "the least and the largest"},
        {"resized_crop = 4\nresized_crop_ratio = 0, 1", "resized_crop_ratio", "0.001"},
        {"resized_crop_ratio = 1, 2", "resized_crop_ratio", "nothing without"},
        {"resized_crop = 6\neval_resize = 5", "eval_resize", "less than augment.resized_crop"},
        {"eval_resize = 5", "eval_resize", "nothing without augment.resized_crop"},
        {"resized_crop = 6\neval_resize = -5", "eval_resize", "at least 0"},
        {"hflip = 2", "hflip", "at most 1"},
        {"hflip = yes", "hflip", "yes"},
        {"hfilp = 1", "hfilp", "did you mean 'hflip'"},
        {"vflip = -0.1", "vflip", "at least 0"},
        {"vflip = 1.01", "vflip", "at most 1"},
        {"vflip = nan", "vflip", "nan"},
        {"rotation = 181", "rotation", "at most 180"},
        {"rotation = -5", "rotation", "at least 0"},
        {"rotation = 5 deg", "rotation", "deg"},
        {"interpolation = cubic", "interpolation", "bilinear"},
        {"interpolation = bilinera", "interpolation", "bilinear"},
        {"interpolation =", "interpolation", "must have a value"},
        {"brightness = -1", "brightness", "at least 0"},
        {"contrast = inf", "contrast", "inf"},
        {"saturation = 101", "saturation", "at most 100"},
        {"hue = 0.6", "hue", "at most 0.5"},
        {"randaugment = 33", "randaugment", "at most 32"},
        {"randaugment = 1.5", "randaugment", "1.5"},
        {"randaugment_magnitude = 5", "randaugment_magnitude", "nothing without augment.randaugment"},
        {"randaugment = 2\nrandaugment_magnitude = 31", "randaugment_magnitude", "at most 30"},
        {"cutout = 9", "cutout = 9", "larger than the images"},
        {"cutout = 8.5", "cutout", "8.5"},
        {"erase = 1.5", "erase", "at most 1"},
        {"erase_scale = 0.1, 0.2", "erase_scale", "nothing without augment.erase"},
        {"erase = 1\nerase_ratio = 1, 2, 3", "erase_ratio", "two numbers"},
        {"mixup = -1", "mixup", "at least 0"},
        {"cutmix = 1001", "cutmix", "at most 1000"},
        {"mix_probability = 0.5", "mix_probability", "nothing without augment.mixup or augment.cutmix"},
        {"mixup = 1\nmix_probability = 2", "mix_probability", "at most 1"},
        {"threads = 0", "threads", "at least 1"},
        {"threads = 65", "threads", "at most 64"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_refused(bad[i].lines, image, bad[i].a, bad[i].b);
    check_refused("hflip = 0.5", table, "augment.hflip needs images (C, H, W)", "13 float32");
    check_refused("crop = 3", table, "augment.crop needs images", "13 float32");
    check_refused("cutmix = 1", table, "augment.cutmix needs images", "13 float32");
    check_refused("mixup = 1", tokens, "augment.mixup needs numbers", "int32");
    check_refused("hue = 0.1", real, "augment.hue needs uint8 images", "3x8x10 float32");
    check_refused("randaugment = 1", four, "augment.randaugment needs uint8 images of 1 or 3",
                  "4x8x10 uint8");
}

/* The section without a key changes nothing, of anything. */
static void nothing_is_nothing(void **state)
{
    (void)state;
    nt_sample_spec spec = image_spec(NT_F32, 1, 1, 1);
    char text[64];
    spec.x = nt_shape_of(2, (int64_t)3, (int64_t)4);
    bench b = {.config = config_of("")};
    assert_ok(nt_augment_create(&b.augment, b.config, &spec, 7));
    assert_false(nt_augment_changes(b.augment, true) || nt_augment_changes(b.augment, false));
    assert_null(nt_augment_mixing(b.augment));
    assert_true(nt_shape_equal(nt_augment_spec(b.augment)->x, spec.x));
    nt_augment_describe(b.augment, text, sizeof text);
    assert_string_equal(text, "");
    nt_augment_destroy(b.augment);
    nt_config_destroy(b.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(augmentation_is_a_function_of_seed_epoch_and_sample),
        cmocka_unit_test(mixing_does_not_depend_on_ranks),
        cmocka_unit_test(nothing_comes_twice),
        cmocka_unit_test(flips_have_their_rates),
        cmocka_unit_test(crops_are_uniform),
        cmocka_unit_test(windows_are_torchvisions),
        cmocka_unit_test(erased_parts_are_torchvisions),
        cmocka_unit_test(cutout_covers_pixels_as_it_should),
        cmocka_unit_test(colours_come_before_cutout),
        cmocka_unit_test(lambda_is_beta),
        cmocka_unit_test(mixing_has_its_rates),
        cmocka_unit_test(evaluation_takes_the_centre),
        cmocka_unit_test(evaluation_resizes_as_torchvision),
        cmocka_unit_test(fault_49_label_out_of_range_with_mixing),
        cmocka_unit_test(fault_50_nan_pixel_with_augmentation),
        cmocka_unit_test(limits_are_taken),
        cmocka_unit_test(strong_colours_stay_above_zero),
        cmocka_unit_test(paddings),
        cmocka_unit_test(values_are_mixed_like_samples),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(nothing_is_nothing),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
