/* The importers, from files made here byte by byte: what comes out equals what went in, gzipped or not; and
 * every damage is an error with file and place that leaves neither output nor temporary file behind. */
#include "core/h5.h"
#include "core/log.h"
#include "datasets/import.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

static char folder[] = "/tmp/nt_import_XXXXXX";

static const char *path_of(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_file(const char *name, const void *bytes, size_t n_bytes, bool gzipped)
{
    if (gzipped) {
        gzFile gz = gzopen(path_of(name), "wb");
        assert_int_equal(gzwrite(gz, bytes, (unsigned)n_bytes), (int)n_bytes);
        gzclose(gz);
        return;
    }
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    fclose(file);
}

static nt_status import(const char *importer, nt_import_args args, const char *input)
{
    const char *inputs[] = {input};
    args.inputs = inputs;
    args.n_inputs = 1;
    args.out = path_of("out.h5");
    args.force = true;
    unlink(args.out);
    return nt_importer_find(importer)->run(&args);
}

/* The error has this status and these words, and nothing is left in the folder but the inputs. */
static void expect_failure(nt_status status, nt_status wanted, const char *words)
{
    assert_int_equal(status, wanted);
    if (!strstr(nt_error_last()->message, words))
        fail_msg("'%s' lacks '%s'", nt_error_last()->message, words);
    assert_int_not_equal(access(path_of("out.h5"), F_OK), 0);
    char command[300];
    snprintf(command, sizeof command, "! ls %s | grep -q tmp", folder);
    assert_int_equal(system(command), 0);
}

static void read_back(const char *set_name, nt_dtype dtype, int64_t n, void *dst)
{
    nt_h5 *file;
    nt_h5_set *set;
    assert_int_equal(nt_h5_open(&file, path_of("out.h5")), NT_OK);
    assert_int_equal(nt_h5_set_open(&set, file, set_name, 1 << 24), NT_OK);
    assert_true(nt_h5_set_info(set)->chunked && nt_h5_set_info(set)->fletcher32);
    assert_int_equal(nt_h5_set_info(set)->shape.dim[0], n);
    assert_int_equal(nt_h5_set_read(set, 0, n, dtype, dst), NT_OK);
    nt_h5_set_close(set);
    nt_h5_close(file);
}

/* --- IDX --- */

#define N_IMAGES 300 /* more than one batch of the reader */
#define PIXELS   (2 * 3)

static void write_idx(const char *images, const char *labels, bool gzipped, int n, int bad_label)
{
    static uint8_t x[16 + N_IMAGES * PIXELS], t[8 + N_IMAGES];
    const uint8_t x_head[16] = {0, 0, 8, 3, 0, 0, (uint8_t)(n >> 8), (uint8_t)n, 0, 0, 0, 2, 0, 0, 0, 3};
    const uint8_t t_head[8] = {0, 0, 8, 1, 0, 0, (uint8_t)(n >> 8), (uint8_t)n};
    memcpy(x, x_head, 16);
    memcpy(t, t_head, 8);
    for (int i = 0; i < n * PIXELS; i++)
        x[16 + i] = (uint8_t)(i * 7);
    for (int i = 0; i < n; i++)
        t[8 + i] = i == bad_label ? 10 : (uint8_t)(i % 10);
    write_file(images, x, 16 + (size_t)(n * PIXELS), gzipped);
    write_file(labels, t, 8 + (size_t)n, gzipped);
}

static void write_mnist(bool gzipped)
{
    const char *end = gzipped ? ".gz" : "";
    char name[4][64];
    snprintf(name[0], 64, "train-images-idx3-ubyte%s", end);
    snprintf(name[1], 64, "train-labels-idx1-ubyte%s", end);
    snprintf(name[2], 64, "t10k-images-idx3-ubyte%s", end);
    snprintf(name[3], 64, "t10k-labels-idx1-ubyte%s", end);
    write_idx(name[0], name[1], gzipped, N_IMAGES, -1);
    write_idx(name[2], name[3], gzipped, 20, -1);
}

static void check_mnist(bool gzipped)
{
    uint8_t x[N_IMAGES * PIXELS];
    int32_t label[N_IMAGES];
    write_mnist(gzipped);
    nt_status status = import("mnist", (nt_import_args){.deflate = 1}, folder);
    if (status != NT_OK) fail_msg("%s", nt_error_last()->message);
    read_back("/train/data", NT_U8, N_IMAGES, x);
    read_back("/train/label", NT_I32, N_IMAGES, label);
    for (int i = 0; i < N_IMAGES * PIXELS; i++)
        assert_int_equal(x[i], (uint8_t)(i * 7));
    for (int i = 0; i < N_IMAGES; i++)
        assert_int_equal(label[i], i % 10);
    read_back("/test/label", NT_I32, 20, label);
}

static void test_mnist_plain_and_gzipped(void **state)
{
    (void)state;
    check_mnist(false);
    check_mnist(true);
}

static void test_mnist_damage(void **state)
{
    (void)state;
    write_mnist(false);
    write_mnist(true);
    write_idx("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", true, N_IMAGES, 299);
    expect_failure(import("mnist", (nt_import_args){0}, folder), NT_ERR_DATA, "label 299 is 10");
    write_mnist(true);
    write_file("t10k-labels-idx1-ubyte.gz", "\0\0\10\3abcdefgh", 12, true);
    expect_failure(import("mnist", (nt_import_args){0}, folder), NT_ERR_DATA, "not an IDX file of labels");
    write_mnist(true);
    assert_int_equal(truncate(path_of("train-images-idx3-ubyte.gz"), 40), 0);
    expect_failure(import("mnist", (nt_import_args){0}, folder), NT_ERR_DATA, "gzip stream ends too soon");
    write_mnist(false);
    unlink(path_of("train-images-idx3-ubyte.gz"));
    assert_int_equal(truncate(path_of("train-images-idx3-ubyte"), 100), 0);
    expect_failure(import("mnist", (nt_import_args){0}, folder), NT_ERR_DATA, "more were expected");
    expect_failure(import("mnist", (nt_import_args){0}, "/nowhere"), NT_ERR_NO_INPUT, "/nowhere");
}

/* --- CIFAR-10 --- */

#define RECORD (1 + 3072)

static void write_cifar(const char *name, int n, int first_label)
{
    uint8_t *bytes = malloc((size_t)n * RECORD);
    for (int i = 0; i < n * RECORD; i++)
        bytes[i] = (uint8_t)(i % RECORD == 0 ? (first_label + i / RECORD) % 10 : i * 13);
    write_file(name, bytes, (size_t)n * RECORD, false);
    free(bytes);
}

static void test_cifar10(void **state)
{
    (void)state;
    static uint8_t x[250 * 3072];
    int32_t label[250];
    char name[32];
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        write_cifar(name, 50, i);
    }
    write_cifar("test_batch.bin", 7, 0);
    nt_status status = import("cifar10", (nt_import_args){0}, folder);
    if (status != NT_OK) fail_msg("%s", nt_error_last()->message);
    read_back("/train/data", NT_U8, 250, x);
    read_back("/train/label", NT_I32, 250, label);
    for (int i = 0; i < 250; i++)
        assert_int_equal(label[i], (i / 50 + 1 + i % 50) % 10);
    for (int k = 0; k < 3072; k++)
        assert_int_equal(x[51 * 3072 + k], (uint8_t)((RECORD + 1 + k) * 13));
    assert_int_equal(truncate(path_of("data_batch_3.bin"), 50 * RECORD - 1), 0);
    expect_failure(import("cifar10", (nt_import_args){0}, folder), NT_ERR_DATA, "multiple of 3073");
}

