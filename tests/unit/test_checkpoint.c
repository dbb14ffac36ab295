/* Checkpoints: what is saved comes back bit for bit, and no damage of a file goes unnoticed.
 *
 * Most tests save a few arrays without a net. Damage is done to bytes of real files; the oracle is what was
 * saved: a damaged file must give an error or exactly the same content. Children do the reading where HDF5
 * itself might crash on what it gets. Tests carry the numbers of the faults. */
#include "bundle.h"

#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define FIXTURE "tests/fixtures/checkpoint_v1.h5"

/* --- sound files --- */

static void everything_comes_back_bit_for_bit(void **state)
{
    (void)state;
    const char *dir = new_dir("sound");
    bundle b;
    bool same = false;
    bundle_init(&b, 7);
    b.value[1][0] = -0.0f, b.value[1][1] = 1e-44f, b.value[1][2] = 3.4e38f;
    b.meta.position.best = INFINITY;
    b.meta.position.best_step = -1;
    b.meta.config_text = malloc((size_t)300001); /* larger than HDF5's compact attributes */
    memset(b.meta.config_text, 'x', 300000);
    b.meta.config_text[300000] = '\0';
    b.meta.tuning_text = NULL; /* reads back as "" */
    b.meta.threads = 3;        /* without: fault_29, format 1 as it was first written */
    assert_ok(nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir));
    assert_ok(bundle_compare(&b, file_in(dir, "step_00000007.h5"), &same));
    assert_true(same);
    free(b.meta.config_text);
    size_t n_bytes;
    unsigned char *latest = read_whole(file_in(dir, "latest"), &n_bytes);
    assert_int_equal(n_bytes, 17);
    assert_memory_equal(latest, "step_00000007.h5\n", 17);
    free(latest);
}

static void saving_a_step_again_replaces_it(void **state)
{
    (void)state;
    const char *dir = new_dir("again");
    bundle b;
    bundle_save(7, dir);
    bundle_init(&b, 8);
    b.meta.position.step = 7;
    b.meta.position.best_step = 3;
    assert_ok(nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir));
    bool same = false;
    assert_ok(bundle_compare(&b, file_in(dir, "step_00000007.h5"), &same));
    assert_true(same);
}

/* Without the optimizer's state, only parameters are handed over. */
static void weights_alone_can_be_loaded(void **state)
{
    (void)state;
    const char *dir = new_dir("weights");
    bundle b;
    nt_checkpoint_file file;
    bundle_save(3, dir);
    bundle_init(&b, 9);
    b.arrays.n = 3; /* the three params */
    assert_ok(nt_checkpoint_file_open(&file, file_in(dir, "step_00000003.h5")));
    assert_ok(nt_checkpoint_file_load(&file, &b.arrays, false, false));
    nt_checkpoint_file_close(&file);
    assert_int_equal(b.n_sets, 3);
    bundle want;
    bundle_init(&want, 3);
    assert_memory_equal(b.value, want.value, 3 * sizeof b.value[0]);
}

static void inspect_says_what_is_there(void **state)
{
    (void)state;
    const char *dir = new_dir("inspect");
    char text[4096] = "";
    bundle_save(12, dir);
    FILE *out = fmemopen(text, sizeof text, "w");
    assert_ok(nt_checkpoint_inspect(file_in(dir, "step_00000012.h5"), out));
    fclose(out);
    const char *words[] = {"step 12", "epoch 2",  "params/conv1.weight", "2x1x3x3",
                           "sound",   "format 1", "fedcba9876543210"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(text, words[i])) fail_msg("no '%s' in:\n%s", words[i], text);
}

/* --- damage --- */

enum { FOUND_OUT, SAME, FOOLED }; /* an error; the same content; other content without an error */

static bool same_arrays(nt_checkpoint_file *file, const bundle *b, nt_status *status)
{
    bool same = file->n == b->arrays.n;
    for (int i = 0; same && i < file->n && *status == NT_OK; i++) {
        const nt_array *item = &b->arrays.item[i];
        *status = nt_checkpoint_file_read(file, i);
        same = *status != NT_OK || (strcmp(file->item[i].name, item->name) == 0 &&
                                    nt_shape_equal(file->item[i].shape, item->shape) &&
                                    memcmp(file->scratch, b->value[item->slot],
                                           (size_t)nt_shape_elems(item->shape) * sizeof(float)) == 0);
    }
    return same;
}

