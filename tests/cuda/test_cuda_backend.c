/* The cuda backend without its operations: memory, batches on their way, results on their way back, recorded
 * work. Runs on the emulator and on a real device.
 *
 * What is hard to get right here is order: a batch must be read before its memory is used again, and arrive
 * before it is used. So the tests overwrite host memory as soon as they may. */
#include "core/backends/cuda/cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static nt_backend *make(bool graph)
{
    nt_backend *backend = NULL;
    nt_backend_options options = {.threads = 1, .graph = graph};
    nt_status status = nt_backend_create(&backend, "cuda", &options);
    if (status != NT_OK) fail_msg("%s", nt_error_last()->message);
    return backend;
}

#define OK(call) assert_int_equal((call), NT_OK)

static void memory_is_zero_and_keeps(void **state)
{
    (void)state;
    enum { N = 100003 };
    nt_backend *b = make(false);
    char *device = NULL, *host = malloc(N), *back = malloc(N);
    size_t free_bytes, total;
    assert_non_null(host);
    assert_non_null(back);
    OK(nt_backend_alloc(b, (void **)&device, N));
    OK(nt_backend_download(b, back, device, N));
    for (int i = 0; i < N; i++)
        assert_int_equal(back[i], 0);
    for (int i = 0; i < N; i++)
        host[i] = (char)(i * 7);
    OK(nt_backend_upload(b, device, host, N));
    memset(host, 1, N); /* upload has read it */
    OK(nt_backend_zero(b, device + 5, 3));
    OK(nt_backend_download(b, back, device, N));
    for (int i = 0; i < N; i++)
        assert_int_equal(back[i], i >= 5 && i < 8 ? 0 : (char)(i * 7));
    OK(nt_backend_memory(b, &free_bytes, &total));
    assert_true(free_bytes < total);
    assert_true(strlen(b->device_name) > 0 && strncmp(b->device_id, "GPU-", 4) == 0);
    nt_backend_free(b, device, N);
    nt_backend_destroy(b);
    free(host);
    free(back);
}

/* Batches of 64 Ki numbers, so that a copy takes a while; of each, the last 16 come back. */
enum { N_NUMBERS = 64 * 1024, N_SAMPLES = 16, N_BATCHES = 40 };

static void send_batch(nt_backend *b, nt_tensor *x, nt_tensor *label, int32_t *host, int k)
{
    int64_t sample[N_SAMPLES];
    nt_pass pass = {.scale = k, .seed = 7, .epoch = k, .sample = sample};
    for (int i = 0; i < N_NUMBERS; i++)
        host[i] = k * N_NUMBERS + i;
    for (int i = 0; i < N_SAMPLES; i++)
        sample[i] = 1000 * k + i;
    OK(nt_backend_stage(b, x, host));
    memset(host, 0xff, N_NUMBERS * sizeof *host); /* ours again */
    OK(nt_backend_stage(b, label, host));
    OK(nt_backend_begin_pass(b, &pass, N_SAMPLES));
    memset(sample, 0, sizeof sample);
}

/* Batches in memory that the device copies from by itself: nothing is copied on the way, so they may be
 * written again only after unstage; two pieces of each, the second at an odd place. */