/* --- CSV --- */

static nt_status import_csv(const char *text, nt_import_args args)
{
    write_file("in.csv", text, strlen(text), false);
    char input[256];
    snprintf(input, sizeof input, "%s", path_of("in.csv"));
    return import("csv", args, input);
}

static void test_csv_classes(void **state)
{
    (void)state;
    uint8_t x[2 * 4];
    int32_t label[2];
    nt_import_args args = {
        .shape = nt_shape_of(3, (int64_t)1, (int64_t)2, (int64_t)2), .test_rows = 1, .header = true};
    assert_int_equal(import_csv("a,b,c,d,y\r\n1,2, 3 ,255,1\n\n5;6;7;8;0\n9,10,11,12,1", args), NT_OK);
    read_back("/train/data", NT_U8, 2, x);
    read_back("/train/label", NT_I32, 2, label);
    assert_memory_equal(x, ((uint8_t[]){1, 2, 3, 255, 5, 6, 7, 8}), 8);
    assert_true(label[0] == 1 && label[1] == 0);
    read_back("/test/data", NT_U8, 1, x);
    assert_memory_equal(x, ((uint8_t[]){9, 10, 11, 12}), 4);
}

static void test_csv_targets_first(void **state)
{
    (void)state;
    float x[2 * 2], target[2 * 2];
    assert_int_equal(
        import_csv("0.5,-1,2.25,3\n1e3,4,-5,6\n", (nt_import_args){.n_targets = 2, .label_first = true}),
        NT_OK);
    read_back("/train/data", NT_F32, 2, x);
    read_back("/train/label", NT_F32, 2, target);
    assert_memory_equal(x, ((float[]){2.25f, 3, -5, 6}), sizeof x);
    assert_memory_equal(target, ((float[]){0.5f, -1, 1000, 4}), sizeof target);
}