/* Reads the whole file at `path`, which is that of *b, perhaps damaged. */
static int judge(const bundle *b, const char *path)
{
    nt_checkpoint_file file;
    nt_status status = nt_checkpoint_file_open(&file, path);
    bool same = false;
    if (status == NT_OK) {
        same = same_arrays(&file, b, &status) && same_meta(&file.meta, &b->meta);
        nt_checkpoint_file_close(&file);
    }
    if (status == NT_OK) return same ? SAME : FOOLED;
    return status == NT_ERR_CHECKPOINT && nt_error_last()->message[0] ? FOUND_OUT : FOOLED;
}

typedef struct tally {
    int64_t n_errors, n_same;
} tally;

/* Flips bits [first, last) of the file at `path`, one at a time, and judges each. Writes the counts to `to`,
 * after each bit the bit's number, so that the parent knows where a crash happened. */
static void flip_bits(const bundle *b, const char *path, int64_t first, int64_t last, const bool *wanted,
                      int to)
{
    int fd = open(path, O_RDWR);
    struct {
        int64_t bit, errors, same, bad;
    } news = {0, 0, 0, -1};
    for (int64_t bit = first; bit < last && news.bad < 0; bit++) {
        unsigned char byte, flipped;
        if (!wanted[bit / 8]) continue;
        news.bit = bit;
        if (pwrite(to, &news, sizeof news, 0) < 0 || pread(fd, &byte, 1, bit / 8) != 1) _exit(3);
        flipped = byte ^ (unsigned char)(1u << bit % 8);
        if (pwrite(fd, &flipped, 1, bit / 8) != 1) _exit(3);
        int verdict = judge(b, path);
        if (pwrite(fd, &byte, 1, bit / 8) != 1) _exit(3);
        news.errors += verdict == FOUND_OUT;
        news.same += verdict == SAME;
        if (verdict == FOOLED) news.bad = bit;
    }
    if (pwrite(to, &news, sizeof news, 0) < 0) _exit(3);
    _exit(0);
}

/* Flips every bit of the wanted bytes, in two children that have a copy of the file each. */
static tally flip_all(const bundle *b, const unsigned char *bytes, size_t n_bytes, const bool *wanted)
{
    enum { CHILDREN = 2 };
    pid_t child[CHILDREN];
    int report[CHILDREN];
    tally sum = {0, 0};
    for (int c = 0; c < CHILDREN; c++) {
        char name[32];
        snprintf(name, sizeof name, "flip%d.h5", c);
        write_whole(in_dir(name), bytes, n_bytes);
        snprintf(name, sizeof name, "report%d", c);
        report[c] = open(in_dir(name), O_RDWR | O_CREAT, 0600);
        assert_true(report[c] >= 0);
        fflush(NULL);
        child[c] = fork();
        assert_true(child[c] >= 0);
        int64_t n = (int64_t)n_bytes * 8, first = n * c / CHILDREN, last = n * (c + 1) / CHILDREN;
        snprintf(name, sizeof name, "flip%d.h5", c);
        if (child[c] == 0) flip_bits(b, in_dir(name), first, last, wanted, report[c]);
    }
    for (int c = 0; c < CHILDREN; c++) {
        int status = 0;
        int64_t news[4] = {-1, 0, 0, -1};
        assert_true(waitpid(child[c], &status, 0) == child[c]);
        assert_int_equal(pread(report[c], news, sizeof news, 0), sizeof news);
        close(report[c]);
        if (!WIFEXITED(status))
            fail_msg("bit %lld: the reader died of signal %d", (long long)news[0], WTERMSIG(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        if (news[3] >= 0) fail_msg("bit %lld: other content came back without an error", (long long)news[3]);
        sum.n_errors += news[1], sum.n_same += news[2];
    }
    return sum;
}

/* Marks the bytes of the arrays' values in the file; they lie there as they are. */
static int64_t mark_data(const bundle *b, const unsigned char *bytes, size_t n_bytes, bool *is_data)
{
    int64_t n_marked = 0;
    for (int i = 0; i < b->arrays.n; i++) {
        size_t n = (size_t)nt_shape_elems(b->item[i].shape) * sizeof(float);
        unsigned char *at = memmem(bytes, n_bytes, b->value[b->item[i].slot], n);
        assert_non_null(at);
        memset(is_data + (at - bytes), 1, n);
        n_marked += (int64_t)n;
    }
    return n_marked;
}

/* Two arrays, so that there are not too many bits. */
static void flip_where(bool data, tally *counts, int64_t *n_bits)
{
    const char *dir = new_dir(data ? "flip_data" : "flip_meta");
    bundle b;
    size_t n_bytes;
    bundle_init(&b, 7);
    b.meta.threads = 3;
    b.item[1] = b.item[4]; /* "state0/fc.weight" */
    b.arrays.n = 2;
    assert_ok(nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir));
    unsigned char *bytes = read_whole(file_in(dir, "step_00000007.h5"), &n_bytes);
    bool *wanted = calloc(n_bytes, 1);
    assert_non_null(wanted);
    int64_t n_data = mark_data(&b, bytes, n_bytes, wanted);
    for (size_t i = 0; !data && i < n_bytes; i++)
        wanted[i] = !wanted[i];
    *n_bits = 8 * (data ? n_data : (int64_t)n_bytes - n_data);
    *counts = flip_all(&b, bytes, n_bytes, wanted);
    assert_int_equal(counts->n_errors + counts->n_same, *n_bits);
    free(wanted);
    free(bytes);
}

/* Bits that nobody reads (gaps in HDF5's structures) may give the same content; nothing else may. */
static void fault_22_every_metadata_bit_flip(void **state)
{
    (void)state;
    tally counts;
    int64_t n_bits;
    flip_where(false, &counts, &n_bits);
    print_message("%lld bits: %lld errors, %lld the same content\n", (long long)n_bits,
                  (long long)counts.n_errors, (long long)counts.n_same);
    assert_true(counts.n_errors > n_bits / 4);
}

static void fault_23_every_data_bit_flip(void **state)
{
    (void)state;
    tally counts;
    int64_t n_bits;
    flip_where(true, &counts, &n_bits);
    assert_int_equal(counts.n_errors, n_bits);
}

/* Reads the file at `path` in a child; the child's verdict as of judge. */
static int judge_in_child(const bundle *b, const char *path)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) _exit(judge(b, path));
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static void fault_20_empty_file(void **state)
{
    (void)state;
    bundle b;
    bool same;
    bundle_init(&b, 1);
    write_whole(in_dir("empty.h5"), "", 0);
    assert_fails(bundle_compare(&b, in_dir("empty.h5"), &same), NT_ERR_CHECKPOINT, "empty.h5", "is empty");
}