static void pinned_batches_are_read_in_place(void **state)
{
    (void)state;
    enum { FIRST = N_NUMBERS / 2 + 1, SECOND = N_NUMBERS - FIRST };
    nt_backend *b = make(false);
    nt_tensor x = nt_tensor_plain(NT_I32, nt_shape_of(1, FIRST));
    int32_t *host = NULL, got[2];
    OK(nt_backend_alloc_input(b, &x.data, x.n_bytes, N_SAMPLES));
    OK(nt_backend_alloc_host(b, (void **)&host, N_NUMBERS * sizeof *host));
    for (int k = 0; k < N_BATCHES; k++) {
        nt_tensor rest = nt_tensor_plain(NT_I32, nt_shape_of(1, SECOND));
        rest.data = x.data;
        for (int i = 0; i < N_NUMBERS; i++)
            host[i] = k * N_NUMBERS + i;
        OK(nt_backend_stage(b, &x, host));
        OK(nt_backend_post(b, (int32_t *)x.data + FIRST - 1, sizeof got[0], 0));
        OK(nt_backend_stage(b, &rest, host + FIRST));
        OK(nt_backend_post(b, (int32_t *)x.data + SECOND - 1, sizeof got[0], 1));
        OK(nt_backend_unstage(b));
        memset(host, 0xff, N_NUMBERS * sizeof *host); /* ours again */
        OK(nt_backend_collect(b, 0, &got[0], sizeof got[0]));
        OK(nt_backend_collect(b, 1, &got[1], sizeof got[1]));
        assert_int_equal(got[0], k * N_NUMBERS + FIRST - 1);
        assert_int_equal(got[1], k * N_NUMBERS + N_NUMBERS - 1);
    }
    nt_backend_free_host(b, host);
    nt_backend_free(b, x.data, x.n_bytes);
    nt_backend_destroy(b);
}

/* What is given back is given out again, but not before it was read; what is too small is not. */
static void pinned_memory_is_kept(void **state)
{
    (void)state;
    nt_backend *b = make(false);
    nt_tensor x = nt_tensor_plain(NT_I32, nt_shape_of(1, N_NUMBERS));
    int32_t *host = NULL, *again = NULL, *larger = NULL, got;
    OK(nt_backend_alloc_input(b, &x.data, x.n_bytes, N_SAMPLES));
    OK(nt_backend_alloc_host(b, (void **)&host, x.n_bytes));
    host[N_NUMBERS - 1] = 17;
    OK(nt_backend_stage(b, &x, host));
    nt_backend_free_host(b, host);
    OK(nt_backend_alloc_host(b, (void **)&larger, x.n_bytes + 1));
    assert_ptr_not_equal(larger, host);
    OK(nt_backend_alloc_host(b, (void **)&again, x.n_bytes - 8));
    assert_ptr_equal(again, host);
    again[N_NUMBERS - 1] = 18;
    OK(nt_backend_download(b, &got, (int32_t *)x.data + N_NUMBERS - 1, sizeof got));
    assert_int_equal(got, 17);
    nt_backend_free_host(b, again);
    nt_backend_free_host(b, larger);
    nt_backend_free(b, x.data, x.n_bytes);
    nt_backend_destroy(b);
}

static void expect_last_pass(nt_backend *b)
{
    int64_t sample[N_SAMPLES];
    nt_cuda_pass pass;
    const nt_cuda *cuda = b->state;
    OK(nt_backend_download(b, sample, cuda->sample, sizeof sample));
    OK(nt_backend_download(b, &pass, cuda->pass, sizeof pass));
    assert_int_equal(sample[N_SAMPLES - 1], 1000 * (N_BATCHES - 1) + N_SAMPLES - 1);
    assert_int_equal(pass.epoch, N_BATCHES - 1);
    assert_int_equal(pass.n, N_SAMPLES);
    assert_true(pass.scale == N_BATCHES - 1 && pass.seed == 7);
}

static void batches_arrive_in_order(void **state)
{
    (void)state;
    nt_backend *b = make(false);
    nt_tensor x = nt_tensor_plain(NT_I32, nt_shape_of(2, N_SAMPLES, N_NUMBERS / N_SAMPLES)),
              label = nt_tensor_plain(NT_I32, nt_shape_of(1, N_SAMPLES));
    OK(nt_backend_alloc_input(b, &x.data, x.n_bytes, N_SAMPLES));
    OK(nt_backend_alloc_input(b, &label.data, label.n_bytes, N_SAMPLES));
    int32_t *host = malloc(N_NUMBERS * sizeof *host), got[N_SAMPLES];
    assert_non_null(host);
    const char *end = (const char *)x.data + x.n_bytes - sizeof got;
    for (int k = 0; k < N_BATCHES; k++) {
        send_batch(b, &x, &label, host, k);
        if (k > 0) {
            OK(nt_backend_collect(b, (k - 1) % NT_POST_SLOTS, got, sizeof got));
            for (int i = 0; i < N_SAMPLES; i++)
                assert_int_equal(got[i], k * N_NUMBERS - N_SAMPLES + i);
        }
        OK(nt_backend_post(b, end, sizeof got, k % NT_POST_SLOTS));
    }
    expect_last_pass(b);
    OK(nt_backend_download(b, got, label.data, label.n_bytes));
    assert_int_equal(got[N_SAMPLES - 1], -1);
    nt_backend_free(b, x.data, x.n_bytes);
    nt_backend_free(b, label.data, label.n_bytes);
    nt_backend_destroy(b);
    free(host);
}

