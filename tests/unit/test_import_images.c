/* Pictures and folders of them.
 *
 * The oracle for pixels is Pillow (tests/reference/pictures.h5): the same bytes, of every kind of file.
 * Damage is made from its files: cut anywhere, bits turned, sizes that lie. Folders are made here with every
 * oddity that a folder can have; what must come out is counted by hand. */
#include "h5_helpers.h"
#include "reference.h"

#include "datasets/import.h"
#include "datasets/import_tree.h"
#include "datasets/picture.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { HEIGHT = 24, WIDTH = 40 };

typedef struct bytes {
    size_t n;
    uint8_t data[1 << 16];
} bytes;

static uint8_t *read_set(nt_h5 *file, const char *name, const char *part, int64_t *n)
{
    char path[128];
    nt_h5_set *set;
    snprintf(path, sizeof path, "%s/%s", name, part);
    assert_ok(nt_h5_set_open(&set, file, path, 1 << 20));
    *n = nt_shape_elems(nt_h5_set_info(set)->shape);
    uint8_t *data = malloc((size_t)*n);
    assert_non_null(data);
    assert_ok(nt_h5_set_read(set, 0, nt_h5_set_info(set)->shape.dim[0], NT_U8, data));
    nt_h5_set_close(set);
    return data;
}

static bytes file_of(const char *name)
{
    bytes b;
    int64_t n;
    nt_h5 *file = reference_open("pictures");
    uint8_t *data = read_set(file, name, "file", &n);
    assert_in_range(n, 1, sizeof b.data);
    memcpy(b.data, data, b.n = (size_t)n);
    free(data);
    nt_h5_close(file);
    return b;
}

static nt_status decode(const bytes *b, int channels, nt_picture *picture)
{
    nt_picture_info info;
    *picture = (nt_picture){0};
    NT_TRY(nt_picture_look(&info, "a file", b->data, b->n));
    NT_TRY(nt_picture_decode(picture, &info, "a file", b->data, b->n, channels, true));
    return NT_OK;
}

static bool without_jpeg(void)
{
    bytes b = file_of("jpeg");
    nt_picture picture;
    bool missing = decode(&b, 3, &picture) == NT_ERR_UNAVAILABLE;
    free(picture.pixel);
    nt_error_clear();
    return missing;
}

/* --- pixels --- */

static void check_case(nt_h5 *file, const char *name)
{
    static const struct {
        const char *part;
        int channels;
    } ways[] = {{"rgb", 3}, {"grey", 1}};
    bytes b = file_of(name);
    for (int i = 0; i < 2; i++) {
        int64_t n;
        nt_picture picture;
        uint8_t *want = read_set(file, name, ways[i].part, &n);
        assert_ok(decode(&b, ways[i].channels, &picture));
        assert_int_equal(picture.height * picture.width * picture.channels, n);
        assert_int_equal(picture.height, HEIGHT); /* turned upright, too: see below */
        for (int64_t k = 0; k < n; k++)
            if (picture.pixel[k] != want[k])
                fail_msg("%s, %s: value %lld is %d, not %d", name, ways[i].part, (long long)k,
                         picture.pixel[k], want[k]);
        free(picture.pixel);
        free(want);
    }
}

static void every_kind_equals_pillow(void **state)
{
    (void)state;
    static const char *const names[] = {"png",
                                        "png_palette",
                                        "png_palette_transparent",
                                        "png_alpha",
                                        "png_grey",
                                        "png_grey_alpha",
                                        "png_bits",
                                        "png_16",
                                        "jpeg",
                                        "jpeg_progressive",
                                        "jpeg_grey",
                                        "jpeg_cmyk",
                                        "jpeg_exif_2",
                                        "jpeg_exif_3",
                                        "jpeg_exif_4"};
    nt_h5 *file = reference_open("pictures");
    bool no_jpeg = without_jpeg();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!no_jpeg || strncmp(names[i], "jpeg", 4) != 0) check_case(file, names[i]);
    nt_h5_close(file);
}

