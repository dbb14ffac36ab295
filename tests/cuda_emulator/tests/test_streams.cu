/* Streams and events of the emulated runtime: who waits for whom, and who does not.
 *
 * A gate, a host function that waits until the test opens it, holds a stream up; what may go on meanwhile,
 * and what may not, is then certain. */
#include "core/backends/cuda/launch.cuh"
#include "tests/cuda_emulator/tests/child.h"

#include <atomic>
#include <sched.h>

static std::atomic<bool> open_now;

static void gate(void *)
{
    while (!open_now)
        sched_yield();
}

static void close_gate(cudaStream_t stream)
{
    open_now = false;
    OK(cudaLaunchHostFunc(stream, gate, nullptr));
}

static __global__ void put(int *at, int value)
{
    *at = value;
}

static void run_put(cudaStream_t stream, int *at, int value)
{
    NT_LAUNCH(put, 1, 1, 0, stream, at, value);
    OK(cudaGetLastError());
}

/* Two non-blocking streams, a device number and a pinned one. */
struct Fixture {
    cudaStream_t one, two;
    cudaEvent_t event;
    int *x, *out;
};

static int begin(void **state)
{
    static Fixture f;
    (void)cudaGetLastError(); /* of the test before */
    OK(cudaStreamCreateWithFlags(&f.one, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&f.two, cudaStreamNonBlocking));
    OK(cudaEventCreate(&f.event));
    OK(cudaMalloc(&f.x, sizeof(int)));
    OK(cudaMallocHost(&f.out, sizeof(int)));
    *f.out = -1;
    *state = &f;
    return 0;
}

static int end(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    open_now = true;
    OK(cudaDeviceSynchronize());
    OK(cudaStreamDestroy(f.one));
    OK(cudaStreamDestroy(f.two));
    OK(cudaEventDestroy(f.event));
    OK(cudaFree(f.x));
    OK(cudaFreeHost(f.out));
    return 0;
}

static void calls_return_at_once(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    close_gate(f.one);
    run_put(f.one, f.x, 5);
    OK(cudaMemcpyAsync(f.out, f.x, sizeof(int), cudaMemcpyDeviceToHost, f.one));
    int pageable = -1;
    OK(cudaMemcpyAsync(&pageable, f.x, sizeof(int), cudaMemcpyDeviceToHost, f.one));
    OK(cudaMemsetAsync(f.x, 0, sizeof(int), f.one));
    OK(cudaEventRecord(f.event, f.one));
    FAILS(cudaErrorNotReady, cudaStreamQuery(f.one));
    FAILS(cudaErrorNotReady, cudaEventQuery(f.event));
    assert_int_equal(cudaGetLastError(), cudaSuccess); /* not ready is no error to remember */
    assert_int_equal(*(volatile int *)f.out, -1);
    open_now = true;
    OK(cudaEventSynchronize(f.event));
    assert_int_equal(*f.out, 5);
    assert_int_equal(pageable, 5);
    OK(cudaStreamQuery(f.one));
    OK(cudaEventQuery(f.event));
}

static void streams_are_independent(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    close_gate(f.one);
    run_put(f.two, f.x, 6);
    OK(cudaMemcpyAsync(f.out, f.x, sizeof(int), cudaMemcpyDeviceToHost, f.two));
    OK(cudaStreamSynchronize(f.two)); /* would hang if two waited for one */
    assert_int_equal(*f.out, 6);
    FAILS(cudaErrorNotReady, cudaStreamQuery(f.one));
    open_now = true;
}

static void event_orders_streams(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    OK(cudaStreamWaitEvent(f.two, f.event, 0)); /* never recorded: nothing to wait for */
    OK(cudaStreamSynchronize(f.two));
    close_gate(f.one);
    run_put(f.one, f.x, 7);
    OK(cudaEventRecord(f.event, f.one));
    OK(cudaStreamWaitEvent(f.two, f.event, 0));
    OK(cudaMemcpyAsync(f.out, f.x, sizeof(int), cudaMemcpyDeviceToHost, f.two));
    OK(cudaEventRecord(f.event, f.one)); /* recorded again: the wait is for the record before */
    FAILS(cudaErrorNotReady, cudaStreamQuery(f.two));
    assert_int_equal(*(volatile int *)f.out, -1);
    open_now = true;
    OK(cudaStreamSynchronize(f.two));
    assert_int_equal(*f.out, 7);
}

