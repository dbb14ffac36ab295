/* What can be done to an image, against torchvision.transforms.v2.functional with the same numbers
 * (scripts/reference/images.py).
 *
 * What moves bytes without arithmetic is equal. Where torchvision computes in float32 and cuts to a byte,
 * another order of operations may fall on the other side of a whole number: one level, in at most one of a
 * hundred bytes. Bilinear resizing of bytes may differ by a level anywhere, because torchvision rounds
 * between the two axes. Floats: 1e-5 of values around 1, the sum of a few float32 roundings. */
#include "datasets/image.h"
#include "datasets/mix.h"

#include "reference.h"

typedef struct a_case {
    nt_h5 *file;
    const char *name;
    char *what;
    double arg[8];
    int n_args;
    nt_image src, dst;
    reference_tensor y;
} a_case;

/* A set of the file as an image; memory is malloc'ed. */
static nt_image read_image(nt_h5 *file, const char *name, const char *set, bool *is_u8)
{
    char path[256];
    nt_h5_set *open;
    reference_path(path, name, set);
    REF_MUST(nt_h5_set_open(&open, file, path, 1 << 24));
    const nt_h5_info *info = nt_h5_set_info(open);
    *is_u8 = info->type_class == NT_H5_UINT;
    nt_image image = {*is_u8 ? NT_U8 : NT_F32, info->shape.dim[0], info->shape.dim[1], info->shape.dim[2],
                      malloc((size_t)nt_shape_elems(info->shape) * 4)};
    assert_non_null(image.data);
    REF_MUST(nt_h5_set_read(open, 0, info->shape.dim[0], image.dtype, image.data));
    nt_h5_set_close(open);
    return image;
}

static int64_t elems(const nt_image *image)
{
    return image->channels * image->height * image->width;
}

static double value(const nt_image *image, int64_t i)
{
    return image->dtype == NT_U8 ? ((uint8_t *)image->data)[i] : (double)((float *)image->data)[i];
}

static bool is(const a_case *c, const char *what)
{
    return strcmp(c->what, what) == 0;
}

static void resample(a_case *c)
{
    nt_resampler *r;
    const nt_window window = {(int64_t)c->arg[0], (int64_t)c->arg[1], (int64_t)c->arg[2], (int64_t)c->arg[3]};
    REF_MUST(nt_resampler_create(&r, c->src.height, c->src.width, c->dst.height, c->dst.width));
    nt_resampler_run(r, &c->dst, &c->src, &window);
    nt_resampler_destroy(r);
}

static void do_geometry(a_case *c)
{
    const double *a = c->arg;
    if (is(c, "crop")) {
        const nt_crop crop = {(int64_t)a[0], (int64_t)a[1], (int)a[4], a[5] > 0, a[6] > 0};
        nt_image_crop(&c->dst, &c->src, &crop);
    } else if (is(c, "rotate")) {
        nt_affine map = nt_affine_rotation(a[0]);
        map.bilinear = a[1] > 0;
        nt_image_affine(&c->dst, &c->src, &map);
    } else if (is(c, "resize")) {
        resample(c);
    } else if (is(c, "erase")) {
        nt_image_erase(&c->dst, (int64_t)a[0], (int64_t)a[1], (int64_t)a[2], (int64_t)a[3],
                       (const float[]){(float)a[4], (float)a[5], (float)a[6]});
    }
}

static void do_colour(a_case *c, void *copy)
{
    nt_image *x = &c->dst;
    const double a = c->arg[0];
    if (is(c, "brightness"))
        nt_image_brightness(x, a);
    else if (is(c, "contrast"))
        nt_image_contrast(x, a);
    else if (is(c, "saturation"))
        nt_image_saturation(x, a);
    else if (is(c, "hue"))
        nt_image_hue(x, a);
    else if (is(c, "sharpness"))
        nt_image_sharpness(x, a, copy);
    else if (is(c, "posterize"))
        nt_image_posterize(x, (int)a);
    else if (is(c, "solarize"))
        nt_image_solarize(x, a);
    else if (is(c, "autocontrast"))
        nt_image_autocontrast(x);
    else if (is(c, "equalize"))
        nt_image_equalize(x);
    else if (is(c, "random"))
        nt_image_random_op(x, &(nt_random_op){(int)a, (int)c->arg[1], c->arg[2] > 0, c->arg[3] > 0}, copy);
    else
        fail_msg("%s: nobody knows how to do '%s'", c->name, c->what);
}

/* How far apart bytes may be, and in which part of them. */
static void tolerance_of(const a_case *c, double *level, double *part)
{
    bool copies =
        is(c, "crop") || is(c, "erase") || is(c, "posterize") || is(c, "solarize") || is(c, "equalize");
    *level = copies ? 0 : 1;
    *part = is(c, "resize") ? 1 : 0.01;
}

