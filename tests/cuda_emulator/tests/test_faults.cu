/* The faults that the environment can order: no driver or an old one, no device, devices renumbered, kernels
 * that fail or hang, leaks. Each in a child process. */
#include "core/backends/cuda/launch.cuh"
#include "tests/cuda_emulator/queue.h"
#include "tests/cuda_emulator/tests/child.h"

#include <csignal>

static __global__ void set_to(int *at, int value)
{
    *at = value;
}

/* --- Children --- */

/* As the real runtime answers where there is no driver (checked against CUDA 13.0). */
static int no_driver(const char *)
{
    int value = -1;
    void *x;
    HOLDS(cudaGetDeviceCount(&value) == cudaErrorInsufficientDriver);
    HOLDS(value == -1);
    HOLDS(cudaGetLastError() == cudaErrorInsufficientDriver);
    MUST(cudaDriverGetVersion(&value));
    HOLDS(value == 0 || value == 12040);
    MUST(cudaRuntimeGetVersion(&value));
    HOLDS(value == CUDART_VERSION);
    HOLDS(cudaMalloc(&x, 10) == cudaErrorInsufficientDriver);
    HOLDS(cudaSetDevice(0) == cudaErrorInsufficientDriver);
    HOLDS(cudaGetDevice(&value) == cudaErrorInsufficientDriver);
    HOLDS(cudaStreamSynchronize(nullptr) == cudaErrorInsufficientDriver);
    return 0;
}

static int no_device(const char *)
{
    int n = -1;
    void *x;
    HOLDS(cudaGetDeviceCount(&n) == cudaErrorNoDevice);
    HOLDS(n == 0);
    HOLDS(cudaMalloc(&x, 10) == cudaErrorNoDevice);
    return 0;
}

/* ARG: the physical indices that must be visible, as digits. */
static int see_devices(const char *expected)
{
    int n;
    MUST(cudaGetDeviceCount(&n));
    HOLDS(n == (int)strlen(expected));
    for (int i = 0; i < n; i++) {
        struct cudaDeviceProp p;
        MUST(cudaGetDeviceProperties(&p, i));
        HOLDS(p.uuid.bytes[15] == expected[i] - '0');
        HOLDS(p.pciBusID == expected[i] - '0' + 1);
    }
    HOLDS(cudaSetDevice(n) == cudaErrorInvalidDevice);
    return 0;
}

/* Each device has its own memory and streams. */
static int two_devices(const char *what)
{
    int *x[2], value;
    cudaStream_t stream;
    for (int i = 0; i < 2; i++) {
        MUST(cudaSetDevice(i));
        MUST(cudaMalloc(&x[i], sizeof(int)));
        NT_LAUNCH(set_to, 1, 1, 0, 0, x[i], 10 + i);
        MUST(cudaGetLastError());
    }
    MUST(cudaStreamCreate(&stream));
    for (int i = 0; i < 2; i++) {
        MUST(cudaSetDevice(i));
        MUST(cudaMemcpy(&value, x[i], sizeof value, cudaMemcpyDeviceToHost));
        HOLDS(value == 10 + i);
        int device = -1;
        HOLDS(emu_memory_at(x[i], sizeof(int), &device) == EMU_MEMORY_DEVICE && device == i);
    }
    MUST(cudaSetDevice(0));
    NT_LAUNCH(set_to, 1, 1, 0, stream, x[1], 1); /* a stream of device 1 */
    HOLDS(cudaGetLastError() == cudaErrorInvalidResourceHandle);
    if (!strcmp(what, "foreign")) NT_LAUNCH(set_to, 1, 1, 0, 0, x[1], 1);
    MUST(cudaStreamDestroy(stream));
    MUST(cudaFree(x[0]));
    MUST(cudaFree(x[1]));
    return 0;
}

/* The second kernel breaks the device for good. */
static int sticky(const char *)
{
    int *x, value = 0;
    MUST(cudaMalloc(&x, sizeof(int)));
    for (int i = 0; i < 2; i++) {
        NT_LAUNCH(set_to, 1, 1, 0, 0, x, 1);
        const cudaError_t expected = i == 0 ? cudaSuccess : cudaErrorIllegalAddress,
                          now = cudaPeekAtLastError();
        HOLDS(now == cudaSuccess || now == expected); /* perhaps it has run already */
        HOLDS(cudaStreamSynchronize(nullptr) == expected);
    }
    for (int i = 0; i < 2; i++)
        HOLDS(cudaGetLastError() == cudaErrorIllegalAddress);
    HOLDS(cudaMemcpy(&value, x, 4, cudaMemcpyDeviceToHost) == cudaErrorIllegalAddress);
    NT_LAUNCH(set_to, 1, 1, 0, 0, x, 1);
    HOLDS(cudaGetLastError() == cudaErrorIllegalAddress);
    HOLDS(cudaFree(x) == cudaErrorIllegalAddress);
    return 0;
}