static void test_csv_mistakes(void **state)
{
    (void)state;
    const nt_import_args none = {0};
    expect_failure(import_csv("1,x,2\n", none), NT_ERR_DATA,
                   "line 1, column 2: 'x' is not a number; if the first line");
    expect_failure(import_csv("1,2,x\n", (nt_import_args){.n_targets = 1}), NT_ERR_DATA,
                   "line 1, column 3: 'x' is not a number");
    expect_failure(import_csv("1,2,0\n1,,0\n", none), NT_ERR_DATA, "line 2, column 2 is empty");
    expect_failure(import_csv("1,2,0\n1,0\n", none), NT_ERR_DATA, "line 2 has 2 columns");
    expect_failure(import_csv("1,2,0.5\n", none), NT_ERR_DATA, "--targets");
    expect_failure(import_csv("1,2,-1\n", none), NT_ERR_DATA, "label -1");
    expect_failure(import_csv("", none), NT_ERR_DATA, "has no rows");
    expect_failure(import_csv("1,0\n", (nt_import_args){.test_rows = 1}), NT_ERR_DATA,
                   "leave none to train on");
    expect_failure(import_csv("1,2,0\n", (nt_import_args){.shape = nt_shape_of(1, (int64_t)3)}), NT_ERR_USAGE,
                   "--shape 3");
    expect_failure(import_csv("1,nan,0\n", none), NT_ERR_DATA, "'nan' is not a number");
    enum { LONGEST = 1 << 20 };
    char *line = malloc(LONGEST + 8);
    assert_non_null(line);
    memset(line, '1', LONGEST + 4);
    strcpy(line + LONGEST + 4, ",0\n");
    expect_failure(import_csv(line, none), NT_ERR_DATA, "line 1 is longer than 1048576 bytes");
    free(line);
}

