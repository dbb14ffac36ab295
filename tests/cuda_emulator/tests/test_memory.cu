/* Memory of the emulated runtime: what an allocation is, who may copy what where, and who may touch it. */
#include "core/backends/cuda/launch.cuh"
#include "tests/cuda_emulator/tests/child.h"

#include <cmath>
#include <vector>

static void fresh_memory_is_nan(void **)
{
    float *x, *pinned, host[8];
    OK(cudaMalloc(&x, sizeof host));
    OK(cudaMallocHost(&pinned, sizeof host));
    OK(cudaMemcpy(host, x, sizeof host, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 8; i++)
        assert_true(std::isnan(host[i]) && std::isnan(pinned[i]));
    OK(cudaFree(x));
    OK(cudaFreeHost(pinned));
}

static void alignment_and_bounds(void **)
{
    for (size_t n_bytes : {(size_t)1, (size_t)255, (size_t)256, (size_t)4096, (size_t)100001}) {
        char *x;
        OK(cudaMalloc(&x, n_bytes));
        assert_int_equal((uintptr_t)x % 256, 0);
        std::vector<char> in(n_bytes, 7), out(n_bytes, 0);
        OK(cudaMemcpy(x, in.data(), n_bytes, cudaMemcpyHostToDevice));
        OK(cudaMemcpy(out.data(), x, n_bytes, cudaMemcpyDeviceToHost));
        assert_true(in == out);
        OK(cudaFree(x));
    }
    void *nothing = &nothing;
    OK(cudaMalloc(&nothing, 0));
    assert_null(nothing);
    OK(cudaFree(nullptr));
}

static void accounting(void **)
{
    size_t before, after, total;
    void *x, *y;
    OK(cudaMemGetInfo(&before, &total));
    OK(cudaMalloc(&x, 5 << 20));
    OK(cudaMemGetInfo(&after, nullptr));
    assert_int_equal(before - after, 5 << 20);
    FAILS(cudaErrorMemoryAllocation, cudaMalloc(&y, after + 1));
    assert_null(y);
    FAILS(cudaErrorMemoryAllocation, cudaMalloc(&y, SIZE_MAX));
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_int_equal(cudaGetLastError(), cudaSuccess); /* not sticky */
    OK(cudaFree(x));
    OK(cudaMemGetInfo(&after, nullptr));
    assert_int_equal(after, before);
}

static void kinds_of_pointers(void **)
{
    struct cudaPointerAttributes a;
    float *x, *pinned, local[4];
    OK(cudaMalloc(&x, 64));
    OK(cudaHostAlloc((void **)&pinned, 64, cudaHostAllocPortable));
    OK(cudaPointerGetAttributes(&a, x + 3));
    assert_int_equal(a.type, cudaMemoryTypeDevice);
    assert_int_equal(a.device, 0);
    OK(cudaPointerGetAttributes(&a, pinned + 3));
    assert_int_equal(a.type, cudaMemoryTypeHost);
    OK(cudaPointerGetAttributes(&a, local));
    assert_int_equal(a.type, cudaMemoryTypeUnregistered);
    OK(cudaHostRegister(local, sizeof local, cudaHostRegisterDefault));
    OK(cudaPointerGetAttributes(&a, local + 1));
    assert_int_equal(a.type, cudaMemoryTypeHost);
    FAILS(cudaErrorHostMemoryAlreadyRegistered, cudaHostRegister(local, 4, cudaHostRegisterDefault));
    OK(cudaHostUnregister(local));
    FAILS(cudaErrorHostMemoryNotRegistered, cudaHostUnregister(local));
    OK(cudaFree(x));
    OK(cudaFreeHost(pinned));
}

static void all_directions(void **)
{
    float a[4] = {1, 2, 3, 4}, b[4] = {0}, *x, *y;
    OK(cudaMalloc(&x, sizeof a));
    OK(cudaMalloc(&y, sizeof a));
    OK(cudaMemcpy(x, a, sizeof a, cudaMemcpyHostToDevice));
    a[0] = 9; /* it may be changed as soon as cudaMemcpy has returned */
    OK(cudaMemcpy(y, x, sizeof a, cudaMemcpyDeviceToDevice));
    OK(cudaMemcpy(b, y, sizeof a, cudaMemcpyDefault));
    assert_true(b[0] == 1 && b[3] == 4);
    OK(cudaMemcpy(b, a, sizeof a, cudaMemcpyHostToHost));
    assert_true(b[0] == 9);
    OK(cudaMemset(x, 0, sizeof a));
    OK(cudaMemcpy(b, x, sizeof a, cudaMemcpyDeviceToHost));
    assert_true(b[0] == 0 && b[3] == 0);
    FAILS(cudaErrorInvalidMemcpyDirection, cudaMemcpy(b, x, 4, (enum cudaMemcpyKind)7));
    OK(cudaFree(x));
    OK(cudaFree(y));
}

static void boxes(void **)
{
    float in[6] = {1, 2, 3, 4, 5, 6}, out[6] = {0}, *x; /* rows of 2 out of rows of 3 */
    OK(cudaMalloc(&x, 16));
    OK(cudaMemcpy2D(x, 8, in, 12, 8, 2, cudaMemcpyHostToDevice));
    OK(cudaMemcpy2DAsync(out, 12, x, 8, 8, 2, cudaMemcpyDeviceToHost, nullptr));
    OK(cudaStreamSynchronize(nullptr));
    const float expected[6] = {1, 2, 0, 4, 5, 0};
    assert_memory_equal(out, expected, sizeof out);
    FAILS(cudaErrorInvalidValue, cudaMemcpy2D(x, 4, in, 12, 8, 2, cudaMemcpyHostToDevice));
    OK(cudaFree(x));
}

/* --- Children --- */

static int touch(const char *what)
{
    static float *x, *pinned;
    MUST(cudaMalloc(&x, 4000));
    MUST(cudaMallocHost(&pinned, 4000));
    MUST(cudaMemset(x, 0, 4000));
    MUST(cudaDeviceSynchronize());
    if (!strcmp(what, "write")) x[1] = 1;
    if (!strcmp(what, "read")) fprintf(stderr, "read %f\n", x[2]);
    if (!strcmp(what, "call"))
        HOLDS(write(STDERR_FILENO, x, 8) < 0); /* the kernel of the host, on its behalf */
    if (!strcmp(what, "pinned")) pinned[3] = pinned[4];
    MUST(cudaFree(x));
    MUST(cudaFreeHost(pinned));
    if (!strcmp(what, "freed")) fprintf(stderr, "read %f\n", *(volatile float *)pinned);
    return 0;
}

static void host_touches(void **)
{
    for (const char *protection : {"pkey", "mprotect"}) {
        const Setting setting = {"NT_EMU_PROTECT", protection};
        for (const char *what : {"write", "read"}) {
            const Outcome o = run_child("touch", what, {setting});
            assert_true(o.says("the host touched device memory: byte "));
            assert_true(o.says("of allocation 1 of 4000 bytes"));
            assert_int_not_equal(o.code(), 0);
        }
        assert_int_equal(run_child("touch", "call", {setting}).code(), 0);
        assert_int_equal(run_child("touch", "pinned", {setting}).code(), 0);
        const Outcome o = run_child("touch", "freed", {setting});
        assert_true(o.says(UNDER_ASAN ? "use-after-poison" : "use after free: the host touched byte 0"));
    }
}

/* The second allocation fails, and only that. */
static int second_fails(const char *)
{
    void *x, *y, *z, *pinned;
    MUST(cudaMalloc(&x, 10));
    HOLDS(cudaMalloc(&y, 10) == cudaErrorMemoryAllocation);
    HOLDS(y == nullptr);
    MUST(cudaMalloc(&z, 10));
    MUST(cudaMallocHost(&pinned, 10));
    MUST(cudaFree(x));
    MUST(cudaFree(z));
    MUST(cudaFreeHost(pinned));
    return 0;
}

static void allocation_fails_by_order(void **)
{
    assert_int_equal(
        run_child("second_fails", "", {{"NT_EMU_FAIL_ALLOC", "2"}, {"NT_EMU_LEAKS", "fail"}}).code(), 0);
    assert_int_equal(run_child("second_fails", "", {{"NT_EMU_FAIL_ALLOC", "1"}}).code(), BROKEN);
}

static int fill_memory(const char *)
{
    size_t free_bytes, total;
    void *x, *y;
    MUST(cudaMemGetInfo(&free_bytes, &total));
    HOLDS(total == (size_t)3 << 20 && free_bytes == total);
    MUST(cudaMalloc(&x, 2 << 20));
    HOLDS(cudaMalloc(&y, (1 << 20) + 1) == cudaErrorMemoryAllocation);
    MUST(cudaMalloc(&y, 1 << 20));
    MUST(cudaFree(x));
    MUST(cudaFree(y));
    return 0;
}

static void small_device(void **)
{
    assert_int_equal(run_child("fill_memory", "", {{"NT_EMU_MEMORY_MB", "3"}}).code(), 0);
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "touch")) return touch(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "second_fails")) return second_fails(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "fill_memory")) return fill_memory(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_memory_is_nan), cmocka_unit_test(alignment_and_bounds),
        cmocka_unit_test(accounting),          cmocka_unit_test(kinds_of_pointers),
        cmocka_unit_test(all_directions),      cmocka_unit_test(boxes),
        cmocka_unit_test(host_touches),        cmocka_unit_test(allocation_fails_by_order),
        cmocka_unit_test(small_device),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
