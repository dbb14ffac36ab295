/* A host that has no memory to lock: batches lie in ordinary memory, arrive all the same, and are free again
 * when they were given away; one warning says it. The emulator refuses pinned memory in large pieces. */
#include "core/backends/cuda/runtime.h"
#include "core/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), NT_OK)

enum { N = 64 * 1024, N_SAMPLES = 16, N_BATCHES = 12 };

static nt_backend *make(void)
{
    nt_backend *backend = NULL;
    nt_status status = nt_backend_create(&backend, "cuda", &(nt_backend_options){.threads = 1});
    if (status != NT_OK) fail_msg("%s", nt_error_last()->message);
    return backend;
}

static void pin_at_most(const char *n_bytes)
{
    setenv("NT_EMU_PINNED_BLOCK", n_bytes, 1);
}

/* Batch k, overwritten as soon as it was given away; what of it arrived. */
static void expect_arrival(nt_backend *b, nt_tensor *x, int32_t *host, int k)
{
    int32_t first, last;
    for (int i = 0; i < N; i++)
        host[i] = k * N + i;
    OK(nt_backend_stage(b, x, host));
    if (!nt_cuda_is_pinned(b, host, x->n_bytes)) memset(host, 0xff, x->n_bytes);
    OK(nt_backend_begin_pass(b, &(nt_pass){.scale = 1}, N_SAMPLES));
    OK(nt_backend_download(b, &first, x->data, sizeof first));
    OK(nt_backend_download(b, &last, (int32_t *)x->data + N - 1, sizeof last));
    assert_int_equal(first, k * N);
    assert_int_equal(last, k * N + N - 1);
}

static void ordinary_memory_does(void **state)
{
    (void)state;
    nt_tensor x = nt_tensor_plain(NT_I32, nt_shape_of(1, (int64_t)N));
    int32_t *host = NULL, *second = NULL, *again = NULL;
    const int warnings = nt_log_warnings();
    pin_at_most("8192");
    nt_backend *b = make();
    OK(nt_backend_alloc_input(b, &x.data, x.n_bytes, N_SAMPLES));
    OK(nt_backend_alloc_host(b, (void **)&host, x.n_bytes));
    OK(nt_backend_alloc_host(b, (void **)&second, x.n_bytes));
    assert_int_equal(nt_log_warnings(), warnings + 1);
    assert_true((uintptr_t)host % 64 == 0 && (uintptr_t)second % 64 == 0);
    assert_false(nt_cuda_is_pinned(b, host, x.n_bytes));
    for (int k = 0; k < N_BATCHES; k++)
        expect_arrival(b, &x, k % 2 ? host : second, k);
    OK(nt_backend_unstage(b));
    nt_backend_free_host(b, host);
    OK(nt_backend_alloc_host(b, (void **)&again, x.n_bytes));
    assert_ptr_equal(again, host);
    nt_backend_free_host(b, again);
    nt_backend_free_host(b, second);
    assert_int_equal(nt_log_warnings(), warnings + 1);
    nt_backend_free(b, x.data, x.n_bytes);
    nt_backend_destroy(b);
}

/* The host had enough for the first batch, and has none for the rest, nor for the lane's own buffers. */
static void some_is_pinned(void **state)
{
    (void)state;
    nt_tensor x = nt_tensor_plain(NT_I32, nt_shape_of(1, (int64_t)N));
    int32_t *pinned = NULL, *ordinary = NULL;
    pin_at_most("1000000000");
    nt_backend *b = make();
    OK(nt_backend_alloc_input(b, &x.data, x.n_bytes, N_SAMPLES));
    OK(nt_backend_alloc_host(b, (void **)&pinned, x.n_bytes));
    pin_at_most("8192");
    OK(nt_backend_alloc_host(b, (void **)&ordinary, x.n_bytes));
    assert_true(nt_cuda_is_pinned(b, pinned, x.n_bytes));
    assert_false(nt_cuda_is_pinned(b, ordinary, x.n_bytes));
    for (int k = 0; k < N_BATCHES; k++) {
        expect_arrival(b, &x, k % 3 ? ordinary : pinned, k);
        OK(nt_backend_unstage(b));
    }
    nt_backend_free_host(b, pinned);
    nt_backend_free_host(b, ordinary);
    nt_backend_free(b, x.data, x.n_bytes);
    nt_backend_destroy(b);
}

/* What is copied at every step, though small, has no other way. */
static void none_at_all_is_an_error(void **state)
{
    (void)state;
    nt_backend *b = NULL;
    pin_at_most("0");
    assert_int_equal(nt_backend_create(&b, "cuda", &(nt_backend_options){.threads = 1}), NT_ERR_UNAVAILABLE);
    assert_non_null(strstr(nt_error_last()->message, "MiB that can be locked for copies to CUDA device"));
    nt_error_clear();
}

static void a_strange_pointer_is_said(void **state)
{
    (void)state;
    void *host = NULL;
    char strange;
    pin_at_most("1000000000");
    nt_backend *b = make();
    const int warnings = nt_log_warnings();
    OK(nt_backend_alloc_host(b, &host, 100));
    nt_backend_free_host(b, NULL);
    nt_backend_free_host(b, host);
    assert_int_equal(nt_log_warnings(), warnings);
    nt_backend_free_host(b, &strange);
    nt_backend_free_host(b, host); /* a second time */
    assert_int_equal(nt_log_warnings(), warnings + 2);
    nt_backend_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_memory_does),
        cmocka_unit_test(some_is_pinned),
        cmocka_unit_test(none_at_all_is_an_error),
        cmocka_unit_test(a_strange_pointer_is_said),
    };
    setenv("NT_EMU_PAGEABLE_WAITS", "1", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