static void fault_21_truncated_at_every_97th_byte(void **state)
{
    (void)state;
    const char *dir = new_dir("cut");
    bundle b;
    size_t n_bytes;
    bundle_init(&b, 7);
    bundle_save(7, dir);
    unsigned char *bytes = read_whole(file_in(dir, "step_00000007.h5"), &n_bytes);
    for (size_t n = 0; n < n_bytes; n += 97) {
        write_whole(in_dir("cut.h5"), bytes, n);
        int verdict = judge_in_child(&b, in_dir("cut.h5"));
        if (verdict != FOUND_OUT) fail_msg("cut at %zu of %zu: verdict %d", n, n_bytes, verdict);
    }
    free(bytes);
}

static void fault_24_random_garbage(void **state)
{
    (void)state;
    const char *dir = new_dir("garbage");
    bundle b;
    size_t n_bytes;
    unsigned state_of_random = 1;
    bundle_init(&b, 7);
    bundle_save(7, dir);
    unsigned char *bytes = read_whole(file_in(dir, "step_00000007.h5"), &n_bytes), *copy = malloc(n_bytes);
    assert_non_null(copy);
    for (int i = 0; i < 100; i++) { /* the first ten all garbage, then with HDF5's beginning */
        memcpy(copy, bytes, n_bytes);
        for (size_t j = i < 10 ? 0 : 48 + 13 * (size_t)i; j < n_bytes; j++)
            copy[j] = (unsigned char)rand_r(&state_of_random);
        write_whole(in_dir("garbage.h5"), copy, n_bytes);
        int verdict = judge_in_child(&b, in_dir("garbage.h5"));
        if (verdict != FOUND_OUT) fail_msg("garbage %d: verdict %d", i, verdict);
    }
    free(bytes), free(copy);
}