/* As a spreadsheet or R writes it: a byte order mark, quotes, names of classes. */
static void test_csv_words(void **state)
{
    (void)state;
    float x[3];
    int32_t label[3];
    const char *text =
        "\xEF\xBB\xBF\"size\",\"kind\"\n\"1.5\",\"setosa\"\n2.5,virginica\n\n3.5, setosa\n4.5;oak \n";
    assert_int_equal(import_csv(text, (nt_import_args){.header = true, .test_rows = 1}), NT_OK);
    read_back("/train/data", NT_F32, 3, x);
    read_back("/train/label", NT_I32, 3, label);
    assert_memory_equal(x, ((float[]){1.5f, 2.5f, 3.5f}), sizeof x);
    assert_memory_equal(label, ((int32_t[]){1, 2, 1}), sizeof label); /* oak, setosa, virginica */
    read_back("/test/label", NT_I32, 1, label);
    assert_int_equal(label[0], 0);
    assert_int_equal(import_csv("\xEF\xBB\xBFred,1.5\nblue,2.5\n", (nt_import_args){.label_first = true}),
                     NT_OK);
    read_back("/train/label", NT_I32, 2, label);
    assert_true(label[0] == 1 && label[1] == 0);
}

static void test_csv_words_mistakes(void **state)
{
    (void)state;
    const nt_import_args none = {0};
    char text[300] = "1,";
    expect_failure(import_csv("1,a\n2,b\n3,7\n", none), NT_ERR_DATA,
                   "line 3: the class is a number, in the lines before it is a word");
    expect_failure(import_csv("1,7\n2,b\n", none), NT_ERR_DATA,
                   "line 2: the class is a word, in the lines before it is a number");
    expect_failure(import_csv("1;2,5;0\n", none), NT_ERR_DATA, "line 1 holds both ',' and ';'");
    expect_failure(import_csv("1,a\n2,\n", none), NT_ERR_DATA, "line 2, column 2 is empty");
    expect_failure(import_csv("1,\xFF\n", none), NT_ERR_DATA,
                   "line 1, column 2: the class's name is not UTF-8");
    memset(text + 2, 'w', 201);
    expect_failure(import_csv(text, none), NT_ERR_DATA, "longer than 200 bytes");
}

/* A first line of numbers and a word, such as 0,1,kind, may be names or a row: a word that comes again is a
 * class. Of a few rows it is only said. */
static void test_csv_forgotten_header(void **state)
{
    (void)state;
    const nt_import_args none = {0}, header = {.header = true}, no_header = {.no_header = true};
    char text[300] = "0,1,kind\n";
    int32_t label[13];
    const int warnings = nt_log_warnings();
    for (int i = 0; i < 9; i++)
        sprintf(text + strlen(text), "%d,2,%s\n", i, i % 2 ? "oak" : "ash");
    assert_int_equal(import_csv(text, none), NT_OK);
    assert_int_equal(nt_log_warnings(), warnings + 1);
    strcat(text, "9,9,oak\n");
    expect_failure(
        import_csv(text, none), NT_ERR_DATA,
        "line 1 is of class 'kind' and no other row is: if it holds names, give --header; if it is "
        "a row, --no-header");
    assert_int_equal(import_csv(text, header), NT_OK);
    read_back("/train/label", NT_I32, 10, label);
    assert_true(label[0] == 0 && label[9] == 1);
    assert_int_equal(import_csv(text, no_header), NT_OK);
    read_back("/train/label", NT_I32, 11, label);
    assert_true(label[0] == 1 && label[10] == 2); /* ash, kind, oak */
    strcat(text, "9,9,kind\n");
    assert_int_equal(import_csv(text, none), NT_OK);
    assert_int_equal(nt_log_warnings(), warnings + 1);
    expect_failure(import_csv("0,1,kind\n1,2,0\n", none), NT_ERR_DATA,
                   "line 2: the class is a number, in the lines before it is a word; if the first line holds "
                   "names, give --header");
    expect_failure(import_csv("1,2,a\n", (nt_import_args){.header = true, .no_header = true}), NT_ERR_USAGE,
                   "--header and --no-header exclude each other");
}

