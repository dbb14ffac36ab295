/* Stream capture and graphs on the emulated device: what is recorded, what a launch does, what is refused. */
#include "core/backends/cuda/launch.cuh"
#include "tests/cuda_emulator/tests/child.h"

static __global__ void add_to(int *at, const int *value)
{
    *at += *value;
}

static __global__ void set_to(int *at, int value)
{
    *at = value;
}

static void run_add(cudaStream_t stream, int *at, const int *value)
{
    NT_LAUNCH(add_to, 1, 1, 0, stream, at, value);
    OK(cudaGetLastError());
}

static void run_set(cudaStream_t stream, int *at, int value)
{
    NT_LAUNCH(set_to, 1, 1, 0, stream, at, value);
    OK(cudaGetLastError());
}

/* Two blocking streams, events, four device numbers and as many pinned ones. */
struct Fixture {
    cudaStream_t one, two;
    cudaEvent_t fork, join;
    int *x, *host;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
};

static int begin(void **state)
{
    static Fixture f;
    f = Fixture();
    (void)cudaGetLastError(); /* of the test before */
    OK(cudaStreamCreate(&f.one));
    OK(cudaStreamCreate(&f.two));
    OK(cudaEventCreate(&f.fork));
    OK(cudaEventCreateWithFlags(&f.join, cudaEventDisableTiming));
    OK(cudaMalloc(&f.x, 4 * sizeof(int)));
    OK(cudaMallocHost(&f.host, 4 * sizeof(int)));
    OK(cudaMemset(f.x, 0, 4 * sizeof(int)));
    OK(cudaDeviceSynchronize());
    *state = &f;
    return 0;
}

static int end(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    OK(cudaDeviceSynchronize());
    if (f.exec) OK(cudaGraphExecDestroy(f.exec));
    if (f.graph) OK(cudaGraphDestroy(f.graph));
    OK(cudaStreamDestroy(f.one));
    OK(cudaStreamDestroy(f.two));
    OK(cudaEventDestroy(f.fork));
    OK(cudaEventDestroy(f.join));
    OK(cudaFree(f.x));
    OK(cudaFreeHost(f.host));
    return 0;
}

static int value_at(const Fixture &f, int i)
{
    int value;
    OK(cudaMemcpy(&value, f.x + i, sizeof value, cudaMemcpyDeviceToHost));
    return value;
}

static void start(Fixture &f)
{
    OK(cudaStreamBeginCapture(f.one, cudaStreamCaptureModeThreadLocal));
}

static void status_is(Fixture &f, enum cudaStreamCaptureStatus expected)
{
    enum cudaStreamCaptureStatus status;
    OK(cudaStreamIsCapturing(f.one, &status));
    assert_int_equal(status, expected);
}

static void instantiate(Fixture &f)
{
    OK(cudaStreamEndCapture(f.one, &f.graph));
    OK(cudaGraphInstantiate(&f.exec, f.graph, 0));
}

/* Nothing runs while it is recorded; each launch runs all of it, with the data of that moment. */
static void replay(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    status_is(f, cudaStreamCaptureStatusNone);
    start(f);
    status_is(f, cudaStreamCaptureStatusActive);
    OK(cudaMemcpyAsync(f.x + 1, f.host, sizeof(int), cudaMemcpyHostToDevice, f.one));
    run_add(f.one, f.x, f.x + 1);
    OK(cudaMemsetAsync(f.x + 1, 0, sizeof(int), f.one));
    instantiate(f);
    size_t n = 0;
    OK(cudaGraphGetNodes(f.graph, nullptr, &n));
    assert_int_equal(n, 3);
    assert_int_equal(value_at(f, 0), 0);
    int sum = 0;
    for (int i = 1; i < 20; i++) {
        f.host[0] = i;
        sum += i;
        OK(cudaGraphLaunch(f.exec, i % 2 ? f.one : f.two));
        OK(cudaStreamSynchronize(i % 2 ? f.one : f.two));
        assert_int_equal(value_at(f, 0), sum);
    }
}

/* Launches of one graph follow one another even on different streams. */
static void launches_follow_one_another(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    run_set(f.one, f.x + 1, 1);
    OK(cudaDeviceSynchronize());
    start(f);
    for (int i = 0; i < 10; i++)
        run_add(f.one, f.x, f.x + 1);
    instantiate(f);
    for (int i = 0; i < 50; i++)
        OK(cudaGraphLaunch(f.exec, i % 2 ? f.one : f.two));
    OK(cudaDeviceSynchronize());
    assert_int_equal(value_at(f, 0), 500);
}