static void fault_25_another_programs_file(void **state)
{
    (void)state;
    nt_h5 *h5;
    nt_h5_set *set;
    const float values[2] = {1, 2};
    assert_ok(nt_h5_create(&h5, in_dir("foreign.h5")));
    assert_ok(nt_h5_set_create(&set, h5, "params/conv1.bias", NT_F32, nt_shape_of(1, (int64_t)2), 4, 0));
    assert_ok(nt_h5_set_write(set, 0, 2, values));
    nt_h5_set_close(set);
    assert_ok(nt_h5_finish(h5));
    bundle b;
    bool same;
    bundle_init(&b, 1);
    assert_fails(bundle_compare(&b, in_dir("foreign.h5"), &same), NT_ERR_CHECKPOINT, "foreign.h5",
                 "no checkpoint of nntrain");
}

/* --- sound, but for another model --- */

static void check_unfit(bundle *b, const char *path, const char *word, const char *word2)
{
    bool same;
    assert_fails(bundle_compare(b, path, &same), NT_ERR_CONFIG, path, word, word2);
}

/* Loads the bundle's file into arrays that differ in one thing. */
static void fault_26_another_model(void **state)
{
    (void)state;
    const char *dir = new_dir("model");
    nt_checkpoint_file file;
    bundle b;
    bundle_save(4, dir);
    assert_ok(nt_checkpoint_file_open(&file, file_in(dir, "step_00000004.h5")));
    bundle_init(&b, 4);
    b.item[2].shape.dim[0] = 6;
    assert_fails(nt_checkpoint_file_load(&file, &b.arrays, true, false), NT_ERR_CONFIG, "layer fc", "weight",
                 "6x4 in this model", "3x4 in the checkpoint");
    bundle_init(&b, 4);
    memcpy(b.item[0].name, "params/conv0.bias", 18);
    assert_fails(nt_checkpoint_file_load(&file, &b.arrays, true, false), NT_ERR_CONFIG, "layer conv0",
                 "2 in this model", "not in the checkpoint");
    bundle_init(&b, 4);
    memcpy(b.item[2].name, "params/fd.weight", 17);
    assert_fails(nt_checkpoint_file_load(&file, &b.arrays, true, false), NT_ERR_CONFIG, "layer fc",
                 "3x4 in the checkpoint", "not in this model");
    bundle_init(&b, 4);
    b.arrays.n = 4;
    assert_fails(nt_checkpoint_file_load(&file, &b.arrays, true, false), NT_ERR_CONFIG, "layer fc",
                 "optimizer state");
    assert_int_equal(b.n_sets, 0); /* nothing was touched */
    nt_checkpoint_file_close(&file);
}

/* Writes a file whose root digest is right, after `spoil` had its way with it. */
static void write_spoiled(const char *path, void (*spoil)(bundle *b, nt_h5 *h5), int64_t version)
{
    bundle b;
    nt_h5 *h5;
    char hex[33];
    bundle_init(&b, 5);
    unlink(path);
    assert_ok(nt_h5_create(&h5, path));
    spoil(&b, h5);
    nt_digest_text(nt_checkpoint_meta_digest(&b.meta, version, "0.1.0", nt_arrays_digest(b.item, b.arrays.n)),
                   hex);
    assert_ok(nt_h5_put_int(h5, "/", "checkpoint_version", version));
    assert_ok(nt_h5_put_string(h5, "/", "nntrain_version", "0.1.0"));
    assert_ok(nt_checkpoint_meta_put(&b.meta, h5));
    assert_ok(nt_h5_put_string(h5, "/", "digest", hex));
    assert_ok(nt_h5_finish(h5));
}

static void put_array(nt_h5 *h5, nt_array *item, nt_dtype dtype, const void *values, const float *digest_of)
{
    nt_h5_set *set;
    char hex[33];
    assert_ok(nt_h5_set_create(&set, h5, item->name, dtype, item->shape, 100, 0));
    assert_ok(nt_h5_set_write(set, 0, item->shape.dim[0], values));
    nt_h5_set_close(set);
    item->digest = nt_array_digest(item, digest_of);
    nt_digest_text(item->digest, hex);
    assert_ok(nt_h5_put_string(h5, item->name, "xxh3_128", hex));
}

static void put_first_arrays(bundle *b, nt_h5 *h5, int n)
{
    for (int i = 0; i < n; i++)
        put_array(h5, &b->item[i], NT_F32, b->value[i], b->value[i]);
    b->arrays.n = n;
}

static void spoil_nothing(bundle *b, nt_h5 *h5)
{
    put_first_arrays(b, h5, BUNDLE_ARRAYS);
}