/* From 5 on height and width change places. */
static void pictures_are_turned_upright(void **state)
{
    (void)state;
    if (without_jpeg()) skip();
    nt_h5 *file = reference_open("pictures");
    for (int orientation = 5; orientation <= 8; orientation++) {
        char name[32];
        int64_t n;
        nt_picture picture;
        snprintf(name, sizeof name, "jpeg_exif_%d", orientation);
        bytes b = file_of(name);
        uint8_t *want = read_set(file, name, "rgb", &n);
        assert_ok(decode(&b, 3, &picture));
        assert_int_equal(picture.height, WIDTH);
        assert_int_equal(picture.width, HEIGHT);
        assert_memory_equal(picture.pixel, want, (size_t)n);
        free(picture.pixel);
        free(want);
    }
    nt_h5_close(file);
}

/* --- damage --- */

/* Cut at any length: an error, never a picture. */
static void a_cut_file_is_an_error(void **state)
{
    (void)state;
    static const char *const names[] = {"png",  "png_palette",      "png_16",
                                        "jpeg", "jpeg_progressive", "jpeg_cmyk"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bytes b = file_of(names[i]);
        size_t whole = b.n;
        for (b.n = 0; b.n < whole - 2; b.n += b.n < 700 ? 1 : 13) {
            bytes *cut = malloc(sizeof *cut); /* so that a sanitizer sees what is read beyond */
            nt_picture picture;
            cut->n = b.n;
            memcpy(cut->data, b.data, b.n);
            nt_status status = decode(cut, 3, &picture);
            if (status != NT_ERR_DATA && status != NT_ERR_UNAVAILABLE)
                fail_msg("%s cut to %zu bytes: status %d", names[i], b.n, (int)status);
            free(cut);
        }
    }
}

/* Any bit turned: an error or a picture of the right size, nothing else. PNG's sums find all but the bits
 * that do not count. */
static void a_turned_bit_does_no_harm(void **state)
{
    (void)state;
    static const char *const names[] = {"png_palette", "png_grey", "jpeg", "jpeg_exif_6", "jpeg_cmyk"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bytes b = file_of(names[i]);
        for (size_t at = 0; at < b.n; at += at < 400 ? 1 : 7) {
            nt_picture picture;
            uint8_t bit = (uint8_t)(1 << at % 8);
            b.data[at] ^= bit;
            nt_status status = decode(&b, 3, &picture);
            assert_true(status == NT_OK || status == NT_ERR_DATA || status == NT_ERR_UNAVAILABLE);
            if (status == NT_OK) assert_in_range(picture.height * picture.width, 1, NT_PICTURE_MAX_PIXELS);
            free(picture.pixel);
            b.data[at] ^= bit;
        }
    }
}