/* Two branches, each with work on its own stream, and what comes after both. */
static void fork_and_join(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    start(f);
    run_set(f.one, f.x, 1);
    OK(cudaEventRecord(f.fork, f.one));
    OK(cudaStreamWaitEvent(f.two, f.fork, 0));
    run_set(f.one, f.x + 1, 2);
    run_set(f.two, f.x + 2, 3);
    run_add(f.two, f.x + 2, f.x);
    OK(cudaEventRecord(f.join, f.two));
    OK(cudaStreamWaitEvent(f.one, f.join, 0));
    run_add(f.one, f.x + 2, f.x + 1);
    instantiate(f);
    for (int i = 0; i < 20; i++) {
        OK(cudaMemset(f.x, 0, 4 * sizeof(int)));
        OK(cudaGraphLaunch(f.exec, f.two));
        OK(cudaStreamSynchronize(f.two));
        assert_int_equal(value_at(f, 2), 6);
    }
}

static void count_up(void *count)
{
    ++*static_cast<int *>(count);
}

static void host_functions_too(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    int count = 0;
    start(f);
    OK(cudaLaunchHostFunc(f.one, count_up, &count));
    instantiate(f);
    for (int i = 0; i < 3; i++)
        OK(cudaGraphLaunch(f.exec, f.one));
    OK(cudaStreamSynchronize(f.one));
    assert_int_equal(count, 3);
}

static void update(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    cudaGraphExecUpdateResultInfo info;
    start(f);
    run_set(f.one, f.x, 1);
    instantiate(f);
    OK(cudaGraphDestroy(f.graph));
    start(f);
    run_set(f.one, f.x, 2);
    OK(cudaStreamEndCapture(f.one, &f.graph));
    OK(cudaGraphExecUpdate(f.exec, f.graph, &info));
    assert_int_equal(info.result, cudaGraphExecUpdateSuccess);
    OK(cudaGraphLaunch(f.exec, f.one));
    OK(cudaStreamSynchronize(f.one));
    assert_int_equal(value_at(f, 0), 2);
    OK(cudaGraphDestroy(f.graph));
    start(f);
    run_set(f.one, f.x, 3);
    run_set(f.one, f.x, 4);
    OK(cudaStreamEndCapture(f.one, &f.graph));
    FAILS(cudaErrorGraphExecUpdateFailure, cudaGraphExecUpdate(f.exec, f.graph, &info));
    assert_int_equal(info.result, cudaGraphExecUpdateErrorTopologyChanged);
    OK(cudaGraphDestroy(f.graph));
    start(f);
    OK(cudaMemsetAsync(f.x, 0, sizeof(int), f.one));
    OK(cudaStreamEndCapture(f.one, &f.graph));
    FAILS(cudaErrorGraphExecUpdateFailure, cudaGraphExecUpdate(f.exec, f.graph, &info));
    assert_int_equal(info.result, cudaGraphExecUpdateErrorNodeTypeChanged);
}

/* --- What cannot be captured --- */