/* A post holds what was there when it was given, and collecting one does not disturb the other. */
static void posts_are_snapshots(void **state)
{
    (void)state;
    nt_backend *b = make(false);
    double *device, value, got;
    OK(nt_backend_alloc(b, (void **)&device, sizeof *device));
    for (int k = 0; k < 20; k++) {
        value = k;
        OK(nt_backend_upload(b, device, &value, sizeof value));
        OK(nt_backend_post(b, device, sizeof value, k % 2));
        OK(nt_backend_zero(b, device, sizeof value));
        if (k == 0) continue;
        OK(nt_backend_collect(b, (k - 1) % 2, &got, sizeof got));
        assert_true(got == k - 1);
    }
    nt_backend_free(b, device, sizeof *device);
    nt_backend_destroy(b);
}

/* What a kernel reports of a bad class label comes back as bad data, once, with the layer's name. */
static void bad_label_is_bad_data(void **state)
{
    (void)state;
    nt_backend *b = make(false);
    nt_cuda *cuda = b->state;
    nt_op op = {.backend = b, .name = "loss", .id = 4};
    char got[8];
    OK(nt_cuda_watch_labels(&op, 10));
    OK(nt_backend_upload(b, cuda->data_error, (int[]){1 + 4, 12}, 2 * sizeof(int)));
    OK(nt_backend_post(b, cuda->data_error, sizeof got, 0));
    assert_int_equal(nt_backend_collect(b, 0, got, sizeof got), NT_ERR_DATA);
    assert_string_equal(nt_error_last()->message,
                        "layer loss: class label 12 is not in 0..9, the classes the model has outputs for");
    OK(nt_backend_sync(b));
    OK(nt_backend_upload(b, cuda->data_error, (int[]){1 + 4, -1}, 2 * sizeof(int)));
    assert_int_equal(nt_backend_sync(b), NT_ERR_DATA);
    nt_backend_destroy(b);
}

/* --- recorded work --- */

typedef struct work {
    nt_backend *b;
    int *out;
    int calls;
    bool fails, waits;
} work;

static nt_status give(void *arg)
{
    work *w = arg;
    nt_cuda *cuda = w->b->state;
    int ignored;
    w->calls++;
    NT_CUDA_TRY(w->b, "probe", nt_cuda_probe(cuda->compute, w->out, 17));
    NT_CHECK(!w->fails, NT_ERR_BUG, "it fails");
    if (w->waits) NT_TRY(nt_backend_download(w->b, &ignored, w->out, sizeof ignored));
    return NT_OK;
}

static work begin_work(bool graph)
{
    work w = {.b = make(graph)};
    OK(nt_backend_alloc(w.b, (void **)&w.out, sizeof *w.out));
    return w;
}

static void end_work(work *w)
{
    nt_backend_free(w->b, w->out, sizeof *w->out);
    nt_backend_destroy(w->b);
}

static bool record(work *w, uint64_t key)
{
    bool ran;
    int got = 0;
    OK(nt_backend_record(w->b, key, give, w, &ran));
    OK(nt_backend_download(w->b, &got, w->out, sizeof got));
    assert_int_equal(got, 17);
    OK(nt_backend_zero(w->b, w->out, sizeof got));
    return ran;
}