static void compare(const a_case *c, const nt_image *want)
{
    double level, part, n_different = 0;
    tolerance_of(c, &level, &part);
    if (c->dst.dtype == NT_F32) level = is(c, "crop") || is(c, "erase") ? 0 : 1e-5;
    for (int64_t i = 0; i < elems(want); i++) {
        double d = fabs(value(&c->dst, i) - value(want, i));
        if (!(d <= level))
            fail_msg("%s: element %lld is %g, torchvision says %g", c->name, (long long)i, value(&c->dst, i),
                     value(want, i));
        n_different += c->dst.dtype == NT_U8 && d > 0;
    }
    if (n_different > 1 && n_different > part * (double)elems(want))
        fail_msg("%s: %g of %lld bytes differ by a level", c->name, n_different, (long long)elems(want));
}

static void one_case(nt_h5 *file, const char *name, void *arg)
{
    char path[256];
    bool found, u8;
    int *n = arg;
    snprintf(path, sizeof path, "/%s", name);
    a_case c = {.file = file, .name = name, .what = reference_text(file, path, "do")};
    REF_MUST(nt_h5_attr_floats(file, path, "args", c.arg, 8, &c.n_args, &found));
    if (!is(&c, "mixup") && !is(&c, "cutmix") && !is(&c, "evaluation")) { /* which have tests of their own */
        c.src = read_image(file, name, "x", &u8);
        nt_image want = read_image(file, name, "y", &u8);
        c.dst = want;
        c.dst.data = calloc((size_t)elems(&want) + 16, 4);
        void *copy = malloc((size_t)elems(&c.src) * 4);
        assert_true(c.dst.data && copy);
        bool in_place = !is(&c, "crop") && !is(&c, "rotate") && !is(&c, "resize");
        if (in_place) memcpy(c.dst.data, c.src.data, (size_t)elems(&want) * nt_dtype_bytes(want.dtype));
        do_geometry(&c);
        if (!is(&c, "erase") && in_place) do_colour(&c, copy);
        compare(&c, &want);
        for (int i = 0; i < 16; i++) /* nothing is written past the end */
            assert_int_equal(
                ((uint8_t *)c.dst.data)[(size_t)elems(&want) * nt_dtype_bytes(want.dtype) + (size_t)i], 0);
        free(copy);
        free(c.dst.data);
        free(c.src.data);
        free(want.data);
        ++*n;
    }
    free(c.what);
}

static void images_are_torchvisions(void **state)
{
    (void)state;
    int n = 0;
    nt_h5 *file = reference_open("images");
    reference_each(file, one_case, &n);
    assert_true(n > 100);
    nt_h5_close(file);
}

/* --- mixing --- */

/* What one rank of `size` makes of its part of the batch. */
static void check_mix_part(nt_h5 *file, const char *name, const nt_mix *mix, int rank, int size)
{
    reference_tensor x = reference_read(file, name, "x"), y = reference_read(file, name, "y"),
                     label = reference_read(file, name, "label"),
                     target = reference_read(file, name, "target");
    const nt_mix_form form = {.dtype = NT_F32, .channels = 2, .height = 6, .width = 7, .n_classes = 3};
    const int64_t row = 2 * 6 * 7, batch = 5;
    int64_t begin = batch * rank / size, end = batch * (rank + 1) / size, n = end - begin;
    float *part = calloc((size_t)((n + 1) * row), sizeof *part),
          *soft = calloc((size_t)((n + 1) * 3), sizeof *soft);
    int32_t labels[6];
    const int64_t partner[5] = {n, 0, 1, 2, 3};
    assert_true(part && soft);
    for (int64_t i = 0; i <= n; i++) { /* the partner of the first comes last */
        int64_t from = i < n ? begin + i : (begin + batch - 1) % batch;
        for (int64_t k = 0; k < row; k++)
            part[i * row + k] = (float)x.values[from * row + k];
        labels[i] = (int32_t)label.values[from];
    }
    nt_mix_samples(mix, &form, part, partner, n);
    nt_mix_labels(mix, &form, soft, labels, partner, n);
    for (int64_t i = 0; i < n * row; i++)
        assert_float_equal(part[i], y.values[begin * row + i], 1e-6); /* three roundings of values up to 4 */
    for (int64_t i = 0; i < n * 3; i++)
        assert_float_equal(soft[i], target.values[begin * 3 + i], 1e-7);
    free(part);
    free(soft);
    free(x.values);
    free(y.values);
    free(label.values);
    free(target.values);
}

static void mixtures_are_torchvisions(void **state)
{
    (void)state;
    nt_h5 *file = reference_open("images");
    double a[8];
    int n;
    bool found;
    for (int size = 1; size <= 5; size++)
        for (int rank = 0; rank < size; rank++) {
            REF_MUST(nt_h5_attr_floats(file, "/mixup", "args", a, 8, &n, &found));
            check_mix_part(file, "mixup", &(nt_mix){.kind = NT_MIX_UP, .lambda = a[0]}, rank, size);
            REF_MUST(nt_h5_attr_floats(file, "/cutmix", "args", a, 8, &n, &found));
            const nt_mix cut = {.kind = NT_MIX_CUT,
                                .lambda = 1 - 9.0 / 42,
                                .left = (int64_t)a[1],
                                .top = (int64_t)a[2],
                                .right = (int64_t)a[3],
                                .bottom = (int64_t)a[4]};
            check_mix_part(file, "cutmix", &cut, rank, size);
        }
    nt_h5_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_torchvisions),
        cmocka_unit_test(mixtures_are_torchvisions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