static void put_be32(uint8_t *dst, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        dst[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Another size in the header, with a sum that is right. */
static bytes png_that_says(uint32_t width, uint32_t height)
{
    bytes b = file_of("png");
    put_be32(b.data + 16, width);
    put_be32(b.data + 20, height);
    put_be32(b.data + 29, (uint32_t)crc32(0, b.data + 12, 17));
    return b;
}

static bytes jpeg_that_says(int width, int height)
{
    bytes b = file_of("jpeg");
    size_t at = 2;
    while (b.data[at + 1] != 0xc0)
        at += 2 + ((size_t)b.data[at + 2] << 8 | b.data[at + 3]);
    b.data[at + 5] = (uint8_t)(height >> 8), b.data[at + 6] = (uint8_t)height;
    b.data[at + 7] = (uint8_t)(width >> 8), b.data[at + 8] = (uint8_t)width;
    return b;
}

static void pictures_that_lie_about_their_size(void **state)
{
    (void)state;
    nt_picture_info info;
    bytes b = png_that_says(60000, 60000);
    assert_fails(nt_picture_look(&info, "big.png", b.data, b.n), NT_ERR_DATA, "big.png", "60000x60000",
                 "67 million");
    b = png_that_says(0x7fffffff, 1);
    assert_fails(nt_picture_look(&info, "long.png", b.data, b.n), NT_ERR_DATA, "long.png", "1x2147483647");
    b = png_that_says(0, 5);
    assert_fails(nt_picture_look(&info, "none.png", b.data, b.n), NT_ERR_DATA, "none.png", "5x0");
    b = jpeg_that_says(60000, 60000);
    assert_fails(nt_picture_look(&info, "big.jpg", b.data, b.n), NT_ERR_DATA, "big.jpg", "60000x60000");
    b = jpeg_that_says(WIDTH, 0);
    assert_fails(nt_picture_look(&info, "flat.jpg", b.data, b.n), NT_ERR_DATA, "flat.jpg", "0x40");
    nt_picture picture; /* below the limit, and not true */
    b = png_that_says(1000, 1000);
    assert_int_equal(decode(&b, 3, &picture), NT_ERR_DATA);
    if (without_jpeg()) return;
    b = jpeg_that_says(1000, 1000);
    assert_fails(decode(&b, 3, &picture), NT_ERR_DATA, "remature end");
}

/* --- folders --- */

static nt_import_args base_args(void)
{
    static const char *input;
    static char path[2][4200];
    snprintf(path[0], sizeof path[0], "%s", in_dir("pics"));
    snprintf(path[1], sizeof path[1], "%s", in_dir("out.h5"));
    input = path[0];
    unlink(path[1]);
    return (nt_import_args){.inputs = &input, .n_inputs = 1, .out = path[1]};
}

static void run(const char *command)
{
    char text[9000];
    snprintf(text, sizeof text, "cd '%s' && %s", test_dir, command);
    if (system(text) != 0) fail_msg("%s", text);
}

static void put_file(const char *name, const char *picture)
{
    char path[4200];
    bytes b = file_of(picture);
    snprintf(path, sizeof path, "%s/%s", in_dir("pics"), name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(b.data, 1, b.n, file), b.n);
    fclose(file);
}

static nt_status import(const nt_import_args *args)
{
    return nt_importer_find("images")->run(args);
}

#define EXPECT_FAILURE(args, status, ...)                                                                    \
    do {                                                                                                     \
        assert_fails(import(args), status, __VA_ARGS__);                                                     \
        assert_int_not_equal(access(in_dir("out.h5"), F_OK), 0);                                             \
        run("! ls | grep -q tmp");                                                                           \
    } while (0)

/* Labels of a part, which must be n; *shape that of the data. */
static void read_labels(const char *part, int64_t n, int32_t *label, nt_shape *shape)
{
    nt_h5 *file;
    nt_h5_set *set;
    char name[64];
    assert_ok(nt_h5_open(&file, in_dir("out.h5")));
    snprintf(name, sizeof name, "/%s/label", part);
    assert_ok(nt_h5_set_open(&set, file, name, 1 << 20));
    assert_int_equal(nt_h5_set_info(set)->shape.dim[0], n);
    assert_ok(nt_h5_set_read(set, 0, n, NT_I32, label));
    nt_h5_set_close(set);
    snprintf(name, sizeof name, "/%s/data", part);
    assert_ok(nt_h5_set_open(&set, file, name, 1 << 24));
    *shape = nt_h5_set_info(set)->shape;
    uint8_t *x = malloc((size_t)nt_shape_elems(*shape));
    assert_ok(nt_h5_set_read(set, 0, n, NT_U8, x)); /* every chunk is sound */
    free(x);
    nt_h5_set_close(set);
    nt_h5_close(file);
}

/* pics/{B, a b, "new\nline"}: blanks, newlines, capital suffixes, other files, links. */
static void make_tree(void)
{
    run("rm -rf pics outside && mkdir -p pics/B/deeper 'pics/a b' \"pics/new\nline\" outside");
    put_file("B/1.png", "png");
    put_file("B/deeper/2 2.PNG", "png_palette");
    put_file("a b/x\ny.png", "png_alpha");
    put_file("new\nline/-x.png", "png_grey");
    run("echo hello > pics/B/notes.txt && echo hello > pics/readme && cp pics/B/1.png pics/B/._1.png");
    run("cp pics/B/1.png outside/3.png && ln -s ../../outside/3.png pics/B/3.png");
    run("ln -s ../outside pics/C && ln -s 1.png pics/B/4.png && ln -s nowhere pics/B/5.png && ln -s . "
        "pics/B/loop");
    run("mkfifo pics/B/6.png");
}

static void odd_trees(void **state)
{
    (void)state;
    int32_t label[8];
    nt_shape shape;
    nt_h5 *file;
    char **names;
    int n;
    bool found;
    nt_import_args args = base_args();
    make_tree();
    assert_ok(import(&args));
    read_labels("train", 5, label, &shape); /* 1, 4 (a link to 1), deeper/2 2; x y; -x */
    assert_memory_equal(label, ((int32_t[]){0, 0, 0, 1, 2}), sizeof label[0] * 5);
    assert_true(
        nt_shape_equal(shape, nt_shape_of(4, (int64_t)5, (int64_t)3, (int64_t)HEIGHT, (int64_t)WIDTH)));
    assert_ok(nt_h5_open(&file, args.out));
    assert_ok(nt_h5_attr_strings(file, "/", "class_names", &names, 8, &n, &found));
    assert_int_equal(n, 3);
    assert_string_equal(names[0], "B");
    assert_string_equal(names[1], "a b");
    assert_string_equal(names[2], "new\nline");
    nt_h5_free_list(names, n);
    nt_h5_close(file);
    args.force = args.follow_links = true; /* C is a class of one, and B has 3.png */
    assert_ok(import(&args));
    read_labels("train", 7, label, &shape);
    assert_memory_equal(label, ((int32_t[]){0, 0, 0, 0, 1, 2, 3}), sizeof label[0] * 7);
}

static void read_pictures(nt_import_args *args, int64_t height, int64_t width, uint8_t *got)
{
    nt_h5 *file;
    nt_h5_set *set;
    args->size[0] = height, args->size[1] = width;
    args->crop = args->force = true;
    assert_ok(import(args));
    assert_ok(nt_h5_open(&file, args->out));
    assert_ok(nt_h5_set_open(&set, file, "/train/data", 1 << 24));
    assert_ok(nt_h5_set_read(set, 0, 1, NT_U8, got));
    nt_h5_set_close(set);
    nt_h5_close(file);
}

/* Of pictures of 24x40, as large as one side allows: nothing is resized, the rest is cut off on both sides
 * alike. */
static void check_middle(int height, int width, int top, int left)
{
    static uint8_t whole[3 * 24 * 40], got[3 * 24 * 40];
    nt_import_args args = base_args();
    read_pictures(&args, 24, 40, whole);
    read_pictures(&args, height, width, got);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                assert_int_equal(got[(c * height + y) * width + x],
                                 whole[(c * 24 + y + top) * 40 + x + left]);
}

/* x of the first sample equals Pillow's resize to within the rounding that it does once more. */
static void sizes(void **state)
{
    (void)state;
    int32_t label[8];
    nt_shape shape;
    nt_import_args args = base_args();
    run("rm -rf pics && mkdir -p pics/a pics/b");
    put_file("a/1.png", "png_palette");
    put_file("b/2.png", "png_palette");
    assert_ok(import(&args));
    read_labels("train", 2, label, &shape);
    args.size[0] = 15, args.size[1] = 17;
    args.force = true;
    assert_ok(import(&args));
    read_labels("train", 2, label, &shape);
    assert_true(nt_shape_equal(shape, nt_shape_of(4, (int64_t)2, (int64_t)3, (int64_t)15, (int64_t)17)));
    nt_h5 *file = reference_open("pictures");
    int64_t n;
    uint8_t *want = read_set(file, "png_palette", "resized", &n), got[2 * 3 * 15 * 17];
    nt_h5_close(file);
    nt_h5_set *set;
    assert_ok(nt_h5_open(&file, args.out));
    assert_ok(nt_h5_set_open(&set, file, "/train/data", 1 << 24));
    assert_ok(nt_h5_set_read(set, 0, 2, NT_U8, got));
    nt_h5_set_close(set);
    nt_h5_close(file);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < 15 * 17; i++)
            assert_in_range(got[c * 15 * 17 + i] - want[3 * i + c] + 1, 0, 2);
    free(want);
    check_middle(24, 24, 0, 8);
    check_middle(12, 40, 6, 0);
    args.crop = true;
    assert_ok(import(&args));
    args.size[0] = args.size[1] = 0;
    args.crop = false;
    args.force = false;
    unlink(args.out);
    if (without_jpeg()) return;
    put_file("b/3.jpg", "jpeg_exif_6");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "b/3.jpg' has 40x24", "a/1.png' has 24x40", "--size");
    args.ignore_exif = true; /* 24x40, as it is stored */
    assert_ok(import(&args));
}