static void spoil_dtype(bundle *b, nt_h5 *h5)
{
    double values[2];
    for (int i = 0; i < 2; i++)
        values[i] = (double)b->value[0][i];
    put_array(h5, &b->item[0], NT_F64, values, b->value[0]);
    b->arrays.n = 1;
}

static void spoil_state(bundle *b, nt_h5 *h5)
{
    put_first_arrays(b, h5, 3);
}

static void spoil_nan(bundle *b, nt_h5 *h5)
{
    b->value[1][13] = NAN;
    put_first_arrays(b, h5, BUNDLE_ARRAYS);
}

static void spoil_inf(bundle *b, nt_h5 *h5)
{
    b->value[4][0] = -INFINITY;
    put_first_arrays(b, h5, BUNDLE_ARRAYS);
}

static void spoil_step(bundle *b, nt_h5 *h5)
{
    b->meta.position.epoch = -3;
    put_first_arrays(b, h5, BUNDLE_ARRAYS);
}

static void fault_27_another_dtype(void **state)
{
    (void)state;
    bundle b;
    bool same;
    bundle_init(&b, 5);
    write_spoiled(in_dir("dtype.h5"), spoil_dtype, 1);
    assert_fails(bundle_compare(&b, in_dir("dtype.h5"), &same), NT_ERR_CHECKPOINT, "dtype.h5",
                 "params/conv1.bias", "float32");
}

static void fault_28_newer_format_is_refused(void **state)
{
    (void)state;
    bundle b;
    bool same = false;
    bundle_init(&b, 5);
    write_spoiled(in_dir("newer.h5"), spoil_nothing, 2);
    assert_fails(bundle_compare(&b, in_dir("newer.h5"), &same), NT_ERR_CHECKPOINT, "newer.h5", "format 2",
                 "up to 1", "newer");
    write_spoiled(in_dir("same.h5"), spoil_nothing, 1); /* the way it was made is not what is refused */
    assert_ok(bundle_compare(&b, in_dir("same.h5"), &same));
    assert_true(same);
}

/* A file written when format 1 was new, kept for ever: the bundle of seed 7, which knew samples, but not
 * answers. */
static void fault_29_format_1_is_read(void **state)
{
    (void)state;
    bundle b;
    bool same = false;
    bundle_init(&b, 7);
    b.meta.position.epoch_sum.answers = 0;
    b.meta.position.epoch_sum.nats = 0;
    assert_ok(bundle_compare(&b, FIXTURE, &same));
    assert_true(same);
}

static void fault_38_nan_in_stored_weights(void **state)
{
    (void)state;
    bundle b;
    bool same;
    bundle_init(&b, 5);
    write_spoiled(in_dir("nan.h5"), spoil_nan, 1);
    assert_fails(bundle_compare(&b, in_dir("nan.h5"), &same), NT_ERR_CHECKPOINT, "nan.h5",
                 "params/conv1.weight", "nan", "element 13");
    write_spoiled(in_dir("inf.h5"), spoil_inf, 1);
    assert_fails(bundle_compare(&b, in_dir("inf.h5"), &same), NT_ERR_CHECKPOINT, "state0/fc.weight", "-inf",
                 "element 0");
}

/* And none is written: it would push the good ones out. */
static void fault_38_nan_is_never_saved(void **state)
{
    (void)state;
    const char *dir = new_dir("nan");
    bundle b;
    bundle_save(1, dir);
    bundle_init(&b, 2);
    b.value[2][4] = NAN;
    assert_fails(nt_checkpoint_save_arrays(&b.arrays, &b.meta, dir), NT_ERR_NAN, "params/fc.weight", "nan",
                 "element 4");
    assert_true(access(file_in(dir, "step_00000002.h5"), F_OK) != 0);
    check_found(dir, 1, 1);
}

static void fault_39_optimizer_state_missing(void **state)
{
    (void)state;
    bundle b;
    nt_checkpoint_file file;
    bundle_init(&b, 5);
    write_spoiled(in_dir("state.h5"), spoil_state, 1);
    check_unfit(&b, in_dir("state.h5"), "no optimizer state", "weights alone");
    b.arrays.n = 3;
    assert_ok(nt_checkpoint_file_open(&file, in_dir("state.h5")));
    assert_ok(nt_checkpoint_file_load(&file, &b.arrays, false, false));
    nt_checkpoint_file_close(&file);
}