static void elapsed_time(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    cudaEvent_t first, untimed;
    float ms = -1;
    OK(cudaEventCreate(&first));
    OK(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
    FAILS(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&ms, first, f.event));
    OK(cudaEventRecord(first, f.one));
    close_gate(f.one);
    OK(cudaEventRecord(f.event, f.one));
    FAILS(cudaErrorNotReady, cudaEventElapsedTime(&ms, first, f.event));
    usleep(3000);
    open_now = true;
    OK(cudaEventSynchronize(f.event));
    OK(cudaEventElapsedTime(&ms, first, f.event));
    assert_true(ms >= 0 && ms < 60000);
    OK(cudaEventRecord(untimed, f.one));
    OK(cudaStreamSynchronize(f.one));
    FAILS(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&ms, first, untimed));
    OK(cudaEventDestroy(first));
    OK(cudaEventDestroy(untimed));
}

/* The legacy default stream waits for blocking streams and they for it; others go their way. */
static void legacy_default_stream(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    cudaStream_t blocking, other;
    OK(cudaStreamCreate(&blocking));
    OK(cudaStreamCreate(&other));
    close_gate(blocking);
    run_put(nullptr, f.x, 8);
    run_put(other, f.x, 9);
    FAILS(cudaErrorNotReady, cudaStreamQuery(nullptr));
    FAILS(cudaErrorNotReady, cudaStreamQuery(other));
    OK(cudaMemcpyAsync(f.out, f.x, sizeof(int), cudaMemcpyDeviceToHost, other));
    close_gate(f.one);
    OK(cudaStreamSynchronize(f.two));
    FAILS(cudaErrorNotReady, cudaStreamQuery(other));
    open_now = true;
    OK(cudaStreamSynchronize(other));
    assert_int_equal(*f.out, 9);
    OK(cudaStreamDestroy(blocking));
    OK(cudaStreamDestroy(other));
}

static void destroyed_stream_finishes(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    cudaStream_t stream;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    close_gate(stream);
    run_put(stream, f.x, 10);
    OK(cudaEventRecord(f.event, stream));
    OK(cudaStreamDestroy(stream)); /* returns at once */
    open_now = true;
    OK(cudaEventSynchronize(f.event));
    OK(cudaMemcpy(f.out, f.x, sizeof(int), cudaMemcpyDeviceToHost));
    assert_int_equal(*f.out, 10);
}

static void call_cuda(void *result)
{
    *static_cast<cudaError_t *>(result) = cudaDeviceSynchronize();
}

static void host_function_must_not_call(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    cudaError_t result = cudaSuccess;
    OK(cudaLaunchHostFunc(f.one, call_cuda, &result));
    OK(cudaStreamSynchronize(f.one));
    assert_int_equal(result, cudaErrorNotPermitted);
}

static void priorities_and_flags(void **)
{
    int least, greatest, priority;
    unsigned flags;
    cudaStream_t stream;
    OK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    assert_true(greatest < least);
    OK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
    OK(cudaStreamGetPriority(stream, &priority));
    OK(cudaStreamGetFlags(stream, &flags));
    assert_int_equal(priority, greatest);
    assert_int_equal(flags, cudaStreamNonBlocking);
    OK(cudaStreamDestroy(stream));
    FAILS(cudaErrorInvalidValue, cudaStreamCreateWithFlags(&stream, 77));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(calls_return_at_once),        TEST(streams_are_independent),
        TEST(event_orders_streams),        TEST(elapsed_time),
        TEST(legacy_default_stream),       TEST(destroyed_stream_finishes),
        TEST(host_function_must_not_call), cmocka_unit_test(priorities_and_flags),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