static int hang(const char *)
{
    int *x;
    MUST(cudaMalloc(&x, sizeof(int)));
    NT_LAUNCH(set_to, 1, 1, 0, 0, x, 1);
    MUST(cudaGetLastError());
    MUST(cudaStreamSynchronize(nullptr));
    NT_LAUNCH(set_to, 1, 1, 0, 0, x, 2);
    MUST(cudaGetLastError());
    for (int i = 0; i < 20; i++) {
        HOLDS(cudaStreamQuery(nullptr) == cudaErrorNotReady);
        usleep(1000);
    }
    return 7; /* and the process can still end */
}

static int leak(const char *)
{
    int *x;
    cudaEvent_t event;
    MUST(cudaMalloc(&x, 123));
    MUST(cudaEventCreate(&event));
    return 0;
}

static const struct {
    const char *name;
    int (*run)(const char *arg);
} children[] = {
    {"no_driver", no_driver},
    {"no_device", no_device},
    {"see_devices", see_devices},
    {"two_devices", two_devices},
    {"sticky", sticky},
    {"hang", hang},
    {"leak", leak},
};

/* --- Tests --- */

static void succeeds(const char *name, const char *arg, std::initializer_list<Setting> settings)
{
    const Outcome o = run_child(name, arg, settings);
    if (o.code() != 0) fail_msg("%s %s: status %d, says: %s", name, arg, o.status, o.words.c_str());
}

static void driver(void **)
{
    succeeds("no_driver", "", {{"NT_EMU_NO_DRIVER", "1"}});
    succeeds("no_driver", "", {{"NT_EMU_DRIVER_VERSION", "12040"}});
    succeeds("see_devices", "0", {{"NT_EMU_DRIVER_VERSION", "13010"}});
}

static void visible_devices(void **)
{
    const Setting four = {"NT_EMU_DEVICES", "4"};
    succeeds("no_device", "", {{"NT_EMU_DEVICES", "0"}});
    succeeds("see_devices", "0123", {four});
    succeeds("see_devices", "20", {four, {"CUDA_VISIBLE_DEVICES", "2,0"}});
    succeeds("see_devices", "3", {four, {"CUDA_VISIBLE_DEVICES", " 3 "}});
    succeeds("see_devices", "1", {four, {"CUDA_VISIBLE_DEVICES", "1,9,0"}}); /* a wrong entry ends the list */
    succeeds("no_device", "", {four, {"CUDA_VISIBLE_DEVICES", ""}});
    succeeds("no_device", "", {four, {"CUDA_VISIBLE_DEVICES", "-1"}});
    succeeds("no_device", "", {four, {"CUDA_VISIBLE_DEVICES", "1,1"}}); /* a repeated one empties it */
    const char *uuid = "GPU-6e742d65-6d75-6c61-746f-720000000003";
    succeeds("see_devices", "3", {four, {"CUDA_VISIBLE_DEVICES", uuid}});
}

static void several_devices(void **)
{
    succeeds("two_devices", "", {{"NT_EMU_DEVICES", "2"}, {"NT_EMU_LEAKS", "fail"}});
    const Outcome o = run_child("two_devices", "foreign", {{"NT_EMU_DEVICES", "2"}});
    assert_true(o.says("memory of device 1, but the stream is of device 0"));
}

static void sticky_error(void **)
{
    const Outcome o = run_child("sticky", "", {{"NT_EMU_FAIL_LAUNCH", "2"}});
    if (o.code() != 0) fail_msg("status %d, says: %s", o.status, o.words.c_str());
}

static void kernel_hangs(void **)
{
    assert_int_equal(run_child("hang", "", {{"NT_EMU_HANG_LAUNCH", "2"}}).code(), 7);
    assert_int_equal(run_child("hang", "", {{"NT_EMU_HANG_LAUNCH", "2"}, {"NT_EMU_SEED", "5"}}).code(), 7);
}

static void leaks(void **)
{
    const Outcome failed = run_child("leak", "", {{"NT_EMU_LEAKS", "fail"}});
    assert_int_equal(failed.code(), 23);
    assert_true(failed.says("123 bytes of device memory") && failed.says("leak: 1 event(s)"));
    const Outcome reported = run_child("leak", "", {{"NT_EMU_LEAKS", "report"}});
    assert_int_equal(reported.code(), 0);
    assert_true(reported.says("123 bytes of device memory"));
    const Outcome ignored = run_child("leak", "", {{"NT_EMU_LEAKS", "ignore"}});
    assert_int_equal(ignored.code(), 0);
    assert_true(ignored.words.empty());
}

static void bad_settings(void **)
{
    const Outcome number = run_child("leak", "", {{"NT_EMU_DEVICES", "two"}});
    assert_true(number.says("NT_EMU_DEVICES = 'two' is no number") && WIFSIGNALED(number.status));
    const Outcome policy = run_child("leak", "", {{"NT_EMU_LEAKS", "perhaps"}});
    assert_true(policy.says("NT_EMU_LEAKS = 'perhaps': ignore, report or fail"));
}

int main(int argc, char **argv)
{
    if (argc == 3)
        for (const auto &child : children)
            if (!strcmp(child.name, argv[1])) return child.run(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(driver),       cmocka_unit_test(visible_devices), cmocka_unit_test(several_devices),
        cmocka_unit_test(sticky_error), cmocka_unit_test(kernel_hangs),    cmocka_unit_test(leaks),
        cmocka_unit_test(bad_settings),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