static void greys_are_one_channel(void **state)
{
    (void)state;
    int32_t label[8];
    nt_shape shape;
    nt_import_args args = base_args();
    run("rm -rf pics && mkdir -p pics/a");
    put_file("a/1.png", "png_grey");
    put_file("a/2.png", "png_16");
    args.force = true;
    assert_ok(import(&args));
    read_labels("train", 2, label, &shape);
    assert_int_equal(shape.dim[1], 1);
    args.channels = 3;
    assert_ok(import(&args));
    read_labels("train", 2, label, &shape);
    assert_int_equal(shape.dim[1], 3);
    put_file("a/3.png", "png");
    args.channels = 0;
    assert_ok(import(&args));
    read_labels("train", 3, label, &shape);
    assert_int_equal(shape.dim[1], 3);
    args.channels = 1;
    assert_ok(import(&args));
    read_labels("train", 3, label, &shape);
    assert_int_equal(shape.dim[1], 1);
}

/* --- parts --- */

static void parts_by_folder(void **state)
{
    (void)state;
    int32_t label[8];
    nt_shape shape;
    nt_import_args args = base_args();
    run("rm -rf pics && mkdir -p pics/train/a pics/train/b pics/val/b pics/test/a pics/test/b");
    put_file("train/a/1.png", "png");
    put_file("train/b/1.png", "png");
    put_file("val/b/1.png", "png");
    put_file("test/b/1.png", "png");
    put_file("test/a/1.png", "png");
    assert_ok(import(&args));
    read_labels("train", 2, label, &shape);
    read_labels("valid", 1, label, &shape);
    assert_int_equal(label[0], 1);
    read_labels("test", 2, label, &shape);
    assert_int_equal(label[0], 0);
    unlink(args.out);
    args.test_fraction = 0.5;
    EXPECT_FAILURE(&args, NT_ERR_USAGE, "pics/test", "--test-fraction");
    args.test_fraction = 0;
    run("mkdir pics/test/c && cp pics/test/a/1.png pics/test/c");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "pics/test/c", "does not have");
    run("rm -r pics/test/c && mkdir pics/train/d");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "pics/train/d", "holds no");
    run("rmdir pics/train/d && mkdir pics/training");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "pics/train'", "pics/training'", "same part");
    run("rm -r pics/*");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "pics", "holds no folders");
    run("mkdir -p pics/test/a pics/Val/a");
    put_file("test/a/1.png", "png");
    put_file("Val/a/1.png", "png");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "pics/test' looks like a part to test on", "pics/train'",
                   "another name");
    run("rm -r pics/test");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "pics/Val'", "pics/train'");
    run("mv pics/Val pics/TRAIN"); /* capitals are the same word */
    assert_ok(import(&args));
    read_labels("train", 1, label, &shape);
    unlink(args.out);
    run("rm -r pics/*");
    run("rmdir pics");
    EXPECT_FAILURE(&args, NT_ERR_NO_INPUT, "pics", "No such file");
}