static void spoilt(Fixture &f, cudaError_t error, cudaError_t got)
{
    assert_int_equal(got, error);
    status_is(f, cudaStreamCaptureStatusInvalidated);
    FAILS(cudaErrorStreamCaptureInvalidated, cudaMemsetAsync(f.x, 0, 4, f.one));
    FAILS(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(f.one, &f.graph));
    assert_null(f.graph);
    status_is(f, cudaStreamCaptureStatusNone);
    assert_int_equal(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
    run_set(f.one, f.x, 5); /* the stream is as good as before */
    OK(cudaStreamSynchronize(f.one));
    assert_int_equal(value_at(f, 0), 5);
}

static void synchronisation_spoils(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    start(f);
    spoilt(f, cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(f.one));
    start(f);
    spoilt(f, cudaErrorStreamCaptureUnsupported, cudaStreamQuery(f.one));
    start(f);
    spoilt(f, cudaErrorStreamCaptureUnsupported, cudaDeviceSynchronize());
}

static void unsafe_calls_spoil(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    void *x = nullptr;
    start(f);
    spoilt(f, cudaErrorStreamCaptureUnsupported, cudaMalloc(&x, 10));
    OK(cudaStreamBeginCapture(f.one, cudaStreamCaptureModeGlobal));
    spoilt(f, cudaErrorStreamCaptureUnsupported, cudaMallocHost(&x, 10));
    assert_null(x);
}

/* Relaxed captures, and threads that asked for it, may do what is unsafe. */
static void relaxed_mode(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    void *x;
    OK(cudaStreamBeginCapture(f.one, cudaStreamCaptureModeRelaxed));
    OK(cudaMalloc(&x, 10));
    OK(cudaStreamEndCapture(f.one, &f.graph));
    OK(cudaGraphDestroy(f.graph));
    f.graph = nullptr;
    enum cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    OK(cudaThreadExchangeStreamCaptureMode(&mode));
    assert_int_equal(mode, cudaStreamCaptureModeGlobal);
    OK(cudaStreamBeginCapture(f.one, cudaStreamCaptureModeGlobal));
    OK(cudaFree(x));
    OK(cudaStreamEndCapture(f.one, &f.graph));
    OK(cudaThreadExchangeStreamCaptureMode(&mode));
}

static void legacy_stream_spoils(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    start(f);
    spoilt(f, cudaErrorStreamCaptureImplicit, cudaMemset(f.x, 0, 4));
    start(f);
    int value = 0;
    spoilt(f, cudaErrorStreamCaptureImplicit, cudaMemcpy(f.x, &value, 4, cudaMemcpyHostToDevice));
    FAILS(cudaErrorStreamCaptureUnsupported, cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed));
}

static void outside_events_spoil(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    OK(cudaEventRecord(f.fork, f.two));
    start(f);
    spoilt(f, cudaErrorStreamCaptureIsolation, cudaStreamWaitEvent(f.one, f.fork, 0));
    start(f);
    OK(cudaEventRecord(f.fork, f.one));
    FAILS(cudaErrorCapturedEvent, cudaEventQuery(f.fork));
    FAILS(cudaErrorCapturedEvent, cudaEventSynchronize(f.fork));
    OK(cudaStreamEndCapture(f.one, &f.graph));
    FAILS(cudaErrorCapturedEvent, cudaStreamWaitEvent(f.two, f.fork, 0));
}

static void branches_must_join(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    start(f);
    OK(cudaEventRecord(f.fork, f.one));
    OK(cudaStreamWaitEvent(f.two, f.fork, 0));
    run_set(f.two, f.x, 1);
    FAILS(cudaErrorStreamCaptureUnjoined, cudaStreamEndCapture(f.one, &f.graph));
    assert_null(f.graph);
    OK(cudaStreamSynchronize(f.two)); /* is no longer part of a capture */
    assert_int_equal(value_at(f, 0), 0);
}

static void captures_do_not_mix(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    OK(cudaStreamBeginCapture(f.one, cudaStreamCaptureModeRelaxed));
    OK(cudaStreamBeginCapture(f.two, cudaStreamCaptureModeRelaxed));
    FAILS(cudaErrorIllegalState, cudaStreamBeginCapture(f.two, cudaStreamCaptureModeRelaxed));
    OK(cudaEventRecord(f.fork, f.one));
    FAILS(cudaErrorStreamCaptureMerge, cudaStreamWaitEvent(f.two, f.fork, 0));
    FAILS(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(f.one, &f.graph));
    FAILS(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(f.two, &f.graph));
    FAILS(cudaErrorIllegalState, cudaStreamEndCapture(f.two, &f.graph));
}

static void the_origin_ends_it(void **state)
{
    Fixture &f = *static_cast<Fixture *>(*state);
    start(f);
    OK(cudaEventRecord(f.fork, f.one));
    OK(cudaStreamWaitEvent(f.two, f.fork, 0));
    FAILS(cudaErrorStreamCaptureUnmatched, cudaStreamEndCapture(f.two, &f.graph));
    FAILS(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(f.one, &f.graph));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(replay),
        TEST(launches_follow_one_another),
        TEST(fork_and_join),
        TEST(host_functions_too),
        TEST(update),
        TEST(synchronisation_spoils),
        TEST(unsafe_calls_spoil),
        TEST(relaxed_mode),
        TEST(legacy_stream_spoils),
        TEST(outside_events_spoil),
        TEST(branches_must_join),
        TEST(captures_do_not_mix),
        TEST(the_origin_ends_it),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