/* A name, or a text, in every row: the class is looked for in the wrong column. */
static void test_csv_too_many_words(void **state)
{
    (void)state;
    enum { N = 65537, LINE = 9 };
    char *text = malloc(N * LINE + 8);
    assert_non_null(text);
    for (int i = 0; i < N; i++)
        sprintf(text + (size_t)i * LINE, "1,w%05d\n", i);
    strcpy(text + (size_t)(N - 1) * LINE, "1,w00007\n"); /* as many as may be, and one of them again */
    assert_int_equal(import_csv(text, (nt_import_args){.no_header = true}), NT_OK);
    sprintf(text + (size_t)(N - 1) * LINE, "1,w%05d\n", N - 1);
    expect_failure(import_csv(text, (nt_import_args){0}), NT_ERR_DATA,
                   "in.csv', line 65537: the last column is taken for the class, and holds more than 65536 "
                   "different words; --label-first takes the first");
    free(text);
}

/* What stands in the place of the output stays, unless it is a file that nobody is reading: root could
 * replace a device by a file. */
static void test_places_for_the_output(void **state)
{
    (void)state;
    char path[256], input[256];
    struct stat info;
    nt_import_args args = {.force = true, .test_fraction = -1, .n_inputs = 1};
    const char *inputs[] = {input};
    write_file("in.csv", "1,2,0\n", 6, false);
    snprintf(input, sizeof input, "%s", path_of("in.csv"));
    args.inputs = inputs;
    snprintf(path, sizeof path, "%s", path_of("place"));
    args.out = path;
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_failure(nt_importer_find("csv")->run(&args), NT_ERR_CREATE, "place' is no regular file");
    assert_true(lstat(path, &info) == 0 && S_ISFIFO(info.st_mode));
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_failure(nt_importer_find("csv")->run(&args), NT_ERR_CREATE, "place' is a folder");
    rmdir(path);
    assert_int_equal(link(input, path), 0);
    expect_failure(nt_importer_find("csv")->run(&args), NT_ERR_CREATE, "would be written over");
    args.out = input;
    expect_failure(nt_importer_find("csv")->run(&args), NT_ERR_CREATE, "from which it is made");
    assert_true(stat(input, &info) == 0 && info.st_size == 6);
    unlink(path);
}

static int n_rows_of(const char *set_name)
{
    nt_h5 *file;
    nt_h5_set *set;
    assert_int_equal(nt_h5_open(&file, path_of("out.h5")), NT_OK);
    assert_int_equal(nt_h5_set_open(&set, file, set_name, 1 << 24), NT_OK);
    int n = (int)nt_h5_set_info(set)->shape.dim[0];
    nt_h5_set_close(set);
    nt_h5_close(file);
    return n;
}

/* Every row goes into one part; about the fraction goes to the test part, and from everywhere. */
static void test_csv_fraction(void **state)
{
    (void)state;
    enum { N = 1000 };
    static char text[N * 16];
    float x[N];
    bool seen[N] = {false};
    int n_late = 0;
    size_t length = 0;
    for (int i = 0; i < N; i++)
        length += (size_t)sprintf(text + length, "%d.5,%d\n", i, i % 3);
    assert_int_equal(import_csv(text, (nt_import_args){.test_fraction = 0.2}), NT_OK);
    const int n[2] = {n_rows_of("/train/data"), n_rows_of("/test/data")};
    assert_int_equal(n[0] + n[1], N);
    assert_in_range(n[1], 160, 240); /* 200, standard deviation 13 */
    for (int part = 0; part < 2; part++) {
        read_back(part ? "/test/data" : "/train/data", NT_F32, n[part], x);
        for (int i = 0; i < n[part]; i++) {
            assert_false(seen[(int)x[i]]);
            seen[(int)x[i]] = true;
            n_late += part && x[i] > N / 2;
        }
    }
    assert_in_range(n_late, n[1] / 2 - 30, n[1] / 2 + 30); /* standard deviation 7 */
    const nt_import_args both = {.test_fraction = 0.2, .test_rows = 3}, few = {.test_fraction = 1e-9},
                         most = {.test_fraction = 0.999999};
    expect_failure(import_csv(text, both), NT_ERR_USAGE, "exclude each other");
    expect_failure(import_csv("1,0\n2,1\n", few), NT_ERR_DATA, "takes none of the 2 rows");
    expect_failure(import_csv("1,0\n", most), NT_ERR_DATA, "leave none");
}

