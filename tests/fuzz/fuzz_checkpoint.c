/* The checkpoint reader, beyond what libhdf5 checks itself: files made by libhdf5 whose attributes have the
 * wrong type, value or length, and whose arrays have odd names and shapes. (Bytes of real checkpoints are
 * flipped in tests/unit/test_checkpoint_faults.c.) The first byte chooses between a whole checkpoint with the
 * input's texts and numbers and one of odd parts; texts end at NUL. Whatever is in a file, reading ends well.
 */
#include "fuzz.h"

#include "core/backend.h"
#include "core/checkpoint_private.h"
#include "launcher/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The bytes that are left. */
typedef struct input {
    const uint8_t *at;
    size_t n;
} input;

static int64_t take_int(input *in)
{
    int64_t value = 0;
    size_t n = in->n < 8 ? in->n : 8;
    memcpy(&value, in->at, n);
    in->at += n;
    in->n -= n;
    return value;
}

/* malloc'ed, up to the next NUL. */
static char *take_text(input *in)
{
    size_t n = strnlen((const char *)in->at, in->n);
    char *text = strndup((const char *)in->at, n);
    if (!text) abort();
    in->at += n + (n < in->n);
    in->n -= n + (n < in->n);
    return text;
}

static nt_status get_value(void *arg, const nt_array *array, float *values)
{
    for (int64_t i = 0; i < nt_shape_elems(array->shape); i++)
        values[i] = *(const float *)arg + (float)i;
    return NT_OK;
}

/* A checkpoint with the input's texts and numbers, all digests right. */
static void write_whole(const char *path, input *in)
{
    float first = 0.5f;
    nt_array item[2] = {{.name = "params/a.weight", .shape = nt_shape_of(1, (int64_t)3)},
                        {.name = "state0/a.weight", .shape = nt_shape_of(1, (int64_t)3)}};
    nt_arrays arrays = {2, item, &first, get_value, NULL};
    nt_checkpoint_meta meta = {0};
    meta.position.step = take_int(in);
    meta.position.epoch = take_int(in);
    meta.position.batch = take_int(in);
    meta.position.best_step = take_int(in);
    meta.config_text = take_text(in);
    meta.tuning_text = take_text(in);
    meta.backend = take_text(in);
    meta.optimizer = take_text(in);
    if (nt_checkpoint_write_file(path, &arrays, &meta) == NT_OK) {
        nt_checkpoint_meta read;
        if (nt_checkpoint_read_meta(path, &read) == NT_OK) nt_checkpoint_meta_free(&read);
    }
    nt_error_clear();
    nt_checkpoint_meta_free(&meta);
}

static const char *const attribute[] = {"nntrain_checkpoint",
                                        "format_version",
                                        "version",
                                        "nntrain_version",
                                        "step",
                                        "epoch",
                                        "batch",
                                        "best_loss",
                                        "best_step",
                                        "epoch_loss",
                                        "digest",
                                        "epoch_loss_squared",
                                        "epoch_correct",
                                        "epoch_samples",
                                        "config",
                                        "config_hash",
                                        "tuning",
                                        "backend",
                                        "n_ranks",
                                        "optimizer",
                                        "threads"};

/* Attributes of any type under the names that the reader looks for, as far as the input goes. */
static nt_status write_attributes(nt_h5 *h5, input *in)
{
    const double numbers[3] = {1, 2, 3};
    for (size_t i = 0; i < sizeof attribute / sizeof *attribute && in->n > 0; i++) {
        int kind = *in->at % 5;
        in->at++;
        in->n--;
        char *text = kind == 2 ? take_text(in) : NULL;
        nt_status status = NT_OK;
        if (kind == 1) status = nt_h5_put_int(h5, "/", attribute[i], take_int(in));
        if (kind == 2) status = nt_h5_put_string(h5, "/", attribute[i], text);
        if (kind >= 3) status = nt_h5_put_floats(h5, "/", attribute[i], numbers, kind == 3 ? 1 : 3);
        free(text);
        if (status != NT_OK) return status;
    }
    return NT_OK;
}

static nt_status write_arrays(nt_h5 *h5, input *in)
{
    const float values[6] = {1, 2, 3, 4, 5, 6};
    for (int i = 0; i < 3 && in->n > 2; i++) {
        char name[64];
        nt_h5_set *set;
        char *text = take_text(in);
        snprintf(name, sizeof name, "%s/%s", i % 2 ? "state0" : "params", text);
        free(text);
        nt_status status = nt_h5_set_create(&set, h5, name, i == 2 ? NT_I32 : NT_F32,
                                            nt_shape_of(2, (int64_t)2, (int64_t)3), 2, 0);
        if (status != NT_OK) return status;
        status = nt_h5_set_write(set, 0, 2, values);
        nt_h5_set_close(set);
        if (status != NT_OK) return status;
    }
    return NT_OK;
}

static void write_odd(const char *path, input *in)
{
    nt_h5 *h5 = NULL;
    if (nt_h5_create(&h5, path) != NT_OK) abort();
    nt_status status = write_attributes(h5, in);
    if (status == NT_OK) status = write_arrays(h5, in);
    if (status != NT_OK) nt_error_clear();
    if (nt_h5_finish(h5) != NT_OK) nt_error_clear();
}

static void read_back(const char *path)
{
    FILE *null = fopen("/dev/null", "w");
    nt_checkpoint_meta meta;
    nt_config *config = NULL;
    nt_tuning *tuning = NULL;
    if (!null) abort();
    if (nt_checkpoint_inspect(path, null) != NT_OK) nt_error_clear();
    fclose(null);
    if (nt_checkpoint_read_meta(path, &meta) != NT_OK) {
        nt_error_clear();
        return;
    }
    if (nt_config_parse(&config, path, meta.config_text, strlen(meta.config_text), NULL, 0,
                        nt_all_sections) == NT_OK)
        nt_config_destroy(config);
    if (nt_tuning_create(&tuning, false) != NT_OK) abort();
    if (nt_tuning_parse(tuning, meta.tuning_text) != NT_OK) nt_error_clear();
    nt_tuning_destroy(tuning);
    nt_checkpoint_meta_free(&meta);
    nt_error_clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    if (n_bytes < 2) return 0;
    const char *path = fuzz_path("step_00000001.h5");
    input in = {bytes + 1, n_bytes - 1};
    (void)remove(path);
    if (bytes[0] & 1)
        write_whole(path, &in);
    else
        write_odd(path, &in);
    read_back(path);
    return 0;
}