static void fault_40_impossible_counters(void **state)
{
    (void)state;
    bundle b;
    bool same;
    bundle_init(&b, 5);
    write_spoiled(in_dir("step.h5"), spoil_step, 1);
    assert_fails(bundle_compare(&b, in_dir("step.h5"), &same), NT_ERR_CHECKPOINT, "step.h5", "epoch -3");
}

/* --- folders --- */

/* Turns one bit in the middle of the values of params/fc.weight. */
static void damage(const char *path, int seed)
{
    bundle b;
    size_t n_bytes;
    bundle_init(&b, seed);
    unsigned char *bytes = read_whole(path, &n_bytes),
                  *at = memmem(bytes, n_bytes, b.value[2], 12 * sizeof(float));
    assert_non_null(at);
    at[30] ^= 4;
    write_whole(path, bytes, n_bytes);
    free(bytes);
}

static void nothing_to_resume_from(void **state)
{
    (void)state;
    char path[4200];
    bool found = true;
    assert_ok(nt_checkpoint_find(in_dir("no_such_folder"), path, sizeof path, &found));
    assert_false(found);
    found = true;
    assert_ok(nt_checkpoint_find(new_dir("nothing"), path, sizeof path, &found));
    assert_false(found);
}

static void fault_34_newest_damaged_falls_back(void **state)
{
    (void)state;
    const char *dir = new_dir("fallback");
    for (int step = 10; step <= 30; step += 10)
        bundle_save(step, dir);
    int before = nt_log_warnings();
    assert_int_equal(check_found(dir, 30, 30), 30);
    assert_int_equal(nt_log_warnings(), before);
    damage(file_in(dir, "step_00000030.h5"), 30);
    assert_int_equal(check_found(dir, 20, 20), 20);
    assert_int_equal(nt_log_warnings(), before + 2); /* what is wrong, and the fall-back */
    assert_int_equal(truncate(file_in(dir, "step_00000020.h5"), 1000), 0);
    assert_int_equal(check_found(dir, 10, 10), 10);
}

static void fault_35_all_damaged_is_an_error(void **state)
{
    (void)state;
    const char *dir = new_dir("all_bad");
    char path[4200];
    bool found;
    bundle_save(1, dir);
    bundle_save(2, dir);
    damage(file_in(dir, "step_00000001.h5"), 1);
    damage(file_in(dir, "step_00000002.h5"), 2);
    assert_fails(nt_checkpoint_find(dir, path, sizeof path, &found), NT_ERR_CHECKPOINT,
                 "none of the 2 checkpoints", "all_bad");
    assert_false(found);
    unlink(file_in(dir, "step_00000001.h5")), unlink(file_in(dir, "step_00000002.h5"));
    assert_fails(nt_checkpoint_find(dir, path, sizeof path, &found), NT_ERR_CHECKPOINT,
                 "latest"); /* but nothing to it */
}

/* Writes `latest` and expects step `want`, with a warning if `bad`. */
static void check_latest(const char *dir, const void *text, size_t n_bytes, int want, bool bad)
{
    int before = nt_log_warnings();
    unlink(file_in(dir, "latest"));
    write_whole(file_in(dir, "latest"), text, n_bytes);
    errno = ENOENT; /* of some call before */
    check_found(dir, want, want);
    assert_int_equal(nt_log_warnings() > before, bad);
}

static void fault_36_latest_that_lies(void **state)
{
    (void)state;
    const char *dir = new_dir("liar");
    bundle_save(1, dir);
    bundle_save(2, dir);
    bundle_save(3, in_dir(""));                            /* outside */
    check_latest(dir, "step_00000001.h5\n", 17, 1, false); /* it is believed where it may be */
    check_latest(dir, "step_00000001.h5", 16, 1, false);
    const char *lies[] = {"step_00000009.h5\n",
                          "../step_00000003.h5\n",
                          "/etc/passwd\n",
                          "",
                          "\n",
                          "step_1.h5\n",
                          "step_00000001.h5 \n",
                          "step_-0000001.h5\n",
                          "step_99999999999999999999.h5\n",
                          "latest\n",
                          "step_00000001.h5\nstep_00000002.h5\n"};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        check_latest(dir, lies[i], strlen(lies[i]), 2, true);
    check_latest(dir, "step_00000001.h5\0\n", 18, 2, true);
    char *big = calloc(1, 1 << 20);
    assert_non_null(big);
    memset(big, 's', 1 << 20);
    check_latest(dir, big, 1 << 20, 2, true);
    free(big);
    unlink(file_in(dir, "latest"));
    write_whole(in_dir("outside"), "step_00000001.h5\n", 17);
    assert_int_equal(symlink(in_dir("outside"), file_in(dir, "latest")), 0);
    int before = nt_log_warnings();
    check_found(dir, 2, 2);
    assert_true(nt_log_warnings() > before);
    unlink(file_in(dir, "latest"));
    assert_int_equal(mkfifo(file_in(dir, "latest"), 0600), 0);
    alarm(20); /* a FIFO would wait for ever */
    check_found(dir, 2, 2);
    alarm(0);
}