/* The values were computed by another program from the definitions of FNV-1a and fmix64. */
static void a_fraction_by_name(void **state)
{
    (void)state;
    assert_true(nt_name_fraction("") == 0x1.dfa03ec175325p-1);
    assert_true(nt_name_fraction("a/1.png") == 0x1.ef3185f735460p-3);
    assert_true(nt_name_fraction("a/2.png") == 0x1.a7a6699360f48p-1);
    assert_true(nt_name_fraction("\303\274/x y.jpg") == 0x1.9a004127a6790p-2);
    int32_t label[8];
    nt_shape shape;
    nt_import_args args = base_args();
    run("rm -rf pics && mkdir -p pics/a");
    put_file("a/1.png", "png");
    put_file("a/2.png", "png");
    args.test_fraction = 0.25; /* takes a/1.png, wherever the folder lies */
    args.force = true;
    assert_ok(import(&args));
    read_labels("train", 1, label, &shape);
    read_labels("test", 1, label, &shape);
    run("mkdir pics/train && mv pics/a pics/train");
    assert_ok(import(&args));
    read_labels("test", 1, label, &shape);
    unlink(args.out);
    args.test_fraction = 0.9;
    EXPECT_FAILURE(&args, NT_ERR_DATA, "leaves none of 2");
    args.test_fraction = 0.1;
    EXPECT_FAILURE(&args, NT_ERR_DATA, "takes none of 2");
}