static void work_is_recorded_and_replayed(void **state)
{
    (void)state;
    work w = begin_work(true);
    for (int k = 0; k < 5; k++)
        assert_int_equal(record(&w, 1), k < 2); /* warm-up, capture */
    assert_int_equal(w.calls, 2);
    assert_true(record(&w, 2)); /* another key */
    assert_false(record(&w, 1));
    end_work(&w);
}

/* Work that waits for the device cannot be captured: it runs all the same. */
static void what_cannot_be_recorded_runs(void **state)
{
    (void)state;
    work w = begin_work(true);
    w.waits = true;
    for (int k = 0; k < 4; k++)
        assert_true(record(&w, 1));
    assert_int_equal(w.calls, 5); /* once more: what was captured was thrown away */
    end_work(&w);
}

static void an_error_while_recording_is_an_error(void **state)
{
    (void)state;
    work w = begin_work(true);
    bool ran;
    assert_true(record(&w, 1));
    w.fails = true;
    assert_int_equal(nt_backend_record(w.b, 1, give, &w, &ran), NT_ERR_BUG);
    assert_string_equal(nt_error_last()->message, "it fails");
    OK(nt_backend_sync(w.b)); /* the stream is not being captured any more */
    end_work(&w);
}

static nt_status refuse(void *arg, bool *captured)
{
    *(bool *)arg = *captured;
    *captured = false;
    return NT_OK;
}

/* Where another rank could not capture, this one does not replay either. */
static void ranks_record_together(void **state)
{
    (void)state;
    work w = begin_work(true);
    bool mine = false;
    w.b->agree = refuse;
    w.b->poll_arg = &mine;
    for (int k = 0; k < 4; k++)
        assert_true(record(&w, 1));
    assert_true(mine);
    assert_int_equal(w.calls, 5);
    end_work(&w);
}

static void no_graph_where_none_is_wanted(void **state)
{
    (void)state;
    work w = begin_work(false);
    for (int k = 0; k < 4; k++)
        assert_true(record(&w, 1));
    assert_int_equal(w.calls, 4);
    end_work(&w);
}

static nt_status give_up(void *arg, double waited_s)
{
    (void)arg;
    assert_true(waited_s >= 0);
    NT_FAIL(NT_ERR_UNAVAILABLE, "a peer has died");
}

/* A wait ends when whoever watches says so. It may be over before anybody looked, hence several. What the
 * device is busy with is memory set to zero, because a copy to ordinary memory keeps the host by itself. */
static void a_wait_can_be_ended(void **state)
{
    (void)state;
    enum { N = 1 << 26, TIMES = 8 };
    nt_backend *b = make(false);
    char *device, byte;
    OK(nt_backend_alloc(b, (void **)&device, N));
    b->poll = give_up;
    nt_status status = NT_OK;
    for (int k = 0; k < 20 && status == NT_OK; k++) {
        for (int i = 0; i < TIMES; i++)
            OK(nt_backend_zero(b, device, N));
        status = k % 2 ? nt_backend_sync(b) : nt_backend_download(b, &byte, device, 1);
    }
    assert_int_equal(status, NT_ERR_UNAVAILABLE);
    assert_string_equal(nt_error_last()->message, "a peer has died");
    b->poll = NULL;
    OK(nt_backend_sync(b));
    nt_backend_free(b, device, N);
    nt_backend_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zero_and_keeps),
        cmocka_unit_test(batches_arrive_in_order),
        cmocka_unit_test(pinned_batches_are_read_in_place),
        cmocka_unit_test(pinned_memory_is_kept),
        cmocka_unit_test(posts_are_snapshots),
        cmocka_unit_test(bad_label_is_bad_data),
        cmocka_unit_test(work_is_recorded_and_replayed),
        cmocka_unit_test(what_cannot_be_recorded_runs),
        cmocka_unit_test(an_error_while_recording_is_an_error),
        cmocka_unit_test(ranks_record_together),
        cmocka_unit_test(no_graph_where_none_is_wanted),
        cmocka_unit_test(a_wait_can_be_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