/* What float32 cannot hold would be an infinity in the file, which no command would then read. */
static void test_csv_values_beyond_float32(void **state)
{
    (void)state;
    const nt_import_args none = {0}, targets = {.n_targets = 1};
    float target[2], x[2];
    expect_failure(import_csv("1,2,0\n1,3.5e38,0\n", none), NT_ERR_DATA,
                   "line 2, column 2: '3.5e38' is too large");
    expect_failure(import_csv("1,-1e300,0\n", none), NT_ERR_DATA, "line 1, column 2");
    expect_failure(import_csv("1,2,1e39\n", targets), NT_ERR_DATA, "line 1, column 3");
    assert_int_equal(import_csv("3.4e38,3e38\n-3.4e38,-1e30\n", targets), NT_OK);
    read_back("/train/data", NT_F32, 2, x);
    read_back("/train/label", NT_F32, 2, target);
    assert_memory_equal(x, ((float[]){3.4e38f, -3.4e38f}), sizeof x);
    assert_memory_equal(target, ((float[]){3e38f, -1e30f}), sizeof target);
}

static void test_existing_output_is_kept(void **state)
{
    (void)state;
    const char *inputs[] = {path_of("in.csv")};
    write_file("in.csv", "1,0\n", 4, false);
    write_file("kept.h5", "mine", 4, false);
    nt_import_args args = {.inputs = inputs, .n_inputs = 1, .out = path_of("kept.h5")};
    assert_int_equal(nt_importer_find("csv")->run(&args), NT_ERR_CREATE);
    assert_non_null(strstr(nt_error_last()->message, "--force"));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* A part that is announced larger than it turns out to be: for importers that may not lack samples, an error.
 */
static void test_fewer_samples_than_announced(void **state)
{
    (void)state;
    char out[256];
    snprintf(out, sizeof out, "%s", path_of("out.h5"));
    nt_import_args args = {.out = out, .force = true, .source = "made up"};
    unlink(out);
    const nt_import_format format = {.dtype = NT_U8, .shape = nt_shape_of(1, (int64_t)2), .n_classes = 2};
    for (int n = 1; n <= 3; n++) {
        nt_import_writer *writer;
        assert_int_equal(nt_import_open(&writer, &args, &format), NT_OK);
        assert_int_equal(nt_import_begin(writer, "train", 3), NT_OK);
        assert_int_equal(nt_import_put(writer, n, (uint8_t[]){1, 2, 3, 4, 5, 6}, (int32_t[]){0, 1, 1}),
                         NT_OK);
        if (n < 3)
            expect_failure(nt_import_finish(writer), NT_ERR_DATA, "samples came of the 3 announced");
        else
            assert_int_equal(nt_import_finish(writer), NT_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mnist_plain_and_gzipped),
        cmocka_unit_test(test_mnist_damage),
        cmocka_unit_test(test_cifar10),
        cmocka_unit_test(test_csv_classes),
        cmocka_unit_test(test_csv_targets_first),
        cmocka_unit_test(test_csv_mistakes),
        cmocka_unit_test(test_csv_words),
        cmocka_unit_test(test_csv_words_mistakes),
        cmocka_unit_test(test_csv_forgotten_header),
        cmocka_unit_test(test_csv_too_many_words),
        cmocka_unit_test(test_places_for_the_output),
        cmocka_unit_test(test_csv_fraction),
        cmocka_unit_test(test_csv_values_beyond_float32),
        cmocka_unit_test(test_existing_output_is_kept),
        cmocka_unit_test(test_fewer_samples_than_announced),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