/* --- damaged files --- */

static void damaged_files_are_named_or_skipped(void **state)
{
    (void)state;
    int32_t label[128];
    nt_shape shape;
    nt_import_args args = base_args();
    run("rm -rf pics && mkdir -p pics/a pics/b");
    put_file("a/0.png", "png");
    put_file("b/0.png", "png");
    run("for i in $(seq 1 70); do cp pics/a/0.png pics/a/$i.png; done"); /* more than a block */
    run("head -c 100 pics/a/0.png > pics/a/33.png && echo '#!/bin/sh' > pics/a/70.png && : > pics/a/9.png");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "pics/a/70.png", "neither a JPEG nor a PNG", "--skip-bad");
    run("rm pics/a/70.png pics/a/9.png");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "pics/a/33.png' is damaged: the file ends too soon", "--skip-bad");
    run("echo no > pics/a/70.png && : > pics/a/9.png");
    args.skip_bad = true;
    assert_ok(import(&args));
    read_labels("train", 69, label, &shape);
    assert_int_equal(label[67], 0);
    assert_int_equal(label[68], 1);
    unlink(args.out);
    run("for f in pics/*/*.png; do echo no > $f; done");
    EXPECT_FAILURE(&args, NT_ERR_DATA, "none of the 72 pictures");
}

static void command_line_mistakes(void **state)
{
    (void)state;
    nt_import_args args = base_args();
    run("rm -rf pics && mkdir -p pics/a");
    put_file("a/0.png", "png");
    args.crop = true;
    EXPECT_FAILURE(&args, NT_ERR_USAGE, "--crop goes with --size");
    args.crop = false;
    args.channels = 4;
    EXPECT_FAILURE(&args, NT_ERR_USAGE, "--channels is 1 (grey) or 3");
    args.channels = 0;
    args.size[0] = 4, args.size[1] = 1 << 20;
    EXPECT_FAILURE(&args, NT_ERR_USAGE, "--size 4x1048576");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_equals_pillow),
        cmocka_unit_test(pictures_are_turned_upright),
        cmocka_unit_test(a_cut_file_is_an_error),
        cmocka_unit_test(a_turned_bit_does_no_harm),
        cmocka_unit_test(pictures_that_lie_about_their_size),
        cmocka_unit_test(odd_trees),
        cmocka_unit_test(sizes),
        cmocka_unit_test(greys_are_one_channel),
        cmocka_unit_test(parts_by_folder),
        cmocka_unit_test(a_fraction_by_name),
        cmocka_unit_test(damaged_files_are_named_or_skipped),
        cmocka_unit_test(command_line_mistakes),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
