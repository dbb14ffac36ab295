/* A driver may keep the host within cudaMemcpyAsync from and to ordinary memory until the stream gets there.
 * Where the stream never does, because a peer is gone or a kernel does not end, whoever watches must still be
 * asked: the backend waits before it copies. The emulator plays such a driver, and a kernel that never ends.
 */
#include "core/backends/cuda/cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static nt_status give_up(void *arg, double waited_s)
{
    (void)arg;
    if (waited_s < 0.1) return NT_OK; /* copies that are on their way arrive */
    NT_FAIL(NT_ERR_UNAVAILABLE, "a peer has died");
}

static void copies_do_not_hang(void **state)
{
    (void)state;
    nt_backend *b = NULL;
    static char host[8192];
    int byte = 0, *device;
    nt_tensor x = nt_tensor_plain(NT_U8, nt_shape_of(1, (int64_t)sizeof host));
    assert_int_equal(nt_backend_create(&b, "cuda", &(nt_backend_options){.threads = 1}), NT_OK);
    assert_int_equal(nt_backend_alloc(b, (void **)&device, sizeof *device), NT_OK);
    assert_int_equal(nt_backend_alloc_input(b, &x.data, x.n_bytes, 1), NT_OK);
    assert_int_equal(nt_backend_sync(b), NT_OK);
    const nt_cuda *cuda = b->state;
    b->poll = give_up;
    assert_int_equal(nt_cuda_probe(cuda->compute, device, 1), 0); /* the second of this process: never ends */
    assert_int_equal(nt_backend_download(b, &byte, device, sizeof byte), NT_ERR_UNAVAILABLE);
    assert_string_equal(nt_error_last()->message, "a peer has died");
    assert_int_equal(nt_backend_upload(b, device, &byte, sizeof byte), NT_ERR_UNAVAILABLE);
    nt_error_clear();
    for (int k = 0; k < 2; k++)
        assert_int_equal(nt_backend_stage(b, &x, host), NT_OK);
    /* has to wait until the first was taken */
    assert_int_equal(nt_backend_stage(b, &x, host), NT_ERR_UNAVAILABLE);
    assert_string_equal(nt_error_last()->message, "a peer has died");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies_do_not_hang)};
    setenv("NT_EMU_HANG_LAUNCH", "2", 1);
    setenv("NT_EMU_PAGEABLE_WAITS", "1", 1);
    setenv("NT_EMU_PINNED_BLOCK", "4096", 1);         /* batches are copied from ordinary memory too */
    alarm(20);                                        /* rather than hang */
    _exit(cmocka_run_group_tests(tests, NULL, NULL)); /* the device cannot be waited for */
}