/* Only regular files with exactly our names count. */
static void other_things_in_the_folder_are_not_checkpoints(void **state)
{
    (void)state;
    const char *dir = new_dir("others");
    bundle_save(5, dir);
    write_whole(file_in(dir, "step_6.h5"), "x", 1);
    write_whole(file_in(dir, "step_00000007.h5.bak"), "x", 1);
    assert_int_equal(mkdir(file_in(dir, "step_00000008.h5"), 0777), 0);
    assert_int_equal(symlink("step_00000005.h5", file_in(dir, "step_00000009.h5")), 0);
    unlink(file_in(dir, "latest"));
    check_found(dir, 5, 5);
}

static bool is_there(const char *dir, int step)
{
    char name[64];
    snprintf(name, sizeof name, "step_%08d.h5", step);
    return access(file_in(dir, name), F_OK) == 0;
}

static void fault_16_pruning_spares_latest_and_best(void **state)
{
    (void)state;
    const char *dir = new_dir("prune");
    for (int step = 1; step <= 7; step++)
        bundle_save(step, dir);
    write_whole(file_in(dir, "step_2.h5"), "not ours", 8);
    write_whole(file_in(dir, "latest"), "step_00000001.h5\n", 17);
    assert_ok(nt_checkpoint_prune(dir, 2, 4));
    for (int step = 1; step <= 7; step++)
        assert_int_equal(is_there(dir, step), step == 1 || step == 4 || step == 6 || step == 7);
    assert_true(access(file_in(dir, "step_2.h5"), F_OK) == 0);
    write_whole(file_in(dir, "latest"), "step_00000007.h5\n", 17);
    assert_ok(nt_checkpoint_prune(dir, 1, -1));
    for (int step = 1; step <= 7; step++)
        assert_int_equal(is_there(dir, step), step == 7);
    check_found(dir, 7, 7);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "fixture") == 0) { /* how tests/fixtures/checkpoint_v1.h5 was made */
        bundle b;
        bundle_init(&b, 7);
        return nt_checkpoint_write_file(argv[2], &b.arrays, &b.meta);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back_bit_for_bit),
        cmocka_unit_test(saving_a_step_again_replaces_it),
        cmocka_unit_test(weights_alone_can_be_loaded),
        cmocka_unit_test(inspect_says_what_is_there),
        cmocka_unit_test(fault_16_pruning_spares_latest_and_best),
        cmocka_unit_test(fault_20_empty_file),
        cmocka_unit_test(fault_21_truncated_at_every_97th_byte),
        cmocka_unit_test(fault_22_every_metadata_bit_flip),
        cmocka_unit_test(fault_23_every_data_bit_flip),
        cmocka_unit_test(fault_24_random_garbage),
        cmocka_unit_test(fault_25_another_programs_file),
        cmocka_unit_test(fault_26_another_model),
        cmocka_unit_test(fault_27_another_dtype),
        cmocka_unit_test(fault_28_newer_format_is_refused),
        cmocka_unit_test(fault_29_format_1_is_read),
        cmocka_unit_test(fault_34_newest_damaged_falls_back),
        cmocka_unit_test(fault_35_all_damaged_is_an_error),
        cmocka_unit_test(fault_36_latest_that_lies),
        cmocka_unit_test(fault_38_nan_in_stored_weights),
        cmocka_unit_test(fault_38_nan_is_never_saved),
        cmocka_unit_test(fault_39_optimizer_state_missing),
        cmocka_unit_test(fault_40_impossible_counters),
        cmocka_unit_test(nothing_to_resume_from),
        cmocka_unit_test(other_things_in_the_folder_are_not_checkpoints),
    };
    return cmocka_run_group_tests(tests, make_test_dir, remove_test_dir);
}
